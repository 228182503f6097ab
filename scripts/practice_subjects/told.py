"""Where a text is for, whom it is for, and what is told without a picture."""

from __future__ import annotations

PLACES = (
    "our school paper", "the parish newsletter", "a travel blog", "a class on the world around us", "the library's window",
    "a museum leaflet", "the evening course", "a quiz night", "the youth club", "a language course", "the village website",
    "a calendar page", "the reading corner", "a poster at the station", "the sports club's leaflet", "the hospital's intranet",
    "the ward notice board", "the town hall lobby", "our choir programme", "a farm shop sign", "the allotment newsletter",
    "the science fair", "the primary school wall", "a comic fair", "the retirement home's bulletin", "the staff canteen screen",
    "a birthday book", "the local radio's website", "the county show", "an exhibition guide", "the nature trail", "the theatre programme",
    "the dentist's waiting room", "the scouts' handbook", "our wedding paper", "the open day", "a book of household tips",
    "a fundraising letter", "the ferry terminal", "the camp diary", "the school bus", "the union newsletter", "a tear-off calendar",
    "a picture-book workshop", "the harbour office", "our online shop", "the club room", "an evening lecture", "a training folder",
    "the town chronicle", "the fire station's open house", "the kindergarten corridor", "a beginners' handbook", "the mountain hut",
    "a recipe card", "the alumni magazine",
)  # fmt: skip

PEOPLE = (
    "my grandchildren", "the committee", "our guests", "the new apprentices", "my third form", "the neighbours", "the patients on ward 4",
    "the choir", "our customers", "the board", "the parents", "my book club", "the readers", "a friend abroad", "the volunteers",
    "our members", "the whole team", "the visitors", "the night shift", "my pupils", "the farmers of the valley", "the shareholders",
    "the tourists", "my brother", "the jury", "our sponsors", "the club", "the town council", "the newcomers", "the nurses", "the players",
    "my aunt Rose", "the trainees", "the listeners", "the residents", "the class",
)  # fmt: skip

ADVICE = (
    "how to fall asleep", "what to say to a new neighbour", "how to fold a shirt", "why bread rises", "how to learn vocabulary",
    "what a metaphor is", "how to remove a splinter", "whether to buy or to rent", "how to write an apology", "why leaves fall",
    "how to choose a melon", "what inflation means", "how to calm a crying child", "why the sea is salty", "how to pack a suitcase",
    "what makes a good teacher", "how to greet a king", "why cats purr", "what courage is", "how to keep a secret", "why we yawn",
    "how to get rid of ants", "a complaint about cold soup", "what a comma is for", "how to thank a teacher",
    "a limerick about a lost sock", "why the sky is blue", "how to say no politely", "what patience means", "a wish for a new year",
    "how to store potatoes", "how to ask for a pay rise", "why knuckles crack", "how to boil an egg", "what to do against hiccups",
    "a thank-you for a borrowed ladder", "how to tie a bow", "how to remember names", "why we dream", "what irony is",
    "a wish for a retiring colleague", "how to make up after a quarrel", "an excuse for being late", "a tongue twister with the letter S",
    "a proverb about patience, explained", "how to train a puppy", "what a verb is", "how to read faster", "why onions make us cry",
    "how to quit smoking", "a toast for a silver wedding", "how to end a letter", "what fairness means", "how to stop a nosebleed",
    "how to start a speech", "why people whistle", "a prayer before a meal", "how to clean a kettle", "a joke about a tailor",
    "how to save money on groceries", "what to do with old bread", "how to console a loser", "how to keep a diary", "what tact is",
    "an announcement of a delayed train", "how to win at noughts and crosses", 'how to pronounce "choir"', "what hope is",
    "a good question for a first date", "how to turn down an invitation", "an apology for loud music", "how to whistle with two fingers",
    'what the saying "still waters run deep" means', "how to get a stain out of wool", "a rule for sharing a bathroom",
    "what to pack for a weekend", "how to stay awake in a meeting", "why time seems to fly", "how to write a diary entry about rain",
    "what a simile is", "how to make friends in a new town", "how to meditate for a minute", "a lost-and-found notice for a red glove",
    "how to be on time", "why we blush", "what a deadline is", "how to keep cut flowers fresh", "a motto for a walking group",
    "how to peel garlic fast", "what to say when you forget a name", "a two-line review of a dull film", "a clerihew about a baker",
    "how to count to five in French", "how to answer a rude e-mail", "why laughing is catching", "what a good listener does",
    "how to learn a poem by heart", "how to defrost a lock", "what a mortgage is", "how to give a compliment",
    "a cancellation of a gym contract", "how to soothe a sore throat", "what democracy needs", "how to wake up early",
    "an out-of-office reply for Easter", "a name for a goldfish", "three words that rhyme with light", "a riddle about the wind",
    "how to keep calm before an exam", "how to sharpen a pencil without a sharpener", "a bedtime rule for babysitters",
    "how to cross the road safely", "what thirst is for", "a New Year's resolution for a lazy cat", "how to begin a novel",
)  # fmt: skip
