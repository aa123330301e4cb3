"""Locks of files, which other writers in this and other programs look at; any thread."""

from __future__ import annotations

import contextlib

__all__ = ("lock_file", "unlock_file")


def lock_file(fd: int) -> bool:
    """Lock a file until it is closed; False if another descriptor has locked it."""
    import fcntl  # not on Windows, where no stream opens

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def unlock_file(fd: int) -> None:
    """Give a lock back; to close is not enough where a forked child has the descriptor, too."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
