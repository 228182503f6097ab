"""The vocabulary of the first nine edits, and of what stands around every edit, as patterns over lower-case text.

Data only; `first_readings` and `captions` say what each piece means. Spaces are single, since the text is normalised before.
"""

from __future__ import annotations

import re

from PIL import ImageColor


def any_of(words: str) -> str:
    """An alternative of words that stand separated by white space; `_` within one stands for a space."""
    return "(?:" + "|".join(word.replace("_", " ") for word in words.split()) + ")"


# ------------------------------------------------------------------------------------------------ the picture, and how much

NOUN = any_of(
    "images? pictures? photos? photographs? pics? figures? charts? graphs? plots? diagrams? illustrations? drawings? paintings? "
    "scenes? shots? snapshots? portraits? screenshots? maps? icons? renderings? artwork result original"
)
_DETERMINER = any_of("the this that my our your its a an")
PICTURE = rf"(?:it|this|that|everything|{_DETERMINER}(?: (?!to\b|into\b|and\b)[\w'-]+){{0,3}}? {NOUN}|{NOUN}(?: \d)?)"
"""The whole picture: "it", "the image", "this old photo"."""

REFERENCE = re.compile(
    rf"\b{PICTURE}\b(?: (?:of|showing) (?:the |a |an |some )?[\w'-]+"
    rf"(?: (?!to\b|into\b|by\b|in\b|and\b|so\b|for\b)[\w'-]+){{0,2}})?"
)
"""The picture with what it shows: "the photo of an old bridge"."""

WEAK = any_of(
    "(?:just_)?a_(?:little|bit|touch|tad)(?:_bit)? slight(?:ly)? subtl[ey] gentl[ey] lightly somewhat soft(?:ly)? faint(?:ly)? mild(?:ly)?"
)
STRONG = any_of(
    "much very a_lot lots strong(?:ly)? heav(?:y|ily) significant(?:ly)? considerabl[ey] dramatic(?:ally)? really way "
    "extreme(?:ly)? intense(?:ly)? far deep(?:ly)? super quite"
)
PERCENT = r"(?:\b(?:by|at|to|with)(?: about| around)? )?\b(\d{1,3}(?:\.\d+)?) ?(?:%|percent\b|per cent\b)"
PIXELS = r"\b(?:with |by |of )?(?:a )?(?:radius (?:of )?)?(\d{1,3}) ?(?:px|pixels?)\b(?: radius)?"
BOUNDARY = re.compile(r"[,;!?\n]|\.(?!\d)|\band\b|\bthen\b|\bbut\b|&|\+")
"""Where one clause ends and the next begins."""

# ------------------------------------------------------------------------------------------------ colour

EXTRA_COLOURS = {
    "amber": "#ffbf00", "rose": "#ff5c8a", "golden": "#ffd700", "sepia": "sepia", "warm": "warm", "cool": "cool", "cold": "cool",
    "emerald": "#50c878", "ruby": "#e0115f", "lilac": "#c8a2c8", "mint": "#98ff98", "peach": "#ffb07c", "burgundy": "#800020",
    "cream": "#fff3d0", "rust": "#b7410e", "sapphire": "#0f52ba", "mustard": "#e1ad01",
    "reddish": "red", "bluish": "blue", "greenish": "green", "yellowish": "yellow", "pinkish": "pink", "purplish": "purple",
    "orangish": "orange", "brownish": "brown", "redder": "red", "bluer": "blue", "greener": "green", "yellower": "yellow",
    "pinker": "pink", "purpler": "purple",
}  # fmt: skip
"""Colours beside those that Pillow knows by name, and the three looks that are no single colour."""

COLOUR_NAMES = "|".join(sorted({*ImageColor.colormap, *EXTRA_COLOURS}, key=len, reverse=True))
_SHADE = any_of("old faded light dark medium deep pale sky royal navy bright soft warm cool cold")
COLOUR = rf"(?P<colour>#[0-9a-f]{{6}}\b|#[0-9a-f]{{3}}\b|(?:{_SHADE} ){{0,2}}(?:{COLOUR_NAMES})\b)"
_TONE = (
    any_of("tint tone hue filter cast overlay wash shade tinge glow colou?r(?:ing|ation)? colou?r_scheme look palette")
    + "s?"
)
_AMOUNT = rf"(?:(?:{WEAK}|{STRONG}|more|look|appear|to|into|in|all|a) )*"
_MAKE = any_of("make turn colou?r colou?ri[sz]e paint dye shade render wash bathe tint tone")

