"""Record and replay: a run whose tools and judges answer at random, slowly and not always, is repeated from its recording to the last byte."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import pytest
from PIL import Image

from llmi_env.attachment import Attachment
from llmi_env.calls import BUILTIN, Call
from llmi_env.config import EnvConfig, load_config
from llmi_env.document import Document, Failure, Outcome, Picture, Provenance, Text
from llmi_env.errors import ConfigError, NothingFound, ToolUnavailable, WorldError
from llmi_env.judge_checks import ask_judges
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import RolloutBatch, run_rollouts
from llmi_env.task import Task
from llmi_env.testing import JUDGED_TERMS, simulated_config, simulated_world
from llmi_env.tools.base import ToolContext, ToolSpec
from llmi_env.world import Place, connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.http import HttpWorld
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.local import LocalWorld
from llmi_env.world.protocol import Judgments, Scored, TellingWorld, Unscored, World
from llmi_env.world.recorded import RecordedWorld, RecordingWorld

OWLS, BEES, MAPS = (
    Task("Write about owls.", id="owls", tools=("search",)),
    Task("Write about bees.", id="bees"),
    Task("Draw a map.", (Picture(Image.new("RGB", (5, 5), "red"), Provenance("task")),), id="maps"),
)
CALLS = {
    "search": Call("search", "an öwl", {"query": "owl \ud83e"}),
    "diffusion": Call("diffusion", "a bee", {"prompt": "bee"}),
    "code": Call("code", "a chart", {"code": "plt.plot([1])"}),
}


class Whimsical:
    """A tool of a real service, in short: nothing that it gives is fixed by what it is asked, and it may take a while or be down."""

    dice = random.Random()
    asked: ClassVar[list[str]] = []

    def __init__(self, name: str, latency: float = 0.01, down: float = 0.2) -> None:
        self.name, self.latency, self.down = name, latency, down

    @property
    def spec(self) -> ToolSpec:
        return BUILTIN[self.name]

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.asked.append(self.name)
        await asyncio.sleep(self.dice.uniform(0, 2 * self.latency))
        if self.dice.random() < self.down:
            raise self.dice.choice([ToolUnavailable("down"), NothingFound(f"nothing {self.dice.random()}")])
        size = (self.dice.randrange(8, 40), self.dice.randrange(8, 40))
        image = Image.frombytes("RGB", size, self.dice.randbytes(3 * size[0] * size[1]))
        return Picture(image, Provenance("web", title=f"é\ud800{self.dice.random()}", licence="CC0-1.0"))

    async def aclose(self) -> None:
        pass


class Moody:
    """A judge that scores at random, or not at all."""

    terms = JUDGED_TERMS

    async def __call__(self, document: Document, task: Task) -> Judgments:
        await asyncio.sleep(Whimsical.dice.uniform(0, 0.02))
        if Whimsical.dice.random() < 0.2:
            return dict.fromkeys(self.terms, Unscored("moody"))
        scores = (round(Whimsical.dice.uniform(1, 5), 2) for _ in self.terms)
        return {
            term: Scored(score, f"{score!r}", "moody", (score, 3.0))
            for term, score in zip(self.terms, scores, strict=True)
        }

    async def aclose(self) -> None:
        pass


def whimsical(down: float = 0.2, **limits: Any) -> WorldConfig:
    tools = {name: {"use": f"{__name__}:Whimsical", "name": name, "down": down} for name in BUILTIN}
    return WorldConfig(tools=tools, judges=[{"use": f"{__name__}:Moody"}], attempts=1, cache_mb=0, **limits)


def script(prompt: Sequence[int], seed: int) -> str:
    """A document with calls of all kinds, edits of edits among them, fixed by the seed."""
    dice, pieces = random.Random(seed), []
    for index in range(4):
        call = CALLS[dice.choice(list(CALLS))]
        if index and dice.random() < 0.5:
            call = Call("edit", "", {"img_index": dice.randrange(index), "prompt": "sepia"})
        pieces.append(
            f"Words {index}. <imgen>{json.dumps({'source': call.tool, 'description': call.description, 'params': dict(call.params)})}</imgen>"
        )
    return "\n".join(pieces)


def roll(world: World, tasks: Sequence[Task] = (OWLS, BEES, MAPS), **options: Any) -> RolloutBatch:
    async def batch() -> RolloutBatch:
        try:
            policy, reward = ScriptedPolicy(script), HybridReward.preset("llmi")
            return await run_rollouts(
                policy, world, reward, tasks, **{"samples": 2, "seed": 5, "max_tokens": 4000, **options}
            )
        finally:
            await world.aclose()

    return asyncio.run(batch())


def told(batch: RolloutBatch) -> list[Any]:
    """All that a rollout is, pictures to the byte, with the times that its pictures took."""
    return [
        (
            rollout,
            [
                (figure.outcome, figure.picture and (figure.picture.png, figure.picture.seconds))
                for figure in rollout.document.figures
            ],
        )
        for rollout in batch.rollouts
    ]


class Shuffled:
    """A World whose answers arrive in another order, `seed` by `seed`."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.dice = world, random.Random(seed)

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        await asyncio.sleep(self.dice.uniform(0, 0.05))
        outcome = await self.world.run(call, pictures, seed=seed)
        await asyncio.sleep(self.dice.uniform(0, 0.05))
        return outcome

    async def judge(self, document: Document, task: Task) -> Judgments:
        await asyncio.sleep(self.dice.uniform(0, 0.05))
        return await self.world.judge(document, task)

    async def aclose(self) -> None:
        await self.world.aclose()


