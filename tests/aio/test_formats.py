"""Any format in: what is heard of samples in other encodings, channels and rates."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import errors
from audiostream.engine.resampler import resampler
from audiostream.engine.sample_decoding import decode
from audiostream.pcm import NAMED, Format
from audiostream.realtime.compile.kernels import kernels
from audiostream.testing import ManualDevice
from tests.aio.support import ramp, settle, spawn, speaker_on

pytestmark = pytest.mark.anyio


def noise(frames: int, channels: int = 1, seed: int = 1) -> np.ndarray:
    """float32 (frames, channels)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.4, 0.4, (frames, channels)).astype(np.float32)


def at_48000(block: np.ndarray, rate: int, quality: str = "high") -> np.ndarray:
    """All of an utterance, converted at one go."""
    converter = resampler(kernels(), rate, 48000, block.shape[1], quality)
    return converter.resample_chunk(block, last=True)


@pytest.mark.numbers
@pytest.mark.parametrize("encoding", NAMED)
async def test_bytes_of_every_encoding_are_heard(encoding: str) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(encoding=encoding)
        assert voice.encoding == encoding
        rng = np.random.default_rng(2)
        if encoding.startswith("f"):
            data = noise(300, 2).astype(NAMED[encoding]).tobytes()
        else:
            data = rng.integers(0, 256, 300 * voice.format.frame_bytes, np.uint8).tobytes()
        for start in range(0, len(data), 97):  # cut anywhere
            chunk = data[start : start + 97]
            assert await voice.write(chunk) == len(chunk)
        assert voice.written == 300
        np.testing.assert_array_equal(device.step(300), decode(data, voice.format))


@pytest.mark.parametrize("encoding", ["u8", "ulaw", "s24", "s16be", "f64"])
async def test_an_end_completes_a_frame_with_silence(encoding: str) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(encoding=encoding)
        width = voice.format.sample_bytes
        data = (voice.format.silence[:width] * 2 + b"\x44" * width) if width < 8 else bytes(24)
        assert voice.write_nowait(data) == 3 * width  # a frame and a half
        voice.end()
        assert voice.written == 2
        assert device.step(2)[1, 1] == 0


@pytest.mark.parametrize("rate", [48000, 16000])
async def test_doubles_are_heard_as_floats_and_no_more_is_taken_than_fits(rate: int) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(rate=rate, buffer=0.01)
        block = noise(rate // 10)[:, 0].astype(np.float64)
        writing = await spawn(group, lambda: voice.write(block))
        assert 0 < voice.written < len(block)
        heard = []
        for _ in range(200):
            heard.append(device.step(64)[:, 0])
            await settle()
        assert writing.result == len(block) == voice.written
        voice.end()
        heard.append(device.step(480)[:, 0])
        wanted = block.astype(np.float32)[:, None]
        wanted = wanted if rate == 48000 else at_48000(wanted, rate)
        got = np.concatenate(heard)
        assert speaker.stats.starved >= 0
        played = got[np.flatnonzero(got)[0] :]
        assert len(np.flatnonzero(played)) >= 0.99 * len(wanted)
        np.testing.assert_allclose(played[:400], wanted[:400, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (np.full(10, -(2**30), np.int32), -0.5),
        (np.full(10, 192, np.uint8), 0.5),
        (np.full(10, 16384, ">i2"), 0.5),
        (np.full(10, 0.25, np.float64), 0.25),
    ],
)
async def test_arrays_are_heard_at_their_own_full_scale(array: Any, value: float) -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding="ulaw")  # which is what bytes would be
        assert voice.write_nowait(array) == 10
        assert device.step(10)[:, 0].tolist() == [value] * 10


