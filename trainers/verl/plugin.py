"""What verl imports of ours, in every process it starts: our advantage estimator, and on a CPU all that verl lacks there.

verl is told by `VERL_USE_EXTERNAL_MODULES=trainers.verl.plugin` (read at `import verl`) and by
`actor_rollout_ref.model.external_lib=trainers.verl.plugin` (where a model is configured); a failure is loud in both. Its third way, the
entry-point group `verl.plugins`, is left alone: failures are swallowed there, and every other program that imports verl would import us.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from llmi_env.errors import ConfigError, MissingExtra

TESTED = "0.9"
"""Series of verl that this package is tested with; 0.9.1 is the first release of it."""

FIRST = (0, 9, 1)


def check_version() -> None:
    """Refuse another verl than the tested one.

    Raises:
        MissingExtra: verl is not installed.
        ConfigError: it is installed in a version that this package was not tested with.
    """
    try:
        installed = version("verl")
    except PackageNotFoundError as error:
        raise MissingExtra("training with verl", "verl", "verl") from error
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", installed)
    found = tuple(int(number or 0) for number in numbers.groups()) if numbers else ()
    if found[:2] != FIRST[:2] or found < FIRST:
        raise ConfigError(
            f"verl {installed} is installed, this package is tested with {TESTED}.x from {'.'.join(map(str, FIRST))} on: "
            f"pip install 'verl>={'.'.join(map(str, FIRST))},<0.10'"
        )
    # verl patches a class of TRL's that TRL has no more: every run would end with an ImportError out of a worker.
    if find_spec("trl") is not None and int(version("trl").split(".")[0]) >= 1:
        raise ConfigError(
            f"verl {installed} cannot start where TRL {version('trl')} is installed: pip uninstall trl, or an environment for each"
        )


def on_cpu() -> bool:
    """Whether verl is to run on the CPU: its own variable says so."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def load() -> None:
    """Register everything; again is harmless.

    Raises:
        ConfigError: another verl than the tested one.
    """
    check_version()
    if on_cpu():  # the platform first of all: other modules of verl read it when they are imported
        for module in ("platform", "positions", "engines", "rollout"):
            import_module(f"trainers.verl.cpu.{module}")
        if find_spec("torchvision") is None:
            import_module("trainers.verl.cpu.vision")
    import_module("trainers.verl.advantage")


# verl only imports this module, and is then itself imported; who wants no more than `check_version` needs no verl in the process.
if "verl" in sys.modules:
    load()
