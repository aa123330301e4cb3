"""The asyncio input on a manual device, on both event loops."""

from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest

from audiostream import aio, errors
from audiostream.device.wav import header
from audiostream.testing import ManualDevice
from tests.aio.support import ramp, settle, spawn

pytestmark = pytest.mark.anyio


async def microphone(device: ManualDevice, **kwargs) -> aio.AudioInput:
    kwargs.setdefault("rate", 16000)
    kwargs.setdefault("buffersize", 160)
    return await aio.get_input(source=device, **kwargs).open()


async def test_iteration_gives_one_buffer_each_bit_for_bit() -> None:
    device = ManualDevice(buffersize=64)
    async with aio.get_input(source=device, rate=16000, buffersize=160) as mic:
        device.feed(ramp(0, 480))
        device.fault("end")
        device.step(1000)
        chunks = [chunk async for chunk in mic]
        assert [len(chunk) for chunk in chunks] == [320, 320, 320]
        assert b"".join(chunks) == ramp(0, 480).tobytes()
        with pytest.raises(aio.EndOfStream) as caught:
            await mic.read(1)
        assert isinstance(caught.value, anyio.EndOfStream)


async def test_the_last_buffer_of_a_source_may_be_shorter() -> None:
    device = ManualDevice()
    mic = await microphone(device)
    async with mic:
        device.feed(ramp(0, 200))
        device.fault("end")
        device.step(400)
        assert [len(chunk) for chunk in [c async for c in mic]] == [320, 80]


async def test_a_reader_waits_and_is_woken_by_the_wakeup() -> None:
    device = ManualDevice(buffersize=64)
    async with aio.get_input(source=device, rate=16000, buffersize=160) as mic:
        async with anyio.create_task_group() as group:
            device.feed(ramp(0, 400))
            reading = await spawn(group, lambda: mic.read(300))
            device.step(299)
            await settle()
            assert not reading.done
            device.step(1)
            await settle()
            assert reading.result == ramp(0, 300).tobytes()
        assert mic.stats.wakeups >= 1


async def test_ways_of_reading_follow_on_each_other() -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=16000, buffersize=100, channels=2) as mic:
        device.feed(ramp(0, 1000, 2))
        device.step(1000)
        got = await mic.read(30)
        got += await mic.receive(7)  # splits a frame
        array = np.empty((50, 2), np.int16)
        assert await mic.readinto(array) == 50
        got += array.tobytes()
        chunk = await mic.__anext__()
        assert len(chunk) == 400
        got += chunk
        got += await mic.receive()
        taken: list[bytes] = []
        mic.callback = taken.append
        assert mic.poll()
        got += b"".join(taken)
        assert got == ramp(0, 1000, 2).tobytes()[: len(got)]
        assert all(len(buffer) == 400 for buffer in taken)


async def test_two_reads_at_once_are_refused() -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=16000, buffersize=100) as mic:
        async with anyio.create_task_group() as group:
            first = await spawn(group, lambda: mic.read(10))
            with pytest.raises(aio.BusyError, match="already reading") as caught:
                await mic.read(10)
            assert isinstance(caught.value, anyio.BusyResourceError)
            device.feed(ramp(0, 10))
            device.step(10)
            await settle()
            assert first.result == ramp(0, 10).tobytes()
        device.feed(ramp(10, 10))
        device.step(10)
        assert await mic.read(10) == ramp(10, 10).tobytes()


async def test_a_cancelled_read_loses_nothing() -> None:
    device = ManualDevice(buffersize=64)
    async with (
        aio.get_input(source=device, rate=16000, buffersize=100) as mic,
        anyio.create_task_group() as group,
    ):
        device.feed(ramp(0, 500))
        reading = await spawn(group, lambda: mic.read(400))
        device.step(250)
        await settle()
        reading.scope.cancel()
        await settle()
        assert reading.done
        device.step(250)
        assert await mic.read(500) == ramp(0, 500).tobytes()


async def test_a_slow_consumer_loses_the_oldest_whole_buffers_and_is_told() -> None:
    device = ManualDevice(buffersize=50)
    async with aio.get_input(source=device, rate=16000, buffersize=160, queue=0.1) as mic:
        device.feed(ramp(0, 5000))
        device.step(1600)
        assert mic.dropped == 0
        device.step(1)
        assert mic.dropped == 160  # live: nothing was read yet
        device.step(3399)
        assert mic.dropped == 3520
        first = np.frombuffer(await mic.__anext__(), np.int16)
        assert first[0] == ramp(3520, 1)[0, 0]
        assert np.array_equal(first, ramp(3520, 160)[:, 0])
        rest = await mic.read(1200)
        assert rest == ramp(3680, 1200).tobytes()
        assert mic.dropped == 3520


