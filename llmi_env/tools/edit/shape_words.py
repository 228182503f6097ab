"""The vocabulary of edits that change a picture's size or outline: resizing, borders, corners, shadows, tiles; as `first_words`."""

from __future__ import annotations

from llmi_env.tools.edit.context_words import COUNT, PLAIN_COLOUR, WHOLE
from llmi_env.tools.edit.first_words import STRONG, WEAK

_EFFECT = r"(?: (?:effects?|filters?|looks?|styles?))?"
_THE = r"(?:(?:the|its|their|your|my|all|all the|both) )"
AROUND = (
    rf"\b(?:all )?(?:around|round|about|on|to|at|along)(?: (?:it|{WHOLE}|the (?:outside|edges?|sides?|outer edge|whole {WHOLE})"
    r"|(?:all|every|each|both)(?: (?:of )?(?:the )?(?:four )?(?:sides?|edges?))?))"
)

# ------------------------------------------------------------------------------------------------ borders

THIN = r"(?:thin(?:ner)?|fine|narrow|slim|small|hairline|light|tiny)"
THICK = r"(?:thick(?:er)?|wide|broad|heavy|bold|large|big|chunky|fat|massive)"
_WIDTH = r"(?:\d{1,4}(?:\.\d)?[ -]?(?:px|pixels?|%|percent)(?:[ -](?:wide|thick|in width))?)"
WIDTH = (
    r"(?:\b(?:of|with|at|that is|about) )*(?:\ba )?(?:\b(?:width|thickness|size) (?:of |is )?)?"
    r"(?<![\w.])(?P<width>\d{1,4}(?:\.\d)?)[ -]?(?P<unit>px|pixels?|%|percent)(?:[ -](?:wide|thick|in width|width"
    r"|thickness))?(?:(?: on)? (?:each|every|all) sides?)?"
)
_STYLE = r"(?:simple|solid|plain|nice|elegant|clean|square|outer|decorative|picture|photo|colou?red|wood|wooden|metal|metallic)"
_ADJECTIVES = (
    rf"(?:(?:{WEAK}|{STRONG}|{THIN}|{THICK}|{_WIDTH}|{_STYLE}|(?P<colour>{PLAIN_COLOUR})(?:-colou?red)?|dark|pale),? )*"
)
BORDER = (
    rf"\b{_ADJECTIVES}(?P<noun>border(?:s|ed|ing)?|fram(?:e|es|ed|ing)|edging|passe-?partout|mat(?:te)? border"
    rf"|outline(?= (?:around|round|{WHOLE} (?:in|with))\b)|mat(?:te)?(?= (?:around|round))|edge line)\b{_EFFECT}"
)
IN_COLOUR = (
    rf"\b(?:in|of|with|using|on|by)(?: (?:an?|the))?(?: (?:{THIN}|{THICK}|{STRONG}|{_STYLE}))* "
    rf"(?:(?P<colour>{PLAIN_COLOUR})|wood|metal)(?: (?:colou?r|line|edge|background))?\b"
)
POLAROID = r"\bpolaroid(?:[- ]?(?:style|like))?(?: (?:frame|border|look|effect|photo|picture|style|print))?\b"
PADDING = (
    rf"\b(?:(?:{WEAK}|{STRONG}|{THIN}|{THICK}|{_WIDTH}|empty|blank|extra|more|some|plain|(?P<colour>{PLAIN_COLOUR})),? )*"
    r"(?:padding|margins?|white ?space|blank space|empty space|breathing (?:room|space)|space(?= (?:around|on)))\b"
)
CANVAS = r"\b(?:extend|enlarge|expand|increase|grow) (?:the |its )?canvas(?: size)?\b"

# ------------------------------------------------------------------------------------------------ pad to a shape

PAD = rf"\b(?:pad(?:ded|ding)?|letter-?box(?:ed)?|pillar-?box(?:ed)?)\b(?: {WHOLE})?(?: out)?"
ON_SQUARE = (
    rf"\b(?:fit(?:ted)?|place|put|centre|center|set|make|turn|extend|expand|fill)(?: {WHOLE})?(?: out)?(?: (?:a|an|in"
    rf"|into|on|onto|to|the|of|up))* "
    rf"(?:(?P<colour>{PLAIN_COLOUR}) )?(?P<shape>square|\d{{1,2}} ?[:x/] ?\d{{1,2}})(?: (?P<canvas>canvas|background|frame|sheet))?\b"
)
WITHOUT_CROPPING = (
    r"\b(?:without|instead of|not|no|rather than)(?: any)? crop(?:ping|ped)?(?: (?:it|anything|it off))?\b"
)
BARS = (
    rf"\b(?:by |with |using |adding |and |add )*(?:(?P<colour>{PLAIN_COLOUR}) )?(?:bars?|padding|margins?|space|borders?|background|canvas)"
    rf"(?: (?:at|on|to) (?:the |both |its )?(?:sides?|top and bottom|left and right|ends))?\b"
)
SHAPE = (
    r"\b(?:to|into|in|on|onto|a|an|the|until it is|perfect|aspect ratio|of| )*\b(?P<shape>square"
    r"|\d{1,2} ?[:x/] ?\d{1,2})(?: (?:shape|format|aspect(?: ratio)?|ratio|canvas))?\b"
)

