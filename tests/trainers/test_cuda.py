"""On a GPU the same holds as on a CPU: engines agree, logprobs are those of the sampler, runs learn, stop and go on, pictures are drawn."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.models import load_model, resolve_policy  # noqa: E402
from llmi_env.policies.engines import LlamaEngine, ModelEngine, make_engine  # noqa: E402
from llmi_env.tools.base import ToolContext  # noqa: E402
from llmi_env.tools.diffusion import DiffusionTool  # noqa: E402
from llmi_env.world.in_process import InProcessWorld  # noqa: E402
from tests.policies.test_engines import PROMPTS, VOCAB, tiny_llama  # noqa: E402
from tests.trainers.test_policy_model import ledgers  # noqa: E402
from trainers.local import train  # noqa: E402
from trainers.policy_model import PolicyModel, compute_in_bfloat16  # noqa: E402
from trainers.sft import fine_tune, load_calls, load_examples, mixture  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["phase"] == "train"]


@pytest.mark.parametrize("lora", [False, True])
def test_the_fused_engine_agrees_with_the_models_own_pass(lora: bool) -> None:
    model = tiny_llama(lora).to("cuda")
    fast, plain = make_engine(model, VOCAB), ModelEngine(model, VOCAB)
    assert isinstance(fast, LlamaEngine)
    torch.testing.assert_close(fast.start(PROMPTS, 3), plain.start(PROMPTS, 3), atol=1e-4, rtol=1e-3)
    for step in range(6):
        tokens, moves = [100 + step * 5 + row for row in range(4)], [True, step != 2, True, True]
        found, expected = fast.step(tokens, moves), plain.step(tokens, moves)
        torch.testing.assert_close(found[moves], expected[moves], atol=1e-4, rtol=1e-3)
    fast.keep([3, 1])
    plain.keep([3, 1])
    torch.testing.assert_close(fast.step([5, 6], [True] * 2), plain.step([5, 6], [True] * 2), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rank", [2, 0])
def test_logprobs_are_those_that_were_sampled(
    tiny_recipe: Callable[..., Any], world: InProcessWorld, rank: int
) -> None:
    model = PolicyModel.load(tiny_recipe(device="cuda", lora_rank=rank))
    assert model.device.type == "cuda"
    for ledger in ledgers(model, world):
        recomputed = model.score([ledger]).logprobs_BT[0].tolist()
        sampled = ledger.logprobs[ledger.prompt_length :]
        owners = ledger.owners[ledger.prompt_length :]
        wrong = [abs(a - b) for a, b, owner in zip(recomputed, sampled, owners, strict=True) if owner.name == "POLICY"]
        assert max(wrong) < 1e-4


def test_the_same_gradient_as_on_a_cpu(tiny_recipe: Callable[..., Any], world: InProcessWorld) -> None:
    found = []
    lines = ledgers(PolicyModel.load(tiny_recipe(device="cpu")), world)
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = PolicyModel.load(tiny_recipe(device=device))
        model.score(lines).logprobs_BT.square().sum().backward()
        found.append(torch.cat([parameter.grad.flatten().cpu() for parameter in model.parameters]))
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-2)


def test_bfloat16_is_near(world: InProcessWorld) -> None:
    model = PolicyModel(*load_model("warm-start", trainable=True))
    model.model.to("cuda")
    lines = ledgers(model, world, max_tokens=24)
    exact = model.score(lines).logprobs_BT.detach()
    compute_in_bfloat16(model.model, "cuda")
    rounded = model.score(lines).logprobs_BT
    assert rounded.dtype == torch.float32
    off = (rounded.detach() - exact).abs()
    assert 0 < off.mean() < 0.05
    rounded.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters)


@pytest.mark.parametrize("algorithm", ["grpo", "gspo", "ppo"])
def test_a_run_goes_on(tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console, algorithm: str) -> None:
    options = {"device": "cuda", "algorithm": algorithm, "dtype": "bfloat16", "kl_coefficient": 0.02}
    train(tiny_recipe(steps=2, **options), tmp_path / "run", console=silent)
    train(tiny_recipe(steps=3, **options), tmp_path / "run", resume=True, console=silent)
    steps = metrics(tmp_path / "run")
    assert len(steps) == 3
    assert all(math.isfinite(step["loss"]) for step in steps)


def test_the_warm_start_is_trained_further(tmp_path: Path) -> None:
    model, tokenizer = load_model("warm-start", trainable=True)
    model.to("cuda")
    compute_in_bfloat16(model, "cuda")
    examples = mixture(load_examples(tokenizer)[:40], [], load_calls(tokenizer, "train")[:40])
    losses = [loss for _, loss in fine_tune(model, tokenizer, examples, steps=12, batch=16, lr=3e-4, warmup=2)]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert resolve_policy("warm-start").base


def test_pictures_are_drawn_there_and_again_the_same() -> None:
    tool = DiffusionTool(steps=4, device="cuda")
    first, again = (asyncio.run(tool({"prompt": "a green heart"}, ToolContext(seed=3))) for _ in range(2))
    here = asyncio.run(DiffusionTool(steps=4, device="cpu")({"prompt": "a green heart"}, ToolContext(seed=3)))
    assert first.png == again.png
    a, b = (torch.tensor(list(picture.image.convert("RGB").tobytes())).float() for picture in (first, here))
    assert (a - b).abs().mean() < 8, "the noise comes from the CPU's generator: the same picture but for rounding"
