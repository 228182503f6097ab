from __future__ import annotations

import asyncio
import threading
import time

import pytest
from PIL import Image

from llmi_env import tools
from llmi_env.document import Failure, Picture
from llmi_env.errors import ConfigError
from llmi_env.testing import SimulatedTool

SIMULATED = "llmi_env.testing:SimulatedTool"


def test_one_call_from_a_script() -> None:
    outcome = tools.run(SIMULATED, {"query": "owl"}, seed=4, description="an owl")
    assert isinstance(outcome, Picture)
    assert (outcome.provenance.seed, outcome.provenance.caption) == (4, "an owl")


def test_one_call_inside_a_running_loop() -> None:
    async def cell() -> object:
        return tools.run(SIMULATED, {"query": "owl"})

    assert isinstance(asyncio.run(cell()), Picture)


def test_failures_are_values() -> None:
    outcome = tools.run(SIMULATED, {"query": "owl"}, failure_rate=1.0, failure="empty")
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == ("empty", "policy")


def test_timeout_bounds_the_call() -> None:
    outcome = tools.run(SIMULATED, {"query": "owl"}, latency=30.0, timeout=0.05)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "timeout"
    with pytest.raises(ConfigError, match="timeout"):
        tools.run(SIMULATED, {"query": "owl"}, timeout=0)


def test_images_are_what_img_index_counts() -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    params = {"img_index": 1, "prompt": "blur"}
    both = tools.run(SIMULATED, params, images=[red, blue], name="edit")
    assert both == tools.run(SIMULATED, params, images=[blue, blue], name="edit")
    assert both != tools.run(SIMULATED, params, images=[blue, red], name="edit")
    outside = tools.run(SIMULATED, {"img_index": 2, "prompt": "blur"}, images=[red, blue], name="edit")
    assert isinstance(outside, Failure)
    assert outside.kind == "bad_params"


def test_tools_are_used_again() -> None:
    tool = SimulatedTool()
    assert tools.run(tool, {"query": "owl"}) == tools.run(tool, {"query": "owl"})
    tools.run(SIMULATED, {"query": "a"})
    before = [kept.world for kept in tools._pool[SIMULATED].values()]
    tools.run(SIMULATED, {"query": "b"})
    assert [kept.world for kept in tools._pool[SIMULATED].values()] == before
    with pytest.raises(ConfigError, match="by name"):
        tools.run(tool, {"query": "owl"}, latency=1)


def test_only_the_options_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[float] = []

    async def aclose(tool: SimulatedTool) -> None:
        closed.append(tool.latency)

    monkeypatch.setattr(SimulatedTool, "aclose", aclose)
    monkeypatch.setattr(tools, "_pool", {})
    slow = threading.Thread(target=lambda: tools.run(SIMULATED, {"query": "owl"}, latency=0.5))
    slow.start()
    while not tools._pool:
        time.sleep(0.01)
    for latency in (0.01, 0.02, 0.03, 0.02, 0.04):
        assert isinstance(tools.run(SIMULATED, {"query": "owl"}, latency=latency), Picture)
    slow.join()
    assert closed == [0.01, 0.02, 0.03, 0.02]  # what is at work is left alone
    assert len(tools._pool[SIMULATED]) == 2


def test_a_tool_may_have_an_option_named_params() -> None:
    params = {"tex": "the formula"}
    outcome = tools.run("http", {"tex": "x"}, params=params, url="http://127.0.0.1:9/x", purpose="sets a formula")
    assert isinstance(outcome, Failure)
    assert outcome.kind == "unavailable"


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'search'"):
        tools.run("serch", {"query": "owl"})
    with pytest.raises(ConfigError, match="latency"):
        tools.run(SIMULATED, {"query": "owl"}, latancy=1)


def test_unknown_params_are_the_callers() -> None:
    outcome = tools.run(SIMULATED, {"prompt": "owl"})
    assert isinstance(outcome, Failure)
    assert outcome.kind == "bad_params"
