"""Groups: one fader, one clear, and ducking; stepped, frame by frame."""

from __future__ import annotations

import math
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio
from audiostream.aio import AudioException, FormatError, StreamClosedError
from audiostream.engine.slots import MAX_GROUPS
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on
from tests.realtime.oracle import Ramp

RATE = 48000
FADE = 240  # frames of 5 ms
CURVES = ("linear", "exponential", "equal_power")

pytestmark = pytest.mark.anyio


def ones(frames: int, level: float = 0.25) -> np.ndarray:
    return np.full(frames, level, np.float32)


def whole(seed: int, frames: int) -> np.ndarray:
    """Noise whose sums are exact in float32."""
    return (np.random.default_rng(seed).integers(-2048, 2048, frames) / 32768).astype(
        np.float32
    )


@pytest.mark.parametrize("block", [1, 17, 64, 480])
async def test_at_unit_gain_a_group_is_the_exact_sum_of_its_voices(block: int) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=block) as speaker:
        groups = [speaker.group() for _ in range(3)]
        wanted = np.zeros(2000, np.float32)
        for number in range(14):  # some of no group, some in each, passes full and not
            group = [None, *groups][number % 4]
            voice = speaker.sample(encoding=32, group=group)
            voice.write_nowait(whole(number, 2000))
            voice.end()
            wanted += whole(number, 2000)
        np.testing.assert_array_equal(device.step(2000)[:, 0], wanted)


async def test_gain_pan_and_mute_come_on_top_of_the_voices_own() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        group = speaker.group(gain=0.5)
        voice = speaker.sample(encoding=32, channels=1, group=group)
        voice.write_nowait(ones(10_000))
        voice.gain = 0.5
        np.testing.assert_array_equal(device.step(64), np.full((64, 2), 0.0625, np.float32))
        group.pan = 1.0
        device.step(FADE)
        left, right = device.step(64).T
        assert not left.any()
        np.testing.assert_allclose(right, 0.0625 * math.sqrt(2), rtol=1e-6)
        group.muted = True
        assert device.step(FADE)[:, 1].any()
        assert not device.step(64).any()
        assert voice.position == 64 + 2 * FADE + 128, "it plays on"
        group.muted = False
        group.pan = 0.0
        group.gain = 1.0
        device.step(FADE)
        np.testing.assert_allclose(device.step(64), 0.125, rtol=1e-6)
        assert (group.gain, group.pan, group.muted) == (1.0, 0.0, False)


async def test_a_sound_plays_into_a_group() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        group = speaker.group(gain=0.5)
        click = speaker.load(ones(100))
        click.play(group=group, at=speaker.time + 10 / RATE)
        click.play()
        played = device.step(200)[:, 0]
        assert (played[:10] == 0.25).all()
        assert (played[10:100] == 0.375).all()
        assert (played[100:110] == 0.125).all()
        assert not played[110:].any()


# --- clears ------------------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 64, 480])
@pytest.mark.parametrize("fade", [0, 1, 100, FADE, 1000])
async def test_a_clear_cuts_all_of_a_group_on_one_frame(block: int, fade: int) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=block) as speaker:
        group = speaker.group()
        voices = [speaker.sample(encoding=32, group=group) for _ in range(5)]
        other = speaker.sample(encoding=32)
        other.write_nowait(ones(8000, 0.125))
        for number, voice in enumerate(voices):
            voice.write_nowait(ones(6000 + number, 0.0625))
        device.step(480)
        group.clear_nowait(fade / RATE)
        for voice in voices:
            voice.write_nowait(ones(500, 0.0625))  # of what comes next
        played = device.step(2000)[:, 0] - 0.125
        falling = 5 * 0.0625 * (1 - np.arange(1, fade + 1) / max(fade, 1))
        np.testing.assert_allclose(played[:fade], falling, atol=1e-6)
        # Whole and at once: what came later was not touched.
        np.testing.assert_allclose(played[fade : fade + 500], 5 * 0.0625, atol=1e-6)
        dying = played[fade + 500 : fade + 500 + FADE]
        assert (np.diff(dying) <= 0).all()
        np.testing.assert_allclose(played[fade + 500 + FADE :], 0, atol=1e-6)
        for number, voice in enumerate(voices):
            assert voice.position == 480 + fade + 500
            assert voice.cleared == 6000 + number - 480 - fade
            assert voice.written == voice.position + voice.buffered + voice.cleared
            assert voice.shortages == 1, "the one behind what came later"


