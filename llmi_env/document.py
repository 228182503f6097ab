"""What a policy writes: a document of ordered blocks, text and figures.

Values only, all frozen. A `Figure` is a `Call` with its `Outcome`; an outcome is a `Picture` or a `Failure`. Nothing here does
I/O or knows tools, judges or policies.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL import Image

from llmi_env.attachment import Attachment
from llmi_env.calls import Call, Tag
from llmi_env.errors import FailureKind, Fault, LimitName, fault_of


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

    Attributes:
        backend: who made or found it, e.g. `corpus`, `tiny-diffusion`, `landlock`, `pillow`.
        title: short title, where the source has one.
        caption: what the source says is seen in the picture.
        source: URL or name of the source.
        author: author, as the source states it.
        licence: SPDX identifier or name of the licence.
        seed: seed of a generated picture.
        chart: what the code tool read off the figure that it is, as one line of JSON (`ChartReading.from_json`); "" where there is
            none. A claim for judges, made in the process that ran the policy's code; the policy is not shown it.
    """

    backend: str
    title: str = ""
    caption: str = ""
    source: str = ""
    author: str = ""
    licence: str = ""
    seed: int | None = None
    chart: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that a tool delivered, or an input picture of a task.

    Equality is by pixels, provenance and attachment; times are not compared. `digest` is of the pixels alone: what
    judges and edits are given is the picture, so an attachment moves no score and no cached outcome, and an edit of it has none.

    Attributes:
        image: what is seen.
        provenance: where it comes from.
        seconds: how long it took.
        attachment: the sound that it stands for, where it stands for one.
        queued: seconds that its call waited for a turn, besides.
    """

    image: Image.Image
    provenance: Provenance
    seconds: float = 0.0
    attachment: Attachment | None = None
    queued: float = 0.0

    @cached_property
    def digest(self) -> str:
        """SHA-256 of size, mode and pixels, in hexadecimal; of a picture with a palette, those of the colours that are seen."""
        seen = self.image
        if seen.mode in ("P", "PA"):
            seen = seen.convert("RGBA" if seen.has_transparency_data else "RGB")
        head = f"{seen.mode}:{seen.width}x{seen.height}:".encode()
        return hashlib.sha256(head + seen.tobytes()).hexdigest()

    @cached_property
    def png(self) -> bytes:
        """The picture as PNG: deterministic for the same pixels, metadata left out."""
        buffer = io.BytesIO()
        self.image.save(buffer, format="PNG", compress_level=6)
        return buffer.getvalue()

    @property
    def data_url(self) -> str:
        """The picture as a `data:` URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @classmethod
    def from_png(
        cls,
        data: bytes,
        provenance: Provenance,
        seconds: float = 0.0,
        attachment: Attachment | None = None,
        queued: float = 0.0,
    ) -> Picture:
        """Read trusted PNG bytes (those of `png`); pictures from outside go through the fetcher's checks first."""
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            picture = cls(image.copy(), provenance, seconds, attachment, queued)
        picture.__dict__["png"] = data  # what encoding it again would give, at a hundred times the cost
        return picture

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Picture):
            return NotImplemented
        same = self.provenance == other.provenance and self.attachment == other.attachment
        return same and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.digest, self.provenance))

    def __getstate__(self) -> dict[str, Any]:
        named = ("image", "provenance", "seconds", "attachment", "queued")
        return {name: getattr(self, name) for name in named}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        sound = f", {self.attachment.media_type}" if self.attachment else ""
        return f"Picture({self.image.width}x{self.image.height} {self.image.mode}, {self.provenance.backend}{sound})"


@dataclass(frozen=True)
class Failure:
    """A call that brought no picture.

    Attributes:
        kind: what happened (see `llmi_env.errors`).
        fault: whose fault it was; the world's never costs the policy.
        message: one line for the policy, without paths of the host.
        limit: which limit, for kind `limit`.
    """

    kind: FailureKind
    fault: Fault
    message: str
    limit: LimitName | None = None

    @classmethod
    def of(cls, tool: str, kind: FailureKind, message: str, limit: LimitName | None = None) -> Failure:
        """A failure whose fault is read from the table."""
        return cls(kind, fault_of(tool, kind), message, limit)


Outcome = Picture | Failure


@dataclass(frozen=True)
class Text:
    """A run of text; never empty inside a document."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A place in the document where a picture was asked for.

    Attributes:
        raw: the body exactly as written, between the tags.
        call: the parsed call, or `None` where it could not be read.
        outcome: what came, or `None` while it is pending.
        closed: whether the closing tag was written.
        tag: which pair of tags the call stands in.
    """

    raw: str
    call: Call | None
    outcome: Outcome | None = None
    closed: bool = True
    tag: Tag = "imgen"

    @property
    def picture(self) -> Picture | None:
        """The picture, where there is one."""
        return self.outcome if isinstance(self.outcome, Picture) else None

    @property
    def failure(self) -> Failure | None:
        """The failure, where there is one."""
        return self.outcome if isinstance(self.outcome, Failure) else None


Block = Text | Figure


@dataclass(frozen=True)
class Document:
    """Ordered blocks; two texts never stand side by side."""

    blocks: tuple[Block, ...] = field(default=())

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures in the order written, failed ones too: `img_index` counts these after the input pictures."""
        return tuple(block for block in self.blocks if isinstance(block, Figure))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures that really came."""
        return tuple(figure.picture for figure in self.figures if figure.picture is not None)

    @property
    def text(self) -> str:
        """All text, figures left out."""
        return "".join(block.text for block in self.blocks if isinstance(block, Text))

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def to_source(self) -> str:
        """The document as written, calls as text (what an LLM judge sees)."""
        return "".join(
            block.text
            if isinstance(block, Text)
            else f"<{block.tag}>{block.raw}" + (f"</{block.tag}>" if block.closed else "")
            for block in self.blocks
        )

    def to_markdown(
        self, picture_path: str = "figure-{index}.png", attachment_path: str = "figure-{index}{suffix}"
    ) -> str:
        """Markdown with a link for each picture, and one below it for its attachment (`{suffix}` is `.wav` or the like).

        `{index}` counts figures from 0. Failures become a quoted line.
        """
        parts, index = [], 0
        for block in self.blocks:
            if isinstance(block, Text):
                parts.append(block.text)
                continue
            label = _markdown_label(block.call.description if block.call else "unreadable call")
            if block.picture is not None:
                parts.append(f"\n\n![{label}]({picture_path.format(index=index)})\n\n")
                if (sound := block.picture.attachment) is not None:
                    parts.append(f"[sound: {label}]({attachment_path.format(index=index, suffix=sound.suffix)})\n\n")
            else:
                state = block.failure.kind if block.failure else "pending"
                parts.append(f"\n\n> [no picture: {state}] {label}\n\n")
            index += 1
        return "".join(parts)

    def to_messages(self) -> list[dict[str, Any]]:
        """Content parts of one chat message, pictures in place (`{"type": "text"}`, `{"type": "image", "image": PIL}`)."""
        content: list[dict[str, Any]] = []
        for block in self.blocks:
            if isinstance(block, Text):
                content.append({"type": "text", "text": block.text})
            elif block.picture is not None:
                content.append({"type": "image", "image": block.picture.image})
        return content


def _markdown_label(text: str) -> str:
    flat = " ".join(text.split())
    return "".join("\\" + char if char in "\\[]()`<>*_!" else char for char in flat)[:300]
