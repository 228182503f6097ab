"""No key of a search service shows anywhere, whatever the service does with it."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from llmi_env.calls import Call
from llmi_env.document import Document, Figure, Outcome, Picture, Text
from llmi_env.episode import StopReason
from llmi_env.errors import LLMIError, ToolUnavailable
from llmi_env.ledger import Ledger, Owner
from llmi_env.report import write_document_page, write_report
from llmi_env.rewards import HybridReward
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes, write_episodes
from llmi_env.task import Task
from llmi_env.tools.web.search import WebSearchTool
from tests.tools.web import services
from tests.tools.web.searching import run, search, tool
from tests.tools.web.services import Asked, Reply, Web, as_json

pytest.importorskip("imagehash", reason="imagehash (extra 'web') is not installed")

KEY = "k3y-0f-th3/t3st+abc"


def leaks(asked: Asked) -> str:
    return (
        asked.params.get("api_key") or asked.headers.get("authorization") or asked.headers["ocp-apim-subscription-key"]
    )


def echo(status: int, form: Callable[[str], bytes], **headers: str) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        key = leaks(asked).removeprefix("Bearer ")
        assert key == KEY
        return Reply(
            status,
            form(key),
            {name.replace("_", "-"): value.format(key=quote(key, safe="")) for name, value in headers.items()},
        )

    return answer


def titled(web: Web) -> Callable[[str], bytes]:
    def form(key: str) -> bytes:
        answer = services.serpapi(f"{web.url}/good", f"{web.url}/good?k={quote(key)}")
        for result in answer["images_results"]:
            result |= {"title": f"for {key}", "link": f"https://a.example/?api_key={quote(key, safe='')}"}
        return as_json(answer).body

    return form


LEAKS: dict[str, Callable[[Web], Callable[[Asked], Reply]]] = {
    "an error": lambda web: echo(401, lambda key: as_json({"error": f"Invalid API key: {key}."}).body),
    "an error in an address": lambda web: echo(400, lambda key: as_json({"error": f"bad: /s?api_key={quote(key, safe='')}&q"}).body),
    "a page": lambda web: echo(500, lambda key: f"<html><title>{key}</title></html>".encode()),
    "a success that is none": lambda web: echo(200, lambda key: f"you sent {key}".encode()),
    "a redirect": lambda web: echo(302, lambda key: b"", Location="https://elsewhere.example/{key}?api_key={key}"),
    "a redirect's host": lambda web: echo(302, lambda key: b"", Location="https://{key}.example/"),
    "a redirect on the same host": lambda web: echo(307, lambda key: b"", Location="/search?api_key={key}"),
    "a broken redirect": lambda web: echo(302, lambda key: b"", Location="http://{key}:{key}/"),
    "headers": lambda web: echo(429, lambda key: b"{}", X_Echo="{key}", Retry_After="1", Set_Cookie="k={key}"),
    "a body that breaks off": lambda web: echo(200, lambda key: f'{{"a": "{key}"'.encode(), X_Echo="{key}"),
    "results": lambda web: echo(200, titled(web)),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_a_key_shows_nowhere(
    web: Web, leak: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow (extra 'train') is not installed")
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(1)
    for name in ("httpx", "httpcore", "asyncio", "llmi_env"):
        logging.getLogger(name).setLevel(1)
    web.picture("good", 1)
    web.answers["/search"] = LEAKS[leak](web)
    options = {"provider": "serpapi", "url": f"{web.url}/search", "api_key_env": "TEST_KEY"}

    outcome = run(web, **options)
    shown = [repr(outcome), repr(outcome.provenance) if isinstance(outcome, Picture) else outcome.message]
    shown += _as_error(tool(web, **options))
    shown += _as_episode(outcome, tmp_path)
    assert web.asked[0].params["api_key"] == KEY  # it was there to leak
    assert any(record.name == "httpx" for record in caplog.records)
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    shown += [caplog.text, *(f"{record.msg!r} {record.args!r}" for record in caplog.records)]
    for form in (KEY, quote(KEY), quote(KEY, safe=""), KEY.replace("/", "\\/")):
        assert [text for text in shown if form.lower() in text.lower()] == []
    assert isinstance(outcome, Picture) == (leak == "results")


def _as_error(made: WebSearchTool) -> list[str]:
    """Everything that an error and a tool show of themselves, what led to the error included."""
    shown = [repr(made), repr(vars(made)), repr(made.options), str(pickle.dumps(made))]
    try:
        search(made)
    except LLMIError as error:
        shown += [*traceback.format_exception(error), str(pickle.dumps(error)), repr(error.args)]
        before: BaseException | None = error
        while before is not None:
            shown += [str(before), repr(vars(before))]
            before = before.__cause__ or before.__context__
    return shown


def _as_episode(outcome: Outcome, folder: Path) -> list[str]:
    """What is stored of an episode with this outcome, and what a report shows of it."""
    call = Call("search", "a lighthouse", {"query": "lighthouse"})
    document = Document((Text("A lighthouse. "), Figure(call.to_json(), call, outcome)))
    task = Task("Write about lighthouses.", tools=("search",), image_count=1, id="t")
    ledger = Ledger()
    ledger.add([1], Owner.PROMPT)
    ledger.add([2], Owner.POLICY, [-0.1])
    report = HybridReward.preset("llmi").score(document, task)
    rollout = Rollout(task, 1, 0, ledger, document, StopReason.END, report)
    for name in ("before", "after"):
        write_episodes(folder, name, [rollout], phase=name)
    (folder / "metrics.jsonl").write_text("")
    write_report(folder)
    write_document_page(folder / "page.html", task.question, document)
    stored = [f"{columns} {back}" for columns, back in read_episodes(folder)]
    files = [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert "lighthouse" in stored[0]
    return stored + files


def test_a_key_in_a_header_shows_nowhere(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(1)
    web.answers["/search"] = echo(400, lambda key: as_json({"message": f"who is {key}?"}).body, X_Echo="{key}")
    for options in (
        {"provider": "bing"},
        {"provider": "openverse"},
        {
            "provider": "endpoint",
            "provider_options": {"picture": "u", "params": {"q": "{query}"}, "key_param": "api_key"},
        },
    ):
        made = tool(web, **{"url": f"{web.url}/search", "api_key_env": "TEST_KEY", **options})
        with pytest.raises(ToolUnavailable, match=r"who is \[key\]\?") as caught:
            search(made)
        assert KEY not in f"{caught.value!r} {traceback.format_exception(caught.value)} {caplog.text}"
