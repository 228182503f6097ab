"""Builds that stop and go on: nothing is paid for twice, and nothing is lost but what was under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llmi_env.errors import ConfigError
from llmi_env.store import StoreError
from llmi_env.task_data.asking import model_options
from llmi_env.task_data.building import Build, build
from llmi_env.task_data.kept import Kept
from llmi_env.task_data.plan import Wishes
from tests.task_data.builds import NOTHING, built, order, rows
from tests.task_data.models import Models, failing, good_draft, good_reading, number_of, user_text

pytest.importorskip("openai", reason="openai is not installed: pip install 'llmi-env[judges]'")


def test_a_server_that_fails_costs_no_order_its_versions(models: Models, tmp_path: Path) -> None:
    models.write = lambda request: failing(401, "who are you?")
    result = built(models, tmp_path / "tasks.jsonl", 12)
    assert (result.finished, result.made, result.versions) == (False, 0, 0)
    assert result.why.startswith("the server failed 5 times after each other: HTTP 401")
    assert models.asked["writer"] <= 32

    models.write = lambda request: good_draft(user_text(request))
    result = built(models, tmp_path / "tasks.jsonl", 12, resume=True)
    assert (result.finished, result.made) == (True, 12)


def test_one_failure_among_many_leaves_one_task_for_later(models: Models, tmp_path: Path) -> None:
    models.write = lambda request: (
        failing(404) if number_of(user_text(request)) == 2 else good_draft(user_text(request))
    )
    result = built(models, tmp_path / "tasks.jsonl", 6)
    assert (result.finished, result.made) == (False, 5)
    assert result.why.startswith("HTTP 404")
    models.write = lambda request: good_draft(user_text(request))
    asked = models.asked.total()
    assert built(models, tmp_path / "tasks.jsonl", 6, resume=True).finished
    assert models.asked.total() == asked + 2


def test_an_overloaded_server_is_tried_again(models: Models, tmp_path: Path) -> None:
    busy = iter([failing(503), failing(429)])
    models.write = lambda request: next(busy, None) or good_draft(user_text(request))
    result = built(models, tmp_path / "tasks.jsonl", 4)
    assert result.finished
    assert result.spent[0].retries == 2


def test_going_on_and_asking_for_more_pays_for_nothing_twice(models: Models, tmp_path: Path) -> None:
    models.read = lambda request: good_reading(user_text(request), natural=" 3.0 on" not in user_text(request))
    models.write = lambda request: good_draft(user_text(request), turn=int("not taken" in user_text(request)))
    out = tmp_path / "tasks.jsonl"
    first = built(models, out, 8)
    before, asked = out.read_bytes(), models.asked.total()
    again = built(models, out, 8, resume=True)
    assert models.asked.total() == asked
    assert out.read_bytes() == before
    assert (again.cost, again.rejected) == (first.cost, first.rejected)
    assert [each.now for each in again.spent] == [0, 0]
    more = built(models, out, 10, resume=True)
    assert (more.made, models.asked.total()) == (10, asked + 4)
    assert rows(out)[:8] == [json.loads(line) for line in before.decode().splitlines()]


def test_a_build_is_not_mixed_with_another(models: Models, tmp_path: Path) -> None:
    out = tmp_path / "tasks.jsonl"
    with pytest.raises(ConfigError, match=r"there is no build of .* to go on with; start it without --resume"):
        built(models, out, 2, resume=True)
    built(models, out, 2)
    with pytest.raises(ConfigError, match="has been begun: --resume goes on with it, --out names another"):
        built(models, out, 2)
    with pytest.raises(
        ConfigError, match=r"begun otherwise.*language: 'English' then, 'German' now.*wishes.seed: 1 then, 7 now"
    ):
        built(models, out, 2, resume=True, language="German", wishes=Wishes(seed=7))
    with (
        Kept(out).begin(order(models, 2).identity(NOTHING), resume=True),
        pytest.raises(ConfigError, match="another process"),
    ):
        built(models, out, 2, resume=True)


def test_nothing_more_is_asked_when_the_money_is_spent(models: Models, tmp_path: Path) -> None:
    result = built(models, tmp_path / "tasks.jsonl", 40, most_cost=1.0)
    assert not result.finished
    assert result.why.endswith(" of 1.00 is spent")
    assert models.asked.total() <= 7 + 2 * 16  # those that were under way


@pytest.mark.parametrize("cut", [0, 17])
def test_what_a_kill_leaves_is_mended(models: Models, tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a line loses that reply, and no other."""
    out = tmp_path / "tasks.jsonl"
    built(models, out, 6)
    whole, asked = out.read_bytes(), models.asked.total()
    kept = tmp_path / "tasks.build" / "exchanges.jsonl"
    text = kept.read_bytes()
    kept.write_bytes(text[: len(text) - cut])
    assert built(models, out, 6, resume=True).finished
    assert out.read_bytes() == whole
    assert models.asked.total() == asked + bool(cut)


def test_a_file_of_replies_that_is_none_is_named(models: Models, tmp_path: Path) -> None:
    out = tmp_path / "tasks.jsonl"
    built(models, out, 1)
    (tmp_path / "tasks.build" / "exchanges.jsonl").write_text('{"slot": 1}\n')
    with pytest.raises(StoreError, match=r"exchanges.jsonl, line 1: not a reply that was kept"):
        built(models, out, 1, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_stopped_goes_on(models: Models, tmp_path: Path, sent: signal.Signals) -> None:
    models.delay = lambda number: 0.05
    command = [
        sys.executable, "-m", "llmi_env.cli", "data", "build", "--llm", models.writer, "--validator", models.reader,
        "--out", str(tmp_path / "tasks.jsonl"), "--count", "60", "--concurrency", "2", "--no-embed",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 90
    while models.asked.total() < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130, output
        assert "go on with: llmi data build" in output
        assert len(rows(tmp_path / "tasks.jsonl")) >= 1
    models.delay = lambda number: 0.0
    in_flight = models.asked.total() - len(rows(tmp_path / "tasks.build" / "exchanges.jsonl"))
    assert in_flight <= 4
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows(tmp_path / "tasks.jsonl")) == 60
    assert models.asked.total() == len(rows(tmp_path / "tasks.build" / "exchanges.jsonl")) + in_flight


def test_ctrl_c_keeps_what_was_made(models: Models, tmp_path: Path) -> None:
    models.delay = lambda number: 0.0 if models.asked["reader"] < 4 else 30.0
    told: list[int] = []

    def interrupt() -> None:
        while not told or told[-1] < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    def note(work: Build) -> None:
        told.append(len(work.taken))

    thread = threading.Thread(target=interrupt)
    thread.start()
    one = model_options(json.dumps({"model": "writer", "base_url": models.base_url, "concurrency": 1}))
    asked = order(models, 20, writer=one, validator=one.model_copy(update={"model": "reader"}))
    result = build(asked, Kept(tmp_path / "tasks.jsonl"), NOTHING, resume=False, told=note)
    thread.join()
    assert (result.finished, result.why) == (False, "interrupted")
    assert result.made == len(rows(tmp_path / "tasks.jsonl")) >= 2
