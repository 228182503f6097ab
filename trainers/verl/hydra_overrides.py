"""Options as Hydra overrides: values written so that Hydra reads back the same, and keys checked against the verl that is installed.

Neither imports verl, which takes a quarter of a minute: its options stand in YAML files beside its code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmi_env.errors import ConfigError, did_you_mean

_KEY = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<name>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)", re.ASCII)
_BARE = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_DICT_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NOT_TEXT = re.compile(r"true|false|null|none|nan|inf|[+-]?[\d_.]+(e[+-]?\d+)?", re.IGNORECASE)
# Hydra leaves backslashes alone, except before a quote, where it wants each one doubled.
_BEFORE_QUOTE = re.compile(r"\\+(?='|\Z)")


def value_text(value: Any) -> str:
    """A value in Hydra's grammar.

    Raises:
        ConfigError: it holds what an override cannot.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return _text(str(value))
    if isinstance(value, Mapping):
        for key in value:
            if not (isinstance(key, str) and _DICT_KEY.fullmatch(key)):
                raise ConfigError(f"Hydra takes no key {key!r} inside of a value; write it in a YAML file of verl's")
        return "{" + ",".join(f"{key}: {value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(value_text(item) for item in value) + "]"
    raise ConfigError(f"{value!r} of type {type(value).__name__} cannot be a Hydra override")


def _text(text: str) -> str:
    if _BARE.fullmatch(text) and not _NOT_TEXT.fullmatch(text):
        return text
    doubled = _BEFORE_QUOTE.sub(lambda run: run[0] * 2, text)
    return "'" + doubled.replace("'", r"\'") + "'"


def split_key(key: str) -> tuple[str, str]:
    """The sign of an override's key (`+` adds, `++` adds or changes, `~` removes, else empty) and the option it names.

    Raises:
        ConfigError: not the name of an option.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise ConfigError(f"verl: {key!r} is no option; expected a name such as actor_rollout_ref.rollout.top_k")
    return match["sign"] or "", match["name"]


def flatten(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested options; keys may be dotted already."""
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def compose_config(overrides: Iterable[str]) -> Any:
    """verl's configuration with overrides, as an OmegaConf `DictConfig`; nothing is imported of verl.

    Raises:
        MissingExtra: verl or Hydra is not installed.
        ConfigError: an option that verl does not know; names the nearest one.
    """
    folder = config_folder()
    if folder is None:
        from llmi_env.errors import MissingExtra

        raise MissingExtra("checking verl's options", "verl", "verl")
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    if GlobalHydra.instance().is_initialized():
        raise ConfigError("Hydra is in use in this process already; verl's options cannot be checked within")
    with initialize_config_dir(str(folder), version_base=None):
        try:
            return compose("ppo_trainer", list(overrides))
        except (HydraException, ValueError) as error:
            said = str(error).split("\n")[0].strip()
            if (unknown := re.fullmatch(r"Could not override '(.+)'\.", said)) is None:
                raise ConfigError(f"verl's options: {said}") from error
            known = _options(compose("ppo_trainer"))
            hint = did_you_mean(unknown[1], known).split(" Known:")[0].rstrip(".")
            raise ConfigError(
                f"verl has no option {unknown[1]!r}{hint}; to add a new one write +{unknown[1]}"
            ) from None


def config_folder() -> Path | None:
    """Folder of verl's YAML files; `None` where verl or Hydra is not installed."""
    spec = find_spec("verl")
    if spec is None or not spec.submodule_search_locations or find_spec("hydra") is None:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "trainer" / "config"


def _options(config: Any) -> list[str]:
    from omegaconf import OmegaConf

    return [name for name, _ in flatten(OmegaConf.to_container(config, resolve=False))]
