"""Atomic words of shared records, and raw memory by address; audio thread and others.

Memory ordering lives in this file alone.  Every function is plain Python, so that the
kernels run uncompiled on numpy records in tests; compiled, it becomes LLVM's atomic
instruction, emitted where it is called: to hang it on the function by ``overload`` would
have numba compile a function of its own for every field of every record, which was half of
the compile time.  Which ordering is for what:

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
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template

from audiostream.realtime.memory.layout import (
    BELL,
    CLOCK,
    COMMAND,
    GROUP,
    NODE,
    PARAMETER,
    POINT,
    PRODUCER,
    RAMP,
    RESAMPLER,
    SINE,
    STREAM,
    TIME_INFO,
    TIMELINE,
    VOICE,
    WORD,
    Bell,
    Clock,
    Command,
    Floats,
    Group,
    Int8s,
    Int16s,
    Node,
    Parameter,
    Point,
    Producer,
    Ramp,
    Resampler,
    Sine,
    Stream,
    Strip,
    Timeline,
    Times,
    Word,
    Words,
)

__all__ = (
    "bell_at",
    "clock_at",
    "command_at",
    "compare_and_swap",
    "emits",
    "fence_acquire",
    "fence_release",
    "fence_seq",
    "floats_at",
    "group_at",
    "load",
    "load_acquire",
    "load_seq",
    "node_at",
    "parameter_at",
    "point_at",
    "producer_at",
    "ramp_at",
    "resampler_at",
    "samples8_at",
    "samples16_at",
    "sine_at",
    "store",
    "store_release",
    "store_seq",
    "stream_at",
    "timeline_at",
    "times_at",
    "voice_at",
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


def floats_at(address: int, count: int) -> Floats:
    """float32 array of `count` samples at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.float32))


def samples16_at(address: int, count: int) -> Int16s:
    """int16 array of `count` samples at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.int16))


def samples8_at(address: int, count: int) -> Int8s:
    """int8 array of `count` samples at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.int8))


def words_at(address: int, count: int) -> Words:
    """int64 array of `count` words at `address`; not owned."""
    return _plain_view(address, count, np.dtype(np.int64))


def voice_at(address: int) -> Strip:
    """The VOICE record at `address`."""
    return _plain_view(address, 1, VOICE)[0]


def group_at(address: int) -> Group:
    """The GROUP record at `address`."""
    return _plain_view(address, 1, GROUP)[0]


def command_at(address: int) -> Command:
    """The COMMAND record at `address`."""
    return _plain_view(address, 1, COMMAND)[0]


def node_at(address: int) -> Node:
    """The NODE record at `address`."""
    return _plain_view(address, 1, NODE)[0]


def parameter_at(address: int) -> Parameter:
    """The PARAMETER record at `address`."""
    return _plain_view(address, 1, PARAMETER)[0]


def ramp_at(address: int) -> Ramp:
    """The RAMP record at `address`."""
    return _plain_view(address, 1, RAMP)[0]


def bell_at(address: int) -> Bell:
    """The BELL record at `address`."""
    return _plain_view(address, 1, BELL)[0]


def stream_at(address: int) -> Stream:
    """The STREAM record at `address`."""
    return _plain_view(address, 1, STREAM)[0]


def clock_at(address: int) -> Clock:
    """The CLOCK record at `address`."""
    return _plain_view(address, 1, CLOCK)[0]


def producer_at(address: int) -> Producer:
    """The PRODUCER record at `address`."""
    return _plain_view(address, 1, PRODUCER)[0]


def resampler_at(address: int) -> Resampler:
    """The RESAMPLER record at `address`."""
    return _plain_view(address, 1, RESAMPLER)[0]


def sine_at(address: int) -> Sine:
    """The SINE record at `address`."""
    return _plain_view(address, 1, SINE)[0]


def times_at(address: int) -> Times:
    """The TIME_INFO record at `address`."""
    return _plain_view(address, 1, TIME_INFO)[0]


def point_at(address: int) -> Point:
    """The POINT record at `address`."""
    return _plain_view(address, 1, POINT)[0]


def timeline_at(address: int) -> Timeline:
    """The TIMELINE record at `address`."""
    return _plain_view(address, 1, TIMELINE)[0]


def word_at(address: int) -> Word:
    """The int64 at `address` as a record with one field, ``value``."""
    return _plain_view(address, 1, WORD)[0]


def _emit_pointer(function: Any, dtype: Any) -> None:
    """A bare pointer, where plain Python has an array: no bounds, no negative indices.

    numba's carray() would bring seven words along with each, and code for them.
    """
    kind = types.CPointer(numba.from_dtype(np.dtype(dtype)))

    @emits(function)
    def definition(_typing: Any, _address: Any, _count: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(types.intp, types.intp), codegen


def _emit_record(function: Any, dtype: np.dtype[Any]) -> None:
    kind = numba.from_dtype(dtype)

    @emits(function)
    def definition(_typing: Any, _address: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(types.intp), codegen


_emit_pointer(floats_at, np.float32)
_emit_pointer(samples16_at, np.int16)
_emit_pointer(samples8_at, np.int8)
_emit_pointer(words_at, np.int64)
_emit_record(voice_at, VOICE)
_emit_record(command_at, COMMAND)
_emit_record(group_at, GROUP)
_emit_record(node_at, NODE)
_emit_record(parameter_at, PARAMETER)
_emit_record(ramp_at, RAMP)
_emit_record(bell_at, BELL)
_emit_record(stream_at, STREAM)
_emit_record(clock_at, CLOCK)
_emit_record(producer_at, PRODUCER)
_emit_record(resampler_at, RESAMPLER)
_emit_record(sine_at, SINE)
_emit_record(times_at, TIME_INFO)
_emit_record(timeline_at, TIMELINE)
_emit_record(point_at, POINT)
_emit_record(word_at, WORD)
