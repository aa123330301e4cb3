"""The documented sine wave: its pitch, its purity, and its frequency while it plays."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiostream.errors import AudioException, FormatError
from audiostream.sources.thread import ThreadSource
from audiostream.sources.wave import SineSource
from audiostream.testing import ManualDevice
from tests.compat.support import LIMIT, eventually
from tests.sources.signals import distortion, pitch
from tests.sources.support import OpenOutput, full, played, program, queued


def test_what_it_is(output: OpenOutput) -> None:
    stream = output(rate=22050, channels=1)
    source = SineSource(stream, 440)
    assert isinstance(source, ThreadSource)
    assert (source.frequency, source.amplitude) == (440, 0.5)
    assert (source.rate, source.channels) == (22050, 1)
    assert not source.is_alive()


@pytest.mark.parametrize(
    ("rate", "channels", "frequency"),
    [(44100, 2, 440.0), (22050, 1, 1000.37), (48000, 4, 61.7)],
)
def test_it_has_its_pitch(
    output: OpenOutput, device: ManualDevice, rate: int, channels: int, frequency: float
) -> None:
    stream = output(rate=rate, channels=channels, buffersize=256)
    source = SineSource(stream, frequency)
    source.start()
    heard = played(stream, device, 4 * rate, source)
    source.stop()
    for channel in heard.T:
        assert np.array_equal(channel, heard[:, 0])
    assert pitch(heard[:, 0], rate) == pytest.approx(frequency, abs=0.01)
    assert np.abs(heard).max() == pytest.approx(16384, abs=2)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frequency", [440, 997])
def test_it_has_no_harmonics(
    output: OpenOutput, device: ManualDevice, channels: int, frequency: int
) -> None:
    stream = output(rate=44100, channels=channels)
    source = SineSource(stream, frequency)
    source.start()
    heard = played(stream, device, 44100, source)
    source.stop()
    for channel in heard.T:
        harmonics, all_else = distortion(channel, 44100, frequency)
        assert harmonics < -95
        assert all_else < -90


@pytest.mark.parametrize("encoding", [8, 16, 32])
def test_every_encoding_is_as_exact_as_it_can_be(
    output: OpenOutput, device: ManualDevice, encoding: int
) -> None:
    stream = output(rate=48000, channels=1, encoding=encoding)
    source = SineSource(stream, 1000, 0.5)
    source.start()
    heard = played(stream, device, 9600, source)[:, 0].astype(np.float64)
    source.stop()
    scale = 1.0 if encoding == 32 else 2.0 ** (encoding - 1)
    wave = 0.5 * np.sin(2 * np.pi * 1000 / 48000 * np.arange(9600))
    assert np.abs(heard / scale - wave).max() <= (1e-6 if encoding == 32 else 0.51 / scale)


def test_by_hand_it_makes_the_same_bytes(output: OpenOutput) -> None:
    stream = output(rate=48000, channels=2)
    source = SineSource(stream, 1000, ahead=480)
    data = np.frombuffer(source.get_bytes(), np.int16).reshape(-1, 2)
    wave = 0.5 * np.sin(2 * np.pi * 1000 / 48000 * np.arange(len(data)))
    assert len(data) == source.block == 120
    assert np.abs(data / 32768 - wave[:, None]).max() < 1 / 32768


def test_the_frequency_moves_without_a_click(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(rate=48000, channels=1, encoding=32, buffersize=64)
    source = SineSource(stream, 1000, ahead=480)
    source.start()
    random = np.random.default_rng(5)
    heard, wanted = [], []
    for _ in range(200):
        heard.append(played(stream, device, 240, source, step=240))
        wanted.append(source.frequency)
        source.frequency = float(random.uniform(50, 2000))
    source.stop()
    wave = np.concatenate(heard)[:, 0].astype(np.float64)
    assert np.abs(np.diff(wave)).max() <= 0.5 * 2 * np.pi * 2000 / 48000 * 1.001
    crossings = np.count_nonzero(np.diff(np.signbit(wave)))
    assert crossings == pytest.approx(2 * np.mean(wanted), rel=0.1)


def test_a_change_is_heard_within_the_documented_time(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(rate=48000, channels=1, encoding=32, buffersize=64)
    source = SineSource(stream, 440, ahead=480)
    source.start()
    played(stream, device, 4800, source, step=240)
    source.frequency = 0  # it stands still: every frame is as the one before
    played(stream, device, 480 + source.block + 64, source, step=64)
    assert np.ptp(played(stream, device, 480, source, step=240)) == 0
    source.frequency = 880.8
    played(stream, device, 480 + source.block + 64, source, step=64)
    heard = played(stream, device, 96000, source, step=240)
    assert pitch(heard[:, 0], 48000) == pytest.approx(880.8, abs=0.01)
    source.stop()


def test_the_amplitude_moves_without_a_click(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(rate=48000, channels=1, encoding=32, buffersize=64)
    source = SineSource(stream, 500, 0.5, ahead=480)
    source.start()
    heard = [played(stream, device, 4800, source, step=240)]
    source.amplitude = 0.1
    heard.append(played(stream, device, 4800, source, step=240))
    source.stop()
    wave = np.concatenate(heard)[:, 0].astype(np.float64)
    assert np.abs(np.diff(wave)).max() <= 0.5 * 2 * np.pi * 500 / 48000 + 0.5 / 240 + 1e-6
    assert np.abs(wave[:4800]).max() == pytest.approx(0.5, abs=1e-3)
    assert np.abs(wave[4800 + 480 + 120 + 64 + 240 :]).max() == pytest.approx(0.1, abs=1e-3)
    assert source.amplitude == 0.1


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "high", None])
def test_parameters_that_cannot_be_heard(output: OpenOutput, value: Any) -> None:
    stream = output()
    with pytest.raises(FormatError, match="frequency"):
        SineSource(stream, value)
    with pytest.raises(FormatError, match="amplitude"):
        SineSource(stream, 440, value)
    source = SineSource(stream, 440)
    with pytest.raises(FormatError):
        source.frequency = value
    assert source.frequency == 440


def test_a_subclass_with_an_ordinary_get_bytes_has_its_own_thread(
    output: OpenOutput, device: ManualDevice
) -> None:
    threads = set()

    class Doubled(SineSource):
        def get_bytes(self) -> bytes:
            threads.add(threading.current_thread().name)
            return super().get_bytes()

    stream = output(rate=48000, channels=1)
    source = Doubled(stream, 440)
    source.start()
    heard = played(stream, device, 96000, source)
    source.stop()
    source.join(LIMIT)
    assert threads == {"audiostream Doubled"}
    assert pitch(heard[:, 0], 48000) == pytest.approx(440, abs=0.01)


def test_many_at_once_are_in_tune_on_one_thread(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(rate=48000, channels=1, encoding=32)
    sources = [SineSource(stream, 200 + 100 * n, 1 / 32) for n in range(32)]
    sources[0].start()
    eventually(lambda: full(stream, sources[0]))
    threads = threading.active_count()
    for source in sources:
        source.start()
    for source in sources:
        eventually(lambda s=source: full(stream, s))
    assert threading.active_count() <= threads
    heard = played(stream, device, 48000, *sources)[:, 0]
    spectrum = np.abs(np.fft.rfft(heard)) * 2 / len(heard)
    assert np.flatnonzero(spectrum > 1 / 64).tolist() == [200 + 100 * n for n in range(32)]
    for source in sources:
        source.stop()
        source.join(LIMIT)


def test_a_removed_source_cannot_be_started(output: OpenOutput) -> None:
    stream = output()
    source = SineSource(stream, 440)
    stream.remove_sample(source)
    with pytest.raises(AudioException, match="add_sample"):
        source.start()


def test_a_program_of_the_documented_kind_moves_its_pitch(tmp_path: Path) -> None:
    text = """
        import time
        from audiostream import get_output
        from audiostream.sources.wave import SineSource

        def sleep(seconds):  # by the stream's clock, however busy the machine is
            end = stream.stats.frames + seconds * stream.rate
            while stream.stats.frames < end:
                time.sleep(0.005)

        stream = get_output(channels=2, rate=22050, buffersize=128, device="file:heard.wav")
        sinsource = SineSource(stream, 220)
        sinsource.start()
        for frequency in (220, 440, 880):
            sinsource.frequency = frequency
            sleep(0.4)
        print(sinsource.frequency, sinsource.is_alive())
        """
    assert program(text, cwd=tmp_path).split() == ["880.0", "True"]
    heard, rate = soundfile.read(tmp_path / "heard.wav")
    assert (rate, heard.shape[1]) == (22050, 2)
    assert np.array_equal(heard[:, 0], heard[:, 1])
    found = [
        round(pitch(heard[at : at + 2205, 0], rate), -1)
        for at in range(0, len(heard) - 2205, 1102)
        if np.abs(heard[at : at + 2205]).max() > 0.4
    ]
    steady = [p for p, after in itertools.pairwise(found) if p == after]
    assert sorted(set(steady)) == [220, 440, 880]
    assert steady == sorted(steady)


def test_queued_is_what_is_ahead(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(rate=48000, channels=1, buffersize=64)
    source = SineSource(stream, 440, ahead=1000)
    source.start()
    eventually(lambda: queued(stream, source) == 1000)
    source.stop()
