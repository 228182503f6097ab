"""What the first nine edits understood and did before there were more: kept to the byte, so that an episode can be run again.

`edit_before.json` was recorded from the code of that time: operations, and a digest of the results on three pictures. Pillow's own filters
and letters change from release to release, so the pixels are compared under the release that made the record.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import PIL
import pytest

from llmi_env.errors import Refused
from llmi_env.tools.edit import Operation, apply, parse_instruction
from tests.tools.edit_pictures import pictures

RECORD = json.loads(Path(__file__).with_name("edit_before.json").read_text(encoding="utf-8"))
INSTRUCTIONS: dict[str, dict[str, Any]] = RECORD["instructions"]
PICTURES = pictures()


def test_the_record_is_broad() -> None:
    kinds = {kind for record in INSTRUCTIONS.values() for kind, *_ in record["operations"]}
    assert len(INSTRUCTIONS) >= 300
    assert kinds == {"grayscale", "brightness", "tint", "blur", "sharpen", "rotate", "flip", "crop", "caption"}


def test_every_instruction_still_asks_for_the_same_and_nothing_more() -> None:
    for text, record in INSTRUCTIONS.items():
        wanted = [Operation(kind, amount, said, top) for kind, amount, said, top in record["operations"]]
        assert parse_instruction(text) == wanted, text


@pytest.mark.skipif(PIL.__version__ != RECORD["pillow"], reason=f"pixels were recorded with Pillow {RECORD['pillow']}")
def test_every_instruction_still_gives_the_same_bytes() -> None:
    for text, record in INSTRUCTIONS.items():
        operations = parse_instruction(text)
        digest = hashlib.sha256()
        for picture in PICTURES.values():
            try:
                result = apply(picture, operations)
            except Refused:  # a caption that does not fit
                digest.update(b"refused")
                continue
            digest.update(f"{result.mode}{result.size}".encode())
            digest.update(result.tobytes())
        assert digest.hexdigest()[:16] == record["pixels"], text
