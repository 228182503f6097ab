"""The policy of a run as a folder that transformers, vLLM and every other loader of Hugging Face models read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from llmi_env.errors import CheckpointError, ConfigError, require
from trainers.verl.checkpoints import newest


def export_policy(source: str | Path, out: Path) -> Path:
    """Write a policy as a whole model: adapters are merged, the shards of verl's checkpoints joined.

    Args:
        source: a run folder (its newest checkpoint), one of verl's `global_step_*`, or whatever `llmi_env.models.load_model` takes.
        out: the folder to write, which must not be there yet.

    Returns:
        The folder.

    Raises:
        ConfigError: `out` exists, or `source` is no policy.
        CheckpointError: a checkpoint of verl's cannot be joined.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already: give the name of a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    try:
        step = verl_checkpoint(Path(source))
        if step is None:
            _whole(source, working)
        else:
            _join(step / "actor", working)
        working.chmod(0o755)
        working.rename(out)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return out


def verl_checkpoint(source: Path) -> Path | None:
    """The checkpoint of verl's that a folder is or, as a run, holds last; `None` where it has none."""
    if source.name.startswith("global_step_") and source.is_dir():
        return source
    return newest(source)


def _whole(source: str | Path, folder: Path) -> None:
    import transformers

    from llmi_env.models import load_model, quiet, resolve_policy, sees_pictures
    from llmi_env.policies.vision import Eyes

    model, tokenizer = load_model(source)
    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    with quiet(transformers):
        merged.save_pretrained(str(folder))
    tokenizer.hf.save_pretrained(str(folder))
    if sees_pictures(source):
        Eyes.load(resolve_policy(source).base).save(folder)


def _join(actor: Path, folder: Path) -> None:
    require("verl", "joining verl's checkpoints", "verl")
    if not (actor / "huggingface" / "config.json").is_file():
        raise CheckpointError(f"{actor} is no checkpoint of verl's (FSDP): huggingface/config.json is missing")
    command = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", str(actor)]
    done = subprocess.run(
        [*command, "--target_dir", str(folder)], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    if done.returncode or not any(folder.glob("*.safetensors")):
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise CheckpointError(f"{actor} cannot be joined: {said[-1] if said else 'verl said nothing'}")
