"""Episodes written and read back are the same, and others can read them too."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.episode import StopReason
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, RolloutTimes
from llmi_env.store import StoreError, join_episodes, read_episodes, rollouts_of, write_episodes
from llmi_env.task import Task
from llmi_env.transcript import Ledger, Owner


def picture(colour: str, **about: str) -> Picture:
    return Picture(Image.new("RGB", (8, 6), colour), Provenance("simulated", seed=7, **about), seconds=0.5, queued=0.25)


@pytest.fixture
def rollout() -> Rollout:
    found = picture("red", title="An owl", author="Ä. Löwe", licence="CC0-1.0", chart='{"marks":[]}')
    task = Task("Write about owls.", (picture("blue"),), "at_least_one", ("search", "edit"), "owls", "test")
    call = Call("search", "an owl", {"query": "owl"})
    document = Document(
        (
            Text("Owls \ud800 hunt 🦉 "),
            Figure(call.to_json(), call, found),
            Text("and "),
            Figure("{bad", None, Failure.of("", "malformed", "not JSON", None), closed=False),
            Figure('{"name": "edit", "arguments": {}}', Call("edit", "", {}), Failure.of("edit", "bad_params", "none"), tag="tool_call"),
        )
    )  # fmt: skip
    ledger = Ledger()
    ledger.add([1, 2, 3], Owner.PROMPT)
    ledger.add([4, 5], Owner.POLICY, [-0.123456789012345, -2.0])
    ledger.add([6], Owner.TOOL)
    ledger.pictures.append((len(ledger), 2, found))
    ledger.add([7, 7], Owner.PICTURE)
    ledger.add([8], Owner.POLICY, [-1e-9])
    report = HybridReward.preset("llmi").score(document, task)
    return Rollout(task, 11, 2, ledger, document, StopReason.LENGTH, report, RolloutTimes(1.0, 2.0, 3.5))


def test_written_and_read_back_it_is_the_same(rollout: Rollout, tmp_path: Path) -> None:
    write_episodes(tmp_path, "train-00001", [rollout, rollout], phase="train", step=1)
    (columns, back), _ = read_episodes(tmp_path)
    assert columns == {"phase": "train", "step": 1}
    assert back.task == rollout.task
    assert back.document == rollout.document
    assert back.report == rollout.report
    assert back.reward is None
    assert (back.seed, back.group, back.stop, back.times) == (11, 2, StopReason.LENGTH, rollout.times)
    assert back.ledger.ids == rollout.ledger.ids
    assert back.ledger.owners == rollout.ledger.owners
    assert back.ledger.pictures == rollout.ledger.pictures
    for before, after in zip(rollout.ledger.logprobs, back.ledger.logprobs, strict=True):
        assert before == after or (math.isnan(before) and math.isnan(after))
    back.ledger.check()
    assert (back.document.pictures[0].seconds, back.document.pictures[0].queued) == (0.5, 0.25)


def test_parts_are_joined_without_looking_at_pictures(rollout: Rollout, tmp_path: Path) -> None:
    parts = [
        write_episodes(tmp_path, f"part-{number}", [replace(rollout, group=group, seed=seed)], sample=[sample])
        for number, (group, sample, seed) in enumerate([(9, 1, 3), (4, 0, 0), (9, 0, 2), (4, 1, 1)])
    ]
    joined = join_episodes(tmp_path, "train-00001", parts, phase="train", step=1)
    whole = list(read_episodes(joined))
    assert [columns for columns, _ in whole] == [{"phase": "train", "step": 1}] * 4
    assert [(back.group, back.seed) for _, back in whole] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert all(back.document == rollout.document and back.task == rollout.task for _, back in whole)
    assert [back.document.pictures[0].png for _, back in whole] == [rollout.document.pictures[0].png] * 4
    for _, seen in read_episodes(joined, pixels=False):
        assert seen.document.pictures[0].image.size == (1, 1)
        assert seen.document.pictures[0].provenance == rollout.document.pictures[0].provenance
        assert seen.report == rollout.report
        assert seen.task.key == rollout.task.key


def test_files_are_read_in_order_and_by_pattern(rollout: Rollout, tmp_path: Path) -> None:
    for name in ("train-00002", "before", "train-00001"):
        write_episodes(tmp_path, name, [rollout], label=name)
    assert [columns["label"] for columns, _ in read_episodes(tmp_path)] == ["before", "train-00001", "train-00002"]
    assert len(rollouts_of(read_episodes(tmp_path, "train-*"))) == 2
    assert rollouts_of(read_episodes(tmp_path / "nowhere")) == []


def test_writing_again_replaces_and_leaves_nothing_beside_it(rollout: Rollout, tmp_path: Path) -> None:
    path = write_episodes(tmp_path, "before", [rollout, rollout])
    write_episodes(tmp_path, "before", [rollout])
    assert len(rollouts_of(read_episodes(path))) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["before.parquet"]


def test_the_hugging_face_library_sees_pictures(rollout: Rollout, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = write_episodes(tmp_path, "before", [rollout], phase="before", step=0)
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    row = rows[0]
    assert row["pictures"][0].getpixel((0, 0)) == (255, 0, 0)
    assert row["task_images"][0].size == (8, 6)
    assert row["calls"][0]["tool"] == "search"
    assert row["calls"][1]["outcome"] == "malformed"
    assert row["reward"] is None
    assert row["step"] == 0


def test_provenance_of_an_earlier_version_is_read_without_a_chart(rollout: Rollout, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = write_episodes(tmp_path, "train-00001", [rollout])
    table = pq.read_table(path)
    (blocks,) = map(json.loads, table["document"].to_pylist())
    assert blocks[1]["outcome"]["provenance"].pop("chart")
    older = [json.dumps(blocks)]
    pq.write_table(table.set_column(table.schema.get_field_index("document"), "document", [older]), path)
    ((_, back),) = read_episodes(tmp_path)
    assert back.document.pictures[0].provenance == replace(rollout.document.pictures[0].provenance, chart="")


def test_two_runs_of_one_seed_differ_in_the_times_only(rollout: Rollout, tmp_path: Path) -> None:
    import dataclasses

    import pyarrow.parquet as parquet

    later = dataclasses.replace(rollout, times=RolloutTimes(9.0, 9.0, 9.0))
    first = parquet.read_table(write_episodes(tmp_path / "a", "x", [rollout]))
    second = parquet.read_table(write_episodes(tmp_path / "b", "x", [later]))
    assert [name for name in first.column_names if first[name] != second[name]] == ["times"]


def test_a_broken_file_is_named(rollout: Rollout, tmp_path: Path) -> None:
    path = write_episodes(tmp_path, "before", [rollout])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"before\.parquet: not a readable episode file"):
        list(read_episodes(tmp_path))
