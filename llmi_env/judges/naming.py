"""Whether a picture goes by a name that is not its own: a photo of a lion was sought, and its description calls it a tiger.

What was asked of the tool is compared with all that the document and the question say. Who looks for `Burj Khalifa` under the description
"the world's tallest building" names it in the text; who looks for a baker and speaks of blacksmiths only has another picture than is said.
"""

from __future__ import annotations

import re

from llmi_env.calls import Call
from llmi_env.document import Document, Text
from llmi_env.judges.call_proxy import wish
from llmi_env.judges.relevance import Meanings, content_words, stems, words
from llmi_env.task import Task

_ASKED_BY_NAME = frozenset({"search", "diffusion"})
_SAME_MEANING = 0.42  # of what is written for the bundled tasks all lies above; "guitar" and `church organ`, "bottle" and `umbrella` below
_COMPARED = 12  # words of a description
_INVENTED = re.compile(r"\b(?:design|emblem|icon|idea|logo|mascot|motif|symbol)s?\b", re.IGNORECASE)


def misnamed(document: Document, task: Task, meanings: Meanings) -> list[bool]:
    """For each figure, whether its picture goes by another's name; an edit's does where that of its source does."""
    said = " ".join(block.text for block in document if isinstance(block, Text))
    found = [False] * len(task.images)
    for figure in document.figures:
        call = figure.call
        if call is None:
            found.append(False)
        elif call.tool == "edit":
            at = call.params.get("img_index")
            found.append(found[at] if isinstance(at, int) and 0 <= at < len(found) else False)
        else:
            found.append(is_misnamed(call, f"{task.question}\n{said}", meanings))
    return found[len(task.images) :]


def is_misnamed(call: Call, said: str, meanings: Meanings) -> bool:
    """Whether a call asks for something that is neither in its description nor in what is said, in words or in meaning.

    Args:
        call: any call; of charts and edits nothing is known.
        said: the question, and the document's text.
        meanings: text embeddings. They know English, so descriptions in other scripts are never held to be wrong; nor are designs, which
            say whom they are for and not what they show.
    """
    if call.tool not in _ASKED_BY_NAME or not call.description.isascii():
        return False
    if call.tool == "diffusion" and _INVENTED.search(call.description):
        return False
    asked, told = wish(call), f"{call.description}\n{said}"
    if not (named := stems(asked)) or named & stems(told):
        return False
    if "".join(content_words(asked)) in "".join(words(told)):
        return False  # "roller coaster", asked for as one word
    named_so = content_words(call.description)
    wanted = " ".join(content_words(asked))
    near = [meanings.near(wanted, other) for other in (" ".join(named_so), *named_so[:_COMPARED], said)]
    return max(near) < _SAME_MEANING
