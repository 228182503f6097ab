"""Subjects of the task set `practice` (`build_practice.py`): what is drawn, changed and counted. None stands in what is evaluated."""

from __future__ import annotations

PLACES = (
    "our school paper", "the parish newsletter", "a travel blog", "a class on the world around us", "the library's window",
    "a museum leaflet",
    "the evening course", "a quiz night", "my grandchildren", "the youth club", "a language course", "the village website",
    "a calendar page",
    "the reading corner", "a poster at the station",
)  # fmt: skip

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

ADVICE = (
    "how to fall asleep", "what to say to a new neighbour", "how to fold a shirt", "why bread rises", "how to learn vocabulary",
    "what a metaphor is", "how to remove a splinter", "whether to buy or to rent",
    "how to write an apology", "why leaves fall", "how to choose a melon", "what inflation means", "how to calm a crying child",
    "why the sea is salty", "how to pack a suitcase", "what makes a good teacher",
    "how to greet a king", "why cats purr", "what courage is", "how to keep a secret", "why we yawn",
    "how to get rid of ants", "a complaint about cold soup",
    "what a comma is for", "how to thank a teacher", "a limerick about a lost sock",
    "why the sky is blue", "how to say no politely", "what patience means", "a wish for a new year", "how to store potatoes",
)  # fmt: skip

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

PARTS = (
    ("our budget", ("staff", "rent", "material", "adverts", "reserve")), ("the bouquet", ("roses", "tulips", "lilies", "greenery")),
    ("the choir", ("sopranos", "altos", "tenors", "basses")), ("our heating", ("gas", "oil", "wood", "heat pumps")),
    ("the forest", ("oak", "beech", "pine", "birch", "larch")), ("my week", ("office", "family", "sport", "sleep", "errands")),
    ("the mixture", ("sand", "gravel", "cement", "water")), ("the fleet", ("vans", "lorries", "cars", "bicycles")),
    ("our readers", ("on paper", "by phone", "by tablet", "by radio")), ("the soup", ("leek", "carrot", "onion", "celery")),
    ("the languages in class", ("English", "Polish", "Turkish", "Italian", "Greek")),
    ("donations", ("firms", "families", "clubs", "others")),
    ("the playlist", ("jazz", "rock", "folk", "opera", "pop")), ("the island", ("beach", "rock", "meadow", "village")),
)  # fmt: skip
"""A whole and what it consists of, in percent."""

SERIES = (
    ("our debts were", "thousand"), ("the lake stood at", "cm"), ("the baby weighed", "kg"), ("I jogged", "km"), ("we had", "guests"),
    ("the shop took", "euros"), ("the candle measured", "cm"), ("fever was", "degrees"), ("the snail covered", "metres"),
    ("he did", "push-ups"), ("the course counted", "pupils"), ("rent came to", "euros"), ("the battery held", "hours"),
    ("the bees made", "kg"), ("we lost", "balls"),
    ("the glacier shrank by", "metres"), ("she answered", "letters"), ("the well gave", "litres"),
)  # fmt: skip
"""What was measured again and again, and its unit."""

SPANS = (
    "days", "nights", "seasons", "tries", "rounds", "winters", "summers", "lessons", "Sundays", "visits", "matches", "harvests",
    "terms", "decades", "hours", "school years",
)  # fmt: skip

SPREADS = (
    "our dice showed", "the shoe sizes are", "waiting times in minutes were", "the beans measured in cm", "marks in the test were",
    "the guests' ages are", "eggs weighed in grams", "arrows hit the rings", "the family sizes are", "bus delays in minutes were",
)  # fmt: skip

CURVES = (
    ("the square root of x", "np.sqrt(x)", 0, 9), ("the sine", "np.sin(x)", 0, 10), ("the sine of 2x", "np.sin(2*x)", 0, 6),
    ("the exponential function", "np.exp(x)", -2, 2), ("e to the minus x", "np.exp(-x)", 0, 5), ("the logarithm", "np.log(x)", 1, 10),
    ("one divided by x", "1/x", 1, 8), ("the tangent", "np.tan(x)", -1, 1), ("x to the fourth", "x**4", -2, 2),
    ("the square of x", "x**2", -4, 4), ("a damped wave, sine times e to the minus x", "np.sin(5*x)*np.exp(-x)", 0, 4),
    ("the bell curve", "np.exp(-x**2)", -3, 3), ("the hyperbolic tangent", "np.tanh(x)", -3, 3), ("two to the power of x", "2**x", 0, 5),
)  # fmt: skip
"""Functions in words, as code, and where they are looked at. Lines and parabolas are made from numbers."""

