"""The warm start: a LoRA adapter that teaches a small policy how a call is written, from demonstrations.

A policy that never writes a call earns nothing that reinforcement learning could build on. The one that ships stops early on purpose: after a
few dozen steps most calls can be read, and many use the wrong tool. Its card, `assets/policy/README.md`, has the command that made it.

    python -m trainers.sft --steps 160 --every 80 --out warm-start
    python -m trainers.sft --steps 600 --calls practice --bfloat16 --out warm-start    # many more wordings; takes most of an hour
"""

from __future__ import annotations

import json
import logging
import math
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from llmi_env import prompting
from llmi_env.calls import Call
from llmi_env.errors import AssetError, TaskError, require
from llmi_env.models import take_norm
from llmi_env.policies.logit_scale import write_norm
from llmi_env.task_sets import load_tasks
from llmi_env.tokenizers import HFTokenizer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One demonstration as the model sees it.

    Attributes:
        prompt: ids.
        response: ids; a whole demonstration ends with eos.
        learned: which of the response's tokens the loss is on; `None` for all.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    learned: tuple[bool, ...] | None = None


_DEMOS = {"train": "demos.jsonl", "practice": "practice.jsonl"}


def load_examples(tokenizer: HFTokenizer, demos: Path | None = None, tasks: str = "train") -> list[Example]:
    """Demonstrations (`task_id`, `document` in each line of a JSONL file) with the prompt that rollouts use.

    Those that ship for `train` were written by hand, those for `practice` put together of a small policy's texts and the reference calls.

    Raises:
        AssetError: the file cannot be read, or none ships for these tasks.
        TaskError: a demonstration of a task that is not in the set.
    """
    if demos is None and tasks not in _DEMOS:
        raise AssetError(
            f"no demonstrations ship for the tasks {tasks!r}, only for {' and '.join(_DEMOS)}: give a file"
        )
    path = demos or Path(str(files("llmi_env") / "assets" / "demos" / _DEMOS[tasks]))
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise AssetError(f"the demonstrations in {path} cannot be read: {error}") from error
    task_set = load_tasks(tasks)
    eos = tokenizer.hf.eos_token_id
    examples = []
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or not {"task_id", "document"} <= set(line):
            raise TaskError(f"{path.name}, row {number}: a demonstration has the fields 'task_id' and 'document'")
        task = task_set.by_id(line["task_id"])
        prompt = tokenizer.chat(prompting.messages(task))
        examples.append(Example(tuple(prompt), (*tokenizer.encode(line["document"]), eos)))
    return examples


_BEFORE = ("", "Here is what was asked for. ", "A short look at it. ", "Let us see. ", "This is what it is about. ")
_BETWEEN = (" ", "\n\n", " And then: ", " Now the second. ")
_AFTER = (
    " That is all.",
    "\n\nSo much for that.",
    " This is what it comes to.",
    "\n\nThere it is.",
    " More need not be said.",
)


def load_calls(tokenizer: HFTokenizer, tasks: str = "practice", seed: int = 0) -> list[Example]:
    """Examples of calls without a text: the reference calls of a task set, in a bare document on which there is no loss.

    They teach which calls a question asks for and that there are no more of them, over many more wordings than there are demonstrations,
    and leave the writing alone.
    """
    task_set, dice = load_tasks(tasks), random.Random(seed)
    examples = []
    for task in task_set:
        reference = task_set.extras(str(task.id)).get("reference", ())
        calls = [Call(call["tool"], call["description"], call["params"]) for call in reference]
        text, spans = dice.choice(_BEFORE), []
        for place, call in enumerate(calls):
            text += dice.choice(_BETWEEN) if place else ""
            spans.append((len(text), len(text) + len(written := f"<imgen>{call.to_json()}</imgen>")))
            text += written
        text += dice.choice(_AFTER)
        encoded = tokenizer.hf(text, add_special_tokens=False, return_offsets_mapping=True)
        learned = tuple(any(begin < b and a < end for begin, end in spans) for a, b in encoded["offset_mapping"])
        prompt = tokenizer.chat(prompting.messages(task))
        examples.append(Example(tuple(prompt), (*encoded["input_ids"], tokenizer.hf.eos_token_id), (*learned, True)))
    return examples


def mixture(demos: Sequence[Example], whole: Sequence[Example], calls: Sequence[Example]) -> list[Example]:
    """Demonstrations and other whole documents in equal parts, together about a third; bare calls are the rest.

    A whole document is the longer by far, so that a third is enough for the writing.
    """
    found = [*list(demos) * max(1, round(len(whole) / len(demos))), *whole]
    return [*found * max(1, round(len(calls) / (2 * len(found)))), *calls]


def batches(examples: Sequence[Example], size: int, seed: int) -> Iterator[list[Example]]:
    """Batches for ever: epoch after epoch in a new order, none shorter than `size`."""
    order: list[int] = []
    dice = random.Random(seed)
    while True:
        while len(order) < size:
            order += dice.sample(range(len(examples)), len(examples))
        yield [examples[i] for i in order[:size]]
        order = order[size:]


