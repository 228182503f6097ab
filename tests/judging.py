"""What tests of judges and rewards share: the tuning documents, with real photos, and one embedded judge."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from PIL import Image

from llmi_env.document import Block, Document, Picture, Provenance, Text
from llmi_env.judges.corruptions import Sample, make_figure
from llmi_env.judges.embedded import EmbeddedJudge
from llmi_env.task import Task

DOCUMENTS = Path(__file__).parent / "judge_documents.yaml"
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
    return tuple(_read(DOCUMENTS, photos))


@cache
def judge() -> EmbeddedJudge:
    """The embedded judge, loaded once."""
    return EmbeddedJudge()


def _read(path: Path, pictures: list[Image.Image]) -> list[Sample]:
    """Documents in the notation of `judge_documents.yaml`, pictures dealt out in turn."""
    found, dealt = [], 0
    for row in yaml.safe_load(path.read_text(encoding="utf-8")):
        blocks: list[Block] = []
        for at, part in enumerate(re.split(r"\[\[(.+?)\]\]", row["body"])):
            if at % 2:
                tool, description, wish, caption = (field.strip() for field in part.split("|"))
                wish = wish.replace("; ", "\n") if tool == "code" else wish
                seen = Picture(pictures[dealt % len(pictures)], Provenance("test", caption=caption))
                dealt += 1
                blocks.append(make_figure(tool, description, wish, seen))
            elif part:
                blocks.append(Text(part))
        inputs = tuple(Picture(pictures[0], Provenance("input")) for _ in range(row.get("inputs", 0)))
        task = Task(row["question"], inputs, row.get("image_count", "any"), tuple(row["tools"]))
        found.append(Sample(task, Document(tuple(blocks))))
    return found
