"""What tests of judges and rewards share: the tuning documents, with real photos, and one embedded judge."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from PIL import Image

from benchmarks.judge_corruptions import Sample, read_documents
from llmi_env.judges.embedded import EmbeddedJudge

DOCUMENTS = Path(__file__).parent.parent / "benchmarks" / "judge_documents.yaml"
_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "camera.png", "rocket.jpg", "coins.png", "motorcycle_left.png")


@cache
def samples() -> tuple[Sample, ...]:
    """Two dozen good documents, each with its task."""
    photos = []
    for name in _PHOTOS:
        with resources.as_file(resources.files("skimage") / "data" / name) as path:
            photo = Image.open(path).convert("RGB")
        photo.thumbnail((320, 320))
        photos.append(photo)
    return tuple(read_documents(DOCUMENTS, photos))


@cache
def judge() -> EmbeddedJudge:
    """The embedded judge, loaded once."""
    return EmbeddedJudge()
