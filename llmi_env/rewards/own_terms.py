"""Terms of one's own that a preset names: found, checked and made when the preset is loaded.

In a preset a term with `use` is computed by a function or class of the user's:

    terms:
      brief:
        weight: 0.2
        use: ./my_terms.py:brief        # or "package.module:name", or the name of an entry point in `llmi_env.reward_terms`
        options: {limit: 500}

A function takes `(document, task)` and the options as keywords; a class is made with the options, and what it makes takes `(document,
task)`. Either gives a number in [0, 1]. What cannot work is told on loading, with the term's name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.registry import Registry
from llmi_env.rewards.preset import TermSpec
from llmi_env.rewards.reward_term import RewardTerm
from llmi_env.task import Task

REWARD_TERMS = Registry(what="reward term", group="llmi_env.reward_terms")
"""Terms that installed packages bring, by the names of their entry points."""


def load_term(name: str, spec: TermSpec) -> RewardTerm:
    """The term that an entry of a preset names by `use`.

    Raises:
        ConfigError: it cannot be imported, or cannot be called as a term is; names the term and says what to do.
    """
    assert spec.use is not None
    try:
        return RewardTerm(name, _Named(spec.use, spec.options), spec.weight, spec.version, spec.gates)
    except ConfigError as error:
        raise ConfigError(f"reward term {name!r}: {error}") from error


class _Named:
    """A function or class by its name. It is pickled as the name: a file of the user's is no module that other processes can import."""

    def __init__(self, use: str, options: Mapping[str, Any]) -> None:
        self.use, self.options = use, dict(options)
        self._score = _made(use, self.options)

    def __call__(self, document: Document, task: Task) -> float:
        return self._score(document, task)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Named, (self.use, self.options)


def _made(use: str, options: dict[str, Any]) -> Callable[[Document, Task], float]:
    found = _found(use)
    if inspect.isclass(found):
        _check_takes(found, use, (), options)
        try:
            found, options = found(**options), {}
        except Exception as error:
            raise ConfigError(f"{use!r} cannot be made: {type(error).__name__}: {error}") from error
        if not callable(found):
            raise ConfigError(f"{use!r} makes objects that cannot be called; give it __call__(self, document, task)")
    elif not callable(found):
        raise ConfigError(f"{use!r} is a {type(found).__name__}; a function or class is needed")
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None)):  # noqa: B004
        raise ConfigError(f"{use!r} is a coroutine function; a term is a plain function, what must wait is a judge")
    _check_takes(found, use, ("document", "task"), options)
    return lambda document, task: found(document, task, **options)  # type: ignore[no-any-return]


def _check_takes(function: Any, use: str, given: tuple[str, ...], options: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise ConfigError(f"{use!r} does not say what it takes; wrap it in a function (document, task)") from error
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        wanted = ", ".join([*given, *(f"{name}=" for name in options)]) or "nothing"
        raise ConfigError(f"{use!r} takes {signature}; it is called with ({wanted}): {error}") from error


def _found(use: str) -> Any:
    place, _, attribute = use.rpartition(":")
    try:
        if place.endswith(".py"):
            module = _module(Path(place))
            if not hasattr(module, attribute):
                raise ConfigError(f"{place} has no {attribute!r}")
            return getattr(module, attribute)
        if use.endswith(".py"):
            raise ConfigError(f"{use!r} names a file; say which of its functions or classes: {use + ':NAME'!r}")
        return REWARD_TERMS.find(use)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's file does while it is imported
        raise ConfigError(f"{use!r} cannot be imported: {type(error).__name__}: {error}") from error


def _module(path: Path) -> ModuleType:
    """A Python file as a module; read once for each path."""
    path = path.absolute()
    name = f"llmi_reward_terms_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise ConfigError(f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a path that ends in .py always has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as `dataclasses` in it needs
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
