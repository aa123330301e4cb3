"""Inner loops over samples, where a mixer spends its time; audio thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.layout import PATTERN
from audiostream.realtime.numbers import multiply_add

__all__ = (
    "add_one",
    "begin_with_four",
    "clear_block",
    "mix_four",
    "mix_four_along",
    "mix_four_ramps",
    "mix_four_turning",
    "scale_ramp",
    "set_pattern",
)

ZERO = np.float32(0.0)

SECOND = PATTERN
THIRD = 2 * PATTERN
FOURTH = 3 * PATTERN
"""Where the patterns of a pass's other voices begin, behind the first one's."""


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


@apart
def set_pattern(pattern: Any, left: Any, right: Any) -> None:
    """Fill a pattern with what the left and the right channel are to be multiplied by."""
    for j in range(0, PATTERN, 2):
        pattern[j] = left
        pattern[j + 1] = right


@inlined
def add_four(
    begin: Any, t: Any, a: Any, b: Any, c: Any, d: Any, first: Any, second: Any, j: int, k: int
) -> Any:
    """Add sample `k` of four voices to `begin`, each at ``first + second * t``.

    Parameters
    ----------
    j : int
        Where in the patterns the sample is.
    """
    la = multiply_add(t, second[j], first[j])
    lb = multiply_add(t, second[SECOND + j], first[SECOND + j])
    lc = multiply_add(t, second[THIRD + j], first[THIRD + j])
    ld = multiply_add(t, second[FOURTH + j], first[FOURTH + j])
    ab = multiply_add(a[k], la, multiply_add(b[k], lb, begin))
    return multiply_add(c[k], lc, multiply_add(d[k], ld, ab))


@apart
def mix_four_along(
    mix: Any, table: Any, a: Any, b: Any, c: Any, d: Any, first: Any, second: Any, count: int
) -> None:
    """Add four voices in one pass, each at ``first + second * table``.

    Parameters
    ----------
    table : float32 (count,)
        One for all.
    first, second : float32 (PASS, PATTERN)
        Each voice's, which repeat.  They fit into registers.
    """
    whole = count - count % PATTERN
    for i in range(0, whole, PATTERN):
        for j in range(PATTERN):
            k = i + j
            mix[k] = add_four(mix[k], table[k], a, b, c, d, first, second, j, k)
    for k in range(whole, count):
        mix[k] = add_four(mix[k], table[k], a, b, c, d, first, second, k - whole, k)


@apart
def mix_four_turning(
    mix: Any,
    cosine: Any,
    tangent: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    first: Any,
    second: Any,
    count: int,
) -> None:
    """:func:`mix_four_along`, each at ``cosine * (first + second * tangent)``."""
    whole = count - count % PATTERN
    for i in range(0, whole, PATTERN):
        for j in range(PATTERN):
            k = i + j
            four = add_four(ZERO, tangent[k], a, b, c, d, first, second, j, k)
            mix[k] = multiply_add(cosine[k], four, mix[k])
    for k in range(whole, count):
        four = add_four(ZERO, tangent[k], a, b, c, d, first, second, k - whole, k)
        mix[k] = multiply_add(cosine[k], four, mix[k])


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
