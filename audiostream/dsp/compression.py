"""A compressor: it turns down what is loud; audio thread.

Feed-forward, in decibels: the peak of all channels gives the wanted reduction (static curve
with a soft knee), and a smooth decoupled peak detector gives it attack and release.  All
channels get the same gain, so that a stereo image does not move.

Source: D. Giannoulis, M. Massberg and J. Reiss, "Digital dynamic range compressor design - a
tutorial and analysis", Journal of the Audio Engineering Society 60(6), 2012.
"""

from __future__ import annotations

import math

from audiostream.kernels.decorator import kernel

__all__ = ("compressor",)

DB = math.log(10.0) / 20.0
"""A factor is ``exp(DB * decibels)``."""

QUIET = 1e-10
"""-200 dB, for silence, which has no logarithm."""


def static_curve(above_db, ratio, knee_db):
    """The reduction in dB of a level so many dB above the threshold (equation 4)."""
    slope = 1.0 - 1.0 / ratio
    if above_db <= -0.5 * knee_db:
        return 0.0
    if above_db < 0.5 * knee_db:
        return slope * (above_db + 0.5 * knee_db) ** 2 / (2.0 * knee_db)
    return slope * above_db


@kernel(
    state={"held_db": "f8", "reduction_db": "f8"},
    limits={
        "threshold_db": (-80.0, 0.0),
        "ratio": (1.0, 100.0),
        "attack": (0.0001, 1.0),
        "release": (0.001, 5.0),
        "knee_db": (0.0, 40.0),
        "makeup_db": (0.0, 40.0),
    },
    scalars=("attack", "release"),
    outputs=("reduction_db",),
)
def compressor(
    block,
    state,
    threshold_db=-18.0,
    ratio=4.0,
    attack=0.01,
    release=0.1,
    knee_db=6.0,
    makeup_db=0.0,
    *,
    rate,
):
    """Turn down what is above a threshold; ``fx.reduction_db`` says by how much.

    Parameters
    ----------
    threshold_db : dB of full scale
        Of the peak.
    ratio : dB per dB
        So many dB more at the input make 1 dB more at the output.
    attack, release : seconds
        In which 63 % of a change is made, downwards and upwards.
    knee_db : dB
        Width of the range around the threshold in which the ratio sets in.
    makeup_db : dB
        Gain of the output.
    """
    turning_down = math.exp(-1.0 / (attack * rate))
    turning_up = math.exp(-1.0 / (release * rate))
    held = state.held_db
    reduction = state.reduction_db
    for i in range(block.shape[0]):
        peak = QUIET
        for c in range(block.shape[1]):
            peak = max(peak, abs(float(block[i, c])))
        above = 20.0 * math.log10(peak) - float(threshold_db[i])
        wanted = static_curve(above, float(ratio[i]), float(knee_db[i]))
        held = max(wanted, wanted + (held - wanted) * turning_up)
        reduction = held + (reduction - held) * turning_down
        gain = math.exp(DB * (makeup_db[i] - reduction))
        for c in range(block.shape[1]):
            block[i, c] *= gain
    state.held_db = held
    state.reduction_db = reduction
