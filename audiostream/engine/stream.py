"""What outputs and inputs have in common: a device, shared memory, wake-ups; any thread."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.device.names import check_name, find
from audiostream.engine.chain import Chain, StreamHolder
from audiostream.engine.effects import Effects
from audiostream.engine.heartbeat import Heartbeat
from audiostream.engine.memory import field_offsets, records
from audiostream.engine.meter import WINDOW, Level, Meter
from audiostream.engine.stats import Stats
from audiostream.engine.stream_clock import StreamClock
from audiostream.engine.strip import Strip
from audiostream.engine.wakeup import Wakeups
from audiostream.engine.watchdog import WATCHDOG, close_later, in_background
from audiostream.errors import AudioException, DeviceError, StreamClosedError
from audiostream.forks import LOCKS
from audiostream.pcm import Format, check_buffersize, check_encoding
from audiostream.realtime.memory.layout import NEVER, STREAM

if TYPE_CHECKING:
    from audiostream.realtime.compile.kernels import Kernels

__all__ = ("Stream", "load_kernels", "until")

OFFSETS = field_offsets(STREAM)

SILENCE_LIMIT = 0.5
"""Seconds without a callback after which a device counts as stalled, at least."""


def load_kernels() -> Kernels:
    """Compile or load the kernels; blocks for up to some seconds the first time.

    Raises
    ------
    DeviceError
        On Windows.
    """
    if sys.platform == "win32":
        raise DeviceError(
            "audiostream does not run on Windows yet: its wake-ups and its clocks are not "
            "written there; try WSL, Linux or macOS"
        )
    from audiostream.realtime.compile.kernels import kernels

    return kernels()


class Stream:
    """An audio device's stream and what the audio thread shares with everybody else.

    Parameters
    ----------
    format : Format
        What the user asks for, and gets.
    buffersize : int
        Frames of a period, 0 for the device's choice.
    device : str, int or Device
    closed_error : type
        Raised when a closed stream is used.
    """

    direction: Any

    def __init__(
        self,
        format: Format,
        buffersize: int,
        device: str | int | Device,
        closed_error: type[StreamClosedError] = StreamClosedError,
    ) -> None:
        self.format = format
        self.encoding = check_encoding(format.encoding)
        self.buffersize = check_buffersize(buffersize)
        self.device = check_name(device, "device" if self.direction == "output" else "source")
        self.closed_error = closed_error
        self.lock = threading.RLock()
        # One start, stop or close at a time; they may take long, so `lock` is not held.
        self._control = threading.RLock()
        self.is_open = False
        self.is_closed = False
        self.clock = StreamClock()
        self.may_wait: Callable[[], bool] = lambda: True  # False: on an event loop
        this: Stream = weakref.proxy(self)  # else it would hold itself
        self.effects = Effects((), lambda: this.may_wait(), lambda: this._find_chain())
        self.is_instant = True  # starting and stopping take no time: no hardware, no thread
        self.failure: AudioException | None = None
        self.orphaned: AudioException | None = None
        self.is_excused = False  # left by an exception: that it was not used up is no mistake
        self._started = False
        self._device_stream: DeviceStream | None = None
        self.wakeups = Wakeups(self)
        self._heartbeat = Heartbeat()
        self._keep: list[Any] = []
        self._queue: deque[Callable[[], None]] = deque()
        self._queue_lock = threading.Lock()
        LOCKS.add(
            self,
            lock=threading.RLock,
            _control=threading.RLock,
            _queue_lock=threading.Lock,
        )

    # --- from open to closed -----------------------------------------------------

    def open(self) -> None:
        """Compile the kernels, open the device, allocate.  Blocks.

        Raises
        ------
        NoDeviceError, DeviceError
            If there is no such device or it cannot be opened.
        StreamClosedError
            If the stream was closed before.
        """
        with self.lock:
            self.check_not_closed()
            if self.is_open:
                return
            self.kernels = load_kernels()
            device = find(self.device, self.direction)
            self.record = records(STREAM, 1)
            self.address = int(self.record.ctypes.data)
            request = Request(
                self.direction,
                self.format.rate,
                self.format.channels,
                self.encoding,
                self.buffersize,
            )
            callback = Callback(self._entry(), self.address, self.record)
            stream = device.open(request, callback)
            self._device_stream = stream
            self.is_instant = not stream.realtime
            self.parameters: Parameters = stream.parameters
            self._allocate()
            self.clock.open(self.kernels, stream, self.record)
            self.is_open = True
            WATCHDOG.add(self)
        self.effects.begin()

    def _find_chain(self) -> Chain | None:
        """What runs its effects; None while it is not open."""
        is_live = self.is_open and not self.is_closed
        return Chain(StreamHolder(self), self.direction) if is_live else None

    def when(self, at: float) -> tuple[float, float]:
        """See :meth:`StreamClock.when`."""
        return self.clock.when(at)

    def main_strip(self) -> Strip:
        """The strip that all goes through, for its effects; made when first asked for."""
        raise NotImplementedError

    def _entry(self) -> int:
        """Address of the compiled callback."""
        raise NotImplementedError

    def _allocate(self) -> None:
        record = self.record[0]
        p = self.parameters
        record["address"] = self.address
        record["rate"] = p.rate
        record["channels"] = p.channels
        record["encoding"] = p.encoding
        record["latency"] = p.latency
        record["max_block"] = self.max_block = min(max(p.buffersize, 16), 1024)
        record["wake_commit"] = NEVER
        record["wakeup"] = -1
        self.wakeups.allocate(self._slot_count())
        self.meter = self.new_meter()
        record["meter"], record["meter_mask"] = self.meter.address, self.meter.mask

    def new_meter(self) -> Meter:
        """A meter for sound that is measured in the block in which it is played or captured."""
        p = self.parameters
        return Meter(math.ceil((p.latency + 1.5 * WINDOW) * p.rate) + 2 * p.buffersize)

    def _slot_count(self) -> int:
        """Slots whose holders may have a wake-up of their own."""
        return 0

    def start(self) -> None:
        """Start the device.  Idempotent; blocks for a bounded time."""
        with self._control:
            with self.lock:
                self.check()
                if self._started:
                    return
                self._started = True
                self._heartbeat.begin(self.word("callbacks"))
                self.clock.begin()
            try:
                self._stream().start()
            except BaseException:
                self._started = False
                self.clock.pause()
                raise

    def stop(self) -> None:
        """Stop the device.  Idempotent, also before a start; blocks for a bounded time.

        Never raises because the device is gone.
        """
        with self._control:
            with self.lock:
                if not self._started or self._device_stream is None or self.is_closed:
                    return
                self._started = False
                self.clock.pause()
            try:
                self._device_stream.stop()
            except DeviceError as error:
                # It is gone, and so it has stopped.  Who reads or starts again is told.
                self.fail(str(error))

    def close(self) -> None:
        """Stop and give everything back; twice is harmless.  Blocks for a bounded time.

        Raises
        ------
        DeviceError
            If the device could not complete its work (a full disk); it is closed all
            the same.
        """
        with self.lock:
            if self.is_closed:
                return
            if self.is_open and self.failure is None:
                self.clock.end()
            else:
                self.clock.abandon()
            self.is_closed = True
        gone = True
        try:
            if self._device_stream is not None:
                with self._control:
                    gone = self._device_stream.close()
        finally:
            self.wake_all()
            if self._device_stream is not None:
                WATCHDOG.remove(self, keep=not gone)
            self._closed(gone)
            if self._device_stream is not None and not gone:
                self._device_stream.when_closed(self._closed_after_all)

    def _closed_after_all(self) -> None:
        """An abandoned device has closed: nothing that it touched is in use any more."""
        self.wakeups.forget()  # what users may still read stays
        WATCHDOG.forget(self)

    def warn_if_cut(self) -> None:
        """Say what its close has cut that was to be heard; for one whose block was left."""

    def _closed(self, gone: bool) -> None:
        """Settle what is left once the device is closed; `gone`: no callback runs again."""
        self.effects.unbind(free=gone)
        self.wakeups.finish(gone=gone)

    def later(self, function: Callable[[], None]) -> None:
        """Have something that blocks done in the background, one after the other."""
        with self._queue_lock:
            self._queue.append(function)
            if len(self._queue) == 1:
                in_background(self._work, "start and stop")

    def _work(self) -> None:
        while True:
            try:
                self._queue[0]()
            except AudioException as error:
                if not self.is_closed:
                    self.fail(str(error))
            with self._queue_lock:
                self._queue.popleft()
                if not self._queue:
                    return

    def let_go(self) -> None:
        """It was dropped: close it, in the background."""
        close_later(self)

    def orphan(self) -> None:
        """In a forked child: this stream is the parent's, and never touched again."""
        self.is_closed = True
        self.clock.abandon()
        self.orphaned = self.closed_error(
            "this stream was opened before fork() and belongs to the parent process; "
            "open another one here"
        )

    # --- is it alive? ------------------------------------------------------------

    def check_not_closed(self) -> None:
        """Raise the closed error if the stream is closed."""
        if self.is_closed:
            raise self.orphaned or self.closed_error(
                f"this {self.direction} is closed; open another one"
            )

    def check(self) -> None:
        """Raise if the stream is closed, not open yet, or its device is gone."""
        if self.is_closed or not self.is_open or self.failure is not None:
            self.check_not_closed()
            raise self.failure or self.closed_error(
                f"this {self.direction} is not open yet; use it in `async with`, "
                "or `await` its open() first"
            )
        # Devices in real time are asked by the watchdog: each question to PortAudio gives up
        # the interpreter lock, which a busy thread then keeps for 5 ms.
        if self.is_instant and self._started and not self._stream().alive():
            raise self.fail("the device ended the stream by itself")

    def check_alive(self) -> None:
        """Raise if its device is gone; that it was closed is no error here.

        For who waits for something that a close brings about, too.
        """
        if self.orphaned is not None:
            raise self.orphaned
        with contextlib.suppress(StreamClosedError):
            self.check()

    def fail(self, why: str) -> AudioException:
        """Note that the device is gone, and wake all who wait; the error."""
        failure = DeviceError(f"{why}; close this {self.direction} and open another one")
        self.failure = failure
        self.wake_all()
        return failure

    def look_for_life(self) -> None:
        """Look at the heartbeat; called now and then by the watchdog.

        Stalled is a device whose callbacks do not move for max(0.5 s, ten periods and
        the latency).  It may come back by itself, and is then well again.
        """
        if not self._started or self.is_closed:
            return
        self.effects.sweep()
        if not self._stream().alive():
            if self.failure is None:
                self.fail(
                    "the device ended the stream by itself (unplugged, or its server died)"
                )
            return
        if not self._stream().realtime:
            return
        silence = self._heartbeat.look(self.word("callbacks"))
        period = self.parameters.buffersize / self.parameters.rate
        limit = max(SILENCE_LIMIT, 10 * period + self.parameters.latency)
        if silence is None or self.has_ended():
            self.failure = None
        elif self.failure is None and silence > limit:
            self.fail(f"the device has been silent for {silence:.1f} s")

    def has_ended(self) -> bool:
        """True if no callback is to be expected any more, and that is no fault."""
        return False

    # --- for readers -------------------------------------------------------------

    def _stream(self) -> DeviceStream:
        if self._device_stream is None:
            raise self.closed_error(f"this {self.direction} is not open")
        return self._device_stream

    @property
    def period(self) -> int:
        """Frames of the device's blocks, at its own rate."""
        return self.parameters.buffersize

    @property
    def started(self) -> bool:
        """True between a start and a stop."""
        return self._started

    def word(self, field: str) -> int:
        """A word of the stream's record."""
        return self.kernels.load_word(self.address + OFFSETS[field])

    def device_lives(self) -> bool:
        """False once the device has ended the stream by itself."""
        return self._stream().alive()

    @property
    def is_realtime(self) -> bool:
        """False where time stands still between steps."""
        return self._stream().realtime

    def stats(self) -> Stats:
        """The counters."""
        if not self.is_open:
            return Stats(0, 0, 0, 0, 0, 0, 0.0, 0)
        return Stats(
            self.word("callbacks"),
            self.word("frames"),
            self.word("underruns"),
            self.word("overruns"),
            self.word("starved"),
            self.word("late"),
            self.word("longest") * 1e-9,
            self.word("wakeups"),
        )

    def level(self, seconds: float) -> Level:
        """How loud the last `seconds` were."""
        raise NotImplementedError

    # --- the audio thread --------------------------------------------------------

    def wake_all(self) -> None:
        """Have all who wait look again."""
        self.wakeups.signal_all()

    def quiet(self, limit: float = 0.1) -> bool:
        """Wait until the callback that may be under way is over; False if it is not.

        What was taken from the audio thread's sight before the call can be freed after.
        """
        if not self.is_open or self.is_closed:
            return True
        load = self.kernels.load_word
        entered = load(self.address_of("entered"))
        return until(lambda: load(self.address_of("left")) >= entered, limit)

    def address_of(self, field: str) -> int:
        """Address of a field of the stream's record."""
        return self.address + OFFSETS[field]


def until(condition: Callable[[], bool], limit: float) -> bool:
    """Wait, a fraction of a block at a time, for something that takes about a block."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True
