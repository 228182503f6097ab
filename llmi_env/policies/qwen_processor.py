"""Qwen2-VL and Qwen2.5-VL without torchvision: the processor of `transformers` for pictures only.

The whole one holds a processor of videos, which needs torchvision, and torchvision has no build for the CPU on the Python package index.
Pictures are prepared by the same code as elsewhere, on Pillow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, ProcessorMixin
from transformers import Qwen2_5_VLProcessor as WholeProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil


class Qwen2_5_VLProcessor(WholeProcessor):  # verl knows processors by the name of their class
    """Prompts and pictures, no videos.

    Args:
        image_processor: of pictures.
        tokenizer: of the model.
        chat_template: left out, the tokenizer's.
    """

    video_token: str
    image_token: str

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids([self.image_token, self.video_token])
        ProcessorMixin.__init__(
            self, image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Qwen2_5_VLProcessor:
        """From a folder or hub name, as every processor."""
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **options)
        return cls(Qwen2VLImageProcessorPil.from_pretrained(pretrained_model_name_or_path, **options), tokenizer)
