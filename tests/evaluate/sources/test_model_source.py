"""Documents of a policy in this process: scripted ones, and one real model of a few thousand weights."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmi_env.calls import BUILTIN
from llmi_env.episode import Limits, StopReason
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.sources import model_source
from llmi_env.evaluate.sources.base import Done, NotWritten, Order, Source, Writing, Written
from llmi_env.evaluate.sources.model_source import ModelSource, folder_digest
from llmi_env.policies.base import Row, Sampling, WriteStats
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rollout import NOT_SCORED
from llmi_env.task import Task
from llmi_env.world.in_process import InProcessWorld
from tests.chat_streams import TEXT
from tests.tiny_policy import make_tiny_policy

WRITING = Writing(Limits(), BUILTIN, "compact", "none", 500, Sampling())
Came = dict[tuple[str, int], Written | NotWritten]


class Noting(ScriptedPolicy):
    """A scripted policy that notes how many rows it was given at a time."""

    def __init__(self, script: Any = TEXT, pace: float = 0.0) -> None:
        super().__init__(script, pace=pace)
        self.batches: list[int] = []
        self.fails = False

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        self.batches.append(len(rows))
        if self.fails:
            raise MemoryError("too many rows")
        return await super().write(rows, sampling)


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Noting:
    """What every model comes out as when it is loaded."""
    made = Noting()
    monkeypatch.setattr(model_source, "_load", lambda name, max_rows: made)
    monkeypatch.setattr(model_source, "_context", lambda policy: 2000)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Stands for a model's."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


def orders(item: str = "owls", samples: int = 1) -> list[Order]:
    made = Item(Task(f"Write about {item}.", id=item))
    return [Order(made, sample, 100 + sample) for sample in range(samples)]


def write(source: ModelSource, *several: Sequence[Order], then: Any = None) -> Came:
    """What comes of some orders, given at the same time."""

    async def run() -> Came:
        assert isinstance(source, Source)
        came: Came = {}

        def done(order: Order, found: Written | NotWritten) -> None:
            came[order.item.id, order.sample] = found

        await (asyncio.gather(*(source.write(one, done) for one in several)) if then is None else then(done))
        await asyncio.sleep(0)
        assert not asyncio.all_tasks() - {asyncio.current_task()}
        await source.aclose()
        return came

    return asyncio.run(run())


def test_documents_of_a_model(policy: Noting, folder: Path, world: InProcessWorld) -> None:
    came = write(ModelSource(str(folder), world, WRITING), orders(samples=3))
    found = came["owls", 2]
    assert isinstance(found, Written)
    rollout = found.rollout
    assert rollout.document.to_source() == TEXT
    assert rollout.document.pictures
    assert (rollout.seed, rollout.group, rollout.stop, rollout.report) == (102, 0, StopReason.END, NOT_SCORED)
    assert (found.tokens, found.prompt_tokens) == (rollout.ledger.n_policy, rollout.ledger.prompt_length)
    assert found.tokens == len(TEXT) + 1
    assert (found.cost, found.counted) == (None, True)
    assert found.seconds == rollout.times.landed


def test_orders_of_several_are_written_together(policy: Noting, folder: Path, world: InProcessWorld) -> None:
    source = ModelSource(str(folder), world, WRITING, concurrency=5)
    came = write(source, orders("owls", 4), orders("bees", 2), orders("ants", 1))
    assert len(came) == 7
    assert policy.batches == [5, 2]


def test_pictures_land_while_the_next_are_written(
    folder: Path, policy: Noting, make_world: Callable[..., InProcessWorld]
) -> None:
    world = make_world(search={"latency": 0.5})
    seen: list[int] = []
    source = ModelSource(str(folder), world, WRITING, concurrency=1)

    async def then(done: Done) -> None:
        def note(order: Order, found: Written | NotWritten) -> None:
            seen.append(len(policy.batches))
            done(order, found)

        await source.write(orders(samples=3), note)

    write(source, then=then)
    assert seen == [3, 3, 3]


def test_a_prompt_that_does_not_fit_is_missing(policy: Noting, folder: Path, world: InProcessWorld) -> None:
    came = write(ModelSource(str(folder), world, WRITING), orders(), orders("owls " * 500))
    assert isinstance(came["owls", 0], Written)
    found = came["owls " * 500, 0]
    assert isinstance(found, NotWritten)
    assert "the policy reads 2000" in found.reason


def test_an_error_of_the_policy_reaches_all_who_wait(policy: Noting, folder: Path, world: InProcessWorld) -> None:
    policy.fails = True
    source = ModelSource(str(folder), world, WRITING)

    async def then(done: Done) -> None:
        both = (source.write(orders(item), done) for item in ("owls", "bees"))
        errors = await asyncio.gather(*both, return_exceptions=True)
        assert [type(error) for error in errors] == [MemoryError, MemoryError]
        policy.fails = False
        await source.write(orders("ants"), done)

    assert list(write(source, then=then)) == [("ants", 0)]


def test_whoever_is_told_may_fail(policy: Noting, folder: Path, world: InProcessWorld) -> None:
    source = ModelSource(str(folder), world, WRITING)

    async def then(done: Done) -> None:
        def fails(order: Order, found: Written | NotWritten) -> None:
            raise OSError("disk full")

        errors = await asyncio.gather(
            source.write(orders("owls"), fails), source.write(orders("bees"), done), return_exceptions=True
        )
        assert [type(error) for error in errors] == [OSError, type(None)]

    assert list(write(source, then=then)) == [("bees", 0)]


def test_it_can_be_cancelled(policy: Noting, folder: Path, make_world: Callable[..., InProcessWorld]) -> None:
    source = ModelSource(str(folder), make_world(search={"latency": 60.0}), WRITING, concurrency=2)

    async def then(done: Done) -> None:
        writing = asyncio.create_task(source.write(orders(samples=4), done))
        while len(policy.batches) < 2:
            await asyncio.sleep(0.01)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    assert write(source, then=then) == {}


def test_one_who_leaves_does_not_take_the_others_along(
    policy: Noting, folder: Path, make_world: Callable[..., InProcessWorld]
) -> None:
    source = ModelSource(str(folder), make_world(search={"latency": 0.3}), WRITING)

    async def then(done: Done) -> None:
        leaving = asyncio.create_task(source.write(orders("owls"), done))
        staying = asyncio.create_task(source.write(orders("bees"), done))
        while not policy.batches:
            await asyncio.sleep(0.01)
        leaving.cancel()
        await staying

    assert list(write(source, then=then)) == [("bees", 0)]


def test_weights_are_told_apart(
    folder: Path, world: InProcessWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").write_bytes(bytes(300_000))

    def identity(place: Path = folder, writing: Writing = WRITING) -> Any:
        return {**ModelSource(str(place), world, writing).identity, "policy": ""}

    copy = shutil.copytree(folder, tmp_path / "copy")
    assert identity() == identity(copy)
    trained = bytearray(300_000)
    trained[200_000] = 1
    (copy / "model.safetensors").write_bytes(trained)
    assert identity() != identity(copy)
    monkeypatch.setattr(model_source, "_WHOLLY", 1000)
    monkeypatch.setattr(model_source, "_SAMPLE", 5000)
    assert folder_digest(folder) != folder_digest(copy)
    assert identity(folder, Writing(Limits(), BUILTIN, "full", "none", 500, Sampling())) != identity()
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{folder}"}}')
    assert identity(adapter)["model"] == identity()["model"]
    assert identity(adapter)["adapter"] == folder_digest(adapter)


def test_there_is_no_such_policy(world: InProcessWorld) -> None:
    with pytest.raises(ConfigError, match="no policy 'warm-strat'"):
        ModelSource("warm-strat", world, WRITING)


@pytest.mark.slow
def test_a_real_model_writes_the_same_again(tmp_path: Path, world: InProcessWorld) -> None:
    pytest.importorskip("torch")
    make_tiny_policy(tmp_path)
    writing = Writing(Limits(), BUILTIN, "compact", "none", 40, Sampling(0.8))
    source = ModelSource(str(tmp_path), world, writing, concurrency=3)
    came = write(source, orders(samples=4), orders("bees", 2))
    again = write(source, orders("bees", 2))
    assert len(came) == 6
    for found in came.values():
        assert isinstance(found, Written)
        assert found.tokens == found.rollout.ledger.n_policy <= 40
    for key, found in again.items():
        earlier = came[key]
        assert isinstance(found, Written)
        assert isinstance(earlier, Written)
        assert found.rollout.ledger.policy_ids == earlier.rollout.ledger.policy_ids
