"""Rewards: the rules, the hybrid formula and its presets, and the metrics of tool use."""

from __future__ import annotations

from llmi_env.rewards.facts import Facts
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import Preset, preset_names
from llmi_env.rewards.report import RewardReport, TermReport
from llmi_env.rewards.reward_term import RewardTerm
from llmi_env.rewards.rules import (
    call_success,
    call_validity,
    image_count,
    plain_text,
    tool_choice,
    tool_use,
    wanted_code,
)
from llmi_env.rewards.statistics import Difference, bootstrap_interval, paired_bootstrap
from llmi_env.rewards.tool_accuracy import ToolAccuracy, ToolCounts, tool_accuracy, tool_accuracy_difference

__all__ = [
    "Difference",
    "Facts",
    "HybridReward",
    "Preset",
    "RewardReport",
    "RewardTerm",
    "TermReport",
    "ToolAccuracy",
    "ToolCounts",
    "bootstrap_interval",
    "call_success",
    "call_validity",
    "image_count",
    "paired_bootstrap",
    "plain_text",
    "preset_names",
    "tool_accuracy",
    "tool_accuracy_difference",
    "tool_choice",
    "tool_use",
    "wanted_code",
]
