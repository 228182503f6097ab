"""Saved episodes under other rewards: the same numbers as scoring anew, and honest figures about what changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("pyarrow")

import pyarrow as arrow
import pyarrow.parquet as parquet

from llmi_env.ablation import (
    Variant,
    ablate,
    base_reward,
    group_advantages,
    load_variants,
    read_saved,
)
from llmi_env.ablation.showing import rows, to_markdown, write_all
from llmi_env.config import preset_names as config_names
from llmi_env.errors import ConfigError
from llmi_env.rewards import HybridReward, preset_names
from llmi_env.store import StoreError, read_episodes
from llmi_env.task import Task
from llmi_env.world.protocol import Scored, Unscored
from tests.rewards.making import document, figure, judged, picture
from tests.saved_runs import Written, save_run

LLMI, PAPER = HybridReward.preset("llmi"), HybridReward.preset("paper")
TASKS = [Task("Owls?", image_count=1, tools=("search",), id="owls"), Task("Prices?", tools=("code",), id="prices")]


def written() -> list[tuple[Task, list[Written]]]:
    """Two groups of four: good, plain text, a failed call, the wrong tool."""
    return [
        (
            task,
            [
                (document("Owls hunt.", figure(task.tools[0], picture(1))), judged(text_quality=3.5)),
                (document("Owls hunt at night."), judged(text_quality=5)),
                (document("Owls.", figure(task.tools[0], "timeout")), judged(text_quality=2)),
                (document("Owls fly.", figure("diffusion", picture(2))), judged(text_quality=4, call_quality=1.5)),
            ],
        )
        for task in TASKS
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save_run(tmp_path / "run", written(), LLMI)


def variants(*names: str) -> list[Variant]:
    return [Variant(name, HybridReward.preset(name)) for name in names]


@pytest.mark.parametrize("name", preset_names())
def test_another_preset_gives_what_scoring_anew_would(run: Path, name: str) -> None:
    found = ablate(read_saved(run), variants("llmi", name))
    reward = HybridReward.preset(name)
    expected = [reward.score(made, task, judgments).total for task, group in written() for made, judgments in group]
    assert list(found.variants[1].rewards) == expected
    assert found.episodes[5] == "train-00001:5"
    assert (found.tasks, found.groups, found.notes) == (2, 2, ())


def test_pictures_are_not_read(run: Path) -> None:
    path = run / "episodes" / "train-00001.parquet"
    table = parquet.read_table(path)
    spoiled = [[{"bytes": b"no picture", "path": None} for _ in row] for row in table["pictures"].to_pylist()]
    at = table.column_names.index("pictures")
    parquet.write_table(
        table.set_column(at, table.schema.field(at), arrow.array(spoiled, table["pictures"].type)), path
    )
    assert ablate(read_saved(run), variants("llmi", "paper")).notes == ()
    with pytest.raises(StoreError):
        read_saved(run, documents=True)


def change_reports(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Rewrite the reports of the run's file."""
    path = run / "episodes" / "train-00001.parquet"
    table = parquet.read_table(path)
    reports = [json.loads(text) for text in table["report"].to_pylist()]
    for report in reports:
        change(report)
    at = table.column_names.index("report")
    parquet.write_table(table.set_column(at, "report", arrow.array([json.dumps(report) for report in reports])), path)
    return run


def without_facts(report: dict[str, Any]) -> None:
    """As an earlier version would have saved it."""
    del report["facts"], report["judgments"]


def test_episodes_of_earlier_versions_are_counted_again(run: Path) -> None:
    before = ablate(read_saved(run), variants("llmi", "rules", "paper"))
    after = ablate(read_saved(change_reports(run, without_facts)), variants("llmi", "rules", "paper"))
    assert [result.rewards for result in after.variants[:2]] == [result.rewards for result in before.variants[:2]]
    # What the judge had said of the documents without a call was not kept then: `llmi` has a special case for them, the paper has none.
    paper = after.variants[2]
    assert [at for at, reward in enumerate(paper.rewards) if reward is None] == [1, 5]
    assert (paper.unjudged, paper.unscored) == (2, 0)


