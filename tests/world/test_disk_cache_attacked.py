"""The file of the tools' cache in hostile hands, damaged or unusable: a miss that is told once, never code that runs, never a failed call."""

from __future__ import annotations

import json
import logging
import os
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmi_env.document import Picture
from tests.pngs import claiming
from tests.world.test_disk_cache import Paid, run, world


@pytest.fixture(autouse=True)
def _counted_anew() -> Iterator[None]:
    Paid.calls.clear()
    yield
    Paid.calls.clear()


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-here",)


def planted(path: Path, body: object) -> None:
    with sqlite3.connect(path) as file:
        file.execute("UPDATE calls SET body = ?", (body,))


FACTS = {"type": "picture", "backend": "paid"}


@pytest.mark.parametrize(
    "body",
    [
        pickle.dumps(Exploit()),
        json.dumps(FACTS).encode() + b"\n" + pickle.dumps(Exploit()),
        b"",
        b"\n",
        b"[" * 100_000,
        b"[]\n",
        "a text",
        3.5,
        json.dumps({"type": "failure"}).encode(),
        json.dumps({"type": "failure", "kind": "unavailable", "fault": "world", "message": "down"}).encode(),
        json.dumps({"type": "failure", "kind": "nonsense", "fault": "policy", "message": "x"}).encode(),
        json.dumps(FACTS).encode(),
        json.dumps({**FACTS, "__class__": "os.system"}).encode() + b"\n" + b"\x89PNG\r\n\x1a\n",
        json.dumps({**FACTS, "png": "AAAA"}).encode() + b"\nGIF89a",
        json.dumps({**FACTS, "seed": "three"}).encode() + b"\n",
    ],
    ids=range(15),
)
def test_what_somebody_wrote_into_the_file_is_a_miss_and_never_run(
    body: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "calls.sqlite"
    run(world(path))
    planted(path, body)
    assert isinstance(run(world(path)), Picture)
    assert len(Paid.calls) == 2
    assert isinstance(run(world(path)), Picture)
    assert len(Paid.calls) == 2  # it was let go of, and the true one kept
    assert not (tmp_path / "was-here").exists()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) <= 1


def test_a_picture_too_large_to_be_opened_is_a_miss(tmp_path: Path) -> None:
    bomb = claiming(100_000, 100_000, b"\x00" * 1_000_000)
    path = tmp_path / "calls.sqlite"
    run(world(path))
    planted(path, json.dumps(FACTS).encode() + b"\n" + bomb)
    assert isinstance(run(world(path)), Picture)
    assert len(Paid.calls) == 2


def test_nothing_in_its_code_unpickles() -> None:
    import llmi_env.kept_file
    import llmi_env.world.disk_cache
    import llmi_env.world.kept_outcome

    for module in (llmi_env.kept_file, llmi_env.world.disk_cache, llmi_env.world.kept_outcome):
        names = vars(module)
        assert not {"pickle", "diskcache", "marshal", "shelve"} & set(names)


def test_a_broken_file_is_put_aside_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"this is no database" * 100)
    assert isinstance(run(world(path)), Picture)
    run(world(path))
    run(world(path))
    assert len(Paid.calls) <= 2
    assert (tmp_path / "calls.sqlite.broken").read_bytes().startswith(b"this is no database")
    assert "the tools' cache" in caplog.text
    assert "was put aside" in caplog.text


def test_where_nothing_can_be_written_calls_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert isinstance(run(world(tmp_path / "file" / "calls.sqlite")), Picture)
    assert len(Paid.calls) == 2
    warned = [
        record
        for record in caplog.records
        if record.levelname == "WARNING" and "calling goes on without it" in record.message
    ]
    assert len(warned) == 2  # once for each World
