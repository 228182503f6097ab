"""The wire format between a World and its clients: JSON with pictures as PNG, both ways exact to the pixel.

Each message is a pydantic model with `of` (from the value) and `value` (back to it). Two things that a policy can write do not fit
into plain JSON text: lone surrogates, which are escaped, and params beyond JSON (integers of thousands of digits, nesting beyond
the recursion limit), which arrive empty; the raw text of the call always arrives whole.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from llmi_env import errors
from llmi_env.attachment import MAX_BYTES, Attachment
from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Figure, Outcome, Picture, Provenance, Text
from llmi_env.errors import ConfigError, LLMIError
from llmi_env.task import Task
from llmi_env.world.protocol import AboutJudge, Judgment, Judgments, Scored, Unscored

try:
    VERSION = version("llmi-env")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0"

PROTOCOL = 4
"""Version of this format; a client and a service must agree on it."""

MAX_PIXELS = 4096 * 4096
"""Pictures beyond this many pixels are not read: a service may not be made to fill its memory."""

_EXACT_MODES = ("1", "L", "LA", "RGB", "RGBA")
_ESCAPED = "\x00"


def pack(text: str) -> str:
    """`text` in a form that UTF-8 can carry; `unpack` gives it back."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED + json.dumps(text)
    return _ESCAPED + json.dumps(text) if text.startswith(_ESCAPED) else text


def unpack(text: str) -> str:
    """Undo `pack`."""
    if not text.startswith(_ESCAPED):
        return text
    plain = json.loads(text[1:])
    if not isinstance(plain, str):
        raise ValueError("an escaped text holds a JSON string")
    return plain


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    def encode(self) -> bytes:
        """The message as JSON."""
        return self.model_dump_json().encode()


class AttachmentMessage(_Message):
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


class PictureMessage(_Message):
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


class FailureMessage(_Message):
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


class CallMessage(_Message):
    """A `Call`; `params` is JSON text, so that its depth is its own."""

    tool: str
    description: str
    params: str

    @classmethod
    def of(cls, call: Call) -> CallMessage:
        """Encode."""
        try:
            params = json.dumps(dict(call.params))
        except (ValueError, TypeError, RecursionError):
            params = "{}"
        return cls(tool=pack(call.tool), description=pack(call.description), params=params)

    def value(self) -> Call:
        """Decode.

        Raises:
            ValueError: `params` is not a JSON object.
        """
        try:
            params = json.loads(self.params)
        except RecursionError:
            params = {}
        if not isinstance(params, dict):
            raise ValueError("params must be a JSON object")
        return Call(unpack(self.tool), unpack(self.description), params)


class TextMessage(_Message):
    """A `Text` block."""

    type: Literal["text"] = "text"
    text: str


class FigureMessage(_Message):
    """A `Figure` block."""

    type: Literal["figure"] = "figure"
    raw: str
    call: CallMessage | None
    outcome: OutcomeMessage | None
    closed: bool
    tag: Literal["imgen", "tool_call"]

    @classmethod
    def of(cls, figure: Figure) -> FigureMessage:
        """Encode."""
        return cls(
            raw=pack(figure.raw),
            call=None if figure.call is None else CallMessage.of(figure.call),
            outcome=None if figure.outcome is None else outcome_message(figure.outcome),
            closed=figure.closed,
            tag=figure.tag,
        )

    def value(self) -> Figure:
        """Decode."""
        return Figure(
            unpack(self.raw),
            None if self.call is None else self.call.value(),
            None if self.outcome is None else self.outcome.value(),
            self.closed,
            self.tag,
        )


class DocumentMessage(_Message):
    """A `Document`."""

    blocks: list[Annotated[TextMessage | FigureMessage, Field(discriminator="type")]]

    @classmethod
    def of(cls, document: Document) -> DocumentMessage:
        """Encode."""
        return cls(
            blocks=[
                TextMessage(text=pack(block.text)) if isinstance(block, Text) else FigureMessage.of(block)
                for block in document
            ]
        )

    def value(self) -> Document:
        """Decode."""
        blocks: list[Block] = []
        for block in self.blocks:
            blocks.append(Text(unpack(block.text)) if isinstance(block, TextMessage) else block.value())
        return Document(tuple(blocks))


