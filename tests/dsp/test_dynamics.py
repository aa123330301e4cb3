"""Compressor, limiter and gate: their static curves, their times, their promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiostream import dsp
from tests.dsp.support import RATE, Runner, db, noise, run

# --- compressor --------------------------------------------------------------------------


def curve(level_db: float, threshold: float, ratio: float, knee: float) -> float:
    """Output level of a compressor in dB: three straight lines and a parabola."""
    if level_db > threshold + knee / 2:
        return threshold + (level_db - threshold) / ratio
    if level_db <= threshold - knee / 2:
        return level_db
    return level_db + (1 / ratio - 1) * (level_db - threshold + knee / 2) ** 2 / (2 * knee)


@pytest.mark.parametrize(("ratio", "knee"), [(2.0, 0.0), (4.0, 6.0), (100.0, 20.0)])
@pytest.mark.parametrize("level_db", [-60.0, -30.5, -28.0, -20.0, -19.9, -12.0, -3.0, 0.0])
def test_static_curve(level_db: float, ratio: float, knee: float) -> None:
    fx = dsp.compressor(threshold_db=-20, ratio=ratio, knee_db=knee, attack=0.001)
    made = run(fx, np.full(9600, 10 ** (level_db / 20)))[:, 0]
    assert db(made[-1]) == pytest.approx(curve(level_db, -20.0, ratio, knee), abs=0.01)


def test_static_curve_of_a_sine() -> None:
    time = np.arange(2 * RATE) / RATE
    fx = dsp.compressor(threshold_db=-20, ratio=4, knee_db=0, attack=0.01, release=1.0)
    made = run(fx, 0.5 * np.sin(2 * np.pi * 1000.0 * time), blocks=(1024,))[:, 0]
    wanted = curve(float(db(0.5)), -20.0, 4.0, 0.0)
    assert db(np.abs(made[-4800:]).max()) == pytest.approx(wanted, abs=0.1)


def test_attack_and_release_take_their_times() -> None:
    level = np.full(2 * RATE, 0.01)
    level[4800:RATE] = 1.0
    fx = dsp.compressor(threshold_db=-20, ratio=4, knee_db=0, attack=0.02, release=0.3)
    made = run(fx, level, blocks=(1024,))[:, 0]
    reduction = -db(made / level)
    full = 20.0 * (1 - 1 / 4)
    attack = int(np.flatnonzero(reduction > full * (1 - np.exp(-1)))[0]) - 4800
    assert attack / RATE == pytest.approx(0.02, abs=2 / RATE)
    # A release passes through the smoothing of the attack, too: two exponentials.
    t = np.arange(RATE) / RATE
    wanted = (0.3 * np.exp(-t / 0.3) - 0.02 * np.exp(-t / 0.02)) / (0.3 - 0.02)
    np.testing.assert_allclose(reduction[RATE:], full * wanted, atol=0.01)


def test_compressor_is_the_papers_detector() -> None:
    given = noise(3000)[:, 0] * np.geomspace(0.01, 1.0, 3000)
    attack, release = (float(np.exp(-1 / (t * RATE))) for t in (0.003, 0.03))
    first = second = 0.0
    wanted = []
    for x in given:
        level = float(db(x))
        over = level - curve(level, -20.0, 4.0, 6.0)
        first = max(over, release * first + (1 - release) * over)
        second = attack * second + (1 - attack) * first
        wanted.append(x * 10 ** ((3.0 - second) / 20))
    fx = dsp.compressor(threshold_db=-20, attack=0.003, release=0.03, makeup_db=3)
    np.testing.assert_allclose(run(fx, given)[:, 0], wanted, atol=1e-6)


def test_compressor_leaves_what_is_quiet() -> None:
    given = 0.05 * noise(2000, 2)
    assert (run(dsp.compressor(threshold_db=-20, knee_db=5), given) == given).all()


@pytest.mark.parametrize("name", ["compressor", "limiter", "gate"])
def test_all_channels_get_the_same_gain(name: str) -> None:
    given = noise(4800, 2) * [1.0, 0.01] * np.geomspace(0.01, 1.0, 4800)[:, None]
    fx = getattr(dsp, name)
    fx = fx(ceiling_db=-20) if name == "limiter" else fx(threshold_db=-20)
    late = 240 if name == "limiter" else 0
    made = run(fx, given)[late:]
    gains = made / given[: len(made)].astype(np.float32)
    np.testing.assert_allclose(gains[:, 0], gains[:, 1], rtol=1e-5)
    assert np.ptp(gains) > 0.1


def test_reduction_is_an_output() -> None:
    runner = Runner(dsp.compressor(threshold_db=-20, ratio=2, knee_db=0), 1, longest=9600)
    runner(np.ones((9600, 1), np.float32))
    assert runner.state.reduction_db == pytest.approx(10.0, abs=1e-3)


# --- limiter -----------------------------------------------------------------------------

LATE = 240
"""Frames of the default look-ahead, 5 ms."""


def brute_limiter(
    given: np.ndarray, ceiling: float, release: float, late: int, rate: int = RATE
) -> np.ndarray:
    """By its definition: each window looked through as a whole, in float64."""
    peaks = np.abs(given.astype(np.float64)).max(axis=1)
    cuts = np.where(peaks > ceiling, 1.0 - ceiling / np.maximum(peaks, 1e-9), 0.0)
    padded = np.concatenate([np.zeros(late), cuts])
    held = np.zeros(len(padded))
    letting_go = np.exp(-1.0 / (release * rate))
    for n in range(len(cuts)):
        largest = padded[n : n + late + 1].max()
        held[n + late] = max(largest, largest + (held[n + late - 1] - largest) * letting_go)
    gains = [1.0 - held[max(n, 0) : n + late + 1].sum() / (late + 1) for n in range(len(cuts))]
    delayed = np.concatenate([np.zeros((late, given.shape[1])), given])[: len(given)]
    return np.asarray(delayed * np.array(gains)[:, None])


@pytest.mark.parametrize("lookahead", [0.0, 1 / RATE, 0.001, 0.005])
def test_limiter_is_its_definition(lookahead: float) -> None:
    given = 3.0 * noise(3000, 2) * np.sin(np.arange(3000) / 300)[:, None] ** 8
    late = round(lookahead * RATE)
    wanted = brute_limiter(given.astype(np.float32), 10 ** (-6 / 20), 0.01, late)
    fx = dsp.limiter(ceiling_db=-6, release=0.01, lookahead=lookahead)
    np.testing.assert_allclose(run(fx, given), wanted, atol=3e-6)


def wild(kind: str, seed: int) -> np.ndarray:
    """What a limiter may fail on, float32 (frames, 2)."""
    random = np.random.default_rng(seed)
    frames = 6000
    n = np.arange(frames)
    if kind == "loud noise":
        given = random.normal(0.0, 10.0, (frames, 2))
    elif kind == "clicks":
        given = 0.1 * random.normal(size=(frames, 2))
        given[random.integers(0, frames, 60)] = random.choice([-50.0, 1.01, 1e6], (60, 2))
    elif kind == "one window apart":
        given = np.full((frames, 2), 0.9)
        given[:: LATE + seed % 3] = -1.5 - random.random()
    elif kind == "growing":
        given = np.exp(n / 500)[:, None] * random.choice([-1.0, 1.0], (frames, 2))
    elif kind == "falling":
        given = np.exp((frames - n) / 500)[:, None] * random.choice([-1.0, 1.0], (frames, 2))
    elif kind == "bursts":
        given = random.normal(size=(frames, 2)) * (4.0 * (n // 100 % 3 == 0))[:, None]
    elif kind == "huge":
        given = random.choice([-1e30, 1e30, 0.5], (frames, 2))
    else:
        given = np.where(random.random((frames, 2)) < 0.5, 1.0, np.nextafter(np.float32(1), 2))
    return given.astype(np.float32)


KINDS = (
    *("loud noise", "clicks", "one window apart", "growing"),
    *("falling", "bursts", "huge", "a hair above"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ceiling_db", [0.0, -0.3, -12.0])
def test_nothing_leaves_above_the_ceiling(kind: str, ceiling_db: float) -> None:
    for seed in range(4):
        for lookahead in (0.0, 0.005):
            fx = dsp.limiter(ceiling_db=ceiling_db, release=0.001 + seed, lookahead=lookahead)
            made = run(fx, wild(kind, seed), blocks=(1, 64, 7))
            assert float(np.abs(made).max()) <= 10 ** (ceiling_db / 20)
            assert np.isfinite(made).all()


@pytest.mark.parametrize("ceiling_db", np.linspace(-6.0, 0.0, 13).tolist())
def test_rounding_to_float32_stays_below_the_ceiling(ceiling_db: float) -> None:
    ceiling = 10 ** (ceiling_db / 20)
    given = ceiling * np.linspace(1.0, 1.01, 20_000)  # it grows: each frame is at the ceiling
    made = run(dsp.limiter(ceiling_db=ceiling_db, lookahead=0.0), given)
    assert float(np.abs(made).max()) <= ceiling


def test_ceiling_holds_while_it_moves() -> None:
    ceiling = np.repeat(np.random.default_rng(0).uniform(-20.0, 0.0, 200), 30)
    given = wild("loud noise", 9)
    made = run(dsp.limiter(), given, blocks=(30,), ceiling_db=ceiling)
    late = np.concatenate([np.zeros(LATE), ceiling])[: len(made)]  # it comes with its frame
    assert (np.abs(made.astype(np.float64)) <= 10 ** (late[:, None] / 20)).all()


def test_below_the_ceiling_nothing_changes_but_the_time() -> None:
    given = np.clip(noise(5000, 2), -0.96, 0.96)
    made = run(dsp.limiter(), given)
    assert not made[:LATE].any()
    assert (made[LATE:] == given[:-LATE]).all()


def test_gain_returns_to_exactly_1() -> None:
    given = 0.9 * noise(2 * RATE, 2)
    given[1000:5000] *= 20.0
    made = run(dsp.limiter(), given, blocks=(1024,))
    assert (
        made[: 1000 - LATE] == np.concatenate([np.zeros((LATE, 2)), given])[: 1000 - LATE]
    ).all()
    assert (made[RATE + LATE :] == given[RATE:-LATE]).all()


def test_gain_moves_in_straight_lines_before_a_peak() -> None:
    given = np.full(3000, 0.5)
    given[1000] = 2.0
    made = run(dsp.limiter(ceiling_db=0, release=5.0), given)[:, 0]
    gains = made[1000 : 1000 + LATE] / 0.5
    np.testing.assert_allclose(np.diff(gains, 2), 0.0, atol=1e-5)
    assert gains[0] == pytest.approx(1.0, abs=0.003)
    assert made[1000 + LATE] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_latency_is_the_look_ahead(rate: int) -> None:
    fx = dsp.limiter(lookahead=0.0033)
    assert fx._memory(rate, 1, 1).latency == round(0.0033 * rate)
    given = np.zeros(1000)
    given[0] = 0.5
    assert int(np.argmax(run(fx, given, rate))) == round(0.0033 * rate)


def test_reduction_of_a_limiter_is_an_output() -> None:
    runner = Runner(dsp.limiter(ceiling_db=-6), 1, longest=4800)
    runner(np.ones((4800, 1), np.float32))
    assert runner.state.reduction_db == pytest.approx(6.0, abs=1e-4)
    runner(np.zeros((4800, 1), np.float32))
    assert 0.0 < runner.state.reduction_db < 6.0


# --- gate --------------------------------------------------------------------------------


def gain_of_gate(level: np.ndarray, **values: Any) -> np.ndarray:
    return run(dsp.gate(**values), level, blocks=(480, 1, 33))[:, 0] / level.astype(np.float32)


def test_gate_opens_holds_and_closes() -> None:
    level = np.full(RATE, 0.001)
    level[4800:9600] = 0.5
    gain = gain_of_gate(
        level, threshold_db=-20, attack=0.005, hold=0.1, release=0.05, range_db=40
    )
    n = np.arange(RATE)
    opening = 1.0 - (1.0 - gain[4799]) * np.exp(-(n + 1) / (0.005 * RATE))
    np.testing.assert_allclose(gain[4800:9600], opening[:4800], atol=1e-5)
    held = 9600 + int(0.1 * RATE)
    np.testing.assert_allclose(gain[7000:held], 1.0, atol=2e-4)
    closing = 0.01 + 0.99 * np.exp(-(n + 1) / (0.05 * RATE))
    np.testing.assert_allclose(gain[held:], closing[: RATE - held], atol=1e-5)


def test_closed_gate_turns_down_by_its_range() -> None:
    gain = gain_of_gate(np.full(RATE, 0.001), threshold_db=-20, range_db=30)
    assert db(gain[-1]) == pytest.approx(-30.0, abs=0.01)


def test_open_gate_changes_nothing() -> None:
    given = np.full(RATE, 0.5)
    assert (run(dsp.gate(), given)[RATE // 2 :, 0] == 0.5).all()


def test_peak_at_the_threshold_opens() -> None:
    for level_db, opens in ((-20.0 + 1e-4, True), (-20.0 - 1e-4, False)):
        gain = gain_of_gate(np.full(RATE, 10 ** (level_db / 20)), threshold_db=-20)
        assert (gain[-1] > 0.99) == opens


def test_gain_of_a_gate_is_an_output() -> None:
    runner = Runner(dsp.gate(), 1, longest=4800)
    runner(np.ones((4800, 1), np.float32))
    assert runner.state.gain == pytest.approx(1.0)
