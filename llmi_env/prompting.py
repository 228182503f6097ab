"""What the policy is told: the system prompt with the tools, the task, and one line for each outcome.

One place for trainers, command line and evaluation, so that a policy meets the same words everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmi_env.calls import BUILTIN, Call, ToolSpec
from llmi_env.document import Outcome, Picture
from llmi_env.task import Task

PromptStyle = Literal["compact", "full"]

_COMPACT = """You write short illustrated documents. Place a picture with <imgen>{{"source": S, "description": D, "params": P}}</imgen>.
{tools}"""

_FULL = """You write illustrated documents: clear text with pictures where they help the reader.

To place a picture, write one call at that point of the text:
<imgen>{{"source": SOURCE, "description": WHAT THE PICTURE SHOWS, "params": PARAMETERS}}</imgen>
The body is JSON on one line with exactly these three keys. The picture takes the place of the call, so do not announce it and do not put it
into a code fence.

Sources:
{tools}

Choose the source by what is needed: search for what exists, diffusion for what is imagined or stylised, code for data and charts, edit
to change a picture that is there. Pictures are counted from 0: first those given by the user, then your own calls in the order written.
Write as many pictures as the user asks for; where nothing is said, as many as the text needs."""


def system_prompt(tools: Mapping[str, ToolSpec] = BUILTIN, style: PromptStyle = "compact") -> str:
    """The system prompt. `compact` (for small policies that were trained on the form) names the tools; `full` teaches them."""
    if style == "compact":
        lines = [
            f"{spec.name} {{{', '.join(param.name for param in spec.params)}}}: {_short(spec)}"
            for spec in tools.values()
        ]
        return _COMPACT.format(tools="; ".join(lines) + ".")
    blocks = []
    for spec in tools.values():
        params = "; ".join(f'"{param.name}" ({param.meaning})' for param in spec.params)
        example = Call(spec.name, "...", dict(spec.example)).to_json() if spec.example else ""
        blocks.append(
            f"- {spec.name}: {spec.purpose}. Parameters: {params}." + (f" Example: {example}" if example else "")
        )
    return _FULL.format(tools="\n".join(blocks))


_SHORT = {
    "search": "real photos",
    "diffusion": "imagined pictures",
    "code": "charts with plt",
    "edit": "changes a picture",
}


def _short(spec: ToolSpec) -> str:
    return _SHORT.get(spec.name, spec.purpose)


def user_message(task: Task) -> str:
    """The user's turn as text: input pictures are listed by number and caption, for policies that see none."""
    lines = [
        f"[picture {index}: {picture.provenance.caption or picture.provenance.title or 'given by the user'}]"
        for index, picture in enumerate(task.images)
    ]
    return "\n".join([*lines, task.question])


def messages(
    task: Task, tools: Mapping[str, ToolSpec] = BUILTIN, style: PromptStyle = "compact"
) -> list[dict[str, Any]]:
    """The conversation that asks for the task, as chat messages of plain text."""
    return [
        {"role": "system", "content": system_prompt(tools, style)},
        {"role": "user", "content": user_message(task)},
    ]


def result_text(index: int, outcome: Outcome) -> str:
    """One line that tells the policy what came of its call number `index`."""
    if isinstance(outcome, Picture):
        about = " ".join((outcome.provenance.caption or outcome.provenance.title).split())[:300]
        return f"\n[picture {index}: {outcome.image.width}x{outcome.image.height}{f', {about}' if about else ''}]\n"
    message = " ".join(outcome.message.split())[:300]
    return f"\n[picture {index} failed: {outcome.kind}: {message}]\n"
