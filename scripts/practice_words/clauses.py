"""Clauses that are put together by chance, for the tasks of which whole sentences alone gave too few: two pictures, and none.

`{thing}` is an everyday thing with its article ("a red kettle", "the lighthouse"), `{change}` how a picture is wanted ("in sepia tones"),
`{do}` an order about the picture before, `{data}` numbers, `{request}` something
to be written.
"""

from __future__ import annotations

DRAWN = (
    "Draw {thing}", "Paint {thing}", "Sketch {thing} for {place}", "Illustrate {thing}", "Make a drawing of {thing}",
    "{Thing} as an illustration", "A cartoon of {thing}", "Design {thing} for {place}", "We need {thing}, hand-drawn",
    "Please draw {thing} for {people}", "Put {thing} on paper", "{Thing}, painted by you", "A simple drawing of {thing}",
    "An invented picture of {thing}", "For {place}, draw {thing}", "{Thing} for {place}, as artwork", "Start by drawing {thing}",
    "Give us {thing} as a painting", "A logo with {thing}", "A sticker with {thing}", "An icon of {thing} for {place}",
    "I'd like {thing} drawn", "Make {thing} our emblem and draw it", "Picture 1: {thing}, drawn", "On top {thing}, sketched by hand",
    "Come up with a picture of {thing}", "Our card shows {thing}, painted", "Colour in {thing} for {people}", "One illustration: {thing}",
    "{Thing}, as a child would paint it", "Create artwork of {thing}", "Doodle {thing}", "Draw me {thing}", "A comic picture of {thing}",
    "Try a watercolour of {thing}", "The first drawing shows {thing}", "{Thing} in a drawing of yours", "Make up {thing} with your brush",
    "Here goes {thing}, freshly drawn", "A sign with {thing} on it, designed by you",
)  # fmt: skip
"""Something is drawn."""

FOUND = (
    "A photo of {thing}", "Find {thing}", "Show {thing} as it looks in reality", "Look up {thing}", "{Thing}, photographed",
    "A real picture of {thing} for {place}", "Get a photograph of {thing}", "Search a photo of {thing}",
    "For {place}, a true view of {thing}", "{Thing} from the picture library", "Let {people} see {thing} in a photo",
    "First a photo, showing {thing}", "Bring us {thing} from the archive", "{Thing} in a genuine photograph", "Picture 1: a photo of {thing}",
    "Fetch a picture of {thing} as it exists", "We need to see the real {bare}", "What does {thing} look like? Show it",
    "On top {thing}, real", "A camera's view of {thing}", "Add a photo of {thing}", "Open with a photograph of {thing}",
    "{Thing} for {place}, no drawing but a photo", "An authentic image of {thing}", "Please look for a picture of {thing}",
    "One photo: {thing}", "Show us {thing} the way a visitor sees it", "Pick a photo of {thing} for {people}",
    "Documentary picture of {thing}", "{Thing}: a shot from real life",
)  # fmt: skip
"""A photo is looked for. `{bare}` is the thing without its article."""

CHARTED = (
    "a graph of {data}", "the numbers as a diagram: {data}", "a chart with {data}", "{data} as bars", "{data} in a figure with axes",
    "a diagram that shows {data}", "statistics in graphic form, {data}", "numbers for {people} to see at a glance, {data}",
    "what we counted, plotted: {data}", "our figures, {data}, as a graph", "an infographic of {data}", "one plot: {data}",
    "a small diagram, {data}",
)  # fmt: skip
"""Numbers as a chart, as a second clause."""

CHART_IT = (
    "chart {data}", "plot {data}", "visualise {data}", "graph this, too: {data}", "draw up {data} as a chart", "turn {data} into a diagram",
    "put {data} into a chart", "let {people} see {data} in a figure",
)  # fmt: skip
"""The same as an order."""

CHANGED = (
    "that {kind} {change}", "the same one {change}", "this picture again, {change}", "your {kind} once more, {change}", "it again, {change}",
    "the very picture {change}", "the same {bare} {change}", "a copy of it {change}", "a second version {change}",
    "a twin of that picture {change}", "the first picture {change}", "the original {change}", "this same {bare} again, {change}",
    "one more copy, {change}", "a variant of your picture {change}", "our {bare} a second time, {change}", "an altered copy, {change}",
    "the result {change}", "that very {bare} {change}", "the picture from before {change}",
)  # fmt: skip
"""The picture before is wanted in another way, as a second clause. `{kind}` is drawing or photo."""

THEN = (
    "; then {second}.", ", then {second}.", ". Below: {second}.", ", and below it {second}.", "; underneath, {second}.",
    ". After that, {second}.", ", followed by {second}.", ". Next to it, {second}.", "; beside it {second}.", ", plus {second}.",
    ". And {second}.", " and {second}.", ". Also {second}.", "; second, {second}.", ". Next page: {second}.", ", on the back {second}.",
    ". Finally {second}.", "; at the end {second}.", ". To compare: {second}.", " as well as {second}.", "; further down {second}.",
    ". Picture 2: {second}.", ". For a change, {second}.", ", later {second}.", ". In the second figure: {second}.",
)  # fmt: skip
"""How two clauses are joined. `{second}` is the other one."""

