"""What the training pictures are called, and which combinations are kept from training.

One picture has many captions, from a bare noun to a sentence with words of style, since a model that reads prompts from
elsewhere meets all of them. :data:`HELD_OUT` names the combinations that no training picture and no training caption
shows: they measure whether the model combines.
"""

from __future__ import annotations

import numpy as np

from trainers.diffusion.icons import Icon
from trainers.diffusion.scenes import COLOURS, SCENES

HELD_OUT_COLOURS: tuple[tuple[str, str], ...] = (
    ("apple", "purple"), ("tiger", "blue"), ("house", "pink"), ("bus", "green"), ("owl", "red"), ("frog", "purple"),
    ("car", "pink"),
    ("elephant", "green"), ("mushroom", "blue"), ("rocket", "yellow"), ("cat", "turquoise"), ("tulip", "blue"),
    ("guitar", "green"),
    ("whale", "red"), ("carrot", "purple"), ("umbrella", "green"), ("penguin", "pink"), ("pizza", "blue"),
    ("chair", "purple"), ("balloon", "black"),
)  # fmt: skip
HELD_OUT_PLACES: tuple[tuple[str, str], ...] = (
    ("tiger", "beach"), ("bus", "snow"), ("house", "night"), ("cat", "space"), ("elephant", "city"),
    ("penguin", "desert"), ("bicycle", "forest"),
    ("guitar", "sea"), ("robot", "meadow"), ("owl", "rain"), ("pizza", "sky"), ("apple", "snow"), ("dog", "mountains"),
    ("rocket", "sunset"),
    ("frog", "table"), ("car", "desert"), ("whale", "sky"), ("sunflower", "night"), ("horse", "beach"),
    ("teddy bear", "fire"),
)  # fmt: skip
HELD_OUT_BACKGROUNDS: tuple[tuple[str, str], ...] = (
    ("cat", "yellow"), ("apple", "blue"), ("tiger", "green"), ("sunflower", "purple"), ("bus", "pink"), ("dog", "red"),
    ("rocket", "orange"),
)  # fmt: skip
"""Pairs of object and colour, object and place, object and background colour."""

_STYLES = (
    "a picture of {}", "an illustration of {}", "a drawing of {}", "a painting of {}", "a photo of {}",
    "a cartoon of {}", "an image of {}",
    "a watercolor painting of {}", "digital art of {}", "a 3d render of {}", "an icon of {}", "a cute drawing of {}",
    "a colorful illustration of {}",
    "a stylized image of {}", "a children's book illustration of {}", "a simple picture showing {}",
)  # fmt: skip
_ENDINGS = (
    ", digital art", ", highly detailed", ", soft light", ", bright colors", ", cartoon style", ", 3d icon",
    ", watercolor", ", minimalist", ", flat design",
    " in the style of a children's book", ", centered",
)  # fmt: skip
_MASS = {
    "bread", "butter", "salt", "corn", "bacon", "cheese", "lettuce", "garlic", "broccoli", "rice", "spaghetti",
    "sushi", "popcorn", "fog", "fire", "money",
    "ice", "wood", "paella", "salad", "cooking", "camping", "bowling", "lacrosse", "badminton", "tennis", "yarn",
    "coral", "dna", "soap", "ginger root",
    "lotion bottle", "chocolate", "cooked rice", "curry rice", "meat", "oden", "falafel", "custard", "mate", "dango",
    "hair pick", "ping pong", "rock",
}  # fmt: skip


def held_out(icon: Icon, colour: str | None = None, place: str | None = None, background: str | None = None) -> bool:
    """Whether the combination is one of those that training must not show."""
    for wanted, pairs in ((colour, HELD_OUT_COLOURS), (place, HELD_OUT_PLACES), (background, HELD_OUT_BACKGROUNDS)):
        if wanted is not None and any(wanted == other and _mentions(icon, subject) for subject, other in pairs):
            return True
    return False


