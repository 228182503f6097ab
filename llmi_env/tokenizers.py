"""Tokenizers as the transcript needs them: exact ids in, text out piece by piece.

Three implementations: `ByteTokenizer`, which is built in and needs nothing, `PieceTokenizer`, whose tokens are pieces of text that the user
names, and `HFTokenizer` around any Hugging Face one. Decoding is incremental: a character whose bytes are spread over several tokens comes
out with the last of them, at constant cost per token.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from llmi_env.errors import ConfigError, did_you_mean, require
from llmi_env.hub import from_hub

Fallback = Literal["bytes", "unknown"]
"""What a `PieceTokenizer` makes of text between its pieces."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def _whole(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which UTF-8 cannot hold."""
    return _LONE_SURROGATES.sub("\ufffd", text)


class Decoder(Protocol):
    """Turns ids into text, piece by piece; the pieces, joined, are the decoded text."""

    def push(self, token: int) -> str:
        """Text that is certain after this token; empty for special tokens and unfinished characters."""
        ...

    def flush(self) -> str:
        """What is left at the end: unfinished bytes come out as U+FFFD."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """What the transcript and the environment ask of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to `vocab_size - 1`."""
        ...

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end a document."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of plain text, no special tokens added, none recognised in it."""
        ...

    def decoder(self) -> Decoder:
        """A fresh incremental decoder."""
        ...

    def chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Ids of a conversation, ending where the policy is to write."""
        ...


class _Utf8Decoder:
    """Decodes the bytes of tokens; the state is small and pickles, so an episode can be stored in mid-character."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        return self._utf8.decode(self._pieces[token])

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)

    def __deepcopy__(self, memo: Any) -> _Utf8Decoder:
        # The vocabulary does not change: copies share it.
        made = _Utf8Decoder(self._pieces)
        made._utf8.setstate(self._utf8.getstate())
        return made


