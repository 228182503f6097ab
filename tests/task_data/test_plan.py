"""Plans: the same for the same seed, balanced at every length, and never asking for what cannot be had."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmi_env.calls import BUILTIN
from llmi_env.errors import ConfigError
from llmi_env.task import Task
from llmi_env.task_data.pictures import Given
from llmi_env.task_data.plan import Plan, Wishes, read_topics
from llmi_env.task_data.wish import KINDS, contradiction, kind_of

PICTURES = tuple(Given(Path(f"{name}.png"), f"a {name}") for name in ("barn", "boat", "meadow"))
TOOLS = [tools for size in range(1, 5) for tools in combinations(BUILTIN, size)]


def slots(count: int, **wishes: Any) -> list[Any]:
    plan = Plan(Wishes(**wishes))
    return [plan[number] for number in range(count)]


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    assert slots(30, seed=3) == slots(30, seed=3)
    assert slots(30, seed=3) == slots(60, seed=3)[:30]
    assert slots(30, seed=3) != slots(30, seed=4)
    late = Plan(Wishes(seed=3))
    assert late[29] == slots(30, seed=3)[29]


def test_kinds_come_about_as_their_weights_say_at_every_length() -> None:
    weights = {"none": 1, "any": 3, "at_least_one": 2, "exactly": 4}
    for count in (10, 50, 200):
        found = Counter(kind_of(slot.image_count) for slot in slots(count, seed=count))
        assert found == {kind: weight * count // 10 for kind, weight in weights.items()}


def test_tools_are_needed_about_equally_often_and_together() -> None:
    made = slots(300)
    needed = Counter(tool for slot in made for tool in slot.tools)
    assert set(needed) == set(BUILTIN)
    assert max(needed.values()) <= 1.1 * min(needed.values())
    sizes = Counter(len(slot.tools) for slot in made)
    assert sizes[0] == 30
    assert min(sizes[1], sizes[2], sizes[3]) >= 10
    assert {slot.image_count for slot in made} >= {1, 2, 3, 4, 5, 6}
    assert max(Counter(slot.topic for slot in made).values()) - min(Counter(slot.topic for slot in made).values()) <= 1


@given(
    seed=some.integers(0, 50),
    tools=some.sampled_from(TOOLS),
    pictures=some.booleans(),
    share=some.floats(0, 1),
    kinds=some.sets(some.sampled_from(KINDS), min_size=1),
)
def test_nothing_is_ordered_that_cannot_be_had(
    seed: int, tools: tuple[str, ...], pictures: bool, share: float, kinds: set[str]
) -> None:
    wishes: dict[str, Any] = {"seed": seed, "tools": tools, "with_pictures": share, "counts": dict.fromkeys(kinds, 1)}
    wishes["pictures"] = PICTURES if pictures or tools == ("edit",) else ()
    for slot in slots(12, **wishes):
        task = Task("-", image_count=slot.image_count, tools=slot.tools)
        assert contradiction(task, len(slot.given)) == ""
        assert set(slot.tools) <= set(tools)
        assert (slot.image_count == "none") == (not slot.tools)
        assert kind_of(slot.image_count) in kinds
        assert slot.given or slot.tools != ("edit",)


def test_a_share_of_the_tasks_has_pictures() -> None:
    made = slots(100, pictures=PICTURES, with_pictures=0.3)
    shown = [slot for slot in made if slot.given]
    assert len(shown) == 27  # of the 90 that want pictures at all
    assert {len(slot.given) for slot in shown} == {1, 2}
    assert sum("edit" in slot.tools for slot in shown) > 13


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"counts": {"exact": 1}}, "no kind of wish for pictures 'exact', did you mean 'exactly'"),
        ({"counts": {"any": 0}}, "one of them more"),
        ({"counts": {"any": -1, "none": 2}}, "must be 0 or more"),
        ({"counts": {"any": float("nan"), "none": 2}}, "must be 0 or more"),
        ({"counts": {"any": float("inf"), "none": 2}}, "must be 0 or more"),
        ({"tools": ("serch",)}, "no tool 'serch', did you mean 'search'"),
        ({"tools": ()}, "need at least one tool"),
        ({"tools": ("edit",)}, "edit alone needs pictures to change"),
        ({"with_pictures": 2}, "from 0 to 1, not 2"),
    ],
)
def test_wishes_that_make_no_sense(wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Wishes(**wishes)


def test_topics_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "topics.txt"
    path.write_text("# ours\nowls\n\n  bees  of the south\nowls\n")
    assert read_topics(path) == ("owls", "bees of the south")
    assert {slot.topic for slot in slots(6, topics=read_topics(path))} == {"owls", "bees of the south"}
    assert Wishes(topics=("owls",)).told()["topics"] != Wishes().told()["topics"]
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="there are none"):
        read_topics(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_topics(tmp_path / "none.txt")