class TaskMessage(_Message):
    """A `Task`."""

    question: str
    images: list[PictureMessage]
    image_count: Literal["any", "none", "at_least_one"] | int
    tools: list[str]
    id: str | None
    source: str | None

    @classmethod
    def of(cls, task: Task) -> TaskMessage:
        """Encode."""
        return cls(
            question=pack(task.question),
            images=[PictureMessage.of(picture) for picture in task.images],
            image_count=task.image_count,
            tools=[pack(tool) for tool in task.tools],
            id=None if task.id is None else pack(task.id),
            source=None if task.source is None else pack(task.source),
        )

    def value(self) -> Task:
        """Decode."""
        return Task(
            unpack(self.question),
            tuple(picture.value() for picture in self.images),
            self.image_count,
            tuple(unpack(tool) for tool in self.tools),
            None if self.id is None else unpack(self.id),
            None if self.source is None else unpack(self.source),
        )


class JudgmentMessage(_Message):
    """A `Scored` (with a score) or an `Unscored` (without); `text` is the rationale or the reason."""

    # Strict: a text or a truth value is no number here, whatever pydantic could make of it.
    score: float | None = Field(strict=True)
    text: str
    judge: str = ""
    votes: tuple[Annotated[float, Field(strict=True)], ...] = ()

    @classmethod
    def of(cls, judgment: Judgment) -> JudgmentMessage:
        """Encode."""
        if isinstance(judgment, Scored):
            return cls(
                score=judgment.score, text=pack(judgment.rationale), judge=pack(judgment.judge), votes=judgment.votes
            )
        return cls(score=None, text=pack(judgment.reason))

    def value(self) -> Judgment:
        """Decode."""
        if self.score is None:
            return Unscored(unpack(self.text))
        return Scored(self.score, unpack(self.text), unpack(self.judge), self.votes)


class RunRequest(_Message):
    """Body of `POST /run`; `deadline` seconds, where given, in place of the service's own."""

    call: CallMessage
    pictures: list[PictureMessage]
    seed: int
    deadline: float | None = Field(default=None, gt=0)


class RunReply(_Message):
    """Answer of `POST /run`."""

    outcome: OutcomeMessage


class JudgeRequest(_Message):
    """Body of `POST /judge`."""

    document: DocumentMessage
    task: TaskMessage


class JudgeReply(_Message):
    """Answer of `POST /judge`."""

    judgments: dict[str, JudgmentMessage]

    @classmethod
    def of(cls, judgments: Judgments) -> JudgeReply:
        """Encode."""
        return cls(judgments={pack(term): JudgmentMessage.of(judgment) for term, judgment in judgments.items()})

    def value(self) -> Judgments:
        """Decode."""
        return {unpack(term): message.value() for term, message in self.judgments.items()}


class Health(_Message):
    """Answer of `GET /health`."""

    version: str
    protocol: int
    config: str
    tools: list[str]
    requests: int
    clients: int | None = None
    pid: int


class JudgeMessage(_Message):
    """An `AboutJudge`."""

    name: str
    identity: str
    terms: list[str]


class Terms(_Message):
    """Answer of `GET /terms`: the judges of the World and what each of them scores."""

    judges: list[JudgeMessage]

    @classmethod
    def of(cls, judges: Sequence[AboutJudge]) -> Terms:
        """Encode."""
        return cls(judges=[JudgeMessage(name=one.name, identity=one.identity, terms=list(one.terms)) for one in judges])

    def value(self) -> tuple[AboutJudge, ...]:
        """Decode."""
        return tuple(AboutJudge(one.name, one.identity, tuple(one.terms)) for one in self.judges)


class ErrorReply(_Message):
    """Body of an answer other than 200: an error of `llmi_env.errors` that the client raises in its turn."""

    error: str
    args: list[Any]

    @classmethod
    def of(cls, error: LLMIError) -> ErrorReply:
        """Encode."""
        args = [arg if isinstance(arg, int | float | None) else pack(str(arg)) for arg in error.args]
        return cls(error=type(error).__name__, args=args)

    def value(self) -> LLMIError:
        """Decode; an error of an unknown name becomes a `ConfigError` with its message."""
        known: Mapping[str, Any] = vars(errors)
        kind = known.get(self.error)
        args = [unpack(arg) if isinstance(arg, str) else arg for arg in self.args]
        if isinstance(kind, type) and issubclass(kind, LLMIError):
            try:
                return kind(*args)
            except TypeError:
                pass
        return ConfigError(f"{self.error}: " + " ".join(str(arg) for arg in args))