class ByteTokenizer:
    """One token for each byte of UTF-8, and one that ends the document.

    Text given to `encode` may hold lone surrogates; they become U+FFFD, as decoding would make of them.
    """

    eos_id = 256

    @property
    def vocab_size(self) -> int:
        """257: the bytes and eos."""
        return 257

    @property
    def eos_ids(self) -> frozenset[int]:
        """The one eos id, 256."""
        return frozenset({self.eos_id})

    def encode(self, text: str) -> list[int]:
        """Bytes of the text in UTF-8."""
        return list(_whole(text).encode("utf-8"))

    def decoder(self) -> Decoder:
        """A fresh UTF-8 decoder."""
        return _Utf8Decoder(_BYTE_PIECES)

    def chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Roles and texts as plain lines: bytes have no chat template."""
        return self.encode(_plain_chat(messages))


_BYTES = tuple(bytes([value]) for value in range(256))
_BYTE_PIECES = (*_BYTES, b"")


def _plain_chat(messages: Sequence[dict[str, Any]]) -> str:
    lines = [f"[{message['role']}]\n{message['content']}\n" for message in messages]
    return "\n".join(lines) + "\n[assistant]\n"


class PieceTokenizer:
    """Tokens are pieces of text of any length: words, sentences, whole calls. For small policies and research on the choice of tools.

    Ids 0 to n - 1 are the pieces in the order given, the last id is eos. What stands between them is for text that no piece covers:

    - `fallback="bytes"`: the 256 bytes, so that every text comes back from its ids;
    - `fallback="unknown"`: one token for all of it up to the next piece, written out as U+FFFD. Every other token is one that the user
      named, and a prompt is as short as the pieces in it.

    `encode` takes the longest piece at each place, from left to right.

    Args:
        pieces: texts, each once.
        fallback: `bytes` or `unknown`.

    Raises:
        ConfigError: no pieces, an empty one, one given twice, or an unknown fallback.

    >>> tokenizer = PieceTokenizer(["photo", "photograph", "owl"], fallback="unknown")
    >>> tokenizer.encode("a photograph of an owl"), tokenizer.vocab_size
    ([3, 1, 3, 2], 5)
    """

    def __init__(self, pieces: Sequence[str], fallback: Fallback = "bytes") -> None:
        if fallback not in get_args(Fallback):
            raise ConfigError(f"fallback cannot be {fallback!r}{did_you_mean(str(fallback), get_args(Fallback))}")
        if isinstance(pieces, str) or not all(isinstance(piece, str) for piece in pieces):
            raise ConfigError("pieces are a sequence of texts, such as ['photo', 'chart']")
        self.pieces = tuple(pieces)
        if not self.pieces:
            raise ConfigError("a piece tokenizer needs at least one piece; for bytes alone there is ByteTokenizer")
        seen: set[str] = set()
        for position, piece in enumerate(self.pieces):
            if not piece or _whole(piece) != piece:
                raise ConfigError(
                    f"piece {position} is {piece!r:.80}: it must be text, not empty, without lone surrogates"
                )
            if piece in seen:
                raise ConfigError(f"piece {position}, {piece!r:.80}, was given before: each piece is one token")
            seen.add(piece)
        self.fallback: Fallback = fallback
        between = _BYTES if fallback == "bytes" else ("\ufffd".encode(),)
        self._bytes = (*(piece.encode("utf-8") for piece in self.pieces), *between, b"")
        self._ids = {piece: token for token, piece in enumerate(self.pieces)}
        # Alternatives are tried in this order, so the longest one wins.
        self._pattern = re.compile("|".join(re.escape(piece) for piece in sorted(self.pieces, key=len, reverse=True)))

    @property
    def vocab_size(self) -> int:
        """The pieces, the fallback's tokens and eos."""
        return len(self._bytes)

    @property
    def eos_id(self) -> int:
        """The last id."""
        return len(self._bytes) - 1

    @property
    def eos_ids(self) -> frozenset[int]:
        """The one eos id."""
        return frozenset({self.eos_id})

    def encode(self, text: str) -> list[int]:
        """Ids of the longest pieces from left to right, and of what stands between them."""
        text = _whole(text)
        ids: list[int] = []
        done = 0
        for found in self._pattern.finditer(text):
            ids += self._between(text[done : found.start()])
            ids.append(self._ids[found.group()])
            done = found.end()
        return ids + self._between(text[done:])

    def decoder(self) -> Decoder:
        """A fresh UTF-8 decoder."""
        return _Utf8Decoder(self._bytes)

    def chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Roles and texts as plain lines, as `ByteTokenizer`."""
        return self.encode(_plain_chat(messages))

    def _between(self, text: str) -> list[int]:
        first = len(self.pieces)
        if self.fallback == "bytes":
            return [first + value for value in text.encode("utf-8")]
        return [first] if text else []


class _WindowDecoder:
    """For tokenizers whose tokens are not bytes: decodes a short window twice and returns the difference.

    Same idea as in serving engines; the window starts at the last certain point, so cost per token stays constant.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def push(self, token: int) -> str:
        self._ids.append(token)
        before, text = self._text(self._ids[: self._shown]), self._text(self._ids)
        if len(text) <= len(before) or (text.endswith("\ufffd") and len(self._ids) - self._shown < 8):
            return ""
        self._ids, self._shown = self._ids[self._shown :], len(self._ids) - self._shown
        return text[len(before) :]

    def flush(self) -> str:
        before, text = self._text(self._ids[: self._shown]), self._text(self._ids)
        self._ids, self._shown = [], 0
        return text[len(before) :]

    def __deepcopy__(self, memo: Any) -> _WindowDecoder:
        made = _WindowDecoder(self._tokenizer)
        made._ids, made._shown = self._ids.copy(), self._shown
        return made


