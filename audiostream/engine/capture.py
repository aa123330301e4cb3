"""A capture: an input device's ring and its one reader; any thread, nothing waits."""

from __future__ import annotations

import ctypes
import logging
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from audiostream.checks import check_integer, check_number, shown
from audiostream.device.base import Device
from audiostream.engine.memory import power_of_two, records, ring, zeros
from audiostream.engine.meter import Level, check_window
from audiostream.engine.resampler import resampler
from audiostream.engine.stream import Stream, until
from audiostream.engine.strip import Strip
from audiostream.engine.wakeup import Wakeup
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import EndOfStream, FormatError, StreamClosedError
from audiostream.forks import LOCKS
from audiostream.pcm import Format
from audiostream.realtime.memory.layout import VOICE

__all__ = ("Capture",)

BLOCKS = ("scaled", "spare")
"""Fields of the blocks of float32 (max_block, channels) that effects need."""

ROWS = ("levels", "factors", "sines")
"""Fields of their float32 (max_block,)."""

MAX_QUEUE = 600.0
HANDING = 0.1
"""Seconds that a close waits for a user's function: it may wait for who closes."""

SPARE = 1.25
"""The ring over the queue's limit: room for the writer beyond what a reader copies."""


class Capture(Stream):
    """An input stream with its queue.

    Parameters
    ----------
    buffersize : int
        Frames of one buffer, at the stream's own rate; 0 or less: about 20 ms.
    queue : float
        Seconds of audio that may wait; beyond it the oldest whole buffers are dropped.
    end_error : type
        Raised when a source that has ended is read again.
    """

    direction = "input"

    def __init__(
        self,
        format: Format,
        buffersize: int,
        device: str | int | Device,
        queue: float = 4.0,
        closed_error: type[StreamClosedError] = StreamClosedError,
        end_error: type[EndOfStream] = EndOfStream,
    ) -> None:
        frames = check_integer(buffersize, "buffersize", "frames", hint="1024, or -1")
        super().__init__(format, max(frames, 0), device, closed_error)
        self._width = format.frame_bytes
        queue = check_number(queue, "queue", 1e-6, MAX_QUEUE, "seconds, try 4.0")
        self.end_error = end_error
        self._seconds = queue
        # Not the stream's lock: reading never waits for a device that starts or stops.
        self._reading = threading.RLock()
        LOCKS.add(self, _reading=threading.RLock)
        self._handing: set[tuple[int, object]] = set()  # calls of users' functions, by thread
        self._read = 0  # the device's frame to read next
        self._dropped = 0  # own frames
        self._given = 0  # bytes that were handed out
        self._first = 0  # own frame that the last chunk began with, the dropped ones counted
        self._ready = np.zeros(0, np.float32)  # converted, not handed out yet
        self._rest = b""  # what is left of a frame that was handed out in part
        self._flushed = False
        self._scratch = np.zeros(0, np.uint8)
        self._scratch_address = 0
        self._resampler: Any = None
        self.wakeup: Wakeup | None = None
        self._strip: Strip | None = None  # for its effects
        self._is_metered = False
        self._has_warned = False

    def _entry(self) -> int:
        return self.kernels.capture

    def _allocate(self) -> None:
        super()._allocate()
        p = self.parameters
        if self.buffersize == 0:
            self.buffersize = max(1, round(p.buffersize * self.format.rate / p.rate))
        whole = max(math.ceil(self._seconds * self.format.rate / self.buffersize), 2)
        self._limit = whole * self.buffersize  # own frames
        self._ratio = self.format.rate / p.rate
        device_limit = math.ceil(self._limit / self._ratio)
        capacity = power_of_two(math.ceil(device_limit * SPARE) + 4 * self.max_block)
        memory = zeros(capacity * p.channels, np.float32)
        record = self.record[0]
        record["ring"] = memory.ctypes.data
        record["capacity"] = capacity
        self._keep.append(memory)
        self._middle = min(self.format.channels, p.channels)
        self._plain = self._ratio == 1 and self.format.channels == p.channels
        self._arming = tuple(map(self.address_of, ("wake_commit", "commit", "armed")))
        if self._ratio != 1:
            self._resampler = resampler(self.kernels, p.rate, self.format.rate, self._middle)

    def main_strip(self) -> Strip:
        """The strip of what is captured, for its effects; made when it is first asked for."""
        with self.lock:
            self.check()
            if self._strip is None:
                size = self.max_block * self.parameters.channels
                arrays = {
                    **{name: ring(size, n) for n, name in enumerate(BLOCKS)},
                    **{name: zeros(self.max_block, np.float32) for name in ROWS},
                }
                for name, array in arrays.items():
                    self.record[0][name] = array.ctypes.data
                table = records(VOICE, 1)
                self._keep += [table, *arrays.values()]
                self._strip = Strip(self, table, 0, {}, {})
                self.kernels.store_word(self.address_of("strip"), self._strip.address)
            return self._strip

    def hand_out(self, data: bytes, callback: Callable[[bytes], object]) -> bool:
        """Call a user's function with a buffer, unless the stream is closed; False if it is."""
        call = threading.get_ident(), object()
        self._handing.add(call)  # before the look, so that a close sees one of the two
        try:
            if self.is_closed:
                return False
            callback(data)
            return True
        finally:
            self._handing.discard(call)

    def stop(self) -> None:
        """Stop the device; see :meth:`Stream.stop`.  A thread that reads looks again."""
        super().stop()
        self.wake_all()

    def close(self) -> None:
        """Stop and give everything back; see :meth:`Stream.close`.

        No buffer is handed out once this returns.  One that another thread hands out just now
        is waited for, but no longer than :data:`HANDING`.
        """
        self._warn_if_unread()
        try:
            super().close()
        finally:
            here = threading.get_ident()
            others = {call for call in self._handing.copy() if call[0] != here}
            until(lambda: others.isdisjoint(self._handing), HANDING)

    def _closed(self, gone: bool) -> None:
        with self._reading:
            # Left to a thread that outlives the interpreter, it would be reported as leaked.
            self._resampler = None
        super()._closed(gone)

    def has_ended(self) -> bool:
        return bool(self.word("ended"))

    # --- how much there is -------------------------------------------------------

    def _commit(self) -> int:
        return self.kernels.load_word(self.address_of("commit"))

    def _excess(self, commit: int) -> int:
        """Own frames, whole buffers, that the queue must lose to hold its limit."""
        over = (commit - self._read) * self._ratio - self._limit
        return max(math.ceil(over / self.buffersize), 0) * self.buffersize if over > 0 else 0

    @property
    def dropped(self) -> int:
        """Own frames lost so far because they were not read in time; live."""
        if not self.is_open:
            return 0
        with self._reading:
            return self._dropped + self._excess(self._commit())

    def chunk_time(self) -> float:
        """When the last chunk's first frame was captured; seconds on the stream's clock."""
        if not self.is_open:
            return 0.0
        with self._reading:
            return self.clock.heard(round(self._first / self._ratio))

    def level(self, seconds: float) -> Level:
        """How loud the last `seconds` were that have been captured, read or not."""
        self._is_metered = True
        frames = round(check_window(seconds) * self.parameters.rate)
        last = self._commit()
        peak, power = self.meter.total(last - frames, last, last)
        return Level.of(peak, power, frames * self.parameters.channels)

    # --- never read --------------------------------------------------------------

    def look_for_life(self) -> None:
        if not self.is_instant:  # else what is said does not depend on when this is called
            self._warn_if_unread()
        super().look_for_life()

    def _warn_if_unread(self) -> None:
        """Say once that the queue overflows though it was never read, nor its meter."""
        is_used = self._read or self._given or self.wakeup is not None or self._is_metered
        is_over = not self.is_open or self.is_closed or self.is_excused or WATCHDOG.leaving
        if is_used or is_over or self._has_warned or not self._excess(self._commit()):
            return
        self._has_warned = True
        logging.getLogger("audiostream").warning(
            "the input %r has captured %d frames, and none was polled or read; "
            "give it a callback and call poll(), or use `async for`, read() or readinto()",
            self.device,
            round(self._commit() * self._ratio),
        )

    # --- reading -----------------------------------------------------------------

    def _pull(self, frames: int) -> bool:
        """Convert until `frames` own frames are ready; False if there are not so many."""
        while True:
            missing = frames - len(self._ready) // self.format.channels
            if missing <= 0:
                return True
            ended = self.has_ended()
            commit = self._commit()
            lost = self._excess(commit)
            if lost:
                self._dropped += lost
                self._read += round(lost / self._ratio)
            count = min(commit - self._read, math.ceil(missing / self._ratio))
            if count > 0:
                self._convert(count)
            elif ended and not self._flushed:
                self._flushed = True
                if self._resampler is not None:
                    self._append(np.zeros((0, self._middle), np.float32), last=True)
            else:
                return False

    def _convert(self, count: int) -> None:
        """Take `count` frames out of the ring, at most a block at a time."""
        p = self.parameters
        block = np.empty((count, p.channels), np.float32)
        if not self.kernels.read_floats(self.address, self._read, count, block.ctypes.data):
            return  # lapped: the next look finds the excess, and counts it
        self._read += count
        if self._middle != p.channels:
            block = self._spread(block, self._middle)
        self._append(block, last=False)

    def _spread(self, block: np.ndarray, channels: int) -> np.ndarray:
        """float32 (frames, channels) with another number of channels."""
        count, before = block.shape
        spread = np.empty((count, channels), np.float32)
        self.kernels.spread(spread.ctypes.data, channels, block.ctypes.data, 32, before, count)
        return spread

    def _append(self, block: np.ndarray, *, last: bool) -> None:
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block, last=last)
        block = np.ascontiguousarray(block).reshape(-1, self._middle)
        if self.format.channels != self._middle:
            block = self._spread(block, self.format.channels)
        flat = block.reshape(-1)
        self._ready = np.concatenate((self._ready, flat)) if len(self._ready) else flat

    def take(self, frames: int, *, short: bool = False) -> np.ndarray | None:
        """Take exactly `frames` frames, float32 flat; None if there are not so many yet.

        `short`: at the end of the source the last ones may be fewer.

        Raises
        ------
        EndOfStream
            If the source has ended and nothing is left.
        """
        if not self._pull(frames):
            if not (self.has_ended() and self._flushed and short):
                return None
            frames = min(frames, len(self._ready) // self.format.channels)
            if frames == 0:
                raise self.end_error("the source has ended; there is nothing more to read")
        cut = frames * self.format.channels
        taken, self._ready = self._ready[:cut], self._ready[cut:]
        return taken

    def _take_plain(self, count: int, target: int) -> bool | None:
        """Take `count` bytes at one go, which is how most are taken.

        None if that cannot be done, because there is something to convert, to put
        together or to drop.
        """
        frames, part = divmod(count, self._width)
        if part or not self._plain or self._rest or len(self._ready):
            return None
        taken = self.kernels.read_encoded(
            self.address, self._read, frames, self._limit, self.encoding, target
        )
        if taken == 1:
            self._read += frames
            self._first = self._dropped + self._given // self._width
            self._given += count
            return True
        return False if taken == 0 and not self.has_ended() else None

    def take_bytes(self, count: int) -> bytes | None:
        """Take `count` bytes in the stream's encoding, fewer at the end of the source.

        None if there are not so many yet.  What is left of a frame comes first next time.

        Raises
        ------
        EndOfStream
            If the source has ended and nothing is left.
        StreamClosedError, DeviceError
            If the stream is closed or its device gone.
        """
        with self._reading:
            if count > len(self._scratch):
                self._scratch = np.zeros(count, np.uint8)
                self._scratch_address = int(self._scratch.ctypes.data)
            taken = self._take_plain(count, self._scratch_address)
            if taken is not None:
                return ctypes.string_at(self._scratch_address, count) if taken else None
            dropped, left = self._dropped, len(self._rest) + len(self._ready)
            if len(self._rest) < count:
                width = self.format.frame_bytes
                missing = count - len(self._rest)
                try:
                    block = self.take(-(-missing // width), short=True)
                except EndOfStream:
                    if not self._rest:
                        raise
                    block = np.zeros(0, np.float32)
                if block is None:
                    return None
                self._rest += self._encode(block)
            data, self._rest = self._rest[:count], self._rest[count:]
            if not left:  # what was dropped now came before it
                dropped = self._dropped
            self._first = dropped + self._given // self._width
            self._given += len(data)
            return data

    def take_into(self, target: np.ndarray) -> int | None:
        """Fill a C-contiguous array of the stream's dtype; the frames, or None."""
        with self._reading:
            taken = self._take_plain(target.nbytes, target.ctypes.data)
            if taken is not None:
                return len(target) if taken else None
            data = self.take_bytes(target.nbytes)
            if data is None:
                return None
            flat = np.frombuffer(data, target.dtype)
            target.reshape(-1)[: len(flat)] = flat
            return len(data) // self.format.frame_bytes

    def _encode(self, block: np.ndarray) -> bytes:
        encoded = np.empty(len(block), self.format.dtype)
        block = np.ascontiguousarray(block)
        self.kernels.encode_block(
            block.ctypes.data, encoded.ctypes.data, self.encoding, len(block)
        )
        return encoded.tobytes()

    def buffers_queued(self) -> int:
        """Whole buffers that can be taken now; the last, shorter one of a file counts."""
        with self._reading:
            if not self.is_open:
                return 0
            ready = len(self._ready) // self.format.channels
            frames = ready + (self._commit() - self._read) * self._ratio
            whole = int(frames // self.buffersize)
            return whole + 1 if self.has_ended() else whole

    def check_frames(self, frames: int) -> int:
        """Return `frames`; :class:`FormatError` unless so many can be queued at once."""
        frames = check_integer(frames, "frames", "frames", least=1)
        if self.is_open and frames > self._limit:
            raise FormatError(
                f"frames={shown(frames)} is more than the queue's {self._limit}; read less "
                "at a time, or open the input with a longer queue= (seconds)"
            )
        return frames

    # --- waiting, for those above ------------------------------------------------

    def arm(self, count: int) -> bool:
        """Signal the wake-up when `count` bytes can be taken; True: look now."""
        with self._reading:
            missing = -(-(count - len(self._rest)) // self._width)
            missing -= len(self._ready) // self.format.channels
            if missing <= 0:
                return True
            if not self._plain:
                # What a resampler still holds back makes it come later: it is asked again.
                missing = math.ceil(missing / self._ratio)
            wake, commit, armed = self._arming
            index = self._read + missing
            return (
                bool(self.kernels.request_wakeup(wake, commit, index, armed))
                or self.has_ended()
            )

    def set_wakeup(self, wakeup: Wakeup | None) -> None:
        """The wake-up that the audio thread signals for the reader."""
        self.wakeup = wakeup
        if not self.is_closed:
            index = -1 if wakeup is None else wakeup.index
            self.kernels.store_word(self.address_of("wakeup"), index)
