"""The thread that makes PortAudio's calls, one after the other; caller threads hand it jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from audiostream.errors import DeviceError

__all__ = ("Job", "TimeLimitError", "Worker")

T = TypeVar("T")


class TimeLimitError(DeviceError):
    """A call into PortAudio did not come back in time and was abandoned."""


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
    """One daemon thread that runs jobs in order, until :meth:`end`."""

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
