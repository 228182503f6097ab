"""Plain English to edit operations: what the `edit` tool understands.

No model: a small vocabulary, read in one pass. Every wording of an operation that is found is taken out of the text together with its
amounts ("a little", "by 30%"); references to the picture, polite words and stated purposes ("for a vintage feel") are taken out next.
If any word is left, the instruction asks for something that is not understood, and is refused as a whole rather than half
carried out: "rotate it and add a dog" must not succeed.

There are two readings. The first knows nine edits and is as it always was, so that a run can be repeated: what it understands, it decides.
Where it fails, the full one tries all edits, and is more careful about what the words belong to: "the photo of a frame" asks for no frame.
"""

from __future__ import annotations

import re
import unicodedata

from llmi_env.errors import Refused
from llmi_env.tools.edit import first_readings, look_readings, shape_readings
from llmi_env.tools.edit.captions import quoted_words, take_captions
from llmi_env.tools.edit.clause import Make, Reader, unread
from llmi_env.tools.edit.operation import Operation, refusal

MAX_INSTRUCTION = 1000
_SHOWN = 40  # characters of what was not understood: the list of what is must follow within what a policy is shown

_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]|(?<!\w)['‘]([^'‘’]+)['’](?!\w)")

_FULL: tuple[tuple[str, Make], ...] = (*shape_readings.READINGS, *look_readings.READINGS, *first_readings.READINGS)


def parse_instruction(text: str) -> list[Operation]:
    """The operations that an instruction asks for, in its order; at least one.

    Raises:
        Refused: it asks for something else, or for nothing; the message says what is understood.

    >>> [operation.kind for operation in parse_instruction("Make it grayscale and add a thin red border")]
    ['grayscale', 'border']
    """
    if not isinstance(text, str) or not text.strip():
        raise refusal("the instruction is empty")
    if len(text) > MAX_INSTRUCTION:
        raise refusal(f"the instruction has more than {MAX_INSTRUCTION} characters")
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    try:
        return _read(plain, first_readings.READINGS, full=False)
    except Refused:
        return _framed_last(_read(plain, _FULL, full=True))


def edits_named(text: str) -> list[Operation]:
    """The edits that a text speaks of, whatever else it speaks of; of captions those whose words it quotes.

    By the first, strict reading, which knows nine edits and takes adjectives for wishes ("a dark forest"): it is no way to carry an
    instruction out.

    >>> [operation.kind for operation in edits_named("A wolf for our poster; below, the identical wolf in old sepia colours.")]
    ['tint']
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    quoted = {found.group(1) or found.group(2) for found in _QUOTED.finditer(plain)}
    try:
        captions, rest = take_captions(plain, full=False)
    except Refused:  # of no words, or too many
        captions, rest = [], plain
    rest = _QUOTED.sub(lambda found: " " * len(found.group()), rest)
    reader = Reader(rest.lower() if len(rest.lower()) == len(rest) else rest)
    reader.found.extend((at, caption) for at, caption in captions if caption.text in quoted)
    for pattern, make in first_readings.READINGS:
        reader.take(pattern, make)
    return reader.operations()


def _read(text: str, readings: tuple[tuple[str, Make], ...], full: bool) -> list[Operation]:
    captions, plain = take_captions(text, full)
    quoted = quoted_words(plain) if full else ""
    if quoted:
        raise refusal(f"not understood: {quoted[:_SHOWN]!r}")
    reader = Reader(plain.lower() if len(plain.lower()) == len(plain) else plain, careful=full)
    reader.found.extend(captions)
    for pattern, make in readings:
        reader.take(pattern, make)
    left = unread(reader.text, careful=full)
    if left:
        raise refusal(f"not understood: {left[:_SHOWN]!r}")
    if not reader.found:
        raise refusal(f"no edit was asked for in {text[:_SHOWN]!r}")
    return reader.operations()


def _framed_last(operations: list[Operation]) -> list[Operation]:
    """A drop shadow is cast by the picture's outline: corners that are rounded in the same breath come before it."""
    kinds = [operation.kind for operation in operations]
    for index in range(len(kinds) - 1):
        if kinds[index : index + 2] == ["shadow", "corners"]:
            operations[index : index + 2] = [operations[index + 1], operations[index]]
            kinds[index : index + 2] = ["corners", "shadow"]
    return operations
