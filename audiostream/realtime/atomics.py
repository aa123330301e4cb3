"""Atomic words of shared records, and raw memory by address; audio thread and others.

Memory ordering lives in this file alone.  Every function is plain Python, so that the
kernels run uncompiled on numpy records in tests; compiled, it becomes LLVM's atomic
instruction.  Which ordering is for what:

* **acquire, release**: an index of a ring.  The release store makes the frames before
  it visible to whoever loads the index with acquire.
* **sequentially consistent**: wherever one side stores and then loads what the other
  stores (the doorbell, the grace period).  With acquire and release both sides may miss
  each other, for ever; on AArch64 an acquire load may even pass an earlier release store.
* **fences**: the capture ring's reader and writer check each other around a copy.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from audiostream.realtime.layout import BELL, CLOCK, STREAM, TIME_INFO, VOICE, WORD

__all__ = (
    "JIT",
    "bells_at",
    "clock_at",
    "compare_and_swap",
    "fence_acquire",
    "fence_release",
    "floats_at",
    "load",
    "load_acquire",
    "load_seq",
    "samples8_at",
    "samples16_at",
    "store",
    "store_release",
    "store_seq",
    "stream_at",
    "times_at",
    "voices_at",
    "word_at",
    "words_at",
)

JIT: dict[str, Any] = {"forceinline": True, "error_model": "numpy"}
"""Options of helpers inside a kernel: inlined by LLVM, no status checks left behind."""


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


def _word(context: Any, builder: Any, record_type: Any, record: Any, field: str) -> Any:
    pointer = builder.bitcast(record, ir.IntType(8).as_pointer())
    pointer = cgutils.pointer_add(builder, pointer, record_type.offset(field))
    value_type = context.get_value_type(record_type.typeof(field))
    return builder.bitcast(pointer, value_type.as_pointer()), value_type


def _loader(ordering: str) -> Any:
    @intrinsic(prefer_literal=True)
    def emit(_typing: Any, record: Any, field: Any) -> Any:
        name = field.literal_value

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            pointer, kind = _word(context, builder, record, args[0], name)
            return builder.load_atomic(pointer, ordering, 8, typ=kind)

        return record.typeof(name)(record, field), codegen

    return emit


def _storer(ordering: str) -> Any:
    @intrinsic(prefer_literal=True)
    def emit(_typing: Any, record: Any, field: Any, value: Any) -> Any:
        name = field.literal_value
        kind = record.typeof(name)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer, _ = _word(context, builder, record, args[0], name)
            word = context.cast(builder, args[2], signature.args[2], kind)
            builder.store_atomic(word, pointer, ordering, 8)
            return context.get_dummy_value()

        return types.void(record, field, value), codegen

    return emit


def _fencer(ordering: str) -> Any:
    @intrinsic
    def emit(_typing: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), codegen

    return emit


@intrinsic(prefer_literal=True)
def _swap(_typing: Any, record: Any, field: Any, expected: Any, value: Any) -> Any:
    name = field.literal_value
    kind = record.typeof(name)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, _ = _word(context, builder, record, args[0], name)
        old = context.cast(builder, args[2], signature.args[2], kind)
        new = context.cast(builder, args[3], signature.args[3], kind)
        pair = builder.cmpxchg(pointer, old, new, "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(record, field, expected, value), codegen


_load_relaxed = _loader("monotonic")
_load_acquire = _loader("acquire")
_load_seq = _loader("seq_cst")
_store_relaxed = _storer("monotonic")
_store_release = _storer("release")
_store_seq = _storer("seq_cst")
_fence_acquire = _fencer("acquire")
_fence_release = _fencer("release")


def _word_overload(function: Any) -> Any:
    return overload(function, jit_options=JIT, prefer_literal=True)


def _memory_overload(function: Any) -> Any:
    return overload(function, jit_options=JIT)


_word_overload(load)(lambda record, field: lambda record, field: _load_relaxed(record, field))
_word_overload(load_acquire)(
    lambda record, field: lambda record, field: _load_acquire(record, field)
)
_word_overload(load_seq)(lambda record, field: lambda record, field: _load_seq(record, field))
_word_overload(store)(
    lambda record, field, value: (
        lambda record, field, value: _store_relaxed(record, field, value)
    )
)
_word_overload(store_release)(
    lambda record, field, value: (
        lambda record, field, value: _store_release(record, field, value)
    )
)
_word_overload(store_seq)(
    lambda record, field, value: lambda record, field, value: _store_seq(record, field, value)
)
_word_overload(compare_and_swap)(
    lambda record, field, expected, value: (
        lambda record, field, expected, value: _swap(record, field, expected, value)
    )
)
_memory_overload(fence_acquire)(lambda: lambda: _fence_acquire())
_memory_overload(fence_release)(lambda: lambda: _fence_release())


# --- memory by address -------------------------------------------------------------


def _plain_view(address: int, count: int, dtype: np.dtype[Any]) -> Any:
    raw = (ctypes.c_char * (int(count) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memoryview(raw), dtype)


def floats_at(address: int, count: int) -> Any:
    """float32 array of `count` samples at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.float32))


