"""The header of a WAV file that grows; pure data, any thread.

Canonical RIFF/WAVE as in the Microsoft and IBM "Multimedia Programming Interface and Data
Specifications 1.0" (1991), with the 1994 revision's ``fact`` chunk for float samples.
"""

from __future__ import annotations

import struct

__all__ = ("MAX_DATA", "header")

MAX_DATA = 0xFFFFFFFF - 64
"""Bytes of samples that the 32-bit sizes of a WAV file can tell."""


def header(rate: int, channels: int, encoding: int, data_bytes: int) -> bytes:
    """Return everything before the samples.

    Parameters
    ----------
    rate, channels : int
    encoding : int
        16 (integer) or 32 (float).
    data_bytes : int
        Bytes of samples that follow; more than :data:`MAX_DATA` are told as so many.
    """
    width = encoding // 8
    size = min(data_bytes, MAX_DATA)
    kind = 3 if encoding == 32 else 1
    fmt = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * width, channels * width, encoding
    )
    if kind == 3:
        fmt += struct.pack("<H", 0)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    if kind == 3:
        chunks += struct.pack("<4sII", b"fact", 4, size // (channels * width))
    chunks += b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) + size) + b"WAVE" + chunks
