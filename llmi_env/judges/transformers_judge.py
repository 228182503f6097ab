"""A judge that is a model of `transformers` inside the World: no server, one forward pass for each term.

The model is asked for one digit, and the score is the expectation over the probabilities of 1 to 5 at that position (`score_tokens`).
Nothing is sampled, each document is judged by itself, and the nonce of the fence is made from the document: the same document has the
same score, whatever else is judged. A policy cannot know the nonce of a document that it is still writing.

The model is loaded by `prepare`, which a World calls before the first document; until then nothing imports torch.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.document import Block, Document, Figure, Text
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.judges.prompt import NOTHING_TO_JUDGE, Fence, Request, as_written, load_prompt
from llmi_env.judges.score_tokens import SCORES, Expectation
from llmi_env.loading import LOADING
from llmi_env.task import Task
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored
from llmi_env.world.threads import OneThread

if TYPE_CHECKING:
    from llmi_env.judges.scoring_model import ScoringModel

VERSION = "transformers/2"
_PROMPTS = ("text", "multimodal")
_DTYPES = ("float32", "bfloat16", "float16")


class TransformersJudge:
    """Scores by a text or vision-language model.

    Args:
        model: a folder, a hub name, `smollm2`, `warm-start` or `grpo-trained` (see `llmi_env.models.resolve_policy`).
        terms: which terms to score. `text_quality` and `call_quality` can be judged by any model; `image_quality`, `task_relevance` and
            `text_image_relevance` need one that sees pictures.
        device: as torch names it: `cpu`, `cuda`, `cuda:1`.
        dtype: of the weights: `float32`, `bfloat16` or `float16`.
        max_tokens: tokens of a document that are shown; a longer one is cut in the middle, and the rationale says so.
        batch: how many terms go through the model together.
        min_mass: the least probability that 1 to 5 must have together; below it the model answered something else, and the term is
            unscored.
        max_side: longest side of a picture as the model sees it, in pixels.
        max_pictures: pictures of a document, and of a task, that are shown at most.
        deadline: seconds for one document; after it the terms are unscored. The World's `judge_deadline` bounds it as well.

    Raises:
        ConfigError: an option that cannot be, a model that is not there, or terms of pictures for a model that sees none.
    """

    version = VERSION
    concurrency = 1
    """The model takes one document at a time; a deadline runs once its turn has come."""

    def __init__(
        self,
        model: str = "smollm2",
        terms: Sequence[str] = ("text_quality", "call_quality"),
        device: str = "cpu",
        dtype: str = "float32",
        max_tokens: int = 2048,
        batch: int = 1,
        min_mass: float = 0.5,
        max_side: int = 448,
        max_pictures: int = 16,
        deadline: float = 600.0,
    ) -> None:
        counts = {"max_tokens": max_tokens, "batch": batch, "max_side": max_side, "max_pictures": max_pictures}
        _check(terms, dtype, min_mass, deadline, **counts)
        self.model = model
        self.device, self.dtype = device, dtype
        self.max_tokens, self.batch, self.min_mass = max_tokens, batch, min_mass
        self.max_side, self.max_pictures = max_side, max_pictures
        self.deadline = float(deadline)
        self._terms = tuple(dict.fromkeys(terms))
        self._prompts = {term: prompt for prompt in map(load_prompt, _PROMPTS) for term in prompt.terms}
        self._identity, sees = _described(model)
        unseen = [term for term in self._terms if self._prompts[term].layout == "pictures"]
        if unseen and not sees:
            raise ConfigError(
                f"transformers judge: {model!r} is a text model and cannot judge {', '.join(unseen)}: "
                "name a vision-language model, or leave these terms to another judge"
            )
        self._sees = sees
        self._model: ScoringModel | None = None
        self._loading = threading.Lock()
        self._thread: OneThread | None = None

    @classmethod
    def check_options(cls, **options: Any) -> tuple[str, ...]:
        """The terms that a judge of these options scores; raises as making it does, but does not look for the model."""
        bound = inspect.signature(cls).bind(**options)
        bound.apply_defaults()
        given = bound.arguments
        counts = {name: given[name] for name in ("max_tokens", "batch", "max_side", "max_pictures")}
        _check(given["terms"], given["dtype"], given["min_mass"], given["deadline"], **counts)
        return tuple(dict.fromkeys(given["terms"]))

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that it scores."""
        return self._terms

    @property
    def fingerprint(self) -> str:
        """Everything of it that can move a score, in one string; a folder's files count by name, size and time."""
        prompts = sorted({f"{prompt.id}:{prompt.digest}" for prompt in self._prompts.values()})
        options = [
            self.device,
            self.dtype,
            self.max_tokens,
            self.batch,
            self.min_mass,
            self.max_side,
            self.max_pictures,
        ]
        return json.dumps([VERSION, self.model, self._identity, prompts, options])

    async def __call__(self, document: Document, task: Task) -> Judgments:
        """Judge one document in a thread of the judge's own; documents take turns. Given up, it stops before the next pass.

        Where a pass hangs, its document is unscored after the deadline, and so are later ones, at once, until the model answers again.
        """
        thread = self._thread = self._thread or OneThread("judge")
        if thread.busy > self.deadline:
            return self._unscored(f"the model has been at an earlier document for {thread.busy:.0f} seconds")
        given_up = threading.Event()
        work = thread.submit(partial(self.judge, document, task, given_up))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), self.deadline)
        except TimeoutError:
            if work.done() and not work.cancelled():
                return work.result()
            return self._unscored(f"the model did not answer within {self.deadline:g} seconds (its option `deadline`)")
        finally:
            given_up.set()

    def prepare(self) -> None:
        """Load the model now, not with the first document."""
        self._loaded()

    def _unscored(self, reason: str) -> Judgments:
        return dict.fromkeys(self._terms, Unscored(reason))

    async def aclose(self) -> None:
        """Let go of the model; a later document loads it again."""
        thread, self._thread, self._model = self._thread, None, None
        if thread is not None:
            thread.close()

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_model", "_loading", "_thread")}
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._model, self._loading, self._thread = None, threading.Lock(), None

    def judge(self, document: Document, task: Task, given_up: threading.Event | None = None) -> dict[str, Judgment]:
        """The same, blocking.

        Args:
            document: what was written.
            task: what was asked for.
            given_up: once it is set, the terms that are left are not asked.

        Raises:
            ConfigError, AssetError, MissingExtra: the model cannot be loaded.
        """
        found: dict[str, Judgment] = {}
        for term in self._terms:
            if why := self._prompts[term].nothing_to_judge(term, document):
                found[term] = Scored(NOTHING_TO_JUDGE, why, self._name(term))
        left = [term for term in self._terms if term not in found]
        for start in range(0, len(left), self.batch):
            if given_up is not None and given_up.is_set():
                break
            model = self._loaded()
            requests = {term: self._asked(model, term, document, task) for term in left[start : start + self.batch]}
            answers = model.ask([asked.request for asked in requests.values()])
            for (term, asked), answer in zip(requests.items(), answers, strict=True):
                found[term] = answer if isinstance(answer, Unscored) else self._judged(term, answer, asked)
        return {term: found.get(term, Unscored("given up before it was asked")) for term in self._terms}

    def _name(self, term: str) -> str:
        return f"transformers:{self.model}@{self._prompts[term].id}"

    def _asked(self, model: ScoringModel, term: str, document: Document, task: Task) -> _Asked:
        prompt = self._prompts[term]
        nonce = hashlib.sha256("\0".join([task.question, document.to_source()]).encode("utf-8", "replace")).hexdigest()
        fence = Fence(nonce[:16], "")
        shown, left_out = cut(document, self.max_tokens, prompt.layout, fence, model.tokenizer)
        request = prompt.render(
            shown, task, {term: prompt.terms[term]}, fence, reply="digit", max_pictures=self.max_pictures
        )
        return _Asked(request, left_out)

    def _judged(self, term: str, answer: Expectation, asked: _Asked) -> Judgment:
        told = " ".join(f"{score}:{share:.2f}" for score, share in zip(SCORES, answer.shares, strict=True))
        if answer.mass < self.min_mass:
            return Unscored(
                f"the model gave 1 to 5 a probability of {answer.mass:.3f} together, less than {self.min_mass:g}: "
                f"it answers something else"
            )
        note = f"; {asked.left_out} tokens of the middle were not shown" if asked.left_out else ""
        return Scored(
            answer.score,
            f"expectation over {told}, {answer.mass:.2f} of all probability{note}",
            judge=self._name(term),
        )

    def _loaded(self) -> ScoringModel:
        with self._loading:
            if self._model is None:
                from llmi_env.judges.scoring_model import ScoringModel

                with LOADING:
                    self._model = ScoringModel.load(self.model, self._sees, self.device, self.dtype, self.max_side)
            return self._model


