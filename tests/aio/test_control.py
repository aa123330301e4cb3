"""What a sample is told to do, at once and at times; stepped."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio
from audiostream.aio import AudioException, FormatError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

FADE = 240  # frames of 5 ms at 48 kHz

pytestmark = pytest.mark.anyio


def ones(frames: int, level: float = 0.5) -> np.ndarray:
    return np.full(frames, level, np.float32)


async def test_play_and_stop_at_a_time() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.stop()
        device.step(64)
        assert voice.play(at=speaker.time + 1000 / 48000) == 0.0
        assert voice.stop(at=speaker.time + 3000 / 48000) == 0.0
        voice.write_nowait(ones(10_000))
        played = device.step(5000)[:, 0]
        assert np.flatnonzero(played)[0] == 1000
        assert (played[1000:3000] == 0.5).all()
        fade = 0.5 * (1 - np.arange(1, FADE + 1) / FADE)
        np.testing.assert_allclose(played[3000 : 3000 + FADE], fade, atol=1e-6)
        assert not played[3000 + FADE :].any()
        assert (voice.position, voice.buffered) == (2000 + FADE, 0)
        assert voice.cleared == 10_000 - 2000 - FADE


@pytest.mark.parametrize("buffersize", [16, 64, 480])
async def test_times_are_exact_at_any_latency_and_block_size(buffersize: int) -> None:
    device = ManualDevice(latency=0.0123)
    async with speaker_on(device, encoding=32, buffersize=buffersize) as speaker:
        voice = speaker.sample(encoding=32)
        voice.stop()
        device.step(buffersize)
        heard_at = speaker.time + 0.2
        voice.play(at=heard_at)
        voice.write_nowait(ones(4800))
        begin = device.time
        played = device.step(48000)[:, 0]
        # A frame that is played at a time is heard the latency later.
        first = np.flatnonzero(played)[0]
        assert begin + first / 48000 + 0.0123 == pytest.approx(heard_at, abs=0.5 / 48000)


@pytest.mark.parametrize("block", [1, 7, 63, 480])
async def test_a_sample_that_plays_and_is_given_a_time_starts_then(block: int) -> None:
    """Whether it was written to before or after, and bit for bit from its first frame on."""
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32, buffersize=480) as speaker:
        early, late = speaker.sample(encoding=32), speaker.sample(encoding=32)
        noise = np.random.default_rng(1).integers(-8192, 8192, (2, 300)) / 32768
        start = speaker.time + 0.01 + 1000 / 48000
        early.write_nowait(noise[0].astype(np.float32))
        early.play(at=start)
        late.play(at=start)
        heard = [device.step(block) for _ in range(500 // block)]
        late.write_nowait(noise[1].astype(np.float32))
        for voice in (early, late):
            voice.end()
        heard += [device.step(block) for _ in range(1000 // block)]
        wanted = np.zeros(len(played := np.concatenate(heard)[:, 0]))
        wanted[1000:1300] = noise.sum(axis=0)
        np.testing.assert_array_equal(played, wanted)
        assert (early.starved, late.starved, early.shortages) == (0, 0, 0)


async def test_a_start_at_a_time_leaves_what_sounds_alone() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(3000))
        device.step(64)
        assert voice.play(at=speaker.time + 0.01) == 0.0
        assert (device.step(1000) == 0.5).all()
        voice.clear_nowait(0)
        device.step(64)
        # Taken back, it is paused; what is past holds nothing.
        voice.play(at=speaker.time + 0.01)
        assert voice.cancel() == 1
        voice.write_nowait(ones(100))
        assert not device.step(1000).any()
        voice.play(at=speaker.time - 0.01)
        assert (device.step(100) == 0.5).all()


async def test_a_time_that_is_past_says_by_how_much() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        device.step(4800)
        assert voice.fade(0.5, 0.0, at=speaker.time - 0.05) == pytest.approx(0.06, abs=1e-3)
        voice.write_nowait(ones(64))
        assert (device.step(64) == 0.25).all()


async def test_a_time_that_is_past_before_the_first_block_is_late_too() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(64))
        voice.end()
        assert voice.play(at=speaker.time - 0.05) == pytest.approx(0.06)
        assert voice.fade(1.0, 0.0, at=speaker.time + 0.01) == 0.0
        assert (device.step(64) == 0.5).all()
        playing = speaker.load(ones(64)).play(at=speaker.time - 1)
        assert playing.late == pytest.approx(1.01)
        assert (device.step(64) == 0.5).all()


async def test_numbers_may_be_numpys() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(channels=1, encoding=32, prebuffer=np.float32(0.001))
        voice.gain = np.float32(0.5)
        voice.pan = np.int64(-1)
        voice.ramp = np.float64(0.01)
        voice.play(at=np.float32(0.01))
        voice.fade(np.float32(1.0), np.float32(0.1), at=np.float64(1))
        voice.stop(at=np.int64(2), fade=np.float32(0))
        voice.write_nowait(ones(480))
        assert np.flatnonzero(device.step(960)[:, 0])[0] == pytest.approx(480, abs=1)
        with pytest.raises(FormatError):
            voice.gain = np.bool_(True)


async def test_pause_and_resume_keep_what_is_queued() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(2000))
        device.step(500)
        voice.pause()
        faded = device.step(1000)[:, 0]
        np.testing.assert_allclose(
            faded[:FADE], 0.5 * (1 - np.arange(1, FADE + 1) / FADE), atol=1e-6
        )
        assert not faded[FADE:].any()
        assert (voice.position, voice.buffered) == (500 + FADE, 1500 - FADE)
        voice.resume()
        back = device.step(500)[:, 0]
        np.testing.assert_allclose(back[:FADE], 0.5 * np.arange(1, FADE + 1) / FADE, atol=1e-6)
        assert (back[FADE:] == 0.5).all()
        assert voice.shortages == 0


@pytest.mark.parametrize(
    ("curve", "middle"),
    [
        ("linear", 0.5),
        ("exponential", 1 - (math.exp(-math.log(1000) / 2) - 1) / (1 / 1000 - 1)),
        ("equal_power", math.sqrt(0.5)),
    ],
)
async def test_fades_on_curves(curve: str, middle: float) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(10_000))
        device.step(64)
        voice.fade(0.0, 0.1, curve)
        assert voice.gain == 0.0
        played = device.step(6000)[:, 0]
        assert played[2399] == pytest.approx(0.5 * middle, abs=1e-5)
        assert not played[4800:].any()
        assert (np.diff(played) <= 1e-7).all()


async def test_a_cross_fade_at_equal_power_keeps_the_power() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        old, new = speaker.sample(encoding=32), speaker.sample(encoding=32)
        new.gain = 0.0
        rng = np.random.default_rng(1)
        noises = rng.uniform(-0.5, 0.5, (2, 11_000)).astype(np.float32)
        for voice, noise in zip((old, new), noises, strict=True):
            voice.write_nowait(noise)
        device.step(1000)
        at = speaker.time
        old.fade(0.0, 0.2, "equal_power", at)
        new.fade(1.0, 0.2, "equal_power", at)
        played = device.step(9600)[:, 0]
        power = np.square(played).reshape(16, -1).mean(axis=1)
        assert power == pytest.approx(np.mean(np.square(noises)), rel=0.25)


async def test_pan_is_of_equal_power_and_nothing_in_the_middle() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(channels=1, encoding=32)
        voice.write_nowait(ones(10_000))
        assert (device.step(64) == 0.5).all()
        for pan, left, right in ((-1, math.sqrt(2), 0), (1, 0, math.sqrt(2)), (0, 1, 1)):
            voice.pan = pan
            assert voice.pan == pan
            device.step(FADE)
            np.testing.assert_allclose(
                device.step(10), np.tile([0.5 * left, 0.5 * right], (10, 1)), atol=1e-7
            )
        voice.pan = 0.3
        device.step(FADE)
        assert np.square(device.step(1) / 0.5).sum() == pytest.approx(2, abs=1e-6)


async def test_mute_goes_on_playing() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(5000))
        device.step(100)
        voice.muted = True
        assert voice.muted
        device.step(FADE)
        assert not device.step(100).any()
        assert voice.position == 200 + FADE
        voice.muted = False
        device.step(FADE)
        assert (device.step(10) == 0.5).all()


async def test_the_ramp_can_be_set() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        assert voice.ramp == 0.005
        voice.ramp = 0.02
        voice.write_nowait(ones(5000))
        device.step(100)
        voice.pause()
        played = device.step(2000)[:, 0]
        assert np.flatnonzero(played)[-1] == 960 - 2
        voice.resume()
        device.step(1000)
        await voice.aclose()
        np.testing.assert_allclose(
            device.step(2000)[:960, 0], 0.5 * (1 - np.arange(1, 961) / 960), atol=1e-6
        )


async def test_what_waits_for_its_time_can_be_taken_back() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(5000))
        voice.fade(0.0, 0.0, at=speaker.time + 0.01)
        voice.pause(at=speaker.time + 0.02)
        assert voice.cancel() == 2
        assert voice.cancel() == 0
        assert (device.step(3000) == 0.5).all()
        voice.play(at=speaker.time + 1)
        voice.stop()  # takes a start that is to come back
        device.step(96_000)
        voice.write_nowait(ones(100))
        assert not device.step(100).any()


async def test_too_many_commands_are_refused_and_lose_nothing() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(2000))
        device.step(64)
        for number in range(64):
            voice.fade(1.0, 0.0, at=speaker.time + 1 + number)
        with pytest.raises(AudioException, match=r"64 commands .* cancel\(\)"):
            voice.fade(0.0, 0.0, at=speaker.time + 0.01)
        with pytest.raises(AudioException, match="64 commands"):
            voice.play(at=speaker.time + 0.01)
        assert (device.step(1000) == 0.5).all()
        assert voice.cancel() == 64
        voice.fade(0.0, 0.0, at=speaker.time)
        assert not device.step(64).any()


async def test_whatever_waits_for_its_time_there_is_room_for_what_is_to_happen_now() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32, buffer=1.0)
        voice.write_nowait(ones(40_000))
        device.step(64)
        for number in range(64):
            voice.fade(1.0, 0.0, at=speaker.time + 10 + number)
        for number in range(1, 301):
            voice.ramp = 0.0
            voice.gain = number / 300
            assert device.step(64)[-1, 0] == pytest.approx(0.5 * number / 300, abs=1e-6)
        for number in range(300):  # in one block
            voice.gain = number / 300
        voice.pause()
        voice.resume()
        voice.pan = 0.0
        assert device.step(64)[-1, 0] == pytest.approx(0.5 * 299 / 300, abs=1e-6)
        for number in range(
            200
        ):  # the last one comes first, and they do not disturb each other
            voice.cancel()
            voice.fade(1.0, 0.0, at=speaker.time + 100)
            voice.fade(number / 200, 0.0, at=speaker.time)
            assert device.step(64)[-1, 0] == pytest.approx(0.5 * number / 200, abs=1e-6)
        voice.stop(fade=0)
        assert not device.step(64).any()


async def test_behind_one_that_waits_for_long_the_order_is_that_of_giving() -> None:
    """Whose place they take has no part in it, wherever the ring of commands is full."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32, buffer=1.0)
        voice.write_nowait(ones(40_000))
        device.step(64)
        voice.ramp = 0.0
        voice.fade(1.0, 0.0, at=speaker.time + 1000)
        for number in range(400):
            voice.gain = 0.3
            voice.pause()
            voice.resume()
            voice.muted = False
            at = speaker.time + 32 / 48_000
            voice.fade(0.2, 0.0, at=at)
            voice.fade(number / 400, 0.0, at=at)
            played = device.step(64)[:, 0]
            assert played[[0, -1]] == pytest.approx([0.15, 0.5 * number / 400], abs=1e-6)


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_command_that_a_callback_under_way_has_passed_by_is_given_again(
    monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32, buffer=1.0)
        voice.write_nowait(ones(40_000))
        voice.ramp = 0.0
        device.step(64)
        voice.fade(1.0, 0.0, at=speaker.time + 1000)
        for _ in range(127):
            voice.gain = 0.3
            device.step(64)
        output, strip = speaker.engine, voice._voice.strip
        given = strip.word("command_count")
        assert given - strip.word("command_taken") == 128, "all places are taken"

        def callback(limit: float = 0.1) -> bool:
            """The first one has been taken back, so that all of them are done."""
            voice.cancel()
            if is_done:
                device.step(64)
            strip.set_word("command_taken", given)
            return True

        monkeypatch.setattr(output, "quiet", callback)
        voice.gain = 0.6
        monkeypatch.undo()
        again = strip.word("command_count") - given
        assert again == (0 if is_done else 1)
        np.testing.assert_allclose(device.step(64), np.full((64, 1), 0.3), atol=1e-6)


