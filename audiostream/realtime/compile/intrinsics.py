"""Arithmetic that is one machine instruction and has no name in Python; any thread."""

from __future__ import annotations

import math
import platform
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from audiostream.realtime.compile.cpu import fused
from audiostream.realtime.memory.atomics import emits

__all__ = (
    "flush_denormals",
    "larger",
    "louder",
    "multiply_add",
    "remainder",
    "restore_denormals",
    "smaller",
    "square_root",
)

X86: Final = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
AARCH64: Final = platform.machine().lower() in ("aarch64", "arm64")

FLUSH: Final = 1 << 24 if AARCH64 else 0x8040
"""FZ of AArch64's FPCR; FTZ and DAZ of x86's MXCSR."""


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two numbers of one type, without a branch."""
    return min(a, b)


def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers of one type, without a branch."""
    return max(a, b)


def louder(a: Any, b: Any) -> Any:
    """The larger of a float32 and another one's magnitude, in any order of many; not of NaN."""
    return max(a, np.float32(abs(b)))


def remainder(a: Any, b: Any) -> Any:
    """``a % b`` of a positive number, without the test for a zero that Python's has."""
    return a % b


def square_root(a: Any) -> Any:
    """The square root of a float32 or float64 that is not negative; as precise as that."""
    return np.sqrt(a)


def multiply_add(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in float32; rounded once where the processor has an instruction for it.

    The plain form gives the very same bits: the product of two float32 is exact in float64,
    and a sum that is rounded to odd there is right after it was rounded to float32 (Boldo
    and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Transactions on
    Computers 57, 2008).
    """
    if not fused():
        return np.float32(a * b + c)
    product, other = float(a) * float(b), float(c)
    total = product + other
    if not math.isfinite(total):
        return np.float32(total)
    second = total - product
    error = (product - (total - second)) + (other - second)
    if error != 0 and int(np.float64(total).view(np.int64)) & 1 == 0:
        total = math.nextafter(total, math.copysign(math.inf, error))
    return np.float32(total)


def flush_denormals() -> int:
    """Have this thread compute with 0 in place of denormal numbers; its mode before.

    A filter that is fed silence else takes 8 to 35 times as long.  Plain Python computes on.
    """
    return 0


def restore_denormals(mode: int) -> None:
    """Go back to the mode that :func:`flush_denormals` has returned."""
    del mode


def _emit_choice(function: Any, sign: str) -> None:
    @emits(function)
    def definition(typing: Any, a: Any, b: Any) -> Any:
        kind = typing.unify_types(types.unliteral(a), types.unliteral(b))

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            compare = (
                builder.icmp_signed if kind in types.integer_domain else builder.fcmp_ordered
            )
            return builder.select(compare(sign, args[1], args[0]), args[1], args[0])

        return kind(kind, kind), codegen


_emit_choice(smaller, "<")
_emit_choice(larger, ">")


@emits(louder)
def _emit_louder(_typing: Any, _a: Any, _b: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        single = ir.FloatType()
        one, two = (ir.FunctionType(single, [single] * count) for count in (1, 2))
        fabs = builder.module.declare_intrinsic("llvm.fabs", [single], one)
        maxnum = builder.module.declare_intrinsic("llvm.maxnum", [single], two)
        # Without these flags LLVM does not take the maximum of vectors.
        flags = ("nnan", "nsz")
        size = builder.call(fabs, [args[1]], fastmath=flags)
        return builder.call(maxnum, [args[0], size], fastmath=flags)

    return types.float32(types.float32, types.float32), codegen


@emits(remainder)
def _emit_remainder(_typing: Any, _a: Any, _b: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.urem(*args)

    return types.int64(types.int64, types.int64), codegen


@emits(square_root)
def _emit_square_root(_typing: Any, a: Any) -> Any:
    kind = types.unliteral(a)

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        sqrt = builder.module.declare_intrinsic("llvm.sqrt", [context.get_value_type(kind)])
        return builder.call(sqrt, args)

    return kind(kind), codegen


@emits(multiply_add)
def _emit_multiply_add(_typing: Any, _a: Any, _b: Any, _c: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        # fmuladd, not fma: without the instruction fma would call the C library.
        single = ir.FloatType()
        fmuladd = builder.module.declare_intrinsic(
            "llvm.fmuladd", [single], ir.FunctionType(single, [single] * 3)
        )
        return builder.call(fmuladd, args)

    return types.float32(types.float32, types.float32, types.float32), codegen


def _read_mode(builder: Any) -> Any:
    """The floating-point mode of this thread, an int64; 0 where we know of none."""
    word, void = ir.IntType(64), ir.VoidType()
    declare = builder.module.declare_intrinsic
    if X86:
        place = cgutils.alloca_once(builder, ir.IntType(32))
        kind = ir.FunctionType(void, [cgutils.voidptr_t])
        address = builder.bitcast(place, cgutils.voidptr_t)
        builder.call(declare("llvm.x86.sse.stmxcsr", (), kind), [address])
        return builder.zext(builder.load(place), word)
    if AARCH64:
        return builder.call(declare("llvm.aarch64.get.fpcr", (), ir.FunctionType(word, [])), [])
    return word(0)


def _write_mode(builder: Any, mode: Any) -> None:
    """Set the floating-point mode of this thread."""
    word, void = ir.IntType(64), ir.VoidType()
    declare = builder.module.declare_intrinsic
    if X86:
        place = cgutils.alloca_once(builder, ir.IntType(32))
        kind = ir.FunctionType(void, [cgutils.voidptr_t])
        address = builder.bitcast(place, cgutils.voidptr_t)
        builder.store(builder.trunc(mode, ir.IntType(32)), place)
        builder.call(declare("llvm.x86.sse.ldmxcsr", (), kind), [address])
    elif AARCH64:
        kind = ir.FunctionType(void, [word])
        builder.call(declare("llvm.aarch64.set.fpcr", (), kind), [mode])


@emits(flush_denormals)
def _emit_flush_denormals(_typing: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        mode = _read_mode(builder)
        _write_mode(builder, builder.or_(mode, ir.IntType(64)(FLUSH)))
        return mode

    return types.int64(), codegen


@emits(restore_denormals)
def _emit_restore_denormals(_typing: Any, _mode: Any) -> Any:
    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _write_mode(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
