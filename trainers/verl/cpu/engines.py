"""verl's FSDP2 engines on the CPU: policy, reference and critic.

They are verl's classes; three things are mended. A model that is only read (the reference) is not put under a policy that pins memory for
an accelerator, the critic is not loaded with flash attention, and a merged LoRA adapter is not rounded to bfloat16 on its way to the
inference server, which would then not sample what is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from verl.utils.fsdp_utils import merged_lora_context, normalize_peft_param_name
from verl.utils.torch_dtypes import PrecisionType
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp import FSDPEngineWithLMHead
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithValueHead

from llmi_env.errors import ConfigError

_BACKENDS = ["fsdp", "fsdp2"]


class _OnCPU:
    """Before one of verl's engines in the order of its bases."""

    engine_config: Any

    def _build_fsdp_module(self, module: Any) -> Any:
        config = self.engine_config
        if config.strategy != "fsdp2":
            raise ConfigError(
                f"strategy {config.strategy!r} does not run on the CPU: set actor_rollout_ref.actor.strategy=fsdp2 "
                "(and critic.strategy=fsdp2)"
            )
        # In this method of verl both fields mean one thing: offload the weights, from a device that is the CPU already, into pinned memory.
        self.engine_config = dataclasses.replace(config, forward_only=False, offload_policy=False)
        try:
            return super()._build_fsdp_module(module)  # type: ignore[misc]
        finally:
            self.engine_config = config


@EngineRegistry.register(model_type="language_model", backend=_BACKENDS, device="cpu")
class CPULanguageEngine(_OnCPU, FSDPEngineWithLMHead):
    """Policy and reference."""

    def _merged_lora_per_tensor_param(self) -> Iterator[tuple[str, torch.Tensor]]:
        # The adapter is taken out again when the last weight was fetched, so each must be a copy.
        with merged_lora_context(self.module, backup_adapters=True):
            for name, weight in normalize_peft_param_name(self.module.state_dict()).items():
                yield name, (weight.full_tensor() if isinstance(weight, DTensor) else weight).detach().clone()


@EngineRegistry.register(model_type="value_model", backend=_BACKENDS, device="cpu")
class CPUValueEngine(_OnCPU, FSDPEngineWithValueHead):
    """Critic: a token classifier with one label."""

    def _build_module(self) -> Any:
        from transformers import AutoModelForTokenClassification

        config = self.model_config.hf_config
        config.num_labels, config.classifier_dropout = 1, 0.0
        if type(config) not in AutoModelForTokenClassification._model_mapping:
            raise ConfigError(
                f"a model of type {config.model_type!r} cannot be a critic on the CPU (transformers has no token classifier of it): "
                "set critic.model.path to one that can, or take an algorithm without a critic"
            )
        dtype = PrecisionType.to_dtype(self.engine_config.model_dtype or "fp32")
        module = AutoModelForTokenClassification.from_pretrained(
            self.model_config.local_path, config=config, dtype=dtype, attn_implementation="sdpa"
        )
        if self.model_config.enable_gradient_checkpointing:
            module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return module.to(dtype)
