"""Configuration: YAML presets, dotted overrides and the environment's own options.

Everything that can be configured is data and passes through here: `load_yaml_preset` reads a preset that ships with the package,
`apply_overrides` lays `"a.b=c"` strings or keywords over it, and `parse_model` checks the result against a pydantic model and turns
every mistake into a `ConfigError` that names the key and what was perhaps meant. Environment presets stand in `envs_configs/`, those of
other kinds in a folder of that name (`envs_configs/train/` ...).

    >>> load_config("rules", ["limits.calls=4"]).limits.calls
    4
"""

from __future__ import annotations

import copy
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llmi_env.episode import Limits
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.prompting import PromptStyle
from llmi_env.rewards.preset import is_path
from llmi_env.world import Place
from llmi_env.world.config import WorldConfig
from llmi_env.yaml_text import parse_yaml, read_yaml

ActionMode = Literal["token", "chunk", "call", "document"]
"""What an action is: one token, a piece of text, text or a call, or the whole document."""

Feedback = Literal["none", "text", "image"]
"""What the policy is shown of its pictures while it writes."""

Order = Literal["random", "shuffled", "sequential"]
"""How tasks follow each other."""

OnUnscored = Literal["retry_then_truncate", "raise", "nan"]
"""What the last step does when there is no reward."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class LimitsConfig(BaseModel):
    """Bounds of one document and of what is shown to the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)

    characters: int = Field(default=200_000, ge=1)
    """Characters of a document, calls and thoughts included; reaching it ends the document."""

    calls: int = Field(default=24, ge=0)
    """Calls of a document, unreadable ones included; one more ends it."""

    pictures: int = Field(default=16, ge=0)
    """Calls of a document that could bring a picture; one more ends it."""

    tokens: int | None = Field(default=None, ge=1)
    """Tokens of a document in the action mode `token`; reaching it ends the document. No bound when null."""

    observation_kib: int = Field(default=256, ge=1)
    """Text of one observation in KiB of UTF-8: sizes the buffers of vector environments with shared memory."""

    picture_side: int = Field(default=384, ge=1)
    """Longest side of a picture in an observation, in pixels; larger ones are scaled down (the document keeps them as they are)."""

    picture_kib: int = Field(default=8192, ge=0)
    """Pixels of all pictures in one observation, in KiB: sizes the same buffers."""

    def episode(self) -> Limits:
        """The part that the episode itself keeps."""
        return Limits(self.characters, self.calls, self.pictures)


class EnvConfig(BaseModel):
    """All options of `LLMI-v0` that are data; objects (a World, a tokenizer, tasks in memory) are given to `gym.make` itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    tasks: str = "train"
    """Where tasks come from: `train`, `validation`, `heldout`, a `.jsonl` or `.parquet` file, or a Hugging Face data set."""

    order: Order = "random"
    """How tasks follow each other: `random` (with replacement), or in epochs that meet every task once: `shuffled` or `sequential`."""

    order_seed: int = Field(default=0, ge=0)
    """Seed of the shuffling; environments that share out a set need the same."""

    shard: tuple[int, int] = (0, 1)
    """`[i, n]`: of each epoch (or, at random, of the set) this environment gets part i of n."""

    action_mode: ActionMode = "token"
    """What an action is: `token`, `chunk` (text of any length; `llmi_env.END` ends it), `call` (text, a call, or the end) or `document`."""

    feedback: Feedback = "none"
    """What a step that completes a call shows: nothing, a `text` line with its result, or the `image` besides."""

    tokenizer: str | None = None
    """`byte`, or the name or folder of a Hugging Face tokenizer. Null is `byte` in mode `token` and none in the others."""

    prompt: PromptStyle = "compact"
    """How the system prompt explains the tools: `compact` or `full`."""

    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    """Bounds of one document."""

    world: str = "local"
    """How tools and judges are reached: `local` (a helper process of this machine and user), `in_process`, or the URL of `llmi serve`.
    `record:FOLDER` writes down what they answer, `recorded:FOLDER` answers from that alone (docs/tool-runtime.md)."""

    services: WorldConfig = Field(default_factory=WorldConfig)
    """What a World started from here is made of; a World behind a URL has its own."""

    reward: str = "llmi"
    """Reward preset: one that ships by its name, or the path of a YAML file of your own."""

    unscored: OnUnscored = "retry_then_truncate"
    """A document without a score: judge once more and then truncate with reward 0, `raise` an error, or give `nan`."""

    @model_validator(mode="before")
    @classmethod
    def _world_as_services(cls, data: Any) -> Any:
        # `world=` takes both what a World is made of and how it is reached: nobody should have to remember which key is which.
        if isinstance(data, Mapping) and isinstance(data.get("world"), WorldConfig | Mapping):
            moved = dict(data)
            moved["services"] = moved.pop("world")
            return moved
        return data

    @field_validator("reward")
    @classmethod
    def _whole_path(cls, reward: str) -> str:
        # A run's configuration is read by other processes too, in folders of their own.
        return str(Path(reward).expanduser().absolute()) if is_path(reward) else reward

    @field_validator("world")
    @classmethod
    def _known_world(cls, world: str) -> str:
        return str(Place.parse(world))


# ------------------------------------------------------------------------------------------------------------------- presets


def preset_names(kind: str = "env") -> list[str]:
    """Names of the presets of one kind that ship with the package: `env`, or a folder of `envs_configs` such as `train`."""
    folder = resources.files("envs_configs")
    if kind != "env":
        folder = folder.joinpath(kind)
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_yaml_preset(kind: str, name: str) -> dict[str, Any]:
    """Read a preset that ships with the package.

    Args:
        kind: `env`, or a folder of `envs_configs`, e.g. `train`.
        name: of the preset, without `.yaml`.

    Raises:
        ConfigError: there is no preset of that name.
    """
    known = preset_names(kind)
    if name not in known:
        raise ConfigError(
            f"no {kind} preset {name!r}{did_you_mean(name, known)}; or give the path of a .yaml file of your own"
        )
    folder = resources.files("envs_configs")
    entry = (folder if kind == "env" else folder.joinpath(kind)).joinpath(f"{name}.yaml")
    return parse_yaml(entry.read_text(encoding="utf-8"), f"{kind} preset {name!r}")


def load_yaml(kind: str, source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Read a configuration given as a preset's name, the path of a YAML file, or a mapping; the result is a copy.

    Raises:
        ConfigError: no such preset or file, or the file is not a YAML mapping.
    """
    if isinstance(source, Mapping):
        return copy.deepcopy(dict(source))
    text = str(source)
    path = Path(text).expanduser()
    if isinstance(source, Path) or path.suffix in (".yaml", ".yml") or "/" in text:
        try:
            return parse_yaml(path.read_text(encoding="utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration {text!r}: {error}") from error
    return load_yaml_preset(kind, text)


# ----------------------------------------------------------------------------------------------------------------- overrides


def apply_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    """Lay overrides over a configuration; the result is a copy, `data` is untouched.

    Args:
        data: nested mappings.
        overrides: `"a.b=value"` strings, the value read as YAML; or a mapping from such dotted keys to values. A number names an item of
            a list: `"services.judges.0.model=x"`.

    Raises:
        ConfigError: an override without `=`, with an empty key, below something that is not a mapping, or beyond a list.
    """
    pairs = overrides.items() if isinstance(overrides, Mapping) else [_read_override(item) for item in overrides]
    result = copy.deepcopy(dict(data))
    for key, value in pairs:
        *parents, last = key.split(".")
        place: dict[Any, Any] | list[Any] = result
        for depth, parent in enumerate(parents):
            at = _place_in(place, parent, key)
            below = place[at] if isinstance(place, list) else place.get(at)
            if below is None:
                below = place[at] = {}
            elif isinstance(below, BaseModel):
                below = place[at] = below.model_dump()
            if not isinstance(below, dict | list):
                raise ConfigError(
                    f"override {key!r}: {'.'.join(parents[: depth + 1])!r} is {below!r}, not a group of options"
                )
            place = below
        place[_place_in(place, last, key)] = value
    return result


def _place_in(group: dict[Any, Any] | list[Any], name: str, key: str) -> Any:
    """The key of a group, or the number of an item of a list (from 0)."""
    if isinstance(group, dict):
        return name
    if not name.isdecimal() or int(name) >= len(group):
        raise ConfigError(f"override {key!r}: a list of {len(group)} has no item {name!r}; they are counted from 0")
    return int(name)


def _read_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"an override is written key=value or group.key=value, not {text!r}")
    return key, read_yaml(value, f"override {text!r}")


