from __future__ import annotations

import copy
import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gymnasium.wrappers import TimeLimit

from llmi_env import RewardReport
from llmi_env.errors import ConfigError, UnscoredEpisode
from llmi_env.world.in_process import InProcessWorld
from llmi_env.wrappers import DropUnscored, RecordTranscripts, RewardVector
from tests.streams import SEARCH
from tests.wrappers.conftest import Make
from tests.wrappers.writing import steps

TEXT = f"Owls hunt. {SEARCH}日本"


def lines(folder: Path) -> list[list[dict[str, Any]]]:
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(folder.glob("*.jsonl"))]


def test_a_record_holds_the_whole_episode(make: Make, tmp_path: Path) -> None:
    env = RecordTranscripts(make(), tmp_path / "new" / "folder")
    env.reset(options={"task": "owls"})
    _, reward, _, _, info = steps(env, TEXT)[-1]
    ((record,),) = lines(tmp_path / "new" / "folder")
    ledger = env.base.transcript.ledger  # type: ignore[union-attr]
    assert (record["task_id"], record["question"], record["stop"]) == ("owls", "Write about owls.", "end")
    assert (record["reward"], record["terminated"], record["truncated"]) == (reward, True, False)
    assert record["source"] == TEXT
    assert record["calls"] == [{"tool": "search", "outcome": "picture"}]
    assert RewardReport.from_json(record["report"]) == info["report"]
    assert record["tokens"]["ids"] == ledger.ids
    assert record["tokens"]["owners"] == ledger.owners
    assert record["tokens"]["logprobs"] == [None] * len(ledger)


def test_logprobs_that_are_known_are_kept(make: Make) -> None:
    records: list[dict[str, Any]] = []
    env = RecordTranscripts(make(), callback=records.append)
    env.reset(options={"task": "owls"})
    env.base.transcript.append((65,), (-0.5,))  # type: ignore[union-attr]
    env.step(256)
    assert records[0]["tokens"]["logprobs"][-2:] == [-0.5, None]


def test_a_callback_alone_writes_no_file(make: Make, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    env = RecordTranscripts(make(action_mode="document"), callback=records.append)
    for _ in range(2):
        env.reset(options={"task": "bees"})
        env.step("Bees.")
    assert [record["source"] for record in records] == ["Bees.", "Bees."]
    assert "tokens" not in records[0]
    assert env.path is None


def test_every_environment_and_every_copy_has_a_file_of_its_own(make: Make, tmp_path: Path) -> None:
    first, second = (RecordTranscripts(make(action_mode="document"), tmp_path) for _ in range(2))
    for env in (first, second, first, copy.deepcopy(first)):
        env.reset(options={"task": "owls"})
        env.step("Bees.")
    assert [len(records) for records in lines(tmp_path)] == [2, 1, 1]


def test_a_forked_child_does_too(make: Make, tmp_path: Path) -> None:
    env = RecordTranscripts(make(action_mode="document", reward="rules"), tmp_path)
    env.reset(options={"task": "owls"})
    env.step("Bees.")
    child = multiprocessing.get_context("fork").Process(target=lambda: (env.reset(), env.step("More bees.")))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert [[record["source"] for record in records] for records in lines(tmp_path)] in (
        [["Bees."], ["More bees."]],
        [["More bees."], ["Bees."]],
    )


def test_a_kill_loses_no_finished_episode(tmp_path: Path) -> None:
    program = f"""
import os, signal
import gymnasium as gym, llmi_env
from llmi_env.testing import simulated_world
from llmi_env.wrappers import RecordTranscripts
env = RecordTranscripts(gym.make("LLMI-v0", config="rules", world=simulated_world(), action_mode="chunk"), {str(tmp_path)!r})
for _ in range(3):
    env.reset()
    env.step("Bees." + llmi_env.END)
env.reset()
env.step("In flight.")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [[record["source"] for record in records] for records in lines(tmp_path)] == [["Bees."] * 3]


@pytest.mark.filterwarnings("ignore:.*The reward is a NaN value")
def test_episodes_without_a_score_say_why(make: Make, make_world: Callable[..., InProcessWorld]) -> None:
    records: list[dict[str, Any]] = []
    world = make_world(judge={"failure_rate": 1.0})
    for options in ({}, {"unscored": "nan"}):
        env = DropUnscored(
            RecordTranscripts(make(action_mode="document", world=world, **options), callback=records.append)
        )
        env.reset(options={"task": "owls"})
        env.step(TEXT)
    raising = RecordTranscripts(make(action_mode="document", world=world, unscored="raise"), callback=records.append)
    raising.reset(options={"task": "owls"})
    with pytest.raises(UnscoredEpisode):
        raising.step(TEXT)
    assert [record["reward"] for record in records] == [0.0, None, None]
    assert [record["truncated"] for record in records] == [True, False, False]
    assert all("simulated failure of the judge" in record["unscored"][0] for record in records)


def test_an_episode_that_gymnasium_truncates_has_no_report(make: Make) -> None:
    records: list[dict[str, Any]] = []
    env = RecordTranscripts(TimeLimit(make(), 2), callback=records.append)
    env.reset(options={"task": "owls"})
    steps(env, "Owls")
    assert [(record["source"], record["stop"], record["report"]) for record in records] == [("Ow", None, None)]


def test_a_vector_of_rewards_is_a_list(make: Make) -> None:
    records: list[dict[str, Any]] = []
    env = RecordTranscripts(RewardVector(make(action_mode="document"), as_reward=True), callback=records.append)
    env.reset(options={"task": "owls"})
    reward = env.step(TEXT)[1]
    assert records[0]["reward"] == reward.tolist()


def test_it_needs_somewhere_to_write(make: Make) -> None:
    with pytest.raises(ConfigError, match="a folder to write to, or a callback"):
        RecordTranscripts(make())
    with pytest.raises(ConfigError, match="cannot be"):
        RecordTranscripts(make(), callback="print")  # type: ignore[arg-type]