@pytest.fixture(autouse=True)
def _other_whims() -> Iterator[None]:
    Whimsical.dice.seed()  # of the system's randomness: no two runs are alike
    Whimsical.asked.clear()
    yield
    Whimsical.asked.clear()


def test_a_run_is_repeated_from_its_recording_byte_for_byte(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    first = roll(connect(f"in_process+record:{folder}", whimsical()))
    assert len(first.rollouts) == 6
    figures = [figure for rollout in first.rollouts for figure in rollout.document.figures]
    assert {type(figure.outcome) for figure in figures} == {Picture, Failure}
    asked = len(Whimsical.asked)
    assert asked
    assert told(roll(connect("in_process", whimsical()))) != told(first)  # which is what a recording is for

    Whimsical.asked.clear()
    again = roll(connect(f"recorded:{folder}"))
    assert told(again) == told(first)
    assert Whimsical.asked == []


def test_another_order_of_arrival_gives_the_same_documents(tmp_path: Path) -> None:
    first = roll(connect(f"in_process+record:{tmp_path}", whimsical()))
    for seed in (1, 2):
        again = roll(
            Shuffled(connect(f"recorded:{tmp_path}"), seed), (MAPS, OWLS, BEES)[seed:] + (MAPS, OWLS, BEES)[:seed]
        )
        by_task = {(rollout.task.id, rollout.seed): rollout for rollout in again.rollouts}
        for rollout in first.rollouts:
            other = by_task[rollout.task.id, rollout.seed]
            assert (rollout.document, rollout.report, rollout.ledger) == (other.document, other.report, other.ledger)


def test_recording_goes_on_where_it_ended(tmp_path: Path) -> None:
    """A run that was killed and resumed records into the same folder, and asks only for what is new."""
    first = roll(connect(f"in_process+record:{tmp_path}", whimsical(down=0)), (OWLS,))
    recorded = len(Whimsical.asked)
    Whimsical.asked.clear()
    both = roll(connect(f"in_process+record:{tmp_path}", whimsical(down=0)), (OWLS, BEES))
    assert [rollout.document for rollout in both.rollouts[:2]] == [rollout.document for rollout in first.rollouts]
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert 0 < len(Whimsical.asked) == len(lines) - recorded
    again = roll(connect(f"recorded:{tmp_path}"), (OWLS, BEES))
    assert [rollout.document for rollout in again.rollouts] == [rollout.document for rollout in both.rollouts]


# ----------------------------------------------------------------------------------------------------------------- answers


def search(query: str = "owl") -> Call:
    return Call("search", "an owl", {"query": query})


class Listed:
    """A World that answers one thing after another."""

    def __init__(self, outcomes: Sequence[Outcome] = (), judgments: Sequence[Judgments] = ()) -> None:
        self.outcomes, self.judgments = list(outcomes), list(judgments)
        self.closed = False

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        await asyncio.sleep(0)
        return self.outcomes.pop(0)

    async def judge(self, document: Document, task: Task) -> Judgments:
        return self.judgments.pop(0)

    async def aclose(self) -> None:
        self.closed = True


def picture(colour: str = "red", mode: str = "RGB") -> Picture:
    return Picture(Image.new("RGB", (6, 4), colour).convert(mode), Provenance("test", title=colour), 1.25)


DOWN = Failure.of("search", "unavailable", "down")
LATE = Failure.of("code", "limit", "too slow", "time")
EMPTY = Failure.of("search", "empty", "nothing")


def asked(world: World, times: int, call: Call | None = None) -> list[Outcome]:
    async def ask() -> list[Outcome]:
        return [await world.run(call or search()) for _ in range(times)]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "first", [picture(), EMPTY, DOWN, LATE], ids=["a picture", "the policy's", "the world's", "time"]
)
def test_the_first_answer_is_the_one_for_ever_after(first: Outcome, tmp_path: Path) -> None:
    world = RecordingWorld(Listed([first, picture("blue")]), tmp_path)
    assert asked(world, 3) == [first] * 3
    assert asked(RecordedWorld(tmp_path), 3) == [first] * 3


