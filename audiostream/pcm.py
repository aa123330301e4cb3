"""What a stream of PCM looks like: rate, channels, encoding; pure data, any thread.

Inside the library audio is float32 at full scale 1.0, C-contiguous
``(frames, channels)``.  Outside it is one of three encodings, named by their
bits as the documented API does:

======== ======================================== =========
encoding sample                                   full scale
======== ======================================== =========
8        signed 8-bit integer                     128
16       signed little-endian 16-bit integer      32768
32       little-endian 32-bit float               1.0
======== ======================================== =========

Zero bytes are silence in all three.  Scaling is by powers of two, so integers
come back from float32 bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from audiostream.errors import FormatError

__all__ = (
    "ENCODINGS",
    "Format",
    "check_buffersize",
    "check_channels",
    "check_encoding",
    "check_rate",
    "check_whole",
)

ENCODINGS: dict[int, str] = {8: "<i1", 16: "<i2", 32: "<f4"}
"""Encoding -> numpy dtype string of one sample."""

MAX_RATE = 768_000
MAX_CHANNELS = 64
MAX_BUFFERSIZE = 1 << 16


def check_whole(value: object, name: str, unit: str) -> int:
    """Return `value` as an int, or raise :class:`FormatError`; bools are refused."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise FormatError(
            f"{name} must be a whole number of {unit}, not {value!r}; "
            f"try {name}=int(...) on what you have"
        )
    return int(value.__index__())


def check_rate(rate: object) -> int:
    """Return the sample rate in Hz, 1,000 to 768,000; :class:`FormatError` otherwise."""
    hertz = check_whole(rate, "rate", "Hz")
    if not 1000 <= hertz <= MAX_RATE:
        raise FormatError(
            f"rate={hertz} Hz is outside 1000 to {MAX_RATE}; try 44100, 48000 or 16000"
        )
    return hertz


def check_channels(channels: object) -> int:
    """Return the number of channels, 1 to 64; :class:`FormatError` otherwise."""
    count = check_whole(channels, "channels", "channels")
    if not 1 <= count <= MAX_CHANNELS:
        raise FormatError(
            f"channels={count} is outside 1 to {MAX_CHANNELS}; try 1 (mono) or 2 (stereo)"
        )
    return count


def check_encoding(encoding: object) -> int:
    """Return the encoding, 8, 16 or 32; :class:`FormatError` otherwise."""
    bits = check_whole(encoding, "encoding", "bits")
    if bits not in ENCODINGS:
        raise FormatError(
            f"encoding={bits} is not one of 8 (signed 8-bit), 16 (signed 16-bit) "
            "and 32 (32-bit float); try 16"
        )
    return bits


def check_buffersize(buffersize: object) -> int:
    """Return a buffer size in frames, 0 to 65,536; :class:`FormatError` otherwise."""
    frames = check_whole(buffersize, "buffersize", "frames")
    if not 0 <= frames <= MAX_BUFFERSIZE:
        raise FormatError(
            f"buffersize={frames} is outside 0 to {MAX_BUFFERSIZE} frames; "
            "try 1024, or 0 to let the system choose"
        )
    return frames


@dataclass(frozen=True, slots=True)
class Format:
    """One PCM format; checked when made.

    Parameters
    ----------
    rate : int
        Frames per second (Hz).
    channels : int
        Samples per frame.
    encoding : int
        8, 16 or 32.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    """

    rate: int
    channels: int
    encoding: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "channels", check_channels(self.channels))
        object.__setattr__(self, "encoding", check_encoding(self.encoding))

    @property
    def dtype(self) -> str:
        """numpy dtype string of one sample."""
        return ENCODINGS[self.encoding]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return self.encoding // 8

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.sample_bytes * self.channels

    def __str__(self) -> str:
        kind = "float" if self.encoding == 32 else "bit"
        return f"{self.rate} Hz, {self.channels} channel(s), {self.encoding}-{kind}"
