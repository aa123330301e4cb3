"""Noise: its numbers, its spectrum, its seed."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from audiostream import dsp
from tests.dsp.support import RATE, run

FRAMES = 1 << 18


def numbers(seed: int, count: int) -> np.ndarray:
    """Marsaglia's generator on Python's integers, from -1 to 1."""
    x = random.Random(seed).getrandbits(32)
    made = []
    for _ in range(count):
        x = (x ^ x << 13) % 2**32
        x = x ^ x >> 17
        x = (x ^ x << 5) % 2**32
        made.append(x / 2**31 - 1)
    return np.array(made)


def test_white_noise_is_marsaglias() -> None:
    made = run(dsp.noise(seed=7, level=1.0), np.zeros((1000, 2)))
    np.testing.assert_allclose(made.ravel(), numbers(7, 2000), atol=1e-7)


def test_pink_noise_is_white_noise_through_the_filter() -> None:
    poles = [0.99886, 0.99332, 0.96900, 0.86650, 0.55000, -0.7616]
    gains = [0.0555179, 0.0750759, 0.1538520, 0.3104856, 0.5329522, -0.0168980]
    n = np.arange(3000)
    impulse = sum(g * np.power(p, n) for g, p in zip(gains, poles, strict=True))
    impulse[0] += 0.5362
    impulse[1] += 0.115926
    wanted = 0.11 * np.convolve(numbers(3, 3000), impulse)[:3000]
    made = run(dsp.pink(seed=3, level=1.0), np.zeros(3000))[:, 0]
    np.testing.assert_allclose(made, wanted, atol=1e-6)


def octaves(values: np.ndarray) -> np.ndarray:
    """The power in dB of each octave from 30 Hz on; white noise adds 3 dB an octave."""
    power = np.square(np.abs(np.fft.rfft(values.astype(np.float64))))
    hertz = np.fft.rfftfreq(len(values), 1 / RATE)
    edges = 30.0 * 2.0 ** np.arange(10)
    bands = itertools.pairwise(edges)
    return np.array(
        [10 * np.log10(power[(low <= hertz) & (hertz < high)].sum()) for low, high in bands]
    )


def test_white_noise_is_flat_and_even() -> None:
    made = run(dsp.noise(seed=1, level=1.0), np.zeros(FRAMES), blocks=(1024,))[:, 0]
    slope = np.polyfit(np.arange(9), octaves(made), 1)[0]
    assert slope == pytest.approx(3.01, abs=0.15)
    assert abs(made.mean()) < 0.005
    assert made.var() == pytest.approx(1 / 3, rel=0.01)
    assert np.histogram(made, 16, (-1, 1))[0] == pytest.approx(FRAMES / 16, rel=0.05)


def test_pink_noise_has_the_same_power_in_each_octave() -> None:
    made = run(dsp.pink(seed=1, level=1.0), np.zeros(FRAMES), blocks=(1024,))[:, 0]
    powers = octaves(made)
    assert np.polyfit(np.arange(9), powers, 1)[0] == pytest.approx(0.0, abs=0.15)
    assert np.ptp(powers) < 1.5  # the lowest octave has few lines: chance is 0.3 dB there


def test_pink_noise_seldom_exceeds_its_level() -> None:
    made = run(dsp.pink(seed=2, level=1.0), np.zeros(FRAMES), blocks=(1024,))[:, 0]
    assert np.mean(np.abs(made) > 1.0) < 2e-5
    assert made.std() == pytest.approx(0.1926, rel=0.02)


@pytest.mark.parametrize("name", ["noise", "pink"])
def test_channels_have_noise_of_their_own(name: str) -> None:
    made = run(getattr(dsp, name)(seed=5), np.zeros((1 << 15, 2)), blocks=(1024,))
    assert abs(np.corrcoef(made.T)[0, 1]) < 0.1


@pytest.mark.parametrize("name", ["noise", "pink"])
def test_seed_gives_the_same_noise(name: str) -> None:
    kernel = getattr(dsp, name)
    silence = np.zeros(100)
    first = run(kernel(seed=1), silence)
    assert (run(kernel(seed=1), silence) == first).all()
    assert (run(kernel(seed=2), silence) != first).any()
    assert (run(kernel(), silence) != run(kernel(), silence)).any()


@pytest.mark.parametrize("name", ["noise", "pink"])
def test_level_scales(name: str) -> None:
    kernel = getattr(dsp, name)
    level = np.linspace(0.0, 1.0, 500, dtype=np.float32)
    full = run(kernel(seed=1, level=1.0), np.zeros(500))[:, 0]
    moved = run(kernel(seed=1), np.zeros(500), level=level)[:, 0]
    np.testing.assert_allclose(moved, level * full, atol=1e-7)
