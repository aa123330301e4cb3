"""What outputs and inputs are for users alike; event loop or caller thread, as each says."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.to_thread

from audiostream.aio.sealed import Sealed
from audiostream.aio.wakeup import on_event_loop, setter
from audiostream.checks import check_flag, check_number
from audiostream.engine.effects import Effects
from audiostream.engine.meter import Level
from audiostream.engine.stats import Stats
from audiostream.engine.stream import Stream
from audiostream.engine.stream_clock import LONGEST
from audiostream.engine.watchdog import WATCHDOG, in_background
from audiostream.kernels.unit import Unit

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("AudioStream",)

S = TypeVar("S", bound=Stream)


def _may_wait() -> bool:
    """False where the caller runs an event loop."""
    return not on_event_loop()


class AudioStream(Sealed, Generic[S]):
    """A device's stream from open to closed, and what it tells about itself."""

    def __init__(self, stream: S) -> None:
        self._stream = stream
        stream.may_wait = _may_wait
        self._async = False
        self._closing: Future[None] | None = None

    # --- effects -----------------------------------------------------------------

    @property
    def effects(self) -> Effects:
        """The effects that all of it goes through: an output's mix, an input's chunks.

        They run at :attr:`device_rate` with :attr:`device_channels`, an input's before the
        conversion to its own.  A list; a change never clicks.  Any thread.
        """
        return self._stream.effects

    @effects.setter
    def effects(self, effects: Iterable[Unit]) -> None:
        self._stream.effects[:] = effects

    # --- from open to closed -----------------------------------------------------

    def open_blocking(self, *, start: bool = True) -> Self:
        """Open the device, and start it; blocks, seconds where kernels must be compiled.

        Raises
        ------
        NoDeviceError, DeviceError
            If there is no such device or it cannot be opened.
        """
        start = check_flag(start, "start")
        try:
            self._stream.open()
            if start:
                self._stream.start()
        except BaseException:
            self._stream.close()
            raise
        return self

    async def open(self) -> Self:
        """Open the device and start it, without blocking the event loop.

        Cancelled, it closes what it has opened by then; make another one to try again.

        Raises
        ------
        NoDeviceError, DeviceError
            If there is no such device or it cannot be opened.
        """
        self._async = True
        try:
            await anyio.to_thread.run_sync(self.open_blocking)
        except BaseException:
            # asyncio's own cancellation does not wait for the thread: it closes what it opens.
            self._begin_to_close()
            raise
        return self

    def close(self) -> None:
        """Stop and close, an output with a fade of 5 ms; twice is harmless.

        Blocks for a bounded time.  What is queued is dropped, and all who wait are told.

        Raises
        ------
        DeviceError
            If the device could not complete its work (a file on a full disk).
        """
        self._stream.close()

    def aclose(self) -> Coroutine[Any, Any, None]:
        """:meth:`close` without blocking the event loop; ``drain`` samples first to finish.

        The call begins to close, and what it returns waits for the end of that, as another
        call's does meanwhile.  So it closes even if the task that was to wait is cancelled
        before its first step.
        """
        return self._wait(self._begin_to_close())

    def _begin_to_close(self) -> Future[None]:
        if self._closing is not None and not self._closing.done():
            return self._closing
        closing: Future[None] = Future()
        self._closing = closing

        def close() -> None:  # holds on to self, which is not dropped without being closed
            try:
                closing.set_result(self._stream.close())
            except BaseException as error:
                closing.set_exception(error)

        in_background(close, "close")
        return closing

    async def _in_worker(self, function: Callable[..., None], *args: Any) -> None:
        """Run a function in a worker thread; for the instances of kernels."""
        await anyio.to_thread.run_sync(function, *args)

    async def _wait(self, closing: Future[None]) -> None:
        closed = anyio.Event()
        set_event = setter(closed)
        closing.add_done_callback(lambda _: set_event())
        with anyio.CancelScope(shield=True):  # not from asyncio's own cancellation
            await closed.wait()
        closing.result()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.is_excused = exc_type is not None or self.is_closed
        await self.aclose()
        self._stream.warn_if_cut()

    def __enter__(self) -> Self:
        return self.open_blocking()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.is_excused = exc_type is not None or self.is_closed
        self.close()
        self._stream.warn_if_cut()

    def _dropping_is_a_mistake(self) -> bool:
        """True if the stream ought to have been closed by hand."""
        return self._async

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None and stream.is_open and not stream.is_closed:
            if self._dropping_is_a_mistake():
                warnings.warn(
                    f"{self!r} was dropped without being closed; close() it, or use `with` or "
                    "`async with`",
                    ResourceWarning,
                    source=self,
                    stacklevel=2,
                )
            WATCHDOG.let_go_soon(stream)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open" if self._stream.is_open else "new"
        return (
            f"<{type(self).__name__} {self._stream.device!r}, {self._stream.format}, {state}>"
        )

    # --- what it is --------------------------------------------------------------

    @property
    def engine(self) -> S:
        """The engine's side of this stream, for those who build on it."""
        return self._stream

    @property
    def is_closed(self) -> bool:
        """True once it is closed."""
        return self._stream.is_closed

    @property
    def rate(self) -> int:
        """Frames per second (Hz), as asked for."""
        return self._stream.format.rate

    @property
    def channels(self) -> int:
        """Channels, as asked for."""
        return self._stream.format.channels

    @property
    def encoding(self) -> int:
        """8, 16 or 32, as asked for."""
        return self._stream.encoding

    @property
    def device_rate(self) -> int:
        """The rate (Hz) that the device runs at; the stream converts."""
        return self._stream.parameters.rate if self._stream.is_open else self.rate

    @property
    def device_channels(self) -> int:
        """The channels that the device runs with; the stream converts."""
        return self._stream.parameters.channels if self._stream.is_open else self.channels

    @property
    def time(self) -> float:
        """Seconds on the device's clock: the one of ``at=``; smooth, never goes back."""
        return self._stream.clock.now()

    def to_monotonic(self, time: float) -> float:
        """A time on the device's clock as one of ``time.monotonic()``, for logs and video.

        Once it is closed, as it was then.

        Raises
        ------
        FormatError
            If `time` is no number.
        """
        return self._stream.clock.to_monotonic(check_time(time))

    def from_monotonic(self, time: float) -> float:
        """A time of ``time.monotonic()`` on the device's clock, for ``at=``.

        Raises
        ------
        FormatError
            If `time` is no number.
        """
        return self._stream.clock.from_monotonic(check_time(time))

    @property
    def latency(self) -> float:
        """Seconds between a callback and the air, as the device declares."""
        stream = self._stream
        if not stream.is_open:
            return 0.0
        return stream.parameters.latency + stream.effects.latency() / stream.parameters.rate

    def level(self, seconds: float = 0.1) -> Level:
        """How loud an output's mix was, or what an input has heard; any thread.

        Of an output's samples before they are limited to full scale: a peak above 1.0 is one
        that was clipped.

        Parameters
        ----------
        seconds : float
            Of what was heard last (from the speaker), or captured last, up to 1.0; the peak
            and the RMS are those of that stretch.

        Raises
        ------
        FormatError
            If `seconds` is out of bounds.
        """
        return self._stream.level(seconds) if self._stream.is_open else Level(0.0, 0.0)

    @property
    def stats(self) -> Stats:
        """Counters since it was opened."""
        return self._stream.stats()


def check_time(time: Any) -> float:
    """A time in seconds.

    Raises
    ------
    FormatError
        If it is no number.
    """
    return check_number(time, "time", -LONGEST, LONGEST, "in seconds, try stream.time")
