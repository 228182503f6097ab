"""Checkpoints of a run: weights, optimisers, random state and progress, in a folder that appears whole or not at all.

`checkpoints/step-00007/` holds `adapter/` or `model/`, `state.pt` and `checkpoint.json`, which names the step, how far the tasks are used up,
and the checksum of every file. A checkpoint that does not agree with its own list is never used, and never skipped in silence either.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.errors import CheckpointError

if TYPE_CHECKING:
    from trainers.policy_model import PolicyModel

FOLDER = "checkpoints"
_INDEX = "checkpoint.json"
_STATE = "state.pt"
_FORMAT = 2


@dataclass(frozen=True)
class Progress:
    """How far a run is, besides what its model and optimisers know.

    Attributes:
        tasks: tasks taken from the order of tasks so far.
        idle: steps in a row, up to now, that had no usable group.
    """

    tasks: int = 0
    idle: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole.

    Attributes:
        step: steps done.
        path: its folder.
        progress: how far the run was.
    """

    step: int
    path: Path
    progress: Progress


def save_checkpoint(
    run: Path, step: int, policy: PolicyModel, parts: Mapping[str, Any], progress: Progress, keep: int
) -> Path:
    """Write the state after `step` steps; then remove all but the newest `keep`.

    Args:
        run: the run folder.
        step: steps done.
        policy: whose weights are kept.
        parts: optimisers and modules by name, each with a `state_dict`.
        progress: how far the run is.
        keep: how many checkpoints stay.
    """
    import torch

    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:05d}"
    working = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    try:
        policy.save(working)
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"parts": state, "rng": torch.get_rng_state()}, working / _STATE)
        sums = {
            str(path.relative_to(working)): _checksum(path) for path in sorted(working.rglob("*")) if path.is_file()
        }
        index = {"format": _FORMAT, "step": step, "progress": asdict(progress), "files": sums}
        (working / _INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
        for path in working.rglob("*"):
            _flush(path)
        if target.exists():
            shutil.rmtree(target)
        working.chmod(0o755)
        working.rename(target)
        _flush(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    for old in _folders(run)[:-keep]:
        shutil.rmtree(old)
    for left in folder.glob(".part-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    return target


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """The newest checkpoint of a run, or `None` where there is none.

    Raises:
        CheckpointError: the newest one is broken; the message names the last good one.
    """
    folders = _folders(run)
    if not folders:
        return None
    try:
        return _open(folders[-1])
    except CheckpointError as error:
        good = next((found for path in reversed(folders[:-1]) if (found := _try(path)) is not None), None)
        advice = (
            f"the last good one is {good.path.name}: remove {folders[-1]} to go on from it"
            if good is not None
            else f"there is no other: start the run again without --resume, or remove {run}"
        )
        raise CheckpointError(f"{error}; {advice}") from error


def restore(checkpoint: Checkpoint, policy: PolicyModel, parts: Mapping[str, Any]) -> None:
    """Put weights, optimisers and random state back, so that training goes on as if it had not stopped.

    Raises:
        CheckpointError: the state does not fit.
    """
    import torch

    policy.restore(checkpoint.path)
    try:
        state = torch.load(checkpoint.path / _STATE, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        torch.set_rng_state(state["rng"])
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"checkpoint {checkpoint.path} cannot be restored: {error}") from error


def _folders(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("step-*"))


def _try(path: Path) -> Checkpoint | None:
    try:
        return _open(path)
    except CheckpointError:
        return None


def _open(path: Path) -> Checkpoint:
    try:
        index = json.loads((path / _INDEX).read_text(encoding="utf-8"))
        step, sums, version = int(index["step"]), dict(index["files"]), index["format"]
        progress = Progress(**index.get("progress", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"checkpoint {path.name} is corrupt: {_INDEX} cannot be read ({type(error).__name__})"
        ) from error
    if version != _FORMAT:
        raise CheckpointError(f"checkpoint {path.name} has format {version}; this version reads {_FORMAT}")
    for name, expected in sums.items():
        try:
            actual = _checksum(path / name)
        except OSError as error:
            raise CheckpointError(f"checkpoint {path.name} is corrupt: {name} is missing") from error
        if actual != expected:
            raise CheckpointError(f"checkpoint {path.name} is corrupt: {name} does not agree with its checksum")
    return Checkpoint(step, path, progress)


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


def _flush(path: Path) -> None:
    """Make sure that it is on the disk: a rename must not overtake the contents."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
