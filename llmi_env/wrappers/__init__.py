"""Wrappers of `LLMI-v0`.

From the environment outwards, each where it is needed:

1. `StepLimit`, `CallLimit`: limits of one episode, scored as it stands.
2. `RecordTranscripts`: keeps episodes as JSON lines. `DropUnscored`: a document without a score begins again.
3. `RewardVector`: the reward's terms.
4. `FullContext` or `TokenHistory`: for policies without a memory.
5. `ResizeImages`, `PadImages`: pictures of one size.
6. `ArraysOnly`: numbers only, for `NumpyToTorch`, TorchRL and stable-baselines3.

Gymnasium's own go on top. All can be made again from `env.spec`, pickle, and may be copied (`copy.deepcopy`) in the middle of an episode:
that, not `env.unwrapped.restore`, is how to branch a wrapped environment whose wrappers remember something.

>>> import gymnasium as gym
>>> env = StepLimit(gym.make("llmi_env:LLMI-v0", config="rules"), 100)
>>> env = ArraysOnly(TokenHistory(RewardVector(env), 64))
>>> {name: space.shape for name, space in env.observation_space.items()}
{'event': (), 'token_mask': (64,), 'tokens': (64,)}
"""

from __future__ import annotations

from llmi_env.wrappers.arrays import ArraysOnly
from llmi_env.wrappers.context import FullContext, TokenHistory
from llmi_env.wrappers.images import PadImages, ResizeImages
from llmi_env.wrappers.limits import CallLimit, StepLimit
from llmi_env.wrappers.recording import RecordTranscripts
from llmi_env.wrappers.rewards import RewardVector
from llmi_env.wrappers.unscored import DropUnscored

__all__ = [
    "ArraysOnly",
    "CallLimit",
    "DropUnscored",
    "FullContext",
    "PadImages",
    "RecordTranscripts",
    "ResizeImages",
    "RewardVector",
    "StepLimit",
    "TokenHistory",
]
