"""Effects of a strip: called by address, between the source's fades and the fader."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from audiostream.realtime.memory.layout import NODE, PARAMETER
from tests.realtime.rig import PLAIN, Form, Guarded, Rig, compiled
from tests.realtime.test_voice_control import turns

ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)

Body = Callable[[np.ndarray, Any, list[np.ndarray]], int]


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


class Node:
    """A node whose function is Python: gain, and what a test wants."""

    def __init__(self, rig: Rig, serial: int, body: Body, values: tuple[float, ...]) -> None:
        self.rig = rig
        self.calls: list[int] = []
        self.memory = Guarded(1, NODE)
        self.params = Guarded(len(values), PARAMETER)
        self.arrays = [Guarded(rig.slice, np.float32) for _ in values]
        self.addresses = Guarded(len(values), np.int64)
        self.state = Guarded(4, np.float64)
        for k, value in enumerate(values):
            self.params.array[k]["value"] = self.params.array[k]["goal"] = value
            self.params.array[k]["array"] = self.addresses.array[k] = self.arrays[k].address

        def run(block: int, frames: int, channels: int, *others: int) -> int:
            state, buffers, params, rate = others
            assert (state, buffers) == (self.state.address, 0)
            assert (params, rate) == (self.addresses.address, rig.rate)
            self.calls.append(frames)
            raw = (ctypes.c_float * (frames * channels)).from_address(block)
            samples = np.frombuffer(raw, np.float32).reshape(frames, channels)
            arrays = [array.array[:frames].copy() for array in self.arrays]
            return body(samples, self.state.array, arrays)

        self._entry = ENTRY(run)
        record = self.memory.array[0]
        record["code"] = ctypes.cast(self._entry, ctypes.c_void_p).value
        record["serial"] = serial
        record["state"] = self.state.address
        record["params"] = self.params.address
        record["arrays"] = self.addresses.address
        record["param_count"] = len(values)

    @property
    def failed(self) -> int:
        return int(self.memory.array[0]["failed"])

    def check(self) -> None:
        for memory in (self.memory, self.params, self.addresses, self.state, *self.arrays):
            memory.check()


def attach(rig: Rig, *nodes: Node, slot: int = 0) -> Guarded:
    """Publish a strip's list of effects."""
    made = Guarded(1 + len(nodes), np.int64)
    made.array[:] = [len(nodes), *(node.memory.address for node in nodes)]
    rig.set("nodes", made.address, slot)
    return made


def times(samples: np.ndarray, _state: Any, params: list[np.ndarray]) -> int:
    """Gain: the first parameter."""
    samples *= params[0][:, None]
    return 0


def playing(form: Form, data: np.ndarray, **shape: Any) -> Rig:
    rig = Rig(form, **{"channels": 2, "capacity": 1024, **shape})
    rig.write(data)
    rig.play()
    return rig


DATA = np.random.default_rng(1).uniform(-0.5, 0.5, 900).astype(np.float32)


def test_nodes_change_the_block_one_after_the_other(form: Form) -> None:
    rig = playing(form, DATA)

    def adds(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> int:
        samples += 0.25
        return 0

    first, second = Node(rig, 7, times, (0.5,)), Node(rig, 8, adds, ())
    kept = attach(rig, first, second)
    played = np.concatenate([rig.render(frames) for frames in (64, 1, 100)])
    wanted = DATA[:165] * np.float32(0.5) + np.float32(0.25)
    np.testing.assert_array_equal(played, np.repeat(wanted[:, None], 2, axis=1))
    assert first.calls == second.calls == [64, 1, 64, 36], "a slice at a time"
    assert rig.read() == 165
    for memory in (rig, first, second, kept):
        memory.check()


def test_fades_of_the_source_lie_before_and_the_fader_behind(form: Form) -> None:
    """A tail rings on through a pause, and its level is the fader's."""
    rig = playing(form, np.ones(900, np.float32))

    def holds(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> int:
        state[0] = max(state[0], float(np.abs(samples).max()))
        samples[:] = state[0]
        return 0

    node = Node(rig, 7, holds, ())
    kept = attach(rig, node)
    rig.gain(0.5, 0)
    np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.5, np.float32))
    rig.pause(frames=32)
    rig.render(64)
    np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.5, np.float32))
    assert rig.read() == 96, "it reads no further"
    rig.give(opcodes.SILENCE, value=0.0, frames=64)
    wanted = 0.5 * (1 - np.arange(1, 65) / 64)
    np.testing.assert_allclose(rig.render(64)[:, 1], wanted, atol=1e-6)
    kept.check()