# ------------------------------------------------------------------------------------------------ rounded, cut out, with a shadow

CORNERS = (
    rf"\b(?:round(?:ed)?|curv(?:e|ed)|soften(?:ed)?|smooth|soft|make)(?: off)? {_THE}?(?:(?:corners?"
    rf"|edges)(?: of {WHOLE})?)(?: (?P<round>round(?:ed|er)?|curved))?\b"
    rf"|\b(?:corners|edges)(?: (?:be|are|to|should|a bit|more))* (?P<after>round(?:ed|er)?|curved)\b|\bcorner rounding\b"
)
RADIUS = (
    r"\b(?:with |by |of |at )*(?:an? |the )?(?:(?:corner )?radius (?:of |= ?)?(?P<radius>\d{1,4}) ?(?:px|pixels?)?"
    r"|(?P<px>\d{1,4}) ?(?:px|pixels?)(?: radius)?)\b"
)
CIRCLE = (
    rf"\b(?:crop(?:ped)?|cut|clip|mask|trim|shape|turn|make)(?: {WHOLE})?(?: out)?(?: (?:in|into|to|as|the|shape|of|form|a|an|perfect))* "
    r"(?P<shape>circles?|circular|round|oval|ellipse|elliptical)(?: (?:shape|crop|cut-?out|format|form|picture|image"
    r"|photo|portrait|avatar))?\b"
    r"|\b(?:circle|circular|round|oval|elliptical) (?:crop|mask|cut-?out|shape|avatar)\b"
)
SHADOW = (
    rf"\b(?:(?:{WEAK}|{STRONG}|dark|light|black|gr[ae]y|nice|realistic|little|small|big|large|long|blurred),? )*"
    rf"(?:drop[- ]?shadows?|shadow(?: effect)?)\b(?! (?:areas?|details?|tones?)\b)(?: (?:behind|below|beneath"
    rf"|underneath|under|around|to|on)(?: (?:it|{WHOLE}))?)?"
)

# ------------------------------------------------------------------------------------------------ size

_SIZE = (
    r"(?:the |its |image |picture |photo |original |current |full |normal |same )*(?:the picture's )?(?:size"
    r"|dimensions|scale|resolution)"
)
_AGAIN = rf"(?: (?:of (?:the original|it|{WHOLE})|as (?:before|now|it is|the original)))?"
TIMES_SIZE = (
    r"\b(?:(?:re-?size|scale|shrink|reduce|enlarge|make|bring|set|cut|blow)(?: (?:it|up|down|to|at|by|back))* )?"
    r"(?P<times>half|twice|double|triple|two times|three times|four times|(?:one|a) third|(?:one|a) quarter|quarter|third)(?: of)?[ -]"
    rf"(?:as (?P<big>big|large)|as (?P<small>small)|{_SIZE}){_AGAIN}\b"
)
TIMES_VERB = (
    rf"\b(?P<verb>doubl(?:e|ed)|halv(?:e|ed)|tripl(?:e|ed)|quadruple) (?:{_SIZE}{_AGAIN}|(?:it|{WHOLE}) in size)\b"
)
SHRINK = r"(?:shrink|shrunk|downscale[d]?|downsize[d]?|downsample|scale[d]? down|size[d]? down|minify|smaller|tinier|tiny|miniature)"
GROW = rf"(?:enlarge[d]?|upscale[d]?|upsize|scale[d]? up|size[d]? up|blow(?:n)? up|blow {WHOLE} up|magnify|magnified|bigger|larger|huge)"
_LESS = r"(?:reduc(?:e|ed|ing)|decrease[d]?|lower|cut)"
_MORE = r"(?:increas(?:e|ed|ing)|raise[d]?)"
_EVEN = r"(?:in size|in width|in height|down|up|evenly|proportionally|keeping the aspect ratio|in proportion)"
RESIZE = (
    rf"\b(?:(?P<down>{SHRINK}|{_LESS} {_SIZE}|(?P<unsaid>reduce[d]? {WHOLE}(?= (?:in size|to|by)\b)))"
    rf"|(?P<up>{GROW}|{_MORE} {_SIZE}|{_MORE} {WHOLE}(?= in size\b))"
    rf"|re-?siz(?:e|ed|ing)|re-?scal(?:e|ed|ing)|scal(?:e|ed|ing)|(?:set|change|adjust|make) (?:{_SIZE}|(?:the |its )?(?:width|height))"
    rf"|make (?:{WHOLE} )?(?=(?:{COUNT} ?(?:px|pixels?)? )(?:wide|high|tall)\b))(?: {WHOLE})?(?: {_EVEN})?"
)
BOX = r"\b(?:to |at |of |size |exactly )*(?P<wide>\d{1,6}) ?(?:x|×|by|\*) ?(?P<high>\d{1,6})(?: ?(?:px|pixels?)\b)?(?: in size)?(?![\d:])"
_PX = r" ?(?:px|pixels?)?\b"
SIDE_LENGTH = (
    rf"\b(?:to |at |about |exactly )*(?:an? )?(?:max(?:imum|imal)? )?(?:(?P<side>width|height) (?:of |to |is |= ?"
    rf"|: ?)*(?:at most )?(?P<length>\d{{1,6}}){_PX}"
    rf"|(?P<long>\d{{1,6}}){_PX} ?(?:in )?(?P<way>wide|width|across|high|tall|height)\b"
    r"|(?P<plain>\d{1,6}) ?(?:px|pixels?)\b(?: (?:on|along|at) (?:the|its) (?:long(?:est|er)?|larg(?:est|er)) (?:side|edge))?)"
)
FACTOR = (
    r"\b(?:(?:by )?(?:an? )?(?:factor )(?:of )?(?P<factor>\d{1,4}(?:\.\d{1,3})?|two|three|four|half)"
    r"|(?:by |to )?(?P<times>\d{1,4}(?:\.\d{1,3})?)(?:x|×| times)(?![\w:])(?: (?:the |its )?(?:original )?size)?|x(?P<x>\d{1,2})"
    r"|(?P<way>by|to) (?P<part>(?:a |one )?(?:half|third|quarter))|by (?P<bare>\d(?:\.\d{1,3})?)(?![\w%:.]| ?(?:%|px|pixel|percent)))\b"
)
SCALE_PERCENT = (
    r"(?:\b(?P<way>to|by|at)(?: about| around)? )?(?<![\w.])(?P<percent>\d{1,6}(?:\.\d+)?) ?(?:%|percent\b"
    r"|per cent\b)(?: of (?:the |its )?(?:original )?(?:size|dimensions|width))?"
)
THUMBNAIL = r"\b(?:(?:small|tiny|little) )?thumb-?nail(?:[- ]?sized?)?\b(?: (?:size|version|image|picture))?"

