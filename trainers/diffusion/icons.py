"""The base pictures: 3-D icons under the MIT licence, with the names that captions are made from.

Icons come from the npm package ``@lobehub/fluent-emoji-3d`` (Microsoft's Fluent Emoji, MIT), names and search words
from ``emojibase-data`` (MIT). Skin-tone variants, flags, letters, signs and arrows are left out: they repeat a subject
or are about writing, which 64 pixels cannot show.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MASTER_SIZE = 128
"""Icons are kept at twice the final size, so that a composed picture is downsampled once."""

ICON_PACKAGE = "lobehub-fluent-emoji-3d-1.1.0"
NAME_PACKAGE = "emojibase-data-17.0.0"

_GROUPS = {0: "smiley", 1: "person", 3: "nature", 4: "food", 5: "travel", 6: "activity", 7: "object", 8: "symbol"}
_SKIPPED_SUBGROUPS = {
    "time": {
        "watch",
        "alarm clock",
        "hourglass done",
        "stopwatch",
        "timer clock",
        "mantelpiece clock",
        "three o’clock",
    },
    "family": {"people holding hands", "couple with heart", "kiss"},
    "person-symbol": {"family", "footprints", "people hugging"},
    "person": {
        "baby",
        "child",
        "boy",
        "girl",
        "person",
        "man",
        "woman",
        "man: beard",
        "woman: red hair",
        "man: white hair",
        "old man",
        "old woman",
    },
}
"""Subgroups of which only the named members are kept."""
_SKIPPED_NAMES = {
    "middle finger", "pile of poo", "red envelope", "Japanese post office", "love hotel", "face without mouth",
    "map of Japan", "kaaba",
    "sake", "cigarette", "coffin", "headstone", "funeral urn", "knot", "left speech bubble", "eye in speech bubble",
    "diamond with a dot",
    "radio button", "white square button", "black square button", "pregnant man", "pregnant woman", "pregnant person",
    "breast-feeding",
    "briefs", "bikini", "hundred points", "ZZZ", "biting lip", "low battery", "ballot box with ballot",
    "head shaking horizontally",
    "head shaking vertically", "placard", "identification card", "e-mail",
}  # fmt: skip
_COMMON_SUBGROUPS = (
    "animal-", "plant-", "food-", "drink", "sky-weather", "transport-ground", "transport-water", "transport-air",
    "place-building",
    "place-geographic", "place-other", "cat-face", "heart", "sport", "musical-instrument", "event",
)  # fmt: skip

RENAMED = {
    "dog face": "dog face", "automobile": "car", "locomotive": "steam train", "hamburger": "burger",
    "soft ice cream": "ice cream cone",
    "ear of corn": "corn", "hot beverage": "cup of coffee", "honeybee": "bee", "lady beetle": "ladybug",
    "spouting whale": "blue whale",
    "soccer ball": "football", "american football": "american football", "wrapped gift": "gift",
    "couch and lamp": "sofa",
    "mobile phone": "phone", "desktop computer": "computer", "jack-o-lantern": "halloween pumpkin",
    "evergreen tree": "pine tree",
    "deciduous tree": "tree", "sauropod": "dinosaur", "person in lotus position": "person meditating",
    "fire engine": "fire truck",
    "articulated lorry": "truck", "steaming bowl": "bowl of noodle soup", "green salad": "salad",
    "cheese wedge": "cheese",
    "french fries": "fries", "bread": "bread", "meat on bone": "piece of meat", "poultry leg": "chicken leg",
    "tangerine": "orange fruit",
    "snow-capped mountain": "snowy mountain", "classical building": "museum", "glass of milk": "glass of milk",
    "beach with umbrella": "beach",
    "bird": "bird", "horse face": "horse face", "red apple": "red apple", "droplet": "water drop",
    "water wave": "ocean wave",
    "flying saucer": "ufo", "passenger ship": "cruise ship", "small airplane": "small plane",
    "high voltage": "lightning bolt",
    "artist palette": "paint palette", "performing arts": "theatre masks", "carousel horse": "carousel",
    "cityscape": "city",
    "cityscape at dusk": "city at sunset", "bridge at night": "bridge", "open book": "open book",
    "closed book": "red book",
    "snowman without snow": "snowman", "gem stone": "diamond", "leafy green": "lettuce", "spiral shell": "seashell",
    "front-facing baby chick": "baby chick", "shallow pan of food": "paella", "clinking glasses": "two glasses",
    "metro": "subway train",
    "woman’s hat": "hat", "man’s shoe": "shoe", "envelope": "letter", "money bag": "bag of money",
    "studio microphone": "studio microphone",
    "alembic": "chemistry flask", "tear-off calendar": "calendar", "magnifying glass tilted left": "magnifying glass",
    "rescue worker’s helmet": "helmet", "person biking": "person riding a bicycle", "skier": "person skiing",
    "horse racing": "jockey on a horse",
}  # fmt: skip
"""Everyday names in place of Unicode's; two icons may share one."""


