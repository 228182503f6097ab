"""Reward presets: data that says which terms count how much, read from YAML and checked on loading."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.yaml_text import parse_yaml, read_yaml

RULE_TERMS = ("image_count", "tool_use", "tool_choice", "call_validity", "call_success", "plain_text")
"""Terms that need no judge. Every other term is a judge's."""

Situation = Literal[
    "no_picture", "more_pictures_than", "no_text", "no_call", "no_call_count_free", "no_call_none_wanted"
]


class Gate(BaseModel):
    """Multiplies a term by another one: `min(1, value / full_at)`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    term: str
    """Term whose value, before its own gates, opens the gate."""
    full_at: float = Field(default=1.0, gt=0, le=1)
    """Value from which on the gate is fully open."""


class TermSpec(BaseModel):
    """One term of the reward."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(ge=0, le=1)
    """Share of the total; 0 keeps the term in the report without rewarding it."""
    gates: tuple[Gate, ...] = ()
    """What the term is multiplied by."""
    why: str = ""
    """What the term is for."""
    use: str | None = None
    """Function or class that computes the term, where it is the user's own: `package.module:name`, `./file.py:name` (seen from the
    preset's folder), or the name of an entry point in the group `llmi_env.reward_terms`."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Keywords for it."""
    version: int = Field(default=1, ge=0)
    """Of what it computes; stands in reports."""


class SpecialCase(BaseModel):
    """A situation in which terms have a fixed score, whatever a judge would say; the first that applies to a term counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: Situation
    """`no_picture`: none came. `more_pictures_than`: more than `limit` came. `no_text`: nothing but calls. `no_call`: none was written;
    with `_count_free` or `_none_wanted` only for tasks of that kind."""
    limit: int | None = None
    """For `more_pictures_than`."""
    terms: tuple[str, ...]
    """Judged terms that get `score`."""
    score: float = Field(ge=1, le=5)
    """The judge's score in their place."""


