"""The diffusion tool with any pipeline: schedulers by name, calls drawn together, and what the safety checker withholds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmi_env.document import Picture
from llmi_env.errors import ConfigError, Refused, ToolUnavailable
from llmi_env.tools.base import ToolContext
from llmi_env.tools.diffusion import DiffusionTool
from llmi_env.tools.pipelines import PipelineHost

torch = pytest.importorskip("torch")

from tests.tools.tiny_pipelines import save_text_to_image  # noqa: E402


def draw(tool: DiffusionTool, prompt: Any, seed: int = 1) -> Picture:
    return asyncio.run(tool({"prompt": prompt}, ToolContext(seed=seed)))


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_text_to_image(tmp_path_factory.mktemp("pipeline"))


SMALL: dict[str, Any] = {"steps": 2, "height": 32, "width": 32, "threads": 1}
PROMPTS = ["a", "b", "ab", "ba"]


def drawn(tool: DiffusionTool, prompts: list[str], first_seed: int = 0) -> list[Picture | BaseException]:
    """What calls that come together give, in order; the tool is closed after."""

    async def together() -> list[Picture | BaseException]:
        await tool.warm()
        try:
            calls = [tool({"prompt": text}, ToolContext(seed=first_seed + n)) for n, text in enumerate(prompts)]
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await tool.aclose()

    return asyncio.run(together())


class Spied:
    """Counts what goes through `PipelineHost.call`, and lets some prompts fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str = "no such word") -> None:
        self.prompts: list[Any] = []
        self.keywords: list[dict[str, Any]] = []
        real = PipelineHost.call

        def call(host: PipelineHost, pipeline: Any, prompt: Any, **keywords: Any) -> Any:
            self.prompts.append(prompt)
            self.keywords.append(keywords)
            if failing == prompt:
                raise ToolUnavailable("the pipeline failed: as told")
            if isinstance(prompt, list) and failing in prompt:
                raise IndexError("a pipeline may raise anything")
            return real(host, pipeline, prompt, **keywords)

        monkeypatch.setattr(PipelineHost, "call", call)


def test_pictures_of_a_model_that_may_change_are_not_kept(stable: str) -> None:
    assert not DiffusionTool().cacheable
    assert not DiffusionTool(model=stable).cacheable
    assert DiffusionTool(model="stabilityai/sdxl-turbo").cacheable


def test_alone_a_picture_has_the_bits_of_the_bare_pipeline(stable: str) -> None:
    from diffusers import StableDiffusionPipeline

    bare = StableDiffusionPipeline.from_pretrained(stable, safety_checker=None, requires_safety_checker=False)
    bare.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(5)
    expected = bare("ab", generator=generator, num_inference_steps=2, height=32, width=32).images[0]
    picture = draw(DiffusionTool(model=stable, **{**SMALL, "threads": None}), "ab", seed=5)
    assert picture.image.tobytes() == expected.tobytes()


def test_a_scheduler_by_name_takes_the_settings_of_the_pipelines_own(stable: str) -> None:
    plain = draw(DiffusionTool(model=stable, **SMALL), "ab")
    tool = DiffusionTool(
        model=stable,
        scheduler="EulerDiscreteScheduler",
        scheduler_options={"timestep_spacing": "trailing"},
        **SMALL,
    )
    picture = draw(tool, "ab")
    scheduler = tool._host.loaded().scheduler
    assert type(scheduler).__name__ == "EulerDiscreteScheduler"
    assert scheduler.config.steps_offset == 1  # the pipeline's own, whose default is 0
    assert scheduler.config.timestep_spacing == "trailing"
    assert picture.digest != plain.digest
    assert draw(tool, "ab").digest == picture.digest


