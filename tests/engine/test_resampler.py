"""Streaming rate conversion: against closed forms, in whatever chunks it comes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiostream.engine import resampler as module
from audiostream.engine.resampler import CHUNK, Resampler, filter_phases, resampler
from audiostream.realtime.compiled import kernels

RATES = [
    (8000, 48000),
    (16000, 48000),
    (22050, 48000),
    (24000, 48000),
    (44100, 48000),
    (48000, 44100),
    (48000, 16000),
    (48000, 8000),
    (11025, 44100),
]


def tone(frequency: float, rate: int, frames: int) -> np.ndarray:
    """float32 (frames, 1)."""
    return np.sin(2 * np.pi * frequency / rate * np.arange(frames)).astype(np.float32)[:, None]


def converted(converter: Any, block: np.ndarray, chunk: int) -> np.ndarray:
    parts = [
        converter.resample_chunk(block[i : i + chunk]) for i in range(0, len(block), chunk)
    ]
    return np.concatenate([*parts, converter.resample_chunk(block[:0], last=True)])


def snr(got: np.ndarray, wanted: np.ndarray) -> float:
    """dB, of the middle half."""
    middle = slice(len(got) // 4, 3 * len(got) // 4)
    error = got[middle].astype(float) - wanted[middle]
    return 10 * math.log10(np.mean(wanted[middle] ** 2) / np.mean(error**2))


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_tone_comes_out_where_it_was(source: int, target: int) -> None:
    """At 0.4 of the lower rate: nothing shifted, 110 dB and more."""
    frequency = 0.4 * min(source, target)
    got = converted(
        Resampler(kernels(), source, target, 1), tone(frequency, source, source), 999
    )
    assert len(got) == target
    wanted = tone(frequency, target, target).astype(float)
    assert snr(got, wanted) > 110


@pytest.mark.parametrize(("source", "target"), [(48000, 16000), (48000, 44100), (48000, 8000)])
def test_what_the_lower_rate_cannot_hold_is_gone(source: int, target: int) -> None:
    got = converted(
        Resampler(kernels(), source, target, 1), tone(0.55 * target, source, source), 480
    )
    middle = got[len(got) // 4 : -len(got) // 4]
    assert 20 * math.log10(np.abs(middle).max()) < -100


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(RATES),
    st.integers(1, 3),
    st.lists(st.integers(0, 700), min_size=1, max_size=8),
)
def test_chunks_do_not_matter(rates: tuple[int, int], channels: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(sum(sizes))
    block = rng.uniform(-1, 1, (sum(sizes), channels)).astype(np.float32)
    one, other = (Resampler(kernels(), *rates, channels) for _ in range(2))
    parts = []
    start = 0
    for size in sizes:
        parts.append(one.resample_chunk(block[start : start + size]))
        start += size
    given_out = sum(map(len, parts))
    parts.append(one.resample_chunk(block[:0], last=True))
    assert len(parts[-1]) <= one.held_back()
    assert given_out + len(parts[-1]) == math.ceil(len(block) * rates[1] / rates[0])
    np.testing.assert_array_equal(np.concatenate(parts), other.resample_chunk(block, last=True))


def test_a_long_block_goes_through_in_parts() -> None:
    block = tone(440, 44100, 3 * CHUNK + 5)
    one, other = (Resampler(kernels(), 44100, 48000, 1) for _ in range(2))
    np.testing.assert_array_equal(
        one.resample_chunk(block, last=True), converted(other, block, 1000)
    )


def test_channels_stay_apart() -> None:
    block = np.zeros((2000, 3), np.float32)
    block[:, 1] = tone(300, 16000, 2000)[:, 0]
    got = Resampler(kernels(), 16000, 48000, 3).resample_chunk(block, last=True)
    alone = Resampler(kernels(), 16000, 48000, 1).resample_chunk(block[:, 1:2], last=True)
    assert not got[:, 0].any()
    assert not got[:, 2].any()
    np.testing.assert_array_equal(got[:, 1:2], alone)


def test_clear_forgets_and_the_last_chunk_does_too() -> None:
    converter = Resampler(kernels(), 16000, 48000, 1)
    first = converter.resample_chunk(tone(440, 16000, 500), last=True)
    converter.resample_chunk(np.ones((333, 1), np.float32))
    converter.clear()
    np.testing.assert_array_equal(
        converter.resample_chunk(tone(440, 16000, 500), last=True), first
    )


def test_no_more_than_half_a_filter_is_held_back() -> None:
    for source, target in RATES:
        converter = Resampler(kernels(), source, target, 1)
        got = converter.resample_chunk(np.ones((source // 10, 1), np.float32))
        held = len(got) / target - 0.1
        assert -82 / min(source, target) < held < 0, (source, target)


def test_the_filter_passes_what_is_constant() -> None:
    for phases, step in ((6, 1), (160, 147), (147, 160), (1, 6)):
        table = filter_phases(phases, step)
        assert table.shape[0] == phases
        assert table.shape[1] % 32 == 0
        np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=2e-6)


def test_rates_without_a_common_measure_are_left_to_soxr() -> None:
    converter = resampler(kernels(), 44101, 48000, 2)
    assert not isinstance(converter, Resampler)
    block = np.repeat(tone(440, 44101, 44101), 2, axis=1)
    got = converted(converter, block, 882)
    assert got.shape == (48000, 2)
    assert snr(got[:, :1], tone(440, 48000, 48000).astype(float)) > 90
    mono = resampler(kernels(), 44101, 48000, 1)
    assert converted(mono, tone(440, 44101, 2000), 500).shape[1] == 1
    assert mono.held_back() >= 2048
    mono.clear()
    assert isinstance(resampler(kernels(), 44100, 48000, 1), Resampler)
    assert module.MAX_PHASES >= 640
