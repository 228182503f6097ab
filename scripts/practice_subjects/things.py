"""Everyday things to be drawn as they are, with colours that the bundled diffusion model knows."""

from __future__ import annotations

THINGS = (
    "apple", "axe", "banana", "barrel", "basket", "bear", "bee", "bell", "bicycle", "bird", "boat", "bone", "book", "boot", "bow tie",
    "broom", "brush", "bucket", "bus", "butterfly", "camel", "camera", "candle", "car", "carrot", "cat", "chair", "chicken", "coat",
    "coconut", "compass", "cow", "crab", "crocodile", "crown", "cupcake", "daisy", "deer", "dog", "dolphin", "door", "dress", "drum", "duck",
    "egg", "elephant", "envelope", "feather", "fence", "fish", "flag", "flamingo", "flower", "football", "fox", "frog", "ghost", "gift",
    "giraffe", "glove", "goat", "gorilla", "hammer", "hamster", "hat", "heart", "helicopter", "hippo", "horse", "house", "jellyfish", "key",
    "koala", "ladder", "ladybird", "leaf", "lemon", "leopard", "lizard", "llama", "lobster", "lock", "lollipop", "maple leaf", "melon",
    "mermaid", "microphone", "monkey", "mouse", "mushroom", "necklace", "octopus", "owl", "panda", "parrot", "peach", "peacock", "pencil",
    "piano", "pig", "pizza", "poodle", "puzzle piece", "rabbit", "rainbow", "raccoon", "rocket", "rose", "sailboat", "scooter", "scorpion",
    "shirt", "skateboard", "snail", "snake", "snowman", "spoon", "squirrel", "star", "strawberry", "suitcase", "sun", "sunflower", "swan",
    "taxi", "teapot", "teddy bear", "telephone", "tiger", "tomato", "tooth", "tree", "trumpet", "tulip", "turkey", "umbrella", "vase",
    "violin", "volcano", "watch", "watermelon", "windmill", "zebra",
)  # fmt: skip

COLOURS = (
    "red", "blue", "green", "yellow", "purple", "pink", "orange", "brown", "black", "white", "golden", "grey",
)  # fmt: skip