def test_settings_alone_are_those_of_the_pipelines_own_scheduler(stable: str) -> None:
    tool = DiffusionTool(model=stable, scheduler_options={"timestep_spacing": "trailing"}, **SMALL)
    draw(tool, "ab")
    assert type(tool._host.loaded().scheduler).__name__ == "DDIMScheduler"
    assert tool._host.loaded().scheduler.config.timestep_spacing == "trailing"
    wrong = DiffusionTool(model=stable, scheduler_options={"timestep_spacings": "trailing"}, **SMALL)
    with pytest.raises(ConfigError, match=r"DDIMScheduler has no setting.*did you mean 'timestep_spacing'"):
        asyncio.run(wrong.warm())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "EulerDiscretScheduler"}, "no scheduler.*did you mean 'EulerDiscreteScheduler'"),
        ({"scheduler": "SchedulerMixin"}, "no scheduler 'SchedulerMixin'"),
        (
            {"scheduler": "DDIMScheduler", "scheduler_options": {"eta_": 1}},
            "DDIMScheduler has no setting 'eta_'",
        ),
        ({"batch": 0}, "'batch': .*greater than or equal to 1"),
        ({"batch_wait": -1}, "'batch_wait': .*greater than or equal to 0"),
    ],
)
def test_schedulers_and_batches_out_of_range_are_told_at_once(
    stable: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DiffusionTool(model=stable, **options)


@pytest.mark.parametrize("batch", [1, 2])
def test_what_the_pipeline_refuses_on_sight_is_a_mistake_of_the_set_up(stable: str, batch: int) -> None:
    tool = DiffusionTool(model=stable, height=63, width=64, batch=batch)

    async def together() -> list[Any]:
        calls = (tool({"prompt": "ab"}, ToolContext(seed=seed)) for seed in range(2))
        found = await asyncio.gather(*calls, return_exceptions=True)
        await tool.aclose()
        return list(found)

    for error in asyncio.run(together()):
        assert isinstance(error, ConfigError)
        assert "divisible by 8" in str(error)


def test_the_embedded_pipeline_draws_one_by_one() -> None:
    with pytest.raises(ConfigError, match="draws one by one"):
        DiffusionTool(batch=2)


def test_a_foreign_scheduler_is_warned_of(stable: str, caplog: pytest.LogCaptureFixture) -> None:
    tool = DiffusionTool(model=stable, scheduler="FlowMatchEulerDiscreteScheduler", **SMALL)
    asyncio.run(tool.warm())
    assert "does not list FlowMatchEulerDiscreteScheduler as compatible" in caplog.text


def test_calls_that_come_together_are_drawn_together(stable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [draw(DiffusionTool(model=stable, **SMALL), text, seed) for seed, text in enumerate(PROMPTS)]
    spied = Spied(monkeypatch)
    found = drawn(DiffusionTool(model=stable, batch=4, batch_wait=30, **SMALL), PROMPTS)
    assert spied.prompts == [PROMPTS]
    for seed, (picture, single) in enumerate(zip(found, alone, strict=True)):
        assert isinstance(picture, Picture)
        assert picture.provenance == single.provenance
        assert picture.provenance.seed == seed
        # the same noise, so the same picture but for rounding
        off = np.abs(np.asarray(picture.image, int) - np.asarray(single.image, int)).max()
        assert off <= 2


def test_what_does_not_fill_a_batch_is_drawn_after_the_wait(stable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spied = Spied(monkeypatch)
    tool = DiffusionTool(model=stable, batch=4, batch_wait=0.1, options={"negative_prompt": "b"}, **SMALL)
    found = drawn(tool, [*PROMPTS, "b", "a"])
    assert spied.prompts == [PROMPTS, ["b", "a"]]
    assert [keywords["negative_prompt"] for keywords in spied.keywords] == [["b"] * 4, ["b"] * 2]
    assert all(isinstance(picture, Picture) for picture in found)


def test_one_alone_in_its_batch_has_the_bits_of_one_alone(stable: str) -> None:
    (picture,) = drawn(DiffusionTool(model=stable, batch=3, batch_wait=0.01, **SMALL), ["ab"], first_seed=7)
    assert isinstance(picture, Picture)
    assert picture.digest == draw(DiffusionTool(model=stable, **SMALL), "ab", seed=7).digest


def test_one_that_fails_leaves_its_neighbours_alone(
    stable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spied = Spied(monkeypatch, failing="bb")
    found = drawn(DiffusionTool(model=stable, batch=3, batch_wait=30, **SMALL), ["a", "bb", "ab"])
    assert spied.prompts == [["a", "bb", "ab"], "a", "bb", "ab"]
    assert isinstance(found[1], ToolUnavailable)
    assert isinstance(found[0], Picture)
    assert isinstance(found[2], Picture)
    assert "each is drawn alone" in caplog.text


def test_one_that_is_given_up_leaves_its_neighbours_alone(stable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spied = Spied(monkeypatch)

    async def scenario() -> list[Picture | BaseException]:
        tool = DiffusionTool(model=stable, batch=3, batch_wait=0.5, **SMALL)
        await tool.warm()
        calls = [
            asyncio.create_task(tool({"prompt": text}, ToolContext(seed=n)))
            for n, text in enumerate(["a", "b", "ab", "ba"])
        ]
        await asyncio.sleep(0)  # the first three are under way now
        calls[0].cancel()
        calls[3].cancel()
        late = asyncio.create_task(tool({"prompt": "b"}, ToolContext(seed=9)))
        found = await asyncio.gather(*calls, late, return_exceptions=True)
        await tool.aclose()
        return found

    found = asyncio.run(scenario())
    assert spied.prompts == [["a", "b", "ab"], "b"]
    assert [type(outcome) for outcome in found] == [
        asyncio.CancelledError,
        Picture,
        Picture,
        asyncio.CancelledError,
        Picture,
    ]


def test_what_waits_when_the_tool_closes_is_told_so(stable: str) -> None:
    async def scenario() -> None:
        tool = DiffusionTool(model=stable, batch=2, batch_wait=30, **SMALL)
        call = asyncio.create_task(tool({"prompt": "a"}, ToolContext()))
        await asyncio.sleep(0)
        await tool.aclose()
        with pytest.raises(ToolUnavailable, match="closed while the picture waited"):
            await call

    asyncio.run(scenario())


def test_a_batch_tool_serves_one_event_loop_after_another(stable: str) -> None:
    tool = DiffusionTool(model=stable, batch=2, batch_wait=0.01, **SMALL)

    async def given_up() -> None:
        call = asyncio.create_task(tool({"prompt": "a"}, ToolContext()))
        await asyncio.sleep(0)
        call.cancel()

    asyncio.run(given_up())
    assert draw(tool, "a").image.size == (32, 32)
    asyncio.run(tool.aclose())


def test_a_pipeline_that_cannot_be_loaded_fails_the_whole_batch(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "NoSuchPipeline"}))
    tool = DiffusionTool(model=str(tmp_path), batch=2, batch_wait=30)

    async def together() -> list[Any]:
        calls = [tool({"prompt": "a"}, ToolContext(seed=n)) for n in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(error, ToolUnavailable) for error in asyncio.run(together()))


def test_batches_that_stay_empty_are_told(stable: str, caplog: pytest.LogCaptureFixture) -> None:
    tool = DiffusionTool(model=stable, batch=2, batch_wait=0.001, steps=1, height=16, width=16)

    async def one_by_one() -> None:
        for seed in range(9):
            await tool({"prompt": "a"}, ToolContext(seed=seed))
        await tool.aclose()

    asyncio.run(one_by_one())
    assert caplog.text.count("calls come one at a time") == 1
    assert "concurrency: {diffusion: 2}" in caplog.text


def with_safety_checker(tool: DiffusionTool, flagged: list[bool]) -> DiffusionTool:
    """A safety checker that is called as those of diffusers are and blackens what it flags."""
    from transformers import CLIPImageProcessor

    class Checker(torch.nn.Module):
        device, dtype = torch.device("cpu"), torch.float32

        def forward(self, images: Any, clip_input: Any) -> tuple[Any, list[bool]]:
            for index, bad in enumerate(flagged):
                if bad:
                    images[index] = images[index] * 0
            return images, flagged

    pipeline = tool._host.loaded()
    pipeline.feature_extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    pipeline.safety_checker = Checker()
    return tool


def test_what_the_safety_checker_withholds_is_refused(stable: str) -> None:
    tool = with_safety_checker(DiffusionTool(model=stable, **SMALL), [True])
    with pytest.raises(Refused, match="safety checker withheld"):
        draw(tool, "ab")


def test_in_a_batch_only_what_is_withheld_is_refused(stable: str) -> None:
    tool = with_safety_checker(DiffusionTool(model=stable, batch=3, batch_wait=30, **SMALL), [False, True, False])

    async def together() -> list[Any]:
        calls = [tool({"prompt": text}, ToolContext(seed=n)) for n, text in enumerate(["a", "b", "ab"])]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(together())
    assert [type(outcome) for outcome in found] == [Picture, Refused, Picture]
    assert all(np.asarray(outcome.image).any() for outcome in (found[0], found[2]))
