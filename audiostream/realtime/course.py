"""What a pass of the line knows of voices that are not summed evenly; audio thread.

A pass's four voices stand together: their *course* in full precision, field by field, and the
*numbers* that their channels are multiplied by, or by way of the tables of their way.  See
ways.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import Doubles, Floats, doubles_at, floats_at
from audiostream.realtime.inlined import inlined
from audiostream.realtime.layout import COURSE_NUMBERS, NEVER, PAIRS, PASS
from audiostream.realtime.vectors import FIRST, SECOND

__all__ = (
    "BEGIN",
    "GOAL",
    "LEFT_STEP",
    "LEVEL",
    "LONGEST",
    "MADE_FOR",
    "NOTED",
    "NOTE_AFTER",
    "OFFSET",
    "OTHER_LEVEL",
    "OTHER_TURN",
    "QUARTER_OTHER",
    "QUARTER_TURN",
    "RIGHT_STEP",
    "SCALE",
    "TO_LEFT",
    "TO_RIGHT",
    "TURN",
    "TURN_OF",
    "X",
    "Y",
    "course_of",
    "is_to_note",
    "numbers_of",
    "show_numbers",
    "stay",
)

(
    LEVEL,  # what the first table is multiplied by; if BENT how loud it was before the block
    OTHER_LEVEL,  # what the second table is multiplied by
    TO_LEFT,
    TO_RIGHT,
    LEFT_STEP,
    RIGHT_STEP,
    NOTED,  # the index at which a meter was told of the level last
    NOTE_AFTER,  # frames until it is told again
    X,  # BENT: a point that turns, or a number that grows or shrinks, and Y is 0
    Y,
    TURN,  # by this in a quarter of a piece
    OTHER_TURN,
    TURN_OF,  # the piece's frames; the pass's
    QUARTER_TURN,  # by this in a quarter of a frame
    QUARTER_OTHER,
    OFFSET,  # the level is OFFSET + SCALE X + hypot(BEGIN X, GOAL Y)
    SCALE,
    BEGIN,
    GOAL,
    LONGEST,  # frames of a piece
    MADE_FOR,  # frames that the numbers are made for already, or 0; the pass's
) = range(0, PASS * COURSE_NUMBERS, PASS)
"""Where in a pass's course each field's numbers are."""


@inlined
def course_of(stream: Any, i: int) -> Doubles:
    """The course of a place of the line: behind each field stand its neighbours'."""
    size = COURSE_NUMBERS * PASS
    at = i % PASS
    return doubles_at(stream["courses"] + 8 * (i // PASS * size + at), size - at)


@inlined
def numbers_of(stream: Any, i: int) -> Floats:
    """What the channels of a place of the line are multiplied by: a pair in each of four."""
    size = PAIRS * 2 * PASS
    at = 2 * (i % PASS)
    return floats_at(stream["numbers"] + 4 * (i // PASS * size + at), size - at)


@inlined
def show_numbers(stream: Any, i: int) -> None:
    """Have the channels of a place of the line take their first two numbers from its course."""
    course = course_of(stream, i)
    numbers = numbers_of(stream, i)
    first = course[LEVEL]
    second = course[OTHER_LEVEL]
    numbers[FIRST] = np.float32(first * course[TO_LEFT])
    numbers[FIRST + 1] = np.float32(first * course[TO_RIGHT])
    numbers[SECOND] = np.float32(second * course[TO_LEFT] + first * course[LEFT_STEP])
    numbers[SECOND + 1] = np.float32(second * course[TO_RIGHT] + first * course[RIGHT_STEP])


@inlined
def stay(stream: Any, i: int, level: float) -> None:
    """Have a place of the line stay at a level, beside others that move; no meter is told.

    On the tables' way of a curve of equal power there is none but 0.
    """
    course = course_of(stream, i)
    course[LEVEL] = level
    course[OTHER_LEVEL] = 0.0
    show_numbers(stream, i)
    course[X] = 0.0
    course[Y] = 0.0
    course[OFFSET] = level
    course[SCALE] = 0.0
    course[BEGIN] = 0.0
    course[GOAL] = 0.0
    course[LONGEST] = stream["slice"]
    course[NOTE_AFTER] = NEVER


@inlined
def is_to_note(stream: Any, i: int, here: int) -> bool:
    """True if a meter is to be told where on its curve a place of the line is."""
    course = course_of(stream, i)
    if here - course[NOTED] < course[NOTE_AFTER]:
        return False
    course[NOTED] = here
    return True
