"""verl's buffer where documents have no score, on a queue in memory that behaves as verl's TransferQueue does."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")

from verl.trainer.ppo.v1 import replay_buffer  # noqa: E402
from verl.trainer.ppo.v1.trainer_base import PPOTrainer  # noqa: E402
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync  # noqa: E402

from llmi_env.errors import ConfigError, TrainingError  # noqa: E402
from trainers.verl import sampler  # noqa: E402

SAMPLES, TASKS = 2, 3


class Queue:
    """Keys with tags and fields, by partition."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, dict[str, Any]]] = {"train": {}, "val": {}}
        self.fields: dict[str, Any] = {}

    def kv_list(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {partition: dict(tags) for partition, tags in self.tags.items()}

    def kv_clear(self, keys: list[str], partition_id: str) -> None:
        for key in keys:
            self.tags[partition_id].pop(key, None)

    def kv_batch_put(self, keys: list[str], partition_id: str, fields: Any, tags: list[dict[str, Any]]) -> None:
        for i, key in enumerate(keys):
            self.tags[partition_id][key], self.fields[key] = tags[i], fields[i]

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> dict[str, list[Any]]:
        if not keys:
            raise ValueError("Received an empty list as keys.")
        return {name: [self.fields[key][name] for key in keys] for name in select_fields}


class Rollouts:
    """Stands for verl's trainer: each batch of tasks that is asked for brings the documents that the next plan names."""

    def __init__(self, queue: Queue, folder: Path, plans: list[dict[str, list[dict[str, Any] | None]]]) -> None:
        self._queue, self._plans = queue, plans
        self.config = SimpleNamespace(trainer=SimpleNamespace(default_local_dir=str(folder)))
        self.global_steps = 4
        self.saved: list[int] = []
        self.asleep = False

    def add(self, number: int, partition: str = "train") -> None:
        for uid, documents in self._plans.pop(0).items():
            self._queue.tags[partition][uid] = {"is_prompt": True, "status": "finished", "global_steps": 1}
            for session, figures in enumerate(documents):
                if figures is not None:
                    key = f"{uid}_{session}_0"
                    self._queue.tags[partition][key] = {"status": "success"}
                    self._queue.fields[key] = {"extra_fields": SimpleNamespace(data={"reward_extra_info": figures})}

    def on_sample_end(self) -> None:
        self.asleep = True

    def _save_checkpoint(self) -> None:
        assert self.asleep
        self.saved.append(self.global_steps)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(replay_buffer, "tq", queue)
    monkeypatch.setattr(sampler, "tq", queue)
    return queue


def buffer(rollouts: Rollouts, **kwargs: Any) -> sampler.ScoredReplayBuffer:
    return sampler.ScoredReplayBuffer(
        **{
            "trainer_mode": "sync",
            "trainer_config": {},
            "max_off_policy_threshold": 8,
            "max_off_policy_strategy": "drop",
            "sampler_kwargs": {"samples": SAMPLES, "needed": 2, "patience": 3},
            "refill_fn": rollouts.add,
            **kwargs,
        }
    )


def plan(name: str, *documents: list[dict[str, Any] | None]) -> dict[str, list[dict[str, Any] | None]]:
    return {f"{name}{i}": list(group) for i, group in enumerate(documents)}


def whole(name: str) -> dict[str, list[dict[str, Any] | None]]:
    return plan(name, *[[{"reward": 0.5}] * SAMPLES] * TASKS)


def nothing(name: str) -> dict[str, list[dict[str, Any] | None]]:
    return plan(name, *[[None] * SAMPLES] * TASKS)


def lonely(name: str) -> dict[str, list[dict[str, Any] | None]]:
    return plan(name, *[[{}, None]] * TASKS)


def test_what_is_missing_is_counted_and_what_is_there_is_averaged(queue: Queue, tmp_path: Path) -> None:
    figures = [
        [{"reward": 0.2, "tool_accuracy": 1}, {"reward": 0.6, "note": "text"}],
        [{"reward": 1.0, "tool_accuracy": math.nan}, None],
        [None, None],
    ]
    rollouts = Rollouts(queue, tmp_path, [plan("a", *figures)])
    rollouts.add(TASKS)
    batch, metrics = buffer(rollouts).sample(5, "train", TASKS)
    assert sorted(batch.keys) == ["a0_0_0", "a0_1_0", "a1_0_0"]
    assert metrics == {
        "llmi/unscored": 3,
        "llmi/groups_without_baseline": 2,
        "llmi/reward/reward": pytest.approx(0.6),
        "llmi/reward/tool_accuracy": 1,
    }


def test_a_batch_without_any_document_gives_way_to_other_tasks(queue: Queue, tmp_path: Path) -> None:
    rollouts = Rollouts(queue, tmp_path, [nothing("a"), whole("b")])
    rollouts.add(TASKS)
    batch, metrics = buffer(rollouts).sample(5, "train", TASKS)
    assert {key[0] for key in batch.keys} == {"b"}
    assert metrics["llmi/unscored"] == 6
    assert not any(key.startswith("a") for key in queue.tags["train"])


@pytest.mark.parametrize(
    "plans", [[nothing("a"), nothing("b"), nothing("c")], [nothing("a"), lonely("b"), lonely("c")]]
)
def test_nothing_to_compare_for_long_ends_the_run_with_a_checkpoint(
    queue: Queue, tmp_path: Path, plans: list[Any]
) -> None:
    rollouts = Rollouts(queue, tmp_path, plans)
    replay = buffer(rollouts)
    rollouts.add(TASKS)

    def steps() -> None:
        for step in (5, 6):
            rollouts.global_steps = step
            batch, _ = replay.sample(step, "train", TASKS)
            queue.kv_clear(batch.keys, "train")
            rollouts.add(TASKS)

    with pytest.raises(TrainingError, match=r"in 3 batches in a row.*--resume"):
        steps()
    assert rollouts.saved == [rollouts.global_steps - 1]


def test_a_checkpoint_that_is_there_is_not_saved_again(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("4")
    rollouts = Rollouts(queue, tmp_path, [nothing(name) for name in "abc"])
    rollouts.add(TASKS)
    with pytest.raises(TrainingError, match="saved up to step 4"):
        buffer(rollouts).sample(5, "train", TASKS)
    assert rollouts.saved == []


def test_a_useful_batch_starts_the_count_anew(queue: Queue, tmp_path: Path) -> None:
    rollouts = Rollouts(queue, tmp_path, [lonely("a"), lonely("b"), whole("c"), lonely("d"), lonely("e")])
    replay = buffer(rollouts)
    for step in range(5):
        rollouts.add(TASKS)
        batch, _ = replay.sample(step, "train", TASKS)
        queue.kv_clear(batch.keys, "train")


def test_with_a_critic_one_score_is_enough(queue: Queue, tmp_path: Path) -> None:
    rollouts = Rollouts(queue, tmp_path, [lonely(name) for name in "abcd"])
    replay = buffer(rollouts, sampler_kwargs={"samples": SAMPLES, "needed": 1, "patience": 1})
    for step in range(4):
        rollouts.add(TASKS)
        batch, metrics = replay.sample(step, "train", TASKS)
        assert metrics["llmi/groups_without_baseline"] == 0
        queue.kv_clear(batch.keys, "train")


def test_a_validation_without_a_score_is_not_a_number(queue: Queue, tmp_path: Path) -> None:
    rollouts = Rollouts(queue, tmp_path, [nothing("a")])
    rollouts.add(TASKS, "val")
    batch, _ = buffer(rollouts).sample(5, "val", TASKS)
    (key,) = batch.keys
    row = queue.fields[key]
    assert math.isnan(row["rm_scores"].sum().item())
    assert row["data_source"] == "llmi_unscored"


def test_other_errors_are_not_taken_for_missing_scores(queue: Queue, tmp_path: Path) -> None:
    def fail() -> Any:
        raise RuntimeError("the queue is gone")

    queue.kv_list = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="the queue is gone"):
        buffer(Rollouts(queue, tmp_path, [])).sample(5, "train", TASKS)


def test_only_the_synchronous_trainer_is_served(queue: Queue, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mode 'sync' only"):
        buffer(Rollouts(queue, tmp_path, []), trainer_mode="separate_async")


def test_what_is_touched_of_verls_trainer_is_there() -> None:
    """The checkpoint at the end goes through methods of verl's trainer, one of them private."""
    assert callable(PPOTrainer._save_checkpoint)
    assert callable(PPOTrainerSync.on_sample_end)
    assert "refill_fn=self._add_prompts_to_generate" in Path(replay_buffer.__file__).with_name(
        "trainer_base.py"
    ).read_text(encoding="utf-8")
