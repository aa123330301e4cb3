"""How loud a voice is from frame to frame: its gain on a curve, times ramps; audio thread.

A ramp (:data:`~audiostream.realtime.layout.RAMP`) goes in a straight line; its first frame is
one step away from where it began, and its last one is at its goal.  The gain knows curves,
too; with ``x`` the part of the way that is done and ``w`` from 0 to 1:

* LINEAR: ``from + (goal - from) x``;
* EXPONENTIAL: ``from + (goal - from) w``, ``w = (exp(k x) - 1) / (exp(k) - 1)``, with
  ``k = ln 1000`` upwards and ``-ln 1000`` downwards: 60 dB in equal parts, and yet it begins
  and ends where it should, at 0, too;
* EQUAL_POWER: ``sqrt(from^2 cos^2(x pi/2) + goal^2 sin^2(x pi/2))``, the squares in a
  straight mix: of two voices that cross over, the power stays the same.

A curve is followed by turning one or two numbers by a constant factor in every frame, which
whoever gives the command has computed (see engine/control.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import floats_at, ramp_at
from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.kinds import EXPONENTIAL, LINEAR
from audiostream.realtime.layout import VOICE
from audiostream.realtime.numbers import multiply_add, smaller, square_root

__all__ = (
    "FLOW",
    "LEFT",
    "MUTE",
    "RETURN",
    "RIGHT",
    "add_levels",
    "is_level",
    "level_now",
    "pass_time",
    "piece",
    "set_ramp",
    "start_gain",
    "start_ramp",
)

MUTE = int(VOICE.fields["mute"][1])  # type: ignore[index]
"""Offsets of a voice's ramps: 0 where it is muted; 0 where it is paused, or a command has
stopped it; from 0 when it comes back after it ran dry; what the left and the right channel
are multiplied by."""
FLOW = int(VOICE.fields["flow"][1])  # type: ignore[index]
RETURN = int(VOICE.fields["return"][1])  # type: ignore[index]
LEFT = int(VOICE.fields["left"][1])  # type: ignore[index]
RIGHT = int(VOICE.fields["right"][1])  # type: ignore[index]


# --- ramps -------------------------------------------------------------------------


@inlined
def set_ramp(ramp: Any, value: float) -> None:
    """Be at a value, and stay there."""
    ramp["value"] = value
    ramp["goal"] = value
    ramp["step"] = 0.0
    ramp["to_go"] = 0


@inlined
def start_ramp(ramp: Any, goal: float, frames: int) -> None:
    """Set out for a goal; at once if there are no frames for it."""
    if frames <= 0 or goal == ramp["value"]:
        set_ramp(ramp, goal)
    else:
        ramp["goal"] = goal
        ramp["step"] = (goal - ramp["value"]) / frames
        ramp["to_go"] = frames


@inlined
def advance(ramp: Any, frames: int) -> None:
    """Move on by so many frames, which may be more than the way is long."""
    if ramp["to_go"] > frames:
        ramp["to_go"] -= frames
        ramp["value"] += frames * ramp["step"]
    elif ramp["to_go"] > 0:
        set_ramp(ramp, ramp["goal"])


@inlined
def scale(ramp: Any, levels: Any, count: int) -> None:
    """Multiply the levels of the next frames by the ramp, which has as many left, or none."""
    value = ramp["value"]
    if ramp["to_go"] > 0:
        step = ramp["step"]
        ends = ramp["to_go"] == count
        for i in range(count - 1 if ends else count):
            levels[i] *= np.float32(value + (i + 1) * step)
        advance(ramp, count)
        if ends:
            levels[count - 1] *= np.float32(ramp["value"])
    elif value != 1.0:
        for i in range(count):
            levels[i] *= np.float32(value)


@inlined
def within(ramp: Any, count: int) -> int:
    """So many frames, or as many as the ramp has left if it has fewer."""
    return smaller(count, ramp["to_go"]) if ramp["to_go"] > 0 else count


# --- the gain ----------------------------------------------------------------------


@inlined
def start_gain(
    voice: Any, goal: float, frames: int, shape: int, turn: float, turn_other: float
) -> None:
    """Set the gain out for a goal on a curve; at once if there are no frames for it."""
    before = voice["gain"]
    voice["gain_goal"] = goal
    voice["gain_step"] = 0.0
    voice["shape"] = LINEAR
    voice["way"] = 0  # how it is summed in line is to be found anew
    if frames <= 0 or goal == before:
        voice["gain"] = goal
        voice["gain_left"] = 0
        return
    voice["gain_left"] = frames
    if shape == LINEAR:
        voice["gain_step"] = (goal - before) / frames
        return
    voice["shape"] = shape
    voice["gain_from"] = before
    voice["curve"] = 1.0
    voice["curve_other"] = 0.0
    voice["turn"] = turn
    voice["turn_other"] = turn_other
    if shape == EXPONENTIAL:
        if goal > before:
            voice["span"] = turn_other - 1.0
        else:
            voice["turn"] = 1.0 / turn
            voice["span"] = 1.0 / turn_other - 1.0


@inlined
def turn_on(record: Any, frames: int) -> None:
    """Move a voice's place on its curve, or a CURVE's, on by so many frames.

    The factor of a frame is raised to their number by squaring.
    """
    factor = record["turn"]
    if record["shape"] == EXPONENTIAL:
        while frames > 0:
            if frames & 1 != 0:
                record["curve"] *= factor
            factor *= factor
            frames >>= 1
        return
    other = record["turn_other"]
    while frames > 0:
        if frames & 1 != 0:
            cosine = record["curve"]
            sine = record["curve_other"]
            record["curve"] = cosine * factor - sine * other
            record["curve_other"] = sine * factor + cosine * other
        square = factor * factor - other * other
        other *= 2.0 * factor
        factor = square
        frames >>= 1


@inlined
def gain_on_curve(voice: Any) -> float:
    """The gain where the voice is on its curve."""
    begin = voice["gain_from"]
    goal = voice["gain_goal"]
    if voice["shape"] == EXPONENTIAL:
        return begin + (goal - begin) * (voice["curve"] - 1.0) / voice["span"]
    low = begin * voice["curve"]
    high = goal * voice["curve_other"]
    return square_root(low * low + high * high)


@inlined
def advance_gain(voice: Any, frames: int) -> None:
    """Move the gain on by so many frames, which may be more than its way is long."""
    left = voice["gain_left"]
    if left == 0:
        return
    if frames >= left:
        voice["gain"] = voice["gain_goal"]
        voice["gain_step"] = 0.0
        voice["gain_left"] = 0
        voice["shape"] = LINEAR
        return
    voice["gain_left"] = left - frames
    if voice["shape"] == LINEAR:
        voice["gain"] += frames * voice["gain_step"]
    else:
        turn_on(voice, frames)
        voice["gain"] = gain_on_curve(voice)


@apart
def scale_all(target: Any, source: Any, factor: Any, count: int) -> None:
    """Multiply numbers by a factor."""
    for i in range(count):
        target[i] = source[i] * factor


@apart
def move_all(levels: Any, factor: Any, offset: Any, count: int) -> None:
    """Multiply levels by a factor, and add to them."""
    for i in range(count):
        levels[i] = multiply_add(levels[i], factor, offset)


@apart
def turn_all(
    cosines: Any, sines: Any, cosine: Any, sine: Any, turn: Any, other: Any, count: int
) -> None:
    """Turn points on a circle by an angle, of which `turn` and `other` are cosine and sine."""
    for i in range(count):
        cosines[i] = multiply_add(cosine[i], turn, sine[i] * -other)
        sines[i] = multiply_add(sine[i], turn, cosine[i] * other)


@apart
def hypotenuses(levels: Any, sines: Any, low: Any, high: Any, count: int) -> None:
    """``sqrt((low cos)^2 + (high sin)^2)``, in place of the cosines."""
    for i in range(count):
        beside = low * levels[i]
        opposite = high * sines[i]
        levels[i] = square_root(multiply_add(beside, beside, opposite * opposite))


@inlined
def fill_exponential(voice: Any, levels: int, count: int) -> None:
    """Take the next frames' gain as their levels, by doubling: ``x^(n+k) = x^n x^k``."""
    powers = floats_at(levels, count)
    factor = voice["turn"]
    powers[0] = np.float32(factor)
    done = 1
    while done < count:
        more = smaller(done, count - done)
        scale_all(floats_at(levels + 4 * done, more), powers, np.float32(factor), more)
        done += more
        factor *= factor
    whole = (voice["gain_goal"] - voice["gain_from"]) / voice["span"]
    offset = np.float32(voice["gain_from"] - whole)
    move_all(powers, np.float32(whole * voice["curve"]), offset, count)