async def test_any_number_of_settings_fits_in_one_block_and_the_last_holds() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(channels=1, encoding=32)
        voice.write_nowait(ones(5000))
        device.step(64)
        for number in range(200):
            voice.gain = number / 400
            voice.pan = -number / 400
            voice.muted = number % 2 == 0
            voice.pause()
            voice.resume()
        device.step(FADE)
        gain = 0.5 * 199 / 400 * math.sqrt(2)
        sides = [math.sin((1 + side * 199 / 400) * math.pi / 4) * gain for side in (1, -1)]
        np.testing.assert_allclose(device.step(64), np.tile(sides, (64, 1)), atol=1e-6)
        for _ in range(200):
            voice.stop()
            voice.stop(fade=0)
        device.step(64)
        assert voice.buffered == 0
        voice.write_nowait(ones(100))
        for _ in range(100):
            voice.play()
            voice.stop(fade=0)
            voice.write_nowait(ones(10))
        assert not device.step(64).any()
        for _ in range(100):
            voice.stop(fade=0)
            voice.play()
        voice.write_nowait(ones(100))
        assert device.step(64).all()


async def test_a_stop_finds_room_among_what_it_takes_back() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, voices=1) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(5000))
        device.step(64)
        for number in range(64):
            voice.pause(at=speaker.time + 1 + number)
        voice.stop(fade=0)
        voice.write_nowait(ones(100))
        assert not device.step(64).any()
        assert voice.cancel() == 0
        voice.play()
        for number in range(63):
            voice.fade(0.5, 0.1, at=speaker.time + 1 + number)
        voice.write_nowait(ones(5000))
        device.step(64)
        voice.fade(0.5, 0.1, at=speaker.time + 64)
        assert device.step(64).any()
        voice.stop(fade=0)
        assert not device.step(64).any()
        # Leaving the output needs no room: the slot comes free.
        await voice.aclose()
        device.step(480)
        speaker.sample()
        assert speaker.engine.slots.retiring == {}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda voice: voice.play(at=math.nan),
        lambda voice: voice.play(at="soon"),
        lambda voice: voice.fade(-1, 1),
        lambda voice: voice.fade(1, -1),
        lambda voice: voice.fade(1, 1, "round"),
        lambda voice: voice.stop(fade=11),
        lambda voice: setattr(voice, "pan", 0.5),  # a mono output
        lambda voice: setattr(voice, "pan", 2),
        lambda voice: setattr(voice, "ramp", -0.1),
        lambda voice: setattr(voice, "gain", math.inf),
        lambda voice: setattr(voice, "muted", "no"),
    ],
)
async def test_what_cannot_be_is_refused(wrong: Callable[[Any], Any]) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(ones(100))
        with pytest.raises(FormatError):
            wrong(voice)
        assert (device.step(64) == 0.5).all()


