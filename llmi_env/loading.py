"""Models are loaded one at a time."""

from __future__ import annotations

import threading

LOADING = threading.RLock()
"""Held while a library of models is imported and a model loaded: `transformers` imports its parts on first use, and two threads that do so
at once can meet each other half imported (a circular `ImportError`)."""
