"""From what is written to a voice to its ring; any thread, under the voice's lock.

::

    data -> whole frames -> float32, matrix, rate -> ring
            sample_input    conversion                write_frames

What the ring takes as it is skips the middle: one kernel call.  Other frames are converted when
there is room for them, no more of them than the ring then takes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from audiostream.engine.conversion import Conversion
from audiostream.engine.frame_accounting import FrameAccounting
from audiostream.engine.memory import records
from audiostream.engine.meter import warn_if_too_loud
from audiostream.engine.output import Output
from audiostream.engine.prebuffer import Prebuffer
from audiostream.engine.sample_input import Encoded, Samples, address_of, of_bytes, samples_of
from audiostream.engine.strip import Strip
from audiostream.errors import FormatError
from audiostream.pcm import Format
from audiostream.realtime.memory.unit_layout import PRODUCER

__all__ = ("RingWriter",)

KINDS = {np.dtype(np.int8): 8, np.dtype(np.int16): 16, np.dtype(np.float32): 32}
"""What the ring takes as it is: dtype -> encoding."""

COPIED = 4096
"""Samples of an array up to which a copy costs less than to ask where they are."""


class RingWriter:
    """The one producer of a voice's ring.

    Parameters
    ----------
    output : Output
    strip : Strip
        The voice's.
    limit : int
        Frames (the device's) that the ring may hold, but for what a resampler holds back.
    conversion : Conversion
        How what is written becomes what the ring takes.
    accounting : FrameAccounting
        Counts what is written.
    prebuffer : Prebuffer

    Attributes
    ----------
    carry : bytes
        What is left of a frame, until its other bytes come.
    """

    def __init__(
        self,
        output: Output,
        strip: Strip,
        limit: int,
        conversion: Conversion,
        accounting: FrameAccounting,
        prebuffer: Prebuffer,
    ) -> None:
        self._output = output
        self._strip = strip
        self._accounting = accounting
        self._prebuffer = prebuffer
        self._put = output.kernels.write_frames
        self._arm_room = output.kernels.request_room
        self.carry = b""
        self._longest = self._room = limit
        self._look_at: float = 0  # own frames written at the next :meth:`_look`
        self._scale_at: float = 0  # and at the next look at their scale
        self._scale_index = 0  # the ring index at the last one
        # One for each of KINDS, and one for float32 that was converted.
        self._producers = records(PRODUCER, len(KINDS) + 1)
        first, step = int(self._producers.ctypes.data), self._producers.itemsize
        *self._written, self._converted = (first + step * at for at in range(len(KINDS) + 1))
        for number, encoding in enumerate((*KINDS.values(), 32)):
            self._producers[number] = (output.address, strip.address, strip.holds, encoding, 0)
        self.use(conversion)

    # --- how it converts ---------------------------------------------------------

    def use(self, conversion: Conversion) -> None:
        """What is written from now on is converted like this."""
        self.conversion = conversion
        self.format: Format = conversion.source
        self._ratio = conversion.ratio
        self._width = self.format.frame_bytes
        self._own = np.dtype(self.format.dtype)
        self._producers["channels"] = self.format.channels
        self._producers["channels"][-1] = conversion.channels
        kinds = KINDS if conversion.is_plain else ()
        self._plain = dict(zip(kinds, self._written, strict=False))
        self._room = min(self._longest, self._strip.holds - conversion.held_back())
        self.set_limit(None)

    def fits(self, conversion: Conversion) -> bool:
        """True if the ring is long enough for what a conversion holds back."""
        room = self._strip.holds - conversion.held_back()
        return room >= min(self._longest, self._least())

    def _least(self) -> int:
        """Frames (the device's) that the ring must hold to play without a gap."""
        return max(2 * self._output.period, self._prebuffer.most)

    def set_limit(self, frames: int | None) -> None:
        """Hold at most `frames` own frames from now on; None: as many as the ring holds.

        The limit is at least two of the device's blocks.
        """
        limit = self._room
        if frames is not None:
            limit = min(limit, max(math.ceil(frames / self._ratio), self._least()))
        self.limit = limit
        self._producers["limit"][:-1] = limit

    # --- room --------------------------------------------------------------------

    def room(self) -> int:
        """Frames (the device's) that the ring takes now."""
        return self.limit - (self._strip.word("write") - self._strip.word("read"))

    def takes(self) -> int:
        """Own frames that can be written now."""
        return self.conversion.takes(self.room(), self._strip.holds - self.limit)

    def wants_room(self, frames: int) -> int:
        """The read index at which `frames` own frames, or half a ring, can be taken."""
        wanted = min(math.ceil(frames / self._ratio), max(self.limit // 2, 1))
        write = self._strip.word("write")
        # Never beyond what there is to read: the ring may have run out meanwhile.
        return min(write - self.limit + wanted, write)

    def arm_room(self) -> bool:
        """Signal the wake-up when half the ring is free; True if it is.

        To wait for no more than its next chunk wakes a task that writes 20 ms at a time
        six times as often, which of 200 such tasks is most of what they cost.
        """
        return bool(self._arm_room(self._written[0]))

    # --- writing -----------------------------------------------------------------

    def write_plain(self, data: Any) -> int | None:
        """Put what most writes bring, as it is; None if it needs a closer look.

        For the rest see :meth:`write`.
        """
        producer = None
        if self.carry or not self._plain:
            return None
        if type(data) is bytes:
            unit = self._width
            frames, part = divmod(len(data), unit)
            producer = None if part else self._plain.get(self._own)
        elif type(data) is np.ndarray and data.size <= COPIED:
            unit, channels = 1, self.format.channels
            if channels == 1 if data.ndim == 1 else data.shape[1:] == (channels,):
                producer = self._plain.get(data.dtype)
                frames, data = len(data), data.tobytes()
        if producer is None:
            return None
        count = self._put(producer, data, frames)
        accounting = self._accounting
        accounting.written = written = accounting.written + count
        if written >= self._look_at:
            self._look()
        return count * unit

    def write(self, data: Any) -> int:
        """Take as much as there is room for; bytes of bytes-like data, frames of an array."""
        most = None
        if isinstance(data, np.ndarray) and not data.flags.c_contiguous:
            most = self.takes()
        what = samples_of(data, self.format, most)
        if isinstance(what, memoryview):
            return self._write_bytes(what)
        if self.carry:
            raise FormatError(
                f"{len(self.carry)} byte(s) of an unfinished frame are waiting; write the "
                "frame's other bytes, or end(), before an array"
            )
        return self._take(what)

    def _write_bytes(self, data: memoryview) -> int:
        """Take whole frames, and what is left of the last one if there is room for it."""
        width = self._width
        taken = 0
        if self.carry:
            missing = width - len(self.carry)
            frame = self.carry + bytes(data[:missing])
            if len(frame) < width:
                self.carry = frame
                return len(data)
            if not self._take(of_bytes(frame, self.format)):
                return 0
            self.carry = b""
            taken = missing
        frames = (len(data) - taken) // width
        done = 0
        if frames:
            done = self._take(of_bytes(data[taken : taken + frames * width], self.format))
            taken += done * width
        # A part of a frame is taken only with room for the frame, so that an end can
        # always complete it.
        if done == frames and len(data) > taken and self.takes() > 0:
            self.carry = bytes(data[taken:])
            taken = len(data)
        return taken

    def _take(self, samples: Samples | Encoded) -> int:
        """Put as many frames as there is room for, converted if they need it."""
        producer = self._plain.get(samples.data.dtype)
        if producer is not None:
            count = self._put(producer, address_of(samples.data), samples.frames)
        else:
            count = min(samples.frames, self.takes())
            if count > 0:
                self.put_converted(self.conversion.convert(samples, count))
        self._accounting.written += count
        if self._accounting.written >= self._look_at:
            self._look()
        return count

    def put_converted(self, samples: Samples) -> None:
        """Put what the conversion gave; there is room for it."""
        if samples.frames:
            put = self._put(self._converted, samples.address, samples.frames)
            assert put == samples.frames, "the ring has room for what is held back"

    def _look(self) -> None:
        """Fit the prebuffer, and look at the scale of what was written once a second of it."""
        strip, written = self._strip, self._accounting.written
        self._prebuffer.fit(strip)
        if written >= self._scale_at:
            first, self._scale_index = self._scale_index, strip.word("write")
            peak = strip.peak_written(first, self._scale_index)
            is_wrong = warn_if_too_loud(peak, self.conversion.full_scale)  # says so once
            self._scale_at = math.inf if is_wrong else written + self.format.rate
        self._look_at = 0 if self._prebuffer.adapts else self._scale_at

    # --- ends and clears ---------------------------------------------------------

    def flush(self) -> None:
        """Put what the resampler holds back."""
        self.put_converted(self.conversion.flush())

    def complete_frame(self) -> None:
        """Complete the frame of which a part is there with silence."""
        if self.carry:
            self._take(
                of_bytes(self.carry + self.format.silence[len(self.carry) :], self.format)
            )
            self.carry = b""

    def forget(self) -> None:
        """Drop what was taken and is not in the ring yet."""
        self.carry = b""
        self.conversion.clear()

    @property
    def holds_back(self) -> bool:
        """True if something was taken that is not in the ring yet."""
        return bool(self.carry) or self.conversion.is_under_way
