"""Scaling of any source: an endpoint that is asked for parts in words, and the source that an evaluation takes its documents from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmi_env.calls import BUILTIN
from llmi_env.config import EnvConfig, load_config
from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.sources.base import NotWritten, Order, Written
from llmi_env.evaluate.sources.scaled_source import ScaledSource, SourceWriter, open_scaled
from llmi_env.making import NOT_SCORED
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.scaling import Budget, Plan, PolicyWriter, load_scaled
from llmi_env.scaling.asking import mending_task, rewriting_task, rewritten
from llmi_env.scaling.writing import Room
from llmi_env.task import Task
from tests.judges.chat_server import Answer, ChatServer, failing, text_of
from tests.scaling.kit import OWLS, REWARD, WordJudge, call, scaled, texts, world

OWL = call("search", "owl")


def streaming(say: Callable[[str], str]) -> Answer:
    """Streams what `say` makes of the user's message, as https://platform.openai.com/docs/api-reference/chat/streaming has it: chunks
    `data: {...}`, the last one with the usage that `stream_options` asks for, then `data: [DONE]`.
    """

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        text = say(text_of(request))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
        choices: list[dict[str, Any]] = [
            {"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces
        ]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
        usage = {"prompt_tokens": 50, "completion_tokens": len(pieces), "total_tokens": 50 + len(pieces)}
        chunks.append({"choices": [], "usage": usage})
        for chunk in chunks:
            data = json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk})
            writer.write(f"data: {data}\n\n".encode())
        writer.write(b"data: [DONE]\n\n")

    return answer


def config() -> EnvConfig:
    return load_config("rules")


def endpoint(server: ChatServer, **options: Any) -> str:
    return json.dumps({"model": "m", "base_url": server.base_url, "retries": 0, **options})


def scaled_by(
    answer: Answer,
    scaling: str,
    judge: WordJudge | None = None,
    task: Task = OWLS,
    keep: Path | None = None,
    **options: Any,
) -> tuple[list[Written | NotWritten], list[dict[str, Any]], ScaledSource]:
    """Two orders for one task, scaled by an endpoint that answers so; and the requests that it got."""

    async def run() -> tuple[list[Written | NotWritten], list[dict[str, Any]], ScaledSource]:
        place, found = world(judge), dict[int, Written | NotWritten]()
        async with ChatServer(answer) as server:
            source = open_scaled(
                scaling, endpoint(server), place, config(), max_tokens=300, temperature=0.7, keep=keep, **options
            )
            source._reward = REWARD
            orders = [Order(Item(task), sample, 100 + sample) for sample in range(2)]
            try:
                await source.write(orders, lambda order, written: found.update({order.sample: written}))
            finally:
                await source.aclose()
                await place.aclose()
            return [found[sample] for sample in range(2)], server.requests, source

    return asyncio.run(run())


def writer_that_can_do_all(said: str) -> str:
    if "Write this one call again" in said:
        assert "NameError: name 'bug' is not defined" in said
        return f"Here it is: {call('code', 'plot')}"
    if "Below is a document" in said:
        return "Good good owls.\n[figure 0: a new name]\nA good end."
    return f"Owls. {call('code', 'bug')} The end."


def test_an_endpoint_mends_its_code_and_polishes_its_text() -> None:
    (first, second), requests, source = scaled_by(
        streaming(writer_that_can_do_all), "2,validate,select,enhance=1,polish=1"
    )
    assert isinstance(first, Written)
    assert isinstance(second, Written)
    document = first.rollout.document
    assert " ".join(document.text.split()) == "Good good owls. A good end."
    assert [figure.picture.provenance.title for figure in document.figures if figure.picture] == ["chart plot"]
    assert (first.rollout.seed, second.rollout.seed) == (100, 101)
    assert first.rollout.report == NOT_SCORED, "what chose it is no judge of it"
    assert first.rollout.task == OWLS
    assert first.prompt_tokens == 50 * 4, "two documents, a call, a text"
    assert first.tokens > 0
    assert len(requests) == 2 * 4
    assert source.identity["scaling"]["plan"]["samples"] == 2
    assert source.identity["policy"].endswith(", scaled")


def test_a_mended_call_is_carried_out_once() -> None:
    (first, _), _, _ = scaled_by(streaming(writer_that_can_do_all), "1,validate,enhance=1")
    assert isinstance(first, Written)
    assert first.rollout.document.to_source() == f"Owls. {call('code', 'plot')} The end."


def test_everything_tried_is_kept_beside_the_evaluation(tmp_path: Path) -> None:
    scaled_by(streaming(writer_that_can_do_all), "2,validate,select,polish=1", keep=tmp_path)
    found = load_scaled(tmp_path, "owls-2")
    assert [candidate.stage for candidate in found.tried] == ["sample", "sample", "polish"]
    assert found.task == OWLS


def test_what_an_endpoint_cannot_give_is_missing_and_not_empty() -> None:
    (first, second), _, _ = scaled_by(failing(500, "on fire"), "2,select")
    for found in (first, second):
        assert isinstance(found, NotWritten)
        assert "on fire" in found.reason


def test_what_nobody_counted_has_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewriting that writes a call is broken off, before the server tells what it took: what is known would pass for all."""
    priced = partial(endpoint, prompt_price=1e6, completion_price=1e6)
    monkeypatch.setitem(globals(), "endpoint", priced)

    def say(said: str) -> str:
        return f"Owls. {OWL} The end. {'And so on. ' * 200 if 'Below is a document' in said else ''}"

    (whole, _), _, _ = scaled_by(streaming(say), "1,validate")
    (broken, _), requests, _ = scaled_by(streaming(say), "1,polish=1,enough=none")
    assert isinstance(whole, Written)
    assert isinstance(broken, Written)
    assert (whole.counted, whole.cost) == (True, whole.tokens + 50)
    assert any("Below is a document" in text_of(request) for request in requests)
    assert (broken.counted, broken.cost) == (False, None)


