"""LLMI: a Gymnasium environment in which a language model learns to write illustrated documents."""

from __future__ import annotations

__version__ = "0.1.0"
