"""Effects and generators on an output in virtual time; on asyncio and trio."""

from __future__ import annotations

import itertools
import math
import os
import random
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio, kernel
from audiostream.errors import AudioException, FormatError, KernelError
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio

RATE = 48000
numbers = itertools.count(os.getpid())
NOISE = np.random.default_rng(5).uniform(-0.5, 0.5, 4800).astype(np.float32)


@kernel(limits={"level": (0.0, 8.0), "offset": (-1.0, 1.0)})
def times(block, level=1.0, offset=0.0):
    """Gain, and a constant."""
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] = block[i, c] * level[i] + offset[i]


@kernel(state={"z": ("f8", ("channels",))}, limits={"amount": (0.0, 0.99)})
def lowpass(block, state, amount=0.5):
    """A one-pole lowpass."""
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            state.z[c] += (1.0 - amount[i]) * (block[i, c] - state.z[c])
            block[i, c] = state.z[c]


@kernel(state={"n": "i8"}, buffers={"line": lambda rate, channels: (480, channels)}, tail=0.1)
def echo(block, state, line, mix=0.5):
    """An echo of 10 ms at 48 kHz."""
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            wet = line[state.n, c]
            line[state.n, c] = block[i, c]
            block[i, c] += mix[i] * wet
        state.n = (state.n + 1) % 480


@kernel(state={"phase": "f8"}, limits={"frequency": (1.0, 20000.0)}, outputs=("phase",))
def sine(block, state, frequency=480.0, level=0.5, *, rate):
    """A sine, a generator."""
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] = level[i] * math.sin(2 * math.pi * state.phase)
        state.phase = (state.phase + frequency[i] / rate) % 1.0


@kernel(state={"n": "i8"})
def ends(block, state, frames=100.0):
    """Ones, so many frames of them."""
    for i in range(block.shape[0]):
        if state.n >= frames[i]:
            return i
        for c in range(block.shape[1]):
            block[i, c] = 1.0
        state.n += 1
    return block.shape[0]


@kernel(state={"n": "i8"})
def fails(block, state, frames=1e9):
    """Lets all through, and then divides by nothing."""
    for i in range(block.shape[0]):
        state.n += 1
        if state.n > frames[i]:
            block[i, 0] = math.inf


@kernel(state={"n": "i8"})
def reads_beyond(block, state, frames=1e9):
    """Lets all through, and then reads what is not there."""
    for i in range(block.shape[0]):
        state.n += 1
        if state.n > frames[i]:
            block[i, 0] = block[i + block.shape[0], 0]


ALL = (reads_beyond, times, lowpass, echo, sine, ends, fails)


async def prepared(speaker: aio.AudioOutput, *units: Any) -> None:
    for unit in units or [one() for one in ALL]:
        await unit.ready(speaker)


def pulse(frames: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 480 / RATE * np.arange(frames))


async def test_an_effect_from_the_first_frame_on() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        sound = speaker.load(NOISE)
        fx = times(level=0.5, offset=0.25)
        playing = sound.play(effects=[fx])
        played = device.step(960)[:, 0]
        np.testing.assert_allclose(played, NOISE[:960] * np.float32(0.5) + 0.25, atol=1e-7)
        assert list(playing.effects) == [fx]
        assert fx.cost > 0
        assert "playback" in repr(fx)


@pytest.mark.parametrize("kind", ["sample", "sound", "group"])
async def test_effects_on_all_that_have_a_fader(kind: str) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        fx = times(level=2.0)
        if kind == "sample":
            one = speaker.sample(effects=[fx])
            one.write_nowait(NOISE)
        elif kind == "sound":
            one = speaker.load(NOISE).play(effects=[fx])
        else:
            one = speaker.group(effects=[fx])
            speaker.load(NOISE).play(group=one)
        played = [device.step(64)]
        fx.set(level=0.5, over=0)
        played.append(device.step(64))
        one.effects.remove(fx)
        played += [device.step(64) for _ in range(6)]
        got = np.concatenate(played)[:, 0]
        np.testing.assert_array_equal(got[:64], NOISE[:64] * 2)
        np.testing.assert_array_equal(got[64:128], NOISE[64:128] / 2)
        np.testing.assert_array_equal(got[448:], NOISE[448:512], "5 ms later it is gone")
        assert list(one.effects) == []
        one.effects = [fx]
        assert one.effects[0] is fx


