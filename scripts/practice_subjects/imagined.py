"""What is drawn, put together: "a" LOOKS SOMEBODY DOING, or SOMEWHERE; and those who want something designed."""

from __future__ import annotations

LOOKS = (
    "tiny", "sleepy", "golden", "paper", "woollen", "transparent", "brave", "two-headed", "striped", "glowing", "wooden", "blue",
    "gigantic", "polite", "snow-white", "clockwork", "moss-covered", "singing", "shy", "crystal", "purple", "very old", "chocolate",
    "flying", "upside-down", "invisible-tailed", "patchwork", "rusty", "feathered", "cheerful", "velvet", "silver", "marble", "sleepless",
    "freckled", "winged", "three-eyed", "emerald", "frosty", "grumpy", "polka-dotted", "ticklish", "rainbow-coloured", "bamboo", "barefoot",
    "moonlit", "inflatable", "hairy", "copper", "tin", "lost", "pocket-sized", "curious", "proud", "shaggy", "melting", "musical",
    "dancing", "lemon-yellow", "scarlet", "sugar-coated", "ghostly", "bashful", "gingerbread", "knitted", "smoky", "turquoise", "bearded",
    "long-legged", "whispering", "homesick", "mechanical", "porcelain", "leafy", "starry",
)  # fmt: skip

SOMEBODY = (
    "dragon", "fox", "robot", "giant", "mermaid", "knight", "teapot", "snail", "astronaut", "hedge witch", "bear", "pirate", "cloud",
    "cactus", "owl", "train", "mushroom", "cat", "lighthouse", "troll", "umbrella", "penguin", "wizard", "whale", "goblin", "violin",
    "mouse", "garden gnome", "phoenix", "suitcase", "moth", "elephant", "snowman", "sphinx", "hedgehog", "unicorn", "octopus", "badger",
    "princess", "vampire", "alarm clock", "teaspoon", "comet", "skeleton", "kangaroo", "samurai", "scarecrow", "submarine", "tractor",
    "walrus", "yeti", "genie", "mole", "lobster", "armchair", "postman", "ballerina", "pumpkin", "candle", "griffin", "ostrich", "sheriff",
    "kettle", "hippo", "raven", "tortoise", "caterpillar", "piano", "pencil", "viking", "sheep", "tiger", "gnome king", "frog prince",
    "beetle", "bicycle", "windmill", "bookworm", "sloth", "spider", "otter", "duck", "camel", "cello", "toaster", "minotaur", "fairy",
    "llama", "squirrel", "acrobat", "clown", "broomstick", "peacock", "detective", "crocodile", "sock", "sandwich", "planet",
)  # fmt: skip

DOING = (
    "reading by candlelight", "baking bread", "playing chess with the moon", "watering flowers", "riding a bicycle", "fishing for stars",
    "painting a door", "carrying a house", "juggling lanterns", "sailing on a leaf", "learning to dance", "looking for its shoes",
    "conducting an orchestra", "selling balloons", "building a bridge of rainbows", "waiting for a bus", "knitting a scarf",
    "guarding a treasure", "dreaming of summer", "climbing a ladder of clouds", "writing a love letter", "drinking tea with a ghost",
    "repairing a clock", "surfing on a wave of milk", "flying a kite", "planting a tree of keys", "counting sheep", "brushing its teeth",
    "playing the accordion", "rowing to an island", "ironing a flag", "opening a tiny shop", "pulling a sledge of books",
    "blowing soap bubbles", "hiding behind a curtain", "polishing the moon", "singing in the bath", "racing against the wind",
    "stirring a giant soup", "weighing feathers", "taking a nap on a cloud", "hatching an egg", "dressing up as a king",
    "delivering parcels at night", "telling jokes to the stars", "jumping over a puddle", "folding paper boats", "catching snowflakes",
    "mending a fishing net", "driving a yellow bus", "playing cards with a goat", "building a sandcastle", "walking on stilts",
    "tuning a harp", "lighting the street lamps", "pouring tea for a queen", "ringing a huge bell", "winning a marathon",
    "toasting marshmallows", "skating on a frozen pond", "sweeping the sky", "sewing a sail", "peeling an onion and crying",
    "lifting weights", "hanging up the washing", "blowing out birthday candles", "stealing a pie", "studying a map", "feeding tiny dragons",
    "waltzing with a lamp post", "drawing a self-portrait", "sliding down a rainbow", "boiling an egg in a volcano",
    "teaching snails to read", "collecting thunder in jars", "digging for buried songs", "balancing on a ball", "directing the traffic",
    "cutting a hedge into stars", "sneezing confetti", "waving from a balloon", "playing the trumpet at dawn",
)  # fmt: skip