class HFTokenizer:
    """Any Hugging Face tokenizer.

    Args:
        tokenizer: a `PreTrainedTokenizerBase`.
        eos_ids: ids that end a document; by default all that an inference server would stop at (`end_ids`).
    """

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int] | None = None) -> None:
        self.hf = tokenizer
        self._eos_ids = end_ids(tokenizer) if eos_ids is None else frozenset(eos_ids)
        if not self._eos_ids:
            raise ConfigError("the tokenizer has no eos token, so no document could end: pass eos_ids")
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        self._spellings = frozenset(tokenizer.all_special_tokens) | {str(token) for token in added if token.special}
        self._pieces = _byte_pieces(tokenizer)

    @classmethod
    def load(cls, name: str) -> HFTokenizer:
        """The tokenizer of that name or folder; read once in a process.

        Raises:
            ConfigError: there is none, or it cannot be read.
            MissingExtra: transformers is not installed.
        """
        return _load(name)

    @property
    def vocab_size(self) -> int:
        """Ids of the tokenizer, added tokens included."""
        return len(self.hf)

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end a document."""
        return self._eos_ids

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; the spelling of a special token in it is text, not that token."""
        return list(self.hf.encode(_whole(text), add_special_tokens=False, split_special_tokens=True))

    def decoder(self) -> Decoder:
        """A byte-exact decoder for byte-level vocabularies, a windowed one for others."""
        return _Utf8Decoder(self._pieces) if self._pieces is not None else _WindowDecoder(self.hf)

    def chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Ids by the tokenizer's own chat template. A special token that is spelt in a message is text, not that token."""
        if not getattr(self.hf, "chat_template", None):
            raise ConfigError("the tokenizer has no chat template; set one (`tokenizer.chat_template = ...`)")
        clean = [{**message, "content": _whole(message["content"])} for message in messages]
        if any(spelling in message["content"] for message in clean for spelling in self._spellings):
            return self._fenced_chat(clean)
        ids = self.hf.apply_chat_template(clean, add_generation_prompt=True, tokenize=True, return_dict=False)
        return [int(token) for token in ids]

    def _fenced_chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """The template around place-holders, then each content in its place as plain text: no user can open a turn of another role."""
        contents = [message["content"] for message in messages]
        nonce = hashlib.sha256("\0".join(contents).encode()).hexdigest()[:24]
        holders = [f"{nonce}n{number}n" for number in range(len(messages))]
        held = [{**message, "content": holder} for message, holder in zip(messages, holders, strict=True)]
        rest = str(self.hf.apply_chat_template(held, add_generation_prompt=True, tokenize=False))
        ids: list[int] = []
        for holder, content in zip(holders, contents, strict=True):
            before, found, rest = rest.partition(holder)
            if not found or holder in rest:
                raise ConfigError(
                    "the chat template does not show each message once, in order: special tokens cannot be kept out"
                )
            ids += [*self.hf.encode(before, add_special_tokens=False), *self.encode(content)]
        return [int(token) for token in (*ids, *self.hf.encode(rest, add_special_tokens=False))]


def end_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that end a document: the tokenizer's eos, `<|im_end|>` where it is one token, and those of the model's generation configuration.

    Inference servers stop at all of these. A rollout that knew fewer would ask for more where the document is over.

    Args:
        tokenizer: a `PreTrainedTokenizerBase`; the configuration is looked up where it was loaded from, without asking the hub.
    """
    found: set[Any] = {tokenizer.convert_tokens_to_ids("<|im_end|>")} - {getattr(tokenizer, "unk_token_id", None)}
    found.add(tokenizer.eos_token_id)
    if name := getattr(tokenizer, "name_or_path", ""):
        transformers = require("transformers", "a Hugging Face tokenizer", "offline")
        try:
            configured = transformers.GenerationConfig.from_pretrained(name, local_files_only=True).eos_token_id
        except (OSError, ValueError):  # the model has none
            configured = None
        found |= set(configured) if isinstance(configured, list) else {configured}
    return frozenset(token for token in found if isinstance(token, int) and token >= 0)


@lru_cache(maxsize=8)
def _load(name: str) -> HFTokenizer:
    transformers = require("transformers", "a Hugging Face tokenizer", "offline")
    try:
        return HFTokenizer(
            from_hub(lambda local: transformers.AutoTokenizer.from_pretrained(name, local_files_only=local), name)
        )
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"the tokenizer {name!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


@lru_cache(maxsize=1)
def _byte_alphabet() -> dict[str, int]:
    """The printable stand-ins that byte-level BPE (GPT-2 and its heirs) uses for the 256 bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in printable]
    alphabet = {chr(value): value for value in printable}
    alphabet.update({chr(256 + offset): value for offset, value in enumerate(others)})
    return alphabet


def _byte_pieces(tokenizer: Any) -> tuple[bytes, ...] | None:
    """The bytes of every token of a byte-level vocabulary, or `None` for another kind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or "ByteLevel" not in str(type(backend.decoder)) + repr(backend.decoder)[:200]:
        return None
    alphabet = _byte_alphabet()
    special, added = set(tokenizer.all_special_ids), tokenizer.added_tokens_decoder
    pieces: list[bytes] = []
    for token, name in enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))):
        if token in special or name is None or (token in added and added[token].special):
            pieces.append(b"")
        elif token in added:
            pieces.append(str(added[token].content).encode("utf-8"))
        else:
            if any(char not in alphabet for char in name):
                return None
            pieces.append(bytes(alphabet[char] for char in name))
    return tuple(pieces)