async def test_all_parameters_of_a_set_move_on_the_frame_that_is_named() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        fx = times()
        speaker.load(np.full(4800, 0.25, np.float32)).play(effects=[fx])
        device.step(64)
        at = 200 / RATE
        assert fx.set(level=0.5, offset=0.25, over=0, at=at) == 0.0
        assert fx.set(level=2.0, offset=0.0, over=100 / RATE, at=300 / RATE) == 0.0
        played = np.concatenate([device.step(64) for _ in range(8)])[:, 0]
        np.testing.assert_array_equal(played[: 200 - 64], 0.25)
        np.testing.assert_array_equal(played[200 - 64 : 300 - 64], 0.375)
        x = np.arange(1, 101) / 100
        np.testing.assert_allclose(
            played[300 - 64 : 400 - 64], (0.5 + 1.5 * x) / 4 + 0.25 * (1 - x), atol=1e-5
        )
        np.testing.assert_array_equal(played[400 - 64 :], 0.5)
        assert (fx.level, fx.offset) == (2.0, 0.0)
        assert fx.set(level=1.0, at=0.001) > 0, "late"


async def test_smooth_is_the_ramp_of_an_attribute() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        fx = times()
        fx.smooth = 48 / RATE
        speaker.load(np.ones(4800, np.float32)).play(effects=[fx])
        device.step(64)
        fx.level = 0.5
        played = device.step(64)[:, 0]
        np.testing.assert_allclose(played[:48], 1 - np.arange(1, 49) / 96, atol=1e-5)
        np.testing.assert_array_equal(played[48:], 0.5)


async def test_an_instance_has_one_place() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        sound = speaker.load(NOISE)
        fx = times(level=0.5)
        first = sound.play(effects=[fx])
        with pytest.raises(AudioException, match=r"fx\.copy\(\)"):
            sound.play(effects=[fx])
        with pytest.raises(FormatError, match="twice"):
            first.effects.append(fx)
        second = sound.play(effects=[fx.copy()])
        assert second.effects[0].level == 0.5
        first.effects.clear()
        second.effects.append(fx)
        assert len(second.effects) == 2
        osc = sine()
        speaker.play(osc)
        with pytest.raises(AudioException, match=r"fx\.copy\(\)"):
            speaker.play(osc)


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (5, "no list"),
        (times, "no list"),
        ([times], r"call the kernel"),
        ([5], "no effect"),
        ("ab", "no effect"),
        ([None], "no effect"),
    ],
)
async def test_what_is_no_effect(effects: Any, message: str) -> None:
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        with pytest.raises(FormatError, match=message):
            speaker.sample(effects=effects)
        voice = speaker.sample()
        with pytest.raises(FormatError, match=message):
            voice.effects[:] = effects
        with pytest.raises(FormatError, match="up to 32"):
            voice.effects[:] = [times() for _ in range(33)]
        with pytest.raises(FormatError, match="generator"):
            speaker.play(effects)
        assert len(voice.effects) == 0


async def test_a_list_is_a_list() -> None:
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        await prepared(speaker)
        effects = speaker.sample().effects
        a, b, c, d = (times() for _ in range(4))
        effects.append(a)
        effects.insert(0, b)
        effects.extend([c, d])
        assert list(effects) == [b, a, c, d]
        assert effects.pop() is d
        effects[0] = d
        assert list(effects) == [d, a, c]
        effects.reverse()
        assert list(effects) == [c, a, d]
        del effects[1:]
        assert effects == [c] or list(effects) == [c]
        effects[:] = [b, c]
        assert effects[:] == [b, c]
        assert c in effects
        assert "times" in repr(effects)
        for fx in effects:  # a snapshot
            effects.remove(fx)
        assert len(effects) == 0