def _mentions(icon: Icon, subject: str) -> bool:
    words = subject.split()
    return any(
        all(any(part.startswith(word) or part.endswith(word) for part in name.split()) for word in words)
        for name in icon.names
    )


def with_article(noun: str) -> str:
    """ "an owl", "cherries", "bread"."""
    head = noun.split(" with ")[0].split(" of ")[0]
    last = head.split()[-1]
    if (
        noun in _MASS
        or head in _MASS
        or (last.endswith("s") and not last.endswith(("ss", "us", "is", "lens")))
        or last in {"people", "teeth"}
    ):
        return noun
    if head[0].isupper() or noun[0].isdigit():
        return noun
    return f"an {noun}" if noun[0] in "aeio" or noun.startswith(("umb", "up")) else f"a {noun}"


def without_colour(name: str) -> str:
    """The noun of "red apple" is "apple": the icon's own colour is not part of what it is."""
    first, _, rest = name.partition(" ")
    return rest if first in COLOURS and rest else name


def noun(icon: Icon, rng: np.random.Generator) -> str:
    """One of the icon's names, the everyday one more often."""
    return icon.names[0] if len(icon.names) == 1 or rng.random() < 0.5 else str(rng.choice(icon.names))


def wordings(phrase: str, rng: np.random.Generator, count: int) -> list[str]:
    """``phrase`` itself first, then the phrase dressed in words of style."""
    styles = rng.permutation(len(_STYLES))
    captions = [phrase]
    for index in range(count - 1):
        caption = _STYLES[styles[index % len(_STYLES)]].format(phrase)
        captions.append(caption + str(rng.choice(_ENDINGS)) if rng.random() < 0.2 else caption)
    return captions


def plain_captions(icon: Icon, rng: np.random.Generator, count: int) -> list[str]:
    """For the icon on white: its bare names, then phrases."""
    captions = [*icon.names]
    for name in icon.names:
        captions += [with_article(name), f"{with_article(name)} on a white background"]
    while len(captions) < count:
        captions += wordings(with_article(noun(icon, rng)), rng, 4)[1:]
    return list(dict.fromkeys(captions))


def composed_caption(phrase: str, rng: np.random.Generator) -> str:
    """One caption for a composed picture: bare in half of the cases."""
    return phrase if rng.random() < 0.5 else wordings(phrase, rng, 2)[1]


def coloured_phrase(icon: Icon, colour: str, rng: np.random.Generator) -> str:
    """ "a blue tiger", with the spelling of gray varied."""
    word = "grey" if colour == "gray" and rng.random() < 0.5 else colour
    return with_article(f"{word} {without_colour(noun(icon, rng))}")


def place_phrase(subject: str, place: str, rng: np.random.Generator) -> str:
    """ "a bus in the snow"; ``subject`` carries its article."""
    return f"{subject} {rng.choice(SCENES[place].phrases)}"


def background_phrase(subject: str, colour: str, rng: np.random.Generator) -> str:
    """ "a cat on a yellow background"."""
    return f"{subject} {rng.choice(('on a {} background', 'on {} background', 'in front of a {} wall', 'with a {} background')).format(colour)}"


def pair_phrase(first: Icon, second: Icon, rng: np.random.Generator) -> str:
    """ "a cat and a dog", in reading order."""
    link = rng.choice((" and ", " and ", " next to ", " beside "))
    return f"{with_article(noun(first, rng))}{link}{with_article(noun(second, rng))}"


def count_phrase(icon: Icon, count: int) -> str:
    """ "three bees"."""
    name = icon.names[0]
    head, _, tail = name.partition(" of ")
    plural = (
        head
        if head.endswith("s")
        else head[:-1] + "ies"
        if head.endswith("y") and head[-2] not in "aeiou"
        else head + ("es" if head.endswith(("sh", "ch", "x", "o")) else "s")
    )
    return f"{('two', 'three', 'four')[count - 2]} {plural}{' of ' + tail if tail else ''}"
