"""What may not stand in a question: the way in which pictures are made, written calls, what a reader would not see.

A question says what its asker wants. One that names the tool teaches a policy to obey the name and not to choose; one that holds a call, or
what a chat template takes for a control token, disturbs whoever reads it next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmi_env.task_data.words import words
from llmi_env.visible_text import defused, folded, visible

__all__ = ["FEWEST", "MOST", "Slip", "slips"]

FEWEST, MOST = 4, 400
"""Words that a question has as a rule."""

_CALLS = re.compile(
    r"<\s*/?\s*(?:imgen|tool_call|function_call)\b|\bimg_index\b"
    r"|[\"'](?:source|tool|name)[\"']\s*:\s*[\"'](?:search|diffusion|code|edit)[\"']|[\"']params[\"']\s*:",
    re.IGNORECASE,
)
_TOOLS = re.compile(
    r"\b(?:"
    r"(?:stable[- ])?diffusion[- ](?:model|tool|backend|prompt)s?|stable[- ]diffusion|diffusers|dall[- ·]?e|midjourney|seedream|seededit"
    r"|qwen[- ]image(?:[- ]edit)?|text[- ]to[- ]image(?: model| tool| generator)?|image[- ](?:generator|generation (?:model|tool))"
    r"|(?:(?:online |web |internet )?image|web|internet|google(?: images?)?|bing) search|search[- ](?:engine|tool|api)|serpapi"
    r"|image[- ]edit(?:ing|or) (?:tool|model)|edit(?:ing)? tool"
    r"|matplotlib|pyplot|seaborn|plt\.\w+|(?:python|plotting) (?:code|script|program|library|tool)|code (?:tool|interpreter|execution)"
    r"|(?:using|use|run|with|in) python(?!['’])"
    r")\b",
    re.IGNORECASE,
)
_MARKERS = re.compile(r"<(?:image|video|audio|picture)>", re.IGNORECASE)


@dataclass(frozen=True)
class Slip:
    """Something that should not stand in a question.

    Attributes:
        rule: `call`, `tool-name`, `marker`, `unseen`, `control-token`, `short` or `long`.
        grave: whether no training should see it.
        message: what it is, with the place quoted.
    """

    rule: str
    grave: bool
    message: str


def slips(question: str) -> Iterator[Slip]:
    """Everything that should not stand in it."""
    plain = folded(question)
    if (found := _CALLS.search(plain)) is not None:
        yield Slip("call", True, f"a written call stands in the question: {_around(plain, found)}")
    if (found := _TOOLS.search(plain)) is not None:
        yield Slip("tool-name", False, f"the question names the tool: {_around(plain, found)}")
    if (found := _MARKERS.search(question)) is not None:
        yield Slip("marker", False, f"a marker for a picture stands in the question: {_around(question, found)}")
    shown = visible(question)
    if shown != question.replace("\r\n", "\n"):
        unseen = sorted({char for char in question if char not in shown})
        named = ", ".join(f"U+{ord(char):04X}" for char in unseen[:5])
        yield Slip("unseen", True, f"characters that no reader sees{f': {named}' if named else ''}")
    bare = _MARKERS.sub("", _CALLS.sub("", shown))
    if (parted := defused(bare)) != bare:
        at = next((at for at, (one, other) in enumerate(zip(bare, parted, strict=False)) if one != other), 0)
        yield Slip(
            "control-token", True, f"what a chat template may take for a control token: {_quoted(bare, at, at + 12)}"
        )
    count = len(words(question))
    if count < FEWEST:
        yield Slip("short", False, f"{count} words: what is wanted cannot be told from so few (at least {FEWEST})")
    elif count > MOST:
        yield Slip("long", False, f"{count} words, more than {MOST}: it may not fit into a policy's prompt")


def _around(text: str, found: re.Match[str]) -> str:
    return _quoted(text, found.start(), found.end())


def _quoted(text: str, start: int, end: int) -> str:
    before, after = max(0, start - 20), min(len(text), end + 20)
    return repr(("..." if before else "") + text[before:after] + ("..." if after < len(text) else ""))