def second_difference(played: np.ndarray) -> float:
    return float(np.abs(np.diff(played.astype(np.float64), 2)).max())


@pytest.mark.numbers
@pytest.mark.parametrize("seed", range(4))
async def test_no_change_of_a_list_clicks(seed: int) -> None:
    """1,000 of them in all; timed commands wait for effects that are removed."""
    chance = random.Random(seed)
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        voice = speaker.sample(buffer=2.0)
        makers = (
            lambda: times(level=chance.uniform(0.7, 1.0)),
            lambda: lowpass(amount=chance.uniform(0.0, 0.8)),
            lambda: echo(mix=chance.uniform(0.0, 0.08)),
        )
        written = 0
        played = []
        for _ in range(250):
            need = 480
            tone = 0.1 * np.sin(2 * np.pi * 997 / RATE * (written + np.arange(need)))
            voice.write_nowait(tone.astype(np.float32))
            written += need
            effects = voice.effects
            what = chance.randrange(6)
            if what == 0 and len(effects) < 4:
                effects.insert(chance.randint(0, len(effects)), chance.choice(makers)())
            elif what == 1 and len(effects):
                fx = chance.choice(effects)
                fx.set(**{next(iter(fx.values)): 0.5}, at=speaker.time + 0.03, over=0.01)
                effects.remove(fx)
            elif what == 2 and len(effects) > 1:
                effects.append(effects.pop(0))
            elif what == 3 and len(effects):
                fx = chance.choice(effects)
                fx.bypass = not fx.bypass
            elif what == 4 and len(effects):
                fx = chance.choice(effects)
                name = next(iter(fx.values))
                fx.set(**{name: 0.08 if name == "mix" else 0.7})
            elif what == 5:
                units = list(effects)
                chance.shuffle(units)
                effects[:] = units[:3]
            played.append(device.step(480))
        got = np.concatenate(played)[:, 0]
        sine_own = 0.1 * (2 * np.pi * 997 / RATE) ** 2
        assert np.abs(got).max() > 0.05
        assert second_difference(got[960:]) < 0.003, sine_own


async def test_a_command_for_an_effect_that_left_lands_nowhere() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        fx, other = times(), times()
        playing = speaker.load(np.ones(9600, np.float32)).play(effects=[fx, other])
        device.step(64)
        for k in range(20):
            fx.set(level=0.1, at=(1000 + k) / RATE, over=0)
        playing.effects[0] = times()
        played = np.concatenate([device.step(64) for _ in range(40)])[:, 0]
        np.testing.assert_allclose(played, 1.0, atol=1e-6)


async def test_an_effect_that_is_not_compiled_enters_when_it_is() -> None:
    number = next(numbers)  # else it would be compiled by now

    @kernel
    def fresh(block, level=0.5):
        for i in range(block.shape[0]):
            for c in range(block.shape[1]):
                block[i, c] *= level[i] + 0 * number

    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(buffer=2.0)
        voice.write_nowait(np.ones(48000, np.float32))
        fx = fresh()
        voice.effects.append(fx)
        assert list(voice.effects) == [fx]
        np.testing.assert_array_equal(device.step(64), 1.0, "the event loop did not wait")
        await fx.ready(speaker)
        with anyio.fail_after(20):
            while fx._attachment is None:
                await anyio.sleep(0.01)
        device.step(512)
        np.testing.assert_array_equal(device.step(64), 0.5)


async def test_a_refusal_is_raised_by_ready() -> None:
    @kernel
    def refused(block):
        memory = np.zeros(4)
        block[0, 0] = memory[0]

    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample()
        fx = refused()
        voice.effects.append(fx)
        with pytest.raises(KernelError, match="allocates"):
            await fx.ready(speaker)
        with anyio.fail_after(20):
            while fx.error is None:
                await anyio.sleep(0.01)
        voice.write_nowait(np.ones(640, np.float32))
        np.testing.assert_array_equal(device.step(64), 1.0, "the dry signal")
        osc = refused()
        playing = speaker.play(osc)
        with anyio.fail_after(20):
            while not playing.is_finished:
                await anyio.sleep(0.01)
        with pytest.raises(KernelError, match="allocates"):
            await playing.finished()


