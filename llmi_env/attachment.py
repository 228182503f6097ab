"""What travels with a picture and is no picture: the sound that a waveform or a spectrogram stands for.

A document is read, judged and trained on through its pictures. A tool of another modality therefore delivers a picture of what it made, and the
thing itself as an attachment, for people: the report plays it, the episode store keeps it. Policies and judges never get it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["MAX_BYTES", "MEDIA_TYPES", "Attachment"]

MAX_BYTES = 2_000_000
"""Size of an attachment at most: 45 seconds of speech in WAV, more than two minutes of music in the packed formats."""

MEDIA_TYPES = {"audio/wav": ".wav", "audio/ogg": ".ogg", "audio/flac": ".flac", "audio/mpeg": ".mp3"}
"""Types that are let in, each with the ending of its files. All are played by browsers, and none can hold a script."""


@dataclass(frozen=True)
class Attachment:
    """A sound clip, checked when it is made: a type that is let in, of bounded size, and bytes that begin as that type does.

    Whether a player can play it to the end is not checked: nothing here decodes it. It is only ever shown under its own type.

    Attributes:
        media_type: one of `MEDIA_TYPES`.
        data: the file's bytes.

    Raises:
        ValueError: it cannot be let in; says why, without anything that the bytes say.
        TypeError: `data` are no bytes.

    >>> Attachment("text/html", b"<script>")
    Traceback (most recent call last):
    ...
    ValueError: an attachment is one of audio/wav, audio/ogg, audio/flac, audio/mpeg, not 'text/html'
    """

    media_type: str
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.media_type not in MEDIA_TYPES:
            raise ValueError(f"an attachment is one of {', '.join(MEDIA_TYPES)}, not {self.media_type!r:.60}")
        if not isinstance(self.data, bytes):
            raise TypeError(f"an attachment's data are bytes, not {type(self.data).__name__}")
        if not self.data or len(self.data) > MAX_BYTES:
            raise ValueError(f"an attachment has 1 to {MAX_BYTES:,} bytes, not {len(self.data):,}")
        if not _begins_as(self.media_type, self.data):
            raise ValueError(f"the attachment is called {self.media_type}, and its bytes do not begin so")

    @property
    def suffix(self) -> str:
        """Ending of a file that holds it, e.g. `.wav`."""
        return MEDIA_TYPES[self.media_type]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of type and bytes, in hexadecimal."""
        return hashlib.sha256(f"{self.media_type}:".encode() + self.data).hexdigest()

    @property
    def data_url(self) -> str:
        """The attachment as a `data:` URL; needs no escaping in HTML."""
        return f"data:{self.media_type};base64," + base64.b64encode(self.data).decode("ascii")


def _begins_as(media_type: str, data: bytes) -> bool:
    match media_type:
        case "audio/wav":
            return data[:4] == b"RIFF" and data[8:12] == b"WAVE"
        case "audio/ogg":
            return data[:4] == b"OggS"
        case "audio/flac":
            return data[:4] == b"fLaC"
    # MPEG audio: a tag before it, or a frame: eleven bits set, a version and layer III
    frame = len(data) > 3 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2 and data[1] & 0x18 != 0x08
    return data[:3] == b"ID3" or frame
