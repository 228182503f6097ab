"""Workers are replaced when they die, answer wrongly or grow old; they end with their host and never run code unprotected."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmi_env.errors import CodeRaised, ConfigError, LimitExceeded, ToolUnavailable, classify, fault_of
from llmi_env.tools.base import Tool, ToolContext
from llmi_env.tools.code import CodeConfig, CodeTool, launch, tiers
from tests.tools.sandbox.conftest import QUICK, Draw, Tools, drawer
from tests.tools.sandbox.processes import descendants, zygote_of

# One process runs them all, so that the warm workers are started once.
pytestmark = pytest.mark.xdist_group("code")

PLOT = "plt.plot([1, 2])"


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_it_is_a_tool_and_tells_about_its_worker(draw: Draw) -> None:
    tool: CodeTool = draw.tool  # type: ignore[attr-defined]
    assert isinstance(tool, Tool)
    assert tool.spec.name == "code"
    about = tool.check()
    assert about["landlock_abi"] >= 1
    assert set(about["versions"]) == {"matplotlib", "numpy", "pandas", "seaborn"}


def test_worker_has_no_capability_and_one_thread(roomy: Draw) -> None:
    tool: CodeTool = roomy.tool  # type: ignore[attr-defined]
    roomy(PLOT)
    lines = Path(f"/proc/{zygote_of(tool.pool.workers[0])}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["Threads"] == "1"


def test_a_tool_pickles_without_its_workers(draw: Draw) -> None:
    tool: CodeTool = draw.tool  # type: ignore[attr-defined]
    twin = pickle.loads(pickle.dumps(tool))
    assert twin.config == tool.config
    assert twin._pool is None


@pytest.mark.slow
def test_a_dead_worker_is_replaced_between_and_within_calls(roomy: Draw, tier: str) -> None:
    tool = CodeTool(workers=1, recycle_after=3, sandbox=tier)
    draw = drawer(tool)
    try:
        expected = draw(PLOT).png
        first = tool.pool.workers[0]
        folder = first.folder
        os.kill(first.pid, signal.SIGKILL)
        assert wait_until(lambda: not first.alive)
        assert draw(PLOT).png == expected, "killed between calls"
        second = tool.pool.workers[0].pid
        assert second != first.pid

        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(draw, f"import time; time.sleep(1); {PLOT}")
            time.sleep(0.4)
            os.kill(second, signal.SIGKILL)
            assert running.result().png == expected, "killed within a call: tried again on a new worker"
        third = tool.pool.workers[0].pid
        assert third != second
        for _ in range(3):
            assert draw(PLOT).png == expected
        assert tool.pool.workers[0].pid != third, "replaced after `recycle_after` charts"
        last = tool.pool.workers[0]
        assert not folder or not Path(folder).exists()
    finally:
        asyncio.run(tool.aclose())
    assert gone(last.pid)
    assert not last.folder or not Path(last.folder).exists()
    asyncio.run(tool.aclose())


@pytest.mark.slow
def test_calls_run_side_by_side_and_a_cancelled_one_ends_at_once(sandbox: None) -> None:
    tool = CodeTool(workers=2, timeout=30, sandbox=QUICK)

    async def scenario() -> None:
        context = ToolContext()
        await asyncio.gather(*(tool({"code": PLOT}, context) for _ in range(2)))
        began = time.monotonic()
        nap = {"code": f"import time; time.sleep(1.5); {PLOT}"}
        await asyncio.gather(tool(nap, context), tool(nap, context))
        assert time.monotonic() - began < 2.8

        pids = {one.pid for one in tool.pool.workers}
        task = asyncio.create_task(tool({"code": "while True: pass"}, context))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        began = time.monotonic()
        await asyncio.gather(*(tool({"code": PLOT}, context) for _ in range(4)))
        assert time.monotonic() - began < 5, "the cancelled run kept its worker"
        assert {one.pid for one in tool.pool.workers} == pids, "a cancelled run costs no worker"

    try:
        asyncio.run(scenario())
    finally:
        asyncio.run(tool.aclose())


def test_the_tool_works_from_several_event_loops(draw: Draw) -> None:
    pictures = [asyncio.run(draw.tool({"code": PLOT}, ToolContext())) for _ in range(2)]  # type: ignore[attr-defined]
    assert pictures[0].png == pictures[1].png


def test_a_forked_process_starts_workers_of_its_own(draw: Draw) -> None:
    tool: CodeTool = draw.tool  # type: ignore[attr-defined]
    ours = tool.pool.workers[0].pid
    pid = os.fork()
    if pid == 0:
        try:
            theirs = tool.pool
            os._exit(0 if theirs.pid == os.getpid() and theirs.workers == [] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    draw(PLOT)
    assert tool.pool.workers[0].pid == ours


@pytest.mark.slow
def test_waiting_for_a_busy_cpu_is_not_the_codes_fault(sandbox: None) -> None:
    tool = CodeTool(workers=1, timeout=1.5, sandbox=QUICK)
    draw = drawer(tool)
    cpu = min(os.sched_getaffinity(0))
    others: list[subprocess.Popen[bytes]] = []
    try:
        draw(PLOT)
        os.sched_setaffinity(tool.pool.workers[0].pid, {cpu})
        for _ in range(2):
            others.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            os.sched_setaffinity(others[-1].pid, {cpu})
        began = time.monotonic()
        draw(f"import time\nwhile time.process_time() < 1.0: pass\n{PLOT}")
        assert time.monotonic() - began > 1.5, "the CPU was not busy"
        with pytest.raises(LimitExceeded):
            draw("while True: pass")
    finally:
        for other in others:
            other.kill()
            other.wait()
        asyncio.run(tool.aclose())


@pytest.mark.slow
def test_workers_end_with_a_killed_host(roomy: Draw, tier: str) -> None:
    script = textwrap.dedent("""
        import sys
        from llmi_env.tools.code.config import CodeConfig
        from llmi_env.tools.code.tiers import start
        from llmi_env.tools.code.worker import Job
        worker = start(sys.argv[1], CodeConfig())
        print(worker.pid, worker.folder or "-", flush=True)
        worker.run(Job(b"import time; time.sleep(60)", 0))
    """)
    host = subprocess.Popen([sys.executable, "-c", script, tier], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    with host.stdout:
        pid, folder = host.stdout.readline().split()
    time.sleep(0.3)
    family = [int(pid), *descendants(int(pid))]
    assert len(family) >= 2  # the chart's child among them
    host.kill()
    host.wait()
    assert wait_until(lambda: all(map(gone, family)))
    assert wait_until(lambda: not Path(folder).exists())


_DENY_LANDLOCK = """
import ctypes, struct
code = b"".join(struct.pack("=HBBI", *i) for i in
    [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | {errno}), (0x06, 0, 0, 0x7FFF0000)])
