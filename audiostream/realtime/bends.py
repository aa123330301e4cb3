"""Curves of voices in line that there are no tables for, as cubics; audio thread.

Piece by piece such a curve is a polynomial, in frame ``t`` of a piece, from 1,
``side * (first + second t + third t^2 + fourth t^3)``, through where the curve is at the
piece's start and end and at a quarter from either.  Pieces are so short that this is off by no
more than CLOSE.

A curve's place is a point that turns, or on an exponential one a number that is multiplied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import floats_at, words_at
from audiostream.realtime.course import (
    BEGIN,
    GOAL,
    LEVEL,
    LONGEST,
    MADE_FOR,
    OFFSET,
    OTHER_TURN,
    QUARTER_OTHER,
    QUARTER_TURN,
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
from audiostream.realtime.vectors import FIRST, FOURTH, LANES, SECOND, THIRD

__all__ = ("CLOSE", "bend_ahead", "longest_piece", "mix_bent", "set_bend")

CLOSE = 5e-7
"""By so much at most (-126 dB) a cubic is off, beside the louder of the levels that a curve
leads from and to."""

OFF = 1536.0
"""What the fourth derivative, times the fourth power of a piece, is divided by: 24, and what
the product of the distances from the four points, 1/64 at most, is the inverse of."""

THIRD_PART = 1.0 / 3.0
"""Divisions take their time."""

SHORTEST = 16
"""Frames of a piece that is still worth a cubic."""


@inlined
def longest_piece(stream: Any, voice: Any) -> int:
    """Frames in which a cubic comes CLOSE to the curve that a voice is on, at most a slice.

    It is off by the fourth power of what its points span, times the fourth derivative, over OFF
    at most.  That of equal power between two levels is at most 3 times the cube of their ratio,
    for the louder one, and the fourth power of the angle.

    Returns
    -------
    int
        0 if that is so little that it is not worth a cubic.
    """
    low = smaller(voice["gain_from"], voice["gain_goal"])
    high = larger(voice["gain_from"], voice["gain_goal"])
    if voice["shape"] == EXPONENTIAL:
        rate = abs(voice["turn"] - 1.0)
        fourth = rate * rate * rate * rate * (high - low) / high
    else:
        rate = voice["turn_other"]
        fourth = rate * rate * rate * rate
        if low > 0.0:
            ratio = high / low
            fourth *= 3.0 * ratio * ratio * ratio
    frames = stream["slice"]
    while fourth * frames * frames * frames * frames > OFF * CLOSE:
        frames >>= 1
    whole = LANES % stream["channels"] == 0  # or a vector is not of whole frames
    return frames if frames >= SHORTEST and whole else 0


@inlined
def set_bend(stream: Any, voice: Any, i: int, begin: float, goal: float) -> None:
    """Have a place of the line go on along the curve that its voice is on, by cubics."""
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
        course[QUARTER_TURN] = square_root(square_root(voice["turn"]))
        course[QUARTER_OTHER] = 0.0
    else:
        half = square_root((1.0 + voice["turn"]) / 2.0)
        course[BEGIN] = begin
        course[GOAL] = goal
        half_other = voice["turn_other"] / (2.0 * half)
        quarter = square_root((1.0 + half) / 2.0)
        course[QUARTER_TURN] = quarter
        course[QUARTER_OTHER] = half_other / (2.0 * quarter)
    course[LONGEST] = longest_piece(stream, voice)
    course_of(stream, i - i % PASS)[TURN_OF] = 0.0


@inlined
def set_turns(course: Any, frames: int) -> None:
    """Have a pass's points turn by a quarter of so many frames, found by squaring."""
    course[TURN_OF] = frames
    for k in range(PASS):
        turn = 1.0
        other = 0.0
        factor = course[QUARTER_TURN + k]
        beside = course[QUARTER_OTHER + k]
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


