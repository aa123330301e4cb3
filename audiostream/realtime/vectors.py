"""Inner loops that LLVM is handed as vectors, as it makes none by itself; audio thread.

The left and the right channel are multiplied by numbers of their own.  In a loop over samples
these change from sample to sample and yet are the same in every frame; LLVM does not see that
a vector of pairs stays as it is.  What follows each plain form here is the same in vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from audiostream.realtime.inlined import emitted, inlined
from audiostream.realtime.layout import PASS
from audiostream.realtime.numbers import multiply_add

__all__ = (
    "FIRST",
    "FOURTH",
    "LANES",
    "SECOND",
    "THIRD",
    "add_along",
    "add_bending",
    "add_four",
    "add_turning",
)

ZERO = np.float32(0.0)

LANES = 16
"""Samples in a vector, as many as AVX-512 takes at once; others take two or four turns at them.
All loops here take a multiple of them."""

FIRST, SECOND, THIRD, FOURTH = 0, 2 * PASS, 4 * PASS, 6 * PASS
"""Where the numbers of a pass begin: a pair for each voice, of its left and right channel."""

ORDER = (1, 0, 3, 2)
"""In which a pass's voices are added up, that of sums.py."""


# --- plain --------------------------------------------------------------------------


@inlined
def add_four(
    begin: Any, t: Any, a: Any, b: Any, c: Any, d: Any, numbers: Any, side: int, k: int
) -> Any:
    """Add sample `k` of four voices to `begin`, each at ``first + second * t``."""
    la = multiply_add(t, numbers[SECOND + side], numbers[FIRST + side])
    lb = multiply_add(t, numbers[SECOND + 2 + side], numbers[FIRST + 2 + side])
    lc = multiply_add(t, numbers[SECOND + 4 + side], numbers[FIRST + 4 + side])
    ld = multiply_add(t, numbers[SECOND + 6 + side], numbers[FIRST + 6 + side])
    ab = multiply_add(a[k], la, multiply_add(b[k], lb, begin))
    return multiply_add(c[k], lc, multiply_add(d[k], ld, ab))


def add_along(
    mix: Any, table: Any, a: Any, b: Any, c: Any, d: Any, numbers: Any, count: int
) -> None:
    """Add four voices in one pass, each at ``first + second * table``.

    Parameters
    ----------
    numbers : float32 (4, PASS, 2)
        What the left and the right channel of each are multiplied by.
    """
    for k in range(count):
        mix[k] = add_four(mix[k], table[k], a, b, c, d, numbers, k & 1, k)


