"""From what a child left to a picture, or to a typed failure.

The child's bytes are untrusted: the code that was run may have written them itself. Lengths are capped before, the PNG's own size
is read before anything is decoded, and only the PNG decoder is let near it. What is *not* claimed: that the picture shows what
the code computed. Code can always draw whatever it likes.
"""

from __future__ import annotations

import io
import json
import re
import signal
import struct
import sys
import sysconfig
from typing import Any

from PIL import Image

from llmi_env.chart_reading import ChartReading
from llmi_env.errors import CodeRaised, LimitExceeded, NothingFound, ToolUnavailable
from llmi_env.tools.code.config import CodeConfig
from llmi_env.tools.code.inside.frames import ANSWER_HEADER, MAX_HEAD
from llmi_env.tools.code.worker import Answer

MAX_MESSAGE = 400
MAX_SAID = 2000
"""Of a child's message so much is looked at."""
MAX_CHUNKS = 4096
"""A PNG of a chart has a few dozen."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS}


def picture_of(answer: Answer, config: CodeConfig) -> Image.Image:
    """The picture that a run left, as RGB. Raises `CodeRaised`, `LimitExceeded`, `NothingFound` or `ToolUnavailable`."""
    _check_end(answer.end, config)
    head, png = _split(answer)
    status, message = head.get("status"), _clean(head.get("error"))
    if status == "ok":
        return _decode(png, config)
    if status == "empty":
        raise NothingFound(message or "the code drew no figure")
    if status == "memory":
        raise LimitExceeded(f"the code needs more than {config.memory_mib:g} MiB of memory: {message}", "memory")
    if status == "disk":
        raise LimitExceeded(
            f"the code wrote more than {config.file_mib:g} MiB into one file, or filled its folder: {message}", "disk"
        )
    if status == "pixels":
        raise LimitExceeded(message, "pixels")
    raise CodeRaised(message or "the code failed")


def reading_of(answer: Answer) -> ChartReading | None:
    """What the child read off the figure, of an answer that has a picture; `None` where it is absent or malformed."""
    head, _ = _split(answer)
    try:
        # As text again: only what JSON can say goes through the one check of its form.
        return ChartReading.from_json(json.dumps(head.get("chart"), ensure_ascii=False))
    except (ValueError, RecursionError):
        return None


def _check_end(end: dict[str, Any], config: CodeConfig) -> None:
    reason, number = end.get("reason"), end.get("signal", 0)
    if reason == "exited" and not end.get("confined"):
        raise ToolUnavailable("the chart's process could not be confined; its code was not run")
    if reason == "time" or number == signal.SIGXCPU:
        raise LimitExceeded(f"the code took longer than {config.timeout:g} s", "time")
    if reason == "disk" or number == signal.SIGXFSZ:
        raise LimitExceeded(f"the code wrote more than {config.disk_mib:g} MiB, or too many files", "disk")
    if reason == "output":
        raise LimitExceeded(
            f"the code printed more than {config.text_kib:g} KiB, or its picture takes more than {config.output_mib:g} MiB",
            "output",
        )
    if reason != "exited":
        raise ToolUnavailable(f"the run was ended: {reason}")
    if number in _CRASHES:
        raise CodeRaised(
            f"the code crashed the interpreter ({signal.Signals(number).name}), or ran out of memory in a library"
        )
    if number:
        raise CodeRaised(f"the code's process was ended by signal {number}")


def _split(answer: Answer) -> tuple[dict[str, Any], bytes]:
    data = answer.answer
    broken = CodeRaised("the code ended its process without leaving a figure")
    if len(data) < ANSWER_HEADER.size:
        raise broken
    (length,) = ANSWER_HEADER.unpack_from(data)
    if length > MAX_HEAD or len(data) < ANSWER_HEADER.size + length:
        raise broken
    try:
        head = json.loads(data[ANSWER_HEADER.size : ANSWER_HEADER.size + length])
    except (ValueError, RecursionError):
        raise broken from None
    if not isinstance(head, dict):
        raise broken
    return head, data[ANSWER_HEADER.size + length :]


def _decode(png: bytes, config: CodeConfig) -> Image.Image:
    if len(png) < 33 or png[:8] != _PNG_SIGNATURE or png[12:16] != b"IHDR":
        raise CodeRaised("what the code left is not a PNG picture")
    width, height = struct.unpack("!II", png[16:24])
    if width * height > config.max_pixels:
        raise LimitExceeded(f"the picture has {width} x {height} pixels, more than {config.max_pixels}", "pixels")
    try:
        with Image.open(io.BytesIO(_bare(png)), formats=["PNG"]) as image:
            if image.size != (width, height):
                raise CodeRaised("what the code left is not a valid PNG picture")
            image.load()
            return _on_white(image)
    except CodeRaised:
        raise
    except Exception as error:
        # Hostile bytes make a decoder raise nearly anything, and it is the code's doing whatever it is.
        raise CodeRaised("what the code left is not a valid PNG picture") from error


def _bare(png: bytes) -> bytes:
    """The same picture without chunks that are not needed to see it: profiles and texts are unpacked by decoders, and may be bombs."""
    kept, place = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length = int.from_bytes(png[place : place + 4], "big")
        end = place + 12 + length
        if png[place + 4 : place + 8] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(png[place:end])
        if end >= len(png) or png[place + 4 : place + 8] == b"IEND":
            return b"".join(kept)
        place = end
    raise CodeRaised(f"what the code left is a PNG of more than {MAX_CHUNKS} parts")


def _on_white(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size, "white")
    layer = image.convert("RGBA")
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


def _clean(message: object) -> str:
    """One line of at most `MAX_MESSAGE` characters, without folders of this machine."""
    if not isinstance(message, str):
        return ""
    message = message[:MAX_SAID]
    for folder in _HOST_FOLDERS:
        message = message.replace(folder, "")
    message = re.sub(r"/[^\s'\"]*llmi-code-[^/\s'\"]*(/chart-\d+)?/?|/chart/worker/chart-\d+/?", "", message)
    message = "".join(char if char.isprintable() else " " for char in message)
    message = " ".join(message.split())
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def _host_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    paths |= {sys.prefix, sys.base_prefix}
    return tuple(sorted((f"{path}/" for path in paths if path and path not in ("/usr", "/")), key=len, reverse=True))


_HOST_FOLDERS = _host_folders()
