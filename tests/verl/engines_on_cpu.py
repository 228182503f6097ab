"""Run in a process of its own, as one of verl's workers: policy, reference and critic engines on the CPU against the inference server.

    VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=trainers.verl.plugin python engines_on_cpu.py FOLDER

with the variables that verl gives a worker. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig, TrainingWorkerConfig
from verl.workers.engine_workers import TrainingWorker

from trainers.verl.cpu.rollout import HFServer
from trainers.verl.tiny import make_tiny

PROMPTS = [[5, 9, 300, 41], [7] * 23, [900, 12], [400, 401, 402]]


def worker(folder: Path, kind: str, forward_only: bool) -> TrainingWorker:
    """A worker of verl with one engine, as `main_ppo` configures it for the CPU."""
    made = TrainingWorker(
        TrainingWorkerConfig(
            model_type=kind,
            model_config=HFModelConfig(
                path=str(folder),
                use_remove_padding=False,
                enable_gradient_checkpointing=not forward_only,
                override_config={"attn_implementation": "sdpa"},
            ),
            engine_config=FSDPEngineConfig(
                strategy="fsdp2",
                forward_only=forward_only,
                use_torch_compile=False,
                mixed_precision={"param_dtype": "fp32", "reduce_dtype": "fp32"},
                use_dynamic_bsz=False,
                infer_micro_batch_size_per_gpu=2,
            ),
            optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=2),
            checkpoint_config=CheckpointConfig(),
        )
    )
    made.reset()
    return made


def infer(made: TrainingWorker, sequences: Sequence[Sequence[int]], name: str) -> list[torch.Tensor]:
    """What the engine says of every token of every sequence."""

    def nested(rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)

    data = TensorDict(
        {
            "input_ids": nested(sequences),
            "position_ids": nested([range(len(row)) for row in sequences]),
            "loss_mask": nested([[1] * len(row) for row in sequences]),
        },
        batch_size=len(sequences),
    )
    tu.assign_non_tensor(data, temperature=1.0, compute_loss=False, global_token_num=[len(row) for row in sequences])
    return list(made.infer_batch(data)[name].unbind())


async def sample(server: HFServer, weights: dict[str, torch.Tensor]) -> list[Any]:
    """One continuation of each prompt."""
    await server.load_weights(weights, 1)
    return await asyncio.gather(
        *(server.generate("any", prompt, {"logprobs": True, "max_tokens": 12}) for prompt in PROMPTS)
    )


def main(folder: Path) -> None:
    """Build, sample, compare."""
    make_tiny(folder)
    workers = {
        "policy": worker(folder, "language_model", forward_only=False),
        "reference": worker(folder, "language_model", forward_only=True),
        "critic": worker(folder, "value_model", forward_only=False),
    }
    weights, _ = workers["policy"].engine.get_per_tensor_param()
    server = HFServer(str(folder), prompt_length=32, response_length=16)
    outputs = asyncio.run(sample(server, {name: tensor.detach().clone() for name, tensor in weights}))
    sequences = [[*prompt, *output.token_ids] for prompt, output in zip(PROMPTS, outputs, strict=True)]

    def furthest(name: str) -> float:
        said = infer(workers[name], sequences, "log_probs")
        return max(
            float((row[len(prompt) - 1 : -1] - torch.tensor(output.log_probs)).abs().max())
            for row, prompt, output in zip(said, PROMPTS, outputs, strict=True)
        )

    values = infer(workers["critic"], sequences, "values")
    print(
        json.dumps(
            {
                "engines": {name: type(made.engine).__name__ for name, made in workers.items()},
                "pinned": [name for name, made in workers.items() if made.engine._uses_fsdp2_cpu_offload_policy],
                "logprobs": furthest("policy"),
                "reference": furthest("reference"),
                "values_shape": [len(row) for row in values],
                "tokens_shape": [len(row) for row in sequences],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