@pytest.mark.parametrize("channels", [1, 2])
async def test_a_microphone_of_48_khz_is_read_at_16(channels: int) -> None:
    device = ManualDevice(rate=48000, channels=2, encoding=16)
    async with aio.get_input(
        source=device, rate=16000, channels=channels, buffersize=320, queue=4
    ) as mic:
        assert (mic.rate, mic.device_rate, mic.device_channels) == (16000, 48000, 2)
        time = np.arange(48000) / 48000
        tone = (20000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16)
        device.feed(np.stack([tone, tone], axis=1))
        device.fault("end")
        device.step(50000)
        data = b"".join([chunk async for chunk in mic])
        heard = np.frombuffer(data, np.int16).reshape(-1, channels)
        assert len(heard) == 16000
        spectrum = np.abs(np.fft.rfft(heard[:, 0] * np.hanning(16000)))
        assert int(spectrum.argmax()) == 1000
        level = np.sqrt(np.mean(heard[1000:15000, -1].astype(float) ** 2))
        assert level == pytest.approx(20000 / 2**0.5, rel=0.002)


async def test_what_came_between_the_look_and_the_wait_is_not_slept_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A microphone that is stopped right then signals no more."""
    device = ManualDevice(rate=48000)
    async with aio.get_input(source=device, rate=16000, buffersize=320) as mic:
        arm = mic.engine.arm

        def late(count: int) -> bool:
            device.step(9600)
            mic.stop()
            return arm(count)

        monkeypatch.setattr(mic.engine, "arm", late)
        with anyio.fail_after(5):
            assert len(await mic.read(320)) == 640


async def test_dropping_through_a_resampler_keeps_whole_buffers() -> None:
    device = ManualDevice(rate=48000)
    async with aio.get_input(source=device, rate=16000, buffersize=320, queue=0.1) as mic:
        device.step(48000)
        assert mic.dropped == 16000 - 1600
        chunks = 0
        async with anyio.create_task_group() as group:
            while True:
                reading = await spawn(group, lambda: mic.read(320))
                if not reading.done:
                    reading.scope.cancel()
                    break
                chunks += 1
        assert 4 <= chunks <= 5  # the resampler holds back a little of the last
        assert mic.dropped == 16000 - 1600


@pytest.mark.parametrize(
    ("encoding", "dtype"), [(8, np.int8), (16, np.int16), (32, np.float32)]
)
async def test_readinto_fills_arrays_of_the_encoding(encoding: int, dtype) -> None:
    device = ManualDevice()
    async with aio.get_input(
        source=device, rate=16000, channels=2, encoding=encoding, buffersize=10
    ) as mic:
        block = np.arange(-20, 20, dtype=dtype).reshape(20, 2) / dtype(
            64 if encoding == 32 else 1
        )
        device.feed(block.astype(dtype))
        device.step(20)
        target = np.empty((20, 2), dtype)
        assert await mic.readinto(target) == 20
        assert np.array_equal(target, block.astype(dtype))
        for wrong in (
            np.empty((20, 3), dtype),
            np.empty((20, 2), np.int64),
            np.empty(20, dtype),
        ):
            with pytest.raises(errors.FormatError, match=r"numpy\.empty"):
                await mic.readinto(wrong)
        with pytest.raises(errors.FormatError, match="contiguous"):
            await mic.readinto(np.empty((40, 2), dtype)[::2])


async def test_readinto_at_the_end_tells_how_much_came() -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=16000, buffersize=10) as mic:
        device.feed(ramp(0, 7))
        device.fault("end")
        device.step(10)
        target = np.zeros(20, np.int16)
        assert await mic.readinto(target) == 7
        assert np.array_equal(target[:7], ramp(0, 7)[:, 0])
        assert not target[7:].any()
        with pytest.raises(aio.EndOfStream):
            await mic.readinto(target)


@pytest.mark.parametrize("frames", [0, -1, 1.5, True, 10**9])
async def test_reads_of_senseless_sizes_are_refused(frames) -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=16000, buffersize=10) as mic:
        with pytest.raises(errors.FormatError, match=r"frames.*(read|try)"):
            await mic.read(frames)
    with pytest.raises(errors.FormatError):
        await mic.receive(0)


async def test_closing_wakes_the_reader_and_refuses_the_next() -> None:
    device = ManualDevice()
    async with anyio.create_task_group() as group:
        mic = await microphone(device)
        reading = await spawn(group, lambda: mic.read(10))
        await mic.aclose()
        await settle()
        assert isinstance(reading.error, aio.StreamClosedError)
    for use in (lambda: mic.read(1), mic.receive, mic.__anext__):
        with pytest.raises(aio.StreamClosedError, match="closed"):
            await use()
    with pytest.raises(aio.StreamClosedError):
        mic.start()
    mic.stop()
    await mic.aclose()


async def test_before_it_is_open_it_says_so() -> None:
    mic = aio.get_input(source=ManualDevice())
    with pytest.raises(aio.StreamClosedError, match="not open yet"):
        await mic.read(1)
    with pytest.raises(aio.StreamClosedError, match="async with"):
        mic.start()


async def test_stop_and_start_again() -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=16000, buffersize=10) as mic:
        device.feed(ramp(0, 30))
        device.step(10)
        mic.stop()
        mic.stop()
        device.step(100)
        mic.start()
        device.step(10)
        assert await mic.read(20) == ramp(0, 20).tobytes()


async def test_what_was_queued_is_read_before_the_death_is_told() -> None:
    device = ManualDevice()
    async with aio.get_input(source=device, rate=16000, buffersize=10) as mic:
        device.feed(ramp(0, 10))
        device.step(10)
        device.fault("die")
        assert await mic.read(10) == ramp(0, 10).tobytes()
        with pytest.raises(aio.DeviceError, match="open another one"):
            await mic.read(10)


async def test_what_is_left_of_a_frame_is_there_at_once() -> None:
    """Time stands still: none of these reads may wait for another frame."""
    device = ManualDevice(16000, 1, 160, 0.0)
    data = ramp(0, 160)
    async with aio.get_input(source=device, rate=16000, buffersize=160) as mic:
        device.feed(data)
        device.step(160)
        with anyio.fail_after(20):
            pieces = [await mic.receive(size) for size in (1, 1, 3, 5, 2, 308)]
        assert b"".join(pieces) == data.tobytes()
        assert [len(piece) for piece in pieces] == [1, 1, 3, 5, 2, 308]


async def test_an_input_is_an_anyio_receive_stream(tmp_path: Path) -> None:
    samples = ramp(0, 1000)
    path = tmp_path / "in.wav"
    path.write_bytes(header(16000, 1, 16, samples.nbytes) + samples.tobytes())
    async with aio.get_input(source=f"file:{path}", rate=16000, buffersize=160) as mic:
        assert isinstance(mic, anyio.abc.ByteReceiveStream)
        data = b""
        while len(data) < samples.nbytes:
            data += await mic.receive(100)
        with pytest.raises(anyio.EndOfStream):
            await mic.receive()
    assert data == samples.tobytes()


async def test_the_echo_example(tmp_path: Path) -> None:
    """Microphone to speaker, as the documentation shows it, through two rates."""
    path = tmp_path / "in.wav"
    samples = ramp(0, 3200)
    path.write_bytes(header(16000, 1, 16, samples.nbytes) + samples.tobytes())
    device = ManualDevice()
    async with (
        aio.get_output(rate=16000, channels=1, device=device) as speaker,
        aio.get_input(source=f"file:{path}", rate=16000, channels=1, buffersize=320) as mic,
    ):
        voice = speaker.sample(buffer=1.0)
        async for chunk in mic:
            await voice.write(chunk)
        async with anyio.create_task_group() as group:
            draining = await spawn(group, voice.drain)
            played = device.step(3200)
            await settle()
            assert draining.done
        assert np.array_equal(played, samples)


async def test_listing_devices() -> None:
    assert (await aio.get_input_sources())[0] == "default"
    assert (await aio.get_output_devices())[0] == "default"


@pytest.mark.parametrize("rate", [44100, 44101, 16000])
@pytest.mark.parametrize(("wrong", "taken"), [(np.nan, 0.0), (np.inf, 1.0), (-np.inf, -1.0)])
async def test_what_is_no_number_costs_its_own_frame_only(
    rate: int, wrong: float, taken: float
) -> None:
    """At the device's rate, through our resampler, and through soxr."""
    heard = []
    for value in (wrong, taken):
        device = ManualDevice(rate=rate)
        async with aio.get_input(source=device, rate=16000, encoding=32) as mic:
            sound = np.full((rate // 2, 1), 0.25, np.float32)
            sound[rate // 4] = value
            device.feed(sound)
            device.fault("end")
            device.step(rate)
            heard.append(np.frombuffer(b"".join([chunk async for chunk in mic]), np.float32))
    np.testing.assert_array_equal(*heard)
    assert len(heard[0]) == 8000
