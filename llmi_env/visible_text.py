"""Hostile text made harmless for whoever reads it next: what a person would see of it, and nothing that a machine would take for more.

Three steps, each a function and each linear in the text:

- `visible` takes out what is not shown: controls, bidirectional overrides, tag characters, variation selectors, private characters,
  floods of accents;
- `defused` breaks every shape of control token that chat templates use, known or not, by one space, which a reader hardly notices;
- `folded` spells look-alikes in plain letters: for finding words, not for reading.

Nothing is normalised as a whole: `unicodedata.normalize` takes quadratic time for a long run of accents, and a policy can write one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_BREAKS = "\r\x0b\x0c\x85\u2028\u2029"
_JOINERS = "\u200c\u200d"  # emoji, Persian and the scripts of India need them
_STYLES = "\ufe0e\ufe0f"  # whether a sign is shown as text or as emoji
_MOST_MARKS = 6  # accents on one letter; Tibetan stacks come to that

# Unicode's Default_Ignorable_Code_Point, without joiners and styles, and characters that only annotate others.
_UNSEEN: Final = frozenset(
    code
    for first, last in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200B),
        (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0D), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
        (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)  # fmt: skip

# Every character that a tokenizer's normaliser (NFKC, or NFKD without accents) turns into the first of its class; a test looks them all up.
_LT, _GT, _BAR, _LEFT, _RIGHT = "<＜﹤≮", ">＞﹥≯", "|｜", r"\[［﹇", r"\]］﹈"
_FRAME = f"{_LT}{_GT}{_BAR}{_LEFT}{_RIGHT}"
_NO_SEAT = rf"\x00-\x7f{_FRAME}"  # where neither a joiner nor a style has anything to do

_LOOSE_STYLES = re.compile(rf"(?<![^{_NO_SEAT}{_JOINERS}{_STYLES}])[{_STYLES}](?!\u20e3)")
_LOOSE_JOINERS = re.compile(rf"(?<![^{_NO_SEAT}{_JOINERS}])[{_JOINERS}]|[{_JOINERS}](?![^{_NO_SEAT}{_JOINERS}])")

_FENCES = re.compile(rf"[{_LT}]{{3,}}")
_OPENERS = re.compile(
    rf"[{_LT}](?=[{_BAR}])"  # <|im_start|>, <｜User｜>, <|turn>
    rf"|[{_LT}](?!/?imgen>)(?=[^\s{_LT}{_GT}]+[{_GT}])"  # <start_of_turn>, </s>, <image>, <loc0012>, <用户>, <0x0A>
    rf"|[{_LEFT}](?=/[\w-]+[{_RIGHT}])"  # [/INST]
    rf"|[{_LEFT}](?=\w+[{_RIGHT}])(?=[a-z]{{0,3}}[A-Z][A-Z0-9]{{2}}|[A-Za-z0-9]*_)"  # [INST], [gMASK], [control_8]
    rf"|[{_RIGHT}](?=[~{_LT}])"  # ]~b], ]<]start of image[>[
    rf"|[{_BAR}](?=[A-Z_]{{4,}}[{_BAR}])"  # |ENDOFTEXT|
    rf"|[{_GT}](?=[{_GT}]\w{{2,}}[{_LT}]{{2}})"  # >>TITLE<<
)
_CLOSERS = re.compile(rf"(?<=[{_BAR}])[{_GT}]|(?<=~)[{_LEFT}]")  # |>, [e~[

_LOOK_ALIKES: Final = str.maketrans(
    "АВЕЅІЈКМНОРСТХаеіјоѕрсухԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοα–—−‒―‐‑ı", "ABESIJKMHOPCTXaeijospcyxdqwABEZHIKMNOPTYXoa-------i"
)


def visible(text: str) -> str:
    """What is shown of a text, with `\\n` for every kind of line end.

    >>> visible("o\\u200bw\\u202el\\r\\nhoot" + "\\u0301" * 99) == "owl\\nhoot" + "\\u0301" * 6
    True
    """
    plain = text.replace("\r\n", "\n")
    if plain.isascii() and plain.replace("\n", "").replace("\t", "").isprintable():
        return plain
    found = set(plain)
    shown = {ord(char): instead for char in found if (instead := _shown(char)) != char}
    plain = plain.translate(shown) if shown else plain
    if hanging := "".join(sorted(char for char in found if _hangs(char))):
        plain = re.sub(rf"(?<=[{_FRAME}])[{hanging}]+|(?<=[{hanging}]{{{_MOST_MARKS}}})[{hanging}]+", "", plain)
        plain = _LOOSE_JOINERS.sub("", _LOOSE_STYLES.sub("", plain))
    return plain


def defused(text: str) -> str:
    """The text with a space in whatever a chat template might read as a control token, and in what looks like our own fences.

    It goes by shape and knows no names: `<...>` without white space, `<|`, `|>`, capitals between brackets, and the rarer frames that model
    families use. The tags of this project's own calls stay.

    >>> defused("<|im_end|> <image> [INST] <imgen>{}</imgen> a < b")
    '< |im_end| > < image> [ INST] <imgen>{}</imgen> a < b'
    """
    text = _FENCES.sub(lambda run: " ".join(run[0]), text)
    return _CLOSERS.sub(lambda found: f" {found[0]}", _OPENERS.sub(lambda found: f"{found[0]} ", text))


def folded(text: str) -> str:
    """What is shown of a text, with compatibility forms and the commonest look-alikes in plain letters, character by character.

    >>> folded("ѕсоrе：５ — 𝗼𝘄𝗹")
    'score:5 - owl'
    """
    shown = visible(text)
    if shown.isascii():
        return shown
    plain = {ord(char): unicodedata.normalize("NFKC", char) for char in set(shown) if not char.isascii()}
    return shown.translate(plain).translate(_LOOK_ALIKES)


def _shown(char: str) -> str:
    if " " <= char <= "~" or char in "\n\t" or char in _JOINERS or char in _STYLES:
        return char
    if char in _BREAKS:
        return "\n"
    code = ord(char)
    empty = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # no characters at all
    if empty or code in _UNSEEN or unicodedata.category(char) in ("Cc", "Cs", "Co"):
        return ""
    return char


def _hangs(char: str) -> bool:
    """Whether it takes no room of its own: accents, joiners and styles."""
    return char in _JOINERS or char in _STYLES or unicodedata.category(char) in ("Mn", "Me")
