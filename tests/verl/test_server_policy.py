"""Rollouts on inference servers: what is asked of them, and what enters the ledger. The server here replays a script, token by token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmi_env.calls import Call
from llmi_env.episode import StopReason
from llmi_env.errors import WorldError
from llmi_env.ledger import Owner
from llmi_env.ledger_export import to_verl
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.task import Task
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer
from llmi_env.world.in_process import InProcessWorld
from trainers.verl.server_policy import STOPS, ServerPolicy

OWLS = Task("Write about owls.", id="owls", tools=("search",))
SEARCH = f"<imgen>{Call('search', 'an owl', {'query': 'owl'}).to_json()}</imgen>"
TEXT = f"Owls 日本 {SEARCH} hunt. {SEARCH}"


@dataclass
class Output:
    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: str = "completed"
    extra_fields: dict[str, Any] = field(default_factory=lambda: {"global_steps": 3})


class ScriptedServer:
    """Writes a text and eos; ends a request at a stop string or the limit, as real servers do."""

    def __init__(self, text: str, tokenizer: Tokenizer, logprobs: bool = True) -> None:
        self.ids = [*tokenizer.encode(text), min(tokenizer.eos_ids)]
        self.asked: list[dict[str, Any]] = []
        self._tokenizer, self._logprobs, self._at = tokenizer, logprobs, 0

    async def generate(self, request_id: str, **request: Any) -> Output:
        self.asked.append({"id": request_id, **request})
        await asyncio.sleep(0)
        params, out, decoder, said = request["sampling_params"], [], self._tokenizer.decoder(), ""
        while self._at < len(self.ids) and len(out) < params["max_tokens"]:
            out.append(self.ids[self._at])
            said += decoder.push(self.ids[self._at])
            self._at += 1
            if any(stop in said for stop in params.get("stop", ())):
                break
        return Output(out, [-0.5] * len(out) if self._logprobs else None)


def roll(server: ScriptedServer, world: InProcessWorld, tokenizer: Tokenizer, **options: Any) -> Rollout:
    shows = options.get("feedback", "none") != "none"
    policy = ServerPolicy(server, tokenizer, {"temperature": 0.7, "top_k": -1}, shows)
    options = {"max_tokens": 1000, **options}
    batch = asyncio.run(run_rollouts(policy, world, HybridReward.preset("llmi"), [OWLS], **options))
    return batch.rollouts[0]


def test_without_feedback_a_document_is_one_request(world: InProcessWorld) -> None:
    tokenizer = ByteTokenizer()
    server = ScriptedServer(TEXT, tokenizer)
    rollout = roll(server, world, tokenizer)
    (asked,) = server.asked
    assert asked["prompt_ids"] == rollout.ledger.prompt_ids
    assert asked["sampling_params"] == {
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": -1,
        "logprobs": True,
        "max_tokens": 1000,
    }
    assert rollout.document.to_source() == TEXT
    assert rollout.ledger.policy_ids == server.ids
    assert len(rollout.document.pictures) == 2


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_with_feedback_what_was_seen_is_what_is_continued(
    request: pytest.FixtureRequest, world: InProcessWorld, kind: str
) -> None:
    tokenizer: Tokenizer = ByteTokenizer() if kind == "bytes" else HFTokenizer(request.getfixturevalue("bpe"))
    server = ScriptedServer(TEXT, tokenizer)
    rollout = roll(server, world, tokenizer, feedback="text")
    assert len(server.asked) == 3
    assert server.asked[0]["sampling_params"]["stop"] == list(STOPS)
    assert len({asked["id"] for asked in server.asked}) == 1
    for asked in server.asked:  # each request continues exactly what the ledger holds
        rollout.ledger.check_prefix(asked["prompt_ids"])
    rollout.ledger.check_sampled(server.ids)
    assert rollout.document.to_source() == TEXT
    output = to_verl(rollout.ledger, rollout.reward)
    assert sum(output["response_mask"]) == len(server.ids)
    assert output["response_mask"].count(0) == rollout.ledger.owners.count(Owner.TOOL) > 0


@pytest.mark.parametrize("call", [SEARCH, "<imgen>{bad</imgen>"])
def test_what_a_server_samples_beyond_a_call_is_no_part_of_the_document(world: InProcessWorld, call: str) -> None:
    class Heedless(ScriptedServer):
        async def generate(self, request_id: str, **request: Any) -> Output:
            start = self._at
            output = await super().generate(request_id, **request)
            kept = len(output.token_ids)
            beyond = self.ids[self._at : self._at + 3]
            self._at = start + kept  # what is not taken is sampled again
            return Output(output.token_ids + beyond, [-0.5] * (kept + len(beyond)))

    tokenizer = ByteTokenizer()
    server = Heedless(f"Owls {call} hunt.", tokenizer)
    ledger = roll(server, world, tokenizer, feedback="text").ledger
    ledger.check()
    ledger.check_sampled(server.ids)
    for asked in server.asked:
        ledger.check_prefix(asked["prompt_ids"])


def test_results_count_toward_the_length_of_the_response(world: InProcessWorld) -> None:
    tokenizer = ByteTokenizer()
    server = ScriptedServer(TEXT + "x" * 500, tokenizer)
    rollout = roll(server, world, tokenizer, feedback="text", max_tokens=200)
    assert rollout.stop is StopReason.LENGTH
    assert len(rollout.ledger.response_ids) <= 200
    assert to_verl(rollout.ledger, 0.5, response_length=200)["extra_fields"]["tokens_cut"] == 0


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_server_that_sends_nothing_to_train_on(world: InProcessWorld, logprobs: bool) -> None:
    tokenizer = ByteTokenizer()
    server = ScriptedServer("Owls", tokenizer, logprobs)
    if logprobs:
        server.ids = []
    with pytest.raises(WorldError, match="calculate_log_probs"):
        roll(server, world, tokenizer)


def test_a_document_without_a_score_stays_so(make_world: Callable[..., InProcessWorld]) -> None:
    tokenizer = ByteTokenizer()
    rollout = roll(ScriptedServer(TEXT, tokenizer), make_world(judge={"failure_rate": 1.0}), tokenizer)
    assert rollout.reward is None
