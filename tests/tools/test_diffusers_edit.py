"""Editing by pipelines of diffusers: real pipeline classes with tiny random weights, called as each of them wants."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Picture, Provenance
from llmi_env.errors import BadParams, ConfigError, Refused
from llmi_env.tools import make_tool
from llmi_env.tools.base import Tool, ToolContext
from llmi_env.tools.diffusers_edit import DiffusersEditTool
from llmi_env.tools.model_calls import in_aspect, size_for
from llmi_env.tools.pipelines import PipelineHost
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld

torch = pytest.importorskip("torch")

from tests.tools import tiny_pipelines  # noqa: E402  (it imports torch)

SOURCE = Provenance(
    "corpus", title="A slope", caption="from dark to bright", author="N. N.", licence="CC0-1.0", chart="{}"
)


def slope(width: int = 90, height: int = 60, mode: str = "RGB") -> Picture:
    return Picture(Image.linear_gradient("L").resize((width, height)).convert(mode), SOURCE)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small only lose by more, all the more on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def edit(tool: DiffusersEditTool, prompt: Any = "a b", source: Picture | None = None, seed: int = 1) -> Picture:
    pictures = (source if source is not None else slope(),)
    return asyncio.run(tool({"prompt": prompt}, ToolContext(seed=seed, pictures=pictures)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture(scope="module")
def pix2pix(folder: Path) -> str:
    return tiny_pipelines.save_instruct_pix2pix(folder)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keywords of every call of a pipeline, which is carried out all the same."""
    calls: list[dict[str, Any]] = []
    real = PipelineHost.call

    def call(host: PipelineHost, pipeline: Any, **keywords: Any) -> Any:
        calls.append(keywords)
        return real(host, pipeline, **keywords)

    monkeypatch.setattr(PipelineHost, "call", call)
    return calls


def test_it_is_found_by_its_name(pix2pix: str) -> None:
    tool = make_tool("diffusers-edit", model=pix2pix)
    assert isinstance(tool, Tool)
    assert tool.spec.name == "edit"


# ------------------------------------------------------------------------------------------------------ InstructPix2Pix


def test_an_edit_says_where_it_comes_from(pix2pix: str) -> None:
    picture = edit(DiffusersEditTool(model=pix2pix, steps=2), seed=7)
    assert picture.image.mode == "RGB"
    assert picture.provenance == Provenance(
        "diffusers:tiny-pix2pix",
        title="A slope",
        caption="from dark to bright",
        author="N. N.",
        licence="CC0-1.0",
        seed=7,
        chart="",  # what the chart said is not known to hold any longer
    )
    assert pickle.loads(pickle.dumps(picture)) == picture


def test_picture_instruction_and_seed_decide_every_byte(pix2pix: str) -> None:
    tool = DiffusersEditTool(model=pix2pix, steps=2)
    first = edit(tool)
    assert edit(DiffusersEditTool(model=pix2pix, steps=2)).png == first.png
    assert edit(tool, seed=2).png != first.png
    assert edit(tool, prompt="a").png != first.png
    assert edit(tool, source=slope(61, 90)).png != first.png


def test_calls_at_once_give_what_calls_alone_give(pix2pix: str) -> None:
    tool = DiffusersEditTool(model=pix2pix, steps=2)
    alone = [edit(tool, seed=seed).digest for seed in range(3)]

    async def together() -> list[Picture]:
        calls = [tool({"prompt": "a b"}, ToolContext(seed=seed, pictures=(slope(),))) for seed in range(3)]
        found = await asyncio.gather(*calls)
        await tool.aclose()
        return found

    assert [picture.digest for picture in asyncio.run(together())] == alone


def test_pix2pix_is_called_as_it_wants(pix2pix: str, sent: list[dict[str, Any]]) -> None:
    tool = DiffusersEditTool(model=pix2pix, steps=2, guidance=5.0, image_guidance=1.2, options={"negative_prompt": "b"})
    picture = edit(tool, source=slope(300, 200))
    (call,) = sent
    assert call.pop("image").size == (32, 32)  # as many pixels as it works at, in multiples of 16
    assert call.pop("generator").device.type == "cpu"
    assert call == {
        "prompt": "a b",
        "num_inference_steps": 2,
        "guidance_scale": 5.0,
        "image_guidance_scale": 1.2,
        "negative_prompt": "b",
    }
    assert picture.image.size == (32, 21)


