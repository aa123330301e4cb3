"""A source's own rate and channels to those of the sample that plays it; any thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.engine.resampler import resampler
from audiostream.pcm import Format
from audiostream.realtime.compiled import Kernels

__all__ = ("Converter",)


class Converter:
    """Converts blocks one after the other, without a gap.

    Parameters
    ----------
    rate, channels : int
        The source's.
    format : Format
        The sample's.
    """

    def __init__(self, rate: int, channels: int, format: Format, kernels: Kernels) -> None:
        self._kernels = kernels
        self._middle = min(channels, format.channels)
        self._channels = format.channels
        self._resampler: Any = None
        if rate != format.rate:
            self._resampler = resampler(kernels, rate, format.rate, self._middle)

    def convert(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Float32 (frames, channels) of the source to that of the sample.

        With `last`, what the resampler held back comes too.
        """
        block = self._spread(block, self._middle)
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block, last=last)
            if last:
                self._resampler.clear()  # soxr's takes no more otherwise
        return self._spread(block, self._channels)

    def _spread(self, block: np.ndarray, channels: int) -> np.ndarray:
        count, before = block.shape
        if before == channels:
            return block
        block = np.ascontiguousarray(block, np.float32)
        spread = np.empty((count, channels), np.float32)
        self._kernels.spread(spread.ctypes.data, channels, block.ctypes.data, 32, before, count)
        return spread
