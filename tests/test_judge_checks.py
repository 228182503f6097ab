"""What is wrong with judges, or with what a reward wants of them, is told before anything is written."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from llmi_env.document import Document
from llmi_env.errors import ConfigError, WorldError
from llmi_env.judge_checks import ask_judges, check_judges, check_terms
from llmi_env.judges import making
from llmi_env.judges.making import declared_terms, made_judge, make_judge
from llmi_env.rewards import HybridReward
from llmi_env.task import Task
from llmi_env.testing import JUDGED_TERMS, SimulatedJudge, simulated_config
from llmi_env.world.config import JUDGES, WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored
from llmi_env.world.service import create_app
from tests.serving import served

LLMI, RULES = HybridReward.preset("llmi"), HybridReward.preset("rules")
SIMULATED = "llmi_env.testing:SimulatedJudge"
MISSPELT = """\
name: mine
version: 1
terms:
  text_qualty: {weight: 0.5}
  image_count: {weight: 0.5}
"""


class Wit:
    """A judge of one's own, with options and a term of its own."""

    made = 0

    def __init__(self, dry: bool = False) -> None:
        type(self).made += 1

    @property
    def terms(self) -> tuple[str, ...]:
        return ("wit",)

    async def __call__(self, document: Document, task: Task) -> Judgments:
        return {"wit": Scored(4.0)}

    async def aclose(self) -> None:
        pass


WIT = "tests.test_judge_checks:Wit"


