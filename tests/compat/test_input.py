"""The documented input: queued by the device, handed out by poll() in the caller's thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostream import AudioException, AudioInput, get_input, get_input_sources
from audiostream.device import names
from audiostream.device.base import (
    Callback,
    Device,
    DeviceStream,
    Parameters,
    Request,
)
from audiostream.engine.stream import until
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import DeviceError, FormatError, NoDeviceError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.compat.support import LIMIT, collector, eventually, noise, ramp
from tests.servers import silent_environment

ROOT = Path(__file__).resolve().parent.parent.parent

OpenInput = Callable[..., AudioInput]


def frames_of(chunk: bytes) -> list[int]:
    return np.frombuffer(chunk, np.int16).tolist()


# ------------------------------------------------------------------------------- arguments


def test_arguments_and_defaults_are_those_documented() -> None:
    parameters = inspect.signature(get_input).parameters
    assert [(name, p.default) for name, p in parameters.items()] == [
        ("callback", None),
        ("source", "default"),
        ("rate", 44100),
        ("channels", 1),
        ("encoding", 16),
        ("buffersize", -1),
        ("effects", ()),  # our addition
    ]
    by_keyword = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert by_keyword == ["effects"]


def test_attributes_are_read_only(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone(rate=16000, channels=2, encoding=8, buffersize=320)
    values = {
        "encoding": 8,
        "source": device,
        "channels": 2,
        "buffersize": 320,
        "rate": 16000,
    }
    for name, value in values.items():
        assert getattr(mic, name) == value
        with pytest.raises(AttributeError):
            setattr(mic, name, value)


@pytest.mark.parametrize("asked", [-1, 0, -1000])
@pytest.mark.parametrize("size", [None, 480])
def test_the_system_sizes_the_buffer_and_the_attribute_tells(
    microphone: OpenInput, asked: int, size: int | None
) -> None:
    device = ManualDevice(buffersize=size)
    mic = microphone(source=device, buffersize=asked)
    heard = collector(mic)
    assert mic.buffersize == (size or 256)
    device.step(2 * mic.buffersize)
    mic.poll()
    assert [len(chunk) for chunk in heard] == [2 * mic.buffersize] * 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"rate": 0}, "rate=0"),
        ({"rate": "16000"}, "rate"),
        ({"rate": 16000.5}, "rate"),
        ({"channels": 0}, "channels=0"),
        ({"channels": 1000}, "channels=1000"),
        ({"channels": "mono"}, "channels"),
        ({"encoding": 12}, "encoding=12"),
        ({"encoding": None}, "encoding"),
        ({"buffersize": 1 << 20}, "buffersize=1048576"),
        ({"buffersize": 0.5}, "buffersize"),
        ({"buffersize": -0.5}, "buffersize"),
        ({"buffersize": "big"}, "buffersize"),
        ({"buffersize": None}, "buffersize"),
        ({"callback": 5}, "callback=5"),
        ({"callback": "print"}, "callback"),
    ],
    ids=str,
)
def test_bad_values_get_an_error_that_says_what_to_try(
    microphone: OpenInput, device: ManualDevice, options: dict[str, Any], what: str
) -> None:
    mic = microphone(buffersize=10)
    heard = collector(mic)
    device.feed(ramp(10))
    with pytest.raises(FormatError, match=rf"(?s){what}.*(try|give)") as caught:
        get_input(**{"source": ManualDevice(), **options})
    assert isinstance(caught.value, AudioException)
    device.step(10)
    assert mic.poll()
    assert heard == [ramp(10).tobytes()]


@pytest.mark.parametrize(
    ("source", "error", "what"),
    [
        (2.5, FormatError, r"2\.5.*try"),
        (None, FormatError, "None.*try"),
        ("file:/no/such/recording.wav", NoDeviceError, "no file.*recording.*try"),
        ("loopback:", NoDeviceError, "try loopback:NAME"),
    ],
)
def test_bad_sources_get_an_error_that_says_what_to_try(
    source: Any, error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=rf"(?s){what}"):
        get_input(source=source)


def test_a_bad_callback_leaves_the_old_one(microphone: OpenInput) -> None:
    mic = microphone()
    heard = collector(mic)
    with pytest.raises(FormatError, match="cannot be called"):
        mic.callback = 5  # type: ignore[assignment]
    assert mic.callback == heard.append


# ----------------------------------------------------------------------------------- poll


@pytest.mark.parametrize("encoding", [8, 16, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_heard_is_handed_on_bit_for_bit(
    microphone: OpenInput, device: ManualDevice, encoding: int, channels: int
) -> None:
    mic = microphone(encoding=encoding, channels=channels, buffersize=100)
    heard = collector(mic)
    data = noise(1000, channels, encoding)
    device.feed(data)
    device.step(1000)
    assert mic.poll() is True
    assert all(type(chunk) is bytes for chunk in heard)
    assert [len(chunk) for chunk in heard] == [100 * channels * encoding // 8] * 10
    assert b"".join(heard) == data.tobytes()


def test_poll_tells_whether_it_dispatched(microphone: OpenInput, device: ManualDevice) -> None:
    mic = microphone(buffersize=100)
    heard = collector(mic)
    assert mic.poll() is False
    device.feed(ramp(250))
    device.step(99)
    assert mic.poll() is False
    device.step(1)
    assert mic.poll() is True
    assert mic.poll() is False
    device.step(150)
    assert mic.poll() is True  # 50 wait for 50 more
    device.step(49)
    assert mic.poll() is False
    device.step(1)
    assert mic.poll() is True
    assert [len(chunk) for chunk in heard] == [200] * 3
    assert frames_of(b"".join(heard)) == [*ramp(250)[:, 0].tolist(), *[0] * 50]


def test_buffers_are_exact_whatever_the_device_delivers(
    microphone: OpenInput,
) -> None:
    device = ManualDevice(buffersize=64)
    mic = microphone(source=device, buffersize=37)
    heard = collector(mic)
    device.feed(ramp(1000))
    for _ in range(10):
        device.step(100)
        mic.poll()
    assert [len(chunk) for chunk in heard] == [74] * 27
    assert frames_of(b"".join(heard)) == ramp(999)[:, 0].tolist()


def test_without_a_callback_the_queue_is_left_alone(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    device.feed(ramp(30))
    device.step(30)
    for _ in range(5):
        assert mic.poll() is False
    heard = collector(mic)
    assert mic.poll() is True
    assert frames_of(b"".join(heard)) == ramp(30)[:, 0].tolist()


def test_a_callback_taken_away_in_a_callback_leaves_the_rest_queued(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    heard: list[bytes] = []

    def once(chunk: bytes) -> None:
        heard.append(chunk)
        mic.callback = None

    mic.callback = once
    device.feed(ramp(30))
    device.step(30)
    assert mic.poll() is True
    assert mic.poll() is False
    mic.callback = heard.append
    assert mic.poll() is True
    assert frames_of(b"".join(heard)) == ramp(30)[:, 0].tolist()


def test_a_callback_replaced_in_a_callback_gets_the_next(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    later: list[bytes] = []

    def first(chunk: bytes) -> None:
        assert frames_of(chunk) == ramp(10)[:, 0].tolist()
        mic.callback = later.append

    mic.callback = first
    device.feed(ramp(30))
    device.step(30)
    mic.poll()
    assert frames_of(b"".join(later)) == ramp(20, start=10)[:, 0].tolist()


def test_callbacks_run_in_the_thread_that_polls(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    threads: list[threading.Thread] = []
    mic.callback = lambda _: threads.append(threading.current_thread())
    device.step(20)
    mic.poll()
    assert threads == [threading.current_thread()] * 2
    device.step(10)
    polling = threading.Thread(target=mic.poll)
    polling.start()
    polling.join(LIMIT)
    assert threads[2:] == [polling]


def test_an_exception_leaves_poll_and_the_rest_stays_queued(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    heard: list[list[int]] = []

    def picky(chunk: bytes) -> None:
        heard.append(frames_of(chunk))
        if len(heard) in (2, 3):
            raise LookupError(f"buffer {len(heard)}")

    mic.callback = picky
    device.feed(ramp(50))
    device.step(50)
    for number in (2, 3):
        with pytest.raises(LookupError, match=f"buffer {number}"):
            mic.poll()
        assert len(heard) == number
    assert mic.poll() is True
    assert list(itertools.chain(*heard)) == ramp(50)[:, 0].tolist()


def test_what_comes_in_while_a_callback_runs_is_the_next_polls(
    microphone: OpenInput, device: ManualDevice
) -> None:
    """Or a callback that takes longer than a buffer would keep poll() for ever."""
    mic = microphone(buffersize=10)
    heard: list[bytes] = []

    def slow(chunk: bytes) -> None:
        heard.append(chunk)
        assert len(heard) < 100
        device.step(10)

    mic.callback = slow
    device.step(20)
    assert mic.poll() is True
    assert len(heard) == 2


def test_the_oldest_whole_buffers_give_way_and_are_counted(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(rate=8000, buffersize=100)
    heard = collector(mic)
    values = np.arange(40_000)
    device.feed((values % 30_000 + 1).astype(np.int16))
    device.step(40_000)  # five seconds; the queue holds four
    assert mic.dropped == 8000
    assert mic.poll() is True
    assert {len(chunk) for chunk in heard} == {200}
    assert frames_of(b"".join(heard)) == (values[8000:] % 30_000 + 1).tolist()
    assert mic.dropped == 8000


class SlowDevice(Device):
    """A microphone whose stop takes as long as hardware's may."""

    name = "slow"

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.stop_now = threading.Event()

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        device = self

        class Stream(DeviceStream):
            parameters = Parameters(request.rate, request.channels, 16, 100, 0.0)

            def start(self) -> None: ...

            def stop(self) -> None:
                device.stopping.set()
                device.stop_now.wait(LIMIT)

            def close(self) -> bool:
                return True

            def alive(self) -> bool:
                return True

            def time(self) -> float:
                return 0.0

        return Stream()


