"""Effects that come, go, are bypassed and fail while they sound: no click, and no frame off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from tests.realtime.nodes import Body, Node, attach, playing, times
from tests.realtime.rig import PLAIN, Form, Rig, compiled


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


DATA = np.random.default_rng(2).uniform(-0.5, 0.5, 960).astype(np.float32)
BLOCKS = (64, 1, 33, 100, 64, 64, 64)


def rise(begin: int, frames: int, count: int) -> np.ndarray:
    """A level that moves from 0 to 1 within `frames` frames from frame `begin` on."""
    return np.clip((np.arange(count) + 1 - begin) / frames, 0, 1)


def echo(frames: int) -> Body:
    """Adds what it got `frames` frames before, which it keeps, at half its level."""
    line: list[np.ndarray] = []

    def body(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        for i in range(len(samples)):
            line.append(samples[i].copy())
            if len(line) > frames:
                samples[i] += np.float32(0.5) * line[-1 - frames]

    return body


def echoed(data: np.ndarray, frames: int) -> np.ndarray:
    """What :func:`echo` makes of all of them."""
    late = np.zeros_like(data)
    late[frames:] = data[:-frames]
    return data + 0.5 * late


def rendered(rig: Rig, blocks: tuple[int, ...] = BLOCKS) -> np.ndarray:
    """The next blocks' left channel."""
    return np.concatenate([rig.render(frames) for frames in blocks])[:, 0]


# --- one change ----------------------------------------------------------------------


def test_an_effect_that_enters_gets_its_input_faded_in(form: Form) -> None:
    rig = playing(form, DATA)
    before = rig.render(40)[:, 0]
    node = Node(rig, 7, echo(20), fade=150, enters=True)
    kept = attach(rig, node)
    played = rendered(rig)
    count = len(played)
    x = DATA[40 : 40 + count].astype(float)
    enter = rise(0, 150, count)
    wanted = echoed(enter * x, 20) + (1 - enter) * x
    np.testing.assert_array_equal(before, DATA[:40])
    np.testing.assert_allclose(played, wanted, atol=2e-7)
    np.testing.assert_array_equal(
        played[170:], echoed(DATA[40 : 40 + count], 20)[170:].astype(np.float32)
    )
    for memory in (rig, node, kept):
        memory.check()


def test_an_effect_that_leaves_has_its_output_faded_out(form: Form) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, echo(20), fade=150)
    kept = [attach(rig, node)]
    first = rig.render(40)[:, 0]
    kept.append(attach(rig, node, leaving=[node]))
    rest = rendered(rig)
    count = 40 + len(rest)
    x = DATA[:count].astype(float)
    leave = 1 - rise(40, 150, count)
    wanted = leave * echoed(x, 20) + (1 - leave) * x
    np.testing.assert_allclose(np.concatenate([first, rest]), wanted, atol=2e-7)
    np.testing.assert_array_equal(rest[150:], DATA[190:count])
    assert node.is_gone
    assert sum(node.calls) == 40 + 64 + 1 + 33 + 64, (
        "to the end of the part with its last frame"
    )
    node.check()


def test_an_effect_that_is_wanted_again_comes_back(form: Form) -> None:
    rig = playing(form, np.ones(900, np.float32))
    node = Node(rig, 7, times, (0.5,), fade=100)
    kept = [attach(rig, node), attach(rig, node, leaving=[node])]
    first = rig.render(50)[:, 0]
    kept.append(attach(rig, node))
    second = rig.render(120)[:, 0]
    np.testing.assert_allclose(first, 1 - 0.5 * (1 - np.arange(1, 51) / 100), atol=1e-6)
    np.testing.assert_allclose(second, 1 - 0.5 * (0.5 + 0.5 * rise(0, 100, 120)), atol=1e-6)
    assert not node.is_gone


def test_bypass_crosses_over_and_only_then_skips_the_call(form: Form) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, times, (-1.0,), fade=100)
    kept = attach(rig, node)
    rig.render(64)
    node.bypass(1)
    played = rendered(rig, (64, 64, 64))
    dry = rise(0, 100, 192)
    np.testing.assert_allclose(played, DATA[64:256] * (2 * dry - 1), atol=2e-7)
    np.testing.assert_array_equal(played[100:], DATA[164:256])
    assert sum(node.calls) == 192
    node.bypass(0)
    played = rendered(rig, (64, 64, 64))
    np.testing.assert_allclose(played, DATA[256:448] * (1 - 2 * dry), atol=2e-7)
    np.testing.assert_array_equal(played[100:], -DATA[356:448])
    kept.check()


