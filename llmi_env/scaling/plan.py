"""What scaling does: which stages, how many of each thing, and when it has done enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from llmi_env.errors import ConfigError, did_you_mean

StageName = Literal["sample", "validate", "select", "enhance", "polish"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""All stages, in their order."""

How = Literal["reward", "judge", "tournament"]
HOWS: tuple[How, ...] = get_args(How)

# Options on the command line, with the field of the plan that each sets.
_OPTIONS = {
    "select": "select",
    "enhance": "variants",
    "polish": "rewrites",
    **{name: name for name in ("rounds", "wave", "enough", "gain", "tools_told")},
}


@dataclass(frozen=True)
class Plan:
    """Which stages are gone through, and how.

    Attributes:
        samples: documents to choose from.
        stages: what is done besides writing them; `sample` always is.
        select: what decides between documents, here and wherever a later stage asks whether something is better: `reward` (the reward as it is
            configured), `judge` (the mean of what judges scored, no rules), `tournament` (pairs, see `llmi_env.scaling.pairs`).
        variants: how many other pictures are tried for each figure.
        rewrites: how many other texts are tried around the pictures.
        rounds: how often enhancing and polishing are repeated at most, each as long as it brings a gain.
        wave: how many documents are written before it is asked whether that is enough; all at once where `None`.
        enough: the value, in [0, 1], at which nothing more is tried; `None` never is.
        gain: what a change must bring to be taken, and a wave or round for another one to be begun.
        tools_told: whether rewards may see which tools the task needs. They are the answer key of tool accuracy: choosing by them lets a
            measure of tool choice measure itself.
    """

    samples: int = 4
    stages: tuple[StageName, ...] = STAGES
    select: How = "reward"
    variants: int = 3
    rewrites: int = 2
    rounds: int = 1
    wave: int | None = None
    enough: float | None = 0.95
    gain: float = 0.0
    tools_told: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.stages, str):
            raise ConfigError(f"scaling: stages are a list of {', '.join(STAGES)}, not {self.stages!r}")
        for stage in self.stages:
            if stage not in STAGES:
                raise ConfigError(f"scaling: no stage {stage!r}{did_you_mean(str(stage), STAGES)}")
        object.__setattr__(
            self, "stages", tuple(stage for stage in STAGES if stage == "sample" or stage in self.stages)
        )
        if self.select not in HOWS:
            raise ConfigError(f"scaling: nothing is selected by {self.select!r}{did_you_mean(str(self.select), HOWS)}")
        for name, least in (("samples", 1), ("variants", 1), ("rewrites", 1), ("rounds", 1), ("wave", 1)):
            value = getattr(self, name)
            if name == "wave" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                option = {"variants": "variants (enhance=N)", "rewrites": "rewrites (polish=N)"}.get(name, name)
                raise ConfigError(f"scaling: {option} is a whole number of at least {least}, not {value!r}")
        if self.enough is not None and not 0 <= self.enough <= 1:
            raise ConfigError(f"scaling: enough is a value from 0 to 1, or none, not {self.enough!r}")
        if not 0 <= self.gain <= 1:
            raise ConfigError(f"scaling: gain is a value from 0 to 1, not {self.gain!r}")

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read `N[,STAGE...][,OPTION=VALUE...]`, as the command line has it; without a stage, all are gone through.

        `select=HOW`, `enhance=VARIANTS` and `polish=REWRITES` are a stage and its option in one.

        Raises:
            ConfigError: says what cannot be read.

        >>> Plan.parse("4").stages == STAGES
        True
        >>> plan = Plan.parse("8,validate,select=tournament,enough=0.9")
        >>> plan.samples, plan.stages, plan.select, plan.enough
        (8, ('sample', 'validate', 'select'), 'tournament', 0.9)
        """
        first, *rest = (part.strip() for part in text.split(","))
        if not first.isdecimal():
            raise ConfigError(f"scaling: begins with the number of documents, as in 4,validate,select; not {first!r}")
        stages: list[Any] = []
        options: dict[str, Any] = {"samples": int(first)}
        for part in filter(None, rest):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if name in STAGES:
                stages.append(name)
            if not equals:
                if name not in STAGES:
                    raise ConfigError(f"scaling: no stage {name!r}{did_you_mean(name, STAGES)}")
                continue
            if name in ("sample", "validate"):
                raise ConfigError(
                    f"scaling: {name} takes no value, so not {part!r}; the number of documents comes first, as in 4,validate"
                )
            if name not in _OPTIONS:
                raise ConfigError(f"scaling: no option {name!r}{did_you_mean(name, _OPTIONS)}")
            field = _OPTIONS[name]
            if field in options:
                raise ConfigError(f"scaling: {name} is given twice")
            options[field] = _read(name, field, value)
        if stages:
            options["stages"] = tuple(stages)
        return cls(**options)

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"stages": list(self.stages)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read what `to_json` gave."""
        return cls(**{**data, "stages": tuple(data["stages"])})

    def only(self, *stages: StageName) -> Plan:
        """The same with these stages."""
        return replace(self, stages=stages)


def _read(name: str, field: str, value: str) -> Any:
    if field == "select":
        return value
    if field == "tools_told":
        if value not in ("true", "false"):
            raise ConfigError(f"scaling: {name} is true or false, not {value!r}")
        return value == "true"
    if field in ("enough", "wave") and value == "none":
        return None
    try:
        return float(value) if field in ("enough", "gain") else int(value)
    except ValueError:
        raise ConfigError(f"scaling: {name} is a number, not {value!r}") from None
