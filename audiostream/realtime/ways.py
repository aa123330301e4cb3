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

On the last way, BENT, are curves that there is no table for (bends.py): from level to level
with equal power, and those that few others are on or that came too late.

What a pass knows of its voices is its course (course.py); from block to block it is moved on as
the angle-sum identities have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import curve_at, floats_at, ramp_at
from audiostream.realtime.bends import longest_piece, set_bend
from audiostream.realtime.course import (
    LEFT_STEP,
    LEVEL,
    NOTE_AFTER,
    NOTED,
    OTHER_LEVEL,
    RIGHT_STEP,
    TO_LEFT,
    TO_RIGHT,
    course_of,
    numbers_of,
    show_numbers,
)
from audiostream.realtime.curves import curve_for, curve_of, go_along, leave_tables, take_tables
from audiostream.realtime.envelope import FLOW, LEFT, MUTE, RETURN, RIGHT, level_now
from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.kinds import EQUAL_POWER, EXPONENTIAL, LINEAR
from audiostream.realtime.layout import CURVES, NEAR, PASS
from audiostream.realtime.numbers import larger
from audiostream.realtime.sums import mix_four_along, mix_four_turning
from audiostream.realtime.vectors import FIRST, SECOND

__all__ = (
    "ALONE",
    "BENT",
    "BRIEF",
    "CURVED",
    "EVEN",
    "SIDED",
    "follow_courses",
    "is_equal_power",
    "is_steady",
    "level_behind",
    "mix_courses",
    "moves_for",
    "set_course",
    "shared_way",
    "step_of",
    "way_of",
)

EVEN, SIDED, CURVED = 0, 1, 2
BENT = CURVED + CURVES
"""The ways; see above."""

ALONE, BRIEF = -1, -2
"""Of voices that are not in line: for what they do; only because their curve is over before
that would be worth it, or goes too sharply round a bend and no tables were left."""

POINTS = 32
"""Of a curve, that a meter is told of: an exponential one then is off by 0.6 % at most."""


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
    return moving <= 1


@inlined
def moves_for(voice: Any, address: int) -> int:
    """Frames for which a steady voice's level moves on, 0 if it does not."""
    left = larger(voice["gain_left"], ramp_at(address + MUTE)["to_go"])
    left = larger(left, ramp_at(address + FLOW)["to_go"])
    left = larger(left, ramp_at(address + RETURN)["to_go"])
    left = larger(left, ramp_at(address + LEFT)["to_go"])
    return larger(left, ramp_at(address + RIGHT)["to_go"])


@inlined
def curved_way(stream: Any, voice: Any) -> int:
    """The way of a steady voice on a curve: on tables if there are, until all are known."""
    if voice["way"] == BENT:
        return BENT  # since it set out
    with_tables = (
        voice["shape"] == EXPONENTIAL or voice["gain_from"] * voice["gain_goal"] == 0.0
    )
    number = curve_for(stream, voice) if with_tables else -1
    if number >= 0:
        return CURVED + number
    return BENT if longest_piece(stream, voice) > 0 else BRIEF


@inlined
def way_of(stream: Any, voice: Any, address: int) -> int:
    """The way of a steady voice."""
    if voice["shape"] != LINEAR:
        return curved_way(stream, voice)
    left = ramp_at(address + LEFT)
    right = ramp_at(address + RIGHT)
    if stream["channels"] != 2:
        return EVEN
    still = left["to_go"] + right["to_go"] == 0
    return EVEN if still and left["value"] == 1.0 and right["value"] == 1.0 else SIDED


@inlined
def shared_way(stream: Any, voice: Any) -> int:
    """The way of a voice of a group, now that it is known who else is on its curve.

    A few by themselves would leave room in a pass on their tables, which others like them
    share as cubics.
    """
    way = voice["way"]
    if CURVED <= way < BENT:
        number = way - CURVED
        few = curve_at(curve_of(stream, number))["members"] < PASS
        if few and longest_piece(stream, voice) == stream["slice"]:
            leave_tables(stream, number)
            return BENT
        take_tables(stream, number)
    return way


