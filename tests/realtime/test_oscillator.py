"""The compiled sine beside its plain form and beside math.sin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from audiostream.engine.memory import records
from audiostream.realtime.memory.unit_layout import SINE
from tests.realtime.rig import PLAIN, Form, Guarded, compiled


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


def waves(form: Form, state: Any, frames: int) -> np.ndarray:
    """The next frames, float32 (frames, channels)."""
    channels = int(state[0]["channels"])
    target = Guarded(frames * channels, np.float32)
    form.sine(int(state.ctypes.data), target.address, frames)
    target.check()
    return np.array(target.array.reshape(frames, channels))


def set_phase(state: Any, phase: float, turn: float) -> None:
    """Angles in radians: of the next frame, and from one to the next."""
    state[0]["sine"], state[0]["cosine"] = math.sin(phase), math.cos(phase)
    state[0]["turn_sine"], state[0]["turn_cosine"] = math.sin(turn), math.cos(turn)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(("phase", "turn"), [(0.0, 0.05), (1.0, 3.0), (2.5, 0.0), (6.0, 1e-6)])
def test_it_is_the_sine(form: Form, phase: float, turn: float, channels: int) -> None:
    state = records(SINE, 1)
    state[0]["level"] = state[0]["goal"] = 0.75
    state[0]["channels"] = channels
    set_phase(state, phase, turn)
    wave = waves(form, state, 1024)
    wanted = 0.75 * np.sin(phase + turn * np.arange(1024))
    np.testing.assert_allclose(wave, np.repeat(wanted[:, None], channels, axis=1), atol=4e-8)


def test_a_ramp_goes_on_from_block_to_block_and_ends_on_its_goal(form: Form) -> None:
    state = records(SINE, 1)
    state[0]["channels"] = 1
    state[0]["level"], state[0]["goal"] = 0.2, 1.0
    state[0]["ramp_left"], state[0]["step"] = 100, 0.8 / 100
    blocks = []
    for frames in (30, 50, 40, 7):
        set_phase(state, math.pi / 2, 0.0)  # 1, all the time
        blocks.append(waves(form, state, frames))
    levels = np.concatenate(blocks)[:, 0]
    wanted = 0.2 + 0.008 * np.minimum(np.arange(1, 128), 100)
    np.testing.assert_allclose(levels, wanted, atol=1e-7)
    assert (levels[100:] == np.float32(1.0)).all()
    assert int(state[0]["ramp_left"]) == 0
    assert float(state[0]["level"]) == 1.0


def test_both_forms_agree_to_the_bit() -> None:
    found = []
    for form in (PLAIN, compiled()):
        state = records(SINE, 1)
        state[0]["channels"] = 2
        state[0]["level"], state[0]["goal"] = 0.9, 0.1
        state[0]["ramp_left"], state[0]["step"] = 300, -0.8 / 300
        set_phase(state, 0.3, 0.0626)
        found.append((waves(form, state, 256), waves(form, state, 256), state.tobytes()))
    for plain, machine in zip(*found, strict=True):
        assert bytes(plain) == bytes(machine)
