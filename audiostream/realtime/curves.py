"""Tables of the curves that voices in line are on, which all on one share; audio thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import curve_at, floats_at
from audiostream.realtime.envelope import turn_on
from audiostream.realtime.inlined import inlined
from audiostream.realtime.kinds import EXPONENTIAL
from audiostream.realtime.layout import CURVE_BYTES, CURVES

__all__ = (
    "count_anew",
    "curve_for",
    "curve_of",
    "forget_curves",
    "go_along",
    "leave_tables",
    "take_tables",
)

IN_USE = 2
"""A curve that somebody in line is on; half of it: somebody was before it was made anew."""


@inlined
def curve_of(stream: Any, number: int) -> int:
    """Address of the CURVE of a number."""
    return stream["curves"] + number * CURVE_BYTES


@inlined
def forget_curves(stream: Any) -> None:
    """Nobody is on any curve; their tables stay, in case somebody is again."""
    for k in range(CURVES):
        curve = curve_at(curve_of(stream, k))
        curve["used"] >>= 1
        curve["takers"] = 0


@inlined
def count_anew(stream: Any) -> None:
    """Nobody of the next group has been found to be on any curve."""
    for k in range(CURVES):
        curve_at(curve_of(stream, k))["members"] = 0


@inlined
def curve_for(stream: Any, voice: Any) -> int:
    """The number of the curve that a voice is on, or -1 if there is no room for one more.

    Nor is there for one that is over within a slice, which is not worth one.
    """
    free = -1
    least = IN_USE
    for k in range(CURVES):
        curve = curve_at(curve_of(stream, k))
        same = curve["shape"] == voice["shape"] and curve["turn"] == voice["turn"]
        # The cosines of small angles are one and the same; an hour's fade has 1.
        if same and curve["turn_other"] == voice["turn_other"]:
            curve["used"] = IN_USE
            curve["members"] += 1
            return k
        if curve["used"] < least:
            least = curve["used"]
            free = k
    if voice["gain_left"] <= stream["slice"]:
        return -1
    if free >= 0:
        curve = curve_at(curve_of(stream, free))
        curve["used"] = IN_USE
        curve["members"] = 1
        curve["drawn"] = 0
        curve["shape"] = voice["shape"]
        curve["turn"] = voice["turn"]
        curve["turn_other"] = voice["turn_other"]
        curve["behind"] = 0
    return free


@inlined
def take_tables(stream: Any, number: int) -> None:
    """Have a voice be on a curve's tables, which are made if it is the first one."""
    curve = curve_at(curve_of(stream, number))
    curve["takers"] += 1
    if curve["drawn"] == 0:
        curve["drawn"] = 1
        draw(stream, curve)


@inlined
def leave_tables(stream: Any, number: int) -> None:
    """Have a voice that was counted go another way; others may have the place of the last."""
    curve = curve_at(curve_of(stream, number))
    curve["members"] -= 1
    if curve["members"] + curve["takers"] == 0:
        curve["used"] = 0


@inlined
def draw(stream: Any, curve: Any) -> None:
    """Make the tables of a curve."""
    channels = stream["channels"]
    first = floats_at(curve["first"], stream["slice"] * channels)
    second = floats_at(curve["second"], stream["slice"] * channels)
    curve["curve"] = 1.0
    curve["curve_other"] = 0.0
    curve["behind"] = 0
    for i in range(stream["slice"]):
        turn_on(curve, 1)
        for c in range(channels):
            k = i * channels + c
            if curve["shape"] == EXPONENTIAL:
                second[k] = np.float32(curve["curve"])
            else:
                first[k] = np.float32(curve["curve"])
                second[k] = np.float32(curve["curve_other"] / curve["curve"])


@inlined
def go_along(curve: Any, frames: int) -> None:
    """Have a curve's "curve" be where it is `frames` frames on, if it is not yet."""
    if curve["behind"] != frames:
        curve["behind"] = frames
        curve["curve"] = 1.0
        curve["curve_other"] = 0.0
        turn_on(curve, frames)
