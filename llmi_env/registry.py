"""Finding implementations by name: built-ins, plugins (entry points) and import paths.

Names are checked without importing anything, so that a typing error in a configuration is told at once and a client never loads
what only its World needs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from llmi_env.errors import ConfigError, LLMIError, did_you_mean
from llmi_env.loading import LOADING


@dataclass(frozen=True)
class Registry:
    """Implementations of one kind, by name.

    Attributes:
        what: the kind in messages: "tool", "judge".
        group: entry point group of plugins.
        builtin: import path `"module:Class"` for each built-in name.
    """

    what: str
    group: str
    builtin: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def plugins(self) -> Mapping[str, EntryPoint]:
        """Installed plugins by name; a built-in name cannot be taken."""
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self.builtin}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that can be used."""
        return (*self.builtin, *self.plugins)

    def check(self, name: str) -> None:
        """Raise `ConfigError` when `name` is neither known nor an import path; imports nothing."""
        module, colon, attribute = name.partition(":")
        if colon and all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier():
            return
        if name not in self.names:
            raise ConfigError(
                f"no {self.what} {name!r}{did_you_mean(name, self.names)}. A class of your own is named 'module:Class'."
            )

    def find(self, name: str) -> Callable[..., Any]:
        """Import what `name` stands for.

        Raises:
            ConfigError: nothing of that name, or its module lacks it or cannot be imported.
            MissingExtra: it needs an optional dependency of this package.
        """
        self.check(name)
        if name in self.plugins:
            module_name, attribute = self.plugins[name].module, self.plugins[name].attr
        else:
            module_name, _, attribute = self.builtin.get(name, name).partition(":")
        try:
            with LOADING:
                found: Any = importlib.import_module(module_name)
        except LLMIError:
            raise
        except Exception as error:  # whatever a module of somebody else's raises while it is imported
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing and f"{module_name}.".startswith(f"{missing}."):
                raise ConfigError(f"{self.what} {name!r}: no module {module_name!r} can be imported") from error
            why = f"cannot be imported: {type(error).__name__}: {error}"
            why = f"needs {missing!r}, which is not installed" if missing else why
            raise ConfigError(f"{self.what} {name!r}: its module {module_name!r} {why}") from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise ConfigError(f"{self.what} {name!r}: module {module_name!r} has no {attribute!r}")
            found = getattr(found, part)
        if not callable(found):
            raise ConfigError(f"{self.what} {name!r} is a {type(found).__name__}; a class or function is needed")
        return found  # type: ignore[no-any-return]

    def bind(self, name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Raise `ConfigError` where `factory`, which `name` stands for, does not take `options` as keywords."""
        try:
            signature = inspect.signature(factory)
        except ValueError:  # written in C: calling it will tell
            return
        try:
            signature.bind(**options)
        except TypeError as error:
            parameters = signature.parameters.values()
            taken = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
            unknown = [str(option) for option in options if option not in taken]
            if unknown and len(taken) == len(parameters):
                hint = did_you_mean(unknown[0], taken)
                raise ConfigError(f"{self.what} {name!r}: there is no option {unknown[0]!r}{hint}") from None
            raise ConfigError(f"{self.what} {name!r}: {error}. Its options: {', '.join(taken) or 'none'}") from error

    def make(self, name: str, options: Mapping[str, Any]) -> Any:
        """Call what `name` stands for with `options` as keywords.

        Raises:
            ConfigError: nothing of that name, or an option that it does not take.
        """
        factory = self.find(name)
        self.bind(name, factory, options)
        return factory(**options)
