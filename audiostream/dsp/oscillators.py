"""Sine, saw, square and triangle with little aliasing; audio thread.

A saw and a square jump, and a sampled jump has partials above half the rate, which fold back.
polyBLEP replaces the two frames around each jump with those of a jump that is smoothed over
two frames.  polyBLAMP does the same for the corners of a triangle.  What is left of the
aliasing is weaker, the more so the lower it folds to.

Sources: V. Valimaki and A. Huovilainen, "Antialiasing oscillators in subtractive synthesis",
IEEE Signal Processing Magazine 24(2), 2007 (polyBLEP); F. Esqueda, V. Valimaki and S. Bilbao,
"Rounding corners with BLAMP", DAFx-16, 2016 (polyBLAMP).
"""

from __future__ import annotations

import math

import numpy as np

from audiostream.kernels.decorator import kernel

__all__ = ("saw", "sine", "square", "triangle")

STATE = {"phase": "f8"}
"""Periods, from 0 to 1."""

LIMITS = {"frequency": (-20_000.0, 20_000.0), "level": (0.0, 1.0), "width": (0.01, 0.99)}

TURN = 2.0 * math.pi


def wrapped(phase):
    """The part of a phase that is after its last whole period, from 0 to 1.

    np.floor gives a float; math.floor gives an int, and a saw takes twice the time.
    """
    return phase - np.floor(phase)


def blep(phase, step):
    """What to add to a jump by +2 at phase 0, where the phase grows by `step` a frame."""
    if phase < step:
        x = phase / step
        return x + x - x * x - 1.0
    if phase > 1.0 - step:
        x = (phase - 1.0) / step
        return x * x + x + x + 1.0
    return 0.0


def blamp(phase, step):
    """What to add to a corner at phase 0 where the slope changes by +1 a frame."""
    distance = min(phase, 1.0 - phase)
    if distance >= step:
        return 0.0
    x = 1.0 - distance / step
    return x * x * x / 6.0


@kernel(state=STATE, limits={name: LIMITS[name] for name in ("frequency", "level")})
def sine(block, state, frequency=440.0, level=0.5, *, rate):
    """Generate a sine, from phase 0.

    Parameters
    ----------
    frequency : Hz
        It may move in each frame (FM).  A negative one runs backwards.
    level : factor
        The peak; 1 is full scale.
    """
    phase = state.phase
    for i in range(block.shape[0]):
        value = level[i] * math.sin(TURN * phase)
        for c in range(block.shape[1]):
            block[i, c] = value
        phase = wrapped(phase + float(frequency[i]) / rate)
    state.phase = phase


@kernel(state=STATE, limits={name: LIMITS[name] for name in ("frequency", "level")})
def saw(block, state, frequency=440.0, level=0.5, *, rate):
    """Generate a saw that rises and jumps back (polyBLEP).  It begins at 0.

    Parameters
    ----------
    frequency : Hz
        It may move in each frame (FM).  A negative one runs backwards.
    level : factor
        The peak; 1 is full scale.
    """
    phase = state.phase
    for i in range(block.shape[0]):
        step = float(frequency[i]) / rate
        at = wrapped(phase + 0.5)
        value = level[i] * (2.0 * at - 1.0 - blep(at, min(abs(step), 0.5)))
        for c in range(block.shape[1]):
            block[i, c] = value
        phase = wrapped(phase + step)
    state.phase = phase


@kernel(state=STATE, limits=LIMITS)
def square(block, state, frequency=440.0, width=0.5, level=0.5, *, rate):
    """Generate a square, or a pulse of any width (polyBLEP).

    A pulse of another width than 0.5 has a constant part of ``level * (2 * width - 1)``.

    Parameters
    ----------
    frequency : Hz
        It may move in each frame (FM).  A negative one runs backwards.
    width : share of a period
        How long it is high.
    level : factor
        The peak; 1 is full scale.
    """
    phase = state.phase
    for i in range(block.shape[0]):
        step = float(frequency[i]) / rate
        smooth = min(abs(step), 0.5)
        high = float(width[i])
        value = 1.0 if phase < high else -1.0
        value += blep(phase, smooth) - blep(wrapped(phase - high), smooth)
        value *= level[i]
        for c in range(block.shape[1]):
            block[i, c] = value
        phase = wrapped(phase + step)
    state.phase = phase


@kernel(state=STATE, limits={name: LIMITS[name] for name in ("frequency", "level")})
def triangle(block, state, frequency=440.0, level=0.5, *, rate):
    """Generate a triangle (polyBLAMP).  It begins at 0 and rises.

    Parameters
    ----------
    frequency : Hz
        It may move in each frame (FM).  A negative one runs backwards.
    level : factor
        The peak of the triangle before its corners are rounded; 1 is full scale.
    """
    phase = state.phase
    for i in range(block.shape[0]):
        step = float(frequency[i]) / rate
        smooth = min(abs(step), 0.5)
        top = wrapped(phase - 0.25)
        bottom = wrapped(phase + 0.25)
        value = 4.0 * abs(top - 0.5) - 1.0
        # The slope is 4 a period, so that each corner changes it by 8 * step a frame.
        value += 8.0 * smooth * (blamp(bottom, smooth) - blamp(top, smooth))
        value *= level[i]
        for c in range(block.shape[1]):
            block[i, c] = value
        phase = wrapped(phase + step)
    state.phase = phase
