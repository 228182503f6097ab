"""A local server that speaks OpenAI's images API as five services document it, and misbehaves as told.

Written from documentation, never compared with the services themselves:

- OpenAI: https://platform.openai.com/docs/api-reference/images and the models of the official client (`ImagesResponse`); a refusal's code is
  `moderation_blocked`, formerly `content_policy_violation`; parameters that it does not know are errors; `response_format` is one of them
  for the gpt-image models; `/images/edits` takes a form (multipart/form-data).
- Seedream: https://docs.byteplus.com/en/docs/ModelArk/1666945 (the same `/images/generations` for edits, the picture as `image`: a URL or
  `data:image/png;base64,...`; URLs unless `b64_json` is asked for; errors inside `data` are possible) and
  https://docs.byteplus.com/en/docs/ModelArk/1299023 (codes of refusals: `InputTextSensitiveContentDetected` and their like).
- vLLM-Omni: https://docs.vllm.ai/projects/vllm-omni/en/stable/serving/image_generation_api/ and .../image_edit_api/ (`seed`,
  `num_inference_steps` and others as further fields; errors as `{"detail": ...}`).
- SGLang: https://docs.sglang.io/diffusion/api/openai_api.html (`response_format=url` gives a relative address,
  `/v1/images/<id>/content`).
- LocalAI: https://localai.io/features/image-generation/ (an address of its own, `/generated-images/...`, unless `b64_json` is asked for; the
  picture to edit as bare base64 in `file`, or as a list in `ref_images`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from PIL import Image

KEY = "sk-proj-3F/9+c4ret=="
FORBIDDEN = "forbidden"
_OPENAI_FIELDS = {
    "background", "model", "moderation", "n", "output_compression", "output_format", "prompt", "quality", "safety_identifier", "size", "user",
}  # fmt: skip


@dataclass
class Received:
    """One request as the server saw it."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]
    file: bytes | None = None
    file_name: str = ""

    @property
    def prompt(self) -> str:
        return str(self.fields.get("prompt"))

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height of the picture that was sent."""
        return opened(self.file or b"").size


Answer = Callable[[Received], Awaitable[Response] | Response]


@dataclass
class ImagesServer:
    """State of the server.

    Attributes:
        requests: what came so far.
        instead: what is answered in place of a picture, whatever the path; `None` for the documented behaviour.
        elsewhere: where `GET /moved` redirects to.
    """

    requests: list[Received] = field(default_factory=list)
    instead: Answer | None = None
    stored: dict[str, bytes] = field(default_factory=dict)
    fetched: list[dict[str, str]] = field(default_factory=list)
    elsewhere: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/{rest:path}")
        async def post(request: Request, rest: str) -> Response:
            received = await _received(request)
            self.requests.append(received)
            if self.instead is not None:
                answer = self.instead(received)
                return await answer if isinstance(answer, Awaitable) else answer
            for prefix, service in _SERVICES.items():
                if rest.startswith(prefix):
                    return service(self, received, str(request.base_url).rstrip("/"))
            return JSONResponse({"error": {"message": f"Invalid URL (POST /{rest})", "code": None}}, 404)

        @app.get("/{rest:path}")
        async def get(request: Request, rest: str) -> Response:
            self.fetched.append({name.lower(): value for name, value in request.headers.items()})
            if rest == "moved":
                return RedirectResponse(self.elsewhere, 302)
            if rest in self.stored:
                return Response(self.stored[rest], media_type="image/png")
            return JSONResponse({"detail": "Not Found"}, 404)

        return app

    def keep(self, name: str, data: bytes) -> str:
        self.stored[name] = data
        return name


def painted(prompt: str, seed: Any = None, size: str = "64x64", source: bytes | None = None) -> bytes:
    """A PNG whose colour is a function of all that it is asked for."""
    width, height = (int(side) for side in size.split("x"))
    colour = hashlib.sha256(repr((prompt, seed, source)).encode()).digest()[:3]
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), tuple(colour)).save(buffer, format="PNG")
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.copy()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def failing(status: int, message: str = "no", headers: dict[str, str] | None = None, **more: Any) -> Answer:
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": None, **more}}
    return lambda received: JSONResponse(body, status, headers)


def saying(body: Any, status: int = 200) -> Answer:
    return lambda received: JSONResponse(body, status)


def raw(data: bytes, status: int = 200, kind: str = "application/json", length: int | None = None) -> Answer:
    """Any body; `length` may promise more than comes."""
    headers = {} if length is None else {"content-length": str(length)}
    return lambda received: Response(data, status, headers, media_type=kind)


def _openai(server: ImagesServer, received: Received, address: str) -> Response:
    if received.headers.get("authorization") != f"Bearer {KEY}":
        given = received.headers.get("authorization", "").removeprefix("Bearer ")
        message = f"Incorrect API key provided: {given}. You can find your API key at https://platform.openai.com/account/api-keys."
        return JSONResponse(
            {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}},
            401,
        )
    for name in received.fields:
        if name not in _OPENAI_FIELDS:
            error = {"message": f"Unknown parameter: '{name}'.", "type": "invalid_request_error", "param": name}
            return JSONResponse({"error": {**error, "code": "unknown_parameter"}}, 400)
    if FORBIDDEN in received.prompt:
        error = {
            "message": "Your request was rejected by the safety system. If you believe this is an error, contact us at help.openai.com "
            "and include the request ID req_1. safety_violations=[violence].",
            "type": "image_generation_user_error",
            "param": None,
            "code": "moderation_blocked",
        }
        return JSONResponse({"error": error}, 400)
    if received.path.endswith("edits") != (received.file is not None):
        return JSONResponse({"error": {"message": "Missing required parameter: 'image'.", "code": None}}, 400)
    size = received.fields.get("size", "auto")
    data = painted(received.prompt, None, "96x64" if size == "auto" else size, received.file)
    usage = {
        "input_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens": 50,
        "total_tokens": 100,
    }
    return JSONResponse(
        {
            "created": int(time.time()),
            "background": "opaque",
            "data": [{"b64_json": encoded(data)}],
            "output_format": "png",
            "quality": received.fields.get("quality", "auto"),
            "size": size,
            "usage": usage,
        }
    )


def _seedream(server: ImagesServer, received: Received, address: str) -> Response:
    if received.headers.get("authorization") != f"Bearer {KEY}":
        message = "The API key format is incorrect. Request id: 0217"
        return JSONResponse(
            {"error": {"code": "AuthenticationError", "message": message, "param": "", "type": "Unauthorized"}}, 401
        )
    if FORBIDDEN in received.prompt:
        message = "The request failed because the input text may contain sensitive information. Request id: 0217"
        error = {"code": "InputTextSensitiveContentDetected", "message": message, "param": "", "type": "BadRequest"}
        return JSONResponse({"error": error}, 400)
    source = None
    if "image" in received.fields:
        found = re.fullmatch(r"data:image/png;base64,(.+)", received.fields["image"])
        if found is None:
            return JSONResponse({"error": {"code": "InvalidParameter", "message": "image is not valid"}}, 400)
        source = received.file = base64.b64decode(found[1])
    data = painted(received.prompt, received.fields.get("seed"), "96x64", source)
    if received.fields.get("response_format", "url") == "b64_json":
        item = {"b64_json": encoded(data), "size": "96x64"}
    else:
        item = {"url": f"{address}/{server.keep('ark/picture.png', data)}?X-Tos-Signature=s1gned", "size": "96x64"}
    usage = {"generated_images": 1, "output_tokens": 16280, "total_tokens": 16280}
    return JSONResponse({"model": received.fields["model"], "created": 1757323224, "data": [item], "usage": usage})


def _vllm(server: ImagesServer, received: Received, address: str) -> Response:
    if received.path.endswith("edits") and received.file is None:
        return JSONResponse({"detail": "Field 'image' or 'url' is required"}, 422)
    size = received.fields.get("size", "64x64")
    if not re.fullmatch(r"\d+x\d+", size):
        return JSONResponse(
            {"detail": f"Invalid size format: '{size}'. Expected format: 'WIDTHxHEIGHT' (e.g., '1024x1024')."}, 400
        )
    steps = received.fields.get("num_inference_steps")
    data = painted(received.prompt, (received.fields.get("seed"), steps), size, received.file)
    item = {"b64_json": encoded(data), "url": None, "revised_prompt": None}
    return JSONResponse({"created": 1701234567, "data": [item], "output_format": None, "size": None})


def _sglang(server: ImagesServer, received: Received, address: str) -> Response:
    data = painted(received.prompt, received.fields.get("seed"), "64x64", received.file)
    item: dict[str, Any] = {
        "b64_json": None,
        "url": None,
        "revised_prompt": received.prompt,
        "file_path": "/outputs/1.png",
    }
    if received.fields.get("response_format", "b64_json") == "url":
        item["url"] = "/" + server.keep("v1/images/5f1b/content", data)
    else:
        item["b64_json"] = encoded(data)
    return JSONResponse({"id": "5f1b", "created": 1701234567, "data": [item], "peak_memory_mb": 1.0})


def _localai(server: ImagesServer, received: Received, address: str) -> Response:
    source = None
    carried = received.fields.get("file") or next(iter(received.fields.get("ref_images", [])), None)
    if carried is not None:
        source = received.file = base64.b64decode(carried, validate=True)
    data = painted(received.prompt, received.fields.get("seed"), "64x64", source)
    item: dict[str, Any] = {"embedding": None, "index": 0}
    if received.fields.get("response_format") == "b64_json":
        item["b64_json"] = encoded(data)
    else:
        item["url"] = f"{address}/{server.keep('generated-images/b64123.png', data)}"
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return JSONResponse({"created": 1701234567, "id": "d1", "data": [item], "usage": usage})


_SERVICES: dict[str, Callable[[ImagesServer, Received, str], Response]] = {
    "openai/v1/images/": _openai,
    "ark/api/v3/images/generations": _seedream,
    "vllm/v1/images/": _vllm,
    "sglang/v1/images/": _sglang,
    "localai/v1/images/generations": _localai,
}


async def _received(request: Request) -> Received:
    body = await request.body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    kind = headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return Received(request.url.path, headers, json.loads(body))
    form = BytesParser(policy=HTTP).parsebytes(f"content-type: {kind}\r\n\r\n".encode() + body)
    received = Received(request.url.path, headers, {})
    for part in form.iter_parts():
        disposition = part["content-disposition"].params
        content = part.get_payload(decode=True)
        if "filename" in disposition:
            received.file, received.file_name = content, f"{disposition['name']}: {disposition['filename']}"
        else:
            received.fields[disposition["name"]] = content.decode()
    return received
