"""How long a busy service asks to be left alone."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the header `Retry-After`, a number or a date (RFC 9110, 10.2.3), or by `retry-after-ms`.

    A date that is past means at once; `None` stands for a header that is not there or cannot be read.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        try:
            seconds = float(said) * unit
        except ValueError:
            moment = email.utils.parsedate_tz(said)
            if moment is None:
                continue
            try:
                seconds = max(0.0, email.utils.mktime_tz(moment) - time.time())
            except (ValueError, OverflowError):  # a year that no clock knows
                continue
        if 0 <= seconds < math.inf:  # which NaN is not
            return seconds
    return None
