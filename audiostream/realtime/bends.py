"""Curves of voices in line that there are no tables for, as parabolas; audio thread.

Piece by piece such a curve is a parabola, in frame ``t`` of a piece, from 1,
``side * (first + second * t + third * t^2)``, through where the curve is at the piece's start,
middle and end.  Pieces are so short that this is off by no more than CLOSE.

A curve's place is a point that turns, or on an exponential one a number that is multiplied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import floats_at, words_at
from audiostream.realtime.course import (
    BEGIN,
    GOAL,
    HALF_OTHER,
    HALF_TURN,
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

__all__ = ("CLOSE", "longest_piece", "mix_bent", "set_bend")

CLOSE = 5e-7
"""By so much at most (-126 dB) a parabola is off, beside the louder of the levels that a curve
leads from and to."""

OFF = 124.0
"""A little less than ``72 sqrt 3``."""

SHORTEST = 16
"""Frames of a piece that is still worth a parabola."""


@inlined
def longest_piece(stream: Any, voice: Any) -> int:
    """Frames in which a parabola comes CLOSE to the curve that a voice is on, at most a slice.

    Through three points equally far apart it is off by the cube of what they span, times the
    third derivative, over ``72 sqrt 3`` at most.  That of equal power between two levels is at
    most 0.86 times the square of their ratio, for the louder one, and the cube of the angle's.

    Returns
    -------
    int
        0 if that is so little that it is not worth a parabola.
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
    while third * frames * frames * frames > OFF * CLOSE:
        frames >>= 1
    whole = LANES % stream["channels"] == 0  # or a vector is not of whole frames
    return frames if frames >= SHORTEST and whole else 0


@inlined
def set_bend(stream: Any, voice: Any, i: int, begin: float, goal: float) -> None:
    """Have a place of the line go on along the curve that its voice is on, by parabolas."""
    course = course_of(stream, i)
    course[X] = voice["curve"]
    course[Y] = voice["curve_other"]
    course[OFFSET] = 0.0
    course[SCALE] = 0.0
    course[BEGIN] = 0.0
    course[GOAL] = 0.0
    if voice["shape"] == EXPONENTIAL:
        whole = (goal - begin) / voice["span"]
        course[OFFSET] = begin - whole
        course[SCALE] = whole
        course[Y] = 0.0
        course[HALF_TURN] = square_root(voice["turn"])
        course[HALF_OTHER] = 0.0
    else:
        half = square_root((1.0 + voice["turn"]) / 2.0)
        course[BEGIN] = begin
        course[GOAL] = goal
        course[HALF_TURN] = half
        course[HALF_OTHER] = voice["turn_other"] / (2.0 * half)
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
        offset = course[OFFSET + k]
        scale = course[SCALE + k]
        x = course[X + k] * turn - course[Y + k] * other
        y = course[Y + k] * turn + course[X + k] * other
        beside = course[BEGIN + k] * x
        opposite = course[GOAL + k] * y
        middle = offset + scale * x + square_root(beside * beside + opposite * opposite)
        course[X + k] = x * turn - y * other
        course[Y + k] = y * turn + x * other
        beside = course[BEGIN + k] * course[X + k]
        opposite = course[GOAL + k] * course[Y + k]
        end = offset + scale * course[X + k]
        end += square_root(beside * beside + opposite * opposite)
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