SOMEWHERE = (
    "in a floating city", "on the back of a turtle", "under a sky of two moons", "in a forest of glass", "at the bottom of the sea",
    "on a planet of sand", "inside of a bottle", "above the roofs of an old town", "in a castle of ice", "between giant sunflowers",
    "in a land of sweets", "on a bridge of light", "in the year 3000", "in a cave of crystals", "on a flying carpet",
    "in a library of clouds", "on top of a wedding cake", "in a garden of glass flowers", "inside a grandfather clock",
    "at a railway station on the moon", "in a teacup at sea", "on the rings of Saturn", "under a giant mushroom", "in a snow globe",
    "in a city of paper", "behind a waterfall of light", "at the end of the rainbow", "in an orchard of lamps", "on a chessboard of ice",
    "in the belly of a whale", "on a roof made of gingerbread", "in a ballroom under the lake", "at the market of dreams",
    "in a desert of blue sand", "on a stamp", "among singing flowers", "in a forest of umbrellas", "on an island shaped like a heart",
    "in a submarine made of wood", "in the last tram at night", "at a tea party of owls", "on a staircase to nowhere",
    "in a jungle of ferns and lanterns", "on the wing of an aeroplane", "between the pages of a book", "in a lighthouse of candy",
    "on a frozen waterfall", "in a hall of mirrors", "at the edge of the map", "in a nest of clocks", "in a hot-air balloon over Paris",
    "beside a purple river", "in a village on stilts", "on a mountain of cushions", "in a palace of seashells", "under the northern lights",
    "in a meadow on Mars",
)  # fmt: skip

TRADES = (
    ("a bakery", "a brown bread"), ("a flower shop", "a pink flower"), ("a bicycle repair", "a blue bicycle"),
    ("a bookshop", "a stack of red books"), ("a fish restaurant", "a blue fish"), ("a toy maker", "a brown teddy bear"),
    ("a travel agency", "a white aeroplane"), ("a music school", "a golden violin"), ("a vet", "a white cat"),
    ("a cinema", "a red film camera"), ("a tea room", "a green teapot"), ("a bee farm", "a yellow bee"), ("a plumber", "a blue water drop"),
    ("a tailor", "a pair of silver scissors"), ("a bank for children", "a pink pig"), ("a diving school", "a blue whale"),
    ("a pizza service", "a round pizza"), ("a key cutter", "a golden key"), ("an optician", "round black glasses"),
    ("a ghost tour", "a white ghost"), ("a zoo at night", "a purple bat"), ("a carpenter", "a yellow hammer"),
    ("a rocket club", "a red rocket"), ("a garden centre", "a green watering can"), ("a circus", "a red nose"),
    ("a lemonade stand", "a yellow lemon"), ("a chess club", "a black chess horse"), ("a hairdresser", "a pair of red scissors"),
    ("a pet sitter", "a brown dog"), ("a watchmaker", "a golden clock"), ("an ice-cream parlour", "a pink ice cream"),
    ("a chocolate maker", "a brown chocolate bar"), ("a butcher", "a pink sausage"), ("a cheese dairy", "a yellow cheese"),
    ("a fruit stall", "a red apple"), ("a night pharmacy", "a green cross"), ("a dentist for children", "a white tooth"),
    ("a sailing school", "a white sailing boat"), ("a driving school", "a red car"), ("a taxi firm", "a yellow taxi"),
    ("a removal firm", "a brown cardboard box"), ("a window cleaner", "a blue bucket"), ("a laundry", "a white shirt"),
    ("a shoe shop", "a black shoe"), ("a hat maker", "a black top hat"), ("an umbrella repair", "a red umbrella"),
    ("a lamp shop", "a yellow light bulb"), ("a candle maker", "a white candle"), ("a potter", "a blue vase"),
    ("a puppet theatre", "a wooden puppet"), ("a balloon seller", "a red balloon"), ("a kite school", "a green kite"),
    ("a football camp", "a black and white football"), ("a ski rental", "a pair of blue skis"), ("a climbing club", "a grey mountain"),
    ("a camping site", "an orange tent"), ("a swimming pool", "a blue wave"), ("an observatory", "a yellow star"),
    ("a moonlight cinema", "a yellow moon"), ("a weather service", "a grey cloud"), ("a solar firm", "an orange sun"),
    ("a water works", "a blue tap"), ("a mushroom farm", "a red mushroom"), ("a cactus nursery", "a green cactus"),
    ("a tree surgeon", "a green tree"), ("a vineyard", "a bunch of purple grapes"), ("a brewery", "a golden beer mug"),
    ("a coffee roaster", "a brown coffee cup"), ("a soup kitchen", "an orange bowl"), ("a salad bar", "a green leaf"),
    ("an egg farm", "a white egg"), ("a duck pond café", "a yellow duck"), ("a riding stable", "a brown horse"),
    ("a wool shop", "a white sheep"), ("a cat café", "a black cat"), ("an owl sanctuary", "a brown owl"),
    ("a butterfly house", "a blue butterfly"), ("a snail race", "a brown snail"), ("an aquarium", "an orange fish"),
    ("a dinosaur park", "a green dinosaur"), ("a robot workshop", "a silver robot"), ("a computer doctor", "a grey computer"),
    ("a phone repair", "a black telephone"), ("a post office", "a yellow envelope"), ("a printing house", "a black letter A"),
    ("an art school", "a red paintbrush"), ("a drum school", "a red drum"), ("a jazz bar", "a golden trumpet"),
    ("a piano tuner", "a black piano"), ("a bell foundry", "a golden bell"), ("a locksmith on call", "a silver padlock"),
    ("a detective agency", "a brown magnifying glass"), ("a treasure hunt club", "a brown treasure chest"),
    ("a gift shop", "a red gift box"), ("a crown rental", "a golden crown"),
)  # fmt: skip
"""Those who want something designed, and what would do as a motif."""
