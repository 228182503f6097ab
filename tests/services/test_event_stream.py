"""Server-sent events, however they are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env.services.event_stream import EventStream


def cut(stream: bytes, places: list[int]) -> list[str]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    events = EventStream()
    found = [event for start, stop in itertools.pairwise(edges) for event in events.feed(stream[start:stop])]
    return found + events.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"\xef\xbb\xbfdata:a\r\n\r\ndata: b\r\rdata:  c\n\n", ["a", "b", " c"]),
        (b": a comment\nevent: x\nid: 7\nretry: 10\ndata: one\ndata: two\n\n", ["one\ntwo"]),
        (b"data\n\ndata:\n\n\n\n", ["", ""]),
        (b"event: ping\n\n: ping\n\ndata: last, without its empty line", ["last, without its empty line"]),
        ("data: \u00e9\u20ac\U0001f600\n\n".encode(), ["\u00e9\u20ac\U0001f600"]),
        (b"data: \xff\n\n", ["\ufffd"]),
        (b"<html>\n<body>no events</body>", []),
    ],
)
@settings(max_examples=20)
@given(places=st.lists(st.integers(0, 200), max_size=6))
def test_events_are_the_same_however_the_bytes_are_cut(stream: bytes, events: list[str], places: list[int]) -> None:
    assert cut(stream, places) == cut(stream, list(range(len(stream)))) == events


def test_an_event_without_end_is_refused_and_comments_do_not_count() -> None:
    events = EventStream(longest=100)
    for _ in range(50):
        assert events.feed(b": still here\n") == []
    assert events.feed(b"data: " + b"x" * 60) == []
    with pytest.raises(ValueError, match="more than 100"):
        events.feed(b"x" * 60)
    many = EventStream(longest=100)
    with pytest.raises(ValueError, match="more than 100"):
        many.feed(b"data: 123456789\n" * 20)
