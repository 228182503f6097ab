"""The vocabulary of edits that change how a picture looks, not its shape: contrast, colours, grain, outlines; as `first_words`."""

from __future__ import annotations

from llmi_env.tools.edit.context_words import COUNT, PLAIN_COLOUR, WHOLE
from llmi_env.tools.edit.first_words import GRAYSCALE, STRONG, WEAK, any_of

_THE = r"(?:(?:the|its|all|all the|overall|this|some|your) )"
_EFFECT = r"(?: (?:effects?|filters?|looks?|styles?|treatment|version))?"

# ------------------------------------------------------------------------------------------------ measures, up and down

_MEASURE = (
    r"(?:contrast|(?:colou?r )?(?:saturation|vibrance|vibrancy|intensity)|brightness|exposure|sharpness|clarity|gamma)"
)
_MEASURES = rf"(?P<measures>{_MEASURE}(?:(?:,? and|,? &|,) {_THE}?{_MEASURE})*)\b"
UP = any_of(
    "increas(?:e|ed|ing) rais(?:e|ed|ing) boost(?:ed|ing)? enhanc(?:e|ed|ing) strengthen(?:ed)? intensify intensified amplify heighten "
    "improv(?:e|ed) bump_up crank_up turn_up push_up bring_up dial_up pump_up up add more extra higher high greater stronger strong deeper "
    "better"
)
DOWN = any_of(
    "decreas(?:e|ed|ing) reduc(?:e|ed|ing) lower(?:ed|ing)? turn_down tone_down bring_down dial_down less lessen(?:ed)? drop cut "
    "weaken(?:ed)? weaker soften(?:ed)? softer soft low weak minimi[sz]e diminish flatten"
)
_TIMES = any_of("doubl(?:e|ed) tripl(?:e|ed) halv(?:e|ed) twice half")
_BETWEEN = rf"(?: (?:the|its|overall|some|more|of|{WHOLE}'s|{WEAK}|{STRONG}))*"
ADJUST = rf"\b(?P<verb>{UP}|{DOWN}|{_TIMES}){_BETWEEN}[ -]{_MEASURES}(?:[ -]level| value)?"
ADJUST_AFTER = (
    rf"\b(?:(?:turn|bring|dial|crank|pump|push|pull|bump|put|make|move) )?{_THE}?{_MEASURES}"
    rf"(?: (?:of|in) {WHOLE})?(?: (?:should|must|needs?|to|be|is|made|{WEAK}|{STRONG}))*"
    r" (?P<verb>up|higher|stronger|greater|increased|boosted|raised|down|lower|weaker|softer|reduced|lowered)\b"
)
SET = (
    rf"\b(?:(?:set|change|adjust|put|bring|turn|increase|raise|boost|reduce|lower|decrease|cut) )?{_THE}?{_MEASURES}"
    rf"(?: of {WHOLE})?(?: (?:at|to|of)|:| ?=)? ?(?P<sign>[-+−]?)(?P<percent>\d{{1,3}}) ?(?:%|percent\b|per cent\b)"
)
CONTINUED = rf"{_MEASURES}(?= (?:by )?\d)"
GAMMA = r"\bgamma(?: correction)?(?: (?:to|of|at|by|with)|:| ?=)? ?(?P<value>\d{1,2}(?:\.\d{1,3})?)\b(?! ?%)"
GAMMA_CORRECTION = r"\bgamma[- ]correct(?:ion|ed)?\b"
CONTRASTY = r"\b(?:(?P<less>less (?:contrasty|punchy)|flatter)|(?:more )?(?:contrasty|contrasted|contrasting|punchy|punchier)|more punch)\b"
AUTO_CONTRAST = (
    r"\b(?:auto(?:matic(?:ally)?)?[- ]?(?:(?:adjust|correct|fix|set|improve)(?:ed)? )?(?:the )?(?:contrast|levels?|correct(?:ion|ed)?|tone)"
    rf"|(?:normali[sz]e|stretch|fix|correct|optimi[sz]e|balance|expand) {_THE}?(?:contrast|levels|histogram|tonal range)"
    r"|(?:contrast|histogram|levels?) (?:stretch(?:ing|ed)?|normali[sz]ation|normali[sz]ed)|normali[sz]e)\b"
)
EQUALIZE = (
    rf"\b(?:equali[sz](?:e|ed|ing|ation)(?: {_THE}?(?:histogram|contrast|tones|levels|brightness))?"
    r"|histogram equali[sz]ation|even out the (?:tones|contrast|light))\b"
)
POP = rf"\b{WHOLE} (?:really )?pop(?: out)?(?: more)?\b"

# ------------------------------------------------------------------------------------------------ shadows and highlights

