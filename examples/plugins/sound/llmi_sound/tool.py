"""The tool: notes in, a sound clip out. The picture is its spectrogram, which policy and judges see; the clip travels with it, for people."""

from __future__ import annotations

import asyncio
import io
import re
import time
import wave
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import mlab
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from synthesizer import Synthesizer, Waveform

from llmi_env.attachment import Attachment
from llmi_env.document import Picture, Provenance
from llmi_env.errors import BadParams, did_you_mean
from llmi_env.tools import ParamSpec, ToolContext, ToolSpec

RATE = 22_050
MOST_SECONDS = 20.0
"""Of a clip: 0.9 MB, of the 2 MB that an attachment may have."""
Wave = npt.NDArray[np.float64]
Note = tuple[tuple[str, ...], float]
"""Pitches that sound together, none for a rest, and seconds."""

INSTRUMENTS: dict[str, dict[str, Any]] = {
    "flute": {"osc1_waveform": Waveform.sine, "attack": 0.06, "release": 0.08, "lfo_amp_depth": 0.2},
    "bell": {"osc1_waveform": Waveform.sine, "use_osc2": True, "osc2_freq_transpose": 2.76, "attack": 0.002, "decay": 0.5, "sustain": 0.1},
    "organ": {"osc1_waveform": Waveform.triangle, "use_osc2": True, "attack": 0.02, "release": 0.05},
    "strings": {"osc1_waveform": Waveform.sawtooth, "use_osc2": True, "osc2_freq_transpose": 1.005, "attack": 0.12, "release": 0.15},
}  # fmt: skip
_NOTE = re.compile(r"(?P<pitches>R|[A-G][#b]?[1-7](\+[A-G][#b]?[1-7]){0,5})(:(?P<seconds>\d{1,2}(\.\d{1,3})?))?")
_FLATS = {"Ab": "G#", "Bb": "A#", "Cb": "B", "Db": "C#", "Eb": "D#", "Fb": "E", "Gb": "F#"}


class SoundTool:
    """Plays a tune; the same notes and instrument give the same clip."""

    spec = ToolSpec(
        "sound",
        "plays a short tune or chord, shown by its spectrogram",
        (
            ParamSpec("notes", str, "notes separated by spaces, each with its seconds: C4:0.5, C4+E4+G4:1 for a chord, R:0.5 for a rest"),
            ParamSpec("instrument", str, f"one of {', '.join(INSTRUMENTS)}"),
        ),
        {"notes": "C4:0.5 E4:0.5 G4:0.5 C4+E4+G4:1", "instrument": "organ"},
    )  # fmt: skip

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Play the notes.

        Raises:
            BadParams: notes that cannot be read, too long a tune, or an unknown instrument.
        """
        started = time.monotonic()
        notes, instrument = read_notes(params["notes"]), params["instrument"].strip().casefold()
        if instrument not in INSTRUMENTS:
            raise BadParams(f"no instrument {instrument[:40]!r}{did_you_mean(instrument[:40], INSTRUMENTS)}")
        # Synthesis and drawing take 200 ms: off the event loop, on which other calls wait.
        sound = await asyncio.to_thread(play, notes, instrument)
        image = await asyncio.to_thread(draw, sound)
        told = " ".join(params["notes"].split())[:200]
        provenance = Provenance(
            "llmi-sound", title=f"A tune for {instrument}", caption=f"spectrogram of {told}", licence="CC0-1.0"
        )
        return Picture(image, provenance, time.monotonic() - started, Attachment("audio/wav", as_wav(sound)))

    async def aclose(self) -> None:
        """Nothing is held."""


def read_notes(text: str) -> list[Note]:
    """Pitches and seconds of each note; raises what a policy can do better next time."""
    notes: list[Note] = []
    for part in text.split():
        found = _NOTE.fullmatch(part)
        if found is None:
            raise BadParams(f"{part[:40]!r} is no note: write C4:0.5, Bb3:1, C4+E4+G4:1 or R:0.5")
        pitches = () if found["pitches"] == "R" else tuple(_sharp(pitch) for pitch in found["pitches"].split("+"))
        notes.append((pitches, float(found["seconds"] or 0.5)))
    seconds = sum(length for _, length in notes)
    if not any(pitches for pitches, _ in notes) or not 0 < seconds <= MOST_SECONDS:
        raise BadParams(f"a tune has a note and takes at most {MOST_SECONDS:g} seconds, not {seconds:g}")
    return notes


def _sharp(pitch: str) -> str:
    """The pitch as the synthesiser spells it: it knows no flats."""
    name, octave = pitch[:-1], int(pitch[-1])
    return f"{_FLATS.get(name, name)}{octave - (name == 'Cb')}"


def play(notes: Sequence[Note], instrument: str) -> Wave:
    """The tune as samples in -1..1."""
    synthesizer = Synthesizer(osc1_volume=0.8, rate=RATE, seed=0, **INSTRUMENTS[instrument])
    waves: list[Wave] = [
        synthesizer.generate_chord(list(pitches), seconds) if pitches else np.zeros(int(RATE * seconds))
        for pitches, seconds in notes
    ]
    sound = np.concatenate(waves)
    return 0.9 * sound / max(float(np.abs(sound).max(initial=0.0)), 1e-9)


def as_wav(sound: Wave) -> bytes:
    """The samples as a WAV file: one channel, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.round(32_767 * sound).astype("<i2").tobytes())
    return file.getvalue()


def draw(sound: Wave) -> Image.Image:
    """The waveform above, the spectrogram below."""
    figure = Figure(figsize=(8, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    seconds = len(sound) / RATE
    columns = np.array_split(sound, min(800, len(sound)))
    places = np.linspace(0, seconds, len(columns))
    above.fill_between(places, [part.min() for part in columns], [part.max() for part in columns], color="#31688e")
    above.set(ylim=(-1, 1), yticks=[], xlim=(0, seconds))
    padded = np.concatenate([sound, np.zeros(max(0, 1024 - len(sound)))])
    power, _, _ = mlab.specgram(padded, NFFT=1024, Fs=RATE, noverlap=512)
    below.imshow(10 * np.log10(power + 1e-11), aspect="auto", origin="lower", extent=(0, seconds, 0, RATE / 2))
    below.set(ylim=(0, 5_000), xlabel="seconds", ylabel="Hz")
    page = io.BytesIO()
    figure.savefig(page, format="png")
    with Image.open(page) as image:
        return image.convert("RGB")
