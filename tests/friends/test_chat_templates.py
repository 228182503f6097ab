"""Round trips with the chat templates that real models ship: what the policy saw, token by token, is what is trained on.

The templates of Qwen models are those that TRL keeps; SmolLM2 brings its own tokenizer. Some of them write an earlier turn otherwise than it
was sampled (Qwen3 drops its reasoning), which is why nothing here ever goes through a template twice.
"""

from __future__ import annotations

import copy
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from llmi_env.ledger import Owner
from llmi_env.ledger_export import to_verl
from llmi_env.models import policy_path, policy_ready
from llmi_env.prompting import messages
from llmi_env.tokenizers import HFTokenizer
from llmi_env.world.in_process import InProcessWorld
from tests.verl.test_server_policy import OWLS, SEARCH, ScriptedServer, roll

THOUGHT = f"<think>Owls, then a picture.</think>\n\nOwls 日本 {SEARCH} hunt at night. {SEARCH}"
NAMES = ("qwen3", "qwen3_instruct_2507", "qwen2_5", "qwen2_5_vl", "qwen3_vl", "SmolLM2")


def template(name: str) -> str:
    pytest.importorskip(
        "trl", reason="trl, which keeps the templates, is not installed: pip install 'llmi-env[friends]'"
    )
    return (resources.files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


@pytest.fixture(params=NAMES)
def tokenizer(request: pytest.FixtureRequest, bpe: Any) -> HFTokenizer:
    if request.param == "SmolLM2":
        if not policy_ready():
            pytest.skip("SmolLM2 is not prepared: llmi prepare")
        return HFTokenizer.load(policy_path())
    made = copy.deepcopy(bpe)
    made.chat_template = template(request.param)
    return HFTokenizer(made)


def test_with_feedback_what_was_seen_is_what_is_trained_on(tokenizer: HFTokenizer, world: InProcessWorld) -> None:
    server = ScriptedServer(THOUGHT, tokenizer)
    rollout = roll(server, world, tokenizer, feedback="text")
    ledger = rollout.ledger
    ledger.check()
    ledger.check_sampled(server.ids)
    assert len(server.asked) == 3
    for asked in server.asked:
        ledger.check_prefix(asked["prompt_ids"])
    prompt = tokenizer.hf.apply_chat_template(messages(OWLS), tokenize=False, add_generation_prompt=True)
    assert tokenizer.hf.decode(ledger.prompt_ids) == prompt
    output = to_verl(ledger, rollout.reward)
    assert [*output["prompt_ids"], *output["response_ids"]] == list(ledger.ids)
    trained = [i for i, mine in zip(output["response_ids"], output["response_mask"], strict=True) if mine]
    assert trained == server.ids
    assert output["response_mask"].count(0) == ledger.owners.count(Owner.TOOL) > 0
    assert rollout.document.to_source().endswith(SEARCH)


def test_a_template_may_write_a_turn_otherwise_than_it_was_sampled(bpe: Any) -> None:
    made = copy.deepcopy(bpe)
    made.chat_template = template("qwen3")
    turns = [*messages(OWLS), {"role": "assistant", "content": THOUGHT}, {"role": "user", "content": "Go on."}]
    assert "Owls, then a picture." not in made.apply_chat_template(turns, tokenize=False)


def test_a_seeing_policy_is_shown_pictures_by_its_own_template(tmp_path: Path) -> None:
    from llmi_env.policies.qwen_processor import Qwen2_5_VLProcessor
    from llmi_env.policies.vision import Eyes
    from trainers.verl.tiny import make_tiny

    folder = make_tiny(tmp_path, kind="qwen2_5_vl", vocabulary=400)
    ours = Qwen2_5_VLProcessor.from_pretrained(str(folder))
    theirs = Qwen2_5_VLProcessor.from_pretrained(str(folder))
    theirs.chat_template = theirs.tokenizer.chat_template = template("qwen2_5_vl")
    from tests.policies.test_vision import EDIT

    seen = [Eyes(processor).see_prompt(messages(EDIT), EDIT.images) for processor in (ours, theirs)]
    assert seen[0].ids == seen[1].ids
    assert seen[0].runs == seen[1].runs
    picture = EDIT.images[0]
    assert Eyes(ours).picture_ids(picture) == Eyes(theirs).picture_ids(picture)
