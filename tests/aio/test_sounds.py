"""Sounds that are loaded once and played many times at once; stepped."""

from __future__ import annotations

import io
import math
import re
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import soundfile

from audiostream.aio import AudioException, FormatError, StreamClosedError
from audiostream.engine import resampler as resamplers
from audiostream.engine.sound import WORK
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio

RNG = np.random.default_rng(3)
NOISE = (RNG.integers(-4096, 4096, (300, 1)) / 32768).astype(np.float32)


async def test_a_sound_is_played_many_times_at_once() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        sound = speaker.load(NOISE)
        assert (sound.frames, sound.seconds, sound.rate) == (300, 300 / 48000, 48000)
        wanted = np.zeros((2000, 1))
        starts = (0, 10, 10, 333, 1000)
        for start in starts:
            playing = sound.play(at=speaker.time + start / 48000)
            assert playing.late == 0.0
            wanted[start : start + 300] += NOISE
        np.testing.assert_array_equal(device.step(2000), wanted)
        assert playing.is_finished


async def test_gain_pan_and_speed() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        t = np.arange(4800) / 48000
        sine = (0.25 * np.sin(2 * np.pi * 500 * t)).astype(np.float32)
        sound = speaker.load(sine)
        sound.play(gain=0.5, pan=-1)
        left, right = device.step(4800).T
        np.testing.assert_allclose(left, 0.5 * math.sqrt(2) * sine, atol=1e-6)
        assert not right.any()
        sound.prepare(2.0)
        sound.play(rate=2.0)
        faster = device.step(4800)[:, 0]
        assert np.flatnonzero(np.abs(faster) > 1e-3)[-1] == pytest.approx(2400, abs=50)
        spectrum = np.abs(np.fft.rfft(faster[:2400] * np.hanning(2400)))
        assert spectrum.argmax() * 48000 / 2400 == pytest.approx(1000, abs=20)


@pytest.mark.parametrize("frames", [7, 300])
async def test_loops_of_any_length_have_no_seam(frames: int) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        sound = speaker.load(NOISE[:frames])
        playing = sound.play(loop=True)
        played = np.concatenate([device.step(count) for count in (64, 1, 500, 37, 1000)])
        wanted = np.resize(NOISE[:frames], (len(played), 1))
        np.testing.assert_array_equal(played, wanted)
        assert not playing.is_finished
        playing.stop(fade=0)
        assert not device.step(500).any()
        assert playing.is_finished
        three = sound.play(loop=3)
        played = device.step(1000)
        np.testing.assert_array_equal(played[: 3 * frames], np.tile(NOISE[:frames], (3, 1)))
        assert not played[3 * frames :].any()
        assert three.is_finished


