"""The model behind the transformers judge: requests in, expectations out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2

from llmi_env.document import Picture
from llmi_env.errors import ConfigError, require
from llmi_env.hub import from_hub
from llmi_env.judges.control_tokens import ControlTokens
from llmi_env.judges.prompt import Request
from llmi_env.judges.score_tokens import Expectation, expectation, score_tokens
from llmi_env.models import calm_threads, load_model, resolve_policy
from llmi_env.world.protocol import Unscored

ANSWER = "Score: "
"""How the reply begins that the prompt asks for (`digit` in `prompts/layout.yaml`). It is written for the model: what is left is the digit."""


class ScoringModel:
    """A causal language model, or a vision-language model with its processor, that answers by one digit.

    Args:
        model: in evaluation mode, on its device.
        processor: of a vision-language model, else the tokenizer.
        max_side: longest side of a picture, in pixels.

    Raises:
        ConfigError: the tokenizer has no chat template, or no token for a score.
    """

    def __init__(self, model: Any, processor: Any, max_side: int) -> None:
        self._model, self._processor, self._max_side = model, processor, max_side
        self.tokenizer = getattr(processor, "tokenizer", processor)
        template = getattr(processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None)
        if not template:
            raise ConfigError("the judge's model has no chat template: it takes one that follows instructions")
        # One that would think first is asked to answer at once, where its template knows how.
        self._thinking = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
        # Behind the last token, padding cannot move what a causal model says there.
        self.tokenizer.padding_side = "right"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._scores = score_tokens(self.tokenizer)
        self._answer = _before_digit(self.tokenizer)
        self._control = ControlTokens(self.tokenizer, processor if processor is not self.tokenizer else None)
        self._longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    @classmethod
    def load(cls, name: str, sees: bool, device: str, dtype: str, max_side: int) -> ScoringModel:
        """Load by name (see `llmi_env.models.resolve_policy`).

        Raises:
            ConfigError: it cannot be loaded, or torch does not know the device.
            AssetError, MissingExtra: see `llmi_env.models.load_model`.
        """
        calm_threads()
        transformers = require("transformers", "the transformers judge", "offline")
        import torch

        if sees:
            base = resolve_policy(name).base
            try:
                processor, model = from_hub(
                    lambda local: (
                        transformers.AutoProcessor.from_pretrained(base, local_files_only=local),
                        transformers.AutoModelForImageTextToText.from_pretrained(
                            base, dtype=getattr(torch, dtype), local_files_only=local
                        ),
                    ),
                    base,
                )
            except (OSError, ValueError, ImportError) as error:
                raise ConfigError(f"the judge's model {base!r} cannot be loaded: {error}") from error
        else:
            model, tokenizer = load_model(name, dtype=dtype)
            processor = tokenizer.hf
            if hasattr(model, "merge_and_unload"):
                model = model.merge_and_unload()
        try:
            return cls(model.to(device).eval(), processor, max_side)
        except RuntimeError as error:
            raise ConfigError(f"the judge's model cannot be put on device {device!r}: {error}") from error

    def ask(self, requests: Sequence[Request]) -> list[Expectation | Unscored]:
        """What the model answers to each request; all go through it together."""
        import torch

        told = [self._told(request) for request in requests]
        inputs = self._inputs(told, requests)
        lengths_B = inputs["attention_mask"].sum(1)
        longest = int(lengths_B.max())
        if self._longest is not None and longest > self._longest:
            reason = f"the prompt has {longest} tokens and the model takes {self._longest}: lower `max_tokens`"
            return [Unscored(reason)] * len(requests)
        last_B = lengths_B - 1
        with torch.inference_mode():
            # logits of the places that are read only: those of a whole prompt would take more memory than the model
            places = torch.unique(last_B)
            logits_BPV = self._model(
                **inputs.to(self._model.device), logits_to_keep=places.to(self._model.device)
            ).logits
        answers: list[Expectation | Unscored] = []
        for row, last in enumerate(last_B.tolist()):
            logits_V = logits_BPV[row, places.tolist().index(last)].float().cpu().numpy()
            try:
                answers.append(expectation(logits_V, self._scores))
            except ValueError as error:
                answers.append(Unscored(str(error)))
        return answers

    def _inputs(self, told: Sequence[str], requests: Sequence[Request]) -> Any:
        options: dict[str, Any] = {"return_tensors": "pt", "padding": True, "add_special_tokens": False}
        if self._processor is self.tokenizer:
            return self.tokenizer(list(told), **options)
        pictures = [[self._shown(part) for part in request.parts if isinstance(part, Picture)] for request in requests]
        return self._processor(text=list(told), images=pictures if any(pictures) else None, **options)

    def _told(self, request: Request) -> str:
        """The conversation by the model's chat template, up to the digit."""
        parts: list[dict[str, Any]] = []
        for part in request.parts:
            shown = {"type": "text", "text": self._control.spaced(part)} if isinstance(part, str) else {"type": "image"}
            parts.append(shown)
        seeing = self._processor is not self.tokenizer
        user: Any = parts if seeing else "".join(part["text"] for part in parts)
        system: Any = [{"type": "text", "text": request.system}] if seeing else request.system
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            return self._written(messages)
        except jinja2.TemplateError:  # that of a model without system messages
            if seeing:
                return self._written([{"role": "user", "content": [*system, *parts]}])
            return self._written([{"role": "user", "content": f"{system}\n{user}"}])

    def _written(self, messages: list[dict[str, Any]]) -> str:
        told = self._processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self._thinking
        )
        return f"{told}{self._answer}"

    def _shown(self, picture: Picture) -> Any:
        image = picture.image.convert("RGB")
        image.thumbnail((self._max_side, self._max_side))
        return image


def _before_digit(tokenizer: Any) -> str:
    """`ANSWER` up to where the digit's token begins: many vocabularies hold digits with the space before them."""
    whole = tokenizer.encode(f"{ANSWER}3", add_special_tokens=False)
    apart = tokenizer.encode(ANSWER, add_special_tokens=False)
    return ANSWER if whole[:-1] == apart else ANSWER.rstrip()
