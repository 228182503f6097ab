"""Options of tools that ship are looked through when a configuration is read, long before a tool is made; what is refused is not repeated."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import yaml

import llmi_env  # noqa: F401  registers the environment
from llmi_env.config import EnvConfig, load_config
from llmi_env.errors import ConfigError
from llmi_env.tools import TOOLS, check_tool
from llmi_env.world.config import WorldConfig

WEB = {"use": "web-search", "provider": "openverse"}
SECRET = "sk-SECRETXYZ"

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("search", {**WEB, "api_key": SECRET}, "no option 'api_key' .keys do not belong into configurations"),
    ("search", {**WEB, "provider": "bingo"}, "no search provider 'bingo', did you mean 'bing'"),
    ("search", {**WEB, "provider": "bing", "url": "http://127.0.0.1:1", "api_key_env": f"{SECRET}"}, "'api_key_env'"),
    ("search", {**WEB, "provider": "bing", "url": f"http://127.0.0.1:1/?api_key={SECRET}"}, "'url'"),
    ("search", {**WEB, "provider": "serpapi", "url": "http://127.0.0.1:1"}, "name the environment variable"),
    ("search", {**WEB, "hits": 100}, "at most 20 hits"),
    ("search", {**WEB, "private": "127.0.0.1"}, "'private'"),
    ("search", {**WEB, "private": ["http://127.0.0.1"]}, "neither a host name"),
    ("search", {**WEB, "provider": "searxng"}, "the option url is needed"),
    ("search", {**WEB, "provider": "searxng", "url": "127.0.0.1:8888"}, "'url'"),
    (
        "search",
        {**WEB, "provider": "endpoint", "url": "http://127.0.0.1/x", "provider_options": {"params": {"q": "{quary}"}, "picture": "u"}},
        "no {query}",
    ),
    ("search", {"semantics": True}, "no option 'semantics', did you mean 'semantic'"),
    ("search", {"semantic": "yes"}, "semantic is true or false"),
    ("search", {"floor": "high"}, "floor is a number"),
    ("search", {"floor": 2}, "floor is a number"),
    ("diffusion", {"modle": "x"}, "no option 'modle', did you mean 'model'"),
    ("diffusion", {"steps": "x"}, "'steps'"),
    ("diffusion", {"steps": 0}, "'steps'"),
    ("diffusion", {"guidance": "x"}, "'guidance'"),
    ("diffusion", {"height": True}, "'height'"),
    ("diffusion", {"device": ""}, "'device'"),
    ("diffusion", {"model": ""}, "'model'"),
    ("diffusion", {"dtype": "float61"}, "no dtype 'float61', did you mean 'float16'"),
    ("diffusion", {"options": {"access_token": SECRET}}, "'access_token' looks like a key"),
    ("diffusion", {"batch": 2}, "draws one by one"),
    ("diffusion", {"use": "image-server"}, "'model': Field required"),
    ("diffusion", {"use": "image-server", "model": "m", "extra_body": {"api_key": SECRET}}, "'api_key' looks like a key"),
    ("edit", {"use": "diffusers-edit"}, "'model': Field required"),
    ("edit", {"use": "image-server-edit", "model": "m", "send": "post"}, "'send'"),
    ("edit", {"max_pixels": "many"}, "max_pixels must be"),
    ("code", {"sandbox": "dcker"}, "did you mean 'docker'"),
    ("code", {"timeout": "long"}, "timeout must be"),
    ("code", {"timout": 5}, "no setting 'timout', did you mean 'timeout'"),
    ("formula", {"use": "http", "url": "http://127.0.0.1:1", "purpose": "sets"}, "'params': Field required"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "told"), WRONG)
def test_what_cannot_be_is_told_when_a_configuration_is_read(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        load_config("rules", services={"tools": {name: options}, "judges": []})
    assert "environment: option 'services.tools'" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    for make in (lambda: WorldConfig(tools={name: options}), lambda: EnvConfig(services={"tools": {name: options}})):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="tools") as raw:
            make()
        assert SECRET not in "".join(traceback.format_exception(raw.value))


def test_an_environment_is_not_made() -> None:
    with pytest.raises(ConfigError, match="provider 'bingo'"):
        gym.make("LLMI-v0", config="rules", services={"tools": {"search": {**WEB, "provider": "bingo"}}, "judges": []})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("search", {**WEB, "provider": "serpapi"}),  # its key is where the World runs
        ("search", {**WEB, "api_key_file": "/no/such/file"}),
        ("search", {**WEB, "provider": "nowhere.at_all:Provider", "url": "https://a.example"}),
        ("search", {"use": "nowhere.at_all:Tool", "anything": 1}),
        ("diffusion", {"model": "./no/such/folder", "device": "cuda:7", "dtype": "bfloat16", "guidance": 2}),
        ("diffusion", {"use": "image-server", "model": "m"}),
        ("edit", {"use": "diffusers-edit", "model": "a/b", "scheduler": "AnyScheduler", "scheduler_options": {"a": 1}}),
    ],
)
def test_what_only_the_world_can_know_is_left_to_it(name: str, options: dict[str, Any]) -> None:
    config = load_config("rules", services={"tools": {name: options}, "judges": []})
    assert config.services.tools == {name: options}
    assert "nowhere" not in sys.modules


def test_no_extra_is_needed_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_tool("web-search", {"provider": "openverse"})
    check_tool("image-server", {"model": "m"})
    check_tool("diffusion", {"steps": 3})
    check_tool("diffusers-edit", {"model": "a/b"})
    check_tool("search", {"semantic": True})


def test_every_tool_that_ships_is_looked_at() -> None:
    assert sorted(TOOLS.builtin) == sorted(
        ["search", "diffusion", "code", "edit", "web-search", "image-server", "image-server-edit", "diffusers-edit", "http"]
    )  # fmt: skip
    for name in TOOLS.builtin:
        with pytest.raises(ConfigError, match=r"no_such_option|no option|no setting"):
            check_tool(name, {"no_such_option": 1})


@pytest.mark.slow
def test_a_key_given_by_mistake_never_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from llmi_env.cli import app

    monkeypatch.chdir(tmp_path)
    search = yaml.safe_dump({**WEB, "api_key": SECRET}, default_flow_style=True).strip()
    done = CliRunner().invoke(
        app, ["train", "quickstart", "steps=1", f"env.services.tools.search={search}", "--run-dir", "run1"]
    )
    assert done.exit_code != 0
    assert list(tmp_path.iterdir()) == []
    assert "no option 'api_key'" in str(done.exception or done.output)
    assert SECRET not in f"{done.output} {done.exception}"
