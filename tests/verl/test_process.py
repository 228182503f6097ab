from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from llmi_env.errors import TrainingError
from trainers.verl.process import VerlProcess

psutil = pytest.importorskip("psutil", reason="psutil is not installed: pip install 'llmi-env[verl]'")


def program(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(text))
    return [sys.executable, str(file)]


def test_what_it_prints_is_kept_and_news_are_asked_for(tmp_path: Path) -> None:
    seen: list[str] = []
    log = tmp_path / "verl.log"
    with VerlProcess(program(tmp_path, "import os; print('hello', os.environ['ONE'])"), {"ONE": "1"}, log) as process:
        process.watch(lambda: seen.append(log.read_text()))
    assert seen[-1] == "hello 1\n"


def test_it_is_given_a_short_folder_for_ray_which_goes_with_it(tmp_path: Path) -> None:
    log = tmp_path / "verl.log"
    with VerlProcess(program(tmp_path, "import sys; print(sys.argv[-1])"), {}, log) as process:
        process.watch(lambda: None)
    key, _, folder = log.read_text().strip().partition("=")
    assert key == "+ray_kwargs.ray_init._temp_dir"
    assert len(folder) < 40
    assert not Path(folder).exists()


def test_a_ray_that_is_joined_keeps_its_folder(tmp_path: Path) -> None:
    log = tmp_path / "verl.log"
    command = [*program(tmp_path, "import sys; print(sys.argv[1:])"), "+ray_kwargs.ray_init.address=auto"]
    with VerlProcess(command, {}, log) as process:
        process.watch(lambda: None)
    assert log.read_text().strip() == "['+ray_kwargs.ray_init.address=auto']"


def test_an_error_is_told_by_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "verl.log"
    command = program(tmp_path, "print('fine'); raise ValueError('batch 3 does not divide by 2')")
    with (
        pytest.raises(TrainingError, match=r"status 1: ValueError: batch 3 does not divide by 2 .*verl\.log"),
        VerlProcess(command, {}, log) as process,
    ):
        process.watch(lambda: None)


@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "stubborn"])
def test_everything_ends_with_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    monkeypatch.setattr("trainers.verl.process._PATIENCE", 0.5)
    ignore = (
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        if stubborn
        else ""
    )
    # A grandchild in a session of its own, as Ray's daemons are; it names the folder.
    command = program(
        tmp_path,
        f"""
        import signal, subprocess, sys, time
        {ignore}
        folder = sys.argv[-1].split("=")[1]
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", folder], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(60)
        """,
    )
    log = tmp_path / "verl.log"
    with VerlProcess(command, {}, log) as process:
        while not log.read_text().strip():
            time.sleep(0.05)
        own = process._process
        assert own is not None
    grandchild = int(log.read_text().splitlines()[0])
    assert own.poll() is not None
    deadline = time.monotonic() + 10
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != "zombie":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_us_alone_and_verl_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """verl has a session of its own: it is we who end it; where we are killed, the system does."""
    log = tmp_path / "verl.log"
    command = program(
        tmp_path,
        """
        import signal, time
        def end(*_):
            print("asked to end", flush=True)
            raise SystemExit(0)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        print("up", flush=True)
        time.sleep(60)
        """,
    )
    runner = textwrap.dedent(
        f"""
        import signal
        from pathlib import Path
        from trainers.verl.process import VerlProcess
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background begins with it ignored
        try:
            with VerlProcess({command!r}, {{}}, Path({str(log)!r})) as process:
                process.watch(lambda: None)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    started = subprocess.Popen(
        [sys.executable, "-c", runner], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (log.exists() and "up" in log.read_text()):
        time.sleep(0.05)
    os.killpg(started.pid, number)
    said, _ = started.communicate(timeout=30)
    assert said.strip() == ("" if number == signal.SIGKILL else "interrupted")
    deadline = time.monotonic() + 20
    while log.read_text().splitlines() != ["up", "asked to end"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