@inlined
def fill_equal_power(voice: Any, levels: int, others: int, count: int) -> None:
    """Take the next frames' gain as their levels, by doubling angles; `others`: scratch."""
    cosines = floats_at(levels, count)
    sines = floats_at(others, count)
    turn = voice["turn"]
    other = voice["turn_other"]
    cosines[0] = np.float32(voice["curve"] * turn - voice["curve_other"] * other)
    sines[0] = np.float32(voice["curve_other"] * turn + voice["curve"] * other)
    done = 1
    while done < count:
        more = smaller(done, count - done)
        turn_all(
            floats_at(levels + 4 * done, more),
            floats_at(others + 4 * done, more),
            cosines,
            sines,
            np.float32(turn),
            np.float32(other),
            more,
        )
        done += more
        square = turn * turn - other * other
        other *= 2.0 * turn
        turn = square
    low = np.float32(voice["gain_from"])
    hypotenuses(cosines, sines, low, np.float32(voice["gain_goal"]), count)


@inlined
def fill_gain(stream: Any, voice: Any, count: int) -> None:
    """Take the next frames' gain as their levels; the gain has as many left, or none."""
    levels = floats_at(stream["levels"], count)
    value = voice["gain"]
    if voice["gain_left"] == 0:
        for i in range(count):
            levels[i] = np.float32(value)
        return
    if voice["shape"] == LINEAR:
        step = voice["gain_step"]
        for i in range(count):
            levels[i] = np.float32(value + (i + 1) * step)
    elif voice["shape"] == EXPONENTIAL:
        fill_exponential(voice, stream["levels"], count)
    else:
        fill_equal_power(voice, stream["levels"], stream["sines"], count)
    advance_gain(voice, count)
    if voice["gain_left"] == 0:
        levels[count - 1] = np.float32(voice["gain"])


