"""Training of the embedded pipeline: its data keeps combinations back, its stages stop, save and resume."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainers.diffusion import captions, recognition
from trainers.diffusion.build import memory_names, memory_views
from trainers.diffusion.compose import finish, in_scene, on_white, recolour, several, side_by_side
from trainers.diffusion.icons import MASTER_SIZE, Icon
from trainers.diffusion.scenes import COLOURS, SCENES

torch = pytest.importorskip("torch")


def icon(*names: str) -> Icon:
    return Icon("0", names, "nature", True)


@pytest.fixture
def apple() -> Image.Image:
    """A red disc with a green leaf, cut out."""
    picture = Image.new("RGBA", (MASTER_SIZE, MASTER_SIZE))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((14, 30, 114, 126), fill=(220, 40, 40, 255))
    pen.ellipse((64, 6, 92, 30), fill=(70, 180, 60, 255))
    return picture


@pytest.mark.parametrize(
    ("names", "colour", "place", "expected"),
    [
        (("red apple", "apple"), "purple", None, True),
        (("green apple",), "purple", None, True),
        (("red apple",), "yellow", None, False),
        (("tiger face", "tiger"), "blue", "snow", True),
        (("tiger",), "red", "beach", True),
        (("minibus",), None, "snow", True),
        (("lion",), "blue", "beach", False),
    ],
)
def test_held_out_combinations_are_kept_back(
    names: tuple[str, ...], colour: str | None, place: str | None, expected: bool
) -> None:
    assert captions.held_out(icon(*names), colour=colour, place=place) is expected


def test_held_out_pairs_name_colours_and_places_that_exist() -> None:
    assert {colour for _, colour in captions.HELD_OUT_COLOURS + captions.HELD_OUT_BACKGROUNDS} <= set(COLOURS)
    assert {place for _, place in captions.HELD_OUT_PLACES} <= set(SCENES)


def test_every_unseen_caption_is_a_held_out_combination() -> None:
    for row in recognition.UNSEEN:
        asked = row[0]
        combinations = (
            [f"{colour} {subject}" in asked for subject, colour in captions.HELD_OUT_COLOURS]
            + [
                subject in asked and any(phrase in asked for phrase in SCENES[place].phrases)
                for subject, place in captions.HELD_OUT_PLACES
            ]
            + [f"{subject} on a {colour} background" in asked for subject, colour in captions.HELD_OUT_BACKGROUNDS]
        )
        assert any(combinations), asked


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("owl", "an owl"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("cherries", "cherries"),
        ("bus", "a bus"),
        ("bread", "bread"),
        ("cup of coffee", "a cup of coffee"),
        ("glass of milk", "a glass of milk"),
    ],
)
def test_articles(noun: str, expected: str) -> None:
    assert captions.with_article(noun) == expected


def test_counts_use_the_plural() -> None:
    said = [captions.count_phrase(icon(name), 3) for name in ("bee", "cherry", "fox", "cup of coffee", "monkey")]
    assert said == ["three bees", "three cherries", "three foxes", "three cups of coffee", "three monkeys"]


def test_captions_are_many_and_start_with_the_bare_noun() -> None:
    said = captions.plain_captions(icon("owl"), np.random.default_rng(0), 9)
    assert said[0] == "owl"
    assert len(said) == len(set(said)) >= 8
    assert all("owl" in caption for caption in said)


def test_the_memory_knows_an_icon_by_its_noun_in_any_colour() -> None:
    assert memory_names(icon("red apple")) == ["red apple", "apple"]
    assert memory_names(icon("dog face", "dog")) == ["dog face", "dog"]


def test_the_memory_has_a_large_and_a_small_view(apple: Image.Image) -> None:
    large, small = memory_views(apple)
    assert large.shape == small.shape == (64, 64, 3)
    assert (small < 250).any(-1).sum() < 0.7 * (large < 250).any(-1).sum()


def test_recolouring_changes_the_main_colour_only(apple: Image.Image) -> None:
    blue = recolour(apple, "blue")
    red, _, strong, alpha = blue.getpixel((64, 80))  # type: ignore[misc]
    assert strong > red + 60
    assert alpha == 255
    assert blue.getpixel((78, 18)) == apple.getpixel((78, 18))


def test_every_composition_has_the_trained_size(apple: Image.Image) -> None:
    rng = np.random.default_rng(0)
    pictures = [on_white(apple, rng), side_by_side(apple, apple, rng), several(apple, 3)]
    pictures += [in_scene(apple, scene, rng) for scene in SCENES.values()]
    for picture in pictures:
        assert finish(picture).shape == (64, 64, 3)


def test_a_stage_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainers.diffusion import budget

    now = 100.0
    monkeypatch.setattr("trainers.diffusion.budget.time.monotonic", lambda: now)
    clock = budget.Budget(remaining=80, spent=20)
    assert clock.progress == pytest.approx(0.2)
    assert clock.rate(1.0, step=500, warmup=100, hold=0.5) == 1.0
    assert clock.rate(1.0, step=49, warmup=100, hold=0.5) == 0.5
    now = 179.0
    assert not clock.over
    assert clock.rate(1.0, step=500, warmup=100, hold=0.5) < 0.05
    now = 181.0
    assert clock.over
    clock.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "pictures.npy", rng.integers(0, 255, (6, 64, 64, 3), dtype=np.uint8))
    (folder / "kinds.json").write_text(json.dumps([["plain", 1.0], ["plain", 3.0]] + [["place", 1.0]] * 4))
    np.save(folder / "icons.npy", np.array([0, 1, 0, 1, -1, -1]))
    np.save(folder / "views.npy", rng.integers(0, 255, (2, 2, 64, 64, 3), dtype=np.uint8))
    (folder / "captions.json").write_text(json.dumps([["a cat"], ["a dog", "dog"]] + [["a bus"]] * 4))
    return folder


def test_kinds_are_drawn_by_their_share() -> None:
    from trainers.diffusion.build import KIND_SHARES
    from trainers.diffusion.train import draw_shares

    kinds = [("plain", 1.0), ("plain", 3.0), *[("place", 1.0)] * 4]
    shares = draw_shares(kinds)
    assert shares.sum() == pytest.approx(1)
    assert shares[1] == pytest.approx(3 * shares[0])
    assert shares[:2].sum() / shares[2:].sum() == pytest.approx(KIND_SHARES["plain"] / KIND_SHARES["place"])


def test_both_stages_run_and_resume(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import UNet2DConditionModel

    from trainers.diffusion import train

    def small_unet() -> UNet2DConditionModel:
        return UNet2DConditionModel(
            sample_size=8,
            in_channels=24,
            out_channels=8,
            layers_per_block=1,
            block_out_channels=(16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=384,
            attention_head_dim=8,
            norm_num_groups=4,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=384,
        )

    monkeypatch.setattr(train, "make_unet", small_unet)
    train.train_autoencoder(data, tmp_path, seconds=0.3, resume=False, batch=2)
    first = torch.load(tmp_path / "autoencoder.pt", weights_only=True)
    train.train_autoencoder(data, tmp_path, seconds=0.3, resume=True, batch=2)
    second = torch.load(tmp_path / "autoencoder.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    assert second["spent"] > first["spent"]
    train.compute_latents(data, tmp_path)
    assert np.load(tmp_path / "latent_pictures.npy").tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    latents = np.load(tmp_path / "latents.npy").astype(np.float32)
    assert latents.std((0, 2, 3)) == pytest.approx(np.ones(8), abs=0.05)
    train.compute_memory(data, tmp_path)
    assert np.load(tmp_path / "memory.npy").shape == (2, 16, 8, 8)
    train.compute_text_states(data, tmp_path)
    train.train_unet(data, tmp_path, seconds=0.3, resume=False, batch=2)
    before = torch.load(tmp_path / "unet.pt", weights_only=True)["step"]
    train.train_unet(data, tmp_path, seconds=0.3, resume=True, batch=2)
    assert torch.load(tmp_path / "unet.pt", weights_only=True)["step"] > before > 0


def test_the_blind_choice_is_scored_by_number(tmp_path: Path) -> None:
    recognition.sheets(lambda caption, seed: Image.new("RGB", (64, 64), (200, 30, 30)), tmp_path)
    key = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert len(key) == 40
    assert recognition.score(tmp_path, key) == {"seen": 20, "unseen": 20, "all": 40}
    assert recognition.score(tmp_path, {"1": key["1"]})["all"] == 1
    assert len((tmp_path / "choices.txt").read_text().splitlines()) == 40
