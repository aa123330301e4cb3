"""Oscillators: against waves smoothed by integration, and their frequency and aliasing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from audiostream import dsp
from tests.dsp.support import RATE, db, run, spectrum

SILENCE = np.zeros((4800, 1), np.float32)


def bernoulli3(phase: np.ndarray) -> np.ndarray:
    """The saw 2 x - 1, integrated twice."""
    x = phase % 1.0
    return x**3 / 3 - x**2 / 2 + x / 6


def bernoulli4(phase: np.ndarray) -> np.ndarray:
    """The saw 2 x - 1, integrated three times."""
    x = phase % 1.0
    return x**4 / 12 - x**3 / 6 + x**2 / 12


def smoothed(
    integral: Callable[[np.ndarray], np.ndarray], phase: np.ndarray, step: np.ndarray | float
) -> np.ndarray:
    """A wave averaged by a triangle of two frames, which is what polyBLEP does.

    It is the second difference of the wave's second integral.
    """
    parts = integral(phase + step) - 2.0 * integral(phase) + integral(phase - step)
    return parts / np.square(step)


def smooth_saw(phase: np.ndarray, step: float) -> np.ndarray:
    return smoothed(bernoulli3, phase + 0.5, step)


def smooth_square(phase: np.ndarray, step: float, width: float = 0.5) -> np.ndarray:
    def integral(x: np.ndarray) -> np.ndarray:
        return bernoulli3(x - width) - bernoulli3(x)

    return smoothed(integral, phase, step) + 2.0 * width - 1.0


def smooth_triangle(phase: np.ndarray, step: float) -> np.ndarray:
    def integral(x: np.ndarray) -> np.ndarray:
        return 4.0 * (bernoulli4(x - 0.25) - bernoulli4(x + 0.25))

    return smoothed(integral, phase, step)


ORACLES = {
    "sine": lambda phase, step: np.sin(2 * np.pi * phase),
    "saw": smooth_saw,
    "square": smooth_square,
    "triangle": smooth_triangle,
}


@pytest.mark.parametrize("hertz", [55.0, 441.0, 1234.5, 9001.0, 20_000.0])
@pytest.mark.parametrize("name", sorted(ORACLES))
def test_wave_is_that_of_an_integral(name: str, hertz: float) -> None:
    step = hertz / RATE
    wanted = ORACLES[name](np.arange(4800) * step, step)
    made = run(getattr(dsp, name)(frequency=hertz, level=1.0), SILENCE)[:, 0]
    np.testing.assert_allclose(made, wanted, atol=2e-6)


@pytest.mark.parametrize("width", [0.0625, 0.1, 0.5, 0.7, 0.984375])
def test_pulse_of_any_width(width: float) -> None:
    width = float(np.float32(width))
    step = 1234.5 / RATE
    wanted = smooth_square(np.arange(4800) * step, step, width)
    made = run(dsp.square(frequency=1234.5, width=width, level=1.0), SILENCE)[:, 0]
    np.testing.assert_allclose(made, wanted, atol=2e-6)


def test_pulse_has_the_constant_part_that_its_page_says() -> None:
    made = run(dsp.square(frequency=480.0, width=0.25, level=0.8), SILENCE)
    assert float(made.mean()) == pytest.approx(0.8 * (2 * 0.25 - 1), abs=1e-6)


def test_width_moves_without_losing_the_beat() -> None:
    width = np.linspace(0.1, 0.9, len(SILENCE))
    made = run(dsp.square(frequency=100.0, level=1.0), SILENCE, width=width)[:, 0]
    rising = np.flatnonzero((made[:-1] < 0) & (made[1:] >= 0))
    assert set(np.diff(rising)) == {480}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_negative_frequency_runs_backwards(name: str) -> None:
    forwards = run(getattr(dsp, name)(frequency=441.0), SILENCE)[:, 0]
    backwards = run(getattr(dsp, name)(frequency=-441.0), SILENCE)[:, 0]
    sign = 1.0 if name == "square" else -1.0  # the others are odd
    phase = np.arange(len(SILENCE)) * 441.0 / RATE
    if name == "square":
        forwards = 0.5 * smooth_square(-phase, 441.0 / RATE)
    np.testing.assert_allclose(backwards, sign * forwards, atol=2e-6)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_frequency_zero_stands_still(name: str) -> None:
    made = run(getattr(dsp, name)(frequency=0.0), SILENCE)
    assert np.isfinite(made).all()
    assert (made == made[0]).all()


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_frequency_from_zero_crossings(name: str) -> None:
    made = run(getattr(dsp, name)(frequency=440.0), np.zeros(RATE), blocks=(1024,))[:, 0]
    made = np.convolve(made, [0.25, 0.5, 0.25], "same")  # a jump, too, crosses on a slope
    before = np.flatnonzero((made[:-1] < 0) & (made[1:] >= 0))
    if name == "saw":  # it rises slowly: take where it falls
        before = np.flatnonzero((made[:-1] > 0) & (made[1:] <= 0))
    places = before + made[before] / (made[before] - made[before + 1])
    slope = np.polyfit(np.arange(len(places)), places, 1)[0]
    assert RATE / slope == pytest.approx(440.0, rel=1e-5)


def test_frequency_modulation_keeps_the_phase() -> None:
    time = np.arange(len(SILENCE)) / RATE
    hertz = (1000.0 + 1500.0 * np.sin(2 * np.pi * 220.0 * time)).astype(np.float32)
    phase = np.concatenate([[0.0], np.cumsum(hertz.astype(np.float64))[:-1]]) / RATE
    made = run(dsp.sine(level=1.0), SILENCE, frequency=hertz)[:, 0]
    np.testing.assert_allclose(made, np.sin(2 * np.pi * phase), atol=1e-6)


def test_frequency_jumps_without_a_click() -> None:
    hertz = np.where(np.arange(len(SILENCE)) < 2000, 300.0, 500.0)
    made = run(dsp.sine(level=1.0), SILENCE, frequency=hertz)[:, 0]
    assert np.abs(np.diff(made)).max() <= 2 * np.pi * 500.0 / RATE


def test_level_moves_in_each_frame() -> None:
    level = np.linspace(0.0, 1.0, len(SILENCE), dtype=np.float32)
    steady = run(dsp.triangle(level=1.0), SILENCE)[:, 0]
    moved = run(dsp.triangle(), SILENCE, level=level)[:, 0]
    np.testing.assert_allclose(moved, level * steady, atol=1e-7)


def naive(name: str, phase: np.ndarray) -> np.ndarray:
    x = (phase + 0.1234) % 1.0  # not on a jump
    if name == "triangle":
        return 4.0 * np.abs(x - 0.5) - 1.0
    return 2.0 * x - 1.0 if name == "saw" else np.where(x < 0.5, 1.0, -1.0)


@pytest.mark.parametrize(
    ("name", "better"), [("saw", 25.0), ("square", 25.0), ("triangle", 25.0)]
)
def test_aliases_below_10_khz_are_weaker_than_naive_ones(name: str, better: float) -> None:
    # All partials of 5 kHz at 48 kHz, and all aliases, fall on whole kHz: 100 periods of 48.
    step = 5000.0 / RATE
    made = run(getattr(dsp, name)(frequency=5000.0, level=1.0), SILENCE)[:, 0]
    lines = spectrum(made)[::100]
    rough = spectrum(naive(name, np.arange(4800) * step))[::100]
    aliases = [k for k in range(1, 10) if k % 5 and rough[k] > 1e-4]
    assert len(aliases) >= 4
    assert (db(lines[aliases]) < db(rough[aliases]) - better).all()
    assert db(lines[5] / rough[5]) > -0.7  # while the tone itself stays


def test_saw_has_the_partials_of_a_saw() -> None:
    made = run(dsp.saw(frequency=100.0, level=1.0), SILENCE)[:, 0]
    lines = spectrum(made)[10:101:10]
    np.testing.assert_allclose(db(lines), db(2 / np.pi / np.arange(1, 11)), atol=0.05)
