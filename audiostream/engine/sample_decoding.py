"""Bytes and arrays of any encoding to float32 samples; any thread."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from audiostream.errors import FormatError
from audiostream.pcm import Format

__all__ = ("decode", "decoded")

BLOCK = 500
"""Samples that are decoded at a time: from more on numpy gives up the interpreter lock, and to
get it back beside a busy Python thread takes 5 ms."""


def decode(data: Any, format: Format) -> np.ndarray:
    """Whole frames as float32 at full scale 1.0.

    Parameters
    ----------
    data : bytes-like
        In the format's encoding, interleaved.
    format : Format
        Its rate does not matter.

    Returns
    -------
    float32 (frames, channels)

    Raises
    ------
    FormatError
        If it ends within a frame.
    """
    if len(data) % format.frame_bytes:
        raise FormatError(
            f"{len(data)} bytes are not whole frames of {format.frame_bytes} bytes ({format}); "
            "keep what is left of the last one for the next call"
        )
    name = format.encoding
    if not isinstance(name, str):
        name = {8: "s8", 16: "s16", 32: "f32"}[name]
    return decoded(np.frombuffer(data, format.dtype), name).reshape(-1, format.channels)


def decoded(samples: np.ndarray, name: str) -> np.ndarray:
    """Samples of a named encoding as float32; an array of the same number of samples.

    Parameters
    ----------
    samples : ndarray (samples,)
        Of the dtype that :data:`NAMED` says.

    Returns
    -------
    float32 (samples,)
    """
    result = np.empty(samples.size, np.float32)
    for start in range(0, samples.size, BLOCK):
        stop = start + BLOCK
        _decode_block(samples[start:stop], name, result[start:stop])
    return result


def _decode_block(samples: np.ndarray, name: str, target: np.ndarray) -> None:
    if name in ("ulaw", "alaw"):
        target[:] = (ulaw_table() if name == "ulaw" else alaw_table())[samples]
    elif name == "u8":
        target[:] = samples
        target -= 128
        target *= 2.0**-7
    elif samples.dtype.kind == "f":
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # what float32 cannot hold is infinite, and limited
            target[:] = samples
    else:
        if samples.dtype.kind == "V":
            samples = _widened(samples, name)
        target[:] = samples
        target *= 2.0 ** (1 - 8 * samples.itemsize)


def _widened(samples: np.ndarray, name: str) -> np.ndarray:
    """24-bit integers as the upper three bytes of 32-bit ones."""
    big = name == "s24be"
    wide = np.zeros((samples.size, 4), np.uint8)
    three = samples.view(np.uint8).reshape(-1, 3)
    for byte in range(3):  # one by one, see BLOCK
        wide[:, byte if big else byte + 1] = three[:, byte]
    return wide.view(">i4" if big else "<i4")[:, 0]


# A byte of G.711 is a sign, three bits of segment and four of the interval in it.  The tables
# hold the "values at the decoder output", as shares of 2**13 and 2**12.


@functools.lru_cache(maxsize=1)
def ulaw_table() -> np.ndarray:
    """Byte -> sample in mu-law: float32 (256,); ITU-T G.711 (11/88), tables 2a and 2b."""
    code = 255 - np.arange(256)  # on the line all bits are inverted
    segment, interval = code >> 4 & 7, code & 15
    size = ((2 * interval + 33) << segment) - 33
    return (np.where(code & 128, -size, size) / 2**13).astype(np.float32)


@functools.lru_cache(maxsize=1)
def alaw_table() -> np.ndarray:
    """Byte -> sample in A-law: float32 (256,); ITU-T G.711 (11/88), tables 1a and 1b."""
    code = np.arange(256) ^ 0x55  # on the line every other bit is inverted
    segment, interval = code >> 4 & 7, code & 15
    curved = (2 * interval + 33) << np.maximum(segment - 1, 0)
    size = np.where(segment == 0, 2 * interval + 1, curved)
    return (np.where(code & 128, size, -size) / 2**12).astype(np.float32)
