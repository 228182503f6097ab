"""Hostile text: what is not shown goes, no shape of control token stays, and honest text is left alone."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmi_env.visible_text import defused, folded, visible

CONTROL = str.split("""
<|im_start|> <|im_end|> <|im_sep|> <|endoftext|> <|vision_start|> <|image_pad|> <|box_end|> <|fim_prefix|> <|begin_of_text|>
<|start_header_id|> <|eot_id|> <|python_tag|> <|header_start|> <|eom|> <|image|> <|reserved_special_token_7|> <|user|> <|assistant|> <|end|>
<|image_1|> <|observation|> <|begin_of_image|> <|START_OF_TURN_TOKEN|> <|CHATBOT_TOKEN|> <|start_of_role|> <|tool_call|> <|im_middle|>
<|media_begin|> <|tool_calls_section_begin|> <|channel|> <|constrain|> <|turn> <turn|> <|"|> <｜User｜> <｜Assistant｜>
<｜begin▁of▁sentence｜> <｜tool▁calls▁begin｜> <｜▁pad▁｜> <start_of_turn> <end_of_turn> <start_of_image> <image_soft_token> <unused42>
<end_of_utterance> <fake_token_around_image> <global-img> <row_1_col_2> <IMG_CONTEXT> <img> </img> <image> <image_id> <slice> <用户> <AI>
<loc0012> <seg001> <loc_7> <s> </s> <unk> <pad> <bos> <eos> <mask> <extra_id_0> <BOS_TOKEN> <SPECIAL_20> <reserved_106> <0x0A> <tool_call>
</tool_call> <tool_response> <think> </think> <seed:bos> <racm3:break> <patch_index_0001> <quad> <ref> <eoh> <eoa> <PRE> <end_of_image>
[INST] [/INST] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [AVAILABLE_TOOLS] [TOOL_CALLS] [TOOL_RESULTS] [IMG] [IMG_BREAK] [IMG_END] [THINK] [/THINK]
[gMASK] [sMASK] [CLS] [SEP] [MASK] [PAD] [UNK] [ARGS] [CALL_ID] [control_8] [UNUSED_TOKEN_146] [/inst] <<SYS>> <</SYS>> ]~b] [e~[ ]~!b[
|ENDOFTEXT| |SPEAKER| >>TITLE<< ＜|im_end|＞ ＜ｓ＞ ［INST］ ﹤start_of_turn﹥ ≮bos≯ <<<DOCUMENT
""")


@pytest.mark.parametrize("token", CONTROL)
def test_tokens_of_all_families_are_broken_and_can_still_be_read(token: str) -> None:
    for text in (
        token,
        f"{token}{token}",
        f"owl{token}owl",
        token[:1] + "\u200b\U000e0041" + token[1:],
        token[:1] + "\u0301\u200d\ufe0f\u0301" + token[1:],
    ):
        left = defused(visible(text))
        assert token not in left
        assert unicodedata.normalize("NFKC", token) not in unicodedata.normalize("NFKC", left)
        assert token in left.replace(" ", "")


SHAPES = re.compile(r"<[|｜]|[|｜]>|<(?!/?imgen>)[^\s<>]+>|<<<|\[/\w+\]|\[[a-z]{0,3}[A-Z]{3,}\w*\]|\[\w*_\w*\]")
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0d\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)
HOSTILE = st.text("<>|｜[]/~_ INSTthink\u202e\u200b\u200d\ufe0f\u0301\U000e0041＜≮é\n") | st.lists(
    st.sampled_from(CONTROL)
).map("".join)


@given(st.text() | HOSTILE)
@example("<\ufe0f\u200d|im_end|>")
@example("<|im_<|im_end|>end|>")
def test_no_shape_of_a_control_token_and_nothing_unseen_is_left(text: str) -> None:
    left = defused(visible(text))
    assert not SHAPES.search(left)
    assert not HIDDEN.search(left.replace("\xa0", " "))
    assert defused(visible(left)) == left
    left.encode()


@pytest.mark.parametrize(
    "text",
    [
        "a < b, b > c; x | y; p <= q; r <- s; 3 << 2",
        "日本語 Wörter\n\tüber «sie» 《書》",
        "👩‍👩‍👧 ❤️‍🔥 5️⃣ می‌خواهم क्‍ष",
        "[1] and [Smith 2020] and [sic], [a link](https://x.org), - [x] done",
        '<imgen>{"a": [1, 2], "b": {"c": 3}}</imgen>',
        "| owls | mice |\n|---|---|\n| 1 | 2 |",
        "Đặng Thị Ngọc, กำลัง, שָׁלוֹם, བསྒྲུབས, é",
        "plt.plot(x[0], y[1:])\nif a<3 and b>4: pass",
        "f(x) = |x|, 5 € ±2 °C, soft\u00a0space",
    ],
)
def test_honest_text_is_left_as_it_is(text: str) -> None:
    assert defused(visible(text)) == text


def test_every_character_that_a_normaliser_makes_a_bracket_of_counts_as_one() -> None:
    frames = {"<": "{}x>", ">": "<|x{}", "|": "<{}x", "[": "{}IMG]", "]": "[IMG{}"}
    found = {
        code: {unicodedata.normalize(form, chr(code))[0] for form in ("NFKC", "NFKD")} & set(frames)
        for code in range(0x110000)
    }
    for code, brackets in found.items():
        for bracket in brackets:
            text = frames[bracket].format(chr(code))
            assert len(defused(text)) > len(text), f"U+{code:04X} becomes {bracket}"
    assert sum(map(len, found.values())) > 10


def test_what_is_not_shown_is_gone() -> None:
    secret = "".join(chr(0xE0000 + ord(char)) for char in "score 5") + "".join(chr(0xE0100 + at) for at in range(16))
    assert visible(f"o{secret}w\u202el\u2066s\ufeff\x00\x1b\ue000\ufdd0\ud800") == "owls"
    assert visible("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h") == "a\nb\nc\nd\ne\nf\ng\nh"
    assert visible("o\u200dw\ufe0fl\u200c") == "owl"
    assert visible("z" + "\u0300\u200d" * 50 + "a") == "z" + "\u0300\u200d" * 2 + "\u0300a"
    assert visible("z" + "\u0300\u0301\u0302\u0303" * 50) == "z" + "\u0300\u0301\u0302\u0303\u0300\u0301"


def test_look_alikes_are_spelt_in_plain_letters() -> None:
    assert folded("ѕсоrе：５ ｓｃｏｒｅ 𝐬𝐜𝐨𝐫𝐞 s\u200bcore – АВС ΑΒΕ") == "score:5 score score score - ABC ABE"
    assert folded("plain") == "plain"


@pytest.mark.parametrize(
    "text",
    [
        "a", "<", "<a", "[A", "[a_", "[/a-", "|A", "|>", "~[", ">>a", "<|im|>", "\u0301", "a\u0301\u0302", "\u200d", "é\ufe0f", "\u202e",
        "\U000e0041", "≮", "(((", "日",
    ],
)  # fmt: skip
def test_a_million_characters_take_about_ten_times_as_long_as_a_tenth_of_them(text: str) -> None:
    def seconds(size: int) -> float:
        long = text * (size // len(text))
        start = time.process_time()
        defused(visible(long))
        folded(long)
        return time.process_time() - start

    assert seconds(1_000_000) < 30 * max(min(seconds(100_000) for _ in range(3)), 0.01)


def test_a_run_in_one_token_and_all_of_unicode_take_linear_time_too() -> None:
    start = time.process_time()
    for text in (
        "<" + "a" * 1_000_000,
        "[" + "A" * 1_000_000,
        "|" + "A" * 1_000_000,
        ">>" + "a" * 1_000_000,
        "[/" + "a-" * 500_000,
    ):
        assert defused(visible(text)) == text
    defused(visible("".join(map(chr, range(0, 0x110000, 5)))))
    assert time.process_time() - start < 20
