from __future__ import annotations

import copy

import numpy as np
import pytest
from PIL import Image

from llmi_env import END, Picture, Provenance, Task
from llmi_env.errors import ConfigError, EpisodeOver
from llmi_env.wrappers import ArraysOnly, FullContext, TokenHistory
from tests.streams import DIFFUSION, SEARCH, edit
from tests.wrappers.conftest import Make
from tests.wrappers.writing import steps

TEXT = f"<think>Which owl?</think>Owls hunt. {SEARCH} 日本 {edit(0)}"


class TestFullContext:
    @pytest.mark.parametrize("feedback", ["none", "text", "image"])
    def test_it_is_the_prompt_then_what_was_written_and_shown(self, make: Make, feedback: str) -> None:
        env = FullContext(make(action_mode="chunk", feedback=feedback))
        prompt = env.reset(options={"task": "owls"})[0]
        first = env.step("Owls hunt. ")[0]
        second, _, _, _, _ = env.step(SEARCH)
        third = env.step("The end." + END)[0]
        shown = "" if feedback == "none" else "\n[picture 0: 64x64, an owl]\n"
        assert first["text"] == prompt["text"] + "Owls hunt. "
        assert second["text"] == first["text"] + SEARCH + shown
        assert third["text"] == second["text"] + "The end."
        assert len(third["images"]) == (1 if feedback == "image" else 0)
        assert all(seen in env.observation_space for seen in (prompt, first, second, third))

    @pytest.mark.parametrize("feedback", ["none", "text"])
    def test_tokens_are_the_ledgers_at_every_step(self, make: Make, feedback: str) -> None:
        env = FullContext(make(feedback=feedback))
        prompt = env.reset(options={"task": "owls"})[0]
        base = env.base
        for token in base.tokenizer.encode(TEXT):  # type: ignore[union-attr]
            observation = env.step(token)[0]
            assert observation["tokens"].tolist() == base.transcript.ledger.ids  # type: ignore[union-attr]
        assert observation["text"].startswith(prompt["text"] + "<think>Which owl?</think>Owls hunt. " + SEARCH)
        assert ("[picture 1" in observation["text"]) == (feedback == "text")

    def test_a_character_that_is_half_written_comes_with_its_last_token(self, make: Make) -> None:
        env = FullContext(make())
        prompt = env.reset(options={"task": "owls"})[0]["text"]
        seen = [env.step(byte)[0]["text"].removeprefix(prompt) for byte in "é".encode() + "日".encode()[:2]]
        assert seen == ["", "é", "é", "é"]
        assert env.step(256)[0]["text"] == prompt + "é\ufffd"

    def test_a_byte_level_bpe_gives_the_same_text(self, make: Make, bpe: object) -> None:
        from llmi_env import HFTokenizer

        env = FullContext(make(tokenizer=HFTokenizer(bpe)))
        prompt = env.reset(options={"task": "owls"})[0]["text"]
        assert steps(env, TEXT)[-1][0]["text"] == prompt + TEXT

    def test_in_chunks_every_piece_is_tokenised_once(self, make: Make) -> None:
        env = FullContext(make(action_mode="chunk", tokenizer="byte", feedback="text"))
        prompt = env.reset(options={"task": "owls"})[0]
        last = steps(env, TEXT)[-1][0]
        written = bytes(last["tokens"][len(prompt["tokens"]) :].tolist()).decode()
        assert prompt["text"] + written == last["text"]

    def test_a_call_as_an_action_is_shown_as_it_is_written(self, make: Make) -> None:
        from llmi_env import parse_call

        env = FullContext(make(action_mode="call"))
        prompt = env.reset(options={"task": "owls"})[0]["text"]
        call = parse_call(SEARCH.removeprefix("<imgen>").removesuffix("</imgen>"))
        env.step(env.base.actions.of("Owls. "))  # type: ignore[attr-defined]
        observation = env.step(env.base.actions.of(call))[0]  # type: ignore[attr-defined]
        assert observation["text"] == prompt + "Owls. " + env.base.episode.document.to_source().removeprefix("Owls. ")  # type: ignore[union-attr]
        assert env.step(env.base.actions.of(END))[0]["text"] == observation["text"]  # type: ignore[attr-defined]

    def test_pictures_of_the_task_and_of_the_tools_stay_in_view(self, make: Make) -> None:
        lake = Picture(Image.new("RGB", (30, 20), "blue"), Provenance("test"))
        env = FullContext(make(action_mode="chunk", feedback="image"))
        env.reset(options={"task": Task("Make it grey.", images=(lake,))})
        env.step(DIFFUSION)
        images = env.step(edit(0))[0]["images"]
        assert [image.shape for image in images] == [(20, 30, 3), (64, 64, 3), (64, 64, 3)]
        images[0][:] = 0
        assert env.step("x")[0]["images"][0].any()

    def test_what_lies_beyond_the_limit_of_characters_is_not_part_of_it(self, make: Make) -> None:
        env = FullContext(make(action_mode="chunk", limits={"characters": 8}))
        prompt = env.reset(options={"task": "owls"})[0]["text"]
        observation, _, terminated, _, _ = env.step("Owls hunt at night.")
        assert terminated
        assert observation["text"] == prompt + "Owls hun"

    def test_what_no_observation_can_carry_is_replaced(self, make: Make) -> None:
        env = FullContext(make())
        env.reset(options={"task": "owls"})
        observation = env.step(0)[0]
        assert observation["text"].endswith("\ufffd")
        assert observation in env.observation_space

    def test_a_bound_of_ones_own_that_is_too_small_is_an_error(self, make: Make) -> None:
        env = FullContext(make(action_mode="chunk", tokenizer="byte"), text_kib=2, tokens=3000)
        assert env.observation_space["text"].max_bytes == 2048  # type: ignore[index]
        env.reset(options={"task": "owls"})
        with pytest.raises(ConfigError, match=r"'text' has outgrown its bound \(\d+ > 2048\).*'text_kib'"):
            env.step("x" * 2048)
        env = FullContext(make(), tokens=500)
        env.reset(options={"task": "owls"})
        with pytest.raises(ConfigError, match="'tokens' has outgrown"):
            steps(env, "x" * 500)

    def test_what_is_restored_beneath_it_is_refused_and_a_copy_branches(self, make: Make) -> None:
        env = FullContext(make(action_mode="chunk"))
        env.reset(options={"task": "owls"})
        state = env.base.state()
        text = env.step("Owls ")[0]["text"]
        branch = copy.deepcopy(env)
        assert env.step("hunt.")[0]["text"] == text + "hunt."
        assert branch.step("sleep.")[0]["text"] == text + "sleep."
        env.base.restore(state)
        with pytest.raises(EpisodeOver, match="has not seen this document begin"):
            env.step("Bees ")
        assert env.reset(options={"task": "owls"})[0]["text"] + "Owls " == text

    def test_it_needs_the_text(self, make: Make) -> None:
        with pytest.raises(ConfigError, match="FullContext: the observation's 'text' is missing"):
            FullContext(ArraysOnly(TokenHistory(make(), 4)))
        with pytest.raises(ConfigError, match="text_kib must be a number >= 1, not 0"):
            FullContext(make(), text_kib=0)


