"""Reading by crossing out: what of an instruction is understood is blanked; whatever words are left were not.

A `Reader` holds the text; a `Clause` is what stands around a match up to the next comma or "and", where its amounts are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

from llmi_env.tools.edit import context_words as context
from llmi_env.tools.edit import first_words as words
from llmi_env.tools.edit.operation import Operation, refusal

MOST_EDITS = 20
"""Edits in one instruction at most, where a careful reader reads it."""

Make = Callable[[re.Match[str], "Clause"], Operation | Sequence[Operation] | None]
"""Turns a match into what it asks for; `None` leaves the words for another reading."""


class Reader:
    """One instruction while it is read: what is understood is blanked, and remembered with its place.

    Args:
        text: the instruction, in lower case with single spaces.
        careful: whether words that tell what the picture shows ("the photo of a dark forest") are kept from being read as edits.
    """

    def __init__(self, text: str, careful: bool = False) -> None:
        self.said = self.text = text
        self.careful = careful
        self.found: list[tuple[int, Operation]] = []

    def blank(self, start: int, end: int) -> None:
        """Cross out `text[start:end]`."""
        self.text = self.text[:start] + " " * (end - start) + self.text[end:]

    def take(self, pattern: str, make: Make) -> None:
        """Every match of `pattern` that `make` turns into operations.

        Raises:
            Refused: there are too many.
        """
        position = 0
        compiled = _compiled(pattern)
        while match := compiled.search(self.text, position):
            position = match.end() if match.end() > match.start() else match.end() + 1
            clause = Clause(self, match)
            if self.careful and (clause.describes() or context.PART_NAMED.search(match.group())):
                continue
            made = make(match, clause)
            if made is not None:
                clause.commit()
                operations = [made] if isinstance(made, Operation) else made
                self.found.extend((match.start(), operation) for operation in operations)
                if self.careful and len(self.found) > MOST_EDITS:
                    raise refusal(f"more than {MOST_EDITS} edits are asked for at once")

    def operations(self) -> list[Operation]:
        """What was found, in the order of the text."""
        return [operation for _, operation in sorted(self.found, key=lambda item: item[0])]


class Clause:
    """The words around a match up to the next comma or "and": where its amounts and directions stand."""

    def __init__(self, reader: Reader, match: re.Match[str]) -> None:
        self.reader, self.match = reader, match
        before = [boundary.end() for boundary in words.BOUNDARY.finditer(reader.text, 0, match.start())]
        after = words.BOUNDARY.search(reader.text, match.end())
        self.start = before[-1] if before else 0
        self.end = after.start() if after else len(reader.text)
        self.spans = [match.span()]

    @property
    def lead(self) -> str:
        """What stands before the match."""
        return self.reader.text[self.start : self.match.start()]

    @property
    def rest(self) -> str:
        """What stands after the match."""
        return self.reader.text[self.match.end() : self.end]

    def find(self, pattern: str) -> re.Match[str] | None:
        """The first `pattern` in the clause; it counts as understood if the match does."""
        match = _compiled(pattern).search(self.reader.text, self.start, self.end)
        if match:
            self.spans.append(match.span())
        return match

    def has(self, pattern: str) -> bool:
        """Whether `pattern` stands in the clause; as `find`."""
        return self.find(pattern) is not None

    def after(self, pattern: str) -> re.Match[str] | None:
        """As `find`, straight after the comma that ends the clause: "a frame, 12 pixels wide"."""
        match = _compiled(rf", ?(?:{pattern})").match(self.reader.text, self.end)
        if match:
            self.spans.append(match.span())
        return match

    def percent(self) -> float | None:
        """A share: 0.3 for "by 30%"."""
        match = self.find(words.PERCENT)
        return float(match.group(1)) / 100 if match else None

    def degree(self, weak: float, normal: float, strong: float, beside: bool = False) -> float:
        """How strong, by the adverbs in the clause; only by those beside the match if so wished."""
        if beside and not re.search(rf"\b(?:{words.WEAK}|{words.STRONG})\b", f"{self.lead}.{self.rest}"):
            return normal
        if self.has(rf"\b{words.WEAK}\b"):
            return weak
        return strong if self.has(rf"\b{words.STRONG}\b") else normal

    def commit(self) -> None:
        """Cross out the match and all that was found beside it."""
        for start, end in self.spans:
            self.reader.blank(start, end)

    def opens(self) -> bool:
        """Whether nothing but "make it", "give the photo a" and the like stands before the match: it is what is asked for, and no part of
        what the picture shows, of a purpose or of a negation."""
        lead = context.NAMED_LOOK.sub(" ", self.lead)
        with_ = context.WITH.search(lead)
        if with_:
            opens = with_.group("shown") is None or self.closes()
        else:
            opens = not context.BELONGING.search(lead) and not unread(context.OPENING.sub(" ", lead), careful=True)
        if not opens:
            return False
        verbs = context.ADDING.finditer(self.reader.text, self.start, self.match.start())
        self.spans.extend(verb.span() for verb in verbs)
        return True

    def closes(self) -> bool:
        """Whether nothing but filler stands after the match."""
        return not unread(self.rest, careful=True)

    def describes(self) -> bool:
        """Whether the match stands in what the picture shows: after "the photo of a", and before a word that it qualifies."""
        return bool(context.SHOWN_BEFORE.search(self.lead)) and bool(context.QUALIFIED.match(self.rest))


def unread(text: str, careful: bool = False) -> str:
    """What is left of an instruction once everything known is taken out; only words count.

    Args:
        text: the instruction with what was understood blanked.
        careful: whether a purpose ends where the next thing is asked for, and "into an oil painting" is no reference to the picture.
    """
    known: tuple[re.Pattern[str], ...] = (words.PURPOSE, words.REFERENCE, words.FILLER)
    if careful:
        text = context.PURPOSE.sub(_blanks, text)
        for other in context.ANOTHER_PICTURE.finditer(text):
            if not other.group("what") or unread(other.group("what")):
                return _said(other.group())
        known = (context.REFERENCE, context.FILLER)
    for pattern in known:
        text = pattern.sub(_blanks, text)
    return _said(text)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """The patterns are the modules' own: few enough to keep, slow enough to compile that `re`'s own memory must not lose them."""
    return re.compile(pattern)


def _blanks(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _said(text: str) -> str:
    return " ".join(re.findall(r"[\w%°][\w%°'-]*", text))
