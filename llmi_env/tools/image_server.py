"""Pictures drawn and edited by a server that speaks OpenAI's images API: gpt-image, Seedream, vLLM-Omni, SGLang, LocalAI, a gateway.

One call is one request for one picture. The answer, base64 or an address, is as hostile as anything from the web and goes through the same
checks (`web.decoding`, `web.fetching`). Whatever fails is typed: the server's content policy is a refusal, all else the world's fault. Nothing
is tried again here: the World does that. What the servers differ in is options; `docs/image-models.md` has a configuration for each.

In a configuration::

    tools:
      diffusion: {use: image-server, model: gpt-image-2, size: 1024x1024}            # reads OPENAI_API_KEY
      edit: {use: image-server-edit, url: "http://127.0.0.1:8000/v1", model: Qwen/Qwen-Image-Edit}
"""

from __future__ import annotations

import base64
import importlib.util
import io
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from PIL import Image
from pydantic import Field, field_validator, model_validator

from llmi_env.document import Picture, Provenance
from llmi_env.errors import MissingExtra
from llmi_env.services.keys import without_secrets
from llmi_env.services.openai_access import OPENAI_URL, checked_url
from llmi_env.services.options import ServiceOptions
from llmi_env.tools.base import DIFFUSION, EDIT, ToolContext, ToolSpec
from llmi_env.tools.image_connection import ImageConnection
from llmi_env.tools.model_calls import asked_edit, asked_prompt, in_aspect
from llmi_env.tools.web.decoding import flatten

__all__ = ["EditServerOptions", "ImageServerEditTool", "ImageServerOptions", "ImageServerTool"]

_SAME_SHAPE = 0.1
"""How far a server's rounding of sizes may move the proportions of an edited picture, as a share; beyond, it composed a picture anew."""


class ImageServerOptions(ServiceOptions):
    """Where pictures are drawn, and what is asked for."""

    what: ClassVar[str] = "image-server"

    model: str = Field(min_length=1)
    """Name of the model, as the server knows it; with Azure the deployment."""

    url: str = OPENAI_URL
    """Address of the API, e.g. `http://127.0.0.1:8000/v1` for vLLM-Omni, `https://ark.ap-southeast.bytepluses.com/api/v3` for Seedream; with
    Azure the endpoint of the resource."""

    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key itself. Without it `OPENAI_API_KEY` (Azure: `AZURE_OPENAI_API_KEY`)
    is used where the address is OpenAI's (Azure's), and no key is sent to a server of one's own. Empty: send none."""

    api_version: str | None = None
    """Version of Azure's API; given, the server is Azure OpenAI."""

    size: str | None = Field(default=None, min_length=1, max_length=32)
    """What is asked for as `size`, e.g. `1024x1024`, `auto`, `2K`; null leaves it to the server."""

    quality: str | None = Field(default=None, min_length=1, max_length=32)
    """What is asked for as `quality`, e.g. `low`; null leaves it to the server."""

    response_format: Literal["auto", "b64_json", "url", "off"] = "auto"
    """How the picture is to come. `auto` asks for base64 and leaves the field out at OpenAI and Azure, whose models take none; an address is
    fetched where the server gives one all the same."""

    send_seed: bool | None = None
    """Whether the call's seed is sent as `seed`; null sends it everywhere but to OpenAI and Azure, which know no such field."""

    timeout: float = Field(default=180.0, gt=0)
    """Seconds that one request may take, the picture's download included; the deadline of the call bounds it too."""

    max_mb: int = Field(default=64, ge=1)
    """Size of an answer at most, in MB."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request, e.g. `{"watermark": false}` or `{"num_inference_steps": 8}`."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("extra_body")
    @classmethod
    def _no_secrets(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return dict(without_secrets(fields))

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.api_version is not None and self.url == OPENAI_URL:
            raise ValueError("with api_version, url is the endpoint of your Azure resource")
        return self

    @property
    def is_openai(self) -> bool:
        """Whether the server is OpenAI's own or Azure's: they refuse fields that they do not know."""
        return self.api_version is not None or urlsplit(self.url).hostname == urlsplit(OPENAI_URL).hostname

    @property
    def sends_seed(self) -> bool:
        """Whether requests carry the call's seed."""
        return not self.is_openai if self.send_seed is None else self.send_seed

    def fields(self, prompt: str, seed: int) -> dict[str, Any]:
        """The request for one picture, as keywords of the client."""
        as_base64 = None if self.is_openai else "b64_json"
        form = {"auto": as_base64, "off": None}.get(self.response_format, self.response_format)
        known = {
            "model": self.model,
            "prompt": prompt,
            "size": self.size,
            "quality": self.quality,
            "response_format": form,
        }
        more = ({"seed": seed} if self.sends_seed else {}) | self.extra_body
        return {name: value for name, value in known.items() if value is not None} | {"extra_body": more}