async def test_a_clear_waits_until_it_is_done_and_releases_writers() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as tasks:
        group = speaker.group()
        voice = speaker.sample(encoding=32, buffer=0.01, group=group)
        writing = await spawn(tasks, lambda: voice.write(ones(5000)))
        device.step(64)
        assert not writing.done
        clearing = await spawn(tasks, lambda: group.clear(0.001))
        assert writing.done
        assert writing.result < 5000
        assert not clearing.done
        device.step(64)
        await settle()
        assert clearing.done
        assert clearing.error is None
        assert voice.position == 64 + 48
        assert voice.buffered == 0


async def test_less_queued_than_the_fade_is_no_starvation() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        group = speaker.group()
        voice = speaker.sample(encoding=32, group=group)
        voice.write_nowait(ones(164))
        device.step(64)
        group.clear_nowait(0.01)
        voice.write_nowait(ones(1000, 0.5))
        played = device.step(480)[:, 0]  # a hundred frames, then the fade goes on over nothing
        assert voice.shortages == 0
        assert np.abs(np.diff(played)).max() < 0.01
        assert (device.step(64) == 0.5).all(), "what came later is whole"
        assert (voice.position, voice.cleared) == (64 + 100 + 64, 0)


async def test_a_clear_with_nothing_queued_is_done_in_the_next_block() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as tasks:
        group = speaker.group()
        empty = await spawn(tasks, group.clear)
        device.step(64)
        device.step(64)
        await settle()
        assert empty.done
        voice = speaker.sample(encoding=32, group=group)
        voice.stop()
        voice.write_nowait(ones(100))
        clearing = await spawn(tasks, group.clear)
        device.step(64)
        await settle()
        assert clearing.done
        assert (voice.written, voice.cleared) == (100, 100)


async def test_clears_of_a_group_and_of_its_voices_do_not_disturb_one_another() -> None:
    device = ManualDevice()
    rng = np.random.default_rng(8)
    async with speaker_on(device, encoding=32) as speaker:
        group = speaker.group()
        voices = [
            speaker.sample(rate=rate, encoding=32, group=group) for rate in (48000, 24000)
        ]
        for _ in range(300):
            for voice in voices:
                if rng.random() < 0.7:
                    voice.write_nowait(ones(int(rng.integers(1, 400))))
                if rng.random() < 0.1:
                    voice.end()
                if rng.random() < 0.1:
                    voice.clear_nowait(float(rng.choice([0.0, 0.001, 0.005])))
            if rng.random() < 0.2:
                group.clear_nowait(float(rng.choice([0.0, 0.001, 0.005])))
            device.step(int(rng.integers(1, 200)))
            for voice in voices:
                assert voice.written == voice.position + voice.buffered + voice.cleared
        group.clear_nowait(0.0)
        device.step(64)
        for voice in voices:
            assert voice.buffered == 0
            voice.write_nowait(ones(300))
            voice.end()
        device.step(1000)
        assert [voice.buffered for voice in voices] == [0, 0]


async def test_a_clear_ends_the_sounds_of_its_group() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        group = speaker.group()
        siren = speaker.load(ones(64))
        inside, outside = siren.play(loop=True, group=group), siren.play(loop=True)
        device.step(1000)
        group.clear_nowait()
        device.step(FADE + 64)
        assert inside.is_finished
        assert not outside.is_finished
        assert (device.step(64) == 0.25).all()