@pytest.mark.parametrize(
    ("maker", "message"),
    [(fails, "NaN or an infinity"), (reads_beyond, "IndexError.* in line")],
    ids=["infinity", "index error"],
)
async def test_an_effect_that_fails_lets_the_dry_signal_through(
    maker: Any, message: str
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        fx, other = maker(frames=200), times()
        voice = speaker.sample(buffer=1.0, effects=[fx, other])
        voice.write_nowait(np.ones(9600, np.float32))
        played = np.concatenate([device.step(64) for _ in range(12)])[:, 0]
        np.testing.assert_array_equal(played[:192], 1.0)
        np.testing.assert_array_equal(played[192:256], 0.0)
        np.testing.assert_array_equal(played[512:], 1.0)
        assert isinstance(fx.error, KernelError)
        with pytest.raises(KernelError, match=message):
            fx.frames = 500
        assert other.error is None
        assert voice.write_nowait(np.ones(10, np.float32)) == 10, "a write never raises for it"
        fx.reset()
        assert fx.error is None
        fx.set(frames=1e9, over=0)
        played = np.concatenate([device.step(64) for _ in range(12)])[:, 0]
        np.testing.assert_array_equal(played[512:], 1.0)
        assert fx.error is None


async def test_bypass_moves_to_the_dry_signal_and_back() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        fx = times(level=0.5)
        speaker.load(np.ones(48000, np.float32)).play(effects=[fx])
        np.testing.assert_array_equal(device.step(64), 0.5)
        fx.bypass = True
        played = np.concatenate([device.step(64) for _ in range(8)])[:, 0]
        assert np.all(np.diff(played) >= 0)
        assert np.abs(np.diff(played)).max() < 0.5 / 230
        np.testing.assert_array_equal(played[256:], 1.0)
        ran = fx._attachment.word("ran")
        device.step(640)
        assert fx._attachment.word("ran") == ran, "it is not called"
        device.step(64)
        fx.bypass = False
        device.step(320)
        np.testing.assert_array_equal(device.step(64), 0.5)
        with pytest.raises(FormatError, match="bypass"):
            fx.bypass = 1


# --- generators --------------------------------------------------------------------


async def test_a_generator_plays_from_its_frame_on() -> None:
    device = ManualDevice(latency=0.0)
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        osc = sine(frequency=480)
        playing = speaker.play(osc, at=100 / RATE, gain=0.5)
        played = np.concatenate([device.step(64) for _ in range(8)])[:, 0]
        np.testing.assert_array_equal(played[:100], 0)
        np.testing.assert_allclose(played[100:], 0.5 * pulse(412), atol=1e-6)
        assert not playing.is_finished
        osc.set(frequency=960, over=0)
        phase = osc.phase
        played = device.step(64)[:, 0]
        wanted = 0.25 * np.sin(2 * np.pi * (phase + 960 / RATE * np.arange(64)))
        np.testing.assert_allclose(played, wanted, atol=1e-6)
        assert playing.level().peak > 0.2


async def test_a_generator_ends_by_itself() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        await prepared(speaker)
        unit = ends(frames=100)
        playing = speaker.play(unit)
        finished = await spawn(group, playing.finished)
        played = np.concatenate([device.step(64) for _ in range(4)])[:, 0]
        np.testing.assert_array_equal(played, np.repeat(np.float32([1, 0]), [100, 156]))
        await settle()
        assert not finished.done, "it is not heard yet"
        device.step(480)
        await settle()
        assert finished.result is True
        again = speaker.play(unit)
        assert device.step(128).sum() == 100, "from zeros"
        device.step(640)
        assert again.is_finished


async def test_an_effect_that_is_played_as_a_generator_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        speaker.play(sine(frequency=480, level=0.0))  # silent now, and a generator all the same
        assert caplog.messages == []
        effect = lowpass()
        await effect.ready(speaker)
        speaker.play(effect)
        (message,) = caplog.messages
        assert message.startswith("lowpass (")
        assert "makes no sound of its own; if it is an effect, put it on what it" in message


async def test_a_generator_is_stopped_with_a_fade() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        await prepared(speaker)
        playing = speaker.play(ends(frames=1e9))
        finished = await spawn(group, playing.finished)
        device.step(64)
        playing.stop()
        played = np.concatenate([device.step(64) for _ in range(8)])[:, 0]
        np.testing.assert_allclose(played[:240], 1 - np.arange(1, 241) / 240, atol=1e-5)
        np.testing.assert_array_equal(played[240:], 0)
        await settle()
        assert finished.result is False


async def test_a_generator_that_fails_ends_and_says_so() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        unit = fails(frames=100)
        playing = speaker.play(unit)
        for _ in range(8):
            device.step(64)
        with pytest.raises(KernelError, match="NaN or an infinity"):
            await playing.finished()
        assert playing.is_finished


async def test_a_generator_has_all_that_a_voice_has() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, channels=2) as speaker:
        await prepared(speaker)
        bus = speaker.group(0.5)
        playing = speaker.play(ends(frames=1e9), pan=1.0, group=bus, effects=[times(level=0.5)])
        played = device.step(64)
        np.testing.assert_allclose(played[:, 0], 0, atol=1e-6)
        np.testing.assert_allclose(played[:, 1], 0.25 * math.sqrt(2), atol=1e-6)
        playing.gain = 0.5
        playing.pan(-1.0)
        device.step(640)
        np.testing.assert_allclose(device.step(64)[:, 0], 0.125 * math.sqrt(2), atol=1e-6)
        playing.muted = True
        device.step(640)
        np.testing.assert_array_equal(device.step(64), 0)
        playing.muted = False
        playing.pause()
        device.step(640)
        np.testing.assert_array_equal(device.step(64), 0)
        playing.resume()
        device.step(640)
        assert device.step(64).max() > 0.1
        bus.clear_nowait()
        device.step(640)
        np.testing.assert_array_equal(device.step(64), 0)
        assert not playing.is_finished, "a tail may ring"
        device.step(4800)
        assert playing.is_finished


