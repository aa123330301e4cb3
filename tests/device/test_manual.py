"""The manual device: a device's contract in virtual time, and simulated faults."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audiostream import AudioException, AudioInput, AudioOutput, get_input, get_output
from audiostream.device.base import Callback, Request
from audiostream.device.portaudio.callback_path import ARGUMENTS
from audiostream.errors import DeviceError, FormatError
from audiostream.pcm import ENCODINGS
from audiostream.testing import ManualDevice
from tests.compat.support import added, collector, noise, ramp, voice_of

OUTPUT = Request("output", 48000, 2, 16, 100)
INPUT = replace(OUTPUT, direction="input")

UNDERFLOW, OVERFLOW = 4, 2


class Recorder:
    """A callback that notes its calls: frames, flags, times; and copies what it hears."""

    def __init__(self, request: Request, value: int = 0) -> None:
        self.calls: list[tuple[int, int]] = []
        self.times: list[tuple[float, ...]] = []
        self.heard: list[bytes] = []
        self.users: set[int | None] = set()
        width = request.channels * request.encoding // 8

        def call(
            source: int | None,
            target: int | None,
            frames: int,
            times: int,
            flags: int,
            user: int | None,
        ) -> int:
            self.calls.append((frames, flags))
            self.times.append(tuple((ctypes.c_double * 3).from_address(times)))
            self.users.add(user)
            if source:
                self.heard.append(ctypes.string_at(source, frames * width))
            if target and frames:
                ctypes.memset(target, value, frames * width)
            return 0

        self._thunk = ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)(call)
        address = ctypes.cast(self._thunk, ctypes.c_void_p).value
        assert address is not None
        self.callback = Callback(address, 4711, self._thunk)

    @property
    def blocks(self) -> list[int]:
        """Frames of the calls that had any."""
        return [frames for frames, _ in self.calls if frames]


# ---------------------------------------------------------------------------------- steps


def test_time_moves_in_periods_the_last_one_shorter() -> None:
    device = ManualDevice()
    player = Recorder(OUTPUT, value=1)
    stream = device.open(OUTPUT, player.callback)
    assert device.step(50).tolist() == [[0, 0]] * 50  # not started
    assert player.calls == []
    stream.start()
    stream.start()
    played = device.step(250)
    assert played.dtype == np.int16
    assert played.tolist() == [[0x0101, 0x0101]] * 250
    assert player.blocks == [100, 100, 50]
    assert player.users == {4711}
    assert device.time == stream.time() == pytest.approx(300 / 48000)
    device.step(0)
    assert player.blocks == [100, 100, 50]
    stream.stop()
    stream.stop()
    assert not device.step(100).any()
    assert player.blocks == [100, 100, 50]
    stream.start()
    assert device.step(1).any()
    assert stream.close() is True
    assert stream.close() is True
    assert not device.step(100).any()


def test_both_sides_move_together_in_one_period() -> None:
    device = ManualDevice()
    player, recorder = Recorder(OUTPUT), Recorder(INPUT)
    device.open(OUTPUT, player.callback).start()
    other = device.open(replace(INPUT, buffersize=60), recorder.callback)
    assert other.parameters.buffersize == 100  # the first one's
    other.start()
    assert device.step(150).shape == (150, 2)
    assert player.blocks == recorder.blocks == [100, 50]


def test_times_are_those_of_the_latency_and_never_zero() -> None:
    device = ManualDevice(latency=0.25)
    player = Recorder(OUTPUT)
    stream = device.open(OUTPUT, player.callback)
    assert stream.parameters.latency == 0.25
    stream.start()
    device.step(200)
    for adc, now, dac in player.times:
        assert now > 0
        assert (now - adc, dac - now) == (pytest.approx(0.25), pytest.approx(0.25))
    first, second = player.times[:2]
    assert second[1] - first[1] == pytest.approx(100 / 48000)


def test_what_is_heard_is_so_after_the_latency() -> None:
    device = ManualDevice(rate=48000, latency=0.01)  # 480 frames
    with get_output(rate=48000, channels=1, buffersize=100, device=device) as stream:
        assert stream.latency == 0.01
        sample = added(stream)
        voice = voice_of(stream)
        sample.write(ramp(1000).tobytes())
        for step in range(40):
            assert voice.counts().position == min(max(100 * step - 480, 0), 1000)
            device.step(100)


@pytest.mark.parametrize("frames", [-1, -1000])
def test_time_does_not_go_back(frames: int) -> None:
    with pytest.raises(FormatError, match="time does not go back"):
        ManualDevice().step(frames)


def test_a_device_with_nothing_open_is_silent() -> None:
    device = ManualDevice()
    assert not device.step(480).any()
    assert device.time == pytest.approx(0.01)


# -------------------------------------------------------------------------------- formats


def test_a_device_takes_what_is_asked_for_or_its_own() -> None:
    stream = ManualDevice().open(replace(OUTPUT, buffersize=0), Recorder(OUTPUT).callback)
    p = stream.parameters
    assert (p.rate, p.channels, p.encoding, p.buffersize) == (48000, 2, 16, 256)
    stubborn = ManualDevice(rate=8000, channels=1, buffersize=33, encoding=32)
    p = stubborn.open(OUTPUT, Recorder(OUTPUT).callback).parameters
    assert (p.rate, p.channels, p.encoding, p.buffersize) == (8000, 1, 32, 33)
    assert stubborn.step(10).dtype == np.float32
    assert stubborn.step(10).shape == (10, 1)


def test_both_sides_have_one_clock() -> None:
    device = ManualDevice()
    device.open(OUTPUT, Recorder(OUTPUT).callback)
    other = device.open(replace(INPUT, rate=16000, channels=1), Recorder(INPUT).callback)
    assert other.parameters.rate == 48000
    assert other.parameters.channels == 1


@pytest.mark.parametrize("request_", [OUTPUT, INPUT], ids=["output", "input"])
def test_one_stream_a_side(request_: Request) -> None:
    device = ManualDevice()
    first = device.open(request_, Recorder(request_).callback)
    with pytest.raises(DeviceError, match=f"already has an {request_.direction}.*close"):
        device.open(request_, Recorder(request_).callback)
    first.close()
    device.open(request_, Recorder(request_).callback)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 10},
        {"rate": "48000"},
        {"channels": 0},
        {"encoding": 24},
        {"buffersize": -1},
        {"latency": -0.1},
        {"latency": 11},
        {"latency": float("nan")},
    ],
    ids=str,
)
def test_bad_values_say_what_to_try(options: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="try"):
        ManualDevice(**options)


# ----------------------------------------------------------------------------------- feed


@pytest.mark.parametrize("encoding", [8, 16, 32])
def test_what_is_fed_is_heard_and_then_silence(encoding: int) -> None:
    request = replace(INPUT, encoding=encoding)
    device = ManualDevice()
    recorder = Recorder(request)
    device.open(request, recorder.callback).start()
    data = noise(250, 2, encoding)
    device.feed(data[:30])
    device.feed(data[30:])
    device.step(300)
    assert recorder.blocks == [100, 100, 100]
    heard = np.frombuffer(b"".join(recorder.heard), ENCODINGS[encoding]).reshape(-1, 2)
    np.testing.assert_array_equal(heard[:250], data)
    assert not heard[250:].any()


def test_what_is_fed_to_a_stopped_input_waits() -> None:
    device = ManualDevice()
    recorder = Recorder(INPUT)
    stream = device.open(INPUT, recorder.callback)
    device.feed(ramp(10, 2))
    device.step(100)
    stream.start()
    device.step(10)
    assert recorder.heard == [ramp(10, 2).tobytes()]


def test_one_channel_is_fed_to_all() -> None:
    device = ManualDevice()
    recorder = Recorder(INPUT)
    device.open(INPUT, recorder.callback).start()
    device.feed(np.array([5, -6], np.int16))
    device.feed(np.array([[7]], np.int16))
    device.step(3)
    heard = np.frombuffer(recorder.heard[0], np.int16).tolist()
    assert heard == [5, 5, -6, -6, 7, 7]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (8, [64, -128, 127, -128, 0]),
        (16, [16384, -32768, 32767, -32768, 0]),
        (32, [0.5, -1.0, 1.5, -1.5, 0.0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_fed_at_full_scale(encoding: int, expected: list[float], dtype: Any) -> None:
    request = replace(INPUT, encoding=encoding, channels=1)
    device = ManualDevice()
    recorder = Recorder(request)
    device.open(request, recorder.callback).start()
    device.feed(np.array([0.5, -1.0, 1.5, -1.5, 0.0], dtype))
    device.step(5)
    assert np.frombuffer(recorder.heard[0], ENCODINGS[encoding]).tolist() == expected


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (np.zeros((4, 3), np.int16), r"shape \(4, 3\).*2 channel"),
        (np.zeros((4, 2, 1), np.int16), "shape"),
        (np.zeros(4, np.int32), r"dtype int32.*astype"),
        (np.zeros(4, np.uint8), r"dtype uint8.*astype"),
        (["loud"], "dtype"),
    ],
    ids=["channels", "dimensions", "int32", "uint8", "str"],
)
def test_feeding_what_does_not_fit_says_so(data: Any, what: str) -> None:
    device = ManualDevice()
    recorder = Recorder(INPUT)
    device.open(INPUT, recorder.callback).start()
    with pytest.raises(FormatError, match=what):
        device.feed(data)
    device.step(4)
    assert recorder.heard == [bytes(16)]


def test_feeding_needs_an_open_input() -> None:
    with pytest.raises(DeviceError, match="no input is open"):
        ManualDevice().feed(np.zeros(4))


# --------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("fault", "index", "flag"), [("underrun", 0, UNDERFLOW), ("overrun", 1, OVERFLOW)]
)
def test_a_mishap_is_told_once_and_to_the_right_side(fault: Any, index: int, flag: int) -> None:
    device = ManualDevice()
    sides = Recorder(OUTPUT), Recorder(INPUT)
    device.open(OUTPUT, sides[0].callback).start()
    device.open(INPUT, sides[1].callback).start()
    device.step(100)
    device.fault(fault)
    device.step(200)
    flags = [[flags for frames, flags in side.calls if frames] for side in sides]
    assert flags[index] == [0, flag, 0]
    assert flags[1 - index] == [0, 0, 0]


def test_mishaps_are_counted() -> None:
    device = ManualDevice()
    with get_output(device=device) as speaker, get_input(source=device) as microphone:
        for _ in range(3):
            device.fault("underrun")
            device.step(1024)
        device.fault("overrun")
        device.step(1024)
        assert (speaker.stats.underruns, speaker.stats.overruns) == (3, 0)
        assert (microphone.stats.underruns, microphone.stats.overruns) == (0, 1)
        assert speaker.stats.callbacks == 4
        assert speaker.stats.frames == 4096


def test_jitter_has_callbacks_come_late_and_what_they_play_be_heard_in_time() -> None:
    device = ManualDevice(latency=0.01)
    player = Recorder(OUTPUT)
    stream = device.open(OUTPUT, player.callback)
    stream.start()
    device.fault("jitter")
    for _ in range(50):
        device.step(100)
    blocks = [
        times for times, (frames, _) in zip(player.times, player.calls, strict=True) if frames
    ]
    late = []
    for number, (_, now, heard) in enumerate(blocks):
        due = stream.epoch + number * 100 / OUTPUT.rate
        assert heard == pytest.approx(due + 0.01)
        late.append(now - due)
    assert 0 <= min(late) < max(late) <= 100 / OUTPUT.rate
    assert len(set(late)) == 50


def test_a_stalled_device_calls_no_one_and_comes_back() -> None:
    device = ManualDevice()
    with get_output(channels=1, device=device) as speaker:
        sample = added(speaker)
        sample.write(ramp(100).tobytes())
        device.fault("stall")
        before = speaker.time
        assert not device.step(480).any()
        assert speaker.time - before == pytest.approx(480 / 44100)  # time passes
        assert speaker.stats.callbacks == 0
        device.fault("resume")
        assert device.step(100).tolist() == ramp(100).tolist()


def test_a_microphone_that_stalls_hears_the_rest_afterwards() -> None:
    device = ManualDevice()
    with get_input(source=device, buffersize=10) as microphone:
        heard = collector(microphone)
        device.feed(ramp(20))
        device.fault("stall")
        device.step(50)
        assert microphone.poll() is False
        device.fault("resume")
        device.step(20)
        microphone.poll()
        assert b"".join(heard) == ramp(20).tobytes()


def test_a_device_that_died_stays_dead() -> None:
    device = ManualDevice()
    stream = device.open(OUTPUT, Recorder(OUTPUT, value=1).callback)
    stream.start()
    assert stream.alive()
    device.fault("die")
    assert not stream.alive()
    device.fault("resume")
    assert not device.step(100).any()
    assert not stream.alive()
    assert stream.close() is True


@pytest.mark.parametrize("use", ["play", "write", "add"])
def test_a_dead_speaker_is_told_at_the_next_use(use: str) -> None:
    device = ManualDevice()
    with get_output(device=device) as speaker:
        sample = added(speaker)
        device.fault("die")
        uses = {
            "play": sample.play,
            "write": lambda: sample.write(b"1234"),
            "add": lambda: added(speaker),
        }
        with pytest.raises(DeviceError, match="close this output and open another one"):
            uses[use]()
    assert speaker.is_closed


def test_a_recording_that_ends_calls_once_without_frames_and_no_more() -> None:
    device = ManualDevice()
    recorder = Recorder(INPUT)
    device.open(INPUT, recorder.callback).start()
    device.feed(ramp(130, 2))
    device.fault("end")
    device.step(500)
    assert [frames for frames, _ in recorder.calls] == [100, 30, 0]
    assert b"".join(recorder.heard) == ramp(130, 2).tobytes()


@pytest.mark.parametrize("kind", ["explode", "", None])
def test_an_unknown_fault_says_which_there_are(kind: Any) -> None:
    with pytest.raises(FormatError, match=r"underrun.*overrun.*stall.*resume.*die.*end"):
        ManualDevice().fault(kind)


# ------------------------------------------------------------------------------ end to end


def test_a_device_is_both_speaker_and_microphone() -> None:
    device = ManualDevice()
    with (
        AudioOutput(channels=1, device=device) as speaker,
        AudioInput(None, device, buffersize=50) as microphone,
    ):
        assert speaker.device_rate == microphone.device_rate == 44100
        heard = collector(microphone)
        added(speaker).write(ramp(50).tobytes())
        device.feed(ramp(50, start=500))
        assert device.step(50).tolist() == ramp(50).tolist()
        microphone.poll()
        assert heard == [ramp(50, start=500).tobytes()]
        with pytest.raises(AudioException, match="already has an output"):
            AudioOutput(device=device).open_blocking()


@pytest.mark.parametrize("frames", ["some", 1.5, float("nan"), None, True, -1])
def test_steps_that_are_no_frames(frames: Any) -> None:
    with pytest.raises(FormatError, match="frames"):
        ManualDevice().step(frames)
