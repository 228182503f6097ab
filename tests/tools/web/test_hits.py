"""Texts, numbers, licences and addresses as services write them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from llmi_env.tools.web.hits import number, plain, spdx, web_address

# ------------------------------------------------------------------------------------------------------- texts and numbers


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<a href='x'>Ann</a>", "Ann"),
        ("a<br/>b<p>c</p>d", "a b c d"),
        ("H<sub>2</sub>O", "H2O"),
        ("<style>p{}</style><script>alert(1)</script>x", "x"),
        ("1 &lt; 2 &amp; 3", "1 < 2 & 3"),
        ("  two\n\tlines\x00\u202e\u200b ", "two lines"),
        ("5 < 6", "5 < 6"),
        (None, ""),
        (True, ""),
        (["x"], ""),
        (1984, "1984"),
        ("\ud800x", "x"),
        ("x" * 50, "x" * 29 + "…"),
    ],
)
def test_markup_becomes_plain_text(markup: Any, text: str) -> None:
    assert plain(markup, 30) == text


@pytest.mark.parametrize("piece", ["<", "<a ", "<a b='", "<!--", "</", "&", "&#", "<script>", "<x", "a"])
def test_markup_that_is_made_to_be_slow_is_not(piece: str) -> None:
    start = time.process_time()
    plain(piece * (1_000_000 // len(piece)), 100)
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            3,
            "",
            "data:image/png;base64,AA",
            "file:///etc/passwd",
            "ftp://a.example/b",
            "https://",
            "http://[::1",
        ),
        *("https://a.example/" + "x" * 2000, "http://a.example/\x00"),
    ],
)
def test_only_addresses_on_the_web_are_kept(value: Any) -> None:
    assert web_address(value, "") == ""


def test_numbers_of_pixels() -> None:
    assert [number(value) for value in (5, 5.9, "7", "07", "x", 0, -1, 1e12, True, None, float("nan"), "²")] == [
        *(5, 5, 7, 7, None, None, None, None, None, None, None, None)
    ]


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("CC BY 3.0", "CC-BY-3.0"),
        ("CC BY-NC-SA 2.5", "CC-BY-NC-SA-2.5"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC BY-SA 3.0 de", "CC BY-SA 3.0 de"),
        ("Public Domain", "LicenseRef-public-domain"),
        ("GPL", "GPL"),
        ("", ""),
    ],
)
def test_licences_have_their_spdx_names(name: str, licence: str) -> None:
    assert spdx(name) == licence
