"""How long a step of `LLMI-v0` takes, beside an environment that does nothing and beside other libraries. Makes `results/env_step.md`.

    python -m benchmarks.env_step --make-venvs   # once: an environment for each rival, from constraints/rival-*.txt
    python -m benchmarks.env_step                # all of it, a few minutes
    python -m benchmarks.env_step --quick        # less of everything, to see that it runs
    python -m benchmarks.env_step --rivals none  # without the other libraries

Everything is measured in turns within one run, so that whatever else the machine does falls on both sides: read the ratios, and the
microseconds as those of one machine. Only the time inside of `env.step` counts, by a clock around each call.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console

from benchmarks.env_step_report import Compared, Growth, RivalTimes, Steps, report
from benchmarks.rivals.work import END, Episode, Work, timed
from llmi_env.env import Event
from llmi_env.task import Task
from llmi_env.testing import simulated_world
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer

HERE = Path(__file__).parent
OUT = HERE / "results" / "env_step.md"
OURS = "llmi.py"
RIVALS = {"gem": "gem_llm.py", "skyrl": "skyrl.py", "verifiers": "classic_verifiers.py"}
DOCUMENT_TOKENS = 4096
LONG_TOKENS = 32_768
CHUNK_TOKENS = 64
CALLS = 4
WINDOWS = 8
_BLOCK = 256

_WHO = ("The barn owl", "A young fox", "My neighbour’s café", "The old harbour", "Each honeybee", "A naïve traveller")
_DOES = ("waits for", "remembers", "has never seen", "slowly turns towards", "keeps a record of", "is older than")
_WHAT = (
    "the first frost",
    "a field of barley",
    "the lighthouse — or what is left of it",
    "three small boats",
    "its own shadow",
)
_WHEN = (
    "before dawn",
    "when the wind drops",
    "in the year of the great flood",
    "without a sound",
    "as the maps foretold",
)


def sentences(dice: random.Random) -> Iterator[str]:
    """Prose without end, with a few characters of more than one byte."""
    while True:
        yield f"{dice.choice(_WHO)} {dice.choice(_DOES)} {dice.choice(_WHAT)} {dice.choice(_WHEN)}. "


def call(caption: str) -> str:
    body = {"source": "search", "description": caption, "params": {"query": caption}}
    return f"<imgen>{json.dumps(body)}</imgen>"


def pieces(tokenizer: Tokenizer, tokens: int, calls: int) -> list[str]:
    """Sentences and calls that make at least so many tokens; the calls stand evenly in the first nine tenths."""
    prose = sentences(random.Random(0))
    made: list[str] = []
    length = written = 0
    while length < tokens:
        if written < calls and length > 0.9 * tokens * (written + 0.5) / calls:
            made.append(call(f"view {written} of the harbour"))
            written += 1
        else:
            made.append(next(prose))
        length += len(tokenizer.encode(made[-1]))
    return made


def document_ids(tokenizer: Tokenizer, tokens: int, calls: int) -> list[int]:
    """Ids of a document of exactly so many tokens, eos included."""
    ids = tokenizer.encode("".join(pieces(tokenizer, tokens, calls)))
    return [*ids[: tokens - 1], min(tokenizer.eos_ids)]


def the_work(tokenizer: Tokenizer) -> Work:
    """The document that every library writes, in chunks that cut no call."""
    chunks, chunk = [], ""
    for piece in pieces(tokenizer, DOCUMENT_TOKENS, CALLS):
        chunk += piece
        if len(tokenizer.encode(chunk)) >= CHUNK_TOKENS:
            chunks.append(chunk)
            chunk = ""
    chunks.append(chunk + END)
    captions = tuple(f"view {number} of the harbour" for number in range(CALLS))
    return Work("Write about the harbour, with four photos.", CALLS, tuple(chunks), captions)


def byte_level_bpe() -> HFTokenizer:
    """A Hugging Face tokenizer of the kind that most models have, trained here: nothing is fetched."""
    import tokenizers
    import transformers

    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=450, special_tokens=["<|im_start|>", "<|im_end|>"], initial_alphabet=alphabet, show_progress=False
    )
    lines = [*itertools.islice(sentences(random.Random(1)), 500), *(call(f"view {i} of a field") for i in range(20))]
    model.train_from_iterator(lines, trainer)
    hf = transformers.PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|im_end|>")
    hf.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    return HFTokenizer(hf)


class DoNothing(gym.Env[Any, Any]):
    """An environment of the same spaces that returns the same observation whatever happens."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self._nothing = {"text": "", "images": (), "event": int(Event.NOTHING)}
        if isinstance(observation_space, gym.spaces.Dict) and "tokens" in observation_space.spaces:
            self._nothing["tokens"] = np.empty(0, np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._nothing, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._nothing, 0.0, False, False, {}


gym.register("DoNothing-v0", entry_point=DoNothing)


@dataclass
class Pair:
    """The environment and the one that does nothing, made alike."""

    mode: str
    tokenizer: Tokenizer | None = None
    checked: bool = False
    ours: gym.Env[Any, Any] = field(init=False)
    nothing: gym.Env[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        off = None if self.checked else True
        task = Task("Write about the harbour, with four photos.", image_count=CALLS, tools=("search",), id="work")
        self.ours = gym.make(
            "LLMI-v0", config="rules", world=simulated_world(judge={}), tasks=[task], action_mode=self.mode,
            tokenizer=self.tokenizer, limits={"pictures": 24}, disable_env_checker=off,
        )  # fmt: skip
        spaces = {"observation_space": self.ours.observation_space, "action_space": self.ours.action_space}
        self.nothing = gym.make("DoNothing-v0", disable_env_checker=off, **spaces)

    def play(self, actions: Sequence[Any], block: int = _BLOCK) -> tuple[list[int], list[int]]:
        """Nanoseconds of each step of ours and of the other, in turns of a block of steps."""
        self.ours.reset()
        self.nothing.reset()
        ours: list[int] = []
        nothing: list[int] = []
        for start in range(0, len(actions), block):
            for env, times in ((self.ours, ours), (self.nothing, nothing)):
                times += timed(env.step, actions[start : start + block], [])
        return ours, nothing

    def close(self) -> None:
        self.ours.close()
        self.nothing.close()


def steps(name: str, pair: Pair, actions: Sequence[Any], documents: int, block: int = _BLOCK) -> Steps:
    """Times of all steps but the last one of each document, which scores it, and of that one apart."""
    pair.play(actions, block)
    played = [pair.play(actions, block) for _ in range(documents)]
    pair.close()
    last = [ours[-1] for ours, _ in played]
    keep = slice(None) if len(actions) == 1 else slice(-1)
    ours, nothing = ([ns for times in side for ns in times[keep]] for side in zip(*played, strict=True))
    return Steps(name, np.array(ours), np.array(nothing), np.array(last))


def growth(name: str, tokenizer: Tokenizer, documents: int) -> Growth:
    """Medians of the steps in each window of a long document."""
    pair = Pair("token", tokenizer)
    actions = document_ids(tokenizer, LONG_TOKENS, calls=12)
    pair.play(actions[:DOCUMENT_TOKENS])
    played = [pair.play(actions) for _ in range(documents)]
    pair.close()
    ours, nothing = (np.array(side).reshape(documents, WINDOWS, -1) for side in zip(*played, strict=True))
    return Growth(name, np.median(ours, axis=(0, 2)), np.median(nothing, axis=(0, 2)))


# ------------------------------------------------------------------------------------------------------------------- rivals


class Side:
    """A library at work in its own interpreter."""

    def __init__(self, python: Path | str, script: str, work: Path) -> None:
        # Ours is the code beside this file, wherever another copy may be installed; the rivals' own is what their pins say.
        here = {"PYTHONPATH": str(HERE.parent)} if script == OURS else {}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | here
        self._process = subprocess.Popen(
            [str(python), str(HERE / "rivals" / script), str(work)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.about: dict[str, str] = self._answer()
        self.times: dict[str, list[Episode]] = {"chunk": [], "document": [], "slow": []}

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, complaint = self._process.communicate()
            raise RuntimeError(" ".join(complaint.strip().splitlines()[-1:]) or "it ended without a word")
        return json.loads(line)

    def play(self, counts: dict[str, int], keep: bool) -> None:
        """So many episodes of each kind; kept, or to warm up."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(counts) + "\n")
        self._process.stdin.flush()
        for kind, episodes in self._answer().items():
            if keep:
                self.times[kind] += [Episode(**fields) for fields in episodes]

    def close(self) -> None:
        self._process.communicate()


def compare(tokenizer: Tokenizer, names: Sequence[str], folder: Path, rounds: int, console: Console) -> Compared:
    """Ours and the rivals, round by round. A rival that does not run, or does something else, is told of and left out."""
    work = the_work(tokenizer)
    counts = {"chunk": 20, "document": 20, "slow": 4}
    wrong: dict[str, str] = {}
    sides: dict[str, Side] = {}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "work.json"
        work.save(path)
        for name in ("llmi", *names):
            python = Path(sys.executable) if name == "llmi" else folder / name / "bin" / "python"
            if not python.exists():
                wrong[name] = "its environment was not made (`--make-venvs`)"
                continue
            try:
                sides[name] = Side(python, RIVALS.get(name, OURS), path)
            except RuntimeError as error:
                if name == "llmi":
                    raise
                wrong[name] = str(error)
        for number in range(rounds + 1):
            for name, side in list(sides.items()):
                console.print(f"[dim]beside rivals: round {number} of {rounds}, {name}[/dim]")
                try:
                    side.play(counts, keep=number > 0)
                except RuntimeError as error:
                    if name == "llmi":
                        raise
                    wrong[name] = str(error)
                    del sides[name]
        for side in sides.values():
            side.close()
    expected = outcomes(sides["llmi"])
    for name in [name for name, side in sides.items() if outcomes(side) != expected]:
        wrong[name] = f"not the same work: {outcomes(sides.pop(name))} in place of {expected}"
    times = {
        name: RivalTimes(side.about, {kind: [episode.ns for episode in done] for kind, done in side.times.items()})
        for name, side in sides.items()
    }
    with_call = [index for index, chunk in enumerate(work.chunks) if "<imgen>" in chunk]
    return Compared(times, wrong, with_call, len(work.chunks), len(work.document))


def outcomes(side: Side) -> set[tuple[float, int, int]]:
    """What a side's episodes came to: reward, calls, results shown."""
    return {(round(e.reward, 6), e.calls, e.observed) for done in side.times.values() for e in done}


def make_venvs(folder: Path, names: Sequence[str], console: Console) -> None:
    """A virtual environment for each rival, with exactly the versions of its constraints file."""
    for name in names:
        console.print(f"making {folder / name} ...")
        venv.create(folder / name, with_pip=True, clear=True)
        pins = HERE.parent / "constraints" / f"rival-{name}.txt"
        command = [
            str(folder / name / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "-r",
            str(pins),
        ]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{name} could not be installed from {pins}: see what pip said above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the steps: to see that it runs, not for figures"
    )
    parser.add_argument(
        "--rivals", default=",".join(RIVALS), help=f"which ones, by comma, or none (default: {','.join(RIVALS)})"
    )
    parser.add_argument(
        "--venvs", type=Path, default=Path("~/.cache/llmi/rivals"), help="folder of their environments (%(default)s)"
    )
    parser.add_argument("--make-venvs", action="store_true", help="make these environments (pip, no torch) and stop")
    parser.add_argument("--out", type=Path, default=OUT, help="where the results go (default: results/env_step.md)")
    options = parser.parse_args()
    names = [] if options.rivals == "none" else options.rivals.split(",")
    if unknown := set(names) - set(RIVALS):
        parser.error(f"no rival {', '.join(sorted(unknown))}; there are {', '.join(RIVALS)}")
    warnings.filterwarnings("ignore", message=".*share an object")  # the do-nothing environment does so on purpose
    console, folder = Console(stderr=True), options.venvs.expanduser()
    if options.make_venvs:
        make_venvs(folder, names, console)
        return
    for name in names:
        if not (folder / name).exists():
            console.print(
                f"{name} is left out: no {folder / name}. Make it with: python -m benchmarks.env_step --make-venvs"
            )
    documents = 2 if options.quick else 20
    bpe = byte_level_bpe()
    found: list[Steps] = []
    for (name, tokenizer), checked in itertools.product({"byte": ByteTokenizer(), "BPE": bpe}.items(), (False, True)):
        wrappers = "default wrappers" if checked else "no env checker"
        console.print(f"[dim]token steps: {name}, {wrappers}[/dim]")
        ids = document_ids(tokenizer, DOCUMENT_TOKENS, CALLS)
        found.append(steps(f"token, {name}, {wrappers}", Pair("token", tokenizer, checked), ids, documents))
    work = the_work(bpe)
    console.print("[dim]chunks and documents[/dim]")
    found.append(steps("chunk of 64 tokens, BPE", Pair("chunk"), work.chunks, 4 * documents, block=8))
    found.append(steps("document of 4k tokens, BPE", Pair("document"), [work.document], 4 * documents))
    grown: list[Growth] = []
    for name, tokenizer in (("byte", ByteTokenizer()), ("BPE", bpe)):
        console.print(f"[dim]growth over {LONG_TOKENS} tokens: {name}[/dim]")
        grown.append(growth(name, tokenizer, 1 if options.quick else 5))
    compared = compare(bpe, names, folder, 1 if options.quick else 8, console) if names else None
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(report(found, grown, compared), encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
