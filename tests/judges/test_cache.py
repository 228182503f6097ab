from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.judges.cache import VARIABLE, JudgmentCache, judgment_key
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored

TASK = Task("Say when owls hunt.")
DOCUMENT = Document((Text("At night."),))
GOOD = {"quality": Scored(3.25, "so so", "judge@text/1", (3, 3.5))}


class Counting:
    """A judge that gives what it is told to, slowly, and counts how often it was asked."""

    terms = ("quality",)

    def __init__(self, answer: Any = GOOD["quality"], fingerprint: str = "counting/1", latency: float = 0.0) -> None:
        self.answer, self.fingerprint, self.latency = answer, fingerprint, latency
        self.asked = 0

    async def __call__(self, document: Document, task: Task) -> Judgments:
        self.asked += 1
        await asyncio.sleep(self.latency)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"quality": self.answer}

    async def aclose(self) -> None:
        pass


def world(judge: Any, path: Path | None, **limits: Any) -> InProcessWorld:
    cache = None if path is None else str(path)
    return InProcessWorld(judges=[judge], config=WorldConfig(tools={}, judges=[], judge_cache=cache, **limits))


def judge_once(judge: Any, path: Path | None, document: Document = DOCUMENT, task: Task = TASK) -> Judgments:
    return asyncio.run(world(judge, path).judge(document, task))


def test_a_document_is_judged_once_whoever_asks(tmp_path: Path) -> None:
    judge = Counting()
    first = judge_once(judge, tmp_path / "new" / "scores.sqlite")
    again = judge_once(judge, tmp_path / "new" / "scores.sqlite")
    assert first == again == GOOD
    assert judge.asked == 1
    judge_once(judge, None)
    assert judge.asked == 2


def test_the_same_document_in_flight_is_judged_once() -> None:
    judge = Counting(latency=0.05)

    async def group() -> list[Judgments]:
        one = world(judge, None)
        return await asyncio.gather(*(one.judge(Document((Text("At night."),)), TASK) for _ in range(8)))

    assert asyncio.run(group()) == [GOOD] * 8
    assert judge.asked == 1


def test_a_judge_without_a_fingerprint_is_asked_every_time(tmp_path: Path) -> None:
    judge = Counting(fingerprint="")
    for _ in range(2):
        judge_once(judge, tmp_path / "scores.sqlite")
    assert judge.asked == 2


@pytest.mark.parametrize(
    "answer", [Unscored("down"), RuntimeError("down"), 4.0], ids=["unscored", "raised", "nonsense"]
)
def test_the_lack_of_a_score_is_never_kept(answer: Any, tmp_path: Path) -> None:
    judge = Counting(answer)
    assert isinstance(judge_once(judge, tmp_path / "scores.sqlite")["quality"], Unscored)
    judge.answer = GOOD["quality"]
    assert judge_once(judge, tmp_path / "scores.sqlite") == GOOD


def test_a_kept_score_needs_no_turn(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    judge_once(Counting(), path)

    async def beside_a_slow_one() -> Judgments:
        slow = Counting(latency=30.0)
        one = world(slow, path, judge_concurrency=1)
        waiting = asyncio.create_task(one.judge(Document((Text("Another."),)), TASK))
        while not slow.asked:
            await asyncio.sleep(0.01)
        kept = await asyncio.wait_for(one.judge(DOCUMENT, TASK), timeout=10)
        waiting.cancel()
        return kept

    assert asyncio.run(beside_a_slow_one()) == GOOD


# ----------------------------------------------------------------------------------------------------------------------- key

RED = Picture(Image.new("RGB", (4, 4), "red"), Provenance("test"), seconds=1.0)
FIGURE = Figure("{}", Call("search", "an owl", {"query": "owl"}), RED)
ILLUSTRATED = Document((Text("Owls."), FIGURE))


def with_figure(**changes: Any) -> Document:
    return Document((Text("Owls."), replace(FIGURE, **changes)))


def test_the_key_is_the_content() -> None:
    base = judgment_key("m/1", ("a", "b"), ILLUSTRATED, TASK)
    slower = replace(RED, seconds=9.0)
    same = [
        judgment_key("m/1", ("a", "b"), with_figure(outcome=slower), TASK),
        judgment_key("m/1", ("a", "b"), ILLUSTRATED, replace(TASK, id="x", source="y")),
    ]
    assert set(same) == {base}
    blue = replace(RED, image=Image.new("RGB", (4, 4), "blue"))
    others = [
        judgment_key("m/2", ("a", "b"), ILLUSTRATED, TASK),
        judgment_key("m/1", ("a",), ILLUSTRATED, TASK),
        judgment_key("m/1", ("a", "b"), Document((Text("Owls!"), FIGURE)), TASK),
        judgment_key("m/1", ("a", "b"), Document((FIGURE, Text("Owls."))), TASK),
        judgment_key("m/1", ("a", "b"), with_figure(outcome=blue), TASK),
        judgment_key("m/1", ("a", "b"), with_figure(outcome=replace(RED, provenance=Provenance("x"))), TASK),
        judgment_key("m/1", ("a", "b"), with_figure(outcome=Failure.of("search", "empty", "no")), TASK),
        judgment_key("m/1", ("a", "b"), with_figure(outcome=None), TASK),
        judgment_key("m/1", ("a", "b"), with_figure(raw="{ }"), TASK),
        judgment_key("m/1", ("a", "b"), with_figure(call=None), TASK),
        judgment_key("m/1", ("a", "b"), ILLUSTRATED, replace(TASK, question="Owls?")),
        judgment_key("m/1", ("a", "b"), ILLUSTRATED, replace(TASK, images=(RED,))),
        judgment_key("m/1", ("a", "b"), ILLUSTRATED, replace(TASK, image_count=1)),
        judgment_key("m/1", ("a", "b"), ILLUSTRATED, replace(TASK, tools=("code",))),
    ]
    assert len({base, *others}) == len(others) + 1


def test_anything_that_a_policy_can_write_has_a_key() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    for params in (deep, {"x": 10**5000}, {"x": float("nan")}):
        judgment_key("m", ("a",), with_figure(call=Call("x", "\ud800", params)), TASK)


# ---------------------------------------------------------------------------------------------------------------- the file


def test_a_broken_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"this is no database" * 100)
    cache = JudgmentCache(path)
    cache.put("k", GOOD)
    assert cache.get("k") is None
    cache.put("k", GOOD)
    assert cache.get("k") == GOOD
    assert (tmp_path / "scores.sqlite.broken").read_bytes().startswith(b"this is no database")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "was put aside" in caplog.text


