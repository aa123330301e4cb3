"""A streaming polyphase resampler; caller threads and event loops, interpreter lock held.

soxr releases the interpreter lock for every chunk, and beside a busy Python thread it takes
5 ms to get it back: of 50 resampled voices with chunks of 20 ms most of the sound was missing.
It also holds back up to 175 ms.  Here a chunk takes microseconds, and half a filter is held
back.

The rate changes by the ratio ``phases / step``.  Output ``k`` is centred on the input at
``k * step / phases``: one dot product of the filter's phase with the frames around it.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined, reordered
from audiostream.realtime.memory.atomics import floats_at, resampler_at
from audiostream.realtime.memory.layout import Floats
from audiostream.realtime.units.conversion import sane

__all__ = ("resample",)

ZERO = np.float32(0.0)


@reordered
def dot(a: Floats, b: Floats, count: int) -> float:
    """The sum of products, in the fastest order."""
    total = ZERO
    for i in range(count):
        total += a[i] * b[i]
    return float(total)


@inlined
def resample(address: int, source: int, frames: int, target: int) -> int:
    """Take in `frames` frames, and write the frames that are complete.

    Parameters
    ----------
    address : int
        The RESAMPLER record; its buffers have room for the frames.
    source, target : int
        Addresses of float32 (frames, channels).  No source at all is silence.

    Returns
    -------
    int
        Frames written to the target.
    """
    state = resampler_at(address)
    channels = state["channels"]
    taps = state["taps"]
    filled = state["filled"] + frames
    index = state["index"]
    phase = state["phase"]
    made = 0
    for c in range(channels):
        buffer = floats_at(state["buffers"] + 4 * c * state["capacity"], filled)
        values = floats_at(source, frames * channels)
        output = floats_at(target, 1 << 40 if target != 0 else 0)
        for i in range(frames):
            value = sane(values[i * channels + c]) if source != 0 else ZERO
            buffer[state["filled"] + i] = value
        index = state["index"]
        phase = state["phase"]
        made = 0
        while index + taps <= filled:
            filter = floats_at(state["filter"] + 4 * taps * phase, taps)
            window = floats_at(state["buffers"] + 4 * (c * state["capacity"] + index), taps)
            output[made * channels + c] = dot(filter, window, taps)
            made += 1
            index += state["whole"]
            phase += state["part"]
            if phase >= state["phases"]:
                phase -= state["phases"]
                index += 1
        # What the next outputs need goes to the front.
        gone = index if index < filled else filled
        for i in range(filled - gone):
            buffer[i] = buffer[gone + i]
    gone = index if index < filled else filled
    state["filled"] = filled - gone
    state["index"] = index - gone
    state["phase"] = phase
    return made