def samples16_at(address: int, count: int) -> Any:
    """int16 array of `count` samples at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.int16))


def samples8_at(address: int, count: int) -> Any:
    """int8 array of `count` samples at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.int8))


def words_at(address: int, count: int) -> Any:
    """int64 array of `count` words at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.int64))


def voices_at(address: int, count: int) -> Any:
    """VOICE records at `address`."""
    return _plain_view(address, count, VOICE)


def bells_at(address: int, count: int) -> Any:
    """BELL records at `address`."""
    return _plain_view(address, count, BELL)


def stream_at(address: int) -> Any:
    """The STREAM record at `address`."""
    return _plain_view(address, 1, STREAM)[0]


def clock_at(address: int) -> Any:
    """The CLOCK record at `address`."""
    return _plain_view(address, 1, CLOCK)[0]


def times_at(address: int) -> Any:
    """The TIME_INFO record at `address`."""
    return _plain_view(address, 1, TIME_INFO)[0]


def word_at(address: int) -> Any:
    """The int64 at `address` as a record with one field, ``value``."""
    return _plain_view(address, 1, WORD)[0]


def _pointer_to(dtype: np.dtype[Any]) -> Any:
    element = numba.from_dtype(dtype)
    pointer_type = types.CPointer(element)

    @intrinsic
    def emit(_typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(pointer_type))

        return pointer_type(types.intp), codegen

    return emit


_pointer_f32 = _pointer_to(np.dtype(np.float32))
_pointer_i16 = _pointer_to(np.dtype(np.int16))
_pointer_i8 = _pointer_to(np.dtype(np.int8))
_pointer_i64 = _pointer_to(np.dtype(np.int64))
_pointer_voice = _pointer_to(VOICE)
_pointer_bell = _pointer_to(BELL)
_pointer_stream = _pointer_to(STREAM)
_pointer_clock = _pointer_to(CLOCK)
_pointer_times = _pointer_to(TIME_INFO)
_pointer_word = _pointer_to(WORD)
_memory_overload(floats_at)(
    lambda address, count: lambda address, count: carray(_pointer_f32(address), count)
)
_memory_overload(samples16_at)(
    lambda address, count: lambda address, count: carray(_pointer_i16(address), count)
)
_memory_overload(samples8_at)(
    lambda address, count: lambda address, count: carray(_pointer_i8(address), count)
)
_memory_overload(words_at)(
    lambda address, count: lambda address, count: carray(_pointer_i64(address), count)
)
_memory_overload(voices_at)(
    lambda address, count: lambda address, count: carray(_pointer_voice(address), count)
)
_memory_overload(bells_at)(
    lambda address, count: lambda address, count: carray(_pointer_bell(address), count)
)
_memory_overload(stream_at)(
    lambda address: lambda address: carray(_pointer_stream(address), 1)[0]
)
_memory_overload(clock_at)(
    lambda address: lambda address: carray(_pointer_clock(address), 1)[0]
)
_memory_overload(times_at)(
    lambda address: lambda address: carray(_pointer_times(address), 1)[0]
)
_memory_overload(word_at)(lambda address: lambda address: carray(_pointer_word(address), 1)[0])
