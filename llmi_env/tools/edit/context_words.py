"""What stands around an edit and decides whether its words ask for one: patterns over lower-case text with single spaces or blanks.

"A black border" asks for one after "add"; after "the photo of" it is what the picture shows.
"""

from __future__ import annotations

import re

from llmi_env.tools.edit import first_words as words

WITH = re.compile(
    rf"(?P<shown>\b{words.NOUN}(?: (?:of|showing)(?: (?:the|an?|some))? [\w'-]+)?)? *\b(?:with|plus)(?: +(?:an?|some|another))?"
    rf"(?: +(?:{words.WEAK}|{words.STRONG}|nice))* *$"
)
"""What may open an addition in the middle of a clause ("sepia with a"); after the picture, it may as well tell which picture."""

_DETERMINER = r"(?:the|this|that|these|my|our|your|its|an?)"
_PART = r"(?:to|into|and|in|of|on|at|from|with|by|for|under|behind|around|near)"
WHOLE = rf"(?:{_DETERMINER} (?:(?!{_PART}\b)[\w'-]+ ){{0,3}}?{words.NOUN}\b(?: \d)?|it\b|this\b|that\b|everything\b|{words.NOUN}\b(?: \d)?)"
"""The whole picture, not "the dog in the picture"."""

REFERENCE = re.compile(
    rf"\b{WHOLE}(?: (?:of|showing) (?:the |a |an |some )?[\w'-]+(?: (?!(?:to|into|by|in|and|so|for|with)\b)[\w'-]+){{0,2}})?"
)
"""As `first_words.REFERENCE`."""

PART_NAMED = re.compile(rf"\b{_DETERMINER} (?:[\w'-]+ ){{1,3}}(?:in|on|from) (?:the |this |my )?{words.NOUN}\b")
"""What stands in the picture: it cannot be edited by itself."""

NAMED_LOOK = re.compile(
    r"\b(?:(?:look|style|effect|feel|appearance|form|shape|format|version|manner) of (?=(?:a|an|the) )|(?:a (?:lot"
    r"|bit|little|touch|hint|dash)|lots|plenty) of\b)"
)
"""The "style of" in "in the style of a pencil sketch": what follows is asked for all the same."""

BELONGING = re.compile(
    r"\b(?:of|showing|shows|depicting|from|than|about|without|no|not|never|near|behind|beside|inside|between)"
    r"(?: +(?!(?:with|in|into|to|add|put|give|make|using|by)\b)[\w'-]+){0,3} *$"
)
"""What ends so is no opening: the next word is part of what is shown, or is not wanted."""

ADDING = re.compile(
    r"\b(?:draw|place|insert|include|surround(?:ed|ing)?|wrap(?:ped)?|enclosed?|finish|needs?|another|lay|cast|create|using"
    r"|produce|generate|leave|onto|framed?|border(?:ed)?|drop|stack|line up)\b"
)
"""Verbs that open an addition, beside those that are filler."""

OPENING = re.compile(rf"{ADDING.pattern}|\b(?:{words.WEAK}|{words.STRONG})\b|\b\d{{1,4}} ?(?:%|percent|px|pixels?)")
"""All that may stand between the start of a clause and what it asks for, beside filler."""

_NOUN = words.NOUN
SHOWN_BEFORE = re.compile(rf"\b{_NOUN} (?:of|showing|with|from) +(?:[\w'-]+ +){{0,3}}$")
QUALIFIED = re.compile(rf" (?!{words.FILLER.pattern})(?!{words.WEAK}\b|{words.STRONG}\b)(?!(?:and|or|than)\b)[^\W\d]")
"""What follows an adjective that describes what is shown: a word with a meaning of its own."""

_ASKS_ON = (
    r"(?:add|put|draw|remove|delete|erase|replace|make|turn|change|give|swap|paint|write|insert|place|colou?r|move|include|create"
    r"|apply|crop|rotate|cut)"
)
PURPOSE = re.compile(
    rf"{words.PURPOSE_OPENS}(?:(?!\b(?:and|then|but) (?:then |also |please )?{_ASKS_ON}\b)[^,;.!?\n])*"
)
"""What an edit is for: up to the end of the clause, or to the next verb that asks for something."""

FILLER = re.compile(rf"{words.FILLER.pattern}|\b(?:needs|another|photograph)\b")
"""As `first_words.FILLER`."""

_KIND = r"(?:(?!(?:to|of|on|in|at|the|this|that|my|our|your|its|with|around|for)\b)[\w'-]+ )"
ANOTHER_PICTURE = re.compile(
    rf"\b(?:into|to|like|as) an? (?P<what>{_KIND}{{1,3}}?){_NOUN}\b"
    rf"|\b(?:add|draw|insert|put|place|include|generate|paint|compose) (?:an?|another|some) {_KIND}{{0,3}}?{_NOUN}\b"
)
"""A picture of another kind ("into an oil painting") or beside this one ("draw a picture of a dog"): no reference to the one at hand."""

COUNTS = {
    "one": 1, "a single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "sixteen": 16, "a few": 4, "few": 4, "twice": 2,
}  # fmt: skip
COUNT = rf"(?:\d{{1,5}}|{'|'.join(COUNTS)})"


def count(said: str) -> int:
    """The number that a match of `COUNT` says."""
    return COUNTS[said] if said in COUNTS else int(said)


PLAIN_COLOUR = words.COLOUR.replace("?P<colour>", "?:")
"""A colour, without a group of its own."""
