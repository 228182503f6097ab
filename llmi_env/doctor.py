"""`llmi doctor`: what works on this machine, why the rest does not, and how to get it.

Nothing is believed that can be tried: each sandbox of the code tool is started and must draw.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Iterator
from importlib import metadata

from rich.console import Console
from rich.markup import escape

from llmi_env.document import Picture
from llmi_env.prepare import steps
from llmi_env.tools import run
from llmi_env.tools.code import CodeConfig
from llmi_env.tools.code.fonts import covering_fonts
from llmi_env.tools.code.tiers import AUTO, STARTERS, examine

_FOR_DEVELOPERS = ("dev", "friends")


def doctor(console: Console, web: bool = False) -> bool:
    """Print the findings; returns whether the code tool has a sandbox and the offline world all it needs.

    Args:
        console: where they go.
        web: ask each search service for a picture.
    """
    console.print(f"Python {platform.python_version()} on {platform.platform()}, {platform.machine()}")
    _device(console)
    console.print("\n[bold]Sandboxes of the code tool[/bold] (`services.tools.code.sandbox`), strongest first:")
    chosen = _sandboxes(console)
    console.print("\n[bold]Fonts of charts[/bold] beyond DejaVu, with `services.tools.code.system_fonts=true`:")
    _fonts(console)
    console.print("\n[bold]Extras[/bold]:")
    for extra, missing in _extras():
        text = f"pip install 'llmi-env[{extra}]' ({', '.join(missing)} missing)" if missing else ""
        _line(console, not missing, extra, text, optional=True)
    console.print(
        "\n[bold]Services outside[/bold], tested against local servers that speak as their documentation says:"
    )
    _services(console, web)
    console.print("\n[bold]Offline world[/bold]:")
    complete = True
    for name, ready in _prepared():
        complete &= ready
        _line(console, ready, name, "" if ready else "llmi prepare")
    return complete and bool(chosen)


def _device(console: Console) -> None:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    console.print(f"torch {torch.__version__}, {gpu}, {torch.get_num_threads()} threads")


def _sandboxes(console: Console) -> str:
    """Try them all; returns what `auto` takes, empty for none."""
    config = CodeConfig(workers=1)
    chosen = ""
    for tier in STARTERS:
        if tier not in AUTO:
            _line(console, None, tier, "no protection at all; only when asked for by name")
            continue
        started = time.monotonic()
        with console.status(f"trying {tier}"):
            found = examine(tier, config)
        if found.cause:
            _line(console, False, tier, found.cause, optional=True)
            continue
        chosen = chosen or tier
        landlock = f"Landlock {found.about['landlock_abi']}" if found.about.get("landlock_abi") else "no Landlock"
        about = f"draws; {landlock}, uid {found.about.get('uid')}, ready in {time.monotonic() - started:.1f} s"
        _line(console, True, tier, about)
    console.print(f"   `auto` takes {chosen}" if chosen else "   `auto` finds none: calls of the code tool will fail")
    return chosen


def _fonts(console: Console) -> None:
    found = covering_fonts()
    for script, font in found.items():
        _line(
            console,
            font is not None,
            script,
            str(font or "no font; e.g. apt install fonts-noto-cjk fonts-noto-extra"),
            optional=True,
        )


def _services(console: Console, ask: bool) -> None:
    """Search services by name; those that can be asked are, where that is wanted."""
    from llmi_env.tools.web.providers import PROVIDERS

    for name in PROVIDERS.builtin:
        can = PROVIDERS.find(name)("").can if name != "endpoint" else None
        if can is None or not can.own_url:
            _line(console, None, name, "needs its address (option url); never run against the real service")
        elif can.needs_key and not os.environ.get(can.key_env):
            _line(console, None, name, f"needs a key in {can.key_env}; never run against the real service")
        elif not ask:
            _line(console, None, name, "never run against the real service; `llmi doctor --web` asks it")
        else:
            with console.status(f"asking {name}"):
                found = run("web-search", {"query": "barn owl"}, provider=name, distinct=False, timeout=30)
            if isinstance(found, Picture):
                _line(console, True, name, f"{found.provenance.title!r}, {found.provenance.licence}")
            else:
                _line(console, False, name, found.message, optional=True)
    _line(console, None, "image-server, image-server-edit", "need their address; never run against the real service")
    _line(
        console, None, "data sets of the hub", "`llmi corpus add hf:NAME` reads them; never run against the hub itself"
    )


def _extras() -> Iterator[tuple[str, list[str]]]:
    """Each extra of this package with those of its distributions that are not installed."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needed = [Requirement(text) for text in metadata.requires("llmi-env") or ()]
    installed = {canonicalize_name(found.name) for found in metadata.distributions()}
    for extra in metadata.metadata("llmi-env").get_all("Provides-Extra") or ():
        mine = [
            one.name
            for one in needed
            if one.marker is not None and one.marker.evaluate({"extra": extra}) and one.name != "llmi-env"
        ]
        if extra not in _FOR_DEVELOPERS:
            yield extra, [name for name in mine if canonicalize_name(name) not in installed]


def _prepared() -> Iterator[tuple[str, bool]]:
    try:
        for step in steps():
            yield step.name, step.ready()
    except ImportError as error:
        yield f"needs the extra `offline` ({error.name} is missing)", False


def _line(console: Console, good: bool | None, name: str, text: str, optional: bool = False) -> None:
    mark = "[green]yes[/green]" if good else "[yellow]-  [/yellow]" if optional or good is None else "[red]no [/red]"
    console.print(f"   {mark} {escape(name)}{': ' if text else ''}{escape(text)}", highlight=False)
