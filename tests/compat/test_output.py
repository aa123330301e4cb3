"""The documented output: opened once, closed at will, and what it refuses."""

from __future__ import annotations

import gc
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiostream
from audiostream import AudioException, AudioOutput, AudioSample, compat, get_output
from audiostream.errors import DeviceError, FormatError, NoDeviceError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.compat.support import added, ramp

OpenOutput = Callable[..., AudioOutput]

DOCUMENTED = (
    "AudioException",
    "AudioInput",
    "AudioOutput",
    "AudioSample",
    "get_input",
    "get_input_sources",
    "get_output",
)


# ----------------------------------------------------------------------------- the names


def test_documented_names_are_one_and_the_same_everywhere() -> None:
    star: dict[str, Any] = {}
    exec("from audiostream.core import *", star)
    core = importlib.import_module("audiostream.core")
    assert sorted(core.__all__) == sorted(DOCUMENTED)
    for name in DOCUMENTED:
        assert star[name] is getattr(audiostream, name) is getattr(compat, name)
    assert set(DOCUMENTED) <= set(dir(audiostream))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = audiostream.no_such_name  # type: ignore[attr-defined]


def test_arguments_and_defaults_are_those_documented() -> None:
    parameters = inspect.signature(get_output).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "rate": 44100,
        "channels": 2,
        "encoding": 16,
        "buffersize": 1024,
        "device": "default",
        "voices": 256,
        "effects": (),
        "limiter": False,
    }
    by_keyword = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert by_keyword == ["device", "voices", "effects", "limiter"]


def test_attributes_tell_what_was_asked_for(output: OpenOutput) -> None:
    stream = output(rate=22050, channels=1, encoding=8, buffersize=300)
    assert (stream.rate, stream.channels, stream.encoding, stream.buffersize) == (
        22050,
        1,
        8,
        300,
    )
    assert (stream.device_rate, stream.device_channels) == (22050, 1)
    for name in ("rate", "channels", "encoding", "buffersize"):
        with pytest.raises(AttributeError):
            setattr(stream, name, 1)


# ------------------------------------------------------------------------------ only once


