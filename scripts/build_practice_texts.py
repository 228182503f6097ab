"""Write texts for practice tasks, so that a warm start sees whole documents there and not calls alone.

A policy that has learnt how demonstrations sound writes some texts for each task, with calls forbidden; the embedded judge picks the best,
what it finds poor is left out, and the task's reference calls are put between its sentences. The texts are short and plain; whether they are
true nobody has checked, so they teach the shape of a document and not facts.

    python scripts/build_practice_texts.py --policy warm-start --out llmi_env/assets/demos/practice.jsonl

Ctrl-C and a kill lose one batch: the same command goes on with the rest.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from llmi_env import prompting
from llmi_env.calls import Call
from llmi_env.document import Document, Figure, Text
from llmi_env.judges.embedded import EmbeddedJudge
from llmi_env.models import calm_threads
from llmi_env.policies.base import Sampling
from llmi_env.task import Task
from llmi_env.task_sets import TaskSet, load_tasks
from llmi_env.world.protocol import Scored

_TOKENS = 44  # of a text; with two calls a document then fits into 160
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class _Row:
    """One text in the making."""

    def __init__(self, prompt_ids: Sequence[int], seed: int, eos: int) -> None:
        self.prompt_ids, self.seed, self.max_tokens = prompt_ids, seed, _TOKENS
        self.ids: list[int] = []
        self.done, self.waiting, self.whole = False, False, False
        self.pictures: Sequence[Any] = ()
        self._eos = eos

    def take(self, token: int, logprob: float) -> None:
        self.whole = token == self._eos
        if not self.whole:
            self.ids.append(token)
        self.done = self.whole or len(self.ids) == self.max_tokens

    def shown(self) -> Sequence[int]:
        return ()

    async def changed(self) -> None:
        raise AssertionError("a text waits for nothing")

    def end(self) -> None:
        self.done = True


class _WithoutCalls:
    """An engine that never draws certain tokens."""

    def __init__(self, engine: Any, forbidden: Sequence[int]) -> None:
        import torch

        self._engine, self._forbidden = engine, torch.tensor(forbidden)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> Any:
        return self._without(self._engine.start(prompts, room))

    def step(self, tokens_B: Sequence[int], moves_B: Sequence[bool]) -> Any:
        return self._without(self._engine.step(tokens_B, moves_B))

    def _without(self, logits_BV: Any) -> Any:
        return logits_BV.index_fill(1, self._forbidden, float("-inf"))


def choose(tasks: TaskSet, count: int, seed: int) -> list[Task]:
    """Tasks in an order of which every stretch has as many that need two tools as that need one, and a tenth that need none."""
    dice = random.Random(seed)
    shuffled = dice.sample(list(tasks), len(tasks))
    kinds = [[task for task in shuffled if min(len(task.tools), 2) == number] for number in range(3)]
    shares = (0.1, 0.45, 0.45)
    placed = [
        ((at + 1) / share, task) for kind, share in zip(kinds, shares, strict=True) for at, task in enumerate(kind)
    ]
    return [task for _, task in sorted(placed, key=lambda entry: entry[0])[:count]]


def reference_calls(tasks: TaskSet, task: Task) -> list[Call]:
    """The calls that a task set names as right."""
    return [
        Call(call["tool"], call["description"], call["params"])
        for call in tasks.extras(str(task.id)).get("reference", ())
    ]


def assemble(text: str, calls: Sequence[Call], dice: random.Random) -> Document:
    """A document of the text with the calls between its sentences, as demonstrations vary it."""
    sentences = _SENTENCE.split(text.strip())
    # The first figure stands before or after the first sentence, each further one after a later sentence or at once.
    places = sorted(dice.choices(range(len(sentences) + 1), k=len(calls)))
    blocks: list[Text | Figure] = []
    for place in range(len(sentences) + 1):
        for call in calls[: places.count(place)]:
            blocks.append(Figure(call.to_json(), call))
        calls = calls[places.count(place) :]
        if place < len(sentences):
            blocks.append(Text(sentences[place]))
    return Document(tuple(blocks))


def written(document: Document, dice: random.Random) -> str:
    """The document as the policy would write it."""
    glue = dice.choice([" ", "\n", "\n\n"])
    out = ""
    for block in document:
        piece = block.text if isinstance(block, Text) else f"<imgen>{block.raw}</imgen>"
        between = glue if isinstance(block, Figure) or out.endswith("</imgen>") else " "
        out += (between if out else "") + piece
    return out


async def _texts(policy: Any, prompts: Sequence[Sequence[int]], seeds: Sequence[int], temperature: float) -> list[_Row]:
    rows = [_Row(prompt, seed, policy.tokenizer.hf.eos_token_id) for prompt, seed in zip(prompts, seeds, strict=True)]
    await policy.write(rows, Sampling(temperature=temperature))
    return rows


def main(
    out: Annotated[Path, typer.Option(help="JSONL of `task_id` and `document`; what it holds already stays.")],
    policy: Annotated[str, typer.Option(help="Writes the texts.")] = "warm-start",
    tasks: Annotated[str, typer.Option(help="A task set with reference calls.")] = "practice",
    count: Annotated[int, typer.Option(min=1, help="Tasks to write for.")] = 2400,
    samples: Annotated[int, typer.Option(min=1, help="Texts of each, of which the best is taken.")] = 2,
    least: Annotated[float, typer.Option(min=1, max=5, help="Least text quality of one that is kept.")] = 3.0,
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.8,
    batch: Annotated[int, typer.Option(min=1, help="Tasks at a time.")] = 48,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write the texts."""
    calm_threads()
    from llmi_env.policies.engines import make_engine, model_parts
    from llmi_env.policies.packed import round_products
    from llmi_env.policies.transformers_policy import TransformersPolicy

    task_set = load_tasks(tasks)
    writer = TransformersPolicy.load(policy, max_rows=batch * samples)
    round_products(*model_parts(writer.model))
    vocabulary = [writer.tokenizer.hf.decode([token]) for token in range(writer.tokenizer.vocab_size)]
    eos = writer.tokenizer.hf.eos_token_id
    forbidden = [token for token, text in enumerate(vocabulary) if token != eos and set(text) & set("<>{}[]#*|\n")]
    judge = EmbeddedJudge(terms=("text_quality",))
    writer._engine = _WithoutCalls(make_engine(writer.model, writer.tokenizer.vocab_size), forbidden)
    done = {json.loads(line)["task_id"] for line in out.read_text().splitlines()} if out.exists() else set()
    tried = out.with_suffix(".tried")
    done |= set(tried.read_text().split("\n")) if tried.exists() else set()
    todo = [task for task in choose(task_set, count, seed) if task.id not in done]

    async def best(task: Task, rows: Sequence[_Row]) -> tuple[float, str]:
        found = (0.0, "")
        for number, row in enumerate(rows):
            text = writer.tokenizer.hf.decode(row.ids).strip()
            if not row.whole or not text:
                continue
            dice = random.Random(f"{task.key}:{number}")
            document = assemble(text, reference_calls(task_set, task), dice)
            judgment = (await judge(document, task))["text_quality"]
            if isinstance(judgment, Scored) and judgment.score > found[0]:
                found = (judgment.score, written(document, dice))
        return found

    async def one_batch(chosen: Sequence[Task]) -> None:
        prompts = [writer.tokenizer.chat(prompting.messages(task)) for task in chosen for _ in range(samples)]
        seeds = [
            seed * 1_000_003 + number * 7919 + int(task.key[:6], 16) for task in chosen for number in range(samples)
        ]
        rows = await _texts(writer, prompts, seeds, temperature)
        lines = []
        for index, task in enumerate(chosen):
            score, document = await best(task, rows[index * samples : (index + 1) * samples])
            if score >= least:
                lines.append(json.dumps({"task_id": task.id, "document": document}, ensure_ascii=False))
        with out.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        with tried.open("a", encoding="utf-8") as file:
            file.write("".join(f"{task.id}\n" for task in chosen))

    starts = range(0, len(todo), batch)
    for start in track(starts, description="writing"):
        asyncio.run(one_batch(todo[start : start + batch]))


if __name__ == "__main__":
    typer.run(main)
