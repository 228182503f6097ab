"""Where this package keeps what it makes for later runs."""

from __future__ import annotations

import os
from pathlib import Path

from llmi_env.errors import ConfigError


def cache_dir() -> Path:
    """Where models, indexes and judgments are kept: `LLMI_CACHE_DIR`, else the user's cache folder. Made when it is missing.

    Raises:
        ConfigError: it cannot be made, or is no folder.
    """
    import platformdirs

    named = os.environ.get("LLMI_CACHE_DIR")
    folder = Path(named or platformdirs.user_cache_dir("llmi"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        whence = "LLMI_CACHE_DIR names it" if named else "LLMI_CACHE_DIR names another one"
        raise ConfigError(f"the cache folder {folder} cannot be made or used ({error.strerror}); {whence}") from error
    return folder
