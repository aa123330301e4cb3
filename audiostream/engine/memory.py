"""Memory that the audio thread shares: cache-line aligned records; caller threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.memory.layout import CACHE_LINE

__all__ = ("field_offsets", "power_of_two", "records", "ring", "zeros")

PAGE = 4096
"""Bytes; only a distance here, whatever the system's page is."""

TOUCHED = 1 << 21
"""Bytes of a ring up to which its pages are touched when it is made."""


def records(dtype: np.dtype[Any], count: int) -> Any:
    """Zeroed structured array of `count` records that begins on a cache line."""
    raw = np.zeros(count * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + count * dtype.itemsize].view(dtype)


def zeros(count: int, dtype: Any) -> np.ndarray:
    """Zeroed array whose pages are touched, so that the audio thread never faults them in."""
    array = np.empty(count, dtype)
    array[:] = 0
    return array


def ring(samples: int, number: int) -> np.ndarray:
    """A ring or block of float32, zeroed, that begins on a cache line.

    Vectors then do not straddle lines.  Rings of other numbers begin at other places in
    their pages, so that those of many voices do not fight for the same lines of the cache:
    64 voices on aligned rings mix 1.2 to 1.6 times as fast as on what malloc gives.
    """
    count = 4 * samples + 2 * PAGE
    # The pages of a long one are touched as it is written: all at once, the ring of a minute
    # would hold up the caller for tens of milliseconds.
    raw = zeros(count, np.uint8) if count <= TOUCHED else np.zeros(count, np.uint8)
    start = -raw.ctypes.data % PAGE + CACHE_LINE * (number % (PAGE // CACHE_LINE))
    return raw[start : start + 4 * samples].view(np.float32)


def field_offsets(dtype: np.dtype[Any]) -> dict[str, int]:
    """Byte offset of each field of a record."""
    assert dtype.fields is not None
    return {name: int(entry[1]) for name, entry in dtype.fields.items()}


def power_of_two(count: int) -> int:
    """The smallest power of two that is at least `count`."""
    return 1 << max(count - 1, 0).bit_length()
