"""What goes wrong between here and an image server: its failures, the addresses that it gives, and keys that must not show."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import pickle
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Failure, Picture
from llmi_env.errors import ConfigError, NothingFound, Refused, ToolTimeout, ToolUnavailable
from llmi_env.tools.base import ToolContext
from llmi_env.tools.image_server import ImageServerTool
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from tests.pngs import claiming
from tests.serving import served
from tests.tools.image_tools import OPENAI, Service, all_said, draw, ran, same
from tests.tools.images_server import KEY, ImagesServer, Received, encoded, failing, painted, raw, saying

pytest.importorskip("openai")


# --------------------------------------------------------------------------------------------------- the world's failures


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_names_its_variable(service: Service, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    service.server.instead = failing(status, "who are you?")
    with pytest.raises(ToolUnavailable, match=rf"HTTP {status} from .*'who are you\?'; check the key in IMAGES_KEY"):
        draw(service.tool(api_key_env="IMAGES_KEY"))
    with pytest.raises(ToolUnavailable, match="no key was sent: name the environment variable"):
        draw(service.tool())
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "x")
    with pytest.raises(ToolUnavailable, match="check the key in AZURE_OPENAI_API_KEY"):
        draw(service.tool(api_version="2025-04-01-preview"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_told(
    service: Service, status: int, headers: dict[str, str], expected: float | None
) -> None:
    service.server.instead = failing(status, "too many", headers)
    with pytest.raises(ToolUnavailable, match=f"HTTP {status}") as caught:
        draw(service.tool())
    assert getattr(caught.value, "retry_after", "missing") == expected
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == expected
    assert len(service.server.requests) == 1  # the client's own retries are off


def test_a_date_to_wait_for_is_read(service: Service) -> None:
    service.server.instead = failing(429, headers={"retry-after": formatdate(time.time() + 30, usegmt=True)})
    with pytest.raises(ToolUnavailable) as caught:
        draw(service.tool())
    assert 25 < getattr(caught.value, "retry_after", 0) <= 31


HTML = b"<!doctype html><html><title>502 Bad Gateway</title></html>"
GOOD = {"data": [{"b64_json": encoded(painted("x"))}]}


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        pytest.param(failing(500, "boom"), ToolUnavailable, "HTTP 500 from .*: 'boom'", id="500"),
        pytest.param(saying({"detail": "Diffusion engine not initialized."}, 503), ToolUnavailable, "not initialized", id="vLLM-Omni"),
        pytest.param(saying({"detail": "Invalid size format"}, 400), ToolUnavailable, "check the options", id="400"),
        pytest.param(saying({"detail": [{"loc": ["body"], "msg": "field required"}]}, 422), ToolUnavailable, "field required", id="422"),
        pytest.param(failing(404, "no such model"), ToolUnavailable, "check the model 'm' and the url", id="404"),
        pytest.param(raw(HTML, 502, "text/html"), ToolUnavailable, "HTTP 502", id="a gateway's page"),
        pytest.param(raw(HTML, 200, "text/html"), ToolUnavailable, "no list of pictures but '<!doctype html>", id="HTML for JSON"),
        pytest.param(raw(b""), ToolUnavailable, "no list of pictures but ''", id="nothing"),
        pytest.param(raw(b'{"data": [{"b64_js'), ToolUnavailable, "no list of pictures", id="half of the JSON"),
        pytest.param(raw(b'{"data": [{"b64_js', length=1000), ToolUnavailable, "broke off", id="half of the body"),
        pytest.param(saying({"data": "none"}), ToolUnavailable, "no list of pictures", id="another type"),
        pytest.param(saying([1, 2]), ToolUnavailable, "no list of pictures", id="a list"),
        pytest.param(saying({"data": [{"b64_json": 5}]}), ToolUnavailable, "no list of pictures", id="a number for a picture"),
        pytest.param(saying({"data": []}), NothingFound, "sent no picture", id="none"),
        pytest.param(saying({"data": None}), NothingFound, "sent no picture", id="null"),
        pytest.param(saying({}), NothingFound, "sent no picture", id="no data"),
        pytest.param(saying({"data": [{}]}), NothingFound, "an entry without a picture", id="an empty entry"),
        pytest.param(saying({"data": GOOD["data"] * 2}), ToolUnavailable, "sent 2 pictures where one", id="two"),
        pytest.param(saying({"error": {"message": "later", "code": 7}}), ToolUnavailable, "failed: 'later'", id="an error in a success"),
        pytest.param(saying({"data": [{"b64_json": "!!!"}]}), ToolUnavailable, "no base64", id="no base64"),
        pytest.param(saying({"data": [{"b64_json": encoded(HTML)}]}), ToolUnavailable, "let in: it is a web page", id="a page in base64"),
        pytest.param(saying({"data": [{"b64_json": encoded(painted("x")[:60])}]}), ToolUnavailable, "end too early", id="half a picture"),
        pytest.param(saying({"data": [{"b64_json": encoded(b"<svg xmlns='x'/>")}]}), ToolUnavailable, "SVG", id="an SVG"),
        pytest.param(lambda _: RedirectResponse("http://127.0.0.1:9/v1"), ToolUnavailable, "HTTP 307 .*give the address", id="a redirect"),
    ],
)  # fmt: skip
def test_whatever_a_server_does_is_typed(service: Service, answer: Any, error: type[Exception], message: str) -> None:
    service.server.instead = answer
    with pytest.raises(error, match=message) as caught:
        draw(service.tool())
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_a_bomb_is_not_let_in(service: Service) -> None:
    side = 20_000
    png = claiming(side, side, bytes(side * (3 * side // 8 + 1) // 400))
    service.server.instead = saying({"data": [{"b64_json": encoded(png)}]})
    with pytest.raises(ToolUnavailable, match="20000 x 20000 pixels"):
        draw(service.tool())


def test_an_answer_is_bounded(service: Service) -> None:
    service.server.instead = raw(b'{"data": "' + b"x" * 3_000_000 + b'"}')
    with pytest.raises(ToolUnavailable, match="an answer of more than 1 MB; max_mb bounds it"):
        draw(service.tool(max_mb=1))


@pytest.mark.parametrize("status", [500, 302])
def test_an_error_without_end_is_bounded_too(service: Service, status: int) -> None:
    sent = 0

    async def endless(received: Received) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1
                yield b"no " * 30_000
                await asyncio.sleep(0)

        return StreamingResponse(chunks(), status, {"location": "/"}, media_type="application/json")

    service.server.instead = endless
    with pytest.raises(ToolUnavailable, match=rf"HTTP {status} from .*'no no .*and 65\d\d\d characters more"):
        draw(service.tool())
    assert sent < 200  # 18 MB: what the sockets of both sides take in before the end is noticed


def test_an_answer_that_nobody_asked_to_be_packed_is_not_unpacked(service: Service) -> None:
    packed = gzip.compress(bytes(50_000_000))
    for status, message in ((200, "the answer is packed, which was not asked for"), (500, "HTTP 500")):
        service.server.instead = lambda _, status=status: Response(packed, status, {"content-encoding": "gzip"})
        with pytest.raises(ToolUnavailable, match=message):
            draw(service.tool(max_mb=1))
    assert service.server.requests[0].headers["accept-encoding"] == "identity"


def test_pictures_of_other_formats_are_made_plain(service: Service) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(buffer, format="WEBP")
    for text in (encoded(buffer.getvalue()), f"data:image/webp;base64,{encoded(buffer.getvalue())}"):
        service.server.instead = saying({"data": [{"b64_json": text}]})
        image = draw(service.tool()).image
        assert image.mode == "RGB"
        assert image.info == {}
        assert image.getpixel((3, 3)) == (255, 255, 255)
    service.server.instead = saying({"data": [{"url": f"data:image/webp;base64,{encoded(buffer.getvalue())}"}]})
    assert draw(service.tool()).image.size == (20, 10)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(ToolUnavailable, match=r"http://127\.0\.0\.1:9/v1 cannot be reached"):
        draw(ImageServerTool(model="m", url="http://127.0.0.1:9/v1"))


async def _dripping(received: Received) -> Response:
    async def drops() -> Any:
        for _ in range(600):
            yield b" "
            await asyncio.sleep(0.05)

    return StreamingResponse(drops(), media_type="application/json")


async def _hanging(received: Received) -> Response:
    await asyncio.sleep(30)
    return Response()


@pytest.mark.parametrize("answer", [_dripping, _hanging], ids=["a slow body", "no answer"])
def test_a_slow_server_is_a_time_out(service: Service, answer: Any) -> None:
    service.server.instead = answer
    with pytest.raises(ToolTimeout, match=r"no picture from .* within 0\.2 seconds"):
        draw(service.tool(timeout=0.2))
    with pytest.raises(ToolTimeout, match=r"within 0\.3 seconds"):
        draw(service.tool(), deadline=0.3)


def test_a_call_that_is_given_up_closes_its_request(service: Service) -> None:
    tool = service.tool()
    service.server.instead = _hanging

    async def scenario() -> Picture:
        call = asyncio.create_task(tool({"prompt": "a cat"}, ToolContext(deadline=20)))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        service.server.instead = None
        return await tool({"prompt": "a cat"}, ToolContext(deadline=20))

    assert isinstance(ran(tool, scenario), Picture)


# ------------------------------------------------------------------------------------------------------------ addresses


def naming(address: str) -> Any:
    return saying({"data": [{"url": address}]})


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:{port}0/p.png", "cannot be fetched"),
        ("http://localhost:{port}/v1/p.png", "has a loopback address"),  # the same machine by another name
        ("http://169.254.169.254/latest/meta-data", "metadata address"),
        ("file:///etc/passwd", "not one of http or https"),
        ("gopher://127.0.0.1/", "not one of http or https"),
        ("http://127.0.0.1:99999/", "cannot be fetched"),
        ("http://[::1]/", "address"),
        ("{address}/missing.png", "the server answers 404"),
    ],
)
def test_addresses_are_fetched_with_care(service: Service, address: str, message: str) -> None:
    port = service.address.rpartition(":")[2]
    service.server.instead = naming(address.format(port=port, address=service.address))
    with pytest.raises(ToolUnavailable, match=message):
        draw(service.tool())


def test_only_the_servers_own_address_may_be_private(service: Service) -> None:
    other = ImagesServer()
    other.keep("secret.png", painted("secret"))
    with served(other.app()) as address:
        service.server.instead = naming(f"{address}/secret.png")
        with pytest.raises(ToolUnavailable, match="has a loopback address"):
            draw(service.tool())
        # nor by a detour by way of the server's own address
        service.server.elsewhere = f"{address}/secret.png"
        service.server.instead = naming(f"{service.address}/moved")
        with pytest.raises(ToolUnavailable, match="has a loopback address"):
            draw(service.tool())
    assert other.fetched == []
    service.server.elsewhere = "/" + service.server.keep("own.png", painted("own"))
    assert same(draw(service.tool()), painted("own"))


# ---------------------------------------------------------------------------------------------------------------- keys


ECHOES = [
    pytest.param(failing(401, f"Incorrect API key provided: {KEY}", {"x-echo": KEY}), id="401"),
    pytest.param(failing(400, f"bad {KEY}", code="moderation_blocked"), id="refusal"),
    pytest.param(failing(500, f"boom {KEY}", {"retry-after": "1", "set-cookie": f"k={KEY}"}), id="500"),
    pytest.param(raw(f"<html>{KEY}</html>".encode(), 200, "text/html"), id="a page"),
    pytest.param(saying({"error": {"message": f"bad {KEY}"}}), id="an error in a success"),
    pytest.param(raw(KEY.encode(), length=900), id="cut"),
    pytest.param(failing(500, "boom", {"x-request-id": KEY, "x-echo": f"Bearer {KEY}"}), id="headers"),
    pytest.param(saying({"data": [{"url": f"http://127.0.0.1:9/{KEY}"}]}), id="an address"),
    pytest.param(saying({"data": [{"b64_json": KEY}]}), id="a picture"),
    pytest.param(_hanging, id="a time-out"),
]


@pytest.mark.parametrize("answer", ECHOES)
@pytest.mark.parametrize("from_file", [False, True], ids=["variable", "file"])
def test_the_key_is_nowhere_to_be_found(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Any, from_file: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    (tmp_path / "key").write_text(f"{KEY}\n")
    named = {"api_key_file": str(tmp_path / "key")} if from_file else {"api_key_env": "IMAGES_KEY"}
    tool = service.tool(timeout=1.0 if answer is _hanging else 20.0, **named)
    service.server.instead = answer
    with pytest.raises((ToolUnavailable, ToolTimeout, Refused)) as caught:
        draw(tool)
    assert service.server.requests[0].headers["authorization"] == f"Bearer {KEY}"

    async def with_connection() -> str:
        await tool.warm()
        return repr((tool, tool.options, vars(tool), tool._server, pickle.dumps(tool), tool.options.model_dump()))

    shown = [all_said(caught.value), caplog.text, ran(tool, with_connection)]
    shown += [repr(vars(record)) for record in caplog.records]
    assert KEY not in "\n".join(shown)
    assert KEY.replace("/", "\\/") not in "\n".join(shown)


def test_the_key_is_not_in_pictures_and_documents(service: Service) -> None:
    async def scenario() -> tuple[Any, WorldConfig]:
        config = WorldConfig(
            tools={"diffusion": {"use": "image-server", "model": "m", "url": f"{service.address}/openai/v1", **OPENAI}},
            judges=[],
            attempts=1,
        )
        world = InProcessWorld.from_config(config)
        try:
            call = Call("diffusion", "a cat", {"prompt": "a cat"})
            good = await world.run(call, seed=1)
            service.server.instead = failing(401, f"Incorrect API key provided: {KEY}")
            return (good, await world.run(call, seed=2)), config
        finally:
            await world.aclose()

    (good, bad), config = asyncio.run(scenario())
    assert isinstance(good, Picture)
    assert isinstance(bad, Failure)
    assert (bad.kind, bad.fault) == ("unavailable", "world")
    assert "check the key in IMAGES_KEY" in bad.message
    everything = repr((good.provenance, bad, config.model_dump_json())) + repr(pickle.dumps((good, bad, config)))
    assert KEY not in everything


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "environment variable OPENAI_API_KEY is not set"),
        ({"url": "https://my.openai.azure.com", "api_version": "1"}, "AZURE_OPENAI_API_KEY is not set"),
        ({"url": "https://ark.ap-southeast.bytepluses.com/api/v3"}, "name the environment variable.* as api_key_env"),
        ({"url": "http://127.0.0.1:9/v1", "api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"url": "http://127.0.0.1:9/v1", "api_key_file": "/no/such/s3cret"}, "api_key_file cannot be read .FileNotFoundError."),
    ],
)  # fmt: skip
def test_a_key_that_is_not_there_is_a_mistake_of_the_set_up(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "NO_SUCH_KEY"):
        monkeypatch.delenv(name, raising=False)
    tool = ImageServerTool(model="m", **options)
    with pytest.raises(ConfigError, match=f"image-server: .*{message}") as caught:
        ran(tool, tool.warm)
    assert "s3cret" not in str(caught.value)  # a path may be the key by mistake


@pytest.mark.parametrize("text", ["", "two words", "ключ", "x" * 5000])
def test_a_file_without_a_key_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    tool = ImageServerTool(model="m", url="http://127.0.0.1:9/v1", api_key_file=str(tmp_path / "key"))
    with pytest.raises(ConfigError, match=r"file named by api_key_file (holds no key|is empty|is too long)"):
        ran(tool, tool.warm)
