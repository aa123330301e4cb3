"""Generators on asyncio and trio: what is heard of them, back-pressure, ends and errors."""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
import soundfile
import soxr

from audiostream.aio import sample as sample_module
from audiostream.aio import sources
from audiostream.aio.sources import Source
from audiostream.aio.sources.source import block_for
from audiostream.errors import AudioException, FormatError, PatchError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.aio.support import ramp, settle, spawn, speaker_on
from tests.libpd.support import PATCHES
from tests.sources.signals import decibels, distortion, pitch

pytestmark = pytest.mark.anyio

BLOCK = 64
"""Frames of the devices' blocks."""


async def until(condition: Callable[[], object]) -> None:
    """Wait for a fact that another thread brings about."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.001)


async def stepped(device: ManualDevice, frames: int, step: int = BLOCK) -> np.ndarray:
    """What the device plays in so many frames, the event loop having its turns between."""
    heard = [device.step(0)]
    for at in range(0, frames, step):
        heard.append(device.step(min(step, frames - at)))
        await settle()
    return np.concatenate(heard)


async def rendered(
    source: Any,
    frames: int,
    change: Callable[[int], object] | None = None,
    ahead: int | None = 4800,
    **options: Any,
) -> np.ndarray:
    """A source as it is heard; `change` is called every 480 frames."""
    device = ManualDevice()
    async with speaker_on(device, **options) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(source, ahead=ahead))
        heard = []
        for at in range(0, frames, 480):
            if change is not None:
                change(at)
            heard.append(await stepped(device, 480, 480))
        assert speaker.stats.starved == 0
        running.scope.cancel()
    assert running.error is None
    return np.concatenate(heard)[:frames]


class Counter(Source):
    """Chunks of values that tell their place, and what becomes of it."""

    def __init__(self, chunks: int | None = None, frames: int = 100) -> None:
        self.chunks = math.inf if chunks is None else chunks
        self.frames = frames
        self.made = 0
        self.closed = 0

    async def get_bytes(self) -> Any:
        if self.made >= self.chunks * self.frames:
            return None
        self.made += self.frames
        return ramp(self.made - self.frames, self.frames)

    async def aclose(self) -> None:
        self.closed += 1


# --------------------------------------------------------------------------- what is played


def chunks_of(data: np.ndarray) -> list[Any]:
    """Pieces of every kind that a write takes."""
    return [
        data[:100],
        data[100:333].tobytes(),
        bytearray(data[333:334].tobytes()),
        data[334:900].astype(np.float32) / 32768,
        memoryview(data[900:].tobytes()),
    ]


class Listed(Source):
    def __init__(self, chunks: list[Any]) -> None:
        self.chunks = list(chunks)

    async def get_bytes(self) -> Any:
        return self.chunks.pop(0) if self.chunks else None


async def generated(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


class Plain:
    """An async iterable that is no generator, without an aclose."""

    def __init__(self, chunks: list[Any]) -> None:
        self.chunks = iter(chunks)

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.chunks)
        except StopIteration:
            raise StopAsyncIteration from None


@pytest.mark.parametrize(
    "iterable", [Listed, generated, Plain, iter, list], ids=lambda kind: kind.__name__
)
async def test_every_kind_of_generator_is_heard_bit_for_bit(
    iterable: Callable[[list[Any]], Any],
) -> None:
    device = ManualDevice()
    data = ramp(0, 1500)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=256 / 48000)
        running = await spawn(group, lambda: sample.write_from(iterable(chunks_of(data))))
        heard = await stepped(device, 1600)
        assert running.done
        assert running.result == 1500
        assert np.array_equal(heard[:1500], data)
        assert not heard[1500:].any()
        assert speaker.stats.starved == 0  # the end was told


async def test_one_source_after_the_other_without_a_gap() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        sample = speaker.sample(buffer=1.0)
        assert await sample.write_from(Counter(3)) == 300
        assert await sample.write_from([ramp(300, 50)]) == 50
        assert np.array_equal(device.step(350), ramp(0, 350))


async def test_a_source_knows_its_sample() -> None:
    seen = []

    class Curious(Source):
        async def get_bytes(self) -> None:
            seen.append((self.format.encoding, self.rate, self.channels))

    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker:
        sample = speaker.sample(rate=16000, channels=1, encoding=8)
        assert await sample.write_from(Curious()) == 0
    assert seen == [(8, 16000, 1)]


async def test_the_base_class_has_nothing_to_say() -> None:
    source = Source()
    assert await source.get_bytes() == b""
    await source.aclose()


# ------------------------------------------------------------------------------ back-pressure


@pytest.mark.parametrize(("ahead", "frames"), [(128, 10), (480, 100), (1000, 700)])
async def test_a_generator_that_is_ahead_waits(ahead: int, frames: int) -> None:
    device = ManualDevice()
    source = Counter(frames=frames)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(source, ahead=ahead))
        await settle(40)
        assert ahead <= source.made <= ahead + frames
        played = 0
        for _ in range(100):
            await settle(40)  # as long as it would go on by itself
            # It is asked again when half of it is played.
            assert ahead // 2 <= source.made - played <= ahead + frames
            # In steps that leave something in hand: it is asked before it runs dry.
            device.step(min(BLOCK, ahead // 2))
            played += min(BLOCK, ahead // 2)
        assert speaker.stats.starved == 0
        assert not running.done
        running.scope.cancel()


@pytest.mark.parametrize("rate", [16000, 96000])
async def test_the_limit_is_of_the_samples_own_frames(rate: int) -> None:
    device = ManualDevice()
    source = Counter(frames=50)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(rate=rate)
        running = await spawn(group, lambda: sample.write_from(source, ahead=1000))
        await settle(100)
        # What the resampler holds back, half of its filter, has not got into the ring yet.
        assert 1000 <= source.made <= 1000 + 50 + 160
        running.scope.cancel()


async def test_no_less_than_two_blocks_and_no_more_than_the_ring() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        for ahead, held in ((0, 2 * BLOCK), (10**9, 4800)):
            sample = speaker.sample(buffer=0.1)
            source = Counter(frames=16)
            running = await spawn(
                group, lambda s=sample, g=source, a=ahead: s.write_from(g, ahead=a)
            )
            await settle(100)
            assert (sample.written, source.made) == (held, held + 16)
            running.scope.cancel()


async def test_without_a_limit_sources_are_a_tenth_of_a_second_ahead() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        for source, held in ((Counter(), 4800), ((ramp(0, 100) for _ in range(999)), 12000)):
            sample = speaker.sample()
            running = await spawn(group, lambda s=sample, g=source: s.write_from(g))
            await settle(100)
            assert sample.written == held
            running.scope.cancel()


@pytest.mark.parametrize(("ahead", "frames"), [(128, 32), (480, 100), (2400, 480)])
async def test_a_change_is_heard_within_the_documented_time(ahead: int, frames: int) -> None:
    class Level(Source):
        value = 1

        async def get_bytes(self) -> Any:
            return np.full(frames, self.value, np.int16)

    device = ManualDevice()
    source = Level()
    worst = 0
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(source, ahead=ahead))
        for number in range(2, 12):
            await stepped(device, 37 * number)
            source.value = number
            heard = (await stepped(device, 2 * (ahead + frames + BLOCK)))[:, 0]
            assert set(heard) == {number - 1, number}
            worst = max(worst, int((heard == number).argmax()))
        running.scope.cancel()
    assert ahead // 2 <= worst <= ahead + frames + BLOCK


async def test_a_source_is_played_by_one_sample_at_a_time() -> None:
    device = ManualDevice()
    source = sources.sine(400)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        first, second = speaker.sample(), speaker.sample()
        group.start_soon(first.write_from, source)
        await settle()
        with pytest.raises(AudioException, match="another one"):
            await second.write_from(source)
        assert second.written == 0
        heard = await stepped(device, 960)
        assert np.abs(heard).max() > 1000, "the first one plays on"
        group.cancel_scope.cancel()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        group.start_soon(speaker.sample().write_from, source)
        assert np.abs(await stepped(device, 960)).max() > 1000, "and again, once it was closed"
        group.cancel_scope.cancel()


async def test_the_limit_is_lifted_afterwards() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=0.1)
        await sample.write_from(Counter(1), ahead=200)
        assert sample.write_nowait(ramp(0, 10000)) == 4800 - 100
        device.step(4800)
        running = await spawn(group, lambda: sample.write_from(Counter(), ahead=200))
        assert sample.write_nowait(ramp(0, 10000)) == 0
        running.scope.cancel()
        await settle()
        assert sample.write_nowait(ramp(0, 10000)) == 4800 - 200


async def test_a_source_with_nothing_to_say_is_asked_once_a_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    class Shy(Source):
        asked = 0

        async def get_bytes(self) -> Any:
            self.asked += 1
            return b"" if self.asked <= 20 else ramp(0, 30) if self.asked == 21 else None

    device = ManualDevice()
    source = Shy()
    async with speaker_on(device, buffersize=480) as speaker:
        sample = speaker.sample()
        with monkeypatch.context() as patch:
            patch.setattr("audiostream.aio.sample.anyio.sleep", sleep)
            assert await sample.write_from(source) == 30
        assert slept == [0.01] * 20
        assert np.array_equal(device.step(30), ramp(0, 30))


async def test_a_generator_with_nothing_to_say_is_asked_once_a_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def shy() -> AsyncIterator[Any]:
        for chunk in (b"", np.zeros((0, 1), np.float32), ramp(0, 30), b""):
            yield chunk

    device = ManualDevice()
    async with speaker_on(device, buffersize=480) as speaker:
        sample = speaker.sample()
        with monkeypatch.context() as patch:
            patch.setattr("audiostream.aio.sample.anyio.sleep", sleep)
            assert await sample.write_from(shy()) == 30
        assert slept == [0.01] * 3
        assert np.array_equal(device.step(30), ramp(0, 30))


# -------------------------------------------------------------------------- ends and errors


async def test_the_end_is_told_and_the_source_closed() -> None:
    device = ManualDevice()
    source = Counter(2)
    async with speaker_on(device) as speaker:
        sample = speaker.sample()
        assert await sample.write_from(source) == 200
        assert source.closed == 1
        device.step(1000)
        assert (sample.starved, speaker.stats.starved) == (0, 0)
        assert sample.position == 200


@pytest.mark.parametrize("kind", ["source", "async generator", "generator"])
async def test_an_error_is_the_callers_and_others_play_on(kind: str) -> None:
    class Failing(Counter):
        async def get_bytes(self) -> Any:
            return await super().get_bytes() if self.made < 300 else 1 / 0

    async def failing() -> AsyncIterator[Any]:
        for at in (0, 100, 200):
            yield ramp(at, 100)
        raise ZeroDivisionError

    def ordinary() -> Iterator[Any]:
        yield from (ramp(at, 100) for at in (0, 100, 200))
        raise ZeroDivisionError

    make: Any = {"source": Failing, "async generator": failing, "generator": ordinary}[kind]
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        other = speaker.sample()
        good = await spawn(group, lambda: other.write_from([np.full(100, 7, np.int16)] * 50))
        sample = speaker.sample()
        with pytest.raises(ZeroDivisionError):
            await sample.write_from(make())
        heard = (await stepped(device, 1000))[:, 0]
        # What was made before is still heard, and only then is there silence.
        assert np.array_equal(heard[:300] - 7, ramp(0, 300)[:, 0])
        assert set(heard[300:]) == {7}
        assert sample.starved == 0
        assert good.error is None
        # The sample is as good as new.
        assert await sample.write_from([ramp(0, 10)]) == 10
        good.scope.cancel()


async def test_what_cannot_be_played_is_said_by_the_write() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        sample = speaker.sample()
        source = Listed(["words"])
        with pytest.raises(TypeError):
            await sample.write_from(source)
        with pytest.raises(FormatError):
            await sample.write_from([np.zeros((4, 3), np.int16)])


@pytest.mark.parametrize("wrong", [b"one", bytearray(2), memoryview(b"1"), np.ones(3)])
async def test_a_chunk_is_no_iterable_of_chunks(wrong: Any) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        with pytest.raises(TypeError, match="takes one chunk"):
            await speaker.sample().write_from(wrong)


@pytest.mark.parametrize("wrong", [None, 3, Counter])
async def test_what_is_no_iterable(wrong: Any) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        with pytest.raises(TypeError, match="plays a Source"):
            await speaker.sample().write_from(wrong)


@pytest.mark.parametrize("ahead", ["10", 1.5])
async def test_ahead_is_a_whole_number(ahead: Any) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        with pytest.raises(FormatError, match="ahead"):
            await speaker.sample().write_from(Counter(1), ahead=ahead)


async def test_cancelled_it_closes_the_generator_before_it_returns() -> None:
    ended = []

    async def endless() -> AsyncIterator[Any]:
        try:
            while True:
                yield ramp(0, 100)
        finally:
            await anyio.sleep(0)  # it may wait, in spite of the cancellation
            ended.append("generator")

    def ordinary() -> Iterator[Any]:
        try:
            while True:
                yield ramp(0, 100)
        finally:
            ended.append("ordinary")

    class Slow(Counter):
        async def aclose(self) -> None:
            await anyio.sleep(0)
            ended.append("source")

    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        for make in (endless, ordinary, Slow):
            sample = speaker.sample()
            running = await spawn(group, lambda s=sample, m=make: s.write_from(m(), ahead=480))
            assert not running.done
            running.scope.cancel()
            await settle(20)
            assert running.done
            device.step(600)
            assert sample.starved == 0
            await sample.aclose()
    assert ended == ["generator", "ordinary", "source"]


async def test_cancelled_in_the_generator_itself() -> None:
    ended = []

    async def waiting() -> AsyncIterator[Any]:
        try:
            yield ramp(0, 50)
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(waiting()))
        assert not ended
        running.scope.cancel()
        await settle()
        assert ended == [True]
        assert np.array_equal(device.step(50), ramp(0, 50))


async def test_an_output_that_closes_ends_it_with_its_error() -> None:
    device = ManualDevice()
    source = Counter()
    async with anyio.create_task_group() as group:
        async with speaker_on(device) as speaker:
            sample = speaker.sample()
            running = await spawn(group, lambda: sample.write_from(source))
        await settle()
        assert isinstance(running.error, StreamClosedError)
        assert source.closed == 1


# --------------------------------------------------------------------------------- the waves


@pytest.mark.numbers
@pytest.mark.parametrize(
    ("frequency", "rate", "channels"), [(440.0, 44100, 2), (1000.37, 48000, 1), (61.7, 8000, 3)]
)
async def test_a_sine_has_its_pitch(frequency: float, rate: int, channels: int) -> None:
    heard = await rendered(
        sources.sine(frequency), 4 * rate, rate=rate, channels=channels, ahead=rate // 10 + 480
    )
    for channel in heard.T:
        assert pitch(channel, rate) == pytest.approx(frequency, abs=0.01)
        assert np.array_equal(channel, heard[:, 0])
    assert np.abs(heard).max() == pytest.approx(16384, abs=2)


@pytest.mark.numbers
@pytest.mark.parametrize("frequency", [440, 997, 5003])
@pytest.mark.parametrize("amplitude", [0.5, 0.99])
async def test_a_sine_has_no_harmonics(frequency: int, amplitude: float) -> None:
    heard = await rendered(sources.sine(frequency, amplitude), 48000)
    harmonics, all_else = distortion(heard[:, 0], 48000, frequency)
    assert harmonics < -95
    assert all_else < -90  # 16 bits: -92 dB at half of full scale


@pytest.mark.numbers
@pytest.mark.parametrize("make", [sources.square, sources.saw])
@pytest.mark.parametrize("frequency", [443.21, 1234.0])
async def test_waves_with_edges_have_their_pitch_and_few_aliases(
    make: Callable[..., Any], frequency: float
) -> None:
    heard = (await rendered(make(frequency, 0.5), 96000, encoding=32))[:, 0]
    assert pitch(heard, 48000) == pytest.approx(frequency, abs=0.01)
    phases = np.arange(96000) * frequency / 48000
    bare = {
        sources.square: 0.5 * np.where(phases % 1 < 0.5, 1, -1),
        sources.saw: (phases + 0.5) % 1 - 0.5,
    }[make]
    assert 0.45 < np.abs(heard).max() <= 0.5001
    # Away from the edges it is the wave itself.
    near = np.median(np.abs(heard - bare))
    assert near < 1e-6
    assert aliases(heard, frequency) < -40
    assert aliases(heard, frequency) < aliases(bare, frequency) - 10


def aliases(signal: np.ndarray, frequency: float) -> float:
    """dB of the loudest thing below 12 kHz that is no harmonic, against the fundamental."""
    spectrum = np.abs(np.fft.rfft(signal * np.blackman(len(signal))))
    hertz = np.arange(len(spectrum)) * 48000 / len(signal)
    nearest = np.maximum(np.round(hertz / frequency), 0) * frequency
    between = (np.abs(hertz - nearest) > 6) & (hertz < 12000)
    return decibels(spectrum[between].max() / spectrum.max())


@pytest.mark.parametrize("make", [sources.sine, sources.saw, sources.square])
async def test_the_phase_goes_on_when_the_frequency_moves(make: Callable[..., Any]) -> None:
    random = np.random.default_rng(3)
    source = make(1000.0, 0.5)
    wanted: list[float] = []

    def change(_: int) -> None:
        wanted.append(source.frequency)
        source.frequency = float(random.uniform(50, 2000))

    heard = (await rendered(source, 48000, change, ahead=960, encoding=32))[:, 0]
    steps = np.abs(np.diff(heard.astype(np.float64)))
    crossings = np.count_nonzero(np.diff(np.signbit(heard)))
    if make is sources.sine:
        # The steepest that it gets by itself, in its zero crossings.
        assert steps.max() <= 0.5 * 2 * np.pi * 2000 / 48000 * 1.001
        assert crossings == pytest.approx(2 * np.mean(wanted), rel=0.1)
    else:
        # Between the edges, a few samples wide each, it is as smooth as ever.
        allowed = {sources.saw: 0.5 * 2 * 2000 / 48000, sources.square: 1e-6}[make]
        edges = np.count_nonzero(steps > allowed * 1.001)
        assert 0 < edges <= 3 * (crossings + 2)
        assert np.abs(heard).max() <= 0.5 * 1.001


async def test_a_frequency_that_is_set_is_heard_at_once_and_exactly() -> None:
    source = sources.sine(440)

    def change(at: int) -> None:
        if at == 4800:
            source.frequency = 660.6

    heard = (await rendered(source, 110000, change, ahead=480))[:, 0]
    assert pitch(heard[:4800], 48000) == pytest.approx(440, abs=0.5)
    assert pitch(heard[4800 + 480 + 128 + BLOCK :], 48000) == pytest.approx(660.6, abs=0.01)
    assert source.frequency == 660.6


@pytest.mark.parametrize("goal", [0.1, 0.9, 0.0])
async def test_an_amplitude_moves_in_a_line_within_5_ms(goal: float) -> None:
    source = sources.square(0.0, 0.5)  # it stands still, so that the level itself is heard

    def change(at: int) -> None:
        if at == 9600:
            source.amplitude = goal

    heard = (await rendered(source, 48000, change, ahead=960, encoding=32))[:, 0]
    steps = np.diff(heard.astype(np.float64))
    (moving,) = np.nonzero(steps)
    assert heard[0] == np.float32(0.5)
    assert heard[-1] == np.float32(goal)
    assert 0 < moving[-1] - moving[0] <= 240
    assert np.abs(steps).max() <= 1 / 240 + 1e-6
    assert source.amplitude == goal


async def test_the_amplitude_of_a_sine_moves_without_a_click() -> None:
    source = sources.sine(500, 0.5)
    random = np.random.default_rng(4)
    heard = await rendered(
        source,
        48000,
        lambda at: setattr(source, "amplitude", random.uniform(0, 0.5)),
        ahead=960,
        encoding=32,
    )
    steps = np.abs(np.diff(heard[:, 0].astype(np.float64)))
    assert steps.max() <= 0.5 * 2 * np.pi * 500 / 48000 + 0.5 / 240 + 1e-6
    source.amplitude = 0.25
    # A new beginning is at once at the amplitude that is set.
    heard = await rendered(source, 4800, encoding=32)
    assert np.abs(heard[:200]).max() == pytest.approx(0.25, abs=1e-3)
    # Within 5 ms it is there.
    heard = await rendered(
        source, 4800, lambda at: setattr(source, "amplitude", 0.5), ahead=480, encoding=32
    )
    assert np.abs(heard[1000:]).max() == pytest.approx(0.5, abs=1e-3)


async def test_noise_is_even_and_can_be_repeated() -> None:
    first, again, other, unseeded = [
        await rendered(sources.noise(0.5, seed), 48000, encoding=32, channels=2)
        for seed in (1, 1, 2, None)
    ]
    assert np.array_equal(first, again)
    for another in (other, unseeded):
        assert abs(np.corrcoef(first[:, 0], another[:, 0])[0, 1]) < 0.03
    assert np.array_equal(first[:, 0], first[:, 1])
    mono = first[:, 0].astype(np.float64)
    assert 0.4999 < np.abs(mono).max() <= 0.5
    assert mono.std() == pytest.approx(0.5 / 3**0.5, rel=0.01)
    assert abs(mono.mean()) < 0.01
    # White: the same power in each eighth of the spectrum.
    power = np.abs(np.fft.rfft(mono)) ** 2
    parts = power[: len(power) // 8 * 8].reshape(8, -1).sum(axis=1)
    assert np.abs(parts / parts.mean() - 1).max() < 0.1


async def test_silence_for_a_while_and_for_ever() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=1.0)
        source = sources.silence(0.0301)
        for _ in range(2):
            assert await sample.write_from(source) == 1445
        assert await sample.write_from([ramp(0, 10, 2)]) == 10
        heard = device.step(2 * 1445 + 10)
        assert not heard[:2890].any()
        assert heard[2890:].all()
        assert await sample.write_from(sources.silence(0)) == 0
        running = await spawn(group, lambda: sample.write_from(sources.silence()))
        await stepped(device, 9600, 480)
        assert not running.done
        running.scope.cancel()


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "high", None])
async def test_parameters_that_cannot_be_heard(value: Any) -> None:
    for make in (sources.sine, sources.square, sources.saw):
        with pytest.raises(FormatError, match="frequency"):
            make(value)
        with pytest.raises(FormatError, match="amplitude"):
            make(440, value)
    with pytest.raises(FormatError, match="amplitude"):
        sources.noise(value)
    if value is not None:
        with pytest.raises(FormatError, match="seconds"):
            sources.silence(value)
    wave = sources.sine(440, 0.5)
    with pytest.raises(FormatError):
        wave.frequency = value
    with pytest.raises(FormatError):
        wave.amplitude = value
    assert (wave.frequency, wave.amplitude) == (440, 0.5)


@pytest.mark.numbers
@pytest.mark.parametrize("make", [sources.sine, sources.saw, sources.square])
@pytest.mark.parametrize("frequency", [0.0, 1e-300, 24000.0, 23999.0, 30000.0, 1e12])
async def test_no_frequency_does_harm(make: Callable[..., Any], frequency: float) -> None:
    heard = await rendered(make(frequency, 0.5), 4800, encoding=32)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1.0


# ----------------------------------------------------------------------------------- files


def tone(rate: int, frames: int, channels: int) -> np.ndarray:
    """float32 (frames, channels), another pitch on each."""
    time = np.arange(frames) / rate
    pitches = 300 * (1 + np.arange(channels))
    return (0.4 * np.sin(2 * np.pi * time[:, None] * pitches)).astype(np.float32)


async def whole(source: Any, rate: int = 48000, channels: int = 1) -> np.ndarray:
    """All of a source that ends, float32."""
    device = ManualDevice()
    async with speaker_on(device, rate=rate, channels=channels, encoding=32) as speaker:
        sample = speaker.sample(buffer=10.0)
        frames = await sample.write_from(source, ahead=10 * rate)
        return device.step(frames)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
async def test_a_file_at_the_same_rate_is_heard_bit_for_bit(
    tmp_path: Path, suffix: str, channels: int
) -> None:
    path = tmp_path / f"sound.{suffix}"
    data = np.random.default_rng(1).integers(-32768, 32768, (30001, channels), np.int16)
    soundfile.write(path, data, 48000, subtype="PCM_16")
    heard = await whole(sources.file(path), channels=channels)
    assert np.array_equal(heard * 32768, data)


@pytest.mark.numbers
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize(("channels", "to"), [(1, 1), (2, 1), (1, 2), (2, 2)])
async def test_a_file_at_another_rate_is_converted(
    tmp_path: Path, rate: int, channels: int, to: int
) -> None:
    path = tmp_path / "sound.wav"
    data = tone(rate, rate, channels)
    soundfile.write(path, data, rate, subtype="FLOAT")
    heard = await whole(sources.file(path), channels=to)
    assert len(heard) == 48000
    oracle = soxr.resample(data, rate, 48000, "VHQ")
    if channels > to:
        oracle = oracle.mean(axis=1, keepdims=True)
    else:
        oracle = np.repeat(oracle, to // channels, axis=1)
    middle = slice(2000, -2000)
    assert np.abs(heard[middle] - oracle[middle]).max() < 0.4 * 10 ** (-80 / 20)


async def test_a_file_that_loops_has_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    data = ramp(0, 777)
    soundfile.write(path, data, 48000, subtype="PCM_16")
    device = ManualDevice()
    source = sources.file(path, loop=True)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=1.0)
        running = await spawn(group, lambda: sample.write_from(source, ahead=24000))
        heard = []
        for _ in range(4):
            await until(lambda: sample.buffered >= 24000)
            heard.append(device.step(12000))
        source.loop = False
        await until(lambda: running.done or (device.step(64), False)[1])
        assert running.error is None
    played = np.concatenate(heard)
    assert np.array_equal(played[:, 0], np.resize(data[:, 0], len(played)))


async def test_a_few_frames_that_loop_are_not_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.wav"
    data = ramp(1, 7)
    soundfile.write(path, data, 48000, subtype="PCM_16")
    reads = []
    read = soundfile.SoundFile.read

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        reads.append(args)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    device = ManualDevice()
    source = sources.file(path, loop=True)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=1.0)
        await spawn(group, lambda: sample.write_from(source, ahead=30000))
        await until(lambda: sample.buffered >= 30000)
        group.cancel_scope.cancel()
        heard = device.step(30000)[:, 0]
    assert np.array_equal(heard, np.resize(data[:, 0], 30000))
    assert len(reads) <= 5 * 3  # pieces of 12,000 frames


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("rate", [48000, 44100])
async def test_a_damaged_file_is_played_to_where_it_says(
    tmp_path: Path, rate: int, loop: bool
) -> None:
    path = tmp_path / "cut.flac"
    noise = np.random.default_rng(1).integers(-9000, 9000, (48000, 1), np.int16)
    soundfile.write(path, noise, 48000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    device = ManualDevice()
    async with speaker_on(device, rate=rate, encoding=32) as speaker:
        sample = speaker.sample(buffer=2.0)
        source = sources.file(path, loop)
        for place in (0.0, 0.1):  # and again after a seek
            source.seek(place)
            before = sample.written
            with pytest.raises(AudioException, match=r"cut\.flac.* 0\.426667 seconds"):
                await sample.write_from(source, ahead=2 * rate)
            frames = round((5 * 4096 / 48000 - place) * rate)
            assert sample.written - before == pytest.approx(frames, abs=1)
            heard = device.step(sample.written - before)
            if rate == 48000:
                expected = noise[round(place * rate) :][:frames] / np.float32(32768)
                assert np.array_equal(heard, expected)


async def test_seek_position_and_duration(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    data = ramp(0, 24000)
    soundfile.write(path, data, 48000, subtype="PCM_16")
    source = sources.file(path, start=0.25)
    assert (source.duration, source.position) == (0.5, 0.25)
    heard = await whole(source)
    assert np.array_equal(heard * 32768, data[12000:])
    assert source.position == 0.5
    assert len(await whole(source)) == 0  # it is read on from where it stands
    source.seek(0.1)
    assert source.position == 0.1
    assert np.array_equal(await whole(source) * 32768, data[4800:])
    for seconds in (-0.1, 0.51, math.nan):
        with pytest.raises(FormatError, match=r"sound\.wav"):
            source.seek(seconds)
    source.seek(0.5)
    assert len(await whole(source)) == 0


async def test_a_seek_while_it_plays_goes_on_from_there(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    data = ramp(0, 32000)
    soundfile.write(path, data, 48000, subtype="PCM_16")
    device = ManualDevice()
    source = sources.file(path)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=0.5)
        running = await spawn(group, lambda: sample.write_from(source, ahead=4800))
        # A piece of 12,000 frames was read; the next one is from another place.
        await until(lambda: sample.written == 4800)
        source.seek(0.0)
        heard = []

        def on() -> bool:
            heard.append(device.step(BLOCK))
            return running.done

        with anyio.fail_after(10):
            while not on():
                await until(lambda: running.done or sample.buffered >= BLOCK)
        heard.append(device.step(24000))
    played = np.concatenate(heard)[:, 0]
    assert np.array_equal(played[:12000], data[:12000, 0])
    # What would have come next fades out within 8 ms.
    rise = (np.arange(384) + 0.5) / 384
    mixed = data[:384, 0] * rise + data[12000:12384, 0] * (1 - rise)
    np.testing.assert_allclose(played[12000:12384], mixed, atol=1)
    played = played[played != 0]
    assert np.array_equal(played[12384:], data[384:, 0])


async def test_a_seek_is_heard_without_a_step(tmp_path: Path) -> None:
    """Whether what was ahead is cleared or not, and at any rate."""
    path = tmp_path / "sound.wav"
    slope = 0.5 * 2 * np.pi * 100 / 48000
    wave = 0.5 * np.sin(2 * np.pi * 100 * np.arange(4 * 44100) / 44100)
    soundfile.write(path, wave, 44100, subtype="FLOAT")
    for rate in (44100, 48000):
        for clears in (False, True):
            device = ManualDevice()
            source = sources.file(path)
            async with (
                speaker_on(device, rate=rate, encoding=32) as speaker,
                anyio.create_task_group() as group,
            ):
                sample = speaker.sample()
                running = await spawn(group, partial(sample.write_from, source))
                heard = []
                for place in (2.0025, 1.0075, 3.0025):  # at its highest, and lowest
                    for _ in range(rate // 2 // BLOCK):
                        await until(lambda s=sample: s.buffered > 2 * BLOCK)
                        heard.append(device.step(BLOCK))
                    source.seek(place)
                    if clears:
                        sample.clear_nowait()
                await until(lambda s=sample: s.buffered > 2 * BLOCK)
                heard.append(device.step(BLOCK))
                assert running.error is None
                group.cancel_scope.cancel()
            played = np.concatenate(heard)[rate // 10 :, 0]
            assert np.abs(played).max() == pytest.approx(0.5, abs=0.001)
            # A fade of 5 ms or 8 ms adds at most its own slope.
            assert np.abs(np.diff(played)).max() < slope * 48000 / rate + 1 / (0.005 * rate)


async def test_a_seek_before_it_plays_or_at_its_end_is_no_crossfade(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    data = ramp(0, 24000)
    soundfile.write(path, data, 48000, subtype="PCM_16")
    source = sources.file(path)
    for place in (0.25, 0.375):
        source.seek(place)
        assert np.array_equal(await whole(source) * 32768, data[round(place * 48000) :])


async def test_a_seek_leaves_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    noise = np.random.default_rng(1).integers(-9000, 9000, (48000, 1), np.int16)
    soundfile.write(path, noise, 48000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = sources.file(path, start=0.25)
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=0.1)
        running = await spawn(group, lambda: sample.write_from(source, ahead=480))
        await until(lambda: sample.written == 480)  # of 8,480 frames that there are
        source.seek(0.0)
        await until(lambda: (device.step(BLOCK), sample.written > 20480)[1])
        assert running.error is None
        await until(lambda: (device.step(BLOCK), running.done)[1])
        assert isinstance(running.error, AudioException)
        assert sample.written == 8480 + 20480


@pytest.mark.numbers
@pytest.mark.parametrize(
    ("rate", "to"),
    [
        (8000, 48000),
        (44100, 48000),
        (48000, 44100),
        (44101, 48000),  # soxr's
        (96000, 8000),
        (192000, 22050),
        (11025, 11025),
    ],
)
async def test_a_file_is_streamed_to_as_many_frames_as_are_loaded(
    tmp_path: Path, rate: int, to: int
) -> None:
    path, rest = tmp_path / "sound.wav", tmp_path / "rest.wav"
    device = ManualDevice()
    async with speaker_on(device, rate=to, encoding=32, buffersize=1024) as speaker:
        sample = speaker.sample(buffer=3.0)
        for frames in (1, 2, 30, 127, 1000, rate // 4 - 1, rate // 4, rate // 4 + 1, rate):
            data = np.random.default_rng(frames).uniform(-0.5, 0.5, frames).astype(np.float32)
            soundfile.write(path, data, rate, subtype="FLOAT")
            source = sources.file(path)
            for begin in (0, frames // 3):
                soundfile.write(rest, data[begin:], rate, subtype="FLOAT")
                loaded = speaker.load(rest)
                assert abs(loaded.frames - (frames - begin) * to / rate) <= 1
                source.seek(begin / rate)
                assert await sample.write_from(source, ahead=2 * to) == loaded.frames
                streamed = device.step(loaded.frames)
                loaded.play()
                played = device.step(loaded.frames)
                if rate != 44101:
                    np.testing.assert_allclose(streamed, played, atol=1e-6)


@pytest.mark.numbers
@pytest.mark.parametrize(("own", "rate"), [(48000, 48000), (44100, 48000), (8000, 48000)])
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
async def test_a_file_that_loops_is_its_concatenation(
    tmp_path: Path, format: str, own: int, rate: int
) -> None:
    path, long = tmp_path / f"s.{format.lower()}", tmp_path / "long.wav"
    soundfile.write(path, tone(own, own // 3, 1), own, format=format)
    once, _ = soundfile.read(path, dtype="float32")
    soundfile.write(long, np.tile(once, 3), own, subtype="FLOAT")
    device = ManualDevice()
    source = sources.file(path, loop=True)
    async with speaker_on(device, encoding=32, rate=rate) as speaker:
        sample = speaker.sample(buffer=2.0)
        async with anyio.create_task_group() as group:
            running = await spawn(group, lambda: sample.write_from(source, ahead=rate))
            await until(lambda: sample.buffered >= rate // 2)
            assert not running.done
            group.cancel_scope.cancel()
        heard = device.step(rate // 2)
    expected = (await whole(sources.file(long), rate))[: rate // 2]
    np.testing.assert_allclose(heard, expected, atol=1e-4 if format == "MP3" else 1e-6)


async def test_the_length_of_a_stream_is_known_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "stream.flac"
    soundfile.write(path, ramp(0, 24000), 48000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    source = sources.file(path)
    assert source.duration == math.inf
    assert len(await whole(source)) == 24000
    assert (source.duration, source.position) == (0.5, 0.5)
    source = sources.file(path, start=0.25)
    assert len(await whole(source)) == 12000
    source = sources.file(path, start=100.0)  # it cannot be known that there is no such place
    assert len(await whole(source)) == 0
    with pytest.raises(FormatError, match=r"0\.5 seconds long"):
        source.seek(100.0)


@pytest.mark.parametrize("channels", [1, 2])
async def test_surround_is_mixed_to_what_plays_it(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "film.wav"
    data = np.zeros((700, 6), np.float32)
    for channel in range(6):
        data[100 * channel : 100 * channel + 100, channel] = 0.5
    soundfile.write(path, data, 48000, format="WAVEX", subtype="FLOAT")
    half = math.sqrt(0.5)
    if channels == 2:
        table = np.array([[1, 0], [0, 1], [half, half], [0, 0], [half, 0], [0, half]])
        table /= 1 + 2 * half
    else:
        table = np.array([[half], [half], [1], [0], [0.5], [0.5]]) / (2 + 2 * half)
    heard = await whole(sources.file(path), channels=channels)
    np.testing.assert_allclose(heard[50:600:100], 0.5 * table, atol=1e-6)
    device = ManualDevice()
    async with speaker_on(device, channels=channels, encoding=32) as speaker:
        speaker.load(path).play()
        np.testing.assert_array_equal(device.step(700), heard)


async def test_channels_by_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "film.wav"
    data = np.random.default_rng(3).uniform(-0.2, 0.2, (700, 6)).astype(np.float32)
    soundfile.write(path, data, 48000, format="WAVEX", subtype="FLOAT")
    matrix = np.random.default_rng(4).uniform(-1, 1, (2, 6))
    heard = await whole(sources.file(path, matrix=matrix), channels=2)
    np.testing.assert_allclose(heard, data @ matrix.T, atol=1e-6)
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        for what in (path, data):
            speaker.load(what, matrix=matrix).play()
            np.testing.assert_allclose(device.step(700), data @ matrix.T, atol=1e-6)
        for wrong in ([[1.0]], "words", np.zeros((6, 2)), [[math.nan] * 6] * 2):
            with pytest.raises(FormatError, match="matrix"):
                speaker.load(path, matrix=wrong)
            with pytest.raises(FormatError, match="matrix"):
                await speaker.sample().write_from(sources.file(path, matrix=wrong))


async def test_six_channels_to_six_are_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "film.flac"
    data = np.random.default_rng(3).integers(-9000, 9000, (700, 6), np.int16)
    soundfile.write(path, data, 48000)
    assert np.array_equal(await whole(sources.file(path), channels=6) * 32768, data)


@pytest.mark.parametrize("form", [str, Path, bytes, io.BytesIO])
async def test_what_write_from_takes_of_a_file(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "sound.flac"
    data = ramp(0, 3000)
    soundfile.write(path, data, 48000)
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        sample = speaker.sample()
        if form in (str, Path):
            frames = await sample.write_from(form(path), ahead=9600)
        else:
            source = sources.file(form(path.read_bytes()))
            frames = await sample.write_from(source, ahead=9600)
        assert frames == 3000
        assert np.array_equal(device.step(3000) * 32768, data)


async def test_a_path_is_closed_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, ramp(0, 48000), 48000)
    opened = []

    def opening(path: Any) -> sources.File:
        opened.append(sources.file(path))
        return opened[-1]

    monkeypatch.setattr(sample_module, "file", opening)
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(path, ahead=480))
        await until(lambda: sample.written == 480)
        running.scope.cancel()
        await until(lambda: running.done)
        with pytest.raises(AudioException, match=r"missing\.wav"):
            await sample.write_from(tmp_path / "missing.wav")
    assert [file._file.closed for file in opened] == [True]


@pytest.mark.parametrize("value", [None, "1", True, math.nan, math.inf, -1, [0.0]])
async def test_a_place_that_is_no_number(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, ramp(0, 4800), 48000)
    with pytest.raises(FormatError, match=r"start=.*sound\.wav is 0\.1 seconds long"):
        sources.file(path, start=value)
    with pytest.raises(FormatError, match=r"seconds=.*sound\.wav"):
        sources.file(path).seek(value)


async def test_a_file_object_stays_open(tmp_path: Path) -> None:
    memory = io.BytesIO()
    soundfile.write(memory, ramp(0, 100), 48000, format="WAV")
    source = sources.file(memory)
    assert len(await whole(source)) == 100
    source.close()
    assert not memory.closed


async def test_the_page_on_sources_plays_what_a_server_sends() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (block,) = [block for block in blocks if "play_file" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        running = await spawn(group, lambda: names["play_file"](speaker))
        heard = []
        await until(lambda: (heard.append(device.step(BLOCK)), running.done)[1])
        assert running.error is None
    played = np.concatenate(heard)[:, 0]
    sounding = played[np.abs(played) > 0.01]
    assert len(sounding) > 0.09 * 48000
    assert 0.29 < np.abs(sounding).max() < 0.61


async def test_what_is_no_sound_file(tmp_path: Path) -> None:
    with pytest.raises(AudioException, match=r"missing\.wav"):
        sources.file(tmp_path / "missing.wav")
    text = tmp_path / "text.wav"
    text.write_text("no sound\n" * 100)
    with pytest.raises(AudioException, match="cannot be read as a sound file"):
        sources.file(text)
    with pytest.raises(AudioException):
        sources.file(tmp_path)


async def test_a_start_outside_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, ramp(0, 100), 48000)
    with pytest.raises(FormatError, match="not in"):
        sources.file(path, start=1.0)


async def test_without_soundfile_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(AudioException, match=r"audiostream\[files\]"):
        sources.file(tmp_path / "sound.wav")


async def test_a_file_of_nothing_ends_also_if_it_loops(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 48000)
    assert len(await whole(sources.file(path, loop=True))) == 0


async def test_closing_a_file_ends_its_play(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, ramp(0, 30000), 48000)
    device = ManualDevice()
    source = sources.file(path, loop=True)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(source, ahead=480))
        await until(lambda: sample.written == 480)
        source.close()
        source.close()
        await until(lambda: running.done or (device.step(BLOCK), False)[1])
        assert running.error is None
        assert sample.written == 12000  # the piece that was read
    assert source.duration == 30000 / 48000
    assert source.position == 12000 / 48000
    source.seek(0.0)
    assert len(await whole(source)) == 0


# --------------------------------------------------------------------------------- patches

pytest.importorskip("cypd", reason="patches are played on the libpd in cypd")


@pytest.fixture
def open_patch() -> Iterator[Callable[..., sources.Patch]]:
    """Open one of the patches of tests/libpd; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def open_patch(name: str, *arguments: Any, **options: Any) -> sources.Patch:
            patch = sources.patch(PATCHES / f"{name}.pd", *arguments, carrier="cypd", **options)
            return stack.enter_context(contextlib.closing(patch))

        yield open_patch


