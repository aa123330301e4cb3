"""Machine code on disk that only this user can have written; any thread, before a start.

A file is read if it is a regular file of this user that no other user may write, in a folder
of that kind.  A FIFO, a link or a device in its place is refused at once, and replaced by the
next file that is kept.  Windows closes a user's folders to other users by itself; there no
owner is looked at.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ("FOLDER", "alone", "folder", "make", "read_own", "write_own")

FOLDER = "AUDIOSTREAM_CACHE"
"""The variable that names another folder for the machine code."""

WAIT = 60.0
"""Seconds that a start waits for another one that compiles, which takes about ten.

No longer: it may have been stopped, as a debugger does.
"""

POLL = 0.05
"""Seconds between two tries to be the one that compiles."""

FAMILY = "kernels-*.o"
"""Names of the files with the library's own kernels."""

KEPT = 8
"""Files of a family that are left in the folder, beside the newest."""

# A link is not followed, and the other end of a FIFO not waited for; Windows has neither.
READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def folder() -> Path:
    """Where the machine code is kept.

    Raises
    ------
    OSError
        There is no home folder.
    """
    named = os.environ.get(FOLDER)
    if not named:
        import platformdirs

        named = platformdirs.user_cache_dir("audiostream", appauthor=False)
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"{named} has no home folder to stand for ~") from error


def make(folder: Path) -> None:
    """Make a folder that is this user's alone, unless it is there.

    Raises
    ------
    OSError
        It cannot be made, or another user may write it.
    """
    for path in reversed((folder, *folder.parents)):
        path.mkdir(mode=0o700, exist_ok=True)
    _check_owner(folder, folder.stat())


def read_own(path: Path) -> bytes:
    """What is in a file.

    Raises
    ------
    OSError
        There is none, or another user may have written it.
    """
    handle = os.open(path, READ)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path} is no regular file")
        _check_owner(path, status)
        _check_owner(path.parent, path.parent.stat())
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def write_own(path: Path, content: bytes, family: str = FAMILY, kept: int = KEPT) -> None:
    """Leave a file in a folder that is made already; whole, or not at all.

    Of the files whose names match `family` the newest ones stay.

    Raises
    ------
    OSError
        That cannot be done.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
    with contextlib.suppress(OSError):  # another process may do the same now
        others = sorted(path.parent.glob(family), key=lambda p: p.lstat().st_mtime)
        for old in others[: -kept - 1]:
            old.unlink()


@contextlib.contextmanager
def alone(folder: Path, limit: float = WAIT) -> Iterator[None]:
    """Wait until no other start works in a folder, but no longer than `limit` seconds.

    The folder itself is locked: a process that is killed leaves nothing that would lock it.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows, or a folder that cannot be read
        yield
        return
    try:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(POLL)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        with contextlib.suppress(OSError):  # else a forked child would go on holding it
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Raise PermissionError if another user may write a file or folder."""
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not this user's")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"other users may write {path}; chmod go-w closes it to them")
