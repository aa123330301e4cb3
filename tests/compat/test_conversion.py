"""You get the rate and channels that you ask for; a device that refuses them is converted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from audiostream import AudioInput, AudioOutput
from audiostream.testing import ManualDevice
from tests.compat.support import added, collector, measure, noise, ramp, sine

OpenOutput = Callable[..., AudioOutput]
OpenInput = Callable[..., AudioInput]


@pytest.fixture
def device() -> ManualDevice:
    """A device that does one thing only."""
    return ManualDevice(rate=48000, channels=2, encoding=16)


def bytes_of_tone(frequency: float, rate: int, frames: int, channels: int = 1) -> bytes:
    tone = np.rint(sine(frequency, rate, frames) * 32767).astype(np.int16)
    return np.repeat(tone[:, None], channels, axis=1).tobytes()


def test_the_attributes_tell_both(output: OpenOutput, microphone: OpenInput) -> None:
    speaker = output(rate=22050, channels=1, encoding=8)
    mic = microphone(rate=16000, channels=1, encoding=32, buffersize=320)
    for stream, rate, encoding in ((speaker, 22050, 8), (mic, 16000, 32)):
        assert (stream.rate, stream.channels, stream.encoding) == (rate, 1, encoding)
        assert (stream.device_rate, stream.device_channels) == (48000, 2)


@pytest.mark.parametrize(
    ("rate", "frequency"), [(22050, 1000.0), (44100, 5000.0), (8000, 440.0)]
)
def test_a_speaker_of_48_khz_plays_other_rates(
    output: OpenOutput, device: ManualDevice, rate: int, frequency: float
) -> None:
    sample = added(output(rate=rate, channels=1), play=False)
    data = bytes_of_tone(frequency, rate, rate)  # a second of it
    sample.write(data[:4000])  # ahead by more than the filter holds back
    sample.play()
    played = []
    for start in range(4000, len(data), 2000):
        sample.write(data[start : start + 2000])
        played.append(device.step(1000 * 48000 // rate))
    left = np.concatenate(played)[4800:36000, 0] / 32768
    np.testing.assert_array_equal(np.concatenate(played)[:, 0], np.concatenate(played)[:, 1])
    heard, amplitude = measure(left, 48000)
    assert heard == pytest.approx(frequency, abs=0.5)
    assert amplitude == pytest.approx(0.5, rel=0.01)
    # Nothing else is in it: no gap, no click, no mirror image.
    rest = left - project(left, frequency, 48000)
    assert 20 * np.log10(rest.std() / left.std()) < -60


def project(signal: np.ndarray, frequency: float, rate: int) -> np.ndarray:
    """What of a signal is a sine of that frequency."""
    turn = 2 * np.pi * frequency / rate * np.arange(len(signal))
    basis = np.stack((np.sin(turn), np.cos(turn)), axis=1)
    weights, *_ = np.linalg.lstsq(basis, signal, rcond=None)
    return np.asarray(basis @ weights)


@pytest.mark.parametrize(
    ("rate", "frequency"), [(16000, 1000.0), (44100, 5000.0), (96000, 440.0)]
)
def test_a_microphone_of_48_khz_is_read_at_other_rates(
    microphone: OpenInput, device: ManualDevice, rate: int, frequency: float
) -> None:
    mic = microphone(rate=rate, channels=1, buffersize=rate // 50)
    heard = collector(mic)
    device.feed(np.rint(sine(frequency, 48000, 48000) * 32767).astype(np.int16))
    device.step(48000)
    assert mic.poll()
    assert {len(chunk) for chunk in heard} == {2 * (rate // 50)}
    assert 47 <= len(heard) <= 50  # a second, but for what the filter holds back
    signal = np.frombuffer(b"".join(heard), np.int16)[rate // 10 : 8 * rate // 10] / 32768
    found, amplitude = measure(signal, rate)
    assert found == pytest.approx(frequency, abs=0.5)
    assert amplitude == pytest.approx(0.5, rel=0.01)
    rest = signal - project(signal, frequency, rate)
    assert 20 * np.log10(rest.std() / signal.std()) < -60


def test_no_frame_is_lost_at_the_end_of_a_recording(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(rate=16000, channels=1, buffersize=320)
    heard = collector(mic)
    device.feed(np.rint(sine(1000, 48000, 48000) * 32767).astype(np.int16))
    device.fault("end")
    device.step(50_000)
    while mic.poll():
        pass
    assert abs(len(b"".join(heard)) // 2 - 16000) <= 1
    assert {len(chunk) for chunk in heard[:-1]} == {640}
    assert 0 < len(heard[-1]) <= 640


def test_the_system_sizes_the_buffer_at_the_rate_asked_for(microphone: OpenInput) -> None:
    device = ManualDevice(rate=48000, buffersize=480)
    assert microphone(source=device, rate=16000, buffersize=-1).buffersize == 160
    device = ManualDevice(rate=48000, buffersize=480)
    assert microphone(source=device, rate=96000, buffersize=0).buffersize == 960


# -------------------------------------------------------------------------------- channels


def test_mono_goes_to_both_sides(output: OpenOutput, device: ManualDevice) -> None:
    added(output(rate=48000, channels=1)).write(ramp(100).tobytes())
    played = device.step(100)
    assert played.tolist() == np.repeat(ramp(100), 2, axis=1).tolist()


def test_stereo_goes_to_mono_as_its_mean(output: OpenOutput) -> None:
    device = ManualDevice(channels=1)
    data = np.array([[100, 300], [-5, 5], [32767, 32767], [-32768, -32768], [7, 0]], np.int16)
    added(output(channels=2, device=device)).write(data.tobytes())
    assert device.step(5)[:, 0].tolist() == [200, 0, 32767, -32768, 4]  # 3.5: to even


def test_a_mono_microphone_is_heard_on_both_sides(microphone: OpenInput) -> None:
    device = ManualDevice(channels=1)
    mic = microphone(source=device, channels=2, buffersize=50)
    heard = collector(mic)
    device.feed(ramp(50))
    device.step(50)
    assert mic.poll()
    assert heard == [np.repeat(ramp(50), 2, axis=1).tobytes()]


def test_a_stereo_microphone_is_heard_as_its_mean(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(rate=48000, channels=1, buffersize=4)
    heard = collector(mic)
    device.feed(np.array([[100, 300], [-6, 2], [32767, 32767], [0, 2]], np.int16))
    device.step(4)
    assert mic.poll()
    assert np.frombuffer(heard[0], np.int16).tolist() == [200, -2, 32767, 1]


# ------------------------------------------------------------------------------- encodings


def test_every_encoding_is_played_by_a_device_of_another(output: OpenOutput) -> None:
    eight = noise(200, 2, 8)
    device = ManualDevice(encoding=16)
    stream = output(encoding=8, device=device)
    added(stream).write(eight.tobytes())
    np.testing.assert_array_equal(device.step(200), eight.astype(np.int16) * 256)
    stream.close()
    sixteen = noise(200, 2, 16)
    device = ManualDevice(encoding=32)
    stream = output(encoding=16, device=device)
    added(stream).write(sixteen.tobytes())
    np.testing.assert_array_equal(device.step(200), sixteen / np.float32(32768))
    stream.close()
    device = ManualDevice(encoding=16)
    added(output(encoding=32, device=device)).write((sixteen / np.float32(32768)).tobytes())
    np.testing.assert_array_equal(device.step(200), sixteen)


@pytest.mark.parametrize("own", [8, 16, 32])
@pytest.mark.parametrize("theirs", [8, 16, 32])
def test_every_encoding_is_read_from_a_device_of_another(
    microphone: OpenInput, own: int, theirs: int
) -> None:
    device = ManualDevice(encoding=theirs)
    mic = microphone(source=device, encoding=own, channels=1, buffersize=200)
    heard = collector(mic)
    values = noise(200, 1, 8)[:, 0] / np.float32(128)  # exact in all of them
    device.feed(values)
    device.step(200)
    assert mic.poll()
    assert mic.encoding == own
    scale = {8: 128, 16: 32768, 32: 1}[own]
    dtype = {8: np.int8, 16: np.int16, 32: np.float32}[own]
    np.testing.assert_array_equal(np.frombuffer(heard[0], dtype) / np.float32(scale), values)
