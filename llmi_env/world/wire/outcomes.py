"""Outcomes of calls on the wire: pictures as PNG with what they come from, and failures."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from llmi_env import errors
from llmi_env.attachment import MAX_BYTES, Attachment
from llmi_env.document import Failure, Outcome, Picture, Provenance
from llmi_env.world.wire.texts import Message, pack, unpack

__all__ = ["MAX_PIXELS", "AttachmentMessage", "FailureMessage", "OutcomeMessage", "PictureMessage", "outcome_message"]

MAX_PIXELS = 4096 * 4096
"""Pictures beyond this many pixels are not read: a service may not be made to fill its memory."""

_EXACT_MODES = ("1", "L", "LA", "RGB", "RGBA")


class AttachmentMessage(Message):
    """An `Attachment`; its bytes are text in base64, so that the message is plain data everywhere."""

    media_type: str
    data: str = Field(max_length=4 * -(-MAX_BYTES // 3))

    @classmethod
    def of(cls, attachment: Attachment) -> AttachmentMessage:
        """Encode."""
        return cls(media_type=attachment.media_type, data=base64.b64encode(attachment.data).decode("ascii"))

    def value(self) -> Attachment:
        """Decode.

        Raises:
            ValueError: it is none that can be let in.
        """
        try:
            data = base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ValueError("an attachment's data are base64") from error
        return Attachment(self.media_type, data)


class PictureMessage(Message):
    """A `Picture`. Modes that PNG does not hold as they are (palettes, CMYK ...) are turned into RGB or RGBA."""

    type: Literal["picture"] = "picture"
    png: bytes
    backend: str
    title: str = ""
    caption: str = ""
    source: str = ""
    author: str = ""
    licence: str = ""
    seed: int | None = None
    chart: str = ""
    seconds: float = 0.0
    queued: float = 0.0
    attachment: AttachmentMessage | None = None

    @classmethod
    def of(cls, picture: Picture) -> PictureMessage:
        """Encode; fast rather than small, since most travel no farther than a socket of the same machine."""
        image, p = picture.image, picture.provenance
        if image.mode not in _EXACT_MODES:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        bare = image.copy()
        bare.info = {}
        buffer = io.BytesIO()
        bare.save(buffer, format="PNG", compress_level=1)
        return cls(
            png=buffer.getvalue(),
            backend=pack(p.backend),
            title=pack(p.title),
            caption=pack(p.caption),
            source=pack(p.source),
            author=pack(p.author),
            licence=pack(p.licence),
            seed=p.seed,
            chart=pack(p.chart),
            seconds=picture.seconds,
            queued=picture.queued,
            attachment=None if picture.attachment is None else AttachmentMessage.of(picture.attachment),
        )

    def value(self) -> Picture:
        """Decode.

        Raises:
            ValueError: the bytes are no PNG, or too large a one; or the attachment cannot be let in.
        """
        with self._opened() as opened:
            opened.load()
            image = opened.copy()
            # texts and the like are packed too, and nobody asks for them
            image.info = {name: value for name, value in opened.info.items() if name == "transparency"}
        provenance = Provenance(
            unpack(self.backend),
            unpack(self.title),
            unpack(self.caption),
            unpack(self.source),
            unpack(self.author),
            unpack(self.licence),
            self.seed,
            unpack(self.chart),
        )
        attachment = None if self.attachment is None else self.attachment.value()
        return Picture(image, provenance, self.seconds, attachment, self.queued)

    def pixels(self) -> int:
        """How many pixels it unfolds to, as `value` would; nothing is unfolded for it.

        Raises:
            ValueError: the bytes are no PNG, or too large a one.
        """
        with self._opened() as opened:
            return opened.width * opened.height

    @contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        """The PNG, its headers read by the one who would unfold it: of two headers, another reader might believe the other."""
        try:
            with Image.open(io.BytesIO(self.png), formats=["PNG"]) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise ValueError(f"a picture of {opened.width}x{opened.height} pixels is too large to be sent")
                yield opened
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"not a readable PNG: {error}") from error


class FailureMessage(Message):
    """A `Failure`."""

    type: Literal["failure"] = "failure"
    kind: errors.FailureKind
    fault: errors.Fault
    message: str
    limit: errors.LimitName | None = None

    @classmethod
    def of(cls, failure: Failure) -> FailureMessage:
        """Encode."""
        return cls(kind=failure.kind, fault=failure.fault, message=pack(failure.message), limit=failure.limit)

    def value(self) -> Failure:
        """Decode."""
        return Failure(self.kind, self.fault, unpack(self.message), self.limit)


OutcomeMessage = Annotated[PictureMessage | FailureMessage, Field(discriminator="type")]


def outcome_message(outcome: Outcome) -> PictureMessage | FailureMessage:
    """Encode an `Outcome`."""
    return PictureMessage.of(outcome) if isinstance(outcome, Picture) else FailureMessage.of(outcome)
