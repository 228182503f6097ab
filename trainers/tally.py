"""Figures of one step, gathered over micro-batches and optimiser steps."""

from __future__ import annotations

_ALWAYS = ("loss", "clip_fraction", "dual_clip_fraction", "approx_kl", "grad_norm", "logprob_error")


class Tally:
    """Sums, means over tokens, and the largest of each name."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._means: dict[str, tuple[float, int]] = {}
        self._most: dict[str, float] = {}
        self.optimizer_steps = 0
        """Times that the policy has moved."""

    def add(self, name: str, value: float) -> None:
        """A part of a sum."""
        self._sums[name] = self._sums.get(name, 0.0) + value

    def mean(self, name: str, value: float, tokens: int) -> None:
        """A mean over so many tokens."""
        total, count = self._means.get(name, (0.0, 0))
        self._means[name] = total + value * tokens, count + tokens

    def most(self, name: str, value: float) -> None:
        """One of several values, of which the largest counts."""
        self._most[name] = max(value, self._most.get(name, value))

    def include(self, other: Tally) -> None:
        """Take over the means and largest values that another one has gathered."""
        for name, (total, count) in other._means.items():
            mine, tokens = self._means.get(name, (0.0, 0))
            self._means[name] = mine + total, tokens + count
        for name, value in other._most.items():
            self.most(name, value)

    def results(self) -> dict[str, float | None]:
        """All figures; those of the policy are `None` where nothing was computed."""
        means = {name: total / count for name, (total, count) in self._means.items()}
        steps = {"optimizer_steps": float(self.optimizer_steps)}
        return {**dict.fromkeys(_ALWAYS), **self._sums, **means, **self._most, **steps}
