"""What callers of the vector environment give, checked and in plain form. Raises `ConfigError`, or `ActionError` for actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from llmi_env.errors import ActionError, ConfigError, did_you_mean

Bools = npt.NDArray[np.bool_]


def items(actions: Any, count: int) -> Sequence[Any]:
    """Actions of a batch, one for each of `count` environments; arrays as Python numbers."""
    if hasattr(actions, "tolist") and getattr(actions, "ndim", 0) == 1:  # of NumPy, or of torch
        actions = actions.tolist()
    if isinstance(actions, str | bytes | Mapping) or not isinstance(actions, Sequence):
        raise ActionError(
            f"actions are a sequence or an array with one for each environment, not {type(actions).__name__}"
        )
    if len(actions) != count:
        raise ActionError(f"{len(actions)} actions were given for {count} environments")
    return actions


def seeds(seed: Any, n: int) -> list[int | None]:
    """One seed for each environment: `seed + i`, those given, or none."""
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        return [int(seed) + i for i in range(n)]
    if seed is not None and not isinstance(seed, list | tuple | np.ndarray):
        raise ConfigError(f"seed is a number, or one for each environment, not {seed!r:.60}")
    return [None if one is None else int(one) for one in each("seed", seed, n)]


def each(what: str, values: Any, n: int) -> list[Any]:
    """One value for each environment: those of a sequence, or the same for all."""
    if isinstance(values, list | tuple | np.ndarray):
        if len(values) != n:
            raise ConfigError(f"{what}: {len(values)} values for {n} environments")
        return list(values)
    return [values] * n


def mask(given: Any, n: int) -> Bools:
    """Which environments are to be reset; all, where nothing is given."""
    if given is None:
        return np.ones(n, np.bool_)
    if not isinstance(given, np.ndarray) or given.dtype != np.bool_ or given.shape != (n,) or not given.any():
        raise ConfigError(
            f"options['reset_mask'] is a bool array of shape ({n},) with at least one True, not {given!r:.80}"
        )
    return given


def ids(env_ids: Any, n: int) -> list[int]:
    """Numbers of different environments."""
    given = np.asarray(env_ids)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise ActionError(f"env_ids are different numbers from 0 to {n - 1}, not {env_ids!r:.80}")
    found = [int(i) for i in given]
    wrong = [i for i in found if not 0 <= i < n]
    if wrong or len(set(found)) != len(found) or not found:
        raise ActionError(f"env_ids are different numbers from 0 to {n - 1}, not {env_ids!r:.80}")
    return found


def autoreset(mode: str | AutoresetMode) -> AutoresetMode:
    """The autoreset mode of a value or name."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = [known.value for known in AutoresetMode]
        raise ConfigError(f"no autoreset mode {mode!r}{did_you_mean(str(mode), known)}") from None
