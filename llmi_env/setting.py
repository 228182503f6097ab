"""What the options of `gym.make` come to: made once, shared by all environments of a vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gymnasium import spaces

from llmi_env.actions import Actions, CallActions, TextActions, TokenActions
from llmi_env.calls import ToolSpec
from llmi_env.config import EnvConfig, load_config
from llmi_env.errors import ConfigError
from llmi_env.judge_checks import check_judges
from llmi_env.judges.base import Judge
from llmi_env.observing import INPUT_PICTURES, observation_space
from llmi_env.rewards import HybridReward, RewardTerm
from llmi_env.task import Task
from llmi_env.task_order import TaskOrder
from llmi_env.task_sets import SPLITS, TaskSet, load_tasks
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer
from llmi_env.tools.base import Tool
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import World
from llmi_env.world_source import WorldSource


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything about an environment but the episode.

    Attributes:
        config: the options that are data.
        source: gives the World.
        tools: specs of the tools at hand.
        reward: scores documents.
        tasks: tasks that can be fulfilled with these tools.
        tokenizer: `None` where observations have no tokens.
    """

    config: EnvConfig
    source: WorldSource
    tools: Mapping[str, ToolSpec]
    reward: HybridReward
    tasks: TaskSet
    tokenizer: Tokenizer | None

    @classmethod
    def of(
        cls,
        config: str | Path | Mapping[str, Any] | EnvConfig = "offline",
        *,
        tasks: str | Path | Sequence[Task] | None = None,
        tokenizer: str | Tokenizer | None = None,
        world: str | WorldConfig | Mapping[str, Any] | World | None = None,
        reward: str | HybridReward | None = None,
        reward_terms: Sequence[RewardTerm] = (),
        tools: Mapping[str, ToolSpec | Tool] | Sequence[Tool] | None = None,
        judges: Sequence[Judge] = (),
        **overrides: Any,
    ) -> Setting:
        """Resolve the options of `LLMIEnv`, which says what they mean.

        Raises:
            ConfigError: an option, preset or value that does not exist.
            MissingExtra: the configured World needs packages that are not installed.
            TaskError: the tasks cannot be read.
        """
        given: list[tuple[str, Any, Any]] = [
            ("tasks", tasks, Sequence),
            ("tokenizer", tokenizer, Tokenizer),
            ("world", world, World),
            ("reward", reward, HybridReward),
        ]
        # What is data goes into the configuration; objects stand beside it.
        for name, value, kind in given:
            if isinstance(value, str | Path | Mapping | WorldConfig):
                overrides[name] = str(value) if isinstance(value, Path) else value
            elif value is not None and not isinstance(value, kind):
                raise ConfigError(f"{name} is a {kind.__name__} or names one, not {type(value).__name__}")
        resolved = load_config(config, **overrides)
        specs, objects = _tools(tools)
        for judge in _listed("judges", judges):
            if not isinstance(judge, Judge):
                raise ConfigError(
                    f"judges are objects with `terms`, a call and `aclose`; {type(judge).__name__} is none"
                )
        for term in _listed("reward_terms", reward_terms):
            if not isinstance(term, RewardTerm):
                raise ConfigError(f"reward_terms are `RewardTerm`s, not {type(term).__name__}")
        where = world if isinstance(world, World) and not isinstance(world, str) else resolved.world
        source = WorldSource(where, resolved.services, objects, judges, specs)
        source.check_extras()
        # Specs alone say what a World elsewhere has, and take the place of what the configuration says.
        at_hand = {**specs, **{name: tool.spec for name, tool in objects.items()}} if specs else source.tools
        scorer = reward if isinstance(reward, HybridReward) else HybridReward.load(resolved.reward)
        if judges:
            check_judges("in_process", judges, scorer)
        elif isinstance(where, str):
            check_judges(where, resolved.services.judges, scorer)
        named = resolved.tasks if tasks is None or isinstance(tasks, str | Path) else tasks
        return cls(
            resolved,
            source,
            at_hand,
            scorer.extended(reward_terms) if reward_terms else scorer,
            _load_tasks(named).for_tools(at_hand),
            tokenizer if tokenizer is not None and not isinstance(tokenizer, str) else _tokenizer(resolved),
        )

    def actions(self) -> Actions:
        """The actions of the configured mode, with a space of its own."""
        limits, mode = self.config.limits, self.config.action_mode
        if mode == "token":
            assert self.tokenizer is not None
            return TokenActions(self.tokenizer.vocab_size)
        if mode == "call":
            return CallActions(self.tools, limits.characters, limits.calls + INPUT_PICTURES)
        return TextActions(limits.characters, whole=mode == "document")

    def observation_space(self) -> spaces.Dict:
        """The observations, as a space of its own."""
        return observation_space(self.config, self.tokenizer)

    def order(self, index: int = 0, count: int = 1) -> TaskOrder:
        """The order of tasks of environment (or group) `index` of `count`; each has the shard of a shard."""
        config = self.config
        if config.order == "random":
            return TaskOrder(self.tasks, "random", config.order_seed, config.shard)
        mine, shards = config.shard
        return TaskOrder(self.tasks, config.order, config.order_seed, (mine * count + index, shards * count))

    def __deepcopy__(self, memo: Any) -> Setting:
        # Nothing in it changes, and worlds, tools and judges given as objects may hold models.
        return self


def _tools(
    tools: Mapping[str, ToolSpec | Tool] | Sequence[Tool] | None,
) -> tuple[dict[str, ToolSpec], dict[str, Tool]]:
    if isinstance(tools, Mapping):
        named: list[tuple[str, Any]] = list(tools.items())
    else:
        named = [(_name(tool), tool) for tool in _listed("tools", tools)]
    names = [name for name, _ in named]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"tools given twice: {', '.join(sorted(twice))}")
    specs: dict[str, ToolSpec] = {}
    objects: dict[str, Tool] = {}
    for name, tool in named:
        if isinstance(tool, ToolSpec):
            specs[name] = tool
        elif isinstance(tool, Tool) and callable(tool) and isinstance(tool.spec, ToolSpec):
            objects[name] = tool
        else:
            raise ConfigError(
                f"tool {name!r}: a ToolSpec, or an object with `spec`, a call and `aclose`, is needed, not {type(tool).__name__}"
            )
        spec = specs[name] if name in specs else objects[name].spec
        if spec.name != name:
            raise ConfigError(
                f"the tool {name!r} calls itself {spec.name!r}: policies are told the one and must write the other"
            )
    return specs, objects


def _listed(what: str, values: Any) -> list[Any]:
    if values is None:
        return []
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ConfigError(f"{what} is a list, not {type(values).__name__}")
    return list(values)


def _name(tool: object) -> str:
    spec = getattr(tool, "spec", None)
    if not isinstance(spec, ToolSpec):
        raise ConfigError(f"a tool is an object with `spec`, a call and `aclose`; {type(tool).__name__} is none")
    return spec.name


@lru_cache(maxsize=len(SPLITS))
def _split(name: str) -> TaskSet:
    return load_tasks(name)


def _load_tasks(source: str | Sequence[Task]) -> TaskSet:
    # Bundled splits do not change: every environment of a process shares them.
    return _split(source) if isinstance(source, str) and source in SPLITS else load_tasks(source)


def _tokenizer(config: EnvConfig) -> Tokenizer | None:
    if config.tokenizer == "byte" or (config.tokenizer is None and config.action_mode == "token"):
        return ByteTokenizer()
    return None if config.tokenizer is None else HFTokenizer.load(config.tokenizer)
