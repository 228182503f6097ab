"""One document, judged by the OpenAI-compatible judge at a server that answers as told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.task import Task
from tests.judges.chat_server import Answer, ChatServer

pytest.importorskip("openai", reason="openai is not installed: pip install 'llmi-env[judges]'")
from llmi_env.judges.openai_judge import OpenAIJudge

TASK = Task("Say when owls hunt.")
BODY = '{"source": "search", "description": "an owl", "params": {"query": "owl"}}'
CALL = Call("search", "an owl", {"query": "owl"})
GOOD = '{"rationale": "fine", "text_quality": 4}'
"""A reply that can be read."""


def picture(colour: str = "red", size: int = 32) -> Picture:
    return Picture(Image.new("RGB", (size, size), colour), Provenance("test"))


def document(*figures: Picture | Failure, text: str = "Owls hunt at night.") -> Document:
    return Document((Text(text), *(Figure(BODY, CALL, outcome) for outcome in figures)))


def judged(
    *answers: Answer, given: Document | None = None, task: Task = TASK, **options: Any
) -> tuple[dict[str, Any], OpenAIJudge, ChatServer]:
    """Judge one document against a server with these answers."""

    async def judge() -> tuple[dict[str, Any], OpenAIJudge, ChatServer]:
        async with ChatServer(*answers) as server:
            asked = {"model": "m", "base_url": server.base_url, "terms": ["text_quality"], "timeout": 5.0, **options}
            judge = OpenAIJudge(**asked)
            try:
                return await judge(given or document(), task), judge, server
            finally:
                await judge.aclose()

    return asyncio.run(judge())
