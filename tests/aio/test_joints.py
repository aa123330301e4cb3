"""Sources that are played one after the other, at other rates than the device's; stepped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import soundfile

from audiostream import aio
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio

STEP = 256
"""Frames of the device's blocks."""


def music(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """A sound without a quiet place, with all up to 0.4 of the rate in it."""
    at = np.arange(round(seconds * rate)) / rate
    tones = [np.sin(2 * np.pi * f * at + f) for f in (101.27, 3001.3, 0.39 * rate)]
    return np.stack([sum(tones) / (4 + c) for c in range(channels)], 1).astype(np.float32)


def files(folder: Path, sound: np.ndarray, rate: int, cuts: Iterable[int]) -> Iterator[Any]:
    """The sound in files that are cut at these frames, as sources."""
    for number, part in enumerate(np.split(sound, list(cuts))):
        path = folder / f"{number}.wav"
        soundfile.write(path, part, rate, subtype="FLOAT")
        yield aio.sources.file(path)


def chunks(sound: np.ndarray, size: int, as_bytes: bool) -> Iterator[Any]:
    """The sound as a generator of chunks of so many frames."""
    for start in range(0, len(sound), size):
        part = sound[start : start + size]
        yield part.tobytes() if as_bytes else part


async def heard_of(sources: Iterable[Any], channels: int = 1, **options: Any) -> np.ndarray:
    """What is heard of sources that are played one after the other, while there is room."""
    device = ManualDevice()
    heard = []
    options = {"rate": 48000, "encoding": 32, "buffer": 0.5, **options}
    async with (
        speaker_on(device, channels=channels, encoding=32, buffersize=STEP) as speaker,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample(**options)

        async def play() -> None:
            for source in sources:
                await voice.write_from(source, ahead=voice.rate // 2)

        playing = await spawn(group, play)
        with anyio.fail_after(20):
            while not playing.done or voice.buffered:
                await settle(1)
                assert voice.written == voice.position + voice.buffered + voice.cleared
                # So that the next source is there in good time, however slow the disk is.
                if playing.done or voice.buffered > voice.rate // 4:
                    heard.append(device.step(STEP))
        assert playing.error is None
        assert voice.starved == 0
        total = round(voice.written * 48000 / voice.rate)
    return np.concatenate(heard)[:total]


@pytest.mark.numbers
@pytest.mark.parametrize(
    ("rate", "sample_rate"),
    [(44100, 48000), (22050, 48000), (44100, 44100), (96000, 48000), (44100, 32000)],
)
async def test_files_join_as_if_they_were_one(
    rate: int, sample_rate: int, tmp_path: Path
) -> None:
    """Through the source's resampler, the sample's, and both; right around the ring."""
    sound = music(rate, 1.5, 2)
    cuts = [round(share * len(sound)) for share in (0.21, 0.43, 0.44, 0.64, 0.9)]
    options = {"channels": 2, "rate": sample_rate}
    whole = await heard_of(files(tmp_path, sound, rate, []), **options)
    parts = await heard_of(files(tmp_path, sound, rate, cuts), **options)
    assert len(parts) == len(whole)
    np.testing.assert_allclose(parts, whole, atol=1e-6)


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("matrix", [None, [[0.5]]])
async def test_generators_join_as_if_they_were_one(as_bytes: bool, matrix: Any) -> None:
    sound = music(16000, 1.0)
    options = {"rate": 16000, "matrix": matrix}
    whole = await heard_of([chunks(sound, 320, as_bytes)], **options)
    parts = [chunks(part, 320, as_bytes) for part in np.split(sound, [6400, 9600])]
    np.testing.assert_allclose(await heard_of(parts, **options), whole, atol=1e-6)


async def test_at_the_devices_rate_files_join_bit_for_bit(tmp_path: Path) -> None:
    sound = music(48000, 1.0)
    heard = await heard_of(files(tmp_path, sound, 48000, [20001, 30000]))
    np.testing.assert_array_equal(heard, sound)


@pytest.mark.numbers
@pytest.mark.parametrize(
    ("first", "second", "options"),
    [
        (44100, 22050, {}),
        (48000, 44100, {}),
        (44100, 48000, {}),
        (44100, 22050, {"rate": 44100}),
        (32000, 32000, {"rate": 32000, "quality": "soxr"}),
    ],
)
async def test_what_cannot_be_joined_fades_over(
    first: int, second: int, options: dict[str, Any], tmp_path: Path
) -> None:
    """Where the rates differ, or soxr converts: two milliseconds out, and two in."""
    sources = []
    for number, rate in enumerate((first, second)):
        # It ends, and begins, at its highest.
        wave = 0.5 * np.cos(2 * np.pi * 100 * np.arange(rate // 2 + 1 - number) / rate)
        soundfile.write(tmp_path / f"{number}.wav", wave, rate, subtype="FLOAT")
        sources.append(aio.sources.file(tmp_path / f"{number}.wav"))
    heard = (await heard_of(sources, **options))[:, 0]
    joint = heard[23500:24500]
    assert np.abs(np.diff(joint)).max() < 0.5 * 2 * np.pi * 100 / 48000 + 0.5 / 96 + 1e-3
    assert np.abs(joint).min() < 0.02
    # All but a few milliseconds is what it was.
    at = np.arange(len(heard)) / 48000
    wrong = np.abs(heard - 0.5 * np.cos(2 * np.pi * 100 * at))[200:-200] > 0.02
    assert np.count_nonzero(wrong) < 0.006 * 48000


async def test_what_is_heard_already_is_left_alone(tmp_path: Path) -> None:
    """Where the ring has nearly run dry, and where something came in between."""
    device = ManualDevice()
    sound = music(44100, 0.5)
    async with speaker_on(device, encoding=32, buffersize=STEP) as speaker:
        voice = speaker.sample(buffer=2)

        async def play() -> np.ndarray:
            """The last frames that wait to be played, before and after."""
            before = voice._voice.strip.ring()[0][voice.written - 300 : voice.written].copy()
            (source,) = files(tmp_path, sound, 44100, [])
            written = voice.written
            assert await voice.write_from(source, ahead=90000) == 24000
            assert voice.written == voice.position + voice.buffered + voice.cleared
            return np.array_equal(voice._voice.strip.ring()[0][written - 300 : written], before)

        await play()
        assert not await play()  # so that this test sees it
        device.step(voice.buffered - STEP)
        assert await play()
        await voice.write(np.zeros(1, np.float32))
        assert await play()
        voice.clear_nowait(0)
        device.step(STEP)
        assert await play()
        # After a silence it begins as if nothing had been before.
        begun = []
        for _ in range(2):
            device.step(voice.buffered + 10 * STEP)
            assert voice.buffered == 0
            await play()
            begun.append(device.step(STEP))
        alone = speaker.sample(rate=44100, buffer=2)
        device.step(voice.buffered + 10 * STEP)
        alone.write_nowait(sound)
        np.testing.assert_allclose(begun, [device.step(STEP)] * 2, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int16", "bytes"])
async def test_a_file_and_then_a_generator(dtype: str, tmp_path: Path) -> None:
    sound = music(44100, 0.5)
    (source,) = files(tmp_path, sound, 44100, [])
    block = np.full(4800, 0.5, np.float32)
    chunk: Any = {
        "float32": block,
        "int16": (block * 32768).astype(np.int16),
        "bytes": block.tobytes(),
    }[dtype]
    heard = await heard_of([source, [chunk, chunk]])
    assert len(heard) == 24000 + 9600
    assert (heard[24000 + 96 :] == 0.5).all()


@pytest.mark.numbers
@pytest.mark.parametrize("frames", [1, 33, 70])
async def test_short_files_are_heard_whole(frames: int, tmp_path: Path) -> None:
    """One that is shorter than a resampler looks ahead, between two that are longer."""
    rate = 22050
    sound = music(rate, 0.6)
    cuts = [4410, 4410 + frames]
    heard = await heard_of(files(tmp_path, sound, rate, cuts))
    assert len(heard) == pytest.approx(len(sound) * 48000 / rate, abs=3)
    whole = await heard_of(files(tmp_path, sound, rate, []))
    np.testing.assert_allclose(heard[:9000], whole[:9000], atol=1e-6)
    # It may have moved by a part of a frame; its level is the same.
    level = np.sqrt(np.mean(whole[-9000:] ** 2))
    assert np.sqrt(np.mean(heard[-9000:] ** 2)) == pytest.approx(level, rel=0.02)


async def test_an_empty_source_and_one_that_fails_leave_the_next_alone(tmp_path: Path) -> None:
    device = ManualDevice()
    sound = music(44100, 0.5)
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(buffer=2)
        first, second = files(tmp_path, sound, 44100, [10000])
        await voice.write_from(first, ahead=90000)
        assert await voice.write_from([]) == 0
        with pytest.raises(ZeroDivisionError):
            await voice.write_from(1 / 0 for _ in range(1))
        await voice.write_from(second, ahead=90000)
        assert voice.written == pytest.approx(24000, abs=1)


async def test_what_is_too_short_to_be_joined_is_heard_whole() -> None:
    """A first chunk of less than the resampler looks ahead."""
    sound = music(16000, 0.5)
    parts = [chunks(part, 40, as_bytes=False) for part in np.split(sound, [4000])]
    heard = await heard_of(parts, rate=16000)
    whole = await heard_of([chunks(sound, 40, as_bytes=False)], rate=16000)
    assert len(heard) == len(whole)
    far = np.abs(np.arange(len(heard)) - 12000) > 250
    np.testing.assert_allclose(heard[far], whole[far], atol=1e-5)


async def test_an_unfinished_frame_stays_before_the_end() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(rate=16000, encoding=16, buffer=2)
        sound = np.full(1600, 8192, "<i2").tobytes()
        await voice.write_from([sound + b"\x10"])
        await voice.write_from([sound])
        assert voice.written == 3201
