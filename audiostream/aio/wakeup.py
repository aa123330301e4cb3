"""How the audio thread wakes coroutines; event loop (asyncio or trio).

One wake-up per stream and event loop, with one reader that stays registered: to register
for every wait doubles the p99 of waking up.  The reader finds the voices that were signalled
and wakes the tasks that wait on them; each looks again.
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

from audiostream.engine.stream import Stream
from audiostream.engine.wakeup import Wakeup
from audiostream.forks import LOCKS

__all__ = ("AsyncWakeup", "AsyncWakeups", "on_event_loop", "setter")


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


class AsyncWakeup:
    """One event loop's wake-up on one stream.  Made and used in that loop's thread."""

    def __init__(self, stream: Stream, slots: int, close: Callable[[], None]) -> None:
        self._stream = stream
        self._close = close
        self._waiting: dict[int, set[Any]] = {}  # slot -> who waits for its voice
        self._reader: Any = None  # an input's one reader, which waits for any signal
        self._woken = np.zeros(max(slots, 1), np.int64)
        self._woken_address = int(self._woken.ctypes.data)
        self.wakeup: Wakeup = stream.wakeups.add()
        self.loop = running_loop()
        self._future: Callable[[], Any]
        if isinstance(self.loop, asyncio.AbstractEventLoop):
            self._future = self.loop.create_future
            self.loop.add_reader(self.wakeup.fd, self._dispatch)
        else:
            import trio

            self._future = partial(TrioFuture, trio.lowlevel)
            trio.lowlevel.spawn_system_task(self._listen, name="audiostream wakeup")

    @property
    def dead(self) -> bool:
        """True if the event loop has been closed without closing the stream."""
        return isinstance(self.loop, asyncio.AbstractEventLoop) and self.loop.is_closed()

    async def _listen(self) -> None:
        import trio

        try:
            while True:
                await trio.lowlevel.wait_readable(self.wakeup.fd)
                if self._dispatch():
                    break
        finally:
            # The run is over, or the stream is closed.
            self._end()

    def _dispatch(self) -> bool:
        """Wake those who are concerned; True if that was for the last time."""
        wakeup = self.wakeup
        finished = wakeup.finished  # before: who waits from then on would not be woken
        wakeup.clear()
        if wakeup.finished and not finished:
            wakeup.signal()  # the stream has closed in between, and its signal may be taken
        waiting, reader = self._waiting, self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)
        if wakeup.for_all:
            wakeup.for_all = False
            for waiters in waiting.values():
                _wake(waiters)
        elif waiting and not self._stream.is_closed:
            count = self._stream.kernels.collect_woken(
                self._stream.address, wakeup.index, self._woken_address
            )
            for slot in self._woken[:count].tolist():
                if slot in waiting:
                    _wake(waiting[slot])
        if finished and isinstance(self.loop, asyncio.AbstractEventLoop):
            self.loop.remove_reader(wakeup.fd)
            self._end()
        return finished

    def _end(self) -> None:
        self._close()
        if not self.wakeup.finished:
            self._stream.wakeups.drop(self.wakeup)
        self.wakeup.close()

    def drop(self) -> None:
        """Give up the wake-up of an event loop that has been closed."""
        self._stream.wakeups.drop(self.wakeup)

    async def wait_any(self) -> None:
        """Sleep until the next signal; for an input, which has one reader.

        What was asked for before is signalled from now on: see :meth:`wait`.
        """
        self._reader = reader = self._future()
        await reader

    async def wait(self, key: int) -> None:
        """Sleep until there is news of the slot `key`, which has just been asked for.

        Signals are dispatched in this thread, so that none is missed if the asking came
        first.  News may be for another waiter: look again.
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


class AsyncWakeups:
    """A stream's wake-ups, one for each event loop that waits on it; any thread."""

    def __init__(self, stream: Stream, slots: int = 0) -> None:
        self._stream = stream
        self._slots = slots
        self._wakeups: dict[object, AsyncWakeup] = {}
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)

    def here(self) -> AsyncWakeup:
        """The running event loop's wake-up, made at first use."""
        token = running_loop()
        wakeup = self._wakeups.get(token)
        if wakeup is not None:
            return wakeup
        with self._lock:
            wakeup = self._wakeups.get(token)
            if wakeup is None:
                for other, dead in [(t, w) for t, w in self._wakeups.items() if w.dead]:
                    del self._wakeups[other]
                    dead.drop()

                def close() -> None:
                    self._wakeups.pop(token, None)

                wakeup = self._wakeups[token] = AsyncWakeup(self._stream, self._slots, close)
            return wakeup
