"""Effects of whole outputs and inputs, a limiter, and what latency and tails do to counts."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio, dsp, kernel
from audiostream.errors import FormatError, KernelError
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio

RATE = 48000
NOISE = np.random.default_rng(5).uniform(-0.5, 0.5, 4800).astype(np.float32)
LATE = 240
"""Frames of the limiter's look-ahead."""


@kernel
def times(block, level=0.5):
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] *= level[i]


@kernel(state={"z": "f8"}, tail=0.2)
def rings(block, state):
    """A tail that falls by 60 dB in about 0.14 s."""
    for i in range(block.shape[0]):
        state.z = 0.999 * state.z + block[i, 0]
        block[i, 0] = 0.1 * state.z


async def test_the_mix_goes_through_an_outputs_effects() -> None:
    device = ManualDevice()
    fx = times()
    async with speaker_on(device, encoding=32, effects=[fx]) as speaker:
        speaker.load(NOISE).play()
        np.testing.assert_array_equal(device.step(64)[:, 0], NOISE[:64] / 2)
        assert list(speaker.effects) == [fx]
        assert "output" in repr(fx)
        fx.set(level=2.0, over=0, at=100 / RATE)
        played = device.step(64)[:, 0]
        np.testing.assert_array_equal(played[:36], NOISE[64:100] / 2)
        np.testing.assert_array_equal(played[36:], np.clip(NOISE[100:128] * 2, -1, 1))
        speaker.effects.clear()
        device.step(320)
        np.testing.assert_array_equal(device.step(64)[:, 0], NOISE[448:512])
        speaker.effects = [fx]
        assert fx.error is None


async def test_thirty_loud_sounds_do_not_clip_with_the_limiter() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32, limiter=True) as speaker:
        (limiter,) = speaker.effects
        assert speaker.latency == pytest.approx(0.01 + LATE / RATE)
        assert limiter.latency == pytest.approx(LATE / RATE)
        sound = speaker.load(0.5 * np.sin(2 * np.pi * 480 / RATE * np.arange(4800)))
        for _ in range(30):
            sound.play()
        played = np.concatenate([device.step(64) for _ in range(80)])[:, 0]
        ceiling = 10 ** (-0.3 / 20)
        assert np.abs(played).max() <= ceiling + 1e-7
        assert np.abs(played[1000:4800]).max() > 0.99 * ceiling
        assert limiter.reduction_db >= 0
        assert np.mean(np.abs(played) > ceiling - 1e-4) < 0.05, "no flat tops, as of clipping"


@pytest.mark.parametrize("place", ["voice", "group", "output"])
async def test_counts_are_exact_with_latency(place: str) -> None:
    """Position, drain, marks and clear, against what was recorded at the speaker."""
    device = ManualDevice(latency=0.01)
    fx = dsp.limiter()
    more: dict[str, Any] = {"effects": [fx]} if place == "output" else {}
    async with (
        speaker_on(device, encoding=32, **more) as speaker,
        anyio.create_task_group() as tasks,
    ):
        await fx.ready(speaker)
        bus = speaker.group(effects=[fx] if place == "group" else ())
        voice = speaker.sample(buffer=1.0, group=bus, effects=[fx] if place == "voice" else ())
        marks: list[Any] = []

        async def follow() -> None:
            async for mark in voice.marks():
                marks.append((mark.name, device.time))

        tasks.start_soon(follow)
        voice.write_nowait(NOISE)
        voice.mark("end")
        drained = await spawn(tasks, voice.drain)
        heard = []
        latency = round(0.01 * RATE)
        recorded: list[np.ndarray] = []
        for _ in range(200):
            recorded.append(device.step(64))
            frames = round(device.time * RATE)
            heard.append((frames - latency - LATE, voice.position))
            await settle(4)
            if drained.done:
                break
        played = np.concatenate(recorded)[:, 0]
        np.testing.assert_allclose(played[LATE : LATE + 4800], NOISE, atol=1e-7)
        assert not played[:LATE].any()
        for due, position in heard:
            assert position == min(max(due, 0), 4800)
        assert drained.done
        frames = round(device.time * RATE)
        assert frames - latency >= LATE + 4800
        assert frames - latency < 3 * LATE + 4800 + 4800 + 3 * 64, "0.1 s for the tail"
        ((name, time),) = marks
        assert name == "end"
        assert round(time * RATE) - latency - LATE in range(4800, 4800 + 128)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("place", ["voice", "output"])