def test_the_picture_and_what_guides_it_matter(pix2pix: str) -> None:
    plain = edit(DiffusersEditTool(model=pix2pix, steps=2))
    assert edit(DiffusersEditTool(model=pix2pix, steps=2, image_guidance=3.0)).digest != plain.digest
    assert edit(DiffusersEditTool(model=pix2pix, steps=3)).digest != plain.digest
    larger = edit(DiffusersEditTool(model=pix2pix, steps=2, side=64))
    assert larger.image.size == (80, 53)


def test_a_scheduler_by_name(pix2pix: str) -> None:
    plain = edit(DiffusersEditTool(model=pix2pix, steps=2))
    tool = DiffusersEditTool(model=pix2pix, steps=2, scheduler="DDIMScheduler", scheduler_options={"steps_offset": 1})
    assert edit(tool).digest != plain.digest
    assert type(tool._host.loaded().scheduler).__name__ == "DDIMScheduler"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_pictures_of_any_mode_are_taken(pix2pix: str, mode: str) -> None:
    tool = DiffusersEditTool(model=pix2pix, steps=1)
    assert edit(tool, source=slope(mode=mode)).digest == edit(tool, source=slope()).digest


def test_what_the_safety_checker_withholds_is_refused(folder: Path) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=small, vision_config={**small, "image_size": 32, "patch_size": 16}, projection_dim=8
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-2.0)  # thresholds that everything is above
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    (folder / "checked").mkdir()
    model = tiny_pipelines.save_instruct_pix2pix(
        folder / "checked", safety_checker=checker, feature_extractor=processor
    )
    with pytest.raises(Refused, match="safety checker withheld"):
        edit(DiffusersEditTool(model=model, steps=1))


# ----------------------------------------------------------------------------------------- FLUX Kontext and Qwen-Image-Edit


def test_kontext_is_known_and_called_as_it_wants(folder: Path, sent: list[dict[str, Any]]) -> None:
    model = tiny_pipelines.save_kontext(folder)
    assert json.loads((Path(model) / "model_index.json").read_text())["_class_name"] == "FluxKontextPipeline"
    # its own sizes begin at a megapixel, which a test has no time for
    tool = DiffusersEditTool(
        model=model, steps=2, guidance=2.5, side=48, options={"_auto_resize": False, "max_sequence_length": 16}
    )
    picture = edit(tool)
    call = dict(sent[0])
    assert call.pop("image").size == (64, 32)
    del call["generator"]
    assert call == {
        "prompt": "a b",
        "num_inference_steps": 2,
        "guidance_scale": 2.5,
        "width": 64,
        "height": 32,
        "max_area": 64 * 32,  # else it takes the proportions and draws a megapixel
        "_auto_resize": False,
        "max_sequence_length": 16,
    }
    assert picture.image.size == (64, 43)
    assert edit(tool).digest == picture.digest
    assert edit(tool, seed=2).digest != picture.digest


def test_kontext_has_no_image_guidance(folder: Path) -> None:
    tool = DiffusersEditTool(model=tiny_pipelines.save_kontext(folder), image_guidance=1.5)
    with pytest.raises(ConfigError, match=r"FluxKontextPipeline takes no 'image_guidance_scale'.*'image_guidance'"):
        asyncio.run(tool.warm())


@pytest.mark.parametrize("name", ["QwenImageEditPipeline", "QwenImageEditPlusPipeline"])
def test_qwen_image_edit_is_known_and_called_as_it_wants(
    folder: Path, name: str, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = DiffusersEditTool(model=tiny_pipelines.save_qwen_edit(folder, name), steps=2, guidance=3.0, side=48)
    pipeline = tool._host.loaded()
    assert type(pipeline).__name__ == name
    pipeline.processor = tiny_pipelines.QwenProcessor()
    # it looks at the picture at a megapixel, which a test has no time for
    module = sys.modules[type(pipeline).__module__]
    real = module.calculate_dimensions
    monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio: real(64 * 64, ratio))
    picture = edit(tool, "make it snow")
    call = dict(sent[0])
    assert call.pop("image").size == (64, 32)
    del call["generator"]
    assert call == {
        "prompt": "make it snow",
        "num_inference_steps": 2,
        "true_cfg_scale": 3.0,
        "negative_prompt": " ",  # without one it would not be guided at all
        "width": 64,
        "height": 32,
    }
    assert picture.image.size == (64, 43)
    assert edit(tool, "make it snow").digest == picture.digest
    assert edit(tool, "make it rain").digest != picture.digest