@pytest.mark.parametrize("rate", [48000, 16000])
async def test_a_matrix_says_where_channels_go(rate: int) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(rate=rate, channels=1, encoding=32, matrix=[[0.0], [0.5]])
        block = noise(rate // 100)
        await voice.write(block)
        voice.end()
        wanted = block if rate == 48000 else at_48000(block, rate)
        got = device.step(480)
        assert not got[:, 0].any()
        np.testing.assert_allclose(got[:, 1], 0.5 * wanted[:, 0], atol=1e-7)


async def test_a_matrix_has_the_channels_that_were_asked_of_the_output() -> None:
    device = ManualDevice(channels=1)
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(channels=2, matrix=[[1, 0], [0.5, 0.5]])
        assert speaker.device_channels == 1
        block = noise(100, 2)
        await voice.write(block)
        wanted = (1.5 * block[:, 0] + 0.5 * block[:, 1]) / 2
        np.testing.assert_allclose(device.step(100)[:, 0], wanted, atol=1e-6)


async def test_live_is_heard_within_3_ms() -> None:
    device = ManualDevice()
    block = noise(800)
    early = {}
    async with speaker_on(device, encoding=32) as speaker:
        for quality in ("high", "live"):
            voice = speaker.sample(rate=8000, quality=quality)
            await voice.write(block)
            early[quality] = voice._voice.write_index()
            voice.end()
            np.testing.assert_allclose(
                device.step(4800), at_48000(block, 8000, quality), atol=1e-6
            )
    assert early == {"high": 4800 - 6 * 64, "live": 4800 - 6 * 23}


async def test_what_cannot_be_converted_is_refused() -> None:
    async with speaker_on(ManualDevice(), channels=2) as speaker:
        for wrong in (
            {"encoding": "s12"},
            {"quality": "best"},
            {"matrix": [[1, 0]]},
            {"rate": 44101, "quality": "live"},
        ):
            with pytest.raises(errors.FormatError, match="try"):
                speaker.sample(**wrong)  # type: ignore[arg-type]
        assert not speaker._stream.attached


# --- from one utterance to the next ------------------------------------------------

UTTERANCES: list[tuple[int, int, Any, str]] = [
    (24000, 1, 16, "high"),
    (8000, 1, "ulaw", "live"),
    (48000, 2, "f64", "high"),
    (44100, 2, "s24be", "live"),
    (48000, 1, 32, "high"),
    (48000, 2, 16, "high"),
]


async def test_the_format_changes_between_utterances_without_a_gap() -> None:
    device = ManualDevice(latency=0.0)
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        rate, channels, encoding, quality = UTTERANCES[0]
        voice = speaker.sample(rate, channels, encoding, quality=quality, buffer=1.0)
        wanted, written = [], 0
        for number, (rate, channels, encoding, quality) in enumerate(UTTERANCES):
            format = Format(rate, channels, encoding)
            if number:
                await voice.set_format(rate, channels, encoding, quality=quality)
            assert (voice.format, voice.rate, voice.channels) == (format, rate, channels)
            frames = rate // 20 + number
            written += frames
            data = np.random.default_rng(number).integers(
                0, 60, frames * format.frame_bytes, np.uint8
            )
            if encoding == "f64":
                data = noise(frames, channels).astype(np.float64)
            if encoding == 32:
                data = noise(frames, channels)
            await voice.write(data.tobytes())
            block = decode(data.tobytes(), format)
            if rate != 48000:
                block = at_48000(block, rate, quality)
            wanted.append(np.broadcast_to(block, (len(block), 2)))
        voice.end()
        assert voice.written == voice.buffered == written
        whole = np.concatenate(wanted)
        # In two parts, so that counts are looked at in between.
        got = [device.step(5000)]
        first = UTTERANCES[0][0] // 20
        counts = (voice.position, voice.buffered, voice.cleared)
        assert sum(counts) == written
        # All of the first two, and of the third what is at 48,000 Hz anyway.
        second = 8000 // 20 + 1
        assert counts[0] == first + second + 5000 - len(wanted[0]) - len(wanted[1])
        got.append(device.step(len(whole) - 5000))
        np.testing.assert_allclose(np.concatenate(got), np.clip(whole, -1, 1), atol=1e-6)
        assert (voice.position, voice.buffered, voice.cleared) == (written, 0, 0)
        assert speaker.stats.starved == 0


async def test_writes_that_wait_come_before_a_change() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=0.01)
        writing = await spawn(group, lambda: voice.write(ramp(0, 1000)))
        changing = await spawn(group, lambda: voice.set_format(encoding="u8"))
        assert not changing.done
        played = [device.step(64)[:, 0]]
        while not changing.done:
            await settle()
            played.append(device.step(64)[:, 0])
        assert writing.result == 1000
        assert voice.encoding == "u8"
        await voice.write(b"\xc0" * 7)
        voice.end()
        played.append(device.step(1200)[:, 0])
        heard = np.concatenate(played)
        heard = heard[: np.flatnonzero(heard)[-1] + 1]
        assert [*heard] == [*ramp(0, 1000)[:, 0], *[16384] * 7]


