"""Streaming conversion from one rate to another; any thread, one at a time."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from audiostream.engine.memory import records, zeros
from audiostream.realtime.compiled import Kernels
from audiostream.realtime.layout import RESAMPLER

__all__ = ("Resampler", "filter_phases", "resampler")

TAPS = 128
"""Frames, at the lower of the two rates, that the filter spans."""

ATTENUATION = 120.0
"""dB of the filter's stop band."""

MAX_PHASES = 2048
"""Rates whose ratio needs more phases than this are left to soxr."""

CHUNK = 4096
"""Most frames that are taken in at once."""


@functools.lru_cache(maxsize=32)
def filter_phases(phases: int, step: int) -> np.ndarray:
    """The filter as float32 (phases, taps): a windowed sinc, cut for each output phase.

    Kaiser's window and his formula for the width of the transition (Oppenheim and Schafer,
    "Discrete-Time Signal Processing", 7.5.3).  The stop band begins at half the lower rate.
    """
    lower = min(1.0, phases / step)  # the lower rate, as a share of the input's
    taps = math.ceil(TAPS / lower / 32) * 32  # whole rounds of a vectorised loop
    width = (ATTENUATION - 8) / (2.285 * 2 * math.pi * taps)
    cutoff = 0.5 * lower - width / 2
    beta = 0.1102 * (ATTENUATION - 8.7)
    at = np.arange(taps) - (taps // 2 - 1) - np.arange(phases)[:, None] / phases
    window = np.i0(beta * np.sqrt(np.maximum(1 - (at / (taps / 2)) ** 2, 0))) / np.i0(beta)
    table = np.sinc(2 * cutoff * at) * window
    table /= table.sum(axis=1, keepdims=True)
    return table.astype(np.float32)


class Resampler:
    """float32 (frames, channels) at one rate to another, chunk by chunk.

    Frames of the result are where those of the source are: there is no shift.  Up to half a
    filter, 64 to 80 frames at the lower rate, is held back until more comes or it is the last.
    """

    def __init__(self, kernels: Kernels, source: int, target: int, channels: int) -> None:
        common = math.gcd(source, target)
        phases, step = target // common, source // common
        self._kernel = kernels.resample
        self._filter = filter_phases(phases, step)
        self._taps: int = self._filter.shape[1]
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
        """Forget what came; the next chunk begins anew."""
        record = self._record[0]
        record["filled"] = self._taps // 2 - 1
        record["index"] = record["phase"] = 0
        self._buffers[:] = 0

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
        flush = self._taps // 2 if last else 0
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
        return math.ceil((self._taps // 2 + 1) * self._ratio) + 2


class _Soxr:
    """soxr, for ratios that would need too large a filter."""

    def __init__(self, source: int, target: int, channels: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(source, target, channels, dtype="float32")
        self._ratio = target / source
        self.clear = self._stream.clear

    def resample_chunk(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        out = np.asarray(self._stream.resample_chunk(block, last=last), np.float32)
        return out if out.ndim == 2 else out[:, None]

    def held_back(self) -> int:
        # soxr 1.1 was seen to hold up to 1,500 frames at the lower of its two rates.
        return math.ceil(2048 * max(1, self._ratio))


def resampler(kernels: Kernels, source: int, target: int, channels: int) -> Any:
    """A converter between two rates (Hz); see :class:`Resampler` for its methods."""
    if target // math.gcd(source, target) <= MAX_PHASES:
        return Resampler(kernels, source, target, channels)
    return _Soxr(source, target, channels)
