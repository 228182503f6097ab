"""The folder of a recording: readable, shared by processes, whole after a kill, and harmless whatever somebody wrote into it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Picture
from llmi_env.errors import WorldError
from llmi_env.testing import SimulatedTool, simulated_world
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import World
from llmi_env.world.recorded import RecordedWorld, RecordingWorld
from tests.world.test_recorded import EMPTY, Listed, asked, picture, search


def test_the_recording_can_be_read(tmp_path: Path) -> None:
    asked(RecordingWorld(Listed([picture()]), tmp_path), 1)
    asked(RecordingWorld(Listed([EMPTY]), tmp_path), 1, search("bée"))
    first, second = map(json.loads, (tmp_path / "calls.jsonl").read_text().splitlines())
    assert first["call"] == {"tool": "search", "description": "an owl", "params": {"query": "owl"}}
    assert (first["seed"], first["final"], first["outcome"]["title"]) == (0, True, "red")
    png = tmp_path / "pictures" / first["outcome"]["png"][:2] / f"{first['outcome']['png']}.png"
    assert hashlib.sha256(png.read_bytes()).hexdigest() == png.stem
    with Image.open(png) as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert second["outcome"]["kind"] == "empty"


def test_half_a_line_is_read_over_and_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked(RecordingWorld(Listed([picture()]), tmp_path), 1)
    path = tmp_path / "calls.jsonl"
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        assert asked(RecordedWorld(tmp_path), 1) == [picture()]
        assert asked(RecordingWorld(Listed([EMPTY]), tmp_path), 1, search(str(cut))) == [EMPTY]
        replay = RecordedWorld(tmp_path)
        assert asked(replay, 1, search(str(cut))) == [EMPTY]
        assert asked(replay, 1) == [picture()]
    assert "line 2 is left out" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": 99, "key": "k", "final": true}',
        '{"format": 1, "key": [], "final": 1}',
        "\x00",
    ],
)
def test_lines_that_are_none_of_ours_are_read_over(line: str, tmp_path: Path) -> None:
    asked(RecordingWorld(Listed([picture()]), tmp_path), 1)
    path = tmp_path / "calls.jsonl"
    path.write_text(line + "\n" + path.read_text() + line + "\n")
    assert asked(RecordedWorld(tmp_path), 1) == [picture()]


@pytest.mark.parametrize("harm", ["gone", "other", "bomb", "outside", "no name", "no outcome"])
def test_a_damaged_recording_is_an_error_and_no_way_out_of_its_folder(harm: str, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    asked(RecordingWorld(Listed([picture()]), folder), 1)
    (png,) = folder.glob("pictures/*/*.png")
    lines = folder / "calls.jsonl"
    if harm == "gone":
        png.unlink()
    elif harm == "other":
        png.write_bytes(png.read_bytes() + b"x")
    elif harm == "bomb":
        body = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
        name = hashlib.sha256(body).hexdigest()
        (folder / "pictures" / name[:2]).mkdir(exist_ok=True)
        (folder / "pictures" / name[:2] / f"{name}.png").write_bytes(body)
        lines.write_text(lines.read_text().replace(png.stem, name))
    elif harm == "outside":
        shutil.copy(png, tmp_path / "secret.png")
        lines.write_text(lines.read_text().replace(png.stem, "../../secret"))
    elif harm == "no name":
        lines.write_text(lines.read_text().replace(f'"{png.stem}"', "7"))
    else:
        lines.write_text(lines.read_text().replace('"backend"', '"forename"'))
    with pytest.raises(WorldError, match="missing or damaged"):
        asked(RecordedWorld(folder), 1)


def test_a_recording_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorldError, match="cannot be written"):
        asked(RecordingWorld(Listed([picture()]), tmp_path / "file"), 1)


WRITE = """
import asyncio, os, random, sys
from PIL import Image
from llmi_env.calls import Call
from llmi_env.document import Picture, Provenance
from llmi_env.world.recorded import RecordingWorld

class Random:
    async def run(self, call, pictures=(), *, seed=0):
        return Picture(Image.frombytes("RGB", (20, 20), os.urandom(1200)), Provenance("test"))
    async def judge(self, document, task): ...
    async def aclose(self): ...

async def main():
    world = RecordingWorld(Random(), sys.argv[1])
    for number in range(int(sys.argv[2])):
        outcome = await world.run(Call("search", "", {"query": str(number)}))
        print(number, outcome.digest, flush=True)

asyncio.run(main())
"""


def test_several_processes_record_into_one_folder(tmp_path: Path) -> None:
    """All ask the same at the same time; each call has one outcome, which all of them see and a replay gives."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(tmp_path), "25"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [writer.communicate() for writer in writers]
    assert [error for _, error in ended] == [""] * 2
    (seen,) = {out for out, _ in ended}
    replay = RecordedWorld(tmp_path)
    for line in seen.splitlines():
        number, digest = line.split()
        (outcome,) = asked(replay, 1, Call("search", "", {"query": number}))
        assert isinstance(outcome, Picture)
        assert outcome.digest == digest
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 25


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path), "1000000"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    lines = []
    for line in writer.stdout:
        lines.append(line)
        if len(lines) == 30:
            writer.kill()
    writer.communicate()
    replay = RecordedWorld(tmp_path)
    for line in lines:
        if not line.endswith("\n"):
            break
        number, digest = line.split()
        (outcome,) = asked(replay, 1, Call("search", "", {"query": number}))
        assert isinstance(outcome, Picture)
        assert outcome.digest == digest


def test_a_dropped_call_is_not_recorded(tmp_path: Path) -> None:
    async def drop() -> None:
        world = RecordingWorld(InProcessWorld({"search": SimulatedTool(latency=20)}), tmp_path)
        task = asyncio.create_task(world.run(search()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.aclose()

    asyncio.run(drop())
    assert {path.stem for path in tmp_path.iterdir()} == {"made_of"}


def test_recording_costs_little(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def many(world: World) -> float:
        start = time.process_time()
        await asyncio.gather(*(world.run(search(str(at))) for at in range(60)))
        return time.process_time() - start

    assert asyncio.run(many(RecordingWorld(simulated_world(), tmp_path))) < 60 * 0.02
    assert asyncio.run(many(RecordedWorld(tmp_path))) < 60 * 0.01
