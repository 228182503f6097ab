"""The diffusion tool: draws a picture from a prompt with any text-to-image pipeline of `diffusers`.

By default the pipeline that ships with this package draws: small icons in well under a second on one core, without network. Any other
one is named by its hub name or its folder. The pipeline is loaded on the first call, in the tool's one thread; pictures are drawn
there one at a time, so that no neighbour can change a picture's bits and the event loop is never held up.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.errors import AssetError, BadParams, ConfigError, MissingExtra, Refused, ToolUnavailable, did_you_mean
from llmi_env.loading import LOADING
from llmi_env.tools.base import DIFFUSION, ToolContext, ToolSpec

__all__ = ["EMBEDDED", "DiffusionTool"]

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""Stands for the pipeline that ships with this package."""
EMBEDDED_BACKEND = "tiny-diffusion"
MAX_PROMPT = 2000
"""Characters of a prompt that are handed on; text encoders read far fewer."""
_DTYPES = ("float32", "float16", "bfloat16")


class DiffusionTool:
    """Text to picture; the same prompt and seed give the same bytes on the same machine.

    Args:
        model: `embedded`, a folder that `save_pretrained` wrote, or a name on the model hub.
        dtype: `float32`, `float16` or `bfloat16`; by default `float32` on the CPU, `float16` elsewhere.
        device: as torch names it, or `auto`: a GPU where there is one.
        steps: denoising steps; `None` leaves it to the pipeline (the embedded one takes 20).
        guidance: how strongly the prompt is followed; `None` leaves it to the pipeline (the embedded one takes 3).
        height: pixels; `None` leaves it to the pipeline (the embedded one draws at 64 x 64 and enlarges to 256 x 256).
        width: pixels, as `height`.
        threads: CPU threads while drawing, since their number can change a picture's last bits; `None` stands for 1 with the embedded
            pipeline, which is too small to gain from more, and leaves others to torch.
        options: further keywords of the pipeline's call, e.g. `{"negative_prompt": "text"}`.

    Raises:
        ConfigError: an option out of range.
        MissingExtra: torch or diffusers is not installed.
        AssetError: the embedded weights are missing.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        dtype: str | None = None,
        device: str = "auto",
        steps: int | None = None,
        guidance: float | None = None,
        height: int | None = None,
        width: int | None = None,
        threads: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        _check_options(model, dtype, {"steps": steps, "height": height, "width": width, "threads": threads})
        for module in ("torch", "diffusers", "transformers"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra("the diffusion tool", "offline", module)
        if model == EMBEDDED and not (_embedded_folder() / "model_index.json").is_file():
            raise AssetError("the embedded diffusion weights are missing; reinstall the package")
        self._model = str(Path(model).expanduser()) if model.startswith("~") else model
        self._dtype, self._device = dtype, device
        self._threads = 1 if threads is None and model == EMBEDDED else threads
        call = {"num_inference_steps": steps, "guidance_scale": guidance, "height": height, "width": width}
        self._keywords = {name: value for name, value in call.items() if value is not None} | dict(options or {})
        self._pipeline: Any = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return DIFFUSION

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Draw `params["prompt"]`, seeded by `context.seed`.

        Raises:
            BadParams: the prompt is empty or no text.
            Refused: the model's own safety checker withheld the picture.
            ToolUnavailable: the pipeline cannot be loaded or failed.
        """
        prompt = params.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise BadParams("the prompt is empty; say what to draw, e.g. 'a blue house on the moon'")
        words = " ".join(prompt.split())[:MAX_PROMPT]
        return await asyncio.get_running_loop().run_in_executor(
            self._own_thread(), self._draw, words, int(context.seed)
        )

    async def warm(self) -> None:
        """Load the pipeline: that takes seconds, or minutes for a large one."""
        await asyncio.get_running_loop().run_in_executor(self._own_thread(), self._loaded)

    async def aclose(self) -> None:
        """Ends the thread and lets the pipeline go; may be called twice, and the tool may be used again after."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown, wait=True, cancel_futures=True)
        self._pipeline = None

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="diffusion")
        return self._thread

    def _draw(self, prompt: str, seed: int) -> Picture:
        """Runs in the tool's thread."""
        import torch

        pipeline = self._loaded()
        started = time.monotonic()
        # noise from a CPU generator: the same seed starts from the same noise on every device
        generator = torch.Generator("cpu").manual_seed(seed)
        try:
            with _threads(self._threads):
                result = pipeline(prompt, generator=generator, **self._keywords)
        except (RuntimeError, ValueError, TypeError, OSError, ImportError) as error:
            raise ToolUnavailable(f"the pipeline {self._name} failed: {error}") from error
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise Refused("the model's safety checker withheld the picture; ask for something else")
        image: Image.Image = result.images[0].convert("RGB")
        provenance = Provenance(backend=self._name, caption=prompt, source=self._source, seed=seed)
        return Picture(image, provenance, seconds=time.monotonic() - started)

    @property
    def _name(self) -> str:
        return EMBEDDED_BACKEND if self._model == EMBEDDED else f"diffusers:{Path(self._model).name}"

    @property
    def _source(self) -> str:
        return "generated by llmi-env" if self._model == EMBEDDED else f"generated by {Path(self._model).name}"

    def _loaded(self) -> Any:
        if self._pipeline is None:
            started = time.monotonic()
            try:
                with LOADING, _no_progress_bars():
                    pipeline = self._load()
            except (OSError, ValueError, ImportError, RuntimeError, AttributeError) as error:
                raise ToolUnavailable(f"the diffusion pipeline {self._model!r} cannot be loaded: {error}") from error
            self._check_keywords(pipeline)
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline
            logger.info("loaded %s in %.1f s", self._name, time.monotonic() - started)
        return self._pipeline

    def _load(self) -> Any:
        import torch
        from diffusers import DiffusionPipeline

        folder = _embedded_folder() if self._model == EMBEDDED else Path(self._model)
        kind, keywords = DiffusionPipeline, dict[str, Any]()
        if _pipeline_class(folder) == "TinyDiffusionPipeline":
            from llmi_env.tools.tiny_diffusion import TextStates, TinyDiffusionPipeline

            kind = TinyDiffusionPipeline
            keywords["text"] = TextStates.load()
        device = self._device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        keywords[_dtype_keyword()] = getattr(torch, self._dtype or ("float32" if device == "cpu" else "float16"))
        pipeline = kind.from_pretrained(folder if folder.is_dir() else self._model, **keywords)
        return pipeline.to(device)

    def _check_keywords(self, pipeline: Any) -> None:
        taken = inspect.signature(pipeline.__call__).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            return
        for name in self._keywords:
            if name not in taken:
                raise ToolUnavailable(f"{type(pipeline).__name__} takes no {name!r}{did_you_mean(name, taken)}")