THEN_DO = (
    "; then {second}.", ", then {second}.", ". After that, {second}.", ". And {second}.", " and {second}.", ". Next page: {second}.",
    ". Finally {second}.", "; at the end {second}.", ". To compare, {second}.", ". Afterwards please {second}.", ", later {second}.",
    ". Second step: {second}.",
)  # fmt: skip
"""The same for an order."""

ENDS = (
    "", "", "", " A line each.", " Short captions, please.", " Two sentences in all.", " Few words.", " Say what differs.", " With a remark.",
    " Explain briefly.", " A short note to both.", " Comment on it for {people}.", " Give the text a title.", " Ask a question about it.",
    " A friendly tone, please.", " Keep the text short.", " It is for {place}.", " Tell {people} what they see.", " Close with a thought.",
    " Close with a slogan.",
)  # fmt: skip

REQUESTS = (
    "write two sentences about {topic}", "write a line about {topic}", "describe {topic} in three lines", "a short poem about {topic}",
    "write a greeting that mentions {topic}", "write a postcard text about {topic}", "tell a joke about {topic}",
    "write a riddle about {topic}", "a note to {people} about {topic}", "write a complaint about {topic}", "a thank-you letter for {topic}",
    "make up a rhyme on {topic}", "write four lines on {topic}", "tell {people} a tiny story about {topic}",
    "write an announcement about {topic}", "what does {topic} mean to you?", "a two-line review of {topic}", "a motto about {topic}",
    "write a text message about {topic}", "a memory of {topic}, in a sentence", "explain to {people} what {topic} is good for",
    "an advertisement in one sentence for {topic}", "say something kind about {topic}", "write a short speech about {topic}",
    "a prayer that mentions {topic}", "write the first sentence of a novel about {topic}", "describe the sound of {topic}",
    "describe the smell of {topic}", "a diary entry about {topic}", "why do people like {topic}?",
)  # fmt: skip
"""Something to be written for which a picture would come to mind."""

TOPICS = (
    "a snowy street", "the old harbour", "a wedding cake", "my grandmother's kitchen", "a storm at night", "a broken umbrella",
    "a red bicycle", "the first day of school", "a sleeping cat", "a late train", "the smell of bread", "a rainy Sunday",
    "our new neighbours", "a lost balloon", "the village fair", "a cold lake", "a long queue", "the moon over the roofs", "a barking dog",
    "a picnic in the park", "a birthday party", "an empty theatre", "a garden in May", "a boring meeting", "a dripping tap",
    "a campsite by the river", "a crowded bus", "the last ice cream", "a christening", "a golden anniversary", "my driving test",
    "a hotel breakfast", "a noisy street", "a football match", "an apple tree", "a flat tyre", "the sea in winter", "a spilled coffee",
    "a night shift", "a secret letter", "the fog over the fields", "a new pair of shoes", "a power cut", "a butterfly on a sleeve",
    "a country road", "a burnt cake", "the neighbour's piano", "a sunset", "a hot summer", "a farewell", "a silver wedding",
    "a visit to the zoo", "a missed flight", "a wooden bench", "an old photograph", "the town clock", "a heavy suitcase", "a child's drawing",
    "a cup of tea", "a shop window at Christmas", "leaves in autumn", "an umbrella stand", "a ferry crossing", "the market square",
    "a chart that nobody understood", "a camera left on the bus", "a painting in the hall", "falling numbers at work", "the night sky",
)  # fmt: skip

UNILLUSTRATED = (
    "{Request}. No pictures.", "{Request}, without pictures.", "{Request}. Don't add images.", "Text only: {request}.",
    "{Request}; words only.", "Please {request}, with no illustration.", "{Request}. I want no photos and no drawings.",
    "No images here: {request}.", "{Request}, as plain text.", "In writing only: {request}.", "{Request}. It must not have a picture.",
    "{Request}. Do not illustrate it.", "Pictures are not needed. {Request}.", "{Request}, unillustrated.", "{Request}. Just words, please.",
    "Only text fits here: {request}.", "{Request}. Omit all pictures.", "Without drawing anything, {request}.",
    "{Request}. Do without images.", "For the radio: {request}.", "{Request}. Nothing to look at, please.",
    "{Request}. Pictures would only disturb.", "Skip the images: {request}.", "{Request}. No photo, no chart, no drawing.",
    "{Request}. Letters only.", "{Request}, and please no image.", "Using words alone, {request}.",
    "{Request}. This page stays without a picture.", "An audio text: {request}.", "{Request}. The reader is blind.",
    "{Request}; refrain from pictures.", "I need nothing but text: {request}.",
)  # fmt: skip
"""No picture is wanted. `{request}` is what is to be written."""
