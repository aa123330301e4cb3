"""How coroutines hear the doorbell; event loop (asyncio or trio).

One bell per stream and event loop, with one reader that stays registered: to register
anew for every wait doubles the p99 of waking up.  The reader finds out which voices were
rung for and sets the events of those who wait on them; each looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import numpy as np

from audiostream.engine.bell import Bell
from audiostream.engine.stream import Stream
from audiostream.forks import LOCKS

__all__ = ("LoopBell", "LoopBells", "on_event_loop", "setter")


def on_event_loop() -> bool:
    """True if the calling thread is running an event loop's task or callback."""
    try:
        running_loop()
    except RuntimeError:
        return False
    return True


def running_loop() -> object:
    """The running asyncio loop, or trio's token; a tenth of what asking anyio costs.

    Raises
    ------
    RuntimeError
        Outside of any event loop.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def setter(event: anyio.Event) -> Callable[[], None]:
    """What sets an event of the running event loop, from any thread."""
    loop: Any = running_loop()
    soon = (
        loop.call_soon_threadsafe
        if isinstance(loop, asyncio.AbstractEventLoop)
        else loop.run_sync_soon
    )

    def set_event() -> None:
        with contextlib.suppress(RuntimeError):  # of an event loop that is over
            soon(event.set)

    return set_event


class TrioFuture:
    """What asyncio's future is, for one task of trio: half the price of an event."""

    def __init__(self, lowlevel: Any) -> None:
        self._lowlevel = lowlevel  # trio's, which is imported only where it runs
        self._task = lowlevel.current_task()

    def done(self) -> bool:
        """True if the task is on its way, with a result or cancelled."""
        return self._task is None

    def set_result(self, result: None) -> None:
        """Wake the task."""
        task, self._task = self._task, None
        self._lowlevel.reschedule(task)

    def _abort(self, _: Any) -> Any:
        self._task = None
        return self._lowlevel.Abort.SUCCEEDED

    def __await__(self) -> Any:
        return self._lowlevel.wait_task_rescheduled(self._abort).__await__()


class LoopBell:
    """One event loop's bell on one stream.  Made and used in that loop's thread."""

    def __init__(self, stream: Stream, slots: int, close: Callable[[], None]) -> None:
        self._stream = stream
        self._close = close
        self._waiting: dict[int, set[Any]] = {}  # slot -> who waits for its voice
        self._ring: Any = None  # who waits for any ring
        self._woken = np.zeros(max(slots, 1), np.int64)
        self._woken_address = int(self._woken.ctypes.data)
        self.bell: Bell = stream.add_bell()
        self.loop = running_loop()
        self._future: Callable[[], Any]
        if isinstance(self.loop, asyncio.AbstractEventLoop):
            self._future = self.loop.create_future
            self.loop.add_reader(self.bell.fd, self._hear)
        else:
            import trio

            self._future = partial(TrioFuture, trio.lowlevel)
            trio.lowlevel.spawn_system_task(self._listen, name="audiostream doorbell")

    @property
    def dead(self) -> bool:
        """True if the event loop has been closed without closing the stream."""
        return isinstance(self.loop, asyncio.AbstractEventLoop) and self.loop.is_closed()

    async def _listen(self) -> None:
        import trio

        try:
            while True:
                await trio.lowlevel.wait_readable(self.bell.fd)
                if self._hear():
                    break
        finally:
            # The run is over, or the stream is closed.
            self._end()

    def _hear(self) -> bool:
        """Wake those who are concerned; True if that was for the last time."""
        bell = self.bell
        finished = bell.finished  # before: who waits from then on would not be woken
        bell.hear()
        waiting, ring = self._waiting, self._ring
        if ring is not None and not ring.done():
            ring.set_result(None)
        if bell.for_all:
            bell.for_all = False
            for waiters in waiting.values():
                _wake(waiters)
        elif waiting and not self._stream.is_closed:
            count = self._stream.kernels.collect_woken(
                self._stream.address, bell.index, self._woken_address
            )
            for slot in self._woken[:count].tolist():
                if slot in waiting:
                    _wake(waiting[slot])
        if finished and isinstance(self.loop, asyncio.AbstractEventLoop):
            self.loop.remove_reader(bell.fd)
            self._end()
        return finished

    def _end(self) -> None:
        self._close()
        if not self.bell.finished:
            self._stream.drop_bell(self.bell)
        self.bell.close()

    def drop(self) -> None:
        """Give up the bell of an event loop that has been closed."""
        self._stream.drop_bell(self.bell)

    async def ring(self) -> None:
        """Sleep until the next ring; for an input, which has one reader.

        What was asked for before is rung from now on: see :meth:`wait`.
        """
        self._ring = ring = self._future()
        await ring

    async def wait(self, key: int) -> None:
        """Sleep until there is news of the slot `key`, which has just been asked for.

        What is rung from now on is heard in this thread, so that none is missed if the
        asking came first.  News may be somebody else's: look again.
        """
        waiter = self._future()
        waiters = self._waiting.setdefault(key, set())
        waiters.add(waiter)
        try:
            await waiter
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiting.get(key) is waiters:
                del self._waiting[key]


def _wake(waiters: set[Any]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


class LoopBells:
    """A stream's bells, one for each event loop that waits on it; any thread."""

    def __init__(self, stream: Stream, slots: int = 0) -> None:
        self._stream = stream
        self._slots = slots
        self._bells: dict[object, LoopBell] = {}
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)

    def here(self) -> LoopBell:
        """The running event loop's bell, made at first use."""
        token = running_loop()
        bell = self._bells.get(token)
        if bell is not None:
            return bell
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
