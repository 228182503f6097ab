"""Which pipeline of `diffusers` runs, and how: options as they are written, and what can be said of them before a model is loaded.

Whether an option can be at all is told wherever a configuration is read, also where neither torch nor the model is (`parse`); whether it can be
*here*, where the tool is made (`check_here`). Nothing here imports torch or diffusers before it is used.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmi_env.errors import ConfigError, MissingExtra, did_you_mean
from llmi_env.loading import LOADING
from llmi_env.services.keys import without_secrets
from llmi_env.services.options import parse_options

__all__ = ["PipelineOptions", "check_settings", "scheduler_class", "usable_device"]

_DTYPES = ("float32", "float16", "bfloat16")


class PipelineOptions(BaseModel):
    """What tools that run a pipeline are told of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    what: ClassVar[str]
    """Whose options they are, for messages."""

    model: str = Field(min_length=1)
    """A folder that `save_pretrained` wrote, or a name on the model hub."""

    dtype: str | None = None
    """`float32`, `float16` or `bfloat16`; by default `float32` on the CPU, `float16` elsewhere."""

    device: str = Field(default="auto", pattern=r"^[a-z]+(:\d+)?$")
    """As torch names it, or `auto`: a GPU where there is one."""

    steps: int | None = Field(default=None, ge=1)
    """Denoising steps; null leaves it to the pipeline."""

    guidance: float | None = Field(default=None, allow_inf_nan=False)
    """How strongly the prompt is followed; null leaves it to the pipeline."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads while it works, since their number can change a picture's last bits; null leaves them to torch."""

    options: dict[str, Any] | None = None
    """Further keywords of the pipeline's call, e.g. `{"negative_prompt": "text"}`."""

    scheduler: str | None = None
    """Class of diffusers in place of the pipeline's own scheduler, which it takes its settings from; null keeps that."""

    scheduler_options: dict[str, Any] | None = None
    """Settings of the scheduler, e.g. `{"timestep_spacing": "trailing"}`."""

    @field_validator("dtype")
    @classmethod
    def _known_dtype(cls, dtype: str | None) -> str | None:
        if dtype is not None and dtype not in _DTYPES:
            raise ValueError(f"no dtype {dtype!r}{did_you_mean(dtype, _DTYPES)}")
        return dtype

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, options: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if options is None else dict(without_secrets(options))

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Read options. Raises `ConfigError`, which names the option that cannot be."""
        return parse_options(cls, options, cls.what)

    def check_here(self) -> None:
        """Look at what can be told on this machine without the model.

        Raises:
            ConfigError: no such folder or scheduler.
            MissingExtra: torch or diffusers is not installed.
        """
        if self.model.startswith(("/", "./", "../", "~")) and not Path(self.model).expanduser().is_dir():
            raise ConfigError(
                f"{self.what}: no folder {self.model!r}; give a folder that save_pretrained wrote, or a name on the hub"
            )
        for module in ("torch", "diffusers", "transformers"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(f"the {self.what} tool", "offline", module)
        if self.scheduler is not None:
            with LOADING:
                check_settings(self.what, scheduler_class(self.what, self.scheduler), self.scheduler_options or {})


def scheduler_class(what: str, name: str) -> Any:
    """The scheduler of diffusers that is called so. Raises `ConfigError`."""
    import diffusers

    known = [found for found in dir(diffusers) if found.endswith("Scheduler")]
    if name not in known:
        raise ConfigError(f"{what}: diffusers has no scheduler {name!r}{did_you_mean(name, known)}")
    found = getattr(diffusers, name)
    if not issubclass(found, diffusers.SchedulerMixin):  # a stand-in of diffusers for one whose own library is missing
        raise ConfigError(f"{what}: the scheduler {name} needs a library that is not installed")
    return found


def check_settings(what: str, scheduler: Any, settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` where a class of schedulers has not all of the settings."""
    taken = [name for name in inspect.signature(scheduler.__init__).parameters if name not in ("self", "kwargs")]
    for name in settings:
        if name not in taken:
            raise ConfigError(f"{what}: {scheduler.__name__} has no setting {name!r}{did_you_mean(name, taken)}")


def usable_device(what: str, name: str) -> str:
    """The device that an option stands for; imports torch.

    Raises:
        ConfigError: torch knows none of that name, or it is not on this machine.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name).cpu()
    except torch.OutOfMemoryError:  # it is there, and others have filled it
        return name
    except (RuntimeError, AssertionError) as error:  # torch raises either, as the device may be
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        gpus = torch.cuda.device_count()
        raise ConfigError(
            f"{what}: the device {name!r} cannot be used here ({said[:300]}); there {'is' if gpus == 1 else 'are'} {gpus} GPU"
            f"{'' if gpus == 1 else 's'} for torch: take 'auto' or 'cpu', or install a torch that fits the machine"
        ) from error
    return name
