"""A source's own rate and channels to those of the sample that plays it; any thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.engine.resampler import resampler
from audiostream.pcm import Format
from audiostream.realtime.compile.kernels import Kernels

__all__ = ("Converter",)


class Converter:
    """Converts blocks one after the other, without a gap.

    Parameters
    ----------
    rate, channels : int
        The source's.
    format : Format
        The sample's.

    Attributes
    ----------
    resamples : bool
        The rates differ.
    held : int
        Frames at the end of the latest block that the resampler made without knowing what
        comes after them; 0 unless that was the last block.
    """

    def __init__(self, rate: int, channels: int, format: Format, kernels: Kernels) -> None:
        self._kernels = kernels
        self._middle = min(channels, format.channels)
        self._channels = format.channels
        self._resampler: Any = None
        self.resamples = rate != format.rate
        if self.resamples:
            self._resampler = resampler(kernels, rate, format.rate, self._middle)
        self._kind = rate, format.rate, self._middle
        self.held = 0
        self._state: Any = None  # before the resampler gave what it held back

    def convert(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Float32 (frames, channels) of the source to that of the sample.

        With `last`, what the resampler held back comes too.
        """
        block = self._spread(block, self._middle)
        self.held, self._state = 0, None
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block)
            if last:
                self._state = self._resampler.save()
                rest = self._resampler.resample_chunk(block[:0], last=True)
                self.held = len(rest)
                self._resampler.clear()  # soxr's takes no more otherwise
                block = np.concatenate((block, rest))
        return self._spread(block, self._channels)

    def follow(self, other: Converter) -> bool:
        """Begin where another one's last block has ended; False if it cannot.

        The first frames that it gives are then in place of those that the other one held.
        """
        if other._state is None or other._kind != self._kind:
            return False
        self._resampler.restore(other._state)
        return True

    def _spread(self, block: np.ndarray, channels: int) -> np.ndarray:
        count, before = block.shape
        if before == channels:
            return block
        block = np.ascontiguousarray(block, np.float32)
        spread = np.empty((count, channels), np.float32)
        self._kernels.spread(spread.ctypes.data, channels, block.ctypes.data, 32, before, count)
        return spread
