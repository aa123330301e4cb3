"""Levels that move from one value to another; audio thread.

A ramp (:data:`~audiostream.realtime.memory.layout.RAMP`) moves on one of three curves.  Its
first frame is one step away from where it began, and its last frame is at its goal.  With ``x``
the part that is done:

* LINEAR: ``begin + (goal - begin) x``;
* EXPONENTIAL: ``begin + (goal - begin) w``, ``w = (exp(k x) - 1) / (exp(k) - 1)``, with
  ``k = ln 1000`` upwards and ``-ln 1000`` downwards: 60 dB in equal parts, which still begins
  and ends at its values, 0 included;
* EQUAL_POWER: ``sqrt(begin^2 cos^2(x pi/2) + goal^2 sin^2(x pi/2))``: the power of two voices
  that cross over stays the same.

A curve is followed by multiplying one number, or turning a point on a circle, by a constant in
each frame.  The caller that gives the command computes the constant (engine/commands.py).
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import apart, inlined
from audiostream.realtime.compile.intrinsics import multiply_add, smaller, square_root
from audiostream.realtime.memory.atomics import floats_at
from audiostream.realtime.memory.layout import Float32, Floats, Ramp
from audiostream.realtime.opcodes import EXPONENTIAL, LINEAR

__all__ = ("advance", "fill_ramp", "fill_values", "set_ramp", "start_curve", "start_ramp")


@inlined
def set_ramp(ramp: Ramp, value: float) -> None:
    """Be at a value, and stay there."""
    ramp["value"] = value
    ramp["goal"] = value
    ramp["step"] = 0.0
    ramp["remaining"] = 0
    ramp["shape"] = LINEAR


@inlined
def start_ramp(ramp: Ramp, goal: float, frames: int) -> None:
    """Move to a goal in a straight line; at once if there are no frames for it."""
    if frames <= 0 or goal == ramp["value"]:
        set_ramp(ramp, goal)
    else:
        ramp["goal"] = goal
        ramp["step"] = (goal - ramp["value"]) / frames
        ramp["remaining"] = frames
        ramp["shape"] = LINEAR


@inlined
def start_curve(
    ramp: Ramp, goal: float, frames: int, shape: int, turn: float, turn_other: float
) -> None:
    """Move to a goal on a curve; at once if there are no frames for it.

    Parameters
    ----------
    turn, turn_other : float
        EXPONENTIAL: ``exp(k / frames)`` and ``exp(k)``, ``k = ln 1000``; EQUAL_POWER: cosine
        and sine of ``pi / 2 / frames``.
    """
    begin = ramp["value"]
    start_ramp(ramp, goal, frames)
    if ramp["remaining"] == 0 or shape == LINEAR:
        return
    ramp["shape"] = shape
    ramp["begin"] = begin
    ramp["curve"] = 1.0
    ramp["curve_other"] = 0.0
    ramp["turn"] = turn
    ramp["turn_other"] = turn_other
    if shape == EXPONENTIAL:
        if goal > begin:
            ramp["reach"] = turn_other - 1.0
        else:
            ramp["turn"] = 1.0 / turn
            ramp["reach"] = 1.0 / turn_other - 1.0


@inlined
def turn_on(ramp: Ramp, frames: int) -> None:
    """Move on along the curve; the factor of a frame is raised to a power by squaring."""
    factor = ramp["turn"]
    if ramp["shape"] == EXPONENTIAL:
        while frames > 0:
            if frames & 1 != 0:
                ramp["curve"] *= factor
            factor *= factor
            frames >>= 1
        return
    other = ramp["turn_other"]
    while frames > 0:
        if frames & 1 != 0:
            cosine = ramp["curve"]
            sine = ramp["curve_other"]
            ramp["curve"] = cosine * factor - sine * other
            ramp["curve_other"] = sine * factor + cosine * other
        square = factor * factor - other * other
        other *= 2.0 * factor
        factor = square
        frames >>= 1


@inlined
def value_on_curve(ramp: Ramp) -> float:
    """The value at the place on the curve."""
    begin = ramp["begin"]
    goal = ramp["goal"]
    if ramp["shape"] == EXPONENTIAL:
        return begin + (goal - begin) * (ramp["curve"] - 1.0) / ramp["reach"]
    low = begin * ramp["curve"]
    high = goal * ramp["curve_other"]
    return square_root(low * low + high * high)


@inlined
def advance(ramp: Ramp, frames: int) -> None:
    """Move on by so many frames, which may be more than the ramp has left."""
    left = ramp["remaining"]
    if left > frames:
        ramp["remaining"] = left - frames
        if ramp["shape"] == LINEAR:
            ramp["value"] += frames * ramp["step"]
        else:
            turn_on(ramp, frames)
            ramp["value"] = value_on_curve(ramp)
    elif left > 0:
        set_ramp(ramp, ramp["goal"])


# --- many frames at once -------------------------------------------------------------


@apart
def scale_all(target: Floats, source: Floats, factor: Float32, count: int) -> None:
    """Multiply numbers by a factor."""
    for i in range(count):
        target[i] = source[i] * factor


@apart
def move_all(values: Floats, factor: Float32, offset: Float32, count: int) -> None:
    """Multiply values by a factor, and add an offset."""
    for i in range(count):
        values[i] = multiply_add(values[i], factor, offset)


@apart
def turn_all(
    cosines: Floats,
    sines: Floats,
    from_cosines: Floats,
    from_sines: Floats,
    cosine: Float32,
    sine: Float32,
    count: int,
) -> None:
    """Turn points on a circle by an angle."""
    for i in range(count):
        cosines[i] = multiply_add(from_cosines[i], cosine, from_sines[i] * -sine)
        sines[i] = multiply_add(from_sines[i], cosine, from_cosines[i] * sine)


@apart
def hypotenuses(values: Floats, sines: Floats, low: Float32, high: Float32, count: int) -> None:
    """``sqrt((low cos)^2 + (high sin)^2)``, in place of the cosines."""
    for i in range(count):
        beside = low * values[i]
        opposite = high * sines[i]
        values[i] = square_root(multiply_add(beside, beside, opposite * opposite))


@inlined
def fill_exponential(ramp: Ramp, values: int, count: int) -> None:
    """Write the next frames' values, by doubling: ``x^(n+k) = x^n x^k``."""
    powers = floats_at(values, count)
    factor = ramp["turn"]
    powers[0] = np.float32(factor)
    done = 1
    while done < count:
        more = smaller(done, count - done)
        scale_all(floats_at(values + 4 * done, more), powers, np.float32(factor), more)
        done += more
        factor *= factor
    whole = (ramp["goal"] - ramp["begin"]) / ramp["reach"]
    offset = np.float32(ramp["begin"] - whole)
    move_all(powers, np.float32(whole * ramp["curve"]), offset, count)


