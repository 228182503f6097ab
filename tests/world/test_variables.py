from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from llmi_env.services.openai_access import OPENAI_URL, find_key
from llmi_env.tools.web.providers import PROVIDERS
from llmi_env.world.config import WorldConfig
from llmi_env.world.local import _Helper, identity_of
from llmi_env.world.variables import UNNAMED, environment_of

BING = {"use": "web-search", "provider": "bing", "url": "http://127.0.0.1:1/s", "api_key_env": "BINGKEY"}
OPENAI = {"use": "openai", "model": "m", "api_key_env": "MINE"}


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ({"tools": {"search": BING}, "judges": []}, {"BINGKEY", *UNNAMED}),
        ({"tools": {}, "judges": [{"use": "panel", "judges": ["embedded", OPENAI]}]}, {"MINE", *UNNAMED}),
        (
            {"tools": {"sketch": {"use": "mine:Sketch", "headers": [{"from": "SKETCHKEY"}]}}, "judges": []},
            {"SKETCHKEY", *UNNAMED},
        ),
        ({}, set()),
    ],
    ids=["a tool", "a judge of a panel", "a tool of one's own", "the offline default"],
)
def test_it_is_what_the_configuration_reads(
    config: dict[str, Any], read: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*UNNAMED, "BINGKEY", "MINE", "SKETCHKEY", "OTHER"):
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("LLMI_SOMETHING", "1")
    found = environment_of(WorldConfig.parse(config))
    assert {name for name in found if not name.startswith("LLMI_")} == read
    assert found["LLMI_SOMETHING"] == "1"
    assert all(found[name] == f"value of {name}" for name in read)


def test_no_variable_that_is_read_without_being_named_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {can.key_env for name in PROVIDERS.builtin if name != "endpoint" if (can := PROVIDERS.find(name)("").can)}
    for name in UNNAMED:
        monkeypatch.delenv(name, raising=False)
    for azure in (False, True):
        with pytest.raises(ValueError, match="the environment variable") as raised:
            find_key(None, OPENAI_URL, azure=azure)
        own.add(str(raised.value).partition("environment variable ")[2].split()[0])
    assert own - {""} == {name for name in UNNAMED if name.endswith("_KEY")}


def test_another_key_means_another_helper(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, names = WorldConfig(tools={"search": BING}, judges=[]), []
    for key in (None, "wrong", "good", "wrong"):
        monkeypatch.delenv("BINGKEY", raising=False)
        if key is not None:
            monkeypatch.setenv("BINGKEY", key)
        names.append(_Helper.shared(config).identity)
    assert len(set(names[:3])) == 3
    assert names[3] == names[1]
    assert stat.S_IMODE((runtime / "salt").stat().st_mode) == 0o600
    salt = (runtime / "salt").read_bytes()
    assert len(salt) == 32
    assert identity_of(config, salt) == names[3]
    assert identity_of(config, b"another") != names[3], "who does not know the salt cannot find out a key by trying"
