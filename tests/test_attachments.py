"""A sound that goes with a picture: through World, wire, store and report; what is no sound is let in nowhere."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import pickle
import re
import wave
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env.attachment import MAX_BYTES, Attachment
from llmi_env.calls import Call, ParamSpec, ToolSpec
from llmi_env.document import Document, Failure, Picture, Provenance, Text
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.render import to_html
from llmi_env.report import document_html, write_document_page
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.store import StoreError, join_episodes, read_episodes, rollouts_of, write_episodes
from llmi_env.task import Task
from llmi_env.testing import SimulatedTool
from llmi_env.tools.base import ToolContext
from llmi_env.world.http import HttpWorld
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.kept_outcome import outcome_of, told
from llmi_env.world.service import create_app
from llmi_env.world.wire import PictureMessage, RunReply
from tests.serving import served

HTML = b"<!doctype html><script>alert(1)</script>"
SPEC = ToolSpec("hum", "hums", (ParamSpec("pitch", int, "in Hz"),), {"pitch": 440})


def hum(pitch: int = 440, seconds: float = 0.05) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8_000)
        out.writeframes(bytes(255 * (at * pitch // 4_000 % 2) for at in range(int(8_000 * seconds))))
    return file.getvalue()


def picture(attachment: Attachment | None = None) -> Picture:
    return Picture(Image.new("RGB", (4, 3), "teal"), Provenance("test", caption="a hum"), 0.5, attachment)


class HumTool:
    """Hums at a pitch."""

    spec = SPEC

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        return picture(Attachment("audio/wav", hum(params["pitch"])))

    async def aclose(self) -> None:
        pass


SOUND = Attachment("audio/wav", hum())
GOOD = {
    "audio/wav": hum(),
    "audio/ogg": b"OggS\0\2",
    "audio/flac": b"fLaC\0\0\0\x22",
    "audio/mpeg": b"\xff\xfb\x90\x64\0\0",
}
HOSTILE = {
    "another type": ("text/html", HTML, "is one of audio/wav"),
    "a drawing with scripts": ("image/svg+xml", b"<svg/>", "is one of"),
    "a type with more in it": ("audio/wav;base64,x", hum(), "is one of"),
    "a type in capitals": ("AUDIO/WAV", hum(), "is one of"),
    "HTML": ("audio/wav", HTML, "do not begin so"),
    "HTML with half a header": ("audio/wav", b"RIFF" + HTML, "do not begin so"),
    "HTML as music": ("audio/mpeg", HTML, "do not begin so"),
    "another sound": ("audio/ogg", hum(), "do not begin so"),
    "nothing": ("audio/wav", b"", "1 to"),
    "too much": ("audio/wav", hum().ljust(MAX_BYTES + 1, b"\0"), "1 to"),
}
hostile = pytest.mark.parametrize(("media_type", "data", "why"), HOSTILE.values(), ids=HOSTILE)


# --------------------------------------------------------------------------------------------------------------- the value


@pytest.mark.parametrize(("media_type", "data"), GOOD.items())
def test_a_sound_of_a_known_type_is_let_in(media_type: str, data: bytes) -> None:
    sound = Attachment(media_type, data)
    head, _, body = sound.data_url.partition(",")
    assert (head, base64.b64decode(body)) == (f"data:{media_type};base64", data)
    assert sound.suffix in (".wav", ".ogg", ".flac", ".mp3")
    assert repr(data) not in repr(sound)


@hostile
def test_what_is_no_sound_is_not_let_in(media_type: str, data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        Attachment(media_type, data)
    assert "script" not in str(refused.value)


def test_its_bytes_are_bytes() -> None:
    with pytest.raises(TypeError, match="bytes, not str"):
        Attachment("audio/wav", "RIFF....WAVE")  # type: ignore[arg-type]
    assert len(Attachment("audio/wav", hum().ljust(MAX_BYTES, b"\0")).data) == MAX_BYTES


def test_pictures_with_other_sounds_differ_and_are_the_same_to_judges_and_edits() -> None:
    plain, sounding, other = picture(), picture(SOUND), picture(Attachment("audio/wav", hum(300)))
    assert len({plain, sounding, other}) == 3
    assert sounding == picture(Attachment("audio/wav", hum()))
    assert plain.digest == sounding.digest == other.digest
    assert SOUND.digest != Attachment("audio/wav", hum(300)).digest
    assert "audio/wav" in repr(sounding)
    assert pickle.loads(pickle.dumps(sounding)) == sounding


def test_pictures_that_were_pickled_before_are_read() -> None:
    before = Picture.__new__(Picture)
    before.__setstate__({"image": picture().image, "provenance": picture().provenance, "seconds": 0.5})
    assert before == picture()
    assert before.attachment is None


# ---------------------------------------------------------------------------------------------------------------- the wire


def test_the_wire_carries_it() -> None:
    reply = RunReply(outcome=PictureMessage.of(picture(SOUND))).encode()
    assert RunReply.model_validate_json(reply).outcome.value() == picture(SOUND)
    parts, png = told(picture(SOUND))  # what recordings and the cache on disk keep
    assert outcome_of(json.loads(json.dumps(parts)), png) == picture(SOUND)


def test_what_was_kept_before_there_were_attachments_is_read() -> None:
    parts, png = told(picture())
    assert parts.pop("attachment") is None
    assert outcome_of(parts, png) == picture()


@hostile
def test_a_hostile_message_cannot_be_read(media_type: str, data: bytes, why: str) -> None:
    sent = json.loads(PictureMessage.of(picture()).encode())
    sent["attachment"] = {"media_type": media_type, "data": base64.b64encode(data).decode()}
    with pytest.raises(ValueError, match=f"{why}|at most"):
        PictureMessage.model_validate(sent).value()


def test_a_message_that_is_no_base64_cannot_be_read() -> None:
    sent = json.loads(PictureMessage.of(picture(SOUND)).encode())
    sent["attachment"]["data"] = "RIFF*"
    with pytest.raises(ValueError, match="base64"):
        PictureMessage.model_validate(sent).value()


# ------------------------------------------------------------------------------------------- World, wire, store and report

FORMS = [
    f"A hum: <imgen>{Call('hum', 'a <b>low</b> hum', {'pitch': 220}).to_json()}</imgen> and a higher one: "
    f"<imgen>{Call('hum', 'a high hum', {'pitch': 880}).to_json()}</imgen>.",
    f"A bird: <imgen>{Call('search', 'a bird', {'query': 'bird'}).to_json()}</imgen>.",
]


def rollouts(world: Any, seed: int = 0) -> list[Rollout]:
    tasks = [Task(f"Write about hum {n}.", id=f"hum-{n}") for n in range(len(FORMS))]
    left = iter(FORMS)
    policy = ScriptedPolicy(lambda prompt, _: next(left))
    tools = {"hum": SPEC, "search": SimulatedTool("search").spec}
    reward = HybridReward.preset("rules")
    return list(
        asyncio.run(run_rollouts(policy, world, reward, tasks, seed=seed, max_tokens=900, tools=tools)).rollouts
    )


def here() -> InProcessWorld:
    return InProcessWorld({"hum": HumTool(), "search": SimulatedTool("search")})


@pytest.fixture(scope="module")
def made() -> list[Rollout]:
    with served(create_app(world=here())) as url:
        return rollouts(HttpWorld(url))


def sounds(document: Document) -> list[Attachment | None]:
    return [one.attachment for one in document.pictures]


def test_a_sound_comes_from_a_world_elsewhere_as_from_one_here(made: list[Rollout]) -> None:
    assert sounds(made[0].document) == [Attachment("audio/wav", hum(220)), Attachment("audio/wav", hum(880))]
    assert sounds(made[1].document) == [None]
    assert rollouts(here()) == made


def test_the_store_keeps_it(made: list[Rollout], tmp_path: Path) -> None:
    file = write_episodes(tmp_path, "train-00000", made, step=0)
    assert rollouts_of(read_episodes(tmp_path)) == made
    (counted, _) = rollouts_of(read_episodes(file, pixels=False))
    assert sounds(counted.document) == [None, None]


def test_files_without_the_column_are_read_and_joined(made: list[Rollout], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    new = write_episodes(tmp_path, "new", made[:1], sample=0)
    old = write_episodes(tmp_path, "old", made[1:], sample=0)
    parquet.write_table(parquet.read_table(old).drop(["attachments"]), old)
    assert rollouts_of(read_episodes(old)) == made[1:]
    join_episodes(tmp_path, "all", [old, new], step=3)
    again = list(read_episodes(tmp_path, "all"))
    assert [extras for extras, _ in again] == [{"step": 3}] * 2
    assert [rollout.document for _, rollout in again] == [rollout.document for rollout in made]


@hostile
def test_a_hostile_file_is_not_read(
    made: list[Rollout], tmp_path: Path, media_type: str, data: bytes, why: str
) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = write_episodes(tmp_path, "train-00000", made[:1])
    table = parquet.read_table(file)
    at = table.schema.get_field_index("attachments")
    bad = arrow.array([[{"picture": 0, "media_type": media_type, "bytes": data}]], table.schema.field(at).type)
    parquet.write_table(table.set_column(at, table.schema.field(at), bad), file)
    with pytest.raises(StoreError, match=why):
        list(read_episodes(file))


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_report_plays_it(made: list[Rollout], tmp_path: Path) -> None:
    page = write_document_page(tmp_path / "page.html", "Hums?", made[0].document).read_text()
    elements = Elements(page).found
    players = [attributes for tag, attributes in elements if tag == "audio"]
    assert [set(player) for player in players] == [{"controls", "preload", "src"}] * 2
    played = [str(player["src"]).removeprefix("data:audio/wav;base64,") for player in players]
    assert [base64.b64decode(data, validate=True) for data in played] == [hum(220), hum(880)]
    (policy,) = [str(a["content"]) for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    assert not {"script", "iframe", "object", "embed", "a"} & {tag for tag, _ in elements}
    assert "&lt;b&gt;low&lt;/b&gt;" in page
    assert "<audio" not in document_html(made[1].document)
    assert to_html(made[0].document, made[0].task).count("<audio controls") == 2


def test_a_policy_cannot_write_a_player(made: list[Rollout]) -> None:
    document = Document((Text('<audio autoplay src="data:audio/wav;base64,UklG"></audio>'),))
    assert "audio" not in {tag for tag, _ in Elements(document_html(document)).found}


def test_markdown_links_it(made: list[Rollout]) -> None:
    links = re.findall(r"!?\[[^\]]*\]\(([^)]*)\)", made[0].document.to_markdown())
    assert links == ["figure-0.png", "figure-0.wav", "figure-1.png", "figure-1.wav"]
    assert "[sound: a high hum](sounds/1.wav)" in made[0].document.to_markdown("{index}.png", "sounds/{index}{suffix}")
    assert ".wav" not in made[1].document.to_markdown()


def test_a_tool_whose_sound_is_none_is_out_of_order_and_not_the_policy_at_fault() -> None:
    class Broken(HumTool):
        async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
            return picture(Attachment("audio/wav", HTML))

    outcome = asyncio.run(InProcessWorld({"hum": Broken()}).run(Call("hum", "", {"pitch": 1})))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")
    assert "script" not in outcome.message


def test_an_edit_of_a_sounding_picture_is_a_picture() -> None:
    edit = SimulatedTool("edit")
    call = Call("edit", "", {"img_index": 0, "prompt": "grayscale"})
    outcome = asyncio.run(InProcessWorld({"edit": edit}).run(call, [picture(SOUND)]))
    assert isinstance(outcome, Picture)
    assert outcome.attachment is None