def add_lora(model: Any, rank: int = 16, alpha: int = 32, exclude: str | None = None) -> Any:
    """The model with a fresh adapter on every linear layer but the output's and those whose names match the pattern `exclude`."""
    peft = require("peft", "training an adapter", "train")
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=exclude,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def further(model: Any, folder: Path) -> Any:
    """The model with the adapter of a folder, to be trained further.

    Raises:
        AssetError: there is none.
    """
    peft = require("peft", "training an adapter", "train")
    if not (folder / "adapter_config.json").is_file():
        raise AssetError(f"--start {folder}: there is no adapter in it")
    further = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    take_norm(further)
    return further


def fine_tune(
    model: Any,
    tokenizer: HFTokenizer,
    examples: Sequence[Example],
    *,
    steps: int = 30,
    batch: int = 8,
    lr: float = 1e-3,
    warmup: int = 4,
    seed: int = 0,
) -> Iterator[tuple[int, float]]:
    """Train the model's adapter in place; yields step and loss (mean over response tokens) as it goes."""
    import torch

    from trainers.forward import score_responses

    torch.manual_seed(seed)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    # Up, then down along a cosine: the last steps settle what the first ones found.
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / warmup)
            * 0.5
            * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup)))
        ),
    )
    supply = batches(examples, batch, seed)
    for step in range(1, steps + 1):
        chosen = next(supply)
        scored = score_responses(model, [e.prompt for e in chosen], [e.response for e in chosen], tokenizer.vocab_size)
        learned_BT = scored.padding_mask_BT.clone()
        for row, example in zip(learned_BT, chosen, strict=True):
            if example.learned is not None:
                row[: len(example.learned)] = torch.tensor(example.learned, device=row.device)
        loss = -scored.logprobs_BT[learned_BT].sum() / learned_BT.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        yield step, loss.item()


def save_adapter(model: Any, folder: Path, *, half: bool = False) -> None:
    """Write the model's adapter to a folder, all at once; in half precision for what ships."""
    import torch

    folder.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        if half:
            from peft import get_peft_model_state_dict
            from safetensors.torch import save_file

            weights = get_peft_model_state_dict(model, save_embedding_layers=False)
            state = {key: value.to(torch.float16) for key, value in weights.items()}
            model.peft_config["default"].save_pretrained(str(working))
            save_file(state, str(working / "adapter_model.safetensors"))
        else:
            model.save_pretrained(str(working), save_embedding_layers=False)
        write_norm(model, working)
        (working / "README.md").unlink(missing_ok=True)  # the library's form, not filled in
        if (folder / "README.md").is_file():
            shutil.copy(folder / "README.md", working / "README.md")
        if folder.exists():
            shutil.rmtree(folder)
        for path in (working, *working.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        working.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def main(
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps; few, on purpose.")] = 30,
    batch: Annotated[int, typer.Option(min=1, help="Demonstrations a step.")] = 8,
    lr: Annotated[float, typer.Option(min=0.0, help="Peak learning rate.")] = 1e-3,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the order and of the adapter's start.")] = 0,
    base: Annotated[str, typer.Option(help="'smollm2', a folder or a hub name.")] = "smollm2",
    demos: Annotated[
        Path | None, typer.Option(help="JSONL with task_id and document [default: those that ship].")
    ] = None,
    calls: Annotated[
        str, typer.Option(help="A task set whose reference calls are learned besides, without texts; '' for none.")
    ] = "",
    texts: Annotated[
        Path | None, typer.Option(help="JSONL of whole documents for tasks of that set [default: those that ship].")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="An adapter to go on from; it keeps its rank. Another --seed gives another order."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the adapter goes.")] = Path("warm-start"),
    bfloat16: Annotated[
        bool, typer.Option(help="Compute products in bfloat16: faster where the processor multiplies it.")
    ] = False,
    device: Annotated[str, typer.Option(help="'cpu', 'cuda', or 'auto' for a GPU where there is one.")] = "auto",
    every: Annotated[int, typer.Option(min=0, help="Also keep one every so many steps, as OUT-step-N.")] = 0,
) -> None:
    """Train a warm start from demonstrations and write it as a LoRA adapter in half precision."""
    from rich.console import Console

    from llmi_env.models import calm_threads, load_model
    from trainers.policy_model import compute_in_bfloat16, find_device

    calm_threads()
    import torch

    console = Console()
    place = find_device(device)
    torch.manual_seed(seed)
    model, tokenizer = load_model(base)
    examples = load_examples(tokenizer, demos)
    console.print(f"{len(examples)} demonstrations, {sum(len(e.response) for e in examples)} response tokens")
    if calls:
        bare = load_calls(tokenizer, calls, seed)
        console.print(f"{len(bare)} documents of {calls!r} with calls alone")
        whole = load_examples(tokenizer, texts, calls) if texts is not None or calls in _DEMOS else []
        console.print(f"{len(whole)} of its documents with a text besides")
        examples = mixture(examples, whole, bare)
    model = (add_lora(model, rank) if start is None else further(model, start)).to(place)
    if bfloat16:
        compute_in_bfloat16(model, place)
    for step, loss in fine_tune(model, tokenizer, examples, steps=steps, batch=batch, lr=lr, seed=seed):
        console.print(f"step {step:3d} of {steps}   loss {loss:.3f}")
        if every and step % every == 0 and step < steps:
            save_adapter(model, out.with_name(f"{out.name}-step-{step}"), half=True)
    save_adapter(model, out, half=True)
    size = sum(path.stat().st_size for path in out.iterdir())
    console.print(f"adapter: {out} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    typer.run(main)
