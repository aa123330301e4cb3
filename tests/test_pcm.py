"""PCM formats: what they are, how they are decoded, and which values are refused."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from audiostream.engine.sample_decoding import BLOCK, decode
from audiostream.errors import AudioException, FormatError
from audiostream.pcm import (
    ENCODINGS,
    NAMED,
    Format,
    check_buffersize,
    check_channels,
    check_encoding,
    check_rate,
)

CHECKS = {
    "rate": (check_rate, [1000, 44100, 768_000], [999, 768_001, 0, -1]),
    "channels": (check_channels, [1, 2, 64], [0, 65, -2]),
    "encoding": (check_encoding, [8, 16, 32], [0, 1, 24, 64, -16]),
    "buffersize": (check_buffersize, [0, 1, 65_536], [-1, 65_537]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_good_values_come_back_as_int(name: str) -> None:
    check, good, _ = CHECKS[name]
    for value in good:
        for same in (value, np.int64(value)):
            assert check(same) == value
            assert type(check(same)) is int


@pytest.mark.parametrize("name", CHECKS)
def test_bad_values_say_what_to_try(name: str) -> None:
    check, _, bad = CHECKS[name]
    for value in bad:
        with pytest.raises(FormatError, match=rf"(?s){name}={value}\b.*try"):
            check(value)


@pytest.mark.parametrize("value", ["16", 16.0, None, True, [16], b"16", np.float32(16), 1 + 0j])
@pytest.mark.parametrize("name", CHECKS)
def test_what_is_no_whole_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(FormatError, match=rf"{name} must be a whole number.*try") as caught:
        CHECKS[name][0](value)
    assert isinstance(caught.value, AudioException)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("encoding", "kind", "width"), [(8, np.int8, 1), (16, np.int16, 2), (32, np.float32, 4)]
)
def test_a_format_tells_its_sizes(encoding: int, kind: Any, width: int) -> None:
    format = Format(48000, 3, encoding)
    assert np.dtype(format.dtype) == kind
    assert np.dtype(ENCODINGS[encoding]).byteorder in "=|<"  # little-endian
    assert (format.sample_bytes, format.frame_bytes) == (width, 3 * width)
    assert str(encoding) in str(format)
    assert "48000 Hz" in str(format)


def test_a_format_is_checked_and_cannot_be_changed() -> None:
    for wrong in ((10, 2, 16), (44100, 0, 16), (44100, 2, 12)):
        with pytest.raises(FormatError):
            Format(*wrong)
    format = Format(np.int32(44100), 2, 16)  # type: ignore[arg-type]
    assert type(format.rate) is int
    assert format == Format(44100, 2, 16)
    with pytest.raises(FrozenInstanceError):
        format.rate = 8000  # type: ignore[misc]


# --- encodings by name -------------------------------------------------------------

WIDTHS = {
    "u8": 1,
    "s8": 1,
    "s16": 2,
    "s24": 3,
    "s32": 4,
    "f32": 4,
    "f64": 8,
    "ulaw": 1,
    "alaw": 1,
}
"""Encoding -> bytes of a sample."""

LAWS = ("ulaw", "alaw")

INTEGERS = {
    # encoding: struct's way to pack it, or None where there is none; bits; what is silence
    "s8": ("b", 8, 0),
    "u8": ("B", 8, 128),
    "s16": ("<h", 16, 0),
    "s16be": (">h", 16, 0),
    "s24": ("<i", 24, 0),
    "s24be": (">i", 24, 0),
    "s32": ("<i", 32, 0),
    "s32be": (">i", 32, 0),
}


def packed(values: list[int], encoding: str) -> bytes:
    code, bits, silence = INTEGERS[encoding]
    parts = [struct.pack(code, value + silence) for value in values]
    if bits == 24:  # of the four bytes, without the one that only holds the sign
        parts = [part[:3] if code[0] == "<" else part[1:] for part in parts]
    return b"".join(parts)


def test_every_name_has_its_width_and_both_byte_orders() -> None:
    for name, width in WIDTHS.items():
        orders = [name] if width == 1 else [name, name + "le", name + "be"]
        for encoding in orders:
            format = Format(8000, 3, encoding)
            assert format.encoding == encoding
            assert (format.sample_bytes, format.frame_bytes) == (width, 3 * width)
            assert np.dtype(format.dtype).itemsize == width
            assert encoding in str(format)
    assert len(NAMED) == 4 + 3 * 5


@pytest.mark.parametrize(
    ("encoding", "number"),
    [(8, 8), (16, 16), (32, 32), ("s8", 8), ("s16", 16), ("s16le", 16), ("f32", 32)]
    + [(name, None) for name in ("u8", "ulaw", "alaw", "s16be", "s24", "s32", "f32be", "f64")],
)
def test_what_compiled_code_reads_as_it_is(encoding: Any, number: int | None) -> None:
    format = Format(8000, 1, encoding)
    assert format.plain == number
    if number is not None:
        assert np.dtype(format.dtype) == np.dtype(ENCODINGS[number])


@pytest.mark.parametrize("encoding", INTEGERS)
def test_integers_come_out_at_their_exact_place(encoding: str) -> None:
    bits = INTEGERS[encoding][1]
    top = 2 ** (bits - 1)
    values = [-top, 1 - top, -1, 0, 1, top // 2, top - 1, 0x12345678 >> (32 - bits)]
    got = decode(packed(values, encoding), Format(8000, 2, encoding))
    assert got.dtype == np.float32
    assert got.shape == (4, 2)
    # Up to 24 bits that is no rounding at all, from there on a single one.
    assert got.ravel().tolist() == [float(np.float32(value / top)) for value in values]
    if bits <= 24:
        assert (got.ravel().astype(float) * top).tolist() == values


@pytest.mark.parametrize("encoding", ["f32", "f32le", "f32be", "f64", "f64le", "f64be"])
def test_floats_come_out_as_they_are(encoding: str) -> None:
    code = (">" if encoding.endswith("be") else "<") + ("f" if "32" in encoding else "d")
    values = [0.0, -1.0, 1.0, 0.1, 1 / 3, -2.5, 1e-20, math.inf]
    data = b"".join(struct.pack(code, value) for value in values)
    got = decode(data, Format(8000, 1, encoding))
    assert got[:, 0].tolist() == [float(np.float32(value)) for value in values]
    (big,) = decode(struct.pack(code, math.nan), Format(8000, 1, encoding))
    assert math.isnan(big[0])


def test_a_double_that_is_too_large_is_infinite_and_no_warning() -> None:
    assert decode(struct.pack("<d", -1e300), Format(8000, 1, "f64"))[0, 0] == -math.inf


def test_a_number_is_decoded_as_its_name() -> None:
    data = np.random.default_rng(1).integers(0, 200, 48, np.uint8).tobytes()
    for number, name in ((8, "s8"), (16, "s16"), (32, "f32")):
        one, other = (decode(data, Format(8000, 3, kind)) for kind in (number, name))
        np.testing.assert_array_equal(one, other)


# Codes and the 16-bit values that they stand for, from the tables of ITU-T G.711: the ends of
# the line, what is next to zero, the first of each segment.
ULAW = {
    0x00: -32124, 0x01: -31100, 0x0F: -16764, 0x10: -15996, 0x1F: -8316, 0x7E: -8, 0x7F: 0,
    0x80: 32124, 0x8F: 16764, 0x9F: 8316, 0xAF: 4092, 0xBF: 1980, 0xCF: 924, 0xDF: 396,
    0xEF: 132, 0xFE: 8, 0xFF: 0,
}  # fmt: skip
ALAW = {
    0x00: -5504, 0x01: -5248, 0x2A: -32256, 0x55: -8, 0x54: -24, 0x80: 5504, 0x81: 5248,
    0xAA: 32256, 0xA5: 16896, 0xB5: 8448, 0x85: 4224, 0x95: 2112, 0xE5: 1056, 0xF5: 528,
    0xC5: 264, 0xDA: 248, 0xD4: 24, 0xD5: 8,
}  # fmt: skip


@pytest.mark.parametrize(("encoding", "vectors"), [("ulaw", ULAW), ("alaw", ALAW)])
def test_g711_by_its_tables(encoding: str, vectors: dict[int, int]) -> None:
    got = decode(bytes(vectors), Format(8000, 1, encoding))[:, 0]
    assert (got * 32768).tolist() == list(vectors.values())


@pytest.mark.parametrize("encoding", LAWS)
def test_g711_is_odd_and_grows(encoding: str) -> None:
    values = decode(bytes(range(256)), Format(8000, 1, encoding))[:, 0]
    np.testing.assert_array_equal(values[:128], -values[128:])
    assert len(np.unique(values)) == (255 if encoding == "ulaw" else 256)


@pytest.mark.parametrize(
    "encoding", ["u8", "s8", "s16be", "s24", "s24be", "s32", "f64be", *LAWS]
)
def test_libsndfile_reads_the_same(encoding: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    subtype = f"PCM_{encoding[1:3]}"
    others = {"u8": "PCM_U8", "s8": "PCM_S8", "f64be": "DOUBLE", "ulaw": "ULAW", "alaw": "ALAW"}
    subtype = others.get(encoding, subtype)
    data = np.random.default_rng(4).integers(0, 256, 6 * 4 * 256, np.uint8).tobytes()
    if encoding == "f64be":
        data = np.random.default_rng(4).uniform(-1, 1, 512).astype(">f8").tobytes()
    wanted, _ = soundfile.read(
        io.BytesIO(data),
        dtype="float64",
        always_2d=True,
        format="RAW",
        subtype=subtype,
        channels=2,
        samplerate=8000,
        endian="BIG" if encoding.endswith("be") else "LITTLE",
    )
    got = decode(data, Format(8000, 2, encoding))
    np.testing.assert_array_equal(got, wanted.astype(np.float32))


@pytest.mark.parametrize("encoding", NAMED)
def test_long_data_are_decoded_in_blocks_and_none_is_missing(encoding: str) -> None:
    format = Format(8000, 1, encoding)
    rng = np.random.default_rng(7)
    frames = 2 * BLOCK + 3
    data = rng.integers(0, 100, frames * format.frame_bytes, np.uint8).tobytes()
    whole = decode(data, format)
    assert whole.shape == (frames, 1)
    for at in (0, BLOCK - 1, BLOCK, 2 * BLOCK, frames - 1):
        (alone,) = decode(data[at * format.frame_bytes :][: format.frame_bytes], format)
        np.testing.assert_array_equal(whole[at], alone)
    assert decode(b"", format).shape == (0, 1)


def test_a_part_of_a_frame_is_not_decoded() -> None:
    for encoding, data in (
        ("s24", bytes(7)),
        (16, bytes(5)),
        ("ulaw", bytes(3)),
        ("f64", b"1"),
    ):
        with pytest.raises(FormatError, match=r"whole frames.*next call"):
            decode(data, Format(8000, 2, encoding))


@pytest.mark.parametrize("encoding", [8, 16, 32, *NAMED])
def test_silence_is_what_is_nearest_to_zero(encoding: Any) -> None:
    format = Format(8000, 2, encoding)
    assert len(format.silence) == format.frame_bytes
    levels = np.abs(decode(format.silence, format))
    assert levels.shape == (1, 2)
    assert levels.max() == (2**-12 if encoding == "alaw" else 0)


@pytest.mark.parametrize("encoding", ["s12", "16", "S16", "pcm16", "u16", "", "float32"])
def test_names_that_are_not_known_are_refused(encoding: str) -> None:
    with pytest.raises(
        FormatError, match=rf"encoding='{encoding}' is not known; try .*'s24be'"
    ):
        Format(8000, 1, encoding)


@pytest.mark.parametrize("encoding", ["s16", "s24", "ulaw"])
def test_a_device_takes_no_named_encoding(encoding: str) -> None:
    with pytest.raises(FormatError, match=rf"sample\(encoding='{encoding}'\).*try 16"):
        check_encoding(encoding)