CORE = frozenset(Path(__file__).with_name("core.txt").read_text("utf-8").splitlines())
"""Subjects that documents ask for, by their everyday names. Most of training is spent on them: a small model trained for an hour draws a few
hundred subjects recognisably or a thousand badly."""


@dataclass(frozen=True, slots=True)
class Icon:
    """One base picture and what it may be called."""

    code: str
    """File name without extension: the code points, in hexadecimal."""
    names: tuple[str, ...]
    """The everyday name first."""
    group: str
    common: bool
    """Of a kind of which people ask pictures: an animal, food, a vehicle."""

    @property
    def weight(self) -> float:
        """How often it is drawn, relative to others."""
        return 1.0 if self.names[0] in CORE else 0.25 if self.common else 0.08


def load_icons(raw: Path) -> list[Icon]:
    """The kept icons, in Unicode's order. ``raw`` holds the two unpacked npm packages."""
    data = json.loads((raw / NAME_PACKAGE / "package/en/data.json").read_text("utf-8"))
    subgroups = json.loads((raw / NAME_PACKAGE / "package/meta/groups.json").read_text("utf-8"))["subgroups"]
    folder = raw / ICON_PACKAGE / "package/assets"
    files = {path.stem for path in folder.glob("*.webp")}
    icons = []
    for entry in data:
        group = _GROUPS.get(entry.get("group", -1))
        subgroup = subgroups.get(str(entry.get("subgroup")))
        name = entry["label"]
        if group is None or not _wanted(group, subgroup, name):
            continue
        code = next((c for c in _file_names(entry["hexcode"]) if c in files), None)
        if code is None:
            continue
        icons.append(Icon(code, _names(name), group, subgroup.startswith(_COMMON_SUBGROUPS)))
    return icons


def load_masters(raw: Path, icons: list[Icon]) -> NDArray[np.uint8]:
    """``(N, 128, 128, 4)`` RGBA, in the order of ``icons``."""
    folder = raw / ICON_PACKAGE / "package/assets"
    masters = np.empty((len(icons), MASTER_SIZE, MASTER_SIZE, 4), np.uint8)
    for index, icon in enumerate(icons):
        with Image.open(folder / f"{icon.code}.webp") as picture:
            masters[index] = np.asarray(
                picture.convert("RGBA").resize((MASTER_SIZE, MASTER_SIZE), Image.Resampling.LANCZOS)
            )
    return masters


def _wanted(group: str, subgroup: str, name: str) -> bool:
    if name in _SKIPPED_NAMES:
        return False
    if subgroup in _SKIPPED_SUBGROUPS:
        return name in _SKIPPED_SUBGROUPS[subgroup]
    if group == "symbol":
        shape = subgroup == "geometric" and not name.startswith(("black ", "white ", "small "))
        return shape or name in {"warning", "peace symbol", "recycling symbol"}
    if group == "person":
        # roles and sports come three times (person, man, woman); the neutral one stands for all, men and women stay
        # where there is no neutral one
        twin = name.startswith(("man ", "woman ", "men ", "women ", "person with white cane:", "person in m"))
        return not (twin and subgroup not in ("person", "person-fantasy")) or name in {
            "woman dancing",
            "man dancing",
            "woman with headscarf",
        }
    return True


def _file_names(hexcode: str) -> tuple[str, ...]:
    code = hexcode.lower()
    return code, code.replace("-fe0f", ""), f"{code}-fe0f"


def _names(label: str) -> tuple[str, ...]:
    plain = label.replace("’", "'").split(": ")
    name = plain[0] if len(plain) == 1 else f"{plain[0]} with {plain[1]}"
    renamed = RENAMED.get(label)
    names = [renamed, name.lower()] if renamed else [name.lower()]
    if name.endswith(" face") and name.split()[0] in {
        "dog",
        "cat",
        "tiger",
        "horse",
        "cow",
        "pig",
        "mouse",
        "rabbit",
        "dragon",
        "monkey",
    }:
        names.append(name.removesuffix(" face"))
    return tuple(dict.fromkeys(names))
