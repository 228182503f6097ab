"""A policy that sees: its engine must agree with the model's own reading of the whole context, pictures included."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmi_env.calls import Call  # noqa: E402
from llmi_env.document import Picture, Provenance  # noqa: E402
from llmi_env.errors import ConfigError  # noqa: E402
from llmi_env.ledger import Owner  # noqa: E402
from llmi_env.models import load_model, sees_pictures  # noqa: E402
from llmi_env.policies.base import SeeingPolicy  # noqa: E402
from llmi_env.policies.seeing_policy import SeeingTransformersPolicy  # noqa: E402
from llmi_env.policies.transformers_policy import TransformersPolicy  # noqa: E402
from llmi_env.policies.vision import Eyes  # noqa: E402
from llmi_env.rewards.hybrid import HybridReward  # noqa: E402
from llmi_env.rollout import Rollout, run_rollouts  # noqa: E402
from llmi_env.task import Task  # noqa: E402
from llmi_env.world.in_process import InProcessWorld  # noqa: E402
from trainers.forward_whole import score_whole  # noqa: E402
from trainers.verl.tiny import make_tiny  # noqa: E402

CALLS = [
    f"<imgen>{Call(tool, 'an owl', params).to_json()}</imgen>"
    for tool, params in (("search", {"query": "owl"}), ("code", {"code": "plt.plot([1, 2])"}))
]


def picture(size: tuple[int, int], colour: str) -> Picture:
    return Picture(Image.new("RGB", size, colour), Provenance("test", caption=f"a {colour} sheet"))


TASKS = [
    Task("Write about owls.", id="owls", tools=("search",)),
    Task("Make it grey.", (picture((90, 60), "red"),), id="grey", tools=("edit",)),
    Task("Compare them.", (picture((56, 56), "blue"), picture((30, 100), "green")), id="two"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("seeing"), kind="qwen2_5_vl", vocabulary=300, pieces=CALLS)


@pytest.fixture(scope="module")
def policy(folder: Path) -> SeeingTransformersPolicy:
    model, tokenizer = load_model(folder)
    with torch.no_grad():  # calls come often, text seldom: pictures stand close together
        torch.manual_seed(1)
        bias = torch.zeros(len(tokenizer.hf))
        bias[tokenizer.hf.convert_tokens_to_ids(CALLS)] = 4.0
    head = model.lm_head
    plain = head.forward
    head.forward = lambda hidden: plain(hidden) + bias
    return SeeingTransformersPolicy(model, tokenizer, Eyes.load(str(folder)), max_rows=5)


def roll(
    policy: SeeingTransformersPolicy, world: InProcessWorld, feedback: Any = "image", **options: Any
) -> list[Rollout]:
    options = {"max_tokens": 12, "samples": 3} | options
    batch = asyncio.run(run_rollouts(policy, world, HybridReward.preset("llmi"), TASKS, feedback=feedback, **options))
    return list(batch.rollouts)


def test_it_sees(policy: SeeingTransformersPolicy, folder: Path, tmp_path: Path) -> None:
    assert isinstance(policy, SeeingPolicy)
    assert sees_pictures(folder)
    assert isinstance(TransformersPolicy.load(folder), SeeingTransformersPolicy)
    assert not sees_pictures(make_tiny(tmp_path, vocabulary=300))
    assert not isinstance(TransformersPolicy.load(tmp_path), SeeingPolicy)


@pytest.mark.parametrize("feedback", ["none", "text", "image"])
def test_logprobs_are_the_models_own(
    policy: SeeingTransformersPolicy, world: InProcessWorld, folder: Path, feedback: str
) -> None:
    rollouts = roll(policy, world, feedback)
    eyes = Eyes.load(str(folder))
    shown = [len(x.ledger.pictures) - len(x.task.images) for x in rollouts]
    assert (sum(shown) > 6) is (feedback == "image")
    for rollout in rollouts:
        ledger = rollout.ledger
        ledger.check()
        if ledger.pictures:
            grids = eyes.inputs([shown for _, _, shown in ledger.pictures])["image_grid_thw"]
            ledger.check_pictures([int(grid.prod()) // 4 for grid in grids], placeholder=eyes.placeholder)
    with torch.no_grad():
        scored = score_whole(policy.model, [x.ledger for x in rollouts], policy.tokenizer.vocab_size, eyes)
        alone = [
            score_whole(policy.model, [x.ledger], policy.tokenizer.vocab_size, eyes).logprobs_BT[0] for x in rollouts
        ]
    for row, (rollout, single) in enumerate(zip(rollouts, alone, strict=True)):
        begin = rollout.ledger.prompt_length
        torch.testing.assert_close(scored.logprobs_BT[row, : len(single)], single, atol=1e-5, rtol=1e-5)
        for t, owner in enumerate(rollout.ledger.owners[begin:]):
            if owner is Owner.POLICY:
                assert single[t].item() == pytest.approx(rollout.ledger.logprobs[begin + t], abs=1e-4)
            if owner is Owner.PICTURE:
                assert torch.isfinite(single[t])


def test_what_a_picture_shows_is_seen(policy: SeeingTransformersPolicy, world: InProcessWorld) -> None:
    red, blue = (
        Task("Describe it.", (picture((60, 60), colour),), id="same", image_count="none") for colour in ("red", "blue")
    )
    written = []
    for task in (red, blue):
        batch = asyncio.run(run_rollouts(policy, world, HybridReward.preset("rules"), [task], max_tokens=1, seed=4))
        written.append(batch.rollouts[0].ledger)
    assert written[0].ids[: written[0].prompt_length] != []
    assert written[0].logprobs[-1] != written[1].logprobs[-1]


def test_the_same_seed_writes_the_same(policy: SeeingTransformersPolicy, world: InProcessWorld) -> None:
    first, again, other = (roll(policy, world, seed=seed) for seed in (1, 1, 2))
    assert [x.ledger.ids for x in first] == [x.ledger.ids for x in again]
    assert [x.ledger.ids for x in first] != [x.ledger.ids for x in other]


def test_a_family_that_is_not_known_is_refused(tmp_path: Path) -> None:
    make_tiny(tmp_path, vocabulary=300)
    with pytest.raises(ConfigError, match="is a llama: pictures can be shown to qwen2_vl and qwen2_5_vl"):
        Eyes.load(str(tmp_path))
