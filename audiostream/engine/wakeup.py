"""Wake-ups: how the audio thread tells a waiter to look again; any thread.

On Linux an eventfd, elsewhere a non-blocking pipe.  A signal carries no data, and several may
arrive as one; the reader then looks at the rings and indices again.  Each wake-up has one
reader: two readers of one descriptor take each other's signals.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np

from audiostream.engine.memory import records, zeros
from audiostream.errors import AudioException
from audiostream.forks import LOCKS
from audiostream.realtime.memory.layout import WAKEUP

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream

__all__ = ("SLICE", "Wakeup", "Wakeups")

LOOPS = 64
"""Event loops that one stream can serve at a time."""


SLICE = 0.5
"""Seconds that a thread waits at a time: Ctrl-C just before a system call is seen after it."""

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

    def wait(self, seconds: float | None = None) -> bool:
        """Block until it is signalled, without the interpreter lock; for a caller thread.

        False after so many seconds.  The signal stays, until :meth:`clear`.
        """
        poll = select.poll()  # select() fails from descriptor 1024 on
        poll.register(self.fd, select.POLLIN)
        end = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if poll.poll(1000 * max(min(left, SLICE), 0)):
                return True
            if left <= SLICE:
                return False

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


class Wakeups:
    """The wake-ups of one stream: those of event loops, and one of each slot's own.

    Parameters
    ----------
    stream : Stream
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Stream = weakref.proxy(stream)  # it owns this
        self._used: dict[int, Wakeup] = {}
        self._kept: list[Wakeup] = []  # the audio thread may still write to them

    def allocate(self, slots: int) -> None:
        """Make the table, for a stream that opens."""
        count = LOOPS + slots
        self._table = records(WAKEUP, count)
        self._table["fd"] = -1
        self._memory = {"noted": zeros(count, np.int64), "one": zeros(1, np.int64) + 1}
        record = self._stream.record[0]
        record["wakeup_table"] = self._table.ctypes.data
        for name, array in self._memory.items():
            record[name] = array.ctypes.data

    def add(self) -> Wakeup:
        """Make a wake-up for an event loop.

        Raises
        ------
        AudioException
            If more event loops wait on this stream than it can serve, or it is closed.
        """
        with self._stream.lock:
            self._stream.check_not_closed()
            free = set(range(LOOPS)) - self._used.keys()
            if not free:
                raise AudioException(
                    f"more than {LOOPS} event loops wait on one stream; close some"
                )
            return self._made(min(free))

    def of_slot(self, slot: int) -> Wakeup:
        """The wake-up of a slot's own, for a caller thread that blocks on its voice."""
        with self._stream.lock:
            self._stream.check_not_closed()
            return self._used.get(LOOPS + slot) or self._made(LOOPS + slot)

    def _made(self, index: int) -> Wakeup:
        self._used[index] = wakeup = Wakeup(index)
        self._publish(index, wakeup.write_fd)
        return wakeup

    def drop(self, wakeup: Wakeup | None) -> None:
        """Take a wake-up away; its descriptor is closed once the audio thread is past it."""
        with self._stream.lock:
            if wakeup is None or self._used.get(wakeup.index) is not wakeup:
                return
            del self._used[wakeup.index]
            self._publish(wakeup.index, -1)
            if self._stream.quiet():
                # Closed with its last reference: a thread may be about to listen to it.
                wakeup.may_close = True
            else:
                self._kept.append(wakeup)

    def drop_of_slot(self, slot: int) -> None:
        """Take away the wake-up of a slot's own, if there is one."""
        self.drop(self._used.get(LOOPS + slot))

    def _publish(self, index: int, fd: int) -> None:
        if not self._stream.is_closed:
            address = int(self._table[index : index + 1].ctypes.data)
            self._stream.kernels.store_word(address, fd)

    def signal_all(self) -> None:
        """Have all who wait on the stream look again."""
        with self._stream.lock:
            for wakeup in self._used.values():
                wakeup.signal_all()

    def finish(self, *, gone: bool) -> None:
        """The stream has closed; `gone`: no callback runs again."""
        with self._stream.lock:
            for wakeup in self._used.values():
                wakeup.finish(gone=gone)
            if not gone:
                self._kept += self._used.values()
            self._used.clear()

    def forget(self) -> None:
        """No callback runs again after all: close what was kept, with its last reference."""
        with self._stream.lock:
            for wakeup in self._kept:
                wakeup.may_close = True
            self._kept.clear()
