"""TRL's side of the comparison of trainers: its `GRPOTrainer` with its own generation, step by step; runs in the friends' environment.

Its settings are those that are fastest here: one pass for all documents, no gradient checkpointing (which TRL 1.16 has on by default),
float32 as ours. eos is forbidden until the last token, so that all documents have the same length.
"""

from __future__ import annotations

import hashlib
import resource
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from training_work import Step, Work, say
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Timed(GRPOTrainer):  # type: ignore[misc]
    """The trainer, with a clock around the making of documents."""

    sampling = 0.0

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        start = time.perf_counter()
        made = super()._generate_and_score_completions(inputs)
        self.sampling = time.perf_counter() - start
        self.sampled = int(made["completion_mask"].sum())
        return made


class Turns(TrainerCallback):  # type: ignore[misc]
    """Tells of each step and waits for its turn."""

    trainer: Timed

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """The clock starts."""
        self.start = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Tell, wait."""
        total = time.perf_counter() - self.start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        sampling = self.trainer.sampling
        say(Step(total, sampling, 0.0, total - sampling, self.trainer.sampled, memory))


def hashed(completions: list[Any], **_: Any) -> list[float]:
    """A reward that differs from document to document."""
    return [hashlib.sha256(str(completion).encode()).digest()[0] / 255 for completion in completions]


def main() -> None:
    """Train, step by step."""
    work = Work.read()
    tokenizer = AutoTokenizer.from_pretrained(work.model)
    turns = Turns()
    trainer = Timed(
        model=AutoModelForCausalLM.from_pretrained(work.model, dtype=torch.float32),
        reward_funcs=hashed,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in work.prompts]),
        peft_config=LoraConfig(
            r=work.lora_rank, lora_alpha=2 * work.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[turns],
        args=GRPOConfig(
            output_dir=str(Path(work.folder) / "trl"),
            max_steps=work.steps,
            per_device_train_batch_size=work.micro_batch,
            gradient_accumulation_steps=len(work.prompts) * work.samples // work.micro_batch,
            num_generations=work.samples,
            max_completion_length=work.tokens,
            generation_kwargs={"min_new_tokens": work.tokens},
            learning_rate=work.lr,
            lr_scheduler_type="constant",
            seed=work.seed,
            shuffle_dataset=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            bf16=False,
            use_cpu=True,
        ),
    )
    turns.trainer = trainer
    trainer.train()


if __name__ == "__main__":
    main()
