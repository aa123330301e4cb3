"""The stand-in from within the process that plays to it; any thread."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from benchmarks.standin.library import NAMES, build

DEVICE = "stand-in"

ONLY_STEPS = -1
"""Instead of a number of periods: measure what is stepped, and nothing else."""


@dataclass(frozen=True)
class Counts:
    """What a stream has counted since its last reset; ``portaudio.c`` defines each.

    Frames are not counted but periods; times are nanoseconds.
    """

    periods: int
    on_time: int
    missed: int
    overslept: int
    gaps: int
    steps: int
    short: int
    latest: int
    worst_sleep: int
    busy: int
    busy_cpu: int
    longest: int
    recorded: int
    timed: int
    aside: int

    @property
    def judged(self) -> int:
        """Periods that the callback answers for: all but the overslept ones."""
        return self.on_time + self.missed


class _Work(ctypes.Structure):
    _fields_ = (
        ("frame_bytes", ctypes.c_int64),
        ("burn", ctypes.c_int64),
        ("rounds", ctypes.c_int64),
    )


class _Parameters(ctypes.Structure):
    """PaStreamParameters."""

    _fields_ = (
        ("device", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("sample_format", ctypes.c_ulong),
        ("suggested_latency", ctypes.c_double),
        ("host_api_info", ctypes.c_void_p),
    )


SAMPLE_FORMATS = {np.dtype("f4"): 0x01, np.dtype("i2"): 0x08}


class Stream:
    """One stream of the stand-in, whoever has opened it; callable from any thread.

    Its calls release the interpreter lock.
    """

    def __init__(self, library: ctypes.CDLL, number: int) -> None:
        self._library = library
        self._number = number
        self._recording = np.zeros(0, np.uint8)

    def reset(self, periods: int = 0, record_bytes: int = 0) -> None:
        """Begin a measurement, at the next period.

        Parameters
        ----------
        periods
            How many to count; 0: for good; ONLY_STEPS: none.
        record_bytes
            Of what is played, how much to record from now on.
        """
        buffer = np.empty(record_bytes, np.uint8)
        buffer.fill(255)  # and so in memory, before the stream's thread writes to it
        self._library.standin_reset(
            self._number,
            ctypes.c_int64(periods),
            ctypes.c_void_p(buffer.ctypes.data),
            ctypes.c_int64(record_bytes),
        )
        self._recording = buffer

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the measurement; False if it takes longer.

        Raises
        ------
        RuntimeError
            If the stream has stopped before.
        """
        done = self._library.standin_wait(self._number, ctypes.c_int64(int(seconds * 1e9)))
        if done < 0:
            raise RuntimeError("the stream has stopped before all its periods were played")
        return bool(done)

    def step(self, calls: int) -> None:
        """Have the callback called so often, back to back, and wait until it is done.

        Raises
        ------
        RuntimeError
            If the stream does not run.
        """
        if self._library.standin_step(self._number, ctypes.c_int64(calls)) != 0:
            raise RuntimeError("the stream does not run")

    def counts(self) -> Counts:
        values = (ctypes.c_int64 * len(fields(Counts)))()
        there = self._library.standin_counts(self._number, values, len(values))
        assert there == len(values)
        return Counts(*values)

    def durations(self) -> np.ndarray:
        """Nanoseconds (uint32) of the callbacks, of which the first 262,144 are kept."""
        values = np.empty(self.counts().timed, np.uint32)
        self._library.standin_durations(
            self._number, ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(len(values))
        )
        return values

    def recording(self, channels: int, dtype: str = "f4") -> np.ndarray:
        """Copy what was played since the reset: shape (frames, channels)."""
        played = self._recording[: self.counts().recorded]
        return played.view(dtype).reshape(-1, channels).copy()