def test_facts_of_another_version_are_counted_again(run: Path) -> None:
    change_reports(run, lambda report: report["facts"].update(version=1, usable=0))
    assert ablate(read_saved(run), variants("llmi")).notes == ()


def test_terms_that_nobody_judged_make_a_variant_not_computable(tmp_path: Path) -> None:
    rules = HybridReward.preset("rules")
    run = save_run(tmp_path, [(task, [(made, {}) for made, _ in group]) for task, group in written()], rules)
    result = ablate(read_saved(run), variants("rules", "llmi")).variants[1]
    assert (result.mean, result.difference, set(result.rewards)) == (None, None, {None})
    assert "text_quality was never judged in 8 of 8" in result.impossible
    assert rows(ablate(read_saved(run), variants("rules", "llmi")))[1][:2] == ("llmi", "not computable")


def test_what_a_judge_failed_is_unscored_and_never_zero(tmp_path: Path) -> None:
    groups = written()
    made, judgments = groups[0][1][0]
    groups[0][1][0] = (made, {**judgments, "text_quality": Unscored("down")})
    made, judgments = groups[1][1][3]
    groups[1][1][3] = (made, {name: given for name, given in judgments.items() if name != "call_quality"})
    result = ablate(read_saved(save_run(tmp_path, groups, LLMI)), variants("llmi", "paper")).variants[1]
    assert (result.unscored, result.unjudged) == (1, 1)
    scored = [reward for reward in result.rewards if reward is not None]
    assert len(scored) == 6
    assert result.mean == pytest.approx(sum(scored) / 6)
    assert result.interval is not None
    assert result.interval[0] <= result.mean <= result.interval[1]


def test_pairs_ranks_and_signs_are_counted_within_groups(tmp_path: Path) -> None:
    """Two groups of three; the variant turns the first group's best and worst round and leaves the second as it is."""
    two = {"name": "two", "version": 1, "terms": {"a": {"weight": 1}, "b": {"weight": 0}}}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(two))
    base = HybridReward.load(path)
    scores = [[(5, 1), (3, 3), (1, 5)], [(5, 5), (3, 3), (1, 1)]]
    groups = [
        (task, [(document(f"{a}{b}"), {"a": Scored(a), "b": Scored(b)}) for a, b in group])
        for task, group in zip(TASKS, scores, strict=True)
    ]
    run = save_run(tmp_path / "run", groups, base)
    other = Variant("b alone", base.reweighted(a=0, b=1))
    found = ablate(read_saved(run), [Variant("two", base), other]).variants[1]
    assert (found.pairs, found.flipped, found.tied) == (6, 0.5, 0)
    assert found.kendall == pytest.approx(0)
    assert found.sign_changes == 0.5  # two of the four that have an advantage
    assert found.advantage_change == pytest.approx((2 + 0 + 2) / 6, abs=1e-4)
    assert [(flip.episode, flip.ranks, flip.rewards) for flip in found.flips] == [
        ("train-00001:0", (1, 3), (1, 0)),
        ("train-00001:2", (3, 1), (0, 1)),
    ]
    tied = ablate(read_saved(run), [Variant("two", base), Variant("even", base.reweighted(a=1, b=1))]).variants[1]
    assert (tied.tied, tied.idle_groups) == (0.5, 1)


