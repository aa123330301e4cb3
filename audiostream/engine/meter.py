"""How loud it was: peak and RMS of what was played or captured; any thread.

The audio thread measures every strip, what is played and what is captured, in spans of the
device's frames (see realtime/units/meter.py).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audiostream.checks import check_number
from audiostream.engine.memory import power_of_two, zeros
from audiostream.realtime.memory.layout import SPAN

__all__ = ("WINDOW", "Level", "Meter", "check_window", "peak_of", "warn_if_too_loud")

WINDOW = 1.0
"""Seconds that can be looked back, at the most."""

TOO_LOUD = 8.0
"""A peak above this, 18 dB beyond full scale, is a mistake of scale and no headroom."""

LOOKED_AT = 400
"""Frames or spans, about, that are looked at for a peak, of however many; up to 500 numbers
numpy keeps the interpreter lock."""

FLOOR = -200.0
"""Decibels that stand for silence."""


def _decibels(value: float) -> float:
    return max(20 * math.log10(value), FLOOR) if value > 0 else FLOOR


@dataclass(frozen=True, slots=True)
class Level:
    """How loud some stretch of sound was.

    Attributes
    ----------
    peak : float
        The largest magnitude, all channels; full scale is 1.0.
    rms : float
        The root of the mean square of all channels' samples: a sine of full scale has 0.707.
    """

    peak: float
    rms: float

    @property
    def peak_db(self) -> float:
        """The peak in decibels of full scale (dBFS); -200 for silence."""
        return _decibels(self.peak)

    @property
    def rms_db(self) -> float:
        """The RMS in decibels of full scale; -200 for silence."""
        return _decibels(self.rms)

    @classmethod
    def of(cls, peak: float, power: float, samples: int) -> Level:
        """From the sum of squares of so many samples."""
        if not math.isfinite(power):  # a NaN was written, which is played as silence
            return cls(0.0 if math.isnan(peak) else float(peak), 0.0)
        return cls(float(peak), math.sqrt(max(power, 0.0) / max(samples, 1)))


def check_window(seconds: float) -> float:
    """Seconds to look back.

    Raises
    ------
    FormatError
        Unless it is more than 0 and at most :data:`WINDOW`.
    """
    return check_number(seconds, "seconds", 0.001, WINDOW, "try 0.1")


def peak_of(samples: np.ndarray) -> float:
    """The largest finite magnitude in some of the frames; as quick for any number of them."""
    some = np.abs(samples[:: len(samples) // LOOKED_AT | 1])
    return float(some[np.isfinite(some)].max(initial=0.0))


def warn_if_too_loud(peak: float, full_scale: float = 1.0) -> bool:
    """Say so in the log if floats are far above full scale; True if they are."""
    if peak <= TOO_LOUD * full_scale:
        return False
    logging.getLogger("audiostream").warning(
        "float samples reach about %.6g, where full scale is 1.0, and are clipped; "
        "divide those at the scale of int16 by 32768, or give them as an int16 array",
        peak / full_scale,
    )
    return True


class Meter:
    """The memory of one meter; see realtime/units/meter.py.

    Parameters
    ----------
    frames : int
        How far apart what is being written and what is still asked for may be.
    """

    def __init__(self, frames: int) -> None:
        self.spans = power_of_two(frames // SPAN + 2)
        self.memory = zeros(2 * (self.spans + 1), np.float32)
        self.address = int(self.memory.ctypes.data)
        self.mask = self.spans - 1

    def pieces(
        self, first: int, last: int, written: int
    ) -> Iterator[tuple[int, int, float, float]]:
        """What there is of the frames from `first` to `last`, span by span.

        Parameters
        ----------
        written : int
            Frames measured so far, `last` at least.

        Yields
        ------
        tuple of int, int, float, float
            From where to where, the span's peak, and the piece's part of its power.
        """
        first = max(first, 0, written - self.spans * SPAN)
        while first < last:
            begin = first - first % SPAN
            end = min(begin + SPAN, last)
            row = 2 * (first // SPAN & self.mask)
            peak, power = self.memory[row : row + 2].tolist()
            there = min(begin + SPAN, written) - begin
            yield first, end, peak, power * (end - first) / there
            first = end

    def total(self, first: int, last: int, written: int) -> tuple[float, float]:
        """Peak and power of the frames from `first` to `last`."""
        loudest = total = 0.0
        for _, _, peak, power in self.pieces(first, last, written):
            loudest = max(loudest, peak)
            total += power
        return loudest, total