async def test_clear_counts_what_was_heard_through_latency(place: str) -> None:
    device = ManualDevice(latency=0.0)
    fx = dsp.limiter()
    more: dict[str, Any] = {"effects": [fx]} if place == "output" else {}
    async with (
        speaker_on(device, encoding=32, **more) as speaker,
        anyio.create_task_group() as tasks,
    ):
        await fx.ready(speaker)
        voice = speaker.sample(buffer=1.0, effects=[fx] if place == "voice" else ())
        voice.write_nowait(np.full(4800, 0.5, np.float32))
        first = device.step(960)
        cleared = await spawn(tasks, voice.clear)
        rest = np.concatenate([device.step(64) for _ in range(20)])
        await settle()
        played = np.concatenate([first, rest])[:, 0]
        assert cleared.done
        heard = cleared.result
        assert heard == voice.position
        assert voice.written == voice.position + voice.cleared
        np.testing.assert_allclose(played[LATE : LATE + 960], 0.5, atol=1e-7)
        last = np.flatnonzero(played)[-1] + 1
        assert abs(last - LATE - heard) <= 1, (last, heard)


async def test_drain_and_finished_wait_for_the_tail() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as tasks:
        await rings().ready(speaker)
        voice = speaker.sample(effects=[rings()])
        playing = speaker.load(NOISE[:480]).play(effects=[rings()])
        voice.write_nowait(NOISE[:480])
        drained = await spawn(tasks, voice.drain)
        finished = await spawn(tasks, playing.finished)
        device.step(960)
        await settle()
        assert voice.position == 480
        assert not drained.done
        assert not finished.done
        for _ in range(50):
            played = device.step(960)
            await settle(4)
            if drained.done and finished.done:
                break
        assert np.abs(played).max() < 1e-4
        assert drained.done
        assert finished.result is True


# --- inputs ------------------------------------------------------------------------


async def test_chunks_have_gone_through_an_inputs_effects() -> None:
    device = ManualDevice()
    fx = times()
    async with aio.get_input(
        source=device, rate=RATE, channels=1, encoding=32, buffersize=64, effects=[fx]
    ) as mic:
        device.feed(NOISE)
        device.step(256)
        for k in range(4):
            chunk = np.frombuffer(await mic.read(64), np.float32)
            np.testing.assert_array_equal(chunk, NOISE[64 * k : 64 * k + 64] / 2)
        mic.effects.clear()
        device.step(512)
        await mic.read(448)
        chunk = np.frombuffer(await mic.read(64), np.float32)
        np.testing.assert_array_equal(chunk, NOISE[704:768])
        assert "input" in repr(fx) or "no list" in repr(fx)


async def test_an_inputs_effects_shift_the_time_of_its_chunks() -> None:
    device = ManualDevice()
    async with aio.get_input(
        source=device, rate=RATE, channels=1, encoding=32, buffersize=64
    ) as mic:
        device.step(640)
        await mic.read(640)
        before = mic.chunk_time
        fx = dsp.limiter()
        await fx.ready(mic)
        mic.effects.append(fx)
        device.step(640)
        await mic.read(640)
        assert mic.chunk_time - before == pytest.approx((640 - LATE) / RATE, abs=2e-4)
        assert mic.latency == pytest.approx(LATE / RATE)


