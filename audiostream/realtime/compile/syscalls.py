"""The few system calls that compiled code makes; audio thread and clock threads.

Each is a plain function of integers with a plain Python form; compiled, it calls the C
library through a symbol that kernels.py registers under a name of ours.  They take no
lock, allocate nothing and do not wait, but for :func:`sleep_until`, which only virtual
devices' clocks call.  Windows has other names for these, and is not served yet.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any, Final

from llvmlite import ir
from numba import types

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.memory.atomics import emits, words_at

__all__ = ("call_back", "call_node", "monotonic_ns", "sleep_until", "write_bytes")

MACOS: Final = sys.platform == "darwin"
MONOTONIC: Final = 8 if MACOS else 1
"""The clock of time.monotonic(): CLOCK_UPTIME_RAW on macOS, else CLOCK_MONOTONIC."""
NANO: Final = 1_000_000_000

_write = types.ExternalFunction(
    "audiostream_write", types.intp(types.int32, types.intp, types.intp)
)
_clock_gettime = types.ExternalFunction(
    "audiostream_clock_gettime", types.int32(types.int32, types.intp)
)
_nanosleep = types.ExternalFunction(
    "audiostream_nanosleep", types.int32(types.intp, types.intp)
)


def write_bytes(fd: int, address: int, count: int) -> int:
    """Write `count` bytes at `address` to `fd`; bytes taken, or -1."""
    try:
        return os.write(fd, ctypes.string_at(int(address), int(count)))
    except OSError:
        return -1


def monotonic_ns(timespec: int) -> int:
    """Nanoseconds of time.monotonic(); `timespec` is the address of two spare words."""
    del timespec
    return time.monotonic_ns()


def sleep_until(due: int, now: int, timespec: int) -> None:
    """Sleep from `now` till `due` (nanoseconds); may return early."""
    del timespec
    time.sleep(max(due - now, 0) / NANO)


def call_back(
    address: int, source: int, target: int, frames: int, times: int, flags: int, user: int
) -> int:
    """Call the C function at `address` as PortAudio calls a stream callback."""
    prototype = ctypes.PYFUNCTYPE(
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
    )
    words = (source, target, frames, times, flags, user)
    return int(prototype(int(address))(*map(int, words)))


def call_node(
    address: int,
    block: int,
    frames: int,
    channels: int,
    state: int,
    buffers: int,
    params: int,
    rate: int,
) -> int:
    """Call a node's compiled function at `address`; frames filled, or less than 0: it failed.

    Parameters
    ----------
    block : int
        Address of float32 (frames, channels), which it changes in place.
    state, buffers, params : int
        Addresses of its state, and of the addresses of its buffers and parameters' arrays.
    """
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)
    words = (block, frames, channels, state, buffers, params, rate)
    return int(prototype(int(address))(*map(int, words)))


def _write_bytes(fd, address, count):  # type: ignore[no-untyped-def]
    return _write(types.int32(fd), address, count)


def _monotonic_ns(timespec):  # type: ignore[no-untyped-def]
    _clock_gettime(types.int32(MONOTONIC), timespec)
    words = words_at(timespec, 2)
    return words[0] * NANO + words[1]


def _sleep_until(due, now, timespec):  # type: ignore[no-untyped-def]
    wait = due - now
    if wait > 0:
        words = words_at(timespec, 2)
        seconds = 0
        # No division: it would bring the interpreter's ZeroDivisionError along.
        while wait >= NANO:
            wait -= NANO
            seconds += 1
        words[0] = seconds
        words[1] = wait
        _nanosleep(timespec, 0)


@emits(call_back)
def _emit_call_back(
    _typing: Any,
    address: Any,
    source: Any,
    target: Any,
    frames: Any,
    times: Any,
    flags: Any,
    user: Any,
) -> Any:
    return types.int32(*[types.int64] * 7), _call(ir.IntType(32))


@emits(call_node)
def _emit_call_node(
    _typing: Any,
    address: Any,
    block: Any,
    frames: Any,
    channels: Any,
    state: Any,
    buffers: Any,
    params: Any,
    rate: Any,
) -> Any:
    return types.int64(*[types.int64] * 8), _call(ir.IntType(64))


def _call(result: Any) -> Any:
    """LLVM code that calls the C function of int64 whose address comes first."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(result, [ir.IntType(64)] * (len(args) - 1))
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return codegen


inlined(write_bytes, _write_bytes)
inlined(monotonic_ns, _monotonic_ns)
inlined(sleep_until, _sleep_until)