class TestTokenHistory:
    def test_it_remembers_nothing_so_a_restored_state_is_right(self, make: Make) -> None:
        env = TokenHistory(make(), 3)
        env.reset(options={"task": "owls"})
        state = env.base.state()
        first = steps(env, "Owl", end=False)[-1][0]["tokens"].tolist()
        env.base.restore(state)
        assert steps(env, "Owl", end=False)[-1][0]["tokens"].tolist() == first == list(b"Owl")

    def test_the_newest_token_stands_last(self, make: Make) -> None:
        env = TokenHistory(make(), 6)
        prompt = env.reset(options={"task": "owls"})[0]
        assert prompt["tokens"].tolist() == env.base.transcript.ledger.ids[-6:]  # type: ignore[union-attr]
        observation = steps(env, "Owl", end=False)[-1][0]
        assert observation["tokens"].tolist()[-3:] == list(b"Owl")
        assert observation["tokens"].dtype == np.int64
        assert observation["token_mask"].tolist() == [1] * 6

    def test_what_is_not_there_yet_is_padded_and_masked(self, make: Make) -> None:
        env = TokenHistory(make(), 5000, pad=-1)
        observation = env.reset(options={"task": "owls"})[0]
        ids = env.base.transcript.ledger.ids  # type: ignore[union-attr]
        assert observation["tokens"].tolist() == [-1] * (5000 - len(ids)) + ids
        assert observation["token_mask"].sum() == len(ids)
        assert observation in env.observation_space

    def test_results_that_the_policy_was_shown_are_in_it(self, make: Make) -> None:
        env = TokenHistory(make(feedback="text"), 20)
        env.reset(options={"task": "owls"})
        observation = steps(env, SEARCH, end=False)[-1][0]
        assert bytes(observation["tokens"].tolist()).decode().endswith("64x64, an owl]\n")

    def test_it_says_which_option_it_needs(self, make: Make) -> None:
        with pytest.raises(ConfigError, match=r"TokenHistory: the action mode 'chunk' .*action_mode='token'"):
            TokenHistory(make(action_mode="chunk", tokenizer="byte"), 8)
        with pytest.raises(ConfigError, match="beneath wrappers that change it"):
            TokenHistory(TokenHistory(make(), 8), 8)
        with pytest.raises(ConfigError, match="length must be a number >= 1"):
            TokenHistory(make(), 0)
