"""Atomic words of shared records, and raw memory by address; audio thread and others.

Memory ordering lives in this file alone.  Every function is plain Python, so that the
kernels run uncompiled on numpy records in tests; compiled, it becomes LLVM's atomic
instruction, emitted where it is called: to hang it on the function by ``overload`` would
have numba compile a function of its own for every field of every record, which was half of
the compile time.  Which ordering is for what:

* **acquire, release**: an index of a ring.  The release store makes the frames before
  it visible to the thread that loads the index with acquire.
* **sequentially consistent**: wherever one side stores and then loads what the other
  stores (wakeups, the grace period).  With acquire and release both sides may miss
  each other, for ever; on AArch64 an acquire load may even pass an earlier release store.
* **fences**: the capture ring's reader and writer check each other around a copy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template

from audiostream.realtime.memory.layout import (
    CLOCK_SYNC,
    COMMAND,
    GROUP,
    NODE,
    PARAMETER,
    POINT,
    RAMP,
    STREAM,
    TIME_INFO,
    VOICE,
    WAKEUP,
    WORD,
)
from audiostream.realtime.memory.unit_layout import CLOCK, PRODUCER, RESAMPLER, SINE

__all__ = (
    "clock_at",
    "clock_sync_at",
    "command_at",
    "compare_and_swap",
    "doubles_at",
    "emits",
    "fence_acquire",
    "fence_release",
    "fence_seq",
    "floats_at",
    "group_at",
    "int8s_at",
    "int16s_at",
    "load",
    "load_acquire",
    "load_seq",
    "node_at",
    "parameter_at",
    "point_at",
    "producer_at",
    "ramp_at",
    "resampler_at",
    "sine_at",
    "store",
    "store_release",
    "store_seq",
    "stream_at",
    "times_at",
    "voice_at",
    "wakeup_at",
    "word_at",
    "words_at",
)


def emits(function: Any) -> Any:
    """Decorate the LLVM code that stands for a plain function in compiled code.

    It is written as for :func:`numba.extending.intrinsic`, whose object cannot be called
    from plain Python; this gives the plain function its template.
    """

    def bind(definition: Any) -> Any:
        template = make_intrinsic_template(
            function, definition, function.__name__, prefer_literal=True
        )
        infer(template)
        infer_global(function, types.Function(template))
        return definition

    return bind


# --- words of a record -------------------------------------------------------------


def load(record: Any, field: str) -> Any:
    """Load a word that only needs to be whole (relaxed)."""
    return record[field].item()


def load_acquire(record: Any, field: str) -> Any:
    """Load an index; what was written before its release store is visible after."""
    return record[field].item()


def load_seq(record: Any, field: str) -> Any:
    """Load, in one order with all other sequentially consistent operations."""
    return record[field].item()


def store(record: Any, field: str, value: Any) -> None:
    """Store a word that only needs to be whole (relaxed)."""
    record[field] = value


def store_release(record: Any, field: str, value: Any) -> None:
    """Store an index; publishes everything written before."""
    record[field] = value


def store_seq(record: Any, field: str, value: Any) -> None:
    """Store, in one order with all other sequentially consistent operations."""
    record[field] = value


def compare_and_swap(record: Any, field: str, expected: Any, value: Any) -> bool:
    """Store `value` if the word is still `expected`; True if it was (seq_cst)."""
    if record[field].item() != expected:
        return False
    record[field] = value
    return True


def fence_acquire() -> None:
    """Order the loads before against everything after."""


def fence_release() -> None:
    """Order everything before against the stores after."""


def fence_seq() -> None:
    """Order the stores before against the loads after: one for many :func:`store_seq`."""


def _word(context: Any, builder: Any, record_type: Any, record: Any, field: str) -> Any:
    pointer = builder.bitcast(record, ir.IntType(8).as_pointer())
    pointer = cgutils.pointer_add(builder, pointer, record_type.offset(field))
    value_type = context.get_value_type(record_type.typeof(field))
    return builder.bitcast(pointer, value_type.as_pointer()), value_type


def _emit_load(function: Any, ordering: str) -> None:
    @emits(function)
    def definition(_typing: Any, record: Any, field: Any) -> Any:
        name = field.literal_value

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            pointer, kind = _word(context, builder, record, args[0], name)
            return builder.load_atomic(pointer, ordering, 8, typ=kind)

        return record.typeof(name)(record, field), codegen


def _emit_store(function: Any, ordering: str) -> None:
    @emits(function)
    def definition(_typing: Any, record: Any, field: Any, value: Any) -> Any:
        name = field.literal_value
        kind = record.typeof(name)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer, _ = _word(context, builder, record, args[0], name)
            word = context.cast(builder, args[2], signature.args[2], kind)
            builder.store_atomic(word, pointer, ordering, 8)
            return context.get_dummy_value()

        return types.void(record, field, value), codegen


def _emit_fence(function: Any, ordering: str) -> None:
    @emits(function)
    def definition(_typing: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), codegen


@emits(compare_and_swap)
def _emit_swap(_typing: Any, record: Any, field: Any, expected: Any, value: Any) -> Any:
    name = field.literal_value
    kind = record.typeof(name)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, _ = _word(context, builder, record, args[0], name)
        old = context.cast(builder, args[2], signature.args[2], kind)
        new = context.cast(builder, args[3], signature.args[3], kind)
        pair = builder.cmpxchg(pointer, old, new, "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(record, field, expected, value), codegen


_emit_load(load, "monotonic")
_emit_load(load_acquire, "acquire")
_emit_load(load_seq, "seq_cst")
_emit_store(store, "monotonic")
_emit_store(store_release, "release")
_emit_store(store_seq, "seq_cst")
_emit_fence(fence_acquire, "acquire")
_emit_fence(fence_release, "release")
_emit_fence(fence_seq, "seq_cst")


# --- memory by address -------------------------------------------------------------


def _plain_view(address: int, count: int, dtype: np.dtype[Any]) -> Any:
    raw = (ctypes.c_char * (int(count) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memoryview(raw), dtype)


def _pointer(kind: Any) -> Any:
    """The LLVM code that makes an address a pointer of numba's type `kind`."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return codegen