async def test_from_a_microphone_through_an_equaliser_and_a_gate() -> None:
    """Its response, measured through a loopback, is the filter's own."""
    device = ManualDevice()
    eq = dsp.peaking(frequency=1000.0, q=1.0, gain_db=12.0)
    gate = dsp.gate(threshold_db=-80.0)
    period = np.random.default_rng(2).uniform(-0.1, 0.1, 4800).astype(np.float32)
    async with aio.get_input(
        source=device, rate=RATE, channels=1, encoding=32, buffersize=960, effects=[eq, gate]
    ) as mic:
        device.feed(np.tile(period, 4))
        device.step(19200)
        chunks = []
        async for chunk in mic:
            chunks.append(np.frombuffer(chunk, np.float32))
            if len(chunks) == 20:
                break
    heard = np.concatenate(chunks)[-4800:]  # by then the gate is open
    measured = np.fft.rfft(heard) / np.fft.rfft(period)
    frequencies = np.fft.rfftfreq(4800, 1 / RATE)[5:-5]
    wanted = eq.response(frequencies, RATE)
    np.testing.assert_allclose(measured[5:-5], wanted, atol=2e-3)
    assert 11.9 < 20 * np.log10(np.abs(measured).max()) < 12.1


# --- what goes wrong ---------------------------------------------------------------


async def test_a_refusal_keeps_a_stream_closed() -> None:
    @kernel
    def refused(block):
        print(block[0, 0])

    for stream in (
        aio.get_output(device=ManualDevice(), effects=[refused()]),
        aio.get_input(source=ManualDevice(), effects=[refused()]),
    ):
        with pytest.raises(KernelError, match="print"):
            async with stream:
                pass
        assert stream.is_closed


@pytest.mark.parametrize("effects", [5, [5], [times]])
async def test_what_is_no_effect(effects: Any) -> None:
    with pytest.raises(FormatError):
        aio.get_output(device=ManualDevice(), effects=effects)
    with pytest.raises(FormatError):
        aio.get_input(source=ManualDevice(), effects=effects)
    with pytest.raises(FormatError, match="limiter"):
        aio.get_output(device=ManualDevice(), limiter=1)


def test_an_infinite_response_is_none() -> None:
    assert math.isfinite(abs(dsp.lowpass().response([1000.0], RATE)[0]))


# --- tails at an end ---------------------------------------------------------------


@kernel(state={"z": "f8"}, tail=10.0)
def holds(block, state):
    """Keeps the loudest value that it has seen."""
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            state.z = max(state.z, abs(block[i, c]))
            block[i, c] = state.z


def is_a_fade(played: np.ndarray, frames: int = 240) -> bool:
    """True if it goes to zero without an edge, in so many frames and a block."""
    steps = np.abs(np.diff(played))
    return bool(steps.max() < 1.5 / frames and not played[frames + 128 :].any())


@pytest.mark.parametrize("tails", [True, False])
async def test_a_clear_leaves_tails_or_not(tails: bool) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await holds().ready(speaker)
        bus = speaker.group(effects=[holds()])
        for clear in ("sample", "group"):
            voice = speaker.sample(group=bus if clear == "group" else None, effects=[holds()])
            voice.write_nowait(np.full(4800, 0.5, np.float32))
            device.step(640)
            (voice if clear == "sample" else bus).clear_nowait(tails=tails)
            played = np.concatenate([device.step(64) for _ in range(20)])[:, 0]
            if tails:
                np.testing.assert_array_equal(played, 0.5)
                bus.clear_nowait(tails=False)
                voice.clear_nowait(tails=False)
                device.step(960)
            else:
                assert is_a_fade(played)
            voice.write_nowait(np.full(640, 0.25, np.float32))
            device.step(480)
            np.testing.assert_array_equal(device.step(64), 0.25, "it plays again")
            await voice.aclose()
            device.step(960)


@pytest.mark.parametrize("what", ["sample", "group"])
async def test_what_leaves_fades_out_after_its_effects(what: str) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        await holds().ready(speaker)
        bus = speaker.group(effects=[holds()] if what == "group" else ())
        voice = speaker.sample(group=bus, effects=[holds()] if what == "sample" else ())
        voice.write_nowait(np.full(640, 0.5, np.float32))
        voice.end()
        device.step(1280)
        np.testing.assert_array_equal(device.step(64), 0.5, "a tail")
        if what == "sample":
            await voice.aclose()
        else:
            bus.close()
        played = np.concatenate([device.step(64) for _ in range(20)])[:, 0]
        assert is_a_fade(played)


