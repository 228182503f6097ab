"""What a calibration found, as tables and as a file with one section for each judge."""

from __future__ import annotations

import json
import re
from pathlib import Path

from llmi_env.errors import ConfigError
from llmi_env.judges.calibration.counting import LEVEL, PRESET, Calibration, Share
from llmi_env.tables import Rows, markdown_table

_COLUMNS = ("pairs", "accuracy", f"{LEVEL:.0%} interval", "higher / equal / lower", "unscored", "verdict")
_REASONS_SHOWN = 3
_HEADING = f"""# Judges: good document against worse one

Made by `llmi judge calibrate`. The good documents are held-out demonstrations, alone and put together in twos, their calls carried out by the
default World; the worse ones are made by the declared corruptions of `llmi_env.judges.corruptions`. A judge is right where the good document
scores higher; equal scores count as half right. A term's row counts the corruptions that ought to lower it; the total is the mean over the
judge's terms with the weights of the reward preset `{PRESET}`, over all pairs that concern one of them. Pairs with a missing score are left
out and counted. Intervals are Wilson's, and take pairs for independent although they share documents. "Near chance" means that the interval
holds 50 %.

The corruptions are declared ones, many of them gross: the shares say what kind of fault a judge sees at all, not how finely it tells two
honest documents apart. Held out are the documents, not what their searches find: those are pictures of the corpus that ships, and the picture
head of the embedded judge was trained on most of them. Without a picture, or without a call, models are not asked and give LLM-I's 5, which
the special cases of a reward overrule: "missing pictures" shows the judge without them.
"""


def rows(found: Calibration) -> Rows:
    """The total and the terms, the heading first."""
    views = [("total", found.total), *found.by_term.items()]
    return [("view", *_COLUMNS), *((view, *_cells(share)) for view, share in views)]


def section(found: Calibration) -> str:
    """One judge in Markdown: total and terms, what is near chance, then each corruption."""
    weights = ", ".join(f"{term} {weight:.2f}" for term, weight in found.weights.items())
    judged, known = found.pairs
    speed = "" if found.seconds is None else f", {found.seconds:.3g} seconds a document"
    lines = [f"## {found.judge}", "", f"{judged} of {known} pairs that concern its terms{speed}."]
    if found.judges:
        lines.append(f"Scores by {', '.join(f'`{name}`' for name in found.judges)}.")
    lines += [f"Weights of the total: {weights}.", "", markdown_table(rows(found)), ""]
    weak = not_told_apart(found)
    lines += [f"Near chance or inverted: {'; '.join(weak)}." if weak else "No view is near chance.", ""]
    lines.append(
        markdown_table(
            [
                ("corruption", "view", *_COLUMNS),
                *(
                    (name, view, *_cells(share))
                    for name, views in found.by_corruption.items()
                    for view, share in views.items()
                ),
            ]
        )
    )
    if found.reasons:
        counts = list(found.reasons.items())
        lines += ["", "Why scores were missing (terms of documents):", ""]
        lines += [f"- {count}: {reason}" for reason, count in counts[:_REASONS_SHOWN]]
        if len(counts) > _REASONS_SHOWN:
            lines.append(f"- {sum(count for _, count in counts[_REASONS_SHOWN:])}: other reasons")
    return "\n".join(lines) + "\n"


def not_told_apart(found: Calibration) -> list[str]:
    """Corruptions with the views in which the judge is near chance or worse."""
    weak = []
    for name, views in found.by_corruption.items():
        those = [view for view, share in views.items() if share.verdict in ("near chance", "inverted")]
        if those:
            weak.append(f"{name} ({', '.join(those)})")
    return weak


def write(found: Calibration, path: Path) -> None:
    """Write a judge's section to a file, `.md` or `.json`; those of other judges that it holds stay.

    Raises:
        ConfigError: another ending, a JSON file that holds something else, or a file that cannot be written.
    """
    check(path)
    try:
        earlier = path.read_text(encoding="utf-8") if path.exists() else ""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((_json if path.suffix == ".json" else _markdown)(found, earlier), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--out {path}: cannot be written: {error}") from error


def check(path: Path) -> None:
    """Raise `ConfigError` for a file that `write` cannot make."""
    if path.suffix not in (".md", ".json"):
        raise ConfigError(f"--out {path}: the result is written as .md or .json")
    if path.suffix == ".json" and path.exists():
        _read(path.read_text(encoding="utf-8"), path)


def _markdown(found: Calibration, earlier: str) -> str:
    sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", earlier, flags=re.MULTILINE)[1:]}
    sections[found.judge] = section(found).removeprefix("## ")
    return "\n".join([_HEADING, *(f"## {part.rstrip()}\n" for part in sections.values())])


def _json(found: Calibration, earlier: str) -> str:
    return json.dumps((json.loads(earlier) if earlier else {}) | {found.judge: found.to_json()}, indent=1) + "\n"


def _read(text: str, path: Path) -> None:
    try:
        if isinstance(json.loads(text or "{}"), dict):
            return
    except ValueError:
        pass
    raise ConfigError(f"--out {path}: it is there and holds no calibrations; name another file")


def _cells(share: Share) -> tuple[str, ...]:
    if share.accuracy is None or share.interval is None:
        return ("0", "", "", "", str(share.unscored), share.verdict)
    low, high = share.interval
    counts = f"{share.higher} / {share.ties} / {share.lower}"
    interval = f"{low:.1%} to {high:.1%}"
    return (str(share.pairs), f"{share.accuracy:.1%}", interval, counts, str(share.unscored), share.verdict)
