from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from llmi_env.config import (
    EnvConfig,
    LimitsConfig,
    apply_overrides,
    load_config,
    load_yaml,
    load_yaml_preset,
    parse_model,
    preset_names,
)
from llmi_env.errors import ConfigError
from llmi_env.world.config import WorldConfig
from llmi_env.yaml_text import parse_yaml


class TestPresets:
    @pytest.mark.parametrize("name", preset_names())
    def test_every_preset_is_valid(self, name: str) -> None:
        assert isinstance(load_config(name), EnvConfig)

    def test_offline_is_the_default_and_rules_needs_the_core_only(self) -> None:
        assert load_config() == load_config("offline")
        rules = load_config("rules")
        assert rules.services.judges == []
        assert "diffusion" not in rules.services.tools

    def test_an_unknown_preset_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="no env preset 'ofline', did you mean 'offline'"):
            load_config("ofline")
        with pytest.raises(ConfigError, match="no train preset"):
            load_yaml_preset("train", "no such recipe")
        with pytest.raises(ConfigError, match="no weather preset"):
            load_yaml_preset("weather", "sunny")


class TestSources:
    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("action_mode: chunk\nlimits: {calls: 3}\n", encoding="utf-8")
        config = load_config(path)
        assert (config.action_mode, config.limits.calls) == ("chunk", 3)
        assert load_config(str(path)) == config

    def test_a_mapping_and_an_object(self) -> None:
        config = load_config({"feedback": "image"})
        assert config.feedback == "image"
        assert load_config(config, feedback="text").feedback == "text"

    def test_a_loaded_mapping_is_a_copy(self) -> None:
        data = {"limits": {"calls": 1}}
        load_yaml("env", data)["limits"]["calls"] = 2
        assert data == {"limits": {"calls": 1}}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: [1", "not YAML"),
            ("- a", "expected a mapping"),
            ("1: a", "expected a mapping"),
            ("a: 1\na: 2", "the key 'a' is given twice"),
            ("a: {b: 1, c: 2, b: 1}", "the key 'b' is given twice"),
            ("a: 2026-99-99", "not YAML"),
            ("[" * 5000, "not YAML"),
        ],
    )
    def test_a_file_that_is_no_mapping(self, tmp_path: Path, text: str, said: str) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=said):
            load_config(path)
        with pytest.raises(ConfigError, match="here: .*" + said):
            parse_yaml(text, "here")

    def test_merged_keys_may_be_given_another_value(self) -> None:
        text = "deep:\n  er: &b\n    <<: &a {x: 1, y: 2}\n    x: 3\nc: {<<: *b, x: 4}\nd: {<<: *a}"
        read = parse_yaml(text, "here")
        assert (read["deep"]["er"], read["c"], read["d"]) == ({"x": 3, "y": 2}, {"x": 4, "y": 2}, {"x": 1, "y": 2})

    def test_a_missing_or_binary_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot read"):
            load_config(tmp_path / "none.yaml")
        (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="cannot read"):
            load_config(tmp_path / "b.yaml")

    def test_an_empty_file_means_the_defaults(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("", encoding="utf-8")
        assert load_config(tmp_path / "a.yaml") == EnvConfig()


class TestOverrides:
    def test_values_are_read_as_yaml(self) -> None:
        done = apply_overrides({"a": {"b": 1}}, ["a.b=2", "a.c=[1, x]", "d.e=true", "f=", "g=a=b", "h=1e-3"])
        assert done == {"a": {"b": 2, "c": [1, "x"]}, "d": {"e": True}, "f": None, "g": "a=b", "h": 1e-3}

    def test_the_source_is_untouched(self) -> None:
        data: dict[str, Any] = {"a": {"b": 1}}
        assert apply_overrides(data, {"a.b": 2}) == {"a": {"b": 2}}
        assert data == {"a": {"b": 1}}

    def test_an_item_of_a_list_is_named_by_its_number(self) -> None:
        data = {"judges": [{"use": "a"}, "b"]}
        changed = apply_overrides(data, ["judges.0.model=m", "judges.1=c"])
        assert changed == {"judges": [{"use": "a", "model": "m"}, "c"]}
        for key in ("judges.2=x", "judges.first.model=x", "judges.-1=x"):
            with pytest.raises(ConfigError, match="a list of 2 has no item"):
                apply_overrides(data, [key])

    @pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".=1", "a=[1"])
    def test_an_override_that_cannot_be_read(self, text: str) -> None:
        with pytest.raises(ConfigError):
            apply_overrides({}, [text])

    def test_below_a_value_there_is_no_option(self) -> None:
        with pytest.raises(ConfigError, match="'a' is 1, not a group"):
            apply_overrides({"a": 1}, ["a.b=2"])

    def test_strings_then_keywords(self) -> None:
        config = load_config("rules", ["limits.calls=4", "feedback=text"], feedback="image", limits={"pictures": 2})
        assert (config.feedback, config.limits.calls, config.limits.pictures) == ("image", 4, 2)
        assert load_config("rules", **{"limits.calls": 5}).limits.calls == 5
        assert load_config("rules", limits=LimitsConfig(calls=6)).limits.calls == 6

    def test_one_option_of_one_tool(self) -> None:
        config = load_config("rules", ["services.tools.code.timeout=3"])
        assert config.services.tools["code"] == {"timeout": 3}
        assert set(config.services.tools) == {"search", "edit", "code"}


