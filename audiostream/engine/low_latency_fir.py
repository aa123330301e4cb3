"""A low-pass that looks further back than ahead, for where 3 ms are few frames; any thread.

A symmetrical filter of 46 frames cannot pass all up to 0.4 of the rate and stop all from 0.5
on, both to 90 dB: the best there is stays at 83 and 74.  One that looks back as far as it likes
can, with no shift in what it passes.  It is a sum of B-splines, whose weights are found by
least squares in the frequency domain; each round gives more weight to where most was missing
(Lawson, "Contributions to the theory of linear least maximum approximation", UCLA 1961).
"""

from __future__ import annotations

import functools
import math

import numpy as np

__all__ = ("AHEAD", "BEHIND", "short_filter")

AHEAD = 23
"""Frames at the lower rate that it looks ahead: 2.9 ms at 8 kHz."""

BEHIND = 40
"""Frames at the lower rate that it looks back."""

PASS, STOP, FAR = 0.4, 0.5, 0.6
"""Edges of the bands, as shares of the lower rate; above the last one lie the images of what
passes, several of each."""

KNOTS = 3
"""B-splines to a frame; their own spectrum falls by 115 dB before it comes again."""

DEGREE = 7

CARE = (3.0, 1.0, 5.0)
"""How much errors count in the pass band, above STOP and above FAR: at most -99, -90 and
-104 dB of them are left."""

ROUNDS = 3

POINTS = 150
"""Frequencies of each band at which it is fitted."""


def short_filter(at: np.ndarray) -> np.ndarray:
    """The filter's value at places in frames of the lower rate; positive ones lie ahead."""
    weights = _weights()
    place = (np.asarray(at, np.float64) + BEHIND) * KNOTS  # of the first spline's knots
    first = np.floor(place).astype(np.int64)
    total = np.zeros_like(place)
    for k in range(DEGREE + 1):
        number = first - k
        there = (number >= 0) & (number < len(weights))
        total += np.where(there, weights[np.clip(number, 0, len(weights) - 1)], 0) * _spline(
            place - number
        )
    return total


def _spline(x: np.ndarray) -> np.ndarray:
    """The cardinal B-spline between its first knot, 0, and its last, DEGREE + 1."""
    total = np.zeros_like(x)
    for j in range(DEGREE + 2):
        total += (-1) ** j * math.comb(DEGREE + 1, j) * np.maximum(x - j, 0.0) ** DEGREE
    return np.where((x > 0) & (x < DEGREE + 1), total / math.factorial(DEGREE), 0.0)


@functools.lru_cache(maxsize=1)
def _weights() -> np.ndarray:
    """Of the splines, the one that reaches furthest back first; takes about 40 ms."""
    count = (AHEAD + BEHIND) * KNOTS - DEGREE
    middle = (np.arange(count) + (DEGREE + 1) / 2) / KNOTS - BEHIND
    bands = ((0.0, PASS), (STOP, FAR), (FAR, KNOTS / 2))
    at = np.concatenate([np.linspace(*band, POINTS) for band in bands])
    wanted = np.where(at <= PASS, 1.0, 0.0)
    care = np.repeat(CARE, POINTS)
    spectrum = np.sinc(at / KNOTS)[:, None] ** (DEGREE + 1) / KNOTS
    response = spectrum * np.exp(2j * np.pi * at[:, None] * middle)
    parts = np.concatenate([response.real, response.imag])
    goal = np.concatenate([wanted, np.zeros_like(wanted)])
    weights = np.zeros(count)
    again = np.ones_like(at)
    for _ in range(ROUNDS):
        root = np.tile(care * np.sqrt(again), 2)
        weights = np.linalg.lstsq(parts * root[:, None], goal * root, rcond=None)[0]
        again *= care * np.abs(response @ weights - wanted)
        again /= again.mean()
    return weights
