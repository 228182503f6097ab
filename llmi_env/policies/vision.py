"""What a vision-language model's processor makes of prompts and pictures, as ids.

Placeholders are counted by the processor itself, so that there is one for each feature that the model computes. Everything else is the
tokenizer's work: ids are put together from parts, and no part is tokenised twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmi_env.document import Picture
from llmi_env.errors import ConfigError, require
from llmi_env.hub import from_hub
from llmi_env.policies.base import SeenPrompt

FAMILIES = ("qwen2_vl", "qwen2_5_vl")
"""Model types that `Eyes.load` takes: a feature is one token, and its position has three axes."""


class Eyes:
    """A processor as rollouts need it.

    Args:
        processor: of a vision-language model, with a chat template.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        token = getattr(processor, "image_token", None)
        if token is None:
            raise ConfigError(f"{type(processor).__name__} names no image token: this model's pictures cannot be shown")
        self.placeholder: int = processor.tokenizer.convert_tokens_to_ids(token)
        """Id that stands for one feature of a picture; the policy must never sample it."""
        self._enclosed = self._frame(token)
        self._known: dict[str, list[int]] = {}

    @classmethod
    def load(cls, base: str) -> Eyes:
        """The eyes of a model that is sampled and trained in this process.

        Args:
            base: its folder or hub name.

        Raises:
            ConfigError: a family other than Qwen2-VL and Qwen2.5-VL, whose positions and features `SeeingEngine` knows; or no processor.
            MissingExtra: `transformers` is not installed.
        """
        transformers = require("transformers", "a policy that sees pictures", "offline")
        from llmi_env.policies.qwen_processor import Qwen2_5_VLProcessor

        try:
            config = from_hub(lambda local: transformers.AutoConfig.from_pretrained(base, local_files_only=local), base)
            if config.model_type not in FAMILIES:
                raise ConfigError(
                    f"{base} is a {config.model_type}: pictures can be shown to {' and '.join(FAMILIES)} here; take verl for other families"
                )
            return cls(from_hub(lambda local: Qwen2_5_VLProcessor.from_pretrained(base, local_files_only=local), base))
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"the picture processor of {base} cannot be loaded: {error}") from error

    @property
    def hidden_ids(self) -> list[int]:
        """Ids that the policy must never sample: placeholders of pictures and videos, which would have no features."""
        tokens = (getattr(self._processor, name, None) for name in ("image_token", "video_token"))
        return [int(self._processor.tokenizer.convert_tokens_to_ids(token)) for token in tokens if token]

    def inputs(self, pictures: Sequence[Picture]) -> dict[str, Any]:
        """What the model computes features of: `pixel_values` and `image_grid_thw` (one row for each picture)."""
        images = [picture.image.convert("RGB") for picture in pictures]
        return dict(self._processor.image_processor(images=images, return_tensors="pt"))

    def save(self, folder: Path) -> None:
        """Write the processor, so that the folder of a model is whole."""
        self._processor.save_pretrained(str(folder))

    def _frame(self, token: str) -> str:
        """A picture as the chat template writes it, with the special tokens around it."""
        told = self._processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}]}], tokenize=False, add_generation_prompt=False
        )
        before, found, after = str(told).partition(token)
        if not found:
            raise ConfigError("the chat template does not show pictures")
        specials = sorted(self._processor.tokenizer.all_special_tokens, key=len, reverse=True)
        opening = next((special for special in specials if before.endswith(special) and "vision" in special), "")
        closing = next((special for special in specials if after.startswith(special) and "vision" in special), "")
        return f"{opening}{token}{closing}"

    def see_prompt(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture]) -> SeenPrompt:
        """The conversation with the pictures before the words of its last message."""
        parts = [{"type": "text", "text": str(message["content"])} for message in messages]
        laid = [
            {
                "role": message["role"],
                "content": [*([{"type": "image"}] * len(pictures) if i == len(messages) - 1 else []), part],
            }
            for i, (message, part) in enumerate(zip(messages, parts, strict=True))
        ]
        text = self._processor.apply_chat_template(laid, tokenize=False, add_generation_prompt=True)
        ids = self._ids(str(text), pictures)
        runs = _runs(ids, self.placeholder)
        if len(runs) != len(pictures):
            raise ConfigError(f"{len(pictures)} pictures gave {len(runs)} runs of placeholders in the prompt")
        return SeenPrompt(ids, runs)

    def picture_ids(self, picture: Picture) -> Sequence[int]:
        """Placeholders of a picture with what encloses them."""
        if picture.digest not in self._known:
            self._known[picture.digest] = self._ids(self._enclosed, [picture])
        return self._known[picture.digest]

    def _ids(self, text: str, pictures: Sequence[Picture]) -> list[int]:
        images = [picture.image.convert("RGB") for picture in pictures] or None
        ids = self._processor(text=[text], images=images)["input_ids"][0]
        return [int(token) for token in ids]


def _runs(ids: Sequence[int], placeholder: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for position, token in enumerate(ids):
        if token != placeholder:
            continue
        if runs and sum(runs[-1]) == position:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((position, 1))
    return runs
