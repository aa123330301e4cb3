"""How loud a voice in line is whose channels differ, or that is on a curve; audio thread.

Of all that makes a voice louder and softer (envelope.py) at most one thing moves while it is in
line.  In frame ``t`` of a block, from 1, it is then multiplied by

    side * (first * F(t) + second * S(t))

where ``side`` is each channel's own, and F and S are the tables of its *way*, the same for all
in a pass:

* EVEN: 1 and ``t``, and all channels are the same; that goes without tables (line.py);
* SIDED: 1 and ``t``; or ``side`` moves, in a straight line, too;
* from CURVED on, a CURVE each, exponential: 1 and ``turn^t``; of equal power: the cosine and
  the sine of ``t`` times its angle, which is all there is to it from silence or to it.  The
  table beside the cosine's is the tangent's, so that the cosine is multiplied by only once.

From block to block the two numbers of a voice, its COURSE, are moved on as the angle-sum
identities have it.  What of them the channels get is in its *pattern*, which repeats within a
block, so that a pass keeps those of four voices in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import course_at, curve_at, floats_at, ramp_at, words_at
from audiostream.realtime.envelope import FLOW, LEFT, MUTE, RETURN, RIGHT, level_now, turn_on
from audiostream.realtime.inlined import inlined
from audiostream.realtime.kinds import EQUAL_POWER, EXPONENTIAL, LINEAR
from audiostream.realtime.layout import (
    COURSE_BYTES,
    CURVE_BYTES,
    CURVES,
    NEAR,
    PASS,
    PATTERN,
)
from audiostream.realtime.numbers import larger
from audiostream.realtime.sums import mix_four_along, mix_four_turning, set_pattern

__all__ = (
    "ALONE",
    "CURVED",
    "EVEN",
    "SIDED",
    "WITHOUT_TABLES",
    "follow_course",
    "forget_curves",
    "is_steady",
    "is_to_note",
    "leave_course",
    "mix_courses",
    "moves_for",
    "set_course",
    "step_of",
    "way_of",
)

EVEN, SIDED, CURVED = 0, 1, 2
"""The ways; see above."""

ALONE, WITHOUT_TABLES = -1, -2
"""Of voices that are not in line: for what they do; only because their curve has no tables."""

IN_USE = 2
"""A curve that somebody in line is on; half of it: somebody was before it was made anew."""

POINTS = 64
"""Of a curve, that a meter is told of: an exponential one then is off by 0.15 % at most."""


# --- who is on which way -----------------------------------------------------------


@inlined
def is_steady(voice: Any, address: int) -> bool:
    """True if so little of the voice's level moves that it may stand in line."""
    moving = 1 if voice["gain_left"] > 0 else 0
    moving += 1 if ramp_at(address + MUTE)["to_go"] > 0 else 0
    moving += 1 if ramp_at(address + FLOW)["to_go"] > 0 else 0
    moving += 1 if ramp_at(address + RETURN)["to_go"] > 0 else 0
    sides = ramp_at(address + LEFT)["to_go"] + ramp_at(address + RIGHT)["to_go"]
    moving += 1 if sides > 0 else 0
    from_silence = voice["gain_from"] == 0.0 or voice["gain_goal"] == 0.0
    return moving <= 1 and (voice["shape"] != EQUAL_POWER or from_silence)


@inlined
def moves_for(voice: Any, address: int) -> int:
    """Frames for which a steady voice's level moves on, 0 if it does not."""
    left = larger(voice["gain_left"], ramp_at(address + MUTE)["to_go"])
    left = larger(left, ramp_at(address + FLOW)["to_go"])
    left = larger(left, ramp_at(address + RETURN)["to_go"])
    left = larger(left, ramp_at(address + LEFT)["to_go"])
    return larger(left, ramp_at(address + RIGHT)["to_go"])


@inlined
def way_of(stream: Any, voice: Any, address: int) -> int:
    """The way of a steady voice."""
    if voice["shape"] != LINEAR:
        return curve_for(stream, voice)
    left = ramp_at(address + LEFT)
    right = ramp_at(address + RIGHT)
    if stream["channels"] != 2:
        return EVEN
    still = left["to_go"] + right["to_go"] == 0
    return EVEN if still and left["value"] == 1.0 and right["value"] == 1.0 else SIDED


