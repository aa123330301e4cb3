"""How coroutines hear the doorbell; event loop (asyncio or trio).

One bell per stream and event loop, with one reader that stays registered: to register
anew for every wait doubles the p99 of waking up.  The reader finds out which voices were
rung for and sets the events of those who wait on them; each looks again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeAlias

import anyio
import anyio.lowlevel
import numpy as np

from audiostream.engine.bell import Bell
from audiostream.engine.stream import Stream

__all__ = ("LoopBell", "LoopBells", "on_event_loop")

Waiter: TypeAlias = "anyio.Event | asyncio.Future[None]"

CAPTURE = -1
"""The key of those who wait on an input, which has no voices."""


def on_event_loop() -> bool:
    """True if the calling thread is running an event loop's task or callback."""
    try:
        anyio.lowlevel.current_token()
    except RuntimeError:  # NoEventLoopError
        return False
    return True


class LoopBell:
    """One event loop's bell on one stream.  Made and used in that loop's thread."""

    def __init__(self, stream: Stream, slots: int, close: Callable[[], None]) -> None:
        self._stream = stream
        self._close = close
        self._waiting: dict[int, set[Waiter]] = {}
        self._woken = np.zeros(max(slots, 1), np.int64)
        self._woken_address = int(self._woken.ctypes.data)
        self.bell: Bell = stream.add_bell()
        here = anyio.lowlevel.current_token().native_token
        self._loop = here if isinstance(here, asyncio.AbstractEventLoop) else None
        if self._loop is not None:
            self._loop.add_reader(self.bell.fd, self._hear)
        else:
            import trio

            trio.lowlevel.spawn_system_task(self._listen, name="audiostream doorbell")

    @property
    def dead(self) -> bool:
        """True if the event loop has been closed without closing the stream."""
        return self._loop is not None and self._loop.is_closed()

    async def _listen(self) -> None:
        import trio

        try:
            while not self.bell.finished:
                await trio.lowlevel.wait_readable(self.bell.fd)
                self._hear()
        finally:
            # The run is over, or the stream is closed.
            self._end()

    def _hear(self) -> None:
        bell = self.bell
        bell.hear()
        if bell.for_all:
            bell.for_all = False
            for events in self._waiting.values():
                _set(events)
        else:
            if CAPTURE in self._waiting:
                _set(self._waiting[CAPTURE])
            if not self._stream.is_closed and self._stream.direction == "output":
                count = self._stream.kernels.take_woken(
                    self._stream.address, bell.index, self._woken_address
                )
                for slot in self._woken[:count].tolist():
                    if slot in self._waiting:
                        _set(self._waiting[slot])
        if bell.finished and self._loop is not None:
            self._loop.remove_reader(bell.fd)
            self._end()

    def _end(self) -> None:
        self._close()
        if not self.bell.finished:
            self._stream.drop_bell(self.bell)
        self.bell.close()

    def drop(self) -> None:
        """Give up the bell of an event loop that has been closed."""
        self._stream.drop_bell(self.bell)

    async def wait(self, key: int, arm: Callable[[], bool]) -> None:
        """Wait for news of `key`; `arm` asks for the ring, and says True if it is there.

        News may be somebody else's: look again.
        """
        waiter = self._waiter()
        waiters = self._waiting.setdefault(key, set())
        waiters.add(waiter)
        try:
            if arm():
                await anyio.lowlevel.checkpoint()
            elif isinstance(waiter, asyncio.Future):
                await waiter
            else:
                await waiter.wait()
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiting.get(key) is waiters:
                del self._waiting[key]

    def _waiter(self) -> Waiter:
        """What one wait sleeps on; asyncio's own, where anyio.Event is twice as slow."""
        return anyio.Event() if self._loop is None else self._loop.create_future()


def _set(waiters: set[Waiter]) -> None:
    for waiter in waiters:
        if not isinstance(waiter, asyncio.Future):
            waiter.set()
        elif not waiter.done():
            waiter.set_result(None)


class LoopBells:
    """A stream's bells, one for each event loop that waits on it; any thread."""

    def __init__(self, stream: Stream, slots: int = 0) -> None:
        self._stream = stream
        self._slots = slots
        self._bells: dict[object, LoopBell] = {}
        self._lock = threading.Lock()

    def here(self) -> LoopBell:
        """The running event loop's bell, made at first use."""
        token = anyio.lowlevel.current_token().native_token
        with self._lock:
            bell = self._bells.get(token)
            if bell is None:
                for other, dead in [(t, b) for t, b in self._bells.items() if b.dead]:
                    del self._bells[other]
                    dead.drop()

                def close() -> None:
                    self._bells.pop(token, None)

                bell = self._bells[token] = LoopBell(self._stream, self._slots, close)
            return bell