def _array_at(scalar: Any) -> Callable[[int, int], Any]:
    """The function that gives the array of `count` numbers at an address; not owned.

    Compiled, that is a bare pointer: no bounds, no negative indices.  numba's carray() would
    bring seven words along with each, and code for them.
    """
    dtype = np.dtype(scalar)
    kind = types.CPointer(numba.from_dtype(dtype))

    def array_at(address: int, count: int) -> Any:
        return _plain_view(address, count, dtype)

    @emits(array_at)
    def definition(_typing: Any, _address: Any, _count: Any) -> Any:
        return kind(types.intp, types.intp), _pointer(kind)

    return array_at


def _record_at(dtype: np.dtype[Any]) -> Callable[[int], Any]:
    """The function that gives the record at an address; not owned."""
    kind = numba.from_dtype(dtype)

    def record_at(address: int) -> Any:
        return _plain_view(address, 1, dtype)[0]

    @emits(record_at)
    def definition(_typing: Any, _address: Any) -> Any:
        return kind(types.intp), _pointer(kind)

    return record_at


doubles_at = _array_at(np.float64)
floats_at = _array_at(np.float32)
int16s_at = _array_at(np.int16)
int8s_at = _array_at(np.int8)
words_at = _array_at(np.int64)

clock_at = _record_at(CLOCK)
clock_sync_at = _record_at(CLOCK_SYNC)
command_at = _record_at(COMMAND)
group_at = _record_at(GROUP)
node_at = _record_at(NODE)
parameter_at = _record_at(PARAMETER)
point_at = _record_at(POINT)
producer_at = _record_at(PRODUCER)
ramp_at = _record_at(RAMP)
resampler_at = _record_at(RESAMPLER)
sine_at = _record_at(SINE)
stream_at = _record_at(STREAM)
times_at = _record_at(TIME_INFO)
voice_at = _record_at(VOICE)
wakeup_at = _record_at(WAKEUP)
word_at = _record_at(WORD)
