from __future__ import annotations

import hashlib
import pickle
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from llmi_env.errors import ConfigError
from llmi_env.registry import Registry
from llmi_env.tools import make_tool
from llmi_env.world import connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.http import HttpWorld
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.local import LocalWorld
from llmi_env.world.service import create_app


def test_default_has_the_four_tools_and_the_embedded_judge() -> None:
    config = WorldConfig()
    assert list(config.tools) == ["search", "diffusion", "code", "edit"]
    assert config.judge_uses() == [("embedded", {})]


def test_rules_need_no_model() -> None:
    config = WorldConfig.rules()
    assert "diffusion" not in config.tools
    assert config.judges == []


def test_digest_follows_content() -> None:
    assert WorldConfig().digest() == WorldConfig().digest()
    assert WorldConfig(deadline=5).digest() != WorldConfig().digest()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"tols": {}}, "did you mean 'tools'"),
        ({"tools": {"serch": {}}}, "did you mean 'search'"),
        ({"judges": ["embeded"]}, "did you mean 'embedded'"),
        ({"judges": [{"terms": ["text_quality"]}]}, "needs `use`"),
        ({"deadline": -1}, "deadline"),
        ({"concurrency": {"code": 0}}, "above 0"),
        ({"tools": {"search": {"use": 3}}}, "by a string"),
    ],
)
def test_mistakes_are_named(data: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        WorldConfig.parse(data)


@pytest.mark.parametrize(
    "limits",
    [
        {"rates": {"serch": "1/day"}},
        {"deadlines": {"serch": 1}},
        {"concurrency": {"serch": 1}},
        {"call_cached": {"serch": True}},
    ],
)
def test_a_limit_of_a_tool_that_there_is_not_is_refused(limits: dict[str, object]) -> None:
    config = WorldConfig.parse({"tools": {"search": {}, "map": {"use": "search"}}, **limits})
    (option,) = limits
    for world in ("local", "in_process"):
        with pytest.raises(ConfigError, match=f"'{option}': there is no tool 'serch', did you mean 'search'"):
            connect(world, config)
    with pytest.raises(ConfigError, match="serch"):
        create_app(config)


def test_limits_of_tools_that_are_there_or_built_in_are_not_refused() -> None:
    config = WorldConfig.parse({"tools": {"map": {"use": "search"}}, "rates": {"map": "1/s"}, "deadlines": {"code": 1}})
    config.check_limits()
    config.without(["map"]).check_limits()
    with pytest.raises(ConfigError, match="Known: code, diffusion, edit, search"):
        config.model_copy(update={"tools": {}}).check_limits()
    config.model_copy(update={"tools": {}}).check_limits(["map"])


def test_an_option_that_a_tool_lacks_lists_those_it_has() -> None:
    with pytest.raises(ConfigError, match=r"latency"):
        make_tool("llmi_env.testing:SimulatedTool", latancy=1)


@pytest.mark.parametrize(
    "name",
    ["llmi_env.testing:Nothing", "llmi_env.nowhere:Tool", "nowhere.at.all:Tool", "llmi_env.testing:JUDGED_TERMS"],
)
def test_import_paths_that_lead_nowhere(name: str) -> None:
    with pytest.raises(ConfigError):
        make_tool(name)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_library_at_all", "tool '{name}': its module '{module}' needs 'no_such_library_at_all', which is not"),
        ("1 / 0", "tool '{name}': its module '{module}' cannot be imported: ZeroDivisionError"),
        ("from json import no_such_name", "tool '{name}': its module '{module}' cannot be imported: ImportError"),
        ("pass", "tool '{name}': module '{module}' has no 'Tool'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("plugin", [False, True])
def test_a_plugin_that_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, told: str, plugin: bool
) -> None:
    module = f"broken_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("tool", "llmi_env.tools")
    registry.__dict__["plugins"] = {"sketch": EntryPoint("sketch", f"{module}:Tool", "llmi_env.tools")}
    name = "sketch" if plugin else f"{module}:Tool"
    with pytest.raises(ConfigError) as caught:
        registry.find(name)
    assert told.format(name=name, module=module) in str(caught.value)


def test_what_is_not_a_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a tool"):
        make_tool("llmi_env.testing:SimulatedJudge")


def test_a_plugin_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("sketch", "llmi_env.testing:SimulatedTool", "llmi_env.tools")
    monkeypatch.setattr("llmi_env.registry.entry_points", lambda group: [point] if group == "llmi_env.tools" else [])
    registry = Registry("tool", "llmi_env.tools", {"search": "nowhere:Search"})
    assert registry.names == ("search", "sketch")
    assert registry.make("sketch", {"name": "edit"}).spec.name == "edit"


def test_connect_names_worlds_without_starting_them() -> None:
    assert isinstance(connect("in_process"), InProcessWorld)
    assert isinstance(connect("local"), LocalWorld)
    assert isinstance(connect("http://127.0.0.1:1"), HttpWorld)
    assert isinstance(connect("unix:x.sock"), HttpWorld)
    world = InProcessWorld()
    assert connect(world) is world
    with pytest.raises(ConfigError, match="did you mean 'local'"):
        connect("locl")
    with pytest.raises(ConfigError, match="lacks one"):
        connect(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["in_process", "local", "http://127.0.0.1:1"])
def test_worlds_pickle(name: str) -> None:
    assert type(pickle.loads(pickle.dumps(connect(name)))) is type(connect(name))
