from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.calls import BUILTIN, Call, CallScanner, CallText, TextRun, parse_call, parse_tool_call
from llmi_env.errors import BadCall, MalformedCall
from tests.streams import FRAGMENTS, SEARCH, cut, random_stream


def test_the_canonical_body_is_json() -> None:
    call = parse_call('{"source": "search", "description": "an owl", "params": {"query": "barn owl"}}')
    assert call == Call("search", "an owl", {"query": "barn owl"})
    assert parse_call(call.to_json()) == call


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_as_json_is_read_back(description: str, query: str) -> None:
    call = Call("search", description, {"query": query})
    assert parse_call(call.to_json()) == call


def test_python_literals_are_read() -> None:
    body = "{'source': 'edit', 'description': 'grey', 'params': {'img_index': 1, 'prompt': \"the owl's eyes\"}}"
    assert parse_call(body) == Call("edit", "grey", {"img_index": 1, "prompt": "the owl's eyes"})


def test_many_signs_inside_a_python_string_are_only_text() -> None:
    dates = ", ".join(f"'2020-{month:02}-01'" for month in range(1, 61))
    body = repr({"source": "code", "description": "d", "params": {"code": f"x = [{dates}]\nplt.plot(x)"}})
    assert parse_call(body).params["code"].count("-") == 120


def test_an_apostrophe_inside_a_single_quoted_string_breaks_the_body() -> None:
    with pytest.raises(MalformedCall):
        parse_call("{'source': 'search', 'description': 'the owl's nest', 'params': {'query': 'owl'}}")


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("plt.bar(['a'], [1])\nplt.title('Owl's age')", "plt.bar(['a'], [1])\nplt.title('Owl's age')"),
        ("plt.plot([1])\\nplt.title('a')", "plt.plot([1])\nplt.title('a')"),
    ],
)
def test_code_with_raw_quotes_and_newlines_still_parses(written: str, code: str) -> None:
    body = "{'source': 'code', 'description': 'ages', 'params': {'code': '" + written + "'}}"
    assert parse_call(body) == Call("code", "ages", {"code": code})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "   ",
        "owl",
        "[1, 2]",
        "None",
        '{"source": "search", "params": {"query": "a"}}',
        '{"source": "search", "description": "a", "params": {"query": "a"}, "extra": 1}',
        '{"source": 1, "description": "a", "params": {"query": "a"}}',
        '{"source": "search", "description": "a", "params": "owl"}',
        '{"source": "search", "description": "a", "params": {"query": "a"}',
        "{'source': 'search', 'description': 'a', 'params': {1: 'a'}}",
        "{'source': 'search', 'description': 'a', 'params': {'query': b'a'}}",
        "__import__('os').system('true')",
        "{**{}}",
    ],
)
def test_a_body_that_is_no_call_is_malformed(body: str) -> None:
    with pytest.raises(MalformedCall):
        parse_call(body)


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "not " * 4000 + "1",
        "1" + "**1" * 5000,
        "lambda:" * 2500 + "1",
        "-" * 15_000 + "1",
        "~(" * 49 + "1",
        '{"source": "search", "description": "d", "params": {"query": NaN}}',
        '{"source": "edit", "description": "d", "params": {"img_index": 1e999, "prompt": "p"}}',
        '{"source": "edit", "description": "d", "params": {"img_index": ' + "9" * 5000 + ', "prompt": "p"}}',
        "{'source': 'edit', 'description': 'd', 'params': {'img_index': 0x" + "f" * 9000 + ", 'prompt': 'p'}}",
        '{"source": "search", "description": "d", "params": {"query": "\\ud800"}}',
        '{"source": "search", "description": "\ud800", "params": {"query": "a"}}',
        "{'source':'code','description':'d','params':{'code':'x'" + " " * 19_000 + "z",
        "{'source':'code','description':'" + "','params':{'code':'" * 900 + "z",
    ],
)
def test_hostile_bodies_are_malformed_and_cost_little(body: str) -> None:
    with pytest.raises(MalformedCall) as raised:
        parse_call(body)
    assert len(str(raised.value)) < 300


def test_of_duplicated_keys_the_last_counts_as_in_every_json_reader() -> None:
    body = '{"source": "search", "source": "code", "description": "d", "params": {"code": "x"}}'
    assert parse_call(body).tool == "code"


def test_hermes_calls() -> None:
    call = parse_tool_call('{"name": "search", "arguments": {"query": "bee", "description": "a bee"}}')
    assert call == Call("search", "a bee", {"query": "bee"})
    assert parse_tool_call('{"name": "search", "arguments": {"query": "bee"}}').description == ""
    for body in (
        "",
        "[]",
        '{"name": "search"}',
        '{"name": "a", "arguments": []}',
        '{"name": 1, "arguments": {}}',
        "NaN",
    ):
        with pytest.raises(MalformedCall):
            parse_tool_call(body)


