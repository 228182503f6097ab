"""Pictures in the context of a vision-language policy: as many placeholders as features, and what was seen is what is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConfigError
from llmi_env.ledger import Owner
from llmi_env.ledger_export import to_verl
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.policies.vision import Eyes
from llmi_env.prompting import messages
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.store import read_episodes, rollouts_of, write_episodes
from llmi_env.task import Task
from llmi_env.tokenizers import HFTokenizer
from llmi_env.world.in_process import InProcessWorld
from tests.verl.test_server_policy import SEARCH, ScriptedServer
from trainers.verl.server_policy import SeeingServerPolicy

pytest.importorskip("transformers", reason="transformers is not installed: pip install 'llmi-env[train]'")

OWLS = Task("Write about owls.", id="owls", tools=("search",))
EDIT = Task(
    "Make it grey.", (Picture(Image.new("RGB", (90, 60), "red"), Provenance("test", caption="a red sheet")),), id="grey"
)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Eyes:
    from llmi_env.policies.qwen_processor import Qwen2_5_VLProcessor
    from trainers.verl.tiny import make_tiny

    folder = make_tiny(tmp_path_factory.mktemp("qwen"), kind="qwen2_5_vl", vocabulary=400)
    return Eyes(Qwen2_5_VLProcessor.from_pretrained(str(folder)))


def features(eyes: Eyes, pictures: list[Picture]) -> list[int]:
    """How many features the model computes of each picture."""
    processor = eyes._processor.image_processor
    grids = processor(images=[picture.image for picture in pictures], return_tensors="pt")["image_grid_thw"]
    return [int(t * h * w) // processor.merge_size**2 for t, h, w in grids.tolist()]


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (300, 40), (97, 211)], ids=str)
def test_as_many_placeholders_as_features(eyes: Eyes, size: tuple[int, int]) -> None:
    picture = Picture(Image.new("RGB", size, "blue"), Provenance("test"))
    ids = list(eyes.picture_ids(picture))
    assert [ids.count(eyes.placeholder)] == features(eyes, [picture])
    assert len(ids) == ids.count(eyes.placeholder) + 2  # with what encloses them


def test_a_prompt_shows_the_pictures_of_the_task(eyes: Eyes) -> None:
    seen = eyes.see_prompt(messages(EDIT), EDIT.images)
    ((begin, length),) = seen.runs
    assert set(seen.ids[begin : begin + length]) == {eyes.placeholder}
    assert [length] == features(eyes, list(EDIT.images))
    assert list(seen.ids).count(eyes.placeholder) == length
    text = eyes._processor.tokenizer.decode([token for token in seen.ids if token != eyes.placeholder])
    assert "Make it grey." in text
    assert eyes.see_prompt(messages(OWLS), ()).runs == []


def roll(eyes: Eyes, world: InProcessWorld, task: Task, text: str) -> tuple[Rollout, ScriptedServer]:
    import asyncio

    tokenizer = HFTokenizer(eyes._processor.tokenizer)
    server = ScriptedServer(text, tokenizer)
    policy = SeeingServerPolicy(server, tokenizer, {}, True, eyes)
    reward = HybridReward.preset("llmi")
    batch = asyncio.run(run_rollouts(policy, world, reward, [task], max_tokens=3000, feedback="image"))
    return batch.rollouts[0], server


def test_results_are_seen_and_not_trained_on(eyes: Eyes, world: InProcessWorld, tmp_path: Path) -> None:
    rollout, server = roll(eyes, world, OWLS, f"Owls. {SEARCH} They hunt. {SEARCH}")
    ledger = rollout.ledger
    ledger.check()
    ledger.check_pictures(features(eyes, [picture for _, _, picture in ledger.pictures]), placeholder=eyes.placeholder)
    ledger.check_sampled(server.ids)
    for asked in server.asked:
        ledger.check_prefix(asked["prompt_ids"])
    assert [len(asked["image_data"] or ()) for asked in server.asked] == [0, 1, 2]
    assert server.asked[0]["sampling_params"]["logit_bias"] == {eyes.placeholder: -100.0}
    output = to_verl(ledger, rollout.reward)
    pairs = zip(output["response_ids"], output["response_mask"], strict=True)
    assert not any(mine for token, mine in pairs if token == eyes.placeholder)
    write_episodes(tmp_path, "all", [rollout])
    assert rollouts_of(read_episodes(tmp_path)) == [rollout]


def test_pictures_of_the_task_are_sent_with_every_request(eyes: Eyes, world: InProcessWorld, tmp_path: Path) -> None:
    rollout, server = roll(eyes, world, EDIT, f"Look: {SEARCH}")
    assert [len(asked["image_data"]) for asked in server.asked] == [1, 2]
    (begin, length, picture), *_ = rollout.ledger.pictures
    assert picture is EDIT.images[0]
    assert set(rollout.ledger.owners[begin : begin + length]) == {Owner.PROMPT}
    assert len(to_verl(rollout.ledger, 0.5)["multi_modal_data"]["images"]) == len(rollout.ledger.pictures)
    write_episodes(tmp_path, "all", [rollout])
    assert rollouts_of(read_episodes(tmp_path)) == [rollout]


def test_a_text_policy_cannot_be_shown_pictures(world: InProcessWorld) -> None:
    import asyncio

    work: Any = run_rollouts(
        ScriptedPolicy("x"), world, HybridReward.preset("llmi"), [OWLS], max_tokens=9, feedback="image"
    )
    with pytest.raises(ConfigError, match="sees pictures"):
        asyncio.run(work)
