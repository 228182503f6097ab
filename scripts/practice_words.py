"""Wordings of the task set `practice` (`build_practice.py`). None of them stands in `validation` or `heldout`."""

from __future__ import annotations

# ------------------------------------------------------------------------------------------------ what exists is searched

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
    "What does {thing} do, and what for? The children want to see the original.",
    "How does one use or meet {thing}? Two sentences and a genuine view.",
    "Put {thing} into our brochure: a reason to care, and how it really looks.",
    "Introduce {thing} to {place}, with an authentic picture.",
    "Our visitors ask for {thing}. Let them look, and tell them one fact.",
    "A label for {thing}: people must know it when they meet it.",
    "Grandfather wonders about {thing}. Explain it and show him the true article.",
    "Why should anybody notice {thing}? Let us look at it.",
    "A page of the lexicon: {thing}, as it appears in the world.",
    "I keep confusing {thing} with something else. What do I have to look at?",
    "Lesson one: {thing}. Bring the real one before the pupils' eyes.",
    "For a slide: {thing}, photographed, and half a sentence.",
    "{Thing} for {place}: an honest picture, nothing invented, and a line.",
    "Sum up {thing}, and do not forget to show it.",
    "They have only heard of {thing}. Give them a look and a sentence.",
    "Where does {thing} belong? A documentary picture and an answer.",
    "The customers should see {thing} at first sight. Write the sign.",
    "Advert in {place}: {thing}, with its true picture.",
)  # fmt: skip

# --------------------------------------------------------------------------------------------- numbers become a chart

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
    "My neighbour wants to know how this stands: {data}. Let him see it.",
    "Where is this going? {data}.",
    "How do these compare? {data}. One look should be enough.",
    "{Place} should grasp it in a second: {data}.",
    "Put {data} side by side, and say which stands out.",
    "Sketch the statistics: {data}. A word on them.",
    "A pupil asks what {data} would look like on squared paper.",
    "Order these and let the difference be seen: {data}.",
    "To be shown on the wall: {data}.",
    "Report it with a diagram: {data}.",
)  # fmt: skip

SHARE_WORDINGS = (
    "How is {whole} made up? {data}. Show the shares and say a word.",
    "{Whole} consists of {data}. Divide a circle accordingly.",
    "Explain to {place} what {whole} is composed of: {data}. With a pie.",
    "Slices, please: {whole}, {data}. And one remark.",
    "{data}: that is {whole}. Make it something to look at.",
    "The parts of {whole} are {data}. A chart and a sentence.",
    "I want to see at once how {whole} is split: {data}.",
    "Round diagram for {place}: {whole}, namely {data}.",
)

SERIES_WORDINGS = (
    "{said} {data} in {count} {span}. Plot it and comment.",
    "Over {count} {span} {said} {data}. Let me see the course of it.",
    "{said} {data} during the last {count} {span}. Which way does it go? With a figure.",
    "A curve and a sentence: {said} {data}, {count} {span} in a row.",
    "For {place}: {said} {data} in {count} {span}. Make the development visible.",
    "Does it rise or fall? In {count} {span} {said} {data}.",
    "In {count} {span} {said} {data}. Draw a diagram of that.",
    "My diary of {count} {span}: {said} {data}. Turn it into a graph.",
)

SPREAD_WORDINGS = (
    "{said} {data}. How are they distributed? With a histogram.",
    "Make the spread visible: {said} {data}.",
    "{said} {data}. Count how often each occurs, as a chart.",
    "For the statistics lesson: {said} {data}. A figure, and what is typical.",
)

CURVE_WORDINGS = (
    "Show {curve} {span} as a graph and describe it.",
    "What shape has {curve}? Draw it {span}.",
    "Plot {curve} {span}. One sentence for beginners.",
    "For the maths lesson: the graph of {curve} {span}, with a comment.",
    "I cannot imagine {curve}. Let me see it {span}.",
    "Explain {curve} {span} to {place} with a diagram.",
    "Where does {curve} rise? A picture of the function {span}, please.",
    "My homework is {curve} {span}: a graph and a remark.",
    "Let us look at {curve} together, {span}.",
)

# --------------------------------------------------------------------------------------------- what is imagined is drawn

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
    "Suppose there were {scene}. What would it be like? Words and art.",
    "Once upon a time there was {scene}. Go on, and show us.",
    "A letter from {scene}, with a painted view of it.",
    "Chapter one: {scene}. Readers should meet it on the page.",
    "Make the children laugh with {scene}, drawn and told.",
    "A bookmark with {scene} for {place}, cheerful, and a wish.",
    "Fairground sign: {scene}, in bold paint, and a call.",
    "What might {scene} say? Give it a face and a sentence.",
    "Let us meet {scene}: art in the style of a picture book, with a verse.",
    "The game starts with {scene}. Paint the scene and pitch it.",
)  # fmt: skip

TRADE_WORDINGS = (
    "An emblem for {trade}, designed from scratch, and why it fits.",
    "{Trade} needs a sign that nobody else has. Draw one and explain.",
    "Invent a mascot for {trade} and introduce it in a sentence.",
    "Design a badge for {trade}. A line of reasoning below.",
    "Could you make up an icon for {trade}? And a slogan.",
    "{Trade} opens soon; create the artwork for the flyer and its first line.",
    "Think of a cartoon for the door of {trade}, with a greeting.",
    "Suggest a symbol for {trade}, painted, in few words.",
    "A paper bag for {trade}: draw the print on it and say something nice.",
)

