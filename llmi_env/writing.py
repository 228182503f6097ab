"""`llmi write`: one question in, one illustrated page out; with `--scale`, the best page that can be had for what may be spent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmi_env.config import EnvConfig, load_config
from llmi_env.document import Document
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError
from llmi_env.policies.base import Policy, Sampling
from llmi_env.rewards import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.scaling import AskedPairs, Budget, Plan, PolicyWriter, Scaled, pairs_for, save_scaled, scale
from llmi_env.task import Task
from llmi_env.world import connect
from llmi_env.world_source import tool_specs

_STOPS = {
    StopReason.LENGTH: "cut at the token limit",
    StopReason.CHARACTERS: "cut at the limit of characters",
    StopReason.CALLS: "cut at the limit of calls",
    StopReason.PICTURES: "cut at the limit of pictures",
}


TRIED = "tried"
"""Name of the files in which everything that scaling tried is kept."""


def write_document(
    question: str,
    out: Path,
    *,
    policy: str = "grpo-trained",
    max_tokens: int = 224,
    temperature: float = 0.7,
    seed: int = 0,
    config: EnvConfig | None = None,
    scaling: Plan | None = None,
    budget: Budget | None = None,
    keep: Path | None = None,
) -> tuple[Path, str]:
    """Let a policy write one document and keep it as a self-contained HTML page.

    Args:
        question: what it is to be about.
        out: path of the page, in a folder that exists.
        policy: as in `llmi_env.models.resolve_policy`.
        max_tokens: tokens that the policy may write.
        temperature: 0 takes the likeliest token each time.
        seed: same seed, same document.
        config: world and reward; the `offline` preset by default.
        scaling: what is done for the best document; without it, one is written and that is it.
        budget: what scaling may spend.
        keep: run folder for everything that scaling tried, with a page that shows it.

    Returns:
        The page's path, and one line about the document; further ones where scaling has something to say.

    Raises:
        ConfigError: the page's folder or the policy does not exist, or there is a budget, or something to keep, and no scaling.
    """
    from llmi_env.policies.transformers_policy import TransformersPolicy
    from llmi_env.report import write_document_page
    from llmi_env.report.scaling_page import write_scaling_page

    if not out.parent.is_dir():  # told now, not after a minute of writing
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if scaling is None and (budget is not None or keep is not None):
        raise ConfigError("a budget, and what was tried, belong to scaling: give --scale, as in --scale 4")
    task, config = Task(question), config or load_config("offline")
    sampling = Sampling(temperature=temperature, top_p=0.95 if temperature else 1.0)
    loaded = TransformersPolicy.load(policy)
    if scaling is None:
        rollout = asyncio.run(_write(loaded, task, config, max_tokens, sampling, seed))
        facts = _facts(rollout)
        return write_document_page(out, question, rollout.document, facts), facts
    scaled = asyncio.run(_scale(loaded, task, config, max_tokens, sampling, seed, scaling, budget))
    facts = _facts_of(scaled)
    if keep is not None:
        save_scaled(keep, TRIED, scaled)
        facts += f"\neverything tried: {write_scaling_page(keep / f'{TRIED}.html', scaled)}"
    return write_document_page(out, question, scaled.document, facts), facts


async def _write(
    policy: Policy, task: Task, config: EnvConfig, max_tokens: int, sampling: Sampling, seed: int
) -> Rollout:
    world = connect(config.world, config.services)
    try:
        batch = await run_rollouts(
            policy,
            world,
            HybridReward.load(config.reward),
            [task],
            seed=seed,
            max_tokens=max_tokens,
            sampling=sampling,
            limits=config.limits.episode(),
            tools=tool_specs(config.services),
            prompt=config.prompt,
        )
    finally:
        await world.aclose()
    return batch.rollouts[0]


async def _scale(
    policy: Policy,
    task: Task,
    config: EnvConfig,
    max_tokens: int,
    sampling: Sampling,
    seed: int,
    plan: Plan,
    budget: Budget | None,
) -> Scaled:
    world = connect(config.world, config.services)
    tools = tool_specs(config.services)
    writer = PolicyWriter(
        policy,
        world,
        max_tokens=max_tokens,
        sampling=sampling,
        limits=config.limits.episode(),
        tools=tools,
        prompt=config.prompt,
    )
    pairs = pairs_for(config.services) if plan.select == "tournament" else None
    try:
        return await scale(
            task,
            policy=writer,
            world=world,
            reward=HybridReward.load(config.reward),
            budget=budget,
            stages=plan,
            seed=seed,
            tools=tools,
            pairs=pairs,
        )
    finally:
        await world.aclose()
        if isinstance(pairs, AskedPairs):
            await pairs.aclose()


def _facts_of(scaled: Scaled) -> str:
    """What became of scaling, in a line, and what the user ought to know besides."""
    spent, written = scaled.spent, sum(candidate.stage == "sample" for candidate in scaled.tried)
    took = f"{spent.tokens} tokens, {spent.tool_calls} calls of tools, {spent.judge_calls} of judges, {spent.seconds:.0f} s"
    lines = [
        _worth(scaled.rollout),
        f"the best of {written} documents and {len(scaled.tried) - written} changes: {took}",
    ]
    lines += [f"stopped early: {scaled.stopped}"] if scaled.stopped else []
    return "\n".join([*lines, *scaled.reasons])


def _facts(rollout: Rollout) -> str:
    return f"{rollout.ledger.n_policy} tokens, {_worth(rollout)}"


def _worth(rollout: Rollout) -> str:
    document: Document = rollout.document
    counts = [f"{len(document.pictures)} of {len(document.figures)} pictures came"]
    if rollout.reward is not None:
        counts.append(f"reward {rollout.reward:.2f} (judges are proxies)")
    else:
        counts.append(f"no score: {'; '.join(rollout.report.unscored)}")
    if rollout.stop in _STOPS:
        counts.append(_STOPS[rollout.stop])
    return ", ".join(counts)
