"""Child processes of tests."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """As `preexec_fn`: what runs in the background begins with interrupts ignored, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
