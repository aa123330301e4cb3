"""What drives the documented generators: a thread each, or one event loop for many."""

from __future__ import annotations

import contextlib
import inspect
import threading
from typing import TYPE_CHECKING, Any, Protocol

import anyio.lowlevel

from audiostream.aio.background import PORTAL, Job
from audiostream.aio.sample import AudioSample
from audiostream.aio.sources.source import Source
from audiostream.engine.sample_input import sliceable
from audiostream.errors import AudioException

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput
    from audiostream.engine.voice import Voice
    from audiostream.sources.thread import ThreadSource

__all__ = ("LoopRun", "Run", "ThreadRun", "output_and_voice")


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


class LoopRun(Job):
    """A generator that never blocks, on the event loop that all of them share."""

    def __init__(self, source: ThreadSource, again: bool) -> None:
        super().__init__(_play, source, again)
        self.start()

    def _failed(self, error: BaseException, *args: Any) -> None:
        (source, _) = args
        if not (self._is_cancelled or is_cut_off(source) or PORTAL.leaving):
            report(error)
        self._future.set_result(None)

    def stop(self) -> None:
        """See :class:`Run`."""
        self.cancel()

    def is_alive(self) -> bool:
        """See :class:`Run`."""
        return not self.is_done()

    def join(self, timeout: float | None) -> None:
        """See :class:`Run`."""
        if PORTAL.is_here() and self.is_alive():
            raise RuntimeError("cannot join a source on the event loop that it runs on")
        self.wait(timeout)


async def _play(source: ThreadSource, again: bool) -> None:
    await anyio.lowlevel.checkpoint_if_cancelled()  # stopped before it began
    output, voice = output_and_voice(source)
    if again:
        # The run before may have written once more after it was stopped, before the loop
        # cancelled it; which it has by now.
        voice.clear(0.0)
    await AudioSample(output, voice).write_from(_Asked(source), ahead=source.ahead)


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