@pytest.fixture
def misspelt(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(MISSPELT)
    return str(path)


@pytest.mark.parametrize(
    ("entry", "terms"),
    [
        ("embedded", JUDGED_TERMS),
        ({"use": "embedded", "terms": ["text_quality"]}, ("text_quality",)),
        ({"use": "openai", "model": "m"}, ("text_quality", "call_quality")),
        # neither there nor looked for
        ({"use": "transformers", "model": "no/such-model", "terms": ["image_quality"]}, ("image_quality",)),
        ({"use": "panel", "judges": [{"use": "openai", "model": "m"}, "embedded"]}, None),
        ({"use": "panel", "judges": ["embedded", WIT]}, None),
        (WIT, None),
        (SimulatedJudge(["wit"]), ("wit",)),
    ],
)
def test_what_a_judge_scores_is_told_by_its_options(entry: Any, terms: tuple[str, ...] | None) -> None:
    told = declared_terms(entry)
    assert told == terms or set(told or ()) == set(JUDGED_TERMS)


def test_all_that_ship_tell_what_they_score() -> None:
    options: dict[str, dict[str, Any]] = {"openai": {"model": "m"}, "panel": {"judges": ["embedded"]}}
    for name in JUDGES.builtin:
        terms = declared_terms({"use": name, **options.get(name, {})})
        assert terms, name
        assert set(terms) <= set(JUDGED_TERMS)


def test_nothing_is_loaded_for_it() -> None:
    code = (
        "import sys; from llmi_env.judges.making import declared_terms as told\n"
        "told('embedded'); told({'use': 'transformers', 'model': 'no/such'}); told({'use': 'openai', 'model': 'm'})\n"
        "print([name for name in ('torch', 'transformers', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"use": "embedded", "loooks": False}, "judge 'embedded': there is no option 'loooks', did you mean 'looks'"),
        ({"use": "embedded", "terms": ["text_qualty"]}, "embedded judge: .*did you mean 'text_quality'"),
        ({"use": "embedded", "terms": 5}, "judge 'embedded': its options cannot be used: TypeError"),
        ({"use": "openai", "modle": "m"}, "openai judge: .*'modle', did you mean 'model'"),
        ({"use": "openai", "model": "m", "samples": 0}, "openai judge: option 'samples'"),
        (
            {"use": "transformers", "modle": "m"},
            "judge 'transformers': there is no option 'modle', did you mean 'model'",
        ),
        ({"use": "transformers", "dtype": "float23"}, "transformers judge: .*did you mean 'float32'"),
        ({"use": "transformers", "batch": 0}, "transformers judge: `batch`"),
        ({"use": "panel", "judges": ["embedded"], "qorum": 2}, "judge 'panel': .*'qorum', did you mean 'quorum'"),
        ({"use": "panel", "judges": ["embedded"], "quorum": 2}, r"panel: `quorum` lies in 1\.\.1"),
        ({"use": "panel", "judges": [{"use": "openai", "modle": "m"}]}, "openai judge: .*did you mean 'model'"),
        ({"use": "panel", "judges": [{"use": "embeded"}]}, "no judge 'embeded', did you mean 'embedded'"),
    ],
)
@pytest.mark.parametrize("where", ["local", "http://127.0.0.1:9"])
def test_a_typing_error_in_options_is_told_without_a_world(where: str, entry: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_judges(where, [entry], RULES)


def test_keys_and_models_are_the_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    judges: list[Any] = [
        {"use": "openai", "model": "m"},
        {
            "use": "transformers",
            "model": "no/such-model",
            "terms": ["image_quality", "task_relevance", "text_image_relevance"],
        },
    ]
    assert check_judges("local", judges, LLMI)
    assert not check_judges("http://judge:8000", judges, LLMI)  # that World has judges of its own


@pytest.mark.parametrize(
    ("judges", "said"),
    [
        (["embedded"], r"'mine': nothing scores the term 'text_qualty', did you mean 'text_quality'.*`use`"),
        ([], "none is configured"),
        ([SIMULATED], None),
    ],
)
def test_a_misspelt_term_fails_where_it_can_be_known(misspelt: str, judges: list[Any], said: str | None) -> None:
    services, reward = WorldConfig(tools={}, judges=judges), HybridReward.load(misspelt)
    if said is None:  # a judge that does not ship is asked
        assert not check_judges("in_process", services.judges, reward)
        said = "did you mean 'text_quality'"
    with pytest.raises(ConfigError, match=said):
        asyncio.run(ask_judges("in_process", services, reward))


def test_a_term_may_be_a_rule_ones_own_or_of_ones_own_judge(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def brief(document, task):\n    return 1.0\n")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nversion: 1\nterms:\n  wit: {weight: 0.4}\n  image_count: {weight: 0.3}\n  brief: {weight: 0.3, use: './mine.py:brief'}\n"
    )
    reward = HybridReward.load(path)
    check_terms(reward, ["wit"])
    asyncio.run(ask_judges("in_process", WorldConfig(tools={}, judges=[WIT, "embedded"]), reward))
    with pytest.raises(ConfigError, match="nothing scores the term 'wit'"):
        check_judges("local", ["embedded"], reward)
    check_terms(reward.reweighted(wit=0), ["text_quality"])  # what the total does not need may have no score


def test_a_world_elsewhere_is_asked_what_its_judges_score(misspelt: str) -> None:
    services = WorldConfig(tools={}, judges=["embedded"])
    with served(create_app(simulated_config())) as address:
        asyncio.run(ask_judges(address, services, LLMI))
        with pytest.raises(ConfigError, match="did you mean 'text_quality'"):
            asyncio.run(ask_judges(address, services, HybridReward.load(misspelt)))
    broken = WorldConfig(tools={}, judges=[{"use": WIT, "drry": True}])
    said = f"judge '{WIT}': there is no option 'drry', did you mean 'dry'"
    with served(create_app(broken)) as address, pytest.raises(ConfigError, match=said):
        asyncio.run(ask_judges(address, services, LLMI))
    asyncio.run(ask_judges("http://127.0.0.1:9", services, RULES))  # nobody is needed
    with pytest.raises(WorldError):
        asyncio.run(ask_judges("http://127.0.0.1:9", services, LLMI))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judges": ["embedded"]}, "did you mean 'text_quality'"),
        ({"judges": [{"use": "embedded", "loooks": True}]}, "did you mean 'looks'"),
    ],
)
def test_an_environment_is_not_made(misspelt: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        gym.make("llmi_env:LLMI-v0", reward=misspelt, world={"tools": {}, **options})


def test_an_environment_with_judges_as_objects_is_not_made(misspelt: str) -> None:
    with pytest.raises(ConfigError, match="did you mean 'text_quality'"):
        gym.make("llmi_env:LLMI-v0", config="rules", reward=misspelt, judges=[SimulatedJudge()])


def test_one_judge_is_made_once_and_an_object_stands_for_itself() -> None:
    Wit.made = 0
    assert isinstance(make_judge(WIT, {}), Wit)
    assert Wit.made == 1
    judge = SimulatedJudge()
    assert made_judge(judge) is judge
    assert isinstance(made_judge({"use": WIT, "dry": True}), Wit)
    with pytest.raises(ConfigError, match="judge 'collections:OrderedDict': OrderedDict is not a judge"):
        make_judge("collections:OrderedDict", {})
    with pytest.raises(ConfigError, match="object is not a judge"):
        made_judge(object())  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["declared", "made", "elsewhere"])
def test_a_stand_in_is_warned_of_once(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(making, "_told", set())
    second: dict[str, Any] = {"use": "embedded", "terms": ["text_quality"]}
    judges: list[Any] = ["embedded", second]
    if how != "declared":
        judges = [SIMULATED, {**second, "use": SIMULATED}]
    services = WorldConfig(tools={}, judges=judges)
    with caplog.at_level(logging.WARNING, logger="llmi_env.judges.making"):
        for _ in range(2):
            if how == "elsewhere":
                with served(create_app(services)) as address:
                    asyncio.run(ask_judges(address, WorldConfig(tools={}, judges=["embedded"]), LLMI))
            else:
                asyncio.run(ask_judges("in_process", services, LLMI))
                asyncio.run(InProcessWorld.from_config(services).terms())
    (told,) = caplog.messages
    assert told.startswith("text_quality is scored by 2 judges")
    assert "within a group" in told
    assert "`terms`" in told
