"""Latency of effects, their tails, and strips that sleep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from audiostream.realtime.memory.layout import GROUP, NEVER
from tests.realtime.nodes import FOREVER, Body, Node, attach, generating, playing, times
from tests.realtime.rig import PLAIN, Form, Rig, compiled
from tests.realtime.test_generators import counting, steady
from tests.realtime.test_node_levels import echo, late


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


DATA = np.random.default_rng(3).uniform(0.1, 0.5, 900).astype(np.float32)


# --- latency -------------------------------------------------------------------------


@pytest.mark.parametrize("latency", [0, 1, 70, 200])
@pytest.mark.parametrize("device", [0, 30])
def test_the_playhead_is_where_the_recording_is(form: Form, latency: int, device: int) -> None:
    """What is played is recorded; of `heard` frames the last one was the last to be audible."""
    rig = playing(form, DATA)
    node = Node(rig, 7, late(latency), latency=latency)
    kept = attach(rig, node)
    recorded = np.zeros(0, np.float32)
    for frames in (64, 10, 64, 1, 100, 64, 64):
        audible = len(recorded) - device  # at the beginning of the block
        recorded = np.append(recorded, rig.render(frames, latency=device)[:, 0])
        heard = rig.heard()
        assert heard == max(audible - latency, 0)
        if heard:
            assert recorded[audible - 1] == DATA[heard - 1]
    kept.check()


def test_the_playhead_never_goes_back_when_the_latency_changes(form: Form) -> None:
    rig = playing(form, DATA)
    lists = [attach(rig, Node(rig, 1 + n, late(n), latency=n)) for n in (0, 100, 30, 200, 0)]
    heard = []
    for turn in range(10):
        rig.set("nodes", lists[turn // 2].address, 0)
        rig.render(64)
        heard.append(rig.heard())
    wanted = [64 * turn - (0, 100, 30, 200, 0)[turn // 2] for turn in range(10)]
    np.testing.assert_array_equal(heard, np.maximum.accumulate(wanted))


def test_a_voice_is_as_late_as_its_groups_effects(form: Form) -> None:
    rig = Rig(form, voices=2, capacity=1024)
    rig.write(DATA)
    rig.play()
    rig.table[0]["group"] = group_of(rig, 1)
    node = Node(rig, 7, late(50), latency=50)
    kept = attach(rig, node, slot=1)
    rig.render(64)
    heard = []
    for _ in range(2):
        rig.render(64)
        heard.append(rig.heard())
    assert heard == [14, 78]
    kept.check()


def group_of(rig: Rig, slot: int) -> int:
    """Address of a group whose strip is in a slot, the plan's only one."""
    record = rig._memory(1, GROUP)
    record.array[0]["voice"] = rig.voice_address(slot)
    record.array[0]["block"] = rig._memory(rig.slice * rig.channels, np.float32).address
    record.array[0]["sounding"] = rig._memory(rig.slice + 1, np.int64).address
    record.array[0]["frame"] = -1
    rig.plan = rig._memory(3, np.int64)
    rig.plan.array[:] = [1, 0, record.address]
    rig.set("plan", rig.plan.address)
    strip = rig.table[slot]
    strip["bus"], strip["sounding"], strip["transport"] = record.address, 1, opcodes.PLAYING
    return record.address


# --- sleep ---------------------------------------------------------------------------

TENTH = 3276
"""Frames of a tenth of a second, at the rig's rate."""


