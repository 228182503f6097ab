"""The examples run as they stand, and PPO's does what it says: nothing crosses an end, nothing is learnt from a document without a score."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from llmi_env.testing import SimulatedTool
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from tests.processes import heed_interrupts

EXAMPLES = Path(__file__).parent.parent / "examples"

if not EXAMPLES.exists():
    pytest.skip("examples/ is not shipped with the package", allow_module_level=True)


def run(name: str, *options: str) -> str:
    done = subprocess.run([sys.executable, EXAMPLES / name, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


@pytest.fixture(scope="module")
def ppo() -> Iterator[Any]:
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("ppo_tokens", EXAMPLES / "ppo_tokens.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["ppo_tokens"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = module.torch.get_num_threads()
    module.torch.set_num_threads(1)  # as the example does
    yield module
    module.torch.set_num_threads(threads)
    del sys.modules["ppo_tokens"]


def simulated(**search: Any) -> InProcessWorld:
    tools = {name: SimulatedTool(name) for name in ("code", "edit")} | {"search": SimulatedTool("search", **search)}
    return InProcessWorld(tools, config=WorldConfig(tools={}, judges=[], attempts=1))


def short_run(ppo: Any, envs: Any, seed: int = 1) -> tuple[list[Any], list[Any]]:
    history: list[Any] = []
    agent = ppo.train(ppo.Args(seed=seed, total_steps=2 * 16 * 4, num_envs=4, num_steps=16, epochs=2), envs, history)
    return history, [weights.detach().numpy() for weights in agent.parameters()]


def same(mine: list[Any], theirs: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_the_custom_loop_learns() -> None:
    rewards = numbers(r"mean reward ([\d.]+)", run("custom_loop.py"))
    assert len(rewards) == 5
    assert rewards[-1] > max(0.9, rewards[0])


def test_every_option_of_ppo_is_explained(
    ppo: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ppo_tokens.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        ppo.parse_args()
    said = " ".join(capsys.readouterr().out.split())
    assert "Ctrl-C" in said
    assert said.count("(default: ") == len(ppo.fields(ppo.Args))


def test_advantages_flow_back_to_the_beginning_of_a_document_and_no_further(ppo: Any) -> None:
    torch = ppo.torch
    rewards, values = torch.tensor([[0.0], [1.0], [0.0]]), torch.tensor([[0.5], [0.25], [0.5]])
    ended = torch.tensor([[False], [True], [False]])
    found = ppo.gae(rewards, values, ended, torch.tensor([0.75]), gamma=1.0, lam=0.5).flatten().tolist()
    # the last step by the critic's word; the end by its reward alone; the first by the value after it and half of what follows
    assert found == [0.25 - 0.5 + 0.5 * 0.75, 1.0 - 0.25, 0.75 - 0.5]


def test_the_same_seed_gives_the_same_run(ppo: Any) -> None:
    (history, weights), (again, weights_again), (_, others) = (
        short_run(ppo, ppo.make_envs(4, simulated()), seed) for seed in (1, 1, 2)
    )
    assert history == again
    assert same(weights, weights_again)
    assert not same(weights, others)


def test_nothing_is_learnt_from_what_stands_in_for_a_missing_score(
    ppo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Nonsense(gym.vector.VectorWrapper[Any, Any, Any]):
        def step(self, actions: Any) -> Any:
            observation, reward, terminated, truncated, info = super().step(actions)
            return observation, np.where(truncated, 1e6, reward), terminated, truncated, info

    plain = short_run(ppo, ppo.make_envs(4, simulated(failure_rate=1.0)))
    assert sum(numbers(r"unscored (\d+)", capsys.readouterr().out)) > 0
    loud = short_run(ppo, Nonsense(ppo.make_envs(4, simulated(failure_rate=1.0))))
    assert plain[0] == loud[0]
    assert same(plain[1], loud[1])


def test_a_rollout_without_any_score_changes_nothing(ppo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unscored(gym.vector.VectorWrapper[Any, Any, Any]):
        def step(self, actions: Any) -> Any:
            observation, reward, terminated, _, info = super().step(actions)
            return observation, 0 * reward, np.zeros_like(terminated), np.ones_like(terminated), info

    monkeypatch.setitem(ppo.OPTIONS, "limits", {"tokens": 1})  # no document goes on past the rollout
    history, weights = short_run(ppo, Unscored(ppo.make_envs(4, simulated())))
    assert history == []
    ppo.torch.manual_seed(1)
    assert same(weights, [w.detach().numpy() for w in ppo.Agent(ppo.TOKENIZER.vocab_size).parameters()])


@pytest.mark.slow
def test_ppo_prints_its_figures_and_draws_its_curve(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    said = run("ppo_tokens.py", "--total-steps", "512", "--num-envs", "8", "--curve", str(tmp_path / "a" / "curve.png"))
    rewards = numbers(r"reward ([\d.]+)  tokens", said)
    assert len(rewards) == 2
    assert all(0 <= reward <= 1 for reward in rewards)
    assert "nan" not in said
    assert said.count(" -> ") == 6
    with Image.open(tmp_path / "a" / "curve.png") as curve:
        assert min(curve.size) > 300


@pytest.mark.slow
def test_ppo_draws_its_curve_when_it_is_interrupted(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, EXAMPLES / "ppo_tokens.py", "--curve", tmp_path / "curve.png"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("steps"):
                break
        running.send_signal(signal.SIGINT)
        said = running.stdout.read()
    assert running.returncode == 0
    assert "stopped" in said
    assert (tmp_path / "curve.png").exists()


@pytest.mark.slow
def test_ppo_learns_with_the_real_tools(ppo: Any) -> None:
    envs = ppo.make_envs(16, ppo.OneSeedWorld.from_config(WorldConfig.rules()))
    history: list[tuple[int, float]] = []
    ppo.train(ppo.Args(total_steps=16_000), envs, history)
    envs.close()
    rewards = [reward for _, reward in history]
    quarter = len(rewards) // 4
    assert np.mean(rewards[-quarter:]) > np.mean(rewards[:quarter]) + 0.15