@pytest.mark.numbers
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
@pytest.mark.parametrize("frames", [4, 5, 441, 2205])
async def test_loops_at_another_rate_have_no_seam(rate: int, frames: int) -> None:
    """A whole number of periods in a loop is one endless tone."""
    device = ManualDevice()
    periods = max(frames // 20, 1)
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        tone = 0.5 * np.sin(2 * np.pi * periods * np.arange(frames) / frames + 0.3)
        sound = speaker.load(np.stack([tone, tone + 0.25], 1).astype(np.float32), rate=rate)
        sound.prepare(1.0, loop=True)
        looped = max(round(frames * 48000 / rate), 1)
        for kind in (True, 3):
            playing = sound.play(loop=kind)
            played = device.step(3 * looped)
            phase = 2 * np.pi * periods * np.arange(3 * looped) / looped + 0.3
            if looped > 2 * periods:  # else nothing is left of the tone at that rate
                np.testing.assert_allclose(played[:, 0], 0.5 * np.sin(phase), atol=1e-5)
            np.testing.assert_allclose(played[:, 1] - played[:, 0], 0.25, atol=1e-5)
            playing.stop(fade=0)
            device.step(1)


async def test_what_a_handle_cannot_be_set_to_is_an_error() -> None:
    async with speaker_on(ManualDevice()) as speaker:
        playing = speaker.load(NOISE).play()
        for name in ("pan", "rate", "volume"):
            with pytest.raises(AttributeError):
                setattr(playing, name, 0.5)


async def test_finished_is_when_its_last_frame_was_heard() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        sound = speaker.load(NOISE)
        playing = sound.play()
        finished = await spawn(group, playing.finished)
        device.step(320)
        device.step(400)
        await settle()
        assert not finished.done
        device.step(128)
        await settle()
        assert finished.done
        assert await playing.finished()
        # Those of a loop that is stopped, and of an output that closes, too.
        loops = [sound.play(loop=True) for _ in range(2)]
        waits = [await spawn(group, loop.finished) for loop in loops]
        device.step(100)
        loops[0].stop()
        device.step(400)
        device.step(600)
        await settle()
        assert [wait.done for wait in waits] == [True, False]
        await speaker.aclose()
        await settle()
        assert waits[1].done
        assert loops[1].is_finished
        assert [wait.result for wait in waits] == [False, False]
        assert await playing.finished()  # it was over before
        with pytest.raises(StreamClosedError):
            sound.play()
        loops[1].fade(0.5, 1)  # nothing is there to fade: no error


async def test_handles_pause_fade_and_move() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        playing = speaker.load(np.full(100, 0.5, np.float32)).play(loop=True)
        device.step(64)
        playing.pause()
        device.step(240)
        assert not device.step(64).any()
        playing.resume()
        device.step(240)
        assert (device.step(64) == 0.5).all()
        playing.fade(0.5, 0.01, "exponential")
        device.step(480)
        assert (device.step(64) == 0.25).all()
        playing.pan(1.0)
        device.step(240)
        assert not device.step(64)[:, 0].any()


@pytest.mark.parametrize("stop_at", [None, -0.1, 0.005, 0.01])
async def test_one_that_is_stopped_before_its_time_never_starts(stop_at: float | None) -> None:
    device = ManualDevice()
    async with (
        speaker_on(device, encoding=32, voices=1) as speaker,
        anyio.create_task_group() as group,
    ):
        playing = speaker.load(NOISE).play(at=speaker.time + 0.01)
        finished = await spawn(group, playing.finished)
        device.step(64)
        at = None if stop_at is None else speaker.time - 64 / 48000 + stop_at
        late = playing.stop(at)
        assert late == pytest.approx(0.1 + 64 / 48000 if stop_at == -0.1 else 0.0, abs=1e-6)
        assert not device.step(2000).any()
        await settle()
        assert finished.done
        assert playing.is_finished
        assert finished.result is False
        assert playing.stop() == 0.0
        speaker.load(NOISE).play()  # its slot is free
        np.testing.assert_array_equal(device.step(300), NOISE)
        assert await playing.finished() is False  # also once its slot is another's


@pytest.mark.parametrize("how", ["stop", "fade", "later", "too late", "pause", "group"])
@pytest.mark.parametrize("swept", [False, True])
async def test_finished_tells_whether_it_was_cut(how: str, swept: bool) -> None:
    """Before and after its slot is given to another one."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32, voices=2) as speaker:
        bus = speaker.group()
        sound = speaker.load(np.full(2000, 0.5, np.float32))
        playing, other = sound.play(group=bus), sound.play()
        device.step(640)
        if how == "stop":
            playing.stop(fade=0)
        elif how == "fade":
            playing.stop(fade=0.01)
        elif how == "later":
            playing.stop(at=speaker.time + 0.01)
        elif how == "too late":
            playing.stop(at=speaker.time + 0.1)
        elif how == "pause":
            playing.pause()
            device.step(640)
            playing.stop()
        else:
            bus.clear_nowait()
        device.step(4800)
        assert playing.is_finished
        assert other.is_finished
        if swept:
            again = [sound.play() for _ in range(2)]
            device.step(640)
            again[0].stop(fade=0)
            device.step(64)
        assert await playing.finished() is (how == "too late")
        assert await other.finished() is True


async def test_one_that_the_output_cuts_was_not_heard() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker:
        sound = speaker.load(NOISE)
        whole = sound.play()
        device.step(320)
        short = sound.play()
        device.step(480)  # all of it is with the device, and some of it was heard
    assert await whole.finished() is True
    assert await short.finished() is False


async def test_one_that_is_stopped_after_it_will_have_started_is_cut_then() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        ones = np.full(2000, 0.5, np.float32)
        playing = speaker.load(ones).play(at=speaker.time + 0.01)
        assert playing.stop(at=speaker.time + 0.02, fade=0) == 0.0
        played = device.step(3000)[:, 0]
        assert np.flatnonzero(played)[[0, -1]].tolist() == [480, 959]
        assert playing.is_finished


async def test_a_thousand_of_them_in_ten_seconds() -> None:
    """Their slots come back by themselves; none is missing, none is left."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32, voices=16) as speaker:
        sound = speaker.load(NOISE)
        wanted = np.zeros((480_000 + 300, 1))
        played = []
        for number in range(1000):
            start = 480 * number + int(RNG.integers(0, 480))
            sound.play(at=start / 48000)
            wanted[start : start + 300] += NOISE
            played.append(device.step(480))
        np.testing.assert_allclose(np.concatenate(played), wanted[:480_000], atol=1e-6)
        assert len(speaker.engine.attached) < 16


async def test_all_voices_in_use_is_said_and_loses_nothing() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32, voices=2) as speaker:
        sound = speaker.load(NOISE)
        for _ in range(2):
            sound.play()
        with pytest.raises(AudioException, match="voices"):
            sound.play()
        np.testing.assert_array_equal(device.step(300), 2 * NOISE)
        sound.play()  # the others are over


