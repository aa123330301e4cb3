"""Play and record in one line; caller thread, which waits.

Each does what its namesake of :mod:`audiostream.aio` does, on an event loop in the background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from audiostream import aio
from audiostream.aio.background import PORTAL, Job
from audiostream.aio.handle import Handle, Work
from audiostream.aio.playback import Playback
from audiostream.aio.recording import Recording
from audiostream.aio.wakeup import on_event_loop
from audiostream.checks import check_flag, check_timeout
from audiostream.engine.watchdog import rest_at_exit
from audiostream.errors import AudioException, AudioTimeoutError

if TYPE_CHECKING:
    import numpy as np

    from audiostream.device.base import Device

__all__ = ("PlayHandle", "RecordHandle", "play", "playrec", "record", "record_to")

H = TypeVar("H", bound=Handle)

CLOSING = 10.0
"""Seconds that Ctrl-C waits for the end of what it ends."""


class _Waiting(Handle):
    """A handle for threads."""

    def _wait(self, timeout: float | None) -> Any:
        _check_may_wait("wait")
        if not self._job.wait(check_timeout(timeout)):
            raise AudioTimeoutError(
                f"it has not ended within timeout={timeout} seconds; it goes on until stop()"
            )
        rest_at_exit(PORTAL.leaving)
        return self._outcome()


class PlayHandle(_Waiting):
    """What ``play(wait=False)`` returns; any thread."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True if it was heard to its end, False if it was stopped.

        Parameters
        ----------
        timeout : float, optional
            Seconds, up to a day; None waits without a limit.

        Raises
        ------
        AudioTimeoutError
            If it takes longer; it plays on.
        NoDeviceError, DeviceError
            If the device could not be opened, or went meanwhile.
        AudioException
            If the file is damaged; or on an event loop, which this would stop.
        """
        return bool(self._wait(timeout))


class RecordHandle(_Waiting):
    """What ``record_to(wait=False)`` returns; any thread."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; the frames that are in the file.

        Parameters
        ----------
        timeout : float, optional
            Seconds, up to a day; None waits without a limit.

        Raises
        ------
        AudioTimeoutError
            If it takes longer; it records on.
        NoDeviceError, DeviceError
            If the device could not be opened, or went meanwhile.
        AudioException
            If the file cannot be written; or on an event loop, which this would stop.
        """
        return int(self._wait(timeout))


def _check_may_wait(name: str) -> None:
    if on_event_loop():
        raise AudioException(
            f"{name}() would stop this event loop; await that of audiostream.aio here"
        )


def _waited_for(job: Job) -> Any:
    """What a job returns; Ctrl-C ends it."""
    try:
        job.start()
        job.wait()
    except BaseException:
        job.cancel()
        job.wait(CLOSING)
        raise
    rest_at_exit(PORTAL.leaving)
    return job.result()


def _done(work: Work) -> Any:
    """What comes of some work; Ctrl-C ends it."""
    try:
        work.open()
        _waited_for(Job(work.run))
    finally:
        work.close()
    return work.outcome


def _begun(work: Work, kind: type[H]) -> H:
    """A handle of some work, which has begun."""
    try:
        work.open()
        return kind(work)
    except BaseException:
        work.close()
        raise


@overload
def play(
    what: Any,
    rate: int | None = None,
    *,
    device: str | int | Device = "default",
    gain: float = 1.0,
    loop: bool = False,
    wait: Literal[True] = True,
) -> None: ...
@overload
def play(
    what: Any,
    rate: int | None = None,
    *,
    device: str | int | Device = "default",
    gain: float = 1.0,
    loop: bool = False,
    wait: Literal[False],
) -> PlayHandle: ...
def play(
    what: Any,
    rate: int | None = None,
    *,
    device: str | int | Device = "default",
    gain: float = 1.0,
    loop: bool = False,
    wait: bool = True,
) -> PlayHandle | None:
    """Play a sound file or an array on an output of its own, and wait until it was heard.

    See :func:`audiostream.aio.play` for the arguments and what is raised.  Ctrl-C fades it out
    over 5 ms.

    Returns
    -------
    PlayHandle
        If `wait` is False.
    """
    _check_may_wait("play")
    wait = check_flag(wait, "wait")
    work = Playback(what, rate, device, gain, loop, copy=not wait)
    if not wait:
        return _begun(work, PlayHandle)
    _done(work)
    return None


def record(
    seconds: float,
    rate: int = 48000,
    channels: int = 1,
    *,
    source: str | int | Device = "default",
    dtype: Any = "float32",
) -> np.ndarray:
    """Record for so many seconds; an array (frames, channels).

    See :func:`audiostream.aio.record` for the arguments and what is raised.
    """
    _check_may_wait("record")
    job = Job(lambda: aio.record(seconds, rate, channels, source=source, dtype=dtype))
    recorded: np.ndarray = _waited_for(job)
    return recorded


@overload
def record_to(
    path: Any,
    *,
    seconds: float | None = None,
    rate: int = 48000,
    channels: int = 1,
    source: str | int | Device = "default",
    subtype: str | None = None,
    wait: Literal[True] = True,
) -> int: ...
@overload
def record_to(
    path: Any,
    *,
    seconds: float | None = None,
    rate: int = 48000,
    channels: int = 1,
    source: str | int | Device = "default",
    subtype: str | None = None,
    wait: Literal[False],
) -> RecordHandle: ...
def record_to(
    path: Any,
    *,
    seconds: float | None = None,
    rate: int = 48000,
    channels: int = 1,
    source: str | int | Device = "default",
    subtype: str | None = None,
    wait: bool = True,
) -> int | RecordHandle:
    """Record to a sound file, for so many seconds or until Ctrl-C or a stop.

    See :func:`audiostream.aio.record_to` for the arguments and what is raised.  After Ctrl-C,
    which raises KeyboardInterrupt, the file is complete.

    Returns
    -------
    int or RecordHandle
        Frames in the file; with ``wait=False``, the handle.
    """
    _check_may_wait("record_to")
    wait = check_flag(wait, "wait")
    work = Recording(path, seconds, rate, channels, source, subtype)
    if not wait:
        return _begun(work, RecordHandle)
    frames: int = _done(work)
    return frames


def playrec(
    sound: np.ndarray,
    rate: int,
    *,
    channels: int = 1,
    device: str | int | Device = "default",
    source: str | int | Device = "default",
    gain: float = 1.0,
) -> np.ndarray:
    """Play an array and record at the same time, aligned; float32 (frames, channels).

    See :func:`audiostream.aio.playrec` for the arguments and what is raised.
    """
    _check_may_wait("playrec")
    job = Job(
        lambda: aio.playrec(
            sound, rate, channels=channels, device=device, source=source, gain=gain
        )
    )
    recorded: np.ndarray = _waited_for(job)
    return recorded
