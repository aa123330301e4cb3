"""Streams from open to closed, the interpreter's exit and forks included; any thread.

The audio thread reads memory that Python would free.  So every open stream is held here
until its device has said that no callback will run again, is closed at exit before the
interpreter frees anything, and is marked dead in a forked child, where its device must
never be touched.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from audiostream.device.portaudio.host import HOST
from audiostream.errors import AudioException

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream

__all__ = ("WATCHDOG", "Watchdog", "close_later", "in_background", "rest_at_exit")

EXIT_LIMIT = 2.0
"""Seconds that the interpreter's exit waits for devices to close."""

LOOK = 0.25
"""Seconds between two looks at the heartbeats."""


def in_background(function: Callable[[], object], name: str) -> threading.Thread:
    """Run a function on a daemon thread of its own."""
    thread = threading.Thread(target=function, name=f"audiostream {name}", daemon=True)
    thread.start()
    return thread


def close_later(stream: Stream) -> None:
    """Close a stream in the background."""

    def close() -> None:
        with contextlib.suppress(AudioException):
            stream.close()

    # A thread that is started while the interpreter is torn down never comes up, and
    # start() waits for it for ever.
    if not sys.is_finalizing():
        # Python 3.12 refuses one at the exit, which closes what is open anyway.
        with contextlib.suppress(RuntimeError):
            in_background(close, "close")


def rest_at_exit(leaving: bool = False) -> None:
    """Never return to a daemon thread at the interpreter's exit: it has nothing to tell."""
    is_main = threading.current_thread() is threading.main_thread()
    if (leaving or WATCHDOG.leaving) and not is_main:
        threading.Event().wait()


class Dropped(Protocol):
    """What users have dropped without closing it."""

    def let_go(self) -> None:
        """Give back what it holds, now or later.  Called by the watchdog."""


class Watchdog:
    """The process's open streams, their heartbeats, and what was dropped without a close."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._kept: list[object] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._change = threading.Event()
        self._closed = threading.Event()
        # Finalizers put into it: unlike any lock, it can be used where that very thread is
        # just using it.
        self._dropped: SimpleQueue[Dropped | None] = SimpleQueue()
        self.leaving = False
        atexit.register(self.at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        self._leave_with_child()

    def add(self, stream: Stream) -> None:
        """Hold a stream until :meth:`remove`, and watch over it."""
        with self._lock:
            self._streams.add(stream)
            if self._change.is_set() or self._thread is None:
                # A thread that is to end may still be there: this is another one.
                self._change = change = threading.Event()
                self._thread = in_background(lambda: self._look_after(change), "watchdog")

    def remove(self, stream: Stream, *, keep: bool) -> None:
        """Let go of a closed stream, or keep its memory for good if its device hangs."""
        with self._lock:
            self._streams.discard(stream)
            if keep:
                self._kept.append(stream)
            if not self._streams:
                self._end_thread()

    def _end_thread(self) -> None:
        """Have the thread end."""
        self._change.set()
        self._dropped.put(None)

    def let_go_soon(self, dropped: Dropped) -> None:
        """Have the watchdog let go of something of an open stream that was dropped.

        For finalizers, which may run anywhere: it takes no lock, and never waits.
        """
        self._dropped.put(dropped)

    def forget(self, stream: Stream) -> None:
        """Let go of a closed stream that was kept: its device has closed after all."""
        with self._lock:
            self._kept.remove(stream)

    def open_streams(self) -> list[Stream]:
        """The streams that are open now."""
        with self._lock:
            return list(self._streams)

    def _look_after(self, change: threading.Event) -> None:
        due = time.monotonic() + LOOK
        while not change.is_set():
            left = due - time.monotonic()
            if left > 0:
                self._let_go(left)
            else:
                self._look()
                due = time.monotonic() + LOOK
        if self.leaving:
            self._close_all()
        while not self._dropped.empty():  # it would be held until another stream opens
            self._let_go(0)

    # Apart, since a name in the loop above would hold what it stands for until the next turn.

    def _look(self) -> None:
        for stream in self.open_streams():
            stream.look_for_life()

    def _let_go(self, limit: float) -> None:
        """Let go of what is dropped next, in `limit` seconds."""
        with contextlib.suppress(Empty):
            dropped = self._dropped.get(timeout=limit)
            if dropped is not None:
                dropped.let_go()

    def _close_all(self) -> None:
        for stream in self.open_streams():
            try:
                stream.close()
            except Exception:
                continue  # there is no one to tell; the others must close too
        # Nor are those that another thread is closing left in the middle of it.
        end = time.monotonic() + EXIT_LIMIT
        while self.open_streams() and time.monotonic() < end:
            time.sleep(0.001)
        self._closed.set()

    def at_exit(self) -> None:
        """Close every stream, for at most :data:`EXIT_LIMIT` seconds, then PortAudio.

        PortAudio also where only names were listed: a client that vanishes stalls jackd,
        and so the next program, for 5 s.
        """
        if self.leaving:
            return  # a forkserver's child of Python 3.13 knows atexit, too
        # The thread does it: Python 3.12 starts no thread any more at this point.
        self.leaving = True
        if self.open_streams():
            self._end_thread()
            self._closed.wait(EXIT_LIMIT)
        HOST.shutdown(EXIT_LIMIT)

    def _leave_with_child(self) -> None:
        """Have multiprocessing's children call :meth:`at_exit`: they know no atexit.

        They end by ``os._exit``, all but the spawned ones.  What is registered before a child
        runs is forgotten when it begins to, all but what is registered for after a fork.
        """
        util: Any = sys.modules.get("multiprocessing.util")
        if util is None:
            return  # loaded later, then in a process that is to fork: see _forked
        util.register_after_fork(self, Watchdog._end_with_child)
        self._end_with_child()

    def _end_with_child(self) -> None:
        process: Any = sys.modules["multiprocessing.process"]
        if process.parent_process() is not None:
            sys.modules["multiprocessing.util"].Finalize(None, self.at_exit, exitpriority=0)

    def _forked(self) -> None:
        # Locks may have been held by threads that do not exist here: make new ones.
        self._lock = threading.Lock()
        self._change = threading.Event()
        self._thread = None
        self._closed = threading.Event()
        self._dropped = SimpleQueue()
        for stream in self._streams:
            stream.orphan()
            self._kept.append(stream)
        self._streams = set()
        self._leave_with_child()


WATCHDOG = Watchdog()
"""The one of this process; there is one audio device layer below it, too."""
