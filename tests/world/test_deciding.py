"""What a recording says of the World that it was made with, and what is done with that."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.errors import ConfigError
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge, SimulatedTool, simulated_config
from llmi_env.world import connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.deciding import differences, digest_of, parts_of
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.overlay import OverlayWorld
from llmi_env.world.protocol import DecidingWorld
from llmi_env.world.recorded import RecordingWorld, laid_over
from llmi_env.world.service import create_app
from tests.serving import served

OWL = Call("search", "an owl", {"query": "owl"})


def asked(world: Any) -> Outcome:
    async def ask() -> Outcome:
        try:
            return await world.run(OWL)
        finally:
            await world.aclose()

    return asyncio.run(ask())


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        (line := json.loads(raw))["key"]: line["options"] for raw in (folder / "made_of.jsonl").read_text().splitlines()
    }


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"max_side": 32}, r"max_side was 1024 and is 32"),
    ({"tools": {"search": {"size": 8}}}, r"tools\.search\.size is new"),
    ({"tools": {"search": {"use": f"{__name__}:Sketch"}}}, r"tools\.search\.use is another"),
    ({"judge": {"seed": 2}}, r"judges\.0\.seed was 1 and is 2"),
]


def simulated(**options: Any) -> WorldConfig:
    return simulated_config(**{"tools": {"search": {}}, "judge": {"seed": 1}, **options})


@pytest.mark.parametrize(("other", "said"), OTHERS, ids=[said for _, said in OTHERS])
def test_answers_of_another_configuration_are_not_given(other: dict[str, Any], said: str, tmp_path: Path) -> None:
    first = asked(connect(f"in_process+record:{tmp_path}", simulated()))
    assert isinstance(first, Picture)
    assert asked(connect(f"in_process+record:{tmp_path}", simulated(deadline=3.0, call_cache="off"))) == first
    for world in ("in_process+record", "record"):
        for work in (
            lambda world: world.run(OWL),
            lambda world: world.judge(Document(), Task("owls")),
            lambda world: world.about_judges(),
        ):
            with pytest.raises(
                ConfigError, match=rf"was made with another configuration \({said}\): record into another"
            ):
                asyncio.run(work(connect(f"{world}:{tmp_path}", simulated(**other))))
    with pytest.raises(ConfigError, match=rf"\({said}\): replay it with the configuration of then"):
        connect(f"recorded:{tmp_path}", simulated(**other))
    for config in (None, simulated()):
        assert asked(connect(f"recorded:{tmp_path}", config)) == first


def test_what_comes_anew_is_recorded_beside_what_is_there(tmp_path: Path) -> None:
    first = asked(connect(f"in_process+record:{tmp_path}", simulated()))
    assert asked(connect(f"in_process+record:{tmp_path}", simulated(tools={"search": {}, "edit": {}}))) == first
    assert list(lines(tmp_path)) == ["max_side", "judges", "tools.search", "tools.edit"]
    with pytest.raises(ConfigError, match=r"tools\.edit\.size is new"):
        asked(connect(f"in_process+record:{tmp_path}", simulated(tools={"edit": {"size": 3}})))


def test_a_recording_without_it_goes_on_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = asked(connect(f"in_process+record:{tmp_path}", simulated()))
    (tmp_path / "made_of.jsonl").unlink()
    assert asked(connect(f"recorded:{tmp_path}", simulated(max_side=32))) == first
    assert "so this one is not compared" in caplog.text
    assert asked(connect(f"in_process+record:{tmp_path}", simulated())) == first
    assert "it goes on with this one" in caplog.text
    assert lines(tmp_path)["max_side"] == {"max_side": 1024}
    caplog.clear()
    asked(connect(f"recorded:{tmp_path}", simulated()))
    assert not [record for record in caplog.records if record.name.startswith("llmi")]


def test_a_service_of_another_configuration_is_told(tmp_path: Path) -> None:
    with served(create_app(simulated())) as address:
        first = asked(connect(f"{address}+record:{tmp_path}", simulated(max_side=32)))  # which is not the service's
    assert list(lines(tmp_path)) == ["service"]
    with served(create_app(simulated(deadline=3.0))) as address:
        assert asked(connect(f"{address}+record:{tmp_path}", simulated())) == first
    with served(create_app(simulated(max_side=32))) as address, pytest.raises(ConfigError, match="service is another"):
        asked(connect(f"{address}+record:{tmp_path}", simulated()))
    assert asked(connect(f"recorded:{tmp_path}", simulated(max_side=32))) == first


class Sketch(SimulatedTool):
    fingerprint = "sketch 1"


class Sketch2(SimulatedTool):
    fingerprint = "sketch 2"


def test_objects_are_told_apart_as_far_as_they_tell(tmp_path: Path) -> None:
    def over(tool: SimulatedTool) -> Any:
        base = connect(f"in_process+record:{tmp_path}", simulated(tools={"edit": {}}))
        return laid_over(base, lambda world: OverlayWorld(world, {"search": tool}, [SimulatedJudge()], simulated()))

    first = asked(over(Sketch("search")))
    assert asked(over(Sketch("search"))) == first
    assert set(lines(tmp_path)) == {"max_side", "judges", "tools.search", "tools.edit"}
    with pytest.raises(ConfigError, match=r"tools\.search\.object is another"):
        asked(over(Sketch2("search")))
    replay = connect(f"recorded:{tmp_path}", simulated(tools={"edit": {}}).model_copy(update={"judges": []}))
    assert asked(replay) == first, "what the objects stood in for stands in no configuration"
    assert isinstance(over(Sketch("search")).world, DecidingWorld)


def test_a_world_that_tells_nothing_is_recorded_as_ever(tmp_path: Path) -> None:
    class Silent:
        def __init__(self) -> None:
            self.world = InProcessWorld({"search": SimulatedTool()})
            self.run, self.judge, self.aclose = self.world.run, self.world.judge, self.world.aclose

    assert isinstance(asked(RecordingWorld(Silent(), tmp_path)), Picture)
    assert not (tmp_path / "made_of.jsonl").exists()


def test_no_secret_and_no_text_stands_in_a_recording() -> None:
    options = {
        "use": "mine:Tool",
        "token": "s3cret",
        "url": "http://u:s3cret@host",
        "more": [{"password": "s3cret"}],
        "size": 5,
    }
    parts = parts_of(WorldConfig(tools={"sketch": options}, judges=[]))
    told = parts["tools.sketch"]
    assert "s3cret" not in json.dumps(parts)
    assert told["tools.sketch.size"] == 5
    assert set(told) == {"tools.sketch.use", "tools.sketch.url", "tools.sketch.size"}
    assert "http" not in json.dumps(told)


def test_neither_limits_nor_prices_decide_anything() -> None:
    judge = {"use": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    here = WorldConfig(tools={"code": {}}, judges=[judge])
    dear = WorldConfig(
        tools={"code": {"timeout": 3}}, judges=[{**judge, "concurrency": 3, "prompt_price": 1.0, "api_key_env": "KEY"}],
        deadline=3, rates={"code": "1/s"}, linger=0,
    )  # fmt: skip
    other = here.model_copy(update={"judges": [{**judge, "model": "n"}]})
    assert digest_of(parts_of(here)) == digest_of(parts_of(dear)) != digest_of(parts_of(other))
    assert differences(parts_of(here)["judges"], parts_of(other)["judges"]) == ["judges.0.model is another"]