_DARK_PARTS = r"(?:shadows(?: details?)?|shadow (?:areas|details?|tones)|dark(?:er|est)? (?:areas|parts|tones|regions|spots|bits)|blacks)"
_LIGHT_PARTS = (
    r"(?:highlights|(?:bright|light)(?:er|est)? (?:areas|parts|tones|regions|spots|bits)|whites|highlight details?)"
)
_PART = rf"(?:(?P<dark>{_DARK_PARTS})|(?P<light>{_LIGHT_PARTS})|(?P<middle>mid-?tones))\b"
PARTS_UP = (
    rf"\b(?:lift|raise|brighten|lighten|open(?: up)?|boost|increase|fill(?: in)?|bring up|push up|lighter|brighter"
    rf"|more){_BETWEEN} {_PART}"
)
PARTS_DOWN = (
    r"\b(?:deepen|darken|crush|lower|reduce|tame|recover|decrease|tone down|turn down|bring down|pull down|dim|darker|deeper|soften"
    rf"|rescue|cut){_BETWEEN} {_PART}"
)
PARTS_RECOVERED = rf"\b(?:recover|rescue|bring out|reveal|restore){_BETWEEN} (?:(?:details? )?(?:in|from) the )?(?P<dark>{_DARK_PARTS})\b"

# ------------------------------------------------------------------------------------------------ colours

_COLOURS = r"colou?rs?"
_RICH = r"(?:rich|bold|strong|intense|deep|punchy|lively|vivid|vibrant|saturated)"
_RICHER = r"(?:richer|bolder|stronger|deeper|punchier|livelier|more (?:intense|vivid|vibrant|saturated|lively)|pop|stand out|glow)"
VIVID = (
    rf"\b(?:(?:boost|enhance|intensify|increase|strengthen|amplify|enrich|deepen|bring out|pump up|turn up|punch up"
    rf"|pop|saturate){_BETWEEN} "
    rf"(?:{_COLOURS})|(?:more|extra) colou?r|{_RICH}(?:er)? {_COLOURS}|turn {_THE}?{_COLOURS} up|{_COLOURS}(?: (?:be"
    rf"|look|really|to|that|a bit|much|even))* {_RICHER}"
    rf"|colou?r boost|(?:more |extra )?(?:vivid(?:ly)?|vibrant(?:ly)?|colou?rful(?:ly)?|(?:over-?)?saturate[d]?)(?: {_COLOURS})?)\b"
)
MUTED = (
    rf"\b(?:(?:mute|muted|subdue|subdued|tone down|reduce|lower|decrease|soften|weaken|turn down|dull|fade){_BETWEEN} {_COLOURS}"
    rf"|less (?:vivid|vibrant|colou?rful|saturated|intense(?: {_COLOURS})?|colou?r)|muted|subdued"
    rf"|(?:pale|paler|pastel|dull|duller|softer|weaker|quieter) (?:{_COLOURS}|tones?)|pastel|paler|duller|un-?saturated"
    rf"|{_COLOURS}(?: (?:be|look|a bit|much))* (?:paler|softer|duller|weaker|less (?:intense|vivid|vibrant|saturated)))\b"
    r"(?: look| tones?)?"
)
PARTLY_GRAY = (
    rf"\b(?:part(?:ial(?:ly)?|ly)|half|half-?way) (?:desaturate|desaturated|gr[ae]y(?:scale)?)\b"
    rf"|\bdesaturate(?:d)?(?= (?:{WHOLE} )?(?:by|to) )"
)
WASHED_OUT = rf"\b(?:washed[- ]?out|faded(?! (?:sepia|{PLAIN_COLOUR}))){_EFFECT}"
INVERT = (
    rf"\b(?:invert(?:ed|ing)?(?: {_THE}?(?:colou?rs?|tones?|values|light and dark))?|colou?r inversion|inverse colou?rs|inversion"
    rf"|(?:reverse|negate|flip|opposite|complementary) {_THE}?colou?rs|negate(?:d)?)\b{_EFFECT}"
)
NEGATIVE = (
    r"\b(?:(?:photo(?:graphic)?|film|colou?r) )?negatives?\b"
    rf"(?: (?:image|photo|picture|print|effect|look|filter|film|version|colou?rs))?(?: of {WHOLE})?"
)
XRAY = r"\b(?:an? )?x-?ray\b(?: (?:look|effect|style|image|photo|filter|picture|version))?"

