"""An environment's state in mid-episode, to come back to: for search, branching and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmi_env.episode import Episode
from llmi_env.errors import ConfigError
from llmi_env.ledger import Ledger
from llmi_env.rewards import RewardReport
from llmi_env.tokenizers import Tokenizer
from llmi_env.transcript import Transcript


@dataclass(frozen=True, eq=False)
class EnvState:
    """What `LLMIEnv.state` gives and `LLMIEnv.restore` takes, any number of times. It pickles.

    Calls in flight are kept as requests and issued again. Everything else about an environment, its World and its tokenizer above all, is not
    part of it: it can be restored into any environment made with the same options.

    Attributes:
        made_for: what the environment has to agree in, by name.
        episode: the document; `None` before the first reset.
        transcript: tokens and ledger, in the mode `token`; once pickled, the ledger alone.
        rng: state of the generator.
        position: place in the order of tasks.
        shown: figures that the policy has been shown.
        over: why nothing can be written, or "".
        report: reward of a finished document.
    """

    made_for: Mapping[str, Any]
    episode: Episode | None
    transcript: Transcript | Ledger | None
    rng: Mapping[str, Any]
    position: int
    shown: int
    over: str
    report: RewardReport | None

    def copies(self, tokenizer: Tokenizer | None, max_tokens: int | None) -> tuple[Episode | None, Transcript | None]:
        """Episode and transcript, to be written on."""
        if self.episode is None:
            return None, None
        episode = self.episode.copy()
        if isinstance(self.transcript, Transcript):
            return episode, self.transcript.copy(episode)
        if self.transcript is None or tokenizer is None:
            return episode, None
        return episode, Transcript.of_ledger(episode, tokenizer, self.transcript.copy(), max_tokens)

    def check(self, made_for: Mapping[str, Any]) -> None:
        """Raise `ConfigError` unless the state was taken from an environment like this one."""
        differs = [name for name in made_for if self.made_for.get(name) != made_for[name]]
        if differs:
            said = "; ".join(
                f"{name}: {self.made_for.get(name)!r:.80} there, {made_for[name]!r:.80} here" for name in differs
            )
            raise ConfigError(f"this state is of an environment with other options ({said})")

    def __getstate__(self) -> dict[str, Any]:
        # The tokenizer stays out: a vocabulary is large, and the environment has one.
        transcript = self.transcript
        return {**self.__dict__, "transcript": transcript.ledger if isinstance(transcript, Transcript) else transcript}
