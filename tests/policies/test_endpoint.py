"""Endpoints by name and by options, and what they are asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env import prompting
from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConfigError
from llmi_env.policies.base import Sampling
from llmi_env.policies.endpoint import Endpoint, EndpointOptions
from llmi_env.services.openai_access import OPENAI_URL
from llmi_env.task import Task
from tests.chat_streams import saying
from tests.judges.chat_server import ChatServer

OWL = Picture(Image.new("RGB", (2000, 30), "brown"), Provenance("input", caption="an owl"))


@pytest.mark.parametrize(
    ("policy", "model", "base_url"),
    [
        ("openai:gpt-5-mini", "gpt-5-mini", OPENAI_URL),
        ("openai:smollm2@http://127.0.0.1:8000/v1", "smollm2", "http://127.0.0.1:8000/v1"),
        ("openai:Qwen/Qwen3-4B@https://writer:8000/v1", "Qwen/Qwen3-4B", "https://writer:8000/v1"),
        ("openai:@cf/meta/llama@https://gateway/v1", "@cf/meta/llama", "https://gateway/v1"),
        ('{"model": "m", "base_url": "http://writer/v1"}', "m", "http://writer/v1"),
    ],
)
def test_endpoints_by_name(policy: str, model: str, base_url: str) -> None:
    options = EndpointOptions.named(policy)
    assert options is not None
    assert (options.model, options.base_url) == (model, base_url)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_endpoints_by_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"writer{suffix}"
    path.write_text(json.dumps({"use": "openai", "model": "m", "sees": True, "extra_body": {"top_k": 20}}))
    options = EndpointOptions.named(str(path))
    assert options is not None
    assert options.sees
    assert options.identity()["extra_body"] == {"top_k": 20}


@pytest.mark.parametrize("policy", ["warm-start", "runs/quickstart", "Qwen/Qwen3-4B", "documents:folder"])
def test_other_policies_are_none(policy: str) -> None:
    assert EndpointOptions.named(policy) is None


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("openai:", "names no model"),
        ("openai:@https://user:pw@host/v1", "names no model"),
        ("openai:m@https://user:pw@host/v1", "api_key_env"),
        ("openai:m@host:8000/v1", "begins with http://"),
        ("openai:m@localhost/v1", "begins with http://"),
        ("openai:m@10.0.0.7", "begins with http://"),
        ("nowhere.yaml", "cannot be read"),
        ("{", "not JSON"),
        ("{}", "model"),
        ('{"model": "m", "modle": 1}', "did you mean 'model'"),
        ('{"model": "m", "api_key": "sk-1"}', "give the variable's name"),
        ('{"model": "m", "extra_body": {"temperature": 1}}', "temperature have options of their own"),
        ('{"model": "m", "extra_body": {"x": NaN}}', "plain JSON"),
        ('{"model": "m", "extra_body": {"a": [{"api_key": "sk-1"}]}}', "'api_key' looks like a key"),
        ('{"model": "m", "use": "embedded"}', "'openai' only"),
        ('{"model": "m", "base_url": "writer"}', "an address such as"),
    ],
)
def test_what_cannot_be_an_endpoint(policy: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        EndpointOptions.named(policy)


def asked(task: Task, sampling: Sampling | None = None, **options: Any) -> dict[str, Any]:
    """The request that is sent."""

    async def run() -> dict[str, Any]:
        async with ChatServer(saying("Owls")) as server:
            endpoint = Endpoint(EndpointOptions.parse({"model": "m", "base_url": server.base_url, **options}))
            texts: list[str] = []
            await endpoint.write(
                prompting.messages(task),
                task.images,
                lambda text: texts.append(text) is None,
                max_tokens=50,
                sampling=sampling or Sampling(),
                seed=7,
            )
            await endpoint.aclose()
            assert "".join(texts) == "Owls"
            return server.requests[0]

    return asyncio.run(run())


def test_what_is_sent() -> None:
    task = Task("Write about owls.", (OWL,))
    request = asked(task, Sampling(0.7, 0.9), extra_body={"top_k": 20})
    assert request["messages"] == prompting.messages(task)
    sent = {name: request[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed", "top_k")}
    assert sent == {"model": "m", "temperature": 0.7, "top_p": 0.9, "max_tokens": 50, "seed": 7, "top_k": 20}


def test_a_model_that_sees_is_shown_the_pictures() -> None:
    task = Task("Write about this owl.", (OWL,))
    system, user = asked(task, sees=True, max_side=100)["messages"]
    assert system["role"] == "system"
    picture, text = user["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == {"type": "text", "text": prompting.user_message(task)}
    assert asked(Task("Write about owls."), sees=True)["messages"][1]["content"] == "Write about owls."


def test_models_that_take_less() -> None:
    request = asked(Task("Write about owls."), system_role=False, takes_temperature=False)
    (user,) = request["messages"]
    assert user["role"] == "user"
    assert user["content"] == prompting.system_prompt() + "\n\nWrite about owls."
    assert not {"temperature", "top_p"} & request.keys()


def test_costs_and_identity() -> None:
    free = EndpointOptions.parse({"model": "m", "base_url": "http://writer/v1"})
    assert Endpoint(free).cost(10, 10) is None
    priced = free.model_copy(update={"prompt_price": 2.0, "completion_price": 8.0, "retries": 1, "idle": 3.0})
    assert Endpoint(priced).cost(1000, 500) == pytest.approx(0.006)
    assert priced.identity() == free.identity()
    moved = free.model_copy(update={"server": "http://writer/v1", "base_url": "http://elsewhere/v1"})
    assert moved.identity() == free.identity()
    assert free.model_copy(update={"sees": True}).identity() != free.identity()
