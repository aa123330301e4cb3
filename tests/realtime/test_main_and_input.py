"""Effects of a whole mix and of an input, in both forms of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from audiostream.realtime.memory.layout import GROUP
from tests.realtime.nodes import Node, attach, times
from tests.realtime.rig import PLAIN, Form, Rig, compiled
from tests.realtime.test_node_levels import late


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


DATA = np.random.default_rng(5).uniform(-0.4, 0.4, (2, 900)).astype(np.float32)


def bus(rig: Rig, slot: int) -> int:
    """Address of a group whose strip is in a slot."""
    record = rig._memory(1, GROUP)
    record.array[0]["voice"] = rig.voice_address(slot)
    record.array[0]["block"] = rig._memory(rig.slice * rig.channels, np.float32).address
    record.array[0]["sounding"] = rig._memory(rig.slice + 1, np.int64).address
    record.array[0]["frame"] = -1
    strip = rig.table[slot]
    strip["bus"], strip["sounding"], strip["transport"] = record.address, 1, opcodes.PLAYING
    return record.address


def mixing(form: Form) -> Rig:
    """A voice, one in a group (slot 2), and the strip of the mix (slot 3)."""
    rig = Rig(form, voices=4, capacity=1024)
    group, main = bus(rig, 2), bus(rig, 3)
    plan = rig._memory(3, np.int64)
    plan.array[:] = [1, main, group]
    rig.set("plan", plan.address)
    rig.table[1]["group"] = group
    for slot in range(2):
        rig.write(DATA[slot], slot)
        rig.play(slot)
    return rig


def squares(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
    samples[:] = samples * samples


# --- the whole mix ---------------------------------------------------------------------


def test_the_strip_of_the_mix_gets_all_voices_and_groups(form: Form) -> None:
    rig = mixing(form)
    played = np.concatenate([rig.render(frames) for frames in (64, 100)])[:, 0]
    np.testing.assert_array_equal(played, DATA[0, :164] + DATA[1, :164])
    attach(rig, Node(rig, 7, squares), slot=3)
    rig.gain(0.5, 0, slot=3)  # after the effects
    rig.render(1)
    played = rig.render(64)[:, 1]
    wanted = 0.5 * np.square(DATA[0, 165:229] + DATA[1, 165:229])
    np.testing.assert_allclose(played, wanted, atol=1e-6)
    rig.check()


def test_commands_of_the_mix_come_on_their_frame(form: Form) -> None:
    rig = mixing(form)
    node = Node(rig, 7, times, (1.0,))
    attach(rig, node, slot=3)
    rig.render(64)
    rig.give(opcodes.SET, 3, at=1.0 + 74 / rig.rate, value=0.5, node=7)
    played = rig.render(64)[:, 0]
    mix = DATA[0, 64:128] + DATA[1, 64:128]
    np.testing.assert_array_equal(played, mix * np.repeat(np.float32([1, 0.5]), [10, 54]))


@pytest.mark.parametrize("device", [0, 30])
def test_the_latency_of_the_mix_is_in_the_clock_and_the_playheads(
    form: Form, device: int
) -> None:
    rig = mixing(form)
    rig.render(64, latency=device)
    attach(rig, Node(rig, 7, late(100), latency=100), slot=3)
    recorded = []
    heard = []
    for _ in range(6):
        recorded.append(rig.render(64, latency=device)[:, 0])
        heard.append(rig.heard())
    found = np.concatenate(recorded)
    np.testing.assert_array_equal(found[100:], (DATA[0] + DATA[1])[64:348])
    wanted = [64 * (1 + k) - device - 100 for k in range(6)]
    np.testing.assert_array_equal(heard, np.maximum.accumulate(np.maximum(wanted, heard[0])))
    # Its frame 448 is heard the latency of both after it is rendered, at 1.0 + 448 / rate.
    time = rig.form.heard_at(rig.address, 448) * 1e-9
    assert time == pytest.approx(1.0 + (448 + device + 100) / rig.rate, abs=1e-8)


def test_a_time_that_was_given_is_kept_through_the_latency_of_the_mix(form: Form) -> None:
    rig = mixing(form)
    rig.render(64, latency=30)
    attach(rig, Node(rig, 7, late(100), latency=100), slot=3)
    rig.render(64, latency=30)
    for slot, value in ((0, 0.0), (1, 0.0)):
        rig.give(opcodes.GAIN, slot, at=1.0 + 400 / rig.rate, value=value)
    played = np.concatenate([rig.render(64, latency=30) for _ in range(5)])[:, 0]
    # Block frame i is rendered as frame 128 + i, and heard 30 frames later.
    assert np.flatnonzero(played)[-1] == 400 - 30 - 128 - 1


# --- an input --------------------------------------------------------------------------


def recording(form: Form, **shape: Any) -> Rig:
    """An input whose strip is in slot 0."""
    rig = Rig(form, **{"capacity": 256, **shape})
    rig.set("strip", rig.voice_address(0))
    return rig


def test_what_is_captured_goes_through_the_effects(form: Form) -> None:
    rig = recording(form)
    block = np.stack([DATA[0, :150], DATA[1, :150]], axis=1)
    node = Node(rig, 7, squares)
    attach(rig, node)
    rig.capture(block[:100])
    rig.capture(block[100:])
    whole, found = rig.read_ring(0, 150)
    assert whole
    np.testing.assert_array_equal(found, block * block)
    assert node.calls == [64, 36, 50]
    peak, power = rig.meter.total(0, 150, 150)
    assert peak == float((block * block).max())
    assert power == pytest.approx(float((block**4).sum()), rel=1e-5)
    rig.check()


def test_a_block_across_the_rings_end_is_two_calls(form: Form) -> None:
    rig = recording(form)
    node = Node(rig, 7, times, (0.5,))
    attach(rig, node)
    block = np.full((60, 2), 0.5, np.float32)
    for _ in range(5):
        rig.capture(block)
    assert node.calls == [60, 60, 60, 60, 16, 44]
    np.testing.assert_array_equal(rig.read_ring(240, 60)[1], block * np.float32(0.5))


def test_an_inputs_parameters_move_on_their_frame(form: Form) -> None:
    """The times of an input are those at which its frames were captured."""
    rig = recording(form)
    node = Node(rig, 7, times, (1.0,))
    attach(rig, node)
    block = np.ones((64, 2), np.float32)
    rig.capture(block)
    first = rig.form.heard_at(rig.address, 64) * 1e-9
    rig.give(opcodes.SET, at=first + 10 / rig.rate, value=0.25, node=7)
    rig.give(opcodes.SET, value=0.5, node=7)
    rig.capture(block, now=1.0 + 64 / rig.rate)
    wanted = np.repeat(np.float32([0.5, 0.25]), [10, 54])
    np.testing.assert_array_equal(rig.read_ring(64, 64)[1][:, 0], wanted)


def test_the_times_of_an_input_are_those_before_its_effects(form: Form) -> None:
    rig = recording(form)
    rig.capture(np.ones((64, 2), np.float32))
    before = rig.form.heard_at(rig.address, 0) * 1e-9
    attach(rig, Node(rig, 7, late(32), latency=32))
    rig.streams["frames"] = 0  # the device's time stands still in this rig
    rig.capture(np.ones((64, 2), np.float32))
    after = rig.form.heard_at(rig.address, 0) * 1e-9
    assert before - after == pytest.approx(32 / rig.rate, abs=1e-8)


def test_the_effects_of_an_input_sleep_in_silence(form: Form) -> None:
    rig = recording(form)
    node = Node(rig, 7, times, (1.0,))
    attach(rig, node)
    silence = np.zeros((64, 2), np.float32)
    for _ in range(60):
        rig.capture(silence)
    assert sum(node.calls) == 64 * -(-(rig.rate // 10) // 64)
    rig.capture(np.ones((64, 2), np.float32))
    np.testing.assert_array_equal(rig.read_ring(3840, 64)[1], np.ones((64, 2)))
