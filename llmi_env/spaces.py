"""Spaces for what Gymnasium's own cannot hold: unicode text, token sequences and lists of pictures of any size.

All three are of variable length under a bound in bytes, which sizes the buffers of vector environments: `AsyncVectorEnv` works with
shared memory on and off. A value that does not fit its buffer is an error, never a cut. `contains` costs one pass over the value.

Gymnasium reads shared memory once, when the vector environment is made, and from then on copies what it got. The reader here therefore gives
a live view (`SharedBatch`), whose copy is a tuple of the values as they stand at that moment.
"""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Space
from gymnasium.vector.utils import (
    create_empty_array,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)

from llmi_env.errors import ConfigError

__all__ = ["ImageList", "SharedBatch", "TokenSequence", "UnicodeText"]

T = TypeVar("T")
Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]
Images = tuple[npt.NDArray[np.uint8], ...]

_SAMPLE_CHARACTERS = [chr(code) for code in range(32, 127)] * 2 + list("\n\té߀中文字にほ한Жש😀👩🏽\u0301")
_SAMPLE_LENGTH = 32


class PackedSpace(Space[T], Generic[T]):
    """A space whose values of varying length can be written into a fixed number of bytes.

    Args:
        max_bytes: bytes of the largest value, headers not counted.
        seed: of the sampler.
    """

    def __init__(self, max_bytes: int, seed: int | np.random.Generator | None = None) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
            raise ValueError(f"max_bytes must be a number >= 0, not {max_bytes!r}")
        self.max_bytes = max_bytes
        super().__init__(None, None, seed)

    @property
    @abstractmethod
    def empty(self) -> T:
        """The empty value."""

    @property
    @abstractmethod
    def header(self) -> int:
        """How many 64-bit numbers stand before the bytes of a packed value."""

    @abstractmethod
    def pack(self, value: T) -> tuple[list[int], bytes]:
        """The value as header and bytes."""

    @abstractmethod
    def unpack(self, header: Sequence[int], data: Bytes) -> T:
        """The value of a header and the buffer of bytes behind it; a copy."""

    @property
    def stride(self) -> int:
        """Bytes that one value takes in shared memory."""
        return 8 * self.header + -(-self.max_bytes // 8) * 8

    @property
    def is_np_flattenable(self) -> bool:
        """No: the length varies."""
        return False

    def write(self, value: T, buffer: Bytes) -> None:
        """Write a value into `stride` bytes.

        Raises:
            ConfigError: if it does not fit.
        """
        header, data = self.pack(value)
        if len(header) > self.header or len(data) > self.max_bytes:
            raise ConfigError(
                f"an observation of {len(data)} bytes does not fit {self!r}: raise limits.observation_kib or limits.picture_kib, "
                "or use AsyncVectorEnv(shared_memory=False)"
            )
        numbers = np.zeros(self.header, np.int64)
        numbers[: len(header)] = header
        start = 8 * self.header
        buffer[:start] = numbers.view(np.uint8)
        buffer[start : start + len(data)] = np.frombuffer(data, np.uint8)

    def read(self, buffer: Bytes) -> T:
        """Read what `write` wrote."""
        start = 8 * self.header
        return self.unpack(buffer[:start].view(np.int64).tolist(), buffer[start:])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return False
        mine, theirs = dict(vars(self)), dict(vars(other))
        mine.pop("_np_random", None)
        theirs.pop("_np_random", None)
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]


