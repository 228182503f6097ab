"""One document from the prompt to the last step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from PIL import Image

from llmi_env import END, Document, Event, LLMIEnv, Task
from llmi_env.document import Picture, Provenance
from llmi_env.errors import ActionError, EpisodeOver
from llmi_env.rewards import HybridReward
from llmi_env.testing import SimulatedTool
from llmi_env.tokenizers import ByteTokenizer
from llmi_env.world.in_process import InProcessWorld
from tests.env.kit import FEEDBACK, MODES, TEXT, write
from tests.streams import DIFFUSION, SEARCH, edit


class TestEpisode:
    @pytest.mark.parametrize("feedback", FEEDBACK)
    def test_every_mode_writes_the_same_document_for_the_same_reward(
        self, make: Callable[..., LLMIEnv], feedback: str
    ) -> None:
        found = []
        for mode in MODES:
            env = make(action_mode=mode, feedback=feedback)
            env.reset(seed=3, options={"task": "owls"})
            _, reward, terminated, truncated, info = write(env, TEXT)
            assert (terminated, truncated, info["stop"]) == (True, False, "end")
            assert 0 < reward <= 1
            found.append((reward, info))
        assert all(data_equivalence(one, found[0]) for one in found)
        assert found[0][1]["document"].to_source() == TEXT

    def test_the_first_observation_is_the_prompt(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        observation, info = env.reset(options={"task": "owls"})
        assert observation["event"] == Event.PROMPT
        assert "Write about owls." in observation["text"]
        assert "search" in observation["text"]
        assert observation["tokens"].tolist() == ByteTokenizer().chat(info["messages"])
        assert info["task_id"] == "owls"
        assert info["messages"][-1] == {"role": "user", "content": "Write about owls."}

    def test_without_a_tokenizer_there_are_no_tokens(self, make: Callable[..., LLMIEnv]) -> None:
        assert set(make(action_mode="chunk").reset()[0]) == {"text", "images", "event"}
        assert set(make(action_mode="chunk", tokenizer="byte").reset()[0]) == {"text", "images", "event", "tokens"}

    def test_tools_that_the_world_does_not_have_are_not_offered(self, tasks: list[Task]) -> None:
        world = InProcessWorld({"search": SimulatedTool("search")})
        env = LLMIEnv("rules", tasks=tasks, world=world, action_mode="document")
        assert "diffusion" not in env.reset()[0]["text"]
        (figure,) = env.step(DIFFUSION)[4]["document"].figures
        assert figure.failure.kind == "unknown_tool"

    def test_input_pictures_are_shown_scaled_down_and_can_be_edited(self, make: Callable[..., LLMIEnv]) -> None:
        large = Picture(Image.new("RGB", (900, 600), "blue"), Provenance("test", caption="a lake"))
        env = make(action_mode="document")
        observation, _ = env.reset(options={"task": Task("Make it grey.", images=(large,))})
        assert [image.shape for image in observation["images"]] == [(256, 384, 3)]
        assert "[picture 0: a lake]" in observation["text"]
        assert observation in env.observation_space
        (figure,) = env.step(edit(0))[4]["document"].figures
        assert figure.picture is not None

    def test_the_reward_is_zero_until_the_end(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        env.reset(options={"task": "owls"})
        steps = [env.step(token) for token in ByteTokenizer().encode(TEXT)]
        assert all(step[1:] == (0.0, False, False, {}) for step in steps)
        assert all(step[0] in env.observation_space for step in steps)

    def test_the_last_info_tells_it_all(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="document")
        env.reset(options={"task": "owls"})
        _, reward, _, _, info = env.step(SEARCH)
        assert set(info) == {"task_id", "stop", "document", "report", "tools"}
        assert isinstance(info["document"], Document)
        assert info["report"].total == reward
        assert set(info["report"].terms) == set(HybridReward.preset("llmi").terms)
        assert info["tools"].accuracy == 1.0

    @pytest.mark.parametrize(
        ("limits", "stop", "source"),
        [
            ({"characters": 12}, "characters", "Owls hunt. <"),
            ({"calls": 1}, "calls", f"Owls hunt. {SEARCH} They see 日本. "),
            ({"pictures": 1}, "pictures", f"Owls hunt. {SEARCH} They see 日本. "),
            ({"tokens": 4}, "length", "Owls"),
        ],
    )
    def test_limits_end_it_and_it_is_scored_as_it_stands(
        self, make: Callable[..., LLMIEnv], limits: dict[str, int], stop: str, source: str
    ) -> None:
        env = make(limits=limits)
        env.reset(options={"task": "owls"})
        for token in ByteTokenizer().encode(TEXT):
            _, _, terminated, truncated, info = env.step(token)
            if terminated:
                break
        assert (terminated, truncated, info["stop"]) == (True, False, stop)
        assert info["document"].to_source() == source
        assert info["report"].scored


class TestActionsOutsideTheSpace:
    @pytest.mark.parametrize(
        "action", [257, -1, 2**70, 1.0, True, "a", None, [1], np.array([1, 2]), np.float64(1)], ids=repr
    )
    def test_tokens(self, make: Callable[..., LLMIEnv], action: object) -> None:
        env = make()
        env.reset(options={"task": "owls"})
        env.step(65)
        with pytest.raises(ActionError):
            env.step(action)
        env.step(np.int64(66))
        assert env.step(256)[4]["document"].text == "AB"
        assert env.transcript is not None
        assert env.transcript.ledger.n_policy == 3

    @pytest.mark.parametrize("mode", ["chunk", "document"])
    @pytest.mark.parametrize(
        "action", [b"a", None, 7, "a\x00", "\ud800", END + "a", END + END, "a" * 10**7], ids=lambda a: repr(a)[:12]
    )
    def test_texts(self, make: Callable[..., LLMIEnv], mode: str, action: object) -> None:
        env = make(action_mode=mode)
        env.reset(options={"task": "owls"})
        with pytest.raises(ActionError):
            env.step(action)
        assert env.step("fine" + END)[4]["document"].text == "fine"

    def test_an_error_says_what_is_wrong(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="chunk")
        env.reset()
        with pytest.raises(ActionError, match="after END at character 1"):
            env.step(f"a{END}b")


class TestOver:
    @pytest.mark.parametrize("mode", MODES)
    def test_before_reset_after_the_end_and_after_close(self, make: Callable[..., LLMIEnv], mode: str) -> None:
        env = make(action_mode=mode)
        action = 65 if mode == "token" else "a"
        with pytest.raises(EpisodeOver, match="call reset first"):
            env.step(action)
        env.reset()
        write(env, "Owls.")
        with pytest.raises(EpisodeOver, match="has ended"):
            env.step(action)
        env.reset()
        env.close()
        env.close()
        with pytest.raises(EpisodeOver, match="closed"):
            env.step(action)
        env.reset()
        env.step(action)
