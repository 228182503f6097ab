"""The tools of image servers as the tests use them: against `images_server`, one call at a time."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.tools.base import ToolContext
from llmi_env.tools.image_server import ImageServerEditTool, ImageServerTool
from tests.tools.images_server import ImagesServer, opened

pytest.importorskip("openai")


@dataclass
class Service:
    """The server and its address."""

    server: ImagesServer
    address: str

    def tool(self, path: str = "vllm/v1", **options: Any) -> ImageServerTool:
        return ImageServerTool(**{"model": "m", "url": f"{self.address}/{path}", **options})

    def editor(self, path: str = "vllm/v1", **options: Any) -> ImageServerEditTool:
        return ImageServerEditTool(**{"model": "m", "url": f"{self.address}/{path}", **options})


def ran(tool: Any, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def scenario() -> Any:
        try:
            return await work()
        finally:
            await tool.aclose()

    return asyncio.run(scenario())


def draw(tool: ImageServerTool, prompt: Any = "a cat", seed: int = 5, deadline: float = 20.0) -> Picture:
    return ran(tool, lambda: tool({"prompt": prompt}, ToolContext(seed=seed, deadline=deadline)))


def edit(
    tool: ImageServerEditTool, source: Picture | None = None, prompt: Any = "make it snow", seed: int = 5
) -> Picture:
    pictures = (source if source is not None else photo(),)
    return ran(tool, lambda: tool({"prompt": prompt}, ToolContext(seed=seed, deadline=20.0, pictures=pictures)))


def photo(width: int = 90, height: int = 60, mode: str = "RGB") -> Picture:
    provenance = Provenance("corpus", title="A slope", caption="grey", author="N. N.", licence="CC0-1.0", chart="{}")
    return Picture(Image.linear_gradient("L").resize((width, height)).convert(mode), provenance)


def same(picture: Picture, png: bytes) -> bool:
    expected = opened(png)
    return picture.image.size == expected.size and picture.image.tobytes() == expected.convert("RGB").tobytes()


def all_said(error: BaseException) -> str:
    """Everything that an error holds: itself, its traceback, what it came from, with their arguments and fields."""
    parts: list[str] = []
    seen: set[int] = set()

    def visit(one: BaseException | None) -> None:
        if one is None or id(one) in seen:
            return
        seen.add(id(one))
        parts.extend([str(one), repr(one), repr(vars(one))])
        for value in vars(one).values():
            parts.extend(repr(vars(value)) for value in [value] if hasattr(value, "__dict__"))
            if hasattr(value, "request"):
                parts.append(repr(value.request.headers.raw))
        visit(one.__cause__)
        visit(one.__context__)

    visit(error)
    parts.extend(traceback.format_exception(error))
    parts.append(repr(pickle.dumps(error)))
    return "\n".join(parts)


OPENAI = {"api_key_env": "IMAGES_KEY", "response_format": "off", "send_seed": False}
