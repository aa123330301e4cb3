"""The doorbell: how the audio thread tells a waiter to look again; any thread.

On Linux an eventfd, elsewhere a non-blocking pipe.  A ring carries no data, and several
may be heard as one; whoever hears it reads the rings and indices again.  Each bell has
one reader: two readers of one descriptor steal each other's rings.
"""

from __future__ import annotations

import os
import threading

from audiostream.forks import LOCKS

__all__ = ("Bell",)


COUNT, PIPE = 8, 1 << 16
"""Bytes that all rings are, of an eventfd and of a pipe."""


class Bell:
    """A descriptor that becomes readable when somebody should look.

    Parameters
    ----------
    index : int
        The bell's place in its stream's table of bells.

    Attributes
    ----------
    for_all : bool
        The last ring concerns everybody who waits, whatever the records say.
    finished : bool
        The stream has closed: look for the last time, then close the bell.
    """

    def __init__(self, index: int) -> None:
        self._lock = threading.RLock()  # re-entrant: a finalizer may run anywhere
        LOCKS.add(self, _lock=threading.RLock)
        self.closed = True
        self.may_close = False
        self.index = index
        if hasattr(os, "eventfd"):
            self.fd = self._write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._rings = COUNT
        else:
            self.fd, self._write_fd = os.pipe()
            self._rings = PIPE
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)
        self.closed = False
        self.for_all = False
        self.finished = False

    @property
    def write_fd(self) -> int:
        """The descriptor that the audio thread writes eight bytes to."""
        return self._write_fd

    def ring(self) -> None:
        """Ring from Python; any thread."""
        with self._lock:  # against a close from the thread that hears
            if not self.closed:
                try:
                    os.write(self._write_fd, (1).to_bytes(8, "little"))
                except BlockingIOError:
                    return  # full of rings that nobody has heard yet

    def hear(self) -> None:
        """Take the rings up to now, so that the descriptor is quiet again."""
        if self.closed:
            return
        try:
            os.read(self.fd, self._rings)
        except BlockingIOError:
            return  # somebody rang and was heard before

    def ring_all(self) -> None:
        """Have everybody who waits on this bell look again; any thread."""
        self.for_all = True
        self.ring()

    def finish(self, *, gone: bool) -> None:
        """Tell that the stream has closed.

        `gone`: the audio thread will not write any more.  If it might, the descriptor
        stays open for good, since its number would be reused.
        """
        self.may_close = gone
        self.finished = True
        self.ring_all()

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
