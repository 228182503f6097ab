"""Training of the embedded text-to-image pipeline, from downloaded icons to the files under
``llmi_env/assets/diffusion``.

The order of work, each step a command of ``python -m trainers.diffusion``: ``pictures`` (icons to captioned 64 x 64
pictures), ``autoencoder``, ``latents`` (everything the second stage needs, computed once), ``unet``, ``export`` and
``sheet``.
"""