@pytest.mark.parametrize("wrong", [math.nan, "soon", None, -1])
async def test_positions_that_are_none_are_refused(wrong: Any) -> None:
    async with speaker_on(ManualDevice()) as speaker:
        with pytest.raises(FormatError, match=r"try sample\.written"):
            await speaker.sample().wait_position(wrong)


@pytest.mark.parametrize("wrong", ["soon", None, True])
async def test_times_that_are_none_are_refused(wrong: Any) -> None:
    async with speaker_on(ManualDevice()) as speaker:
        for convert in (speaker.to_monotonic, speaker.from_monotonic):
            with pytest.raises(FormatError, match=r"try stream\.time"):
                convert(wrong)


@pytest.mark.parametrize(
    "command",
    [
        lambda voice, shot, at: voice.play(at=at),
        lambda voice, shot, at: voice.stop(at=at),
        lambda voice, shot, at: voice.pause(at=at),
        lambda voice, shot, at: voice.resume(at=at),
        lambda voice, shot, at: voice.fade(0.5, 1, at=at),
        lambda voice, shot, at: voice._output.group().fade(0.5, 1, at=at),
        lambda voice, shot, at: shot.stop(at=at),
        lambda voice, shot, at: shot.pause(at=at),
        lambda voice, shot, at: shot.resume(at=at),
        lambda voice, shot, at: shot.fade(0.5, 1, at=at),
        lambda voice, shot, at: voice._output.load(ones(100)).play(at=at),
    ],
)
@pytest.mark.parametrize("blocks", [0, 3])
async def test_a_time_of_another_clock_is_refused(
    command: Callable[[Any, Any, float], Any], blocks: int
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice, shot = speaker.sample(encoding=32), speaker.load(ones(9600)).play()
        device.step(64 * blocks)
        at = time.time() + 1
        with pytest.raises(FormatError) as caught:
            command(voice, shot, at)
        said = str(caught.value)
        assert f"at={at!r} is more than a day ahead" in said
        assert f"(its .time) is at {speaker.time:.3f} s" in said
        (now,) = re.findall(r"time\.time\(\) at ([\d.]+),", said)
        assert float(now) == pytest.approx(at - 1, abs=60)
        with pytest.raises(FormatError, match="more than a day"):
            command(voice, shot, speaker.time + 86_401)
        command(voice, shot, speaker.time + 86_399)


async def test_a_time_is_compared_with_the_clock_and_not_with_what_was_heard_last() -> None:
    """Of an output that has been stopped for days."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        device.step(64)
        speaker.engine.stop()
        device._time += 200_000.0
        assert voice.play(at=speaker.time + 0.1) == 0.0


async def test_once_closed_the_time_stands_and_can_still_be_told() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        device.step(48_000)
    assert speaker.time == pytest.approx(1.0), "it was not looked at before"
    ended = speaker.to_monotonic(speaker.time)
    assert ended <= time.monotonic()
    assert speaker.to_monotonic(speaker.time) == ended, (
        "though the monotonic clock has moved on"
    )
    assert speaker.from_monotonic(ended) == pytest.approx(speaker.time, abs=1e-6)


async def test_a_stop_at_a_time_releases_a_write_and_what_comes_after_is_kept() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, buffer=0.05)
        writing = await spawn(group, lambda: voice.write(ones(10_000)))
        voice.stop(at=speaker.time + 1000 / 48000)
        device.step(1000 + FADE)
        await settle()
        assert writing.done
        assert writing.error is None
        assert writing.result < 10_000
        device.step(100)
        assert voice.buffered == 0
        assert voice.position == 1000 + FADE
        voice.write_nowait(ones(50, 0.25))
        voice.play()
        assert (device.step(50) == 0.25).all()
        assert voice.written == voice.position + voice.cleared


@pytest.mark.parametrize("rate", [48000, 16000])
async def test_stops_at_times_keep_the_counts_whole(rate: int) -> None:
    """At another rate, too, where the resampler holds something back."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(rate=rate, encoding=32)
        for number in range(5):
            voice.write_nowait(ones(1000 + number))
            voice.play()
            voice.stop(at=speaker.time + 0.01)
            device.step(2000)
            assert voice.written == voice.position + voice.buffered + voice.cleared
            assert voice.buffered == 0
        heard = 5 * (480 + FADE) * rate / 48000
        assert voice.position == pytest.approx(heard, abs=5)


async def test_wait_position() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32)
        waiting = await spawn(group, lambda: voice.wait_position(1500))
        voice.write_nowait(ones(1000))
        device.step(5000)
        await settle()
        assert not waiting.done
        assert await voice.clear(fade=0) == 1000
        voice.write_nowait(ones(1000))
        device.step(960)
        await settle()
        assert not waiting.done
        device.step(64)
        await settle()
        assert waiting.done
        assert waiting.error is None
        assert voice.position >= 1500
        late = await spawn(group, lambda: voice.wait_position(1 << 40))
        await voice.aclose()
        await settle()
        assert isinstance(late.error, StreamClosedError)