@inlined
def fill_equal_power(ramp: Ramp, values: int, scratch: int, count: int) -> None:
    """Write the next frames' values, by doubling angles."""
    cosines = floats_at(values, count)
    sines = floats_at(scratch, count)
    turn = ramp["turn"]
    other = ramp["turn_other"]
    cosines[0] = np.float32(ramp["curve"] * turn - ramp["curve_other"] * other)
    sines[0] = np.float32(ramp["curve_other"] * turn + ramp["curve"] * other)
    done = 1
    while done < count:
        more = smaller(done, count - done)
        turn_all(
            floats_at(values + 4 * done, more),
            floats_at(scratch + 4 * done, more),
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
    low = np.float32(ramp["begin"])
    hypotenuses(cosines, sines, low, np.float32(ramp["goal"]), count)


@apart
def fill_linear(values: Floats, value: Float32, step: Float32, count: int) -> None:
    """Write the next frames' values on a straight line.

    Processors without AVX-512 turn vectors of 32-bit integers into floats, not of 64 bits.
    """
    for i in range(count):
        values[i] = multiply_add(np.float32(np.int32(i + 1)), step, value)


@inlined
def fill_ramp(ramp: Ramp, values: int, scratch: int, count: int) -> None:
    """Write the values of the next frames, and move on.

    Parameters
    ----------
    values, scratch : int
        Addresses of float32 (count,).
    count : int
        At most the frames that the ramp has left, if it moves.
    """
    if ramp["shape"] == LINEAR:
        value, step = np.float32(ramp["value"]), np.float32(ramp["step"])
        fill_linear(floats_at(values, count), value, step, count)
    elif ramp["shape"] == EXPONENTIAL:
        fill_exponential(ramp, values, count)
    else:
        fill_equal_power(ramp, values, scratch, count)
    advance(ramp, count)
    if ramp["remaining"] == 0:
        floats_at(values, count)[count - 1] = np.float32(ramp["value"])


@inlined
def fill_values(ramp: Ramp, values: int, scratch: int, count: int) -> None:
    """Write the values of any number of frames, and move on; see :func:`fill_ramp`."""
    done = 0
    while done < count:
        part = count - done
        if ramp["remaining"] > 0:
            part = smaller(part, ramp["remaining"])
        fill_ramp(ramp, values + 4 * done, scratch, part)
        done += part
