"""Shared warm tools: starting one costs seconds, so that each is started once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest

from llmi_env.document import Picture
from llmi_env.tools.base import ToolContext
from llmi_env.tools.code import CodeConfig, CodeTool
from llmi_env.tools.code.inside import landlock

SECRET_NAME, SECRET = "LLMI_TEST_API_KEY", "sk-canary-4711"

Draw = Callable[..., Picture]


@pytest.fixture(scope="session")
def sandbox() -> None:
    try:
        landlock.abi()
    except OSError as error:
        pytest.skip(f"no Landlock in this kernel: {error}")


def drawer(tool: CodeTool) -> Draw:
    def draw(code: str, seed: int = 0) -> Picture:
        return asyncio.run(tool({"code": code}, ToolContext(seed=seed)))

    draw.tool = tool  # type: ignore[attr-defined]
    return draw


def _started(config: CodeConfig) -> Iterator[Draw]:
    os.environ[SECRET_NAME] = SECRET
    tool = CodeTool(config)
    try:
        tool.check()
        yield drawer(tool)
    finally:
        asyncio.run(tool.aclose())
        os.environ.pop(SECRET_NAME, None)


@pytest.fixture(scope="session")
def draw(sandbox: None) -> Iterator[Draw]:
    """Draw with the default limits."""
    yield from _started(CodeConfig(workers=1, timeout=30))


@pytest.fixture(scope="session")
def tight(sandbox: None) -> Iterator[Draw]:
    """Draw under limits that are quick to reach."""
    yield from _started(
        CodeConfig(
            workers=1, timeout=2, memory_mib=256, disk_mib=8, file_mib=4, output_mib=1, text_kib=8, max_pixels=1_000_000
        )
    )
