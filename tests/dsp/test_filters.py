"""Filters: against the analogue ones that they stand for, and the cookbook's landmarks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream import dsp
from tests.dsp.support import RATE, db, noise, run

FRAMES = 1 << 14

Prototype = Callable[[Any, float, float], Any]


def low_shelf(s: Any, q: float, a: float) -> Any:
    b = math.sqrt(a) / q * s
    return a * (s * s + b + a) / (a * s * s + b + 1)


def high_shelf(s: Any, q: float, a: float) -> Any:
    b = math.sqrt(a) / q * s
    return a * (a * s * s + b + 1) / (s * s + b + a)


PROTOTYPES: dict[str, Prototype] = {
    "lowpass": lambda s, q, a: 1 / (s * s + s / q + 1),
    "highpass": lambda s, q, a: s * s / (s * s + s / q + 1),
    "bandpass": lambda s, q, a: s / q / (s * s + s / q + 1),
    "notch": lambda s, q, a: (s * s + 1) / (s * s + s / q + 1),
    "allpass": lambda s, q, a: (s * s - s / q + 1) / (s * s + s / q + 1),
    "peaking": lambda s, q, a: (s * s + s * a / q + 1) / (s * s + s / (a * q) + 1),
    "lowshelf": low_shelf,
    "highshelf": high_shelf,
}
"""H(s) of the cookbook's analogue filters, s = 1 at the frequency, A = 10^(dB / 40)."""

CASES = [(250.0, 0.5), (1000.0, math.sqrt(0.5)), (3000.0, 4.0), (17_000.0, 1.0)]


def with_gain(name: str, gain_db: float) -> dict[str, float]:
    return {"gain_db": gain_db} if name in ("peaking", "lowshelf", "highshelf") else {}


def warped(hertz: Any, corner: float, rate: float = RATE) -> Any:
    """Where the bilinear transform puts frequencies on the analogue axis."""
    return 1j * np.tan(np.pi * hertz / rate) / math.tan(math.pi * corner / rate)


