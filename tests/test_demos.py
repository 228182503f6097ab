"""The demonstrations for the warm start: train tasks only, well-formed, complete, short and varied."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from llmi_env import models
from llmi_env.document import Figure
from llmi_env.episode import Episode
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(str(files("llmi_env"))) / "assets"
MAX_TOKENS = 112


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


DEMOS = lines(ASSETS / "demos" / "demos.jsonl")
ROWS = {row["id"]: row for row in lines(ASSETS / "tasks" / "train.jsonl")}


def test_files_are_what_the_sheets_say() -> None:
    if not (ROOT / "scripts" / "task_sheets").is_dir():
        pytest.skip("the task sheets are not part of an installed package")
    done = subprocess.run(
        [sys.executable, "scripts/build_demos.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_there_are_enough_and_each_is_of_a_train_task() -> None:
    assert 250 <= len(DEMOS) <= 320
    assert {demo["task_id"] for demo in DEMOS} <= set(ROWS)
    assert max(Counter(demo["task_id"] for demo in DEMOS).values()) == 1
    assert set(DEMOS[0]) == {"task_id", "document"}
    assert set(load_tasks("train").ids) == set(ROWS)


def test_documents_fulfil_their_tasks() -> None:
    for demo in DEMOS:
        row = ROWS[demo["task_id"]]
        # Without its input pictures: the episode only reads the calls here, it does not carry them out.
        episode = Episode(Task(row["question"], image_count=row["image_count"], tools=tuple(row["tools"])))
        episode.write(demo["document"])
        episode.end()
        figures = episode.document.figures
        assert all(figure.closed for figure in figures)
        calls = [figure.call for figure in figures if figure.call is not None]
        written = [{"tool": call.tool, "description": call.description, "params": call.params} for call in calls]
        assert written == row["reference"], demo["task_id"]
        assert len(re.findall(r"\w+", episode.document.text)) >= 3, demo["task_id"]


def test_bodies_are_spelt_as_taught() -> None:
    for demo in DEMOS:
        for body in re.findall(r"<imgen>(.*?)</imgen>", demo["document"], flags=re.DOTALL):
            value = json.loads(body)
            assert list(value) == ["source", "description", "params"], demo["task_id"]
            assert json.dumps(value, ensure_ascii=False) == body, demo["task_id"]


def test_figures_stand_in_all_places() -> None:
    places: Counter[str] = Counter()
    for demo in DEMOS:
        text = demo["document"]
        if "<imgen>" in text:
            start, end = text.startswith("<imgen>"), text.endswith("</imgen>")
            places["start" if start and not end else "end" if end and not start else "both" if start else "middle"] += 1
    assert min(places["start"], places["middle"], places["end"]) >= 30, places


def test_wordings_vary() -> None:
    texts = [re.sub(r"<imgen>.*?</imgen>", "", demo["document"], flags=re.DOTALL) for demo in DEMOS]
    openings = Counter(" ".join(text.split()[:3]).lower() for text in texts)
    assert max(openings.values()) <= 5, openings.most_common(3)
    assert len({text.strip() for text in texts}) == len(texts)
    # A colon or an announcement before a figure is what the call judge marks down.
    assert not [demo["task_id"] for demo in DEMOS if re.search(r":\s*<imgen>", demo["document"])]


def test_documents_fit_the_token_budget() -> None:
    if not models.policy_ready():
        pytest.skip("needs the prepared policy: llmi prepare")
    from llmi_env.tokenizers import HFTokenizer

    tokenizer = HFTokenizer.load(models.policy_path())
    longest = max((len(tokenizer.encode(demo["document"])) + 1, demo["task_id"]) for demo in DEMOS)
    assert longest[0] <= MAX_TOKENS, longest


def test_a_figure_is_part_of_the_flow() -> None:
    """No document is a bare list of figures."""
    for demo in DEMOS:
        episode = Episode(Task(ROWS[demo["task_id"]]["question"]))
        episode.write(demo["document"])
        episode.end()
        blocks = list(episode.document)
        assert len([block for block in blocks if isinstance(block, Figure)]) <= 2 * len(blocks) / 2


def test_those_for_practice_hold_the_reference_calls() -> None:
    tasks = load_tasks("practice")
    found = lines(ASSETS / "demos" / "practice.jsonl")
    assert len(found) > 1500
    assert len({line["task_id"] for line in found}) == len(found)
    for line in found:
        episode = Episode(Task("Anything."))
        episode.write(line["document"])
        episode.end()
        calls = [figure.call for figure in episode.document.figures]
        wanted = tasks.extras(line["task_id"]).get("reference", ())
        assert [(call.tool, call.params) for call in calls if call] == [(one["tool"], one["params"]) for one in wanted]
        assert episode.document.text.strip()