_SOURCE = r"(?P<source>reds?|oranges?|yellows?|greens?|cyans?|turquoises?|blues?|purples?|violets?|pinks?|magentas?)"
_OF_IT = r"(?: (?:parts?|areas?|tones?|colou?rs?|pixels|bits|things|elements|regions|hues?|shades))?"
RECOLOUR = (
    r"\b(?:turn|change|make|recolou?r|convert|replace|swap|paint|colou?r|shift)(?:ed|ing)? "
    rf"(?:(?:all|everything|anything|every|of|the|that is|which is) )*{_SOURCE}\b{_OF_IT}(?: (?:of|in) {WHOLE})? "
    rf"(?:(?:to|into|with|by|be|become|appear|as|for|a|an|the) )*(?P<colour>(?!sky (?!blue)){PLAIN_COLOUR})(?: ones?| tones?| colou?r)?\b"
)
SWAP = (
    rf"\b(?:swap|exchange|switch|interchange)(?:ped|d)? {_THE}?(?P<one>red|green|blue)s?(?: channels?)? (?:and|with|for|&) "
    r"(?:the )?(?P<other>red|green|blue)s?(?: (?:colou?r )?channels?| colou?rs?| values)?\b"
)
HUE = (
    rf"\b(?:(?:shift|rotat(?:e|ing)|cycle|change|turn|move|adjust|spin)(?:ed)? {_THE}?(?:hues?|colou?r wheel|colou?rs)(?: of {WHOLE})?"
    r"|(?:hue|colou?r) (?:shift|rotation)|hue[- ]?(?:shifted|rotated))\b"
)
HUE_DEGREES = (
    r"(?:\b(?:by|of|to|around|about) )*(?<![\w.#:])(?P<degrees>-?\d{1,4}(?:\.\d+)?) ?(?:°|deg(?:rees?)?\b)"
    r"|\bby (?P<bare>-?\d{1,3})\b(?! ?%)"
)
_KEPT = rf"(?:the |its |only |just )*{_SOURCE}\b{_OF_IT}(?: (?:of|in) {WHOLE})?"
_REST = rf"(?:,? (?:and |with |but )?(?:the rest|everything else|all else)(?: (?:in|is|be|to))* (?:{GRAYSCALE}))?"
SPLASH = (
    rf"(?:{GRAYSCALE})(?: \w+)? (?:except|but|apart from|other than|save)(?: for)? {_KEPT}",
    (
        rf"\b(?:everything|all|anything)(?: (?:except|but|apart from|other than|save))(?: for)? {_KEPT}(?: (?:to|into|in"
        rf"|is|be|becomes?))* (?:{GRAYSCALE})"
    ),
    (
        rf"\b(?:colou?r[- ]?(?:splash|pop)|selective colou?r(?:ing)?|spot colou?r)(?: effect)?:?(?: (?:of|on|in|with|for"
        rf"|that keeps))? {_KEPT}{_REST}"
    ),
    rf"\b(?:keep|leave|show)(?: only| just) {_KEPT}(?: (?:in colou?r|coloured|colored|as (?:it|they) (?:is|are)))?{_REST}",
    rf"\b(?:only|just) {_KEPT} in colou?r{_REST}",
)

# ------------------------------------------------------------------------------------------------ few tones

POSTERIZE = rf"\b(?:posteri[sz](?:e|ed|ing|ation)|poster (?:effect|look|style|filter)|pop[- ]art){_EFFECT}\b"
LEVELS = (
    rf"\b(?:to|with|in|into|using|at)? ?(?:only |just )?(?P<levels>{COUNT}) (?P<what>levels?|tones?|steps|shades"
    rf"|colou?rs?)(?: per channel)?\b"
)
FEW_COLOURS = (
    rf"\b(?:reduce|limit|restrict|quanti[sz]e|simplify|cut)(?:d|ed)? (?:{WHOLE} |{_THE}?(?:colou?rs|palette"
    rf"|number of colou?rs)(?: of {WHOLE})? |down )*"
    rf"to (?:only |just |a palette of )*(?P<levels>{COUNT})(?: (?:colou?rs?|tones|shades))?\b(?! ?[%x])|\b(?:only"
    rf"|just) (?P<only>{COUNT}) colou?rs?\b"
)
SOLARIZE = rf"\b(?:solari[sz](?:e|ed|ing|ation)|sabatt?ier){_EFFECT}\b"
THRESHOLD = (
    rf"\b(?:threshold(?:ed|ing)?|stencil|two[- ]tone|(?:pure|only|just) black (?:and|&) white (?:only"
    rf"|without gr[ae]y)?|no gr[ae]ys?){_EFFECT}"
)
DITHER = rf"\b(?:dither(?:ed|ing)?|1-?bit|one-bit|newspaper print|newsprint){_EFFECT}\b"

# ------------------------------------------------------------------------------------------------ texture

