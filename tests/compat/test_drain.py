"""The blocking ``drain``: it returns when the last frame was heard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from audiostream import AudioException, AudioOutput, AudioSample, dsp
from audiostream.compat import sample as sample_module
from audiostream.errors import AudioTimeoutError, DeviceError, FormatError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.compat.support import (
    LIMIT,
    Writer,
    added,
    blocked_writer,
    eventually,
    ramp,
    voice_of,
)
from tests.compat.test_reading import Reader

OpenOutput = Callable[..., AudioOutput]


def draining(sample: AudioSample) -> Reader:
    """A thread that waits for what was written to be heard."""
    reader = Reader(sample.drain)
    eventually(sample._writing.locked)
    return reader


@pytest.mark.parametrize("latency", [0.0, 0.01])
def test_it_returns_when_the_last_frame_has_left_the_device(
    output: OpenOutput, latency: float
) -> None:
    device = ManualDevice(latency=latency)
    stream = output(channels=1, rate=48000, buffersize=64, device=device)
    sample = added(stream)
    sample.write(ramp(100).tobytes())
    reader = draining(sample)
    late = round(latency * 48000)
    device.step(64)
    if late:
        device.step(late)
        assert reader.is_alive()
    device.step(64)
    reader.finish()
    assert sample.position == 100
    assert voice_of(stream).shortages == 0  # to run out now is none
    sample.drain(timeout=0)  # and again, at once


def test_a_part_of_a_frame_is_completed(output: OpenOutput, device: ManualDevice) -> None:
    sample = added(output(channels=1))
    sample.write(b"\1\0\2")
    reader = draining(sample)
    assert device.step(64)[:3, 0].tolist() == [1, 2, 0]
    reader.finish()


def test_what_effects_hold_is_heard_too(output: OpenOutput) -> None:
    device = ManualDevice()
    stream = output(channels=1, rate=48000, buffersize=64, encoding=32, device=device)
    sample = added(stream)
    sample.effects.append(dsp.delay(seconds=0.01, feedback=0.0, mix=1.0))
    sample.write(np.full(10, 0.5, np.float32).tobytes())
    reader = draining(sample)
    device.step(64)
    assert reader.is_alive()
    assert np.concatenate([device.step(64) for _ in range(6)]).max() == 0
    assert reader.is_alive()
    assert device.step(64).max() > 0.49
    eventually(lambda: not (reader.is_alive() and len(device.step(64))))
    reader.finish()


def test_a_timeout_lets_it_play_on(output: OpenOutput, device: ManualDevice) -> None:
    sample = added(output(channels=1))
    sample.write(ramp(100).tobytes())
    for timeout in (0, 0.001):
        with pytest.raises(AudioTimeoutError, match="plays on"):
            sample.drain(timeout)
    assert device.step(100)[:, 0].tolist() == ramp(100)[:, 0].tolist()
    device.step(64)
    sample.drain(LIMIT)


def test_it_waits_for_a_writer_and_a_writer_for_it(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    writer = blocked_writer(stream, sample, ramp(9000).tobytes())
    with pytest.raises(AudioTimeoutError):
        sample.drain(0.001)
    reader = Reader(sample.drain)
    played = [device.step(1024)]

    def step() -> bool:
        played.append(device.step(64))
        return not writer.is_alive()

    eventually(step)
    eventually(sample._writing.locked)
    second = Writer(sample, ramp(10, start=9000).tobytes())
    assert second.is_alive()
    played.append(device.step(9000))
    reader.finish()
    second.finish()
    played.append(device.step(64))
    heard = np.concatenate(played)
    assert heard[heard != 0].tolist() == ramp(9010)[:, 0].tolist()


@pytest.mark.parametrize("how", ["stop", "remove", "close", "die"])
def test_what_cuts_it_releases_it(output: OpenOutput, device: ManualDevice, how: str) -> None:
    stream = output(channels=1)
    sample = added(stream)
    sample.write(ramp(1000).tobytes())
    reader = draining(sample)
    if how == "stop":
        sample.stop()
        device.step(1000)
    elif how == "remove":
        stream.remove_sample(sample)
    elif how == "close":
        stream.close()
    else:
        device.fault("die")
        device.step(10)
    if how in ("stop", "remove"):
        reader.finish()
    else:
        with pytest.raises(StreamClosedError if how == "close" else DeviceError):
            reader.finish()


def test_one_that_does_not_play_says_so(
    output: OpenOutput,
    device: ManualDevice,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample_module, "PATIENCE", 0.001)
    sample = added(output(channels=1), play=False)
    sample.write(ramp(10).tobytes())
    reader = draining(sample)
    eventually(lambda: "does not play" in caplog.text)
    assert reader.is_alive()
    sample.play()
    device.step(128)
    reader.finish()


def test_bad_arguments(output: OpenOutput) -> None:
    with pytest.raises(AudioException, match="add_sample"):
        AudioSample().drain()
    sample = added(output())
    for timeout in (-1, "1", float("nan"), 1e9):
        with pytest.raises(FormatError, match="timeout"):
            sample.drain(timeout)
