"""Training of the embedded text-to-image pipeline, from downloaded icons to ``llmi_env/assets/diffusion``.

The order of work, each step a command of ``python -m trainers.diffusion``: ``pictures`` (icons to captioned 64 x 64
pictures), ``autoencoder``, ``latents`` and ``text`` (what the next stage needs, computed once), ``unet``, ``decoder``
(sharper pictures from the same latents), ``export`` and ``sheet``.
"""
