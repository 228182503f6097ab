"""verl's checkpoints: which are whole, and which one a run goes on from.

verl writes `checkpoints/global_step_N/` part by part, its data loader last, and then the number N into a file of its own. A disk that
fills up, or a kill, may stop it anywhere: in the middle of a part, or with the number emptied and not yet written. What counts here is what
can be read.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from llmi_env.errors import CheckpointError
from llmi_env.folders import write_whole

FOLDER = "checkpoints"
TRACKER = "latest_checkpointed_iteration.txt"


def saved_step(run_dir: Path) -> int:
    """Number of the newest whole checkpoint; 0 where there is none."""
    return max((step for step, folder in _folders(run_dir) if is_whole(folder)), default=0)


def newest(run_dir: Path) -> Path | None:
    """Folder of the newest whole checkpoint."""
    step = saved_step(run_dir)
    return run_dir / FOLDER / f"global_step_{step}" if step else None


def make_ready(run_dir: Path) -> tuple[int, list[Path]]:
    """Have verl go on from the newest whole checkpoint.

    Returns:
        Its step, 0 for a start from the beginning, and the folders after it, which are broken and were removed.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    step = saved_step(run_dir)
    # Older ones may lack their weights: those verl has removed itself.
    broken = [folder for number, folder in _folders(run_dir) if number > step]
    tracker = run_dir / FOLDER / TRACKER
    try:
        for folder in broken:
            shutil.rmtree(folder)
        if step:
            write_whole(tracker, str(step))
        else:
            tracker.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{run_dir / FOLDER}: the checkpoints cannot be made ready: {error.strerror}") from error
    return step, broken


def is_whole(folder: Path) -> bool:
    """Whether everything that verl writes of a step is there and can be opened.

    Torch's files are archives with their table of contents at the end: one that was cut off has none.
    """
    loader = folder / "data.pt"
    parts = [path for role in ("actor", "critic") for path in (folder / role).glob("*.pt")]
    models = [path for path in parts if path.name.startswith("model_world_size_")]
    return bool(models) and all(zipfile.is_zipfile(path) for path in (loader, *parts))


def _folders(run_dir: Path) -> list[tuple[int, Path]]:
    found = ((path.name.removeprefix("global_step_"), path) for path in (run_dir / FOLDER).glob("global_step_*"))
    return sorted((int(number), path) for number, path in found if number.isdigit() and path.is_dir())
