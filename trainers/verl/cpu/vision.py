"""Qwen2.5-VL without torchvision, for verl: importing this module makes `AutoProcessor` take the processor of pictures alone.

It does so for folders whose files name no processor: those of `trainers.verl.tiny`.
"""

from __future__ import annotations

from transformers import AutoProcessor, Qwen2_5_VLConfig

from llmi_env.policies.qwen_processor import Qwen2_5_VLProcessor

__all__ = ["Qwen2_5_VLProcessor"]

AutoProcessor.register(Qwen2_5_VLConfig, Qwen2_5_VLProcessor, exist_ok=True)