# --------------------------------------------------------------------------------------------- what is there is changed

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

ORDER_WORDINGS = (
    "Please {do}. Then a sentence about {thing}.",
    "{Do}, will you? And write a title.",
    "I would like you to {do} and to add a comment.",
    "For {place}, {do}, and say why it looks better.",
    "First {do}; then describe {thing} in a line.",
    "Our printer asks you to {do}. Put a heading above.",
    "{Do}. What else could be said about {thing}?",
    "Can you {do}? One remark as well, please.",
    "We want to {do} for {place}. Do it and give us a slogan.",
)

ATTACHED = (
    "my picture of {thing}", "the photo of {thing} that I sent", "this picture of {thing}", "the uploaded picture", "the picture I gave you",
    "the photo that comes with this", "our picture of {thing}", "the enclosed photo", "my photo",
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
    "{Scene}, drawn once, and drawn once more {change}: the same picture, mind. Brief words.",
    "Sketch {scene} for {place}. Underneath, the very same sketch {change}.",
    "Paint {scene}; afterwards {do}. A line each.",
    "Draw {scene}. In a second figure, {do}. Comment on it.",
    "Picture one: {scene}, from your imagination. Picture two: picture one {change}.",
    "Give me {scene} as an illustration, then {do} and tell me which you like.",
)  # fmt: skip

FIND_EDIT_WORDINGS = (
    "Show {thing} in a photo, and the photo once more {change}. A line for each.",
    "Find a picture of {thing}; below it the same one {change}. Comment.",
    "{Thing} twice: as photographed, and {change}. Two short captions.",
    "Look up {thing} and present it plain and {change}, with a few words.",
    "A real photo of {thing} and a version of it {change} for {place}.",
    "Start with a photograph of {thing}, end with it {change}; a sentence between.",
    "{Thing} as it is, and underneath the same view {change}, with remarks.",
    "Look for {thing}, show it, then {do}. Short lines.",
    "{Thing} for {place}: the genuine picture, and in a second one, {do}.",
    "Bring a photo of {thing}; afterwards {do}. Say what that does.",
    "Photo one: {thing}. Photo two: the first one {change}.",
)  # fmt: skip

FIND_CHART_WORDINGS = (
    "A photo of {thing} for the top of our report, and a chart of {data}.",
    "Page for {place}: {thing} as a photograph, and these numbers as a diagram: {data}.",
    "Show {thing} as it is, then plot {data}. Few words.",
    "Two figures: a real picture of {thing}, and a graph of {data}. Explain both.",
    "Box on {thing}: what it looks like, and a diagram of {data}.",
    "{Thing}, really photographed, plus these numbers as a graph: {data}.",
    "Start with a true picture of {thing}; then chart {data}.",
    "{data}: plot it, but show {thing} in a photo first.",
)  # fmt: skip

DRAW_CHART_WORDINGS = (
    "Draw {scene} for the title, and chart {data}. Few words.",
    "A fantasy report: an illustration of {scene}, and a graph of {data}.",
    "For {place}: a painting of {scene}, and the numbers as a diagram: {data}.",
    "Two figures: {scene}, drawn, and a plot of {data}. Explain both.",
    "Invent {scene} and paint it; then plot {data}.",
    "An imaginary country: {scene}, as art, and its numbers as a chart, {data}.",
    "{data}: a graph of that below an illustration of {scene}.",
    "Game idea: paint {scene}, then graph {data}.",
)  # fmt: skip

FIND_DRAW_WORDINGS = (
    "{Thing} as a photo, and beside it {scene} as a drawing. Which is real?",
    "First what exists, {thing}, photographed; then what does not, {scene}, painted.",
    "A true picture of {thing} and an invented one of {scene}. One sentence each.",
    "For {place}: look up {thing}, and draw {scene}.",
)

CHART_CHANGE_WORDINGS = (
    "Chart {data}. Then {do}, for the copier.",
    "A diagram of {data}, and the same diagram {change}. A word on it.",
    "Plot {data} and show the plot again {change}.",
)

SEVERAL_WORDINGS = (
    "Photos of {thing} and of {other}, with a line for each.",
    "{Thing} or {other}? Show both as they are and compare.",
    "Two real pictures for {place}: {thing} and {other}.",
    "Put {thing} beside {other}, photographed both, and tell the difference.",
    "A short tour: {thing}, then {other}, each with its photo.",
)

# ------------------------------------------------------------------------------------------------------------- none

WORDS_ONLY = (
    "In words only, please: {advice}.",
    "Tell me {advice}. I read on a text display, so no pictures.",
    "Just a short answer, nothing to look at: {advice}?",
    "For a radio programme: {advice}. Two sentences.",
    "Dictate to me {advice}, plain text.",
    "No figures, no photos; simply say {advice}.",
    "I only have room for text: {advice}?",
    "Write down {advice} in two sentences. Leave it unillustrated.",
    "{Advice}? Answer without anything to look at.",
    "Text alone, please, on the question {advice}.",
    "Spare me the illustrations and explain {advice}.",
    "I am blind, so just tell me {advice}.",
    "By telegram: {advice}.",
    "{Advice}? Write, do not draw.",
    "Send me one plain message on {advice}.",
    "Without any picture: {advice}, in a line or two.",
)  # fmt: skip
