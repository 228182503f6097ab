from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmi_env.document import Picture
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.prompting import messages
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.store import read_episodes, rollouts_of
from llmi_env.task import Task
from llmi_env.tokenizers import ByteTokenizer
from llmi_env.world.in_process import InProcessWorld
from trainers.verl import episodes

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'llmi-env[train]'")


@pytest.fixture
def rollouts(world: InProcessWorld, tasks: list[Task]) -> list[Rollout]:
    work = run_rollouts(
        ScriptedPolicy("Short."), world, HybridReward.preset("llmi"), tasks[:2], samples=2, max_tokens=50
    )
    return list(asyncio.run(work).rollouts)


def keep(run: Path, rollouts: list[Rollout], split: str, step: int) -> None:
    async def all_at_once() -> None:
        keeper = episodes.Keeper(run)
        numbered = reversed(list(enumerate(rollouts)))
        await asyncio.gather(
            *(keeper.keep(episodes.Kept(r, split, step, 40 + number // 2, number % 2)) for number, r in numbered)
        )

    asyncio.run(all_at_once())


def test_documents_of_a_step_are_joined_in_order(tmp_path: Path, rollouts: list[Rollout]) -> None:
    keep(tmp_path, rollouts, "train", 3)
    keep(tmp_path, rollouts[:1], "train", 4)
    joined = episodes.join_parts(tmp_path, "train", 3, "train-00003", "train")
    assert [(r.task.id, r.group) for r in joined] == [("owls", 0), ("owls", 0), ("bees", 1), ("bees", 1)]
    assert [r.seed for r in joined] == [r.seed for r in rollouts]
    assert rollouts_of(read_episodes(tmp_path, "train-*")) == joined
    assert len(list((tmp_path / "episodes" / episodes.PARTS).glob("*"))) == 1  # of the step that goes on
    episodes.drop_parts(tmp_path)
    assert list((tmp_path / "episodes" / episodes.PARTS).glob("*")) == []
    assert episodes.join_parts(tmp_path, "train", 5, "train-00005", "train") == []


def test_groups_without_a_baseline_are_counted(rollouts: list[Rollout]) -> None:
    assert episodes.groups_without_baseline(rollouts, 2) == 0
    unscored = replace(rollouts[0].report, total=None, unscored=("judge is down",))
    assert episodes.groups_without_baseline([replace(rollouts[0], report=unscored), *rollouts[1:]], 2) == 1


def test_lines_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "verl.jsonl"
    log = episodes.VerlLog(path)
    assert list(log.news()) == []
    first = json.dumps({"step": 1, "data": {"actor/loss": 0.5, "note": "text"}})
    path.write_text(first + "\n" + '{"step": 2, "da')
    assert list(log.news()) == [(1, {"actor/loss": 0.5})]
    assert list(log.news()) == []
    path.write_text(first + "\n" + '{"step": 2, "data": {"val-core/llmi/reward": 1.0}}\n')
    ((step, data),) = log.news()
    assert (step, episodes.split_figures(data)[1:]) == (2, (False, True))


def test_prompts_are_those_of_every_other_face(tmp_path: Path, tasks: list[Task]) -> None:
    from llmi_env.calls import BUILTIN
    from llmi_env.errors import ConfigError
    from trainers.verl.data import write_rows

    def measure(conversation: list[dict[str, Any]], pictures: Sequence[Picture]) -> int:
        return len(ByteTokenizer().chat(conversation)) + 10 * len(pictures)

    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "data" / "train.parquet"
    write_rows(path, tasks, "train", BUILTIN, "compact", measure, 5000)
    rows = parquet.read_table(path).to_pylist()
    assert [row["extra_info"]["task_id"] for row in rows] == ["owls", "bees", "mountains"]
    assert rows[0]["prompt"] == messages(tasks[0], BUILTIN, "compact")
    with pytest.raises(ConfigError, match="raise max_prompt_tokens"):
        write_rows(path, tasks, "train", BUILTIN, "compact", measure, 20)


def test_a_full_disk_is_told_to_each_document(
    tmp_path: Path, rollouts: list[Rollout], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(episodes, "write_episodes", full)
    with pytest.raises(OSError, match="No space left"):
        keep(tmp_path, rollouts, "train", 3)


def test_documents_that_failed_are_counted_with_those_without_a_score(rollouts: list[Rollout]) -> None:
    unscored = replace(rollouts[0], report=replace(rollouts[0].report, total=None, unscored=("judge is down",)))
    kept = [unscored, *rollouts[1:]]
    lacking = {"llmi/unscored": 5.0, "llmi/groups_without_baseline": 2.0}
    assert episodes.missing(kept, lacking, 2) == {"unscored": 5, "failed": 4, "groups_without_baseline": 2}
    assert episodes.missing(kept, {}, 2) == {"unscored": 1, "failed": 0, "groups_without_baseline": 1}
