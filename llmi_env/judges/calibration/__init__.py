"""Calibration of judges: how well one tells a good document from a worse one.

`pairs` makes the calibration set, `counting` asks a judge and counts its answers, `session` does both with a progress bar, and `table` writes
what was found.
"""

from llmi_env.judges.calibration.counting import Calibrating, Calibration, Share
from llmi_env.judges.calibration.pairs import Pair, calibration_pairs
from llmi_env.judges.calibration.session import calibrate

__all__ = ["Calibrating", "Calibration", "Pair", "Share", "calibrate", "calibration_pairs"]