def test_an_effect_that_is_bypassed_from_the_start_is_not_called(form: Form) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, times, (2.0,), fade=100, bypassed=True)
    kept = attach(rig, node)
    rig.give(opcodes.SET, value=3.0, frames=100, node=7)
    np.testing.assert_array_equal(rendered(rig), DATA[: sum(BLOCKS)])
    assert node.calls == []
    assert float(node.params.array[0]["value"]) == 3.0, "its parameters move on"
    kept.check()


# --- latency -------------------------------------------------------------------------


def late(frames: int) -> Body:
    """Delays by its latency, and else changes nothing."""
    line: list[np.ndarray] = [np.zeros(2, np.float32)] * frames

    def body(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        line.extend(samples.copy())
        samples[:] = line[: len(samples)]
        del line[: len(samples)]

    return body


@pytest.mark.parametrize("latency", [1, 50, 64, 100])
def test_the_dry_signal_is_as_late_as_the_wet_one(form: Form, latency: int) -> None:
    """So that bypass, back and forth, is not heard of an effect that only delays."""
    rig = playing(form, DATA)
    node = Node(rig, 7, late(latency), latency=latency, fade=90)
    kept = attach(rig, node)
    played = []
    for turn, frames in enumerate(BLOCKS):
        node.bypass(turn % 2)
        played.append(rig.render(frames)[:, 0])
    found = np.concatenate(played)
    wanted = np.concatenate([np.zeros(latency, np.float32), DATA])[: len(found)]
    np.testing.assert_allclose(found, wanted, atol=1e-7)
    for memory in (rig, node, kept):
        memory.check()


def test_the_line_is_fed_while_the_effect_is_steady(form: Form) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, late(50), latency=50, fade=0)
    kept = attach(rig, node)
    rig.render(64)
    rig.render(64)
    node.bypass(1)
    np.testing.assert_array_equal(rig.render(64)[:, 0], DATA[78:142])
    assert node.calls == [64, 64]
    kept.check()


# --- failures ------------------------------------------------------------------------


