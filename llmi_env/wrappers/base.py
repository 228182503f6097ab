"""What the wrappers have in common: they know the environment beneath, and survive `EnvSpec`, pickle and `deepcopy`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from llmi_env.env import LLMIEnv
from llmi_env.errors import ConfigError


class LLMIWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A wrapper of `LLMI-v0`.

    Args:
        env: `LLMI-v0`, with or without other wrappers around it.
        **arguments: of the wrapper's constructor, from which `gym.make(env.spec)` makes it again.

    Raises:
        ConfigError: another environment.
    """

    def __init__(self, env: gym.Env[Any, Any], **arguments: Any) -> None:
        # A callback is one of these at times: a copy of it would tell somebody else.
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **arguments)
        if not isinstance(env, gym.Env) or not isinstance(env.unwrapped, LLMIEnv):
            raise ConfigError(f"{type(self).__name__} wraps LLMI-v0, not {env!r:.80}")
        super().__init__(env)

    @property
    def base(self) -> LLMIEnv:
        """The environment itself."""
        env = self.env.unwrapped
        assert isinstance(env, LLMIEnv)
        return env

    def _parts(self, name: str, kind: type[spaces.Space[Any]], otherwise: str) -> dict[str, spaces.Space[Any]]:
        """The parts of the observation beneath.

        Args:
            name: the part that the wrapper works on.
            kind: what it has to be.
            otherwise: what to do where it is not.

        Raises:
            ConfigError: there is no such part, or it is of another kind.
        """
        space = self.env.observation_space
        parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {}
        if not isinstance(parts.get(name), kind):
            found = f"is {parts[name]}" if name in parts else "is missing"
            raise ConfigError(f"{type(self).__name__}: the observation's {name!r} {found}: {otherwise}")
        return parts


def number(wrapper: str, name: str, value: Any, least: int = 1) -> int:
    """The argument as it is.

    Raises:
        ConfigError: it is no whole number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{wrapper}: {name} must be a number >= {least}, not {value!r:.80}")
    return value
