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
from llmi_env.errors import AssetError, BadParams, ConfigError, MissingExtra, ToolUnavailable
from llmi_env.tools import run
from llmi_env.tools.base import Tool, ToolContext
from llmi_env.tools.diffusion import EMBEDDED, DiffusionTool, _embedded_folder

torch = pytest.importorskip("torch")

from tests.tools.tiny_pipelines import save_text_to_image  # noqa: E402


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
        ({"steps": 0}, "'steps': .*greater than or equal to 1"),
        ({"width": -5}, "'width': .*greater than or equal to 1"),
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"options": {"negative_prompt": "text"}}, "TinyDiffusionPipeline takes no 'negative_prompt'"),
        ({"device": "gpu"}, r"the device 'gpu' cannot be used here .*take 'auto' or 'cpu'"),
        ({"device": "cuda:99"}, r"the device 'cuda:99' cannot be used here"),
        ({"scheduler_options": {"timestep_spacing": "bananas"}}, "20? steps by .*Scheduler with .*bananas"),
        ({"steps": 10**6}, "1000000 steps by"),
    ],
)
def test_a_set_up_that_cannot_work_is_an_error_and_no_call_that_failed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("diffusion", {"prompt": "a cat"}, **options)


@pytest.mark.parametrize("error", ["RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError"])
def test_a_model_that_the_hub_does_not_have_is_an_error(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    import httpx
    from diffusers import DiffusionPipeline
    from huggingface_hub import errors

    def from_pretrained(name: str, local_files_only: bool, **keywords: Any) -> Any:
        if local_files_only:
            raise errors.LocalEntryNotFoundError("not in the cache")
        gone = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co/no/such-model"))
        try:
            raise getattr(errors, error)("404 Client Error", response=gone)
        except OSError as found:
            raise OSError("no/such-model is not a valid model identifier") from found

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", from_pretrained)
    monkeypatch.setattr("llmi_env.hub._reachable", lambda: True)
    with pytest.raises(ConfigError, match="the hub has no pipeline 'no/such-model'"):
        draw(DiffusionTool(model="no/such-model"), "a cat")
    monkeypatch.setattr("llmi_env.hub._reachable", lambda: False)
    with pytest.raises(AssetError, match=r"hub cannot be reached .*: hf download no/such-model"):
        draw(DiffusionTool(model="no/such-model"), "a cat")


def test_a_network_that_fails_after_a_file_was_not_there_is_no_model_that_is_not_there() -> None:
    import httpx
    from huggingface_hub.errors import EntryNotFoundError

    from llmi_env.hub import is_not_there

    broken = OSError("cannot be loaded")
    broken.__cause__ = httpx.ConnectError("no route")
    broken.__cause__.__context__ = EntryNotFoundError("no model.safetensors, so the older file was asked for")
    assert not is_not_there(broken)
    assert is_not_there(EntryNotFoundError("no model_index.json"))


def test_what_breaks_on_the_way_to_the_hub_is_the_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import DiffusionPipeline

    def from_pretrained(name: str, local_files_only: bool, **keywords: Any) -> Any:
        raise OSError("not in the cache" if local_files_only else "503 Server Error")

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", from_pretrained)
    monkeypatch.setattr("llmi_env.hub._reachable", lambda: True)
    with pytest.raises(ToolUnavailable, match="cannot be loaded: 503"):
        draw(DiffusionTool(model="some/model"), "a cat")


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
    folder = Path(save_text_to_image(tmp_path))
    tool = DiffusionTool(model=str(folder), steps=1, height=32, width=32)
    picture = draw(tool, "ab", seed=2)
    assert picture.image.size == (32, 32)
    assert picture.provenance.backend == f"diffusers:{folder.name}"
    assert draw(tool, "ab", seed=2).digest == picture.digest


def test_the_default_is_the_embedded_pipeline() -> None:
    assert DiffusionTool().options.model == EMBEDDED
