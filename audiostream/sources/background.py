"""What drives the documented generators: a thread each, or one event loop for many."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import inspect
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from anyio.from_thread import BlockingPortal, start_blocking_portal

from audiostream.aio.sample import AudioSample
from audiostream.aio.sources.source import Source
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
        self._portal: BlockingPortal | None = None

    def _forked(self) -> None:
        # Its thread is the parent's.  Kept, because its finalizer would wait for that thread.
        self._left_behind.append(self._context)
        self._forget()

    def get(self) -> BlockingPortal:
        """The way into the loop."""
        with self._lock:
            if self._portal is None:
                self._context = start_blocking_portal(name="audiostream sources")
                self._portal = self._context.__enter__()
            return self._portal

    def _leave(self) -> None:
        """End the loop, and what still runs on it; at exit."""
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
                epoch = voice.epoch
                chunk = source.get_bytes()
                if stopped.is_set() or chunk is None:
                    return
                if len(chunk):
                    # Stopped from here on, it is not written any more.
                    source._write(voice, chunk, epoch)
                else:
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
        # The task holds the source, and only while it runs.
        self._task: concurrent.futures.Future[None] = PORTAL.get().start_task_soon(
            self._work, source, again
        )

    async def _work(self, source: ThreadSource, again: bool) -> None:
        try:
            output, voice = output_and_voice(source)
            if again:
                # The run before may have written once more after it was stopped, before
                # the loop cancelled it; which it has by now.
                voice.clear(0.0)
            sample = AudioSample(output, voice)
            await sample.write_from(_Asked(source), ahead=source.ahead)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            # None of them may get as far as the loop, which is the other sources', too.
            if not (self._stopped or is_cut_off(source)):
                report(error)
        finally:
            self._ended.set()

    def stop(self) -> None:
        """See :class:`Run`."""
        self._stopped = True
        self._task.cancel()

    def is_alive(self) -> bool:
        """See :class:`Run`."""
        return not self._ended.is_set()

    def join(self, timeout: float | None) -> None:
        """See :class:`Run`."""
        self._ended.wait(timeout)


# Functions, not methods: the names in a source are left to whoever writes one.


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
    """The generator has ended by itself: to run dry now is no shortage."""
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
