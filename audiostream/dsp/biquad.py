"""Filters of second order, from the Audio EQ Cookbook; audio thread.

Each is the transposed direct form II in float64.  Its coefficients are computed once a call, so
that frequency, q and gain cost nothing while they stand still.

This form suits values that stand still or move over some milliseconds, as they do by default.
A frequency that jumps from 10 kHz to 100 Hz in one step made a sine of 1 peak at 3 to 42, but
at 1.2 to 4.6 on ramps of 20 ms.  For a cutoff that jumps or moves in each frame take `svf`.

Source: R. Bristow-Johnson, "Audio EQ Cookbook", W3C Working Group Note, 2021,
https://www.w3.org/TR/audio-eq-cookbook/.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from audiostream.kernels.decorator import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

__all__ = (
    "allpass",
    "bandpass",
    "biquad_response",
    "highpass",
    "highshelf",
    "lowpass",
    "lowshelf",
    "notch",
    "peaking",
)

STATE = {"z": ("f8", ("channels", 2))}

PASS = {"frequency": (10.0, 20_000.0), "q": (0.1, 100.0)}
EQ = {**PASS, "gain_db": (-40.0, 40.0)}

BUTTERWORTH = math.sqrt(0.5)
"""The q without a peak: -3 dB at the cutoff."""


def biquad_response(
    coefficients: Callable[..., tuple[float, ...]],
    values: Mapping[str, float],
    frequencies: np.ndarray,
    rate: float,
) -> np.ndarray:
    """The complex response of a filter; caller thread.

    Parameters
    ----------
    coefficients : function
        Of the parameters and the rate; gives b0, b1, b2, a1, a2.
    values : mapping
        Parameter -> value.
    frequencies : ndarray
        Hz.
    """
    import numpy as np

    b0, b1, b2, a1, a2 = coefficients(**values, rate=rate)
    back = np.exp(-2j * np.pi * np.asarray(frequencies, np.float64) / rate)  # one frame
    return np.asarray((b0 + (b1 + b2 * back) * back) / (1.0 + (a1 + a2 * back) * back))


def response_of(coefficients: Callable[..., Any]) -> Callable[..., Any]:
    """The response of filters with these coefficients, for ``response=``."""
    return functools.partial(biquad_response, coefficients)


def run(block, z, coefficients):
    """Filter a block in place; transposed direct form II."""
    b0, b1, b2, a1, a2 = coefficients
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            x = float(block[i, c])
            y = b0 * x + z[c, 0]
            z[c, 0] = b1 * x - a1 * y + z[c, 1]
            z[c, 1] = b2 * x - a2 * y
            block[i, c] = y


def angle(frequency, rate):
    """The frequency in radians a frame; at most 0.49 of the rate."""
    return 2.0 * math.pi * min(frequency / rate, 0.49)


def divided(b0, b1, b2, a0, a1, a2):
    """The coefficients for a0 = 1."""
    return b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0


def lowpass_coefficients(frequency, q, rate):
    """LPF of the cookbook."""
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    b = 1.0 - cosine
    return divided(b / 2.0, b, b / 2.0, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def highpass_coefficients(frequency, q, rate):
    """HPF of the cookbook."""
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    b = 1.0 + cosine
    return divided(b / 2.0, -b, b / 2.0, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def bandpass_coefficients(frequency, q, rate):
    """BPF of the cookbook, the one with a peak of 0 dB."""
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    return divided(alpha, 0.0, -alpha, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def notch_coefficients(frequency, q, rate):
    """Notch of the cookbook."""
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    return divided(1.0, -2.0 * cosine, 1.0, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def allpass_coefficients(frequency, q, rate):
    """APF of the cookbook."""
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    return divided(
        1.0 - alpha, -2.0 * cosine, 1.0 + alpha, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha
    )


def peaking_coefficients(frequency, q, gain_db, rate):
    """Peaking EQ of the cookbook."""
    a = 10.0 ** (gain_db / 40.0)
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    return divided(
        1.0 + alpha * a,
        -2.0 * cosine,
        1.0 - alpha * a,
        1.0 + alpha / a,
        -2.0 * cosine,
        1.0 - alpha / a,
    )


def lowshelf_coefficients(frequency, q, gain_db, rate):
    """Low shelf of the cookbook."""
    a = 10.0 ** (gain_db / 40.0)
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    slope = 2.0 * math.sqrt(a) * alpha
    return divided(
        a * (a + 1.0 - (a - 1.0) * cosine + slope),
        2.0 * a * (a - 1.0 - (a + 1.0) * cosine),
        a * (a + 1.0 - (a - 1.0) * cosine - slope),
        a + 1.0 + (a - 1.0) * cosine + slope,
        -2.0 * (a - 1.0 + (a + 1.0) * cosine),
        a + 1.0 + (a - 1.0) * cosine - slope,
    )


def highshelf_coefficients(frequency, q, gain_db, rate):
    """High shelf of the cookbook."""
    a = 10.0 ** (gain_db / 40.0)
    cosine = math.cos(angle(frequency, rate))
    alpha = math.sin(angle(frequency, rate)) / (2.0 * q)
    slope = 2.0 * math.sqrt(a) * alpha
    return divided(
        a * (a + 1.0 + (a - 1.0) * cosine + slope),
        -2.0 * a * (a - 1.0 + (a + 1.0) * cosine),
        a * (a + 1.0 + (a - 1.0) * cosine - slope),
        a + 1.0 - (a - 1.0) * cosine + slope,
        2.0 * (a - 1.0 - (a + 1.0) * cosine),
        a + 1.0 - (a - 1.0) * cosine - slope,
    )


@kernel(
    state=STATE,
    limits=PASS,
    scalars=("frequency", "q"),
    response=response_of(lowpass_coefficients),
)
def lowpass(block, state, frequency=1000.0, q=BUTTERWORTH, *, rate):
    """Pass what is below a frequency; 12 dB an octave above it.

    Parameters
    ----------
    frequency : Hz
        At most 0.49 of the rate is used.
    q : factor
        The gain at the frequency; sqrt(1/2) has no peak.
    """
    run(block, state.z, lowpass_coefficients(frequency, q, rate))


@kernel(
    state=STATE,
    limits=PASS,
    scalars=("frequency", "q"),
    response=response_of(highpass_coefficients),
)
def highpass(block, state, frequency=100.0, q=BUTTERWORTH, *, rate):
    """Pass what is above a frequency; 12 dB an octave below it.

    Parameters
    ----------
    frequency : Hz
        At most 0.49 of the rate is used.
    q : factor
        The gain at the frequency; sqrt(1/2) has no peak.
    """
    run(block, state.z, highpass_coefficients(frequency, q, rate))


@kernel(
    state=STATE,
    limits=PASS,
    scalars=("frequency", "q"),
    response=response_of(bandpass_coefficients),
)
def bandpass(block, state, frequency=1000.0, q=1.0, *, rate):
    """Pass a band around a frequency, at 0 dB there.

    Parameters
    ----------
    frequency : Hz
        The middle of the band; at most 0.49 of the rate is used.
    q : factor
        The frequency divided by the width between the two -3 dB points.
    """
    run(block, state.z, bandpass_coefficients(frequency, q, rate))


@kernel(
    state=STATE,
    limits=PASS,
    scalars=("frequency", "q"),
    response=response_of(notch_coefficients),
)
def notch(block, state, frequency=50.0, q=10.0, *, rate):
    """Take out a frequency, such as the hum of the mains.

    Parameters
    ----------
    frequency : Hz
        At most 0.49 of the rate is used.
    q : factor
        The frequency divided by the width between the two -3 dB points.
    """
    run(block, state.z, notch_coefficients(frequency, q, rate))


@kernel(
    state=STATE,
    limits=PASS,
    scalars=("frequency", "q"),
    response=response_of(allpass_coefficients),
)
def allpass(block, state, frequency=1000.0, q=BUTTERWORTH, *, rate):
    """Turn the phase and leave the level.

    Parameters
    ----------
    frequency : Hz
        Where the phase is -180 degrees; at most 0.49 of the rate is used.
    q : factor
        How steeply the phase turns there.
    """
    run(block, state.z, allpass_coefficients(frequency, q, rate))


@kernel(
    state=STATE,
    limits=EQ,
    scalars=("frequency", "q", "gain_db"),
    response=response_of(peaking_coefficients),
)
def peaking(block, state, frequency=1000.0, q=1.0, gain_db=0.0, *, rate):
    """Raise or lower a band around a frequency.

    Parameters
    ----------
    frequency : Hz
        The middle of the band; at most 0.49 of the rate is used.
    q : factor
        The frequency divided by the width between the points of half the gain in dB.
    gain_db : dB
        At the frequency.
    """
    run(block, state.z, peaking_coefficients(frequency, q, gain_db, rate))


@kernel(
    state=STATE,
    limits=EQ,
    scalars=("frequency", "q", "gain_db"),
    response=response_of(lowshelf_coefficients),
)
def lowshelf(block, state, frequency=200.0, q=BUTTERWORTH, gain_db=0.0, *, rate):
    """Raise or lower what is below a frequency.

    Parameters
    ----------
    frequency : Hz
        The middle of the slope, at half the gain in dB; at most 0.49 of the rate is used.
    q : factor
        How steep the slope is; above sqrt(1/2) it overshoots.
    gain_db : dB
        Far below the frequency.
    """
    run(block, state.z, lowshelf_coefficients(frequency, q, gain_db, rate))


@kernel(
    state=STATE,
    limits=EQ,
    scalars=("frequency", "q", "gain_db"),
    response=response_of(highshelf_coefficients),
)
def highshelf(block, state, frequency=4000.0, q=BUTTERWORTH, gain_db=0.0, *, rate):
    """Raise or lower what is above a frequency.

    Parameters
    ----------
    frequency : Hz
        The middle of the slope, at half the gain in dB; at most 0.49 of the rate is used.
    q : factor
        How steep the slope is; above sqrt(1/2) it overshoots.
    gain_db : dB
        Far above the frequency.
    """
    run(block, state.z, highshelf_coefficients(frequency, q, gain_db, rate))
