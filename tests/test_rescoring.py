"""Another judge on saved documents: kept as it goes, gone on with after an interruption, compared with the first."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from llmi_env.ablation import Variant, ablate, read_saved
from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.judges.cache import judge_identity
from llmi_env.judges.panel import PanelJudge
from llmi_env.rescoring import agreement_rows, judge_config, judgments_name, rescore, to_json
from llmi_env.rewards import HybridReward
from llmi_env.store import StoreError
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Judgments, Scored, Unscored
from tests.rewards.making import JUDGED, document, figure, judged, picture
from tests.saved_runs import save_run

LLMI = HybridReward.preset("llmi")
SCORES = (1.0, 2.0, 3.0, 4.0, 5.0)
seen: list[str] = []


class ByLength:
    """Scores text by its length, 0.5 kinder than those who judged first; leaves one document out; can be made to stop."""

    terms = ("text_quality", "wit")
    stop_at: str | None = None

    async def __call__(self, document: Document, task: Task) -> Judgments:
        await asyncio.sleep(0)
        text = document.text
        if text == self.stop_at:
            raise KeyboardInterrupt
        seen.append(text)
        score = Unscored("no words") if text == "www" else Scored(min(5.0, len(text) + 0.5), judge="by-length/1")
        return {"text_quality": score, "wit": Scored(3)}

    async def aclose(self) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path) -> Path:
    seen.clear()
    ByLength.stop_at = None
    written = [
        (document("w" * int(score), figure(outcome=picture(int(score)))), judged(text_quality=score))
        for score in SCORES
    ]
    written.append((document("wwwwww", figure()), {name: Unscored("down") for name in JUDGED}))
    return save_run(tmp_path / "run", [(Task("Owls?", id="owls"), written)], LLMI)


def by_length() -> WorldConfig:
    return judge_config("tests.test_rescoring:ByLength")


def test_another_judge_is_compared_term_by_term(run: Path) -> None:
    result = rescore(run, by_length(), "longer")
    assert result.finished
    assert (result.documents, result.judged) == (6, 6)
    text, wit = result.terms
    assert (text.term, text.agreement.pairs, text.agreement.mean_difference) == ("text_quality", 4, 0.375)
    assert (text.agreement.spearman, text.unscored, text.unasked) == (1.0, (1, 1), (0, 0))
    assert (wit.term, wit.agreement.pairs, wit.unscored, wit.unasked) == ("wit", 0, (0, 0), (6, 0))
    assert agreement_rows(result.terms)[2] == ("wit", "0", "-", "-", "-", "0 / 0, 6 never judged by the old")
    assert json.loads(json.dumps(to_json(result)))["text_quality"]["agreement"]["pairs"] == 4


def test_an_ablation_takes_the_new_judgments(run: Path) -> None:
    rescore(run, by_length(), "longer")
    plain, new = read_saved(run), read_saved(run, judgments="longer")
    assert new[0].judgments["text_quality"] == Scored(1.5, judge="by-length/1")
    assert new[0].judgments["image_quality"] == plain[0].judgments["image_quality"]
    found = ablate(new, [Variant("llmi", LLMI)])
    assert found.notes[-1] == (
        "judgments of another judge (tests.test_rescoring:ByLength) in 6 of 6 episodes, the saved ones in the others"
    )
    assert found.variants[0].rewards[2] is None  # the new judge failed there; the old score does not stand in for it
    assert found.variants[0].rewards[0] != plain[0].report.total


def test_what_is_judged_is_not_judged_again_and_what_failed_is(run: Path) -> None:
    first = rescore(run, by_length(), "longer")
    seen.clear()
    again = rescore(run, by_length(), "longer")
    assert seen == ["www"]
    assert (again.judged, again.terms) == (1, first.terms)


def test_interrupted_it_keeps_what_it_has_and_goes_on(run: Path) -> None:
    ByLength.stop_at = "wwww"
    config = by_length().model_copy(update={"judge_concurrency": 1})
    result = rescore(run, config, "longer")
    assert not result.finished
    assert 0 < result.judged < 6
    kept = len(seen)
    with (run / "judgments" / "longer.jsonl").open("a") as file:
        file.write('{"episode": "train-00001:5", "docu')  # a kill in the middle of a line
    ByLength.stop_at = None
    whole = rescore(run, config, "longer")
    assert whole.finished
    assert whole.judged == 6 - (kept - ("www" in seen[:kept]))
    assert len(read_saved(run, judgments="longer")) == 6


def test_judgments_of_other_documents_are_refused(run: Path) -> None:
    rescore(run, by_length(), "longer")
    other = [(document(f"other {score}"), judged()) for score in SCORES]
    save_run(run, [(Task("Owls?"), other)], LLMI)
    with pytest.raises(StoreError, match="was another document"):
        read_saved(run, judgments="longer")
    assert rescore(run, by_length(), "longer").judged == 5


def rewritten(run: Path, change: dict[str, Any]) -> None:
    """The first document of the run, saved again with something else about it; its text stays."""
    blocks: list[Any] = ["w", figure(outcome=change.get("outcome", picture(1)), what=change.get("what", "a barn owl"))]
    task = change.get("task", Task("Owls?", id="owls"))
    save_run(run, [(task, [(document(*blocks), judged(text_quality=1.0))])], LLMI)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": picture(9)},
        {"outcome": picture(1, caption="a kite")},
        {"outcome": "timeout"},
        {"what": "a kite"},
        {"task": Task("Kites?", id="owls")},
        {"task": Task("Owls?", image_count=2, id="owls")},
        {"task": Task("Owls?", images=(picture(4),), id="owls")},
    ],
    ids=["pixels", "caption", "outcome", "call", "question", "count", "input picture"],
)
def test_all_that_a_judge_sees_names_a_document(run: Path, change: dict[str, Any]) -> None:
    rescore(run, by_length(), "longer")
    rewritten(run, {})
    assert read_saved(run, judgments="longer")[0].rejudged
    rewritten(run, {"task": Task("Owls?", id="another", source="elsewhere")})
    assert read_saved(run, judgments="longer")[0].rejudged  # what no judge sees
    rewritten(run, change)
    with pytest.raises(StoreError, match=r"was another document .* judge this run again with 'llmi judge rescore'"):
        read_saved(run, judgments="longer")
    assert rescore(run, by_length(), "longer").judged == 1
    assert read_saved(run, judgments="longer")[0].rejudged


def test_another_version_of_a_judge_is_another_judge(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByLength, "fingerprint", "by-length/1", raising=False)
    rescore(run, by_length(), "longer")
    assert read_saved(run, judgments="longer")[0].rejudged == "tests.test_rescoring:ByLength by-length/1"
    monkeypatch.setattr(ByLength, "fingerprint", "by-length/2")
    before = (run / "judgments" / "longer.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"by-length/1.* now .*by-length/2.*--name, or remove the file to judge anew"):
        rescore(run, by_length(), "longer")
    assert (run / "judgments" / "longer.jsonl").read_bytes() == before


def test_a_panel_is_told_by_its_members() -> None:
    panel = PanelJudge([SimulatedJudge(seed=1), SimulatedJudge(seed=2)])
    one = "llmi_env.testing:SimulatedJudge"
    assert judge_identity(panel) == f"llmi_env.judges.panel:PanelJudge ({one}, {one})"


def test_files_of_earlier_versions_say_what_to_do(run: Path) -> None:
    path = run / "judgments" / "old.jsonl"
    path.parent.mkdir()
    scored = {"text_quality": {"score": 3.0, "rationale": "", "judge": "", "votes": []}}
    judges = {"judges": [{"use": "tests.test_rescoring:ByLength"}]}
    lines = [{"format": 1, "judge": judges}, {"episode": "train-00001:0", "document": "0" * 16, "judgments": scored}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for use in (lambda: rescore(run, by_length(), "old"), lambda: read_saved(run, judgments="old")):
        with pytest.raises(ConfigError, match=r"earlier version.*remove it.*llmi judge rescore"):
            use()
    path.write_text("")
    with pytest.raises(StoreError, match="it is empty"):
        read_saved(run, judgments="old")


def test_one_name_is_one_judge(run: Path) -> None:
    rescore(run, by_length(), "longer")
    with pytest.raises(ConfigError, match="Choose another --name"):
        rescore(run, judge_config("llmi_env.testing:SimulatedJudge"), "longer")
    with pytest.raises(ConfigError, match="did you mean 'longer'"):
        read_saved(run, judgments="logner")


def test_one_file_and_another_place(run: Path, tmp_path: Path) -> None:
    file = run / "episodes" / "train-00001.parquet"
    assert rescore(file, by_length(), "longer").path == run / "judgments" / "longer.jsonl"
    assert rescore(run, by_length(), "x", out=tmp_path / "elsewhere.jsonl").path == tmp_path / "elsewhere.jsonl"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("use: llmi_env.testing:SimulatedJudge\nseed: 4\n", 2),
        ("judges: [{use: 'llmi_env.testing:SimulatedJudge', seed: 4}]\njudge_concurrency: 7\n", 7),
    ],
)
def test_a_judge_in_a_file(tmp_path: Path, text: str, limit: int) -> None:
    path = tmp_path / "my judge.yaml"
    path.write_text(text)
    config = judge_config(str(path))
    assert config.judge_uses() == [("llmi_env.testing:SimulatedJudge", {"seed": 4})]
    assert (config.judge_concurrency, config.tools) == (limit, {})
    assert judgments_name(str(path)) == "my-judge"
    assert judgments_name("llmi_env.testing:SimulatedJudge") == "SimulatedJudge"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 4\n", "`use`"),
        ("judges: []\njudge_concurency: 7\n", "did you mean 'judge_concurrency'"),
        ("- a\n", "mapping"),
    ],
)
def test_files_that_name_no_judge(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "judge.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        judge_config(str(path))


@pytest.mark.parametrize("judge", ["embeded", "llmi_env.testing:NoJudge"])
def test_judges_that_are_not_there(run: Path, judge: Any) -> None:
    with pytest.raises(ConfigError, match=r"embeded|NoJudge"):
        rescore(run, judge_config(judge), "x")
    assert not (run / "judgments").exists()


def test_a_panel_is_one_judge() -> None:
    config = judge_config('{"use": "panel", "judges": ["embedded"], "quorum": 1}')
    assert config.judge_uses() == [("panel", {"judges": ["embedded"], "quorum": 1})]