async def test_a_generator_that_is_not_compiled_plays_when_it_is() -> None:
    number = next(numbers)

    @kernel
    def fresh(block):
        for i in range(block.shape[0]):
            for c in range(block.shape[1]):
                block[i, c] = 0.5 + 0 * number

    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        osc = fresh()
        with pytest.raises(AudioException, match="ready"):
            speaker.play(osc, at=1.0)
        playing = speaker.play(osc)
        await osc.ready(speaker)
        with anyio.fail_after(20):
            while not device.step(64).any():
                await anyio.sleep(0.01)
        np.testing.assert_array_equal(device.step(64), 0.5)
        assert not playing.is_finished


async def test_a_handle_that_is_dropped_lets_it_play_on() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await prepared(speaker)
        osc = sine()
        speaker.play(osc)
        device.step(64)
        speaker.engine.tidy()
        assert device.step(640).any()


@pytest.mark.parametrize("passed", [False, True])
async def test_a_generator_that_is_not_compiled_stops_at_its_time(passed: bool) -> None:
    number = next(numbers)

    @kernel
    def fresh(block):
        for i in range(block.shape[0]):
            for c in range(block.shape[1]):
                block[i, c] = 0.5 + 0 * number

    device = ManualDevice(latency=0.0)
    async with speaker_on(device, encoding=32) as speaker:
        osc = fresh()
        playing = speaker.play(osc)
        playing.stop(at=640 / RATE, fade=0)
        assert not playing.is_finished, "its time has not come"
        if passed:
            device.step(704)
        await osc.ready(speaker)
        with anyio.fail_after(20):
            while playing._playback._waits:
                await anyio.sleep(0.01)
        played = device.step(1280)[:, 0]
        assert np.count_nonzero(played) == (0 if passed else 640)
        with anyio.fail_after(20):
            assert not await playing.finished()