# --- curves ------------------------------------------------------------------------


@inlined
def forget_curves(stream: Any) -> None:
    """Nobody is on any curve; their tables stay, in case somebody is again."""
    for k in range(CURVES):
        curve_at(stream["curves"] + k * CURVE_BYTES)["used"] >>= 1


@inlined
def draw(stream: Any, curve: Any, voice: Any) -> None:
    """Make the tables of the curve that a voice is on."""
    channels = stream["channels"]
    first = floats_at(curve["first"], stream["slice"] * channels)
    second = floats_at(curve["second"], stream["slice"] * channels)
    curve["shape"] = voice["shape"]
    curve["turn"] = voice["turn"]
    curve["turn_other"] = voice["turn_other"]
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
def curve_for(stream: Any, voice: Any) -> int:
    """The way of the curve that a voice is on, which is made if there is room for it.

    What would be over within a slice is not worth the tables, which so never go on behind the
    end of a curve.
    """
    if voice["gain_left"] <= stream["slice"]:
        return WITHOUT_TABLES
    free = -1
    least = IN_USE
    for k in range(CURVES):
        curve = curve_at(stream["curves"] + k * CURVE_BYTES)
        same = curve["shape"] == voice["shape"] and curve["turn"] == voice["turn"]
        # The cosines of small angles are one and the same; an hour's fade has 1.
        if same and curve["turn_other"] == voice["turn_other"]:
            curve["used"] = IN_USE
            return CURVED + k
        if curve["used"] < least:
            least = curve["used"]
            free = k
    if free < 0:
        return WITHOUT_TABLES
    curve = curve_at(stream["curves"] + free * CURVE_BYTES)
    draw(stream, curve, voice)
    curve["used"] = IN_USE
    return CURVED + free


@inlined
def go_along(curve: Any, frames: int) -> None:
    """Have a curve's "curve" be where it is `frames` frames on, if it is not yet."""
    if curve["behind"] != frames:
        curve["behind"] = frames
        curve["curve"] = 1.0
        curve["curve_other"] = 0.0
        turn_on(curve, frames)


# --- one voice ---------------------------------------------------------------------


@inlined
def step_of(voice: Any, address: int) -> float:
    """By how much ``level_now`` of a steady voice moves from frame to frame, if in a line."""
    mute = ramp_at(address + MUTE)
    flow = ramp_at(address + FLOW)
    back = ramp_at(address + RETURN)
    gain = voice["gain"]
    ways = mute["value"] * flow["value"]
    step = voice["gain_step"] * ways + gain * mute["step"] * flow["value"]
    step += gain * mute["value"] * flow["step"]
    return step * back["value"] + gain * ways * back["step"]


