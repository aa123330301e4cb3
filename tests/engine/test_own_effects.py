"""Effects of a whole output and of an input: in the mix, in the ring, and in the clocks."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audiostream.device.manual import ManualDevice
from audiostream.engine.capture import Capture
from audiostream.engine.commands import Commands
from audiostream.engine.group import Group
from audiostream.engine.output import Output
from audiostream.engine.sound import Playback, SoundMemory
from audiostream.engine.stream import Stream
from audiostream.engine.voice import Voice
from audiostream.pcm import Format
from audiostream.realtime.opcodes import SET
from tests.realtime.nodes import Node, listed, times
from tests.realtime.test_node_levels import late

RATE = 48000
FORMAT = Format(RATE, 2, 32)
DATA = np.random.default_rng(4).uniform(-0.4, 0.4, (4800, 2)).astype(np.float32)


def shape(stream: Stream) -> Any:
    """What a node's function is made for."""
    return SimpleNamespace(
        slice=stream.max_block,
        channels=stream.parameters.channels,
        rate=stream.parameters.rate,
        form=stream.kernels,
    )


@pytest.fixture
def device() -> ManualDevice:
    return ManualDevice(latency=0.01)


@pytest.fixture
def output(device: ManualDevice) -> Iterator[Output]:
    made = Output(FORMAT, 128, device)
    made.open()
    made.start()
    yield made
    made.close()


@pytest.fixture
def capture(device: ManualDevice) -> Iterator[Capture]:
    made = Capture(FORMAT, 128, device)
    made.open()
    made.start()
    yield made
    made.close()


def written(output: Output, group: Group | None = None) -> Voice:
    voice = Voice(output, FORMAT, 0.5, group=group)
    voice.write_nowait(DATA)
    voice.end()
    voice.play()
    return voice


# --- an output -----------------------------------------------------------------------


def test_a_mix_without_effects_is_bit_exact(output: Output, device: ManualDevice) -> None:
    voice = written(output)
    device.step(200)
    strip = output.main_strip()
    assert output.main_strip() is strip
    np.testing.assert_array_equal(device.step(500), DATA[200:700])
    assert voice.read_index() == 700