@pytest.mark.parametrize("rate", [None, 16000])
async def test_arrays_and_files_of_other_rates_and_channels(
    rate: int | None, tmp_path: Path
) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        own = rate or 48000
        t = np.arange(own // 2) / own
        sine = (0.25 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
        soundfile.write(tmp_path / "s.flac", sine, own)
        for sound in (speaker.load(sine, rate=rate), speaker.load(tmp_path / "s.flac")):
            assert sound.seconds == pytest.approx(0.5, abs=1e-3)
            sound.play()
            played = device.step(24_000)
            t48 = np.arange(24_000) / 48000
            wanted = 0.25 * np.sin(2 * np.pi * 440 * t48)
            np.testing.assert_allclose(played[2000:-2000, 0], wanted[2000:-2000], atol=1e-3)
            np.testing.assert_array_equal(played[:, 0], played[:, 1])


async def test_what_is_no_number_in_a_sound_harms_nothing_else() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        for _ in range(2):
            speaker.load(np.array([np.nan, 0.5, np.inf, -np.inf], np.float32)).play()
            speaker.load(np.full(4, 0.25, np.float32)).play()
        assert device.step(4)[:, 0].tolist() == [0.5, 1.0, 1.0, -1.0]


@pytest.mark.numbers
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_what_is_no_number_costs_a_moment_of_a_sound_at_another_rate(
    tmp_path: Path, value: float, loop: bool
) -> None:
    samples = np.full(22050, 0.25, np.float32)
    samples[7000] = value
    path = tmp_path / "s.wav"
    soundfile.write(path, samples, 22050, subtype="FLOAT")
    for what in (samples, samples.astype(np.float64), path):
        device = ManualDevice()
        async with speaker_on(device, encoding=32) as speaker:
            rate = None if what is path else 22050
            speaker.load(what, rate=rate).play(loop=loop)
            heard = device.step(44000)[1000:, 0]
            assert np.isfinite(heard).all()
            # A filter of 128 taps, to twice the rate.
            assert (np.abs(heard - 0.25) > 0.01).sum() <= 300


async def test_a_damaged_file_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 48000), 48000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        for what in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
            with pytest.raises(AudioException, match=r"from 0\.42\d+ seconds on"):
                speaker.load(what)


async def test_a_rate_is_for_arrays(tmp_path: Path) -> None:
    path = tmp_path / "s.wav"
    soundfile.write(path, NOISE, 48000)
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        assert speaker.load(path).frames == speaker.load(path.read_bytes()).frames == 300
        with pytest.raises(FormatError, match="rate="):
            speaker.load(path, rate=48000)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (np.zeros(0, np.float32), FormatError),
        (np.zeros((2, 2, 2), np.float32), FormatError),
        (b"1234", AudioException),
        (None, FormatError),
        (True, FormatError),
        (1, FormatError),
        ("nowhere.wav", AudioException),
    ],
)
async def test_what_is_no_sound(what: Any, error: type[Exception]) -> None:
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        with pytest.raises(error):
            speaker.load(what)


