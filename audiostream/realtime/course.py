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

On the last way, BENT, are curves that there is no table for: from level to level with equal
power, and those that there are too many different ones of.  Piece by piece each of them is a
parabola, ``side * (first + second * t + third * t^2)``, through where the curve is at the
piece's start, middle and end.  Pieces are so short that this is off by no more than CLOSE.

From block to block the numbers of a voice are moved on as the angle-sum identities have it.
All that a pass knows of its four voices stands together: its *course* in full precision, field
by field, and what the channels get of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    Doubles,
    Floats,
    curve_at,
    doubles_at,
    floats_at,
    ramp_at,
    words_at,
)
from audiostream.realtime.envelope import FLOW, LEFT, MUTE, RETURN, RIGHT, level_now, turn_on
from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.kinds import EQUAL_POWER, EXPONENTIAL, LINEAR
from audiostream.realtime.layout import (
    COURSE_NUMBERS,
    CURVE_BYTES,
    CURVES,
    NEAR,
    NEVER,
    PAIRS,
    PASS,
)
from audiostream.realtime.numbers import larger, smaller, square_root
from audiostream.realtime.sums import mix_four_along, mix_four_bending, mix_four_turning
from audiostream.realtime.vectors import FIRST, LANES, SECOND, THIRD

__all__ = (
    "ALONE",
    "BENT",
    "BRIEF",
    "CURVED",
    "EVEN",
    "SIDED",
    "count_anew",
    "follow_courses",
    "forget_curves",
    "is_steady",
    "is_to_note",
    "leave_course",
    "level_behind",
    "mix_bent",
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
that would be worth it, or goes too sharply round a bend."""

IN_USE = 2
"""A curve that somebody in line is on; half of it: somebody was before it was made anew."""

POINTS = 32
"""Of a curve, that a meter is told of: an exponential one then is off by 0.6 % at most."""

CLOSE = 5e-7
"""By so much at most (-126 dB) a parabola is off, beside the louder of the levels that a curve
leads from and to."""

SHORTEST = 16
"""Frames of a piece that is still worth a parabola."""

(
    LEVEL,  # what the first table is multiplied by; if BENT how loud it was before the block
    OTHER_LEVEL,  # what the second table is multiplied by
    TO_LEFT,
    TO_RIGHT,
    LEFT_STEP,
    RIGHT_STEP,
    NOTED,  # the index at which a meter was told of the level last
    NOTE_AFTER,  # frames until it is told again
    X,  # BENT: a point that turns; the level is OFFSET + SCALE X, or the root of that
    Y,
    TURN,  # by this in half of a piece
    OTHER_TURN,
    TURN_OF,  # the piece's frames; the pass's
    HALF_TURN,  # by this in half a frame
    HALF_OTHER,
    OFFSET,
    SCALE,
    IS_ROOT,  # 1 or 0
    LONGEST,  # frames of a piece
) = range(0, PASS * COURSE_NUMBERS, PASS)
"""Where in a pass's course each field's numbers are."""


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
    """The way of the curve that a voice is on, whose tables are made if there is room for it.

    What would be over within a slice is not worth that; tables so never go on behind the end
    of a curve.
    """
    if voice["gain_left"] <= stream["slice"]:
        return BRIEF
    if voice["shape"] == EQUAL_POWER and voice["gain_from"] * voice["gain_goal"] != 0.0:
        return bent_for(stream, voice)
    free = -1
    least = IN_USE
    for k in range(CURVES):
        curve = curve_at(stream["curves"] + k * CURVE_BYTES)
        same = curve["shape"] == voice["shape"] and curve["turn"] == voice["turn"]
        # The cosines of small angles are one and the same; an hour's fade has 1.
        if same and curve["turn_other"] == voice["turn_other"]:
            curve["used"] = IN_USE
            curve["members"] += 1
            return CURVED + k
        if curve["used"] < least:
            least = curve["used"]
            free = k
    if free < 0:
        return bent_for(stream, voice)
    curve = curve_at(stream["curves"] + free * CURVE_BYTES)
    draw(stream, curve, voice)
    curve["used"] = IN_USE
    curve["members"] = 1
    return CURVED + free


@inlined
def count_anew(stream: Any) -> None:
    """Nobody of the next group has been found to be on any curve."""
    for k in range(CURVES):
        curve_at(stream["curves"] + k * CURVE_BYTES)["members"] = 0


@inlined
def shared_way(stream: Any, voice: Any) -> int:
    """The way of a voice of a group, now that it is known who else is on its curve.

    A few by themselves would leave room in a pass on their tables, which others like them
    share as parabolas.
    """
    way = voice["way"]
    if CURVED <= way < BENT:
        curve = curve_at(stream["curves"] + (way - CURVED) * CURVE_BYTES)
        in_one = bent_for(stream, voice) == BENT
        in_one = in_one and longest_piece(stream, voice) == stream["slice"]
        if in_one and curve["members"] < PASS:
            return BENT
    return way


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
def course_of(stream: Any, i: int) -> Doubles:
    """The course of a place of the line: behind each field stand its neighbours'."""
    size = COURSE_NUMBERS * PASS
    at = i % PASS
    return doubles_at(stream["courses"] + 8 * (i // PASS * size + at), size - at)


@inlined
def numbers_of(stream: Any, i: int) -> Floats:
    """What the channels of a place of the line are multiplied by: a pair in each of three."""
    size = PAIRS * 2 * PASS
    at = 2 * (i % PASS)
    return floats_at(stream["numbers"] + 4 * (i // PASS * size + at), size - at)


@inlined
def show_first(stream: Any, i: int) -> None:
    """Have the channels of a place of the line take their first number from its course."""
    course = course_of(stream, i)
    numbers = numbers_of(stream, i)
    numbers[FIRST] = np.float32(course[LEVEL] * course[TO_LEFT])
    numbers[FIRST + 1] = np.float32(course[LEVEL] * course[TO_RIGHT])


@inlined
def show_second(stream: Any, i: int) -> None:
    """The same of the second number."""
    course = course_of(stream, i)
    numbers = numbers_of(stream, i)
    first = course[LEVEL]
    second = course[OTHER_LEVEL]
    numbers[SECOND] = np.float32(second * course[TO_LEFT] + first * course[LEFT_STEP])
    numbers[SECOND + 1] = np.float32(second * course[TO_RIGHT] + first * course[RIGHT_STEP])


@inlined
def leave_course(stream: Any, i: int) -> None:
    """Multiply by zero in a place of the line."""
    course = course_of(stream, i)
    course[LEVEL] = 0.0
    course[OTHER_LEVEL] = 0.0
    show_first(stream, i)
    show_second(stream, i)
    course[OFFSET] = 0.0
    course[SCALE] = 0.0
    course[LONGEST] = stream["slice"]
    course[NOTE_AFTER] = NEVER


@inlined
def set_course(stream: Any, voice: Any, address: int, i: int, way: int) -> None:
    """Have a place of the line go on as its steady voice's record says; not if EVEN."""
    course = course_of(stream, i)
    course[NOTED] = words_at(stream["here"], i + 1)[i]
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
    show_first(stream, i)
    show_second(stream, i)


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
    """Move a pass's courses on by a block; not if EVEN."""
    course = course_of(stream, first)
    numbers = numbers_of(stream, first)
    if way == SIDED:
        follow_sides(course, numbers, float(frames))
    elif way != BENT:  # those mix_bent has moved on
        curve = curve_at(stream["curves"] + (way - CURVED) * CURVE_BYTES)
        go_along(curve, frames)
        if curve["shape"] == EXPONENTIAL:
            follow_exponential(course, numbers, curve["curve"])
        else:
            follow_equal_power(course, numbers, curve["curve"], curve["curve_other"])


@inlined
def level_behind(stream: Any, i: int, way: int) -> float:
    """How loud a place of the line on a curve is behind a block."""
    course = course_of(stream, i)
    if way != BENT:
        curve = curve_at(stream["curves"] + (way - CURVED) * CURVE_BYTES)
        if curve["shape"] == EXPONENTIAL:
            return course[LEVEL] + course[OTHER_LEVEL]
    return course[LEVEL]


@inlined
def is_to_note(stream: Any, i: int, here: int) -> bool:
    """True if a meter is to be told where on its curve a place of the line is."""
    course = course_of(stream, i)
    if here - course[NOTED] < course[NOTE_AFTER]:
        return False
    course[NOTED] = here
    return True


# --- parabolas ---------------------------------------------------------------------


@inlined
def longest_piece(stream: Any, voice: Any) -> int:
    """Frames in which a parabola comes CLOSE to the curve that a voice is on.

    Through three points equally far apart it is off by an eighth of the third derivative, times
    the cube of what they span, over ``9 sqrt 3`` at most: 125 is a little more than all that.
    """
    low = smaller(voice["gain_from"], voice["gain_goal"])
    high = larger(voice["gain_from"], voice["gain_goal"])
    if voice["shape"] == EXPONENTIAL:
        rate = abs(voice["turn"] - 1.0)
        third = rate * rate * rate * (high - low) / high
    else:
        rate = voice["turn_other"]
        third = rate * rate * rate
        if low > 0.0:
            third *= 0.86 * (high / low) * (high / low)
    frames = stream["slice"]
    while frames >= SHORTEST and third * frames * frames * frames > 120.0 * CLOSE:
        frames >>= 1
    return frames


@inlined
def bent_for(stream: Any, voice: Any) -> int:
    """BENT, if the curve that a voice is on is worth parabolas."""
    whole = LANES % stream["channels"] == 0
    return BENT if whole and longest_piece(stream, voice) >= SHORTEST else BRIEF


@inlined
def set_bend(stream: Any, voice: Any, i: int, begin: float, goal: float) -> None:
    """Have a place of the line go on along the curve that its voice is on, by parabolas.

    Between two levels, equal power is the root of ``(begin^2 + goal^2) / 2 + (begin^2 - goal^2)
    / 2 cos 2 angle``: its point turns twice as far.
    """
    course = course_of(stream, i)
    cosine = voice["curve"]
    sine = voice["curve_other"]
    turn = voice["turn"]
    other = voice["turn_other"]
    half = square_root((1.0 + turn) / 2.0)
    course[OFFSET] = 0.0
    course[IS_ROOT] = 0.0
    course[HALF_TURN] = half
    course[HALF_OTHER] = other / (2.0 * half)
    if voice["shape"] == EXPONENTIAL:
        whole = (goal - begin) / voice["span"]
        course[OFFSET] = begin - whole
        course[SCALE] = whole
        course[X] = cosine
        course[Y] = 0.0
        course[HALF_TURN] = square_root(turn)
        course[HALF_OTHER] = 0.0
    elif goal == 0.0:
        course[SCALE] = begin
        course[X] = cosine
        course[Y] = sine
    elif begin == 0.0:
        course[SCALE] = goal
        course[X] = sine
        course[Y] = -cosine
    else:
        course[OFFSET] = (begin * begin + goal * goal) / 2.0
        course[SCALE] = (begin * begin - goal * goal) / 2.0
        course[IS_ROOT] = 1.0
        course[X] = cosine * cosine - sine * sine
        course[Y] = 2.0 * cosine * sine
        course[HALF_TURN] = turn
        course[HALF_OTHER] = other
    course[LONGEST] = longest_piece(stream, voice)
    course_of(stream, i - i % PASS)[TURN_OF] = 0.0


@inlined
def set_turns(course: Any, frames: int) -> None:
    """Have a pass's points turn by half of so many frames, by squaring, for the next pieces."""
    course[TURN_OF] = frames
    for k in range(PASS):
        turn = 1.0
        other = 0.0
        factor = course[HALF_TURN + k]
        beside = course[HALF_OTHER + k]
        left = frames
        while left > 0:
            if left & 1 != 0:
                before = turn
                turn = before * factor - other * beside
                other = other * factor + before * beside
            square = factor * factor - beside * beside
            beside *= 2.0 * factor
            factor = square
            left >>= 1
        course[TURN + k] = turn
        course[OTHER_TURN + k] = other


@apart
def bend(course: Any, numbers: Any, frames: float) -> None:
    """Make a pass's parabolas for its next piece, and move its courses on to behind that."""
    per_frame = 1.0 / frames
    for k in range(PASS):
        turn = course[TURN + k]
        other = course[OTHER_TURN + k]
        x = course[X + k] * turn - course[Y + k] * other
        y = course[Y + k] * turn + course[X + k] * other
        middle = course[OFFSET + k] + course[SCALE + k] * x
        course[X + k] = x * turn - y * other
        course[Y + k] = y * turn + x * other
        end = course[OFFSET + k] + course[SCALE + k] * course[X + k]
        is_root = course[IS_ROOT + k]
        middle += is_root * (square_root(larger(middle, 0.0)) - middle)
        end += is_root * (square_root(larger(end, 0.0)) - end)
        begin = course[LEVEL + k]
        course[LEVEL + k] = end
        slope = (4.0 * middle - 3.0 * begin - end) * per_frame
        half_bend = 2.0 * (begin - 2.0 * middle + end) * per_frame * per_frame
        left = course[TO_LEFT + k]
        right = course[TO_RIGHT + k]
        numbers[FIRST + 2 * k] = np.float32(begin * left)
        numbers[FIRST + 2 * k + 1] = np.float32(begin * right)
        numbers[SECOND + 2 * k] = np.float32(slope * left)
        numbers[SECOND + 2 * k + 1] = np.float32(slope * right)
        numbers[THIRD + 2 * k] = np.float32(half_bend * left)
        numbers[THIRD + 2 * k + 1] = np.float32(half_bend * right)


@inlined
def piece_of(course: Any, frames: int) -> int:
    """In pieces of how many frames a pass's parabolas come close enough within a block."""
    longest = smaller(smaller(course[LONGEST], course[LONGEST + 1]), course[LONGEST + 2])
    longest = smaller(longest, course[LONGEST + 3])
    while frames > longest:
        frames = (frames + 1) >> 1
    return frames


@inlined
def mix_bent(stream: Any, first: int, frames: int) -> None:
    """Sum the four in line from `first` on, all of them BENT."""
    course = course_of(stream, first)
    numbers = numbers_of(stream, first)
    channels = stream["channels"]
    sources = words_at(stream["sources"], first + PASS)
    mix = words_at(stream["targets"], first + 1)[first]
    piece = piece_of(course, frames)
    done = 0
    while done < frames:
        count = smaller(piece, frames - done)
        if course[TURN_OF] != count:
            set_turns(course, count)
        bend(course, numbers, float(count))
        offset = 4 * channels * done
        samples = channels * count
        mix_four_bending(
            floats_at(mix + offset, samples),
            floats_at(stream["ramp"], samples),
            floats_at(sources[first] + offset, samples),
            floats_at(sources[first + 1] + offset, samples),
            floats_at(sources[first + 2] + offset, samples),
            floats_at(sources[first + 3] + offset, samples),
            numbers,
            np.float32(LANES // channels),
            samples,
        )
        done += count


# --- a pass ------------------------------------------------------------------------


@inlined
def mix_courses(
    stream: Any, way: int, first: int, block: Any, a: Any, b: Any, c: Any, d: Any, count: int
) -> None:
    """Sum the four in line from `first` on, all of them SIDED or on one curve's tables."""
    numbers = numbers_of(stream, first)
    table = stream["ramp"]
    if way >= CURVED:
        curve = curve_at(stream["curves"] + (way - CURVED) * CURVE_BYTES)
        table = curve["second"]
        if curve["shape"] == EQUAL_POWER:
            cosine = floats_at(curve["first"], count)
            tangent = floats_at(table, count)
            mix_four_turning(block, cosine, tangent, a, b, c, d, numbers, count)
            return
    mix_four_along(block, floats_at(table, count), a, b, c, d, numbers, count)
