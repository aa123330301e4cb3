"""A strip's fader: its levels, and how frames are added to a bus at them; audio thread.

A strip's ramps lie side by side in its record.  Those from :data:`SOURCE_RAMPS` on work before
the effects: the transport's fades, the fade in after a starvation, the fade of a clear.  Those
from :data:`FADER_RAMPS` on work after them: gain, mute, ducking.  From :data:`SIDE_RAMPS` on
there are the levels of the left and the right channel, which only stereo has.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.memory.atomics import floats_at, ramp_at
from audiostream.realtime.memory.layout import RAMP, TABLE, VOICE, Ramp, Stream, Strip
from audiostream.realtime.units.automation import advance, fill_ramp
from audiostream.realtime.units.gain import (
    add_block,
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
    "SIDE_RAMPS",
    "SOURCE_RAMPS",
    "TRANSPORT_RAMP",
    "fade",
    "fade_source",
    "level_of",
    "pass_time",
    "ramp_of",
    "side_of",
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

SOURCE_RAMPS, FADER_RAMPS, SIDE_RAMPS, RAMPS_END = (
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
def level_of(strip: Strip, first: int, last: int) -> float:
    """The level of the frame before, by the ramps from `first` to `last`."""
    level = 1.0
    for offset in range(first, last, RAMP_BYTES):
        level *= ramp_at(strip["address"] + offset)["value"]
    return level


@inlined
def side_of(strip: Strip, channel: int, channels: int) -> float:
    """The level of a channel by the pan."""
    if channels != 2:
        return 1.0
    return ramp_at(strip["address"] + LEFT_RAMP + channel * RAMP_BYTES)["value"]


@inlined
def pass_time(strip: Strip, first: int, last: int, frames: int) -> None:
    """Move ramps on by frames in which nothing sounds."""
    for offset in range(first, last, RAMP_BYTES):
        advance(ramp_at(strip["address"] + offset), frames)


@inlined
def steady_frames(strip: Strip, first: int, last: int, frames: int) -> int:
    """So many frames, or fewer if one of the ramps ends before; negative if none moves."""
    count = frames
    moves = False
    for offset in range(first, last, RAMP_BYTES):
        left = ramp_at(strip["address"] + offset)["remaining"]
        if left > 0:
            count = smaller(count, left)
            moves = True
    return count if moves else -count


@inlined
def fill_levels(stream: Stream, strip: Strip, first: int, last: int, frames: int) -> None:
    """Put down the levels of the next frames by the ramps, which have as many left, or none."""
    levels = floats_at(stream["levels"], frames)
    steady = 1.0
    for offset in range(first, last, RAMP_BYTES):
        ramp = ramp_at(strip["address"] + offset)
        if ramp["remaining"] == 0:
            steady *= ramp["value"]
    for i in range(frames):
        levels[i] = np.float32(steady)
    for offset in range(first, last, RAMP_BYTES):
        ramp = ramp_at(strip["address"] + offset)
        if ramp["remaining"] > 0:
            fill_ramp(ramp, stream["factors"], stream["sines"], frames)
            multiply_all(levels, floats_at(stream["factors"], frames), frames)


@inlined
def scale_next(
    stream: Stream, strip: Strip, source: int, first: int, last: int, frames: int
) -> None:
    """Put the next frames at their levels into the stream's scratch block."""
    channels = stream["channels"]
    fill_levels(stream, strip, first, last, frames)
    scale_frames(
        floats_at(stream["scaled"], frames * channels),
        floats_at(source, frames * channels),
        floats_at(stream["levels"], frames),
        channels,
        frames,
    )


@inlined
def add_at_rest(
    stream: Stream, mix: int, source: int, left: float, right: float, frames: int
) -> None:
    """Add frames at levels that do not move."""
    samples = frames * stream["channels"]
    table = floats_at(stream["table"], TABLE)
    for j in range(0, TABLE, 2):
        table[j] = np.float32(left)
        table[j + 1] = np.float32(right)
    add_steady(floats_at(mix, samples), floats_at(source, samples), table, samples)


@inlined
def add_moving(stream: Stream, strip: Strip, mix: int, frames: int) -> None:
    """Add the scratch block, panned, and move the pan on."""
    channels = stream["channels"]
    block = floats_at(mix, frames * channels)
    scaled = floats_at(stream["scaled"], frames * channels)
    if channels != 2:
        add_block(block, scaled, frames * channels)
        return
    left = ramp_of(strip, LEFT_RAMP)
    right = ramp_of(strip, RIGHT_RAMP)
    add_with_sides(
        block,
        scaled,
        np.float32(left["value"]),
        np.float32(left["step"]),
        np.float32(right["value"]),
        np.float32(right["step"]),
        frames,
    )
    advance(left, frames)
    advance(right, frames)


@inlined
def fade(
    stream: Stream, strip: Strip, mix: int, source: int, frames: int, frame: int, first: int
) -> None:
    """Add frames to a bus through the ramps from `first` on, and measure them before the pan.

    Parameters
    ----------
    mix, source : int
        Addresses of float32 (frames, channels); the source's lie in one piece.
    frame : int
        The device's number of the first one.
    first : int
        SOURCE_RAMPS, or FADER_RAMPS where effects lie between.
    """
    channels = stream["channels"]
    done = 0
    while done < frames:
        offset = 4 * channels * done
        count = steady_frames(strip, first, RAMPS_END, frames - done)
        meter, mask = strip["meter"], strip["meter_mask"]
        if count < 0:
            count = -count
            level = level_of(strip, first, SIDE_RAMPS)
            measure(meter, mask, frame + done, source + offset, count, channels, level)
            left = level * side_of(strip, 0, channels)
            right = level * side_of(strip, 1, channels)
            add_at_rest(stream, mix + offset, source + offset, left, right, count)
        else:
            scale_next(stream, strip, source + offset, first, SIDE_RAMPS, count)
            measure(meter, mask, frame + done, stream["scaled"], count, channels, 1.0)
            add_moving(stream, strip, mix + offset, count)
        done += count


@inlined
def fade_source(stream: Stream, strip: Strip, block: int, source: int, frames: int) -> None:
    """Add frames to a block that goes through effects, by the ramps before them."""
    channels = stream["channels"]
    done = 0
    while done < frames:
        offset = 4 * channels * done
        count = steady_frames(strip, SOURCE_RAMPS, FADER_RAMPS, frames - done)
        if count < 0:
            count = -count
            level = level_of(strip, SOURCE_RAMPS, FADER_RAMPS)
            add_at_rest(stream, block + offset, source + offset, level, level, count)
        else:
            samples = count * channels
            scale_next(stream, strip, source + offset, SOURCE_RAMPS, FADER_RAMPS, count)
            add_block(
                floats_at(block + offset, samples),
                floats_at(stream["scaled"], samples),
                samples,
            )
        done += count
