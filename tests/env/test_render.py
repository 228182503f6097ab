"""What is shown of a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmi_env import LLMIEnv
from llmi_env.errors import EpisodeOver
from tests.streams import SEARCH


class TestRender:
    def shown(self, make: Callable[..., LLMIEnv], mode: str | None, text: str) -> Any:
        env = make(action_mode="document", render_mode=mode)
        env.reset(options={"task": "owls"})
        env.step(text)
        return env.render()

    def test_ansi_keeps_the_terminal_safe(self, make: Callable[..., LLMIEnv]) -> None:
        shown = self.shown(make, "ansi", f"Owls \x1b[2J\x07 hunt. {SEARCH}<imgen>oops</imgen>")
        assert "\x1b[2J" not in shown
        assert "\x07" not in shown
        assert "search: an owl | 64x64" in shown
        assert "malformed" in shown
        assert "reward 0." in shown

    def test_html_escapes_what_the_policy_wrote(self, make: Callable[..., LLMIEnv]) -> None:
        evil = SEARCH.replace("an owl", "<script>alert(1)</script>")
        shown = self.shown(make, "html", f"<script>alert(2)</script> {evil}")
        assert "<script>" not in shown
        assert "&lt;script&gt;alert(2)" in shown
        assert 'src="data:image/png;base64,' in shown

    def test_frames_are_of_one_size_and_show_what_was_written_last(self, make: Callable[..., LLMIEnv]) -> None:
        frames = [
            self.shown(make, "rgb_array", text) for text in ("Owls.", "Owls. " * 3000, SEARCH, "w" * 3000, "日本 😀")
        ]
        assert {(frame.shape, str(frame.dtype)) for frame in frames} == {((720, 640, 3), "uint8")}
        assert len({frame.tobytes() for frame in frames}) == len(frames)

    def test_in_the_middle_and_without_a_mode(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(render_mode="ansi", action_mode="chunk")
        with pytest.raises(EpisodeOver):
            env.render()
        env.reset()
        env.step("Half")
        assert "Half" in env.render()
        env = make()
        env.reset()
        with pytest.warns(UserWarning, match="render mode"):
            assert env.render() is None
