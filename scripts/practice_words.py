"""Wordings and subjects of the task set `practice` (`build_practice.py`). None of them stands in `validation` or `heldout`."""

from __future__ import annotations

# ------------------------------------------------------------------------------------------------ what exists is searched

PLACES = (
    "our school paper", "the parish newsletter", "a travel blog", "a class on the world around us", "the library's window",
    "a museum leaflet",
    "the evening course", "a quiz night", "my grandchildren", "the youth club", "a language course", "the village website",
    "a calendar page",
    "the reading corner", "a poster at the station",
)  # fmt: skip

FIND_WORDINGS = (
    "For {place}: a short text about {thing} with a photo.",
    "Write two sentences on {thing} and put a real picture beside them.",
    "I need a paragraph about {thing} for {place}, illustrated with a photograph.",
    "What should one know about {thing}? A photo would help.",
    "{Thing}: what is it, and how does it look in reality?",
    "A caption for a photo of {thing}, and the photo itself.",
    "Could you show me {thing} and tell me one thing about it?",
    "Explain {thing} to a six-year-old. She wants to see it, too.",
    "Please describe {thing} in plain words; add a real image so that nobody mistakes it.",
    "A note on {thing} for {place}. Find a fitting photograph.",
    "We are discussing {thing} tomorrow. Give me a short introduction with a picture to recognise it by.",
    "Today's word is {thing}. Say what it means and let the readers see it.",
    "Flash card: {thing}. Front: a genuine photo. Back: one sentence.",
    "Somebody asked me what {thing} looks like. Answer with words and a photo.",
    "An entry about {thing} for {place}, with evidence in the form of a picture.",
    "Tell the story behind {thing} in brief and look up an image of it.",
    "Short and friendly: {thing}, for {place}, one photo from the archive.",
    "I have never come across {thing}. Show it as it is and say where one meets it.",
    "Three facts about {thing}, and a picture taken from life.",
    "Is {thing} beautiful? Argue in two sentences and let a photograph speak.",
    "Make a page about {thing}. It should open with a real view of it.",
    "Help me recognise {thing}: how does one tell it, and what does it look like?",
    "Post of the day: {thing}, seen through a camera, with a comment.",
    "Compare {thing} with what people imagine; a true picture first.",
    "Guide to {thing} for beginners, one photograph, few words.",
    "Curious about {thing}. A picture, please, and why it matters.",
    "Write a museum label for {thing}; the exhibit must be seen.",
    "A riddle whose answer is {thing}, and a photo as the solution.",
)  # fmt: skip

