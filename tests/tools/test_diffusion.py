"""The diffusion tool and the embedded pipeline: they draw, repeat themselves exactly, and say what is wrong."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmi_env.document import Picture
from llmi_env.errors import BadParams, ConfigError, MissingExtra, Refused, ToolUnavailable
from llmi_env.tools.base import Tool, ToolContext
from llmi_env.tools.diffusion import EMBEDDED, DiffusionTool, _embedded_folder
from llmi_env.tools.pipelines import PipelineHost

torch = pytest.importorskip("torch")


def draw(tool: DiffusionTool, prompt: Any, seed: int = 1) -> Picture:
    return asyncio.run(tool({"prompt": prompt}, ToolContext(seed=seed)))


@pytest.fixture(scope="module")
def tool() -> DiffusionTool:
    return DiffusionTool(steps=2)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from llmi_env.tools.tiny_diffusion import TinyDiffusionPipeline

    loaded = TinyDiffusionPipeline.from_pretrained(_embedded_folder())
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_it_is_a_tool(tool: DiffusionTool) -> None:
    assert isinstance(tool, Tool)
    assert tool.spec.name == "diffusion"


def test_a_picture_says_where_it_comes_from(tool: DiffusionTool) -> None:
    picture = draw(tool, "  a red\n apple ", seed=7)
    assert picture.image.size == (256, 256)
    assert picture.image.mode == "RGB"
    assert picture.provenance.backend == "tiny-diffusion"
    assert picture.provenance.caption == "a red apple"
    assert picture.provenance.seed == 7
    assert pickle.loads(pickle.dumps(picture)) == picture


def test_prompt_and_seed_decide_every_byte(tool: DiffusionTool) -> None:
    first = draw(tool, "a green bus", seed=3)
    assert draw(tool, "a green bus", seed=3).png == first.png
    assert draw(tool, "a green bus", seed=4).png != first.png
    assert draw(tool, "a yellow owl", seed=3).png != first.png


def test_calls_at_once_give_what_calls_alone_give(tool: DiffusionTool) -> None:
    prompts = ["a fish", "a house at night", "a fish"]

    async def together() -> list[Picture]:
        return await asyncio.gather(*(tool({"prompt": p}, ToolContext(seed=i)) for i, p in enumerate(prompts)))

    alone = [draw(tool, prompt, seed).digest for seed, prompt in enumerate(prompts)]
    assert [picture.digest for picture in asyncio.run(together())] == alone


def test_the_number_of_threads_does_not_change_the_picture(tool: DiffusionTool) -> None:
    before, threads = draw(tool, "a blue heart"), torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        again = DiffusionTool(steps=2)
        assert draw(again, "a blue heart").digest == before.digest
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("prompt", ["", "   \n", None, 3, ["a cat"]])
def test_nothing_to_draw_is_refused(tool: DiffusionTool, prompt: Any) -> None:
    with pytest.raises(BadParams, match="say what to draw"):
        draw(tool, prompt)


def test_a_huge_prompt_is_drawn_and_cut(tool: DiffusionTool) -> None:
    picture = draw(tool, "a tiger " * 20_000)
    assert len(picture.provenance.caption) <= 2000


def test_control_characters_and_other_scripts_are_drawn(tool: DiffusionTool) -> None:
    assert draw(tool, "\x00\u200b un château \U0001f3f0 城").image.size == (256, 256)


def test_it_closes_twice_and_draws_again() -> None:
    tool = DiffusionTool(steps=1)

    async def cycle() -> None:
        await tool.aclose()
        await tool({"prompt": "a bee"}, ToolContext())
        await tool.aclose()
        await tool.aclose()

    asyncio.run(cycle())
    assert draw(tool, "a bee").image.size == (256, 256)
    asyncio.run(tool.aclose())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float"}, "did you mean 'float16'|did you mean 'float32'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"width": -5}, "width must be at least 1"),
        ({"model": "./no/such/folder"}, "no folder"),
    ],
)
def test_options_out_of_range_are_told_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DiffusionTool(**options)


def test_a_missing_dependency_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "diffusers" else find(name))
    with pytest.raises(MissingExtra, match="offline"):
        DiffusionTool()


def test_a_missing_text_encoder_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmi_env.tools import tiny_diffusion

    monkeypatch.setattr(tiny_diffusion, "TEXT_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ToolUnavailable, match="llmi prepare"):
        draw(DiffusionTool(steps=1), "a cat")


def test_a_folder_that_is_no_pipeline_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "NoSuchPipeline"}))
    with pytest.raises(ToolUnavailable, match="cannot be loaded"):
        draw(DiffusionTool(model=str(tmp_path)), "a cat")


def test_an_option_that_the_pipeline_does_not_take_is_named() -> None:
    with pytest.raises(ToolUnavailable, match="negative"):
        draw(DiffusionTool(options={"negative_prompt": "text"}), "a cat")


def test_the_pipeline_survives_saving(pipeline: Any, tmp_path: Path) -> None:
    from llmi_env.tools.tiny_diffusion import TinyDiffusionPipeline

    pipeline.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model_index.json", "unet", "decoder", "memory", "scheduler"}
    again = TinyDiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    pictures = [
        made("a frog", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0].tobytes()
        for made in (pipeline, again)
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("caption", "icon"),
    [
        ("a purple apple", "apple"),
        ("A Green Apple on a table", "green apple"),
        ("a children's book illustration of a cat in space", "cat"),
        ("a photograph showing a samurai in the woods", "ninja"),
        ("a puppy on a red sofa", "dog"),
        ("a tiger on a beach", "tiger"),
        ("three bees", "bee"),
        ("a photo of an owl, watercolor", "owl"),
        ("", None),
        (" ?", None),
    ],
)
def test_the_memory_recalls_what_the_caption_is_about(pipeline: Any, caption: str, icon: str | None) -> None:
    found = pipeline.recall(caption)
    assert (found is None) == (icon is None)
    assert found is None or icon in pipeline.memory.names[found]
    shapes = pipeline.memory([found])
    assert shapes.shape == (1, 16, 8, 8)
    assert bool(shapes.any()) == (icon is not None)


def test_the_nearest_icon_may_be_too_far(pipeline: Any) -> None:
    meaning = pipeline.encode_prompt("justice")[1]
    assert pipeline.memory.nearest(meaning, at_least=0.99) is None
    assert pipeline.memory.nearest(meaning, at_least=0.0) is not None


def test_output_types_agree(pipeline: Any) -> None:
    made = {
        kind: pipeline(
            "a cup",
            num_inference_steps=1,
            height=32,
            width=48,
            output_type=kind,
            generator=torch.Generator().manual_seed(0),
        ).images
        for kind in ("pil", "np", "pt")
    }
    assert made["pil"][0].size == (48, 32)
    assert made["np"].shape == (1, 32, 48, 3)
    assert np.allclose(made["np"][0], made["pt"][0].permute(1, 2, 0).numpy())
    assert np.array_equal((made["np"][0] * 255).round().astype(np.uint8), np.asarray(made["pil"][0]))


def test_a_neighbour_in_the_list_does_not_change_a_picture(pipeline: Any) -> None:
    def first_of(prompts: list[str]) -> bytes:
        images = pipeline(prompts, num_inference_steps=1, generator=torch.Generator().manual_seed(5)).images
        data: bytes = images[0].tobytes()
        return data

    assert first_of(["a cat", "a dog"]) == first_of(["a cat"])


@pytest.mark.parametrize("keywords", [{"num_inference_steps": 0}, {"height": 0}, {"output_type": "jpeg"}])
def test_the_pipeline_refuses_values_out_of_range(pipeline: Any, keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        pipeline("a cat", **keywords)


def test_the_embedded_weights_stay_small() -> None:
    files = [path for path in _embedded_folder().rglob("*") if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) <= 32_000_000
    assert (_embedded_folder() / "README.md").is_file()


def test_any_other_pipeline_is_taken_by_its_folder(tmp_path: Path) -> None:
    folder = save_tiny_stable_diffusion(tmp_path)
    tool = DiffusionTool(model=str(folder), steps=1, height=32, width=32)
    picture = draw(tool, "ab", seed=2)
    assert picture.image.size == (32, 32)
    assert picture.provenance.backend == f"diffusers:{folder.name}"
    assert draw(tool, "ab", seed=2).digest == picture.digest


def save_tiny_stable_diffusion(folder: Path) -> Path:
    """A real Stable Diffusion pipeline with random weights and a vocabulary of a few letters."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", "a", "b", "a</w>", "b</w>", "ab</w>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 16),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    out = folder / "tiny-stable-diffusion"
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out)
    return out


def test_the_default_is_the_embedded_pipeline() -> None:
    assert DiffusionTool()._model == EMBEDDED


# ------------------------------------------------------------------------------------------------- schedulers, and drawing together


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_stable_diffusion(tmp_path_factory.mktemp("pipeline")))


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
        ({"batch": 0}, "batch must be at least 1"),
        ({"batch_wait": -1}, "batch_wait is a number of seconds"),
    ],
)
def test_schedulers_and_batches_out_of_range_are_told_at_once(
    stable: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DiffusionTool(model=stable, **options)


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