CAPTIONS = (
    "Hello", "Welcome home", "For sale", "Happy birthday", "Closed on Monday", "Good luck", "Save the date", "Thank you", "New here",
    "Summer 1987", "Mind the step", "Our team", "Try me", "Made by hand", "No entry", "With love", "Last chance", "On tour", "Keep calm",
    "Free entry", "Room 12", "Back soon", "Wanted", "The winner", "Do not feed", "Home", "Season's end", "Coming soon", "Best of all",
    "Ask me", "To the sea", "First prize", "Quiet please", "See inside", "Half price", "Tomorrow",
)  # fmt: skip

LETTERED = (
    "with the words '{words}' on it", "with '{words}' written on it", "with the caption '{words}'", "lettered '{words}'",
    'with "{words}" across it', 'saying "{words}"', 'with the line "{words}" below', 'captioned "{words}"', "bearing the text '{words}'",
)  # fmt: skip

ORDERS = (
    ("take the colour out of {it}", "make it black and white"), ("convert {it} to grayscale", "convert it to grayscale"),
    ("turn {it} into black and white", "make it black and white"), ("let {it} do without colours", "make it grayscale"),
    ("brighten {it}", "make it brighter"),
    ("let more light into {it}", "make it brighter"), ("lighten {it} a little", "make it a little brighter"),
    ("darken {it}", "make it darker"), ("make night of {it}", "make it darker"), ("dim {it} a bit", "make it a little darker"),
    ("blur {it}", "blur it"), ("make {it} hazy", "blur it"), ("put {it} out of focus", "blur it"), ("sharpen {it}", "sharpen it"),
    ("get {it} crisper", "make it sharper"),
    ("turn {it} by 90 degrees", "rotate it by 90 degrees"), ("lay {it} on its side", "rotate it by 90 degrees"),
    ("rotate {it} by 45 degrees", "rotate it by 45 degrees"), ("stand {it} on its head", "turn it upside down"),
    ("put {it} upside down", "turn it upside down"), ("rotate {it} by 180 degrees", "rotate it by 180 degrees"),
    ("mirror {it}", "flip it horizontally"),
    ("show {it} as in a looking-glass", "flip it horizontally"), ("let {it} point to the other side", "flip it horizontally"),
    ("exchange left for right in {it}", "mirror it"),
    ("flip {it} vertically", "flip it vertically"), ("age {it} with sepia", "make it sepia"),
    ("let {it} look a hundred years old", "make it sepia"),
    ("warm up the colours of {it}", "make it warmer"), ("make {it} feel like August", "make it warmer"),
    ("cool down {it}", "make it cooler"), ("make {it} feel like January", "make it cooler"), ("tint {it} purple", "tint it purple"),
    ("colour {it} pink all over", "tint it pink"),
    ("pour red over {it}", "tint it red"), ("cover {it} with a yellow haze", "tint it yellow"),
    ("bathe {it} in blue", "tint it blue"),
    ("give {it} a green cast", "tint it green"), ("crop {it} to the lower half", "crop to the bottom half"),
    ("keep just the left half of {it}", "crop to the left half"), ("cut away all of {it} but the middle", "crop to the center"),
    ("trim {it} to its top half", "crop to the top half"), ("throw away the left side of {it}", "crop to the right half"),
)  # fmt: skip
"""Changes as something to be done, and what the editor is told."""

TRADES = (
    ("a bakery", "a brown bread"), ("a flower shop", "a pink flower"),
    ("a bicycle repair", "a blue bicycle"), ("a bookshop", "a stack of red books"),
    ("a fish restaurant", "a blue fish"), ("a toy maker", "a brown teddy bear"), ("a travel agency", "a white aeroplane"),
    ("a music school", "a golden violin"), ("a vet", "a white cat"), ("a cinema", "a red film camera"), ("a tea room", "a green teapot"),
    ("a bee farm", "a yellow bee"), ("a plumber", "a blue water drop"),
    ("a tailor", "a pair of silver scissors"), ("a bank for children", "a pink pig"),
    ("a diving school", "a blue whale"), ("a pizza service", "a round pizza"),
    ("a key cutter", "a golden key"), ("an optician", "round black glasses"),
    ("a ghost tour", "a white ghost"), ("a zoo at night", "a purple bat"),
    ("a carpenter", "a yellow hammer"), ("a rocket club", "a red rocket"),
    ("a garden centre", "a green watering can"), ("a circus", "a red nose"),
    ("a lemonade stand", "a yellow lemon"), ("a chess club", "a black chess horse"),
)  # fmt: skip
"""Those who want something designed, and what would do as a motif."""
