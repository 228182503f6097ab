"""The edit tool by a model: changes a picture as an instruction says, with any instruction-editing pipeline of `diffusers`.

InstructPix2Pix, Qwen-Image-Edit and FLUX Kontext are known by their classes; any other pipeline that takes a `prompt` and an `image` is called
by its signature. The picture is scaled to the size that the pipeline works at, in its own proportions, and the result is brought back to
them. One picture at a time in the tool's one thread (see `pipelines`): the same picture, instruction and seed give the same bytes on
the same machine.

In a configuration::

    tools:
      edit: {use: diffusers-edit, model: timbrooks/instruct-pix2pix, image_guidance: 1.5, steps: 20}
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import Field

from llmi_env.document import Picture
from llmi_env.errors import ConfigError, Refused
from llmi_env.tools.base import EDIT, ToolContext, ToolSpec
from llmi_env.tools.model_calls import asked_edit, in_aspect, size_for
from llmi_env.tools.pipeline_options import PipelineOptions
from llmi_env.tools.pipelines import PipelineHost, generators
from llmi_env.tools.web.decoding import flatten

__all__ = ["DiffusersEditTool"]

_SIDE = 1024
"""Where a pipeline does not say at what size it works."""
_MULTIPLE = 16
"""Sides are multiples of it: what every pipeline that cuts latents into patches of two takes."""


@dataclass(frozen=True)
class _Manner:
    """What is particular about calling a class of pipelines.

    Attributes:
        guidance: keyword for how strongly the instruction is followed.
        area: keyword that takes the pixels of the result, where height and width alone are not believed.
        always: keywords that are always sent, unless the configuration gives others.
    """

    guidance: str = "guidance_scale"
    area: str | None = None
    always: Mapping[str, Any] = field(default_factory=dict)


# Qwen-Image-Edit follows the instruction by true_cfg_scale, and only where there is a negative prompt, if an empty one.
_QWEN = _Manner(guidance="true_cfg_scale", always={"negative_prompt": " "})
_MANNERS = {
    "FluxKontextPipeline": _Manner(area="max_area"),
    "QwenImageEditPipeline": _QWEN,
    "QwenImageEditPlusPipeline": _QWEN,
}


class DiffusersEditOptions(PipelineOptions):
    """What edits, and how. Models are e.g. `timbrooks/instruct-pix2pix`, `Qwen/Qwen-Image-Edit`, `black-forest-labs/FLUX.1-Kontext-dev`."""

    what: ClassVar[str] = "diffusers-edit"

    image_guidance: float | None = Field(default=None, allow_inf_nan=False)
    """How strongly the picture is kept (InstructPix2Pix); null leaves it to the pipeline."""

    side: int | None = Field(default=None, ge=1)
    """The picture is scaled to about `side` x `side` pixels in its own proportions; null stands for the pipeline's own size."""


