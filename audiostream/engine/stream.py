"""What outputs and inputs have in common: a device, shared memory, bells; any thread."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.device.names import check_name, find
from audiostream.engine.bell import Bell
from audiostream.engine.lifetime import LIFETIME, close_later, in_background
from audiostream.engine.memory import field_offsets, records, zeros
from audiostream.engine.meter import WINDOW, Level, Meter
from audiostream.errors import AudioException, DeviceError, StreamClosedError
from audiostream.forks import LOCKS
from audiostream.pcm import Format, check_buffersize, check_encoding
from audiostream.realtime.memory.layout import NEVER, STREAM, WAKEUP

if TYPE_CHECKING:
    from audiostream.realtime.compile.kernels import Kernels

__all__ = ("Stats", "Stream", "load_kernels", "until")

OFFSETS = field_offsets(STREAM)

LOOP_BELLS = 64
"""Event loops that one stream can serve at a time."""

LONGEST = 4e9
"""Seconds, either way, that fit into a word of nanoseconds, and so into a clock's times."""

SILENCE_LIMIT = 0.5
"""Seconds without a callback after which a device counts as stalled, at least."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of a stream since it was opened.

    Attributes
    ----------
    callbacks : int
        Blocks that the device has asked for or delivered.
    frames : int
        Frames in them, at the device's rate.
    underruns : int
        Times the device said that output came too late.
    overruns : int
        Times the device said that input was lost.
    starved : int
        Frames of silence that voices were short of, all voices together.
    late : int
        Callbacks that came later than the last block and the latency could cover.
    longest : float
        Seconds that the longest callback took.
    wakeups : int
        Bells rung from the audio thread.
    """

    callbacks: int
    frames: int
    underruns: int
    overruns: int
    starved: int
    late: int
    longest: float
    wakeups: int


