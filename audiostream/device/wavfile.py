"""A WAV file that grows while it is played to; called on caller threads.

Its header is written again about once a second, by a thread of Python, so that all but the last
second of the file can be read however the process ends.  The samples are written by the
device's clock, at the file's own position, which ``pwrite`` leaves alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from audiostream.device import wav
from audiostream.device.base import Parameters
from audiostream.errors import DeviceError
from audiostream.soundfiles.file_lock import lock_file, unlock_file

__all__ = ("OPEN_FILES", "OpenFiles", "WavFile")

REFRESH = 1.0
"""Seconds from one header to the next."""

PATIENCE = 0.5
"""Seconds for which a file that another output writes is waited for: one that was dropped
without being closed is closed in the background."""

Identity = tuple[int, int]
"""What a file is, by any of its names: its file system's number and its own."""


class OpenFiles:
    """The files that outputs of this process write; any thread."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin with none; in a forked child, where no output of the parent's plays on."""
        self._open: set[Identity] = set()
        self._lock = threading.Lock()

    def add(self, file: Identity) -> bool:
        """Note a file that is to be written; False if one is written already."""
        with self._lock:
            is_new = file not in self._open
            self._open.add(file)
            return is_new

    def remove(self, file: Identity) -> None:
        """Forget a file that is complete."""
        with self._lock:
            self._open.discard(file)

    def __contains__(self, path: Path) -> bool:
        """True if an output of this process writes the file of that name."""
        try:
            found = path.stat()
        except (OSError, ValueError):
            return False
        with self._lock:
            return (found.st_dev, found.st_ino) in self._open


OPEN_FILES = OpenFiles()
"""The process's; between processes, a lock of the file does the same."""


class WavFile:
    """A file that is this output's alone until it is closed.

    Parameters
    ----------
    path : Path
    parameters : Parameters
        What is written: encoding 16 or 32.

    Raises
    ------
    DeviceError
        If it cannot be written, or another output writes it; that one's file is left alone.
    """

    def __init__(self, path: Path, parameters: Parameters) -> None:
        self._shown = repr(str(path))
        self._parameters = parameters
        self._ended = threading.Event()
        self._refreshing: threading.Thread | None = None
        # No O_TRUNC before it is known that no other output writes it; and no waiting for a
        # FIFO's reader.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK
        try:
            self.fd = os.open(path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"cannot write {self._shown} ({_reason(error)}); "
                "see that its folder exists and can be written to"
            ) from error
        found = os.fstat(self.fd)
        self._identity = found.st_dev, found.st_ino
        try:
            self._take()
        except BaseException:
            os.close(self.fd)
            raise
        try:
            os.ftruncate(self.fd, 0)
            self.write_header(None)
            os.lseek(self.fd, self._header_bytes, os.SEEK_SET)
        except OSError as error:
            self.close()
            raise DeviceError(
                f"cannot write {self._shown} ({_reason(error)}); "
                "see that it is an ordinary file and that there is room on the disk"
            ) from error

    def _take(self) -> None:
        """Have the file for this output alone."""
        end = time.monotonic() + PATIENCE
        while (other := self._taken_by()) is not None:
            if time.monotonic() >= end:
                raise DeviceError(
                    f"{self._shown} is being written by {other}; "
                    "close that one, add your samples to it, or use another name"
                )
            time.sleep(PATIENCE / 50)

    def _taken_by(self) -> str | None:
        """The other writer of the file; None: it is this output's from now on."""
        if not OPEN_FILES.add(self._identity):
            return "another output of this program"
        if not lock_file(self.fd):
            OPEN_FILES.remove(self._identity)
            return "an output of another program"
        return None

    def write_header(self, data_bytes: int | None) -> None:
        """Write the header for so many bytes of samples, None: not known."""
        p = self._parameters
        header = wav.header(p.rate, p.channels, p.encoding, data_bytes)
        self._header_bytes = len(header)
        os.pwrite(self.fd, header, 0)

    def whole(self, data_bytes: int) -> int:
        """The bytes of the whole frames in so many; a disk may become full within one."""
        p = self._parameters
        return data_bytes - data_bytes % (p.channels * p.encoding // 8)

    def keep_readable(self, written: Callable[[], int]) -> None:
        """Have the header written again every second until :meth:`complete`.

        Parameters
        ----------
        written : callable
            Returns how many bytes of audio there are.
        """
        self._refreshing = threading.Thread(
            target=self._refresh, args=(written,), name="audiostream file", daemon=True
        )
        self._refreshing.start()

    def _refresh(self, written: Callable[[], int]) -> None:
        claimed = 0
        while not self._ended.wait(REFRESH):
            count = self.whole(written())
            if count != claimed:
                try:
                    self.write_header(count)
                except OSError:
                    continue  # it is tried again; the last one, by complete(), must be written
                claimed = count

    def complete(self, data_bytes: int) -> None:
        """Write the last header, cut off what is no whole frame, and close.

        Raises
        ------
        DeviceError
            If that cannot be written; it is closed all the same.
        """
        self._ended.set()
        if self._refreshing is not None:
            self._refreshing.join()
        data_bytes = self.whole(data_bytes)
        try:
            os.ftruncate(self.fd, self._header_bytes + data_bytes)
            self.write_header(data_bytes)
        except OSError as error:
            raise DeviceError(
                f"{self._shown} could not be completed ({_reason(error)}); its header tells "
                "all but the last second: see that there is room on the disk"
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        unlock_file(self.fd)
        os.close(self.fd)
        OPEN_FILES.remove(self._identity)


def _reason(error: OSError | ValueError) -> str:
    """What the system says, or why a name is none."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