def test_a_negative_prompt_of_ones_own_is_kept(folder: Path) -> None:
    model = tiny_pipelines.save_qwen_edit(folder, "QwenImageEditPipeline")
    tool = DiffusersEditTool(model=model, options={"negative_prompt": "blurry"})
    assert tool._keywords(tool._host.loaded()) == {"negative_prompt": "blurry"}


# ------------------------------------------------------------------------------------------------------- what goes wrong


def test_a_pipeline_that_does_not_edit_is_told(folder: Path) -> None:
    tool = DiffusersEditTool(model=tiny_pipelines.save_text_to_image(folder))
    with pytest.raises(ConfigError, match=r"StableDiffusionPipeline .* does not edit pictures"):
        asyncio.run(tool.warm())
    with pytest.raises(ConfigError, match="does not edit pictures"):
        edit(tool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "'model': Field required"),
        ({"model": "./no/such/folder"}, "edit: no folder"),
        ({"model": "a/b", "dtype": "bfloat"}, "did you mean 'bfloat16'"),
        ({"model": "a/b", "side": 0}, "'side': .*greater than or equal to 1"),
        ({"model": "a/b", "scheduler": "DDIMSheduler"}, "no scheduler 'DDIMSheduler'.*did you mean"),
        ({"model": "a/b", "height": 3}, "no option 'height'"),
    ],
)
def test_options_out_of_range_are_told_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_tool("diffusers-edit", **options)


@pytest.mark.parametrize("prompt", ["", " \n", None, 3, ["sepia"]])
def test_no_instruction_is_the_policys_fault(pix2pix: str, prompt: Any) -> None:
    with pytest.raises(BadParams, match="say what to change"):
        edit(DiffusersEditTool(model=pix2pix), prompt)


def test_no_picture_is_the_policys_fault(pix2pix: str) -> None:
    with pytest.raises(BadParams, match="needs a picture"):
        asyncio.run(DiffusersEditTool(model=pix2pix)({"prompt": "a"}, ToolContext()))


def test_a_strip_is_refused(pix2pix: str) -> None:
    with pytest.raises(Refused, match="2 x 400 pixels is too long and narrow"):
        edit(DiffusersEditTool(model=pix2pix), source=slope(2, 400))


def test_a_world_edits_by_a_pipeline_where_the_configuration_says_so(pix2pix: str) -> None:
    async def scenario() -> Any:
        world = InProcessWorld.from_config(
            WorldConfig(tools={"edit": {"use": "diffusers-edit", "model": pix2pix, "steps": 1}}, judges=[])
        )
        try:
            return await world.run(Call("edit", "a slope", {"img_index": 0, "prompt": "a b"}), [slope()], seed=3)
        finally:
            await world.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Picture)
    assert outcome.provenance.seed == 3


# ------------------------------------------------------------------------------------------------------------- shapes


SIDES = st.integers(1, 3000)


@given(width=SIDES, height=SIDES, side=st.sampled_from([48, 512, 1024]), multiple=st.sampled_from([8, 16, 32]))
def test_sizes_are_multiples_of_about_the_area(width: int, height: int, side: int, multiple: int) -> None:
    wide, high = size_for((width, height), side * side, multiple)
    assert wide % multiple == high % multiple == 0
    assert min(wide, high) >= multiple
    if max(width, height) <= 4 * min(width, height) and side >= 512:
        assert abs(wide * high / side**2 - 1) < 0.15
        assert abs((wide / high) / (width / height) - 1) < 0.15


@given(width=SIDES, height=SIDES, wide=st.integers(8, 400), high=st.integers(8, 400))
def test_results_have_the_proportions_of_the_source(width: int, height: int, wide: int, high: int) -> None:
    image = in_aspect(Image.new("RGB", (wide, high)), (width, height))
    assert max(image.size) == max(wide, high)
    expected = (
        min(image.size) if width == height else max(1, round(max(wide, high) * min(width, height) / max(width, height)))
    )
    assert min(image.size) == expected
    assert (image.width >= image.height) == (width >= height) or image.width == image.height


def test_a_picture_composed_anew_keeps_its_shape() -> None:
    made = Image.new("RGB", (1024, 1024))
    assert in_aspect(made, (300, 200), within=0.1) is made
    assert in_aspect(made, (305, 300), within=0.1).size == (1024, 1007)
    assert np.asarray(in_aspect(made, (300, 200))).shape == (683, 1024, 3)
