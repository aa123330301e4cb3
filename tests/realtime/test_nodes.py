"""Effects of a strip: called by address, between the source's fades and the fader."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from tests.realtime.nodes import Node, attach, playing, times
from tests.realtime.rig import PLAIN, Form, compiled
from tests.realtime.test_voice_control import turns


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


DATA = np.random.default_rng(1).uniform(-0.5, 0.5, 900).astype(np.float32)


def test_nodes_change_the_block_one_after_the_other(form: Form) -> None:
    rig = playing(form, DATA)

    def adds(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        samples += 0.25

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

    def holds(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> None:
        state[0] = max(state[0], float(np.abs(samples).max()))
        samples[:] = state[0]

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

    def holds(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        samples[:] = 0.5

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
        return -5

    bad, good = Node(rig, 7, fails, ()), Node(rig, 8, times, (0.5,))
    kept = attach(rig, bad, good)
    assert not rig.render(64).any(), "the block of that call is silent"
    for _ in range(3):
        np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.5, np.float32))
    assert (bad.failed, good.failed) == (-5, 0)
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


# --- scalars ------------------------------------------------------------------------


def seen(values: list[tuple[int, float]]) -> Any:
    """A body that notes its frames and its scalar in each call."""

    def body(samples: np.ndarray, _state: Any, params: list[np.ndarray]) -> None:
        values.append((len(samples), float(params[-1][0])))

    return body


def test_a_scalar_is_one_number_for_a_whole_block(form: Form) -> None:
    rig = playing(form, DATA)
    values: list[tuple[int, float]] = []
    node = Node(rig, 7, seen(values), (440.0,), scalars=[0])
    kept = attach(rig, node)
    rig.render(64)
    rig.render(50)
    assert values == [(64, 440.0), (50, 440.0)]
    for memory in (node, kept):
        memory.check()


def test_a_scalar_that_moves_splits_the_block_on_the_grid_of_the_device(form: Form) -> None:
    """Each call gets the value of its last frame, and the ramp ends on its exact frame."""
    rig = playing(form, DATA)
    values: list[tuple[int, float]] = []
    node = Node(rig, 7, seen(values), (0.0,), scalars=[0])
    kept = attach(rig, node)
    rig.render(50)
    rig.give(opcodes.SET, at=1.0 + 55 / rig.rate, value=100.0, frames=100, node=7)
    rig.render(64)
    rig.render(64)
    counts, found = zip(*values, strict=True)
    # 50 to 55; then to the grid's 64 and 96, the block's end at 114, 128, and the ramp's at 155
    assert counts == (50, 5, 9, 32, 18, 14, 27, 23)
    wanted = [0, 0, 9, 41, 59, 73, 100, 100]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert found[-2:] == (100.0, 100.0)
    node.check()
    kept.check()


def test_a_scalar_that_steps_changes_on_its_frame(form: Form) -> None:
    rig = playing(form, DATA)
    values: list[tuple[int, float]] = []
    kept = attach(rig, Node(rig, 7, seen(values), (1.0,), scalars=[0]))
    rig.render(64)
    rig.give(opcodes.SET, at=1.0 + 84 / rig.rate, value=2.0, node=7)
    rig.render(64)
    assert values == [(64, 1.0), (20, 1.0), (44, 2.0)]
    kept.check()


def test_an_array_ramps_on_through_the_calls_that_a_scalar_splits(form: Form) -> None:
    rig = playing(form, np.ones(900, np.float32))
    node = Node(rig, 7, times, (1.0, 0.0), scalars=[1])
    kept = attach(rig, node)
    rig.render(64)
    rig.give(opcodes.SET, value=0.0, frames=60, node=7)
    rig.give(opcodes.SET, value=1.0, frames=50, node=7, parameter=1)
    played = rig.render(64)[:, 0]
    np.testing.assert_allclose(played, np.maximum(1 - np.arange(1, 65) / 60, 0), atol=1e-6)
    assert node.calls == [64, 32, 18, 14]
    node.check()
    kept.check()


def test_a_constant_is_written_once(form: Form) -> None:
    rig = playing(form, np.ones(900, np.float32))
    node = Node(rig, 7, times, (0.5,))
    kept = attach(rig, node)
    rig.render(64)
    node.arrays[0].array[:] = 0.25  # not looked at again
    np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.25, np.float32))
    rig.give(opcodes.SET, value=0.75, node=7)
    np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.75, np.float32))
    kept.check()


# --- what they cost ------------------------------------------------------------------


def test_a_node_counts_its_frames_and_its_time(form: Form) -> None:
    rig = playing(form, DATA)
    node, bypassed = Node(rig, 7, times, (0.5,)), Node(rig, 8, times, (0.5,), bypassed=True)
    kept = attach(rig, node, bypassed)
    rig.render(64)
    rig.render(100)
    assert (node.word("ran"), bypassed.word("ran")) == (164, 0)
    assert node.word("spent") > 0
    assert (bypassed.word("spent"), bypassed.calls) == (0, [])
    kept.check()
