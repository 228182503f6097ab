"""Threads that nobody waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from llmi_env.world.threads import OneThread, in_thread


def test_work_is_done_in_turn_by_one_thread() -> None:
    thread, seen = OneThread("one"), []

    def work(number: int) -> int:
        seen.append((number, threading.current_thread().name))
        return number

    done = [thread.submit(lambda number=number: work(number)) for number in range(5)]  # type: ignore[misc]
    assert [future.result(5) for future in done] == list(range(5))
    assert seen == [(number, "one") for number in range(5)]
    assert thread.busy == 0
    thread.close()


def test_what_is_cancelled_before_its_turn_is_left_out() -> None:
    thread, go, seen = OneThread("one"), threading.Event(), []
    first, second, third = thread.submit(go.wait), thread.submit(lambda: seen.append(2)), thread.submit(lambda: 3)
    time.sleep(0.05)
    assert thread.busy > 0
    assert not first.cancel()  # it runs
    assert second.cancel()
    go.set()
    assert third.result(5) == 3
    assert seen == []
    thread.close()


@pytest.mark.parametrize(("error", "kind"), [(ValueError("no"), ValueError), (SystemExit(3), RuntimeError)])
def test_an_error_is_the_works_and_ends_nothing(error: BaseException, kind: type[Exception]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(kind):
        in_thread(fail, "failing").result(5)
    assert in_thread(lambda: 4, "next").result(5) == 4


def test_a_process_ends_although_its_work_does_not() -> None:
    code = (
        "import asyncio, time; from llmi_env.world.threads import in_thread\n"
        "async def main():\n"
        "    try: await asyncio.wait_for(asyncio.wrap_future(in_thread(lambda: time.sleep(600), 'hung')), 0.1)\n"
        "    except TimeoutError: print('given up')\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "given up"
    assert done.stderr == ""
