"""Peak and power of blocks, in spans of some milliseconds; audio thread.

A meter is float32 (spans + 1, 2): the largest magnitude and the sum of squares of
:data:`~audiostream.realtime.memory.layout.SPAN` frames of the device each, all channels
together.  The span of frame ``index`` is at ``index // SPAN`` modulo the number of spans, a
power of two.  The last row is scratch.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined, reordered
from audiostream.realtime.compile.intrinsics import louder, smaller
from audiostream.realtime.memory.atomics import floats_at
from audiostream.realtime.memory.layout import SPAN, Float32, Floats

__all__ = ("begin_spans", "is_finite", "measure", "peak_of")

SPAN_BITS = SPAN.bit_length() - 1

ZERO = np.float32(0.0)
LARGEST = np.float32(1e30)
"""A number beyond this counts as infinite, since a sum of it may be."""


@reordered
def take_measure(found: Floats, values: Floats, count: int) -> None:
    """Put peak and power of values into `found`."""
    peak = ZERO
    power = ZERO
    for i in range(count):
        peak = louder(peak, values[i])
        power += values[i] * values[i]
    found[0] = peak
    found[1] = power


@reordered
def peak_of(values: Floats, count: int) -> Float32:
    """The largest magnitude of finite values."""
    peak = ZERO
    for i in range(count):
        peak = louder(peak, values[i])
    return peak


@reordered
def is_finite(values: Floats, count: int) -> bool:
    """True if no value is NaN, infinite or so large that a sum of it may be."""
    wrong = 0
    for i in range(count):
        if not (values[i] >= -LARGEST and values[i] <= LARGEST):
            wrong = 1
    return wrong == 0


@inlined
def begin_spans(meter: int, mask: int, index: int, frames: int) -> None:
    """Clear the spans that begin within these frames."""
    first = (index + SPAN - 1) >> SPAN_BITS
    last = (index + frames - 1) >> SPAN_BITS
    for number in range(first, last + 1):
        span = floats_at(meter + 8 * (number & mask), 2)
        span[0] = ZERO
        span[1] = ZERO


@inlined
def measure(
    meter: int, mask: int, index: int, source: int, frames: int, channels: int, level: float
) -> None:
    """Measure frames at a level, the first of which is number `index`.

    :func:`begin_spans` was called for them.

    Parameters
    ----------
    source : int
        Address of float32 (frames, channels).
    """
    found = floats_at(meter + 8 * (mask + 1), 2)
    done = 0
    while done < frames:
        at = index + done
        count = smaller(frames - done, SPAN - (at & (SPAN - 1)))
        values = floats_at(source + 4 * channels * done, count * channels)
        take_measure(found, values, count * channels)
        span = floats_at(meter + 8 * ((at >> SPAN_BITS) & mask), 2)
        span[0] = louder(span[0], np.float32(found[0] * level))
        span[1] += np.float32(found[1] * level * level)
        done += count