def ringing(frames: int, level: float = 0.5) -> Body:
    """Gives a level for so many frames after its input has fallen silent, and no more."""

    def body(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> None:
        for i in range(len(samples)):
            state[0] = frames if samples[i].any() else max(state[0] - 1, 0)
            if not samples[i].any() and state[0]:
                samples[i] = level

    return body


def blocks_until_asleep(rig: Rig, node: Node, most: int = 400) -> int:
    """Blocks of 64 frames in which the node is called, from now on."""
    for count in range(most):
        before = len(node.calls)
        rig.render(64)
        if len(node.calls) == before:
            return count
    return most


@pytest.mark.parametrize(
    ("ring", "tail", "latency"), [(100, 0, 0), (100, 5000, 0), (100, 0, 500), (4000, 200, 0)]
)
def test_a_strip_sleeps_when_its_effects_are_quiet_for_long(
    form: Form, ring: int, tail: int, latency: int
) -> None:
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    node = Node(rig, 7, ringing(ring), latency=latency)
    kept = attach(rig, node, tail=tail)
    rig.render(64)
    quiet = max(TENTH, tail) + latency
    loud = -(-ring // 64)  # blocks in which it rings
    assert blocks_until_asleep(rig, node) == loud + -(-quiet // 64)
    kept.check()


def test_it_wakes_with_the_first_block_that_is_not_silent(form: Form) -> None:
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    node = Node(rig, 7, echo(10))
    kept = attach(rig, node)
    rig.render(64)
    blocks_until_asleep(rig, node)
    assert not rig.render(64).any()
    rig.write(DATA[:64])
    calls = len(node.calls)
    before = np.append(DATA[54:64] * 0, DATA[:54])
    np.testing.assert_allclose(rig.render(64)[:, 0], DATA[:64] + 0.5 * before, atol=1e-7)
    assert node.calls[calls:] == [64]
    kept.check()


def test_silence_that_is_played_is_a_silent_source(form: Form) -> None:
    rig = playing(form, np.zeros(900, np.float32))
    node = Node(rig, 7, times, (1.0,))
    kept = attach(rig, node)
    for _ in range(6):
        rig.render(64)
        rig.write(np.zeros(64, np.float32))
    assert int(rig.table[0]["silent"]) == 384
    kept.check()


def test_an_effect_whose_tail_has_no_end_never_sleeps(form: Form) -> None:
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    node = Node(rig, 7, times, (1.0,))
    kept = attach(rig, node, tail=NEVER)
    rig.render(64)
    assert blocks_until_asleep(rig, node, 200) == 200
    kept.check()


def test_a_strip_that_sleeps_is_woken_by_an_effect_without_an_end(form: Form) -> None:
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    first = Node(rig, 7, times, (1.0,))
    kept = [attach(rig, first)]
    rig.render(64)
    blocks_until_asleep(rig, first)
    noise = Node(rig, 8, steady)
    kept.append(attach(rig, first, noise, tail=NEVER))
    np.testing.assert_array_equal(rig.render(64), np.full((64, 2), 0.5, np.float32))


def test_changes_happen_at_once_while_it_sleeps(form: Form) -> None:
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    node = Node(rig, 7, times, (1.0,), fade=100)
    other = Node(rig, 8, times, (2.0,), fade=100, enters=True)
    kept = [attach(rig, node)]
    rig.render(64)
    blocks_until_asleep(rig, node)
    kept.append(attach(rig, node, other, leaving=[node]))
    rig.give(opcodes.SET, value=0.75, frames=40, node=8)
    rig.render(64)
    assert node.is_gone
    assert float(other.params.array[0]["value"]) == 0.75
    rig.write(DATA[:64])
    np.testing.assert_array_equal(rig.render(64)[:, 0], DATA[:64] * np.float32(0.75))


# --- what has come to rest -------------------------------------------------------------


def rested(rig: Rig, slot: int = 0) -> int:
    return int(rig.form.load_word(rig.at("rested", slot)))


def test_without_effects_all_that_was_heard_has_rested(form: Form) -> None:
    rig = playing(form, DATA)
    for frames in (64, 10, 64, 100):
        rig.render(frames, latency=40)
        assert rested(rig) == rig.heard()
    assert rig.heard() == 98


@pytest.mark.parametrize("latency", [0, 100])
@pytest.mark.parametrize("device", [0, 150])
def test_a_tail_has_rested_when_its_end_is_audible(
    form: Form, latency: int, device: int
) -> None:
    rig = playing(form, DATA[:64])
    rig.add_wakeup(0)
    rig.table[0]["wakeup"] = 0
    rig.set("ended", 64, 0)
    node = Node(rig, 7, ringing(500), latency=latency)
    kept = attach(rig, node)
    rig.render(64, latency=device)
    assert not rig.arm("rested", 64)
    blocks = 0
    while rested(rig) < 64:
        assert rig.take_woken(0) == []
        rig.render(64, latency=device)
        blocks += 1
        assert rested(rig) in (0, 64)
    assert rig.take_woken(0) == [0]
    asleep_at = 64 * (1 + 8 + -(-(TENTH + latency) // 64))
    assert 64 * blocks >= asleep_at + latency + device > 64 * (blocks - 1)
    kept.check()


def test_a_tail_is_waited_for_thirty_seconds_at_the_most(form: Form) -> None:
    """Of an effect whose tail has no end, too."""
    rig = Rig(form, rate=200, slice=64, capacity=256, voices=2)
    lists = []
    for slot, tail in enumerate((0, NEVER)):
        rig.write(DATA[:64], slot)
        rig.set("ended", 64, slot)
        rig.play(slot)
        lists.append(attach(rig, Node(rig, 7 + slot, steady), tail=tail, slot=slot))
    rig.render(64)
    blocks = 0
    while rested(rig, 0) < 64:
        assert rested(rig, 1) == 0
        rig.render(64)
        blocks += 1
    assert rested(rig, 1) == 64
    assert blocks == -(-30 * 200 // 64) + 1, "silent for so long, and then audible"


def test_what_rested_stands_while_later_frames_sound(form: Form) -> None:
    """Frames that wake the strip before its rest is audible do not take that back."""
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    node = Node(rig, 7, times, (1.0,))
    kept = attach(rig, node)
    rig.render(64, latency=640)
    for _ in range(1 + TENTH // 64 + 1):
        rig.render(64, latency=640)
    assert (int(rig.table[0]["asleep"]), rested(rig)) == (1, 0)
    found = []
    for _ in range(12):
        rig.write(np.full(64, 0.5))
        rig.render(64, latency=640)
        found.append(rested(rig))
    assert found[0] == 0
    assert found[-1] == 64
    assert rig.heard() > 64
    kept.check()


def test_a_generator_has_rested_when_its_tail_has(form: Form) -> None:
    rig = Rig(form)
    generating(rig, Node(rig, 7, counting(50)))
    kept = attach(rig, Node(rig, 8, ringing(100)))
    rig.render(64)
    rig.render(64)
    assert (rig.heard(), rested(rig)) == (FOREVER, 0)
    for _ in range(2 + TENTH // 64 + 2):
        rig.render(64)
    assert rested(rig) == FOREVER
    kept.check()


def test_a_gain_that_snaps_does_so_while_the_effects_sleep(form: Form) -> None:
    rig = playing(form, DATA[:64])
    rig.set("ended", 64, 0)
    node = Node(rig, 7, ringing(100))
    kept = attach(rig, node)
    rig.render(64)
    rig.render(10)
    rig.gain(0.5, 50)
    rig.render(10)
    assert rig.gain_of()[1] == 40, "a tail sounds"
    rig.render(64)
    blocks_until_asleep(rig, node)
    rig.gain(1.0, 50)
    rig.render(10)
    assert rig.gain_of() == (1.0, 0)
    kept.check()
