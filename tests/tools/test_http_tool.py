"""The tool behind an HTTP endpoint, against real servers: the example's, and one that does whatever a test says."""

from __future__ import annotations

import asyncio
import base64
import gzip
import importlib.util
import io
import json
import logging
import pickle
import re
import socket
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from PIL import Image

from llmi_env.calls import Call
from llmi_env.config import load_yaml
from llmi_env.document import Failure, Outcome, Picture, Provenance
from llmi_env.errors import BadParams, ConfigError, NothingFound, Refused, ToolError, ToolTimeout, ToolUnavailable
from llmi_env.prompting import system_prompt
from llmi_env.tools.base import ToolContext
from llmi_env.tools.http_tool import HttpTool
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world_source import tool_specs
from tests.serving import served

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "plugins"
SECRET = "s3cret-k3y/+"
TOLD = {"purpose": "draws icons", "params": {"name": "what to draw", "size": {"meaning": "in pixels", "type": "int"}}}
PARAMS = {"name": "owl", "size": 32}


def image_of(format: str, size: tuple[int, int] = (32, 24)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "orange").save(file, format)
    return file.getvalue()


def hum() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8_000)
        out.writeframes(bytes(99))
    return file.getvalue()


class Service:
    """A service that answers as it is told, and remembers what it was asked: the form is that of `llmi_env.tools.http_tool`."""

    def __init__(self) -> None:
        self.answer: Callable[[], Response] = Response
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.app = FastAPI()
        self.app.post("/draw")(self._draw)

    async def _draw(self, request: Request) -> Response:
        self.asked.append((dict(request.headers), json.loads(await request.body())))
        return self.answer()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Service, str]]:
    service = Service()
    with served(service.app) as url:
        yield service, f"{url}/draw"


@pytest.fixture
def service(running: tuple[Service, str]) -> Service:
    running[0].asked.clear()
    return running[0]


@pytest.fixture
def url(running: tuple[Service, str]) -> str:
    return running[1]


def call(url: str, context: ToolContext | None = None, given: dict[str, Any] = PARAMS, **options: Any) -> Picture:
    async def scenario() -> Picture:
        tool = HttpTool(url=url, **{**TOLD, **options})
        try:
            return await tool(given, context or ToolContext(seed=7, description="an owl", deadline=5))
        finally:
            await tool.aclose()

    return asyncio.run(scenario())


def body(**parts: Any) -> Response:
    return Response(json.dumps({"picture": base64.b64encode(image_of("PNG")).decode(), **parts}))


# ------------------------------------------------------------------------------------------------------------- the example


