"""Random rollouts for tests of the ledger: a document's tokens in random pieces, pictures and failures shown at random moments."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image

from llmi_env.document import Failure, Picture, Provenance
from llmi_env.episode import CallRequest, Episode, StopReason
from llmi_env.ledger import Ledger
from llmi_env.task import Task
from llmi_env.tokenizers import Tokenizer
from llmi_env.transcript import Transcript
from tests.streams import DIFFUSION, SEARCH, random_stream

TASK = Task("Write about owls.")


@dataclass
class Played:
    """A rollout, and what those around it know of it without its ledger."""

    transcript: Transcript
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return self.transcript.ledger


def picture(number: int) -> Picture:
    return Picture(Image.new("RGB", (2, 2), (number % 256, 0, 0)), Provenance("test", caption=f"square {number}"))


def play(
    tokenizer: Tokenizer,
    seed: int,
    placeholder: int,
    edge: int,
    after_turn: Callable[[Played], None] = lambda played: None,
    shows_pictures: bool = True,
) -> Played:
    """Write a random document and show the policy what comes of its calls, now or some turns later; `after_turn` sees every turn.

    Args:
        tokenizer: of the policy.
        seed: of everything that is random.
        placeholder: id of one feature of a picture.
        edge: id before and behind the features.
        after_turn: called after each piece of the document and each outcome shown.
        shows_pictures: whether outcomes come with the pictures' tokens.
    """
    dice = random.Random(seed)
    prompt = tokenizer.encode("Draw.\n" * dice.randint(0, 3))
    # A wild stream alone seldom brings a picture, so sound calls stand in front of it and behind.
    text = "Owls. ".join(dice.choice([SEARCH, DIFFUSION, ""]) for _ in range(4)) + random_stream(dice, 8) + SEARCH
    ids = [*tokenizer.encode(text), min(tokenizer.eos_ids)]
    limit = dice.choice([None, dice.randint(1, 2 * len(ids))])
    played = Played(Transcript(Episode(TASK), tokenizer, prompt, limit))
    ledger, episode = played.ledger, played.transcript.episode
    pending: list[CallRequest] = []
    for piece in _pieces(ids[:limit], dice):
        logprobs = [-dice.random() for _ in piece]
        pending += played.transcript.append(piece, logprobs)
        played.sampled += piece
        played.logprobs += logprobs
        after_turn(played)
        for request in dice.sample(pending, dice.randint(0, len(pending))):
            pending.remove(request)
            outcome = picture(request.index) if dice.random() < 0.7 else Failure.of("search", "timeout", "late")
            episode.deliver(request.index, outcome)
            features: Sequence[int] = []
            if shows_pictures and isinstance(outcome, Picture) and dice.random() < 0.8:
                features = [placeholder] * dice.randint(1, 5)
                played.features.append(len(features))
                played.pictures.append(outcome)
            before = len(ledger)
            shown = played.transcript.inject(request.index, outcome, [edge, *features, edge] if features else [])
            assert ledger.ids[before:] == shown
            after_turn(played)
    assert episode.stop in (StopReason.END, StopReason.LENGTH)
    return played


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    decoder = tokenizer.decoder()
    return "".join([*(decoder.push(token) for token in ids), decoder.flush()])


def _pieces(ids: Sequence[int], dice: random.Random) -> list[list[int]]:
    """Mostly many tokens at once, sometimes one."""
    pieces: list[list[int]] = []
    start = 0
    while start < len(ids):
        stop = start + dice.choice([1, 1, 7, 60, 400])
        pieces.append(list(ids[start:stop]))
        start = stop
    return pieces
