"""Our episode as verl's agent loop: the same rollout, World and reward as everywhere, and a ledger from which verl gets its tensors.

verl makes one `LLMIAgentLoop` for each document. What documents have in common (recipe, tasks, World, reward) is opened once in a worker
process, by the run folder that the agent configuration names. A finished document is kept under `episodes/parts/`; the launcher joins
the files of a step. A document without a score is no output at all (`[]`), so that it is in neither batch nor group.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput

from llmi_env.calls import ToolSpec
from llmi_env.ledger_export import to_verl
from llmi_env.policies.vision import Eyes
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.tool_accuracy import tool_accuracy
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.seeds import derived_seed
from llmi_env.task_sets import TaskSet, load_tasks
from llmi_env.tokenizers import HFTokenizer
from llmi_env.world import connect
from llmi_env.world.protocol import World
from llmi_env.world_source import tool_specs
from trainers.recipe import load_recipe
from trainers.verl.episodes import Keeper, Kept
from trainers.verl.recipe import VerlRecipe
from trainers.verl.server_policy import SeeingServerPolicy, ServerPolicy


class LLMIAgentLoop(AgentLoopBase):
    """Writes, illustrates, judges and scores one document.

    Args:
        *args, **kwargs: verl's own.
        run_dir: the run folder, which holds the resolved recipe.
    """

    def __init__(self, *args: Any, run_dir: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._common = _common(run_dir)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput | list[AgentLoopOutput]:
        """One document; `[]` where it has no score.

        Args:
            sampling_params: verl's, for training or validation.
            row: fields of the data set (see `trainers.verl.data`) and verl's `global_steps` and `session_id`.
        """
        common, recipe = self._common, self._common.recipe
        about = row["extra_info"]
        split, step, sample = str(about["split"]), int(row["global_steps"]), int(row["session_id"])
        task = common.tasks(split).by_id(str(about["task_id"]))
        policy = common.policy(self.server_manager, self.tokenizer, self.processor, dict(sampling_params))
        # The evaluation draws the same each time; training draws anew at each step.
        seed = recipe.seed if split == "val" else derived_seed(recipe.seed, step)
        batch = await run_rollouts(
            policy,
            common.world,
            common.reward,
            [task],
            seed=derived_seed(seed, sample),
            max_tokens=recipe.max_tokens,
            limits=recipe.env.limits.episode(),
            tools=common.tools,
            prompt=recipe.env.prompt,
            feedback=recipe.env.feedback,
        )
        (rollout,) = batch.rollouts
        await common.keeper.keep(Kept(rollout, split, step, int(about["index"]), sample))
        if rollout.reward is None:
            return []
        times = rollout.times
        output = to_verl(
            rollout.ledger,
            rollout.reward,
            prompt_length=self.rollout_config.prompt_length,
            response_length=self.rollout_config.response_length,
            metrics={
                "generate_sequences": batch.stats.seconds,
                "tool_calls": times.landed - times.written,
                "compute_score": times.judged - times.landed,
            },
            extra_fields={
                **policy.extra_fields,
                "turn_scores": [],
                "tool_rewards": [],
                "reward_extra_info": _figures(rollout, common.reward),
            },
        )
        return AgentLoopOutput(**output)


class _Common:
    """What all documents of a worker process share."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = Path(run_dir)
        recipe = load_recipe(self._run_dir / "config.yaml")
        assert isinstance(recipe, VerlRecipe)
        self.recipe = recipe
        self.reward = HybridReward.load(recipe.env.reward)
        self.tools: dict[str, ToolSpec] = tool_specs(recipe.env.services)
        self.world: World = connect(recipe.env.world, recipe.env.services)
        self._tasks: dict[str, TaskSet] = {}
        self._tokenizer: HFTokenizer | None = None
        self._eyes: Eyes | None = None
        self.keeper = Keeper(self._run_dir)

    def tasks(self, split: str) -> TaskSet:
        """The tasks of training or evaluation."""
        if split not in self._tasks:
            self._tasks[split] = load_tasks(self.recipe.eval_tasks if split == "val" else self.recipe.env.tasks)
        return self._tasks[split]

    def tokenizer(self, hf: Any) -> HFTokenizer:
        """verl's tokenizer as ours; its vocabulary is read once."""
        if self._tokenizer is None or self._tokenizer.hf is not hf:
            self._tokenizer = HFTokenizer(hf)
        return self._tokenizer

    def policy(self, servers: Any, tokenizer: Any, processor: Any, params: dict[str, Any]) -> ServerPolicy:
        """verl's servers as a policy, with eyes where the model has some."""
        shows = self.recipe.env.feedback != "none"
        if processor is None:
            return ServerPolicy(servers, self.tokenizer(tokenizer), params, shows)
        if self._eyes is None:
            self._eyes = Eyes(processor)
        # The CPU's server never samples a placeholder.
        forbid = self.recipe.device != "cpu"
        return SeeingServerPolicy(servers, self.tokenizer(tokenizer), params, shows, self._eyes, forbid)


@lru_cache(maxsize=1)
def _common(run_dir: str) -> _Common:
    return _Common(run_dir)


def _figures(rollout: Rollout, reward: HybridReward) -> dict[str, float]:
    """Figures of one document for verl's metrics: every term that the total needs, and what became of the calls."""
    values = rollout.report.values
    figures = {f"term_{name}": values[name] for name in reward.spec.needed if name in values}
    accuracy = tool_accuracy([(rollout.task, rollout.document)]).accuracy
    return {
        **figures,
        **({} if accuracy is None else {"tool_accuracy": accuracy}),
        "calls": float(rollout.report.counts.get("calls", 0)),
        "pictures": float(rollout.report.counts.get("pictures", 0)),
        "ended": float(rollout.stop.value == "end"),
    }