buffer = ctypes.create_string_buffer(code, len(code))
class Program(ctypes.Structure): _fields_ = [("n", ctypes.c_ushort), ("p", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, ctypes.byref(Program(4, ctypes.cast(buffer, ctypes.c_void_p))), 0, 0) == 0
"""


@pytest.mark.parametrize(
    ("prelude", "cause"),
    [
        (_DENY_LANDLOCK.format(errno=38), "needs Linux 5.13"),
        (_DENY_LANDLOCK.format(errno=95), "lsm="),
        (_DENY_LANDLOCK.format(errno=1), "container"),
        ("import platform; platform.machine = lambda: 'riscv64'", "no system call table for the CPU 'riscv64'"),
        ("import sys; sys.modules['seaborn'] = None", "seaborn"),
        ("import sys; sys.stdout.buffer.write(b'garbage' * 99); sys.exit(3)", "did not start"),
        ("import sys; sys.exit('it broke')", "it broke"),
    ],
)
def test_without_a_protection_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, prelude: str, cause: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch, "_BOOTSTRAP", prelude + "\n" + launch._BOOTSTRAP)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tool = CodeTool(workers=1, sandbox=QUICK)
    with pytest.raises(ToolUnavailable, match=cause) as caught:
        drawer(tool)("open('ran', 'w')")
    kind, _, _ = classify(caught.value)
    assert (kind, fault_of("code", kind)) == ("unavailable", "world")
    asyncio.run(tool.aclose())
    assert list(tmp_path.iterdir()) == []


def test_a_probe_that_finds_a_door_open_keeps_the_worker_from_serving(
    sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = "from llmi_env.tools.code.inside.PROGRAM import main"
    without = f"from llmi_env.tools.code.inside import seccomp; seccomp.restrict = lambda: None\n{last}"
    patched = launch._BOOTSTRAP.replace(last, without)
    assert patched != launch._BOOTSTRAP
    monkeypatch.setattr(launch, "_BOOTSTRAP", patched)
    with pytest.raises(ToolUnavailable, match="it can open a socket"):
        tiers.start(QUICK, CodeConfig())


_ORDINARY_USER = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000) == 0, "no user namespace"
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write("65534 0 1")
open("/proc/self/gid_map", "w").write("65534 0 1")
assert libc.capset(ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)) == 0
assert os.getuid() == 65534
"""


@pytest.mark.slow
def test_it_works_for_an_ordinary_user(draw: Draw, sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root the rest of this suite runs as root; here a user without any right draws the same bytes."""
    if os.getuid() == 0:
        if subprocess.run([sys.executable, "-c", _ORDINARY_USER], capture_output=True).returncode != 0:
            pytest.skip("root, but user namespaces are not allowed here: no ordinary user to be had")
        monkeypatch.setattr(launch, "_BOOTSTRAP", _ORDINARY_USER + launch._BOOTSTRAP)
    tool = CodeTool(workers=1, sandbox=QUICK)
    try:
        assert drawer(tool)(PLOT).png == draw(PLOT).png
        assert tool.check()["uid"] != 0
        with pytest.raises(Exception, match="Permission denied"):
            drawer(tool)("open('/etc/passwd')")
    finally:
        asyncio.run(tool.aclose())


_STATE = """
import os
def attempt(action):
    try: action()
    except OSError: return '-'
    return 'x'
places = ('..', '../..', '/', '/dev', '/dev/shm', '/tmp', '/chart', '/chart/worker')
raise ValueError('<<' + ''.join(attempt(lambda: open(f'{place}/left', 'w')) for place in places) + ' '.join(os.listdir('.')) + '>>')
"""


@pytest.mark.slow
@pytest.mark.parametrize("walled", ["namespace", "docker"])
def test_without_landlock_the_outer_wall_keeps_calls_apart(
    walled: str, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.get(CodeConfig(sandbox=walled, workers=1, timeout=30))  # type: ignore[arg-type]
    monkeypatch.setattr(launch, "_BOOTSTRAP", _DENY_LANDLOCK.format(errno=95) + "\n" + launch._BOOTSTRAP)
    tool = CodeTool(workers=1, sandbox=walled)
    mine = drawer(tool)
    try:
        assert tool.check()["landlock_abi"] == 0
        for _ in range(2):
            with pytest.raises(CodeRaised, match=r"<<-{8}>>"):
                mine(_STATE)
        mine(f"open('mine', 'w').write('x'); {PLOT}")
        assert mine(PLOT).image.width > 100
    finally:
        asyncio.run(tool.aclose())


def test_a_host_with_thousands_of_descriptors_passes_none_on(sandbox: None) -> None:
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]
    tool = CodeTool(workers=1, sandbox=QUICK)
    try:
        with pytest.raises(CodeRaised, match=r"<<\[0, 1, 2, 3\]>>"):
            drawer(tool)(
                "import os\ndef there(fd):\n    try: os.fstat(fd); return True\n    except OSError: return False\n"
                "raise ValueError(f'<<{[fd for fd in range(1000) if there(fd)]}>>')"
            )
    finally:
        asyncio.run(tool.aclose())
        for fd in held:
            os.close(fd)


@pytest.mark.slow
def test_a_worker_that_does_not_listen_is_killed_and_the_event_loop_goes_on(sandbox: None) -> None:
    tool = CodeTool(workers=1, sandbox=QUICK, timeout=1)
    tool.check()
    os.kill(tool.pool.workers[0].pid, signal.SIGSTOP)

    async def scenario() -> float:
        call = asyncio.create_task(tool({"code": "#" * 95_000}, ToolContext(seed=0)))
        await asyncio.sleep(1)
        began = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return time.monotonic() - began

    try:
        assert asyncio.run(scenario()) < 0.5
        assert drawer(tool)(PLOT).image.width > 100
    finally:
        asyncio.run(tool.aclose())


@pytest.mark.slow
def test_a_fork_of_the_host_keeps_no_container(in_docker: Draw) -> None:
    script = textwrap.dedent("""
        import os, time
        from llmi_env.tools.code.config import CodeConfig
        from llmi_env.tools.code.tiers import start
        worker = start("docker", CodeConfig())
        bystander = os.fork()
        if bystander == 0:
            time.sleep(60)
            os._exit(0)
        print(worker.pid, bystander, flush=True)
        time.sleep(60)
    """)
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    pid, bystander = map(int, host.stdout.readline().split())
    try:
        assert not gone(pid)
        host.kill()
        host.wait()
        assert wait_until(lambda: gone(pid))
        assert not gone(bystander)
    finally:
        os.kill(bystander, signal.SIGKILL)
        host.stdout.close()


def test_threads_that_come_at_once_share_one_pool(sandbox: None) -> None:
    tool = CodeTool(workers=1, sandbox=QUICK)
    with ThreadPoolExecutor(8) as threads:
        pools = set(threads.map(lambda _: tool.pool, range(8)))
    assert len(pools) == 1
    asyncio.run(tool.aclose())


@pytest.mark.parametrize("missing", ["resource", "pidfd"])
def test_where_a_system_lacks_what_a_tier_needs_it_says_so(missing: str) -> None:
    script = textwrap.dedent("""
        import sys, os
        if sys.argv[1] == "resource":
            sys.modules["resource"] = None
        else:
            del os.pidfd_open
        from llmi_env.tools.code import CodeConfig, tiers
        if sys.argv[1] == "pidfd":
            found = tiers.examine("landlock", CodeConfig())
            assert "pidfd_open" in found.cause, found
        print("fine")
    """)
    run = subprocess.run([sys.executable, "-c", script, missing], capture_output=True, text=True)
    assert run.stdout == "fine\n", run.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"sandbox": "chroot"},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"workers": -1},
        {"workers": 1.5},
        {"memory_mib": float("nan")},
        {"dpi": "high"},
        {"figures": "first"},
    ],
)
def test_impossible_settings_are_told(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        CodeTool(**settings)


def test_an_unknown_setting_is_told_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'timeout'"):
        CodeTool(timeuot=3)
