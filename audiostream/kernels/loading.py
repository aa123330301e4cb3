"""Makes a kernel's machine code callable; caller thread.

The C library's functions that a kernel may call are the mathematical ones and those that LLVM
itself calls to copy memory.  Each is made known before the code is loaded: one that is missing
would crash at the first call.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import llvmlite.binding as llvm

from audiostream.realtime.compile.kernels import load

__all__ = ("ALLOWED", "ENTRY", "load_kernel")

ENTRY = "kernel"
"""The name of the function in the machine code."""

_MATHS = """
sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh sincos
exp exp2 exp10 expm1 log log2 log10 log1p pow sqrt cbrt hypot erf erfc lgamma tgamma
fabs floor ceil trunc rint nearbyint round fmod copysign fma ldexp
"""

ALLOWED = frozenset(
    [
        *_MATHS.split(),
        *(name + "f" for name in _MATHS.split()),
        "memcpy",
        "memset",
        "memmove",
        "bzero",
    ]
)
"""What machine code may call."""


@functools.lru_cache(maxsize=1)
def _register() -> None:
    """Tell LLVM where the functions are, once."""
    for name in ALLOWED:
        function: Any = getattr(_loaded(), name, None) or getattr(_maths(), name, None)
        if function is not None:
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


@functools.lru_cache(maxsize=1)
def _loaded() -> ctypes.CDLL:
    """What the interpreter has loaded, which most often is all."""
    return ctypes.CDLL(None)


@functools.lru_cache(maxsize=1)
def _maths() -> ctypes.CDLL:
    """The C library's part with the mathematical functions; looking for it takes 20 ms."""
    import ctypes.util

    return ctypes.CDLL(ctypes.util.find_library("m"))


def load_kernel(code: bytes) -> int:
    """Load an object file; the address of its kernel."""
    _register()
    return load(code, (ENTRY,))[ENTRY]
