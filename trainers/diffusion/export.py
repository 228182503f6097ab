"""From checkpoints to the folder that ships: half precision, safetensors, loadable by ``from_pretrained``."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image

from llmi_env.tools.tiny_diffusion import IconMemory, TextStates, TinyDiffusionPipeline, sentence_states
from trainers.diffusion.autoencoder import Autoencoder
from trainers.diffusion.recognition import sheets
from trainers.diffusion.train import SCHEDULE, make_unet

logger = logging.getLogger(__name__)


def load_trained(work: Path) -> TinyDiffusionPipeline:
    """The pipeline of the newest checkpoints, with averaged weights, in full precision."""
    unet, autoencoder = make_unet(), Autoencoder()
    unet.load_state_dict(torch.load(work / "unet.pt", weights_only=True)["averaged"])
    autoencoder.load_state_dict(torch.load(work / "autoencoder.pt", weights_only=True)["model"])
    moments = torch.load(work / "moments.pt", weights_only=True)
    decoder = autoencoder.decoder
    decoder.latent_mean.copy_(moments["mean"][None, :, None, None])
    decoder.latent_std.copy_(moments["std"][None, :, None, None])
    memory = IconMemory(json.loads((work / "data" / "names.json").read_text("utf-8")))
    memory.latents.copy_(torch.from_numpy(np.load(work / "memory.npy")).float())
    memory.meanings.copy_(sentence_states(TextStates.load()([f"a {known[0]}" for known in memory.names])))
    # latents are not bound to [-1, 1]: clipping them washes every picture out
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, timestep_spacing="trailing")
    pipeline = TinyDiffusionPipeline(unet.eval(), decoder.eval(), memory.eval(), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def export(work: Path, out: Path) -> None:
    """Writes ``model_index.json``, ``unet/``, ``decoder/``, ``memory/`` and ``scheduler/`` into ``out``."""
    pipeline = load_trained(work).to(dtype=torch.float16)
    pipeline.save_pretrained(out, safe_serialization=True)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    logger.info("exported %.1f MB of weights", size / 1e6)


def draw_sheets(work: Path, out: Path) -> None:
    """The contact sheet and the blind choice of :mod:`trainers.diffusion.recognition`, drawn by the newest
    checkpoints as they would ship.
    """
    pipeline = load_trained(work).to(dtype=torch.float16).to(dtype=torch.float32)

    def draw(caption: str, seed: int) -> Image.Image:
        picture: Image.Image = pipeline(caption, generator=torch.Generator().manual_seed(seed)).images[0]
        return picture

    sheets(draw, out)
