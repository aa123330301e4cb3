"""PCM formats: what they are, and which values are refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from audiostream.errors import AudioException, FormatError
from audiostream.pcm import (
    ENCODINGS,
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