@pytest.mark.parametrize(
    "how", [{"gain": -1}, {"pan": 0.5}, {"loop": -1}, {"rate": 0}, {"at": math.inf}]
)
async def test_how_a_sound_cannot_be_played(how: dict[str, Any]) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        sound = speaker.load(NOISE)
        with pytest.raises(FormatError):
            sound.play(**how)
        assert speaker.engine.attached == {}
        assert not device.step(400).any()


async def test_the_next_voice_in_a_slot_has_a_level_and_a_meter_of_its_own() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        sound = speaker.load(np.full(6400, 0.5, np.float32))
        shot = sound.play()
        device.step(640)
        shot.fade(0.25, 1.0)
        device.step(6400 - 640)
        voice = speaker.sample(encoding=32, buffer=0.5)
        voice.gain = 0.5
        voice.write_nowait(np.full(9600, 0.5, np.float32))
        device.step(4800)
        assert shot.is_finished
        assert voice.level(0.1).rms == pytest.approx(0.25, rel=0.01)


# --- conversions: how much in a call, in which thread, and what of it stays ---------------


class Work(list[tuple[int, bool]]):
    """Samples, at the higher rate, of each piece that is converted; True: on a worker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        here = threading.get_ident()

        def counted(self_: Any, convert: Any, block: np.ndarray, last: bool) -> np.ndarray:
            made: np.ndarray = convert(self_, block, last)
            self.append((max(block.size, made.size), threading.get_ident() != here))
            return made

        for kind in (resamplers.Resampler, resamplers._Soxr):
            convert = kind.resample_chunk
            monkeypatch.setattr(
                kind,
                "resample_chunk",
                lambda one, block, last=False, convert=convert: counted(
                    one, convert, block, last
                ),
            )


@pytest.mark.parametrize("rate", [44100, 44101])
async def test_a_long_sound_is_converted_in_bounded_pieces_by_a_worker(
    rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        sound = await speaker.aload(np.zeros((3 * rate, 2), np.float32), rate)
        await sound.aprepare(1.7)
        await sound.aprepare(0.6, loop=True)
        assert all(elsewhere for _, elsewhere in work)
        # soxr holds back much, and then gives it at once.
        assert max(samples for samples, _ in work) < (2 * WORK if rate == 44100 else 4 * WORK)
        assert sum(samples for samples, _ in work) > 4 * 3 * 2 * rate
        work.clear()
        # All of this is at hand, so that nothing is converted.
        sound.prepare(1.7)
        await sound.aprepare(1.7)
        for how in ({}, {"loop": True}, {"loop": 2}, {"rate": 1.7}):
            sound.play(**how)
        sound.play(rate=0.6, loop=True)
        assert (sound.frames, sound.seconds) == (
            pytest.approx(3 * 48000, abs=5),
            sound.frames / 48000,
        )
        assert work == []


async def test_a_sound_that_is_not_prepared_is_converted_at_once_up_to_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        second = speaker.load(np.zeros(44100, np.float32), 44100)
        longer = speaker.load(np.zeros(44101, np.float32), 44100)
        work = Work(monkeypatch)
        second.play(loop=True)
        second.play(rate=1.5)
        assert sum(samples for samples, _ in work) < 3 * 48000
        work.clear()
        # Longer as it was loaded, or as it is to be played.
        refused: list[tuple[Any, float, bool]] = [(second, 0.9, False), (longer, 1.5, True)]
        for sound, rate, loop in refused:
            wanted = re.escape(f"await sound.aprepare(rate={rate}, loop={loop})")
            with pytest.raises(AudioException, match=wanted):
                sound.play(rate=rate, loop=loop)
            assert work == []
            await sound.aprepare(rate, loop)
            work.clear()
            sound.play(rate=rate, loop=loop)
            assert work == []
        # One at the device's own rate needs no conversion to loop.
        speaker.load(np.zeros(100_000, np.float32)).play(loop=True)
        assert work == []


async def test_an_aprepare_that_is_cancelled_stops_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        sound = speaker.load(np.zeros(12 * 44100, np.float32), 44100)
        work = Work(monkeypatch)
        running = await spawn(group, lambda: sound.aprepare(1.3))
        running.scope.cancel()
        with anyio.fail_after(10):
            while not running.done:
                await settle()
        done = len(work)
        assert done < 20  # of some 70
        await settle()
        assert len(work) == done
        assert running.error is None
        assert (1.3, False) not in sound._memories
        await sound.aprepare(1.3)
        sound.play(rate=1.3)


async def test_the_oldest_preparation_is_let_go_but_never_what_load_has_made() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        sound = speaker.load(np.zeros(24100, np.float32), 24000)
        for speed in np.linspace(1.1, 2, 15):
            sound.prepare(speed)
        with pytest.raises(AudioException, match="aprepare"):
            sound.play(rate=1.1)
        for how in ({}, {"loop": True}, {"rate": 2.0}):
            sound.play(**how)


@pytest.mark.parametrize("how", [{"rate": 0}, {"rate": "fast"}, {"loop": 3}])
async def test_what_cannot_be_prepared(how: dict[str, Any]) -> None:
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        sound = speaker.load(NOISE)
        with pytest.raises(FormatError):
            sound.prepare(**how)
        with pytest.raises(FormatError):
            await sound.aprepare(**how)


async def test_aload_raises_what_load_does() -> None:
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        with pytest.raises(FormatError):
            await speaker.aload(np.zeros(0, np.float32))
        with pytest.raises(AudioException):
            await speaker.aload("nowhere.wav")
    with pytest.raises(StreamClosedError):
        await speaker.aload(NOISE)


@pytest.mark.parametrize(
    ("rate", "frames"), [(44100, 4410), (44100, 10007), (22050, 5003), (96000, 20011)]
)
async def test_a_loop_has_no_line_but_its_tone(rate: int, frames: int) -> None:
    """10007 frames at 44,100 Hz are 10892.03 at 48,000: neither a step nor a wrong pitch."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        for periods in (1, frames // 50):
            tone = 0.5 * np.sin(2 * np.pi * periods * np.arange(frames) / frames)
            playing = speaker.load(tone.astype(np.float32), rate).play(loop=True)
            looped = round(frames * 48000 / rate)
            played = device.step(2 * looped)[:, 0].astype(float)
            np.testing.assert_array_equal(played[:looped], played[looped:])
            lines = np.abs(np.fft.rfft(played[:looped])) / looped * 2
            assert lines[periods] == pytest.approx(0.5, rel=1e-4)
            lines[periods] = 0
            assert 20 * math.log10(lines.max() / 0.5) < -105
            playing.stop(fade=0)
            device.step(64)


async def test_a_loop_takes_memory_in_proportion() -> None:
    frames = 300_007  # a prime number, of which a transform makes a hundred times as much
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        sound = speaker.load(np.zeros(frames, np.float32), 44100)
        tracemalloc.start()
        try:
            sound.prepare(1.1, loop=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4 * 4 * frames


@pytest.mark.numbers
@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("rate", [48000, 22050, 44101])
@pytest.mark.parametrize(("wrong", "taken"), [(np.nan, 0.0), (np.inf, 1.0), (-np.inf, -1.0)])
async def test_what_is_no_number_costs_its_own_frame_only(
    wrong: float, taken: float, rate: int, loop: bool
) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        heard = []
        for value in (wrong, taken):
            block = np.full((2000, 2), 0.25, np.float32)
            block[700, 1] = value
            playing = speaker.load(block, rate=rate).play(loop=loop)
            heard.append(device.step(6000))
            playing.stop(fade=0)
            device.step(64)
        np.testing.assert_array_equal(*heard)
