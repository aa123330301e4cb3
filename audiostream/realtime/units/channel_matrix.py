"""Channels by a matrix; caller threads and event loops, interpreter lock held.

numpy releases the interpreter lock for all but tiny products of matrices, and beside a busy
Python thread it takes 5 ms to get it back.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.memory.atomics import floats_at
from audiostream.realtime.units.conversion import LARGEST, sane

__all__ = ("remix",)

ZERO = np.float32(0.0)


@inlined
def remix(
    target_address: int,
    matrix_address: int,
    source_address: int,
    frames: int,
    outputs: int,
    inputs: int,
) -> None:
    """Make each channel a weighted sum of the source's channels.

    Parameters
    ----------
    target_address, matrix_address, source_address : int
        Of float32 (frames * outputs,), (outputs * inputs,) and (frames * inputs,).
    """
    target = floats_at(target_address, frames * outputs)
    matrix = floats_at(matrix_address, outputs * inputs)
    source = floats_at(source_address, frames * inputs)
    for i in range(frames):
        for o in range(outputs):
            total = ZERO
            for k in range(inputs):
                total += matrix[o * inputs + k] * source[i * inputs + k]
            if not -LARGEST <= total <= LARGEST:  # only now look for a NaN
                total = ZERO
                for k in range(inputs):
                    total += matrix[o * inputs + k] * sane(source[i * inputs + k])
            target[i * outputs + o] = total