def test_the_worlds_failures_can_be_taken_out_and_asked_for_anew(tmp_path: Path) -> None:
    recording = RecordingWorld(Listed([DOWN, picture()]), tmp_path)
    assert asked(recording, 1) + asked(recording, 1, search("bee")) == [DOWN, picture()]
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines() if '"lasting": false' not in line))
    again = RecordingWorld(Listed([picture("blue")]), tmp_path)
    assert asked(again, 1) + asked(again, 1, search("bee")) == [picture("blue"), picture()]


def test_a_document_that_was_judged_twice_is_so_in_the_replay(tmp_path: Path) -> None:
    document, task = Document((Text("Owls."),)), Task("Write.")
    unscored, scored = {"wit": Unscored("down")}, {"wit": Scored(3.25, "so so", "judge/1", (3, 3.5))}

    async def judged(world: World, times: int) -> list[Judgments]:
        return [await world.judge(document, task) for _ in range(times)]

    assert asyncio.run(judged(RecordingWorld(Listed((), [unscored, scored]), tmp_path), 3)) == [
        unscored,
        scored,
        scored,
    ]
    assert asyncio.run(judged(RecordedWorld(tmp_path), 3)) == [unscored, scored, scored]
    assert asyncio.run(RecordedWorld(tmp_path).terms()) == ("wit",)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK"])
def test_who_records_sees_what_a_replay_will_show(mode: str, tmp_path: Path) -> None:
    (seen,) = asked(RecordingWorld(Listed([picture(mode=mode)]), tmp_path), 1)
    (again,) = asked(RecordedWorld(tmp_path), 1)
    assert isinstance(seen, Picture)
    assert isinstance(again, Picture)
    assert seen == again
    assert (seen.png, seen.seconds) == (again.png, again.seconds)
    if mode not in ("P", "CMYK"):
        assert seen == picture(mode=mode)


def test_a_sound_is_recorded_with_the_picture_that_stands_for_it(tmp_path: Path) -> None:
    sound = Attachment("audio/wav", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(28))
    told = replace(picture(), attachment=sound)
    assert asked(RecordingWorld(Listed([told]), tmp_path), 1) == [told]
    (again,) = asked(RecordedWorld(tmp_path), 1)
    assert isinstance(again, Picture)
    assert again.attachment == sound


def test_anything_that_a_policy_can_write_can_be_recorded(tmp_path: Path) -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    calls = [
        Call("x", "\ud800\x00\n", params)
        for params in (deep, {"x": 10**5000}, {"x": float("nan")}, {"é\ud800": ["\ud800"]})
    ]
    for call in calls:
        assert asked(RecordingWorld(Listed([EMPTY]), tmp_path), 1, call) == [EMPTY]
        assert asked(RecordedWorld(tmp_path), 1, call) == [EMPTY]


def test_what_was_not_recorded_is_an_error_that_names_it(tmp_path: Path) -> None:
    asked(RecordingWorld(Listed([picture()]), tmp_path), 1)
    world = RecordedWorld(tmp_path)
    with pytest.raises(
        WorldError,
        match=r"no outcome of the call 'search' \{\"query\": \"bee\"\} with 0 pictures and seed 0 \(1 others",
    ):
        asked(world, 1, search("bee"))
    with pytest.raises(WorldError, match=r"no judgment of the document 'Owls\.' for 'Write\.'"):
        asyncio.run(world.judge(Document((Text("Owls."),)), Task("Write.")))
    with pytest.raises(WorldError, match="seed 9"):
        asyncio.run(world.run(search(), seed=9))
    with pytest.raises(WorldError, match="with 1 pictures"):
        asyncio.run(world.run(search(), [picture()]))


def test_a_replay_that_loses_its_way_is_no_bad_document(tmp_path: Path) -> None:
    roll(connect(f"in_process+record:{tmp_path}", whimsical()), (OWLS,))
    with pytest.raises(WorldError, match="holds no outcome of the call"):
        roll(connect(f"recorded:{tmp_path}"), (BEES,))


# -------------------------------------------------------------------------------------------------------- how it is reached


