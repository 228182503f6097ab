from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import threading
import time
from typing import Any

import pytest

from llmi_env.world.portal import Portal, portal


async def thread_name() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_coroutines_run_on_one_background_loop() -> None:
    assert portal() is portal()
    assert portal().call(thread_name()) == "llmi-portal"
    futures = [portal().submit(asyncio.sleep(0.05, n)) for n in range(20)]
    assert [future.result(5) for future in futures] == list(range(20))


def test_it_works_inside_a_running_loop() -> None:
    async def notebook_cell() -> str:
        return portal().call(thread_name())

    assert asyncio.run(notebook_cell()) == "llmi-portal"


def test_waiting_inside_its_own_loop_is_refused() -> None:
    async def inside() -> None:
        portal().call(thread_name())

    with pytest.raises(RuntimeError, match="await"):
        portal().call(inside())


def test_exceptions_come_through_and_a_timeout_cancels() -> None:
    cancelled = threading.Event()

    async def fails() -> None:
        raise KeyError("x")

    async def hangs() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(KeyError):
        portal().call(fails())
    with pytest.raises(concurrent.futures.TimeoutError):
        portal().call(hangs(), timeout=0.05)
    assert cancelled.wait(5)


def test_closed_it_ends_its_thread_and_starts_again_when_used() -> None:
    own = Portal()
    waiting = own.submit(asyncio.sleep(60))
    own.close()
    own.close()
    assert waiting.cancelled()
    assert own.call(asyncio.sleep(0, 3)) == 3
    own.close()


def _in_child(queue: Any) -> None:
    queue.put(portal().call(thread_name(), timeout=10))


def test_a_forked_child_has_its_own() -> None:
    portal().call(thread_name())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    # a busy parent: the lock and the loop are in use while the child is made
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            portal().call(asyncio.sleep(0))
            time.sleep(0.001)

    user = threading.Thread(target=use)
    user.start()
    try:
        children = [context.Process(target=_in_child, args=(queue,)) for _ in range(4)]
        for child in children:
            child.start()
        assert [queue.get(timeout=20) for _ in children] == ["llmi-portal"] * 4
        for child in children:
            child.join(20)
            assert child.exitcode == 0
    finally:
        stop.set()
        user.join()
    assert portal().call(thread_name()) == "llmi-portal"
