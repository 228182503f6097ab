"""Which of verl's checkpoints a run goes on from, whatever a full disk or a kill has left."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmi_env.errors import CheckpointError
from trainers.verl import checkpoints

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'llmi-env[offline]'")


def save(run: Path, step: int) -> Path:
    folder = run / "checkpoints" / f"global_step_{step}"
    (folder / "actor").mkdir(parents=True)
    for name in ("model_world_size_1_rank_0", "optim_world_size_1_rank_0", "extra_state_world_size_1_rank_0"):
        torch.save({"weight": torch.zeros(1000)}, folder / "actor" / f"{name}.pt")
    torch.save({"position": step}, folder / "data.pt")
    (run / "checkpoints" / checkpoints.TRACKER).write_text(str(step))
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    assert checkpoints.saved_step(tmp_path) == 0
    assert checkpoints.newest(tmp_path) is None
    save(tmp_path, 2)
    newest = save(tmp_path, 10)
    assert checkpoints.saved_step(tmp_path) == 10
    assert checkpoints.newest(tmp_path) == newest
    assert checkpoints.make_ready(tmp_path) == (10, [])


@pytest.mark.parametrize(
    "name", ["data.pt", "actor/model_world_size_1_rank_0.pt", "actor/optim_world_size_1_rank_0.pt"]
)
def test_one_that_a_full_disk_cut_off_is_passed_over(tmp_path: Path, name: str) -> None:
    save(tmp_path, 2)
    broken = save(tmp_path, 3)
    cut(broken / name)
    (tmp_path / "checkpoints" / checkpoints.TRACKER).write_text("")  # emptied, and the number never written
    assert checkpoints.make_ready(tmp_path) == (2, [broken])
    assert not broken.exists()
    assert (tmp_path / "checkpoints" / checkpoints.TRACKER).read_text() == "2"


def test_without_a_whole_one_verl_begins_anew(tmp_path: Path) -> None:
    (save(tmp_path, 1) / "data.pt").unlink()
    step, broken = checkpoints.make_ready(tmp_path)
    assert (step, len(broken)) == (0, 1)
    assert not (tmp_path / "checkpoints" / checkpoints.TRACKER).exists()


def test_a_disk_that_is_still_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoints.make_ready(tmp_path)
    assert checkpoints.saved_step(tmp_path) == 1


def test_a_full_disk_is_told_with_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = pytest.importorskip("trainers.verl.launch")
    save(tmp_path, 4)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    advice = str(launch._with_advice(OSError(errno.ENOSPC, "No space left on device", "verl.log"), tmp_path))
    assert "is full" in advice
    assert "saved up to step 4" in advice


def test_what_verl_has_removed_itself_is_not_called_broken(tmp_path: Path) -> None:
    for path in (save(tmp_path, 1) / "actor").iterdir():
        path.unlink()
    save(tmp_path, 2)
    assert checkpoints.make_ready(tmp_path) == (2, [])
