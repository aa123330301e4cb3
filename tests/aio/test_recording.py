"""``aio.record``, ``record_to`` and ``playrec`` on a manual device, stepped."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import soundfile

from audiostream import aio
from audiostream.aio import recording
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import AudioException, DeviceError, FormatError
from audiostream.testing import ManualDevice
from tests.aio.support import Running, ramp, spawn
from tests.aio.test_playback import Ear

pytestmark = pytest.mark.anyio


async def until_open() -> None:
    with anyio.fail_after(10):
        while not WATCHDOG.open_streams():
            await anyio.sleep(0.001)


def floats(sound: np.ndarray) -> np.ndarray:
    """int16 at full scale 1.0."""
    return (sound / np.float32(32768)).astype(np.float32)


async def fed(device: ManualDevice, sound: np.ndarray, run: Running) -> Any:
    """What comes of a recording whose input hears a sound, from its first frame on."""
    await until_open()
    device.feed(sound)
    await Ear(device).until(lambda: run.done)
    assert not WATCHDOG.open_streams()
    if run.error is not None:
        raise run.error
    return run.result


# ------------------------------------------------------------------------------- record


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int8"])
async def test_it_returns_so_many_frames(dtype: str) -> None:
    device = ManualDevice()
    async with anyio.create_task_group() as group:
        run = await spawn(group, lambda: aio.record(0.25, 8000, 2, source=device, dtype=dtype))
        sound = ramp(0, 3000, 2)
        sound = {"int8": (sound >> 8).astype(np.int8), "int16": sound}.get(dtype, floats(sound))
        recorded = await fed(device, sound, run)
    assert (recorded.shape, recorded.dtype) == ((2000, 2), np.dtype(dtype))
    assert np.array_equal(recorded, sound[:2000])


async def test_a_file_that_ends_gives_fewer() -> None:
    device = ManualDevice()
    async with anyio.create_task_group() as group:
        run = await spawn(group, lambda: aio.record(1.0, source=device, dtype="int16"))
        await until_open()
        device.feed(ramp(0, 3000))
        device.fault("end")
        await Ear(device).until(lambda: run.done)
    assert np.array_equal(run.result, ramp(0, 3000))


@pytest.mark.parametrize("what", ["array", "file"])
async def test_frames_that_are_lost_are_told_of(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
) -> None:
    monkeypatch.setattr(recording, "QUEUE", 0.05)
    device = ManualDevice()
    path = tmp_path / "a.wav"

    async def record() -> object:
        if what == "array":
            return await aio.record(0.5, source=device)
        return await aio.record_to(path, seconds=0.5, source=device)

    async with anyio.create_task_group() as group:
        run = await spawn(group, record)
        await until_open()
        device.step(9600)  # without being read
        await Ear(device).until(lambda: run.done)
    assert run.error is None
    assert caplog.text.count("the recording has a gap") == 1


async def test_what_cannot_be_recorded(tmp_path: Path) -> None:
    device = ManualDevice()
    for args, kwargs, said in (
        ((-1,), {}, "seconds"),
        ((float("nan"),), {}, "seconds"),
        ((1, 10), {}, "rate"),
        ((1, 48000, 0), {}, "channels"),
        ((1,), {"dtype": "int32"}, "dtype"),
        ((1e6, 768000, 64), {}, "record_to"),
        ((1,), {"source": 1.5}, "source"),
    ):
        with pytest.raises(FormatError, match=said):
            await aio.record(*args, **{"source": device, **kwargs})
    path = tmp_path / "a.wav"
    for where, kwargs, said in (
        (path, {"seconds": -1}, "seconds"),
        (path, {"rate": 10}, "rate"),
        (path, {"channels": 0}, "channels"),
        (path, {"wait": 2}, "wait"),
        (path, {"subtype": "nothing"}, r"a\.wav cannot be written"),
        (tmp_path / "a", {}, "try a name such as"),
        (tmp_path / "none" / "a.wav", {}, "no folder"),
        (tmp_path, {}, "cannot be written"),
        (1, {}, "path"),
    ):
        with pytest.raises(AudioException, match=said):
            await aio.record_to(where, **{"source": device, **kwargs})
    assert list(tmp_path.iterdir()) == []
    assert not WATCHDOG.open_streams()


@pytest.mark.parametrize("wait", [True, False])
async def test_a_device_that_is_not_there_leaves_the_file_alone(
    tmp_path: Path, wait: bool
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"kept")
    with pytest.raises(DeviceError):
        await aio.record_to(path, source="file:/no/such/file.wav", wait=wait)
    assert path.read_bytes() == b"kept"
    with pytest.raises(DeviceError):
        await aio.record(1, source="file:/no/such/file.wav")


# ---------------------------------------------------------------------------- record_to


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", None), ("a.flac", "PCM_24"), ("a.wav", "FLOAT")]
)
async def test_a_file_has_what_was_heard(
    tmp_path: Path, name: str, subtype: str | None
) -> None:
    device = ManualDevice()
    path = tmp_path / name
    async with anyio.create_task_group() as group:
        run = await spawn(
            group,
            lambda: aio.record_to(
                path, seconds=2.5, rate=8000, channels=2, source=device, subtype=subtype
            ),
        )
        assert await fed(device, floats(ramp(0, 30000, 2)), run) == 20000
    sound, rate = soundfile.read(path, dtype="float32")
    assert rate == 8000
    assert np.array_equal(sound, floats(ramp(0, 20000, 2)))


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_a_stop_and_a_cancellation_keep_all_whole_buffers(
    tmp_path: Path, how: str
) -> None:
    device = ManualDevice()
    path = tmp_path / "a.wav"
    async with anyio.create_task_group() as group:
        if how == "stop":
            handle = await aio.record_to(path, source=device, wait=False)
        else:
            run = await spawn(group, lambda: aio.record_to(path, source=device))
        await until_open()
        device.feed(floats(ramp(0, 20000)))
        device.step(20000)
        if how == "stop":
            handle.stop()
            with anyio.fail_after(10):
                frames = await handle.wait()
            assert handle.position == frames / 48000
            assert handle.is_finished
        else:
            run.scope.cancel()
            await Ear(device).until(lambda: run.done, 0)
    assert not WATCHDOG.open_streams()
    sound, _ = soundfile.read(path, dtype="int16")
    assert 20000 - 1024 < len(sound) <= 20000
    assert np.array_equal(sound, ramp(0, len(sound))[:, 0])


async def test_a_disk_that_is_full_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("audiostream.soundfiles.writer.MOST", 100_000)
    device = ManualDevice()
    path = tmp_path / "a.wav"
    handle = await aio.record_to(path, source=device, wait=False)
    await until_open()
    device.feed(floats(ramp(0, 100_000)))
    await Ear(device).until(lambda: handle.is_finished, 1024)
    with pytest.raises(AudioException, match=r"full.*\.w64"):
        await handle.wait()
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    sound, _ = soundfile.read(path, dtype="int16")
    assert len(sound) >= 12000  # what was written before
    assert np.array_equal(sound, ramp(0, len(sound))[:, 0])


async def test_a_device_that_dies_is_told_of_and_the_file_is_whole(tmp_path: Path) -> None:
    device = ManualDevice()
    path = tmp_path / "a.wav"
    handle = await aio.record_to(path, source=device, wait=False)
    device.feed(floats(ramp(0, 10000)))
    device.step(10000)
    device.fault("die")
    await Ear(device).until(lambda: handle.is_finished)
    with pytest.raises(DeviceError):
        await handle.wait()
    sound, _ = soundfile.read(path, dtype="int16")
    assert len(sound) > 10000 - 1024
    assert np.array_equal(sound, ramp(0, len(sound))[:, 0])


# ------------------------------------------------------------------------------- playrec


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("latency", [0.0, 0.025])
async def test_what_is_played_and_recorded_is_aligned(channels: int, latency: float) -> None:
    """The way from this speaker to this microphone takes 100 frames."""
    device = ManualDevice(latency=latency, buffersize=100)
    sound = floats(ramp(0, 20000, channels))
    async with anyio.create_task_group() as group:
        run = await spawn(
            group,
            lambda: aio.playrec(
                sound, 48000, channels=channels, device=device, source=device, gain=0.5
            ),
        )
        with anyio.fail_after(10):
            while len(WATCHDOG.open_streams()) < 2:
                await anyio.sleep(0.001)
            # So long to the air, and from there.
            later = [np.zeros((100, channels), np.float32)] * round(2 * latency * 480)
            while not run.done:
                later.append(device.step(100))
                with contextlib.suppress(DeviceError):  # once it is closed
                    device.feed(later.pop(0))
                await anyio.sleep(0)
    assert run.error is None
    assert run.result.shape == (20000, channels)
    assert not run.result[:100].any()
    assert np.array_equal(run.result[100:], sound[:-100] / 2)
    assert not WATCHDOG.open_streams()


async def test_a_gap_is_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "QUEUE", 0.05)
    device = ManualDevice()
    async with anyio.create_task_group() as group:
        run = await spawn(
            group, lambda: aio.playrec(ramp(0, 4800), 48000, device=device, source=device)
        )
        await Ear(device).until(lambda: run.done, 4800)
    with pytest.raises(AudioException, match="not read in time"):
        raise run.error or AssertionError("it was taken")


async def test_clocks_must_be_one() -> None:
    one, other = ManualDevice(), ManualDevice()
    with aio.get_output(device=other, rate=48000) as speaker:
        other.step(480000)
        assert speaker.time == pytest.approx(10)
    with pytest.raises(AudioException, match="clock in common"):
        await aio.playrec(ramp(0, 10), 48000, device=one, source=other)
    for sound in (None, [0.0], b"\0\0", np.zeros(0)):
        with pytest.raises(FormatError):
            await aio.playrec(sound, 48000, device=one, source=one)  # type: ignore[arg-type]
