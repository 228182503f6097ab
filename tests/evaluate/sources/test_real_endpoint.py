"""A real model behind a real server: SmolLM2-135M on llama.cpp's OpenAI-compatible endpoint, kept to the form of a call by a grammar."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from llmi_env.calls import BUILTIN
from llmi_env.episode import Limits, StopReason
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.sources.base import NotWritten, Order, Writing, Written
from llmi_env.evaluate.sources.endpoint_source import EndpointSource
from llmi_env.policies.base import Sampling
from llmi_env.policies.endpoint import EndpointOptions
from llmi_env.task import Task
from llmi_env.world.in_process import InProcessWorld
from tests.smollm2_server import smollm2_served

pytestmark = pytest.mark.slow
WRITING = Writing(Limits(), BUILTIN, "compact", "none", 100, Sampling(0.8))
GRAMMAR = r"""
root ::= text "<imgen>{\"source\": \"search\", \"description\": \"" words "\", \"params\": {\"query\": \"" words "\"}}</imgen>" text
text ::= [A-Za-z ,.]{30,50}
words ::= [a-z ]{3,16}
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with smollm2_served() as address:
        yield address


def test_a_real_model_writes_and_its_calls_start_meanwhile(
    base_url: str, make_world: Callable[..., InProcessWorld]
) -> None:
    options = EndpointOptions.parse(
        {
            "model": "smollm2",
            "base_url": base_url,
            "extra_body": {"grammar": GRAMMAR},
            "prompt_price": 1.0,
            "completion_price": 1.0,
        }
    )
    item = Item(Task("When do owls hunt?", id="owls"))
    came: dict[int, Written | NotWritten] = {}

    async def run() -> None:
        source = EndpointSource("openai:smollm2", options, make_world(search={"latency": 0.2}), WRITING, concurrency=2)
        try:
            await source.write(
                [Order(item, sample, 40 + sample) for sample in range(2)],
                lambda order, found: came.update({order.sample: found}),
            )
        finally:
            await source.aclose()

    asyncio.run(run())
    for found in came.values():
        assert isinstance(found, Written), found
        document = found.rollout.document
        assert len(document.pictures) == 1
        assert found.rollout.stop in (StopReason.END, StopReason.LENGTH)
        assert found.counted
        assert found.prompt_tokens > 60
        assert 20 < found.tokens <= 100
        assert found.cost == pytest.approx((found.prompt_tokens + found.tokens) / 1_000_000)
        times = found.rollout.times
        assert times.landed - times.written < 0.15  # the picture landed while the model wrote on
    first, second = (found.rollout.document.to_source() for found in came.values() if isinstance(found, Written))
    assert first != second
