"""What this processor is, as LLVM names it; any thread."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

__all__ = ("fused", "processor")


def processor() -> tuple[str, str]:
    """LLVM's name of this processor, and its features."""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell on this system
        features = ""
    return llvm.get_host_cpu_name(), features


@functools.lru_cache(maxsize=1)
def fused() -> bool:
    """True if LLVM makes one instruction of a multiplication and an addition here."""
    name, features = processor()
    return "+fma" in features.split(",") or "+neon" in features.split(",") or "apple" in name
