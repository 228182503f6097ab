"""What the policy is told of its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from llmi_env import Event, LLMIEnv
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer
from llmi_env.transcript import Owner
from tests.env.kit import TEXT, MakeWorld, write
from tests.streams import SEARCH, edit


class TestFeedback:
    def test_without_it_nothing_is_waited_for_or_seen(
        self, make: Callable[..., LLMIEnv], make_world: MakeWorld
    ) -> None:
        env = make(action_mode="chunk", world=make_world(search={"latency": 30.0}))
        env.reset()
        start = time.perf_counter()
        observation = env.step(SEARCH)[0]
        assert (observation["text"], observation["images"], observation["event"]) == ("", (), Event.NOTHING)
        env.reset()
        env.step(SEARCH)
        env.close()
        assert time.perf_counter() - start < 5

    def test_the_step_that_closes_the_call_returns_its_result(self, make: Callable[..., LLMIEnv]) -> None:
        for feedback, shown in (("text", 0), ("image", 1)):
            env = make(action_mode="chunk", feedback=feedback)
            env.reset()
            assert env.step(SEARCH[:-1])[0]["event"] == Event.NOTHING
            observation = env.step(SEARCH[-1] + " and")[0]
            assert observation["event"] == Event.RESULT
            assert observation["text"] == "\n[picture 0: 64x64, an owl]\n"
            assert len(observation["images"]) == shown
            assert env.step("so on")[0]["text"] == ""

    def test_several_results_come_in_the_order_written(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="chunk", feedback="image")
        env.reset()
        observation = env.step(SEARCH + "<imgen>oops</imgen>" + edit(0))[0]
        assert [line[:10] for line in observation["text"].split("\n") if line] == [
            "[picture 0",
            "[picture 1",
            "[picture 2",
        ]
        assert (observation["event"], len(observation["images"])) == (Event.FAILURE, 2)

    def test_a_call_that_cannot_be_read_is_told_at_once(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(feedback="text")
        env.reset()
        events = [env.step(token)[0] for token in ByteTokenizer().encode("<imgen>oops</imgen>")]
        assert [event["event"] for event in events[:-1]] == [Event.NOTHING] * (len(events) - 1)
        assert events[-1]["event"] == Event.FAILURE
        assert "malformed" in events[-1]["text"]

    def test_a_result_in_the_last_step_is_still_told(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="document", feedback="image")
        env.reset()
        observation = env.step(SEARCH)[0]
        assert (observation["event"], len(observation["images"])) == (Event.END, 1)

    def test_what_the_policy_is_told_stands_in_the_ledger(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(feedback="text")
        observation, _ = env.reset()
        seen = observation["tokens"].tolist()
        for token in [*ByteTokenizer().encode(f"a{SEARCH}b<imgen>oops</imgen>"), 256]:
            seen.append(token)
            seen += env.step(token)[0]["tokens"].tolist()
        assert env.transcript is not None
        ledger = env.transcript.ledger
        ledger.check()
        assert ledger.ids == seen
        assert Owner.TOOL in ledger.owners

    def test_a_hugging_face_tokenizer(self, make: Callable[..., LLMIEnv], bpe: Any) -> None:
        tokenizer = HFTokenizer(bpe)
        env = make(feedback="text", tokenizer=tokenizer)
        env.reset(options={"task": "owls"})
        assert env.action_space == gym.spaces.Discrete(tokenizer.vocab_size)
        info = write(env, TEXT)[4]
        assert info["document"].to_source() == TEXT
