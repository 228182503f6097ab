"""The service's description is true: it is the wire's own, and whatever is sent by it, or against it, gets an answer that stands in it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from llmi_env.calls import Call
from llmi_env.document import Document, Figure, Picture, Provenance, Text
from llmi_env.task import Task
from llmi_env.testing import simulated_config
from llmi_env.world import wire
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Keys, Limits
from tests.pngs import chunk
from tests.serving import served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PICTURE = wire.PictureMessage.of(Picture(Image.effect_noise((16, 16), 90), Provenance("test")))


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as made:
        yield made


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(
        create_app(simulated_config(), limits=Limits(16, 16, max_body=2_000_000, max_pixels=1_000_000))
    ) as address:
        while httpx.get(address + "/ready").status_code == 503:
            time.sleep(0.1)
        yield address


def fuzz(url: str, examples: int, paths: str = "") -> set[int]:
    """Send what fits the description and what does not; the statuses that came."""
    schema = schemathesis.openapi.from_url(url + "/openapi.json").include(path_regex=paths)
    statuses: set[int] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode if operation.body else [schemathesis.GenerationMode.POSITIVE]:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=examples, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
            )
            def send(case: Any) -> None:
                response = case.call()
                statuses.add(response.status_code)
                case.validate_response(response, checks=CHECKS)

            send()
    return statuses


def test_the_description_is_the_wires_own(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert described["info"]["version"] == wire.VERSION
    assert f"protocol {wire.PROTOCOL}" in described["info"]["description"]
    models = described["components"]["schemas"]
    for model in (
        wire.RunRequest,
        wire.JudgeRequest,
        wire.RunReply,
        wire.JudgeReply,
        wire.Terms,
        wire.Health,
        wire.ErrorReply,
    ):
        own = model.model_json_schema(ref_template="#/components/schemas/{model}")
        inner = own.pop("$defs", {})
        assert models[model.__name__] == own
        assert all(models[name] == inner[name] for name in inner)
    run = described["paths"]["/run"]["post"]
    assert run["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/RunRequest"}
    assert sorted(run["responses"]) == ["200", "401", "408", "413", "422", "424", "429", "500", "503"]
    assert "Retry-After" in run["responses"]["429"]["headers"]
    assert "/lease" not in described["paths"]
    assert "swagger" in client.get("/docs").text.lower()


def test_the_description_says_where_a_token_is_needed() -> None:
    described = create_app(simulated_config(), keys=Keys(["sesame"])).openapi()
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert described["paths"]["/run"]["post"]["security"] == [{"token": []}]
    assert described["paths"]["/alive"]["get"]["security"] == [{}]


def test_what_fits_the_description_and_what_does_not_is_answered_as_described(url: str) -> None:
    assert {200, 422} <= fuzz(url, 3, "^/(?!judge)")


@pytest.mark.slow
def test_much_of_it_is(url: str) -> None:
    assert fuzz(url, 60) == {200, 422}


# ------------------------------------------------------------------------------------------------- where a schema cannot reach

DEEP = 50_000
STRANGE = {
    "a text nested too deep": {"tool": "\x00" + "[" * DEEP},
    "a text that is none": {"tool": "\x00[1]"},
    "a text cut off": {"tool": "\x00"},
    "a lone surrogate": {"tool": '\x00"\\ud800"', "description": '\x00"\\udfff"'},
    "params nested too deep": {"params": '{"query":' + "[" * DEEP + "]" * DEEP + "}"},
    "params just deep enough": {"params": '{"query":' + "[" * 300 + "]" * 300 + "}"},
    "params that are no object": {"params": "[]"},
    "params that are no JSON": {"params": "{"},
    "params with a number of 5000 digits": {"params": '{"query":' + "9" * 5000 + "}"},
    "params with numbers that JSON has not": {"params": '{"query": NaN, "x": -Infinity}'},
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_texts_are_answered(client: httpx.Client, case: str) -> None:
    call = {"tool": "search", "description": "an owl", "params": '{"query":"owl"}', **STRANGE[case]}
    answer = client.post("/run", json={"call": call, "pictures": [], "seed": 1})
    assert answer.status_code in (200, 422)
    model = wire.RunReply if answer.status_code == 200 else wire.ErrorReply
    model.model_validate_json(answer.content)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b'{"call":' * DEEP,
        b'{"call": null, "call": null}',
        b"\x00" * 100,
        b'{"seed": 1e400}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        json.dumps({"call": {"tool": "search", "description": "", "params": "{}"}, "pictures": [], "seed": 10**400}).encode(),
        json.dumps({"call": {"tool": "search", "description": "", "params": '{"query":"o"}'}, "pictures": [], "seed": -(2**70)}).encode(),
        b'{"call":{"tool":"search","description":"","params":"{\\"query\\":\\"o\\"}"},"pictures":[],"seed":1,"deadline":Infinity}',
        b'{"call":{"tool":"search","description":"","params":"{\\"query\\":\\"o\\"}"},"pictures":[],"seed":1,"deadline":1e308}',
        b'{"call":{"tool":"search","description":"","params":"{\\"query\\":\\"o\\"}"},"pictures":[],"seed":1,"deadline":1e-308}',
    ],
    ids=range(11),
)  # fmt: skip
def test_strange_bodies_are_answered(client: httpx.Client, body: bytes) -> None:
    for path in ("/run", "/judge"):
        answer = client.post(path, content=body)
        assert answer.status_code in (200, 422)


def test_a_task_that_cannot_be_is_the_messages_mistake_and_not_the_set_ups(client: httpx.Client) -> None:
    task = {"question": "owls", "images": [], "image_count": -1, "tools": [], "id": None, "source": None}
    answer = client.post("/judge", json={"document": {"blocks": []}, "task": task})
    assert answer.status_code == 422
    assert "image_count" in answer.json()["args"][0]


PNG = base64.b64decode(json.loads(PICTURE.encode())["png"].replace("-", "+").replace("_", "/"))
CHUNKS = [
    "tEXt",
    "zTXt",
    "iTXt",
    "PLTE",
    "tRNS",
    "gAMA",
    "pHYs",
    "acTL",
    "fcTL",
    "fdAT",
    "iCCP",
    "eXIf",
    "IHDR",
    "IDAT",
]


def overwritten(where: int, data: bytes) -> bytes:
    return PNG[:where] + data + PNG[where + len(data) :]


def with_chunk(name: str, data: bytes) -> bytes:
    return PNG[:33] + chunk(name.encode(), data) + PNG[33:]


@settings(max_examples=60, database=None)
@given(
    png=st.one_of(
        st.binary(max_size=80),
        st.integers(0, len(PNG)).map(lambda end: PNG[:end]),
        st.builds(overwritten, st.integers(0, len(PNG) - 1), st.binary(min_size=1, max_size=8)),
        st.builds(with_chunk, st.sampled_from(CHUNKS), st.binary(max_size=40)),
    )
)
def test_mangled_pictures_are_answered(client: httpx.Client, png: bytes) -> None:
    picture = {**json.loads(PICTURE.encode()), "png": base64.b64encode(png).decode()}
    call = {"tool": "edit", "description": "", "params": '{"img_index": 0, "prompt": "blur"}'}
    answer = client.post("/run", json={"call": call, "pictures": [picture], "seed": 1})
    assert answer.status_code in (200, 422), answer.text


def test_whole_messages_of_ours_fit_the_description(client: httpx.Client) -> None:
    import jsonschema_rs

    described = client.get("/openapi.json").json()
    picture, call = PICTURE.value(), Call("search", "an owl \ud800", {"query": "owl"})
    document = Document((Text("Owls.\x00"), Figure("{}", call, picture), Figure("no JSON", None, None)))
    for message in (
        wire.RunRequest(call=wire.CallMessage.of(call), pictures=[PICTURE], seed=3, deadline=2.5),
        wire.JudgeRequest(
            document=wire.DocumentMessage.of(document), task=wire.TaskMessage.of(Task("owls", images=(picture,)))
        ),
    ):
        schema = {"$ref": f"#/components/schemas/{type(message).__name__}", "components": described["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(json.loads(message.encode()))
