"""PortAudio's lifetime: one host per process, driven from caller threads through one worker.

PortAudio is not trusted to return (a frozen sound server blocks every call, a killed
jackd blocks ``Pa_StopStream`` for 600 s), so each call that can block runs on a
daemon thread under a time limit.  What passes the limit is abandoned: that thread
is left to itself, all that it or the audio thread may touch is kept for the life of
the process, and a new worker takes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from audiostream.device.palibrary import Devices, Library, PyAudioLibrary
from audiostream.device.quiet import StderrFilter
from audiostream.errors import DeviceError

__all__ = ("HOST", "Held", "PortAudioHost", "TimeLimitError")

T = TypeVar("T")

LIMIT = 2.0
START_LIMIT = 10.0
FRESH = 1.0
"""Seconds for which a list of devices counts as new, so that a look-up and the
opening after it start PortAudio once."""


class TimeLimitError(DeviceError):
    """A call into PortAudio did not come back in time and was abandoned."""


# ------------------------------------------------------------------- the worker


class Job(Generic[T]):
    """One call for the worker: its result or error is there once `done` is set."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error
        self.done.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]


class Worker:
    """One daemon thread that runs jobs in order until it is told to end."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        threading.Thread(target=self._run, name="audiostream-portaudio", daemon=True).start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()

    def submit(self, job: Job[Any]) -> None:
        self._jobs.put(job)

    def end(self) -> None:
        """End the thread after what it is doing now, if that ever returns."""
        self._jobs.put(None)


# --------------------------------------------------------------------- the host


class Held(Protocol):
    """An open stream, as the host sees it."""

    def detach(self) -> None:
        """Never touch PortAudio again."""


class PortAudioHost:
    """The process's one PortAudio: initialisation, the worker, and what must be kept.

    Nothing is imported or started before the first use.  With no stream open,
    PortAudio is started anew for each list of devices, since it reads the list only
    then.  Once a stream was abandoned it is never ended again: that would hang too.

    Parameters
    ----------
    make_library : callable
        Makes what drives PortAudio; tests put a double there.
    limit, start_limit : float
        Seconds that a call, and that (re)starting PortAudio, may take.
    """

    def __init__(
        self,
        make_library: Callable[[], Library] = PyAudioLibrary,
        limit: float = LIMIT,
        start_limit: float = START_LIMIT,
    ) -> None:
        self.limit = limit
        self.start_limit = start_limit
        self.forked = False
        self._make_library = make_library
        self._library: Library | None = None
        self._lock = threading.RLock()
        self._stderr = StderrFilter()
        self._worker: Worker | None = None
        self._used = False
        self._running = False
        self._abandoned = False
        self._starting: Job[Devices] | None = None
        self._devices: Devices | None = None
        self._listed_at = float("-inf")
        self._streams: dict[int, Held] = {}
        # What the audio thread or a stuck call may touch.  It is never freed, not even
        # when the interpreter ends: PyAudio closes a stream as it is freed (deadlock on
        # JACK; in a forked child it takes the parent's sound away), and a callback's
        # memory freed under a running stream is a segmentation fault.
        self._kept: dict[int, object] = {}
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._kept))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._stderr.restore_in_child()
        if self._used:
            # Locks may be held by threads that do not exist here: everything looks at
            # this flag before it takes one.
            self.forked = True
        else:
            self._lock = threading.RLock()

    # -- calls

    def call(
        self,
        doing: str,
        function: Callable[[], T],
        limit: float | None = None,
        quiet: bool = False,
    ) -> T:
        """Run `function` on the worker and return what it returns.

        Parameters
        ----------
        doing : str
            What it does, for messages ("stopping 'pulse'").
        limit : float or None
            Seconds; None is the host's own limit.
        quiet : bool
            Keep PortAudio's noise off stderr meanwhile.

        Raises
        ------
        TimeLimitError
            If it did not return in time.  It is left running for good.
        DeviceError
            In a forked child, and when the interpreter is ending.
        """
        self.check_process()
        with self._lock:
            return self._wait(
                doing, Job(function), self.limit if limit is None else limit, quiet
            )

    def _wait(self, doing: str, job: Job[T], limit: float, quiet: bool) -> T:
        self._used = True
        if self._worker is None:
            try:
                self._worker = Worker()
            except RuntimeError as error:  # no thread starts while the interpreter ends
                raise DeviceError(f"{doing} is not possible: {error}") from error
        with self._stderr.capture() if quiet else contextlib.nullcontext():
            self._worker.submit(job)
            in_time = job.done.wait(limit)
        if not in_time:
            self._worker.end()
            self._worker = None
            self._kept[id(job)] = job
            raise TimeLimitError(
                f"{doing} did not return within {limit:g} s and was abandoned: the sound "
                "server or the driver hangs; restart it, then open the device again"
            )
        return job.result()

    def check_process(self) -> None:
        """Raise :class:`DeviceError` in a child that was forked from a user of PortAudio."""
        if self.forked:
            raise DeviceError(
                "this process was forked from one that had already used audio; start it "
                "with multiprocessing's 'spawn' method, or use audio only after the fork"
            )

    # -- lifetime

    @contextlib.contextmanager
    def using(self) -> Iterator[tuple[Library, Devices]]:
        """Hold the host, PortAudio running, and its list of devices, as new as can be.

        Raises
        ------
        DeviceError
            If PortAudio cannot be had.
        """
        self.check_process()
        with self._lock:
            if self._library is None:
                self._library = self._make_library()
            try:
                yield self._library, self._list(self._library)
            except BaseException:  # a device is missing or does not open: look again
                self.outdated()
                raise

    def _list(self, library: Library) -> Devices:
        pinned = bool(self._streams) or self._abandoned
        fresh = time.monotonic() - self._listed_at < FRESH
        if self._devices is not None and (pinned or fresh):
            return self._devices
        job = self._starting
        if job is None:
            job = Job(lambda: self._restart(library))
            try:
                self._starting = job
                self._wait("starting PortAudio", job, self.start_limit, quiet=True)
            except TimeLimitError:
                raise  # and remember the job: PortAudio cannot be started twice at once
            except BaseException:
                self._starting = None
                raise
        elif not job.done.is_set():
            raise DeviceError(
                "PortAudio is still starting: the sound server does not answer; restart "
                'it, or use a virtual device such as "null"'
            )
        self._starting = None
        self._devices = job.result()
        self._listed_at = time.monotonic()
        return self._devices

    def _restart(self, library: Library) -> Devices:
        if self._running:
            self._running = False
            self._devices = None
            library.terminate()
        library.initialise()
        self._running = True
        return library.devices()

    def outdated(self) -> None:
        """Have the list of devices read again at the next use: a device did not open."""
        self._listed_at = float("-inf")

    def shutdown(self, limit: float = LIMIT) -> None:
        """End PortAudio for the end of the process, in `limit` seconds.  Never raises.

        Streams that are still open are detached first.  Nothing is done in a forked
        child, nor when a stream was abandoned.
        """
        if self.forked or not self._lock.acquire(timeout=limit):
            return
        try:
            if not self._running or self._abandoned:
                return
            for stream in tuple(self._streams.values()):
                stream.detach()
            library, self._devices = self._library, None
            assert library is not None
            self._running = False
            with contextlib.suppress(DeviceError):  # nobody is left to tell
                self.call("ending PortAudio", library.terminate, limit)
        finally:
            self._lock.release()

    # -- streams

    def hold(self, stream: Held) -> None:
        """Count `stream` as open and keep it, with all that it refers to."""
        with self._lock:
            self._streams[id(stream)] = stream
            self._kept[id(stream)] = stream

    def release(self, stream: Held, keep: bool = False) -> None:
        """Count `stream` as closed; with `keep`, its memory is in use for good."""
        with self._lock:
            self._streams.pop(id(stream), None)
            if not keep:
                self._kept.pop(id(stream), None)

    def abandon(self, stream: Held) -> None:
        """Keep `stream` for good, and PortAudio running: one of its calls hangs."""
        with self._lock:
            self._abandoned = True
            self.release(stream, keep=True)


HOST = PortAudioHost()
"""The one host of this process: PortAudio's state is the process's, so this is too."""