def test_a_second_output_is_refused_while_the_first_is_open(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    other = ManualDevice()
    with pytest.raises(AudioException, match=r"(?s)only once.*close"):
        get_output(device=other)
    # The first one has noticed nothing, and the other device was let alone.
    sample.write(ramp(10).tobytes())
    assert device.step(10).tolist() == ramp(10).tolist()
    assert not other._streams


def test_an_output_can_be_opened_again_after_close(
    output: OpenOutput, device: ManualDevice
) -> None:
    for start in (0, 100, 200):
        stream = output(channels=1)
        added(stream).write(ramp(10, start=start).tobytes())
        assert device.step(10).tolist() == ramp(10, start=start).tolist()
        stream.close()


def test_an_output_that_did_not_open_is_not_the_one(output: OpenOutput, tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        get_output(device=f"file:{tmp_path}/no/such/folder/a.wav")
    output()


def test_an_output_that_was_dropped_is_not_open_any_more(output: OpenOutput) -> None:
    get_output(device=ManualDevice())
    gc.collect()
    output(device=ManualDevice())


# --------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("buffersize", [-1, -1024])
def test_a_negative_buffersize_is_refused(buffersize: int) -> None:
    with pytest.raises(FormatError, match=rf"buffersize={buffersize}.*0 to let the system"):
        get_output(buffersize=buffersize, device=ManualDevice())


@pytest.mark.parametrize("size", [256, 480])
def test_a_buffersize_of_zero_is_sized_by_the_system(output: OpenOutput, size: int) -> None:
    assert output(buffersize=0, device=ManualDevice(buffersize=size)).buffersize == size


# ------------------------------------------------------------------------------- closing


def test_closing_twice_is_harmless(output: OpenOutput) -> None:
    stream = output()
    stream.close()
    stream.close()
    assert stream.is_closed


def test_an_output_is_a_context_manager(device: ManualDevice) -> None:
    with get_output(channels=1, device=device) as stream:
        added(stream).write(ramp(5).tobytes())
        assert device.step(5).tolist() == ramp(5).tolist()
    assert stream.is_closed
    with pytest.raises(RuntimeError, match="mine"), get_output(device=device) as stream:
        raise RuntimeError("mine")
    assert stream.is_closed


def test_a_closed_output_says_so(output: OpenOutput) -> None:
    stream = output()
    sample = added(stream)
    stream.close()
    for use in (
        lambda: stream.add_sample(AudioSample()),
        lambda: sample.write(b"1234"),
        sample.play,
    ):
        with pytest.raises(StreamClosedError, match="closed"):
            use()
    sample.stop()
    stream.remove_sample(sample)


def test_a_sample_of_a_closed_output_can_go_to_the_next(
    output: OpenOutput, device: ManualDevice
) -> None:
    first = output(channels=1)
    sample = added(first)
    sample.write(ramp(50).tobytes())
    first.close()
    second = output(channels=1)
    second.add_sample(sample)
    sample.play()
    sample.write(ramp(5, start=900).tobytes())
    assert device.step(8).tolist() == [*ramp(5, start=900).tolist(), [0], [0], [0]]


# ---------------------------------------------------------------------------- bad values


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"rate": 0}, "rate=0"),
        ({"rate": -44100}, "rate=-44100"),
        ({"rate": 10**9}, "rate=1000000000"),
        ({"rate": "44100"}, "rate"),
        ({"rate": 44100.0}, "rate"),
        ({"rate": None}, "rate"),
        ({"channels": 0}, "channels=0"),
        ({"channels": 65}, "channels=65"),
        ({"channels": "stereo"}, "channels"),
        ({"channels": True}, "channels"),
        ({"encoding": 24}, "encoding=24"),
        ({"encoding": "16"}, "encoding"),
        ({"buffersize": 1 << 17}, "buffersize=131072"),
        ({"buffersize": 2.5}, "buffersize"),
        ({"buffersize": None}, "buffersize"),
        ({"voices": 0}, "voices=0"),
        ({"voices": 4097}, "voices=4097"),
        ({"voices": "many"}, "voices"),
        ({"voices": True}, "voices"),
    ],
    ids=str,
)
def test_bad_values_get_an_error_that_says_what_to_try(
    output: OpenOutput, device: ManualDevice, options: dict[str, Any], what: str
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    sample.write(ramp(20).tobytes())
    with pytest.raises(FormatError, match=rf"(?s){what}.*try") as caught:
        get_output(**{"device": ManualDevice(), **options})
    assert isinstance(caught.value, AudioException)
    assert isinstance(caught.value, ValueError)
    assert device.step(20).tolist() == ramp(20).tolist()


@pytest.mark.parametrize(
    ("name", "error", "what"),
    [
        (3.5, FormatError, r"3\.5.*try"),
        (None, FormatError, "None.*try"),
        (True, FormatError, "True.*try"),
        ("file:", NoDeviceError, r"try file:PATH\.wav"),
        ("loopback:", NoDeviceError, "try loopback:NAME"),
        ("file:/tmp/music.mp3", DeviceError, r"only WAV.*try file:/tmp/music\.mp3\.wav"),
        ("file:/no/such/folder/a.wav", DeviceError, "(?s)cannot write.*folder"),
    ],
)
def test_bad_devices_get_an_error_that_says_what_to_try(
    name: Any, error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        get_output(device=name)
    with get_output(device=ManualDevice()):
        pass


# ------------------------------------------------------------------------------- samples


def test_adding_and_removing_are_idempotent(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(channels=1, voices=1)
    sample = AudioSample()
    stream.remove_sample(sample)  # never added
    stream.add_sample(sample)
    sample.write(ramp(10).tobytes())
    stream.add_sample(sample)  # takes no second slot, loses nothing
    sample.play()
    assert device.step(10).tolist() == ramp(10).tolist()
    stream.remove_sample(sample)
    stream.remove_sample(sample)
    with pytest.raises(AudioException, match="add_sample"):
        sample.write(b"12")


@pytest.mark.parametrize(
    "thing", [None, b"bytes", object(), AudioSample], ids=["None", "bytes", "object", "class"]
)
def test_what_is_no_sample_is_refused_clearly(output: OpenOutput, thing: Any) -> None:
    stream = output(voices=1)
    with pytest.raises(FormatError, match="AudioSample"):
        stream.add_sample(thing)
    with pytest.raises(FormatError, match="AudioSample"):
        stream.remove_sample(thing)
    added(stream)


def test_voices_are_limited_and_removing_frees_one(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1, voices=3)
    samples = [added(stream) for _ in range(3)]
    extra = AudioSample()
    for _ in range(2):
        with pytest.raises(AudioException, match=r"all 3 voices.*remove a sample.*voices=6"):
            stream.add_sample(extra)
    with pytest.raises(AudioException, match="add_sample"):
        extra.write(b"12")
    for number, sample in enumerate(samples):
        sample.write(np.full(8, 1000 * (number + 1), np.int16).tobytes())
    assert device.step(8).tolist() == [[6000]] * 8
    stream.remove_sample(samples[1])
    stream.add_sample(extra)
    extra.play()
    for number, sample in enumerate((samples[0], extra, samples[2])):
        sample.write(np.full(8, 1000 * (number + 1), np.int16).tobytes())
    assert device.step(8).tolist() == [[6000]] * 8


@pytest.mark.parametrize("step", [0, 64], ids=["time stands still", "time moves"])
def test_a_thousand_samples_come_and_go(
    output: OpenOutput, device: ManualDevice, step: int
) -> None:
    stream = output(rate=8000, channels=1, buffersize=64, voices=2)
    for number in range(1000):
        sample = added(stream)
        sample.write(ramp(100, start=number).tobytes())
        device.step(step)
        stream.remove_sample(sample)
    device.step(8000)
    last = added(stream)
    last.write(ramp(100).tobytes())
    assert device.step(100).tolist() == ramp(100).tolist()


def test_samples_are_mixed_and_saturate(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(channels=1)
    for values in ([100, -200, 30000, -30000], [1, 2, 30000, -30000]):
        added(stream).write(np.array(values, np.int16).tobytes())
    assert device.step(4)[:, 0].tolist() == [101, -198, 32767, -32768]


def test_a_sample_is_on_one_output_at_a_time(output: OpenOutput) -> None:
    sample = added(output())
    with (
        AudioOutput(device=ManualDevice()) as other,
        pytest.raises(AudioException, match=r"another output.*remove_sample"),
    ):
        other.add_sample(sample)


def test_removing_from_an_output_that_has_it_not_changes_nothing(
    output: OpenOutput, device: ManualDevice
) -> None:
    sample = added(output(channels=1))
    sample.write(ramp(10).tobytes())
    with AudioOutput(device=ManualDevice()) as other:
        other.remove_sample(sample)
    assert device.step(10).tolist() == ramp(10).tolist()


@pytest.mark.parametrize("voices", [2, 256])
def test_removing_a_sample_leaves_the_others_alone(
    output: OpenOutput, device: ManualDevice, voices: int
) -> None:
    stream = output(channels=1, voices=voices)
    gone, stays = added(stream), added(stream)
    gone.write(np.full(2000, 8000, np.int16).tobytes())
    stays.write(np.full(2000, 10, np.int16).tobytes())
    device.step(100)
    stream.remove_sample(gone)
    fade = device.step(221)[:, 0].astype(int)  # 5 ms
    assert (np.diff(fade) <= 0).all()  # no click: straight down
    assert fade[0] > 7000
    assert device.step(1000)[:, 0].tolist() == [10] * 1000


@pytest.mark.parametrize("voices", [1, 2, 3])
def test_as_many_samples_as_there_may_be_fade_out_at_once(
    output: OpenOutput, device: ManualDevice, voices: int
) -> None:
    stream = output(channels=1, voices=voices)
    samples = [added(stream) for _ in range(voices)]
    for sample in samples:
        sample.write(np.full(2000, 10_000, np.int16).tobytes())
    device.step(100)
    for sample in samples:
        stream.remove_sample(sample)
    fade = device.step(221)[:, 0].astype(int)  # 5 ms, no click
    assert fade[0] > 9000 * voices
    assert (abs(np.diff(fade)) < 100 * voices).all()
    assert fade[-1] == 0


def test_removing_works_on_a_device_that_is_gone(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1, voices=1)
    sample = added(stream)
    sample.write(ramp(10).tobytes())
    device.fault("die")
    stream.remove_sample(sample)
    assert stream.engine.attached == {}
    stream.close()
