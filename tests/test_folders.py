"""Files that are written in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmi_env.folders import write_whole


def test_a_file_is_the_old_one_or_the_whole_new_one(tmp_path: Path) -> None:
    path = tmp_path / "owls.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")
    assert path.read_text() == "old"
    write_whole(path, "ü \ud800", errors="replace")
    assert path.read_text(encoding="utf-8") == "ü ?"
    assert [file.name for file in tmp_path.iterdir()] == ["owls.json"]  # nothing is left of the tries


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "nowhere" / "owls.json"):
        with pytest.raises(OSError, match=r"taken|nowhere"):
            write_whole(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