class Rules:
    """The stand-in's arithmetic, which needs no device and no clock."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.standin_rehearse.restype = ctypes.c_int64

    def classify(
        self,
        due: int,
        deadline: int,
        called: int,
        returned: int,
        free_at: int,
        aside: int = 0,
    ) -> tuple[str, int]:
        """What becomes of a block, and when a thread that never oversleeps is free again."""
        free = ctypes.c_int64(free_at)
        times = [ctypes.c_int64(time) for time in (due, deadline, called, returned, aside)]
        fate = self._library.standin_classify(*times, ctypes.byref(free))
        return ("on time", "missed", "overslept")[fate], free.value

    def rehearse(
        self, period: int, late: list[int], takes: list[int], periods: int = 2
    ) -> tuple[int, int, int, int]:
        """Run callbacks in made-up time.

        Parameters
        ----------
        late, takes
            For each callback: by how much the thread oversleeps before it, if it sleeps at
            all, and how long it takes.

        Returns
        -------
        tuple
            Periods that passed; on time, missed and overslept among them.
        """
        length = len(takes)
        counts = (ctypes.c_int64 * 3)()
        passed = self._library.standin_rehearse(
            ctypes.c_int64(period),
            ctypes.c_int64(periods),
            (ctypes.c_int64 * length)(*late),
            (ctypes.c_int64 * length)(*takes),
            ctypes.c_int64(length),
            counts,
        )
        return passed, counts[0], counts[1], counts[2]


class Standin:
    """The stand-in in this process, whose ``LD_LIBRARY_PATH`` :func:`environment` has set.

    Raises
    ------
    RuntimeError
        If another PortAudio is loaded here too: then who knows which one plays.
    """

    def __init__(self) -> None:
        path = build() / NAMES[0]
        self._library = ctypes.CDLL(str(path))
        self._library.standin_durations.restype = ctypes.c_int64
        loaded = {line.split()[-1] for line in _maps() if "libportaudio" in line}
        if others := loaded - {str(path.resolve())}:
            raise RuntimeError(f"another PortAudio is loaded: {', '.join(others)}")

    def set(self, **settings: int) -> None:
        """Settings of the streams that are opened from now on.

        Parameters
        ----------
        settings
            ``periods`` of the device's buffer (2); ``stepped=1``: only :meth:`Stream.step`
            makes callbacks; ``priority`` for SCHED_FIFO (0: as usual); ``fault`` and its
            ``amount`` as ``portaudio.c`` lists them.
        """
        for name, value in settings.items():
            if self._library.standin_set(name.encode(), ctypes.c_long(value)) != 0:
                raise ValueError(f"the stand-in has no setting {name!r}")

    def newest(self) -> Stream:
        """The stream that was opened last."""
        return Stream(self._library, self._library.standin_streams() - 1)

    @contextlib.contextmanager
    def control(
        self,
        frames: int,
        channels: int = 2,
        rate: int = 48000,
        dtype: str = "f4",
        burn: int = 0,
        rounds: int = 0,
    ) -> Iterator[Stream]:
        """A running stream with a C callback that writes zeros.

        It is then busy for `burn` ns on the clock, and for so many rounds of an empty loop.
        """
        call = self._library
        kind = np.dtype(dtype)
        work = _Work(channels * kind.itemsize, burn, rounds)
        output = _Parameters(0, channels, SAMPLE_FORMATS[kind], 0.0, None)
        handle = ctypes.c_void_p()

        def check(status: int) -> None:
            if status != 0:
                raise RuntimeError(
                    f"the control stream does not run (PortAudio error {status})"
                )

        check(call.Pa_Initialize())
        try:
            check(
                call.Pa_OpenStream(
                    ctypes.byref(handle),
                    None,
                    ctypes.byref(output),
                    ctypes.c_double(rate),
                    ctypes.c_ulong(frames),
                    ctypes.c_ulong(0),
                    call.standin_control,
                    ctypes.byref(work),
                )
            )
            try:
                stream = self.newest()
                check(call.Pa_StartStream(handle))
                yield stream
            finally:
                check(call.Pa_CloseStream(handle))
        finally:
            call.Pa_Terminate()


def _maps() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()
