"""The input for both worlds; event loop for what is awaited, caller thread for the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import anyio.abc
import anyio.lowlevel
import numpy as np

from audiostream.aio.blocks import Blocks
from audiostream.aio.errors import BusyError, EndOfStream, StreamClosedError
from audiostream.aio.stream import AudioStream
from audiostream.aio.wakeup import AsyncWakeup, AsyncWakeups, on_event_loop, running_loop
from audiostream.checks import check_callable, check_integer, check_timeout
from audiostream.device.base import Device
from audiostream.engine.capture import Capture
from audiostream.engine.effects import check_units
from audiostream.engine.monitor import Monitor
from audiostream.engine.wakeup import Wakeup
from audiostream.engine.watchdog import rest_at_exit
from audiostream.errors import AudioException, AudioTimeoutError, FormatError
from audiostream.forks import LOCKS
from audiostream.kernels.unit import Unit
from audiostream.pcm import Format

__all__ = ("AudioInput", "get_input")


class AudioInput(AudioStream[Capture], anyio.abc.ByteReceiveStream):
    """An input device and its queue, by ``async for``, ``for``, or callback and ``poll()``.

    A reader that is too slow loses the *oldest* audio, in whole buffers: ``dropped``
    counts its frames.

    Parameters
    ----------
    callback : callable, optional
        Called by :meth:`poll` with the bytes of one buffer.
    source : str, int or Device
        As the ``device`` of an output.
    rate : int
        Frames per second (Hz), 1,000 to 768,000.
    channels : int
        1 to 64.
    encoding : int
        8 or 16 (signed integers), 32 (float).
    buffersize : int
        Frames of one buffer; 0 or less: the system's choice, which the attribute then
        tells.
    queue : float
        Seconds of audio that may wait to be read.
    effects : iterable of effects
        What is captured goes through them before it is read; see :attr:`effects`.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    """

    def __init__(
        self,
        callback: Callable[[bytes], object] | None = None,
        source: str | int | Device = "default",
        rate: int = 44100,
        channels: int = 1,
        encoding: int = 16,
        buffersize: int = -1,
        *,
        queue: float = 4.0,
        effects: Iterable[Unit] = (),
    ) -> None:
        format = Format(rate, channels, encoding)
        super().__init__(
            Capture(format, buffersize, source, queue, StreamClosedError, EndOfStream)
        )
        self._wakeups = AsyncWakeups(self._stream)
        self._wakeup: AsyncWakeup | None = None
        self._own_wakeup: Wakeup | None = None  # of threads that read
        self._reading = threading.Lock()  # held by the one reader, a task or a thread
        LOCKS.add(self, _reading=threading.Lock)
        self._is_dropped_at_will = False
        self.callback = callback
        self.effects = check_units(effects)

    # --- start and stop ----------------------------------------------------------

    def start(self) -> None:
        """Start the capture.  Idempotent; works again after :meth:`stop`.

        Blocks for a bounded time; on an event loop it is carried out in the background.

        Raises
        ------
        StreamClosedError, DeviceError
            If the input is closed, or its device refuses.
        """
        self._stream.check()
        self._do(self._stream.start)

    def stop(self) -> None:
        """Stop the capture.  Idempotent; what is queued stays to be read.

        Blocks for a bounded time; on an event loop it is carried out in the background.  Does
        not raise because the device is gone.
        """
        self._do(self._stream.stop)

    def _do(self, function: Callable[[], None]) -> None:
        if on_event_loop() and not self._stream.is_instant:
            self._stream.later(function)
        else:
            function()

    def _dropping_is_a_mistake(self) -> bool:
        return not self._is_dropped_at_will and (self._async or self._stream.started)

    # --- by callback -------------------------------------------------------------

    @property
    def callback(self) -> Callable[[bytes], object] | None:
        """Called by :meth:`poll`, in its thread, with the ``bytes`` of one buffer.

        That is exactly ``buffersize`` frames; only the last one of a file may be shorter.
        """
        return self._callback

    @callback.setter
    def callback(self, callback: Callable[[bytes], object] | None) -> None:
        if callback is not None:
            check_callable(callback, "callback", "of one argument, the bytes of a buffer")
        self._callback = callback

    def poll(self) -> bool:
        """Hand everything queued, one buffer at a time, to :attr:`callback`, in this thread.

        Never blocks.  Without a callback the queue is left alone.  An exception of the
        callback leaves it; the buffers after that one stay queued.  After :meth:`close`, in the
        callback or in another thread, it calls no more.

        Returns
        -------
        bool
            True if anything was dispatched.

        Raises
        ------
        StreamClosedError, DeviceError
            If the input is closed; if its device is gone and nothing is queued.
        """
        self._stream.check_not_closed()
        if self._callback is None:
            return False
        size = self.buffersize * self._stream.format.frame_bytes
        dispatched = False
        # What comes in meanwhile is the next poll's, or a slow callback would keep us here.
        for _ in range(self._stream.buffers_queued()):
            callback = self._callback
            if callback is None:
                break
            try:
                data = self._stream.take_bytes(size)
            except EndOfStream:
                break
            if data is None:
                break
            if not self._stream.hand_out(data, callback):
                break
            dispatched = True
        if not dispatched and self._stream.is_open:
            self._stream.check()
        return dispatched

    # --- by await ----------------------------------------------------------------

    async def _next(self, take: Callable[[Any], Any], what: Any, count: int) -> Any:
        """Wait until ``take(what)`` has something, for which `count` bytes must be queued.

        Either way gives the event loop its turn once, and takes nothing before: asyncio's own
        cancellation comes through shields, and what was taken then would be lost.
        """
        stream = self._stream
        self._begin_reading()
        try:
            wakeup = self._here()
            there = stream.arm(count)
            if there:
                await anyio.lowlevel.checkpoint()
            while True:
                if not there:
                    stream.check()
                    await wakeup.wait_any()
                stream.check_not_closed()
                taken = take(what)
                if taken is not None:
                    return taken
                there = stream.arm(count)
        finally:
            self._reading.release()

    def _begin_reading(self) -> None:
        """Be the one reader, until the lock is given back."""
        if not self._reading.acquire(blocking=False):
            raise BusyError("reading from this input")
        try:
            self._stream.check_not_closed()
            if not self._stream.is_open:
                self._stream.check()
        except BaseException:
            self._reading.release()
            raise

    def _here(self) -> AsyncWakeup:
        wakeup = self._wakeup
        if wakeup is None or wakeup.loop is not running_loop():
            if wakeup is not None and not wakeup.dead:
                raise AudioException(
                    "this input belongs to another event loop, the first that read it; open "
                    "one in each loop"
                )
            wakeup = self._wakeup = self._wakeups.here()
        if self._stream.wakeup is not wakeup.wakeup:  # a thread may have read in between
            self._stream.set_wakeup(wakeup.wakeup)
        return wakeup

    async def read(self, frames: int) -> bytes:
        """Wait for `frames` frames.

        Returns
        -------
        bytes
            In the input's encoding; fewer frames only at the end of the source.

        Raises
        ------
        FormatError
            If `frames` is less than 1 or more than the queue holds.
        EndOfStream
            If the source has ended.
        BusyError
            If another task is reading.
        StreamClosedError, DeviceError
            If the input is closed or its device gone.
        """
        frames = self._stream.check_frames(frames)
        count = frames * self._stream.format.frame_bytes
        data: bytes = await self._next(self._stream.take_bytes, count, count)
        return data

    async def readinto(self, array: np.ndarray) -> int:
        """Wait until an array is filled.

        Parameters
        ----------
        array : ndarray (frames, channels), or (frames,) of a mono input
            C-contiguous, writable, of the encoding's dtype (int8, int16, float32).

        Returns
        -------
        int
            Frames that were filled in; fewer only at the end of the source.

        Raises
        ------
        FormatError
            If the array does not fit.
        EndOfStream, BusyError, StreamClosedError, DeviceError
            As :meth:`read`.
        """
        format = self._stream.format
        shape_fits = isinstance(array, np.ndarray) and (
            (array.ndim == 2 and array.shape[1] == format.channels)
            or (array.ndim == 1 and format.channels == 1)
        )
        if not shape_fits or array.dtype != np.dtype(format.dtype):
            raise FormatError(
                f"readinto needs an array of {np.dtype(format.dtype)} with shape "
                f"(frames, {format.channels}); try numpy.empty((frames, {format.channels}), "
                f"numpy.{np.dtype(format.dtype)})"
            )
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise FormatError("readinto needs a writable, C-contiguous array; try .copy()")
        self._stream.check_frames(len(array))
        filled = await self._next(self._stream.take_into, array, array.nbytes)
        return int(filled)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """anyio's way to read: at most `max_bytes` bytes of a buffer; it may split one.

        Raises
        ------
        EndOfStream, BusyError, StreamClosedError, DeviceError
            As :meth:`read`.
        """
        max_bytes = check_integer(max_bytes, "max_bytes", "bytes", least=1, hint="65536")
        self._stream.check_not_closed()
        count = min(max_bytes, self.buffersize * self._stream.format.frame_bytes)
        data: bytes = await self._next(self._stream.take_bytes, count, count)
        return data

    def __aiter__(self) -> AudioInput:
        return self

    async def __anext__(self) -> bytes:
        self._open_monitor()
        try:
            return await self.read(self.buffersize)
        except EndOfStream:
            await self._aclose_monitor()
            raise StopAsyncIteration from None

    def _open_monitor(self) -> None:
        """Open a monitor that is iterated over: there is no hardware to be given back."""
        if isinstance(self.source, Monitor) and not self._stream.is_open:
            self._is_dropped_at_will = True
            self.open_blocking()

    def _close_monitor(self) -> None:
        if self._is_dropped_at_will:
            self.close()

    async def _aclose_monitor(self) -> None:
        if self._is_dropped_at_will:
            await self.aclose()

    # --- by a thread that waits --------------------------------------------------

    def _next_blocking(
        self, take: Callable[[Any], Any], what: Any, count: int, timeout: float | None
    ) -> Any:
        """:meth:`_next`, in a thread that waits."""
        if on_event_loop():
            raise AudioException(
                "a blocking read would stop this event loop; use `async for`, or await read()"
            )
        end = None if timeout is None else time.monotonic() + timeout
        stream = self._stream
        self._begin_reading()
        try:
            if self._own_wakeup is None:
                self._own_wakeup = stream.wakeups.add()
            wakeup = self._own_wakeup
            stream.set_wakeup(wakeup)
            while True:
                wakeup.clear()
                taken = take(what)
                if taken is not None:
                    return taken
                stream.check()
                if not stream.started:
                    raise AudioException(
                        "this input is not started, and nothing is queued; call its start() "
                        "first, or use `with`"
                    )
                left = None if end is None else max(end - time.monotonic(), 0.0)
                if not (stream.arm(count) or wakeup.wait(left)):
                    raise AudioTimeoutError(
                        f"what was to be read did not come within timeout={timeout:g} seconds; "
                        "nothing is lost: read again, or with a longer timeout"
                    )
        finally:
            rest_at_exit()
            self._reading.release()

    def read_blocking(self, frames: int, timeout: float | None = None) -> bytes:
        """Wait for `frames` frames in this thread: :meth:`read` for blocking code.

        It waits without the interpreter lock, and Ctrl-C ends it; nothing is lost then.

        Parameters
        ----------
        frames : int
        timeout : float, optional
            Seconds, up to a day; None waits without a limit.

        Returns
        -------
        bytes
            In the input's encoding; fewer frames only at the end of the source.

        Raises
        ------
        AudioTimeoutError
            If they do not come within `timeout`.
        AudioException
            On an event loop; or if the input is not started.
        FormatError, EndOfStream, BusyError, StreamClosedError, DeviceError
            As :meth:`read`.
        """
        timeout = check_timeout(timeout)
        count = self._stream.check_frames(frames) * self._stream.format.frame_bytes
        data: bytes = self._next_blocking(self._stream.take_bytes, count, count, timeout)
        return data

    def __iter__(self) -> AudioInput:
        return self

    def __next__(self) -> bytes:
        self._open_monitor()
        try:
            return self.read_blocking(self.buffersize)
        except EndOfStream:
            self._close_monitor()
            raise StopIteration from None

    def blocks(self, frames: int | None = None, dtype: Any = "float32") -> Blocks:
        """Iterate over arrays, by ``async for`` or by ``for``.

        Parameters
        ----------
        frames : int, optional
            Of each array; those of a buffer if not given.
        dtype : str or dtype
            "float32" or "float64" (full scale 1.0), "int16" or "int8".  Open the input with
            ``encoding=32`` for more than 16 bits.

        Returns
        -------
        Blocks
            Of ndarray (frames, channels), each a new one; only the last one of a source that
            ends may be shorter.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        """
        return Blocks(self, frames, dtype)

    # --- what it is --------------------------------------------------------------

    @property
    def source(self) -> str | int | Device:
        """The source, as asked for."""
        return self._stream.device

    @property
    def buffersize(self) -> int:
        """Frames of one buffer: as asked for, or the size in use."""
        return self._stream.buffersize

    @property
    def chunk_time(self) -> float:
        """When the first frame of the chunk that was read last reached the microphone.

        Seconds on the device's clock, :attr:`time`; an output of the same host API, or another
        virtual one, has the same clock.
        """
        return self._stream.chunk_time()

    @property
    def dropped(self) -> int:
        """Frames lost so far because they were not read in time; live."""
        return self._stream.dropped


def get_input(
    callback: Callable[[bytes], object] | None = None,
    source: str | int | Device = "default",
    rate: int = 44100,
    channels: int = 1,
    encoding: int = 16,
    buffersize: int = -1,
    *,
    queue: float = 4.0,
    effects: Iterable[Unit] = (),
) -> AudioInput:
    """Make an input for ``async with`` (or ``await input.open()``), which starts it.

    See :class:`AudioInput` for the arguments.
    """
    return AudioInput(
        callback, source, rate, channels, encoding, buffersize, queue=queue, effects=effects
    )