# --- ducking ------------------------------------------------------------------------


def ducked(
    frames: int, sounding: list[tuple[int, int]], gain: float, attack: int, hold: int, back: int
) -> np.ndarray:
    """A group's level in each frame, while another one sounds in these stretches."""
    sounds = np.zeros(frames + 1, bool)
    for begin, end in sounding:
        sounds[begin:end] = True
    way, levels = Ramp(), []
    given, quiet = False, 0
    for frame in range(frames):
        if sounds[frame]:
            if not given:
                way.go(gain, attack)
            given, quiet = True, 0
        elif given:
            if quiet == hold:
                way.go(1.0, back)
                given = False
            quiet += 1
        levels.append(way.step())
    return np.array(levels)


@pytest.mark.parametrize("block", [1, 63, 64, 480])
async def test_a_group_gives_way_from_the_very_frame_on(block: int) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=block) as speaker:
        music, speech = speaker.group(), speaker.group()
        music.duck(speech, 0.25, attack=100 / RATE, hold=50 / RATE, release=300 / RATE)
        song = speaker.sample(encoding=32, group=music)
        song.write_nowait(ones(8000, 0.5))
        device.step(480)
        # Two that overlap, a gap that the hold bridges, and one by itself.
        silent = speaker.load(np.zeros((1, 1), np.float32))
        stretches = [(111, 400), (300, 700), (740, 1000), (2000, 2001)]
        for begin, end in stretches:
            silent.play(at=speaker.time + begin / RATE, loop=end - begin, group=speech)
        played = device.step(4800)[:, 0]
        wanted = 0.5 * ducked(4800, stretches, 0.25, 100, 50, 300)
        np.testing.assert_allclose(played, wanted, atol=1e-6)


async def test_giving_way_can_be_taken_back_while_it_does() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        music, speech = speaker.group(), speaker.group()
        music.duck(speech, 0.0, attack=0.0)
        song = speaker.sample(encoding=32, group=music)
        song.write_nowait(ones(9000))
        voice = speaker.sample(encoding=32, group=speech)
        voice.write_nowait(np.zeros(9000, np.float32))
        device.step(64)
        assert not device.step(64).any()
        music.duck(None, release=100 / RATE)
        back = device.step(200)[:, 0]
        np.testing.assert_allclose(back[:100], 0.25 * np.arange(1, 101) / 100, atol=1e-6)
        assert (back[100:] == 0.25).all()