# --- all together ------------------------------------------------------------------


@inlined
def is_level(address: int) -> bool:
    """True if nothing but the gain makes the voice louder or softer."""
    mute = ramp_at(address + MUTE)
    flow = ramp_at(address + FLOW)
    back = ramp_at(address + RETURN)
    left = ramp_at(address + LEFT)
    right = ramp_at(address + RIGHT)
    moving = mute["to_go"] + flow["to_go"] + back["to_go"] + left["to_go"] + right["to_go"]
    ones = mute["value"] == 1.0 and flow["value"] == 1.0 and back["value"] == 1.0
    return moving == 0 and ones and left["value"] == 1.0 and right["value"] == 1.0


@inlined
def level_now(voice: Any, address: int) -> float:
    """The level of the frame before, but for the channels' own."""
    level = voice["gain"] * ramp_at(address + MUTE)["value"]
    return level * ramp_at(address + FLOW)["value"] * ramp_at(address + RETURN)["value"]


@inlined
def add_even(mix: Any, source: Any, levels: Any, channels: int, frames: int) -> None:
    """Add frames at their levels."""
    if channels == 1:
        add_mono(mix, source, levels, frames)
        return
    for i in range(frames):
        for c in range(channels):
            k = i * channels + c
            mix[k] = multiply_add(source[k], levels[i], mix[k])


@apart
def add_mono(mix: Any, source: Any, levels: Any, frames: int) -> None:
    """Add frames of one channel at their levels."""
    for i in range(frames):
        mix[i] = multiply_add(source[i], levels[i], mix[i])


@apart
def add_panned(
    mix: Any,
    source: Any,
    levels: Any,
    left: Any,
    left_step: Any,
    right: Any,
    right_step: Any,
    frames: int,
) -> None:
    """Add stereo frames at their levels, and each channel at its own along its ramp."""
    for i in range(frames):
        t = np.float32(i + 1)
        to_left = levels[i] * multiply_add(t, left_step, left)
        to_right = levels[i] * multiply_add(t, right_step, right)
        mix[2 * i] = multiply_add(source[2 * i], to_left, mix[2 * i])
        mix[2 * i + 1] = multiply_add(source[2 * i + 1], to_right, mix[2 * i + 1])


@inlined
def piece(voice: Any, address: int, frames: int) -> int:
    """So many frames, or fewer if one of the ways ends before."""
    count = frames
    if voice["gain_left"] > 0:
        count = smaller(count, voice["gain_left"])
    count = within(ramp_at(address + MUTE), count)
    count = within(ramp_at(address + FLOW), count)
    count = within(ramp_at(address + RETURN), count)
    count = within(ramp_at(address + LEFT), count)
    return within(ramp_at(address + RIGHT), count)


@inlined
def add_levels(
    stream: Any,
    voice: Any,
    address: int,
    mix: int,
    source: int,
    frames: int,
    fade: float,
    fade_step: float,
) -> None:
    """Add frames along all ways; frame ``t``, from 1, is faded by ``fade + t fade_step``.

    Parameters
    ----------
    mix, source : int
        Addresses of float32 (frames, channels); the source's are in one piece.
    frames : int
        At most a slice, and a :func:`piece`: none of the ways ends before.
    """
    channels = stream["channels"]
    levels = floats_at(stream["levels"], frames)
    fill_gain(stream, voice, frames)
    scale(ramp_at(address + MUTE), levels, frames)
    scale(ramp_at(address + FLOW), levels, frames)
    scale(ramp_at(address + RETURN), levels, frames)
    if fade_step != 0.0:
        for i in range(frames):
            levels[i] *= np.float32(fade + (i + 1) * fade_step)
    block = floats_at(mix, frames * channels)
    samples = floats_at(source, frames * channels)
    if channels != 2:
        add_even(block, samples, levels, channels, frames)
        return
    left = ramp_at(address + LEFT)
    right = ramp_at(address + RIGHT)
    add_panned(
        block,
        samples,
        levels,
        np.float32(left["value"]),
        np.float32(left["step"]),
        np.float32(right["value"]),
        np.float32(right["step"]),
        frames,
    )
    advance(left, frames)
    advance(right, frames)


@inlined
def pass_time(voice: Any, address: int, frames: int) -> None:
    """Move along all ways by frames that were summed elsewhere, or in which nothing sounds."""
    advance_gain(voice, frames)
    advance(ramp_at(address + MUTE), frames)
    advance(ramp_at(address + FLOW), frames)
    advance(ramp_at(address + RETURN), frames)
    advance(ramp_at(address + LEFT), frames)
    advance(ramp_at(address + RIGHT), frames)
