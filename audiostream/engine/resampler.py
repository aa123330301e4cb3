"""Streaming conversion from one rate to another; any thread, one at a time.

Three qualities, of which the first is what is used unless another is asked for:

====== ==================================================== =====================
name   what it is                                           holds back
====== ==================================================== =====================
high   our own filter of 128 taps at the lower rate, 120 dB 64 to 80 frames there
live   our own filter of 64 taps at the lower rate, 95 dB;  at most 3 ms
       where half of that would be more than 3 ms, it looks
       further back than ahead, and has 90 dB
soxr   soxr's HQ                                            up to 175 ms
====== ==================================================== =====================

``high`` is not soxr, though soxr is faster: it gives up the interpreter lock for every chunk,
so that beside a busy Python thread most of the sound of 50 voices was missing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiostream.checks import check_choice
from audiostream.engine.low_latency_fir import AHEAD, short_filter
from audiostream.engine.memory import records, zeros
from audiostream.errors import FormatError
from audiostream.realtime.compile.kernels import Kernels
from audiostream.realtime.memory.unit_layout import RESAMPLER

__all__ = (
    "HIGH",
    "LIVE",
    "QUALITIES",
    "Design",
    "Resampler",
    "check_quality",
    "filter_phases",
    "resampler",
)

QUALITIES = ("high", "live", "soxr")

MAX_PHASES = 2048
"""Rates whose ratio needs larger whole numbers than this are left to soxr: their filter would
take seconds to compute."""

TERMS = 26
"""Terms of the series of Kaiser's window, which then is off by less than 1e-11."""

LOUDEST = 2.0**20
"""The largest float that a filter is given; see `sane` in realtime/units/conversion.py."""

CHUNK = 4096
"""Most frames that are taken in at once."""

ROUND = 32
"""Taps in one round of the vectorised loop."""


