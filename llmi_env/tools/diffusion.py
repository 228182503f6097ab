"""The diffusion tool: draws a picture from a prompt with any text-to-image pipeline of `diffusers`.

By default the pipeline that ships with this package draws: small icons in well under a second on one core, without network. Any other
one is named by its hub name or its folder. The pipeline is loaded on the first call, in the tool's one thread (see `pipelines`); pictures
are drawn there one at a time, so that no neighbour can change a picture's bits. With `batch` above 1 calls that come together are drawn
together: faster on a GPU, and no longer the same to the last bit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.errors import AssetError, ConfigError, Refused, ToolUnavailable
from llmi_env.tools.base import DIFFUSION, ToolContext, ToolSpec
from llmi_env.tools.pipelines import PipelineHost, PipelineOptions, asked_prompt, generators

__all__ = ["EMBEDDED", "DiffusionTool"]

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""Stands for the pipeline that ships with this package."""
EMBEDDED_BACKEND = "tiny-diffusion"
_EMBEDDED_CLASS = "TinyDiffusionPipeline"
_LONELY = 8
"""So many batches of a single picture in a row are told: the World lets no more calls through."""


class DiffusionTool:
    """Text to picture; with `batch=1` the same prompt and seed give the same bytes on the same machine.

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
        scheduler: class of diffusers in place of the pipeline's own scheduler, e.g. `EulerDiscreteScheduler`; it takes its settings from that.
        scheduler_options: settings of the scheduler, e.g. `{"timestep_spacing": "trailing"}`.
        batch: how many calls are drawn together at most. Above 1 pictures are NOT bit-stable: the same prompt and seed start from the same
            noise, and what they become differs in the last bits by who was drawn beside them. The World must let that many calls
            through: its `concurrency` of this tool is 1 where nothing is said.
        batch_wait: seconds that a call waits for others to be drawn with.

    Attributes:
        cacheable: whether the World may keep pictures for later runs: those of a model on the hub, which take seconds.

    Raises:
        ConfigError: an option out of range, no such scheduler, or a batch with the embedded pipeline, which draws one by one.
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
        scheduler: str | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        batch: int = 1,
        batch_wait: float = 0.05,
    ) -> None:
        embedded = model == EMBEDDED
        if batch > 1 and embedded:
            raise ConfigError("diffusion: the embedded pipeline draws one by one; `batch` needs another `model`")
        if batch_wait < 0:
            raise ConfigError(f"diffusion: batch_wait is a number of seconds, not {batch_wait!r}")
        call = {"num_inference_steps": steps, "guidance_scale": guidance, "height": height, "width": width}
        self._host = PipelineHost(
            PipelineOptions(
                tool="diffusion",
                model=str(_embedded_folder()) if embedded else model,
                dtype=dtype,
                device=device,
                threads=1 if threads is None and embedded else threads,
                scheduler=scheduler,
                scheduler_options=dict(scheduler_options or {}),
                counts={"steps": steps, "height": height, "width": width, "batch": batch},
            ),
            keywords={name: value for name, value in call.items() if value is not None} | dict(options or {}),
            own={_EMBEDDED_CLASS: _embedded_class},
            name=EMBEDDED_BACKEND if embedded else None,
        )
        if embedded and not (_embedded_folder() / "model_index.json").is_file():
            raise AssetError("the embedded diffusion weights are missing; reinstall the package")
        self._model = model
        self.cacheable = self._host.lasting
        self._source = "generated by llmi-env" if embedded else f"generated by {self._host.folder.name}"
        self._together = _Together(self._draw_all, batch, batch_wait) if batch > 1 else None

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
        wish = _Wish(asked_prompt(params), int(context.seed))
        if self._together is not None:
            return await self._together(wish)
        return await self._host.run(lambda pipeline: self._draw(pipeline, wish))

    async def warm(self) -> None:
        """Load the pipeline: that takes seconds, or minutes for a large one."""
        await self._host.warm()

    async def aclose(self) -> None:
        """Ends the thread and lets the pipeline go; may be called twice, and the tool may be used again after."""
        if self._together is not None:
            self._together.close()
        await self._host.aclose()

    def _draw(self, pipeline: Any, wish: _Wish) -> Picture:
        """Runs in the tool's thread."""
        started = time.monotonic()
        (generator,) = generators([wish.seed])
        result = self._host.call(pipeline, wish.prompt, generator=generator, **self._host.keywords)
        withheld = getattr(result, "nsfw_content_detected", None) or ()
        return self._picture(wish, result.images[0], any(withheld), started)

    def _draw_all(self, wishes: Sequence[_Wish]) -> Awaitable[list[Picture | Exception]]:
        return self._host.run(lambda pipeline: self._draw_together(pipeline, wishes))

    def _draw_together(self, pipeline: Any, wishes: Sequence[_Wish]) -> list[Picture | Exception]:
        """Runs in the tool's thread: a picture, or what is wrong, for each wish."""
        # the embedded class draws one by one, also from a folder, and knows one generator
        if len(wishes) > 1 and type(pipeline).__name__ != _EMBEDDED_CLASS:
            started = time.monotonic()
            # what is said of one picture is said of each: pipelines want as many of them as prompts
            keywords = {
                name: [value] * len(wishes) if isinstance(value, str) and "prompt" in name else value
                for name, value in self._host.keywords.items()
            }
            try:
                result = self._host.call(
                    pipeline,
                    [wish.prompt for wish in wishes],
                    generator=generators(wish.seed for wish in wishes),
                    **keywords,
                )
                withheld = getattr(result, "nsfw_content_detected", None) or [False] * len(wishes)
                return [
                    _caught(self._picture, wish, image, bool(bad), started)
                    for wish, image, bad in zip(wishes, result.images, withheld, strict=True)
                ]
            except Exception as error:  # whatever one of them made the pipeline raise, the others are drawn
                logger.warning("a batch of %d pictures failed, each is drawn alone: %s", len(wishes), error)
        return [_caught(self._draw, pipeline, wish) for wish in wishes]

    def _picture(self, wish: _Wish, image: Image.Image, withheld: bool, started: float) -> Picture:
        if withheld:
            raise Refused("the model's safety checker withheld the picture; ask for something else")
        provenance = Provenance(backend=self._host.name, caption=wish.prompt, source=self._source, seed=wish.seed)
        return Picture(image.convert("RGB"), provenance, seconds=time.monotonic() - started)


