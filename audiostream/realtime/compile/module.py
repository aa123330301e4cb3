"""The kernels as one LLVM module, made by numba; on the first start only.

Entries take and return 64-bit integers in the C convention, addresses among them, so that
PortAudio, ctypes and compiled code all call them alike.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.targetconfig import ConfigStack

from audiostream.realtime import shared, virtual_clock
from audiostream.realtime.compile.inline import RETURNS, Module, lower
from audiostream.realtime.input import capture
from audiostream.realtime.output import render
from audiostream.realtime.units import channel_matrix as remix
from audiostream.realtime.units import oscillator
from audiostream.realtime.units import resampling as resample

__all__ = ("ENTRIES", "translate")

ENTRIES: Mapping[str, Callable[..., Any]] = {
    "render": render,
    "capture": capture,
    "run_clock": virtual_clock.run_clock,
    "load_word": shared.load_word,
    "store_word": shared.store_word,
    "swap_word": shared.swap_word,
    "request_wakeup": shared.request_wakeup,
    "request_room": shared.request_room,
    "heard_at": shared.heard_at,
    "time_at": shared.time_at,
    "monotonic_at": shared.monotonic_at,
    "latest_time": shared.latest_time,
    "read_encoded": shared.read_encoded,
    "collect_woken": shared.collect_woken,
    "read_floats": shared.read_floats,
    "encode_block": shared.encode_block,
    "write_frames": shared.write_frames,
    "spread": shared.spread,
    "remix": remix.remix,
    "resample": resample.resample,
    "sine": oscillator.sine,
}
"""What is called from outside, by name."""

KNOWN = ("audiostream_", "llvm.")
"""Beginnings of the names that are defined elsewhere: ours, and LLVM's instructions."""

INT64 = ir.IntType(64)


def translate(entries: Mapping[str, Callable[..., Any]] = ENTRIES) -> Any:
    """Type and lower the entries and all that they call; an LLVM module, not optimised.

    Only the entries can be seen from outside of it, under their names.
    """
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    # Without numba's runtime: nothing here counts references.
    target = cpu_target.target_context.subtarget(enable_nrt=False)
    library = Module(target.codegen(), "audiostream")
    with (
        global_compiler_lock,
        _undisturbed(cpu_target.typing_context),
        target.push_code_library(library),
    ):
        inner = [_add_entry(target, library, *entry) for entry in entries.items()]
    for function in library.module.functions:
        if function.name in inner:  # into its one caller, however large it is
            function.attributes.add("alwaysinline")
    # llvmlite before 0.48 gives an attribute to what a function returns, if set after this.
    module = llvm.parse_assembly(cgutils.normalize_ir_text(str(library.module)))
    for thing in (*module.functions, *module.global_variables):
        if not thing.is_declaration and thing.name not in entries:
            thing.linkage = "internal"
        elif thing.is_declaration and not thing.name.startswith(KNOWN):
            raise TypeError(
                f"a kernel calls {thing.name}, which would crash: make it @inlined, or write "
                "it another way"
            )
    module.verify()
    return module


@contextlib.contextmanager
def _undisturbed(typing: Any) -> Iterator[None]:
    """Without what numba repeats and a kernel does not need.

    All that its contexts could load is loaded.  What a call returns depends only on the
    types that go in, of which there are few: each is asked for once.  The millions of
    objects that numba makes need no garbage collector before the end.
    """
    resolve, known = typing.resolve_function_type, {}

    def resolve_once(function: Any, args: Any, kws: Any) -> Any:
        if kws or isinstance(function, str):
            return resolve(function, args, kws)
        key = function, args
        if key not in known:
            known[key] = resolve(function, args, kws)
        return known[key]

    collected = gc.isenabled()
    gc.disable()
    typing.refresh = lambda: None
    typing.resolve_function_type = resolve_once
    flags = Flags()
    flags.error_model = "numpy"  # nothing raises
    try:
        with ConfigStack().enter(flags):
            yield
    finally:
        del typing.refresh, typing.resolve_function_type
        if collected:
            gc.enable()


def _add_entry(target: Any, library: Module, name: str, function: Callable[..., Any]) -> str:
    """Add a C function that calls numba's and hands on what it returns; numba's name."""
    count = function.__code__.co_argcount
    result = RETURNS[function.__annotations__["return"]]
    descriptor = lower(target, library, function, result(*[types.int64] * count))
    entry = ir.Function(library.module, ir.FunctionType(INT64, [INT64] * count), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    inner = target.declare_function(library.module, descriptor)
    # The status that it returns as well is success; a test shows that it cannot be else.
    _, value = target.call_conv.call_function(
        builder, inner, result, [types.int64] * count, entry.args
    )
    if result is types.void:
        value = INT64(0)
    elif result is types.boolean:
        value = builder.zext(value, INT64)
    builder.ret(value)
    return str(descriptor.mangled_name)