# --------------------------------------------------------------------------------------------- numbers become a chart

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_YEARS = ("2018", "2019", "2020", "2021", "2022", "2023", "2024")
DATA = (
    ("ice cream sold", "scoops", _DAYS, 20, 200, "bar"), ("letters delivered", "", _DAYS, 10, 90, "bar"),
    ("swimmers in the pool", "", _DAYS, 30, 300, "line"),
    ("rain", "mm", _MONTHS, 10, 120, "bar"), ("electricity used", "kWh", _MONTHS, 100, 400, "line"),
    ("new members", "", _MONTHS, 1, 30, "bar"),
    ("eggs laid", "", _MONTHS, 40, 300, "line"), ("temperature at noon", "degrees", _DAYS, 5, 35, "line"),
    ("trees planted", "", _YEARS, 50, 900, "bar"),
    ("visitors of the castle", "thousand", _YEARS, 10, 90, "line"), ("books lent", "", _MONTHS, 100, 800, "bar"),
    ("goals of the season", "", ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn"), 1, 25, "bar"),
    ("favourite fruit of the class", "", ("apple", "pear", "plum", "cherry", "grape"), 2, 15, "pie"),
    ("how pupils come to school", "", ("bus", "bike", "car", "foot", "train"), 3, 30, "bar"),
    ("pets in our street", "", ("dogs", "cats", "birds", "fish", "rabbits"), 1, 20, "bar"),
    ("my day", "hours", ("sleep", "work", "play", "meals", "travel"), 1, 9, "pie"),
    ("money spent", "euros", ("rent", "food", "clothes", "travel", "books"), 20, 600, "pie"),
    ("length of the bridges", "m", ("north", "south", "east", "west"), 50, 900, "bar"),
    ("weight of the pumpkins", "kg", ("first", "second", "third", "fourth", "fifth"), 5, 60, "bar"),
    ("votes", "", ("red list", "green list", "blue list", "others"), 100, 900, "pie"),
    ("speed of the runners", "km/h", ("Ida", "Jon", "Kim", "Lea", "Max"), 8, 25, "bar"), ("pages read", "", _DAYS, 5, 90, "line"),
    ("plant height", "cm", ("week 1", "week 2", "week 3", "week 4", "week 5"), 1, 40, "line"),
    ("calls to the hotline", "", _DAYS, 20, 240, "bar"), ("bread baked", "loaves", _DAYS, 50, 400, "line"),
    ("snow on the pass", "cm", _MONTHS, 5, 200, "bar"),
    ("bikes sold", "", _YEARS, 100, 900, "line"), ("colours of the cars", "", ("white", "black", "red", "blue", "silver"), 5, 60, "pie"),
    ("points in the quiz", "", ("team A", "team B", "team C", "team D"), 5, 50, "bar"),
    ("waste by kind", "kg", ("paper", "glass", "metal", "plastic", "rest"), 10, 200, "pie"),
    ("fish caught", "", ("trout", "carp", "perch", "pike"), 1, 30, "bar"),
    ("pulse during the walk", "", ("start", "hill", "top", "rest", "end"), 60, 160, "line"),
)  # fmt: skip

CHART_WORDINGS = (
    "Here are our figures, {data}. Draw them and say what they show.",
    "{data}. Make a diagram of it and write a sentence.",
    "Turn this into a chart for {place}: {data}.",
    "I counted: {data}. Plot it, please, and comment.",
    "A graph and a remark on {data}.",
    "Numbers alone are boring: {data}. Make them visible.",
    "What do you read out of this? {data}. With a chart.",
    "{data}. Which is the largest? Show it graphically.",
    "For {place} I need these numbers as a picture: {data}.",
    "Please chart {data}, and tell {place} what to think of it.",
    "Bars, lines or slices, as you like: {data}. One sentence below.",
    "Write a short report on {data}. It needs a diagram.",
    "My notes say {data}. Can you visualise that?",
    "Here is a small table in words, {data}. Plot and explain.",
    "Show {place} how the values differ: {data}.",
    "Statistics of the week, {data}, as a chart with a headline.",
    "{data}. Put that on a slide: a chart and one line of text.",
    "Is there a pattern in {data}? Plot it and answer.",
    "A comment and a plot: {data}.",
    "The committee wants to see {data}. Prepare a figure and a summary.",
)  # fmt: skip

# --------------------------------------------------------------------------------------------- what is imagined is drawn

LOOKS = (
    "tiny", "sleepy", "golden", "paper", "woollen", "transparent", "brave", "two-headed", "striped", "glowing", "wooden", "blue",
    "gigantic", "polite", "snow-white",
    "clockwork", "moss-covered", "singing", "shy", "crystal", "purple", "very old", "chocolate", "flying", "upside-down",
    "invisible-tailed", "patchwork", "rusty", "feathered", "cheerful",
)  # fmt: skip
SOMEBODY = (
    "dragon", "fox", "robot", "giant", "mermaid", "knight", "teapot", "snail", "astronaut", "hedge witch", "bear", "pirate", "cloud",
    "cactus", "owl", "train", "mushroom", "cat",
    "lighthouse", "troll", "umbrella", "penguin", "wizard", "whale", "goblin", "violin", "mouse", "garden gnome", "phoenix", "suitcase",
    "moth", "elephant", "snowman", "sphinx",
)  # fmt: skip
DOING = (
    "reading by candlelight", "baking bread", "playing chess with the moon", "watering flowers", "riding a bicycle", "fishing for stars",
    "painting a door", "carrying a house",
    "juggling lanterns", "sailing on a leaf", "learning to dance", "looking for its shoes", "conducting an orchestra",
    "selling balloons", "building a bridge of rainbows",
    "waiting for a bus", "knitting a scarf", "guarding a treasure", "dreaming of summer", "climbing a ladder of clouds",
)  # fmt: skip
SOMEWHERE = (
    "in a floating city", "on the back of a turtle", "under a sky of two moons", "in a forest of glass", "at the bottom of the sea",
    "on a planet of sand", "inside of a bottle", "above the roofs of an old town",
    "in a castle of ice", "between giant sunflowers", "in a land of sweets", "on a bridge of light", "in the year 3000",
    "in a cave of crystals", "on a flying carpet",
)  # fmt: skip

DRAW_WORDINGS = (
    "Imagine {scene}. Describe it and paint it.",
    "A bedtime story in two sentences about {scene}, with an illustration.",
    "Draw {scene} for {place} and give the drawing a title.",
    "I dreamt of {scene}. Make that visible and write it down.",
    "Cover for a children's book: {scene}. Art and a blurb, please.",
    "Invent {scene}; we want to see it as a painting.",
    "A poster with {scene} for {place}: artwork and a slogan.",
    "How would {scene} look? Sketch it and comment.",
    "Write the first lines of a fantasy novel about {scene} and illustrate them.",
    "A greeting card with {scene}, in watercolour, and a wish.",
    "Concept art, please: {scene}. One sentence on the mood.",
    "Somewhere there is {scene}. Tell of it with a picture that you make up.",
    "Make an illustration of {scene} and a rhyme.",
    "For {place}, a cartoon of {scene} with a caption.",
    "A mural could show {scene}. Design it and say why.",
    "Create a tarot card: {scene}. Image and meaning.",
    "Let {scene} come alive in colours and words.",
    "A stamp with {scene}: draw the motif and name it.",
    "The album needs artwork: {scene}. And two lines about the music.",
    "Nobody has ever photographed {scene}. So paint it, with a short legend.",
)  # fmt: skip

# --------------------------------------------------------------------------------------------- what is there is changed

CHANGES = (
    ("in black and white", "make it black and white"), ("without any colour", "convert to grayscale"), ("brighter", "make it brighter"),
    ("much brighter", "make it much brighter"),
    ("a bit darker", "make it a little darker"), ("darker, as at night", "make it darker"), ("blurred", "blur it"),
    ("softly blurred", "blur it a little"), ("rotated by 90 degrees", "rotate it by 90 degrees"),
    ("turned on its side", "rotate it by 90 degrees"), ("turned upside down", "turn it upside down"),
    ("mirrored", "flip it horizontally"), ("with left and right exchanged", "mirror it"), ("in sepia tones", "make it sepia"),
    ("as if from an old album", "make it sepia"), ("in warmer colours", "make it warmer"), ("in cooler colours", "make it cooler"),
    ("with a blue tint", "tint it blue"), ("with a green tint", "tint it green"), ("with a red tint", "tint it red"),
    ("cropped to the left half", "crop to the left half"), ("cropped to the top half", "crop to the top half"),
    ("cut down to its centre", "crop to the center"), ("with the caption 'Hello'", "add the caption 'Hello'"),
    ("with the words 'New' below", "add the caption 'New'"), ("with 'Thank you' written on it", "add the caption 'Thank you'"),
)  # fmt: skip

EDIT_WORDINGS = (
    "Here is my picture of {thing}. I want it {change}, and a sentence to go with it.",
    "Give me this picture {change} and say something about {thing}.",
    "The photo that I sent shows {thing}. Return it {change} with a title.",
    "For {place} we need the picture {change}. Add a line about {thing}.",
    "Please make the picture of {thing} look different: {change}. And a comment.",
    "Could I have {thing} {change}? The picture is attached. One remark, please.",
    "Take my photo of {thing}, deliver it {change}, and write a caption below in the text.",
    "My picture, but {change}. Then tell {place} about {thing}.",
    "I would like to print this picture of {thing} {change}. What could stand beside it?",
    "Change the given picture: {change}. A short thought on {thing}, too.",
    "{Thing}, as in my photo, only {change}. Explain in a sentence.",
    "Rework what I gave you so that it is {change}; two sentences on {thing}.",
    "The layout wants {thing} {change}. Use the picture I uploaded and write the text.",
    "How does my picture of {thing} look {change}? Show me and comment.",
    "Same picture, {change}, for {place}. And a headline about {thing}.",
    "Adjust the picture that comes with this message, {change}, and describe {thing}.",
    "I took this of {thing}. It should be {change}. Tell me if that is better.",
    "From my file of {thing}: a version {change}, with a short note.",
)  # fmt: skip

# -------------------------------------------------------------------------------------------------------- two of them

DRAW_EDIT_WORDINGS = (
    "First draw {scene}, then give the same drawing {change}. A line for each.",
    "Paint {scene}. Below it, your painting once more, {change}. Short captions.",
    "Two pictures: {scene} as you imagine it, and that picture {change}. Comment on both.",
    "Sketch {scene} and show the sketch again {change}; what changes?",
    "An illustration of {scene}, followed by itself {change}. One sentence between them.",
    "Make up {scene}, draw it, and repeat the drawing {change}, with a few words.",
    "For {place}: artwork with {scene}, and a second version of it {change}.",
    "Spot the difference: draw {scene}, then your drawing {change}. Ask the question.",
    "Design {scene} and offer the design also {change}. Which is better?",
    "Create {scene} as a picture. Then the selfmade picture {change}. Tell a tiny story.",
)  # fmt: skip

FIND_EDIT_WORDINGS = (
    "Show {thing} in a photo, and the photo once more {change}. A line for each.",
    "Find a picture of {thing}; below it the same one {change}. Comment.",
    "{Thing} twice: as photographed, and {change}. Two short captions.",
    "Look up {thing} and present it plain and {change}, with a few words.",
    "A real photo of {thing} and a version of it {change} for {place}.",
    "Start with a photograph of {thing}, end with it {change}; a sentence between.",
)  # fmt: skip

FIND_CHART_WORDINGS = (
    "A photo of {thing} for the top of our report, and a chart of {data}.",
    "Page for {place}: {thing} as a photograph, and these numbers as a diagram: {data}.",
    "Show {thing} as it is, then plot {data}. Few words.",
    "Two figures: a real picture of {thing}, and a graph of {data}. Explain both.",
)  # fmt: skip

DRAW_CHART_WORDINGS = (
    "Draw {scene} for the title, and chart {data}. Few words.",
    "A fantasy report: an illustration of {scene}, and a graph of {data}.",
    "For {place}: a painting of {scene}, and the numbers as a diagram: {data}.",
    "Two figures: {scene}, drawn, and a plot of {data}. Explain both.",
)  # fmt: skip

# ------------------------------------------------------------------------------------------------------------- none

ADVICE = (
    "how to fall asleep", "what to say to a new neighbour", "how to fold a shirt", "why bread rises", "how to learn vocabulary",
    "what a metaphor is", "how to remove a splinter", "whether to buy or to rent",
    "how to write an apology", "why leaves fall", "how to choose a melon", "what inflation means", "how to calm a crying child",
    "why the sea is salty", "how to pack a suitcase", "what makes a good teacher",
)  # fmt: skip
WORDS_ONLY = (
    "In words only, please: {advice}.",
    "Tell me {advice}. I read on a text display, so no pictures.",
    "Just a short answer, nothing to look at: {advice}?",
    "For a radio programme: {advice}. Two sentences.",
    "Dictate to me {advice}, plain text.",
    "No figures, no photos; simply say {advice}.",
    "I only have room for text: {advice}?",
    "Write down {advice} in two sentences. Leave it unillustrated.",
)  # fmt: skip
