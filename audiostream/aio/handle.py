"""What plays or records while its caller does something else; any thread."""

from __future__ import annotations

import abc
import logging
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import anyio.to_thread

from audiostream.aio.background import Job
from audiostream.forks import LOCKS

if TYPE_CHECKING:
    from audiostream.aio.input import AudioInput
    from audiostream.aio.output import AudioOutput
    from audiostream.aio.sources.file import File
    from audiostream.soundfiles import SoundWriter

__all__ = ("Handle", "Work")


class Work(abc.ABC):
    """Something that plays or records: open it, then run it to its end, which closes it."""

    name: ClassVar[str]
    _stream: AudioOutput | AudioInput
    _file: File | SoundWriter | None

    def __init__(self) -> None:
        self._file = None
        self._is_open = self._is_over = False
        self._lock = threading.Lock()  # of the file, and of these
        LOCKS.add(self, _lock=threading.Lock)

    @abc.abstractmethod
    def _open(self) -> None:
        """Open the device and the file."""

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
        """Open the device and the file; blocks."""
        try:
            self._open()
            with self._lock:
                self._is_open = True
                is_over = self._is_over
        except BaseException:
            self.close()
            raise
        if is_over:  # cancelled meanwhile
            self.close()

    def close(self) -> None:
        """Close what is open; blocks."""
        try:
            self._close_file()
        finally:
            if hasattr(self, "_stream"):  # what plays has none before its file is open
                self._stream.close()

    async def aopen(self) -> None:
        """:meth:`open` in a worker thread."""
        try:
            await anyio.to_thread.run_sync(self.open)
        except BaseException:
            with self._lock:
                self._is_over = True
                is_open = self._is_open
            if is_open:
                await self._aclose()
            raise

    async def run(self) -> None:
        """Do it, on any event loop, and close what is open."""
        try:
            await self._run()
        finally:
            await self._aclose()

    async def _aclose(self) -> None:
        closing = self._stream.aclose()  # which begins with the call
        try:
            self._close_file()
        finally:
            await closing

    def _close_file(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()


class Handle:
    """Something that plays or records on the background event loop; any thread.

    It goes on when the handle is dropped, and ends with the program.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._job = Job(_run, work)
        self._job.start()

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


async def _run(work: Work) -> None:
    try:
        await work.run()
    except Exception as error:
        # wait() may never be called.
        logging.getLogger("audiostream").error("%s has ended: %s", work.name, error)
        raise