class TestMistakes:
    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("acton_mode=chunk", "no option 'acton_mode', did you mean 'action_mode'"),
            ("limits.cals=1", "no option 'limits.cals', did you mean 'calls'"),
            ("services.tols={}", "no option 'services.tols', did you mean 'tools'"),
            ("services.tools={serch: {}}", "did you mean 'search'"),
            ("limits.calls=many", "option 'limits.calls'"),
            ("limits.characters=0", "option 'limits.characters'"),
            ("action_mode=word", "option 'action_mode'"),
            ("feedback=sound", "option 'feedback'"),
            ("unscored=zero", "option 'unscored'"),
            ("world=locla", "did you mean 'local'"),
            ("limits=3", "option 'limits'"),
        ],
    )
    def test_the_key_is_named(self, override: str, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            load_config("rules", [override])

    def test_an_unknown_keyword(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'feedback'"):
            load_config("rules", feedbak="text")

    def test_errors_pickle(self) -> None:
        with pytest.raises(ConfigError) as raised:
            load_config("rules", ["limits.cals=1"])
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


class TestWorld:
    @pytest.mark.parametrize("world", ["local", "in_process", "http://127.0.0.1:8000"])
    def test_how_it_is_reached(self, world: str) -> None:
        assert load_config("rules", world=world).world == world

    def test_what_it_is_made_of(self) -> None:
        services = WorldConfig(tools={"edit": {}}, judges=[])
        assert load_config("rules", world=services).services == services
        assert load_config("rules", world={"tools": {"edit": {}}}).services.tools == {"edit": {}}
        assert load_config({"world": {"tools": {"edit": {}}}}).services.tools == {"edit": {}}
        assert load_config("rules", world=services).world == "local"


def test_a_configuration_survives_json_and_pickle() -> None:
    config = load_config("rules", ["limits.tokens=100"])
    assert load_config(json.loads(config.model_dump_json())) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("model", [EnvConfig, LimitsConfig])
def test_every_option_is_explained(model: type[BaseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())


def test_any_model_gets_the_same_errors() -> None:
    class Inner(BaseModel):
        model_config = ConfigDict(extra="forbid")
        rate: float = 0.1

    class Recipe(BaseModel):
        model_config = ConfigDict(extra="forbid")
        steps: int
        optimizer: Inner | None = None

    assert parse_model(Recipe, {"steps": 1, "optimizer": {"rate": 1}}, "recipe") == Recipe(
        steps=1, optimizer=Inner(rate=1)
    )
    with pytest.raises(ConfigError, match=r"recipe: option 'steps': Field required"):
        parse_model(Recipe, {}, "recipe")
    with pytest.raises(ConfigError, match=r"recipe: there is no option 'optimizer.rat', did you mean 'rate'"):
        parse_model(Recipe, {"steps": 1, "optimizer": {"rat": 1}}, "recipe")