def add_turning(
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
    """:func:`add_along`, each at ``cosine * (first + second * tangent)``."""
    for k in range(count):
        four = add_four(ZERO, tangent[k], a, b, c, d, numbers, k & 1, k)
        mix[k] = multiply_add(cosine[k], four, mix[k])


def add_bending(
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
    """:func:`add_along`, each at ``first + t (second + t (third + fourth t))``; `ramp`: ``t``.

    From vector to vector what is in the outer brackets, the slope, moves by a sum, and so does
    that, for which processors have more room than for two more multiplications.

    Parameters
    ----------
    frames : float32
        So many of them are a vector.
    count : int
        Not 0: the first vector of the ramp is read at once.
    """
    sources = (a, b, c, d)
    slopes, steps = {}, {}
    for v in range(PASS):
        for j in range(LANES):
            pair, t = 2 * v + (j & 1), ramp[j]
            third, fourth = numbers[THIRD + pair], numbers[FOURTH + pair]
            slope = multiply_add(t, fourth, third)
            slopes[v, j] = multiply_add(t, slope, numbers[SECOND + pair])
            steps[v, j] = multiply_add(t + t + frames, fourth, third) * frames
    for k in range(count):
        j, side, t = k % LANES, k & 1, ramp[k]
        total = mix[k]
        for v in ORDER:
            level = multiply_add(t, slopes[v, j], numbers[FIRST + 2 * v + side])
            total = multiply_add(sources[v][k], level, total)
            slopes[v, j] += steps[v, j]
            steps[v, j] += numbers[FOURTH + 2 * v + side] * (frames * (frames + frames))
        mix[k] = total


# --- in vectors -----------------------------------------------------------------------

SINGLE, PAIR, INT64 = ir.FloatType(), ir.DoubleType(), ir.IntType(64)
VECTOR = ir.VectorType(SINGLE, LANES)


class Loop:
    """Writes one of the loops into a function: what is before it, then a turn of it."""

    def __init__(self, builder: Any, args: tuple[Any, ...], tables: int) -> None:
        self.builder = builder
        self.mix, *rest = args
        self.tables = rest[:tables]
        self.sources = rest[tables : tables + PASS]
        self.numbers = rest[tables + PASS]
        self.count = args[-1]

    def at(self, array: Any, index: Any) -> Any:
        pointer = self.builder.gep(array, [index], source_etype=SINGLE)
        return self.builder.bitcast(pointer, VECTOR.as_pointer())

    def load(self, array: Any, index: Any) -> Any:
        return self.builder.load(self.at(array, index), align=4, typ=VECTOR)

    def fill(self, kind: Any, value: Any) -> Any:
        """A vector of one value."""
        none = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        one = self.builder.insert_element(none, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(one, none, zeros)

    def pairs(self, first: int) -> list[Any]:
        """Vectors of each voice's pair."""
        found = []
        for v in range(PASS):
            place = self.builder.gep(self.numbers, [INT64(first + 2 * v)], source_etype=SINGLE)
            place = self.builder.bitcast(place, PAIR.as_pointer())
            pair = self.builder.load(place, align=4, typ=PAIR)
            filled = self.fill(ir.VectorType(PAIR, LANES // 2), pair)
            found.append(self.builder.bitcast(filled, VECTOR))
        return found

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        fmuladd = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(fmuladd, [a, b, c])

    def sum(self, k: Any, begin: Any, levels: list[Any]) -> Any:
        """The four voices' samples from `k` on at their levels, added to `begin`."""
        for v in ORDER:
            begin = self.multiply_add(self.load(self.sources[v], k), levels[v], begin)
        return begin

    def write(
        self, turn: Callable[[Any, list[Any]], tuple[Any, list[Any]]], moved: list[Any]
    ) -> None:
        """Write the loop.

        Parameters
        ----------
        turn
            Called with the index and what `moved` has become; returns what to put into the
            mix and what `moved` becomes.
        moved : list of vectors
            What they are at first.
        """
        builder = self.builder
        before = builder.block
        loop = builder.append_basic_block("vectors")
        behind = builder.append_basic_block("behind")
        builder.cbranch(builder.icmp_signed(">", self.count, INT64(0)), loop, behind)
        builder.position_at_end(loop)
        k = builder.phi(INT64)
        here = [builder.phi(VECTOR) for _ in moved]
        total, there = turn(k, here)
        builder.store(total, self.at(self.mix, k), align=4)
        following = builder.add(k, INT64(LANES))
        for phi, first, last in zip(
            [k, *here], [INT64(0), *moved], [following, *there], strict=True
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(last, loop)
        builder.cbranch(builder.icmp_signed("<", following, self.count), loop, behind)
        builder.position_at_end(behind)


def _emit_along(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    loop = Loop(builder, args, tables=1)
    first, second = loop.pairs(FIRST), loop.pairs(SECOND)

    def turn(k: Any, _moved: Any) -> Any:
        t = loop.load(loop.tables[0], k)
        levels = [loop.multiply_add(t, s, f) for f, s in zip(first, second, strict=True)]
        return loop.sum(k, loop.load(loop.mix, k), levels), []

    loop.write(turn, [])
    return context.get_dummy_value()


def _emit_turning(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    loop = Loop(builder, args, tables=2)
    first, second = loop.pairs(FIRST), loop.pairs(SECOND)

    def turn(k: Any, _moved: Any) -> Any:
        t = loop.load(loop.tables[1], k)
        levels = [loop.multiply_add(t, s, f) for f, s in zip(first, second, strict=True)]
        four = loop.sum(k, ir.Constant(VECTOR, [0.0] * LANES), levels)
        cosine = loop.load(loop.tables[0], k)
        return loop.multiply_add(cosine, four, loop.load(loop.mix, k)), []

    loop.write(turn, [])
    return context.get_dummy_value()


def _emit_bending(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    loop = Loop(builder, args, tables=1)
    first, second, third, fourth = map(loop.pairs, (FIRST, SECOND, THIRD, FOURTH))
    begin = loop.load(loop.tables[0], INT64(0))
    frames = loop.fill(VECTOR, args[-2])
    further = builder.fadd(builder.fadd(begin, begin), frames)
    twice_squared = builder.fmul(frames, builder.fadd(frames, frames))
    slopes, steps, bends = [], [], []
    for s, q, c in zip(second, third, fourth, strict=True):
        slopes.append(loop.multiply_add(begin, loop.multiply_add(begin, c, q), s))
        steps.append(builder.fmul(loop.multiply_add(further, c, q), frames))
        bends.append(builder.fmul(c, twice_squared))

    def turn(k: Any, moved: list[Any]) -> Any:
        slopes, steps = moved[:PASS], moved[PASS:]
        t = loop.load(loop.tables[0], k)
        levels = [loop.multiply_add(t, s, f) for f, s in zip(first, slopes, strict=True)]
        total = loop.sum(k, loop.load(loop.mix, k), levels)
        slopes = [builder.fadd(s, step) for s, step in zip(slopes, steps, strict=True)]
        steps = [builder.fadd(step, bend) for step, bend in zip(steps, bends, strict=True)]
        return total, [*slopes, *steps]

    loop.write(turn, [*slopes, *steps])
    return context.get_dummy_value()


for _function, _code in (
    (add_along, _emit_along),
    (add_turning, _emit_turning),
    (add_bending, _emit_bending),
):
    emitted(_function, _code)