def test_a_budget_makes_documents_of_an_endpoint_smaller() -> None:
    (first, _), requests, _ = scaled_by(
        streaming(lambda said: f"Owls. {OWL} {OWL}"), "1", budget=Budget(tokens=200, tool_calls=1)
    )
    assert isinstance(first, Written)
    assert requests[0]["max_tokens"] == 200
    assert len(first.rollout.document.figures) == 1


def test_a_model_in_this_process_goes_on_from_its_own_text() -> None:
    async def run() -> list[Written | NotWritten]:
        place, found = world(), dict[int, Written | NotWritten]()

        class Named:
            name = "scripted"
            identity: Mapping[str, Any] = {"policy": "scripted"}

            async def write(self, orders: object, done: object) -> None:
                raise AssertionError("the writer writes")

            async def aclose(self) -> None:
                return None

        async def writer() -> PolicyWriter:
            return PolicyWriter(ScriptedPolicy(texts("Owls.", "good owls.", "good good owls.")), place)

        source = ScaledSource(Named(), writer, place, REWARD, Plan(3, ("select",)), Budget(), BUILTIN)
        await source.write([Order(Item(OWLS), 0, 7)], lambda order, written: found.update({0: written}))
        await source.aclose()
        await place.aclose()
        return list(found.values())

    (written,) = asyncio.run(run())
    assert isinstance(written, Written)
    assert written.rollout.document.text == "good good owls."
    assert (written.rollout.seed, written.cost) == (7, None)


@pytest.mark.parametrize(
    ("scaling", "policy", "told"),
    [("4", "documents:somewhere", "finished"), ("four", "openai:m@http://127.0.0.1:1/v1", "number of documents")],
)
def test_what_cannot_be_scaled_is_told(scaling: str, policy: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        open_scaled(scaling, policy, world(), config(), max_tokens=100, temperature=1.0)


# --------------------------------------------------------------------------------------------------------- asking in words


def draft() -> Document:
    return scaled(f"[figure 9] Owls. {OWL} Then {call('search', 'nothing')} and <imgen>{{</imgen>", stages="1").document


def answer(text: str) -> Document:
    return Document((Text(text),))


def test_a_rewriting_is_asked_for_with_a_line_for_each_figure() -> None:
    document = draft()
    asked = rewriting_task(OWLS, document)
    lines = [line for line in asked.question.splitlines() if line.startswith("[figure ") and "N" not in line]
    assert lines[1:] == [
        "[figure 0: owl]",
        "[figure 1: nothing (no picture came)]",
        "[figure 2: a call that cannot be read (no picture came)]",
    ]
    assert asked.images == document.pictures
    assert asked.image_count == "none"


def test_a_rewriting_keeps_every_figure() -> None:
    document = draft()
    made, why = rewritten(document, answer("New.\n[figure 0: owl]\nMore. [figure 1] And [figure 2: x] end."))
    assert why == ""
    assert made is not None
    assert made.figures == document.figures
    assert " ".join(made.text.split()) == "New. More. And end."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("New text.", "figure 0 is left out"),
        ("[figure 0][figure 1]", "figure 2 is left out"),
        ("A [figure 1] B [figure 0] C [figure 2]", "figure 1 stands where figure 0 belongs"),
        ("A [figure 0] B [figure 0] C", "figure 0 stands where figure 1 belongs"),
        ("A [figure 0] [figure 1] [figure 2] [figure 3]", "there is no figure 3"),
        ("[figure 0] [figure 1] [figure 2]", "nothing was written"),
    ],
)
def test_a_rewriting_that_lost_its_figures_is_none(text: str, why: str) -> None:
    assert rewritten(draft(), answer(text)) == (None, why)


def test_a_rewriting_with_calls_of_its_own_is_none() -> None:
    made, why = rewritten(draft(), draft())
    assert (made, why) == (None, "the rewriting holds 3 calls of its own")


def test_what_mends_a_call_is_told_what_was_written_and_what_came() -> None:
    document = scaled(f"A chart. {call('code', 'bug')}", stages="1").document
    asked = mending_task(OWLS, document, 0)
    assert call("code", "bug") in asked.question
    assert "raised: NameError: name 'bug' is not defined" in asked.question


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("I cannot.", "no call was written"),
        ("<imgen>{</imgen>", "Python literal"),
        (call("edit", "grey", img_index=5), "there is no picture 5"),
    ],
)
def test_an_endpoint_that_does_not_mend_is_told_why(said: str, why: str) -> None:
    def say(message: str) -> str:
        return said if "Write this one call again" in message else f"Owls. {call('code', 'bug')}"

    async def run() -> Sequence[Any]:
        place = world()
        async with ChatServer(streaming(say)) as server:
            from llmi_env.evaluate.sources.base import open_source

            writer = SourceWriter(
                lambda room: open_source(endpoint(server), place, config(), max_tokens=room.tokens, temperature=1.0),
                Room(200, 4),
                BUILTIN,
            )
            document = _broken()
            try:
                return await writer.mend(OWLS, document, 0, [1, 2], Room(100, 1))
            finally:
                await writer.aclose()
                await place.aclose()

    for found in asyncio.run(run()):
        assert found.call is None
        assert why in found.why
        assert found.spent.prompt_tokens == 50


def _broken() -> Document:
    from llmi_env.calls import parse_call
    from llmi_env.document import Failure, Figure

    raw = call("code", "bug").removeprefix("<imgen>").removesuffix("</imgen>")
    return Document((Text("Owls. "), Figure(raw, parse_call(raw), Failure.of("code", "raised", "NameError"))))
