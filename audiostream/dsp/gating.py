"""A noise gate: it turns down what is quiet; audio thread.

The peak of all channels opens the gate, a hold keeps it open between two words or periods, and
the gain moves towards its goal exponentially.

Source: U. Zoelzer (ed.), DAFX, 2nd edition, 2011, chapter 4, "Noise gate".
"""

from __future__ import annotations

import math

from audiostream.kernels.decorator import kernel

__all__ = ("gate",)

DB = math.log(10.0) / 20.0
"""A factor is ``exp(DB * decibels)``."""


@kernel(
    state={"gain": "f8", "holding": "i8"},
    limits={
        "threshold_db": (-100.0, 0.0),
        "attack": (0.0001, 1.0),
        "hold": (0.0, 10.0),
        "release": (0.001, 5.0),
        "range_db": (0.0, 120.0),
    },
    scalars=("threshold_db", "attack", "hold", "release", "range_db"),
    outputs=("gain",),
)
def gate(
    block,
    state,
    threshold_db=-50.0,
    attack=0.002,
    hold=0.05,
    release=0.1,
    range_db=60.0,
    *,
    rate,
):
    """Turn down what stays below a threshold, such as the noise of a microphone.

    It begins closed; ``fx.gain`` is its gain, 1 while it is open.

    Parameters
    ----------
    threshold_db : dB of full scale
        A peak at or above it opens the gate.
    attack, release : seconds
        In which 63 % of the way is made when the gate opens and when it closes.
    hold : seconds
        The gate stays open after the last peak at or above the threshold.
    range_db : dB
        By which a closed gate turns down.
    """
    threshold = math.exp(DB * threshold_db)
    closed = math.exp(-DB * range_db)
    opening = math.exp(-1.0 / (attack * rate))
    closing = math.exp(-1.0 / (release * rate))
    gain = state.gain
    holding = state.holding
    for i in range(block.shape[0]):
        peak = 0.0
        for c in range(block.shape[1]):
            peak = max(peak, abs(float(block[i, c])))
        if peak >= threshold:
            holding = int(hold * rate) + 1
        if holding > 0:
            holding -= 1
            gain = 1.0 + (gain - 1.0) * opening
        else:
            gain = closed + (gain - closed) * closing
        for c in range(block.shape[1]):
            block[i, c] *= gain
    state.gain = gain
    state.holding = holding