DENOISE = (
    r"\b(?:de-?nois(?:e|ed|ing)|despeckled?|(?:remove|reduce|less|clean(?: up)?|get rid of|filter(?: out)?|smooth(?: out)?|take out)"
    rf"(?: {_THE})?(?: of)? ?(?:the )?(?:(?:image|digital|film|colou?r) )?(?:noise|grain(?:iness)?|speckles|specks)|less (?:noisy|grainy)"
    r"|noise (?:reduction|removal))\b"
)
HINT = r"\ba (?:hint|touch|dash) of\b"
NOISE = rf"\b(?:(?:film|digital|random|gaussian|photo(?:graphic)?|fine|coarse|old) )*(?:noise|grain)\b{_EFFECT}"
GRAINY = r"\b(?:more )?(?:grainy|grainier|noisy|noisier|speckled)\b(?: look| effect)?"
COLOUR_NOISE = r"\b(?:colou?r(?:ed|ful)?|rgb)(?= (?:noise|grain))"
PIXELATE = (
    r"\b(?:pixell?at(?:e|ed|ing|ion)|pixell?i[sz]ed?|(?:8|eight)-?bit|low[- ]?res(?:olution)?|blocky|pixel[- ]art)\b"
    + _EFFECT
)
MOSAIC = rf"\bmosaic\b{_EFFECT}"
BLOCKS = (
    r"\b(?:with|of|in|into|using|to)? ?(?:blocks? of )?(?P<size>\d{1,4})(?: ?(?:px|pixels?)| pixel)?[- ]?(?:wide "
    r"|big |large )?(?:blocks?|squares|px|pixels?)\b|\b(?:with |of )?(?:a )?block size (?:of "
    r"|= ?)?(?P<block>\d{1,4})(?: ?(?:px|pixels?))?\b"
)
BLOCK_SIZE = (
    r"\b(?:with|of|in|into|using)? ?(?:(?P<large>big|large|coarse|huge|chunky)|(?P<small>small|fine|tiny)) (?:blocks?"
    r"|pixels?|squares|tiles)\b"
)
OLD_SEPIA = r"\b(?:vintage|antique|old|retro|classic|aged|faded) sepia(?:[- ](?:toned?|filter|tint|effect|look))?\b"
BLUR_RADIUS = (
    r"\b(?:gaussian )?blur(?:red)?\b(?: (?:it|the (?:image|picture|photo)))?(?: with| using| by)?(?: an?"
    r"| the)? radius (?:of |= ?)?(?P<radius>\d{1,3})\b"
    r"(?: ?(?:px|pixels?))?"
)
EMBOSS = rf"\b(?:emboss(?:ed|ing)?|bas-?relief|relief (?:effect|look|style|filter)|engrav(?:e|ed|ing)(?: effect| look| style)?){_EFFECT}\b"
SKETCH = (
    rf"\b(?:(?:black and white |simple |rough )?(?:pencil|charcoal|graphite|ink|pen|hand[- ]drawn|line"
    rf"|outline)[- ](?:sketch|drawing|art|lines?|work)"
    rf"|(?:pencil |outline )?sketch(?:ed|y)?(?: drawing)?|line[- ]?art|(?:only |just )?outlines?(?: only| drawing)"
    rf"|(?:(?<=into a )|(?<=like a )|(?<=make it a ))drawing){_EFFECT}\b"
)
CHARCOAL = r"\bcharcoal\b"
EDGES = (
    rf"\b(?:(?:find|detect|trace|extract|draw|highlight|show|outline|keep|emphasi[sz]e)(?: (?:only"
    rf"|just))? {_THE}?(?:edges|outlines|contours)(?: only)?"
    rf"|edge[- ](?:detect(?:ion|ed)?|filter|map)|(?:only|just) (?:the )?(?:edges|outlines|contours)|edges only){_EFFECT}\b"
)
VIGNETTE = (
    rf"(?:\b(?P<colour>{PLAIN_COLOUR})[- ])?(?:\b(?:{WEAK}|{STRONG}|dark|classic|round|circular|oval|gradual|light|photographic|vintage) )*"
    rf"\bvignett(?:e|ed|es|ing)\b{_EFFECT}(?: in (?P<ink>{PLAIN_COLOUR}))?"
)
DARK_EDGES = (
    r"\b(?:dark(?:en(?:ed)?|er)?|(?P<light>(?:bright|light)(?:en(?:ed)?|er)?)) "
    rf"(?:(?:the|its|all|toward?s|at|around|on|outer) )*(?:edges|corners|borders)(?: of {WHOLE})?\b"
)
FADED_EDGES = (
    rf"\bfad(?:e|es|ed|ing)(?: (?:out|{WHOLE}|(?:the )?(?:edges|corners)))*(?: (?:to|into) (?P<colour>{PLAIN_COLOUR}))?"
    rf"(?: (?:(?:at|toward?s|around|on) )?the (?:edges|corners|borders))?\b"
)
