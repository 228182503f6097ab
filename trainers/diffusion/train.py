"""The two trained stages and what lies between them: autoencoder, latents and text states, UNet.

Both stages are plain loops with a wall-clock budget (:class:`trainers.diffusion.budget.Budget`), a checkpoint every few
minutes, and a resume that goes on from it.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from llmi_env.tools.tiny_diffusion import MAX_TOKENS, TextStates, sentence_states
from trainers.diffusion.autoencoder import Autoencoder, reconstruction_loss
from trainers.diffusion.budget import Budget, save_checkpoint
from trainers.diffusion.build import KIND_SHARES

logger = logging.getLogger(__name__)

SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
NO_CAPTION_SHARE = 0.1
"""How often the caption is left out (with the memory), for classifier-free guidance."""
NO_MEMORY_SHARE = 0.15
"""How often the memory is left out, so that the model also draws what it has no icon of."""


MIRRORED_SHARE = 0.2
"""How often a mirrored icon is drawn, relative to the upright one."""


def make_unet() -> UNet2DConditionModel:
    """12 million parameters.

    Beside the 8 channels of noisy latents it sees the two views of an icon from the memory. Text enters twice: token
    states by cross-attention at 4 x 4 (and in the middle block), the sentence as a whole through the time embedding,
    which every block sees. Attention at every level cost a quarter more for little.
    """
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=24,
        out_channels=8,
        layers_per_block=1,
        block_out_channels=(96, 160, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=384,
        attention_head_dim=32,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=384,
    )


def to_pixels(pictures: np.ndarray, index: np.ndarray | slice) -> Tensor:
    """uint8 ``(N, 64, 64, 3)`` to float ``(B, 3, 64, 64)`` in [-1, 1]."""
    chosen = torch.from_numpy(np.array(pictures[index])).permute(0, 3, 1, 2)
    return (chosen.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def draw_shares(kinds: list[tuple[str, float]]) -> np.ndarray:
    """The probability of each picture, so that kinds come by ``KIND_SHARES`` and pictures by weight within their
    kind.
    """
    names = np.array([kind for kind, _ in kinds])
    shares = np.array([weight for _, weight in kinds], np.float64)
    for kind, share in KIND_SHARES.items():
        of_kind = names == kind
        if of_kind.any():
            shares[of_kind] *= share / shares[of_kind].sum()
    result: np.ndarray = shares / shares.sum()
    return result


def train_autoencoder(data: Path, work: Path, seconds: float, resume: bool, batch: int = 12) -> None:
    """Trains until the seconds are spent; writes ``autoencoder.pt``."""
    torch.manual_seed(0)
    rng = np.random.default_rng()
    pictures = np.load(data / "pictures.npy", mmap_mode="r")
    shares = np.cumsum(draw_shares(json.loads((data / "kinds.json").read_text("utf-8"))))
    model = Autoencoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    path, step, spent = work / "autoencoder.pt", 0, 0.0
    if resume and path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    budget = Budget(seconds, spent)

    def save() -> None:
        save_checkpoint(
            path,
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": budget.spent},
        )

    average = 0.0
    while not budget.over:
        pixels = to_pixels(pictures, np.searchsorted(shares, rng.random(batch) * shares[-1]))
        pixels = pixels.flip(3) if rng.random() < 0.5 else pixels
        for group in optimizer.param_groups:
            group["lr"] = budget.rate(2e-3, step, warmup=50, hold=0.4)
        output, latents = model(pixels)
        loss = reconstruction_loss(output, pixels, latents)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        average = loss.item() if step == 1 else 0.98 * average + 0.02 * loss.item()
        budget.tick(step, batch, average, save)
    save()
    budget.close()
    logger.info("autoencoder: %d steps, loss %.4f", step, average)


@torch.no_grad()
def compute_latents(data: Path, work: Path, batch: int = 128) -> None:
    """Encodes every picture, and icons on white mirrored too (composed pictures vary enough), standardised by channel.

    Writes ``latents.npy`` ``(L, 8, 8, 8)``, ``latent_pictures.npy`` ``(L,)`` (which picture each shows) and
    ``moments.pt``.
    """
    pictures = np.load(data / "pictures.npy", mmap_mode="r")
    kinds = json.loads((data / "kinds.json").read_text("utf-8"))
    mirrored = np.array([index for index, (kind, _) in enumerate(kinds) if kind == "plain"])
    model = Autoencoder()
    model.load_state_dict(torch.load(work / "autoencoder.pt", weights_only=True)["model"])
    model.eval().to(memory_format=torch.channels_last)
    parts = [
        model.encoder(to_pixels(pictures, slice(begin, begin + batch))) for begin in range(0, len(pictures), batch)
    ]
    parts += [
        model.encoder(to_pixels(pictures, mirrored[begin : begin + batch]).flip(3))
        for begin in range(0, len(mirrored), batch)
    ]
    latents = torch.cat(parts)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    latents = (latents - mean[:, None, None]) / std[:, None, None]
    np.save(work / "latents.npy", latents.half().contiguous().numpy())
    np.save(work / "latent_pictures.npy", np.concatenate([np.arange(len(pictures)), mirrored]))
    torch.save({"mean": mean, "std": std}, work / "moments.pt")


@torch.no_grad()
def compute_memory(data: Path, work: Path) -> None:
    """Encodes the icons' views; writes ``memory.npy`` ``(I, 16, 8, 8)``."""
    views = np.load(data / "views.npy")
    moments = torch.load(work / "moments.pt", weights_only=True)
    model = Autoencoder()
    model.load_state_dict(torch.load(work / "autoencoder.pt", weights_only=True)["model"])
    model.eval().to(memory_format=torch.channels_last)
    latents = torch.cat([model.encoder(to_pixels(views[:, view], slice(None))) for view in range(2)], 1)
    mean, std = (moments[name].repeat(2)[:, None, None] for name in ("mean", "std"))
    np.save(work / "memory.npy", ((latents - mean) / std).half().contiguous().numpy())


