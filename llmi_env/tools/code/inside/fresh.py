"""One chart, and then the end: the program of the tier `unsafe`. Standard library and the plotting stack only, on any system."""

from __future__ import annotations

import json
import os
import sys

from . import drawing


def main(arguments: list[str]) -> int:
    """Draw what stands on standard input; the answer goes into a file. Settings come as JSON in `arguments[0]`."""
    settings = json.loads(arguments[0])
    source = sys.stdin.buffer.read(settings["length"])
    target = os.path.abspath(settings["answer"])
    os.environ["MPLCONFIGDIR"] = os.getcwd()
    drawing.warm_up(settings["system_fonts"], rehearse=False)
    answer = drawing.answer_to(
        source,
        seed=settings["seed"],
        dpi=settings["dpi"],
        max_pixels=settings["max_pixels"],
        figures=settings["figures"],
    )
    with open(target, "wb") as file:
        file.write(answer)
    return 0
