"""Documents for tests, built in one line each."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.errors import FailureKind
from llmi_env.world.protocol import Judgment, Scored

JUDGED = ("text_quality", "call_quality", "image_quality", "task_relevance", "text_image_relevance")
_PARAM = {"search": "query", "diffusion": "prompt", "code": "code", "edit": "prompt"}


def picture(seed: int = 0, side: int = 64, caption: str = "") -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Picture(Image.fromarray(pixels), Provenance("test", caption=caption))


def flat(side: int = 64) -> Picture:
    return Picture(Image.new("RGB", (side, side), "white"), Provenance("test"))


def figure(tool: str = "search", outcome: Picture | FailureKind | None = None, what: str = "a barn owl") -> Figure:
    if outcome == "malformed":
        return Figure("{broken", None, Failure.of("", "malformed", "not JSON"))
    params: dict[str, Any] = {_PARAM.get(tool, "prompt"): what} | ({"img_index": 0} if tool == "edit" else {})
    call = Call(tool, what, params)
    done = Failure.of(tool, outcome, "no") if isinstance(outcome, str) else outcome
    return Figure(call.to_json(), call, done)


def document(*blocks: str | Block) -> Document:
    return Document(tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def judged(**scores: float) -> dict[str, Judgment]:
    return {name: Scored(scores.get(name, 4.0), "because") for name in JUDGED}
