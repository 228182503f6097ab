"""What the tools that run pipelines of `diffusers` share: one thread and one loaded pipeline each, with dtype, device and scheduler.

A `PipelineHost` loads on first use and does one piece of work at a time, in its own thread, so that no neighbour can change a picture's bits
and the event loop is never held up. Nothing here imports torch or diffusers before it is used.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from llmi_env.errors import AssetError, ConfigError, ToolUnavailable, did_you_mean
from llmi_env.hub import NotInReach, from_hub, is_not_there
from llmi_env.loading import LOADING
from llmi_env.tools.pipeline_options import PipelineOptions, check_settings, scheduler_class, usable_device
from llmi_env.torch_threads import torch_threads

__all__ = ["OwnClasses", "PipelineHost", "generators"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

OwnClasses = Mapping[str, Callable[[], tuple[Any, dict[str, Any]]]]
"""Pipeline classes that are not of diffusers, by the name in `model_index.json`: each gives the class and keywords for loading it."""

_ABOUT_TO_FAIL = (RuntimeError, ValueError, TypeError, OSError, ImportError)


class PipelineHost:
    """One pipeline in one thread.

    Args:
        options: which one, and how; checked here as far as that goes without the model.
        keywords: keywords of every call; that the pipeline takes them is checked when it is loaded.
        own: classes of this package.
        name: what pictures say made them.

    Raises:
        ConfigError: no such folder or scheduler.
        MissingExtra: torch or diffusers is not installed.
    """

    def __init__(
        self,
        options: PipelineOptions,
        keywords: Mapping[str, Any],
        own: OwnClasses | None = None,
        name: str | None = None,
    ) -> None:
        options.check_here()
        self.options = options
        self.keywords = dict(keywords)
        self.folder = Path(options.model).expanduser()
        self.name = name or f"diffusers:{self.folder.name}"
        self._own = own or {}
        self._pipeline: Any = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def lasting(self) -> bool:
        """Whether the model stays what its name says: one on the hub does, a folder may be trained on."""
        return not self.folder.is_dir()

    async def run(self, work: Callable[[Any], T]) -> T:
        """What `work` makes of the pipeline, in the thread.

        Raises:
            ConfigError, AssetError, ToolUnavailable: the pipeline cannot be loaded (see `loaded`); also whatever `work` raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._own_thread(), lambda: work(self.loaded()))

    async def warm(self) -> None:
        """Load the pipeline: that takes seconds, or minutes for a large one."""
        await asyncio.get_running_loop().run_in_executor(self._own_thread(), self.loaded)

    async def aclose(self) -> None:
        """Ends the thread and lets the pipeline go; may be called twice, and the host may be used again after."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown, wait=True, cancel_futures=True)
        self._pipeline = None

    def call(self, pipeline: Any, *args: Any, **keywords: Any) -> Any:
        """One call of the pipeline with its threads; for `work`.

        Raises:
            ConfigError: it refuses what it is called with, which are the options: prompts and pictures are looked at before.
            ToolUnavailable: it failed.
        """
        try:
            with torch_threads(self.options.threads):
                return pipeline(*args, **keywords)
        except _ABOUT_TO_FAIL as error:
            if isinstance(error, ValueError | TypeError) and _refused_on_sight(error):
                raise ConfigError(f"{self.options.what}: {self.name} cannot be called so: {error}") from error
            raise ToolUnavailable(f"the pipeline {self.name} failed: {error}") from error

    def loaded(self) -> Any:
        """The pipeline, loaded at most once; for the host's thread.

        Raises:
            ConfigError: there is no such model, device or setting, or the pipeline does not take a keyword.
            AssetError: the model is not on this machine, and the hub cannot be reached.
            ToolUnavailable: it cannot be loaded for any other reason.
        """
        if self._pipeline is None:
            started = time.monotonic()
            try:
                with LOADING, _no_progress_bars():
                    pipeline = self._load()
                    self._schedule(pipeline)
            except ConfigError:
                raise
            except (*_ABOUT_TO_FAIL, AttributeError) as error:
                raise self._not_loaded(error) from error
            self._check_keywords(pipeline)
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline
            logger.info("loaded %s in %.1f s", self.name, time.monotonic() - started)
        return self._pipeline

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.options.what)
        return self._thread

    def _load(self) -> Any:
        import torch
        from diffusers import DiffusionPipeline

        options = self.options
        kind, keywords = DiffusionPipeline, dict[str, Any]()
        named = _pipeline_class(self.folder)
        if named in self._own:
            kind, keywords = self._own[named]()
        device = usable_device(options.what, options.device)
        keywords[_dtype_keyword()] = getattr(torch, options.dtype or ("float32" if device == "cpu" else "float16"))
        model = self.folder if self.folder.is_dir() else options.model
        return from_hub(lambda local: kind.from_pretrained(model, local_files_only=local, **keywords), str(model)).to(
            device
        )

    def _not_loaded(self, error: Exception) -> ConfigError | AssetError | ToolUnavailable:
        what, model = self.options.what, self.options.model
        if isinstance(error, NotInReach):
            return AssetError(f"{what}: {error}; fetch it once where there is a network: hf download {model}")
        if is_not_there(error):
            return ConfigError(
                f"{what}: the hub has no pipeline {model!r}, or none for whoever asks ({error}); give another `model`, the folder of one, or "
                "log in: hf auth login"
            )
        return ToolUnavailable(f"the {what} pipeline {self.name} cannot be loaded: {error}")

    def _schedule(self, pipeline: Any) -> None:
        """Give the pipeline the scheduler that is asked for, made from the settings of its own, and see that it can plan the steps."""
        options, settings = self.options, self.options.scheduler_options or {}
        if options.scheduler is None and not settings and options.steps is None:
            return
        before = pipeline.scheduler
        wanted = type(before) if options.scheduler is None else scheduler_class(options.what, options.scheduler)
        check_settings(options.what, wanted, settings)
        if wanted is not type(before) and wanted not in getattr(before, "compatibles", [wanted]):
            logger.warning(
                "%s: diffusers does not list %s as compatible with %s of %s; pictures may be noise",
                options.what,
                wanted.__name__,
                type(before).__name__,
                self.name,
            )
        try:
            _plan(wanted.from_config(before.config), wanted.from_config(before.config, **settings), options.steps or 2)
        except (ValueError, TypeError, NotImplementedError) as error:
            told = f" with {settings}" if settings else ""
            raise ConfigError(
                f"{options.what}: {options.steps or 2} steps by {wanted.__name__}{told}: {error}"
            ) from error
        if options.scheduler is not None or settings:
            pipeline.scheduler = wanted.from_config(before.config, **settings)

    def _check_keywords(self, pipeline: Any) -> None:
        taken = inspect.signature(pipeline.__call__).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            return
        for name in self.keywords:
            if name not in taken:
                raise ConfigError(
                    f"{self.options.what}: {type(pipeline).__name__} takes no {name!r}{did_you_mean(name, taken)}"
                )


def generators(seeds: Iterable[int]) -> list[Any]:
    """A source of noise for each seed: on the CPU, so that the same seed starts from the same noise on every device."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def _plan(plain: Any, scheduler: Any, steps: int) -> None:
    """Raise what a scheduler raises when it is to plan some steps, where a plain one of its class can plan any at all."""
    try:
        plain.set_timesteps(2)
    except Exception:  # it needs to know more than their number
        return
    scheduler.set_timesteps(steps)


def _refused_on_sight(error: Exception) -> bool:
    """Whether a pipeline of diffusers raised it while it looked at its arguments."""
    return any(frame.name == "check_inputs" for frame in traceback.extract_tb(error.__traceback__))


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


def _pipeline_class(folder: Path) -> str:
    """The class that a pipeline's folder names; empty for none, or for a name on the hub."""
    index = folder / "model_index.json"
    if not index.is_file():
        return ""
    name = json.loads(index.read_text("utf-8")).get("_class_name")
    return name if isinstance(name, str) else ""


def _dtype_keyword() -> str:
    """What `from_pretrained` calls it: diffusers 0.42 warns of the old name."""
    from diffusers import __version__

    major, minor = (int(part) for part in __version__.split(".")[:2])
    return "dtype" if (major, minor) >= (0, 42) else "torch_dtype"