def test_worlds_are_named_with_their_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, kind in (
        ("", LocalWorld),
        ("local+", LocalWorld),
        ("in_process+", InProcessWorld),
        ("http://h:1+", HttpWorld),
    ):
        world = connect(f"{name}record:here")
        assert isinstance(world, RecordingWorld)
        assert isinstance(world, TellingWorld)
        assert isinstance(world.world, kind)
        assert world.folder == tmp_path / "here"
        assert type(pickle.loads(pickle.dumps(world)).world) is kind
    with pytest.raises(ConfigError, match="nothing is recorded in"):
        connect("recorded:here")
    (tmp_path / "here").mkdir()
    assert isinstance(pickle.loads(pickle.dumps(connect("recorded:here"))), RecordedWorld)


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ("record:", "names no folder"),
        ("recorded:", "names no folder"),
        ("in_proces+record:x", "did you mean 'in_process'"),
        ("recoded:x", "did you mean 'recorded:FOLDER'"),
        ("locl", "did you mean 'local'"),
    ],
)
def test_mistakes_are_told(world: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Place.parse(world)
    with pytest.raises(ConfigError, match=said):
        load_config("rules", world=world)


def test_a_configuration_names_the_whole_path_since_others_read_it_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert EnvConfig(world="record:one").world == f"local+record:{tmp_path}/one"
    assert EnvConfig(world="http://h:1+record:one").world == f"http://h:1+record:{tmp_path}/one"
    assert EnvConfig(world="recorded:one").world == f"recorded:{tmp_path}/one"
    assert [EnvConfig(world=world).world for world in ("local", "http://h:1/", "unix:/x")] == [
        "local",
        "http://h:1/",
        "unix:/x",
    ]
    config = EnvConfig(world="in_process+record:one")
    assert EnvConfig.model_validate(config.model_dump()) == config


def episodes(tmp_path: Path, world: str, seeds: Sequence[int], **options: Any) -> list[tuple[Any, ...]]:
    """What an environment shows and gives for documents written in one step."""
    env = gym.make(
        "LLMI-v0", config="rules", action_mode="document", feedback="image", reward="llmi", tasks=[OWLS, BEES],
        world=world, services=whimsical(), unscored="nan", disable_env_checker=True, **options,
    )  # fmt: skip
    told = []
    for seed in seeds:
        env.reset(seed=seed)
        observation, reward, terminated, truncated, info = env.step(script((), seed))
        images = [image.tobytes() for image in observation["images"]]
        told.append((observation["text"], images, repr(reward), terminated, truncated, repr(info)))
    env.close()
    return told


def test_an_environment_is_repeated_from_its_recording(tmp_path: Path) -> None:
    first = episodes(tmp_path, f"in_process+record:{tmp_path}/r", (1, 2, 3))
    asked = len(Whimsical.asked)
    assert asked
    assert episodes(tmp_path, f"recorded:{tmp_path}/r", (1, 2, 3)) == first
    third, one, two = episodes(tmp_path, f"recorded:{tmp_path}/r", (3, 1, 2))
    assert [one, two, third] == first
    assert len(Whimsical.asked) == asked


def test_tools_and_judges_of_the_callers_are_recorded_too_and_not_called_in_a_replay(tmp_path: Path) -> None:
    objects: dict[str, Any] = {"tools": [Whimsical("search"), Whimsical("edit")], "judges": [Moody()]}
    first = episodes(tmp_path, f"in_process+record:{tmp_path}/r", (1, 2), **objects)
    asked = len(Whimsical.asked)
    assert asked
    assert episodes(tmp_path, f"recorded:{tmp_path}/r", (1, 2), **objects) == first
    assert len(Whimsical.asked) == asked


def test_a_recording_tells_who_judged_so_that_a_reward_can_be_checked_against_it(tmp_path: Path) -> None:
    config = whimsical()
    roll(connect(f"in_process+record:{tmp_path}", config), (OWLS,))
    reward = HybridReward.preset("llmi")
    asyncio.run(ask_judges(f"recorded:{tmp_path}", config, reward))
    (judge,) = asyncio.run(RecordedWorld(tmp_path).about_judges())
    assert judge.terms == JUDGED_TERMS
    assert judge.name == f"{__name__}:Moody"
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="no document would have a score"):
        asyncio.run(ask_judges(f"recorded:{tmp_path}/other", config, reward))


@pytest.mark.slow
def test_the_local_world_is_recorded(tmp_path: Path, local_runtime: Path) -> None:
    config = simulated_config(tools={name: {"latency": 0.05, "jitter": 1.0} for name in BUILTIN}, linger=0.1)
    first = roll(connect(f"record:{tmp_path}/r", config))
    assert told(roll(connect(f"recorded:{tmp_path}/r"))) == told(first)
    assert [r.document for r in roll(simulated_world()).rollouts] == [r.document for r in first.rollouts]
