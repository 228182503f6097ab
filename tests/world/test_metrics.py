from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from llmi_env.calls import Call
from llmi_env.testing import simulated_config
from llmi_env.world import wire
from llmi_env.world.http import HttpWorld
from llmi_env.world.metrics import Metrics
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Keys, Limits
from llmi_env.world.statistics import ToolFigures
from tests.serving import served


def read(page: str) -> dict[tuple[Any, ...], float]:
    """Samples by name and labels, as Prometheus' own client reads them."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def idle() -> Metrics:
    return Metrics(lambda: {"/run": 0}, lambda: {"ready": True}, dict)


def test_what_was_asked_and_how_tools_fared_can_be_read_off() -> None:
    config = simulated_config(tools={"search": {"latency": 0.05}, "edit": {"failure_rate": 1.0, "failure": "empty"}})
    with served(create_app(config)) as address:

        async def use() -> None:
            world = HttpWorld(address)
            owl = Call("search", "an owl", {"query": "owl"})
            await asyncio.gather(world.run(owl), world.run(owl))
            picture: Any = await world.run(owl)
            await world.run(Call("edit", "", {"img_index": 0, "prompt": "blur"}), [picture])
            await world.run(Call("search", "", {"no": "such"}))
            await world.aclose()

        asyncio.run(use())
        httpx.post(address + "/run", content=b"{")
        for path in ("/health/..", "/made/up", "/made/up/too"):
            httpx.get(address + path)
        answer = httpx.get(address + "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = read(answer.text)
    assert found["llmi_requests_total", "/run", "200"] == 5
    assert found["llmi_requests_total", "/run", "422"] == 1
    assert found["llmi_requests_total", "404", "other"] == 3
    assert found["llmi_request_seconds_count", "/run"] == found["llmi_request_body_bytes_count", "/run"] == 6
    assert found["llmi_request_seconds_sum", "/run"] > 0.1
    assert found["llmi_requests_in_flight", "/run"] == found["llmi_queue_length",] == 0
    assert found["llmi_tool_calls_total", "search"] == 4
    assert found["llmi_tool_cached_total", "search"] == found["llmi_tool_shared_total", "search"] == 1
    assert found["llmi_tool_failures_total", "bad_params", "search"] == 1
    assert sum(value for key, value in found.items() if key[0] == "llmi_tool_failures_total" and "edit" in key) == 1
    assert found["llmi_tool_seconds", "0.5", "search"] == pytest.approx(0.05, rel=0.5)
    assert found["llmi_build_info", *sorted((str(wire.PROTOCOL), wire.VERSION))] == 1
    assert found["process_open_fds",] > 0


def test_every_figure_of_a_tool_is_told_under_its_own_name() -> None:
    figures = ToolFigures(11, 2, 3, 4, {"timeout": 5, "empty": 6}, 7, 8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    untouched = ToolFigures(0, 0, 0, 0, {}, 0, 1, None, None)
    metrics = Metrics(lambda: {"/run": 9}, lambda: {"ready": False}, lambda: {"code": figures, "edit": untouched})
    found = read(metrics.text().decode())
    expected = {
        ("llmi_tool_calls_total", "code"): 11, ("llmi_tool_cached_total", "code"): 2,
        ("llmi_tool_shared_total", "code"): 3, ("llmi_tool_retries_total", "code"): 4,
        ("llmi_tool_failures_total", "code", "timeout"): 5, ("llmi_tool_failures_total", "code", "empty"): 6,
        ("llmi_tool_running", "code"): 7, ("llmi_tool_waiting", "code"): 8, ("llmi_queue_length",): 9,
        ("llmi_tool_seconds", "0.5", "code"): 0.1, ("llmi_tool_seconds", "0.9", "code"): 0.2,
        ("llmi_tool_seconds", "0.99", "code"): 0.3, ("llmi_tool_queue_seconds", "0.5", "code"): 0.4,
        ("llmi_tool_queue_seconds", "0.9", "code"): 0.5, ("llmi_tool_queue_seconds", "0.99", "code"): 0.6,
        ("llmi_requests_in_flight", "/run"): 9, ("llmi_ready",): 0, ("llmi_tool_calls_total", "edit"): 0,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == {key: pytest.approx(value) for key, value in expected.items()}
    assert ("llmi_tool_seconds", "0.5", "edit") not in found


def test_each_service_counts_for_itself_and_nothing_enters_the_registry_of_the_process() -> None:
    one, other = idle(), idle()
    one.answered("/run", 200, 0.1, 10, 20)
    one.rejected("/run", "busy")
    assert ("llmi_requests_total", "/run", "200") in read(one.text().decode())
    assert ("llmi_requests_total", "/run", "200") not in read(other.text().decode())
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("llmi")]


def test_they_need_the_token_unless_they_are_opened() -> None:
    config = simulated_config(tools={"search": {}})
    for opened, status in ((False, 401), (True, 200)):
        app = create_app(config, keys=Keys(["sesame"]), limits=Limits(max_in_flight=1), open_metrics=opened)
        with served(app) as address:
            assert httpx.get(address + "/metrics").status_code == status
            assert httpx.get(address + "/metrics", headers={"authorization": "Bearer sesame"}).status_code == 200
            assert httpx.get(address + "/health").status_code == 401
