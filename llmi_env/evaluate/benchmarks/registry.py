"""Benchmarks by name. One of your own is `"module:Class"`, or a plugin with an entry point in the group `llmi_env.benchmarks`."""

from __future__ import annotations

from llmi_env.config import EnvConfig, load_config
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Benchmark
from llmi_env.evaluate.benchmarks.heldout import TaskBenchmark
from llmi_env.registry import Registry
from llmi_env.rewards.hybrid import HybridReward

OURS = ("heldout", "validation")
"""Bundled splits of tasks, which the environment's reward scores."""

BENCHMARKS = Registry(
    what="benchmark",
    group="llmi_env.benchmarks",
    builtin={
        **dict.fromkeys(OURS, "llmi_env.evaluate.benchmarks.heldout:TaskBenchmark"),
        "llmi-bench": "llmi_env.evaluate.benchmarks.llmi_bench:LLMIBench",
        "opening": "llmi_env.evaluate.benchmarks.opening:OpenING",
        "isg-bench": "llmi_env.evaluate.benchmarks.isg_bench:ISGBench",
        "interleaved-bench": "llmi_env.evaluate.benchmarks.interleaved_bench:InterleavedBench",
    },
)
"""Every benchmark that can be named."""


def find_benchmark(name: str, config: EnvConfig | None = None) -> Benchmark:
    """The benchmark of a name.

    Args:
        name: of a benchmark that ships, of a plugin, or `"module:Class"`.
        config: whose reward scores our own tasks, and whose tools are at hand for them; the offline preset where nothing is given.

    Raises:
        ConfigError: there is none of that name, or it is no benchmark.
    """
    if name in OURS:
        config = config or load_config("offline")
        return TaskBenchmark(name, HybridReward.load(config.reward), config.services.tools)
    made = BENCHMARKS.make(name, {})
    if not isinstance(made, Benchmark):
        raise ConfigError(
            f"benchmark {name!r}: {type(made).__name__} is none, it needs `name`, `version`, `paper`, `headline`, `needs_data`, `measures`, "
            "`terms`, `load`, `questions` and `measure` (llmi_env.evaluate.benchmark.Benchmark)"
        )
    return made