@pytest.mark.numbers
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("latency", [0.0, 0.01])
async def test_wait_position_is_over_when_the_position_is_there(
    rate: int, latency: float
) -> None:
    """Neither before nor after: with clears, stops and ends on the way."""
    device = ManualDevice(latency=latency)
    async with (
        speaker_on(device, encoding=32, buffersize=63) as speaker,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample(rate=rate, encoding=16, buffer=1.0)
        rng = np.random.default_rng(rate)
        told: dict[int, int] = {}

        async def wait(frames: int) -> None:
            await voice.wait_position(frames)
            told[frames] = voice.position

        targets = sorted({int(target) for target in rng.integers(1, rate // 3, 20)})
        for target in targets:
            group.start_soon(wait, target)
        await settle()
        while voice.position < targets[-1]:
            what = rng.random()
            if what < 0.3:
                voice.write_nowait(bytes(2 * int(rng.integers(1, rate // 100))))
            elif what < 0.33:
                voice.clear_nowait(float(rng.choice([0, 0.002])))
            elif what < 0.38:
                voice.end()
            elif what < 0.39:
                voice.stop()
                voice.play()
            device.step(int(rng.integers(1, 100)))
            await settle()
            there = [target for target in targets if target <= voice.position]
            assert sorted(told) == there
        assert all(target <= position for target, position in told.items())


async def test_marks_are_told_when_they_are_heard() -> None:
    device = ManualDevice(latency=0.02)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32)
        told: list[aio.Mark] = []

        async def listen() -> None:
            async for mark in voice.marks():
                told.append(mark)

        listening = await spawn(group, listen)
        assert voice.mark("begin") == 0
        voice.write_nowait(ones(1000))
        voice.mark("word")
        voice.write_nowait(ones(1000))
        voice.mark("end")
        voice.end()
        begin = device.time
        device.step(960)
        await settle()
        assert told == []
        device.step(128)
        await settle()
        assert [mark.name for mark in told] == ["begin"]
        device.step(4000)
        await settle()
        assert [(mark.name, mark.position) for mark in told] == [
            ("begin", 0),
            ("word", 1000),
            ("end", 2000),
        ]
        times = [mark.time - begin for mark in told]
        assert times == pytest.approx(
            [0.02, 0.02 + 1000 / 48000, 0.02 + 2000 / 48000], abs=2e-3
        )
        # One that is cleared is not told of; one behind the clear is.
        voice.write_nowait(ones(1000))
        voice.mark("cleared")
        device.step(500)
        voice.clear_nowait(0)
        device.step(64)
        voice.write_nowait(ones(100))
        voice.mark("kept")
        device.step(4000)
        await settle()
        assert [mark.name for mark in told[3:]] == ["kept"]
        await voice.aclose()
        await settle()
        assert listening.done
        assert listening.error is None


def heard_of(voice: aio.AudioSample) -> list[tuple[str, int]]:
    """Names of the marks that were reached, and when: in frames of the device's."""
    marks = iter(voice._voice.heard_mark, None)
    return [(mark.name, round(mark.time * 48000)) for mark in marks]


@pytest.mark.parametrize("latency", [0, 480])
async def test_marks_that_are_looked_at_late_say_when_they_were_heard(latency: int) -> None:
    """After a pause, and after the next utterance has begun."""
    device = ManualDevice(latency=latency / 48000)
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        voice.mark("begin")
        voice.write_nowait(ones(100))
        voice.mark("end")
        voice.end()
        device.step(1000)
        voice.mark("next")
        voice.write_nowait(ones(100))
        device.step(60)
        voice.pause()
        device.step(500)
        voice.resume()
        device.step(1000)
        told = heard_of(voice)
        assert told == [("begin", latency), ("end", latency + 100), ("next", latency + 1000)]


@pytest.mark.parametrize("rate", [48000, 16000])
async def test_marks_around_a_clear(rate: int) -> None:
    """Whoever marks what nothing is heard of hears nothing; the next one is told of in time."""
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(rate=rate, encoding=32)
        own = rate / 48000
        voice.mark("never heard")
        voice.write_nowait(ones(round(600 * own)))
        voice.clear_nowait(0)
        voice.mark("first")  # before the audio thread has seen the clear
        voice.write_nowait(ones(round(1200 * own)))
        voice.mark("cut")
        device.step(64)
        assert heard_of(voice) == []
        device.step(480)
        assert heard_of(voice) == [("first", 480)]
        voice.clear_nowait(0)
        device.step(1)  # it is cut, and still in the air
        voice.mark("second")
        voice.write_nowait(ones(round(600 * own)))
        voice.end()
        device.step(400)
        assert heard_of(voice) == []
        device.step(200)
        assert heard_of(voice) == [("second", 544 + 1 + 480)]
        voice.mark("third")
        voice.stop(at=speaker.time - 1)
        device.step(1)
        voice.mark("fourth")
        voice.write_nowait(ones(round(300 * own)))
        voice.end()
        voice.play()
        device.step(64)
        assert heard_of(voice) == []
        device.step(900)
        (third, at), (fourth, _) = heard_of(voice)
        assert (third, fourth) == ("third", "fourth")
        assert at == 1145 + 1 + 480 - 1
        assert voice.written == voice.position + voice.cleared


@pytest.mark.numbers
@pytest.mark.parametrize("quality", ["high", "live", "soxr"])
@pytest.mark.parametrize("rate", [8000, 22050, 44100])
async def test_marks_at_another_rate_are_where_their_frames_are(
    rate: int, quality: str
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(rate=rate, encoding=32, quality=quality, buffer=1.0)
        wanted, start = [], 0
        for number, frames in enumerate((rate // 50 + 1, rate // 30, rate // 40 + 3)):
            for part in range(3):
                voice.mark(f"{number} {part}")
                wanted.append(
                    (f"{number} {part}", start + math.ceil(part * frames * 48000 / rate))
                )
                voice.write_nowait(ones(frames))
            voice.mark(f"{number} end")
            voice.end()
            start = voice._voice.write_index()
            wanted.append((f"{number} end", start))
        device.step(48_000)
        told = heard_of(voice)
        assert [name for name, _ in told] == [name for name, _ in wanted]
        times = np.array([[at for _, at in marks] for marks in (told, wanted)])
        assert np.abs(np.diff(times, axis=0)).max() <= (1 if quality == "soxr" else 0)


async def test_a_prebuffer_that_adapts_grows_and_shrinks() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(
            encoding=32, buffer=2, prebuffer="adaptive", on_starve="rebuffer"
        )
        assert voice.prebuffer == 0.06
        before = []
        for _ in range(12):
            before.append(voice.prebuffer)
            while not device.step(64).any():
                voice.write_nowait(ones(480))
            device.step(96_000)
        assert before == sorted(before)
        assert voice.prebuffer > 0.5
        assert voice.prebuffer <= 1.0
        grown = voice.prebuffer
        voice.write_nowait(ones(96_000))
        for _ in range(40):
            device.step(48_000)
            voice.write_nowait(ones(48_000))
        assert voice.prebuffer < grown


@pytest.mark.parametrize("block", [1, 7, 63, 480])
@pytest.mark.parametrize("how", ["clear", "stop", "stop of nothing", "stop at"])
async def test_what_follows_a_cut_fills_its_prebuffer_again(how: str, block: int) -> None:
    """Also if its first frames come before the audio thread has seen the cut."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=480) as speaker:
        voice = speaker.sample(encoding=32, prebuffer=480 / 48000, buffer=0.1)
        voice.write_nowait(ones(480 if "nothing" in how else 2000))
        for _ in range(480 // block):
            device.step(block)
        device.step(480 % block)
        if how == "clear":
            voice.clear_nowait(0)
        elif how == "stop at":
            voice.stop(at=speaker.time - 1, fade=0)
            device.step(1)
            voice.play()
        else:
            voice.stop(fade=0)
            voice.play()
        voice.write_nowait(ones(479, -0.25))
        waited = np.concatenate([device.step(block) for _ in range(3)] + [device.step(FADE)])
        assert (waited >= 0).all()  # where nothing was queued, the last frame dies away
        assert not device.step(480).any()
        assert voice.starved == 0
        voice.write_nowait(ones(1, -0.25))
        assert (device.step(480) == -0.25).all()
        assert voice.shortages == 0


@pytest.mark.parametrize(
    "wrong",
    [{"prebuffer": 0.3}, {"prebuffer": -1}, {"prebuffer": "much"}, {"on_starve": "wait"}],
)
async def test_prebuffers_that_cannot_be(wrong: dict[str, Any]) -> None:
    async with speaker_on(ManualDevice()) as speaker:
        with pytest.raises(FormatError):
            speaker.sample(buffer=0.25, **wrong)
        assert speaker.engine.attached == {}


async def test_write_from_fills_a_prebuffer_that_is_larger_than_what_is_ahead() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, prebuffer=0.2)
        playing = await spawn(group, lambda: voice.write_from(aio.sources.sine(440), ahead=512))
        heard = 0
        for _ in range(100):
            heard += int(device.step(256).any())
            await settle()
        assert heard > 80
        playing.scope.cancel()
