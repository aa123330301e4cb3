"""A limiter that looks ahead: no value leaves it above the ceiling; audio thread.

The sound is delayed by the look-ahead.  Each frame that enters gets a cut: the share by which
the gain must fall so that the frame stays at the ceiling.  The largest cut of the window, from
the frame that leaves now to the one that enters now, is held and then released exponentially.
The gain follows the average of these over a window of the same length.  Each value in that
average is at least the cut of the frame that leaves, so the ceiling holds for any input; and
the average makes the gain move in straight lines.

The largest cut is found with a wedge: those cuts of the window that no later one exceeds, the
largest first.  A frame adds its cut and drops those that it exceeds; each is dropped once, so
the mean cost does not depend on the window.  Cuts are rounded up to multiples of 2^-24.
Float32 holds these exactly and their sum in float64 is exact too: no error adds up, and the
gain returns to exactly 1.

Sources: D. Lemire, "Streaming maximum-minimum filter using no more than three comparisons per
element", Nordic Journal of Computing 13(4), 2006 (the wedge); G. Luff, "Designing a
straightforward limiter", signalsmith-audio.co.uk, 2022 (hold, release, average).
"""

from __future__ import annotations

import math

import numpy as np

from audiostream.kernels.decorator import kernel

__all__ = ("limiter",)

DB = math.log(10.0) / 20.0
"""A factor is ``exp(DB * decibels)``."""

STEPS = 2.0**24
"""Cuts are multiples of 1 / STEPS."""

MARGIN = 1.0 - 1e-7
"""More than what rounding to float32 may add to a value, as a factor."""

QUIET = 1e-10
"""-200 dB, for a gain of 0, which has no logarithm."""


def lookahead_frames(rate, lookahead=0.005):
    """Frames by which the sound is delayed; caller thread."""
    return round(lookahead * rate)


def line_shape(rate, channels, lookahead=0.005):
    """The shape of the window of frames; caller thread."""
    return lookahead_frames(rate, lookahead) + 1, channels


def cuts_shape(rate, channels, lookahead=0.005):
    """The shape of the window of cuts; caller thread."""
    return lookahead_frames(rate, lookahead) + 1


def wedge_shape(rate, channels, lookahead=0.005):
    """The shape of the wedge: cuts, and their places in the window; caller thread."""
    return lookahead_frames(rate, lookahead) + 1, 2


def before(place, size):
    """The place before, in a circle; comparing takes less time than a division."""
    return place - 1 if place > 0 else size - 1


def after(place, size):
    """The place after, in a circle."""
    return place + 1 if place + 1 < size else 0


@kernel(
    state={
        "now": "i8",
        "first": "i8",
        "end": "i8",
        "count": "i8",
        "held": "f8",
        "total": "f8",
        "reduction_db": "f8",
    },
    buffers={"line": line_shape, "cuts": cuts_shape, "wedge": wedge_shape},
    limits={"ceiling_db": (-60.0, 0.0), "release": (0.001, 5.0)},
    latency=lookahead_frames,
    scalars=("ceiling_db", "release"),
    outputs=("reduction_db",),
)
def limiter(block, state, line, cuts, wedge, ceiling_db=-0.3, release=0.05, *, rate):
    """Keep every value at or below a ceiling; ``fx.reduction_db`` says by how much.

    Below the ceiling the sound is unchanged, bit for bit, but ``limiter(lookahead=0.005)``
    seconds late: ``fx.latency``.  All channels get the same gain.

    Parameters
    ----------
    ceiling_db : dB of full scale
        A new ceiling counts from the frames on that enter after it is set.
    release : seconds
        In which 63 % of the way back to full gain is made.
    """
    ceiling = math.exp(DB * ceiling_db)
    releasing = math.exp(-1.0 / (release * rate))
    size = line.shape[0]
    now = state.now
    first = state.first
    end = state.end
    count = state.count
    held = state.held
    total = state.total
    gain = 1.0
    for i in range(block.shape[0]):
        peak = 0.0
        for c in range(block.shape[1]):
            peak = max(peak, abs(float(block[i, c])))
        cut = 0.0
        if peak > ceiling:
            # np.ceil gives a float; math.ceil gives an int, which takes longer.
            cut = np.ceil((1.0 - ceiling * MARGIN / peak) * STEPS) / STEPS

        # The wedge: what leaves the window, what the new cut exceeds, the new cut.
        if count > 0 and wedge[first, 1] == now:
            first = after(first, size)
            count -= 1
        while count > 0 and wedge[before(end, size), 0] <= cut:
            end = before(end, size)
            count -= 1
        wedge[end, 0] = cut
        wedge[end, 1] = now
        end = after(end, size)
        count += 1
        largest = float(wedge[first, 0])

        held = max(largest, largest + (held - largest) * releasing)
        if held * STEPS < 1.0:
            held = 0.0
        rounded = np.ceil(held * STEPS) / STEPS
        total += rounded - cuts[now]
        cuts[now] = rounded
        gain = 1.0 - total / size

        following = after(now, size)  # the place of the oldest frame
        for c in range(block.shape[1]):
            line[now, c] = block[i, c]
            block[i, c] = line[following, c] * gain
        now = following
    state.now = now
    state.first = first
    state.end = end
    state.count = count
    state.held = held
    state.total = total
    state.reduction_db = math.log(1.0 / max(gain, QUIET)) / DB
