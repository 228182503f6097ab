"""`llmi write`: one question in, one illustrated page out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmi_env.config import EnvConfig, load_config
from llmi_env.document import Document
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError
from llmi_env.policies.base import Sampling
from llmi_env.rewards import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.task import Task
from llmi_env.world import connect
from llmi_env.world_source import tool_specs

_STOPS = {
    StopReason.LENGTH: "cut at the token limit",
    StopReason.CHARACTERS: "cut at the limit of characters",
    StopReason.CALLS: "cut at the limit of calls",
    StopReason.PICTURES: "cut at the limit of pictures",
}


def write_document(
    question: str,
    out: Path,
    *,
    policy: str = "warm-start",
    max_tokens: int = 224,
    temperature: float = 0.7,
    seed: int = 0,
    config: EnvConfig | None = None,
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

    Returns:
        The page's path, and one line about the document.

    Raises:
        ConfigError: the page's folder or the policy does not exist.
    """
    from llmi_env.policies.transformers_policy import TransformersPolicy
    from llmi_env.report import write_document_page

    if not out.parent.is_dir():  # told now, not after a minute of writing
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    rollout = asyncio.run(
        _write(TransformersPolicy.load(policy), Task(question), config, max_tokens, temperature, seed)
    )
    facts = _facts(rollout)
    return write_document_page(out, question, rollout.document, facts), facts


async def _write(
    policy: object, task: Task, config: EnvConfig | None, max_tokens: int, temperature: float, seed: int
) -> Rollout:
    from llmi_env.policies.transformers_policy import TransformersPolicy

    assert isinstance(policy, TransformersPolicy)
    config = config or load_config("offline")
    world = connect(config.world, config.services)
    try:
        batch = await run_rollouts(
            policy,
            world,
            HybridReward.load(config.reward),
            [task],
            seed=seed,
            max_tokens=max_tokens,
            sampling=Sampling(temperature=temperature, top_p=0.95 if temperature else 1.0),
            limits=config.limits.episode(),
            tools=tool_specs(config.services),
            prompt=config.prompt,
        )
    finally:
        await world.aclose()
    return batch.rollouts[0]


def _facts(rollout: Rollout) -> str:
    document: Document = rollout.document
    counts = [f"{rollout.ledger.n_policy} tokens", f"{len(document.pictures)} of {len(document.figures)} pictures came"]
    if rollout.reward is not None:
        counts.append(f"reward {rollout.reward:.2f} (judges are proxies)")
    else:
        counts.append(f"no score: {'; '.join(rollout.report.unscored)}")
    if rollout.stop in _STOPS:
        counts.append(_STOPS[rollout.stop])
    return ", ".join(counts)
