"""PortAudio's lifetime: one host per process, driven from caller threads through one worker.

PortAudio is not trusted to return (a frozen sound server blocks every call, a killed
jackd blocks ``Pa_StopStream`` for 600 s), so each call that can block runs on a
daemon thread under a time limit.  What passes the limit is abandoned: that thread
is left to itself, all that it or the audio thread may touch is kept until the call
returns, if it ever does, and a new worker takes over.

Nor is it trusted with JACK: it aborts the process where it calls a server that has ended
(see jack.py).  A copy of PortAudio that has lost its server is left alone for good, and another
copy takes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from audiostream.device.portaudio.library import Devices, Library, PyAudioLibrary
from audiostream.device.portaudio.stderr_filter import StderrFilter
from audiostream.device.portaudio.worker import Job, TimeLimitError, Worker
from audiostream.errors import DeviceError

__all__ = ("HOST", "Copy", "Held", "PortAudioHost")

T = TypeVar("T")

LIMIT = 2.0
START_LIMIT = 10.0
FRESH = 1.0
"""Seconds for which a list of devices counts as new, so that a look-up and the
opening after it start PortAudio once."""


def _nothing() -> None:
    """Nothing to do."""


class Copy:
    """One copy of PortAudio in this process, and what the host knows of it.

    Attributes
    ----------
    streams, stuck : dict
        The open ones, and those whose calls hang, or would, by their ids.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.running = False
        self.starting: Job[Devices] | None = None
        self.devices: Devices | None = None
        self.listed_at = float("-inf")
        self.streams: dict[int, Held] = {}
        self.stuck: dict[int, Held] = {}
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether its JACK server has ended: it is never listed, ended or opened on again."""
        return self._lost or self.library.lost

    def lose(self) -> None:
        """Note that its JACK server has ended, or that PortAudio may have lost it."""
        self._lost = True


class Held(Protocol):
    """An open stream, as the host sees it."""

    copy: Copy

    def detach(self) -> None:
        """Never touch PortAudio again."""

    def free(self) -> None:
        """JACK's audio thread has ended: let go of what it may have touched."""


