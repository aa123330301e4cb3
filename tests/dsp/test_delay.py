"""The delay: its times, its repetitions, its interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from audiostream import dsp
from audiostream.dsp.delay_line import hermite
from tests.dsp.support import RATE, noise, run


def impulse(frames: int) -> np.ndarray:
    made = np.zeros(frames)
    made[0] = 1.0
    return made


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize("seconds", [0.001, 0.0125, 0.3, 1.0])
def test_time_is_exact_to_a_frame(seconds: float, rate: int) -> None:
    frames = round(seconds * rate)
    fx = dsp.delay(seconds=seconds, feedback=0.0, mix=1.0)
    made = run(fx, impulse(frames + 100), rate, blocks=(1024,))[:, 0]
    place = np.arange(len(made)) @ made.astype(np.float64)  # its centre
    assert place == pytest.approx(seconds * rate, abs=0.01)
    if frames == pytest.approx(seconds * rate):
        assert made[frames] == pytest.approx(1.0, abs=0.01)


def test_repetitions_are_those_of_a_plain_line() -> None:
    given = noise(5000, 2).astype(np.float64)
    frames, feedback, mix = 480, 0.6, 0.3
    line = np.concatenate([np.zeros((frames, 2)), given])
    wanted = np.empty_like(given)
    for n in range(len(given)):  # line[n] went in `frames` frames before line[n + frames]
        line[n + frames] += feedback * line[n]
        wanted[n] = (1 - mix) * given[n] + mix * line[n]
    fx = dsp.delay(seconds=0.01, feedback=feedback, mix=mix)
    np.testing.assert_allclose(run(fx, given), wanted, atol=1e-3)


def test_repetitions_fade_by_the_feedback() -> None:
    made = run(dsp.delay(seconds=0.01, feedback=-0.5, mix=1.0), impulse(3000))[:, 0]
    peaks = [made[480 * k - 2 : 480 * k + 3].sum() for k in range(1, 6)]
    assert peaks == pytest.approx([1.0, -0.5, 0.25, -0.125, 0.0625], abs=1e-4)


def test_mix_of_0_is_the_sound_alone() -> None:
    given = noise(2000, 2)
    assert (run(dsp.delay(mix=0.0, seconds=0.01), given) == given).all()


@pytest.mark.parametrize(("asked", "longest", "used"), [(0.05, 0.05, 2400), (0.0, 0.05, 2)])
def test_time_is_kept_within_the_line(asked: float, longest: float, used: int) -> None:
    fx = dsp.delay(seconds=asked, feedback=0.0, mix=1.0, longest=longest)
    made = run(fx, impulse(3000))[:, 0]
    assert int(np.argmax(made)) == used


def test_line_of_no_length_still_works() -> None:
    made = run(dsp.delay(seconds=0.0, longest=0.0, feedback=0.0, mix=1.0), impulse(10))[:, 0]
    assert int(np.argmax(made)) == 2


def test_moving_time_is_a_moving_phase() -> None:
    time = np.arange(RATE) / RATE
    seconds = (0.01 + 0.005 * np.sin(2 * np.pi * 3.0 * time)).astype(np.float32)
    given = np.sin(2 * np.pi * 500.0 * time)
    made = run(dsp.delay(feedback=0.0, mix=1.0), given, seconds=seconds)[:, 0]
    wanted = np.sin(2 * np.pi * 500.0 * (time - seconds.astype(np.float64)))
    np.testing.assert_allclose(made[1000:], wanted[1000:], atol=1e-4)


def test_interpolation_never_amplifies() -> None:
    angle = np.linspace(0.0, np.pi, 200)
    for part in np.linspace(0.0, 1.0, 21):
        taps = [hermite(*np.eye(4)[k], part) for k in range(4)]  # of frames -1, 0, 1, 2
        response = sum(tap * np.exp(-1j * k * angle) for k, tap in enumerate(taps))
        assert np.abs(response).max() <= 1.0 + 1e-12


def test_feedback_stays_bounded_while_the_time_jumps() -> None:
    random = np.random.default_rng(2)
    seconds = random.uniform(0.0, 0.1, 2 * RATE)
    given = noise(2 * RATE)
    made = run(dsp.delay(feedback=0.9, mix=1.0), given, seconds=seconds, blocks=(1024,))
    assert np.abs(made).max() < 20.0


def test_tail_is_the_longest_silence_between_repetitions() -> None:
    fx = dsp.delay(longest=2.5)
    assert fx._memory(RATE, 1, 1).tail == 2.5
