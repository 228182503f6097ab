"""A local server with the two models of a build: a writer that writes to the order, and a reader that knows nothing of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

_NEEDS = {
    "search": "Let them see the true {topic} as it stands in the world",
    "diffusion": "imagine a scene of {topic} that nobody has ever photographed",
    "code": "show how the counts of 3, 5, 8 and {number} went up from May to August",
    "edit": "and give back the same view once more in the colours of dusk",
}
_WISHES = {
    "none": "It is read out over the telephone, so words are all that I can use.",
    "any": "",
    "at_least_one": "I count on something to look at, one thing or several.",
}
_SUBJECTS = (
    "anchors", "balloons", "cellos", "dovecotes", "estuaries", "fjords", "gardens", "harbours", "icicles", "jugglers", "kilns", "looms",
    "mosaics", "nests", "orchards", "piers", "quarries", "ravines", "sundials", "turbines", "umbrellas", "vineyards", "waterwheels", "yurts",
)  # fmt: skip

Reply = str | Response


class Models:
    """Chat completions as OpenAI documents them (API reference, "Create chat completion"): `messages` and `response_format` in,
    `choices[0].message.content`, `finish_reason` and `usage` out; errors as `{"error": {"message": ...}}` with a status.

    Attributes:
        base_url: where it is served.
        write: what the writer replies to a request; by default a good task.
        read: what the reader replies; by default what the question says.
        asked: requests so far, by model.
        requests: their bodies.
        most_at_once: requests that were open at the same time, at most.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.write: Callable[[dict[str, Any]], Reply] = lambda request: good_draft(user_text(request))
        self.read: Callable[[dict[str, Any]], Reply] = lambda request: good_reading(user_text(request))
        self.delay: Callable[[int], float] = lambda number: 0.0
        self.asked: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._open = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.app = FastAPI()
        self.app.post("/v1/chat/completions", response_model=None)(self._complete)

    @property
    def writer(self) -> str:
        return f"openai:writer@{self.base_url}"

    @property
    def reader(self) -> str:
        return f"openai:reader@{self.base_url}"

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        with self._lock:
            self.asked[body["model"]] += 1
            self.requests.append(body)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        try:
            await asyncio.sleep(self.delay(next(self._numbers)))
            reply = (self.write if body["model"] == "writer" else self.read)(body)
        finally:
            self._open -= 1
        return reply if isinstance(reply, Response) else completion(reply)


def completion(content: str | None, finish: str = "stop", **message: Any) -> Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return JSONResponse({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


def failing(status: int, message: str = "no") -> Response:
    return JSONResponse({"error": {"message": message}}, status_code=status)


def user_text(request: dict[str, Any]) -> str:
    content = request["messages"][1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def number_of(order: str) -> int:
    return int(re.search(r"Order (\d+)", order)[1])  # type: ignore[index]


def good_draft(order: str, turn: int = 0) -> str:
    """A task that fulfils the order, its own for each number and turn."""
    number = number_of(order)
    topic = re.search(r"Topic: (.*)", order)[1]  # type: ignore[index]
    tools = re.findall(r"^- (search|diffusion|code|edit):", order, re.MULTILINE)
    exact = re.search(r"Pictures: exactly (\d+)", order)
    wish = "none" if "Pictures: none" in order else "any" if "does not say how many" in order else "at_least_one"
    subject = _SUBJECTS[(number * 7 + turn) % len(_SUBJECTS)]
    parts = [_NEEDS[tool].format(topic=f"{topic} with {subject}", number=number + 10) for tool in tools]
    if exact is not None:
        parts.append(f"Have precisely {exact[1]} views of it, no more and no fewer")
    else:
        parts.append(_WISHES[wish])
    question = (
        f"For note {number}.{turn} on {subject}, near {_SUBJECTS[number % 24]}: tell me of {topic}. "
        + ". ".join(filter(None, parts))
    )
    shown = (
        [tool for tool, _ in zip(itertools.cycle(tools), range(int(exact[1]) if exact else len(tools)), strict=False)]
        if tools
        else []
    )
    pictures = [{"tool": tool, "shows": f"{topic}, seen by {tool}"} for tool in shown]
    return json.dumps({"question": question, "pictures": pictures})


def good_reading(text: str, **changes: Any) -> str:
    """What the question itself asks for, by the words that `good_draft` uses; nothing else of the text is looked at."""
    question = text.split("\n", 1)[1].split("\n<<<END", 1)[0]
    marks = {"search": "the true", "diffusion": "nobody has ever", "code": "the counts of", "edit": "the same view"}
    exact = re.search(r"precisely (\d+) views", question)
    if exact is not None:
        count = "exactly"
    elif _WISHES["none"] in question:
        count = "none"
    else:
        count = "at_least_one" if _WISHES["at_least_one"] in question else "any"
    reading = {
        "reason": "As it says.",
        "image_count": count,
        "exact": int(exact[1]) if exact else 0,
        **{tool: "needed" if mark in question else "no" for tool, mark in marks.items()},
        "names_tool": False,
        "complete": True,
        "harmless": True,
        "natural": True,
    }
    return json.dumps({**reading, **changes})
