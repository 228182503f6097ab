"""Variants of a reward, as a YAML file says: terms dropped, weights changed, other presets, and a grid of weights.

    presets: [paper, ./mine.yaml]       # other rewards; those of a path are read from your own file
    drop_each: true                     # each term in turn, as if the reward had never had it
    variants:
      ungated: {gates: false}
      half the text: {weights: {text_quality: 0.075}}
      paper, exact: {preset: paper, exact: true, drop: [tool_use]}
    grid:                               # every combination of these weights
      text_quality: [0.1, 0.2]
      call_quality: [0.1, 0.2]

Weights are scaled so that all add up to 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llmi_env.config import load_yaml, parse_model
from llmi_env.errors import ConfigError
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import preset_names


@dataclass(frozen=True)
class Variant:
    """One reward among those compared.

    Attributes:
        name: in tables and pictures.
        reward: scores.
    """

    name: str
    reward: HybridReward


class VariantSpec(BaseModel):
    """What one variant changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: str | None = None
    """The reward to start from, by name or path; the base where left out."""

    drop: tuple[str, ...] = ()
    """Terms that it is to be without: no weight, and nothing gated by them."""

    weights: dict[str, float] = Field(default_factory=dict)
    """Other weights for some terms; 0 leaves a term its gates."""

    gates: bool = True
    """False takes away every gate."""

    exact: bool = False
    """Count pictures as in evaluation."""

    def reward(self, base: HybridReward) -> HybridReward:
        """The reward that this makes of the base."""
        made = base if self.preset is None else HybridReward.load(self.preset)
        if self.drop:
            made = made.without(*self.drop)
        if self.weights:
            made = made.reweighted(**self.weights)
        if not self.gates:
            made = made.ungated()
        return made.exactly() if self.exact else made


class AblationSpec(BaseModel):
    """A file of variants."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    presets: tuple[str, ...] = ()
    """Other rewards, by name or path."""

    drop_each: bool = False
    """Leave out each term that counts, in turn."""

    variants: dict[str, VariantSpec] = Field(default_factory=dict)
    """Variants by name."""

    grid: dict[str, list[float]] = Field(default_factory=dict)
    """Weights to try for some terms, in every combination."""


def load_variants(source: str | Path | Mapping[str, Any], base: HybridReward) -> list[Variant]:
    """The base, then its variants.

    Args:
        source: a set that ships (see `envs_configs/ablations`), the path of a YAML file, or a mapping.
        base: what the variants change.

    Raises:
        ConfigError: no such set or file, or a variant that cannot be made; names the variant.
    """
    spec = parse_model(AblationSpec, load_yaml("ablations", source), "variants of the reward")
    made = [Variant(base.name, base)]
    for name, change in _changes(spec, base):
        try:
            made.append(Variant(name, change.reward(base)))
        except ConfigError as error:
            raise ConfigError(f"variant {name!r}: {error}") from error
    names = [variant.name for variant in made]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"variants named twice: {', '.join(twice)} (the base is {base.name!r})")
    return made


def _changes(spec: AblationSpec, base: HybridReward) -> Iterator[tuple[str, VariantSpec]]:
    for preset in spec.presets:
        if preset != base.name:
            yield preset, VariantSpec(preset=preset)
        elif preset in preset_names():  # unless it is the base itself, a preset of the user's own has taken the name
            bundled = HybridReward.preset(preset)
            if (bundled.spec, bundled.exact) != (base.spec, base.exact):
                yield f"bundled {preset}", VariantSpec(preset=preset)
    if spec.drop_each:
        for term in base.spec.needed:
            if base.spec.terms[term].weight == 1:
                continue  # there is nothing else
            yield f"without {term}", VariantSpec(drop=(term,))
    yield from spec.variants.items()
    for weights in itertools.product(*spec.grid.values()) if spec.grid else ():
        chosen = dict(zip(spec.grid, weights, strict=True))
        yield " ".join(f"{term}={weight:g}" for term, weight in chosen.items()), VariantSpec(weights=chosen)
