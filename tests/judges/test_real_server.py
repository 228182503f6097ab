"""The judge against a real server: llama.cpp's OpenAI-compatible endpoint with SmolLM2-135M, whose scores are worth nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmi_env.calls import Call
from llmi_env.document import Document, Figure, Text
from llmi_env.task import Task
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Scored
from tests.smollm2_server import smollm2_served

pytest.importorskip("openai", reason="openai is not installed: pip install 'llmi-env[judges]'")
from llmi_env.judges.openai_judge import Graded, OpenAIJudge

pytestmark = pytest.mark.slow
BODY = '{"source": "search", "description": "an owl in flight", "params": {"query": "owl flying at night"}}'
CALL = Call("search", "an owl in flight", {"query": "owl flying at night"})
DOCUMENT = Document((Text("Most owls hunt at night, by ear. "), Figure(BODY, CALL), Text(" Some hunt by day.")))
TASK = Task("When do owls hunt?")


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with smollm2_served() as address:
        yield address


def make(base_url: str, **options: Any) -> OpenAIJudge:
    fixed = {"model": "smollm2", "base_url": base_url, "structured": "json_schema", "timeout": 300.0, "max_tokens": 150}
    # A model as small as this one repeats itself until it is cut off.
    return OpenAIJudge(**fixed, extra_body={"repeat_penalty": 1.2}, **options)


def test_scores_by_json_schema(base_url: str, tmp_path: Path) -> None:
    judge = make(base_url, terms=["text_quality", "call_quality"])
    config = WorldConfig(tools={}, judges=[], judge_deadline=600, judge_cache=str(tmp_path / "scores.sqlite"))

    async def twice() -> list[Any]:
        world = InProcessWorld(judges=[judge], config=config)
        try:
            return [await world.judge(DOCUMENT, TASK) for _ in range(2)]
        finally:
            await world.aclose()

    first, again = asyncio.run(twice())
    assert set(first) == {"text_quality", "call_quality"}
    for judgment in first.values():
        assert isinstance(judgment, Scored), judgment
        assert judgment.score in (1, 2, 3, 4, 5)
        assert judgment.judge == "openai:smollm2@text/2"
    assert again == first
    assert judge.usage.requests - judge.usage.retries == 1  # the second came from the cache
    assert judge.usage.prompt_tokens > 500
    assert judge.usage.completion_tokens > 10


def test_a_rubric_with_samples(base_url: str) -> None:
    judge = make(base_url, temperature=0.7, seed=0, samples=2)

    async def once() -> Any:
        try:
            return await judge.rubric(DOCUMENT, TASK, {"r1": "It says when owls hunt."})
        finally:
            await judge.aclose()

    found = asyncio.run(once())["r1"]
    assert isinstance(found, Graded), found
    assert set(found.votes) <= {0, 1, 2}
    assert len(found.votes) == 2
