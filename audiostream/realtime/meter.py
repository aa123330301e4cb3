"""Peak and power of what goes by, in spans of some milliseconds; any thread.

A meter is float32 (spans + 1, 2): the largest magnitude and the sum of squares of
:data:`~audiostream.realtime.layout.SPAN` frames each, all channels together.  The span of
frame ``index`` is at ``index // SPAN`` modulo the number of spans, a power of two; the row
behind them is for what is being measured.  Whoever writes frames measures them: the audio
thread what it plays and captures, the producer of a voice what it puts into the ring, which
costs the audio thread nothing.  What a voice's gain does to it later is in the levels that the
mixer notes (see engine/meter.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import floats_at
from audiostream.realtime.inlined import inlined, reordered
from audiostream.realtime.layout import SPAN
from audiostream.realtime.numbers import louder, smaller

__all__ = ("add_measured", "measure", "note_span")

SPAN_BITS = SPAN.bit_length() - 1

ZERO = np.float32(0.0)


@reordered
def take_measure(found: Any, samples: Any, count: int) -> None:
    """Put peak and power of samples into `found`."""
    peak = ZERO
    power = ZERO
    for i in range(count):
        peak = louder(peak, samples[i])
        power += samples[i] * samples[i]
    found[0] = peak
    found[1] = power


@reordered
def add_measured(found: Any, mix: Any, source: Any, gain: Any, count: int) -> None:
    """Add samples to a block at a gain; put peak and power of what was added into `found`."""
    peak = ZERO
    power = ZERO
    for i in range(count):
        value = source[i] * gain
        mix[i] += value
        peak = louder(peak, value)
        power += value * value
    found[0] = peak
    found[1] = power


@inlined
def note_span(meter: int, mask: int, index: int, peak: float, power: float) -> None:
    """Take into account what was measured of frames from `index` on, all within one span."""
    span = floats_at(meter + 8 * ((index >> SPAN_BITS) & mask), 2)
    if index & (SPAN - 1) == 0:
        span[0] = np.float32(peak)
        span[1] = np.float32(power)
    else:
        span[0] = louder(span[0], np.float32(peak))
        span[1] += np.float32(power)


@inlined
def measure(meter: int, mask: int, index: int, source: int, frames: int, channels: int) -> None:
    """Measure frames, the first of which is number `index`; without a meter do nothing.

    Parameters
    ----------
    source : int
        Address of float32 (frames, channels).
    """
    if meter == 0:
        return
    two = floats_at(meter + 8 * (mask + 1), 2)
    done = 0
    while done < frames:
        at = index + done
        count = smaller(frames - done, SPAN - (at & (SPAN - 1)))
        samples = floats_at(source + 4 * channels * done, count * channels)
        take_measure(two, samples, count * channels)
        note_span(meter, mask, at, two[0], two[1])
        done += count