# ------------------------------------------------------------------------------------------------ repeated, mirrored in itself

TILE = (
    rf"\b(?P<verb>til(?:e|ed|ing)|repeat(?:ed|ing)?|duplicate[d]?|multipl(?:y|ied)|arrange[d]?)\b(?: {WHOLE})?"
    rf"|\b(?:show|put|place) {WHOLE}(?= (?:twice|{COUNT} times)\b)"
    rf"|\b(?:(?:{COUNT}) )?copies(?: of {WHOLE})?\b"
    rf"|\b(?P<grid>(?:\d{{1,3}} ?(?:x|×|by) ?\d{{1,3}} )?(?:collage|grid|tiles|tiling|mosaic of copies|contact sheet"
    rf"|(?:repeating|wallpaper|seamless|tile) pattern)(?: of {WHOLE})?)\b"
)
GRID = (
    r"\b(?:in |into |to |as |of |an? )*(?P<columns>\d{1,6}) ?(?:x|×|by|times|\*) ?(?P<rows>\d{1,6})\b(?: (?:grid"
    r"|collage|tiles|pattern|copies|times|raster))?"
)
ROWS = rf"\b(?:in |into |with )?(?P<count>{COUNT}) rows?\b"
COLUMNS = rf"\b(?:in |into |with )?(?P<count>{COUNT}) columns?\b"
TIMES = rf"\b(?:(?P<count>{COUNT}) (?:times|copies)(?: of {WHOLE})?|(?P<twice>twice))\b"
ACROSS = (
    r"\b(?:side by side|in (?:a|one) (?:single )?row|horizontally|next to (?:each other|itself)|left to right|across)\b"
)
DOWN = (
    r"\b(?:in (?:a|one) (?:single )?column|vertically|stack(?:ed)?|(?:one )?(?:above|below|on top of"
    r"|under) (?:each other|the other|itself|one another))\b"
)
PATTERN = (
    r"\b(?:in |into |as |like |an? |the )*(?:grid|collage|tiles|tile pattern|repeating pattern|pattern"
    r"|wallpaper(?: pattern)?)(?: of (?:it|copies))?\b"
)

HALVES = (
    r"\b(?P<verb>mirror|reflect|copy|duplicate|flip|fold)(?:ed|ing)? (?:the |its )?(?P<from>left|right|top|bottom"
    r"|upper|lower)(?:[- ]hand)?(?: half| side| part)?"
    r"(?P<onto> (?:on|onto|to|over|into|across)(?: to)? (?:the |its )?(?:left|right|top|bottom|upper|lower"
    r"|other)(?:[- ]hand)?(?: half| side| one| part)?)?\b"
)
SYMMETRIC = r"\b(?:(?:perfectly |fully )?symmetric(?:al)?(?:ly)?|symmetri[sz]e[d]?|mirrored halves|mirror (?:the |both )?halves)\b"
KALEIDOSCOPE = rf"\bkaleidoscop(?:e|ic)\b{_EFFECT}(?: pattern)?"