class Counting(BaseModel):
    """How pictures and failures are counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exact: bool = False
    """Count as in evaluation: the number of pictures is right or it is not."""
    pictures: Literal["delivered", "usable"] = "delivered"
    """`usable` leaves out blank pictures and repetitions of the same one."""
    world_faults: Literal["no_picture", "found"] = "no_picture"
    """Whether a call that the world failed counts as a picture found."""
    unscored: Literal["never", "no_picture_left", "any"] = "never"
    """When failures of the world leave the whole document unscored."""
    free_without_picture: float = Field(default=1.0, ge=0, le=1)
    """`image_count` of a document without a picture where the count is free and the task needs no tool."""
    free_choice: str | None = None
    """Judged term that stands in for `tool_choice` where a task names no tools; without one, the share of valid calls within the budget."""
    free_call_credit: float = Field(default=0.0, ge=0, le=1)
    """What `tool_choice`, `call_validity` and `call_success` are worth without a call where the count is free."""


class Preset(BaseModel):
    """A reward as data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int = Field(ge=0)
    summary: str = ""
    terms: Mapping[str, TermSpec]
    special: tuple[SpecialCase, ...] = ()
    counting: Counting = Counting()

    @classmethod
    def parse(cls, data: Any, where: str) -> Preset:
        """Check a mapping as read from YAML.

        Raises:
            ConfigError: names the file and the key.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"{where}: a reward preset is a mapping with `name`, `version` and `terms`")
        try:
            preset = cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(f"{where}: {_first(error)}") from None
        preset._check(where)
        return preset

    @classmethod
    def bundled(cls, name: str) -> Preset:
        """Read a preset that ships with the package.

        Raises:
            ConfigError: when there is none of that name.
        """
        if name not in preset_names():
            raise ConfigError(f"no reward preset {name!r}{did_you_mean(str(name), preset_names())}")
        text = (resources.files("envs_configs") / "rewards" / f"{name}.yaml").read_text(encoding="utf-8")
        where = f"reward preset {name!r}"
        return cls.parse(parse_yaml(text, where), where)

    @classmethod
    def from_file(cls, path: str | Path) -> Preset:
        """Read a preset of your own.

        Raises:
            ConfigError: when the file cannot be read or holds no preset.
        """
        where = f"reward preset {str(path)!r}"
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} cannot be read: {error}") from error
        return cls.parse(read_yaml(text, where), where)._seen_from(Path(path).parent)

    def to_yaml(self) -> str:
        """The preset as `from_file` reads it."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)

    def _seen_from(self, folder: Path) -> Preset:
        """The same preset with the files of its terms named whole, so that it means the same wherever it is read."""
        terms = dict(self.terms)
        for name, term in terms.items():
            place, colon, attribute = (term.use or "").rpartition(":")
            if colon and place.endswith(".py"):
                use = f"{(folder / Path(place).expanduser()).absolute()}:{attribute}"
                terms[name] = term.model_copy(update={"use": use})
        return self.model_copy(update={"terms": terms})

    def _check(self, where: str) -> None:
        total = sum(term.weight for term in self.terms.values())
        if abs(total - 1.0) > 1e-9:
            raise ConfigError(
                f"{where}: the weights add up to {total:g}; they must add up to 1, so that a reward lies in [0, 1]"
            )
        for name, term in self.terms.items():
            for gate in term.gates:
                if gate.term not in self.terms:
                    raise ConfigError(
                        f"{where}: terms.{name}: no term {gate.term!r} to gate by{did_you_mean(gate.term, self.terms)}"
                    )
            if term.use is None and (term.options or term.version != 1):
                raise ConfigError(f"{where}: terms.{name}: `options` and `version` go with `use`, and only with it")
            if term.use is not None and name in RULE_TERMS:
                raise ConfigError(f"{where}: terms.{name} is a rule of the package: choose another name for your own")
        for case in self.special:
            if (case.when == "more_pictures_than") != (case.limit is not None):
                raise ConfigError(f"{where}: special: `limit` goes with `more_pictures_than`, and only with it")
            for name in case.terms:
                if name not in self.judged:
                    raise ConfigError(f"{where}: special: no judged term {name!r}{did_you_mean(name, self.judged)}")
        choice = self.counting.free_choice
        if choice is not None and choice not in self.judged:
            raise ConfigError(
                f"{where}: counting.free_choice: no judged term {choice!r}{did_you_mean(choice, self.judged)}"
            )

    @property
    def judged(self) -> tuple[str, ...]:
        """Terms that are a judge's to score: all but the rules and the user's own."""
        return tuple(name for name, term in self.terms.items() if name not in RULE_TERMS and term.use is None)

    @property
    def needed(self) -> tuple[str, ...]:
        """Terms that a total cannot do without: those with a weight, and those that gate them."""
        weighted = [name for name, term in self.terms.items() if term.weight > 0]
        gates = {gate.term for name in weighted for gate in self.terms[name].gates}
        return tuple(name for name in self.terms if name in gates or name in weighted)

    def joined(self, added: Mapping[str, TermSpec]) -> Preset:
        """The same preset with further terms; its own keep what the weights of those leave, in proportion.

        Raises:
            ConfigError: for a name that it has already, weights of more than 1 together, or a gate that does not exist.
        """
        if not added:
            return self
        weight = sum(term.weight for term in added.values())
        if weight > 1 + 1e-9:
            raise ConfigError(f"reward preset {self.name!r}: the added terms weigh {weight:g}, more than 1")
        for name in added:
            if name in self.terms:
                raise ConfigError(f"reward preset {self.name!r} has a term {name!r} already: choose another name")
        left = max(0.0, 1 - weight)
        scaled = {name: term.model_copy(update={"weight": term.weight * left}) for name, term in self.terms.items()}
        joined = self.model_copy(update={"terms": scaled | dict(added)})
        joined._check(f"reward preset {self.name!r}")
        return joined

    def reweighted(self, weights: Mapping[str, float]) -> Preset:
        """The same preset with other weights for some terms (0 switches one off), scaled so that all add up to 1.

        Raises:
            ConfigError: for a term that it does not have, a negative weight, or nothing left to weigh.
        """
        for name, weight in weights.items():
            if name not in self.terms:
                raise ConfigError(f"reward preset {self.name!r}: no term {name!r}{did_you_mean(name, self.terms)}")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                raise ConfigError(
                    f"reward preset {self.name!r}: the weight of {name!r} is a number >= 0, not {weight!r}"
                )
        raw = {name: float(weights.get(name, term.weight)) for name, term in self.terms.items()}
        total = sum(raw.values())
        if total <= 0:
            raise ConfigError(f"reward preset {self.name!r}: every weight is 0; give at least one term a weight")
        terms = {name: term.model_copy(update={"weight": raw[name] / total}) for name, term in self.terms.items()}
        return self.model_copy(update={"terms": terms, "name": f"{self.name} (reweighted)"})

    def without(self, names: Collection[str]) -> Preset:
        """The same preset as if it had never had these terms: no weight, no gate by them, no special case of theirs.

        Raises:
            ConfigError: for a term that it does not have, or nothing left to weigh.
        """
        left = self.reweighted(dict.fromkeys(names, 0.0))
        terms = {
            name: term.model_copy(update={"gates": tuple(gate for gate in term.gates if gate.term not in names)})
            for name, term in left.terms.items()
            if name not in names
        }
        special = [
            case.model_copy(update={"terms": tuple(name for name in case.terms if name not in names)})
            for case in self.special
        ]
        counting = self.counting
        if counting.free_choice in names:
            counting = counting.model_copy(update={"free_choice": None})
        return self.model_copy(
            update={
                "name": f"{self.name} (without {', '.join(names)})",
                "terms": terms,
                "special": tuple(case for case in special if case.terms),
                "counting": counting,
            }
        )

    def ungated(self) -> Preset:
        """The same preset without gates: every term counts by itself."""
        terms = {name: term.model_copy(update={"gates": ()}) for name, term in self.terms.items()}
        return self.model_copy(update={"terms": terms, "name": f"{self.name} (ungated)"})

    def exactly(self) -> Preset:
        """The same preset, counting as in evaluation."""
        return self.model_copy(update={"counting": self.counting.model_copy(update={"exact": True})})


def is_path(source: str | Path) -> bool:
    """Whether a preset is named by its file rather than by its name."""
    return isinstance(source, Path) or Path(source).suffix in (".yaml", ".yml") or "/" in source


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship."""
    folder = resources.files("envs_configs") / "rewards"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def _first(error: ValidationError) -> str:
    # A key that is not known comes first: it is as a rule why another one is missing.
    found = min(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        known = sorted(
            {name for model in (Preset, TermSpec, Gate, SpecialCase, Counting) for name in model.model_fields}
        )
        return f"no key {place!r}{did_you_mean(str(found['loc'][-1]), known)}"
    return f"{place}: {found['msg']}"
