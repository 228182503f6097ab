"""A task says at once what is wrong with it."""

import pytest
from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.errors import TaskError
from llmi_env.task import Task

PICTURE = Picture(Image.new("RGB", (4, 4)), Provenance("input"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"question": ""}, "'question' must be text that is not blank"),
        ({"question": None}, "'question'"),
        ({"question": "a\ud800"}, "without lone surrogates"),
        ({"image_count": -1}, "'image_count'"),
        ({"image_count": True}, "'image_count'"),
        ({"image_count": "some"}, "'image_count'"),
        ({"tools": "search"}, "'tools' must be a tuple of tool names"),
        ({"tools": (3,)}, "'tools'"),
        ({"images": ("a.png",)}, r"'images' must be a tuple of pictures: Picture\("),
        ({"images": PICTURE}, "'images'"),
        ({"id": 7}, "'id' must be text or None"),
    ],
)
def test_what_cannot_be_a_task_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        Task(**{"question": "Write about owls.", **wrong})  # type: ignore[arg-type]


def test_lists_are_kept_as_tuples() -> None:
    task = Task("Owls", images=[PICTURE], tools=["search"])  # type: ignore[arg-type]
    assert task.images == (PICTURE,)
    assert task.tools == ("search",)
    assert hash(task) == hash(Task("Owls", (PICTURE,), tools=("search",)))


def test_the_key_depends_on_what_is_asked_alone() -> None:
    task = Task("Owls", (PICTURE,), 1, ("search",), "one", "here")
    assert task.key == Task("Owls", (PICTURE,), 1, (), "two").key
    assert task.key != Task("Owls", (PICTURE,), 2).key
    assert task.key != Task("Owls", (), 1).key
