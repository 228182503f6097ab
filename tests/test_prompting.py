from __future__ import annotations

import re

import pytest
from PIL import Image

from llmi_env.calls import BUILTIN, ParamSpec, ToolSpec, parse_call
from llmi_env.document import Failure, Picture, Provenance
from llmi_env.prompting import PromptStyle, messages, result_text, system_prompt, user_message
from llmi_env.task import Task

OWL = Picture(Image.new("RGB", (6, 4)), Provenance("test", caption="a barn owl"))


@pytest.mark.parametrize("style", ["compact", "full"])
def test_the_system_prompt_names_every_tool_and_its_params(style: PromptStyle) -> None:
    prompt = system_prompt(style=style)
    for spec in BUILTIN.values():
        assert spec.name in prompt
        assert all(param.name in prompt for param in spec.params)
    assert "<imgen>" in prompt


@pytest.mark.parametrize("style", ["compact", "full"])
def test_tools_that_are_not_there_are_not_named(style: PromptStyle) -> None:
    prompt = system_prompt({"search": BUILTIN["search"]}, style)
    assert "img_index" not in prompt
    own = ToolSpec("map", "draws a map of a place", (ParamSpec("place", str, "where"),))
    assert "draws a map of a place" in system_prompt({"map": own}, style)


def test_every_example_in_the_full_prompt_can_be_read_and_carried_out() -> None:
    examples = re.findall(r"Example: (\{.*\})", system_prompt(style="full"))
    assert len(examples) == len(BUILTIN)
    for example in examples:
        parse_call(example).check(1, 0)


def test_the_users_turn_lists_input_pictures_by_number() -> None:
    task = Task("Make it grey.", images=(OWL, Picture(OWL.image, Provenance("test"))))
    assert user_message(task).splitlines() == [
        "[picture 0: a barn owl]",
        "[picture 1: given by the user]",
        "Make it grey.",
    ]


def test_tools_that_a_task_needs_are_never_told() -> None:
    told = messages(Task("Show owls.", tools=("search",)))
    assert [message["role"] for message in told] == ["system", "user"]
    assert told[1]["content"] == "Show owls."


def test_a_result_is_one_line() -> None:
    assert result_text(2, OWL) == "\n[picture 2: 6x4, a barn owl]\n"
    messy = Picture(OWL.image, Provenance("test", caption="an owl\n\non a <b>\tbranch" + "x" * 1000))
    failure = Failure.of("code", "raised", "NameError:\n  x" + "y" * 1000)
    for outcome in (messy, failure):
        line = result_text(0, outcome)
        assert line.count("\n") == 2
        assert len(line) < 400
    assert "raised" in result_text(0, failure)
