"""One event loop in the background, for what goes on while its caller does something else.

It runs the documented generators that never block, and what the everyday functions play and
record.  Any thread starts and ends a job; the job itself runs on that loop.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from audiostream.aio.errors import StreamClosedError
from audiostream.aio.wakeup import setter
from audiostream.engine.wakeup import SLICE
from audiostream.engine.watchdog import in_background
from audiostream.errors import AudioException
from audiostream.forks import LOCKS

__all__ = ("PORTAL", "Job")


class _Portal:
    """The process's one background event loop; it starts with the first job."""

    def __init__(self) -> None:
        self._left_behind: list[Any] = []
        self._forget()
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._context: Any = None
        self._failure: Exception | None = None
        self._thread: int | None = None
        self.leaving = False

    def _forked(self) -> None:
        # Its thread is the parent's.  Kept, because its finalizer would wait for that thread.
        self._left_behind.append(self._context)
        self._forget()

    def _try_to_open(self) -> None:
        try:
            self._open()
            self._failure = None
        except Exception as error:  # for who waits
            self._failure = error

    def _open(self) -> None:
        with self._lock:
            if self._context is not None:
                return
            context = start_blocking_portal(name="audiostream background")
            portal: BlockingPortal = context.__enter__()
            _, self._group = portal.start_task(self._keep)
            self._loop = portal.call(asyncio.get_running_loop)
            self._variables = portal.call(contextvars.copy_context)
            self._thread = portal.call(threading.get_ident)
            self._context = context

    @staticmethod
    async def _keep(task_status: TaskStatus[TaskGroup]) -> None:
        async with anyio.create_task_group() as group:
            task_status.started(group)
            await anyio.sleep_forever()

    def is_here(self) -> bool:
        """True in the loop's own thread."""
        return self._thread == threading.get_ident()

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a coroutine function run on the loop.  Any thread, the loop's own, too.

        The caller does not wait for the loop here: it may be waiting for what the caller holds.
        """
        if self._context is None:
            # In a thread, which Ctrl-C leaves alone: the portal stands half open otherwise.
            in_background(self._try_to_open, "start").join()
        if self._failure is not None:
            raise AudioException(
                f"the event loop in the background cannot start: {self._failure}"
            ) from self._failure
        # Not in the caller's context, which may say that this thread runs trio.
        self._loop.call_soon_threadsafe(
            self._group.start_soon, function, *args, context=self._variables
        )

    def soon(self, function: Callable[[], Any]) -> None:
        """Call a function on the loop: at once in its thread, else soon."""
        if self.is_here():
            function()
        elif self._context is not None:  # else the loop is another process's
            with contextlib.suppress(RuntimeError):  # of a loop that is over
                self._loop.call_soon_threadsafe(function, context=self._variables)

    def _leave(self) -> None:
        """End the loop, and what still runs on it; at exit."""
        self.leaving = True
        if self._context is not None:
            cancelled = KeyboardInterrupt()  # by which the portal knows to cancel its tasks
            with contextlib.suppress(KeyboardInterrupt):
                self._context.__exit__(type(cancelled), cancelled, None)


PORTAL = _Portal()
"""Threads are the process's, and so is this one."""


def _of_the_parent() -> Future[Any]:
    """What a forked child has of a job, which goes on in its parent."""
    future: Future[Any] = Future()
    future.set_exception(StreamClosedError("this goes on in the parent process only"))
    return future


class Job:
    """A coroutine on the background event loop, from its start to its end; any thread.

    Parameters
    ----------
    function : coroutine function
        Called in any case; in a cancelled scope if the job was cancelled before that.
    *args
        What it is called with.  They are held until it has run, and no longer.
    """

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        self._is_cancelled = False
        self._scope: anyio.CancelScope | None = None
        self._future: Future[Any] = Future()
        LOCKS.add(self, _future=_of_the_parent)
        self._call: tuple[Any, ...] = (function, *args)

    def start(self) -> None:
        """Have it run, once."""
        call, self._call = self._call, ()
        PORTAL.spawn(self._run, *call)

    async def _run(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        result = None
        try:
            with anyio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                result = await function(*args)
        except BaseException as error:
            # None may get as far as the loop, which is the other jobs', too: not even the
            # CancelledError of a task that this one waited for.
            self._failed(error, *args)
        else:
            self._future.set_result(result)

    def _failed(self, error: BaseException, *args: Any) -> None:
        """The coroutine has raised."""
        del args
        self._future.set_exception(error)

    def cancel(self) -> None:
        """Have it end.  Idempotent."""
        self._is_cancelled = True
        PORTAL.soon(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def is_done(self) -> bool:
        """True once it has ended."""
        return self._future.done()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end in this thread; False if it has not ended after so many seconds."""
        # A plain lock: Ctrl-C between two lines of a Condition leaves it in disorder.
        ended = threading.Lock()
        ended.acquire()
        self._future.add_done_callback(lambda _: ended.release())
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if ended.acquire(timeout=max(min(left, SLICE), 0)):
                return True
            if left <= SLICE:
                return False

    async def ended(self) -> None:
        """Wait for its end on an event loop."""
        done = anyio.Event()
        set_event = setter(done)
        self._future.add_done_callback(lambda _: set_event())
        await done.wait()

    def result(self) -> Any:
        """What the coroutine has returned, None if it was cancelled; raises what it raised.

        Once it has ended.
        """
        return self._future.result(0)
