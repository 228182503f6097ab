"""Test-time scaling: more documents, other pictures, better text, and the best of all that.

Five stages on the machinery of episodes, each of which can be left out, on one budget (`Budget`)::

    scaled = await scale(task, policy=policy, world=world, reward="llmi", budget=Budget(seconds=60), stages="4,validate,select")
    scaled.document, scaled.spent, scaled.reasons

`plan` says what is done, `running` does it: `writing` (documents, and parts of them anew), `checking`, `judging` and `pairs`, `enhancing`,
`polishing`. `result` is what comes of it, with everything that was tried; `keeping` writes that down.
"""

from llmi_env.scaling.budget import Budget, Spent
from llmi_env.scaling.enhancing import Picker
from llmi_env.scaling.keeping import load_scaled, save_scaled
from llmi_env.scaling.pairs import AskedPairs, PairJudge, Terms, pairs_for
from llmi_env.scaling.plan import STAGES, Plan, StageName
from llmi_env.scaling.result import Candidate, Lost, Scaled, StageReport
from llmi_env.scaling.running import NothingWritten, scale
from llmi_env.scaling.writing import PolicyWriter, Writer

__all__ = [
    "STAGES",
    "AskedPairs",
    "Budget",
    "Candidate",
    "Lost",
    "NothingWritten",
    "PairJudge",
    "Picker",
    "Plan",
    "PolicyWriter",
    "Scaled",
    "Spent",
    "StageName",
    "StageReport",
    "Terms",
    "Writer",
    "load_scaled",
    "pairs_for",
    "save_scaled",
    "scale",
]
