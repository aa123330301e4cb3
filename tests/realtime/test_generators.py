"""Generators as the source of a voice: on exact frames, with a voice's transport and fader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from audiostream.realtime.memory.layout import GROUP
from tests.realtime.nodes import FOREVER, Body, Node, attach, generating, times
from tests.realtime.rig import PLAIN, Form, Guarded, Rig, compiled
from tests.realtime.test_nodes import seen


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


RATE = 32768


def counting(last: int = FOREVER) -> Body:
    """Its frames are 1, 2, 3 and so on, over 1024, up to the last one."""

    def body(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> int:
        assert not samples.any(), "it gets a cleared block"
        done = int(state[0])
        count = min(len(samples), last - done)
        state[0] += count
        samples[:count] = (np.arange(done, done + count)[:, None] + 1) / 1024
        return count

    return body


def steady(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
    samples[:] = 0.5


def frames(first: int, last: int) -> np.ndarray:
    """Those of :func:`counting`, from number `first` on."""
    return (np.arange(first, last) / 1024).astype(np.float32)


def cuts(rig: Rig, slot: int = 0) -> list[list[int]]:
    count = int(rig.table[slot]["cut_count"])
    found: list[list[int]] = rig.cuts[slot].array.reshape(-1, 2)[:count].tolist()
    return found


def test_it_plays_from_an_exact_frame_on(form: Form) -> None:
    rig = Rig(form)
    node = Node(rig, 7, counting())
    rig.render(64)
    generating(rig, node, at=1.0 + (64 + 20) / RATE)
    played = np.concatenate([rig.render(64), rig.render(150)])[:, 1]
    assert not played[:20].any()
    np.testing.assert_array_equal(played[20:], frames(1, 195))
    assert rig.read() == 194
    assert (int(rig.table[0]["starved"]), int(rig.table[0]["shortages"])) == (0, 0)
    assert node.calls == [44, 64, 64, 22]
    for memory in (rig, node):
        memory.check()


def test_a_pause_holds_it_and_a_resume_goes_on(form: Form) -> None:
    rig = Rig(form)
    node = Node(rig, 7, counting())
    generating(rig, node)
    rig.render(64)
    rig.pause(frames=32)
    played = np.concatenate([rig.render(64), rig.render(64)])[:, 0]
    fade = 1 - np.arange(1, 33) / 32
    np.testing.assert_allclose(played[:32], frames(65, 97) * fade, atol=1e-7)
    assert not played[32:].any()
    rig.resume(frames=32)
    played = rig.render(64)[:, 0]
    np.testing.assert_allclose(
        played, frames(97, 161) * np.minimum(np.arange(1, 65) / 32, 1), atol=1e-7
    )
    assert sum(node.calls) == rig.read() == 160


def test_gain_pan_and_meter_are_a_voices(form: Form) -> None:
    rig = Rig(form)
    generating(rig, Node(rig, 7, steady))
    rig.render(64)
    rig.gain(0.5, 64)
    rig.give(opcodes.PAN, value=1.0, turn=0.25)
    played = rig.render(64)
    level = 0.5 * (1 - 0.5 * np.arange(1, 65) / 64)
    np.testing.assert_allclose(played, np.stack([level, level / 4], axis=1), atol=1e-6)
    peak, _ = rig.meters[0].total(0, 128, 128)
    assert peak == 0.5


def test_an_end_fades_out_and_is_a_cut(form: Form) -> None:
    rig = Rig(form)
    node = Node(rig, 7, steady)
    generating(rig, node)
    rig.render(64, latency=100)
    rig.give(opcodes.END, at=1.0 + (64 + 100 + 10) / RATE, frames=20)
    played = np.concatenate([rig.render(64, latency=100) for _ in range(2)])[:, 0]
    wanted = 0.5 * np.clip(1 - (np.arange(1, 129) - 10) / 20, 0, 1)
    np.testing.assert_allclose(played, wanted, atol=1e-6)
    assert cuts(rig) == [[94, FOREVER]]
    assert (rig.read(), int(rig.table[0]["transport"])) == (FOREVER, opcodes.STOPPED)
    heard = []
    for _ in range(4):  # now is 100 frames before the block's first one
        rig.render(1, latency=100)
        heard.append(rig.heard())
    assert heard == [92, 93, FOREVER, FOREVER]
    assert sum(node.calls) == 94


@pytest.mark.parametrize("last", [1, 50, 63, 64, 65, 100])
def test_it_ends_on_its_exact_frame(form: Form, last: int) -> None:
    rig = Rig(form)
    node = Node(rig, 7, counting(last))
    generating(rig, node)
    played = np.concatenate([rig.render(64) for _ in range(3)])[:, 0]
    np.testing.assert_array_equal(played, np.append(frames(1, last + 1), np.zeros(192 - last)))
    assert cuts(rig) == []
    assert rig.read() == FOREVER
    assert rig.heard() == FOREVER
    record = rig.table[0]
    assert [int(record[name]) for name in ("starved", "shortages", "sounding")] == [0, 0, 0]
    assert sum(node.calls) == 64 * (last // 64 + 1)


def test_its_end_is_heard_when_its_last_frame_is(form: Form) -> None:
    rig = Rig(form)
    rig.add_wakeup(0)
    rig.table[0]["wakeup"] = 0
    generating(rig, Node(rig, 7, counting(50)))
    rig.render(64, latency=64)
    assert not rig.arm("heard", FOREVER)
    heard = []
    for _ in range(3):
        rig.render(25, latency=64)
        heard.append(rig.heard())
    assert heard == [0, 25, FOREVER]
    assert rig.take_woken(0) == [0]


@pytest.mark.parametrize("code", [-1, -7])
def test_a_failure_ends_it_and_is_a_cut(form: Form, code: int) -> None:
    rig = Rig(form)

    def fails(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> int | None:
        state[0] += 1
        samples[:] = np.nan if (state[0], code) == (2, -1) else 0.5
        return -7 if (state[0], code) == (2, -7) else None

    node = Node(rig, 7, fails)
    generating(rig, node)
    played = np.concatenate([rig.render(64) for _ in range(3)])[:, 0]
    np.testing.assert_array_equal(played, np.repeat(np.float32([0.5, 0]), [64, 128]))
    assert (node.failed, node.calls) == (code, [64, 64])
    assert cuts(rig) == [[64, FOREVER]]
    assert (rig.read(), rig.heard()) == (FOREVER, FOREVER)


def test_its_parameters_are_a_nodes(form: Form) -> None:
    """They also move while it does not play."""
    rig = Rig(form)
    values: list[tuple[int, float]] = []
    node = Node(rig, 7, seen(values), (0.0,), scalars=[0])
    generating(rig, node, at=1.0 + 50 / RATE)
    rig.give(opcodes.SET, at=1.0 + 10 / RATE, value=100.0, frames=100, node=7)
    rig.render(64)
    rig.render(64)
    # From frame 50 on, where it has moved for 40; the grid; the ramp's end at 110.
    assert [count for count, _ in values] == [14, 32, 14, 18]
    np.testing.assert_allclose([value for _, value in values], [54, 86, 100, 100], atol=1e-9)
    assert node.word("ran") == 78


def test_effects_come_after_its_fades(form: Form) -> None:
    rig = Rig(form)

    def holds(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> None:
        state[0] = max(state[0], float(samples.max(initial=0)))
        samples[:] = state[0]

    generating(rig, Node(rig, 7, counting(40)))
    kept = attach(rig, Node(rig, 8, holds), Node(rig, 9, times, (2.0,)))
    rig.render(64)
    np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 80 / 1024, np.float32))
    kept.check()


def test_it_plays_into_a_group_and_counts_for_its_ducking(form: Form) -> None:
    rig = Rig(form, voices=4, groups=2)
    groups = Guarded(2, GROUP)
    memory = [groups]
    for number in range(2):
        record = groups.array[number]
        block, sounding = Guarded(128, np.float32), Guarded(65, np.int64)
        memory += [block, sounding]
        record["voice"] = rig.voice_address(2 + number)
        record["block"], record["sounding"] = block.address, sounding.address
        record["frame"] = -1
        strip = rig.table[2 + number]
        address = groups.address + number * GROUP.itemsize
        strip["bus"], strip["sounding"], strip["transport"] = address, 1, opcodes.PLAYING
        rig.table[number]["group"] = address
        rig.plan.array[-2 + number] = address
    groups.array[1]["sidechain"] = groups.address
    groups.array[1]["duck"] = 0.5
    rig.plan.array[0] = 2
    generating(rig, Node(rig, 7, counting(100)), at=1.0 + 20 / RATE)
    generating(rig, Node(rig, 8, steady), slot=1)
    played = np.concatenate([rig.render(64) for _ in range(3)])[:, 0]
    wanted = np.repeat([0.5, 0.25, 0.5], [20, 100, 72])
    wanted[20:120] += frames(1, 101)
    np.testing.assert_allclose(played, wanted, atol=1e-6)
    for block in memory:
        block.check()


def test_a_clear_up_to_its_end_fades_out_and_is_a_cut(form: Form) -> None:
    rig = Rig(form)
    generating(rig, Node(rig, 7, steady))
    rig.render(64)
    rig.table[0]["fade"] = 32
    rig.set("skip", FOREVER, 0)
    played = rig.render(64)[:, 0]
    np.testing.assert_allclose(
        played, 0.5 * np.maximum(1 - np.arange(1, 65) / 32, 0), atol=1e-6
    )
    assert cuts(rig) == [[96, FOREVER]]


def test_a_stop_at_once_touches_no_ring(form: Form) -> None:
    rig = Rig(form, ramp=32)
    rig.table[0]["ring"] = 0
    generating(rig, Node(rig, 7, steady))
    rig.render(64)
    rig.give(opcodes.STOP)
    assert not rig.render(64).any()
    rig.render(64)
