"""Ablation of the reward: saved episodes under many variants of it, without writing or judging anything again.

What a report keeps, the facts that the rules saw and every judgment, is all that a reward is made of. `read_saved` takes it from the
episode files (a few columns; no picture is decoded), `load_variants` makes rewards of a YAML grid, `ablate` compares them.
"""

from __future__ import annotations

from llmi_env.ablation.comparing import Ablation, Flip, VariantResult, ablate, group_advantages
from llmi_env.ablation.saved import SavedEpisode, base_reward, read_saved
from llmi_env.ablation.variants import Variant, load_variants

__all__ = [
    "Ablation",
    "Flip",
    "SavedEpisode",
    "Variant",
    "VariantResult",
    "ablate",
    "base_reward",
    "group_advantages",
    "load_variants",
    "read_saved",
]
