"""Values in a device's or a user's encoding to float32 and back; any thread."""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.memory.atomics import floats_at, int8s_at, int16s_at
from audiostream.realtime.memory.layout import Float32, Floats
from audiostream.realtime.units.gain import clear_block

__all__ = ("convert", "encode", "sane")

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
SCALE8 = np.float32(128.0)
SCALE16 = np.float32(32768.0)
PART8 = np.float32(1.0 / 128.0)
PART16 = np.float32(1.0 / 32768.0)
TOP8 = np.float32(127.0)
TOP16 = np.float32(32767.0)
LARGEST = np.float32(2.0**20)
"""The largest float that is accepted: 120 dB above full scale."""

ROUND = np.float32(12582912.0)
"""1.5 * 2**23: adding and taking it away rounds a float32 to the nearest integer, ties
to even, without a call (valid below 2**22)."""


@inlined
def limited(value: Float32, low: Float32, high: Float32) -> Float32:
    """`value` within bounds; NaN becomes silence, since casting one is undefined."""
    if value != value:
        return ZERO
    return smaller(larger(value, low), high)


@inlined
def sane(value: Float32) -> Float32:
    """A float that came from outside; NaN is silence, infinity is full scale.

    One voice's NaN would silence all that it is mixed with, and would stay in a filter or a
    tail.  So would a large number.
    """
    if value != value:
        return ZERO
    if value > LARGEST:
        return ONE
    if value < -LARGEST:
        return -ONE
    return value


@inlined
def encode(source: Floats, target: int, encoding: int, count: int) -> None:
    """Write `count` float32 values at the address `target` as int8, int16 or float32.

    Saturates at full scale; integers are rounded to the nearest, ties to even.
    """
    if encoding == 16:
        shorts = int16s_at(target, count)
        for i in range(count):
            value = limited(source[i] * SCALE16, -SCALE16, TOP16)
            shorts[i] = np.int16((value + ROUND) - ROUND)
    elif encoding == 8:
        small = int8s_at(target, count)
        for i in range(count):
            value = limited(source[i] * SCALE8, -SCALE8, TOP8)
            small[i] = np.int8((value + ROUND) - ROUND)
    else:
        floats = floats_at(target, count)
        for i in range(count):
            floats[i] = limited(source[i], -ONE, ONE)


@inlined
def value_at(source: int, encoding: int, index: int) -> Float32:
    """One value of int8, int16 or float32 at the address `source` as a float32."""
    if encoding == 16:
        return np.float32(int16s_at(source, index + 1)[index]) * PART16
    if encoding == 8:
        return np.float32(int8s_at(source, index + 1)[index]) * PART8
    return sane(floats_at(source, index + 1)[index])


@inlined
def decode(source: int, target: Floats, encoding: int, count: int) -> None:
    """Read `count` values at the address `source` as float32; no address is silence.

    LLVM takes the choice of the encoding out of the loop.
    """
    if source == 0:
        clear_block(target, count)
        return
    for i in range(count):
        target[i] = value_at(source, encoding, i)


@inlined
def decode_to_both(source: int, target: Floats, encoding: int, count: int) -> None:
    """Read `count` values at the address `source` as float32, each for two channels."""
    for i in range(count):
        value = value_at(source, encoding, i)
        target[2 * i] = value
        target[2 * i + 1] = value


@inlined
def convert(
    source: int,
    encoding: int,
    source_channels: int,
    target: int,
    channels: int,
    frames: int,
) -> None:
    """Convert frames at the address `source` to float32 and to another number of channels.

    Equal counts copy; one channel goes to all; many to one is their mean; otherwise
    channel ``i`` goes to ``i % channels``, the mean where several meet, and channels
    that nothing goes to are silent.
    """
    values = floats_at(target, frames * channels)
    if channels == source_channels:
        decode(source, values, encoding, frames * channels)
        return
    if source_channels == 1 and channels == 2:
        decode_to_both(source, values, encoding, frames)
        return
    for i in range(frames):
        for c in range(channels):
            first = 0 if source_channels == 1 else c
            total = 0.0
            met = 0
            for k in range(first, source_channels, larger(channels, 1)):
                total += float(value_at(source, encoding, i * source_channels + k))
                met += 1
            values[i * channels + c] = np.float32(total / larger(met, 1))
