"""Wake-ups: how the audio thread tells a waiter to look again; any thread.

On Linux an eventfd, elsewhere a non-blocking pipe.  A signal carries no data, and several may
arrive as one; the reader then looks at the rings and indices again.  Each wake-up has one
reader: two readers of one descriptor take each other's signals.
"""

from __future__ import annotations

import os
import threading

from audiostream.forks import LOCKS

__all__ = ("Wakeup",)


COUNT, PIPE = 8, 1 << 16
"""Bytes that one read takes of all signals, of an eventfd and of a pipe."""


class Wakeup:
    """A descriptor that becomes readable when its reader should look.

    Parameters
    ----------
    index : int
        Its place in its stream's table of wake-ups.

    Attributes
    ----------
    for_all : bool
        The last signal concerns all waiters; the records need no look.
    finished : bool
        The stream has closed: look for the last time, then close the wake-up.
    """

    def __init__(self, index: int) -> None:
        self._lock = threading.RLock()  # re-entrant: a finalizer may run anywhere
        LOCKS.add(self, _lock=threading.RLock)
        self.closed = True
        self.may_close = False
        self.index = index
        if hasattr(os, "eventfd"):
            self.fd = self._write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._size = COUNT
        else:
            self.fd, self._write_fd = os.pipe()
            self._size = PIPE
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)
        self.closed = False
        self.for_all = False
        self.finished = False

    @property
    def write_fd(self) -> int:
        """The descriptor that the audio thread writes eight bytes to."""
        return self._write_fd

    def signal(self) -> None:
        """Signal from Python; any thread."""
        with self._lock:  # against a close from the thread that reads
            if not self.closed:
                try:
                    os.write(self._write_fd, (1).to_bytes(8, "little"))
                except BlockingIOError:
                    return  # full of signals that are not read yet

    def clear(self) -> None:
        """Take the signals up to now, so that the descriptor is no more readable."""
        if self.closed:
            return
        try:
            os.read(self.fd, self._size)
        except BlockingIOError:
            return  # the signal was taken before

    def signal_all(self) -> None:
        """Have all who wait on this wake-up look again; any thread."""
        self.for_all = True
        self.signal()

    def finish(self, *, gone: bool) -> None:
        """Tell that the stream has closed.

        `gone`: the audio thread will not write any more.  If it might, the descriptor
        stays open for good, since its number would be reused.
        """
        self.may_close = gone
        self.finished = True
        self.signal_all()

    def close(self) -> None:
        """Close the descriptors, if the audio thread cannot write any more.  Idempotent."""
        with self._lock:
            if self.may_close and not self.closed:
                self.closed = True
                os.close(self.fd)
                if self._write_fd != self.fd:
                    os.close(self._write_fd)

    def __del__(self) -> None:
        self.close()
