"""What the benchmarks of this package's own cost are read from: a probe, thread clocks, a line.

The probe is a device around another one.  Around the callback it puts a compiled function
that notes when each call began and how long it took; no Python runs on the audio thread on
its account, so it may surround a compiled callback and a Python one alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiostream.device.base import Callback, Device, DeviceStream, Request
from audiostream.device.virtual import NullDevice
from audiostream.realtime.compile.kernels import compile_kernels, load
from audiostream.realtime.compile.syscalls import call_back, monotonic_ns
from audiostream.realtime.memory.atomics import words_at
from benchmarks.report import Table

SCHEDSTAT = Path("/proc/thread-self/schedstat")
CLOCK_THREAD = "audiostream virtual device"
INNER, USER, COUNT, CAPACITY, BEGUN, SPENT, SPARE = range(7)
"""Words that the probe's callback gets; SPARE and the word behind it are for the clock."""


def _probe(source: int, target: int, frames: int, times: int, flags: int, user: int) -> int:
    words = words_at(user, 8)
    begun = monotonic_ns(user + 8 * SPARE)
    status = call_back(words[INNER], source, target, frames, times, flags, words[USER])
    at = words[COUNT]
    if at < words[CAPACITY]:
        words_at(words[BEGUN], at + 1)[at] = begun
        words_at(words[SPENT], at + 1)[at] = monotonic_ns(user + 8 * SPARE) - begun
    words[COUNT] = at + 1
    return status


class Probe(Device):
    """A null device that remembers its callbacks' times; for one stream."""

    def __init__(self, capacity: int = 1 << 20) -> None:
        self._begun = np.zeros(capacity, np.int64)
        self._spent = np.zeros(capacity, np.int64)
        self._words = np.zeros(8, np.int64)
        entries = {"probe": _probe}
        self._address = load(compile_kernels(entries), entries)["probe"]
        self.name = "null, probed"

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        begun, spent = self._begun.ctypes.data, self._spent.ctypes.data
        self._words[:6] = callback.address, callback.user, 0, len(self._begun), begun, spent
        around = Callback(self._address, self._words.ctypes.data, (self, callback))
        return NullDevice().open(request, around)

    @property
    def count(self) -> int:
        """Calls so far."""
        return int(self._words[COUNT])

    def begun(self) -> np.ndarray:
        """When each call began, nanoseconds of time.monotonic()."""
        return self._begun[: self.count].copy()

    def spent(self) -> np.ndarray:
        """How long each call took, nanoseconds."""
        return self._spent[: self.count].copy()


def due(begun: np.ndarray, period: float) -> np.ndarray:
    """When each call was due, to the clock of the most punctual one.

    A virtual device's clock keeps an absolute time line, `period` nanoseconds apart; no
    call is early, so the least of the differences is where the line begins.
    """
    line = np.arange(len(begun)) * period
    return line + np.min(begun - line)


def late_share(begun: np.ndarray, period: float) -> float:
    """Share of the calls with more than two periods since the one before.

    That is what a block and the declared latency of a virtual device, one period, cover:
    hardware would have left a hole.
    """
    return float(np.mean(np.diff(begun) > 2 * period)) if len(begun) > 1 else 0.0


def audio_seconds() -> float:
    """CPU seconds of the virtual devices' clock threads so far (not on macOS: 0)."""
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    threads = [thread for thread in threading.enumerate() if thread.name == CLOCK_THREAD]
    if clock_of is None:
        return 0.0
    return sum(time.clock_gettime(clock_of(thread.ident)) for thread in threads)


def queued_seconds() -> float:
    """Seconds that this thread was ready to run and the machine had no core for it (Linux).

    Waiting for the interpreter lock is not in it.
    """
    if not SCHEDSTAT.exists():
        return 0.0
    return int(SCHEDSTAT.read_text().split()[1]) * 1e-9


@dataclass(frozen=True)
class Line:
    """The straight line through some points, and how well it fits."""

    start: float
    slope: float
    r2: float

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> Line:
        slope, start = np.polyfit(x, y, 1)
        error = np.asarray(y) - (start + slope * np.asarray(x))
        spread = np.asarray(y) - np.mean(y)
        return cls(start, slope, 1 - float(error @ error) / max(float(spread @ spread), 1e-30))

    def at(self, x: float) -> float:
        return self.start + self.slope * x


@dataclass(frozen=True)
class Target:
    """A figure beside the one that was aimed at, which is the most that is well."""

    what: str
    most: float
    measured: float
    unit: str
    digits: int = 1

    @property
    def met(self) -> bool:
        return self.measured <= self.most

    def cells(self) -> tuple[str, ...]:
        measured = f"{self.measured:.{self.digits}f} {self.unit}"
        return self.what, f"at most {self.most:g} {self.unit}", measured, _word(self.met)


def _word(met: bool) -> str:
    return "yes" if met else "**no**"


def target_table(targets: Sequence[Target]) -> Table:
    """Targets and what was measured, medians of the rounds."""
    head = ("target", "wanted", "median measured", "met")
    return Table(head, [target.cells() for target in targets], "Targets:")
