"""What outputs and inputs have in common, from new to closed."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from audiostream import aio
from audiostream.engine.watchdog import WATCHDOG
from audiostream.testing import ManualDevice
from tests.aio.support import settle, speaker_on

pytestmark = pytest.mark.anyio


async def test_an_output_tells_what_it_is_before_while_and_after_it_is_open() -> None:
    device = ManualDevice(rate=48000, channels=2, latency=0.25)
    speaker = aio.get_output(44100, 1, 16, 0, device=device)
    assert (speaker.device_rate, speaker.device_channels, speaker.latency) == (44100, 1, 0.0)
    assert (speaker.buffersize, speaker.time, speaker.stats.callbacks) == (0, 0.0, 0)
    assert "new" in repr(speaker)
    with pytest.raises(aio.StreamClosedError, match="not open yet"):
        speaker.sample()
    async with speaker:
        assert (speaker.rate, speaker.channels, speaker.encoding) == (44100, 1, 16)
        assert (speaker.device_rate, speaker.device_channels) == (48000, 2)
        assert (speaker.buffersize, speaker.latency) == (256, 0.25)
        device.step(480)
        assert speaker.time == pytest.approx(0.01)
        assert (speaker.stats.callbacks, speaker.stats.frames) == (2, 480)
        assert "open" in repr(speaker)
        voice = speaker.sample(rate=8000, channels=2, encoding=32)
        assert (voice.rate, voice.channels, voice.encoding) == (8000, 2, 32)
        assert voice.format.frame_bytes == 8
        assert "8000 Hz" in repr(voice)
    assert speaker.is_closed
    assert "closed" in repr(speaker)
    assert speaker.stats.frames == 480
    with pytest.raises(aio.StreamClosedError, match="open another one"):
        await speaker.open()


async def test_any_number_of_outputs_may_be_open() -> None:
    devices = [ManualDevice() for _ in range(3)]
    async with (
        speaker_on(devices[0]) as first,
        speaker_on(devices[1]) as second,
        speaker_on(devices[2]) as third,
    ):
        voices = [speaker.sample() for speaker in (first, second, third)]
        for number, voice in enumerate(voices, 1):
            voice.write_nowait(bytes([number, 0]))
        assert [int(device.step(1)[0, 0]) for device in devices] == [1, 2, 3]


async def test_one_device_error_leaves_nothing_open() -> None:
    before = WATCHDOG.open_streams()
    with pytest.raises(aio.NoDeviceError, match="null"):
        await aio.get_output(device="no such device anywhere").open()
    assert WATCHDOG.open_streams() == before


@pytest.mark.parametrize("make", [aio.get_output, aio.get_input])
async def test_a_cancelled_open_leaves_no_device_running(make, anyio_backend: str) -> None:
    """asyncio's own cancellation does not wait for the thread that opens."""
    name = "source" if make is aio.get_input else "device"
    before = WATCHDOG.open_streams()
    if anyio_backend == "asyncio":
        task = asyncio.create_task(make(**{name: "null"}).open())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await make(**{name: "null"}).open()
    end = time.monotonic() + 20
    while WATCHDOG.open_streams() != before:  # it closes in the background
        assert time.monotonic() < end
        await anyio.sleep(0.01)


async def test_start_and_stop_on_the_event_loop_are_done_in_the_background() -> None:
    async with aio.get_input(source="null", rate=48000, buffersize=480) as mic:
        await mic.read(480)
        mic.stop()
        mic.start()
        await mic.read(48000)
        assert mic.engine.started


async def test_more_event_loops_than_wakeups_are_refused_clearly() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        wakeups = [speaker.engine.wakeups.add() for _ in range(64)]
        with pytest.raises(aio.AudioException, match="64 event loops"):
            speaker.engine.wakeups.add()
        for wakeup in wakeups:
            speaker.engine.wakeups.drop(wakeup)
            speaker.engine.wakeups.drop(wakeup)
        assert speaker.engine.wakeups.add().index == 0


async def test_virtual_time_is_the_devices_own_to_the_last_bit() -> None:
    """Whatever callbacks say; and the clocks' conversions are as good as the looks at them."""
    device = ManualDevice(rate=44100, latency=0.02)
    device.fault("jitter")
    async with (
        speaker_on(device, rate=44100) as speaker,
        aio.get_input(source=device, rate=44100) as mic,
        speaker.monitor() as ears,
    ):
        for frames in (1, 100, 441, 7, 300) * 10:
            device.step(frames)
            assert speaker.time == mic.time == ears.time == device.time
        before = time.monotonic()
        at = speaker.to_monotonic(device.time + 1.0) - 1.0
        assert before <= at <= time.monotonic()
        before = time.monotonic()
        at = device.time + before - speaker.from_monotonic(before)
        assert before <= at <= time.monotonic()


async def test_virtual_devices_in_real_time_are_on_the_monotonic_clock() -> None:
    async with (
        aio.get_output(device="loopback:one clock") as speaker,
        aio.get_input(source="loopback:one clock") as mic,
        speaker.monitor() as ears,
    ):
        for _ in range(20):
            before = time.monotonic()
            times = [stream.time for stream in (speaker, mic, ears)]
            after = time.monotonic()
            assert before <= min(times) <= max(times) <= after
            for stream in (speaker, mic, ears):
                before = time.monotonic()
                off = abs(stream.to_monotonic(before) - before)
                assert off <= time.monotonic() - before
                assert abs(stream.from_monotonic(before) - before) <= time.monotonic() - before


async def test_a_close_while_signals_are_taken_gives_the_wakeup_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its descriptor stayed open, and its reader on the loop, as long as that ran."""
    async with speaker_on(ManualDevice()) as speaker:
        wakeup = speaker._wakeups.here().wakeup
        clear = wakeup.clear

        def late() -> None:
            monkeypatch.undo()
            wakeup.finish(gone=True)  # by the thread that closes the stream
            clear()

        monkeypatch.setattr(wakeup, "clear", late)
        wakeup.signal()
        await settle()
        assert wakeup.closed
