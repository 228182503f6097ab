"""Whether a picture goes by a name that is not its own: a photo of a baker was sought and found, and its description speaks of a blacksmith.

What was asked of the tool, and what is told of the picture that came, is compared with all that the document and the question say. Who looks
for `Burj Khalifa` under the description "the world's tallest building" names it in the text, and who looks for `Tyto alba` finds a picture
that is called a barn owl. English only, and coarse: things of one kind are near each other in meaning (lion and tiger), a shared word is enough
("at work"), and designs say whom they are for and not what they show.
"""

from __future__ import annotations

import re

from llmi_env.document import Document, Figure, Picture, Text
from llmi_env.judges.call_proxy import wish
from llmi_env.judges.relevance import Meanings, content_words, stems, words
from llmi_env.task import Task

_ASKED_BY_NAME = frozenset({"search", "diffusion"})
_SAME_MEANING = 0.42  # of what is written for the bundled tasks all lies above; "guitar" and `church organ`, "bottle" and `umbrella` below
_COMPARED = 12  # words of a description
_JOINED = 3  # words that may be written as one
_LETTERS = 4000  # of what is said
_INVENTED = re.compile(
    r"\b(?:for|design|emblem|icon|idea|logo|mascot|motif|symbol|cover|card|invitation|vignette)s?\b", re.IGNORECASE
)


def misnamed(document: Document, task: Task, meanings: Meanings) -> list[bool]:
    """For each figure, whether its picture goes by another's name; an edit's does where that of its source does."""
    said = " ".join(block.text for block in document if isinstance(block, Text))
    found = [False] * len(task.images)
    for figure in document.figures:
        if figure.call is None or figure.picture is None:
            found.append(False)
        elif figure.call.tool == "edit":
            at = figure.call.params.get("img_index")
            found.append(found[at] if isinstance(at, int) and 0 <= at < len(found) else False)
        else:
            found.append(is_misnamed(figure, f"{task.question}\n{said}"[:_LETTERS], meanings))
    return found[len(task.images) :]


def is_misnamed(figure: Figure, said: str, meanings: Meanings) -> bool:
    """Whether a picture is neither what its description calls it nor anything that is spoken of, in words or in meaning.

    Args:
        figure: with its call and its picture; of charts and edits nothing is known.
        said: the question, and the document's text.
        meanings: text embeddings.
    """
    call = figure.call
    if call is None or call.tool not in _ASKED_BY_NAME:
        return False
    asked, described = wish(call), call.description
    if not _is_english(asked + described) or (call.tool == "diffusion" and _INVENTED.search(described)):
        return False
    told = f"{described}\n{said}"
    if not (named := stems(asked)) or named & stems(told):
        return False
    if call.tool == "search" and stems(_title(figure.picture)) & stems(described):
        return False  # found by another name
    if "".join(content_words(asked)) in _runs(told):
        return False  # "roller coaster", asked for as one word
    named_so, wanted = content_words(described), " ".join(content_words(asked))
    near = [meanings.near(wanted, other) for other in (" ".join(named_so), *named_so[:_COMPARED], said)]
    return max(near) < _SAME_MEANING


def _is_english(text: str) -> bool:
    """Whether it could be: letters without accents, whatever the quotes and dashes."""
    return all(letter.isascii() for letter in text if letter.isalpha())


def _title(picture: Picture | None) -> str:
    return "" if picture is None else f"{picture.provenance.title}\n{picture.provenance.caption}"


def _runs(text: str) -> set[str]:
    """Neighbouring words written as one, and each word."""
    found = words(text)
    return {"".join(found[i : i + n]) for n in range(1, _JOINED + 1) for i in range(len(found) - n + 1)}