def test_where_nothing_can_be_written_judging_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    judge = Counting()
    for _ in range(2):
        assert judge_once(judge, tmp_path / "file" / "scores.sqlite") == GOOD
    assert judge.asked == 2
    assert caplog.text.count("judging goes on without it") == 2  # once for each World


def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = JudgmentCache(tmp_path / "scores.sqlite")
    cache.put("a", GOOD)
    connect = sqlite3.connect

    def full(*args: Any, **options: Any) -> sqlite3.Connection:
        file = connect(*args, **options)
        file.execute("PRAGMA max_page_count = 1")  # which SQLite reports as a full disk
        return file

    monkeypatch.setattr(sqlite3, "connect", full)
    cache.put("b", {"quality": Scored(3, "x" * 100_000)})
    assert "disk is full" in caplog.text
    assert cache.get("b") is None
    assert cache.get("a") == GOOD


@pytest.mark.parametrize(
    "body",
    ["nonsense", "[]", "{}", '{"quality": 4}', '{"quality": {"score": 9, "rationale": "", "judge": "", "votes": []}}'],
)
def test_what_others_wrote_into_the_file_is_no_score(body: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    judge = Counting()
    judge_once(judge, path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE judgments SET body = ?", (body,))
    assert judge_once(judge, path) == GOOD
    assert judge.asked == 2


def test_the_oldest_go_when_it_is_full(tmp_path: Path) -> None:
    cache = JudgmentCache(tmp_path / "scores.sqlite", max_bytes=100_000)
    long = {"quality": Scored(3, "x" * 1000)}
    for number in range(400):
        cache.put(f"{number:064}", long)
    assert cache.get(f"{399:064}") == long
    assert cache.get(f"{0:064}") is None
    assert cache.path is not None
    assert cache.path.stat().st_size < 250_000


WRITE = """
import sys
from llmi_env.judges.cache import JudgmentCache
from llmi_env.world.protocol import Scored
from pathlib import Path
cache = JudgmentCache(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    cache.put(f"{sys.argv[2]}-{number}", {"quality": Scored(1 + number % 5)})
    assert cache.get(f"{sys.argv[2]}-{number}") is not None
"""


def test_many_processes_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(path), str(name), "50"], stderr=subprocess.PIPE, text=True)
        for name in range(4)
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 4
    cache = JudgmentCache(path)
    assert all(cache.get(f"{name}-{number}") is not None for name in range(4) for number in range(50))


def test_a_kill_leaves_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), "a", "1000000"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    cache = JudgmentCache(path)
    until = time.monotonic() + 30
    while cache.get("a-20") is None and time.monotonic() < until:
        time.sleep(0.01)
    writer.kill()
    writer.communicate()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    cache.put("b", GOOD)
    assert cache.get("b") == GOOD
    assert cache.get("a-0") == {"quality": Scored(1)}


# ------------------------------------------------------------------------------------------------------------------- options


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def path_of(option: str | None) -> Path | None:
        return JudgmentCache.from_option(option, 1).path

    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE)
    assert path_of("default") == tmp_path / "judgments.sqlite"
    assert path_of("off") is None
    assert path_of(None) is None
    assert path_of(str(tmp_path / "mine")) == tmp_path / "mine"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    assert path_of("default") == tmp_path / "named"
    monkeypatch.setenv(VARIABLE, "off")
    assert path_of("default") is None
    assert path_of(str(tmp_path / "mine")) == tmp_path / "mine"


def test_simulated_judges_are_never_kept(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    judge_once(SimulatedJudge(), path)
    assert not path.exists()