@pytest.fixture(scope="module")
def formulas() -> Iterator[str]:
    if not EXAMPLES.exists():
        pytest.skip("examples/ is not shipped with the package")
    spec = importlib.util.spec_from_file_location("formula_server", EXAMPLES / "http" / "formula_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with served(module.app) as url:
        yield f"{url}/formula"


def config_of(url: str) -> WorldConfig:
    """The example's configuration of that tool, at another address."""
    options = load_yaml("env", EXAMPLES / "plugins.yaml")["services"]["tools"]["formula"]
    return WorldConfig(tools={"formula": {**options, "url": url}}, judges=[])


def formula(url: str, tex: str) -> Outcome:
    return asyncio.run(InProcessWorld.from_config(config_of(url)).run(Call("formula", "a law", {"tex": tex}), seed=1))


@pytest.mark.parametrize(
    ("tex", "told"),
    [
        (r"\hspace{100000}x", "too large: 27.* points"),
        (r"x\hspace{-100000}y", "too large"),
        ("x" * 400, "too large"),
        (r"\sqrt{" * 70 + "x" + "}" * 70, "nested too deeply"),
        (r"\frac{1}", "cannot be read"),
    ],
)
def test_the_examples_service_bounds_what_it_draws(formulas: str, tex: str, told: str) -> None:
    started = time.monotonic()
    outcome = formula(formulas, tex)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == ("bad_params", "policy")
    assert re.search(told, outcome.message)
    assert time.monotonic() - started < 10


def test_the_examples_service_draws_what_its_configuration_says(formulas: str) -> None:
    specs = tool_specs(config_of(formulas))
    assert specs["formula"].name == "formula"
    assert "formula {tex}: sets a mathematical formula" in system_prompt(specs)
    first, second = formula(formulas, r"\frac{a}{b} = \sqrt{c}"), formula(formulas, r"\frac{a}{b} = \sqrt{c}")
    assert isinstance(first, Picture)
    assert first == second != formula(formulas, "x")
    assert first.provenance == Provenance(f"http:{formulas.split('/')[2]}", caption="a law")
    assert min(first.image.size) > 50
    assert first.image.convert("L").getextrema()[0] < 50


@pytest.mark.parametrize("tex", ["", r"\frac{a}", "x" * 501])
def test_what_the_examples_service_cannot_read_is_the_policys_fault(formulas: str, tex: str) -> None:
    outcome = formula(formulas, tex)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == ("bad_params", "policy")
    assert "formula" in outcome.message


# -------------------------------------------------------------------------------------------------------------- what is sent


def test_a_call_is_sent_whole(service: Service, url: str) -> None:
    service.answer = body
    shown = Picture(Image.new("RGB", (5, 4), "green"), Provenance("given"))
    pointing = {"params": {"img_index": {"meaning": "which picture", "type": "int"}, "words": "what to do"}}
    context = ToolContext(seed=7, description="größer", pictures=[shown], deadline=5)
    call(url, context, {"img_index": 3, "words": "lone \ud800"}, **pointing)
    ((headers, asked),) = service.asked
    assert {name: asked[name] for name in ("params", "description", "seed")} == {
        "params": {"img_index": 3, "words": "lone \ud800"},
        "description": "größer",
        "seed": 7,
    }
    (sent,) = asked["pictures"]
    assert Picture.from_png(base64.b64decode(sent), shown.provenance) == shown
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert "authorization" not in headers
    assert "cookie" not in headers


def test_a_number_that_json_cannot_carry_is_the_policys_fault(url: str) -> None:
    with pytest.raises(BadParams, match="too many digits"):
        call(url, given={"name": "owl", "size": 10**5000})


# ---------------------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WebP", "GIF", "BMP"])
@pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream", "text/html"])
def test_a_picture_may_come_bare_and_its_bytes_decide_what_it_is(
    service: Service, url: str, format: str, media_type: str
) -> None:
    service.answer = lambda: Response(image_of(format), media_type=media_type)
    made = call(url)
    assert made.image.size == (32, 24)
    assert made.image.mode == "RGB"
    assert made.provenance == Provenance(f"http:{url.split('/')[2]}", caption="an owl")


def test_a_picture_may_come_with_where_it_is_from_and_a_sound(service: Service, url: str) -> None:
    told = {
        "title": "<b>An owl</b>\n",
        "caption": "an owl at night",
        "author": "Ann &amp; Bob",
        "licence": "CC BY 4.0",
        "source": "https://owls.example/1",
        "seed": 7,
    }
    sound = {"media_type": "audio/wav", "data": base64.b64encode(hum()).decode()}
    service.answer = lambda: body(provenance=told, attachment=sound, more="is not read")
    made = call(url)
    place = f"http:{url.split('/')[2]}"
    assert made.provenance == Provenance(
        place, "An owl", "an owl at night", "https://owls.example/1", "Ann & Bob", "CC-BY-4.0", 7
    )
    assert made.attachment is not None
    assert made.attachment.data == hum()
    service.answer = lambda: body(picture="data:image/png;base64," + base64.b64encode(image_of("PNG")).decode())
    assert call(url).image.getpixel((0, 0)) == (255, 165, 0)


# ------------------------------------------------------------------------------------------------------------ what goes wrong


def status(code: int, told: object = None, text: str | None = None, **headers: str) -> Callable[[], Response]:
    content = json.dumps(told) if text is None else text
    return lambda: Response(content, code, {name.replace("_", "-"): value for name, value in headers.items()})


def sound(media_type: str, data: bytes) -> Callable[[], Response]:
    return lambda: body(attachment={"media_type": media_type, "data": base64.b64encode(data).decode()})


def short() -> Response:
    return StreamingResponse(iter([image_of("PNG")[:40]]), headers={"content-length": "4000"})


def endless() -> Response:
    return StreamingResponse(iter([bytes(200_000)] * 100))


HTML = "<!doctype html><title>Bad gateway</title><script>alert(1)</script>"
POLICY: dict[str, tuple[Callable[[], Response], type[ToolError], str]] = {
    "400": (status(400, {"error": "name a bird"}), BadParams, "^name a bird$"),
    "422": (status(422, {"error": "not this one"}), Refused, "^not this one$"),
    "nothing found": (status(400, {"error": "no such bird", "kind": "empty"}), NothingFound, "^no such bird$"),
    "a kind of its own": (status(400, {"error": "no", "kind": "ConfigError"}), BadParams, "^no$"),
    "a long and hostile reason": (
        status(400, {"error": "<b>no</b>\n\x1b[2J" + "x" * 900}),
        BadParams,
        "^no [^\x1b]{290,300}$",
    ),
}
WORLD: dict[str, tuple[Callable[[], Response], str, float | None]] = {
    "400 of no reason": (status(400, text="no"), 'HTTP 400 .no.; .* "error"', None),
    "422 of a framework": (status(422, {"detail": [{"msg": "Field required"}]}), "HTTP 422 .*Field required", None),
    "400 with a strange reason": (status(400, {"error": {"deep": 1}}), "HTTP 400", None),
    "401": (status(401, {"error": "who are you"}), "HTTP 401 .who are you.; check the key", None),
    "404": (status(404, {"detail": "Not Found"}), "check the option url", None),
    "429": (status(429, {"error": "slowly"}, Retry_After="3"), "HTTP 429 .slowly.", 3.0),
    "429 without a number": (status(429, {}, Retry_After="soon"), "HTTP 429", None),
    "500": (status(500, text="Internal Server Error", Retry_After="3"), "HTTP 500 .Internal Server Error.", None),
    "503": (status(503, text=HTML, Retry_After="0.5"), "HTTP 503", 0.5),
    "a redirect": (status(302, text="", Location="http://169.254.169.254/"), "if you trust it", None),
    "HTML": (status(200, text=HTML), "no picture that can be let in", None),
    "an empty body": (status(200, text=""), "no picture that can be let in: it is empty", None),
    "JSON cut off": (status(200, text='{"picture": "iVBO'), "other JSON than is needed", None),
    "JSON without a picture": (status(200, {"image": "x"}), "picture: Field required", None),
    "JSON of another shape": (status(200, {"picture": 3, "provenance": []}), "other JSON", None),
    "no base64": (lambda: body(picture="%%%"), "no base64", None),
    "no picture in base64": (lambda: body(picture="aGVsbG8="), "no picture that can be let in", None),
    "half a picture": (lambda: Response(image_of("PNG", (200, 200))[:100]), "end too early", None),
    "a body cut off": (short, "broke off", None),
    "an answer without end": (endless, "more than 1 MB", None),
    "an encoding": (
        lambda: Response(gzip.compress(image_of("PNG")), headers={"content-encoding": "gzip"}),
        "encoding",
        None,
    ),
    "a sound of a hostile type": (sound("text/html", HTML.encode()), "attachment .* one of audio/wav", None),
    "a sound that is HTML": (sound("audio/wav", HTML.encode()), "do not begin so", None),
    "a sound that is too large": (sound("audio/wav", hum().ljust(2_100_000)), "more than 1 MB", None),
    "a sound that is no base64": (
        lambda: body(attachment={"media_type": "audio/wav", "data": "§"}),
        "attachment",
        None,
    ),
}


@pytest.mark.parametrize(("answer", "kind", "why"), POLICY.values(), ids=POLICY)
def test_what_the_policy_did_wrong(
    service: Service, url: str, answer: Callable[[], Response], kind: type[ToolError], why: str
) -> None:
    service.answer = answer
    with pytest.raises(ToolError, match=why) as failed:
        call(url)
    assert type(failed.value) is kind


@pytest.mark.parametrize(("answer", "why", "wait"), WORLD.values(), ids=WORLD)
def test_what_is_the_worlds_fault(
    service: Service, url: str, answer: Callable[[], Response], why: str, wait: float | None
) -> None:
    service.answer = answer
    with pytest.raises(ToolUnavailable, match=why) as failed:
        call(url, max_mb=1)
    assert getattr(failed.value, "retry_after", None) == wait
    assert "<script>" not in str(failed.value)
    assert len(str(failed.value)) < 700
    assert pickle.loads(pickle.dumps(failed.value)).args == failed.value.args


def test_a_sound_of_more_than_two_megabytes_is_refused_whatever_the_limit_of_answers(
    service: Service, url: str
) -> None:
    service.answer = sound("audio/wav", hum().ljust(2_000_001))
    with pytest.raises(ToolUnavailable, match="1 to 2,000,000 bytes"):
        call(url)


def test_a_slow_service_is_given_up(service: Service, url: str) -> None:
    async def drip() -> Any:
        for _ in range(40):
            yield b"\x89"
            await asyncio.sleep(0.05)

    service.answer = lambda: StreamingResponse(drip())
    for options, context in (({"timeout": 0.2}, ToolContext(deadline=9)), ({}, ToolContext(deadline=0.2))):
        with pytest.raises(ToolTimeout, match=r"within 0\.2 seconds"):
            call(url, context, **options)


def test_a_service_that_is_not_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ToolUnavailable, match=r"cannot be reached or broke off \(ConnectError"):
        call(f"http://127.0.0.1:{port}/draw")