# ---------------------------------------------------------------------------------------------------------------- validation


def parse_model(model: type[ModelT], data: Mapping[str, Any], what: str) -> ModelT:
    """Check data against a model.

    Args:
        model: a pydantic model with `extra="forbid"`.
        data: nested mappings, e.g. from YAML.
        what: names the configuration in errors, e.g. `"environment"`.

    Raises:
        ConfigError: names the key, what is wrong and, for an unknown key, the nearest known one.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        path = [part for part in first["loc"] if not (isinstance(part, str) and part.endswith("]"))]
        place = ".".join(map(str, path))
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, path[:-1])
            raise ConfigError(f"{what}: there is no option {place!r}{did_you_mean(str(path[-1]), known)}") from None
        if first["type"] == "literal_error":
            allowed = re.findall(r"'([^']*)'", str(first["ctx"]["expected"]))
            hint = did_you_mean(str(first["input"])[:60], allowed)
            raise ConfigError(f"{what}: option {place!r} cannot be {first['input']!r:.60}{hint}") from None
        said = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{what}: option {place!r}: {said}" if place else f"{what}: {said}") from None


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Names of the options of the group at `path`."""
    here: type[BaseModel] = model
    for part in path:
        field = here.model_fields.get(str(part))
        if field is None:
            continue
        annotations = [field.annotation, *typing.get_args(field.annotation)]
        for annotation in annotations:
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                here = annotation
                break
    return list(here.model_fields)


def load_config(
    config: str | Path | Mapping[str, Any] | EnvConfig = "offline", overrides: Iterable[str] = (), /, **options: Any
) -> EnvConfig:
    """The environment's configuration.

    Args:
        config: name of a preset, path of a YAML file, a mapping, or a configuration.
        overrides: `"a.b=value"` strings.
        **options: options by keyword, dotted ones too; they win over `overrides`. `limits` given as a mapping is laid over the
            configuration's, `world` given as a mapping or `WorldConfig` takes the place of `services`.

    Raises:
        ConfigError: unknown preset, missing or unreadable file, unknown option, or a value that does not fit.
    """
    data = config.model_dump() if isinstance(config, EnvConfig) else load_yaml("env", config)
    data = apply_overrides(data, overrides)
    world = options.get("world")
    if isinstance(world, WorldConfig | Mapping):
        options = {**options, "services": options["world"]}
        del options["world"]
    for key, value in options.items():
        if isinstance(value, BaseModel):
            data[key] = value.model_dump()
        elif isinstance(value, Mapping) and key == "limits":
            data[key] = {**(data.get(key) or {}), **value}
        elif "." in key:
            data = apply_overrides(data, {key: value})
        else:
            data[key] = value
    return parse_model(EnvConfig, data, "environment")
