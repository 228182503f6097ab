"""The warm start on a tiny policy: the loss is on the document alone, and what is written can be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
from typer.testing import CliRunner  # noqa: E402

from llmi_env import models  # noqa: E402
from llmi_env.errors import AssetError, TaskError  # noqa: E402
from llmi_env.task_sets import load_tasks  # noqa: E402
from trainers import sft  # noqa: E402


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    tasks = [task for task in load_tasks("train")[:40] if not task.images][:4]
    path = tmp_path / "demos.jsonl"
    rows = [{"task_id": task.id, "document": "Owls hunt at night. <imgen>{}</imgen>"} for task in tasks]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_the_loss_is_on_the_document_and_its_end(tiny_policy: Path, demos: Path) -> None:
    _, tokenizer = models.load_model(tiny_policy)
    examples = sft.load_examples(tokenizer, demos)
    assert len(examples) == 4
    assert tokenizer.hf.decode(examples[0].response[:-1]) == "Owls hunt at night. <imgen>{}</imgen>"
    assert examples[0].response[-1] in tokenizer.eos_ids
    assert tokenizer.hf.decode(examples[0].prompt).endswith("<|im_start|>assistant\n")


def test_of_bare_calls_the_calls_alone_are_learned(tiny_policy: Path, tmp_path: Path) -> None:
    calls = [
        {"tool": "search", "description": "an owl", "params": {"query": "owl"}},
        {"tool": "edit", "description": "grey", "params": {"img_index": 0, "prompt": "make it grey"}},
    ]
    path = tmp_path / "tasks.jsonl"
    rows = [
        {"id": "two", "question": "Show an owl, then grey.", "tools": ["search", "edit"], "reference": calls},
        {"id": "none", "question": "Only words.", "tools": [], "reference": []},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    _, tokenizer = models.load_model(tiny_policy)
    example, bare = sft.load_calls(tokenizer, str(path))
    assert example.learned is not None
    assert bare.learned is not None
    assert len(example.learned) == len(example.response)
    learned = tokenizer.hf.decode(
        [token for token, is_learned in zip(example.response, example.learned, strict=True) if is_learned]
    )
    assert learned.count("<imgen>") == learned.count("</imgen>") == 2
    assert '"query": "owl"' in learned
    assert '"prompt": "make it grey"' in learned
    assert learned.endswith("</imgen>" + tokenizer.hf.eos_token), "that there are no more of them is learned, too"
    assert sum(bare.learned) == 1, "nor are there any where none is asked for"
    assert bare.response[-1] in tokenizer.eos_ids


def test_a_mixture_is_a_third_of_whole_documents() -> None:
    demos, whole, calls = ([sft.Example((kind,), (0,))] * count for kind, count in ((0, 10), (1, 60), (2, 400)))
    kinds = [example.prompt[0] for example in sft.mixture(demos, whole, calls)]
    assert [kinds.count(kind) for kind in (0, 1, 2)] == [120, 120, 400]
    assert sft.mixture(demos, [], []) == demos


def test_none_ship_for_other_tasks(tiny_policy: Path) -> None:
    _, tokenizer = models.load_model(tiny_policy)
    with pytest.raises(AssetError, match="no demonstrations ship for the tasks 'heldout'"):
        sft.load_examples(tokenizer, tasks="heldout")


def test_an_adapter_is_trained_further(tiny_policy: Path, demos: Path, tmp_path: Path) -> None:
    model, tokenizer = models.load_model(tiny_policy)
    examples = sft.load_examples(tokenizer, demos)
    torch.manual_seed(0)  # of the adapter's start
    model = sft.add_lora(model, rank=2)
    losses = [loss for _, loss in sft.fine_tune(model, tokenizer, examples, steps=6, batch=4, lr=1e-2)]
    assert losses[-1] < losses[0]
    sft.save_adapter(model, tmp_path / "first")
    _, ended = next(sft.fine_tune(model, tokenizer, examples, steps=6, batch=4, lr=0.0))
    fresh, _ = models.load_model(tiny_policy)
    further = sft.further(fresh, tmp_path / "first")
    _, loss = next(sft.fine_tune(further, tokenizer, examples, steps=6, batch=4, lr=1e-2))
    assert loss == pytest.approx(ended, abs=1e-5), "it begins where the first one ended"
    assert loss < losses[0]
    with pytest.raises(AssetError, match="there is no adapter in it"):
        sft.further(fresh, tmp_path)


def test_every_demonstration_comes_once_in_an_epoch(tiny_policy: Path, demos: Path) -> None:
    examples = [sft.Example((1,), (number,)) for number in range(6)]
    supply = sft.batches(examples, 4, seed=0)
    seen = [example.response[0] for _ in range(3) for example in next(supply)]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_it_learns_and_what_it_writes_can_be_loaded(tiny_policy: Path, demos: Path) -> None:
    model, tokenizer = models.load_model(tiny_policy)
    torch.manual_seed(0)
    model = sft.add_lora(model, rank=4)
    examples = sft.load_examples(tokenizer, demos)
    losses = [loss for _, loss in sft.fine_tune(model, tokenizer, examples, steps=12, batch=4, lr=3e-2)]
    assert losses[-1] < losses[0] - 0.05
    folder = demos.parent / "adapter"
    folder.mkdir()
    (folder / "README.md").write_text("card")
    sft.save_adapter(model, folder, half=True)
    assert (folder / "README.md").read_text() == "card"
    again, _ = models.load_model(folder)
    from trainers.forward import score_responses

    example = examples[0]
    scores = [
        score_responses(m, [example.prompt], [example.response], tokenizer.vocab_size).logprobs_BT
        for m in (model, again)
    ]
    assert scores[0].flatten().tolist() == pytest.approx(scores[1].flatten().tolist(), abs=2e-2)  # half precision


def test_the_command(tiny_policy: Path, demos: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(sft.main)
    out = demos.parent / "out"
    arguments = [
        "--steps",
        "2",
        "--batch",
        "2",
        "--every",
        "1",
        "--base",
        str(tiny_policy),
        "--demos",
        str(demos),
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "step   2 of 2" in result.output
    assert (out / "adapter_model.safetensors").is_file()
    assert (demos.parent / "out-step-1").is_dir()
    assert "Optimiser steps" in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output


def test_bad_demonstrations_are_named(tiny_policy: Path, tmp_path: Path) -> None:
    _, tokenizer = models.load_model(tiny_policy)
    with pytest.raises(AssetError, match="cannot be read"):
        sft.load_examples(tokenizer, tmp_path / "nowhere.jsonl")
    broken = tmp_path / "demos.jsonl"
    broken.write_text('{"task": "x"}\n')
    with pytest.raises(TaskError, match="row 1"):
        sft.load_examples(tokenizer, broken)
    broken.write_text('{"task_id": "no-such-task", "document": "x"}\n')
    with pytest.raises(TaskError, match="no-such-task"):
        sft.load_examples(tokenizer, broken)