@pytest.mark.parametrize("curve", [opcodes.LINEAR, opcodes.EXPONENTIAL, opcodes.EQUAL_POWER])
def test_a_parameter_moves_from_its_frame_on(form: Form, curve: int) -> None:
    rig = playing(form, np.ones(900, np.float32))
    node = Node(rig, 7, times, (1.0,))
    kept = attach(rig, node)
    rig.render(64)
    at = 1.0 + (64 + 20) / rig.rate  # the 20th frame of the next block
    rig.give(
        opcodes.SET, at=at, value=0.25, frames=100, shape=curve, node=7, **turns(100, curve)
    )
    played = np.concatenate([rig.render(64) for _ in range(3)])[:, 0]
    x = np.clip((np.arange(192) - 19) / 100, 0, 1)
    k = -math.log(1000)
    wanted = {
        opcodes.LINEAR: 1 - 0.75 * x,
        opcodes.EXPONENTIAL: 1 - 0.75 * np.expm1(k * x) / np.expm1(k),
        opcodes.EQUAL_POWER: np.hypot(np.cos(x * np.pi / 2), 0.25 * np.sin(x * np.pi / 2)),
    }[curve]
    np.testing.assert_allclose(played, wanted, atol=1e-6)
    assert float(node.params.array[0]["value"]) == 0.25
    assert node.calls == [64, 20, 44, 64, 64]
    node.check()
    kept.check()


def test_a_parameter_that_steps_is_heard_on_its_frame(form: Form) -> None:
    rig = playing(form, np.ones(900, np.float32))
    node = Node(rig, 7, times, (1.0,))
    kept = attach(rig, node)
    rig.render(64)  # the array holds the constant from here on
    rig.give(opcodes.SET, at=1.0 + (64 + 20) / rig.rate, value=0.25, node=7)
    played = np.concatenate([rig.render(64), rig.render(64)])[:, 0]
    np.testing.assert_array_equal(played, np.repeat(np.float32([1, 0.25]), [20, 108]))
    kept.check()


def test_a_gain_moves_smoothly_while_a_tail_sounds(form: Form) -> None:
    """The source is over, and what the node still gives is not."""
    rig = playing(form, np.ones(32, np.float32))
    rig.set("ended", 32, 0)

    def holds(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> int:
        samples[:] = 0.5
        return 0

    kept = attach(rig, Node(rig, 7, holds, ()))
    rig.render(64)
    rig.gain(0.0, 50)
    wanted = 0.5 * np.maximum(1 - np.arange(1, 65) / 50, 0)
    np.testing.assert_allclose(rig.render(64)[:, 0], wanted, atol=1e-6)
    kept.check()


def test_a_command_for_a_node_that_is_gone_is_dropped(form: Form) -> None:
    rig = playing(form, np.ones(900, np.float32))
    old, new = Node(rig, 7, times, (1.0,)), Node(rig, 9, times, (1.0, 3.0))
    kept = [attach(rig, old)]
    rig.render(64)
    rig.give(opcodes.SET, at=1.0 + 100 / rig.rate, value=0.5, node=7)
    rig.give(opcodes.SET, at=1.0 + 100 / rig.rate, value=4.0, node=9, parameter=1)
    kept.append(attach(rig, new))
    np.testing.assert_array_equal(rig.render(64), np.ones((64, 2), np.float32))
    assert new.params.array["value"].tolist() == [1.0, 4.0]
    assert int(rig.table[0]["command_taken"]) == 3


def test_a_node_that_fails_is_left_out_from_then_on(form: Form) -> None:
    rig = playing(form, np.ones(900, np.float32))

    def fails(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> int:
        return 5

    bad, good = Node(rig, 7, fails, ()), Node(rig, 8, times, (0.5,))
    kept = attach(rig, bad, good)
    for _ in range(3):
        np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.5, np.float32))
    assert (bad.failed, good.failed) == (5, 0)
    assert bad.calls == [64]
    kept.check()


def test_a_strip_without_nodes_again_is_bit_exact(form: Form) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, times, (0.5,))
    kept = attach(rig, node)
    rig.render(64)
    rig.set("nodes", 0, 0)
    np.testing.assert_array_equal(rig.render(64)[:, 0], DATA[64:128])
    kept.check()


def test_a_starvation_dies_away_through_the_nodes(form: Form) -> None:
    rig = playing(form, np.ones(64, np.float32), ramp=32)
    node = Node(rig, 7, times, (0.5,))
    kept = attach(rig, node)
    rig.render(64)
    wanted = 0.5 * np.maximum(1 - np.arange(1, 65) / 32, 0)
    np.testing.assert_allclose(rig.render(64)[:, 0], wanted, atol=1e-6)
    assert int(rig.table[0]["starved"]) == 64
    kept.check()