@dataclass(frozen=True)
class _Asked:
    request: Request
    left_out: int


def cut(document: Document, max_tokens: int, layout: str, fence: Fence, tokenizer: Any) -> tuple[Document, int]:
    """The document with the middle of its text left out, where it has more than `max_tokens`, and how many tokens that are.

    A mark with the nonce stands in their place. Laid out with pictures, every figure that has one stays: a policy could hide bad ones in a
    long middle. As written, calls are text like the rest.

    Args:
        document: what was written.
        max_tokens: tokens of text to keep, half of them from its start.
        layout: `source` or `pictures`, as the prompt lays it out.
        fence: of the request.
        tokenizer: a `PreTrainedTokenizerBase`.
    """
    blocks: tuple[Block, ...] = (Text(as_written(document)),) if layout == "source" else document.blocks
    ids_B = [
        tokenizer.encode(block.text, add_special_tokens=False, split_special_tokens=True)
        if isinstance(block, Text)
        else []
        for block in blocks
    ]
    total = sum(map(len, ids_B))
    if total <= max_tokens:
        return document, 0
    head = (max_tokens + 1) // 2
    tail = total - (max_tokens - head)
    kept: list[Block] = []
    done, marked = 0, False
    for block, ids in zip(blocks, ids_B, strict=True):
        if isinstance(block, Figure):
            if block.picture is not None or not head < done < tail:
                kept.append(block)
            continue
        begin, done = done, done + len(ids)
        if begin < head:
            kept.append(Text(tokenizer.decode(ids[: head - begin])))
        if done > head and not marked:
            kept.append(Text(f"\n[{fence.nonce} {tail - head} tokens left out]\n"))
            marked = True
        if done > tail:
            kept.append(Text(tokenizer.decode(ids[max(0, tail - begin) :])))
    return Document(tuple(block for block in kept if not isinstance(block, Text) or block.text)), tail - head


