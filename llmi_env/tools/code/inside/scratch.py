"""The one folder that a child may write to: how much is in it, and emptying it whatever the child left. Standard library only."""

from __future__ import annotations

import os
import stat

MAX_ENTRIES = 2000
MAX_DEPTH = 24
MAX_VANISHED = 20
"""Names that may be gone between listing and looking; code that renames its folders all the time is hiding something."""
_BLOCK, _ENTRY_BYTES = 512, 4096


def over_quota(path: str, limit: int) -> bool:
    """Whether the folder holds more than `limit` bytes, too many entries, too deep a tree, or a folder made unreadable.

    Each entry counts for a block besides its bytes, so that many empty files count too. Files that vanish meanwhile are passed over.
    """
    total = entries = vanished = 0
    folders = [(path, 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    entries += 1
                    try:
                        total += _ENTRY_BYTES + entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            folders.append((entry.path, depth + 1))
                    except FileNotFoundError:
                        vanished += 1
                        if vanished > MAX_VANISHED:
                            return True
                        continue
                    if entries > MAX_ENTRIES or total > limit:
                        return True
        except FileNotFoundError:
            vanished += 1
            if vanished > MAX_VANISHED:
                return True
            continue
        except OSError:
            return True
        if depth > MAX_DEPTH:
            return True
    return False


def remove(path: str) -> None:
    """Remove a folder and all in it. Never follows a link, never recurses: trees deeper than any path or stack are fine.

    Folders found are moved up into the top one before they are emptied, so that each name stays short.
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(top: int) -> None:
    moved = 0
    while names := os.listdir(top):
        for name in names:
            if not _is_folder(name, top):
                os.unlink(name, dir_fd=top)
                continue
            # The child may have made it without any permission.
            os.chmod(name, 0o700, dir_fd=top)
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                for inner in os.listdir(folder):
                    if not _is_folder(inner, folder):
                        os.unlink(inner, dir_fd=folder)
                        continue
                    # Moving a folder rewrites its "..": that takes write permission on it.
                    os.chmod(inner, 0o700, dir_fd=folder)
                    while True:
                        moved += 1
                        target = f".moved-{moved}"
                        if target not in names and not _exists(target, top):
                            break
                    os.rename(inner, target, src_dir_fd=folder, dst_dir_fd=top)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
