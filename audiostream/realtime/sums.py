"""Inner loops over samples, where a mixer spends its time; audio thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.numbers import multiply_add
from audiostream.realtime.vectors import (
    FIRST,
    FOURTH,
    LANES,
    SECOND,
    THIRD,
    add_along,
    add_bending,
    add_four,
    add_turning,
)

__all__ = (
    "add_one",
    "begin_with_four",
    "clear_block",
    "mix_four",
    "mix_four_along",
    "mix_four_bending",
    "mix_four_ramps",
    "mix_four_turning",
    "scale_ramp",
)

ZERO = np.float32(0.0)


@apart
def mix_four(
    mix: Any, a: Any, b: Any, c: Any, d: Any, ga: Any, gb: Any, gc: Any, gd: Any, count: int
) -> None:
    """Add four voices in one pass over the block, each at its own constant gain."""
    for i in range(count):
        ab = multiply_add(a[i], ga, multiply_add(b[i], gb, mix[i]))
        mix[i] = multiply_add(c[i], gc, multiply_add(d[i], gd, ab))


@apart
def begin_with_four(
    mix: Any, a: Any, b: Any, c: Any, d: Any, ga: Any, gb: Any, gc: Any, gd: Any, count: int
) -> None:
    """:func:`mix_four` into a block that holds nothing yet."""
    for i in range(count):
        ab = multiply_add(a[i], ga, b[i] * gb)
        mix[i] = multiply_add(c[i], gc, multiply_add(d[i], gd, ab))


@apart
def mix_four_ramps(
    mix: Any,
    ramp: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    ga: Any,
    gb: Any,
    gc: Any,
    gd: Any,
    sa: Any,
    sb: Any,
    sc: Any,
    sd: Any,
    half: int,
    count: int,
) -> None:
    """Add four voices in one pass, each gain moving by its step from frame to frame.

    The second half of the block goes along with the first, its gains a sum away from those
    there, since processors do fewer multiplications at a time than loads and additions.

    Parameters
    ----------
    half : int
        Samples of half of the block's frames, rounded down.
    """
    further = ramp[half] - ramp[0]
    fa = sa * further
    fb = sb * further
    fc = sc * further
    fd = sd * further
    for i in range(half):
        t = ramp[i]
        k = i + half
        la = multiply_add(t, sa, ga)
        lb = multiply_add(t, sb, gb)
        lc = multiply_add(t, sc, gc)
        ld = multiply_add(t, sd, gd)
        ab = multiply_add(a[i], la, multiply_add(b[i], lb, mix[i]))
        cd = multiply_add(a[k], la + fa, multiply_add(b[k], lb + fb, mix[k]))
        mix[i] = multiply_add(c[i], lc, multiply_add(d[i], ld, ab))
        mix[k] = multiply_add(c[k], lc + fc, multiply_add(d[k], ld + fd, cd))
    for i in range(2 * half, count):
        t = ramp[i]
        ab = multiply_add(b[i], multiply_add(t, sb, gb), mix[i])
        ab = multiply_add(a[i], multiply_add(t, sa, ga), ab)
        cd = multiply_add(d[i], multiply_add(t, sd, gd), ab)
        mix[i] = multiply_add(c[i], multiply_add(t, sc, gc), cd)


@inlined
def mix_four_along(
    mix: Any, table: Any, a: Any, b: Any, c: Any, d: Any, numbers: Any, count: int
) -> None:
    """Add four voices in one pass, each at ``first + second * table``.

    Parameters
    ----------
    table : float32 (count,)
        One for all.
    numbers : float32 (4, PASS, 2)
        Each voice's first to fourth numbers, for the left and the right channel.
    """
    whole = count - count % LANES
    add_along(mix, table, a, b, c, d, numbers, whole)
    for k in range(whole, count):
        mix[k] = add_four(mix[k], table[k], a, b, c, d, numbers, k & 1, k)


@inlined
def mix_four_turning(
    mix: Any,
    cosine: Any,
    tangent: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    numbers: Any,
    count: int,
) -> None:
    """:func:`mix_four_along`, each at ``cosine * (first + second * tangent)``."""
    whole = count - count % LANES
    add_turning(mix, cosine, tangent, a, b, c, d, numbers, whole)
    for k in range(whole, count):
        four = add_four(ZERO, tangent[k], a, b, c, d, numbers, k & 1, k)
        mix[k] = multiply_add(cosine[k], four, mix[k])


@inlined
def mix_four_bending(
    mix: Any,
    ramp: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    numbers: Any,
    frames: Any,
    count: int,
) -> None:
    """:func:`mix_four_along`, at ``first + t (second + t (third + fourth t))``; `ramp`: ``t``.

    Parameters
    ----------
    frames : float32
        So many of them are LANES samples.
    """
    whole = count - count % LANES
    if whole > 0:
        add_bending(mix, ramp, a, b, c, d, numbers, frames, whole)
    for k in range(whole, count):
        side = k & 1
        t = ramp[k]
        la = bent(t, numbers, side)
        lb = bent(t, numbers, side + 2)
        lc = bent(t, numbers, side + 4)
        ld = bent(t, numbers, side + 6)
        ab = multiply_add(a[k], la, multiply_add(b[k], lb, mix[k]))
        mix[k] = multiply_add(c[k], lc, multiply_add(d[k], ld, ab))


@inlined
def bent(t: Any, numbers: Any, pair: int) -> Any:
    """``first + t (second + t (third + fourth t))`` of one voice's channel."""
    slope = multiply_add(t, numbers[FOURTH + pair], numbers[THIRD + pair])
    slope = multiply_add(t, slope, numbers[SECOND + pair])
    return multiply_add(t, slope, numbers[FIRST + pair])


@apart
def add_one(mix: Any, source: Any, gain: Any, count: int) -> None:
    """Add one voice at a constant gain."""
    for i in range(count):
        mix[i] = multiply_add(source[i], gain, mix[i])


@apart
def scale_ramp(mix: Any, ramp: Any, gain: Any, step: Any, count: int) -> None:
    """Scale the block by a gain that moves by its step from frame to frame."""
    for i in range(count):
        mix[i] *= multiply_add(ramp[i], step, gain)


@inlined
def clear_block(block: Any, count: int) -> None:
    """Begin with silence."""
    for i in range(count):
        block[i] = ZERO
