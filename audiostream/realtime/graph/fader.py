"""A strip's fader: its levels, and how frames are added to a bus at them; audio thread.

A strip's ramps lie side by side in its record, in three parts.  From :data:`SOURCE_RAMPS` on:
the transport's fades, the fade in after a starvation and the fade of a clear, which work before
the effects.  From :data:`FADER_RAMPS` on: gain, mute and ducking, which work after them.  From
:data:`PAN_RAMPS` on: the levels of the left and the right channel, which only stereo has.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.memory.atomics import floats_at, ramp_at
from audiostream.realtime.memory.layout import RAMP, TABLE, VOICE, Ramp, Stream, Strip
from audiostream.realtime.units.automation import advance, fill_ramp
from audiostream.realtime.units.gain import (
    add_steady,
    add_with_sides,
    multiply_all,
    scale_frames,
)
from audiostream.realtime.units.meter import measure

__all__ = (
    "CLEARING_RAMP",
    "DUCKING_RAMP",
    "FADER_RAMPS",
    "FADE_IN_RAMP",
    "GAIN_RAMP",
    "LEFT_RAMP",
    "MUTE_RAMP",
    "RAMPS_END",
    "RIGHT_RAMP",
    "SOURCE_RAMPS",
    "TRANSPORT_RAMP",
    "advance_silent",
    "fade",
    "level_of",
    "pan_of",
    "ramp_of",
    "source_end",
)


def _offset(name: str) -> int:
    """Offset of one of a strip's ramps."""
    return int(VOICE.fields[name][1])  # type: ignore[index]


TRANSPORT_RAMP = _offset("transport_gain")
FADE_IN_RAMP = _offset("fade_in")
CLEARING_RAMP = _offset("clearing")
GAIN_RAMP = _offset("gain")
MUTE_RAMP = _offset("mute")
DUCKING_RAMP = _offset("ducking")
LEFT_RAMP = _offset("left")
RIGHT_RAMP = _offset("right")
RAMP_BYTES = int(RAMP.itemsize)

SOURCE_RAMPS, FADER_RAMPS, PAN_RAMPS, RAMPS_END = (
    TRANSPORT_RAMP,
    GAIN_RAMP,
    LEFT_RAMP,
    RIGHT_RAMP + RAMP_BYTES,
)


@inlined
def ramp_of(strip: Strip, offset: int) -> Ramp:
    """One of a strip's ramps, by its offset."""
    return ramp_at(strip["address"] + offset)


@inlined
def source_end(strip: Strip) -> int:
    """Where the ramps of a strip's source end: all are its own if there are no effects."""
    return RAMPS_END if strip["nodes_now"] == 0 else FADER_RAMPS


@inlined
def advance_silent(strip: Strip, frames: int) -> None:
    """Move the ramps of a strip's source on by frames for which it has nothing."""
    for offset in range(SOURCE_RAMPS, source_end(strip), RAMP_BYTES):
        advance(ramp_of(strip, offset), frames)


@inlined
def level_of(strip: Strip, first: int, last: int) -> float:
    """The level of the frame before, by the ramps from `first` to `last` but the pan."""
    level = 1.0
    for offset in range(first, smaller(last, PAN_RAMPS), RAMP_BYTES):
        level *= ramp_of(strip, offset)["value"]
    return level


@inlined
def pan_of(stream: Stream, strip: Strip, channel: int, last: int) -> float:
    """The level of a channel by the pan, if that is before `last`."""
    if last != RAMPS_END or stream["channels"] != 2:
        return 1.0
    return ramp_of(strip, PAN_RAMPS + channel * RAMP_BYTES)["value"]


@inlined
def moving_frames(strip: Strip, first: int, last: int, frames: int) -> int:
    """Frames until one of the ramps ends, at most `frames`; 0: none of them moves."""
    count = 0
    for offset in range(first, last, RAMP_BYTES):
        remaining = ramp_of(strip, offset)["remaining"]
        if remaining > 0:
            count = smaller(remaining, frames if count == 0 else count)
    return count


@inlined
def scale_next(
    stream: Stream, strip: Strip, source: int, first: int, last: int, frames: int
) -> None:
    """Put the next frames at their levels, without the pan, into the stream's scratch block.

    None of the ramps ends before.
    """
    channels = stream["channels"]
    end = smaller(last, PAN_RAMPS)
    levels = floats_at(stream["levels"], frames)
    steady = 1.0
    for offset in range(first, end, RAMP_BYTES):
        ramp = ramp_of(strip, offset)
        if ramp["remaining"] == 0:
            steady *= ramp["value"]
    for i in range(frames):
        levels[i] = np.float32(steady)
    for offset in range(first, end, RAMP_BYTES):
        ramp = ramp_of(strip, offset)
        if ramp["remaining"] > 0:
            fill_ramp(ramp, stream["factors"], stream["sines"], frames)
            multiply_all(levels, floats_at(stream["factors"], frames), frames)
    scale_frames(
        floats_at(stream["scaled"], frames * channels),
        floats_at(source, frames * channels),
        levels,
        channels,
        frames,
    )


@inlined
def add_panned(
    stream: Stream, strip: Strip, target: int, source: int, level: float, last: int, frames: int
) -> None:
    """Add frames at a level, and through the pan if that is before `last`.

    The level is 1 where the pan moves, since :func:`scale_next` was called then.
    """
    channels = stream["channels"]
    count = frames * channels
    into = floats_at(target, count)
    values = floats_at(source, count)
    left = ramp_of(strip, LEFT_RAMP)
    right = ramp_of(strip, RIGHT_RAMP)
    pans = last == RAMPS_END and channels == 2
    if pans and left["remaining"] + right["remaining"] > 0:
        add_with_sides(
            into,
            values,
            np.float32(left["value"]),
            np.float32(left["step"]),
            np.float32(right["value"]),
            np.float32(right["step"]),
            frames,
        )
        advance(left, frames)
        advance(right, frames)
    else:
        to_left = np.float32(level * pan_of(stream, strip, 0, last))
        to_right = np.float32(level * pan_of(stream, strip, 1, last))
        table = floats_at(stream["table"], TABLE)
        for j in range(0, TABLE, 2):
            table[j] = to_left
            table[j + 1] = to_right
        add_steady(into, values, table, count)


@inlined
def fade(
    stream: Stream,
    strip: Strip,
    target: int,
    source: int,
    frames: int,
    frame: int,
    first: int,
    last: int,
) -> None:
    """Add frames to a block through a strip's ramps, and move these on.

    What goes to the bus is measured before the pan.

    Parameters
    ----------
    target, source : int
        Addresses of float32 (frames, channels); the source's lie in one piece.
    frame : int
        The device's number of the first one.
    first, last : int
        SOURCE_RAMPS or FADER_RAMPS; FADER_RAMPS or, on the way to the bus, RAMPS_END.
    """
    channels = stream["channels"]
    done = 0
    while done < frames:
        into = target + 4 * channels * done
        block = source + 4 * channels * done
        level = 1.0
        count = moving_frames(strip, first, last, frames - done)
        if count == 0:
            count = frames - done
            level = level_of(strip, first, last)
        else:
            scale_next(stream, strip, block, first, last, count)
            block = stream["scaled"]
        if last == RAMPS_END:
            meter, mask = strip["meter"], strip["meter_mask"]
            measure(meter, mask, frame + done, block, count, channels, level)
        add_panned(stream, strip, into, block, level, last, count)
        done += count
