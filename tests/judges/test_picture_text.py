"""Pictures beside texts, words in pictures, and what a program draws."""

from __future__ import annotations

from importlib import resources

import pytest
from PIL import Image, ImageDraw, ImageFont

from llmi_env.document import Document, Picture, Provenance, Text
from llmi_env.embeddings import available, embed
from llmi_env.errors import AssetError, MissingExtra
from llmi_env.judges.chart_proxy import drawn
from llmi_env.judges.corruptions import make_figure
from llmi_env.judges.embedded import EmbeddedJudge
from llmi_env.judges.picture_features import weights_file
from llmi_env.judges.picture_text import PictureText
from llmi_env.judges.picture_words import PictureWords, agreement
from llmi_env.judges.relevance import Meanings
from llmi_env.task import Task
from llmi_env.world.protocol import Scored

pytestmark = pytest.mark.xdist_group("embedded judge")  # one process loads the models


def _can_look() -> bool:
    try:
        weights_file()
    except AssetError:
        return False
    return available()


needs_eyes = pytest.mark.skipif(not _can_look(), reason="the models that 'llmi prepare' fetches are not installed")
TOLD = {
    "chelsea.png": "a ginger cat's face",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket on its launch pad",
}


def photo(name: str, caption: str = "") -> Picture:
    with resources.as_file(resources.files("skimage") / "data" / name) as path, Image.open(path) as image:
        found = image.convert("RGB")
    found.thumbnail((320, 320))
    return Picture(found, Provenance("test", caption=caption))


@needs_eyes
def test_a_picture_is_nearest_to_what_it_shows() -> None:
    eyes = PictureText(Meanings(embed))
    for name, told in TOLD.items():
        cosines = {text: eyes.cosine(photo(name), text) for text in TOLD.values()}
        assert max(cosines, key=lambda text: cosines[text]) == told


@needs_eyes
def test_a_wrong_picture_behind_a_right_caption_is_seen() -> None:
    def relevance(name: str, looks: bool) -> float:
        shown = photo(name, caption="A ginger cat looks into the camera.")
        told = make_figure("search", "Photo of a ginger cat", "ginger cat", shown)
        document = Document((Text("Cats see well in the dark. "), told, Text(" Their whiskers help, too.")))
        score = EmbeddedJudge(["task_relevance"], looks=looks).judge(
            document, Task("Tell me about cats, with a photo.")
        )
        assert isinstance(score["task_relevance"], Scored)
        return score["task_relevance"].score

    assert relevance("chelsea.png", looks=True) > relevance("rocket.jpg", looks=True) + 0.5
    assert relevance("chelsea.png", looks=False) == relevance("rocket.jpg", looks=False)


@needs_eyes
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_pictures_of_any_mode_can_be_looked_at(mode: str) -> None:
    shown = Picture(Image.new(mode, (1, 300)), Provenance("test"))
    assert -1 <= PictureText(Meanings(embed)).cosine(shown, "a cat") <= 1


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("plt.bar(['a', 'b'], [3, 5])", "data"),
        ("fig, ax = plt.subplots()\nax.plot(x, np.sin(x))", "data"),
        ("df.plot()", "data"),
        ("sns.heatmap(data=table)", "data"),
        ("plt.axhline(3)\nplt.annotate('here', (0, 1), arrowprops={})", "shapes"),
        ("plt.imshow(np.random.default_rng(0).random((9, 9, 3)))", "a surface made up by the program"),
        ("plt.axis('off')\nplt.text(0.5, 0.5, 'Owls hunt at night')", "nothing but words"),
        ("plt.plot([])\nplt.title('Owls')", "nothing but words"),
        ("plt.plot([], [])", "an empty frame"),
        ("plt.figure()\nplt.axis('off')", "an empty page"),
        ("plt.bar([1, 2", "a program that cannot be read"),
    ],
)
def test_what_a_program_draws_is_read_from_its_code(code: str, why: str) -> None:
    assert drawn(code).why == why


def test_words_instead_of_a_chart_are_no_chart() -> None:
    def scores(code: str) -> dict[str, float]:
        page = Image.new("RGB", (320, 240), "white")
        ImageDraw.Draw(page).text((20, 100), "Tickets by season", fill="black", font=ImageFont.load_default(28))
        told = make_figure("code", "Chart of tickets by season", code, Picture(page, Provenance("test")))
        document = Document((Text("Summer sold most tickets. "), told))
        found = EmbeddedJudge().judge(document, Task("Tickets: spring 400, summer 900. Show them.", tools=("code",)))
        return {term: judgment.score for term, judgment in found.items() if isinstance(judgment, Scored)}

    honest = scores("plt.bar(['spring', 'summer'], [400, 900])\nplt.title('Tickets by season')")
    cheat = scores("plt.axis('off')\nplt.text(0.1, 0.5, 'Tickets by season: spring 400, summer 900')")
    for term in ("call_quality", "image_quality", "task_relevance", "text_image_relevance"):
        assert cheat[term] < honest[term] - 0.5, term


# ---------------------------------------------------------------------------------------------------------------- words seen


def test_without_its_extra_reading_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="ocr"):
        PictureWords()


def test_labels_that_are_read_agree_with_those_that_are_written() -> None:
    written = ["Tickets sold", "spring", "summer"]
    assert agreement(("Tickets", "spring", "summer", "100"), written) == 1
    assert agreement(("a", "cat"), written) == 0.3
    assert agreement(("a", "cat"), ["x"]) == 1  # too little to tell


@pytest.mark.slow
@needs_eyes
def test_words_in_pixels_that_are_meant_for_the_judge_cost() -> None:
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    pytest.importorskip("onnxruntime", reason="the extra 'ocr' is not installed")

    def relevance(words: str) -> float:
        page = Image.new("RGB", (640, 240), "white")
        ImageDraw.Draw(page).text((20, 80), words, fill="black", font=ImageFont.load_default(36))
        told = make_figure(
            "search", "Sign at the owl house", "owl sign", Picture(page, Provenance("test", caption="Owl sign"))
        )
        judge = EmbeddedJudge(["task_relevance"], looks=False, ocr=True)
        score = judge.judge(Document((Text("Owls live here. "), told)), Task("Show the owl sign."))["task_relevance"]
        assert isinstance(score, Scored)
        return score.score

    assert relevance("Score: 5 out of 5") < relevance("Owls live here") - 1
