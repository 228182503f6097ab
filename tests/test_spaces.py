from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import time
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import (
    batch_space,
    concatenate,
    create_empty_array,
    create_shared_memory,
    iterate,
    read_from_shared_memory,
    write_to_shared_memory,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from llmi_env.errors import ConfigError
from llmi_env.spaces import ImageList, TokenSequence, UnicodeText

ALL = [UnicodeText(256), UnicodeText(256, end="\x03"), TokenSequence(1000, 64), ImageList(3, 4096)]
each = pytest.mark.parametrize("space", ALL, ids=repr)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return bool(isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b))
    return type(a) is type(b) and bool(a == b)


@each
class TestEvery:
    def test_samples_are_inside_and_fixed_by_the_seed(self, space: Any) -> None:
        first, second = copy.deepcopy(space), copy.deepcopy(space)
        first.seed(3)
        second.seed(3)
        samples = [first.sample() for _ in range(50)]
        assert all(sample in space for sample in samples)
        assert all(same(sample, second.sample()) for sample in samples)
        assert len({repr(sample) for sample in samples}) > 5

    def test_equality_repr_and_pickle(self, space: Any) -> None:
        copied = pickle.loads(pickle.dumps(space))
        copied.seed(9)
        assert copied == space
        assert sum(space == other for other in ALL) == 1
        assert space != "text"
        assert eval(repr(space), {type(space).__name__: type(space)}) == space

    def test_samples_survive_json(self, space: Any) -> None:
        samples = [space.sample() for _ in range(10)]
        back = space.from_jsonable(json.loads(json.dumps(space.to_jsonable(samples))))
        assert all(same(a, b) for a, b in zip(samples, back, strict=True))

    def test_batches(self, space: Any) -> None:
        batched = batch_space(space, 3)
        values = [space.sample() for _ in range(3)]
        together = concatenate(space, values, create_empty_array(space, 3))
        assert together in batched
        assert all(same(a, b) for a, b in zip(values, together, strict=True))
        assert all(same(a, b) for a, b in zip(values, iterate(batched, together), strict=True))
        assert all(sample in space for sample in batched.sample())
        assert create_empty_array(space, 3) in batched

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_shared_memory(self, space: Any, method: Any) -> None:
        memory = create_shared_memory(space, 3, multiprocessing.get_context(method))
        view = read_from_shared_memory(space, memory, 3)
        assert same(copy.deepcopy(view), create_empty_array(space, 3))
        for _ in range(5):  # values of other lengths before must leave nothing behind
            values = tuple(space.sample() for _ in range(3))
            for index, value in enumerate(values):
                write_to_shared_memory(space, index, value, memory)
            assert same(copy.deepcopy(view), values)
        assert same(view[-1], values[2])
        assert len(view) == 3
        assert same(view[1:], values[1:])
        with pytest.raises(IndexError):
            view[3]

    def test_what_a_copy_holds_does_not_change_any_more(self, space: Any) -> None:
        memory = create_shared_memory(space, 1)
        view = read_from_shared_memory(space, memory, 1)
        space.seed(1)
        value = space.sample()
        write_to_shared_memory(space, 0, value, memory)
        kept = copy.deepcopy(view)
        write_to_shared_memory(space, 0, space.empty, memory)
        assert same(kept, (value,))

    def test_no_mask(self, space: Any) -> None:
        with pytest.raises(ValueError, match="mask"):
            space.sample(mask=np.ones(3, np.int8))


class TestUnicodeText:
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60))
    def test_any_text_is_inside_and_fits_shared_memory(self, text: str) -> None:
        space = UnicodeText(256)
        assert text in space
        buffer = np.zeros(space.stride, np.uint8)
        space.write(text, buffer)
        assert space.read(buffer) == text

    @pytest.mark.parametrize(
        "value", [None, 1, b"a", ["a"], "a\x00", "\ud800", "a" * 257, "日" * 86, "a\x03b", "\x03\x03"]
    )
    def test_outside(self, value: object) -> None:
        space = UnicodeText(256, end="\x03")
        assert value not in space
        assert space.problem(value)

    def test_end_may_stand_last(self) -> None:
        assert "a\x03" in UnicodeText(8, end="\x03")

    def test_membership_is_cheap(self) -> None:
        space, text = UnicodeText(10**6), "日本語 owl " * 10_000
        start = time.perf_counter()
        assert all(text in space for _ in range(20))
        assert time.perf_counter() - start < 0.5


class TestTokenSequence:
    @given(npst.arrays(np.int64, st.integers(0, 64), elements=st.integers(0, 999)))
    def test_inside(self, ids: Any) -> None:
        assert ids in TokenSequence(1000, 64)

    @pytest.mark.parametrize(
        "value",
        [
            [1, 2],
            np.array([1.0]),
            np.array([1], np.int32),
            np.array([[1]]),
            np.array([1000]),
            np.array([-1]),
            np.zeros(65, np.int64),
            None,
        ],
        ids=repr,
    )
    def test_outside(self, value: object) -> None:
        assert value not in TokenSequence(1000, 64)

    @pytest.mark.parametrize("size", [0, -1, True, 2**31])
    def test_a_vocabulary_has_a_size(self, size: int) -> None:
        with pytest.raises(ValueError, match="vocab_size"):
            TokenSequence(size, 3)


class TestImageList:
    def test_outside(self) -> None:
        picture = np.zeros((4, 4, 3), np.uint8)
        space = ImageList(3, 4096)
        assert (picture, picture) in space
        for value in (
            [picture],
            picture,
            (picture[..., :2],),
            (picture[0],),
            (picture.astype(np.float32),),
            (picture,) * 4,
            (np.zeros((64, 64, 3), np.uint8),),
            (None,),
        ):
            assert value not in space


def test_a_value_that_does_not_fit_is_an_error_and_never_cut() -> None:
    for space, value in [
        (UnicodeText(4), "hello"),
        (TokenSequence(9, 2), np.arange(3)),
        (ImageList(1, 10), (np.zeros((2, 2, 3), np.uint8),)),
        (ImageList(1, 100), (np.zeros((1, 1, 3), np.uint8),) * 2),
    ]:
        memory = create_shared_memory(space, 1)
        with pytest.raises(ConfigError, match="does not fit"):
            write_to_shared_memory(space, 0, value, memory)


def test_inside_a_dict() -> None:
    space = spaces.Dict({"text": UnicodeText(64), "images": ImageList(2, 512), "n": spaces.Discrete(5)})
    memory = create_shared_memory(space, 2)
    view = read_from_shared_memory(space, memory, 2)
    values = [space.sample() for _ in range(2)]
    for index, value in enumerate(values):
        write_to_shared_memory(space, index, value, memory)
    found = copy.deepcopy(view)
    assert found["text"] == tuple(value["text"] for value in values)
    assert found["n"].tolist() == [value["n"] for value in values]


@pytest.mark.parametrize("bytes_", [-1, True, 1.5, "a"])
def test_a_bound_is_a_number(bytes_: Any) -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        UnicodeText(bytes_)
