"""The first stage: pictures of 64 x 64 x 3 to latents of 8 x 8 x 8 and back.

Only the decoder ships (:class:`llmi_env.tools.tiny_diffusion.LatentDecoder`); the encoder lives here, since nothing but
training needs it. The autoencoder is trained with noise on its latents, so that the decoder forgives the small errors
of the diffusion model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmi_env.tools.tiny_diffusion import LatentDecoder, ResidualConv


class Encoder(nn.Module):
    """``(B, 3, 64, 64)`` in [-1, 1] to raw (not yet standardised) latents ``(B, 8, 8, 8)``."""

    def __init__(self, latent_channels: int = 8, channels: tuple[int, int, int] = (64, 96, 96)) -> None:
        super().__init__()
        wide, middle, deep = channels
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, wide, 3, padding=1),
            ResidualConv(wide),
            nn.Conv2d(wide, middle, 4, 2, 1),
            ResidualConv(middle),
            nn.Conv2d(middle, deep, 4, 2, 1),
            ResidualConv(deep),
            ResidualConv(deep),
            nn.Conv2d(deep, latent_channels, 1),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        latents: Tensor = self.layers(pixels)
        return latents


class Autoencoder(nn.Module):
    """Encoder and decoder side by side; in training mode the decoder sees slightly noisy latents."""

    def __init__(self, latent_noise: float = 0.05) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = LatentDecoder()
        self.latent_noise = latent_noise

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (reconstruction, raw latents)."""
        latents = self.encoder(pixels)
        seen = latents + self.latent_noise * torch.randn_like(latents) if self.training else latents
        return self.decoder.decode_raw(seen), latents


def reconstruction_loss(output: Tensor, target: Tensor, latents: Tensor) -> Tensor:
    """Absolute error of colours and of their differences between neighbours (which keeps edges), plus a weak pull of
    latents to zero.
    """
    loss = (output - target).abs().mean() + 1e-4 * latents.square().mean()
    for dim in (2, 3):
        loss = loss + 0.5 * (output.diff(dim=dim) - target.diff(dim=dim)).abs().mean()
    return loss
