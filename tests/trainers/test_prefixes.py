"""Each token of the list must see exactly what it sees in its own sequence."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from trainers.prefixes import Tokens, lay_out  # noqa: E402

ids = st.lists(st.integers(0, 2), min_size=1, max_size=5)


def seen(tokens: Tokens) -> list[list[int]]:
    """What each token of the list sees, as places in it, itself at the end."""
    found = []
    for level in tokens.levels:
        rows, width, _ = level.seen_RWL.shape
        for place in range(rows * width) if level.places is None else level.places.tolist():
            row, column = divmod(place, width)
            found.append(level.keys_RL[row][level.seen_RWL[row, column]].tolist())
    return found


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=6))
def test_every_token_sees_its_own_sequence(pairs: list[tuple[list[int], list[int]]]) -> None:
    prompts, responses = [list(pair) for pair in zip(*pairs, strict=True)]
    tokens = lay_out(prompts, responses)
    ways = seen(tokens)
    assert [way[-1] for way in ways] == list(range(len(tokens.ids_N)))
    assert [len(way) - 1 for way in ways] == tokens.positions_N.tolist()
    for prompt, response, before in zip(prompts, responses, tokens.before_BT.tolist(), strict=True):
        for t in range(len(response)):
            assert tokens.ids_N[ways[before[t]]].tolist() == prompt + response[:t]


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=6))
def test_padding_comes_and_goes(pairs: list[tuple[list[int], list[int]]]) -> None:
    prompts, responses = [list(pair) for pair in zip(*pairs, strict=True)]
    tokens = lay_out(prompts, responses)
    values_N = torch.arange(1, len(tokens.ids_N) + 1)[:, None]
    padded = [level.pad(values_N) for level in tokens.levels]
    assert torch.equal(torch.cat([level.unpad(p) for level, p in zip(tokens.levels, padded, strict=True)]), values_N)
    for level, values in zip(tokens.levels, padded, strict=True):
        padding = [place for place in range(len(values)) if level.places is not None and place not in level.places]
        assert (values[padding] == 0).all()
        assert torch.isfinite(level.bias(2)).any(-1).all()  # a token that sees nothing would make NaN


def test_what_is_common_stands_once() -> None:
    tokens = lay_out([[1, 2, 3], [1, 2, 3], [1, 2, 4]], [[5, 6], [7, 8, 9], [5]])
    assert tokens.ids_N.tolist() == [1, 2, 3, 4, 5, 7, 8]
    assert tokens.positions_N.tolist() == [0, 1, 2, 2, 3, 3, 4]
    assert tokens.before_BT.tolist() == [[2, 4, 0], [2, 5, 6], [3, 0, 0]]
