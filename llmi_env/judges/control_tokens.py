"""Keeping a document's text from becoming control tokens of the very tokenizer that reads it.

`llmi_env.judges.prompt.clean` breaks what has the shape of a control token. Here the tokenizer itself is asked: what is left after that is
encoded, and wherever an id comes out that plain text must never be, its spelling is broken, until none is left. So it does not matter how a
model spells its tokens, nor what its normaliser makes of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_ROUNDS = 8
_ROLES = ("bos", "eos", "sep", "cls", "mask")
_CALL_TAGS = frozenset({"<imgen>", "</imgen>"})
"""What a policy's own tokenizer may have as tokens when it is the judge's: they are how judges are shown calls."""
_PLAIN_WORD = re.compile(r"\s*\w*\s*")
_NOT_WORDS = re.compile(r"[^\w\s]")


class ControlTokens:
    """Control tokens of one tokenizer: all special ones, and added ones that are not just words or white space.

    Args:
        tokenizer: a `PreTrainedTokenizerBase`.
        processor: of a vision-language model; its `image_token` and the like are placeholders for pictures, in the vocabulary or not.
    """

    def __init__(self, tokenizer: Any, processor: Any = None) -> None:
        self._tokenizer = tokenizer
        self._spellings = dict(_of(tokenizer))
        self._placeholders = sorted({spelling for spelling in _placeholders(processor) if _breakable(spelling)})
        unknown = getattr(tokenizer, "unk_token_id", None)
        if unknown is not None and unknown not in {getattr(tokenizer, f"{role}_token_id", None) for role in _ROLES}:
            # What the tokenizer does not know is in honest text too, and says nothing to a model.
            self._spellings.pop(unknown, None)

    def spaced(self, text: str) -> str:
        """The text with every control token's spelling broken by a space: encoded, it has no id of one.

        What spells one only after normalisation is left out, and in the last resort everything but words is.
        """
        for spelling in self._placeholders:
            text = _broken(text, spelling)
        for _ in range(_ROUNDS):
            ids = self._encoded(text)
            found = self._spellings.keys() & set(ids)
            if not found:
                return text
            spaced = text
            for token in sorted(found):
                spaced = _broken(spaced, self._spellings[token])
            text = spaced if spaced != text else self._without(ids)
        return _NOT_WORDS.sub(" ", text)

    def _encoded(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _without(self, ids: list[int]) -> str:
        runs: list[list[int]] = [[]]
        for token in ids:
            if token in self._spellings:
                runs.append([])
            else:
                runs[-1].append(token)
        return " ".join(self._tokenizer.decode(run) for run in runs)


def _of(tokenizer: Any) -> Iterator[tuple[int, str]]:
    for token, spelling in zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True):
        if _breakable(str(spelling)):
            yield token, str(spelling)
    for token, entry in tokenizer.added_tokens_decoder.items():
        spelling = str(entry)
        control = entry.special or not (_PLAIN_WORD.fullmatch(spelling) or spelling in _CALL_TAGS)
        if control and _breakable(spelling):
            yield token, spelling


def _placeholders(processor: Any) -> Iterator[str]:
    for name in dir(processor) if processor is not None else ():
        if name.endswith("_token") and (value := getattr(processor, name, None)) is not None:
            yield str(value)


def _breakable(spelling: str) -> bool:
    """Whether texts can do without it: a tokenizer may pad with "!" or end with a line end, which they are full of."""
    return not spelling.isspace() and (len(spelling) > 1 or not spelling.isascii())


def _broken(text: str, spelling: str) -> str:
    return text.replace(spelling, f"{spelling[0]} {spelling[1:]}" if len(spelling) > 1 else " ")
