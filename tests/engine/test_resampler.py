"""Streaming rate conversion: against closed forms, in whatever chunks it comes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiostream.engine.resampler import (
    CHUNK,
    HIGH,
    LIVE,
    MAX_PHASES,
    QUALITIES,
    Design,
    Resampler,
    filter_phases,
    resampler,
)
from audiostream.errors import FormatError
from audiostream.realtime.compile.kernels import kernels

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
    st.sampled_from(["high", "live"]),
)
def test_chunks_do_not_matter(
    rates: tuple[int, int], channels: int, sizes: list[int], quality: str
) -> None:
    rng = np.random.default_rng(sum(sizes))
    block = rng.uniform(-1, 1, (sum(sizes), channels)).astype(np.float32)
    one, other = (resampler(kernels(), *rates, channels, quality) for _ in range(2))
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


@pytest.mark.parametrize("design", [HIGH, LIVE])
def test_the_filter_passes_what_is_constant(design: Design) -> None:
    for source, target in ((8000, 48000), (44100, 48000), (48000, 44100), (48000, 8000)):
        table = filter_phases(source, target, design)
        assert table.shape[0] == target // math.gcd(source, target)
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
    assert MAX_PHASES >= 640


# --- quality="live" ----------------------------------------------------------------

LIVE_RATES = [
    *RATES,
    (24000, 44100),
    (44100, 16000),
    (48000, 24000),
    (16000, 8000),
    (44100, 8000),
]


def spectrum(got: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz), and the level (dB) of a sine of full scale 1.0 at each; no edges.

    Kaiser's window with beta 30: a tone's skirt is below -220 dB from 11 lines on.
    """
    middle = got[len(got) // 4 : 3 * len(got) // 4, 0].astype(float)
    window = np.kaiser(len(middle), 30.0)
    lines = np.abs(np.fft.rfft(middle * window)) / window.sum() * 2
    return np.fft.rfftfreq(len(middle), 1 / rate), 20 * np.log10(np.maximum(lines, 1e-12))


def live(source: int, target: int, frequency: float, chunk: int = 480) -> np.ndarray:
    """A second of a tone, converted."""
    converter = resampler(kernels(), source, target, 1, "live")
    return converted(converter, tone(frequency, source, source), chunk)


@pytest.mark.parametrize(("source", "target"), LIVE_RATES)
def test_live_keeps_tones_up_to_0_4_of_the_lower_rate(source: int, target: int) -> None:
    """90 dB at least, gain and place included."""
    for share in (0.01, 0.1, 0.25, 0.35, 0.4):
        frequency = share * min(source, target)
        got = live(source, target, frequency)
        assert len(got) == target
        assert snr(got, tone(frequency, target, target).astype(float)) > 90, share


@pytest.mark.parametrize(
    ("source", "target"), [(s, t) for s, t in LIVE_RATES if s < t] + [(48000, 44100)]
)
def test_live_makes_no_images(source: int, target: int) -> None:
    """All but the tone is below -80 dB."""
    for share in (0.05, 0.2, 0.4):
        frequency = share * min(source, target)
        at, level = spectrum(live(source, target, frequency), target)
        elsewhere = np.abs(at - frequency) > 50
        assert level[~elsewhere].max() == pytest.approx(0, abs=0.5)  # between two lines
        assert level[elsewhere].max() < -80, share


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in LIVE_RATES if s > t])
def test_live_lets_nothing_alias(source: int, target: int) -> None:
    """What the lower rate cannot hold is below -80 dB, wherever it would come down."""
    for frequency in np.linspace(0.501 * target, 0.498 * source, 12):
        _, level = spectrum(live(source, target, float(frequency)), target)
        assert level.max() < -80, frequency / target


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in LIVE_RATES if s < t])
def test_live_makes_no_images_of_what_it_passes_in_part_either(
    source: int, target: int
) -> None:
    """From 0.4 to 0.5 of the rate tones become softer, and nothing else."""
    levels = []
    for share in (0.41, 0.43, 0.45, 0.47, 0.48, 0.49, 0.498):
        frequency = share * source
        at, level = spectrum(live(source, target, frequency), target)
        assert level[np.abs(at - frequency) > 50].max() < -80, share
        levels.append(level[np.abs(at - frequency) <= 50].max())
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == pytest.approx(0, abs=1)
    assert levels[-1] < -60


@pytest.mark.parametrize(("source", "target"), LIVE_RATES)
def test_live_holds_back_less_than_3_ms(source: int, target: int) -> None:
    converter = resampler(kernels(), source, target, 1, "live")
    noise = np.random.default_rng(1).uniform(-1, 1, (source // 20, 1)).astype(np.float32)
    made = 0
    for frame in range(len(noise)):
        made += len(converter.resample_chunk(noise[frame : frame + 1]))
        assert (frame + 1) / source - made / target < 0.003
    assert len(converter.resample_chunk(noise[:0], last=True)) <= converter.held_back()


@pytest.mark.parametrize(("source", "target"), LIVE_RATES)
def test_live_leaves_an_impulse_where_it_was_and_is_heard_in_3_ms(
    source: int, target: int
) -> None:
    common = math.gcd(source, target)
    at = 10 * source // common  # which has a frame of its own at the other rate
    converter = resampler(kernels(), source, target, 1, "live")
    block = np.zeros((at + source // 100, 1), np.float32)
    block[at] = 1.0
    got, arrived = [], None
    for frame in range(len(block)):
        got.append(converter.resample_chunk(block[frame : frame + 1]))
        if arrived is None and sum(map(len, got)) > at * target // source:
            arrived = frame
    assert int(np.argmax(np.concatenate(got)[:, 0])) == at * target // source
    assert arrived is not None
    assert (arrived - at) / source < 0.003


def test_high_holds_back_more_and_says_so() -> None:
    """What live is for."""
    one, other = (resampler(kernels(), 8000, 48000, 1, quality) for quality in ("high", "live"))
    block = np.zeros((800, 1), np.float32)
    assert 4800 - len(one.resample_chunk(block)) == 6 * 64
    assert 4800 - len(other.resample_chunk(block)) == 6 * 23
    assert one.held_back() > other.held_back()


@pytest.mark.parametrize(("source", "target"), [(4000, 48000), (1000, 8000), (48000, 2000)])
def test_live_below_8_khz_is_as_clean_and_takes_longer(source: int, target: int) -> None:
    frequency = 0.4 * min(source, target)
    got = live(source, target, frequency)
    assert snr(got, tone(frequency, target, target).astype(float)) > 90


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_quality_converts(quality: str) -> None:
    converter = resampler(kernels(), 16000, 48000, 2, quality)
    block = np.repeat(tone(1000, 16000, 16000), 2, axis=1)
    got = converted(converter, block, 320)
    assert got.shape == (48000, 2)
    assert snr(got[:, 1:], tone(1000, 48000, 48000).astype(float)) > 90
    assert isinstance(converter, Resampler) == (quality != "soxr")


@pytest.mark.parametrize("quality", ["best", "HQ", "", None, 3])
def test_a_quality_that_is_not_known_is_refused(quality: Any) -> None:
    with pytest.raises(FormatError, match=r"quality=.*try 'high', 'live'"):
        resampler(kernels(), 16000, 48000, 1, quality)


def test_live_has_no_filter_for_rates_without_a_common_measure() -> None:
    with pytest.raises(FormatError, match=r"44101 to 48000 Hz.*try quality='high'"):
        resampler(kernels(), 44101, 48000, 1, "live")