async def test_a_key_that_is_cleared_or_closed_sounds_no_more() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        music, speech = speaker.group(), speaker.group()
        music.duck(speech, 0.5, attack=0.0, hold=0.0, release=0.0)
        song = speaker.sample(encoding=32, group=music)
        voice = speaker.sample(encoding=32, group=speech)
        song.write_nowait(ones(9000))
        voice.write_nowait(np.zeros(5000, np.float32))
        device.step(64)
        assert (device.step(64) == 0.125).all()
        speech.clear_nowait(30 / RATE)
        played = device.step(64)[:, 0]
        assert (played[:30] == 0.125).all()
        assert (played[30:] == 0.25).all()
        voice.write_nowait(np.zeros(5000, np.float32))
        assert (device.step(64) == 0.125).all()
        speech.close()
        device.step(FADE + 64)
        device.step(RATE // 2)
        assert (device.step(64)[:, 0] == 0).all(), "the song is through"
        song.write_nowait(ones(500))
        device.step(FADE)
        assert (device.step(64) == 0.25).all()


# --- all of it at random ------------------------------------------------------------


class Model:
    """Groups of voices that play what they were given from a frame on, frame by frame."""

    def __init__(self) -> None:
        self.gain, self.mute = Ramp(), Ramp()
        self.told: list[tuple[int, Any, float, int, int]] = []
        self.voices: list[tuple[int, np.ndarray]] = []

    def frame(self, number: int) -> float:
        for told in [one for one in self.told if one[0] <= number]:
            self.told.remove(told)
            _, way, value, frames, curve = told
            way.go(value, frames, curve)
        level = self.gain.step() * self.mute.step()
        total = sum(
            float(data[number - begin])
            for begin, data in self.voices
            if begin <= number < begin + len(data)
        )
        return total * level


@pytest.mark.numbers
@pytest.mark.parametrize("seed", range(6))
async def test_random_faders_over_random_sounds_at_odd_blocks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    device = ManualDevice()
    rate = 32768  # so that every frame's time is exact
    async with speaker_on(device, rate=rate, encoding=32, buffersize=64) as speaker:
        models = [Model() for _ in range(4)]
        groups = [speaker.group() for _ in models]
        frame = 0
        for _ in range(400):
            now = device.time
            for group, model in zip(groups, models, strict=True):
                at = frame + int(rng.integers(0, 200))
                if rng.random() < 0.15:
                    data = whole(int(rng.integers(1000)), int(rng.integers(1, 700)))
                    speaker.load(data).play(at=now + (at - frame) / rate, group=group)
                    model.voices.append((at, data))
                if rng.random() < 0.1 and len(model.told) < 50:
                    value, over = float(rng.choice([0, 0.3, 1, 1.5])), int(rng.integers(0, 300))
                    curve = int(rng.integers(3))
                    group.fade(value, over / rate, CURVES[curve], at=now + (at - frame) / rate)
                    model.told.append((at, model.gain, value, over, curve))
            count = int(rng.integers(1, 150))
            played = device.step(count)[:, 0]
            wanted = [sum(m.frame(frame + i) for m in models) for i in range(count)]
            np.testing.assert_allclose(played, np.clip(wanted, -1, 1), atol=2e-6)
            frame += count


# --- what can be wrong, and the end --------------------------------------------------


async def test_groups_come_and_go() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, voices=4) as speaker:
        for _ in range(3 * MAX_GROUPS):
            group = speaker.group()
            voice = speaker.sample(encoding=32, group=group)
            voice.write_nowait(ones(1000))
            device.step(64)
            group.close()
            group.close()
            assert group.is_closed
            last = device.step(FADE + 64)[:, 0]
            assert last[0] != 0
            assert last[-1] == 0
            assert np.abs(np.diff(last)).max() < 0.01, "no click"
            with pytest.raises(StreamClosedError):
                voice.write_nowait(ones(1))
        kept = [speaker.group() for _ in range(MAX_GROUPS)]
        with pytest.raises(AudioException, match="64 groups at most"):
            speaker.group()
        voices = [speaker.sample(group=group) for group in kept[:4]]  # they take no voices
        assert len(voices) == 4


@pytest.mark.parametrize("pan", [0.0, -0.5])
async def test_with_voices_in_groups_alone_the_mix_begins_with_silence(pan: float) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(channels=1, encoding=32, group=speaker.group())
        voice.pan = pan
        voice.write_nowait(ones(4000))
        for _ in range(3):
            device.step(64)
        played = device.step(640)
        angle = (pan + 1) * math.pi / 4
        sides = [math.cos(angle), math.sin(angle)] if pan else [math.sqrt(0.5)] * 2
        wanted = np.tile(np.multiply(sides, 0.25 * math.sqrt(2)), (640, 1))
        np.testing.assert_allclose(played, wanted, atol=1e-6)


async def test_other_values_count_while_it_has_given_way_already() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        music, speech = speaker.group(), speaker.group()
        song = speaker.sample(encoding=32, group=music)
        song.write_nowait(ones(5000))
        words = speaker.sample(encoding=32, group=speech)
        words.write_nowait(0 * ones(5000))
        music.duck(speech, 0.5, attack=0.0)
        device.step(64)
        assert (device.step(64) == 0.125).all()
        music.duck(speech, 0.25, attack=100 / RATE)
        played = device.step(200)[:, 0]
        wanted = 0.125 - 0.0625 * np.minimum(np.arange(1, 201) / 100, 1)
        np.testing.assert_allclose(played, wanted, atol=1e-6)


