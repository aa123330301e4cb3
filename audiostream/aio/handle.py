"""What plays or records while its caller does something else; any thread."""

from __future__ import annotations

import abc
import logging
import threading
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import anyio.to_thread

from audiostream.aio.background import Job
from audiostream.errors import AudioException
from audiostream.forks import LOCKS

__all__ = ("Handle", "Work")


class Closable(Protocol):
    """A file."""

    def close(self) -> None:
        """Close it.  Idempotent."""


F = TypeVar("F", bound=Closable)


class Work(abc.ABC, Generic[F]):
    """Something that plays or records: open it, then run it to its end, which closes it."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._file: F | None = None
        self._is_over = False
        self._lock = threading.Lock()  # of the file
        LOCKS.add(self, _lock=threading.Lock)

    @abc.abstractmethod
    def _opened(self) -> F | None:
        """Open its file, if there is one."""

    @abc.abstractmethod
    async def _run(self) -> None:
        """Play or record."""

    @property
    @abc.abstractmethod
    def position(self) -> float:
        """Seconds of it that are done."""

    @property
    @abc.abstractmethod
    def outcome(self) -> Any:
        """What has come of it, also if it was cancelled."""

    def open(self) -> None:
        """Open its file, in a thread that may wait for the disk."""
        file = self._opened()
        with self._lock:
            self._file = file
            if self._is_over and file is not None:  # cancelled meanwhile
                file.close()

    async def aopen(self) -> None:
        """:meth:`open` in a worker thread."""
        try:
            await anyio.to_thread.run_sync(self.open)
        except BaseException:
            self._close()
            raise

    async def run(self) -> None:
        """Do it, on any event loop, and close the file."""
        try:
            await self._run()
        finally:
            self._close()

    def _close(self) -> None:
        with self._lock:
            self._is_over = True
            if self._file is not None:
                self._file.close()


class Handle:
    """Something that plays or records on the background event loop; any thread.

    It goes on when the handle is dropped, and ends with the program.
    """

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._job = Job(_run, work)

    def stop(self) -> None:
        """End it: what plays fades out over 5 ms, a file is completed.  Idempotent.

        Does not wait for that; ``wait()`` does.
        """
        self._job.cancel()

    @property
    def position(self) -> float:
        """Seconds that were heard (of a loop, in all its rounds), or that are in the file."""
        return self._work.position

    @property
    def is_finished(self) -> bool:
        """True once it has ended, and its device is closed."""
        return self._job.is_done()

    def _outcome(self) -> Any:
        self._job.result()
        return self._work.outcome


async def _run(work: Work[Any]) -> None:
    try:
        await work.run()
    except AudioException as error:
        # wait() may never be called.
        logging.getLogger("audiostream").error("%s has ended: %s", work.name, error)
        raise
