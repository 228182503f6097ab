"""Terms of the user's own: named in a preset, found and checked when it is loaded, and never a low score where they fail."""

from __future__ import annotations

import pickle
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmi_env.config import load_config
from llmi_env.env import LLMIEnv
from llmi_env.errors import ConfigError
from llmi_env.registry import Registry
from llmi_env.rewards import HybridReward, RewardTerm, own_terms
from llmi_env.rewards.preset import Gate
from llmi_env.task import Task
from llmi_env.world.protocol import Scored
from tests.rewards.making import document, figure, picture

DOCS = Path(__file__).parents[2] / "docs" / "rewards.md"
TERMS = """
import asyncio

def brief(document, task):
    return float(len(document.text) <= 10)

def shorter(document, task, *, limit):
    return float(len(document.text) <= limit)

class Mentions:
    def __init__(self, word="owl"):
        self.word = word

    def __call__(self, document, task):
        return float(self.word in document.text)

class Uncallable:
    pass

class Choosy:
    def __init__(self):
        raise RuntimeError("no such word list")

async def later(document, task):
    return 1.0

def one(document):
    return 1.0

def large(document, task):
    return 7.0

seven = 7
"""
TASK = Task("Owls?")


@pytest.fixture
def preset(tmp_path: Path) -> Any:
    """Writes a preset of one judged term and `mine`, and gives its path."""
    (tmp_path / "my_terms.py").write_text(TERMS)

    def write(use: str, gates: dict[str, list[dict[str, Any]]] | None = None, **term: Any) -> Path:
        terms = {"wit": {"weight": 0.5}, "mine": {"weight": 0.5, "use": use, **term}}
        for name, entries in (gates or {}).items():
            terms[name]["gates"] = entries
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"name": "mine", "version": 1, "terms": terms}))
        return path

    return write


def total(path: Path, text: str, wit: float = 5.0) -> float | None:
    return HybridReward.load(path).score(document(text), TASK, {"wit": Scored(wit)}).total


def test_a_function_in_a_file_beside_the_preset(preset: Any) -> None:
    path = preset("./my_terms.py:brief", version=3)
    assert [total(path, text) for text in ("Owls.", "Owls hunt at night.")] == [1.0, 0.5]
    assert HybridReward.load(path).version == "mine/1+mine/3"
    assert HybridReward.load(path).judged_terms == ("wit",)


@pytest.mark.parametrize(
    ("use", "options"), [("./my_terms.py:shorter", {"limit": 5}), ("./my_terms.py:Mentions", {"word": "Owls"})]
)
def test_options_go_to_the_function_or_to_the_class(preset: Any, use: str, options: dict[str, Any]) -> None:
    path = preset(use, options=options)
    assert [total(path, text) for text in ("Owls.", "Birds hunt.")] == [1.0, 0.5]


def test_an_installed_module(preset: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "some_package_of_terms.py").write_text(TERMS)
    monkeypatch.syspath_prepend(tmp_path)
    assert total(preset("some_package_of_terms:brief"), "Owls.") == 1.0


def test_an_entry_point(preset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(what="reward term", group="llmi_env.reward_terms")
    point = EntryPoint("even", "tests.rewards.test_own_terms:even", registry.group)
    registry.__dict__["plugins"] = {"even": point}
    monkeypatch.setattr(own_terms, "REWARD_TERMS", registry)
    assert [total(preset("even"), text) for text in ("Owls", "Owls.")] == [1.0, 0.5]


def even(document: Any, task: Task) -> float:
    return float(len(document.text) % 2 == 0)


def test_it_may_gate_and_be_gated(preset: Any) -> None:
    gating = preset("./my_terms.py:brief", {"wit": [{"term": "mine"}]})
    assert [total(gating, text) for text in ("Owls.", "Owls hunt at night.")] == [1.0, 0.0]
    gated = preset("./my_terms.py:brief", {"mine": [{"term": "wit"}]})
    assert [total(gated, "Owls.", wit) for wit in (5.0, 3.0, 1.0)] == [1.0, 0.5, 0.0]
    term = RewardTerm("own", lambda d, t: 1.0, 1.0, gates=(Gate(term="image_count"),))
    assert HybridReward.preset("rules").extended([term]).score(document("w"), TASK).total == 0.25
    with pytest.raises(ConfigError, match="no term 'wit' to gate by"):
        HybridReward.preset("rules").extended([RewardTerm("own", lambda d, t: 1.0, 0.5, gates=(Gate(term="wit"),))])


@pytest.mark.parametrize(
    ("use", "term", "said"),
    [
        ("./my_terms.py:breif", {}, "has no 'breif'"),
        ("./no_terms.py:brief", {}, "there is no file"),
        ("./my_terms.py", {}, "say which of its functions"),
        ("no_such_module_of_terms:brief", {}, "no module 'no_such_module_of_terms'"),
        ("no_such_term", {}, "no reward term 'no_such_term'"),
        ("./my_terms.py:seven", {}, "a function or class is needed"),
        ("./my_terms.py:one", {}, "it is called with (document, task)"),
        ("./my_terms.py:shorter", {}, "'limit'"),
        ("./my_terms.py:brief", {"options": {"limit": 3}}, "it is called with (document, task, limit=)"),
        ("./my_terms.py:Mentions", {"options": {"wrod": "owl"}}, "'wrod'"),
        ("./my_terms.py:Uncallable", {}, "__call__(self, document, task)"),
        ("./my_terms.py:Choosy", {}, "RuntimeError: no such word list"),
        ("./my_terms.py:later", {}, "a plain function"),
    ],
)
def test_a_bad_one_fails_on_loading_with_its_name(preset: Any, use: str, term: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="reward term 'mine'") as caught:
        HybridReward.load(preset(use, **term))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["import no_such_thing", "def x(:", "raise SystemExit(3)"])