def breaks(how: Callable[[np.ndarray], int | None], at: int) -> Body:
    """A gain of a half whose call number `at` fails."""

    def body(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> int | None:
        state[0] += 1
        samples *= 0.5
        return how(samples) if state[0] == at else None

    return body


def nan(samples: np.ndarray) -> None:
    samples[len(samples) // 2, 1] = np.nan


def infinite(samples: np.ndarray) -> None:
    samples[0, 0] = -np.inf


@pytest.mark.parametrize(
    ("how", "code"), [(nan, -1), (infinite, -1), (lambda _: -2, -2), (lambda _: -77, -77)]
)
def test_a_failure_is_silence_and_then_the_dry_signal(form: Form, how: Any, code: int) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, breaks(how, 2), fade=100)
    kept = attach(rig, node)
    played = rendered(rig, (64, 40, 64, 64, 64))
    np.testing.assert_array_equal(played[:64], DATA[:64] * np.float32(0.5))
    assert not played[64:104].any()
    wanted = DATA[104:296] * rise(0, 100, 192)
    np.testing.assert_allclose(played[104:], wanted, atol=1e-7)
    np.testing.assert_array_equal(played[204:], DATA[204:296])
    assert (node.failed, node.calls) == (code, [64, 40])
    kept.check()


@pytest.mark.parametrize(("value", "code"), [(1e18, 0), (-1e18, 0), (2e30, -1), (-2e30, -1)])
def test_so_large_a_number_that_a_sum_of_it_may_overflow_is_a_failure(
    form: Form, value: float, code: int
) -> None:
    rig = playing(form, DATA)

    def shouts(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        samples[:] = value

    node = Node(rig, 7, shouts)
    kept = attach(rig, node)
    rig.gain(0.0, 0)
    rig.render(64)
    assert node.failed == code
    kept.check()


def test_a_call_that_fails_in_the_middle_of_a_block_silences_itself_alone(form: Form) -> None:
    """A scalar splits the block; the calls before it are heard, and dry frames after it."""
    rig = playing(form, np.ones(900, np.float32))
    node = Node(rig, 7, breaks(nan, 2), (0.0,), scalars=[0], fade=64)
    kept = attach(rig, node)
    rig.give(opcodes.SET, value=1.0, frames=500, node=7)
    played = rendered(rig, (64, 64))
    np.testing.assert_array_equal(played[:32], np.full(32, 0.5, np.float32))
    assert not played[32:64].any()
    np.testing.assert_allclose(played[64:], np.arange(1, 65) / 64, atol=1e-6)
    assert node.calls == [32, 32]
    kept.check()


def test_a_failed_effect_leaves_as_others_do(form: Form) -> None:
    rig = playing(form, DATA)
    node = Node(rig, 7, breaks(nan, 1), fade=20)
    kept = [attach(rig, node)]
    rig.render(64)
    kept.append(attach(rig, node, leaving=[node]))
    np.testing.assert_allclose(rig.render(64)[20:, 0], DATA[84:128], atol=1e-7)
    assert node.is_gone


# --- many changes ----------------------------------------------------------------------

RATE, FADE = 48000, 240
SINE = (0.2 * np.sin(np.sqrt(0.0085) * np.arange(24000))).astype(np.float32)
"""Its second difference is 0.0017 at most."""


def lowpass(samples: np.ndarray, state: Any, _params: list[np.ndarray]) -> None:
    """A one-pole."""
    for i in range(len(samples)):
        state[:2] += 0.15 * (samples[i] - state[:2])
        samples[i] = state[:2]


def quieter(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
    samples *= 0.8


def fewer_echoes(frames: int) -> Body:
    whole = echo(frames)

    def body(samples: np.ndarray, state: Any, params: list[np.ndarray]) -> None:
        dry = samples.copy()
        whole(samples, state, params)
        samples[:] = dry + 0.24 * (samples - dry)

    return body


def changes(rig: Rig, fade: int, seed: int, blocks: int) -> np.ndarray:
    """A sine through effects that come, go and are bypassed at random, one in each block."""
    rng = np.random.default_rng(seed)
    bodies: list[Callable[[], Body]] = [
        lambda: lowpass,
        lambda: quieter,
        lambda: fewer_echoes(int(rng.integers(1, 400))),
    ]
    here: list[Node] = []
    leaving: list[Node] = []
    without_memory: list[Node] = []
    kept: list[Any] = []
    played = []
    fed = 1
    for turn in range(blocks):
        room = min(rig.room() - rig.slice, 512)
        rig.write(SINE[fed : fed + room])
        fed += room
        kind = rng.choice(["append", "remove", "bypass", "nothing"])
        if kind == "append" and len(here) < 4:
            body = bodies[int(rng.integers(3))]()
            node = Node(rig, turn + 1, body, fade=fade, enters=True)
            if body is quieter:
                without_memory.append(node)
            here.insert(int(rng.integers(len(here) + 1)), node)
        elif kind == "remove" and len(here) > len(leaving):
            stay = [node for node in here if node not in leaving]
            leaving.append(stay[int(rng.integers(len(stay)))])
        elif kind == "bypass" and without_memory:
            # The others still have from before what they were not called with meanwhile.
            node = without_memory[int(rng.integers(len(without_memory)))]
            node.bypass(1 - node.word("bypass"))
        here = [node for node in here if not node.is_gone]
        leaving = [node for node in leaving if not node.is_gone]
        kept += [attach(rig, *here, leaving=leaving), here]
        played.append(rig.render(int(rng.integers(40, 65)))[:, 0])
    rig.check()
    return np.concatenate(played)


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_do_not_click(seed: int) -> None:
    form = (PLAIN, compiled())[seed > 0]
    blocks = 60 if form is PLAIN else 300
    played = changes(playing(form, SINE[:1], rate=RATE, capacity=2048), FADE, seed, blocks)
    clicks = np.abs(np.diff(played, 2)).max()
    assert clicks < 0.003
    at_once = changes(playing(form, SINE[:1], rate=RATE, capacity=2048), 0, seed, blocks)
    assert np.abs(np.diff(at_once, 2)).max() > 0.02, "without fades it does click"