def test_its_effects_are_the_last_before_the_device(
    output: Output, device: ManualDevice
) -> None:
    """They get the sum of all voices and groups, after their gain."""
    group = Group(output, gain=0.5)
    written(output)
    written(output, group)
    strip = output.main_strip()

    def squares(samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        samples[:] = samples * samples

    kept = listed(Node(shape(output), 1, squares), Node(shape(output), 2, times, (0.5,)))
    strip.set_word("nodes", kept.address)
    played = device.step(600)
    np.testing.assert_allclose(played, 0.5 * np.square(1.5 * DATA[:600]), atol=1e-6)
    assert 0 < output.level(0.01).peak <= float(np.abs(played).max())
    # A group that comes later plays into it, too, and so does a sound.
    other = Group(output)
    Playback(SoundMemory(output, np.full((600, 2), 0.25, np.float32)), group=other)
    played = device.step(600)
    np.testing.assert_allclose(played, 0.5 * np.square(1.5 * DATA[600:1200] + 0.25), atol=1e-6)


def test_their_parameters_move_by_commands(output: Output, device: ManualDevice) -> None:
    written(output)
    strip = output.main_strip()
    commands = Commands(output, strip)
    kept = listed(Node(shape(output), 5, times, (1.0,)))
    strip.set_word("nodes", kept.address)
    device.step(128)
    commands.give(SET, value=0.5, node=5)
    np.testing.assert_array_equal(device.step(128), DATA[128:256] * np.float32(0.5))


def test_what_is_played_at_a_time_is_heard_at_it(output: Output, device: ManualDevice) -> None:
    """The latency of the output's effects is part of its clock."""
    latency = 100
    device.step(256)
    strip = output.main_strip()
    kept = listed(Node(shape(output), 1, late(latency), latency=latency))
    strip.set_word("nodes", kept.address)
    device.step(256)
    sound = SoundMemory(output, np.full((480, 2), 0.25, np.float32))
    start = device.time
    at = start + 0.03
    playback = Playback(sound, at=at)
    played = []
    heard = []
    for _ in range(30):
        played.append(device.step(100))
        heard.append(playback.heard())
    first = int(np.argmax(np.concatenate(played)[:, 0] > 0))
    # A frame is heard 0.01 seconds after its block was rendered.
    assert start + first / RATE + 0.01 == pytest.approx(at, abs=1.1 / RATE)
    for number, count in enumerate(heard):
        audible = (start + 100 * (number + 1) / RATE - at) * RATE
        assert abs(count - min(max(audible, 0), 480)) <= 1.1


def test_the_meter_tells_what_is_audible() -> None:
    """Not what its effects or the device still hold."""
    step = 512
    device = ManualDevice(latency=step / RATE)
    output = Output(FORMAT, 128, device)
    output.open()
    output.start()
    strip = output.main_strip()
    kept = listed(Node(shape(output), 1, late(5 * step), latency=5 * step))
    strip.set_word("nodes", kept.address)
    device.step(step)
    Playback(SoundMemory(output, np.full((step, 2), 0.25, np.float32)))
    found = []
    for _ in range(12):
        device.step(step)
        found.append(output.level(step / RATE).peak)
    # Each step's frames are 5 steps in the effect, one in the device, and then one audible.
    assert found == [0.0] * 6 + [0.25] + [0.0] * 5
    output.close()


def test_a_marks_time_counts_the_effects(output: Output, device: ManualDevice) -> None:
    voice = Voice(output, FORMAT, 0.5)
    voice.play()
    kept = listed(Node(shape(output), 1, late(144), latency=144))
    voice.strip.set_word("nodes", kept.address)
    voice.write_nowait(DATA[:300])
    voice.mark("here")
    voice.write_nowait(DATA[300:])
    while (mark := voice.heard_mark()) is None:
        device.step(64)
        assert device.time < 0.1
    assert (mark.name, mark.position) == ("here", 300)
    assert mark.time == pytest.approx(0.01 + (300 + 144) / RATE, abs=1e-6)
    assert 0 <= device.time - mark.time + 1e-9 < 64 / RATE


# --- an input ------------------------------------------------------------------------


def taken(capture: Capture, frames: int) -> np.ndarray:
    data = capture.take_bytes(frames * 8)
    assert data is not None
    return np.frombuffer(data, np.float32).reshape(-1, 2)


def test_an_inputs_effects_run_on_what_is_captured(
    capture: Capture, device: ManualDevice
) -> None:
    device.feed(DATA)
    device.step(300)
    strip = capture.main_strip()
    assert capture.main_strip() is strip
    node = Node(shape(capture), 1, times, (0.5,))
    kept = listed(node)
    device.step(128)
    strip.set_word("nodes", kept.address)
    device.step(572)
    found = taken(capture, 1000)
    np.testing.assert_array_equal(found[:428], DATA[:428])
    np.testing.assert_array_equal(found[428:], DATA[428:1000] * np.float32(0.5))
    assert sum(node.calls) == 572
    assert capture.level(0.01).peak == float(np.abs(found[512:]).max()), "from a span on"


def test_an_inputs_effects_run_across_the_end_of_its_ring(device: ManualDevice) -> None:
    capture = Capture(FORMAT, 128, device, queue=0.02)
    capture.open()
    capture.start()
    strip = capture.main_strip()
    kept = listed(Node(shape(capture), 1, times, (0.5,)))
    strip.set_word("nodes", kept.address)
    device.feed(DATA)
    for begin in range(0, 4800, 300):
        device.step(300)
        np.testing.assert_array_equal(
            taken(capture, 300), DATA[begin : begin + 300] * np.float32(0.5)
        )
    capture.close()


def test_an_inputs_parameters_move_by_commands(capture: Capture, device: ManualDevice) -> None:
    device.feed(np.ones((4800, 2), np.float32))
    strip = capture.main_strip()
    commands = Commands(capture, strip)  # type: ignore[arg-type]
    kept = listed(Node(shape(capture), 5, times, (1.0,)))
    strip.set_word("nodes", kept.address)
    device.step(128)
    commands.give(SET, value=0.0, frames=100, node=5)
    device.step(128)
    found = taken(capture, 256)[128:, 0]
    np.testing.assert_allclose(found, np.maximum(1 - np.arange(1, 129) / 100, 0), atol=1e-6)


def test_a_chunks_time_counts_the_inputs_effects(
    capture: Capture, device: ManualDevice
) -> None:
    strip = capture.main_strip()
    device.step(480)
    taken(capture, 480)
    device.step(480)
    taken(capture, 480)
    before = capture.chunk_time()
    kept = listed(Node(shape(capture), 1, late(240), latency=240))
    strip.set_word("nodes", kept.address)
    device.step(480)
    taken(capture, 480)
    assert capture.chunk_time() - before == pytest.approx((480 - 240) / RATE, abs=1e-6)


def test_effects_that_fail_leave_the_captured_sound(
    capture: Capture, device: ManualDevice
) -> None:
    def fails(_samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> int:
        return -3

    strip = capture.main_strip()
    node = Node(shape(capture), 1, fails, fade=64)
    kept = listed(node)
    strip.set_word("nodes", kept.address)
    device.feed(DATA)
    device.step(384)
    found = taken(capture, 384)
    assert not found[:128].any()
    np.testing.assert_array_equal(found[192:], DATA[192:384])
    assert node.failed == -3