class PortAudioHost:
    """The process's one PortAudio: initialisation, the worker, and what must be kept.

    Nothing is imported or started before the first use.  With no stream open,
    PortAudio is started again for each list of devices, since it reads the list only
    then.  While a stream is abandoned it is not ended: that would hang too.

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
        self._copy: Copy | None = None
        self._lock = threading.RLock()
        self._stderr = StderrFilter()
        self._worker: Worker | None = None
        self._used = False
        self._asking: Job[bool] | None = None
        self._lost: list[Copy] = []  # what was left alone, and still keeps streams
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
        abandoned: Callable[[], None] = _nothing,
        returned: Callable[[], None] = _nothing,
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
        abandoned, returned : callable
            If it does not return in time, `abandoned` is called at once, and `returned`
            once it has returned after all, on the thread that it ran on.

        Raises
        ------
        TimeLimitError
            If it did not return in time.  It is left running.
        DeviceError
            In a forked child, and when the interpreter is ending.
        """
        self.check_process()
        with self._lock:
            limit = self.limit if limit is None else limit
            return self._wait(doing, Job(function), limit, quiet, abandoned, returned)

    def _wait(
        self,
        doing: str,
        job: Job[T],
        limit: float,
        quiet: bool = False,
        abandoned: Callable[[], None] = _nothing,
        returned: Callable[[], None] = _nothing,
    ) -> T:
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
            worker, self._worker = self._worker, None
            self._kept[id(job)] = job
            abandoned()
            worker.submit(Job(lambda: self._kept.pop(id(job), None)))
            worker.submit(Job(returned))
            worker.end()
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
    def using(self) -> Iterator[tuple[Copy, Devices]]:
        """Hold the host, PortAudio running, and its list of devices, as new as can be.

        Raises
        ------
        DeviceError
            If PortAudio cannot be had.
        """
        self.check_process()
        with self._lock:
            try:
                yield self._list()
            except BaseException:  # a device is missing or does not open: look again
                self.outdated()
                raise

    def _free_lost(self) -> None:
        """Let go of what lost copies keep, once that is safe."""
        for copy in tuple(self._lost):
            if copy.stuck and copy.library.is_silent():
                for stream in tuple(copy.stuck.values()):
                    stream.free()
            if not copy.stuck and not copy.streams:
                self._lost.remove(copy)

    def _list(self) -> tuple[Copy, Devices]:
        self._free_lost()
        copy = self._present()
        pinned = bool(copy.streams) or bool(copy.stuck)
        fresh = time.monotonic() - copy.listed_at < FRESH
        if copy.devices is not None and (pinned or fresh):
            return copy, copy.devices
        if copy.running and copy.starting is None:
            try:
                self.ask_jack(copy)
            except DeviceError:
                if copy.lost:
                    copy = self._present()
                elif copy.devices is not None:
                    return copy, copy.devices  # JACK is frozen, other devices may do
                else:
                    raise
        job = copy.starting
        if job is None:
            job = Job(lambda: self._restart(copy))
            try:
                copy.starting = job
                self._wait("starting PortAudio", job, self.start_limit, quiet=True)
            except TimeLimitError:
                raise  # and remember the job: PortAudio cannot be started twice at once
            except BaseException:
                copy.starting = None
                raise
        elif not job.done.is_set():
            raise DeviceError(
                "PortAudio is still starting: the sound server does not answer; restart "
                'it, or use a virtual device such as "null"'
            )
        copy.starting = None
        copy.devices = job.result()
        copy.listed_at = time.monotonic()
        return copy, copy.devices

    def _present(self) -> Copy:
        """Return the copy in use, or the next one if its JACK server has ended."""
        copy = self._copy
        if copy is None:
            copy = Copy(self._make_library())
        elif copy.lost:
            lost, copy = copy, Copy(copy.library.another())
            self._lost.append(lost)
        if copy is not self._copy:
            self._copy = copy
            self._kept[id(copy)] = copy  # JACK's thread writes to what its library holds
        return copy

    def _restart(self, copy: Copy) -> Devices:
        if copy.running:
            copy.running = False
            copy.devices = None
            copy.library.terminate()
        copy.library.initialise()
        copy.running = True
        return copy.library.devices()

    def ask_jack(self, copy: Copy, limit: float | None = None) -> None:
        """Return if what follows at once cannot fail on account of JACK.

        That is so where `copy` uses no JACK, and where its server has just answered.

        Raises
        ------
        DeviceError
            If the server has ended, or does not answer within `limit` seconds (None is the
            host's own limit).
        """
        self.check_process()
        with self._lock:
            if copy.library.uses_jack and not copy.lost:
                if self._asking is not None and not self._asking.done.is_set():
                    raise DeviceError("the JACK server does not answer; restart it")
                self._asking = job = Job(copy.library.answers)
                limit = self.limit if limit is None else limit
                try:
                    if not self._wait("asking the JACK server", job, limit):
                        copy.lose()
                except TimeLimitError:
                    raise  # and remember the question: it hangs as long as the server
                except BaseException:
                    self._asking = None
                    raise
            if copy.lost:
                raise DeviceError(
                    "the JACK server has ended; start it and open the device again"
                )

    def await_jack(self, copy: Copy) -> bool:
        """Wait, on a thread that has nothing else to do, for JACK's server to answer.

        Returns
        -------
        bool
            True as for :meth:`ask_jack`; False if the server has ended, or cannot be asked.
        """
        while not copy.lost:
            try:
                self.ask_jack(copy)
            except DeviceError:
                asking = self._asking
                if asking is None:
                    return False
                asking.done.wait()
            else:
                return True
        return False

    def outdated(self) -> None:
        """Have the list of devices read again at the next use: a device did not open."""
        if self._copy is not None:
            self._copy.listed_at = float("-inf")

    def shutdown(self, limit: float = LIMIT) -> None:
        """End PortAudio for the end of the process, in `limit` seconds.  Never raises.

        Streams that are still open are detached first.  Nothing is done in a forked
        child, nor while a stream is abandoned, nor where JACK does not answer.
        """
        end = time.monotonic() + limit
        if self.forked or not self._lock.acquire(timeout=limit):
            return
        try:
            copy = self._copy
            if copy is None or not copy.running or copy.stuck:
                return
            with contextlib.suppress(DeviceError):  # the process ends
                self.ask_jack(copy, limit)
                for stream in tuple(copy.streams.values()):
                    stream.detach()
                copy.running = False
                copy.devices = None
                left = max(end - time.monotonic(), 0.0)
                self.call("ending PortAudio", copy.library.terminate, left)
        finally:
            self._lock.release()

    # -- streams

    def hold(self, stream: Held) -> None:
        """Count `stream` as open and keep it, with all that it refers to."""
        with self._lock:
            stream.copy.streams[id(stream)] = stream
            self._kept[id(stream)] = stream

    def release(self, stream: Held, keep: bool = False) -> None:
        """Count `stream` as closed; with `keep`, its memory is in use for good."""
        with self._lock:
            copy = stream.copy
            copy.streams.pop(id(stream), None)
            if copy.stuck.pop(id(stream), None) is not None:
                copy.listed_at = float("-inf")
            if not keep:
                self._kept.pop(id(stream), None)

    def abandon(self, stream: Held) -> None:
        """Keep `stream`, and PortAudio running: one of its calls hangs, or would."""
        with self._lock:
            self.release(stream, keep=True)
            stream.copy.stuck[id(stream)] = stream


HOST = PortAudioHost()
"""The one host of this process: PortAudio's state is the process's, so this is too."""
