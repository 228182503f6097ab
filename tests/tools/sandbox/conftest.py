"""Warm tools, one of each tier and kind: starting one costs seconds, so that each is started once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest

from llmi_env.document import Picture
from llmi_env.errors import ToolUnavailable
from llmi_env.tools.base import ToolContext
from llmi_env.tools.code import CodeConfig, CodeTool
from llmi_env.tools.code.tiers import AUTO
from tests.tools.sandbox.open_doors import switch_off

SECRET_NAME, SECRET = "LLMI_TEST_API_KEY", "sk-canary-4711"
QUICK = "landlock"
"""The tier of tests that are about the drawing and not about the walls."""
TIGHT = {
    "workers": 1, "timeout": 2, "memory_mib": 256, "disk_mib": 8, "file_mib": 4, "output_mib": 1, "text_kib": 8, "max_pixels": 1_000_000,
}  # fmt: skip
"""Limits that are quick to reach."""

OPEN = "LLMI_TEST_OPEN_DOORS"
"""Names protections that are switched off, for the test of the tests; in containers only."""
if "pixels" in os.environ.get(OPEN, ""):
    TIGHT["max_pixels"] = 999_999_999

Draw = Callable[..., Picture]


def drawer(tool: CodeTool) -> Draw:
    def draw(code: str, seed: int = 0) -> Picture:
        return asyncio.run(tool({"code": code}, ToolContext(seed=seed)))

    draw.tool = tool  # type: ignore[attr-defined]
    return draw


class Tools:
    """Tools by their settings, started when first asked for; a tier that does not work here is skipped with its cause."""

    def __init__(self) -> None:
        self._made: dict[CodeConfig, Draw] = {}
        self._causes: dict[str, str] = {}

    def get(self, config: CodeConfig) -> Draw:
        if OPEN in os.environ:
            if config.sandbox != "docker":
                pytest.skip("protections are switched off in containers only")
            switch_off(os.environ[OPEN])
        if config.sandbox in self._causes:
            pytest.skip(self._causes[config.sandbox])
        if config not in self._made:
            tool = CodeTool(config)
            try:
                tool.check()
            except ToolUnavailable as error:
                self._causes[config.sandbox] = str(error)
                pytest.skip(str(error))
            self._made[config] = drawer(tool)
        return self._made[config]

    def close(self) -> None:
        for draw in self._made.values():
            asyncio.run(draw.tool.aclose())  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    os.environ[SECRET_NAME] = SECRET
    made = Tools()
    try:
        yield made
    finally:
        made.close()
        os.environ.pop(SECRET_NAME, None)


@pytest.fixture(scope="session")
def sandbox(tools: Tools) -> None:
    """Skips where the quick tier does not work."""
    tools.get(CodeConfig(sandbox=QUICK, workers=1, timeout=30))


@pytest.fixture(scope="session")
def draw(tools: Tools) -> Draw:
    """Draw in the quick tier with the default limits."""
    return tools.get(CodeConfig(sandbox=QUICK, workers=1, timeout=30))


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(
            name, marks=[pytest.mark.xdist_group(f"code-{name}"), *([] if name == QUICK else [pytest.mark.slow])]
        )
        for name in AUTO
    ],
)
def tier(request: pytest.FixtureRequest) -> str:
    """Every tier that `auto` may take; all but the quick one are for the slow tests."""
    return str(request.param)


@pytest.fixture(scope="session")
def roomy(tools: Tools, tier: str) -> Draw:
    """Draw in a tier with the default limits."""
    return tools.get(CodeConfig(sandbox=tier, workers=1, timeout=30))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tight(tools: Tools, tier: str) -> Draw:
    """Draw in a tier under limits that are quick to reach."""
    return tools.get(CodeConfig(sandbox=tier, **TIGHT))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def in_docker(tools: Tools) -> Draw:
    """Skips where containers do not work."""
    return tools.get(CodeConfig(sandbox="docker", workers=1, timeout=30))