def load_kernels() -> Kernels:
    """Compile or load the kernels; blocks for up to some seconds the first time.

    Raises
    ------
    DeviceError
        On Windows.
    """
    if sys.platform == "win32":
        raise DeviceError(
            "audiostream does not run on Windows yet: its doorbell and its clocks are not "
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
        self.epoch = 0.0  # what the callback's times are ahead of now()
        self._latest = 0.0  # time that was told, of a smooth clock
        self._offset = 0.0  # what the monotonic clock was ahead of the device's at the end
        self.is_instant = True  # starting and stopping take no time: no hardware, no thread
        self.failure: AudioException | None = None
        self.orphaned: AudioException | None = None
        self.is_excused = False  # left by an exception: that it was not used up is no mistake
        self._started = False
        self._device_stream: DeviceStream | None = None
        self._bells: dict[int, Bell] = {}
        self._watched = (0, 0.0, 0)
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
            self.epoch = stream.epoch
            self.parameters: Parameters = stream.parameters
            self._allocate()
            self.is_open = True
            LIFETIME.add(self)

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
        record["max_block"] = self.slice = min(max(p.buffersize, 16), 1024)
        record["wake_commit"] = NEVER
        record["wakeup"] = -1
        count = self._bell_count()
        self._bell_table = records(WAKEUP, count)
        self._bell_table["fd"] = -1
        noted = zeros(count, np.int64)
        one = zeros(1, np.int64) + 1
        record["wakeup_table"] = self._bell_table.ctypes.data
        record["noted"] = noted.ctypes.data
        record["one"] = one.ctypes.data
        self.meter = self.new_meter()
        record["meter"], record["meter_mask"] = self.meter.address, self.meter.mask
        self._keep += [noted, one]

    def new_meter(self) -> Meter:
        """A meter for sound that is measured in the block in which it is played or captured."""
        p = self.parameters
        return Meter(math.ceil((p.latency + 1.5 * WINDOW) * p.rate) + 2 * p.buffersize)

    def _bell_count(self) -> int:
        return LOOP_BELLS

    def start(self) -> None:
        """Start the device.  Idempotent; blocks for a bounded time."""
        with self._control:
            with self.lock:
                self.check()
                if self._started:
                    return
                self._started = True
                self._watched = (self.word("callbacks"), time.monotonic(), 0)
                self._begin_clock()
            try:
                self._stream().start()
            except BaseException:
                self._started = False
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
                self._end_clock()
            self.is_closed = True
        gone = True
        try:
            if self._device_stream is not None:
                with self._control:
                    gone = self._device_stream.close()
        finally:
            self.wake_all()
            if self._device_stream is not None:
                LIFETIME.remove(self, keep=not gone)
            self._closed(gone)
            if self._device_stream is not None and not gone:
                self._device_stream.when_closed(self._closed_after_all)

    def _closed_after_all(self) -> None:
        """An abandoned device has closed: nothing that it touched is in use any more."""
        with self.lock:
            for kept in self._keep:
                if isinstance(kept, Bell):
                    kept.may_close = True
            # What users may still read stays; a bell is closed with its last reference.
            self._keep = [kept for kept in self._keep if not isinstance(kept, Bell)]
        LIFETIME.forget(self)

    def warn_if_cut(self) -> None:
        """Say what its close has cut that was to be heard; for one whose block was left."""

    def _closed(self, gone: bool) -> None:
        """Settle what is left once the device is closed; `gone`: no callback runs again."""
        with self.lock:
            for bell in self._bells.values():
                bell.finish(gone=gone)
            if not gone:
                self._keep += self._bells.values()
            self._bells.clear()

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
        # Devices in real time are asked by the watch: each question to PortAudio gives up
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
        """Note that the device is gone, and wake everybody to be told; the error."""
        failure = DeviceError(f"{why}; close this {self.direction} and open another one")
        self.failure = failure
        self.wake_all()
        return failure

    def look_for_life(self) -> None:
        """Look at the heartbeat; called now and then by the watch.

        Stalled is a device whose callbacks do not move for max(0.5 s, ten periods and
        the latency) over several looks, so that a machine that slept is not taken for
        a dead device.  It may come back by itself, and is then well again.
        """
        if not self._started or self.is_closed:
            return
        if not self._stream().alive():
            if self.failure is None:
                self.fail(
                    "the device ended the stream by itself (unplugged, or its server died)"
                )
            return
        if not self._stream().realtime:
            return
        callbacks = self.word("callbacks")
        before, since, looks = self._watched
        if callbacks != before or self.has_ended():
            self._watched = (callbacks, time.monotonic(), 0)
            self.failure = None
            return
        self._watched = (before, since, looks + 1)
        period = self.parameters.buffersize / self.parameters.rate
        limit = max(SILENCE_LIMIT, 10 * period + self.parameters.latency)
        if self.failure is None and looks >= 2 and time.monotonic() - since > limit:
            self.fail(f"the device has been silent for {time.monotonic() - since:.1f} s")

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

    def _begin_clock(self) -> None:
        """Forget what the callbacks before this start have said of the time."""
        record = self.record[0]
        record["started"] = 0  # the pause before is not a late callback
        record["clock_blocks"] = 0  # but until one comes, frames were heard when they were
        record["host_blocks"] = record["host_version"] = 0
        if not self._stream().smooth:
            record["host_ahead"] = self._stream().time() + self.epoch - time.monotonic()
            # No callback is to say an earlier one, from a host's clock that begins anew.
            record["time"] = max(record["time"], record["latest"] * 1e-9)

    def _end_clock(self) -> None:
        """Have the time stand from now on, and what it is to the monotonic clock."""
        if self._stream().smooth:
            self._offset = self.monotonic_offset()
        else:
            self._offset = time.monotonic() - self.now()

    def now(self) -> float:
        """Seconds on the device's clock; where it stood once it is closed.  Never goes back.

        Where that is not smooth as it is, it is what the callbacks say of it, smoothed and
        moved on by the monotonic clock; the host is asked only while none have come.
        """
        if not self.is_open:
            return 0.0
        if not self._stream().smooth:
            return self.kernels.latest_time(self.address, self._host_ns()) * 1e-9 - self.epoch
        latest = self._latest
        if not self.is_closed:
            # What another thread may put there meanwhile is not looked at again.
            self._latest = latest = max(latest, self._stream().time())
        return latest

    def _host_ns(self) -> int:
        """Nanoseconds on the callbacks' clock, as far as is known; 0 once it is closed."""
        if self.is_closed:
            return 0
        if self._started:
            found = self.kernels.time_at(self.address, time.monotonic_ns())
            if found != -NEVER:
                return found
        return int(1e9 * (self._stream().time() + self.epoch + self.record[0]["shift"]))

    def to_monotonic(self, when: float) -> float:
        """A time on the device's clock as one of ``time.monotonic()``."""
        if self._converts(when):
            found = self.kernels.monotonic_at(self.address, int(1e9 * (when + self.epoch)))
            if found != -NEVER:
                return found * 1e-9
        return when + self.monotonic_offset()

    def from_monotonic(self, when: float) -> float:
        """A time of ``time.monotonic()`` on the device's clock."""
        if self._converts(when):
            found = self.kernels.time_at(self.address, int(1e9 * when))
            if found != -NEVER:
                return found * 1e-9 - self.epoch
        return when - self.monotonic_offset()

    def _converts(self, when: float) -> bool:
        """True if the callbacks tell how the two clocks are related; not of endless times."""
        told = self._started or self.is_closed
        return told and self.is_open and not self._stream().smooth and abs(when) < LONGEST

    def device_lives(self) -> bool:
        """False once the device has ended the stream by itself."""
        return self._stream().alive()

    @property
    def is_realtime(self) -> bool:
        """False where time stands still between steps."""
        return self._stream().realtime

    def monotonic_offset(self) -> float:
        """What ``time.monotonic()`` is ahead of the device's clock (seconds); closed: was."""
        if self.is_closed:
            return self._offset
        # Between two looks at the one clock is the other; the closest of three is taken.
        looks = []
        for _ in range(3):
            before = time.monotonic()
            device = self.now()
            after = time.monotonic()
            looks.append((after - before, (before + after) / 2 - device))
        return min(looks)[1]

    def time_of(self, frame: int) -> float:
        """When a frame of the device's is heard, or was captured; see :meth:`now`."""
        when = self.kernels.heard_at(self.address, frame)
        return self.now() if when < 0 else when * 1e-9 - self.epoch

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

    # --- bells -------------------------------------------------------------------

    def add_bell(self, index: int | None = None) -> Bell:
        """Make a bell that the audio thread can ring.

        Parameters
        ----------
        index : int, optional
            Its place in the table; None takes a free one of the event loops'.

        Raises
        ------
        AudioException
            If more event loops wait on this stream than it can serve, or it is closed.
        """
        with self.lock:
            self.check_not_closed()
            if index is None:
                free = set(range(LOOP_BELLS)) - self._bells.keys()
                if not free:
                    raise AudioException(
                        f"more than {LOOP_BELLS} event loops wait on one stream; close some"
                    )
                index = min(free)
            bell = Bell(index)
            self._bells[index] = bell
            self._publish_bell(index, bell.write_fd)
            return bell

    def drop_bell(self, bell: Bell) -> None:
        """Take a bell away; its descriptor is closed once the audio thread is past it."""
        with self.lock:
            if self._bells.pop(bell.index, None) is not bell:
                return
            self._publish_bell(bell.index, -1)
            if self.quiet():
                # Closed with its last reference: a thread may be about to listen to it.
                bell.may_close = True
            else:
                self._keep.append(bell)

    def _publish_bell(self, index: int, fd: int) -> None:
        if not self.is_closed:
            self.kernels.store_word(int(self._bell_table[index : index + 1].ctypes.data), fd)

    def wake_all(self) -> None:
        """Have everybody who waits look again."""
        with self.lock:
            for bell in self._bells.values():
                bell.ring_all()

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
