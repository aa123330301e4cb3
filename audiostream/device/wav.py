"""The header of a WAV file that grows; pure data, any thread.

RIFF/WAVE as in the Microsoft and IBM "Multimedia Programming Interface and Data
Specifications 1.0" (1991), with the 1994 revision's ``fact`` chunk for float samples.  Before
the ``fmt`` chunk a ``JUNK`` chunk keeps room for the ``ds64`` chunk of RF64, which a file of
more than 4 GiB becomes (EBU Tech 3306, 2009).
"""

from __future__ import annotations

import struct

__all__ = ("UNKNOWN", "header")

UNKNOWN = 0xFFFFFFFF
"""A 32-bit size that is not known yet, or that is in a ``ds64`` chunk."""

DS64 = "<QQQI"
"""Bytes of the file less 8, bytes of samples, frames, entries of a table: there are none."""


def header(rate: int, channels: int, encoding: int, data_bytes: int | None) -> bytes:
    """Return everything before the samples; as long for any number of them.

    Parameters
    ----------
    rate, channels : int
    encoding : int
        16 (integer) or 32 (float).
    data_bytes : int or None
        Bytes of samples that follow.  None: not known; readers then go by the file's length.
    """
    frame_bytes = channels * encoding // 8
    kind = 3 if encoding == 32 else 1
    fmt = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * frame_bytes, frame_bytes, encoding
    )
    if kind == 3:
        fmt += struct.pack("<H", 0)
    sizes = struct.calcsize(DS64)
    length = len(fmt) + sizes + (48 if kind == 3 else 36)
    riff, junk = b"RIFF", b"JUNK" + struct.pack("<I", sizes) + bytes(sizes)
    file_bytes, frames = UNKNOWN, UNKNOWN
    if data_bytes is None:
        data_bytes = UNKNOWN
    else:
        file_bytes, frames = length - 8 + data_bytes, data_bytes // frame_bytes
        if file_bytes >= UNKNOWN:
            sizes64 = struct.pack(DS64, file_bytes, data_bytes, frames, 0)
            riff, junk = b"RF64", b"ds64" + struct.pack("<I", sizes) + sizes64
            file_bytes = data_bytes = frames = UNKNOWN
    chunks = junk + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    if kind == 3:
        chunks += struct.pack("<4sII", b"fact", 4, frames)
    chunks += b"data" + struct.pack("<I", data_bytes)
    return riff + struct.pack("<I", file_bytes) + b"WAVE" + chunks
