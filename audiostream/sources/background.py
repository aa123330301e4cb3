"""What drives the documented generators: a thread each, or one event loop for many."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import inspect
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from audiostream.aio.sample import AudioSample
from audiostream.aio.sources.source import Source
from audiostream.engine.sample_input import sliceable
from audiostream.errors import AudioException

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput
    from audiostream.engine.voice import Voice
    from audiostream.sources.thread import ThreadSource

__all__ = ("LoopRun", "Run", "ThreadRun", "output_and_voice")


class _Portal:
    """The process's one background event loop for generators; it starts with the first."""

    def __init__(self) -> None:
        self._left_behind: list[Any] = []
        self._forget()
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._context: Any = None
        self._thread: int | None = None
        self.leaving = False

    def _forked(self) -> None:
        # Its thread is the parent's.  Kept, because its finalizer would wait for that thread.
        self._left_behind.append(self._context)
        self._forget()

    def _open(self) -> None:
        self._context = start_blocking_portal(name="audiostream sources")
        portal: BlockingPortal = self._context.__enter__()
        _, self._group = portal.start_task(self._keep)
        self._loop = portal.call(asyncio.get_running_loop)
        self._variables = portal.call(contextvars.copy_context)
        self._thread = portal.call(threading.get_ident)

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
        with self._lock:
            if self._context is None:
                self._open()
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


class Run(Protocol):
    """One stretch of a generator's life, from a start to its end."""

    def stop(self) -> None:
        """Have it end; it writes nothing more."""

    def is_alive(self) -> bool:
        """True until it has ended."""

    def join(self, timeout: float | None) -> None:
        """Wait until it has ended."""


class ThreadRun:
    """A generator in a thread of its own, which may block as it likes."""

    def __init__(self, source: ThreadSource) -> None:
        self._stopped = threading.Event()
        # The thread holds the source, and only while it runs.
        self._thread = threading.Thread(
            target=self._work,
            args=(source,),
            name=f"audiostream {type(source).__name__}",
            daemon=source.daemon,
        )
        self._thread.start()

    def _work(self, source: ThreadSource) -> None:
        stopped = self._stopped
        try:
            while not (stopped.is_set() or is_cut_off(source)):
                _, voice = output_and_voice(source)
                voice.may_be_cut = True
                epoch = voice.epoch
                chunk = source.get_bytes()
                if stopped.is_set() or chunk is None:
                    voice.may_be_cut = False
                    return
                if len(sliceable(chunk)):
                    # Stopped from here on, it is not written any more.
                    source._write(voice, chunk, epoch)
                else:
                    voice.check()
                    stopped.wait(source.buffersize / source.rate)
        except AudioException:
            if not (stopped.is_set() or is_cut_off(source)):
                raise
        finally:
            if not stopped.is_set():
                over(source)

    def stop(self) -> None:
        """See :class:`Run`."""
        self._stopped.set()

    def is_alive(self) -> bool:
        """See :class:`Run`."""
        return self._thread.is_alive()

    def join(self, timeout: float | None) -> None:
        """See :class:`Run`."""
        self._thread.join(timeout)


class _Asked(Source):
    """The documented ``get_bytes`` as a source; it may be a coroutine function."""

    def __init__(self, source: ThreadSource) -> None:
        self._source = source

    async def get_bytes(self) -> Any:
        source = self._source
        if is_cut_off(source):
            return None
        if getattr(source.get_bytes, "never_blocks", False):
            return source.next_block()
        return await source.get_bytes()


class LoopRun:
    """A generator that never blocks, on the event loop that all of them share."""

    def __init__(self, source: ThreadSource, again: bool) -> None:
        self._stopped = False
        self._ended = threading.Event()
        self._scope: anyio.CancelScope | None = None
        # The task holds the source, and only while it runs.
        PORTAL.spawn(self._work, source, again)

    async def _work(self, source: ThreadSource, again: bool) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if not self._stopped:
                    await self._play(source, again)
        except BaseException as error:
            # None may get as far as the loop, which is the other sources', too: not even the
            # CancelledError of a task that get_bytes waited for.
            if not (self._stopped or is_cut_off(source) or PORTAL.leaving):
                report(error)
        finally:
            self._ended.set()

    async def _play(self, source: ThreadSource, again: bool) -> None:
        output, voice = output_and_voice(source)
        if again:
            # The run before may have written once more after it was stopped, before
            # the loop cancelled it; which it has by now.
            voice.clear(0.0)
        await AudioSample(output, voice).write_from(_Asked(source), ahead=source.ahead)

    def stop(self) -> None:
        """See :class:`Run`."""
        self._stopped = True
        PORTAL.soon(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def is_alive(self) -> bool:
        """See :class:`Run`."""
        return not self._ended.is_set()

    def join(self, timeout: float | None) -> None:
        """See :class:`Run`."""
        if PORTAL.is_here() and self.is_alive():
            raise RuntimeError("cannot join a source on the event loop that it runs on")
        self._ended.wait(timeout)


# Functions, not methods: the names in a source are left to its writer.


def is_cut_off(source: ThreadSource) -> bool:
    """True if nothing can be heard of it any more, and that is no fault of its own."""
    voice = source._voice
    return voice is None or voice.is_gone or voice.output.is_closed


def output_and_voice(source: ThreadSource) -> tuple[AudioOutput, Voice]:
    """Where it plays."""
    voice = source._attached("play")
    assert source._output is not None
    return source._output, voice


def over(source: ThreadSource) -> None:
    """The generator has ended by itself: to run out now is no starvation."""
    voice = source._voice
    if voice is not None:
        with contextlib.suppress(AudioException):
            voice.end()


def report(error: BaseException) -> None:
    """Tell of an error that ended a generator, as threads tell of theirs."""
    threading.excepthook(
        threading.ExceptHookArgs((type(error), error, error.__traceback__, None))
    )


def is_on_loop(source: ThreadSource) -> bool:
    """True if a generator's ``get_bytes`` is known never to block."""
    quick: bool = getattr(source.get_bytes, "never_blocks", False)
    return quick or inspect.iscoroutinefunction(source.get_bytes)


def never_blocks(function: Any) -> Any:
    """Mark a ``get_bytes`` that only encodes what ``next_block`` computes.

    It is left out on the shared event loop, where such a source runs.
    """
    function.never_blocks = True
    return function
