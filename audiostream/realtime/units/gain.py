"""Inner loops over blocks: clear, scale, add; audio thread."""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import apart, inlined
from audiostream.realtime.compile.intrinsics import multiply_add
from audiostream.realtime.memory.layout import TABLE, Float32, Floats

__all__ = (
    "add_steady",
    "add_with_sides",
    "blend",
    "clear_block",
    "delay",
    "keep_rest",
    "multiply_all",
    "scale_block",
    "scale_frames",
)

ZERO = np.float32(0.0)
ONE = np.float32(1.0)


@inlined
def clear_block(block: Floats, count: int) -> None:
    """Fill with silence."""
    for i in range(count):
        block[i] = ZERO


@apart
def add_steady(mix: Floats, source: Floats, table: Floats, count: int) -> None:
    """Add values to a block, value ``i`` times ``table[i % TABLE]``.

    The inner loop has a fixed length, so that LLVM keeps the table in registers.
    """
    whole = count - count % TABLE
    for i in range(0, whole, TABLE):
        for j in range(TABLE):
            mix[i + j] = multiply_add(source[i + j], table[j], mix[i + j])
    for i in range(whole, count):
        mix[i] = multiply_add(source[i], table[i - whole], mix[i])


@apart
def add_with_sides(
    mix: Floats,
    source: Floats,
    left: Float32,
    left_step: Float32,
    right: Float32,
    right_step: Float32,
    frames: int,
) -> None:
    """Add stereo frames; frame ``t``, from 1, times ``left + t left_step`` and so on."""
    for i in range(frames):
        t = np.float32(np.int32(i + 1))
        to_left = multiply_add(t, left_step, left)
        to_right = multiply_add(t, right_step, right)
        mix[2 * i] = multiply_add(source[2 * i], to_left, mix[2 * i])
        mix[2 * i + 1] = multiply_add(source[2 * i + 1], to_right, mix[2 * i + 1])


@apart
def multiply_all(levels: Floats, factors: Floats, count: int) -> None:
    """Multiply levels by factors."""
    for i in range(count):
        levels[i] *= factors[i]


@apart
def scale_frames(
    target: Floats, source: Floats, levels: Floats, channels: int, frames: int
) -> None:
    """Write frames at their levels into a block."""
    if channels == 2:
        for i in range(frames):
            target[2 * i] = source[2 * i] * levels[i]
            target[2 * i + 1] = source[2 * i + 1] * levels[i]
        return
    for i in range(frames):
        for c in range(channels):
            target[i * channels + c] = source[i * channels + c] * levels[i]


@apart
def scale_block(block: Floats, levels: Floats, channels: int, frames: int) -> None:
    """Scale the frames of a block by their levels, in place."""
    for i in range(frames):
        for c in range(channels):
            block[i * channels + c] *= levels[i]


@apart
def blend(
    block: Floats, levels: Floats, other: Floats, factors: Floats, channels: int, frames: int
) -> None:
    """Put a block's frames at their levels, and add another block's at theirs."""
    for i in range(frames):
        for c in range(channels):
            j = i * channels + c
            block[j] = multiply_add(other[j], factors[i], block[j] * levels[i])


@apart
def keep_rest(levels: Floats, factors: Floats, count: int) -> None:
    """Turn levels into what they and the factors together leave of 1."""
    for i in range(count):
        levels[i] = ONE - levels[i] * factors[i]


@apart
def delay(target: Floats, line: Floats, source: Floats, count: int) -> None:
    """Take values out of a delay line, and put others in their place."""
    for i in range(count):
        target[i] = line[i]
        line[i] = source[i]
