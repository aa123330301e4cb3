"""Runs kernels over arrays, with parameters that move, and takes spectra."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from audiostream.kernels import unit

RATE = 48000

__all__ = ("RATE", "Runner", "db", "noise", "run", "spectrum")


class Runner:
    """One instance with its memory; each call goes on where the last one ended.

    Parameters
    ----------
    fx : Unit
    longest : int
        The most frames of a call.
    plain : bool
        Run the plain Python function.
    """

    def __init__(
        self, fx: Any, channels: int, rate: int = RATE, *, longest: int, plain: bool = False
    ) -> None:
        self.memory = fx._memory(rate, channels, longest)
        self.state = self.memory.state[0]
        self._call = (unit._plain_call if plain else unit._compiled_call)(self.memory)
        self._names = list(self.memory.contract.parameters)

    def __call__(self, block: np.ndarray, **moving: np.ndarray) -> None:
        """Change a block in place; parameters are arrays (frames,), a scalar's first counts."""
        for name, values in moving.items():
            array = self.memory.arrays[self._names.index(name)]
            count = min(len(array), len(block))
            array[:count] = values[:count]
        assert self._call(block) == len(block)


def run(
    fx: Any,
    given: Any,
    rate: int = RATE,
    *,
    plain: bool = False,
    blocks: Sequence[int] = (256,),
    **moving: Any,
) -> np.ndarray:
    """What comes out, float32 (frames, channels).

    Parameters
    ----------
    given : array_like (frames,) or (frames, channels)
    blocks : sequence of int
        Frames of the calls, in turn.
    **moving
        Parameter -> values (frames,).
    """
    data = np.array(given, np.float32, order="C")
    data = data[:, None] if data.ndim == 1 else data
    moving = {name: np.broadcast_to(one, len(data)) for name, one in moving.items()}
    runner = Runner(fx, data.shape[1], rate, longest=max(blocks), plain=plain)
    start = 0
    for frames in cycle(blocks):
        if start >= len(data):
            return data
        end = start + frames
        runner(data[start:end], **{name: one[start:end] for name, one in moving.items()})
        start = end
    raise AssertionError


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """White noise, float32 (frames, channels)."""
    values = np.random.default_rng(seed).uniform(-1.0, 1.0, (frames, channels))
    return values.astype(np.float32)


def spectrum(values: np.ndarray) -> np.ndarray:
    """The amplitudes of the partials of a whole number of periods; a sine of 1 gives 1."""
    return 2.0 * np.abs(np.fft.rfft(np.asarray(values, np.float64))) / len(values)


def db(factor: Any) -> Any:
    """In decibels."""
    return 20.0 * np.log10(np.maximum(np.abs(factor), 1e-20))
