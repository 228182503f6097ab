"""Settings of the code tool."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from llmi_env.errors import ConfigError, did_you_mean

MIB = 1024 * 1024
_MOST = 1e9
_WHOLE = ("workers", "max_pixels", "recycle_after")
Sandbox = Literal["auto", "docker", "namespace", "landlock", "unsafe"]
SANDBOXES: tuple[str, ...] = get_args(Sandbox)


@dataclass(frozen=True)
class CodeConfig:
    """How model-written plotting code is run. Sizes are in MiB, times in seconds."""

    sandbox: Sandbox = "auto"
    """What stands around the code. `auto` takes the strongest that works here, and never `unsafe`; one that is named and does not work is an
    error, nothing weaker is taken instead."""
    workers: int = 2
    """Charts drawn at the same time, each by a warm worker of about 130 MiB."""
    timeout: float = 10.0
    """Seconds one chart may take; waiting for a CPU that others keep busy is not counted, up to three times as much."""
    memory_mib: float = 1024
    """Memory the code may take beyond that of the warm libraries."""
    disk_mib: float = 64
    """Files the code may have in its folder at one time, all together."""
    file_mib: float = 16
    """Size of one file."""
    output_mib: float = 8
    """Size of the picture as PNG."""
    text_kib: float = 64
    """What the code may print."""
    max_pixels: int = 4_000_000
    """Width times height of the picture."""
    figures: Literal["last", "all"] = "last"
    """Which of several open figures is the picture: the current one, or all of them, one below the other."""
    dpi: float = 100.0
    """Resolution at which figures are drawn, whatever the code asks for."""
    system_fonts: bool = False
    """Use the machine's fonts too. Off, every machine draws with the DejaVu fonts that matplotlib ships."""
    docker_image: str = "llmi-code"
    """Image of the tier `docker`; `llmi tools build-image` makes it."""
    cpus: float = 1.0
    """Processors that a container may use at a time (`docker`)."""
    recycle_after: int = 500
    """Charts after which a worker is replaced."""
    start_timeout: float = 60.0
    """Seconds a worker may take to import its libraries and prove its protections."""

    @property
    def own_root_bytes(self) -> int:
        """Room of the file system in memory that a worker with a root of its own writes to.

        The quota is kept by the worker; this holds where it is too slow.
        """
        return int((2 * self.disk_mib + 16) * MIB)

    def __post_init__(self) -> None:
        if self.sandbox not in SANDBOXES:
            raise ConfigError(f"unknown code sandbox {self.sandbox!r}{did_you_mean(str(self.sandbox), SANDBOXES)}")
        if self.figures not in ("last", "all"):
            raise ConfigError(f"code tool: figures is 'last' or 'all', not {self.figures!r}")
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if field.name in ("sandbox", "system_fonts", "docker_image", "figures"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MOST:
                raise ConfigError(f"code tool: {field.name} must be a positive number below {_MOST:g}, got {value!r}")
            if field.name in _WHOLE and not isinstance(value, int):
                raise ConfigError(f"code tool: {field.name} must be a whole number, got {value!r}")