class EditServerOptions(ImageServerOptions):
    """Where pictures are edited, and how they are sent there."""

    what: ClassVar[str] = "image-server-edit"

    send: Literal["multipart", "data_url", "base64"] = "multipart"
    """How the picture goes: `multipart` is OpenAI's way (`/images/edits`, a form); the others are fields of the JSON for `/images/generations`:
    a `data:` URL (Seedream) or bare base64 (LocalAI)."""

    field: str = Field(default="image", min_length=1, max_length=64)
    """Name of the field that carries the picture, where `send` is not `multipart`; one that ends on `[]` is sent as a list of one."""

    max_side: int = Field(default=1536, ge=64)
    """Longest side of a picture that is sent, in pixels."""


class _OnServer:
    """A tool whose pictures a server makes.

    Attributes:
        cacheable: pictures cost money, so the World may keep them for later runs.

    Raises:
        ConfigError: an option that cannot be used; on warming and the first call also where a key is needed and not there.
        MissingExtra: the package `openai` is not installed.
    """

    cacheable = True

    def __init__(self, options: ImageServerOptions) -> None:
        self._server = _connection(options)

    async def warm(self) -> None:
        """Read the key and load the client, so that a mistake of the set-up is told before any call."""
        await self._server.open()

    async def aclose(self) -> None:
        """Close the connection; another call opens it again."""
        await self._server.aclose()


class ImageServerTool(_OnServer):
    """Draws pictures by a server. The same prompt and seed give the same picture where the server keeps to the seed, and only there.

    Args:
        options: see `ImageServerOptions`; `model` is needed.
    """

    def __init__(self, **options: Any) -> None:
        self.options = ImageServerOptions.parse(options)
        super().__init__(self.options)

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raise `ConfigError` for options that cannot be; neither the package nor a key is needed."""
        ImageServerOptions.parse(options)

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return DIFFUSION

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Have `params["prompt"]` drawn.

        Raises:
            BadParams: the prompt is empty or no text.
            Refused: the server's content policy.
            NothingFound: the server sent no picture.
            ToolTimeout: it took too long.
            ToolUnavailable: whatever else went wrong; `retry_after` says how many seconds to wait where the server did.
        """
        started, prompt = time.monotonic(), asked_prompt(params)
        fields = self.options.fields(prompt, context.seed)
        image = await self._server.ask("generate", fields, context.deadline)
        provenance = Provenance(
            backend=_backend(self.options),
            caption=prompt,
            source=f"generated by {self.options.model}",
            seed=context.seed if self.options.sends_seed else None,
        )
        return Picture(image, provenance, time.monotonic() - started)


class ImageServerEditTool(_OnServer):
    """Edits pictures by a server.

    Args:
        options: see `EditServerOptions`; `model` is needed.
    """

    def __init__(self, **options: Any) -> None:
        self.options = EditServerOptions.parse(options)
        super().__init__(self.options)

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raise `ConfigError` for options that cannot be; neither the package nor a key is needed."""
        EditServerOptions.parse(options)

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return EDIT

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Have the picture that the call points at edited.

        Raises:
            BadParams: no picture, or an instruction that is empty or no text.
            Refused: the server's content policy, or a picture too long and narrow.
            NothingFound: the server sent no picture.
            ToolTimeout: it took too long.
            ToolUnavailable: whatever else went wrong; `retry_after` says how many seconds to wait where the server did.
        """
        started, (prompt, source) = time.monotonic(), asked_edit(params, context)
        fields = self.options.fields(prompt, context.seed)
        png = await self._server.in_thread(_png, source.image, self.options.max_side)
        if self.options.send == "multipart":
            image = await self._server.ask(
                "edit", fields | {"image": ("picture.png", png, "image/png")}, context.deadline
            )
        else:
            text = base64.b64encode(png).decode("ascii")
            text = f"data:image/png;base64,{text}" if self.options.send == "data_url" else text
            name = self.options.field.removesuffix("[]")
            carried = {name: text if name == self.options.field else [text]}
            fields["extra_body"] = carried | fields["extra_body"]
            image = await self._server.ask("generate", fields, context.deadline)
        image = in_aspect(image, source.image.size, within=_SAME_SHAPE)
        # what was read off a chart is not known to hold for what a model made of it
        seed = context.seed if self.options.sends_seed else None
        provenance = replace(source.provenance, backend=_backend(self.options), seed=seed, chart="")
        return Picture(image, provenance, time.monotonic() - started)


def _connection(options: ImageServerOptions) -> ImageConnection:
    if importlib.util.find_spec("openai") is None:
        raise MissingExtra("an OpenAI-compatible image server", "judges", "openai")
    return ImageConnection(
        what=options.what,
        model=options.model,
        url=options.url,
        api_key_env=options.api_key_env,
        api_key_file=options.api_key_file,
        api_version=options.api_version,
        timeout=options.timeout,
        max_bytes=options.max_mb * 1_000_000,
    )


def _backend(options: ImageServerOptions) -> str:
    return f"image-server:{options.model}"


def _png(image: Image.Image, max_side: int) -> bytes:
    sent = flatten(image)
    sent.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    sent.save(buffer, format="PNG")
    return buffer.getvalue()