class DiffusersEditTool:
    """Picture and instruction to picture, by a pipeline of diffusers.

    Args:
        **options: see `DiffusersEditOptions`; `model` is needed.

    Attributes:
        cacheable: whether the World may keep pictures for later runs: those of a model on the hub.

    Raises:
        ConfigError: an option that cannot be, no such folder or scheduler; on warming and the first call also no such model or device.
        MissingExtra: torch or diffusers is not installed.
    """

    def __init__(self, **options: Any) -> None:
        self.options = DiffusersEditOptions.parse(options)
        self._host = PipelineHost(self.options, keywords=self.options.options or {})
        self.cacheable = self._host.lasting

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raise `ConfigError` for options that cannot be on any machine; nothing is loaded."""
        DiffusersEditOptions.parse(options)

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return EDIT

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Edit the picture that the call points at, seeded by `context.seed`.

        Raises:
            BadParams: no picture, or an instruction that is empty or no text.
            Refused: the model's own safety checker withheld the result, or the picture is too long and narrow.
            ConfigError, AssetError: there is no such model or device, or the pipeline does not edit or does not take the options.
            ToolUnavailable: the pipeline cannot be loaded or failed.
        """
        prompt, source = asked_edit(params, context)
        return await self._host.run(lambda pipeline: self._edit(pipeline, prompt, source, int(context.seed)))

    async def warm(self) -> None:
        """Load the pipeline, which takes seconds or minutes, and see that it edits."""
        await self._host.run(self._keywords)

    async def aclose(self) -> None:
        """Ends the thread and lets the pipeline go; may be called twice, and the tool may be used again after."""
        await self._host.aclose()

    def _edit(self, pipeline: Any, prompt: str, source: Picture, seed: int) -> Picture:
        """Runs in the tool's thread."""
        keywords, started = self._keywords(pipeline), time.monotonic()
        width, height = size_for(
            source.image.size, (self.options.side or _own_side(pipeline)) ** 2, _multiple(pipeline)
        )
        taken = inspect.signature(pipeline.__call__).parameters
        if {"height", "width"} <= taken.keys():
            keywords = {"height": height, "width": width, **keywords}
        if (area := _manner(pipeline).area) is not None:
            keywords = {area: width * height, **keywords}
        (generator,) = generators([seed])
        image = flatten(source.image).resize((width, height))
        result = self._host.call(pipeline, prompt=prompt, image=image, generator=generator, **keywords)
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise Refused("the model's safety checker withheld the picture; ask for another change")
        # what was read off a chart is not known to hold for what a model made of it
        provenance = replace(source.provenance, backend=self._host.name, seed=seed, chart="")
        made = in_aspect(result.images[0].convert("RGB"), source.image.size)
        return Picture(made, provenance, seconds=time.monotonic() - started)

    def _keywords(self, pipeline: Any) -> dict[str, Any]:
        """Keywords of every call of this class of pipelines.

        Raises:
            ConfigError: it does not edit, or takes no keyword that an option stands for.
        """
        kind, taken = type(pipeline).__name__, inspect.signature(pipeline.__call__).parameters
        if not {"prompt", "image"} <= taken.keys():
            raise ConfigError(
                f"diffusers-edit: {kind} ({self._host.name}) does not edit pictures: it takes no `prompt` with an `image`; "
                "take a pipeline such as InstructPix2Pix, Qwen-Image-Edit or FLUX Kontext"
            )
        manner = _manner(pipeline)
        wanted = {
            "num_inference_steps": ("steps", self.options.steps),
            manner.guidance: ("guidance", self.options.guidance),
            "image_guidance_scale": ("image_guidance", self.options.image_guidance),
        }
        keywords = {**manner.always, **self._host.keywords}
        for keyword, (option, value) in wanted.items():
            if value is None:
                continue
            # by name: some pipelines take any keyword and pay no heed to it
            if keyword not in taken:
                raise ConfigError(f"diffusers-edit: {kind} takes no {keyword!r}: leave the option {option!r} out")
            keywords.setdefault(keyword, value)
        return keywords


def _manner(pipeline: Any) -> _Manner:
    return _MANNERS.get(type(pipeline).__name__, _Manner())


def _own_side(pipeline: Any) -> int:
    """The side of the square pictures that a pipeline works at by itself."""
    latents = getattr(pipeline, "default_sample_size", None)
    if latents is None and getattr(pipeline, "unet", None) is not None:
        latents = pipeline.unet.config.sample_size
    factor = getattr(pipeline, "vae_scale_factor", None)
    return int(latents * factor) if isinstance(latents, int) and isinstance(factor, int) else _SIDE


def _multiple(pipeline: Any) -> int:
    processor = getattr(pipeline, "image_processor", None)
    factor = getattr(getattr(processor, "config", None), "vae_scale_factor", None)
    return math.lcm(_MULTIPLE, factor) if isinstance(factor, int) and factor > 0 else _MULTIPLE
