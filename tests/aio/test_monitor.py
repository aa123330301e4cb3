"""The final mix, heard by the program itself, and when its chunks were heard; stepped."""

from __future__ import annotations

import gc

import anyio
import numpy as np
import pytest

from audiostream import aio
from audiostream.aio import EndOfStream
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio


async def test_a_monitor_hears_what_is_played_bit_for_bit() -> None:
    device = ManualDevice(latency=0.02)
    async with speaker_on(device, channels=2) as speaker:
        voice = speaker.sample(channels=2)
        rng = np.random.default_rng(1)
        voice.write_nowait(rng.integers(-(2**14), 2**14, (2000, 2)).astype(np.int16))
        device.step(640)
        async with speaker.monitor(buffersize=100) as ears:
            begin = device.time
            played = device.step(1000)
            heard = []
            for number in range(10):
                heard.append(np.frombuffer(await ears.read(100), np.int16).reshape(-1, 2))
                wanted = begin + 0.02 + number * 100 / 48000
                assert ears.chunk_time == pytest.approx(wanted, abs=1e-6)
            np.testing.assert_array_equal(np.concatenate(heard), played)


async def test_a_monitor_converts_and_ends_with_its_output() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32)
        voice.write_nowait(np.full(9600, 0.5, np.float32))
        ears = speaker.monitor(rate=16000, encoding=32, channels=2, buffersize=320)
        async with ears:
            device.step(9600)
            chunks = [np.frombuffer(await ears.read(320), np.float32) for _ in range(8)]
            assert np.concatenate(chunks)[1000:] == pytest.approx(0.5, abs=1e-3)

            async def drain() -> int:
                count = 0
                async for chunk in ears:
                    count += len(chunk)
                return count

            rest = await spawn(group, drain)
            await speaker.aclose()
            await settle()
            assert rest.done
            assert rest.error is None
            assert rest.result > 0
            with pytest.raises(EndOfStream):
                await ears.read(1)


async def test_a_monitor_may_just_be_iterated_over() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample()
        voice.write_nowait(np.arange(1, 1001, dtype=np.int16))
        heard: list[bytes] = []

        async def listen(chunks: int) -> None:
            async for chunk in speaker.monitor(buffersize=100):
                heard.append(chunk)
                if len(heard) == chunks:
                    break

        listening = await spawn(group, lambda: listen(3))
        device.step(400)
        await settle()
        assert listening.done
        assert np.frombuffer(b"".join(heard), np.int16).tolist() == list(range(1, 301))
        gc.collect()  # what is left behind closes by itself, in the background
        with anyio.fail_after(10):
            while speaker.engine.word("monitor_count"):
                await anyio.sleep(0.001)
        listening = await spawn(group, lambda: listen(1000))
        await speaker.aclose()
        await settle()
        with anyio.fail_after(10):
            while not listening.done:
                await anyio.sleep(0.001)
        assert listening.error is None


async def test_monitors_come_and_go() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        first = await speaker.monitor(buffersize=64).open()
        second = await speaker.monitor(buffersize=64).open()
        device.step(64)
        await first.aclose()
        device.step(64)
        assert len(await second.read(128)) == 128 * 4
        await second.aclose()
        device.step(64)
        assert speaker.engine.word("monitor_count") == 0


async def test_the_capture_time_of_a_chunk_is_that_of_its_first_frame() -> None:
    device = ManualDevice(latency=0.005)
    async with aio.get_input(source=device, rate=48000, buffersize=480) as mic:
        device.step(4800)
        for number in range(10):
            await mic.read(480)
            assert mic.chunk_time == pytest.approx(number * 0.01 - 0.005, abs=1e-6)
        # What was lost because it was not read is counted.
        device.step(48_000 * 5)
        await mic.read(480)
        assert mic.dropped > 0
        lost = mic.dropped / 48000
        assert mic.chunk_time == pytest.approx(0.1 + lost - 0.005, abs=1e-3)


@pytest.mark.parametrize("rate", [16000, 44100])
async def test_capture_times_at_another_rate(rate: int) -> None:
    """Of a device that refuses the rate, so that the stream converts."""
    device = ManualDevice(rate=48000)
    async with aio.get_input(source=device, rate=rate, buffersize=rate // 100) as mic:
        assert mic.device_rate == 48000
        device.step(48_000)
        for number in range(90):
            await mic.read(rate // 100)
            assert mic.chunk_time == pytest.approx(number * 0.01, abs=2e-4)