def train_decoder(data: Path, work: Path, seconds: float, batch: int = 12) -> None:
    """Trains the decoder further on the computed latents, the encoder standing still, so that latents and UNet stay valid.

    Any time that is left goes here: the pictures get sharper. Writes ``autoencoder.pt`` again.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng()
    pictures = np.load(data / "pictures.npy", mmap_mode="r")
    latents = torch.from_numpy(np.load(work / "latents.npy"))
    moments = torch.load(work / "moments.pt", weights_only=True)
    mean, std = moments["mean"][:, None, None], moments["std"][:, None, None]
    shares = np.cumsum(draw_shares(json.loads((data / "kinds.json").read_text("utf-8"))))
    path = work / "autoencoder.pt"
    state = torch.load(path, weights_only=True)
    model = Autoencoder().to(memory_format=torch.channels_last)
    model.load_state_dict(state["model"])
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=1.5e-3, fused=True)
    budget, step, average = Budget(seconds), 0, 0.0

    def save() -> None:
        save_checkpoint(path, {**state, "model": model.state_dict()})

    while not budget.over:
        chosen = np.searchsorted(shares, rng.random(batch) * shares[-1])
        pixels = to_pixels(pictures, chosen)
        seen = latents[torch.from_numpy(chosen)].float() * std + mean
        for group in optimizer.param_groups:
            group["lr"] = budget.rate(1.5e-3, step, warmup=50, hold=0.3)
        output = model.decoder.decode_raw(seen + model.latent_noise * torch.randn_like(seen))
        loss = reconstruction_loss(output, pixels, seen)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        optimizer.step()
        step += 1
        average = loss.item() if step == 1 else 0.98 * average + 0.02 * loss.item()
        budget.tick(step, batch, average, save)
    save()
    budget.close()
    logger.info("decoder: %d steps, loss %.4f", step, average)


@torch.no_grad()
def compute_text_states(data: Path, work: Path, batch: int = 128) -> None:
    """MiniLM's states of every caption, once; writes ``text.npy`` ``(C, MAX_TOKENS, 384)`` (row 0 is the empty
    caption) and ``caption_rows.json``.
    """
    captions: list[list[str]] = json.loads((data / "captions.json").read_text("utf-8"))
    unique = [
        "",
        *sorted({caption for of_picture in captions for caption in of_picture}, key=lambda text: (len(text), text)),
    ]
    rows = {caption: row for row, caption in enumerate(unique)}
    encoder = TextStates.load()
    states = np.lib.format.open_memmap(work / "text.npy", "w+", np.float16, (len(unique), MAX_TOKENS, encoder.width))
    for begin in range(0, len(unique), batch):
        states[begin : begin + batch] = encoder(unique[begin : begin + batch]).half().numpy()
    states.flush()
    (work / "caption_rows.json").write_text(
        json.dumps([[rows[caption] for caption in of_picture] for of_picture in captions]), "utf-8"
    )


def train_unet(data: Path, work: Path, seconds: float, resume: bool, batch: int = 32) -> None:
    """Trains on the computed latents until the seconds are spent; writes ``unet.pt`` (with the averaged weights that
    are exported).
    """
    torch.manual_seed(0)
    rng = np.random.default_rng()
    latents = torch.from_numpy(np.load(work / "latents.npy"))
    text = torch.from_numpy(np.load(work / "text.npy"))
    rows = [np.array(of_picture) for of_picture in json.loads((work / "caption_rows.json").read_text("utf-8"))]
    shown = np.load(work / "latent_pictures.npy")
    icons, memory = np.load(data / "icons.npy"), torch.from_numpy(np.load(work / "memory.npy")).float()
    # a mirrored picture and the memory's view would contradict each other: such a picture is learnt without memory
    mirrored = np.arange(len(shown)) >= len(icons)
    shares = draw_shares(json.loads((data / "kinds.json").read_text("utf-8")))[shown]
    shares = np.cumsum(np.where(mirrored, shares * MIRRORED_SHARE, shares))
    unet = make_unet().to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(unet).eval().requires_grad_(False)
    noising = DDPMScheduler(**SCHEDULE)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    path, step, spent = work / "unet.pt", 0, 0.0
    if resume and path.exists():
        state = torch.load(path, weights_only=True)
        unet.load_state_dict(state["unet"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    budget = Budget(seconds, spent)

    def save() -> None:
        state = {"unet": unet.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(path, {**state, "step": step, "spent": budget.spent})

    average = 1.0
    while not budget.over:
        chosen = np.searchsorted(shares, rng.random(batch) * shares[-1])
        captions = np.array([rng.choice(rows[picture]) for picture in shown[chosen]])
        without = rng.random(batch)
        captions[without < NO_CAPTION_SHARE] = 0
        empty = (without < NO_MEMORY_SHARE) | mirrored[chosen] | (icons[shown[chosen]] < 0)
        shapes = memory[torch.from_numpy(icons[shown[chosen]])] * torch.from_numpy(~empty)[:, None, None, None]
        clean = latents[torch.from_numpy(chosen)].float()
        states = text[torch.from_numpy(captions)].float()
        noise, times = torch.randn_like(clean), torch.randint(0, 1000, (batch,))
        noisy = torch.cat([noising.add_noise(clean, noise, times), shapes], 1).contiguous(
            memory_format=torch.channels_last
        )
        for group in optimizer.param_groups:
            group["lr"] = budget.rate(1e-3, step, warmup=100, hold=0.35)
        predicted = unet(noisy, times, encoder_hidden_states=states, class_labels=sentence_states(states)).sample
        loss = nn.functional.mse_loss(predicted, noising.get_velocity(clean, noise, times))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(
                list(averaged.parameters()), list(unet.parameters()), 1 - min(0.999, (step + 1) / (step + 10))
            )
        average = 0.98 * average + 0.02 * loss.item()
        budget.tick(step, batch, average, save)
    save()
    budget.close()
    logger.info("unet: %d steps of %d, loss %.4f", step, batch, average)
