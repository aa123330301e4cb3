"""How loud it is: meters of voices, groups, outputs and inputs; stepped."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audiostream import aio
from audiostream.aio import FormatError, Level
from audiostream.testing import ManualDevice
from tests.aio.support import speaker_on

RATE = 48000

pytestmark = pytest.mark.anyio


def sine(frames: int, amplitude: float = 0.5, hertz: float = 1000.0) -> np.ndarray:
    """A whole number of periods in 4,800 frames."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(frames) / RATE)).astype(np.float32)


def of(samples: np.ndarray) -> Level:
    """By definition."""
    squares = samples.astype(np.float64) ** 2
    return Level(float(np.abs(samples).max()), math.sqrt(squares.mean()))


def assert_close(level: Level, wanted: Level, part: float = 1e-3) -> None:
    assert level.peak == pytest.approx(wanted.peak, rel=part, abs=1e-6)
    assert level.rms == pytest.approx(wanted.rms, rel=part, abs=1e-6)


async def test_a_sine_is_as_loud_as_its_formula_says() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=16) as speaker:
        group = speaker.group()
        voice = speaker.sample(channels=2, encoding=32, group=group)
        voice.write_nowait(np.repeat(sine(9600)[:, None], 2, axis=1))
        device.step(4800)
        for meter in (speaker, group, voice):
            level = meter.level(0.1)
            assert_close(level, Level(0.5, 0.5 / math.sqrt(2)))
            assert level.peak_db == pytest.approx(-6.02, abs=0.01)
            assert level.rms_db == pytest.approx(-9.03, abs=0.01)


async def test_silence_is_silence_and_what_is_past_is_forgotten() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        assert speaker.level() == Level(0.0, 0.0)
        assert (Level(0.0, 0.0).peak_db, Level(0.0, 0.0).rms_db) == (-200, -200)
        voice = speaker.sample(encoding=32)
        assert voice.level() == Level(0.0, 0.0)
        voice.write_nowait(sine(2400))
        voice.end()
        device.step(4800)
        # Half of the tenth of a second sounded.
        wanted = Level(0.5, 0.5 / math.sqrt(2) / math.sqrt(2))
        assert_close(voice.level(0.1), wanted)
        assert_close(speaker.level(0.1), wanted)
        device.step(2400 + 256)
        assert voice.level(0.1).rms < 1e-6
        assert speaker.level(0.1).rms < 1e-6
        assert_close(voice.level(1.0), Level(0.5, 0.5 / math.sqrt(2) * math.sqrt(0.05)))


@pytest.mark.numbers
@pytest.mark.parametrize("block", [7, 64, 480])
@pytest.mark.parametrize("seed", range(12))
async def test_a_voices_meter_says_what_the_mix_of_it_alone_says(block: int, seed: int) -> None:
    """Under gains, fades, mutes, pauses, clears and shortages, at odd blocks."""
    rng = np.random.default_rng(seed)
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=block) as speaker:
        voice = speaker.sample(encoding=32, buffer=0.5)
        played: list[np.ndarray] = []
        for _ in range(60):
            voice.write_nowait(rng.uniform(-0.5, 0.5, 2000).astype(np.float32))
            what = int(rng.integers(9))
            if what == 0:
                voice.gain = float(rng.choice([0.0, 0.3, 1.0, 1.5]))
            elif what == 1:
                curve = ("linear", "exponential", "equal_power")[int(rng.integers(3))]
                voice.fade(float(rng.choice([0.1, 0.8])), 0.08, curve)
            elif what == 2:
                voice.muted = not voice.muted
            elif what == 3:
                voice.pause()
            elif what == 4:
                voice.resume()
            elif what == 5:
                voice.clear_nowait(0.02)
            played.append(device.step(int(rng.integers(500, 2500)))[:, 0])
            last = np.concatenate(played)[-4800:]
            level, wanted = voice.level(0.1), speaker.level(0.1)
            plain = of(np.pad(last, (4800 - len(last), 0)))
            assert wanted.rms == pytest.approx(plain.rms, rel=0.03, abs=0.015)
            assert wanted.peak > plain.peak - 1e-6
            # A span of 5 ms is told as a whole, so what is there for sure is what lies a span
            # within the window; tails behind shortages are not the voice's own.
            inner = np.abs(last[-4800 + 2 * 256 : -2 * 256]).max(initial=0.0)
            assert level.peak > inner - 0.03
            assert level.rms == pytest.approx(wanted.rms, rel=0.08, abs=0.025)


async def test_it_is_about_what_is_heard_not_what_is_rendered() -> None:
    device = ManualDevice(latency=0.05)
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(sine(9600))
        device.step(2400)
        assert speaker.level(0.01) == Level(0.0, 0.0), "all of it is still on its way"
        assert voice.level(0.01).peak == 0.0
        device.step(2400)
        assert_close(speaker.level(0.01), Level(0.5, 0.5 / math.sqrt(2)), 0.02)
        assert_close(voice.level(0.01), Level(0.5, 0.5 / math.sqrt(2)), 0.02)


async def test_a_peak_above_full_scale_tells_of_clipping() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=16) as speaker:
        voices = [speaker.sample(encoding=32) for _ in range(3)]
        for voice in voices:
            voice.write_nowait(sine(4800))
        assert device.step(4800).max() == 32767
        assert speaker.level().peak == pytest.approx(1.5, abs=1e-3)


async def test_an_input_tells_what_it_has_heard_read_or_not() -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=RATE, channels=1, buffersize=480) as mic:
        assert mic.level() == Level(0.0, 0.0)
        device.feed((sine(9600) * 32767).astype(np.int16))
        device.step(9600)
        assert_close(mic.level(0.1), Level(0.5, 0.5 / math.sqrt(2)))
        await mic.read(480)
        assert_close(mic.level(0.1), Level(0.5, 0.5 / math.sqrt(2)))
        device.step(4800 + 256)
        assert mic.level(0.1) == Level(0.0, 0.0)


async def test_a_groups_fader_is_in_its_level_and_a_voices_is_its_own() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        group = speaker.group(gain=0.5)
        voice = speaker.sample(encoding=32, group=group)
        voice.write_nowait(sine(12_000))
        device.step(4800)
        assert_close(voice.level(), Level(0.5, 0.5 / math.sqrt(2)))
        assert_close(group.level(), Level(0.25, 0.25 / math.sqrt(2)))
        group.fade(0.0, 4800 / RATE)
        device.step(4800)
        # A straight line to 0: a third of the power.
        wanted = Level(0.25, 0.25 / math.sqrt(2) / math.sqrt(3))
        assert_close(group.level(), wanted, 0.03)
        assert_close(speaker.level(), wanted, 0.03)


async def test_a_nan_is_no_news() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(np.full(480, math.nan, np.float32))
        assert not device.step(480).any()
        for level in (voice.level(), speaker.level()):
            assert math.isfinite(level.peak)
            assert level.rms == 0.0


@pytest.mark.parametrize("seconds", [0, -1, 1.5, math.nan, "long", True])
async def test_windows_that_cannot_be_looked_at(seconds: float) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        for meter in (speaker, voice, speaker.group()):
            with pytest.raises(FormatError, match="seconds="):
                meter.level(seconds)


async def test_what_is_closed_is_silent() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(sine(1000))
        device.step(480)
        speaker.remove_sample(voice)
        assert voice.level() == Level(0.0, 0.0)
    assert speaker.level().peak > 0.1, "the last of it can still be read"
    assert aio.get_output(device="null").level() == Level(0.0, 0.0)