def test_advantages_are_the_trainers() -> None:
    torch = pytest.importorskip("torch")
    from trainers.losses import grpo_advantages

    dice = np.random.default_rng(0)
    rewards_N, groups_N = dice.choice([0.0, 0.3, 0.7, np.nan], 60), dice.integers(0, 12, 60)
    rewards_N[groups_N == 3] = np.nan
    for scale in (True, False):
        ours = group_advantages(rewards_N, groups_N, scale)
        scored_B = torch.from_numpy(~np.isnan(rewards_N))
        theirs = grpo_advantages(torch.from_numpy(rewards_N), torch.from_numpy(groups_N), scored_B, scale).numpy()
        assert np.allclose(np.nan_to_num(ours), theirs, atol=1e-9)
        assert (np.isnan(ours) == np.isnan(rewards_N)).all()


def test_correlation_of_the_terms(run: Path) -> None:
    found = ablate(read_saved(run), variants("llmi"))
    at = found.terms.index
    assert found.correlation[at("text_quality")][at("text_quality")] == 1
    assert found.correlation[at("text_quality")][at("call_quality")] is not None
    assert found.correlation[at("image_quality")][at("image_quality")] is not None


# ----------------------------------------------------------------------------------------------------------------- variants


def test_dropping_a_term_is_as_if_it_had_never_been() -> None:
    without = LLMI.without("text_quality")
    assert "text_quality" not in without.terms
    assert not any(gate.term == "text_quality" for term in without.spec.terms.values() for gate in term.gates)
    assert sum(term.weight for term in without.spec.terms.values()) == pytest.approx(1)
    # A document of which the dropped term has no score has one now.
    shown = document("Owls.", figure(outcome=picture()))
    lacking = judged() | {"text_quality": Unscored("down")}
    assert LLMI.score(shown, TASKS[0], lacking).total is None
    assert without.score(shown, TASKS[0], lacking).total is not None
    assert LLMI.without("call_quality").spec.counting.free_choice is None


def test_a_grid_is_every_combination() -> None:
    made = load_variants({"grid": {"text_quality": [0.1, 0.2], "call_quality": [0, 0.5]}}, PAPER)
    assert [variant.name for variant in made] == [
        "paper",
        "text_quality=0.1 call_quality=0",
        "text_quality=0.1 call_quality=0.5",
        "text_quality=0.2 call_quality=0",
        "text_quality=0.2 call_quality=0.5",
    ]
    assert made[2].reward.spec.terms["call_quality"].weight == pytest.approx(0.5 / (0.5 + 0.1 + 0.5))


def test_one_variant_changes_several_things(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"variants": {"x": {"preset": "paper", "drop": ["tool_use"], "exact": True, "gates": False}}})
    )
    (_, x) = load_variants(file, LLMI)
    assert x.reward.exact
    assert "tool_use" not in x.reward.terms
    assert not any(term.gates for term in x.reward.spec.terms.values())
    assert x.reward.version.endswith("/1/exact")


