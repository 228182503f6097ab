"""What `llmi doctor` says of services outside."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from llmi_env import doctor
from llmi_env.document import Failure, Outcome, Picture, Provenance


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(doctor, "_sandboxes", lambda console: "landlock")
    monkeypatch.setattr(doctor, "_prepared", lambda: iter([("the policy", True)]))
    monkeypatch.delenv("SERPAPI_API_KEY", raising=False)
    return Console(file=io.StringIO(), width=200)


def lines(page: Console) -> dict[str, str]:
    assert isinstance(page.file, io.StringIO)
    services = page.file.getvalue().split("Services outside")[1].split("Offline world")[0]
    return {
        name.split()[-1]: text.strip()
        for name, _, text in (line.partition(": ") for line in services.splitlines()[1:] if line.strip())
    }


def test_services_are_not_asked_unasked(page: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run", lambda *_, **__: pytest.fail("nobody wanted that"))
    assert doctor.doctor(page)
    said = lines(page)
    assert {"wikimedia", "openverse", "serpapi", "bing", "searxng", "endpoint"} <= set(said)
    assert "never run against the real service" in said["wikimedia"]
    assert "SERPAPI_API_KEY" in said["serpapi"]
    assert "address" in said["searxng"]


def test_those_that_can_be_asked_are(page: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERPAPI_API_KEY", "secret-of-mine")
    asked: list[str] = []

    def answer(tool: str, params: dict[str, str], *, provider: str, **options: Any) -> Outcome:
        asked.append(provider)
        if provider == "openverse":
            return Failure.of(tool, "unavailable", "openverse search cannot be reached")
        return Picture(Image.new("RGB", (8, 8)), Provenance("web", title="A barn owl", licence="CC0-1.0"))

    monkeypatch.setattr(doctor, "run", answer)
    assert doctor.doctor(page, web=True)
    said = lines(page)
    assert asked == ["wikimedia", "openverse", "serpapi"]
    assert said["wikimedia"] == "'A barn owl', CC0-1.0"
    assert said["openverse"] == "openverse search cannot be reached"
    assert isinstance(page.file, io.StringIO)
    assert "secret-of-mine" not in page.file.getvalue()
