from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.errors import AssetError, ConfigError, LLMIError, MissingExtra, WorldError
from llmi_env.task import Task
from llmi_env.world import wire
from llmi_env.world.protocol import Scored, Unscored

# every code point, lone surrogates too: a policy can write "\ud800" in a JSON body
texts = st.text(st.characters(exclude_categories=()), max_size=12)
modes = st.sampled_from(["RGB", "RGBA", "L", "LA", "1"])


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    mode, width, height = draw(modes), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    noise = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(noise, "RGBA").convert(mode)
    words = [draw(texts) for _ in range(7)]
    seed = draw(st.none() | st.integers(0, 2**31))
    provenance = Provenance(words[0], words[1], words[2], words[3], words[4], words[5], seed, chart=words[6])
    return Picture(image, provenance, draw(st.floats(0, 100)), queued=draw(st.floats(0, 100)))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
calls = st.builds(Call, texts, texts, st.dictionaries(texts, values, max_size=3))
failures = st.builds(
    Failure,
    st.sampled_from(["malformed", "unknown_tool", "bad_params", "raised", "limit", "empty", "refused", "timeout"]),
    st.sampled_from(["policy", "world"]),
    texts,
    st.sampled_from([None, "time", "memory", "output", "disk", "pixels"]),
)
figures = st.builds(
    Figure,
    texts,
    st.none() | calls,
    st.none() | failures | pictures(),
    st.booleans(),
    st.sampled_from(["imgen", "tool_call"]),
)
blocks: st.SearchStrategy[Block] = st.builds(Text, texts) | figures
documents = st.builds(lambda found: Document(tuple(found)), st.lists(blocks, max_size=4))
counts = st.sampled_from(["any", "none", "at_least_one"]) | st.integers(0, 99)
tasks = st.builds(
    Task,
    texts.filter(str.strip),
    st.lists(pictures(), max_size=2).map(tuple),
    counts,
    st.lists(texts, max_size=2).map(tuple),
    st.none() | texts,
    st.none() | texts,
)
judgments = st.dictionaries(texts, st.builds(Scored, st.floats(1, 5), texts) | st.builds(Unscored, texts), max_size=4)
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@some
@given(calls, st.lists(pictures(), max_size=2), st.integers(0, 2**31))
def test_requests_round_trip(call: Call, given_pictures: list[Picture], seed: int) -> None:
    message = wire.RunRequest(
        call=wire.CallMessage.of(call), pictures=[wire.PictureMessage.of(p) for p in given_pictures], seed=seed
    )
    back = wire.RunRequest.model_validate_json(message.encode())
    assert back.call.value() == call
    assert [p.value() for p in back.pictures] == given_pictures
    assert [p.value().seconds for p in back.pictures] == [p.seconds for p in given_pictures]
    assert [p.value().queued for p in back.pictures] == [p.queued for p in given_pictures]
    assert back.seed == seed


@some
@given(pictures() | failures)
def test_outcomes_round_trip_to_the_pixel(outcome: Picture | Failure) -> None:
    message = wire.RunReply(outcome=wire.outcome_message(outcome))
    assert wire.RunReply.model_validate_json(message.encode()).outcome.value() == outcome


@some
@given(documents, tasks)
def test_documents_and_tasks_round_trip(document: Document, task: Task) -> None:
    message = wire.JudgeRequest(document=wire.DocumentMessage.of(document), task=wire.TaskMessage.of(task))
    back = wire.JudgeRequest.model_validate_json(message.encode())
    assert back.document.value() == document
    assert back.task.value() == task


@some
@given(judgments)
def test_judgments_round_trip(found: dict[str, Scored | Unscored]) -> None:
    assert wire.JudgeReply.model_validate_json(wire.JudgeReply.of(found).encode()).value() == found


@pytest.mark.parametrize("mode", ["P", "CMYK", "F", "I;16", "PA"])
def test_modes_that_png_lacks_arrive_as_they_look(mode: str) -> None:
    sent = Picture(Image.new(mode, (3, 3)), Provenance("test"))
    arrived = wire.PictureMessage.of(sent).value().image
    assert arrived.mode in ("RGB", "RGBA")
    assert arrived.convert("RGB").tobytes() == sent.image.convert("RGB").tobytes()


def test_params_beyond_json_arrive_empty() -> None:
    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    for params in ({"img_index": 10**5000}, {"prompt": deep}):
        message = wire.CallMessage.of(Call("edit", "", params))
        assert wire.CallMessage.model_validate_json(message.encode()).value().params == {}
    while isinstance(deep, list):  # taken apart by hand: letting go of it at once would recurse as deep
        deep = deep[0]


@pytest.mark.parametrize("png", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 20])
def test_what_is_no_png_is_refused(png: bytes) -> None:
    with pytest.raises(ValueError, match="PNG"):
        wire.PictureMessage(png=png, backend="x").value()


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    message = wire.PictureMessage.of(Picture(Image.new("1", (5000, 5000)), Provenance("test")))
    with pytest.raises(ValueError, match="too large"):
        message.value()


def test_what_is_packed_into_a_png_besides_is_not_kept() -> None:
    packed = PngInfo()
    packed.add_text("comment", "x" * 500_000, zip=True)
    buffer = io.BytesIO()
    Image.new("P", (3, 3)).save(buffer, format="PNG", pnginfo=packed, transparency=0)
    assert len(buffer.getvalue()) < 2_000
    image = wire.PictureMessage(png=buffer.getvalue(), backend="x").value().image
    assert image.info == {"transparency": 0}


@pytest.mark.parametrize(
    "error",
    [ConfigError("no tool"), MissingExtra("diffusion", "offline", "torch"), AssetError("gone"), WorldError("down")],
)
def test_errors_keep_their_type_and_words(error: LLMIError) -> None:
    back = wire.ErrorReply.model_validate_json(wire.ErrorReply.of(error).encode()).value()
    assert type(back) is type(error)
    assert str(back) == str(error)