@pytest.mark.parametrize("name", config_names("ablations"))
def test_every_set_that_ships_can_be_made(name: str, run: Path) -> None:
    made = load_variants(name, LLMI)
    assert len(made) >= 5
    found = ablate(read_saved(run), made)
    assert all(result.mean is not None for result in found.variants)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("trems", "did you mean 'terms'"),
        ({"varaints": {}}, "did you mean 'variants'"),
        ({"variants": {"x": {"drop": ["text_qality"]}}}, "variant 'x': .*did you mean 'text_quality'"),
        ({"variants": {"x": {"wieghts": {}}}}, "did you mean 'weights'"),
        ({"presets": ["papr"]}, "variant 'papr': .*did you mean 'paper'"),
        ({"variants": {"llmi": {}}}, "named twice: llmi"),
    ],
    ids=str,
)
def test_variants_that_cannot_be(source: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_variants(source, LLMI)


# ----------------------------------------------------------------------------------------------------------- what is saved


def test_the_base_is_the_runs_own_reward(run: Path, tmp_path: Path) -> None:
    assert base_reward(run, read_saved(run)).name == "llmi"
    preset = tmp_path / "mine.yaml"
    preset.write_text(yaml.safe_dump({"name": "mine", "version": 1, "terms": {"text_quality": {"weight": 1}}}))
    (run / "config.yaml").write_text(yaml.safe_dump({"env": {"reward": str(preset)}}))
    assert base_reward(run, read_saved(run)).name == "mine"
    assert base_reward(run / "episodes" / "train-00001.parquet", []).name == "mine"
    (run / "config.yaml").unlink()
    other = save_run(tmp_path / "other", written(), HybridReward.load(preset))
    with pytest.raises(ConfigError, match="--base"):
        base_reward(other, read_saved(other))


def test_mixed_versions_are_told(run: Path) -> None:
    save_run(run, written(), PAPER, "train-00002")
    found = ablate(read_saved(run), variants("llmi"))
    assert found.groups == 4  # groups of two files are not the same
    assert any(f"several versions: {LLMI.version} (8), paper/1 (8)" in note for note in found.notes)
    assert any("in 8 of 16 episodes" in note for note in found.notes)


def test_terms_of_ones_own_need_the_documents(run: Path, tmp_path: Path) -> None:
    (tmp_path / "terms.py").write_text("def brief(document, task):\n    return float(len(document.text) < 12)\n")
    preset = {"name": "mine", "version": 1, "terms": {"brief": {"weight": 1, "use": "./terms.py:brief"}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(preset))
    mine = [Variant("mine", HybridReward.load(tmp_path / "mine.yaml"))]
    assert "needs the document" in ablate(read_saved(run), mine).variants[0].impossible
    assert ablate(read_saved(run, documents=True), mine).variants[0].rewards == (1.0, 0.0, 1.0, 1.0) * 2


def test_nothing_to_compare(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="llmi train"):
        read_saved(tmp_path)
    with pytest.raises(ConfigError, match="it holds train-00001"):
        read_saved(run, "before")
    (run / "episodes" / "train-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"train-00002\.parquet"):
        read_saved(run)


def test_everything_is_written(run: Path, tmp_path: Path) -> None:
    found = ablate(read_saved(run), load_variants("terms", LLMI))
    files = write_all(found, tmp_path / "out")
    assert {path.name for path in files} == {path.name for path in (tmp_path / "out").iterdir()}
    data = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert data["variants"][0]["rewards"] == [rollout.reward for _, rollout in read_episodes(run)]
    table = (tmp_path / "out" / "rewards.csv").read_text().splitlines()
    assert len(table) == 9
    assert table[0].startswith("episode,llmi,paper,")
    page = to_markdown(found)
    assert "| without text_quality |" in page
    assert "## Episodes that move most" in page
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files if path.suffix == ".png")


def test_a_preset_of_ones_own_does_not_hide_the_bundled_one_of_its_name() -> None:
    mine = HybridReward.preset("paper").reweighted(text_quality=0.1)
    mine.spec = mine.spec.model_copy(update={"name": "paper"})
    names = [variant.name for variant in load_variants({"presets": ["paper", "llmi"]}, mine)]
    assert names == ["paper", "bundled paper", "llmi"]
    assert [v.name for v in load_variants({"presets": ["paper"]}, HybridReward.preset("paper"))] == ["paper"]


def test_the_base_is_told_from_the_bundled_preset_of_its_name_by_all_that_scores(tmp_path: Path) -> None:
    exact = HybridReward.preset("paper", exact=True)
    assert [v.name for v in load_variants({"presets": ["paper"]}, exact)] == ["paper", "bundled paper"]
    path = tmp_path / "mine.yaml"
    path.write_text(HybridReward.preset("paper").spec.model_copy(update={"name": "mine"}).to_yaml())
    mine = HybridReward.load(path)
    # by its name it is the base, by its path one more variant
    assert [v.name for v in load_variants({"presets": ["mine", str(path)]}, mine)] == ["mine", str(path)]
    with pytest.raises(ConfigError, match="no reward preset 'mien'"):
        load_variants({"presets": ["mien"]}, mine)
