"""What time it is for a stream, by its device's clock; any thread.

Where that clock is not smooth as it is, it is what the callbacks say of it, smoothed and moved
on by the monotonic clock; the host is asked only while none have come (see
realtime/clock_sync.py).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from audiostream.checks import check_number
from audiostream.device.base import DeviceStream
from audiostream.engine.memory import field_offsets
from audiostream.errors import FormatError
from audiostream.realtime.memory.layout import NEVER, STREAM

if TYPE_CHECKING:
    from audiostream.realtime.compile.kernels import Kernels

__all__ = ("LONGEST", "StreamClock")

LONGEST = 4e9
"""Seconds, either way, that fit into a word of nanoseconds, and so into a clock's times."""


DAY = 86400.0
"""Seconds ahead from which on a time is taken for another clock's."""

FRAMES = field_offsets(STREAM)["frames"]


class StreamClock:
    """The clock of one stream; until it is open, the time is 0.

    Attributes
    ----------
    epoch : float
        What the callbacks' times are ahead of :meth:`now` (seconds).
    """

    def __init__(self) -> None:
        self.epoch = 0.0
        self._device: DeviceStream | None = None
        self._runs = False
        self._is_over = False
        self._latest = 0.0  # time that was told, of a smooth clock
        self._offset = 0.0  # what the monotonic clock was ahead of the device's at the end

    def open(self, kernels: Kernels, device: DeviceStream, record: Any) -> None:
        """Be the clock of a device that is open, by what its callbacks note in the record."""
        self._kernels = kernels
        self._record = record[0]
        self._address = int(record.ctypes.data)
        self.epoch = device.epoch
        self._device = device

    def begin(self) -> None:
        """Forget what the callbacks before this start have said of the time."""
        record, device = self._record, self._device
        assert device is not None
        record["started"] = 0  # the pause before is not a late callback
        record["clock_blocks"] = 0  # but until one comes, frames were heard when they were
        record["host_blocks"] = record["host_version"] = 0
        if not device.smooth:
            record["host_ahead"] = device.time() + self.epoch - time.monotonic()
            # No callback is to say an earlier one, from a host's clock that begins again.
            record["time"] = max(record["time"], record["latest"] * 1e-9)
        self._runs = True

    def pause(self) -> None:
        """The device was stopped: callbacks say nothing until the next :meth:`begin`."""
        self._runs = False

    def end(self) -> None:
        """Stop the clock, and keep its offset to the monotonic one."""
        if self._device is not None:
            smooth = self._device.smooth
            self._offset = self.ahead() if smooth else time.monotonic() - self.now()
        self.abandon()

    def abandon(self) -> None:
        """Do not touch the device again, and tell no offset."""
        self._is_over = True

    # --- times -------------------------------------------------------------------

    def now(self) -> float:
        """Seconds on the device's clock; where it stood once it is closed.  Never goes back."""
        device = self._device
        if device is None:
            return 0.0
        if not device.smooth:
            return self._kernels.latest_time(self._address, self._host_ns()) * 1e-9 - self.epoch
        latest = self._latest
        if not self._is_over:
            # What another thread may put there meanwhile is not looked at again.
            self._latest = latest = max(latest, device.time())
        return latest

    def _host_ns(self) -> int:
        """Nanoseconds on the callbacks' clock, as far as is known; 0 once it is closed."""
        if self._is_over:
            return 0
        if self._runs:
            found = self._kernels.time_at(self._address, time.monotonic_ns())
            if found != -NEVER:
                return found
        assert self._device is not None
        return int(1e9 * (self._device.time() + self.epoch + self._record["shift"]))

    def heard(self, frame: int) -> float:
        """When a frame of the device's is heard, or was captured; now if that is unknown."""
        when = self._kernels.heard_at(self._address, frame)
        return self.now() if when < 0 else when * 1e-9 - self.epoch

    def when(self, at: float) -> tuple[float, float]:
        """A time for the audio thread, and by how much it is late already.

        Raises
        ------
        FormatError
            If it is no finite number, or more than a day ahead: a time of another clock.
        """
        hint = "seconds on the stream's clock, try stream.time + 0.5"
        at = check_number(at, "at", -LONGEST, LONGEST, hint)
        when = at + self.epoch
        frames = self._kernels.load_word(self._address + FRAMES)
        next_heard = self._kernels.heard_at(self._address, frames) * 1e-9
        if next_heard < 0:  # there was no block yet
            next_heard = self.now() + self.epoch + float(self._record["latency"])
        late = next_heard - when
        if late < -DAY:
            self._check_clock(at)
        # A nanosecond is forgiven to the clock's floating point; 0 would be "now".
        return when or -1.0, late if late > 1e-9 else 0.0

    def _check_clock(self, at: float) -> None:
        """Raise if a time is more than a day ahead; what was heard last may be long ago."""
        now = self.now()
        if at - now > DAY:
            raise FormatError(
                f"at={at!r} is more than a day ahead: the stream's clock (its .time) is at "
                f"{now:.3f} s, time.time() at {time.time():.3f}, time.monotonic() at "
                f"{time.monotonic():.3f}; give stream.time + seconds, or "
                "stream.from_monotonic(t) for a time of time.monotonic()"
            )

    # --- the monotonic clock -----------------------------------------------------

    def to_monotonic(self, when: float) -> float:
        """A time on the device's clock as one of ``time.monotonic()``."""
        if self._converts(when):
            found = self._kernels.monotonic_at(self._address, int(1e9 * (when + self.epoch)))
            if found != -NEVER:
                return found * 1e-9
        return when + self.ahead()

    def from_monotonic(self, when: float) -> float:
        """A time of ``time.monotonic()`` on the device's clock."""
        if self._converts(when):
            found = self._kernels.time_at(self._address, int(1e9 * when))
            if found != -NEVER:
                return found * 1e-9 - self.epoch
        return when - self.ahead()

    def _converts(self, when: float) -> bool:
        """True if the callbacks tell how the two clocks are related; not of endless times."""
        device = self._device
        told = device is not None and not device.smooth and (self._runs or self._is_over)
        return told and abs(when) < LONGEST

    def ahead(self) -> float:
        """What ``time.monotonic()`` is ahead of the device's clock (seconds); closed: was."""
        if self._is_over:
            return self._offset
        # Between two looks at the one clock is the other; the closest of three is taken.
        looks = []
        for _ in range(3):
            before = time.monotonic()
            device = self.now()
            after = time.monotonic()
            looks.append((after - before, (before + after) / 2 - device))
        return min(looks)[1]
