"""Torch's threads while something is computed: one's own affair, and put back."""

from __future__ import annotations

import threading

import pytest

torch = pytest.importorskip("torch")

from llmi_env.torch_threads import torch_threads  # noqa: E402


def test_they_are_put_back_also_after_an_error_and_within_another_one() -> None:
    before = torch.get_num_threads()

    def fails() -> None:
        with torch_threads(before + 1):
            assert torch.get_num_threads() == before + 1
            with torch_threads(before + 2):
                assert torch.get_num_threads() == before + 1, "the outer one holds"
            assert torch.get_num_threads() == before + 1
            raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        fails()
    assert torch.get_num_threads() == before
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_threads_that_overlap_leave_what_was_before() -> None:
    before, first_in, second_in = torch.get_num_threads(), threading.Event(), threading.Event()

    def first() -> None:
        with torch_threads(before + 1):
            first_in.set()
            assert second_in.wait(10)

    def second() -> None:
        assert first_in.wait(10)
        with torch_threads(before + 1):
            second_in.set()
            ended.wait(10)

    ended = threading.Event()
    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    two.start()
    one.join(20)
    ended.set()
    two.join(20)
    found: list[int] = []
    late = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    late.start()
    late.join(20)
    assert found == [before], "a thread that starts later has the number of before"
    assert torch.get_num_threads() == before
