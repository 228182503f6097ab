"""The report of a run folder: the same figures as the stored episodes give, and safe to open."""

import json
from pathlib import Path

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError
from llmi_env.report import write_document_page, write_report
from llmi_env.rewards import RewardReport
from llmi_env.rewards.report import TermReport
from llmi_env.rollout import Rollout
from llmi_env.store import StoreError, write_episodes
from llmi_env.task import Task
from llmi_env.transcript import Ledger, Owner

PICTURE = Picture(Image.new("RGB", (8, 8), "green"), Provenance("corpus", title="Barn owl", licence="CC0-1.0"), 0.7)


def rollout(task: Task, group: int, reward: float | None, met: bool) -> Rollout:
    ledger = Ledger()
    ledger.add([1, 2], Owner.PROMPT)
    ledger.add([3, 4, 5], Owner.POLICY, [-0.1, -0.2, -0.3])
    outcome = PICTURE if met else Failure("empty", "policy", "nothing found")
    call = Call("search", "an owl", {"query": "owl"})
    figure = Figure(call.to_json(), call, outcome)
    document = Document((Text("Owls <script>alert(1)</script> hunt."), figure))
    term = TermReport(1.0, reward, reward, "rule", "" if reward is not None else "the judge is down")
    report = RewardReport(reward, {"image_count": term}, () if reward is not None else ("the judge is down",))
    return Rollout(task, 1, group, ledger, document, StopReason.END, report)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow", reason="pyarrow (extra 'train') is not installed")
    tasks = [Task(f"Write about owl number {n}.", tools=("search",), image_count=1, id=f"t{n}") for n in range(6)]
    write_episodes(tmp_path, "before", [rollout(task, n, 0.25, met=False) for n, task in enumerate(tasks)])
    write_episodes(tmp_path, "after", [rollout(task, n, 0.75 if n else None, met=True) for n, task in enumerate(tasks)])
    rows = [
        {"phase": "train", "step": step, "reward": step / 10, "terms": {"image_count": 0.5}} for step in range(1, 4)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.yaml").write_text("lr: 0.0002 # <b>\n")
    return tmp_path


def test_report_shows_figures_curves_and_documents(run: Path) -> None:
    page = write_report(run).read_text()
    assert "+0.500" in page  # reward 0.25 to 0.75 over the five tasks that both sides scored
    assert "[+0.500, +0.500], 5 tasks" in page
    assert "0 of 6" in page
    assert "6 of 6" in page
    assert "better" in page
    assert page.count("<svg") == 2
    assert page.count("data:image/png;base64") == 6
    assert "nothing found" in page
    assert "no score" in page
    assert "lr: 0.0002" in page


def test_report_tells_what_tools_took_and_how_they_failed(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        for step in (4, 5):
            file.write(json.dumps({"phase": "train", "step": step, "tool/search/p90_s": 0.25 * step}) + "\n")
    page = write_report(run).read_text()
    table = page[page.index("What tools took") :]
    # Twelve calls: six of the policy's first documents found nothing, the six later ones took 0.7 s each.
    assert (
        '<td>search</td><td class="num">12</td>'
        + '<td class="num">0.70 s</td>' * 3
        + '<td class="num">0.00 s</td><td>empty 6</td>'
        in table
    )
    assert "what a tool took, 90th percentile" in page
    assert page.count("<svg") == 3


def test_report_is_one_file_that_loads_nothing(run: Path) -> None:
    page = write_report(run).read_text()
    assert "<script" not in page
    assert "<link" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert not [path for path in run.iterdir() if path.name.startswith(".report")]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        write_report(tmp_path)


@pytest.mark.parametrize("line", ["junk", "[1]", '{"step": 1}'])
def test_a_file_that_holds_no_metrics_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(StoreError, match=r"metrics\.jsonl, line 1"):
        write_report(tmp_path)


def test_a_line_cut_by_a_kill_is_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "tr')
    assert "3 training steps" in write_report(run).read_text()


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written there"):
        write_document_page(tmp_path / "nowhere" / "page.html", "Why?", Document())


def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    assert "0 training steps" in write_report(tmp_path).read_text()


def test_document_page_escapes_the_question(tmp_path: Path) -> None:
    page = write_document_page(tmp_path / "page.html", "<b>Why?</b>", Document((Text("*So.*"),)), "5 tokens")
    assert "&lt;b&gt;Why?" in page.read_text()
    assert "<em>So.</em>" in page.read_text()