async def test_what_is_refused() -> None:
    device, elsewhere = ManualDevice(), ManualDevice()
    async with speaker_on(device) as speaker, speaker_on(elsewhere) as other:
        group = speaker.group()
        for gain in (-1, math.nan, "loud", 1001):
            with pytest.raises(FormatError, match="gain="):
                speaker.group(gain=gain)  # type: ignore[arg-type]
        with pytest.raises(FormatError, match="another output"):
            other.sample(group=group)
        with pytest.raises(FormatError, match="another output"):
            other.load(ones(10)).play(group=group)
        with pytest.raises(FormatError, match=r"is no group; try AudioOutput.group\(\)"):
            speaker.sample(group=speaker.sample())  # type: ignore[arg-type]
        with pytest.raises(FormatError, match="own output"):
            group.duck(other.group())
        with pytest.raises(FormatError, match="another group"):
            group.duck(group)
        with pytest.raises(FormatError, match="attack="):
            group.duck(speaker.group(), attack=-1)
        with pytest.raises(FormatError, match="no left and right"):
            group.pan = 0.5
        gone = speaker.group()
        gone.close()
        for use in (
            lambda: speaker.sample(group=gone),
            lambda: gone.fade(0.5, 1),
            lambda: group.duck(gone),
            gone.clear_nowait,
        ):
            with pytest.raises(StreamClosedError, match="group is closed"):
                use()
        assert "closed" in repr(gone)
        assert "gain 1" in repr(group)
    with pytest.raises(StreamClosedError):
        await group.clear()
    group.close()
    assert group.level() == aio.Level(0.0, 0.0)
    with pytest.raises(StreamClosedError):
        speaker.group()


async def test_a_clear_on_an_output_that_closes_says_so() -> None:
    device = ManualDevice()
    async with anyio.create_task_group() as tasks:
        async with speaker_on(device) as speaker:
            group = speaker.group()
            voice = speaker.sample(group=group)
            voice.write_nowait(bytes(1000))
            clearing = await spawn(tasks, group.clear)
            assert not clearing.done
        await settle()
        assert isinstance(clearing.error, StreamClosedError)


@pytest.mark.parametrize("frames", [63, 64, 128, 200])
async def test_ducking_ends_with_a_sound_wherever_in_a_block_its_last_frame_is(
    frames: int,
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=64) as speaker:
        key, music = speaker.group(), speaker.group()
        song = speaker.sample(encoding=32, group=music, buffer=1.0)
        song.write_nowait(np.full(20_000, 0.5, np.float32))
        music.duck(key, gain=0.0, attack=0, hold=0, release=0)
        device.step(64)
        speaker.load(np.full(frames, 0.25, np.float32)).play(group=key)
        assert device.step(64)[10] == 0.25
        for _ in range(4):
            device.step(64)
            speaker.group().close()  # looks for a free slot, and takes those that are over
        assert device.step(64)[-1] == 0.5


async def test_a_voice_waits_for_its_group_to_be_in_the_plan() -> None:
    """Made while a block is mixed, it is heard from its first frame on in the next one."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32, buffersize=64) as speaker:
        engine = speaker.engine
        device.step(64)
        group = speaker.group()
        before = int(engine.word("plan"))
        empty = np.zeros(2, np.int64)
        engine.kernels.store_word(engine.address_of("plan"), int(empty.ctypes.data))
        voice = speaker.sample(encoding=32, group=group)
        voice.write_nowait(np.arange(1, 201, dtype=np.float32) / 256)
        assert not device.step(64).any()
        engine.kernels.store_word(engine.address_of("plan"), before)
        played = np.concatenate([device.step(64) for _ in range(4)])[:, 0]
        np.testing.assert_array_equal(played[:200] * 256, np.arange(1, 201))
        voice.end()
