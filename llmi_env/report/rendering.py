"""Templates to pages, and pages to files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from llmi_env.errors import ConfigError, require
from llmi_env.folders import write_whole


def safe(markup: str) -> Any:
    """Marks HTML of our own making, already escaped or sanitised, so that the template does not escape it again."""
    return require("markupsafe", "the report", "train").Markup(markup)


def render(template: str, **values: Any) -> str:
    """A page of a template in `templates/`; every value is escaped but those that are `safe`."""
    return str(_environment().get_template(template).render(**values))


def render_macro(template: str, macro: str, value: Any) -> Any:
    """What a macro of a template makes of one value; `safe`."""
    return safe(str(getattr(_environment().get_template(template).module, macro)(value)))


@lru_cache(maxsize=1)
def _environment() -> Any:
    jinja2 = require("jinja2", "the report", "train")
    return jinja2.Environment(
        loader=jinja2.PackageLoader("llmi_env.report"), autoescape=True, undefined=jinja2.ChainableUndefined
    )


def write_page(path: Path, page: str) -> Path:
    """Write a page, whole or not at all; returns its path.

    Raises:
        ConfigError: it cannot be written there.
    """
    try:
        write_whole(path, page, errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: the page cannot be written there: {error.strerror}") from error
    return path
