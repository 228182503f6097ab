"""Loading from a folder, the hub's cache, or the hub, in that order, without waiting for a network that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_PATIENCE = 3.0


class NotInReach(OSError):
    """Raised for what is neither a folder nor in the hub's cache, while the hub cannot be reached."""


def from_hub(load: Callable[[bool], T], name: str) -> T:
    """What `name` stands for, a folder or a name of the Hugging Face hub.

    Args:
        load: loads it; its argument is `local_files_only`.
        name: folder or hub name.

    Raises:
        NotInReach: the cache does not hold it and the hub cannot be reached.
        OSError: it is in neither place (see `is_not_there`), or cannot be read.
    """
    if Path(name).expanduser().is_dir():
        return load(True)
    try:
        return load(True)
    except (OSError, ValueError) as error:
        if not _reachable():
            raise NotInReach(
                f"{name!r} is neither a folder nor in the hub's cache, and the hub cannot be reached to fetch it"
            ) from error
    return load(False)


def is_not_there(error: BaseException) -> bool:
    """Whether an error of loading came because the hub has no such thing, or none for whoever asks: it will be the same next time."""
    import httpx
    from huggingface_hub import errors

    missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)
    found: BaseException | None = error
    # what the network broke off says nothing, whatever was missing before it
    while found is not None and not isinstance(found, httpx.TransportError):
        here = isinstance(found, errors.LocalEntryNotFoundError)
        if isinstance(found, missing) or (isinstance(found, errors.EntryNotFoundError) and not here):
            return True
        found = found.__cause__ or found.__context__
    return False


def _reachable() -> bool:
    """Whether the hub answers at all; the hub's own client would try for a minute."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=_PATIENCE)
    except httpx.HTTPError:
        return False
    return True
