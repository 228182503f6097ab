"""Which environment variables a World of some configuration reads: a helper process has those of whoever started it, and no later ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from llmi_env.world.config import WorldConfig

__all__ = ["UNNAMED", "environment_of"]

UNNAMED = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "SERPAPI_API_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What tools and judges that ask services read without an option that names it."""
_OFFLINE = frozenset(("search", "diffusion", "code", "edit", "diffusers-edit", "embedded", "transformers"))
"""What asks no service. Keys that come and go are nothing to it, and it should not be loaded twice for them."""


def environment_of(config: WorldConfig) -> dict[str, str]:
    """The variables that are set and matter to `config`: `LLMI_*`, those that an option names, and `UNNAMED` where services are asked."""
    uses = {config.tool_use(name)[0] for name in config.tools} | {use for use, _ in config.judge_uses()}
    named = {*_texts(config.tools), *_texts(config.judges), *(() if uses <= _OFFLINE else UNNAMED)}
    return {name: value for name, value in os.environ.items() if name.startswith("LLMI_") or name in named}


def _texts(value: Any) -> Iterator[str]:
    """Every text in nested options."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
