"""Fixtures for the whole suite: tasks, simulated Worlds, and a small byte-level BPE tokenizer."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from llmi_env.calls import BUILTIN
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge, SimulatedTool
from llmi_env.world.in_process import InProcessWorld

# No deadline: the machines that run this are shared. Derandomised: a red run means a change, not a new example.
settings.register_profile("llmi", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("llmi")

# Here, so that helpers and other processes inherit it: no test may meet, or leave, anything in the user's caches.
os.environ["LLMI_JUDGE_CACHE"] = "off"
os.environ["LLMI_CALL_CACHE"] = "off"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what `tests/vector/test_conformance.py` compared: one row for each vectorisation and autoreset mode."""
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for outcome, mark in (("passed", "ok"), ("failed", "FAILED")):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "conformance":
                    kind, autoreset, mode, feedback = value
                    cells.setdefault((kind, autoreset), {})[mode, feedback] = mark
    if not cells:
        return
    columns = sorted({column for row in cells.values() for column in row})
    terminalreporter.section("conformance: the same trajectories as one environment reset by hand")
    for place in (0, 1):
        terminalreporter.write_line(" " * 32 + "".join(f"{column[place]:9}" for column in columns))
    for (kind, autoreset), row in sorted(cells.items(), reverse=True):
        terminalreporter.write_line(f"{kind:21}{autoreset:11}" + "".join(f"{row.get(c, '-'):9}" for c in columns))


@pytest.fixture
def tasks() -> list[Task]:
    return [
        Task("Write about owls.", id="owls", tools=("search",), image_count=1),
        Task("Write about bees.", id="bees"),
        Task("Chart the heights of three mountains.", id="mountains", tools=("code",), image_count="at_least_one"),
    ]


@pytest.fixture
def make_world() -> Callable[..., InProcessWorld]:
    """Makes a World of simulators; options of a tool by its name, and of the judge as `judge`."""

    def make(judge: dict[str, Any] | None = None, **tools: dict[str, Any]) -> InProcessWorld:
        made = {name: SimulatedTool(name, **tools.get(name, {})) for name in BUILTIN}
        return InProcessWorld(made, [SimulatedJudge(**(judge or {}))])

    return make


@pytest.fixture
def world(make_world: Callable[..., InProcessWorld]) -> InProcessWorld:
    return make_world()


@pytest.fixture(scope="session")
def bpe() -> Any:
    """A byte-level BPE as GPT-2's and SmolLM2's, trained on a few lines: some of its tokens hold parts of characters and of tags."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = [
        'The owl <imgen>{"source": "search", "description": "an owl", "params": {"query": "owl"}}</imgen>. It hunts.',
        "日本語の文章と 😀 émoji 한국어",
        "a bee, a bee; </imgen>.</imgen>.</imgen>.</imgen>.",
    ]
    model.train_from_iterator(lines * 5, trainer)
    hf = transformers.PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    hf.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return hf


@pytest.fixture
def local_runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the test's own for the local World's helper, so that no helper of the user's is met (short: it holds a socket)."""
    folder = Path(tempfile.mkdtemp(prefix="llmi-"))
    monkeypatch.setenv("LLMI_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
