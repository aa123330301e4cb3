"""``aio.play`` on a manual device, stepped; on asyncio and trio."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import soundfile

from audiostream import aio
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import AudioException, DeviceError, FormatError
from audiostream.testing import ManualDevice
from tests.aio.support import Running, ramp, spawn

pytestmark = pytest.mark.anyio

LIMIT = 10.0


class Ear:
    """Steps a device while something plays on it, and keeps what it has heard."""

    def __init__(self, device: ManualDevice) -> None:
        self.device = device
        self.blocks: list[np.ndarray] = []

    async def until(self, condition: Callable[[], object], frames: int = 64) -> None:
        with anyio.fail_after(LIMIT):
            while not condition():
                self.blocks.append(self.device.step(frames))
                await anyio.sleep(0.001)

    @property
    def heard(self) -> np.ndarray:
        """What was heard, from the first frame that is not silent to the last."""
        # While nothing is open, a block has another number of channels.
        sounding = [number for number, block in enumerate(self.blocks) if block.any()]
        if not sounding:
            return self.blocks[-1][:0]
        heard = np.concatenate(self.blocks[sounding[0] : sounding[-1] + 1])
        (where,) = np.nonzero(heard.any(axis=1))
        return heard[where[0] : where[-1] + 1]


@asynccontextmanager
async def playing(*args: Any, **kwargs: Any) -> AsyncIterator[Running]:
    async with anyio.create_task_group() as group:
        yield await spawn(group, lambda: aio.play(*args, **kwargs))
        group.cancel_scope.cancel()


async def heard_of(device: ManualDevice, *args: Any, **kwargs: Any) -> np.ndarray:
    """What is heard of it, to its end."""
    ear = Ear(device)
    async with playing(*args, device=device, **kwargs) as run:
        await ear.until(lambda: run.done)
    if run.error is not None:
        raise run.error
    assert not WATCHDOG.open_streams()
    return ear.heard


def wav(folder: Path, sound: np.ndarray, rate: int = 48000, **kwargs: Any) -> Path:
    path = folder / "sound.wav"
    soundfile.write(path, sound, rate, **kwargs)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
async def test_an_array_is_heard_bit_for_bit_at_its_own_rate(channels: int, dtype: str) -> None:
    device = ManualDevice(latency=0.01)
    sound = ramp(0, 20000, channels)
    given = sound if dtype == "int16" else (sound / np.float32(32768)).astype(np.float32)
    heard = await heard_of(device, given, 22050)
    assert np.array_equal(heard * 32768, sound)


async def test_it_returns_when_the_last_frame_was_heard() -> None:
    device = ManualDevice(latency=0.1)
    ear = Ear(device)
    async with playing(ramp(0, 100), 48000, device=device) as run:
        await ear.until(lambda: ear.blocks and ear.blocks[-1].any())
        at = len(ear.blocks)
        await ear.until(lambda: run.done)
    assert (len(ear.blocks) - at) * 64 >= 4800


@pytest.mark.parametrize("how", ["path", "str", "bytes", "file object"])
async def test_a_file_is_heard(tmp_path: Path, how: str) -> None:
    path = wav(tmp_path, ramp(0, 30000, 2), 44100)
    what: Any = {"path": path, "str": str(path), "bytes": path.read_bytes()}.get(how)
    if how == "file object":
        what = io.BytesIO(path.read_bytes())
    heard = await heard_of(ManualDevice(), what)
    assert np.array_equal(heard * 32768, ramp(0, 30000, 2))
    assert how != "file object" or not what.closed


async def test_a_device_of_another_rate_is_converted_for(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 / 16000 * np.arange(8000)).astype(np.float32) / 2
    for what, rate in ((wav(tmp_path, tone, 16000), None), (tone, 16000)):
        heard = await heard_of(ManualDevice(rate=48000), what, rate)
        assert abs(len(heard) - 24000) < 200
        assert abs(np.abs(heard[2000:-2000]).max() - 0.5) < 0.001


async def test_surround_is_mixed_by_the_files_layout(tmp_path: Path) -> None:
    """The centre is heard from both sides alike."""
    sound = np.zeros((1000, 6), np.float32)
    sound[:, 2] = 0.5
    path = wav(tmp_path, sound, format="WAVEX", subtype="FLOAT")
    heard = await heard_of(ManualDevice(channels=2), path)
    assert heard.shape[1] == 2
    assert np.array_equal(heard[:, 0], heard[:, 1])
    assert heard.max() > 0.1


async def test_gain_is_there_from_the_first_frame() -> None:
    sound = np.full(1000, 0.5, np.float32)
    heard = await heard_of(ManualDevice(), sound, 48000, gain=0.5)
    assert (heard == 0.25).all()
    assert len(heard) == 1000


@pytest.mark.parametrize("what", ["file", "array", "long array"])
async def test_a_loop_has_no_gap_until_it_is_cancelled(tmp_path: Path, what: str) -> None:
    sound = ramp(0, 30000 if what == "long array" else 100)
    given = (wav(tmp_path, sound),) if what == "file" else (sound, 48000)
    device = ManualDevice()
    ear = Ear(device)
    async with playing(*given, device=device, loop=True) as run:
        await ear.until(lambda: len(ear.blocks) > 3 and len(ear.heard) > 70000, 4800)
        run.scope.cancel()
        with anyio.fail_after(LIMIT):
            while not run.done:
                await anyio.sleep(0.001)
    assert not WATCHDOG.open_streams()
    heard = ear.heard[:70000, 0] * 32768
    assert np.array_equal(heard, np.resize(sound[:, 0], 70000))


async def test_a_handle_tells_of_it_and_stops_it() -> None:
    device = ManualDevice()
    ear = Ear(device)
    handle = await aio.play(
        np.full(96000, 0.5, np.float32), 48000, device=device, wait=False, loop=True
    )
    assert not handle.is_finished
    await ear.until(lambda: handle.position > 0.5, 480)
    assert handle.position == pytest.approx(len(ear.heard) / 48000, abs=0.02)
    handle.stop()
    handle.stop()
    with anyio.fail_after(LIMIT):
        assert await handle.wait() is False
        assert await handle.wait() is False
    assert handle.is_finished
    assert not WATCHDOG.open_streams()
    handle.stop()


async def test_a_handle_may_be_dropped_and_it_plays_on() -> None:
    device = ManualDevice()
    ear = Ear(device)
    handle = await aio.play(ramp(0, 3000), 48000, device=device, wait=False)
    await ear.until(lambda: len(ear.blocks) and ear.blocks[-1].any())
    del handle
    await ear.until(lambda: not WATCHDOG.open_streams())
    assert np.array_equal(ear.heard * 32768, ramp(0, 3000))


async def test_a_handle_that_is_heard_to_its_end_says_so() -> None:
    device = ManualDevice()
    ear = Ear(device)
    handle = await aio.play(ramp(0, 3000), 48000, device=device, wait=False)
    await ear.until(lambda: handle.is_finished)
    assert await handle.wait() is True
    assert handle.position == 3000 / 48000


async def test_a_device_that_dies_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    device = ManualDevice()
    ear = Ear(device)
    handle = await aio.play(ramp(0, 96000), 48000, device=device, wait=False)
    await ear.until(lambda: handle.position > 0)
    device.fault("die")
    await ear.until(lambda: handle.is_finished)
    with pytest.raises(DeviceError):
        await handle.wait()
    assert [r.levelno for r in caplog.records] == [logging.ERROR]  # if no one waits
    assert "playing has ended" in caplog.text


@pytest.mark.parametrize("wait", [True, False])
async def test_a_device_that_is_not_there_is_told_of(wait: bool) -> None:
    with pytest.raises(DeviceError):
        await aio.play(ramp(0, 100), 48000, device="file:/no/such/folder/a.wav", wait=wait)


async def test_what_cannot_be_played(tmp_path: Path) -> None:
    device = ManualDevice()
    sound = ramp(0, 10)
    damaged = tmp_path / "a.wav"
    damaged.write_bytes(b"RIFF no file")
    for args, kwargs, said in (
        ((sound,), {}, "rate is missing"),
        ((sound, 10), {}, "rate"),
        ((sound[:0], 48000), {}, "no frame"),
        ((sound.astype(complex), 48000), {}, "complex"),
        ((np.zeros((2, 4800)), 48000), {}, "array.T"),
        ((None,), {}, "what=None"),
        (([0.0, 0.1], 48000), {}, "what="),
        ((damaged, 48000), {}, "rate= is for arrays"),
        ((damaged,), {}, "a.wav"),
        ((tmp_path / "none.wav",), {}, "none.wav"),
        ((sound, 48000), {"gain": -1}, "gain"),
        ((sound, 48000), {"loop": 2}, "loop"),
        ((sound, 48000), {"wait": 2}, "wait"),
        ((sound, 48000), {"device": 1.5}, "device"),
    ):
        with pytest.raises(AudioException, match=said) as caught:
            await aio.play(*args, **{"device": device, **kwargs})
        assert isinstance(caught.value, FormatError) or "wav" in str(caught.value)
    assert not WATCHDOG.open_streams()