def test_a_file_that_cannot_be_imported(preset: Any, tmp_path: Path, text: str) -> None:
    path = preset("./broken.py:brief")
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ConfigError, match=r"reward term 'mine'.*cannot be imported"):
        HybridReward.load(path)


@pytest.mark.parametrize(
    ("name", "term", "said"),
    [
        ("image_count", {"use": "./my_terms.py:brief"}, "rule of the package"),
        ("my term", {"use": "./my_terms.py:brief"}, "Python identifier"),
        ("wit", {"options": {"limit": 3}}, "go with `use`"),
    ],
)
def test_entries_that_make_no_sense(preset: Any, tmp_path: Path, name: str, term: dict[str, Any], said: str) -> None:
    path = preset("./my_terms.py:brief")
    path.write_text(yaml.safe_dump({"name": "mine", "version": 1, "terms": {name: {"weight": 1, **term}}}))
    with pytest.raises(ConfigError, match=said):
        HybridReward.load(path)


def test_a_result_out_of_range_leaves_the_document_unscored(preset: Any) -> None:
    report = HybridReward.load(preset("./my_terms.py:large")).score(document("w"), TASK, {"wit": Scored(5)})
    assert report.total is None
    assert report.unscored == ("mine: ValueError: a score in 0..1 is needed, not 7.0",)


def test_it_survives_pickling_and_being_written_again(preset: Any, tmp_path: Path) -> None:
    reward = HybridReward.load(preset("./my_terms.py:Mentions", options={"word": "Owls"}))
    (tmp_path / "elsewhere").mkdir()
    copied = tmp_path / "elsewhere" / "copy.yaml"
    copied.write_text(reward.spec.to_yaml())
    for same in (pickle.loads(pickle.dumps(reward)), HybridReward.load(copied)):
        assert same.spec == reward.spec
        assert same.score(document("Owls."), TASK, {"wit": Scored(3)}).total == 0.75


def test_an_environment_takes_a_preset_by_its_path(preset: Any) -> None:
    path = preset("./my_terms.py:brief")
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**data, "terms": {"mine": {**data["terms"]["mine"], "weight": 1}}}))
    for reward in (str(path), path):
        env = LLMIEnv("rules", tasks=[TASK], action_mode="document", reward=reward)
        env.reset(seed=0)
        assert env.step("Owls.")[1] == 1.0
        assert env.reward.version == "mine/1+mine/1"
        env.close()


def test_a_preset_by_its_path_works_in_a_configuration(
    preset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset("./my_terms.py:brief")
    monkeypatch.chdir(tmp_path)
    # A run folder's configuration is read in other folders and processes too.
    assert load_config("rules", reward="mine.yaml").reward == str(tmp_path / "mine.yaml")
    assert load_config("rules", reward="paper").reward == "paper"


@pytest.mark.skipif(not DOCS.exists(), reason="docs/rewards.md is not shipped with the package")
def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert [name for name, _ in blocks] == ["my_reward.yaml", "my_terms.py"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    reward = HybridReward.load(tmp_path / "my_reward.yaml")
    report = reward.score(document("Owls hunt.", figure(outcome=picture())), TASK, {"text_quality": Scored(5)})
    assert report.total == 1.0
    terms = {"mentions": {"weight": 1, "use": "./my_terms.py:Mentions", "options": {"shortest": 4}}}
    (tmp_path / "words.yaml").write_text(yaml.safe_dump({"name": "words", "version": 1, "terms": terms}))
    words, asked = HybridReward.load(tmp_path / "words.yaml"), Task("Introduce barn owls.")
    assert [words.score(document(text), asked).total for text in ("They hunt.", "Barn owls hunt.")] == [0.0, 1.0]
