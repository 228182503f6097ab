"""What a World is made of, as data: it can be written to a file, compared by digest and sent to another process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.registry import Registry
from llmi_env.tools import BUILTIN, check_tool
from llmi_env.world.limits import Rate

JUDGES = Registry(
    what="judge",
    group="llmi_env.judges",
    builtin={
        "embedded": "llmi_env.judges.embedded:EmbeddedJudge",
        "openai": "llmi_env.judges.openai_judge:OpenAIJudge",
        "panel": "llmi_env.judges.panel:PanelJudge",
        "transformers": "llmi_env.judges.transformers_judge:TransformersJudge",
    },
)
"""Every judge that can be named in a configuration."""

_BY_TOOL = ("deadlines", "concurrency", "rates", "call_cached")
"""Options that hold something for single tools, by their names."""

RateEntry = str | tuple[float, float]
"""A rate as it is written: `10/s`, or calls and seconds."""


def _default_tools() -> dict[str, dict[str, Any]]:
    return {"search": {}, "diffusion": {}, "code": {}, "edit": {}}


def _default_judges() -> list[str | dict[str, Any]]:
    return ["embedded"]


class WorldConfig(BaseModel):
    """Tools, judges and limits of a World.

    An entry is the options of a tool or judge; its key `use` says which implementation is meant where that is not the name itself:
    a built-in, a plugin, or `"module:Class"`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tools: dict[str, dict[str, Any]] = Field(default_factory=_default_tools)
    """Options of each tool, by the name that calls use."""

    judges: list[str | dict[str, Any]] = Field(default_factory=_default_judges)
    """Judges by name, or their options with `use`. Where two score the same term, the first that has a score gives it."""

    deadline: float = Field(default=60.0, gt=0)
    """Seconds that one call may take, retries and the waits between them included, once its turn has come."""

    deadlines: dict[str, float] = Field(default_factory=dict)
    """Deadlines of single tools, in seconds, in place of `deadline`."""

    concurrency: dict[str, int] = Field(default_factory=lambda: {"search": 8, "diffusion": 1, "code": 2})
    """How many calls of a tool run at the same time; 4 where none is given."""

    attempts: int = Field(default=3, ge=1)
    """How often a call is tried when the failure is the world's fault; the policy's are never retried."""

    retry_wait: float = Field(default=0.1, ge=0)
    """Seconds until the second try at most, drawn by chance; twice as many at most until the third, and so on."""

    longest_wait: float = Field(default=30.0, ge=0)
    """Seconds between two tries at most. A service that asks for more time (`Retry-After`) is not tried again."""

    rates: dict[str, RateEntry | list[RateEntry]] = Field(default_factory=dict)
    """How many calls of a tool may begin in a stretch of time: `{search: 10/s}`, `{diffusion: [5, 60]}` (calls, seconds), or several that
    all hold: `{search: [20/min, 200/day]}`. Further tries count; calls answered from a cache do not."""

    judge_deadline: float = Field(default=120.0, gt=0)
    """Seconds that one judge may take over one document."""

    judge_prepare_deadline: float = Field(default=450.0, gt=0)
    """Seconds that documents wait for a judge to be made or to load its models; its loading goes on beyond that."""

    judge_concurrency: int = Field(default=2, ge=1)
    """How many documents one judge scores at the same time, where it does not say so itself by a `concurrency` of its own."""

    judge_cache: str | None = "default"
    """File that keeps scores of earlier judgments: a path, or `default`, which is in the cache folder (or what the environment variable
    `LLMI_JUDGE_CACHE` names); null or `off` keeps none. Kept are those of judges that declare a `fingerprint`, as all that ship do."""

    judge_cache_mb: int = Field(default=1000, ge=1)
    """Size of that file at most, in MB; beyond it the scores used longest ago go."""

    max_side: int = Field(default=1024, ge=16)
    """Longest side of a picture that a tool delivers, in pixels; larger ones are scaled down."""

    cache_mb: int = Field(default=256, ge=0)
    """How much memory the outcomes of earlier calls may take, in MB; 0 keeps none."""

    call_cache: str | None = "default"
    """File that keeps outcomes of calls for later runs: a path, or `default`, which is in the cache folder (or what the environment variable
    `LLMI_CALL_CACHE` names); null or `off` keeps none. Kept are calls of tools that say so (`cacheable`): those that cost money or time."""

    call_cached: dict[str, bool] = Field(default_factory=dict)
    """Whether the calls of a tool are kept in that file, whatever the tool says itself."""

    call_cache_mb: int = Field(default=1000, ge=1)
    """Size of that file at most, in MB; beyond it the outcomes used longest ago go."""

    linger: float = Field(default=3.0, ge=0)
    """Seconds that a local helper process waits for another client after the last one is gone."""

    @field_validator("tools")
    @classmethod
    def _known_tools(cls, tools: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, options in tools.items():
            check_tool(_used(options, name), {option: value for option, value in options.items() if option != "use"})
        return tools

    @field_validator("judges")
    @classmethod
    def _known_judges(cls, judges: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        for entry in judges:
            name = entry if isinstance(entry, str) else _used(entry, "")
            if not name:
                raise ConfigError(f"a judge given by its options needs `use` with its name, not {entry!r}")
            JUDGES.check(name)
        return judges

    @field_validator("deadlines", "concurrency")
    @classmethod
    def _above_zero(cls, limits: dict[str, float]) -> dict[str, float]:
        for name, limit in limits.items():
            if limit <= 0:
                raise ConfigError(f"the limit of tool {name!r} is above 0, not {limit!r}")
        return limits

    @field_validator("rates")
    @classmethod
    def _known_rates(cls, rates: dict[str, RateEntry | list[RateEntry]]) -> dict[str, RateEntry | list[RateEntry]]:
        for name, told in rates.items():
            try:
                _rates(told)
            except ConfigError as error:
                raise ConfigError(f"tool {name!r}: {error}") from None
        return rates

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> WorldConfig:
        """Read a mapping, e.g. from YAML.

        Raises:
            ConfigError: says which key is wrong and which was perhaps meant.
        """
        for key in data:
            if key not in cls.model_fields:
                raise ConfigError(f"a world has no option {key!r}{did_you_mean(str(key), cls.model_fields)}")
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"world option {place!r}: {said}") from error

    def check_limits(self, others: Iterable[str] = ()) -> None:
        """Raise `ConfigError` where a limit is that of a tool which is neither configured, nor built in, nor among `others`."""
        known = {*self.tools, *BUILTIN, *others}
        for field in _BY_TOOL:
            for name in getattr(self, field):
                if name not in known:
                    raise ConfigError(f"world option {field!r}: there is no tool {name!r}{did_you_mean(name, known)}")

    def without(self, tools: Collection[str]) -> WorldConfig:
        """The same, less these tools and their limits."""
        left = {
            field: {n: v for n, v in getattr(self, field).items() if n not in tools} for field in ("tools", *_BY_TOOL)
        }
        return self.model_copy(update=left)

    @classmethod
    def rules(cls) -> WorldConfig:
        """What the core package can do alone, without torch: search by words, edit, code, and no judge."""
        return cls(tools={"search": {"semantic": False}, "edit": {}, "code": {}}, judges=[])

    def digest(self) -> str:
        """SHA-256 of the configuration: two Worlds with the same digest give the same outcomes."""
        body = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()

    def tool_use(self, name: str) -> tuple[str, dict[str, Any]]:
        """Implementation and options of the tool that calls name `name`."""
        options = dict(self.tools[name])
        return options.pop("use", name), options

    def tool_rates(self, name: str) -> tuple[Rate, ...]:
        """The rates of the tool that calls name `name`."""
        return _rates(self.rates[name]) if name in self.rates else ()

    def judge_uses(self) -> list[tuple[str, dict[str, Any]]]:
        """Implementation and options of every judge."""
        found: list[tuple[str, dict[str, Any]]] = []
        for entry in self.judges:
            options = {} if isinstance(entry, str) else dict(entry)
            found.append((entry if isinstance(entry, str) else options.pop("use"), options))
        return found


def _rates(told: RateEntry | list[RateEntry]) -> tuple[Rate, ...]:
    return tuple(map(Rate.parse, told)) if isinstance(told, list) else (Rate.parse(told),)


def _used(options: Mapping[str, Any], name: str) -> str:
    use = options.get("use", name)
    if not isinstance(use, str):
        raise ConfigError(f"`use` names an implementation by a string, not {use!r}")
    return use