@inlined
def level_at(course: Any, k: int, x: float, y: float) -> float:
    """How loud a place of a pass is where its curve is at a point."""
    beside = course[BEGIN + k] * x
    opposite = course[GOAL + k] * y
    level = course[OFFSET + k] + course[SCALE + k] * x
    return level + square_root(beside * beside + opposite * opposite)


@apart
def bend(course: Any, numbers: Any, frames: float) -> None:
    """Make a pass's cubics for its next piece, and move its courses on to behind that."""
    per_frame = 1.0 / frames
    for k in range(PASS):
        turn = course[TURN + k]
        other = course[OTHER_TURN + k]
        half = turn * turn - other * other
        half_other = 2.0 * turn * other
        x = course[X + k] * turn - course[Y + k] * other
        y = course[Y + k] * turn + course[X + k] * other
        begin = course[LEVEL + k]
        early = level_at(course, k, x, y)
        later = x * half - y * half_other
        y = y * half + x * half_other
        late = level_at(course, k, later, y)
        course[X + k] = later * turn - y * other
        course[Y + k] = y * turn + later * other
        end = level_at(course, k, course[X + k], course[Y + k])
        course[LEVEL + k] = end
        second = 8.0 * early - 19.0 * THIRD_PART * begin - 8.0 * THIRD_PART * late + end
        third = 4.0 * begin - 7.0 * early + 5.0 * late - 2.0 * end
        fourth = 2.0 * early - 2.0 * late + end - begin
        third *= 8.0 * THIRD_PART
        fourth *= 16.0 * THIRD_PART
        second *= per_frame
        third *= per_frame * per_frame
        fourth *= per_frame * per_frame * per_frame
        left = course[TO_LEFT + k]
        right = course[TO_RIGHT + k]
        numbers[FIRST + 2 * k] = np.float32(begin * left)
        numbers[FIRST + 2 * k + 1] = np.float32(begin * right)
        numbers[SECOND + 2 * k] = np.float32(second * left)
        numbers[SECOND + 2 * k + 1] = np.float32(second * right)
        numbers[THIRD + 2 * k] = np.float32(third * left)
        numbers[THIRD + 2 * k + 1] = np.float32(third * right)
        numbers[FOURTH + 2 * k] = np.float32(fourth * left)
        numbers[FOURTH + 2 * k + 1] = np.float32(fourth * right)


@inlined
def piece_of(course: Any, frames: int) -> int:
    """In pieces of how many frames a pass's cubics come close enough within a block."""
    longest = smaller(smaller(course[LONGEST], course[LONGEST + 1]), course[LONGEST + 2])
    longest = smaller(longest, course[LONGEST + 3])
    while frames > longest:
        frames = (frames + 1) >> 1
    return frames


@inlined
def make_piece(stream: Any, first: int, frames: int) -> None:
    """Make the numbers of the four in line from `first` on for a piece, if they are not yet.

    They are then moved on to behind it.
    """
    course = course_of(stream, first)
    if course[MADE_FOR] != frames:
        if course[TURN_OF] != frames:
            set_turns(course, frames)
        bend(course, numbers_of(stream, first), float(frames))
    course[MADE_FOR] = 0.0


@inlined
def bend_ahead(stream: Any, first: int, frames: int) -> None:
    """Make the numbers of the first piece of a block of `frames` frames."""
    course = course_of(stream, first)
    piece = piece_of(course, frames)
    make_piece(stream, first, piece)
    course[MADE_FOR] = piece


@inlined
def mix_bent(stream: Any, first: int, mix: int, done: int, frames: int) -> None:
    """Sum the four in line from `first` on, all of them BENT, into the block at `mix`.

    That are `frames` frames, `done` of the block being done.
    """
    course = course_of(stream, first)
    numbers = numbers_of(stream, first)
    channels = stream["channels"]
    sources = words_at(stream["sources"], first + PASS)
    piece = piece_of(course, frames)
    end = done + frames
    while done < end:
        count = smaller(piece, end - done)
        make_piece(stream, first, count)
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
