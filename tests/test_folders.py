"""Files that are written in one step, folders that one process holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmi_env.errors import ConfigError
from llmi_env.folders import held_alone, whole, write_whole


def test_a_file_is_the_old_one_or_the_whole_new_one(tmp_path: Path) -> None:
    path = tmp_path / "owls.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")
    assert path.read_text() == "old"
    write_whole(path, "ü \ud800", errors="replace")
    assert path.read_text(encoding="utf-8") == "ü ?"
    write_whole(path, b"\xff\n")
    assert path.read_bytes() == b"\xff\n"
    assert [file.name for file in tmp_path.iterdir()] == ["owls.json"]  # nothing is left of the tries


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "nowhere" / "owls.json"):
        with pytest.raises(OSError, match=r"taken|nowhere"):
            write_whole(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_file_in_pieces_appears_at_the_end_of_the_block_or_never(tmp_path: Path) -> None:
    path = tmp_path / "owls.json"
    with whole(path) as part:
        part.write_text("new")
        assert not path.exists()

    def break_off() -> None:
        with whole(path) as part:
            part.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["owls.json"]


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "build"
    with held_alone(folder), pytest.raises(ConfigError, match=r"another process is at work on .*build"):
        held_alone(folder).__enter__()
    with pytest.raises(ZeroDivisionError), held_alone(folder):
        _ = 1 // 0
    with held_alone(folder):  # let go, whatever happened
        assert folder.is_dir()