def _check_options(model: str, dtype: str | None, counts: Mapping[str, int | None]) -> None:
    if dtype is not None and dtype not in _DTYPES:
        raise ConfigError(f"diffusion: no dtype {dtype!r}{did_you_mean(dtype, _DTYPES)}")
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ConfigError(f"diffusion: {name} must be at least 1, not {value}")
    if model != EMBEDDED and model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().is_dir():
        raise ConfigError(
            f"diffusion: no folder {model!r}; give a folder that save_pretrained wrote, or a name on the hub"
        )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Torch's threads for the work of this thread; what it was is restored, as torch hands it on to threads that start later."""
    import torch

    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Loading is logged, not drawn: bars of the world's process would run through the display of whoever started it."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    shown = [library for library in (of_diffusers, of_transformers) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def _embedded_folder() -> Path:
    return Path(str(files("llmi_env") / "assets" / "diffusion"))


def _pipeline_class(folder: Path) -> str | None:
    index = folder / "model_index.json"
    if not index.is_file():
        return None
    name = json.loads(index.read_text("utf-8")).get("_class_name")
    return name if isinstance(name, str) else None


def _dtype_keyword() -> str:
    """What `from_pretrained` calls it: diffusers 0.42 warns of the old name."""
    from diffusers import __version__

    major, minor = (int(part) for part in __version__.split(".")[:2])
    return "dtype" if (major, minor) >= (0, 42) else "torch_dtype"