GRAYSCALE = (
    r"\b(?:gr[ae]y[- ]?scaled?|black(?: ?[-&] ?| and | n |-and-)white|b ?& ?w\b|b/w|bw|monochrom(?:e|atic)|desaturated?"
    r"|(?:shades|tones) of gr[ae]y|gr[ae]y tones?|colou?rless|(?:without|no) (?:any )?colou?rs?"
    r"|(?:remove|strip|drain|take|drop) (?:away |out |off )?(?:all )?(?:of )?(?:the |its )?colou?rs?(?: out| away)?)\b"
)
TINTS: tuple[str, ...] = (
    rf"\btint(?:ed)?(?: {PICTURE})?(?: (?:with|in|to|by|towards?))?(?: (?:a|an|some|the))? {_AMOUNT}{COLOUR}(?: {_TONE}\b)?",
    rf"{COLOUR}[- ](?:colou?red )?{_TONE}\b",
    rf"\b{_TONE} of {COLOUR}",
    rf"\b{_MAKE} {PICTURE} {_AMOUNT}{COLOUR}(?:[- ]tinted)?",
    rf"\b(?:more|tinted) {COLOUR}",
    r"\b(?P<colour>(?:redd|blu|green|yellow|pink|purpl|orang|brown)ish|redder|bluer|greener|yellower|pinker)\b",
)
SEPIA = (
    r"\b(?:vintage|antique|old[- ](?:time|fashioned|timey)|aged|retro) (?:photo |film )?(?:look|feel|style|filter|effect|tone)\b"
    r"|\blook (?:like )?(?:a |an )?(?:very |really )?(?:old|vintage|antique|aged|retro|old-fashioned)\b"
    r"|\b(?:(?:old|aged|vintage|antique|classic|faded) )?sepia(?:[- ](?:toned?|filter|tint|effect|look))?\b"
)
WARM = r"\bwarm(?:er|th)?\b"
COOL = r"\b(?:cool(?:er)?|cold(?:er)?)\b"

# ------------------------------------------------------------------------------------------------ light and sharpness

_LIGHT = r"(?:bright(?:ness)?|light|exposure)\b"
BRIGHTNESS_TO = (
    rf"\b(?:set|change|adjust|put)?(?: the)? ?brightness(?: of {PICTURE})? (?:at|to) (\d{{1,3}}) ?(?:%|percent)"
)
TIMES_AS_BRIGHT = r"\b(half|twice|three times|double)(?: as)?(?: the)? (?:bright(?:ness)?)(?: again)?\b"
LESS_LIGHT = (
    rf"\b(?:decrease|reduce|lower|turn down|less|drop|cut)(?: (?:the|its|overall|\w+'s)){{0,3}} {_LIGHT}"
    r"|\b(?:darken(?:ed|ing)?|darker|dark|dim(?:med|mer)?)(?: down)?\b"
)
MORE_LIGHT = (
    rf"\b(?:increase|raise|boost|turn up|enhance|more|add)(?: (?:the|its|overall|some|more|\w+'s)){{0,3}} {_LIGHT}"
    r"|\b(?:brighten(?:ed|ing)?(?: up)?|brighter|bright|lighten(?:ed|ing)?(?: up)?|lighter)\b"
)
SHARPEN = r"\b(?:less blur(?:ry|red)?|unblur|deblur|sharpen(?:ed|ing)?(?: up)?|sharper|sharp|crisp(?:er)?|increase (?:the )?sharpness)\b"
BLUR = (
    r"\b(?:gaussian blur|blur(?:ry|red|rier|ring)?|soften(?:ed)?|soft focus|out of focus|unfocus(?:ed)?|defocus(?:ed)?|less sharp"
    r"|smooth(?:en)?)\b(?: effect| filter)?"
)

# ------------------------------------------------------------------------------------------------ turning

ROTATE = r"\b(?P<verb>rotat(?:e|ed|ing|ion)|turn(?:ed)?|spin|roll|tilt(?:ed)?)\b"
LEFT = (
    r"\b(?:(?:in )?(?:an? |the )?(?:counter[- ]?clockwise|anti[- ]?clockwise|ccw)(?: direction)?"
    r"|(?:to |towards? )?(?:the |its )?left)\b"
)
RIGHT = r"\b(?:(?:in )?(?:an? |the )?(?:clockwise|cw)(?: direction)?|(?:to |towards? )?(?:the |its )?right)\b"
DEGREES = r"(?:\bby )?(?<![\w.#:])(-?\d{1,3}(?:\.\d+)?) ?(?:°|deg(?:rees?)?\b|-?degrees?\b)?(?![\w:%])"
ANGLES = {
    "one hundred and eighty": 180, "one hundred eighty": 180, "two hundred seventy": 270, "forty-five": 45, "forty five": 45,
    "ninety": 90, "thirty": 30, "sixty": 60, "fifteen": 15, "twenty": 20, "ten": 10, "five": 5, "a quarter turn": 90,
    "quarter turn": 90, "a half turn": 180, "half turn": 180, "half way": 180, "halfway": 180, "a full turn": 360, "once": 90,
    "twice": 180,
}  # fmt: skip
SPELLED_ANGLE = rf"(?:\bby )?\b({'|'.join(ANGLES)})\b(?: degrees?)?"
ASIDE = r"\b(?:sideways|on(?:to)? its side)\b"
UPSIDE_DOWN = r"\b(?:on its head|upside[- ]?down)\b"