async def test_outputs_are_of_a_whole_block() -> None:
    @kernel(state={"a": "f8", "b": "i8"}, outputs=("a", "b"))
    def counts(block, state):
        state.a += 0.5
        state.b += block.shape[0]

    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        fx = counts()
        assert (fx.a, fx.b) == (0.0, 0.0)
        await fx.ready(speaker)
        speaker.effects.append(fx)
        device.step(256)
        assert (fx.a, fx.b) == (2.0, 256.0)
        with pytest.raises(AttributeError):
            fx.a = 1.0


def with_effects(what: str, device: ManualDevice) -> tuple[Any, Any]:
    """A stream with effects of one kind, that plays, and what has them."""
    if what == "input":
        mic = aio.AudioInput(source=device, rate=RATE, effects=[times()]).open_blocking()
        device.step(64)
        return mic, None
    speaker = aio.AudioOutput(RATE, 1, 32, 64, device=device).open_blocking()
    one: Any = None
    if what == "output":
        speaker.effects = [times()]
    elif what == "sample":
        one = speaker.sample(effects=[times()])
        one.write_nowait(NOISE[:100])
    elif what == "sound":
        one = speaker.load(NOISE).play(effects=[times()])
    elif what == "group":
        one = speaker.group(effects=[times()])
    else:
        one = speaker.play(rings(), effects=[times()])
    device.step(64)
    return speaker, one


@pytest.mark.parametrize("what", ["output", "input", "sample", "sound", "group", "generator"])
def test_a_closed_stream_is_freed_at_once(what: str) -> None:
    """Not by the garbage collector: nodes hold buffers."""
    gc.collect()
    gc.disable()
    try:
        stream, one = with_effects(what, ManualDevice(buffersize=64))
        reference = weakref.ref(stream.engine)
        stream.close()
        del stream, one
        assert reference() is None
    finally:
        gc.enable()


def test_an_effect_is_free_once_its_sound_is_over() -> None:
    device = ManualDevice(buffersize=64)
    with aio.AudioOutput(RATE, 1, 32, 64, device=device) as speaker:
        fx = times()
        sound = speaker.load(NOISE[:64])
        for _ in range(3):
            playing = sound.play(effects=[fx])
            device.step(9600)
            assert playing.is_finished
            speaker.engine.slots.sweep()
        group = speaker.group(effects=[fx])
        group.close()
        device.step(640)
        speaker.engine.slots.sweep()
        assert list(speaker.sample(effects=[fx]).effects) == [fx]


def test_a_generator_that_plays_elsewhere_stays_attached() -> None:
    first, second = ManualDevice(buffersize=64), ManualDevice(buffersize=64)
    with (
        aio.AudioOutput(RATE, 1, 32, 64, device=first) as one,
        aio.AudioOutput(RATE, 1, 32, 64, device=second) as other,
    ):
        unit = rings()
        one.play(unit).stop()
        first.step(9600)
        other.play(unit)
        one.engine.slots.sweep()
        assert unit._attachment is not None
        assert "generator" in repr(unit)


def test_a_bypassed_effect_with_latency_leaves_without_a_click() -> None:
    """It was never called, but its dry signal is late."""
    device = ManualDevice(buffersize=64)
    with aio.AudioOutput(RATE, 1, 32, 64, device=device) as speaker:
        fx = dsp.limiter()
        fx.bypass = True
        tone = 0.1 * np.sin(2 * np.pi * 997 / RATE * np.arange(9600))
        playing = speaker.load(tone.astype(np.float32)).play(effects=[fx])
        before = device.step(1920)
        playing.effects.clear()
        played = np.concatenate([before, device.step(1920)])[:, 0]
        np.testing.assert_allclose(played[LATE:1920], tone[: 1920 - LATE], atol=1e-6)
        assert np.abs(np.diff(played[LATE:], 2)).max() < 0.003
