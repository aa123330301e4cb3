"""What a stream of PCM looks like: rate, channels, encoding; any thread.

Inside the library audio is float32 at full scale 1.0, C-contiguous
``(frames, channels)``.  Devices are given one of three encodings, named by their
bits as the documented API does:

======== ======================================== =========
encoding sample                                   full scale
======== ======================================== =========
8        signed 8-bit integer                     128
16       signed little-endian 16-bit integer      32768
32       little-endian 32-bit float               1.0
======== ======================================== =========

What is written to a voice may also be in one of these, named by what they are:

================ ========================================= ===========
encoding         sample                                    full scale
================ ========================================= ===========
"u8"             unsigned 8-bit integer, 128 is silence    128
"s8"             8 by its name                             128
"s16"            16 by its name                            2**15
"s24"            signed 24-bit integer, three bytes        2**23
"s32"            signed 32-bit integer                     2**31
"f32"            32 by its name                            1.0
"f64"            64-bit float                              1.0
"ulaw", "alaw"   G.711, one byte                           see below
================ ========================================= ===========

Those of more than one byte are little-endian; ``"s16be"`` is big-endian, ``"s16le"`` the same
as ``"s16"``, and so on.  Zero bytes are silence in all but ``"u8"``, ``"ulaw"`` and ``"alaw"``.
Scaling is by powers of two, so integers of up to 24 bits come back from float32 bit for bit;
those of 32 bits and 64-bit floats are rounded to the nearest float32.
"""

from __future__ import annotations

from dataclasses import dataclass

from audiostream.checks import check_integer, shown
from audiostream.errors import FormatError

__all__ = (
    "ENCODINGS",
    "NAMED",
    "Format",
    "check_any_encoding",
    "check_buffersize",
    "check_channels",
    "check_encoding",
    "check_rate",
)

ENCODINGS: dict[int, str] = {8: "<i1", 16: "<i2", 32: "<f4"}
"""A device's encoding -> numpy dtype string of one sample."""

NAMED: dict[str, str] = {
    "u8": "|u1",
    "s8": "|i1",
    "s16": "<i2",
    "s16le": "<i2",
    "s16be": ">i2",
    "s24": "|V3",  # numpy has no integer of three bytes
    "s24le": "|V3",
    "s24be": "|V3",
    "s32": "<i4",
    "s32le": "<i4",
    "s32be": ">i4",
    "f32": "<f4",
    "f32le": "<f4",
    "f32be": ">f4",
    "f64": "<f8",
    "f64le": "<f8",
    "f64be": ">f8",
    "ulaw": "|u1",
    "alaw": "|u1",
}
"""The name of an encoding -> numpy dtype string of one sample."""

PLAIN = {"s8": 8, "s16": 16, "s16le": 16, "f32": 32, "f32le": 32}
"""Names of the encodings that have a number."""

SILENCE = {"u8": b"\x80", "ulaw": b"\xff", "alaw": b"\xd5"}
"""Samples of silence that are not zero bytes; A-law has only -1 and 1 around zero."""

MAX_RATE = 768_000
MAX_CHANNELS = 64
MAX_BUFFERSIZE = 1 << 16


def check_rate(rate: object) -> int:
    """Return the sample rate in Hz, 1,000 to 768,000; :class:`FormatError` otherwise."""
    hint = "44100, 48000 or 16000"
    return check_integer(rate, "rate", "Hz", least=1000, most=MAX_RATE, hint=hint)


def check_channels(channels: object) -> int:
    """Return the number of channels, 1 to 64; :class:`FormatError` otherwise."""
    hint = "1 (mono) or 2 (stereo)"
    return check_integer(channels, "channels", least=1, most=MAX_CHANNELS, hint=hint)


def check_encoding(encoding: object) -> int:
    """Return a device's encoding, 8, 16 or 32; :class:`FormatError` otherwise."""
    if isinstance(encoding, str) and encoding in NAMED:
        raise FormatError(
            f"encoding={encoding!r} is for what is written to a sample, as in "
            f"output.sample(encoding={encoding!r}); an output or input itself is one of 8, 16 "
            "and 32 (32-bit float); try 16"
        )
    bits = check_integer(encoding, "encoding", "bits", hint="16, or 32 for float32")
    if bits not in ENCODINGS:
        raise FormatError(
            f"encoding={shown(bits)} is not one of 8 (signed 8-bit), 16 (signed 16-bit) "
            "and 32 (32-bit float); try 16"
        )
    return bits


def check_any_encoding(encoding: object) -> int | str:
    """Return the encoding, a number or a name; :class:`FormatError` otherwise."""
    if not isinstance(encoding, str):
        return check_encoding(encoding)
    if encoding not in NAMED:
        names = ", ".join(repr(name) for name in NAMED if not name.endswith("le"))
        raise FormatError(
            f"encoding={shown(encoding)} is not known; try 16, 32, or one of {names}"
        )
    return encoding


def check_buffersize(buffersize: object) -> int:
    """Return a buffer size in frames, 0 to 65,536; :class:`FormatError` otherwise."""
    hint = "1024, or 0 to let the system choose"
    return check_integer(
        buffersize, "buffersize", "frames", least=0, most=MAX_BUFFERSIZE, hint=hint
    )


@dataclass(frozen=True, slots=True)
class Format:
    """One PCM format; checked when made.

    Parameters
    ----------
    rate : int
        Frames per second (Hz).
    channels : int
        Samples per frame.
    encoding : int or str
        8, 16 or 32, or a name of :data:`NAMED`; only a number for a device.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    """

    rate: int
    channels: int
    encoding: int | str

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "channels", check_channels(self.channels))
        object.__setattr__(self, "encoding", check_any_encoding(self.encoding))

    @property
    def plain(self) -> int | None:
        """8, 16 or 32 if compiled code reads the samples as they are; None: see `decode`."""
        if isinstance(self.encoding, str):
            return PLAIN.get(self.encoding)
        return self.encoding

    @property
    def dtype(self) -> str:
        """numpy dtype string of one sample; three bytes without a meaning for 24 bits."""
        if isinstance(self.encoding, str):
            return NAMED[self.encoding]
        return ENCODINGS[self.encoding]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return int(self.dtype[2:])

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.sample_bytes * self.channels

    @property
    def silence(self) -> bytes:
        """One frame of silence."""
        sample = SILENCE.get(self.encoding) if isinstance(self.encoding, str) else None
        return (sample or bytes(self.sample_bytes)) * self.channels

    def __str__(self) -> str:
        kind = self.encoding
        if not isinstance(kind, str):
            kind = f"{kind}-float" if kind == 32 else f"{kind}-bit"
        return f"{self.rate} Hz, {self.channels} channel(s), {kind}"