@inlined
def pattern_at(stream: Any, i: int) -> int:
    """Address of the pattern of the first table in a place of the line.

    That of the second one is a PASS of them further.
    """
    place = 2 * PASS * (i // PASS) + i % PASS
    return stream["patterns"] + 4 * PATTERN * place


@inlined
def show_first(stream: Any, i: int) -> None:
    """Make the first table's pattern in a place of the line from its course."""
    course = course_at(stream["courses"] + i * COURSE_BYTES)
    first = course["first"]
    set_pattern(
        floats_at(pattern_at(stream, i), PATTERN),
        np.float32(first * course["to_left"]),
        np.float32(first * course["to_right"]),
    )


@inlined
def show_second(stream: Any, i: int) -> None:
    """Make the second table's pattern."""
    course = course_at(stream["courses"] + i * COURSE_BYTES)
    first = course["first"]
    second = course["second"]
    set_pattern(
        floats_at(pattern_at(stream, i) + 4 * PATTERN * PASS, PATTERN),
        np.float32(second * course["to_left"] + first * course["left_step"]),
        np.float32(second * course["to_right"] + first * course["right_step"]),
    )


@inlined
def leave_course(stream: Any, i: int) -> None:
    """Multiply by zero in a place of the line."""
    course = course_at(stream["courses"] + i * COURSE_BYTES)
    course["first"] = 0.0
    course["second"] = 0.0
    show_first(stream, i)
    show_second(stream, i)


@inlined
def set_course(stream: Any, voice: Any, address: int, i: int, way: int) -> None:
    """Have a place of the line go on as its steady voice's record says; not if EVEN."""
    course = course_at(stream["courses"] + i * COURSE_BYTES)
    course["noted"] = words_at(stream["here"], i + 1)[i]
    course["note_after"] = larger(NEAR, voice["gain_left"] // POINTS)
    level = level_now(voice, address)
    if way == SIDED:
        course["first"] = level
        course["second"] = step_of(voice, address)
    else:
        factor = ramp_at(address + MUTE)["value"] * ramp_at(address + FLOW)["value"]
        factor *= ramp_at(address + RETURN)["value"]
        begin = factor * voice["gain_from"]
        goal = factor * voice["gain_goal"]
        if voice["shape"] == EXPONENTIAL:
            whole = (goal - begin) / voice["span"]
            course["first"] = begin - whole
            course["second"] = whole * voice["curve"]
        else:
            course["first"] = begin * voice["curve"] + goal * voice["curve_other"]
            course["second"] = goal * voice["curve"] - begin * voice["curve_other"]
    if stream["channels"] == 2:
        left = ramp_at(address + LEFT)
        right = ramp_at(address + RIGHT)
        course["to_left"] = left["value"]
        course["to_right"] = right["value"]
        course["left_step"] = left["step"]
        course["right_step"] = right["step"]
    else:
        course["to_left"] = 1.0
        course["to_right"] = 1.0
        course["left_step"] = 0.0
        course["right_step"] = 0.0
    show_first(stream, i)
    show_second(stream, i)


@inlined
def follow_course(stream: Any, i: int, way: int, frames: int) -> float:
    """Move the course of a place of the line on by a block; where its level is behind that."""
    course = course_at(stream["courses"] + i * COURSE_BYTES)
    first = course["first"]
    second = course["second"]
    if way == SIDED:
        course["first"] = first + frames * second
        course["to_left"] += frames * course["left_step"]
        course["to_right"] += frames * course["right_step"]
        show_first(stream, i)  # the other stays, as one factor moves at most
        return course["first"]
    curve = curve_at(stream["curves"] + (way - CURVED) * CURVE_BYTES)
    go_along(curve, frames)
    if curve["shape"] == EXPONENTIAL:
        course["second"] = second * curve["curve"]
        show_second(stream, i)
        return first + course["second"]
    course["first"] = first * curve["curve"] + second * curve["curve_other"]
    course["second"] = second * curve["curve"] - first * curve["curve_other"]
    show_first(stream, i)
    show_second(stream, i)
    return course["first"]


@inlined
def is_to_note(stream: Any, i: int, here: int) -> bool:
    """True if a meter is to be told where on its curve a place of the line is."""
    course = course_at(stream["courses"] + i * COURSE_BYTES)
    if here - course["noted"] < course["note_after"]:
        return False
    course["noted"] = here
    return True


# --- a pass ------------------------------------------------------------------------


@inlined
def mix_courses(
    stream: Any, way: int, first: int, block: Any, a: Any, b: Any, c: Any, d: Any, count: int
) -> None:
    """Sum the four in line from `first` on, all of them on one way that is not EVEN."""
    pattern = pattern_at(stream, first)
    ones = floats_at(pattern, PASS * PATTERN)
    others = floats_at(pattern + 4 * PATTERN * PASS, PASS * PATTERN)
    table = stream["ramp"]
    if way >= CURVED:
        curve = curve_at(stream["curves"] + (way - CURVED) * CURVE_BYTES)
        table = curve["second"]
        if curve["shape"] == EQUAL_POWER:
            cosine = floats_at(curve["first"], count)
            tangent = floats_at(table, count)
            mix_four_turning(block, cosine, tangent, a, b, c, d, ones, others, count)
            return
    mix_four_along(block, floats_at(table, count), a, b, c, d, ones, others, count)