async def test_a_change_that_is_refused_changes_nothing() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(encoding=16, buffer=0.01)
        voice.write_nowait(b"\1\0\2")  # a frame's other byte is to come
        for wrong in ({"rate": 10}, {"encoding": "s12"}, {"quality": "no"}, {"matrix": [1]}):
            with pytest.raises(errors.FormatError):
                await voice.set_format(**wrong)  # type: ignore[arg-type]
        with pytest.raises(errors.FormatError, match=r"too short.*buffer="):
            await voice.set_format(rate=8000, quality="soxr")
        assert (voice.rate, voice.encoding, voice.written) == (48000, 16, 0)
        voice.write_nowait(b"\0")
        assert (device.step(1)[0] * 32768).tolist() == [1, 2]


async def test_a_clear_after_a_change_counts_what_was_cut() -> None:
    device = ManualDevice(latency=0.0)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(rate=16000, buffer=1.0)
        await voice.write(noise(1600))
        await voice.set_format(rate=8000, quality="live")
        await voice.write(noise(800))
        device.step(4800 + 2400)  # all of the first, half of the second
        assert (voice.position, voice.buffered) == (1600 + 400, 400)
        clearing = await spawn(group, lambda: voice.clear(fade=0.0))
        device.step(64)
        await settle()
        assert clearing.done
        assert voice.written == voice.position + voice.cleared == 2400
        assert voice.position == clearing.result
        assert 2000 <= voice.position <= 2011


# --- the scale of floats ------------------------------------------------------------


def told_of_scale(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has said of floats that are too loud, since it was last asked."""
    said = [
        record.getMessage()
        for record in caplog.records
        if record.name == "audiostream" and "full scale" in record.getMessage()
    ]
    caplog.clear()
    return said


@pytest.mark.numbers
@pytest.mark.parametrize("rate", [48000, 16000])
@pytest.mark.parametrize(
    "data",
    [
        np.full(480, 9000, np.float32),
        np.full(480, -9000, np.float64),
        np.full(480, 9000, np.float32).tobytes(),
    ],
)
async def test_floats_far_above_full_scale_are_told_of_once(
    caplog: pytest.LogCaptureFixture, rate: int, data: Any
) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker:
        for _ in range(2):  # of each sample
            voice = speaker.sample(rate=rate, channels=1, encoding=32)
            for _ in range(3):
                assert voice.write_nowait(data) == len(data)
            (said,) = told_of_scale(caplog)
            assert "divide" in said
            assert float(said.split("about ")[1].split(",")[0]) == pytest.approx(9000, rel=0.3)
            for _ in range(30 if rate == 16000 else 110):
                device.step(1440)
                voice.write_nowait(data)
            assert not told_of_scale(caplog)
            await voice.aclose()


async def test_floats_that_become_too_loud_are_told_of_within_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample(buffer=0.1)
        for _ in range(30):  # three seconds: the ring and its meter have gone round
            voice.write_nowait(noise(4800))
            device.step(4800)
        assert not told_of_scale(caplog)
        voice.write_nowait(np.full(256, 100.0, np.float32))
        for _ in range(10):
            device.step(4800)
            voice.write_nowait(noise(4800))
        assert len(told_of_scale(caplog)) == 1


@pytest.mark.parametrize(
    "data",
    [
        np.full(480, -32768, np.int16),
        np.full(480, 7.9, np.float32),
        np.full(480, np.nan, np.float32),
        np.full(480, -(2**31), np.int32),
    ],
)
async def test_what_is_at_its_own_scale_is_not_told_of(
    caplog: pytest.LogCaptureFixture, data: np.ndarray
) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        for options in ({}, {"matrix": [[0.5]]}, {"matrix": [[20.0]]}):
            async with speaker.sample(**options) as voice:
                assert await voice.write(data) == 480
        assert not told_of_scale(caplog)
        async with speaker.sample(matrix=[[20.0]]) as voice:
            await voice.write(np.full(480, 9.0, np.float32))
        (said,) = told_of_scale(caplog)
        assert "about 9," in said


async def test_sounds_far_above_full_scale_are_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with speaker_on(ManualDevice()) as speaker:
        sound = speaker.load(np.tile(np.float32([0, 9000]), 5000)[:, None])
        (said,) = told_of_scale(caplog)
        assert "reach about 9000," in said
        sound.play(loop=True)
        sound.prepare(2.0)
        speaker.load(noise(100) * 10)
        speaker.load(np.full(100, -32768, np.int16))
        assert not told_of_scale(caplog)