FLIP = r"\b(?:flip(?:ped|ping)?|mirror(?:ed|ing)?|reflect(?:ed)?)(?: image)?\b(?: effect)?"
AXIS = r"\b(?:across|along|around|over|about|on) (?:the |its )?(vertical|horizontal|x|y)(?:-| )?axis\b"
VERTICALLY = (
    r"\b(?:vertical(?:ly)?|(?:from )?top[- ](?:to|and|for)[- ]bottom|up[- ](?:to|and)[- ]down)(?: direction)?\b"
)
HORIZONTALLY = (
    r"\b(?:horizontal(?:ly)?|(?:from )?left[- ](?:to|and|for|-)?[- ]?right|sideways|side to side|(?:to|from) the (?:left|right)"
    r"|to face (?:left|right)|the other way(?: round| around)?)(?: direction)?\b"
)

# ------------------------------------------------------------------------------------------------ cropping

_PLACE = r"(?= (?:the )?(?:left|right|top|bottom|upper|lower|cent(?:er|re)|middle)\b)"
CROP = (
    r"\b(?:cut|chop|trim|crop|slice)(?:ped)? (?:off|out|away)\b"
    r"|\b(?:remove|delete)(?= (?:the )?(?:left|right|top|bottom|upper|lower|edges|borders))"
    r"|\bcrop(?:ped|ping)?\b(?: in| down| tightly)?|\btrim(?:med)?\b|\bzoom(?:ed)? in(?:to)?\b"
    rf"|\b(?:keep|show|use|take)(?: (?:only|just))?{_PLACE}|\b(?:only|just) (?:keep|show|use|take){_PLACE}"
    rf"|\bmake (?:{PICTURE} )?(?:a )?(?=square\b)|\bcut\b(?= (?:{PICTURE} )?(?:to|into|down))"
)
AWAY = r"\b(?:off|away)\b"
ASPECT = r"\b(?:to |at |a |an )*(\d{1,2}) ?(?::|x|by|/) ?(\d{1,2})\b(?: (?:aspect )?(?:ratio|format))?"
SQUARE = r"\b(?:square(?:d)?)(?: (?:shape|format|aspect ratio|crop))?\b"
CORNER = r"\b(top|upper|bottom|lower)[- ](left|right)(?:[- ]hand)?(?: (?:corner|quarter|quadrant|part|side))?\b"
SIDE = (
    r"\b(left|right|top|upper|bottom|lower)(?:[- ]?(?:hand|most))?"
    r"(?: (?P<part>half|third|quarter|side|part|portion|section|edge|two thirds))?\b"
)
CENTRE = (
    r"\b(?:on |to |in |into |at |from |around |towards? )*(?:the )?(?:very )?(?:cent(?:er|re)|middle)"
    r"(?: (?:part|half|area|portion|region|section))?\b"
)
EDGES = r"\b(?:from )?(?:the |all |each |every |its )*(?:edges?|borders?|margins?|(?:four )?sides?)\b"

# ------------------------------------------------------------------------------------------------ words that ask for nothing

PURPOSE_OPENS = (
    r"\b(?:so (?:that|it)|in order to|to (?:give|make|look|create|get|show|evoke|match|fit|set|emphasi[sz]e|highlight|suggest"
    r"|convey|achieve|produce|resemble|better|help|reflect|represent|simulate|illustrate)|for (?:a|an|the|more|better)|giving"
    r"|creating|making it look|like (?:a|an)|as (?:if|though)|while (?:keeping|preserving|maintaining)|keeping"
    r"|keep(?= (?:the|its|all) )|preserving|maintaining|without (?:changing|losing)"
    r"|with (?:a|an) \w+ (?:mood|feel|atmosphere))\b"
)
PURPOSE = re.compile(rf"{PURPOSE_OPENS}[^,;.!?\n]*")
"""What an edit is for, up to the end of the clause: "to give it a timeless look"."""

FILLER = re.compile(
    r"\b"
    + any_of(
        "show please kindly can could would will should you i we me us d like want need let lets just simply now ok okay hi hello thanks "
        "thank make made turn convert change transform apply add give use put create render set adjust edit modify do perform have "
        "get take process to into in with by of on as at for from around a an the it its it's this that them be is are look looks "
        "appear so and then also plus after afterwards before next finally first firstly second secondly third last lastly again "
        "too both well while but same time effect effects filter style version copy mode tone tones toned tint hue overlay whole "
        "entire overall all everything colou?rs? completely fully entirely more bit some even only degrees? direction side way "
        "image picture photo shade format visually operation result previous earlier above original given input nice nicely feel "
        "rotation half part area"
    )
    + r"\b"
)