class UnicodeText(PackedSpace[str]):
    """Text of any characters but NUL and lone surrogates, which no file or service can carry.

    Args:
        max_bytes: in UTF-8.
        end: a character that may stand at the very end only.
        seed: of the sampler.

    >>> "héllo" in UnicodeText(64), "a\\x00b" in UnicodeText(64)
    (True, False)
    """

    def __init__(self, max_bytes: int, end: str | None = None, seed: int | np.random.Generator | None = None) -> None:
        self.end = end
        super().__init__(max_bytes, seed)

    def contains(self, x: Any) -> bool:
        """Whether `x` is text within the bound."""
        return self.problem(x) is None

    def problem(self, x: Any) -> str | None:
        """What keeps `x` out of the space, in words for an error; `None` when it is in."""
        if not isinstance(x, str):
            return f"it is {type(x).__name__}, not str"
        if len(x) > self.max_bytes:
            return f"it has {len(x)} characters; at most {self.max_bytes} bytes of UTF-8 are taken"
        if not x.isascii():
            try:
                data = x.encode("utf-8")
            except UnicodeEncodeError as error:
                return f"there is a lone surrogate at character {error.start}"
            if len(data) > self.max_bytes:
                return f"it has {len(data)} bytes of UTF-8; at most {self.max_bytes} are taken"
            nul = 0 in data  # far quicker than in text of two bytes a character, where every second byte is 0
        else:
            nul = "\0" in x
        if nul:
            return f"there is a NUL at character {x.index(chr(0))}"
        if self.end is not None and 0 <= x.find(self.end) < len(x) - 1:
            return f"there is text after END at character {x.index(self.end)}"
        return None

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Up to 32 characters of several scripts; with `end`, a quarter of the samples end with it."""
        _no_mask(self, mask, probability)
        picks = self.np_random.integers(
            0, len(_SAMPLE_CHARACTERS), int(self.np_random.integers(0, _SAMPLE_LENGTH, endpoint=True))
        )
        text = "".join(_SAMPLE_CHARACTERS[pick] for pick in picks)
        if self.end is not None and self.np_random.random() < 0.25:
            text += self.end
        return text if self.contains(text) else ""

    @property
    def empty(self) -> str:
        """No text."""
        return ""

    @property
    def header(self) -> int:
        """The number of bytes."""
        return 1

    def pack(self, value: str) -> tuple[list[int], bytes]:
        """UTF-8."""
        data = value.encode("utf-8")
        return [len(data)], data

    def unpack(self, header: Sequence[int], data: Bytes) -> str:
        """From UTF-8."""
        return data[: header[0]].tobytes().decode("utf-8")

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_bytes}{'' if self.end is None else f', end={self.end!r}'})"


class TokenSequence(PackedSpace[Ids]):
    """One-dimensional int64 arrays of token ids.

    Args:
        vocab_size: ids run from 0 to `vocab_size - 1`.
        max_length: tokens of the longest sequence.
        seed: of the sampler.

    >>> np.array([1, 2]) in TokenSequence(3, 8), np.array([3]) in TokenSequence(3, 8)
    (True, False)
    """

    def __init__(self, vocab_size: int, max_length: int, seed: int | np.random.Generator | None = None) -> None:
        if isinstance(vocab_size, bool) or not 0 < vocab_size < 2**31:
            raise ValueError(f"vocab_size must be a number from 1 to 2**31 - 1, not {vocab_size!r}")
        self.vocab_size, self.max_length = vocab_size, max_length
        super().__init__(4 * max_length, seed)

    def contains(self, x: Any) -> bool:
        """Whether `x` is an integer array of one dimension, within the bounds."""
        if not isinstance(x, np.ndarray) or x.ndim != 1 or x.dtype != np.int64 or len(x) > self.max_length:
            return False
        return len(x) == 0 or (int(x.min()) >= 0 and int(x.max()) < self.vocab_size)

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> Ids:
        """Up to 32 ids."""
        _no_mask(self, mask, probability)
        length = int(self.np_random.integers(0, min(_SAMPLE_LENGTH, self.max_length), endpoint=True))
        return self.np_random.integers(0, self.vocab_size, length, dtype=np.int64)

    @property
    def empty(self) -> Ids:
        """No tokens."""
        return np.empty(0, np.int64)

    @property
    def header(self) -> int:
        """The number of tokens."""
        return 1

    def pack(self, value: Ids) -> tuple[list[int], bytes]:
        """As 32-bit numbers."""
        return [len(value)], value.astype(np.int32).tobytes()

    def unpack(self, header: Sequence[int], data: Bytes) -> Ids:
        """As 64-bit numbers."""
        return data[: 4 * header[0]].view(np.int32).astype(np.int64)

    def to_jsonable(self, sample_n: Iterable[Ids]) -> list[list[int]]:
        """Lists of numbers."""
        return [sample.tolist() for sample in sample_n]

    def from_jsonable(self, sample_n: list[list[int]]) -> list[Ids]:
        """Read what `to_jsonable` wrote."""
        return [np.array(sample, np.int64) for sample in sample_n]

    def __repr__(self) -> str:
        return f"TokenSequence({self.vocab_size}, {self.max_length})"


class ImageList(PackedSpace[Images]):
    """Tuples of RGB pictures: uint8 arrays of shape (height, width, 3), each of its own size.

    Args:
        max_images: pictures at most.
        max_bytes: pixels of all pictures together, three bytes each.
        seed: of the sampler.
    """

    def __init__(self, max_images: int, max_bytes: int, seed: int | np.random.Generator | None = None) -> None:
        if isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 0:
            raise ValueError(f"max_images must be a number >= 0, not {max_images!r}")
        self.max_images = max_images
        super().__init__(max_bytes, seed)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a tuple of RGB pictures within the bounds."""
        if not isinstance(x, tuple) or len(x) > self.max_images:
            return False
        if not all(isinstance(i, np.ndarray) and i.dtype == np.uint8 and i.ndim == 3 and i.shape[2] == 3 for i in x):
            return False
        return bool(sum(image.nbytes for image in x) <= self.max_bytes)

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> Images:
        """Up to two pictures of at most 8 pixels a side."""
        _no_mask(self, mask, probability)
        images = []
        for _ in range(int(self.np_random.integers(0, min(2, self.max_images), endpoint=True))):
            height, width = self.np_random.integers(1, 8, 2, endpoint=True)
            images.append(self.np_random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        found = tuple(images)
        return found if self.contains(found) else ()

    @property
    def empty(self) -> Images:
        """No pictures."""
        return ()

    @property
    def header(self) -> int:
        """The number of pictures, then height and width of each."""
        return 1 + 2 * self.max_images

    def pack(self, value: Images) -> tuple[list[int], bytes]:
        """Pixels one picture after the other."""
        sides = [side for image in value for side in image.shape[:2]]
        return [len(value), *sides], b"".join(image.tobytes() for image in value)

    def unpack(self, header: Sequence[int], data: Bytes) -> Images:
        """Pictures of their own memory."""
        images, start = [], 0
        for position in range(header[0]):
            height, width = header[1 + 2 * position : 3 + 2 * position]
            size = height * width * 3
            images.append(data[start : start + size].reshape(height, width, 3).copy())
            start += size
        return tuple(images)

    def to_jsonable(self, sample_n: Iterable[Images]) -> list[list[dict[str, Any]]]:
        """Shape and pixels (base64) of each picture."""
        return [
            [
                {"shape": list(image.shape), "data": base64.b64encode(image.tobytes()).decode("ascii")}
                for image in sample
            ]
            for sample in sample_n
        ]

    def from_jsonable(self, sample_n: list[list[dict[str, Any]]]) -> list[Images]:
        """Read what `to_jsonable` wrote."""
        return [
            tuple(
                np.frombuffer(base64.b64decode(image["data"]), np.uint8).reshape(image["shape"]).copy()
                for image in sample
            )
            for sample in sample_n
        ]

    def __repr__(self) -> str:
        return f"ImageList({self.max_images}, {self.max_bytes})"


def _no_mask(space: Space[Any], mask: Any, probability: Any) -> None:
    if mask is not None or probability is not None:
        raise ValueError(f"{type(space).__name__}.sample takes neither mask nor probability")


# ------------------------------------------------------------------------------------------------------- vector environments


class SharedBatch(Sequence[T]):
    """The values of all environments, read from shared memory when they are asked for; a (deep) copy is a tuple of them."""

    def __init__(self, space: PackedSpace[T], memory: Any, n: int) -> None:
        self._space, self._memory, self._n = space, memory, n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(self._n)))
        if not -self._n <= index < self._n:
            raise IndexError(f"there are {self._n} environments, none of number {index}")
        return self._space.read(_slot(self._space, index % self._n, self._memory))

    def __deepcopy__(self, memo: Any) -> tuple[T, ...]:
        return tuple(self)

    def __copy__(self) -> tuple[T, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return f"SharedBatch({tuple(self)!r})"


def _slot(space: PackedSpace[Any], index: int, memory: Any) -> Bytes:
    stride = space.stride
    return np.frombuffer(memory.get_obj(), np.uint8)[index * stride : (index + 1) * stride]


@create_empty_array.register(PackedSpace)
def _create_empty(space: PackedSpace[T], n: int = 1, fn: Callable[..., Any] = np.zeros) -> tuple[T, ...]:
    return tuple(space.empty for _ in range(n))


@create_shared_memory.register(PackedSpace)
def _create_memory(space: PackedSpace[Any], n: int = 1, ctx: Any = None) -> Any:
    if ctx is None:
        import multiprocessing as ctx
    return ctx.Array("B", n * space.stride)


@read_from_shared_memory.register(PackedSpace)
def _read_memory(space: PackedSpace[T], shared_memory: Any, n: int = 1) -> SharedBatch[T]:
    return SharedBatch(space, shared_memory, n)


@write_to_shared_memory.register(PackedSpace)
def _write_memory(space: PackedSpace[T], index: int, value: T, shared_memory: Any) -> None:
    space.write(value, _slot(space, index, shared_memory))