Open = Callable[..., sources.Patch]


@pytest.mark.numbers
@pytest.mark.parametrize(
    ("rate", "channels", "buffersize", "own"),
    [
        (48000, 1, 64, 48000),
        (48000, 2, 1000, 44100),
        (44100, 2, 333, 44100),
        (22050, 2, 64, 44100),
        (96000, 3, 256, 48000),
    ],
)
async def test_a_patch_is_heard_at_its_frequency(
    open_patch: Open, rate: int, channels: int, buffersize: int, own: int
) -> None:
    patch = open_patch("sine", own, 2)
    heard = await rendered(
        patch, rate, rate=rate, channels=channels, buffersize=buffersize, ahead=4 * 1024
    )
    for channel in heard.T[:2]:
        assert pitch(channel[rate // 10 :], rate) == pytest.approx(440, abs=0.1)
    assert np.abs(heard[1000:-1000]).max() > 32000


async def test_a_patch_is_heard_bit_for_bit(open_patch: Open) -> None:
    heard = await rendered(open_patch("six", 48000, 2), 4800, channels=2, encoding=32)
    assert np.array_equal(heard, open_patch("six", 48000, 2).render(0.1))


@pytest.mark.parametrize("ahead", [256, 2400])
async def test_a_float_changes_the_pitch_within_the_limit(open_patch: Open, ahead: int) -> None:
    patch = open_patch("sine", 48000, 1)
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample()
        running = await spawn(group, lambda: sample.write_from(patch, ahead=ahead))
        await stepped(device, 4800)
        patch.send("freq", 0)  # it stands still: every frame is as the one before
        chunk = block_for(ahead)
        await stepped(device, ahead + chunk + BLOCK + BLOCK)  # Pd's own block is of 64, too
        assert np.ptp(await stepped(device, 480)) == 0
        patch.send("freq", 880)
        await stepped(device, ahead + chunk + BLOCK + BLOCK)
        heard = await stepped(device, 9600)
        assert pitch(heard[:, 0], 48000) == pytest.approx(880, abs=0.1)
        running.scope.cancel()


async def test_messages_are_heard_as_they_come(open_patch: Open) -> None:
    patch = open_patch("talk")
    heard: list[Any] = []

    async def listen() -> None:
        async for message in patch.messages("out"):
            heard.append((message.selector, *message.atoms))

    async with anyio.create_task_group() as group:
        listening = await spawn(group, listen)
        patch.send("in", 1)
        patch.send("in", "word")
        await settle()
        assert heard == [("float", 1.0), ("symbol", "word")]
        thread = threading.Thread(target=patch.send, args=("in", 2, 3))
        thread.start()
        thread.join()
        await until(lambda: len(heard) == 3)
        assert heard[2] == ("list", 2.0, 3.0)
        assert not listening.done
        thread = threading.Thread(target=patch.close)
        thread.start()
        await until(lambda: listening.done)
        thread.join()
    assert listening.error is None


async def test_messages_end_when_the_subscription_is_closed(open_patch: Open) -> None:
    patch = open_patch("talk")
    messages = patch.messages("out", size=2)
    async with anyio.create_task_group() as group:

        async def listen() -> list[Any]:
            return [message.atoms[0] async for message in messages]

        for number in range(3):
            patch.send("in", number)
        assert messages.dropped == 1
        listening = await spawn(group, listen)
        assert not listening.done
        with messages:
            pass
        messages.close()
        await until(lambda: listening.done)
        assert listening.result == [1, 2]
        patch.send("in", 4)
        assert messages.get() is None
        # Closed before anybody listens: what is there comes first.
        with patch.messages("out") as other:
            patch.send("in", 5)
        assert [message.atoms async for message in other] == [(5.0,)]


async def test_messages_while_it_plays_and_drain(open_patch: Open) -> None:
    patch = open_patch("talk", 48000, 1)
    device = ManualDevice()
    counted: list[float] = []

    async def listen() -> None:
        async for message in patch.messages("count"):
            counted.append(message.atoms[0])

    messages = patch.messages("count")
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        listening = await spawn(group, listen)
        sample = speaker.sample()
        playing = await spawn(group, lambda: sample.write_from(patch, ahead=480))
        patch.send("run", 1)
        await stepped(device, 4800)
        assert counted == [float(number) for number in range(len(counted))]
        assert 9 <= len(counted) <= 12
        assert [message.atoms[0] for message in messages.drain()] == counted
        patch.close()
        await stepped(device, 4800)
        assert playing.done
        assert playing.error is None
        assert listening.done
        assert speaker.stats.starved == 0


async def test_a_loop_that_is_over_is_no_harm_to_the_patch(
    open_patch: Open, anyio_backend: str
) -> None:
    patch = open_patch("talk")
    messages = patch.messages("out")

    async def listen() -> None:
        with anyio.move_on_after(0):
            await anyio.lowlevel.checkpoint()
        await messages.__anext__()

    def elsewhere() -> None:
        patch.send("in", 1)
        anyio.run(listen, backend=anyio_backend)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await until(lambda: not thread.is_alive())
    assert patch.send("in", 2)
    message = await messages.__anext__()
    assert message.atoms == (2.0,)


async def test_midi_is_heard_as_messages_are(open_patch: Open) -> None:
    patch = open_patch("midi")
    with patch.midi() as events:
        patch.note_on(0, 60, 100)
        event = await events.__anext__()
    assert (event.kind, event.values) == ("note_on", (60, 100))


@pytest.mark.parametrize("inputs", [1, 2])
async def test_what_is_fed_is_heard(open_patch: Open, inputs: int) -> None:
    patch = open_patch("through", 48000, inputs, inputs)
    data = ramp(0, 1500, inputs)
    patch.feed(data[:100])
    patch.feed(data[100:700].tobytes())
    patch.feed(data[700:].astype(np.float32) / 32768)
    heard = await rendered(patch, 2000, channels=inputs)
    assert not heard[:63].any()
    assert np.array_equal(heard[63:1563], data)
    assert not heard[1563:].any()


async def test_a_second_of_what_was_fed_waits_at_most(open_patch: Open) -> None:
    patch = open_patch("through", 8000, 1, 1)
    for number in range(1, 5):
        patch.feed(np.full(3000, number / 8, np.float32))
    heard = patch.play_on(8063)[63:, 0]
    assert np.array_equal(heard[:6000] * 8, np.repeat([3, 4], 3000))
    assert not heard[6000:].any()
    patch.feed(np.full(20000, 0.5, np.float32))  # the newest is kept, however long it is
    assert np.array_equal(patch.play_on(20063)[63:, 0], np.full(20000, 0.5))


@pytest.mark.parametrize(
    "wrong",
    [b"odd", bytes(2), np.zeros(4, np.int16), np.zeros((2, 3), np.int16), np.zeros((4, 2))],
)
async def test_what_cannot_be_fed(open_patch: Open, wrong: Any) -> None:
    with pytest.raises(FormatError, match="fed"):
        open_patch("through", 48000, 2, 2).feed(wrong)
    with pytest.raises(FormatError, match="inputs=1"):
        open_patch("sine").feed(wrong)


async def test_sixteen_patches_at_once(open_patch: Open) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        playing = []
        for number in range(16):
            patch = open_patch("sine", 48000, 1)
            patch.send("freq", 300 + 100 * number)
            sample = speaker.sample()
            sample.gain = 1 / 16
            playing.append(
                await spawn(group, lambda s=sample, p=patch: s.write_from(p, ahead=4800))
            )
        await stepped(device, 4800, 480)
        heard = (await stepped(device, 24000, 480))[:, 0]
        assert speaker.stats.starved == 0
        for running in playing:
            assert not running.done
            running.scope.cancel()
    spectrum = np.abs(np.fft.rfft(heard)) * 2 / len(heard)
    assert np.flatnonzero(spectrum > 0.03).tolist() == [150 + 50 * n for n in range(16)]


async def test_a_patch_that_is_not_there(open_patch: Open) -> None:
    with pytest.raises(PatchError):
        open_patch("nowhere")
    closed = open_patch("sine")
    closed.close()
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        assert await speaker.sample().write_from(closed) == 0
