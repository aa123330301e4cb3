"""A delay with feedback, whose time may move in each frame; audio thread.

A time between two frames is read from the four frames around it by a cubic polynomial (Hermite,
also named after Catmull and Rom).  Its gain is 1 at most, so that the feedback never grows.

Sources: T. Laakso, V. Valimaki, M. Karjalainen and U. Laine, "Splitting the unit delay", IEEE
Signal Processing Magazine 13(1), 1996; O. Niemitalo, "Polynomial interpolators for high-quality
resampling of oversampled audio", 2001 (the polynomial).
"""

from __future__ import annotations

from audiostream.kernels.decorator import kernel

__all__ = ("delay",)

AROUND = 5
"""Frames of the line beyond the longest delay, for the polynomial and for the next frame."""


def line_shape(rate, channels, longest=1.0):
    """The shape of the line; caller thread."""
    return int(longest * rate) + AROUND, channels


def silence_between(rate, longest=1.0):
    """Seconds for which the output may be silent while sound is in the line; caller thread."""
    return longest


def before(place, size):
    """The place of the frame before; comparing takes less time than a division."""
    return place - 1 if place > 0 else size - 1


def hermite(a, b, c, d, x):
    """The cubic through b (x = 0) and c (x = 1), with the slopes of its neighbours a and d."""
    c1 = 0.5 * (c - a)
    c3 = 1.5 * (b - c) + 0.5 * (d - a)
    c2 = a - b + c1 - c3
    return ((c3 * x + c2) * x + c1) * x + b


@kernel(
    state={"now": "i8"},
    buffers={"line": line_shape},
    limits={"seconds": (0.0, 60.0, "longest"), "feedback": (-0.99, 0.99), "mix": (0.0, 1.0)},
    tail=silence_between,
)
def delay(block, state, line, seconds=0.3, feedback=0.4, mix=0.35, *, rate):
    """Repeat the sound after a time, and the repetitions, each one quieter.

    ``delay(longest=2.0)`` has room for 2 seconds; without it, for 1.

    Parameters
    ----------
    seconds : seconds
        Up to `longest`; at least two frames are used.  While it moves, the pitch of the
        repetitions moves too, as on a tape.
    feedback : factor
        How much of each repetition is repeated; negative ones turn the sign.
    mix : factor
        0 is the sound alone, 1 are the repetitions alone.
    """
    size = line.shape[0]
    now = state.now
    for i in range(block.shape[0]):
        frames = min(max(float(seconds[i]) * rate, 2.0), size - 3.0)
        whole = int(frames)
        part = frames - whole
        newer = now - whole + 1
        if newer < 0:
            newer += size
        here = before(newer, size)
        older = before(here, size)
        oldest = before(older, size)
        for c in range(block.shape[1]):
            wet = hermite(line[newer, c], line[here, c], line[older, c], line[oldest, c], part)
            dry = float(block[i, c])
            line[now, c] = dry + feedback[i] * wet
            block[i, c] = dry + mix[i] * (wet - dry)
        now += 1
        if now == size:
            now = 0
    state.now = now