def test_poll_never_blocks_not_even_beside_a_slow_stop(microphone: OpenInput) -> None:
    device = SlowDevice()
    mic = microphone(source=device, callback=lambda _: None)
    stopping = threading.Thread(target=mic.stop, daemon=True)
    stopping.start()
    assert device.stopping.wait(LIMIT)
    polling = threading.Thread(target=mic.poll, daemon=True)
    polling.start()
    polling.join(2)
    waits = polling.is_alive()
    device.stop_now.set()
    stopping.join(LIMIT)
    polling.join(LIMIT)
    assert not waits, "poll() waited for stop()"


# ---------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("frames", [250, 200, 0], ids=["remainder", "whole buffers", "nothing"])
def test_only_the_last_buffer_is_shorter(
    microphone: OpenInput, device: ManualDevice, frames: int
) -> None:
    mic = microphone(buffersize=100)
    heard = collector(mic)
    device.feed(ramp(frames))
    device.fault("end")
    device.step(1000)
    assert mic.poll() is (frames > 0)
    assert mic.poll() is False
    assert frames_of(b"".join(heard)) == ramp(frames)[:, 0].tolist()
    assert [len(chunk) for chunk in heard] == [200, 200, 100][: -(-frames // 100)]


def test_a_device_that_is_gone_is_told_after_what_is_queued(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    heard = collector(mic)
    device.feed(ramp(20))
    device.step(20)
    device.fault("die")
    assert mic.poll() is True
    assert len(heard) == 2
    with pytest.raises(DeviceError, match="close this input and open another"):
        mic.poll()


def test_no_buffer_comes_after_a_close_in_the_callback(
    microphone: OpenInput, device: ManualDevice
) -> None:
    heard = []

    def callback(data: bytes) -> None:
        heard.append(data)
        if len(heard) == 3:
            mic.close()

    mic = microphone(callback=callback, buffersize=10)
    device.step(100)
    assert mic.poll() is True
    assert len(heard) == 3
    with pytest.raises(StreamClosedError):
        mic.poll()


def test_no_buffer_comes_after_a_close_in_another_thread(
    microphone: OpenInput, device: ManualDevice
) -> None:
    """The close waits for the call that is under way, and there is none after it."""
    calls: list[str] = []
    inside = threading.Event()

    def callback(_: bytes) -> None:
        calls.append("begins")
        inside.set()
        until(lambda: mic.is_closed, LIMIT)  # the close is under way
        calls.append("ends")

    mic = microphone(callback=callback, buffersize=10)
    device.step(100)

    def close() -> None:
        inside.wait(LIMIT)
        mic.close()
        calls.append("closed")

    closing = threading.Thread(target=close)
    closing.start()
    assert mic.poll() is True
    closing.join()
    assert calls == ["begins", "ends", "closed"]


def test_a_close_in_another_thread_before_the_first_call(
    microphone: OpenInput, device: ManualDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    mic = microphone(callback=lambda _: pytest.fail("it was closed"), buffersize=10)
    device.step(100)
    stream, take = mic.engine, mic.engine.take_bytes

    def take_and_close(count: int) -> bytes | None:
        data = take(count)
        mic.close()
        return data

    monkeypatch.setattr(stream, "take_bytes", take_and_close)
    with pytest.raises(StreamClosedError):
        mic.poll()


def test_a_close_does_not_wait_for_a_callback_that_waits_for_it(
    microphone: OpenInput, device: ManualDevice
) -> None:
    ended = []

    def callback(_: bytes) -> None:
        closing = threading.Thread(target=mic.close)
        closing.start()
        closing.join(LIMIT)
        ended.append(not closing.is_alive())

    mic = microphone(callback=callback, buffersize=10)
    device.step(100)
    mic.poll()
    assert ended == [True]


def test_a_stop_that_the_device_refuses_is_no_error_of_who_stops(
    microphone: OpenInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    mic = microphone(callback=print, buffersize=10)

    def refuse() -> None:
        raise DeviceError("the server is gone")

    monkeypatch.setattr(mic.engine._stream(), "stop", refuse)
    mic.stop()
    mic.stop()
    monkeypatch.undo()
    for use in (mic.start, mic.poll):
        with pytest.raises(DeviceError, match="the server is gone; close this input"):
            use()


# ------------------------------------------------------------------------- start, stop, close


def test_start_and_stop_are_idempotent_and_restart(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(start=False, buffersize=10)
    heard = collector(mic)
    mic.stop()  # never started
    device.step(10)
    assert mic.poll() is False
    mic.start()
    mic.start()
    device.feed(ramp(20))
    device.step(10)
    mic.stop()
    mic.stop()
    device.step(100)  # passes it by
    assert mic.poll() is True  # what was queued is still there
    assert mic.poll() is False
    mic.start()
    device.step(10)
    assert mic.poll() is True
    assert frames_of(b"".join(heard)) == ramp(20)[:, 0].tolist()


def test_what_is_queued_is_there_while_it_is_stopped(
    microphone: OpenInput, device: ManualDevice
) -> None:
    mic = microphone(buffersize=10)
    heard = collector(mic)
    device.feed(ramp(15))
    device.step(15)
    mic.stop()
    mic.poll()
    mic.start()
    device.step(5)
    mic.poll()
    assert frames_of(b"".join(heard)) == [*ramp(15)[:, 0].tolist(), *[0] * 5]


def test_closing_twice_is_harmless_and_a_closed_input_says_so(microphone: OpenInput) -> None:
    mic = microphone(callback=print)
    mic.close()
    mic.close()
    mic.stop()
    assert mic.is_closed
    for use in (mic.poll, mic.start):
        with pytest.raises(StreamClosedError, match="this input is closed"):
            use()


def test_an_input_is_a_context_manager_that_starts_it(device: ManualDevice) -> None:
    heard: list[bytes] = []
    with get_input(heard.append, device, buffersize=10) as mic:
        device.feed(ramp(10))
        device.step(10)
        mic.poll()
    assert mic.is_closed
    assert heard == [ramp(10).tobytes()]
    with pytest.raises(RuntimeError, match="mine"), get_input(source=device) as mic:
        raise RuntimeError("mine")
    assert mic.is_closed


def test_any_number_of_inputs_may_be_open(microphone: OpenInput) -> None:
    devices = [ManualDevice() for _ in range(5)]
    inputs = [microphone(source=device, buffersize=4) for device in devices]
    for number, (device, mic) in enumerate(zip(devices, inputs, strict=True)):
        heard = collector(mic)
        device.feed(np.full(4, number + 1, np.int16))
        device.step(4)
        mic.poll()
        assert frames_of(heard[0]) == [number + 1] * 4


# ----------------------------------------------------------------------------- never read


def unread(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "none was polled or read" in r.message]


def test_an_input_that_is_never_read_is_told_of_once(
    microphone: OpenInput, device: ManualDevice, caplog: pytest.LogCaptureFixture
) -> None:
    mic = microphone(rate=48000, buffersize=480, callback=print)  # which is never called
    device.step(192_480)  # of four seconds in the queue one buffer is lost
    mic.engine.look_for_life()  # in virtual time, it is told of at the end only
    assert not unread(caplog)
    mic.close()
    mic.close()
    (said,) = unread(caplog)
    assert "has captured 192480 frames" in said
    assert "poll()" in said


def test_a_poll_without_a_callback_reads_nothing(
    microphone: OpenInput, device: ManualDevice, caplog: pytest.LogCaptureFixture
) -> None:
    mic = microphone(rate=48000, buffersize=480)
    device.step(192_480)
    assert mic.poll() is False
    mic.close()
    assert len(unread(caplog)) == 1


@pytest.mark.parametrize("how", ["poll", "read", "meter", "no time", "exception", "exit"])
def test_an_input_that_served_a_purpose_is_not_told_of(
    device: ManualDevice,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    with (
        contextlib.suppress(LookupError),
        get_input(source=device, rate=48000, buffersize=480, callback=lambda data: None) as mic,
    ):
        mic.start()
        device.step(192_000 if how == "no time" else 192_480)
        if how == "poll":
            mic.poll()
        elif how == "read":
            asyncio.run(mic.read(100))
        elif how == "meter":
            mic.level()
        elif how == "exception":
            raise LookupError
        elif how == "exit":
            monkeypatch.setattr(WATCHDOG, "leaving", True)
            mic.close()
            monkeypatch.setattr(WATCHDOG, "leaving", False)
    assert not unread(caplog)


def test_an_input_whose_queue_overflows_is_told_of_while_it_is_open(
    microphone: OpenInput, device: ManualDevice, caplog: pytest.LogCaptureFixture
) -> None:
    mic = microphone(source="null", rate=48000, buffersize=480)
    engine = mic.engine
    engine._limit = 480
    eventually(lambda: engine.stats().frames > 960)
    for _ in range(2):
        engine.look_for_life()  # as the watchdog does, four times a second
    assert len(unread(caplog)) == 1
    mic.close()
    assert len(unread(caplog)) == 1


# --------------------------------------------------------------------------------- sources


def test_default_is_the_first_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names.portaudio, "input_names", lambda: ["Built-in", "USB"])
    sources = get_input_sources()
    assert type(sources) is list
    assert sources == ["default", "Built-in", "USB"]


@pytest.mark.skipif(sys.platform != "linux", reason="silent_environment() is for Linux")
def test_sources_of_a_machine_without_any(tmp_path: Path) -> None:
    code = "from audiostream import get_input_sources as g; print(g(), g())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **silent_environment(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['default'] ['default']\n"