@dataclass(frozen=True)
class _Wish:
    """What one call wants."""

    prompt: str
    seed: int


class _Together:
    """Calls that come at about the same time, drawn in one go. One that fails, or is given up, leaves the others alone.

    Args:
        draw: draws some, and gives a picture or an error for each.
        most: how many at most.
        wait: seconds that the first one waits for others.
    """

    def __init__(
        self, draw: Callable[[Sequence[_Wish]], Awaitable[list[Picture | Exception]]], most: int, wait: float
    ) -> None:
        self._draw, self._most, self._wait = draw, most, wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[_Wish, asyncio.Future[Picture]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._drawing: set[asyncio.Task[None]] = set()
        self._lonely = 0

    async def __call__(self, wish: _Wish) -> Picture:
        """Wait for others, and for the picture."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waited on another loop went with it
            self._loop = loop
            self._forget()
        future: asyncio.Future[Picture] = loop.create_future()
        self._waiting = [*((one, given) for one, given in self._waiting if not given.done()), (wish, future)]
        if len(self._waiting) >= self._most:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_later(self._wait, self._start)
        return await future

    def close(self) -> None:
        """Give up those that wait."""
        if self._timer is not None:
            self._timer.cancel()
        for _, future in self._waiting:
            _settle(future, _closed())
        self._forget()

    def _forget(self) -> None:
        self._waiting, self._timer, self._drawing = [], None, set()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [(wish, future) for wish, future in self._waiting if not future.done()]
        self._waiting = []
        if batch and self._loop is not None:
            self._tell_of_lonely(len(batch))
            # a task of nobody's: a call that is given up does not take those drawn with it along
            task = self._loop.create_task(self._carry_out(batch))
            self._drawing.add(task)
            task.add_done_callback(self._drawing.discard)

    async def _carry_out(self, batch: Sequence[tuple[_Wish, asyncio.Future[Picture]]]) -> None:
        outcomes: list[Picture | Exception]
        try:
            outcomes = await self._draw([wish for wish, _ in batch])
        except asyncio.CancelledError:
            outcomes = [_closed() for _ in batch]
        except Exception as error:  # the pipeline cannot be loaded: nobody's call more than another's
            outcomes = [error for _ in batch]
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            _settle(future, outcome)

    def _tell_of_lonely(self, size: int) -> None:
        self._lonely = self._lonely + 1 if size == 1 else 0
        if self._lonely == _LONELY:
            logger.warning(
                "diffusion: batch is %d, and calls come one at a time: let the World run more of them "
                "(concurrency: {diffusion: %d})",
                self._most,
                self._most,
            )


def _settle(future: asyncio.Future[Picture], outcome: Picture | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Picture):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


def _closed() -> ToolUnavailable:
    return ToolUnavailable("the diffusion tool was closed while the picture waited to be drawn")


def _caught(work: Callable[..., Picture], *args: Any) -> Picture | Exception:
    try:
        return work(*args)
    except Exception as error:
        return error


def _embedded_folder() -> Path:
    return Path(str(files("llmi_env") / "assets" / "diffusion"))


def _embedded_class() -> tuple[Any, dict[str, Any]]:
    from llmi_env.tools.tiny_diffusion import TextStates, TinyDiffusionPipeline

    return TinyDiffusionPipeline, {"text": TextStates.load()}
