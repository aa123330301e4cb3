"""Blocking reads of an input: ``for``, ``read_blocking`` and ``blocks``."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream import AudioException, AudioInput, aio
from audiostream.errors import (
    AudioTimeoutError,
    BusyError,
    DeviceError,
    EndOfStream,
    FormatError,
    StreamClosedError,
)
from audiostream.testing import ManualDevice
from tests.compat.support import LIMIT, eventually, ramp

OpenInput = Callable[..., AudioInput]


class Reader(threading.Thread):
    """A thread that reads; what came of it."""

    def __init__(self, read: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._read = read
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._read()
        except BaseException as error:
            self.error = error

    def finish(self) -> Any:
        self.join(LIMIT)
        assert not self.is_alive(), "it still waits"
        if self.error is not None:
            raise self.error
        return self.result


def waiting(microphone: AudioInput, read: Callable[[], Any]) -> Reader:
    """A reader that has asked to be woken."""
    reader = Reader(read)
    eventually(lambda: microphone._reading.locked() and microphone.engine.word("armed"))
    return reader


def test_iteration_gives_one_buffer_each_and_ends_with_the_source(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=100)
    device.feed(ramp(250))
    device.fault("end")
    device.step(400)
    chunks = list(mic)
    assert [len(chunk) for chunk in chunks] == [200, 200, 100]
    assert b"".join(chunks) == ramp(250).tobytes()
    with pytest.raises(EndOfStream):
        mic.read_blocking(1)


@pytest.mark.parametrize("rate", [44100, 16000])
def test_a_reader_waits_for_its_frames(
    microphone: OpenInput, device: ManualDevice, rate: int
) -> None:
    mic = microphone(rate=rate)
    reader = waiting(mic, lambda: mic.read_blocking(300))
    device.feed(ramp(400))
    device.step(100)
    assert reader.is_alive()
    device.step(300)
    assert reader.finish() == ramp(300).tobytes()


def test_a_timeout_loses_nothing(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone()
    device.feed(ramp(100))
    device.step(60)
    for timeout in (0, 0.001):
        with pytest.raises(AudioTimeoutError, match="nothing is lost") as caught:
            mic.read_blocking(100, timeout)
        assert isinstance(caught.value, TimeoutError)
    device.step(40)
    assert mic.read_blocking(100, timeout=0) == ramp(100).tobytes()


def test_one_way_after_the_other(microphone: OpenInput, device: ManualDevice) -> None:
    """Threads, event loops one after the other, and poll(); what is left comes first."""
    mic = microphone(buffersize=10)
    device.feed(ramp(100))

    got = [waiting_read(mic, device)]
    got.append(asyncio.run(in_turn(mic, device)))
    got.append(waiting_read(mic, device))
    got.append(asyncio.run(in_turn(mic, device)))
    mic.callback = got.append
    device.step(10)
    assert mic.poll()
    got.append(waiting_read(mic, device))
    assert b"".join(got) == ramp(60).tobytes()


def waiting_read(mic: AudioInput, device: ManualDevice) -> bytes:
    reader = waiting(mic, lambda: mic.read_blocking(10))
    device.step(10)
    result: bytes = reader.finish()
    return result


async def in_turn(mic: AudioInput, device: ManualDevice) -> bytes:
    reading = asyncio.create_task(mic.read(10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    device.step(10)
    return await reading


def test_one_reader_at_a_time(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone()
    reader = waiting(mic, lambda: mic.read_blocking(10))
    with pytest.raises(BusyError):
        mic.read_blocking(10)
    with pytest.raises(BusyError):
        asyncio.run(mic.read(10))
    device.feed(ramp(10))
    device.step(10)
    assert reader.finish() == ramp(10).tobytes()


def test_it_is_refused_on_an_event_loop(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone()
    device.feed(ramp(3000))
    device.step(3000)

    async def blocks() -> None:
        with pytest.raises(AudioException, match="await read"):
            mic.read_blocking(10)
        with pytest.raises(AudioException, match="async for"):
            next(mic)
        with pytest.raises(AudioException, match="async for"):
            next(mic.blocks())

    asyncio.run(blocks())
    assert mic.read_blocking(10) == ramp(10).tobytes()


def test_what_is_not_started_is_not_waited_for(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(start=False, buffersize=100)
    with pytest.raises(AudioException, match=r"start\(\)"):
        next(mic)
    mic.start()
    device.feed(ramp(150))
    device.step(150)
    mic.stop()
    assert next(mic) == ramp(100).tobytes()  # what was queued
    with pytest.raises(AudioException, match=r"start\(\)"):
        next(mic)


def test_a_stop_releases_a_reader(microphone: OpenInput) -> None:
    mic = microphone()
    reader = waiting(mic, lambda: mic.read_blocking(10))
    mic.stop()
    with pytest.raises(AudioException, match=r"start\(\)"):
        reader.finish()


@pytest.mark.parametrize("how", ["close", "die"])
def test_a_close_and_a_device_that_dies_release_a_reader(
    microphone: OpenInput, device: ManualDevice, how: str
) -> None:
    mic = microphone()
    reader = waiting(mic, lambda: mic.read_blocking(10))
    if how == "close":
        mic.close()
    else:
        device.fault("die")
        device.step(10)
    with pytest.raises(StreamClosedError if how == "close" else DeviceError):
        reader.finish()
    with pytest.raises(StreamClosedError if how == "close" else DeviceError):
        mic.read_blocking(10)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_loses_nothing(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone()

    def interrupt() -> None:
        eventually(lambda: mic.engine.word("armed"))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        mic.read_blocking(10)
    thread.join()
    device.feed(ramp(10))
    device.step(10)
    assert mic.read_blocking(10) == ramp(10).tobytes()


def test_bad_arguments(microphone: OpenInput) -> None:
    mic = microphone(start=False)
    for timeout in (-1, "1", float("nan"), 1e9):
        with pytest.raises(FormatError, match="timeout"):
            mic.read_blocking(10, timeout)
    for frames in (0, 10**9, 1.5):
        with pytest.raises(FormatError, match="frames"):
            mic.blocks(frames)
    for dtype in ("int32", "x", None, ">f4", object()):
        with pytest.raises(FormatError, match="float32, float64, int16, int8"):
            mic.blocks(dtype=dtype)


# --------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int8"])
@pytest.mark.parametrize("encoding", [8, 16, 32])
def test_blocks_are_arrays_of_any_dtype(
    microphone: OpenInput, device: ManualDevice, encoding: int, dtype: str
) -> None:
    mic = microphone(encoding=encoding, channels=2, buffersize=64)
    sound = np.linspace(-1, 1, 128).reshape(64, 2).astype(np.float32)
    device.feed(sound)
    device.step(64)
    (block,) = [next(mic.blocks(dtype=dtype))]
    assert (block.shape, block.dtype) == ((64, 2), np.dtype(dtype))
    full = {"int8": 128, "int16": 32768}.get(dtype, 1)
    coarse = min(full if full > 1 else 2**23, {8: 128, 16: 32768, 32: 2**23}[encoding])
    assert np.abs(block / full - sound).max() <= 1.01 / coarse
    block[:] = 0  # it may be written to


def test_blocks_keep_every_value(microphone: OpenInput, device: ManualDevice) -> None:
    """16 bits come through floats bit for bit."""
    values = np.arange(-32768, 32768, dtype=np.int16)
    for dtype in ("float32", "float64", "int16"):
        mic = microphone(source=(source := ManualDevice()), buffersize=4096)
        source.feed(values)
        source.step(65536)
        blocks = mic.blocks(dtype=dtype)
        got = np.concatenate([next(blocks) for _ in range(16)])[:, 0]
        full = 1 if dtype == "int16" else 32768
        assert np.array_equal(got * full, values)


def test_the_last_block_may_be_shorter(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone(buffersize=64)
    device.feed(ramp(250))
    device.fault("end")
    device.step(400)
    blocks = list(mic.blocks(100, "int16"))
    assert [len(block) for block in blocks] == [100, 100, 50]
    assert np.array_equal(np.concatenate(blocks), ramp(250))
    assert len({block.ctypes.data for block in blocks}) == 3


def test_a_monitor_needs_no_block_of_its_own(device: ManualDevice) -> None:
    with aio.get_output(channels=1, buffersize=64, device=device) as speaker:
        voice = speaker.sample()
        heard: list[np.ndarray] = []
        reader = Reader(
            lambda: heard.extend(speaker.monitor(buffersize=50).blocks(None, "int16"))
        )
        eventually(lambda: speaker.engine.word("monitor_count"))
        voice.write_nowait(ramp(200))
        voice.end()
        device.step(256)
        eventually(lambda: len(heard) == 5)
        chunks: list[bytes] = []
        other = Reader(lambda: chunks.extend(speaker.monitor(buffersize=50)))
        eventually(lambda: speaker.engine.word("monitor_count") == 2)
        speaker.close()
    reader.finish()
    other.finish()
    assert np.array_equal(np.concatenate(heard)[:200], ramp(200))
