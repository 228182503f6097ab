"""The writing side of a step: which tasks it takes, under which seed, and the rollouts that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmi_env import prompting
from llmi_env.comparison import Evaluation
from llmi_env.errors import ConfigError
from llmi_env.policies.base import Sampling
from llmi_env.policies.transformers_policy import TransformersPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Meanwhile, RolloutBatch, run_rollouts
from llmi_env.task import Task
from llmi_env.world.protocol import World
from llmi_env.world_source import tool_specs
from trainers.display import Display
from trainers.evaluation import by_turns, interleaved
from trainers.recipe import Recipe, TaskMix


class Writer:
    """Writes, illustrates, judges and scores documents as a recipe says.

    Args:
        recipe: lengths, limits, tools, prompt, feedback.
        policy: writes.
        world: carries out calls and judges.
        reward: scores.
        display: is told of each finished document.
    """

    def __init__(
        self, recipe: Recipe, policy: TransformersPolicy, world: World, reward: HybridReward, display: Display
    ) -> None:
        self._recipe, self._policy, self._world = recipe, policy, world
        self._reward, self._display = reward, display
        self._tools = tool_specs(recipe.env.services)

    async def write(
        self,
        tasks: Sequence[Task],
        samples: int,
        seed: int,
        first_group: int = 0,
        meanwhile: Meanwhile | None = None,
        sampling: Sampling | None = None,
    ) -> RolloutBatch:
        """`samples` documents of each task; tools and judges work while the policy writes on. Groups are counted from `first_group`."""
        recipe, env = self._recipe, self._recipe.env
        batch = await run_rollouts(
            self._policy,
            self._world,
            self._reward,
            tasks,
            samples=samples,
            seed=seed,
            max_tokens=recipe.max_tokens,
            sampling=sampling or Sampling(),
            limits=env.limits.episode(),
            tools=self._tools,
            prompt=env.prompt,
            feedback=env.feedback,
            on_done=lambda rollout: self._display.advance(),
            meanwhile=meanwhile,
        )
        return replace(batch, rollouts=tuple(replace(x, group=x.group + first_group) for x in batch.rollouts))

    async def evaluate(self, tasks: Sequence[Task]) -> Evaluation:
        """The held-out tasks, each time under the same seed."""
        sampling = Sampling(temperature=self._recipe.eval_temperature)
        batch = await self.write(tasks, self._recipe.eval_samples, self._recipe.eval_seed, sampling=sampling)
        return Evaluation(batch.rollouts)

    def check_room(self, tasks: Sequence[Task], context: int) -> None:
        """Look whether the policy can read the prompts. Pictures in them are not counted.

        Raises:
            ConfigError: a prompt leaves no room to write in.
        """
        for task in tasks:
            length = len(self._policy.tokenizer.chat(prompting.messages(task, self._tools, self._recipe.env.prompt)))
            if length >= context:
                raise ConfigError(
                    f"the prompt of task {task.id or task.key} has {length} tokens and the policy reads {context}: it could write nothing. "
                    "Leave such tasks out, take env.prompt=compact, or another policy"
                )


def step_seed(seed: int, step: int, batch: int = 0) -> int:
    """Seed of the rollouts of a step, and of its further batches (dynamic sampling): fixed by the recipe, so that a resumed run draws what an
    uninterrupted one would."""
    return (batch << 64) + (seed << 20) + step


def tasks_from(tasks: Sequence[Task], seed: int, taken: int, count: int, mix: TaskMix = "as_is") -> list[Task]:
    """The next tasks after `taken` ones: epoch after epoch, each in an order of its own; or all kinds of need equally often."""
    places = range(taken, taken + count)
    if mix == "even":
        return by_turns(tasks, seed, places)
    epochs = {epoch: interleaved(tasks, (seed << 16) + epoch) for epoch in {place // len(tasks) for place in places}}
    return [epochs[place // len(tasks)][place % len(tasks)] for place in places]