def test_the_world_waits_as_long_as_it_is_asked_to(service: Service, url: str) -> None:
    answers = iter([status(503, {}, Retry_After="0.01"), body])
    service.answer = lambda: next(answers)()
    world = InProcessWorld.from_config(WorldConfig(tools={"icon": {"use": "http", "url": url, **TOLD}}, judges=[]))
    outcome = asyncio.run(world.run(Call("icon", "", PARAMS)))
    assert isinstance(outcome, Picture)
    assert len(service.asked) == 2


# ------------------------------------------------------------------------------------------------------------- keys, options


def test_a_key_is_sent_and_shown_nowhere(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("ICON_KEY", SECRET)
    (tmp_path / "key").write_text(SECRET + "\n")
    caplog.set_level(logging.DEBUG)
    service.answer = status(401, {"error": f"the key {SECRET} is not known"})
    for options in ({"api_key_env": "ICON_KEY"}, {"api_key_file": str(tmp_path / "key")}):
        tool = HttpTool(url=url, **TOLD, **options)
        with pytest.raises(ToolUnavailable, match=r"the key \[key\] is not known") as failed:
            asyncio.run(tool(PARAMS, ToolContext(deadline=5)))
        assert service.asked[-1][0]["authorization"] == f"Bearer {SECRET}"
        assert (
            SECRET
            not in f"{failed.value!r} {failed.value.__cause__!r} {failed.value.__context__!r} {pickle.dumps(tool)!r}"
        )
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "ftp://x/draw"}, "'url'"),
        ({"url": "http://me:secret@x/draw"}, "api_key_env"),
        ({"purpose": ""}, "'purpose'"),
        ({"params": {}}, "'params'"),
        ({"params": {"a b": "x"}}, "plain name"),
        ({"params": {"n": {"meaning": "x", "type": "float"}}}, "'params.n.type'"),
        ({"params": {"img_index": "which"}}, "its type is int"),
        ({"example": {"name": "owl"}}, "exactly the params name, size"),
        ({"example": {"name": "owl", "size": "32"}}, "each of its type"),
        ({"api_key": SECRET}, "no option 'api_key' .keys do not belong"),
        ({"api_key_env": "sk-abc"}, "capitals"),
        ({"api_key_env": "A", "api_key_file": "b"}, "not in both"),
        ({"urll": "x"}, "did you mean 'url'"),
    ],
)
def test_an_option_that_cannot_be_is_told_at_once(options: dict[str, Any], why: str) -> None:
    given = {"url": "http://127.0.0.1/draw", **TOLD, **options}
    for make in (lambda: HttpTool(**given), lambda: HttpTool.spec_of("icon", given)):
        with pytest.raises(ConfigError, match=why) as told:
            make()
        assert SECRET not in str(told.value)


def test_a_key_that_is_needed_and_not_there() -> None:
    tool = HttpTool(url="https://icons.example.org/draw", **TOLD)
    with pytest.raises(ConfigError, match="api_key_env"):
        asyncio.run(tool.warm())


def test_it_travels_and_works_on_another_loop(service: Service, url: str) -> None:
    service.answer = body
    tool = HttpTool(url=url, cacheable=True, name="icon", **TOLD)
    first = asyncio.run(tool(PARAMS, ToolContext(deadline=5)))
    assert asyncio.run(tool(PARAMS, ToolContext(deadline=5))) == first
    copy = pickle.loads(pickle.dumps(tool))
    assert (copy.spec, copy.cacheable) == (tool.spec, True)
    assert copy.spec.name == "icon"
    assert asyncio.run(copy(PARAMS, ToolContext(deadline=5))) == first
