"""The envelope: its times, its curves, its gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiostream import dsp
from tests.dsp.support import RATE, Runner, run

ONES = np.ones((RATE, 1), np.float32)


def envelope(gate: Any = 1.0, frames: int = RATE, **values: float) -> np.ndarray:
    gate = np.broadcast_to(np.asarray(gate, np.float32), frames)
    return run(dsp.adsr(**values), ONES[:frames], gate=gate, blocks=(480, 1, 33))[:, 0]


def first(places: np.ndarray) -> int:
    return int(np.flatnonzero(places)[0])


def test_times_of_the_stages() -> None:
    gate = np.arange(RATE) < 0.5 * RATE
    made = envelope(gate, attack=0.1, decay=0.2, sustain=0.4, release=0.3)
    assert first(made == 1.0) == pytest.approx(0.1 * RATE, rel=0.01)
    after = np.arange(RATE) > 0.1 * RATE
    assert first((made == np.float32(0.4)) & after) == pytest.approx(0.3 * RATE, rel=0.01)
    assert made[int(0.3 * RATE) + 2 : int(0.5 * RATE)] == pytest.approx(0.4)
    end = first((made == 0.0) & (np.arange(RATE) > 0.5 * RATE))
    assert end - 0.5 * RATE == pytest.approx(0.3 * RATE, rel=0.01)
    assert not made[end:].any()


def test_curves_are_those_of_a_capacitor() -> None:
    gate = np.arange(RATE) < 0.5 * RATE
    made = envelope(gate, attack=0.1, decay=0.2, sustain=0.4, release=0.3)
    n = np.arange(1, RATE + 1)
    attack = 1.3 * (1.0 - (0.3 / 1.3) ** (n / (0.1 * RATE)))
    np.testing.assert_allclose(made[:4700], attack[:4700], atol=1e-6)
    fall = 1.001 * (0.001 / 1.001) ** (n / (0.2 * RATE)) - 0.001
    begin = first(made == 1.0) + 1
    np.testing.assert_allclose(made[begin : begin + 9500], 0.4 + 0.6 * fall[:9500], atol=1e-6)
    fall = 1.001 * (0.001 / 1.001) ** (n / (0.3 * RATE)) - 0.001
    np.testing.assert_allclose(made[24000:38000], 0.4 * fall[:14000], atol=1e-6)


def test_release_takes_its_time_from_any_level() -> None:
    for opened in (0.02, 0.05, 0.3):  # in the attack, in the decay, in the sustain
        frames = int(opened * RATE)
        made = envelope(
            np.arange(RATE) < frames, attack=0.04, decay=0.1, sustain=0.2, release=0.25
        )
        end = first((made == 0.0) & (np.arange(RATE) > frames))
        assert end - frames == pytest.approx(0.25 * RATE, rel=0.01)


def test_retrigger_does_not_click() -> None:
    n = np.arange(RATE)
    gate = ~((n >= 9000) & (n < 10000)) & ~(n == 20000)  # a pause, and a gap of one frame
    made = envelope(gate, attack=0.01, decay=0.1, sustain=0.7, release=0.05)
    steepest = 1.3 * np.log(1.3 / 0.3) / (0.01 * RATE)  # the first frame of an attack from 0
    assert np.abs(np.diff(made)).max() <= steepest * 1.001
    assert 0.0 < made[9999] < 0.7
    assert made[10000:10481].max() == 1.0  # it has attacked again, each time
    assert made[20001:20482].max() == 1.0


def test_gate_acts_on_its_exact_frame() -> None:
    made = envelope(np.arange(RATE) >= 12345, attack=0.0)
    assert first(made > 0.0) == 12345
    assert made[12345] == 1.0


def test_closed_gate_is_silence() -> None:
    assert not envelope(0.0, 4800).any()


def test_no_decay_to_a_full_sustain_and_no_sustain_at_all() -> None:
    full = envelope(1.0, 9600, attack=0.01, decay=0.1, sustain=1.0)
    assert (full[481:] == 1.0).all()
    none = envelope(1.0, 9600, attack=0.01, decay=0.1, sustain=0.0)
    assert first((none == 0.0) & (np.arange(9600) > 480)) == pytest.approx(
        0.11 * RATE, rel=0.01
    )
    assert not none[5400:].any()


def test_sustain_moves_while_it_is_held() -> None:
    sustain = np.linspace(0.2, 0.9, RATE, dtype=np.float32)
    made = run(dsp.adsr(attack=0.001, decay=0.01), ONES, sustain=sustain)[:, 0]
    np.testing.assert_allclose(made[1000:], sustain[1000:], atol=1e-7)
    assert np.abs(np.diff(made[600:])).max() < 1e-4


def test_output_is_the_last_value() -> None:
    runner = Runner(dsp.adsr(attack=0.01, release=0.01), 1, longest=480)
    block = np.ones((240, 1), np.float32)
    runner(block)
    assert runner.state.envelope == pytest.approx(float(block[-1, 0]))
    assert 0.0 < runner.state.envelope < 1.0
    runner(np.ones((480, 1), np.float32), gate=np.zeros(480))
    runner(np.ones((4, 1), np.float32), gate=np.zeros(4))
    assert runner.state.envelope == 0.0


def test_all_channels_get_the_same_envelope() -> None:
    given = np.random.default_rng(0).uniform(0.5, 1.0, (2000, 6)).astype(np.float32)
    made = run(dsp.adsr(), given)
    alone = run(dsp.adsr(), ONES[:2000])
    np.testing.assert_allclose(made, given * alone, atol=1e-7)
