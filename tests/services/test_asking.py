"""What is sent to a chat service, and when it is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from PIL import Image
from tenacity import RetryCallState

from llmi_env.document import Picture, Provenance
from llmi_env.services.asking import NoReply, failure, messages, response_format, tries
from llmi_env.services.sending import DataUrls, data_url


def asked(failures: Sequence[Exception], retries: int = 2, in_doubt: bool = False) -> tuple[str, list[str]]:
    """What comes of a question whose first tries fail so, and what is noted before each further try."""
    left, noted = list(failures), list[str]()

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "owls"

    def note(state: RetryCallState) -> None:
        noted.append(f"{state.attempt_number}: {failure(state)}, {'at once' if state.upcoming_sleep == 0 else 'later'}")

    return asyncio.run(tries(retries, note, in_doubt=in_doubt)(ask)), noted


def test_what_may_pass_is_asked_again() -> None:
    rested, unread = NoReply("busy", again=True, rested=True), NoReply("unreadable", again=True, refused=True)
    assert asked([rested, unread]) == ("owls", ["1: busy, at once", "2: unreadable, at once"])
    assert asked([NoReply("overloaded", again=True)]) == ("owls", ["1: overloaded, later"])


@pytest.mark.parametrize(
    ("failures", "in_doubt", "said"),
    [
        pytest.param([NoReply("no such model")], False, "no such model", id="hopeless"),
        pytest.param(
            [NoReply(f"busy {n}", again=True, rested=True) for n in range(9)], False, "busy 2", id="too often"
        ),
        pytest.param([NoReply("form", again=True, refused=True)], True, "form", id="another form is left"),
        pytest.param([NoReply("form", refused=True)], False, "form", id="not taken"),
    ],
)
def test_what_will_not_is_raised(failures: list[Exception], in_doubt: bool, said: str) -> None:
    with pytest.raises(NoReply, match=f"^{said}$"):
        asked(failures, in_doubt=in_doubt)


def test_a_defect_of_ours_is_never_tried_again() -> None:
    with pytest.raises(ZeroDivisionError):
        asked([ZeroDivisionError()])


def test_texts_go_as_one_and_pictures_in_their_place() -> None:
    urls = DataUrls(64, 8_000)
    assert asyncio.run(messages("Judge.", ["Owls ", "hunt."], urls))[1] == {"role": "user", "content": "Owls hunt."}
    owl = Picture(Image.new("RGB", (9, 9), "red"), Provenance("test"))
    for _ in range(2):  # encoded in a thread, then at hand
        system, user = asyncio.run(messages("Judge.", ["Owls ", owl, "hunt."], urls))
        assert system == {"role": "system", "content": "Judge."}
        assert user["content"] == [
            {"type": "text", "text": "Owls "},
            {"type": "image_url", "image_url": {"url": data_url(owl, 64, 8_000)}},
            {"type": "text", "text": "hunt."},
        ]


def test_forms() -> None:
    schema = {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "scores", "strict": True, "schema": schema}}
    assert response_format("json_schema", "scores", schema) == wanted
    assert response_format("json_object", "scores", schema) == {"type": "json_object"}
    assert response_format("off", "scores", schema) is None