# --- courses -----------------------------------------------------------------------


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
def set_course(stream: Any, voice: Any, address: int, i: int, way: int, here: int) -> None:
    """Have a place of the line go on from `here` as its voice's record says; not if EVEN."""
    course = course_of(stream, i)
    course[NOTED] = here
    course[NOTE_AFTER] = larger(NEAR, voice["gain_left"] // POINTS)
    course[LEVEL] = level_now(voice, address)
    course[OTHER_LEVEL] = 0.0
    course[TO_LEFT] = 1.0
    course[TO_RIGHT] = 1.0
    course[LEFT_STEP] = 0.0
    course[RIGHT_STEP] = 0.0
    if stream["channels"] == 2:
        left = ramp_at(address + LEFT)
        right = ramp_at(address + RIGHT)
        course[TO_LEFT] = left["value"]
        course[TO_RIGHT] = right["value"]
        course[LEFT_STEP] = left["step"]
        course[RIGHT_STEP] = right["step"]
    if way == SIDED:
        course[OTHER_LEVEL] = step_of(voice, address)
    else:
        factor = ramp_at(address + MUTE)["value"] * ramp_at(address + FLOW)["value"]
        factor *= ramp_at(address + RETURN)["value"]
        begin = factor * voice["gain_from"]
        goal = factor * voice["gain_goal"]
        if way == BENT:
            set_bend(stream, voice, i, begin, goal)
        elif voice["shape"] == EXPONENTIAL:
            whole = (goal - begin) / voice["span"]
            course[LEVEL] = begin - whole
            course[OTHER_LEVEL] = whole * voice["curve"]
        else:
            course[LEVEL] = begin * voice["curve"] + goal * voice["curve_other"]
            course[OTHER_LEVEL] = goal * voice["curve"] - begin * voice["curve_other"]
    show_numbers(stream, i)


@apart
def follow_sides(course: Any, numbers: Any, frames: float) -> None:
    """Move a pass's courses on in straight lines.

    The second numbers stay, as one factor moves at most.
    """
    for k in range(PASS):
        level = course[LEVEL + k] + frames * course[OTHER_LEVEL + k]
        left = course[TO_LEFT + k] + frames * course[LEFT_STEP + k]
        right = course[TO_RIGHT + k] + frames * course[RIGHT_STEP + k]
        course[LEVEL + k] = level
        course[TO_LEFT + k] = left
        course[TO_RIGHT + k] = right
        numbers[FIRST + 2 * k] = np.float32(level * left)
        numbers[FIRST + 2 * k + 1] = np.float32(level * right)


@apart
def follow_exponential(course: Any, numbers: Any, turn: float) -> None:
    """Move a pass's courses on along an exponential curve; the first number stays."""
    for k in range(PASS):
        other = course[OTHER_LEVEL + k] * turn
        course[OTHER_LEVEL + k] = other
        numbers[SECOND + 2 * k] = np.float32(other * course[TO_LEFT + k])
        numbers[SECOND + 2 * k + 1] = np.float32(other * course[TO_RIGHT + k])


@apart
def follow_equal_power(course: Any, numbers: Any, turn: float, other_turn: float) -> None:
    """Move a pass's courses on along a curve of equal power."""
    for k in range(PASS):
        first = course[LEVEL + k]
        second = course[OTHER_LEVEL + k]
        level = first * turn + second * other_turn
        other = second * turn - first * other_turn
        left = course[TO_LEFT + k]
        right = course[TO_RIGHT + k]
        course[LEVEL + k] = level
        course[OTHER_LEVEL + k] = other
        numbers[FIRST + 2 * k] = np.float32(level * left)
        numbers[FIRST + 2 * k + 1] = np.float32(level * right)
        numbers[SECOND + 2 * k] = np.float32(other * left)
        numbers[SECOND + 2 * k + 1] = np.float32(other * right)


@inlined
def follow_courses(stream: Any, first: int, way: int, frames: int) -> None:
    """Move a pass's courses on by so many frames, unless mix_bent has, or it is EVEN."""
    course = course_of(stream, first)
    numbers = numbers_of(stream, first)
    if way == SIDED:
        follow_sides(course, numbers, float(frames))
    elif way != EVEN and way != BENT:
        curve = curve_at(curve_of(stream, way - CURVED))
        go_along(curve, frames)
        if curve["shape"] == EXPONENTIAL:
            follow_exponential(course, numbers, curve["curve"])
        else:
            follow_equal_power(course, numbers, curve["curve"], curve["curve_other"])


@inlined
def is_equal_power(stream: Any, way: int) -> bool:
    """True if a way is that of the tables of a curve of equal power."""
    return (
        CURVED <= way < BENT
        and curve_at(curve_of(stream, way - CURVED))["shape"] == EQUAL_POWER
    )


@inlined
def level_behind(stream: Any, i: int, way: int) -> float:
    """How loud a place of the line on a curve is behind a block."""
    course = course_of(stream, i)
    if way != BENT:
        curve = curve_at(curve_of(stream, way - CURVED))
        if curve["shape"] == EXPONENTIAL:
            return course[LEVEL] + course[OTHER_LEVEL]
    return course[LEVEL]


# --- a pass ------------------------------------------------------------------------


@inlined
def mix_courses(
    stream: Any, way: int, first: int, block: Any, a: Any, b: Any, c: Any, d: Any, count: int
) -> None:
    """Sum the four in line from `first` on, all of them SIDED or on one curve's tables."""
    numbers = numbers_of(stream, first)
    table = stream["ramp"]
    if way >= CURVED:
        curve = curve_at(curve_of(stream, way - CURVED))
        table = curve["second"]
        if curve["shape"] == EQUAL_POWER:
            cosine = floats_at(curve["first"], count)
            tangent = floats_at(table, count)
            mix_four_turning(block, cosine, tangent, a, b, c, d, numbers, count)
            return
    mix_four_along(block, floats_at(table, count), a, b, c, d, numbers, count)