def _check(terms: Sequence[str], dtype: str, min_mass: float, deadline: float, **counts: int) -> None:
    known = [term for name in _PROMPTS for term in load_prompt(name).terms]
    if isinstance(terms, str) or not terms:
        raise ConfigError(
            f"transformers judge: `terms` is a list with at least one of {', '.join(known)}, not {terms!r}"
        )
    for term in terms:
        if term not in known:
            raise ConfigError(f"transformers judge: no term {term!r}{did_you_mean(str(term), known)}")
    if dtype not in _DTYPES:
        raise ConfigError(f"transformers judge: no dtype {dtype!r}{did_you_mean(str(dtype), _DTYPES)}")
    if not 0 <= min_mass <= 1:
        raise ConfigError(f"transformers judge: `min_mass` is a probability, not {min_mass!r}")
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
        raise ConfigError(f"transformers judge: `deadline` is a number of seconds above 0, not {deadline!r}")
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"transformers judge: `{name}` is a whole number from 1 on, not {count!r}")


def _described(model: str) -> tuple[str, bool]:
    """What tells the model from another of its name, and whether it sees pictures; loads no weights."""
    from llmi_env.hub import from_hub
    from llmi_env.models import resolve_policy

    source = resolve_policy(model)
    folder = Path(source.base)
    if folder.is_dir():
        file = folder / "config.json"
    else:
        from huggingface_hub import hf_hub_download

        try:
            file = Path(
                from_hub(lambda local: hf_hub_download(source.base, "config.json", local_files_only=local), source.base)
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"transformers judge: the model {source.base!r} cannot be found: {error}") from error
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"transformers judge: {file} cannot be read: {error}") from error
    # The folder of a hub snapshot is named by its commit.
    identity = _contents(folder) if folder.is_dir() else file.parent.name
    if source.adapter is not None:
        identity += _contents(source.adapter)
    return identity, "vision_config" in config


def _contents(folder: Path) -> str:
    files = sorted(
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()
    )
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
