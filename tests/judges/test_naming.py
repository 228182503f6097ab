"""Whether a picture goes by a name that is not its own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.embeddings import available, embed
from llmi_env.judges.naming import is_misnamed, misnamed
from llmi_env.judges.relevance import Meanings
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks

pytestmark = [
    pytest.mark.xdist_group("embedded judge"),  # one process loads the model
    pytest.mark.skipif(not available(), reason="the text-embedding model is not installed"),
]
MEANINGS = Meanings(embed)

# tool, description, what was asked for, what else is said, what the picture is called that came
RIGHT = [
    ("search", "Photo of the tiger", "Bengal tigers", "Show me a tiger.", ""),
    ("search", "Photo of a roller coaster", "Rollercoaster", "A roller coaster as it really is.", ""),
    ("search", "Photo of a firefighter", "fire fighter", "What does a firefighter do?", ""),
    ("search", "Picture of a blacksmith", "metal smiths", "What does a blacksmith do?", ""),
    ("search", "The tallest building", "Burj Khalifa", "What is the tallest building?\nIt is the Burj Khalifa.", ""),
    ("search", "Barn owl", "Tyto alba", "Introduce the barn owl.", "A barn owl (Tyto alba) in flight"),
    ("search", "A Mexican sauce", "mole poblano", "Write about sauces.", "Mole poblano, a sauce of chilies"),
    ("search", "The Forbidden City", "故宫", "Write about Beijing.", ""),
    ("search", "Cologne cathedral", "Kölner Dom", "Write about a church.", ""),
    ("search", "A cat", "kitten", "Show a cat.", ""),
    ("diffusion", "Painting of a plane", "a red airplane", "A plane for our leaflet, drawn once.", ""),
    (
        "diffusion",
        "Illustration of the alien's ship",
        "a flying saucer",
        "A postcard from an alien, with its ship.",
        "",
    ),
    ("diffusion", "Design for a tailor", "a pair of silver scissors", "A tailor would like a face.", ""),
    ("diffusion", "Icon of the gardeners' app", "a red heart", "An icon for a dating app.", ""),
    ("diffusion", "Drawing for the night cafe", "a small owl", "A logo for a night cafe called Owl Cup.", ""),
    ("diffusion", "Birthday card for Dad", "a fishing boat at sunrise", "A birthday card, please.", ""),
    ("search", "一只老虎的照片", "tiger", "请给我看一只老虎。", ""),
    ("search", "", "", "", ""),
    ("search", "Photo of a tiger", "", "Show me a tiger.", ""),
    ("code", "Chart of prices", "plt.plot([1, 2])", "Plot the prices.", ""),
]
WRONG = [
    ("search", "Photo of a blacksmith", "baker", "What does a blacksmith do all day?", "A baker at an oven"),
    ("search", "Photo of a blacksmith’s forge", "baker", "What does a blacksmith do all day?", "A baker at an oven"),
    ("search", "Photo of the program", "ram", "Show me a theatre program.", "A ram"),
    ("search", "Photo of the circus tent", "cable car", "A circus tent as it really is.", "A cable car"),
    ("search", "Photo of mechanic", "Hook-o-pimp", "What does a mechanic do all day?", "A pimple"),
    ("diffusion", "Illustration of the guitar", "church organ", "Sketch a guitar for our poster.", "church organ"),
    ("diffusion", "Illustration of the bottle", "umbrella", "A bottle for our leaflet, drawn once.", "umbrella"),
]


def figure(tool: str, description: str, params: Mapping[str, Any], caption: str = "") -> Figure:
    picture = Picture(Image.new("RGB", (8, 8)), Provenance("corpus", caption=caption))
    return Figure("", Call(tool, description, params), picture)


def asked(tool: str, description: str, wanted: str, caption: str = "") -> Figure:
    name = {"search": "query", "code": "code"}.get(tool, "prompt")
    return figure(tool, description, {name: wanted}, caption)


@pytest.mark.parametrize(
    ("tool", "description", "wanted", "said", "caption", "wrong"),
    [*((*row, False) for row in RIGHT), *((*row, True) for row in WRONG)],
)
def test_only_a_picture_under_anothers_name_is_misnamed(
    tool: str, description: str, wanted: str, said: str, caption: str, wrong: bool
) -> None:
    assert is_misnamed(asked(tool, description, wanted, caption), said, MEANINGS) is wrong


@pytest.mark.parametrize("name", ["train", "validation", "heldout"])
def test_no_reference_call_of_the_bundled_tasks_is_held_to_be_misnamed(name: str) -> None:
    tasks = load_tasks(name)
    wrong = [
        (task.question, one["description"], one["params"])
        for task in tasks
        for one in tasks.extras(str(task.id)).get("reference", ())
        if is_misnamed(figure(one["tool"], one["description"], one["params"]), task.question, MEANINGS)
    ]
    assert wrong == []


def test_an_edit_has_the_name_of_what_it_edits() -> None:
    task = Task("Sketch a guitar; below, the identical guitar in sepia.", image_count=2, tools=("diffusion", "edit"))
    edited = figure("edit", "The guitar in sepia", {"img_index": 0, "prompt": "make it sepia"})
    for prompt, expected in (("church organ", [True, True]), ("a guitar", [False, False])):
        drawn = asked("diffusion", "Illustration of the guitar", prompt)
        assert misnamed(Document((drawn, Text("A guitar has six strings."), edited)), task, MEANINGS) == expected


def test_where_no_picture_came_none_has_a_wrong_name() -> None:
    lost = replace(
        asked("search", "Photo of a blacksmith", "baker"), outcome=Failure("no_result", "policy", "nothing found")
    )
    assert misnamed(Document((lost,)), Task("Show a blacksmith."), MEANINGS) == [False]


@pytest.mark.parametrize("at", [-1, 5, "0", None, True, 10**30])
def test_an_edit_that_points_nowhere_has_no_wrong_name(at: object) -> None:
    edited = figure("edit", "The guitar in sepia", {"img_index": at, "prompt": "make it sepia"})
    assert misnamed(Document((edited, Figure("", None))), Task("Sketch a guitar."), MEANINGS) == [False, False]
