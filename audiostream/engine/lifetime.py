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
from collections.abc import Callable
from typing import TYPE_CHECKING

from audiostream.device.pahost import HOST
from audiostream.errors import AudioException

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream

__all__ = ("LIFETIME", "Lifetime", "close_later", "in_background")

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
    """Close a stream that was dropped; from a finalizer, so it must not block."""

    def close() -> None:
        with contextlib.suppress(AudioException):
            stream.close()

    # A thread that is started while the interpreter is torn down never comes up, and
    # start() waits for it for ever.
    if not sys.is_finalizing():
        in_background(close, "close")


class Lifetime:
    """The process's open streams, and the watch over their heartbeats."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._kept: list[object] = []
        self._lock = threading.Lock()
        self._watch: threading.Thread | None = None
        self._change = threading.Event()
        self._closed = threading.Event()
        self.leaving = False
        atexit.register(self.at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def add(self, stream: Stream) -> None:
        """Hold a stream until :meth:`remove`, and watch over it."""
        with self._lock:
            self._streams.add(stream)
            if self._change.is_set() or self._watch is None:
                # A watch that was told to go may still be there: this is another one.
                self._change = change = threading.Event()
                self._watch = in_background(lambda: self._look_after(change), "watch")

    def remove(self, stream: Stream, *, keep: bool) -> None:
        """Let go of a closed stream, or keep its memory for good if its device hangs."""
        with self._lock:
            self._streams.discard(stream)
            if keep:
                self._kept.append(stream)
            if not self._streams:
                self._change.set()

    def forget(self, stream: Stream) -> None:
        """Let go of a closed stream that was kept: its device has closed after all."""
        with self._lock:
            self._kept.remove(stream)

    def open_streams(self) -> list[Stream]:
        """The streams that are open now."""
        with self._lock:
            return list(self._streams)

    def _look_after(self, change: threading.Event) -> None:
        while not change.wait(LOOK):
            for stream in self.open_streams():
                stream.look_for_life()
        if self.leaving:
            self._close_all()

    def _close_all(self) -> None:
        for stream in self.open_streams():
            try:
                stream.close()
            except Exception:
                continue  # nobody is left to be told; the others must close too
        self._closed.set()

    def at_exit(self) -> None:
        """Close every stream, for at most :data:`EXIT_LIMIT` seconds, then PortAudio.

        PortAudio also where only names were listed: a client that vanishes stalls jackd,
        and so the next program, for 5 s.
        """
        # The watch does it: Python 3.12 starts no thread any more at this point.
        self.leaving = True
        if self.open_streams():
            self._change.set()
            self._closed.wait(EXIT_LIMIT)
        HOST.shutdown(EXIT_LIMIT)

    def _forked(self) -> None:
        # Locks may have been held by threads that do not exist here: make new ones.
        self._lock = threading.Lock()
        self._change = threading.Event()
        self._watch = None
        self._closed = threading.Event()
        for stream in self._streams:
            stream.orphan()
            self._kept.append(stream)
        self._streams = set()


LIFETIME = Lifetime()
"""The one of this process; there is one audio device layer below it, too."""