def impulse_response(fx: Any, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and the response measured there."""
    impulse = np.zeros(FRAMES)
    impulse[0] = 1.0
    made = run(fx, impulse, rate, blocks=(1024,))[:, 0]
    assert abs(made[-1]) < 1e-12
    return np.fft.rfftfreq(FRAMES, 1 / rate), np.fft.rfft(made.astype(np.float64))


@pytest.mark.parametrize(("frequency", "q"), CASES)
@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_response_is_the_analogue_ones(name: str, frequency: float, q: float) -> None:
    fx = getattr(dsp, name)(frequency=frequency, q=q, **with_gain(name, 9.0))
    hertz = np.geomspace(10.0, 23_900.0, 500)
    wanted = PROTOTYPES[name](warped(hertz, frequency), q, 10 ** (9 / 40))
    np.testing.assert_allclose(fx.response(hertz, RATE), wanted, atol=1e-9)


@pytest.mark.parametrize(("frequency", "q"), CASES)
@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_measured_response_is_the_declared_one(name: str, frequency: float, q: float) -> None:
    fx = getattr(dsp, name)(frequency=frequency, q=q, **with_gain(name, -9.0))
    hertz, measured = impulse_response(fx)
    np.testing.assert_allclose(measured, fx.response(hertz, RATE), atol=1e-6)


def gain_at(fx: Any, hertz: float, rate: int = RATE) -> float:
    return float(db(fx.response([hertz], rate))[0])


@pytest.mark.parametrize("rate", [8000, 48000, 96000])
def test_landmarks_of_the_cookbook(rate: int) -> None:
    root = math.sqrt(0.5)
    for kernel in (dsp.lowpass, dsp.highpass):
        assert gain_at(kernel(frequency=1000, q=root), 1000, rate) == pytest.approx(-3.0103)
        assert gain_at(kernel(frequency=1000, q=4), 1000, rate) == pytest.approx(12.0412)
    assert gain_at(dsp.lowpass(frequency=1000), 1, rate) == pytest.approx(0.0, abs=1e-3)
    assert gain_at(dsp.highpass(frequency=1000), 1, rate) == pytest.approx(-120.0, abs=1.0)
    assert gain_at(dsp.bandpass(frequency=1000, q=5), 1000, rate) == pytest.approx(0.0)
    assert gain_at(dsp.notch(frequency=1000, q=5), 1000, rate) < -200.0
    for gain in (-12.0, 6.0):
        fx = dsp.peaking(frequency=1000, q=2, gain_db=gain)
        assert gain_at(fx, 1000, rate) == pytest.approx(gain)
        assert gain_at(fx, 1, rate) == pytest.approx(0.0, abs=1e-3)
        fx = dsp.lowshelf(frequency=1000, gain_db=gain)
        assert gain_at(fx, 1, rate) == pytest.approx(gain, abs=1e-3)
        assert gain_at(fx, 1000, rate) == pytest.approx(gain / 2)
        assert gain_at(fx, 0.4999 * rate, rate) == pytest.approx(0.0, abs=1e-3)
        fx = dsp.highshelf(frequency=1000, gain_db=gain)
        assert gain_at(fx, 1, rate) == pytest.approx(0.0, abs=1e-3)
        assert gain_at(fx, 1000, rate) == pytest.approx(gain / 2)
        assert gain_at(fx, 0.4999 * rate, rate) == pytest.approx(gain, abs=1e-3)


def test_bandwidth_of_bandpass_and_notch_is_frequency_over_q() -> None:
    corner, q = 500.0, 5.0  # far below the rate, where hardly anything is warped
    width = corner / q
    edges = np.sqrt(corner**2 + width**2 / 4) + np.array([-0.5, 0.5]) * width
    for kernel in (dsp.bandpass, dsp.notch):
        gains = db(kernel(frequency=corner, q=q).response(edges, RATE))
        np.testing.assert_allclose(gains, -3.01, atol=0.02)


def test_allpass_turns_half_a_circle_at_its_frequency() -> None:
    response = dsp.allpass(frequency=1000, q=2).response([10, 1000, 20_000], RATE)
    np.testing.assert_allclose(np.abs(response), 1.0)
    assert response[1] == pytest.approx(-1.0)


def test_gain_of_0_db_changes_nothing() -> None:
    given = noise(1000)
    for kernel in (dsp.peaking, dsp.lowshelf, dsp.highshelf):
        np.testing.assert_allclose(run(kernel(), given), given, atol=1e-6)


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_frequency_above_half_the_rate_stays_stable(name: str) -> None:
    fx = getattr(dsp, name)(frequency=20_000, q=10.0, **with_gain(name, 20.0))
    made = run(fx, noise(8000), 8000, blocks=(1024,))
    assert np.abs(made).max() < 200.0


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_frequency_that_moves_on_ramps_stays_bounded(name: str) -> None:
    goals = np.random.default_rng(3).uniform(100.0, 10_000.0, 101)
    ramps = np.linspace(
        goals[:-1], goals[1:], 30, endpoint=False
    )  # 20 ms, in steps of 32 frames
    moves = np.repeat(ramps.T.ravel(), 32)
    fx = getattr(dsp, name)(q=2.0, **with_gain(name, 6.0))
    for given in (noise(len(moves)), np.sin(np.arange(len(moves)) * 440.0 * 2 * np.pi / RATE)):
        made = run(fx, given, blocks=(32,), frequency=moves)
        assert 0.1 < np.abs(made).max() < 6.0


# --- the state-variable filter -----------------------------------------------------------

MIXES: dict[str, tuple[dict[str, float], str]] = {
    "low": ({}, "lowpass"),
    "band": ({"low": 0.0, "band": 1.0}, "bandpass"),
    "high": ({"low": 0.0, "high": 1.0}, "highpass"),
    "notch": ({"high": 1.0}, "notch"),
    "all": ({"band": -1.0, "high": 1.0}, "allpass"),
}


@pytest.mark.parametrize("cutoff", [200.0, 1000.0, 15_000.0])
@pytest.mark.parametrize("mix", sorted(MIXES))
def test_svf_is_the_analogue_filter(mix: str, cutoff: float) -> None:
    given, name = MIXES[mix]
    fx = dsp.svf(cutoff=cutoff, resonance=0.75, **given)
    hertz, measured = impulse_response(fx)
    hertz, measured = hertz[:-1], measured[:-1]  # at half the rate the tangent is infinite
    wanted = PROTOTYPES[name](warped(hertz, cutoff), 2.0, 1.0)  # Q = 1 / (2 - 2 * 0.75)
    np.testing.assert_allclose(measured, wanted, atol=1e-6)
    np.testing.assert_allclose(fx.response(hertz, RATE), wanted, atol=1e-9)


def test_svf_is_the_biquad_while_it_stands_still() -> None:
    given = noise(4800, 2)
    made = run(dsp.svf(cutoff=2500, resonance=0.5), given)
    np.testing.assert_allclose(made, run(dsp.lowpass(frequency=2500, q=1.0), given), atol=1e-6)


def test_svf_stays_stable_while_it_is_modulated_hard() -> None:
    random = np.random.default_rng(1)
    cutoff = np.exp(random.uniform(np.log(10.0), np.log(20_000.0), 2 * RATE))
    given = noise(2 * RATE)
    given[RATE:] = 0.0
    fx = dsp.svf(resonance=0.9)
    made = run(fx, given, blocks=(1024,), cutoff=cutoff)
    assert np.abs(made).max() < 20.0
    assert np.abs(made[-1000:]).max() < 1e-6


def test_svf_may_jump() -> None:
    """A filter in direct form peaks at 20 times the sine here, and more."""
    given = np.sin(np.arange(RATE) * 440.0 * 2 * np.pi / RATE)
    cutoff = np.where(np.arange(RATE) // 960 % 2, 100.0, 10_000.0)
    assert np.abs(run(dsp.svf(resonance=0.75), given, cutoff=cutoff)).max() < 2.0


def test_svf_moves_its_cutoff_in_each_frame() -> None:
    cutoff = np.geomspace(100.0, 10_000.0, RATE)
    time = np.arange(RATE) / RATE
    made = run(dsp.svf(), np.sin(2 * np.pi * 1000.0 * time), cutoff=cutoff)[:, 0]

    def peak(start: int) -> float:
        return float(np.abs(made[start : start + 480]).max())

    for start in (4800, 24_000, 43_000):
        steady = abs(
            PROTOTYPES["lowpass"](warped(1000.0, float(cutoff[start + 240])), 1 / 1.4, 1)
        )
        assert peak(start) == pytest.approx(steady, rel=0.05)
