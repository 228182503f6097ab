"""The example plugins: installed, they are found by their entry points; what they draw and play is what was asked for."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import subprocess
import sys
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmi_env.document import Picture
from llmi_env.errors import BadParams, NothingFound, ToolError
from llmi_env.tools.base import Tool, ToolContext

PLUGINS = Path(__file__).parent.parent / "examples" / "plugins"

if not PLUGINS.exists():
    pytest.skip("examples/ is not shipped with the package", allow_module_level=True)

PROGRAM = """
import asyncio, json, sys
from llmi_env.calls import Call
from llmi_env.config import load_config
from llmi_env.tools import TOOLS, run
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world_source import tool_specs

services = load_config(sys.argv[1]).services
loaded = sorted(name for name in sys.modules if name.startswith("llmi_") and not name.startswith("llmi_env"))
specs = tool_specs(services.model_copy(update={"tools": {name: services.tools[name] for name in sys.argv[2:]}}))
world = InProcessWorld.from_config(services)
made = {name: asyncio.run(world.run(Call(name, "", dict(specs[name].example)))) for name in sys.argv[2:]}
again = {name: run(name, dict(specs[name].example)) for name in sys.argv[2:]}
print(json.dumps({
    "plugins": {name: point.value for name, point in TOOLS.plugins.items()},
    "loaded by reading the configuration": loaded,
    "params": {name: [param.name for param in spec.params] for name, spec in specs.items()},
    "backends": {name: picture.provenance.backend for name, picture in made.items()},
    "the same": all(made[name] == again[name] for name in made),
    "sounds": {name: picture.attachment and picture.attachment.media_type for name, picture in made.items()},
}))
"""


PLAYS = importlib.util.find_spec("synthesizer") is not None
needs_synthesizer = pytest.mark.skipif(not PLAYS, reason="the sound plugin needs synthesizer: pip install synthesizer")


@pytest.fixture
def map_tool(monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.syspath_prepend(PLUGINS / "map")
    from llmi_map import MapTool

    return MapTool()


@pytest.fixture
def sound_tool(monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.syspath_prepend(PLUGINS / "sound")
    from llmi_sound import SoundTool

    return SoundTool()


def use(tool: Tool, **params: Any) -> Picture:
    return asyncio.run(tool(params, ToolContext(seed=1)))


# ------------------------------------------------------------------------------------------------------------ entry points


@pytest.mark.slow
def test_installed_plugins_are_found_by_name(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
    ]
    command += ["--no-build-isolation", "--target", str(tmp_path), str(PLUGINS / "map"), str(PLUGINS / "sound")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    names = ["map", "sound"] if PLAYS else ["map"]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, PLUGINS / "plugins.yaml", *names],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told: Mapping[str, Any] = json.loads(done.stdout)
    assert told["plugins"] == {"map": "llmi_map.tool:MapTool", "sound": "llmi_sound.tool:SoundTool"}
    assert told["loaded by reading the configuration"] == []
    params = {"map": ["places"], "sound": ["notes", "instrument"]}
    assert told["params"] == {name: params[name] for name in names}
    assert told["backends"] == {name: f"llmi-{name}" for name in names}
    assert told["the same"]
    assert told["sounds"] == {name: {"map": None, "sound": "audio/wav"}[name] for name in names}


# --------------------------------------------------------------------------------------------------------------------- map


def red(picture: Picture) -> tuple[float, float]:
    """Where the dots are, on average: columns and rows as shares of the picture."""
    pixels = np.asarray(picture.image).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - np.array([0xB3, 0x39, 0x2B])).sum(axis=2) < 20)
    return float(columns.mean()) / picture.image.width, float(rows.mean()) / picture.image.height


def test_the_map_shows_the_places_where_they_are(map_tool: Tool) -> None:
    made = use(map_tool, places="Oslo, Rome,tokyo")
    assert made.image.size == (800, 400)
    assert made.provenance.title == "Map: Oslo, Rome, Tokyo"
    assert made == use(map_tool, places=" oslo, ROME , Tokyo")
    for north, east in (
        (-40, -100),
        (40, 100),
    ):  # two dots there and one in the middle of the world, where the map's is not
        column, row = red(use(map_tool, places=f"Null: 0 0, There: {north} {east}, Near: {north} {east + 2}"))
        assert (column - 0.5) * east > 0
        assert (0.5 - row) * north > 0
    assert use(map_tool, places="Sao Paulo").provenance.title == "Map: São Paulo"


@pytest.mark.parametrize(
    ("places", "kind", "why"),
    [
        ("", BadParams, "1 to 12 places, not 0"),
        (" , ,", BadParams, "not 0"),
        (",".join(["Oslo"] * 13), BadParams, "not 13"),
        ("Camp: 95 10", BadParams, "latitude lies in"),
        ("Camp: 5 190", BadParams, "longitude in"),
        ("Oslow", NothingFound, "did you mean 'Oslo'"),
        ("$x^2$", NothingFound, "no place"),
        ("x" * 10_000, NothingFound, "no place"),
    ],
)
def test_a_map_that_cannot_be_drawn_says_what_to_do(
    map_tool: Tool, places: str, kind: type[ToolError], why: str
) -> None:
    with pytest.raises(kind, match=why) as told:
        use(map_tool, places=places)
    assert len(str(told.value)) < 600


def test_a_name_is_written_as_it_is(map_tool: Tool) -> None:
    use(map_tool, places=r"$\frac{a: 5 5, \$: 6 6, a\$b$c: 7 7")  # TeX that matplotlib could not set


# ------------------------------------------------------------------------------------------------------------------- sound


def loudest(samples: np.ndarray[Any, np.dtype[Any]], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


@needs_synthesizer
def test_the_clip_holds_the_notes(sound_tool: Tool) -> None:
    made = use(sound_tool, notes="A4:0.5 R:0.25 C5:0.5", instrument="flute")
    assert made.attachment is not None
    with wave.open(io.BytesIO(made.attachment.data)) as clip:
        rate = clip.getframerate()
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2").astype(float)
    assert len(samples) / rate == pytest.approx(1.25, abs=0.01)
    assert loudest(samples[: rate // 2], rate) == pytest.approx(440, abs=3)
    assert np.abs(samples[int(0.55 * rate) : int(0.7 * rate)]).max() < 10
    assert loudest(samples[int(0.75 * rate) :], rate) == pytest.approx(523.25, abs=3)
    assert made.image.size == (800, 400)
    assert len(np.unique(np.asarray(made.image).reshape(-1, 3), axis=0)) > 50
    assert made == use(sound_tool, notes="A4:0.5  R:0.25 C5:0.5", instrument="Flute ")
    assert made != use(sound_tool, notes="A4:0.5 R:0.25 C5:0.5", instrument="bell")


@needs_synthesizer
def test_flats_are_sharps_below(sound_tool: Tool) -> None:
    from llmi_sound.tool import read_notes

    assert read_notes("Bb3 Cb4:1 Fb4:1.5 Eb4+Gb4:2 R:0.25") == [
        (("A#3",), 0.5), (("B3",), 1.0), (("E4",), 1.5), (("D#4", "F#4"), 2.0), ((), 0.25),
    ]  # fmt: skip


@needs_synthesizer
@pytest.mark.parametrize(
    ("notes", "instrument", "why"),
    [
        ("H4", "flute", "'H4' is no note"),
        ("C4:-1", "flute", "no note"),
        ("C9:1", "flute", "no note"),
        ("C4:19 C4:2", "flute", "at most 20 seconds, not 21"),
        ("C4:0", "flute", "not 0"),
        ("R:1", "flute", "has a note"),
        ("", "flute", "has a note"),
        ("C4", "tuba", "no instrument 'tuba'"),
    ],
)
def test_a_tune_that_cannot_be_played_says_what_to_do(sound_tool: Tool, notes: str, instrument: str, why: str) -> None:
    with pytest.raises(BadParams, match=why):
        use(sound_tool, notes=notes, instrument=instrument)