class TestCheck:
    def test_exactly_the_tools_params(self) -> None:
        Call("search", "", {"query": "a"}).check(0, 0)
        for params in ({}, {"query": "a", "n": 1}, {"prompt": "a"}, {"query": 1}, {"query": None}):
            with pytest.raises(BadCall) as raised:
                Call("search", "", params).check(0, 0)
            assert raised.value.kind == "bad_params"

    def test_an_unknown_tool_names_the_nearest(self) -> None:
        with pytest.raises(BadCall, match="did you mean 'search'") as raised:
            Call("serch", "", {"query": "a"}).check(0, 0)
        assert raised.value.kind == "unknown_tool"

    @pytest.mark.parametrize(("inputs", "calls", "good"), [(0, 0, []), (2, 0, [0, 1]), (1, 2, [0, 1, 2])])
    def test_img_index_counts_inputs_first_then_calls(self, inputs: int, calls: int, good: list[int]) -> None:
        for index in range(-2, 6):
            call = Call("edit", "", {"img_index": index, "prompt": "p"})
            if index in good:
                call.check(inputs, calls)
            else:
                with pytest.raises(BadCall):
                    call.check(inputs, calls)

    @pytest.mark.parametrize("index", [True, "0", 0.0, None, int("9" * 4000)])
    def test_img_index_is_a_number_in_range_and_nothing_like_it(self, index: object) -> None:
        with pytest.raises(BadCall) as raised:
            Call("edit", "", {"img_index": index, "prompt": "p"}).check(3, 3)
        assert len(str(raised.value)) < 200

    def test_every_example_can_be_carried_out(self) -> None:
        for spec in BUILTIN.values():
            Call(spec.name, "d", dict(spec.example)).check(1, 0)


def _events(pieces: list[str]) -> list[TextRun | CallText]:
    scanner = CallScanner()
    events = [event for piece in pieces for event in scanner.feed(piece)] + scanner.close()
    joined: list[TextRun | CallText] = []
    for event in events:
        if isinstance(event, TextRun) and joined and isinstance(joined[-1], TextRun):
            joined[-1] = TextRun(joined[-1].text + event.text)
        else:
            joined.append(event)
    return joined


class TestScanner:
    def test_text_and_calls_in_order(self) -> None:
        assert _events(["a", SEARCH, "b"]) == [TextRun("a"), CallText(SEARCH[7:-8]), TextRun("b")]

    def test_calls_inside_thoughts_do_not_count(self) -> None:
        assert _events([f"a<think>b{SEARCH}c</think>d"]) == [TextRun("ad")]
        assert _events([f"a<think>b{SEARCH}"]) == [TextRun("a")]

    def test_a_thought_inside_a_call_is_its_text(self) -> None:
        assert _events(["<imgen>a<think>b</imgen>c"]) == [CallText("a<think>b"), TextRun("c")]

    def test_an_unclosed_call_and_half_a_tag(self) -> None:
        assert _events(["a<imgen>b</img"]) == [TextRun("a"), CallText("b</img", closed=False)]
        assert _events(["a<imge"]) == [TextRun("a<imge")]
        with pytest.raises(MalformedCall, match="never closed"):
            CallText(json.dumps({}), closed=False).parse()

    @given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join), st.lists(st.integers(0, 10_000), max_size=12))
    def test_any_cut_gives_the_same_events(self, text: str, places: list[int]) -> None:
        assert _events(cut(text, places)) == _events([text])
        assert _events(list(text)) == _events([text])

    def test_text_comes_out_as_soon_as_it_is_certain(self) -> None:
        scanner = CallScanner()
        assert scanner.feed("owl <") == [TextRun("owl ")]
        assert scanner.feed("im") == []
        assert scanner.feed("x") == [TextRun("<imx")]

    def test_random_streams_keep_every_character(self) -> None:
        dice = random.Random(5)
        for _ in range(300):
            text = random_stream(dice).replace("think", "thunk")
            parts = []
            for event in _events([text]):
                if isinstance(event, TextRun):
                    parts.append(event.text)
                else:
                    parts.append(f"<{event.tag}>{event.body}" + (f"</{event.tag}>" if event.closed else ""))
            assert "".join(parts) == text


@pytest.mark.parametrize(
    "body",
    [
        "{" + "\\'''\n" * 3990,
        "{'source': 'code', 'description': '" + "','params':{'code':'''" * 900,
        "{'source': 'code', 'description': '" + "','params':{'code':'''" * 900 + '"}}',
        "{'source': 'code', 'description': '" + "' " * 9900,
        "'" * 19_999,
        "{" + '"a\\' * 6000,
        "{" + " " * 19_990 + "'",
        "{'source': 'code', 'description': '" + "'," + " " * 19_900,
    ],
)
def test_long_bodies_cost_no_more_than_their_length(body: str) -> None:
    """Twenty thousand characters take milliseconds; what tried again from every character would take seconds."""
    started = time.process_time()
    with pytest.raises(MalformedCall):
        parse_call(body)
    assert time.process_time() - started < 0.2
