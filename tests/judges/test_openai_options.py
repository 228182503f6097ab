"""Options of the OpenAI-compatible judge: what is refused, what needs a key, what moves a score."""

from __future__ import annotations

from typing import Any

import pytest

from llmi_env.config import load_config
from llmi_env.errors import ConfigError
from llmi_env.rewards import HybridReward

pytest.importorskip("openai", reason="openai is not installed: pip install 'llmi-env[judges]'")
from llmi_env.judges.openai_judge import OpenAIJudge
from llmi_env.judges.openai_options import JudgeOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modle": "m"}, "no option 'modle', did you mean 'model'"),
        ({"model": "m", "api_key": "sk-1"}, "no option 'api_key' .keys do not belong into configurations"),
        ({}, "option 'model': Field required"),
        ({"model": "m", "terms": ["text_qualty"]}, "no term 'text_qualty', did you mean 'text_quality'"),
        ({"model": "m", "terms": []}, "at least one of text_quality, call_quality, image_quality"),
        ({"model": "m", "base_url": "localhost:8000"}, "an address such as http://127.0.0.1:8000/v1 is needed"),
        ({"model": "m", "base_url": "http://me:word@host/v1"}, "key in the address"),
        ({"model": "m", "samples": 3}, "several samples at temperature 0 are one sample"),
        ({"model": "m", "timeout": 0}, "option 'timeout'"),
        ({"model": "m", "structured": "yes"}, "option 'structured': .*'json_schema'"),
        ({"model": "m", "extra_body": {"a": {"api_key": "sk-1"}}}, "option 'extra_body': 'api_key' looks like a key"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OpenAIJudge(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"api_key_env": "sk-SECRET"},
        {"base_url": "https://sk-SECRET@host.example/v1"},
        {"base_url": "https://host.example/v1?key=SECRET"},
        {"base_url": "https://user:SECRET@host.example/v1"},
    ],
    ids=["in place of the name", "as user", "in the query", "as password"],
)
def test_a_key_in_the_options_is_refused_and_not_repeated(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as told:
        JudgeOptions.parse({"model": "any", **options})
    assert "SECRET" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["http://judge:8000/v1", "https://10.0.0.5/v1", "https://judge.svc/v1", "https://judge/v1"]
)
def test_a_server_of_ones_own_needs_no_key(url: str) -> None:
    assert OpenAIJudge(model="m", base_url=url).options.key() == ""


def test_the_papers_judges() -> None:
    """The preset `paper` names judges that can be made, and that score every term of the reward."""
    config = load_config("paper")
    judges = [OpenAIJudge(**options) for _, options in config.services.judge_uses()]
    assert {term for judge in judges for term in judge.terms} == set(HybridReward.preset(config.reward).judged_terms)


def test_the_fingerprint_is_what_moves_a_score() -> None:
    base = {"model": "m", "base_url": "http://a:1/v1"}

    def print_of(**changes: Any) -> str:
        return OpenAIJudge(**{**base, **changes}).fingerprint

    same = [{"timeout": 9}, {"retries": 0}, {"concurrency": 1}, {"prompt_price": 1.0}, {"api_key_env": "X"}]
    assert {print_of(**change) for change in same} == {print_of()}
    others = [{"model": "n"}, {"base_url": "http://b:1/v1"}, {"temperature": 0.5}, {"seed": 1}, {"max_side": 512}]
    others += [{"extra_body": {"top_k": 1}}, {"terms": ["text_quality"]}, {"samples": 2, "temperature": 0.5}]
    assert len({print_of(), *(print_of(**change) for change in others)}) == 9
    assert print_of(cache_name="judge") == print_of(cache_name="judge", base_url="http://b:1/v1") != print_of()
    assert print_of().startswith("openai:m@text/2#")
