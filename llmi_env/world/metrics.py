"""Figures of a service for Prometheus: what was asked and answered, what is inside, and how its tools fare.

Each service has a registry of its own. What requests leave behind is counted as they go; what is true of a moment (requests inside,
turns of tools) is asked when somebody collects. Names and labels stand in `docs/serving.md`; labels come from fixed sets, so that
no stranger can make up new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmi_env.world import wire
from llmi_env.world.statistics import SHARES, ToolFigures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_BYTES = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)


class Metrics:
    """Counts requests, and writes everything down when asked.

    Args:
        in_flight: requests inside, by route.
        state: whether the service is `ready` and whether it is `stopping`.
        figures: what the World tells of its tools, by name (`InProcessWorld.figures`).
    """

    def __init__(
        self,
        in_flight: Callable[[], Mapping[str, int]],
        state: Callable[[], Mapping[str, bool]],
        figures: Callable[[], Mapping[str, ToolFigures]],
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Moment(in_flight, state, figures))
        own: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("llmi_requests", "Requests answered (499: hung up before)", ("route", "status"), **own)
        self._rejected = Counter(
            "llmi_requests_rejected", "Requests not let in, or cut off", ("route", "reason"), **own
        )
        self._seconds = Histogram(
            "llmi_request_seconds", "Time in the service of requests let in", ("route",), buckets=_SECONDS, **own
        )
        self._received = Histogram(
            "llmi_request_body_bytes", "Size of their bodies, where they have one", ("route",), buckets=_BYTES, **own
        )
        self._sent = Histogram("llmi_response_body_bytes", "Size of their answers", ("route",), buckets=_BYTES, **own)

    def answered(self, route: str, status: int, seconds: float | None = None, received: int = 0, sent: int = 0) -> None:
        """Count a request; `seconds` and the sizes in bytes are of one that was let in."""
        self._requests.labels(route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)
            if received:
                self._received.labels(route).observe(received)
            self._sent.labels(route).observe(sent)

    def rejected(self, route: str, reason: str) -> None:
        """Count a request that was turned away or cut off."""
        self._rejected.labels(route, reason).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Moment(Collector):
    """What is true at the moment of collecting."""

    def __init__(
        self,
        in_flight: Callable[[], Mapping[str, int]],
        state: Callable[[], Mapping[str, bool]],
        figures: Callable[[], Mapping[str, ToolFigures]],
    ) -> None:
        self._in_flight, self._state, self._figures = in_flight, state, figures

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the World."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families that Prometheus gets."""
        yield InfoMetricFamily(
            "llmi_build", "Version of the package and of the wire format",
            value={"version": wire.VERSION, "protocol": str(wire.PROTOCOL)},
        )  # fmt: skip
        inside = GaugeMetricFamily("llmi_requests_in_flight", "Requests carried out or waiting", labels=["route"])
        for route, count in self._in_flight().items():
            inside.add_metric([route], count)
        yield inside
        for name, holds in self._state().items():
            yield GaugeMetricFamily(f"llmi_{name}", f"Whether the service is {name}", value=float(holds))
        figures = self._figures()
        yield GaugeMetricFamily(
            "llmi_queue_length",
            "Calls that wait for a turn of their tool",
            value=sum(f.waiting for f in figures.values()),
        )
        yield from _of_tools(figures)


def _of_tools(figures: Mapping[str, ToolFigures]) -> Iterable[Metric]:
    for name, what in (
        ("calls", "Calls asked for"),
        ("cached", "Calls answered from the cache"),
        ("shared", "Calls that joined the same call in flight"),
        ("retries", "Further tries after failures of the world"),
    ):
        counted = CounterMetricFamily(f"llmi_tool_{name}", what, labels=["tool"])
        for tool, figure in figures.items():
            counted.add_metric([tool], getattr(figure, name))
        yield counted
    failures = CounterMetricFamily("llmi_tool_failures", "Failures by kind", labels=["tool", "kind"])
    for tool, figure in figures.items():
        for kind, count in figure.failures.items():
            failures.add_metric([tool, kind], count)
    yield failures
    for name, what in (("running", "Calls being carried out"), ("waiting", "Calls waiting for a turn")):
        now = GaugeMetricFamily(f"llmi_tool_{name}", what, labels=["tool"])
        for tool, figure in figures.items():
            now.add_metric([tool], getattr(figure, name))
        yield now
    for name, what in (("seconds", "Time of carrying out a call"), ("queue_seconds", "Time of waiting for a turn")):
        summary = SummaryMetricFamily(f"llmi_tool_{name}", what, labels=["tool"])
        for tool, figure in figures.items():
            for share, value in zip(SHARES, getattr(figure, name) or (), strict=False):
                summary.add_sample(f"llmi_tool_{name}", {"tool": tool, "quantile": str(share)}, value)
        yield summary
