"""TRL: its GRPOTrainer on what a ledger exports, and the worked example of a third trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="trl is not installed: pip install 'llmi-env[friends]'")

import datasets
import transformers
import trl

from llmi_env.ledger_export import to_trl
from llmi_env.tokenizers import HFTokenizer
from tests.test_ledger_export import play

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_trl_trains_on_it(bpe: Any, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=len(bpe), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    seeds = iter(range(1000))
    exported: list[dict[str, Any]] = []

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        played = [
            play(HFTokenizer(bpe), next(seeds), bpe.pad_token_id, bpe.pad_token_id, shows_pictures=False)
            for _ in prompts
        ]
        rewards = [None if i == 0 else i / len(prompts) for i in range(len(prompts))]
        exported.append(to_trl([p.ledger for p in played], max_completion_length=200, llmi_reward=rewards))
        return exported[-1]

    trainer = trl.GRPOTrainer(
        model=transformers.LlamaForCausalLM(config),
        reward_funcs=lambda llmi_reward, **kwargs: llmi_reward,
        rollout_func=rollout,
        processing_class=bpe,
        train_dataset=datasets.Dataset.from_list([{"prompt": "Write about owls."}] * 4),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=4, num_generations=4, use_cpu=True, bf16=False,
            report_to=[], save_strategy="no", disable_tqdm=True, logging_steps=1, max_completion_length=200,
        ),
    )  # fmt: skip
    trainer.train()
    logged = trainer.state.log_history[0]
    sampled = [sum(mask) for mask in exported[0]["env_mask"]]
    assert logged["completions/mean_length"] == pytest.approx(sum(sampled) / 4)
    assert logged["reward"] == pytest.approx((1 + 2 + 3) / 4 / 3)  # of the three that have a score


def test_the_worked_example_trains_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmi_env.store import read_episodes, read_metrics
    from trainers.protocol import find_trainer
    from trainers.recipe import load_recipe

    monkeypatch.syspath_prepend(str(EXAMPLES))
    changes = ["env.world=in_process", "max_tokens=24", "steps=1"]
    for steps in (1, 2):
        recipe = load_recipe(EXAMPLES / "trl_grpo.yaml", [*changes, f"steps={steps}"])
        result = find_trainer(recipe.trainer).train(recipe, tmp_path / "run", resume=steps == 2)
        assert (result.step, result.finished) == (steps, True)
    assert [row["step"] for row in read_metrics(tmp_path / "run") if row["phase"] == "train"] == [1, 2]
    assert len(list(read_episodes(tmp_path / "run"))) == 16
