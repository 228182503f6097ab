"""The command line of the training: ``python -m trainers.diffusion STEP``; see the package's docstring for the order
of steps.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import platformdirs


def main() -> None:
    """Parses the arguments and runs one step."""
    parser = argparse.ArgumentParser(
        prog="python -m trainers.diffusion", description="Train the embedded text-to-image pipeline."
    )
    parser.add_argument(
        "step", choices=("pictures", "autoencoder", "latents", "text", "unet", "decoder", "export", "sheet")
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(platformdirs.user_cache_dir("llmi-build")) / "diffusion",
        help="data and checkpoints",
    )
    parser.add_argument("--seconds", type=float, help="wall-clock budget of a trained stage")
    parser.add_argument("--until", help="the same as a time of day, HH:MM")
    parser.add_argument("--resume", action="store_true", help="go on from the stage's checkpoint")
    parser.add_argument("--out", type=Path, help="folder of the exported pipeline")
    parser.add_argument("--threads", type=int, help="torch threads")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    from trainers.diffusion.budget import seconds_until

    work, data = arguments.work, arguments.work / "data"
    if arguments.step in ("autoencoder", "unet", "decoder") and arguments.seconds is None and arguments.until is None:
        parser.error("a trained stage needs --seconds or --until")
    seconds = seconds_until(arguments.until) if arguments.until else arguments.seconds
    if arguments.step == "pictures":
        from trainers.diffusion.build import build

        build(work / "raw", data)
        return
    from trainers.diffusion import train

    if arguments.step == "autoencoder":
        train.train_autoencoder(data, work, seconds, arguments.resume)
    elif arguments.step == "latents":
        train.compute_latents(data, work)
        train.compute_memory(data, work)
    elif arguments.step == "text":
        train.compute_text_states(data, work)
    elif arguments.step == "unet":
        train.train_unet(data, work, seconds, arguments.resume)
    elif arguments.step == "decoder":
        train.train_decoder(data, work, seconds)
    else:
        if arguments.out is None:
            parser.error(f"{arguments.step} needs --out FOLDER")
        from trainers.diffusion import export

        if arguments.step == "export":
            export.export(work, arguments.out)
        else:
            export.draw_sheets(work, arguments.out)


if __name__ == "__main__":
    main()
