"""The kernels as machine code: compiled once, kept on disk; any thread, before a start.

numba's cache knows only the file of the function that is compiled, so an edit to another
module would go unseen; each entry therefore closes over a fingerprint of all of
``realtime/`` and of the options that matter.  Where the cache cannot be read or written,
everything is compiled in memory.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core.caching import FunctionCache

from audiostream.realtime import callback, clock, control, system

__all__ = ("Kernels", "build", "kernels")

CACHE_TROUBLE = (OSError, RuntimeError, EOFError, pickle.UnpicklingError)
"""No place for a cache is a RuntimeError; a truncated entry one of the others."""

WORD = types.int64
LONG = types.uint64
STATUS = types.int32
FLOATS = types.float32[::1]
CALLBACK = STATUS(WORD, WORD, LONG, WORD, LONG, WORD)
"""PortAudio's stream callback, its pointers as integers."""


@dataclass(frozen=True)
class Kernels:
    """Compiled entry points; see the plain functions of the same names.

    ``render`` and ``capture`` are numba cfuncs (``.address``); ``run_clock`` gives up the
    interpreter lock; the rest keep it.  ``put`` and ``spread`` exist for each encoding.
    """

    render: Any
    capture: Any
    run_clock: Callable[..., Any]
    load_word: Callable[..., int]
    store_word: Callable[..., None]
    arm: Callable[..., bool]
    take_woken: Callable[..., int]
    read_ring: Callable[..., bool]
    encode_block: Callable[..., None]
    put: Callable[..., None]
    spread: Callable[..., None]


def fingerprint() -> str:
    """Hash of what the machine code depends on beyond numba's own key."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    config = numba.config
    for name in ("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE"):
        digest.update(f"{name}={getattr(config, name, None)}".encode())
    digest.update(numba.__version__.encode())
    return digest.hexdigest()


def _entries(mark: str) -> dict[str, tuple[Callable[..., Any], Any]]:
    """Entry functions that close over `mark`, with their signatures."""

    def render(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
        _ = mark
        return callback.render(source, target, WORD(frames), time_info, WORD(flags), user)

    def capture(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
        _ = mark
        return callback.capture(source, target, WORD(frames), time_info, WORD(flags), user)

    def run_clock(address):  # type: ignore[no-untyped-def]
        _ = mark
        clock.run_clock(address)

    def load_word(address):  # type: ignore[no-untyped-def]
        _ = mark
        return control.load_word(address)

    def store_word(address, value):  # type: ignore[no-untyped-def]
        _ = mark
        control.store_word(address, value)

    def arm(wake, index, at):  # type: ignore[no-untyped-def]
        _ = mark
        return control.arm(wake, index, at)

    def take_woken(stream, bell, slots):  # type: ignore[no-untyped-def]
        _ = mark
        return control.take_woken(stream, bell, slots)

    def read_ring(stream, index, frames, target):  # type: ignore[no-untyped-def]
        _ = mark
        return control.read_ring(stream, index, frames, target)

    def encode_block(source, target, encoding, count):  # type: ignore[no-untyped-def]
        _ = mark
        control.encode_block(source, target, encoding, count)

    def put(voice, channels, guard, source, source_channels, frames, scale):  # type: ignore[no-untyped-def]
        _ = mark
        control.put(voice, channels, guard, source, source_channels, frames, scale)

    def spread(target, channels, source, source_channels, frames, scale):  # type: ignore[no-untyped-def]
        _ = mark
        control.spread(target, channels, source, source_channels, frames, scale)

    samples = (types.int8, types.int16, types.float32)
    # A read-only buffer (bytes) is another type to numba than a writable one.
    sources = [types.Array(kind, 1, "C", readonly=True) for kind in samples]
    return {
        "render": (render, CALLBACK),
        "capture": (capture, CALLBACK),
        "run_clock": (run_clock, types.void(WORD)),
        "load_word": (load_word, WORD(WORD)),
        "store_word": (store_word, types.void(WORD, WORD)),
        "arm": (arm, types.boolean(WORD, WORD, WORD)),
        "take_woken": (take_woken, WORD(WORD, WORD, types.int64[::1])),
        "read_ring": (read_ring, types.boolean(WORD, WORD, WORD, FLOATS)),
        "encode_block": (encode_block, types.void(FLOATS, WORD, WORD, WORD)),
        "put": (
            put,
            [types.void(WORD, WORD, WORD, s, WORD, WORD, types.float32) for s in sources],
        ),
        "spread": (
            spread,
            [types.void(FLOATS, WORD, s, WORD, WORD, types.float32) for s in sources],
        ),
    }


def _compile(name: str, function: Any, signature: Any, cache: bool) -> Any:
    if name in ("render", "capture"):
        return numba.cfunc(signature, nopython=True, cache=cache, error_model="numpy")(function)
    return numba.njit(signature, cache=cache, error_model="numpy", nogil=name == "run_clock")(
        function
    )


def build(cache: bool = True) -> Kernels:
    """Compile every kernel, or load it from the cache.

    Parameters
    ----------
    cache : bool
        Keep the machine code on disk.
    """
    system.register_symbols()
    compiled = {}
    for name, (function, signature) in _entries(fingerprint()).items():
        try:
            compiled[name] = _compile(name, function, signature, cache)
        except CACHE_TROUBLE:
            if not cache:
                raise
            compiled[name] = _compile_anew(name, function, signature)
    return Kernels(**compiled)


def _compile_anew(name: str, function: Any, signature: Any) -> Any:
    """Compile over a broken entry of the cache, or without one where there is no place."""
    try:
        FunctionCache(function).flush()
        return _compile(name, function, signature, True)
    except CACHE_TROUBLE:
        return _compile(name, function, signature, False)


@functools.lru_cache(maxsize=1)
def kernels() -> Kernels:
    """The process's kernels; the first call compiles or loads them (0.5 to 10 s)."""
    return build()