@dataclass(frozen=True)
class Design:
    """What a filter is made for.

    Attributes
    ----------
    taps : int
        Frames, at the lower of the two rates, that it spans.
    attenuation : float
        dB of the stop band, and of the pass band's ripple.
    delay : float
        Seconds that half of it may take.
    """

    taps: int
    attenuation: float
    delay: float = math.inf

    def is_short(self, source: int, target: int) -> bool:
        """True if half of its frames would take too long; see low_latency_fir.py."""
        return self.taps / 2 > self.delay * min(source, target)

    def size(self, source: int, target: int) -> tuple[int, int]:
        """Taps of each phase, and how many of them are ahead of an output's place.

        Both are frames of the source.  The taps are made up to whole rounds of the loop.
        """
        lower = min(source, target)
        taps = -(-self.taps * source // (lower * ROUND)) * ROUND
        ahead = AHEAD * source // lower if self.is_short(source, target) else taps // 2
        return taps, ahead


HIGH = Design(taps=128, attenuation=120.0)
LIVE = Design(taps=64, attenuation=95.0, delay=0.0029)  # so that it is less than 3 ms


@functools.lru_cache(maxsize=32)
def filter_phases(source: int, target: int, design: Design = HIGH) -> np.ndarray:
    """The filter as float32 (phases, taps): a windowed sinc, cut for each output phase.

    Kaiser's window and his formula for the width of the transition (Oppenheim and Schafer,
    "Discrete-Time Signal Processing", 7.5.3).  The stop band begins at half the lower rate.

    Parameters
    ----------
    source, target : int
        Rates (Hz).
    """
    phases, _ = _ratio(source, target)
    taps, ahead = design.size(source, target)
    lower = min(1.0, target / source)  # the lower rate, as a share of the source's
    at = np.arange(taps) - (taps - ahead - 1) - np.arange(phases)[:, None] / phases
    if design.is_short(source, target):
        table = short_filter(at * lower)
    else:
        width = (design.attenuation - 8) / (2.285 * 2 * math.pi * 2 * ahead)
        cutoff = 0.5 * lower - width / 2
        beta = 0.1102 * (design.attenuation - 8.7)
        window = _bessel(beta**2 * np.maximum(1 - (at / ahead) ** 2, 0)) / np.i0(beta)
        table = np.sinc(2 * cutoff * at) * np.where(np.abs(at) <= ahead, window, 0)
    table /= table.sum(axis=1, keepdims=True)
    return table.astype(np.float32)


def _bessel(square: np.ndarray) -> np.ndarray:
    """I0 of the root of `square`, up to 13 squared: in a third of the time of numpy's."""
    quarter = square / 4
    total = np.ones_like(quarter)
    for k in range(TERMS, 0, -1):
        total *= quarter
        total *= 1 / k**2
        total += 1
    return total


def _ratio(source: int, target: int) -> tuple[int, int]:
    """Phases of the filter, and by how many of them one output is behind the other."""
    common = math.gcd(source, target)
    return target // common, source // common


class Resampler:
    """float32 (frames, channels) at one rate to another, chunk by chunk.

    Frames of the result are where those of the source are: there is no shift.  Up to half a
    filter is held back until more comes or it is the last.
    """

    def __init__(
        self, kernels: Kernels, source: int, target: int, channels: int, design: Design = HIGH
    ) -> None:
        phases, step = _ratio(source, target)
        self._kernel = kernels.resample
        self._filter = filter_phases(source, target, design)
        self._taps, self._ahead = design.size(source, target)
        capacity = self._taps + step // phases + 1 + CHUNK
        self._buffers = zeros(channels * capacity, np.float32)
        self._channels = channels
        self._ratio = target / source
        self._record = records(RESAMPLER, 1)
        self._address = int(self._record.ctypes.data)
        record = self._record[0]
        record["filter"] = self._filter.ctypes.data
        record["taps"] = self._taps
        record["phases"] = phases
        record["whole"], record["part"] = divmod(step, phases)
        record["channels"] = channels
        record["buffers"] = self._buffers.ctypes.data
        record["capacity"] = capacity
        self.clear()

    def clear(self) -> None:
        """Forget what came; the next chunk begins in silence."""
        record = self._record[0]
        record["filled"] = self._taps - self._ahead - 1
        record["index"] = record["phase"] = 0
        self._buffers[:] = 0

    def save(self) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`restore` needs to go on from here; some kilobytes."""
        return self._record.copy(), self._buffers.copy()

    def restore(self, state: tuple[np.ndarray, np.ndarray]) -> None:
        """Go on from where this one, or another one for the same, was saved."""
        self._record["filled"] = state[0]["filled"]
        self._record["index"] = state[0]["index"]
        self._record["phase"] = state[0]["phase"]
        self._buffers[:] = state[1]

    def resample_chunk(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Convert a chunk; the last one is followed by what was held back.

        Parameters
        ----------
        block : float32 (frames, channels)

        Returns
        -------
        float32 (frames, channels)
        """
        frames = len(block)
        flush = self._ahead if last else 0
        # What was held back before may come with it.
        most = math.ceil((frames + flush + self._taps) * self._ratio) + 2
        out = np.empty((most, self._channels), np.float32)
        address = int(out.ctypes.data)
        width = 4 * self._channels
        made = 0
        if frames:
            block = np.ascontiguousarray(block, np.float32)
            source = int(block.ctypes.data)
            for start in range(0, frames, CHUNK):
                count = min(CHUNK, frames - start)
                made += self._kernel(
                    self._address, source + start * width, count, address + made * width
                )
        if last:
            for start in range(0, flush, CHUNK):
                count = min(CHUNK, flush - start)
                made += self._kernel(self._address, 0, count, address + made * width)
            self.clear()
        return out[:made]

    def held_back(self) -> int:
        """Most frames at the new rate that may come later, and then at once."""
        return math.ceil((self._ahead + 1) * self._ratio) + 2


class _Soxr:
    """soxr's HQ, by request or for ratios that would need too large a filter."""

    def __init__(self, kernels: Kernels, source: int, target: int, channels: int) -> None:
        import soxr

        self._spread = kernels.spread
        self._stream = soxr.ResampleStream(
            source, target, channels, dtype="float32", quality="HQ"
        )
        self._ratio = target / source
        self.clear = self._stream.clear

    def save(self) -> None:
        """None: it cannot go on from where it was."""

    def resample_chunk(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        if not np.abs(block).max(initial=0) <= LOUDEST:  # or NaN; ours sees to that by itself
            wrong = np.ascontiguousarray(block, np.float32)
            frames, channels = wrong.shape
            block = np.empty_like(wrong)
            target, source = block.ctypes.data, wrong.ctypes.data
            self._spread(target, channels, source, 32, channels, frames)
        out = np.asarray(self._stream.resample_chunk(block, last=last), np.float32)
        return out if out.ndim == 2 else out[:, None]

    def held_back(self) -> int:
        # soxr 1.1 was seen to hold up to 1,500 frames at the lower of its two rates.
        return math.ceil(2048 * max(1, self._ratio))


def check_quality(quality: object) -> str:
    """Return the quality, one of :data:`QUALITIES`; :class:`FormatError` otherwise."""
    return check_choice(quality, "quality", QUALITIES)


def resampler(
    kernels: Kernels, source: int, target: int, channels: int, quality: str = "high"
) -> Any:
    """A converter between two rates (Hz); see :class:`Resampler` for its methods.

    Parameters
    ----------
    quality : str
        One of :data:`QUALITIES`.  "high" is soxr's where the rates have too little in common
        for a filter of ours.

    Raises
    ------
    FormatError
        For another quality, or for "live" between such rates.
    """
    check_quality(quality)
    largest = max(_ratio(source, target))
    if quality == "live" and largest > MAX_PHASES:
        raise FormatError(
            f"quality='live' has no filter from {source} to {target} Hz, which have too little "
            "in common; try quality='high', or a usual rate such as 44100, 48000 or 16000"
        )
    if quality == "soxr" or largest > MAX_PHASES:
        return _Soxr(kernels, source, target, channels)
    design = LIVE if quality == "live" else HIGH
    return Resampler(kernels, source, target, channels, design)
