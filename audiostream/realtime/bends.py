"""Curves of voices in line that there are no tables for, as parabolas; audio thread.

Piece by piece such a curve is a parabola, in frame ``t`` of a piece, from 1,
``side * (first + second * t + third * t^2)``, through where the curve is at the piece's start,
middle and end.  Pieces are so short that this is off by no more than CLOSE.

A curve's place is a point that turns, or for an exponential one a number that is multiplied;
its level is a sum with that, or the root of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import floats_at, words_at
from audiostream.realtime.course import (
    HALF_OTHER,
    HALF_TURN,
    IS_ROOT,
    LEVEL,
    LONGEST,
    OFFSET,
    OTHER_TURN,
    SCALE,
    TO_LEFT,
    TO_RIGHT,
    TURN,
    TURN_OF,
    X,
    Y,
    course_of,
    numbers_of,
)
from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.kinds import EXPONENTIAL
from audiostream.realtime.layout import PASS
from audiostream.realtime.numbers import larger, smaller, square_root
from audiostream.realtime.sums import mix_four_bending
from audiostream.realtime.vectors import FIRST, LANES, SECOND, THIRD

__all__ = ("CLOSE", "is_bent", "longest_piece", "mix_bent", "set_bend")

CLOSE = 5e-7
"""By so much at most (-126 dB) a parabola is off, beside the louder of the levels that a curve
leads from and to."""

SHORTEST = 16
"""Frames of a piece that is still worth a parabola."""


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
def is_bent(stream: Any, voice: Any) -> bool:
    """True if the curve that a voice is on is worth parabolas."""
    whole = LANES % stream["channels"] == 0
    return whole and longest_piece(stream, voice) >= SHORTEST


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
def mix_bent(stream: Any, first: int, mix: int, frames: int) -> None:
    """Sum the four in line from `first` on, all of them BENT, into the block at `mix`."""
    course = course_of(stream, first)
    numbers = numbers_of(stream, first)
    channels = stream["channels"]
    sources = words_at(stream["sources"], first + PASS)
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
