"""JSON lines that are added to while work goes on, and what a kill leaves of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmi_env.json_lines import add_rows, mend, read_rows
from llmi_env.store import StoreError


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("torn", ["", '{"owl": 3', '{"owl": 3}', "\x00\x00", '"é'])
def test_a_last_line_that_was_cut_off_is_left_out_and_mended(tmp_path: Path, torn: str, fsync: bool) -> None:
    file = tmp_path / "new" / "owls.jsonl"
    add_rows(file, [{"owl": 1}, {"owl": "two\nlines\u2028"}], fsync=fsync)
    with file.open("ab") as opened:
        opened.write(torn.encode()[:-1] if torn.endswith("é") else torn.encode())  # also within a letter
    whole = [(f"{file}, line 1", {"owl": 1}), (f"{file}, line 2", {"owl": "two\nlines\u2028"})]
    assert list(read_rows(file)) == whole
    assert mend(file)
    add_rows(file, [{"owl": 4}], fsync=fsync)
    assert list(read_rows(file)) == [*whole, (f"{file}, line 3", {"owl": 4})]


@pytest.mark.parametrize("line", ["[]", "{", "", "3", "[" * 100_000])
def test_a_whole_line_that_is_no_object_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    file = tmp_path / "owls.jsonl"
    add_rows(file, [{"owl": 1}], fsync=False)
    with file.open("a") as opened:
        opened.write(f"{line}\n")
    with pytest.raises(StoreError, match=r"owls\.jsonl, line 2: not one of ours"):
        list(read_rows(file))


@pytest.mark.parametrize("text", [None, "", "somebody's notes, without an end"])
def test_a_file_without_a_whole_line_is_left_to_the_caller(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "owls.jsonl"
    if text is not None:
        file.write_text(text)
    assert not mend(file)
    assert list(read_rows(file)) == []
    assert (file.read_text() if file.exists() else None) == text
