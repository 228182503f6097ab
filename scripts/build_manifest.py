"""Writes `llmi_env/assets/manifest.json`: SHA-256 of every asset, and source, author and licence of each folder.

Usage: python scripts/build_manifest.py [--check]
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "llmi_env" / "assets"

FOLDERS = {
    "corpus": {
        "what": "pictures that the offline search finds",
        "source": "named for each picture in corpus/manifest.jsonl",
        "author": "named for each picture in corpus/manifest.jsonl",
        "licence": "named for each picture in corpus/manifest.jsonl; all allow redistribution",
    },
    "demos": {
        "what": "demonstrations for the warm start",
        "source": "written for this project; texts of practice.jsonl by an adapter of SmolLM2-135M-Instruct (Apache-2.0)",
        "author": "the LLMI authors",
        "licence": "Apache-2.0",
    },
    "diffusion": {
        "what": "weights of the small text-to-image model",
        "source": "trained by trainers/diffusion on the pictures named in diffusion/SOURCES.md",
        "author": "the LLMI authors",
        "licence": "Apache-2.0; the training pictures are under the licences in diffusion/SOURCES.md",
    },
    "judges": {
        "what": "example needs of the call proxy; heads that set pictures beside texts and tell sentences from words in a row",
        "source": "needs.yaml written for this project; the heads by scripts/train_picture_head.py and train_sentence_head.py, see their cards",
        "author": "the LLMI authors",
        "licence": "Apache-2.0",
    },
    "policy": {
        "what": "LoRA adapter of the warm start",
        "source": "trained by trainers/sft.py on demos/ from SmolLM2-135M-Instruct (Apache-2.0)",
        "author": "the LLMI authors",
        "licence": "Apache-2.0",
    },
    "grpo-trained": {
        "what": "LoRA adapter of a trained policy, with the recipe and metrics of its run",
        "source": "trained from policy/ by `llmi train long-grpo`, see grpo-trained/README.md",
        "author": "the LLMI authors",
        "licence": "Apache-2.0",
    },
    "tasks": {
        "what": "writing tasks",
        "source": "written for this project",
        "author": "the LLMI authors",
        "licence": "Apache-2.0",
    },
}


def build() -> str:
    """The manifest as JSON."""
    digests = {}
    for path in sorted(ASSETS.rglob("*")):
        name = path.relative_to(ASSETS).as_posix()
        if not path.is_file() or "__pycache__" in name or name in ("manifest.json", "__init__.py"):
            continue
        if name.split("/")[0] not in FOLDERS:
            sys.exit(f"{name}: add its folder, with source, author and licence, to FOLDERS in {__file__}")
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return json.dumps({"folders": FOLDERS, "sha256": digests}, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the manifest is current")
    target, current = ASSETS / "manifest.json", build()
    if parser.parse_args().check:
        if not target.exists() or target.read_text(encoding="utf-8") != current:
            sys.exit("llmi_env/assets/manifest.json is out of date: run scripts/build_manifest.py")
        return
    target.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
