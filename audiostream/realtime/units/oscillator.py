"""A sine wave; any thread, lock held.

Each value is the one before turned by the step's angle in float64.  The caller computes sine
and cosine for each block, so that the rounding of at most some thousand turns adds up (about
1e-13), and keeps the phase itself.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.memory.atomics import floats_at, sine_at

__all__ = ("sine",)


@inlined
def sine(address: int, target: int, frames: int) -> None:
    """Write the next frames, the same on all channels, as float32 (frames, channels).

    Parameters
    ----------
    address : int
        Of a SINE record; its level is moved along its ramp.
    target : int
        Address of float32 (frames * channels,).
    """
    state = sine_at(address)
    channels = state["channels"]
    values = floats_at(target, frames * channels)
    s = state["sine"]
    c = state["cosine"]
    turn_s = state["turn_sine"]
    turn_c = state["turn_cosine"]
    level = state["level"]
    ramp = smaller(state["ramp_left"], frames)
    at = 0
    for i in range(frames):
        if i < ramp:
            level += state["step"]
        value = np.float32(s * level)
        for _ in range(channels):
            values[at] = value
            at += 1
        turned = s * turn_c + c * turn_s
        c = c * turn_c - s * turn_s
        s = turned
    state["ramp_left"] -= ramp
    state["level"] = level if state["ramp_left"] > 0 else state["goal"]
