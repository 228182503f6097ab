"""The vocabulary of captions, over text as it was written; as `first_words`."""

from __future__ import annotations

import re

from llmi_env.tools.edit.context_words import PLAIN_COLOUR
from llmi_env.tools.edit.first_words import PICTURE, any_of

_CAPTION_NOUN = any_of("captions? titles? texts? labels? words? headings? headline subtitle phrase message inscription")
_CAPTION_VERB = (
    any_of(
        "add put write place draw overlay include insert give print type caption label title with saying says reading reads"
    )
    + r"\b"
)
_QUOTED = r"(?:\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|‘([^’]+)’|(?<!\w)'(.+?)'(?!\w))"
# The word nearest to the quotation opens it, so that an edit before it ("add a red tint and write 'x'") keeps its own.
CAPTION_QUOTED = re.compile(
    rf"\b{_CAPTION_VERB}(?:(?!\b(?:and|then|{_CAPTION_VERB})\b|[;,\"“«‘]).){{0,80}}?,?:? ?{_QUOTED}"
    rf"(?: (?:as|for) (?:a |the |its )?{_CAPTION_NOUN})?",
    re.IGNORECASE,
)
CAPTION_OPENING = re.compile(rf"\b(?:{_CAPTION_VERB}|{_CAPTION_NOUN}\b|(?:that )?(?:says|reads)\b)", re.IGNORECASE)
"""What may stand before that word: "add a caption" of "add a caption saying 'x'"."""

CAPTION_PLAIN = re.compile(
    rf"\b(?:add|put|write|place|insert|include|give {PICTURE})? ?(?:a |the |an )?\b(?:caption|title|label|text|heading)"
    rf"(?: (?:it|{PICTURE}))?(?: at the (?P<place>top|bottom))? ?"
    r"(?:(?:that )?(?:says|saying|reads|reading|which says|as|with)|:) ?(?P<text>\S.*?)"
    r"(?: (?:at|on|along|in) the (?P<place2>top|bottom)(?: of .*)?)?[.]?$",
    re.IGNORECASE,
)
CAPTION_WRITTEN = re.compile(
    r"\b(?:write|print|type) (?P<text>\S.*?) (?:at|on|along|in|across) the (?P<place>top|bottom)(?: of .*)?[.]?$",
    re.IGNORECASE,
)
"""The last resort: words without quotation marks."""

AT_TOP = re.compile(
    r"\b(?:at|on|in|along|across|near|to) (?:the |its )?(?:very )?(?:top|upper|head)\b|\babove\b", re.IGNORECASE
)
CAPTION_PLACE = re.compile(
    r"\b(?:(?:at|on|in|along|across|near|to|over) (?:the |its )?(?:very )?(?:top|bottom|upper|lower|head|foot)"
    r"(?: (?:cent(?:er|re)|edge|part|of|left|right|corner))*"
    r"|(?:below|above|underneath|beneath|under|over)(?: (?:it|the (?:image|picture|photo)))?"
    r"|in (?:(?:big|large|small|bold|white|readable|clear) )+(?:letters|text|font|type)|in (?:big|large|small|bold|white))\b",
    re.IGNORECASE,
)

# ------------------------------------------------------------------------------------------------ places, colours and sizes

_LATER_VERB = any_of(
    "add put write place draw overlay include insert give print type caption label title with saying says reading reads "
    "stamp superimpose words text heading headline subtitle inscription slogan"
)
CAPTION_NAMED = re.compile(
    rf"\b{_LATER_VERB}\b(?:(?!\b(?:and|then|{_LATER_VERB})\b|[;,\"“«‘]).){{0,80}}?,?:? ?{_QUOTED}"
    rf"(?: (?:as|for) (?:a |the |its )?{_CAPTION_NOUN})?",
    re.IGNORECASE,
)
"""As `CAPTION_QUOTED`; a noun opens it as well ("and the words 'Hi'")."""

_OF_PICTURE = rf"(?: of {PICTURE})?"
AT_CORNER = re.compile(
    r"\b(?:at|in|into|on|near|to) (?:the |its )?(?:(?P<down>top|bottom|upper|lower)[- ]?)?(?:(?P<across>left|right)(?:[- ]hand)?[- ]?)?"
    rf"corner{_OF_PICTURE}\b|\b(?:at|in|on|near) (?:the |its )?(?P<down2>top|bottom|upper|lower)[- ](?P<across2>left"
    rf"|right)(?:[- ]hand)?(?: side)?{_OF_PICTURE}\b",
    re.IGNORECASE,
)
AT_CENTRE = re.compile(
    rf"\b(?:(?:in|at|on|across|over|through|into|right in) (?:the |its )?(?:very )?(?:cent(?:er|re)|middle){_OF_PICTURE}|cent(?:er|re)d)\b",
    re.IGNORECASE,
)
LETTER_COLOUR = re.compile(
    rf"\bin (?:(?:big|large|small|bold|bright|clear|readable|tiny|huge),? )*(?P<colour>{PLAIN_COLOUR})(?: (?:letters"
    rf"|text|font|type|ink|writing|colou?r))?\b"
    rf"|\b(?P<adjective>{PLAIN_COLOUR}) (?=(?:letters|text|caption|title|words|label|heading|writing|lettering|font)\b)",
    re.IGNORECASE,
)
LARGE = re.compile(r"\b(?:big|large|huge|giant)\b(?: (?:letters|text|font|type))?", re.IGNORECASE)
SMALL = re.compile(r"\b(?:small|tiny|little)\b(?: (?:letters|text|font|type))?", re.IGNORECASE)
_SIZED = re.compile(
    r"\b(?:small|tiny|little|big|large|huge|giant|bold) (?=(?:letters|text|caption|title|words|label|heading|writing|lettering)\b)"
    r"|\bin (?:(?:small|tiny|big|large|huge|giant|bold),? )+(?:letters|text|font|type|print)\b",
    re.IGNORECASE,
)
DETAILS = (AT_CORNER, AT_CENTRE, LETTER_COLOUR, _SIZED)
"""What is blanked beside `CAPTION_PLACE`, before it."""

CAPTION_PLACED = re.compile(
    r"\b(?:write|print|type|stamp|put) (?P<text>\S.*?) (?:at|on|in|across|into) the "
    r"(?P<place>cent(?:er|re)|middle|(?:(?:top|bottom|upper|lower)[- ])?(?:(?:left|right)[- ])?corner)(?: of .*)?[.]?$",
    re.IGNORECASE,
)
QUOTATION = re.compile(_QUOTED)
