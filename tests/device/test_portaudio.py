"""The hardware devices: names, time limits and silence by fakes, sound by real servers."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audiostream.device import portaudio
from audiostream.device.base import Callback, Parameters, Request
from audiostream.device.portaudio import callback_path as paths
from audiostream.device.portaudio import host as portaudio_host
from audiostream.device.portaudio import second_copy
from audiostream.device.portaudio.device import PortAudioStream, choose_buffersize
from audiostream.device.portaudio.host import PortAudioHost
from audiostream.device.portaudio.library import DeviceInfo, Devices, PyAudioLibrary
from audiostream.device.portaudio.lookup import match, unique_names
from audiostream.device.portaudio.raw_streams import TimeInfo, python_callback, status_error
from audiostream.device.portaudio.second_copy import Calls, copy_of
from audiostream.device.portaudio.stderr_filter import StderrFilter, audible
from audiostream.device.portaudio.worker import Job, TimeLimitError
from audiostream.errors import DeviceError, NoDeviceError, StreamClosedError
from tests.servers import JackServer, Program, PulseServer, silent_environment

pytestmark = pytest.mark.usefixtures("traced_children")

ROOT = Path(__file__).resolve().parent.parent.parent

# ------------------------------------------------------------------ compiled callbacks

C_SOURCE = r"""
#include <stdint.h>
#include <string.h>

/* A tape: play() plays it once and then silence, record() fills it. */
struct tape { int64_t frames, capacity, frame_bytes, calls, flags; char *data; double now; };

static int64_t reel(struct tape *t, unsigned long frames, const double *time,
                    unsigned long flags)
{
    int64_t left = t->capacity - t->frames;
    t->calls += 1;
    t->flags |= (int64_t) flags;
    t->now = time[1];
    return (int64_t) frames < left ? (int64_t) frames : left;
}

int play(const void *in, void *out, unsigned long frames, const double *time,
         unsigned long flags, struct tape *t)
{
    int64_t n = reel(t, frames, time, flags);
    memset(out, 0, frames * t->frame_bytes);
    memcpy(out, t->data + t->frames * t->frame_bytes, n * t->frame_bytes);
    t->frames += n;
    return 0;
}

int record(const void *in, void *out, unsigned long frames, const double *time,
           unsigned long flags, struct tape *t)
{
    int64_t n = reel(t, frames, time, flags);
    memcpy(t->data + t->frames * t->frame_bytes, in, n * t->frame_bytes);
    t->frames += n;
    return 0;
}
"""


class Tape(ctypes.Structure):
    """``struct tape``, and a callback around it."""

    _fields_ = (
        ("frames", ctypes.c_int64),
        ("capacity", ctypes.c_int64),
        ("frame_bytes", ctypes.c_int64),
        ("calls", ctypes.c_int64),
        ("flags", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("now", ctypes.c_double),
    )


@pytest.fixture(scope="session")
def c_callback(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a shared library with the callbacks ``play`` and ``record``."""
    directory = tmp_path_factory.mktemp("callback")
    (directory / "tape.c").write_text(C_SOURCE)
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", "-o", "tape.so", "tape.c"],
        cwd=directory,
        check=True,
        timeout=60,
    )
    return str(directory / "tape.so")


def tape(
    library: str, function: str, data: bytes, frame_bytes: int
) -> tuple[Tape, Any, Callback]:
    """Return a tape over a copy of `data`, that copy, and a callback that runs it."""
    buffer = ctypes.create_string_buffer(data, len(data))
    made = Tape(0, len(data) // frame_bytes, frame_bytes, 0, 0, ctypes.addressof(buffer), 0.0)
    code = ctypes.CDLL(library)
    address = ctypes.cast(getattr(code, function), ctypes.c_void_p).value
    assert address is not None
    return made, buffer, Callback(address, ctypes.addressof(made), keep=(made, buffer, code))


# ------------------------------------------------------------------------ callback path


def test_the_environment_chooses_the_callback_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", "python")
    assert paths.callback_path() == "python"
    assert paths.python_forced()
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", "fast")
    with pytest.raises(
        DeviceError, match=r"AUDIOSTREAM_CALLBACK='fast'.*'native' nor 'python'"
    ):
        paths.callback_path()


def test_without_symbols_the_python_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "native_library", lambda: None)
    monkeypatch.delenv("AUDIOSTREAM_CALLBACK", raising=False)
    assert paths.callback_path() == "python"
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", "native")
    with pytest.raises(DeviceError, match="set AUDIOSTREAM_CALLBACK=python"):
        paths.callback_path()


def test_without_pyaudio_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(DeviceError, match="pip install pyaudio"):
        paths.load_pyaudio()


def test_through_python_calls_the_same_code(c_callback: str) -> None:
    made, _, callback = tape(c_callback, "play", bytes(range(1, 9)), 2)
    wrapped = paths.through_python(callback)
    assert wrapped.address != callback.address
    call = ctypes.CFUNCTYPE(ctypes.c_int, *paths.ARGUMENTS)(wrapped.address)
    out = ctypes.create_string_buffer(b"\xff" * 12, 12)
    times = TimeInfo(1.0, 2.0, 3.0)
    assert call(None, ctypes.addressof(out), 6, ctypes.addressof(times), 5, wrapped.user) == 0
    assert out.raw == bytes(range(1, 9)) + bytes(4)
    assert (made.calls, made.flags, made.now) == (1, 5, 2.0)


class Unraisable:
    """Collects what goes to sys.unraisablehook."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: list[BaseException | None] = []
        monkeypatch.setattr(
            sys, "unraisablehook", lambda args: self.errors.append(args.exc_value)
        )


def test_an_exception_on_the_audio_thread_is_silence_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError

    seen = Unraisable(monkeypatch)
    monkeypatch.setattr(paths, "CallCompiled", lambda address: broken)
    wrapped = paths.through_python(Callback(1, 0), frame_bytes=2)
    call = ctypes.CFUNCTYPE(ctypes.c_int, *paths.ARGUMENTS)(wrapped.address)
    out = ctypes.create_string_buffer(b"\xff" * 6, 6)
    assert call(None, ctypes.addressof(out), 2, None, 0, 0) == 0
    assert out.raw == bytes(4) + b"\xff" * 2
    assert [type(error) for error in seen.errors] == [ZeroDivisionError]


def test_pyaudios_callback_passes_everything_on(c_callback: str) -> None:
    now = {"input_buffer_adc_time": 1.0, "current_time": 2.5, "output_buffer_dac_time": 3.0}
    made, _, callback = tape(c_callback, "play", b"abcdefgh", 2)
    call = python_callback(callback, "output", 3, 2)
    assert call(None, 3, now, 4) == (b"abcdef", 0)
    assert call(None, 3, now, 0) == (b"gh" + bytes(4), 0)
    assert (made.calls, made.flags, made.now) == (2, 4, 2.5)
    made, data, callback = tape(c_callback, "record", bytes(6), 2)
    call = python_callback(callback, "input", 2, 2)
    assert call(b"wxyz", 2, now, 0) == (None, 0)
    assert data.raw == b"wxyz" + bytes(2)


def test_an_exception_in_pyaudios_callback_is_silence(
    c_callback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Unraisable(monkeypatch)
    _, _, callback = tape(c_callback, "play", b"abcdefgh", 2)
    call = python_callback(callback, "output", 2, 2)
    assert call(None, 2, {}, 0) == (bytes(4), 0)
    assert [type(error) for error in seen.errors] == [KeyError]


# ---------------------------------------------------------------------- names and sizes


def device(
    index: int, name: str, inputs: int = 2, outputs: int = 2, **other: Any
) -> DeviceInfo:
    given = {"api": "ALSA", "api_type": 8, "rate": 48000, **other}
    return DeviceInfo(
        index=index,
        name=name,
        inputs=inputs,
        outputs=outputs,
        low_input=0.01,
        low_output=0.01,
        high_input=0.04,
        high_output=0.04,
        **given,
    )


DEVICES = Devices(
    (
        device(0, "HDA Intel: ALC (hw:0,0)"),
        device(1, "USB Mic", outputs=0),
        device(2, "My Speaker"),
        device(3, "Speaker", inputs=0),
        device(4, "default"),
        device(5, "Speaker", inputs=0, api="JACK", api_type=12),
        device(6, "twin"),
        device(7, "twin"),
        device(8, "3"),
    ),
    default_input=1,
    default_output=4,
)


def test_every_name_is_unique_and_is_found_again() -> None:
    names = unique_names(DEVICES, "output")
    assert list(names) == [
        "HDA Intel: ALC (hw:0,0)",
        "My Speaker",
        "Speaker [ALSA]",
        "default [ALSA]",
        "Speaker [JACK]",
        "twin [ALSA 6]",
        "twin [ALSA 7]",
        "3",
    ]
    for name, info in names.items():
        assert match(DEVICES, name, "output") is info


@pytest.mark.parametrize(
    ("query", "direction", "index"),
    [
        ("default", "output", 4),
        ("default", "input", 1),
        ("Speaker", "output", 3),  # a whole name, the first of two
        ("speak", "output", 3),  # the first that begins with it, not "My Speaker"
        ("INTEL", "output", 0),  # part of a name, in any case
        ("[jack]", "output", 5),
        (2, "output", 2),
        ("2", "output", 2),  # digits are an index and not a part of "hw:0,0"
        ("3", "output", 8),  # unless a device has that name
        ("mic", "input", 1),
    ],
)
def test_match(query: str | int, direction: Any, index: int) -> None:
    assert match(DEVICES, query, direction).index == index


@pytest.mark.parametrize("query", ["nonesuch", "", "99", 99, 1, -1, "mic"])
def test_no_such_output(query: str | int) -> None:
    with pytest.raises(NoDeviceError) as caught:
        match(DEVICES, query, "output")
    message = str(caught.value)
    assert '"null"' in message
    assert "AUDIOSTREAM_OUTPUT" in message
    assert "'Speaker [JACK]'" in message
    assert "USB Mic" not in message


def test_no_device_at_all() -> None:
    with pytest.raises(NoDeviceError, match=r"no audio input device at all.*AUDIOSTREAM_INPUT"):
        match(Devices((), -1, -1), "default", "input")


def test_default_where_the_system_names_none() -> None:
    devices = Devices((device(0, "in", outputs=0), device(1, "out", inputs=0)), -1, -1)
    assert match(devices, "default", "output").index == 1


@pytest.mark.parametrize(
    ("latency", "rate", "frames"),
    [
        (0.00868, 44100, 512),
        (0.0026666, 48000, 128),
        (0.0001, 48000, 64),
        (3.0, 48000, 4096),
        (0.0, 48000, 512),
        (-1.0, 48000, 512),
        (float("nan"), 48000, 512),
    ],
)
def test_the_buffersize_comes_from_the_latency(latency: float, rate: int, frames: int) -> None:
    assert choose_buffersize(latency, rate) == frames


# ---------------------------------------------------------------------- silence on stderr


def test_known_noise_is_dropped_and_all_else_is_kept() -> None:
    noise = (
        b"Expression 'ret' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 1736\n"
        b"ALSA lib pcm.c:2666:(snd_pcm_open_noupdate) Unknown PCM dmix\n"
        b"Cannot connect to server socket err = No such file or directory\n"
        b"\n"
        b"jack server is not running or cannot be started\n"
    )
    kept = b"hello\n\nExpression of joy\nno newline"
    assert audible(noise) == b""
    assert audible(b"hello\n" + noise + b"\nExpression of joy\nno newline") == kept.replace(
        b"\n\n", b"\n"
    )
    assert audible(kept) == kept


def test_the_filter_passes_on_what_others_print(capfd: pytest.CaptureFixture[str]) -> None:
    with StderrFilter().capture():
        os.write(2, b"Expression 'x' failed in 'y', line: 3\nmine\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "mine\nafter\n"


def test_an_exception_gives_stderr_back(capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        with StderrFilter().capture():
            os.write(2, b"before\n")
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_meanwhile_has_its_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    line = "Expression 'x' failed in 'y', line: 3\n"  # caught, it would be dropped
    stderr = StderrFilter()

    def child() -> bool:
        stderr.restore_in_child()
        return os.write(2, line.encode()) == len(line)

    with stderr.capture():
        code = exit_code_of_child(child)
    assert code == 0
    assert capfd.readouterr().err == line


def test_a_closed_stderr_does_no_harm() -> None:
    source = (
        "import os\n"
        "from audiostream.device.portaudio.stderr_filter import StderrFilter\n"
        "os.close(2)\n"
        "with StderrFilter().capture(): print('ran')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "ran\n"


# --------------------------------------------------------------- the host, with a double


class FakeStream:
    """A raw stream that notes its calls; one that is named in `hangs` waits for `thaw`."""

    def __init__(self, fake: FakeLibrary) -> None:
        self.fake = fake
        self.latency = 0.02
        self.running = False

    def start(self) -> None:
        self.fake.step("start")
        self.running = True

    def stop(self) -> None:
        self.fake.step("stop")

    def close(self) -> None:
        self.fake.step("close")

    def active(self) -> bool:
        return self.running

    def stopped(self) -> bool:
        return False

    def time(self) -> float:
        return 7.0


class FakeLibrary:
    """PortAudio without sound; `jack` is what its server does, if it uses one."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.uses_jack = False
        self.lost = False
        self.jack = True
        self.silent = False
        self.next: FakeLibrary | None = None
        self.opened: list[Parameters] = []
        self.refuse: dict[str, list[int]] = {}
        self.hangs = ""
        self.fails: dict[str, int] = {}
        self.thaw = threading.Event()
        self.listed = Devices((device(0, "one", rate=44100), device(1, "two")), 0, 0)
        self.streams: list[FakeStream] = []

    def step(self, name: str) -> None:
        self.calls.append(name)
        if self.hangs == name:
            self.thaw.wait(20)
        if name in self.fails:
            raise status_error(name, self.fails[name], "fake")

    def answers(self) -> bool:
        self.step("ask")
        return self.jack

    def is_silent(self) -> bool:
        return self.silent

    def another(self) -> FakeLibrary:
        if self.next is None:
            raise DeviceError("there can be no other")
        return self.next

    def initialise(self) -> None:
        self.step("initialise")

    def terminate(self) -> None:
        self.step("terminate")

    def devices(self) -> Devices:
        return self.listed

    def open(
        self, path: str, index: int, direction: str, parameters: Parameters, callback: Callback
    ) -> FakeStream:
        self.opened.append(parameters)
        self.step("open")
        for code, allowed in self.refuse.items():
            name, number = code.split()
            if getattr(parameters, name) not in allowed:
                raise status_error("opening", int(number), "refused")
        self.streams.append(FakeStream(self))
        return self.streams[-1]


@pytest.fixture
def fake() -> Iterator[FakeLibrary]:
    library = FakeLibrary()
    yield library
    library.thaw.set()


@pytest.fixture
def host(fake: FakeLibrary) -> PortAudioHost:
    return PortAudioHost(lambda: fake, limit=0.2, start_limit=0.2)


REQUEST = Request("output", 48000, 2, 16, 256)
NOTHING = Callback(1, 0)


def opened(host: PortAudioHost, request: Request = REQUEST) -> PortAudioStream:
    return portaudio.find("one", request.direction, host).open(request, NOTHING)


def test_nothing_is_imported_with_the_module() -> None:
    source = (
        "import sys; import audiostream.device.portaudio.device; "
        "print([m for m in ('pyaudio', 'numpy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_the_list_is_read_anew_while_nothing_is_open(
    fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert portaudio.output_names(host) == ["one", "two"]
    fake.listed = Devices((device(0, "new"),), 0, 0)
    assert portaudio.input_names(host) == ["one", "two"]  # a moment later: the same list
    now = 10.0
    assert portaudio.input_names(host) == ["new"]
    assert fake.calls == ["initialise", "terminate", "initialise"]


def test_an_open_stream_pins_the_list(
    fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = opened(host)
    now = 10.0
    assert portaudio.output_names(host) == ["one", "two"]
    assert fake.calls == ["initialise", "open"]
    assert stream.close() is True
    portaudio.output_names(host)
    assert fake.calls == ["initialise", "open", "close", "terminate", "initialise"]


def test_a_stream_lives_as_the_contract_says(fake: FakeLibrary, host: PortAudioHost) -> None:
    stream = opened(host)
    assert stream.parameters == Parameters(48000, 2, 16, 256, 0.02)
    assert stream.alive()
    stream.start()
    stream.start()
    assert stream.alive()
    assert stream.time() == 7.0
    fake.streams[0].running = False  # the device ended it: active 0 and stopped 0
    assert not stream.alive()
    stream.stop()
    stream.stop()
    stream.start()
    assert stream.alive()
    assert stream.close() is True
    assert stream.close() is True
    assert not stream.alive()
    assert stream.time() == 7.0
    assert fake.calls == ["initialise", "open", "start", "stop", "start", "stop", "close"]
    with pytest.raises(StreamClosedError):
        stream.start()


@pytest.mark.parametrize(
    ("refuse", "request_", "expected"),
    [
        ({}, ("output", 48000, 2, 16, 0), (48000, 2, 16, 512)),
        ({"rate -9997": [44100]}, ("output", 48000, 2, 16, 256), (44100, 2, 16, 256)),
        ({"rate -9997": [48000]}, ("output", 16000, 2, 16, 256), (48000, 2, 16, 256)),
        ({"channels -9998": [1, 2]}, ("output", 48000, 6, 16, 256), (48000, 2, 16, 256)),
        ({"channels -9998": [2]}, ("input", 48000, 1, 16, 256), (48000, 2, 16, 256)),
        ({"encoding -9994": [16]}, ("output", 48000, 2, 8, 256), (48000, 2, 16, 256)),
        (
            {"channels -9998": [2], "rate -9997": [44100], "encoding -9994": [32]},
            ("output", 8000, 1, 8, 64),
            (44100, 2, 32, 64),
        ),
    ],
)
def test_what_a_device_refuses_becomes_its_own(
    fake: FakeLibrary, host: PortAudioHost, refuse: Any, request_: Any, expected: Any
) -> None:
    fake.refuse = refuse
    stream = opened(host, Request(*request_))
    got = stream.parameters
    assert (got.rate, got.channels, got.encoding, got.buffersize) == expected
    asked = fake.opened[0]
    assert (asked.rate, asked.channels, asked.encoding) == request_[1:4]
    assert asked.latency == max(0.04, 2 * asked.buffersize / asked.rate)


def test_a_device_that_does_not_open_says_why(fake: FakeLibrary, host: PortAudioHost) -> None:
    fake.fails = {"open": -9999}
    with pytest.raises(DeviceError) as caught:
        opened(host)
    assert caught.value.code == -9999
    for part in ("'one'", "ALSA", "48000 Hz", "2 channel", "-9999", "44100 Hz", '"null"'):
        assert part in str(caught.value)
    # and the list is read again at once, since it may be out of date
    portaudio.output_names(host)
    assert fake.calls[-2:] == ["terminate", "initialise"]


def test_rates_are_not_tried_for_ever(fake: FakeLibrary, host: PortAudioHost) -> None:
    fake.refuse = {"rate -9997": []}
    with pytest.raises(DeviceError, match="16000 Hz") as caught:
        opened(host, Request("output", 16000, 2, 16, 256))
    assert caught.value.code == -9997
    assert [parameters.rate for parameters in fake.opened] == [16000, 44100, 48000, 44100]


@pytest.mark.parametrize("hangs", ["open", "start", "stop", "close"])
def test_a_call_that_hangs_is_abandoned(
    fake: FakeLibrary, host: PortAudioHost, hangs: str
) -> None:
    fake.hangs = hangs
    if hangs == "open":
        with pytest.raises(TimeLimitError, match=r"did not return within 0\.2 s"):
            opened(host)
        closed = []
    else:
        stream = opened(host)
        if hangs == "start":
            with pytest.raises(TimeLimitError):
                stream.start()
        else:
            stream.start()
        closed = [stream.close(), stream.close()]
        assert not stream.alive()
        assert stream.time() == 0.0
        with pytest.raises(StreamClosedError):
            stream.stop()
    assert closed in ([], [False, False])
    # A new worker takes over, and nothing is terminated.
    fake.hangs = ""
    before = list(fake.calls)
    other = opened(host)
    other.start()
    assert other.close() is True
    assert fake.calls == [*before, "open", "start", "stop", "close"]
    host.outdated()
    portaudio.output_names(host)
    host.shutdown(0.2)
    assert "terminate" not in fake.calls


REST = {"open": ["close"], "start": ["stop", "close"], "stop": ["close"], "close": []}
"""What is left to do for a stream, by the call that hung."""


@pytest.mark.parametrize("hangs", REST)
def test_an_abandoned_stream_is_given_back_once_its_call_returns(
    fake: FakeLibrary, host: PortAudioHost, hangs: str
) -> None:
    stream = abandoned(fake, host, hangs)
    closed = threading.Event()
    if stream is not None:
        stream.when_closed(closed.set)
    before = list(fake.calls)
    assert not closed.is_set()
    fake.hangs = ""
    fake.thaw.set()
    reaped(host)
    assert fake.calls == [*before, *REST[hangs]]
    # The list is read again, and the end is as if nothing had been.
    portaudio.output_names(host)
    host.shutdown(1.0)
    assert fake.calls[-3:] == ["terminate", "initialise", "terminate"]
    if stream is not None:
        assert stream.close() is False  # as before
        assert closed.wait(5)
        late = threading.Event()
        stream.when_closed(late.set)
        assert late.is_set()


def abandoned(fake: FakeLibrary, host: PortAudioHost, hangs: str) -> PortAudioStream | None:
    """Return a stream one of whose calls hangs; None if that is the opening itself."""
    if hangs == "open":
        fake.hangs = hangs
        with pytest.raises(TimeLimitError):
            opened(host)
        return None
    stream = opened(host)
    if hangs == "start":
        fake.hangs = hangs
        with pytest.raises(TimeLimitError):
            stream.start()
    else:
        stream.start()
        fake.hangs = hangs
    assert stream.close() is False
    return stream


def reaped(host: PortAudioHost) -> None:
    """Wait until nothing of what was abandoned is left."""
    copy = host._copy
    assert copy is not None
    end = time.monotonic() + 5
    while copy.stuck:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("hangs", ["stop", "close"])
def test_a_stream_that_hangs_and_then_fails_is_kept(
    fake: FakeLibrary, host: PortAudioHost, hangs: str
) -> None:
    stream = abandoned(fake, host, hangs)
    assert stream is not None
    stream.when_closed(lambda: pytest.fail("it was not closed"))
    fake.fails = {"close": -9999}
    fake.thaw.set()
    reaped(host)
    assert id(stream) in host._kept
    portaudio.output_names(host)  # nothing hangs: PortAudio may be started again
    assert fake.calls[-2:] == ["terminate", "initialise"]


def test_an_open_that_was_given_up_and_then_returns_is_closed(
    fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    portaudio.output_names(host)
    fake.hangs = "open"
    wait = host._wait

    def interrupted(doing: str, job: Any, *rest: Any) -> Any:
        if not doing.startswith("opening"):
            return wait(doing, job, *rest)
        assert host._worker is not None
        host._worker.submit(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(host)
    assert fake.calls == ["initialise", "open"]
    fake.thaw.set()
    reaped(host)
    assert fake.calls == ["initialise", "open", "close"]


def test_what_was_abandoned_is_kept_as_long_as_it_hangs(
    fake: FakeLibrary, host: PortAudioHost
) -> None:
    freed = threading.Event()

    class Memory:
        def __del__(self) -> None:
            freed.set()

    fake.hangs = "stop"
    stream = portaudio.find("one", "output", host).open(REQUEST, Callback(1, 0, Memory()))
    stream.start()
    assert stream.close() is False
    del stream
    host.call("anything", lambda: None)
    assert not freed.is_set()
    fake.thaw.set()
    reaped(host)
    host.call("anything", lambda: None)  # the worker lets go of its last job
    assert freed.wait(5)


def test_what_was_closed_is_freed(fake: FakeLibrary, host: PortAudioHost) -> None:
    freed = threading.Event()

    class Memory:
        def __del__(self) -> None:
            freed.set()

    stream = portaudio.find("one", "output", host).open(REQUEST, Callback(1, 0, Memory()))
    assert stream.close() is True
    del stream
    host.call("anything", lambda: None)  # the worker lets go of its last job
    assert freed.wait(5)


def test_a_stream_that_fails_to_close_is_kept(fake: FakeLibrary, host: PortAudioHost) -> None:
    stream = opened(host)
    fake.fails = {"stop": -9999, "close": -9999}
    stream.start()
    assert stream.close() is False
    assert stream.close() is False
    fake.fails = {}
    host.outdated()
    portaudio.output_names(host)  # nothing hangs: PortAudio may be started again
    assert fake.calls[-2:] == ["terminate", "initialise"]


# ------------------------------------------------------------------ JACK, with a double


@pytest.fixture
def jack_fake(fake: FakeLibrary) -> FakeLibrary:
    fake.uses_jack = True
    fake.listed = Devices((device(0, "one", api="JACK", api_type=12), device(1, "two")), 0, 0)
    fake.next = FakeLibrary()
    return fake


def kill(fake: FakeLibrary) -> None:
    """What is seen of a jackd that was killed."""
    fake.lost, fake.jack = True, False
    for stream in fake.streams:
        stream.running = False


def test_jack_is_asked_before_what_can_abort(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    stream = opened(host)
    assert stream.close() is True
    host.outdated()
    portaudio.output_names(host)
    host.shutdown(1.0)
    opens = ["initialise", "ask", "open", "close"]
    assert jack_fake.calls == [*opens, "ask", "terminate", "initialise", "ask", "terminate"]


def test_only_what_can_abort_asks_jack(jack_fake: FakeLibrary, host: PortAudioHost) -> None:
    stream = portaudio.find("two", "output", host).open(REQUEST, NOTHING)
    assert stream.close() is True
    assert jack_fake.calls == ["initialise", "open", "close"]


@pytest.mark.parametrize("reported", [True, False], ids=["JACK has reported", "JACK is asked"])
def test_a_copy_that_has_lost_jack_is_left_alone(
    jack_fake: FakeLibrary, host: PortAudioHost, reported: bool
) -> None:
    portaudio.output_names(host)
    jack_fake.lost, jack_fake.jack = reported, False
    host.outdated()
    assert portaudio.output_names(host) == ["one", "two"]  # the copy's
    assert jack_fake.calls == ["initialise"] + ["ask"] * (not reported)
    assert jack_fake.next is not None
    assert jack_fake.next.calls == ["initialise"]
    assert opened(host).close() is True
    host.shutdown(1.0)
    assert jack_fake.next.calls == ["initialise", "open", "close", "terminate"]


def test_without_another_copy_the_error_says_so(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    portaudio.output_names(host)
    kill(jack_fake)
    jack_fake.next = None
    for _ in range(2):
        with pytest.raises(DeviceError, match="no other"):
            portaudio.output_names(host)
    host.shutdown(1.0)
    assert jack_fake.calls == ["initialise"]


@pytest.mark.parametrize("started", [True, False])
def test_a_killed_jack_is_not_touched(
    jack_fake: FakeLibrary, host: PortAudioHost, started: bool
) -> None:
    stream = opened(host)
    if started:
        stream.start()
        assert stream.time() == 7.0
    before = list(jack_fake.calls)
    kill(jack_fake)
    assert not stream.alive()
    assert stream.time() == 7.0 * started  # the last that was known
    if not started:
        with pytest.raises(DeviceError, match="JACK server is gone"):
            stream.start()
    assert stream.close() is False
    assert jack_fake.calls == before
    assert portaudio.output_names(host) == ["one", "two"]
    assert opened(host).close() is True
    assert jack_fake.calls == before


@pytest.mark.parametrize("order", ["closed, then lost", "lost, then closed"])
def test_a_killed_jack_gives_memory_back_once_its_audio_thread_has_ended(
    jack_fake: FakeLibrary, host: PortAudioHost, order: str
) -> None:
    stream = opened(host)
    other = portaudio.find("two", "output", host).open(REQUEST, NOTHING)
    stream.start()
    jack_fake.hangs = "close"
    assert other.close() is False
    before = list(jack_fake.calls)
    kill(jack_fake)
    closed = threading.Event()
    if order == "lost, then closed":
        portaudio.output_names(host)
    assert stream.close() is False
    stream.when_closed(closed.set)
    other.when_closed(lambda: pytest.fail("it has an audio thread of its own"))
    for _ in range(2):
        portaudio.output_names(host)
        host.outdated()
    assert id(stream) in host._kept
    assert not closed.is_set()
    jack_fake.silent = True
    portaudio.output_names(host)
    assert id(stream) not in host._kept
    assert closed.is_set()
    assert id(other) in host._kept
    assert jack_fake.calls == before


def test_other_streams_of_a_copy_that_has_lost_jack_go_on(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    stream = portaudio.find("two", "output", host).open(REQUEST, NOTHING)
    jack_fake.lost, jack_fake.jack = True, False
    stream.start()
    assert opened(host).close() is True
    assert stream.alive()
    assert stream.close() is True
    assert jack_fake.calls == ["initialise", "open", "start", "stop", "close"]
    host.outdated()
    portaudio.output_names(host)
    assert jack_fake.next is not None
    assert jack_fake.next.calls[-2:] == ["terminate", "initialise"]


def test_stopping_a_killed_jack_says_so(jack_fake: FakeLibrary, host: PortAudioHost) -> None:
    stream = opened(host)
    stream.start()
    jack_fake.streams[0].running = False  # before JACK itself reports it
    with pytest.raises(DeviceError, match="JACK server is gone"):
        stream.stop()
    assert stream.close() is False
    assert opened(host).close() is True
    assert jack_fake.calls == ["initialise", "ask", "open", "start"]


def test_a_jack_that_ends_while_it_is_opened_on(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    portaudio.output_names(host)
    jack_fake.jack = False
    with pytest.raises(DeviceError, match=r"'one'.*the JACK server has ended"):
        opened(host)
    assert jack_fake.calls == ["initialise", "ask"]
    assert opened(host).close() is True


def test_a_frozen_jack_keeps_the_list_and_opens_nothing(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    portaudio.output_names(host)
    jack_fake.hangs = "ask"
    host.outdated()
    for _ in range(2):
        assert portaudio.output_names(host) == ["one", "two"]
    with pytest.raises(DeviceError, match="does not answer"):
        opened(host)
    other = portaudio.find("two", "output", host).open(REQUEST, NOTHING)
    assert other.close() is True
    host.shutdown(1.0)
    assert jack_fake.calls == ["initialise", "ask", "open", "close"]
    jack_fake.hangs = ""
    jack_fake.thaw.set()
    end = time.monotonic() + 5
    while True:
        try:
            assert opened(host).close() is True
            break
        except DeviceError:
            assert time.monotonic() < end
            time.sleep(0.001)
    rest = ["ask", "terminate", "initialise", "ask", "open", "close"]
    assert jack_fake.calls[4:] == rest
    assert jack_fake.next is not None
    assert jack_fake.next.calls == []


def test_a_frozen_jack_whose_list_could_not_be_read_is_not_ended(
    jack_fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Devices:
        raise status_error("listing", -9999, "fake")

    with monkeypatch.context() as patch:
        patch.setattr(jack_fake, "devices", broken)
        with pytest.raises(DeviceError, match="listing failed"):
            portaudio.output_names(host)
    jack_fake.hangs = "ask"
    for message in ("did not return", "does not answer"):
        with pytest.raises(DeviceError, match=message):
            portaudio.output_names(host)
    assert jack_fake.calls == ["initialise", "ask"]


def test_jack_is_asked_again_where_there_was_no_thread_to_ask_it(
    jack_fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise RuntimeError("can't start new thread")

    assert abandoned(jack_fake, host, "stop") is not None
    copy = host._copy
    assert copy is not None
    with monkeypatch.context() as patch:
        patch.setattr(portaudio_host, "Worker", refused)
        assert not host.await_jack(copy)
    assert not copy.lost
    jack_fake.thaw.set()
    reaped(host)
    assert opened(host).close() is True


def test_a_thawed_jack_is_asked_before_its_stream_is_closed(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    assert abandoned(jack_fake, host, "stop") is not None
    jack_fake.thaw.set()
    reaped(host)
    assert jack_fake.calls[-3:] == ["stop", "ask", "close"]


def test_a_jack_that_thaws_slowly_is_waited_for(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    waited_for = threading.Event()

    class Noting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited_for.set()
            return super().wait(timeout)

    stream = abandoned(jack_fake, host, "stop")
    host._asking = asking = Job(lambda: True)  # another question, that still hangs
    asking.done = Noting()
    jack_fake.thaw.set()
    assert waited_for.wait(5)
    assert id(stream) in host._kept
    assert "close" not in jack_fake.calls
    asking.run()
    reaped(host)
    assert jack_fake.calls[-2:] == ["ask", "close"]


def test_a_jack_that_was_killed_while_it_was_frozen_is_left_alone(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    threads = set(threading.enumerate())
    stream = abandoned(jack_fake, host, "stop")
    assert stream is not None
    stream.when_closed(lambda: pytest.fail("it was not closed"))
    before = list(jack_fake.calls)
    (hung,) = set(threading.enumerate()) - threads
    kill(jack_fake)
    jack_fake.thaw.set()
    hung.join(5)
    assert not hung.is_alive()
    assert jack_fake.calls == before
    assert id(stream) in host._kept
    assert opened(host).close() is True


def test_a_jack_that_was_opened_while_it_froze_is_left_alone(
    jack_fake: FakeLibrary, host: PortAudioHost
) -> None:
    assert abandoned(jack_fake, host, "open") is None
    first = host._copy
    assert first is not None
    jack_fake.thaw.set()
    end = time.monotonic() + 5
    while not first.lost:
        assert time.monotonic() < end
        time.sleep(0.001)
    before = list(jack_fake.calls)
    assert opened(host).close() is True
    host.shutdown(1.0)
    assert jack_fake.calls == before
    assert jack_fake.next is not None
    assert jack_fake.next.calls == ["initialise", "open", "close", "terminate"]


def test_a_device_without_a_latency_has_that_of_a_period(
    fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a callback within a period of its time is not late."""
    init = FakeStream.__init__

    def declaring_none(stream: FakeStream, library: FakeLibrary) -> None:
        init(stream, library)
        stream.latency = 0.0

    monkeypatch.setattr(FakeStream, "__init__", declaring_none)
    assert opened(host).parameters.latency == 256 / 48000


# ------------------------------------------------------------ further copies of PortAudio


def test_a_copy_has_a_state_of_its_own() -> None:
    original = paths.native_library()
    assert original is not None
    first, second = (Calls(copy_of(original)) for _ in range(2))
    first.initialize()
    try:
        with pytest.raises(DeviceError, match="not initialized") as caught:
            second.terminate()
        assert caught.value.code == -10000
    finally:
        first.terminate()


def test_a_copy_lists_what_the_original_lists(capfd: pytest.CaptureFixture[str]) -> None:
    first = PyAudioLibrary()
    second = first.another()
    third = second.another()
    lists = []
    for library in (first, second, third):
        library.initialise()
        assert library.answers() or not library.uses_jack
        lists.append(library.devices())
        library.terminate()
        assert not library.lost
    assert lists[0] == lists[1] == lists[2]


def test_where_there_can_be_no_copy_the_error_says_what_to_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match=r"hides PortAudio's symbols.*restart this program"):
        copy_of(None)
    original = paths.native_library()
    assert original is not None
    monkeypatch.setattr(second_copy, "file_of", lambda library: tmp_path / "gone")
    with pytest.raises(DeviceError, match="cannot be loaded a second time"):
        copy_of(original)


def test_the_file_of_portaudio_may_not_be_known() -> None:
    nowhere: Any = {"Pa_OpenStream": ctypes.CFUNCTYPE(None)(0)}
    with pytest.raises(DeviceError, match="is not known"):
        copy_of(nowhere)


# ------------------------------------------------------------------ starting and stopping


def test_a_start_that_hangs_is_not_repeated_until_it_ends(
    fake: FakeLibrary, host: PortAudioHost, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.hangs = "initialise"
    with pytest.raises(TimeLimitError):
        portaudio.output_names(host)
    os.write(2, b"stderr is back\n")
    with pytest.raises(DeviceError, match="still starting"):
        portaudio.output_names(host)
    assert fake.calls == ["initialise"]
    fake.thaw.set()
    end = time.monotonic() + 5
    while True:
        try:
            assert portaudio.output_names(host) == ["one", "two"]
            break
        except DeviceError:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert fake.calls == ["initialise"]
    assert capfd.readouterr().err == "stderr is back\n"


def test_an_interrupted_open_is_closed(
    fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    portaudio.output_names(host)
    wait = host._wait

    def interrupted(doing: str, job: Any, *rest: Any) -> Any:
        if not doing.startswith("opening"):
            return wait(doing, job, *rest)
        assert host._worker is not None
        host._worker.submit(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(host)
    assert fake.calls == ["initialise", "open", "close"]


def test_shutdown_ends_portaudio_and_detaches_streams(
    fake: FakeLibrary, host: PortAudioHost
) -> None:
    stream = opened(host)
    stream.start()
    host.shutdown(1.0)
    assert fake.calls[-1] == "terminate"
    assert not stream.alive()
    assert stream.close() is False
    host.shutdown(1.0)
    assert fake.calls.count("terminate") == 1


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
def test_shutdown_never_raises(fake: FakeLibrary, host: PortAudioHost, trouble: str) -> None:
    host.shutdown(0.1)
    assert fake.calls == []
    portaudio.output_names(host)
    if trouble == "hangs":
        fake.hangs = "terminate"
    else:
        fake.fails = {"terminate": -9999}
    host.shutdown(0.1)
    assert fake.calls == ["initialise", "terminate"]


def test_no_thread_starts_while_the_interpreter_ends(
    fake: FakeLibrary, host: PortAudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    stream, hung = opened(host), opened(host)
    fake.hangs = "close"
    assert hung.close() is False  # its worker is lost
    monkeypatch.setattr(portaudio_host, "Worker", refused)
    with pytest.raises(DeviceError, match="interpreter shutdown"):
        stream.start()
    assert stream.close() is False


def test_calls_run_in_order_on_one_thread(host: PortAudioHost) -> None:
    seen: list[threading.Thread] = []
    threads = [
        threading.Thread(
            target=lambda: host.call("noting", lambda: seen.append(threading.current_thread()))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert seen[0].daemon


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_no_call(fake: FakeLibrary, host: PortAudioHost) -> None:
    stream = opened(host)
    stream.start()
    before = list(fake.calls)

    def child() -> bool:
        refused = 0
        for function in (stream.start, stream.stop, lambda: portaudio.output_names(host)):
            try:
                function()
            except DeviceError as error:
                refused += "forked" in str(error)
        host.shutdown(1.0)
        quiet = stream.close() is False and not stream.alive() and stream.time() == 0.0
        return refused == 3 and quiet and fake.calls == before

    assert exit_code_of_child(child) == 0
    assert stream.alive()
    assert stream.close() is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_process_without_audio_may_use_it(
    fake: FakeLibrary, host: PortAudioHost
) -> None:
    assert exit_code_of_child(lambda: portaudio.output_names(host) == ["one", "two"]) == 0


def exit_code_of_child(check: Callable[[], bool]) -> int:
    """Fork, and return 0 if `check` is true there within 10 s."""
    pid = os.fork()
    if pid == 0:
        threading.Timer(10, os._exit, (3,)).start()
        code = 2
        try:
            code = 0 if check() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ------------------------------------------------------------------ with real servers

PRELUDE = """
import atexit, ctypes, json, os, sys, time
from audiostream.device import portaudio
from audiostream.device.base import Callback, Request
from audiostream.device.portaudio.host import HOST
from tests.device.test_portaudio import tape

def note(**what):
    print(json.dumps(what), flush=True)

def until(condition, seconds=8.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()

library = sys.argv[1]
"""

# Plays a tape once into what the input of the same device hears.
ROUND_TRIP = (
    PRELUDE
    + """
atexit.register(HOST.shutdown)
name, rate, channels, encoding, frames, device_rate = json.loads(sys.argv[2])
frame_bytes = channels * encoding // 8
count = device_rate // 4
if encoding == 16:
    ramp = b"".join((n % 32000 + 1 + 7 * c).to_bytes(2, "little", signed=True)
                    for n in range(count) for c in range(channels))
else:
    import struct
    ramp = b"".join(struct.pack("<f", (n % 65521 + 1 + c) / 65536)
                    for n in range(count) for c in range(channels))
spoken, _, speak = tape(library, "play", ramp, frame_bytes)
heard, data, hear = tape(library, "record", bytes(frame_bytes * 4 * device_rate), frame_bytes)
form = rate, channels, encoding, frames
mic = portaudio.find(name, "input").open(Request("input", *form), hear)
speaker = portaudio.find(name, "output").open(Request("output", *form), speak)
mic.start()
until(lambda: heard.calls > 2)
speaker.start()
until(lambda: spoken.frames == count)
ahead = heard.frames
until(lambda: heard.frames >= ahead + device_rate // 2)  # what is still under way
now = spoken.now
clock = speaker.time(), mic.time(), speaker.alive(), mic.alive()
closed = [speaker.close(), mic.close()]
# The ramp has no silent frame: silence within is a stall of the machine, not a fault.
raw = data.raw
frames_heard = (raw[n : n + frame_bytes] for n in range(0, len(raw), frame_bytes))
same = b"".join(frame for frame in frames_heard if any(frame)) == ramp
parameters = speaker.parameters
note(same=same, closed=closed, times=clock[:2], alive=clock[2:],
     now=now, rate=parameters.rate, channels=parameters.channels,
     encoding=parameters.encoding, buffersize=parameters.buffersize,
     latency=parameters.latency, mic_latency=mic.parameters.latency,
     calls=heard.calls)
"""
)


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    with PulseServer(tmp_path_factory.mktemp("pulse")) as server:
        yield server


@pytest.fixture(scope="module")
def jack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JackServer]:
    with JackServer(tmp_path_factory.mktemp("jack"), period=512) as server:
        yield server


def round_trip(
    environment: dict[str, str], library: str, path: str, *arguments: str | int
) -> dict[str, Any]:
    """Play and hear; up to three times, since a stall longer than the buffers loses sound."""
    result: dict[str, Any] = {}
    for _ in range(3):
        chosen = {**environment, "AUDIOSTREAM_CALLBACK": path}
        with Program(ROUND_TRIP, chosen, library, json.dumps(arguments)) as program:
            result = json.loads(program.hear())
            assert program.finish() == 0
            assert program.errors == ""
        if result["same"]:
            break
    return result


@pytest.mark.parametrize("path", ["native", "python"])
def test_int16_through_pulse_is_bit_exact(
    pulse: PulseServer, c_callback: str, path: str
) -> None:
    got = round_trip(pulse.environment, c_callback, path, "default", 48000, 2, 16, 1024, 48000)
    assert got["same"]
    assert got["closed"] == [True, True]
    assert got["alive"] == [True, True]
    assert (got["rate"], got["channels"], got["encoding"]) == (48000, 2, 16)
    assert got["buffersize"] == 1024
    assert 0 < got["latency"] < 1
    assert 0 < got["mic_latency"] < 1
    assert 0 <= got["times"][0] - got["now"] < 5  # one clock with the callback's


@pytest.mark.parametrize("path", ["native", "python"])
def test_float32_through_jack_is_bit_exact(
    jack: JackServer, c_callback: str, path: str
) -> None:
    """Also: JACK refuses 44100 Hz, so the stream runs at the server's 48000."""
    got = round_trip(jack.environment, c_callback, path, "loopback", 44100, 2, 32, 512, 48000)
    assert got["same"]
    assert got["closed"] == [True, True]
    assert (got["rate"], got["channels"], got["encoding"]) == (48000, 2, 32)
    assert got["buffersize"] == 512
    assert got["latency"] == 512 / 48000  # a period, since jackd says 0 for its loopback


def test_jack_has_not_as_many_channels_as_asked(jack: JackServer, c_callback: str) -> None:
    source = (
        PRELUDE
        + """
atexit.register(HOST.shutdown)
_, _, callback = tape(library, "play", bytes(8), 8)
stream = portaudio.find("loopback", "output").open(Request("output", 48000, 6, 16, 0), callback)
note(channels=stream.parameters.channels, buffersize=stream.parameters.buffersize)
note(closed=stream.close())
"""
    )
    with Program(source, jack.environment, c_callback) as program:
        assert json.loads(program.hear()) == {"channels": 2, "buffersize": 512}
        assert json.loads(program.hear()) == {"closed": True}
        assert program.finish() == 0
        assert program.errors == ""


LISTING = (
    PRELUDE
    + """
from audiostream.errors import NoDeviceError
atexit.register(HOST.shutdown)
for _ in range(2):
    note(outputs=portaudio.output_names(), inputs=portaudio.input_names())
    HOST.outdated()
for direction in ("output", "input"):
    try:
        note(found=portaudio.find("default", direction).name)
    except NoDeviceError as error:
        note(error=str(error), code=error.code)
"""
)


def test_names_through_pulse(pulse: PulseServer, c_callback: str) -> None:
    with Program(LISTING, pulse.environment, c_callback) as program:
        first, again = json.loads(program.hear()), json.loads(program.hear())
        assert first == again
        assert "pulse" in first["outputs"]
        assert "default [ALSA]" in first["inputs"]
        assert json.loads(program.hear()) == {"found": "default"}
        assert json.loads(program.hear()) == {"found": "default"}
        assert program.finish() == 0
        assert program.errors == ""


def test_a_machine_without_sound(tmp_path: Path, c_callback: str) -> None:
    with Program(LISTING, silent_environment(tmp_path), c_callback) as program:
        for _ in range(2):
            assert json.loads(program.hear()) == {"outputs": [], "inputs": []}
        for variable in ("AUDIOSTREAM_OUTPUT", "AUDIOSTREAM_INPUT"):
            error = json.loads(program.hear())["error"]
            assert variable in error
            assert '"null"' in error
        assert program.finish() == 0
        assert program.errors == ""


# Opens and starts a stream, and says so; after that the test does something to the server.
PLAYING = (
    PRELUDE
    + """
spoken, _, callback = tape(library, "play", bytes(64), 4)
request = Request("output", 48000, 2, 16, 512)
stream = portaudio.find(sys.argv[2], "output").open(request, callback)
stream.start()
note(playing=until(lambda: spoken.calls > 3))
"""
)

CLOSING = """
sys.stdin.readline()
if sys.argv[3:]:
    until(lambda: not stream.alive())
alive = stream.alive()
begin = time.monotonic()
closed = stream.close()
again = stream.close()
calls = spoken.calls
note(alive=alive, closed=[closed, again], seconds=time.monotonic() - begin,
     after=stream.alive(), time=stream.time() >= 0)
begin = time.monotonic()
HOST.shutdown()
note(shutdown=time.monotonic() - begin)
"""


@pytest.mark.parametrize("path", ["native", "python"])
def test_a_frozen_pulse_does_not_hang_close(tmp_path: Path, c_callback: str, path: str) -> None:
    with PulseServer(tmp_path) as server:
        chosen = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
        with Program(PLAYING + CLOSING, chosen, c_callback, "default") as program:
            assert json.loads(program.hear()) == {"playing": True}
            server.freeze()
            program.say()
            got = json.loads(program.hear())
            assert got["closed"] == [False, False]
            assert 1.5 < got["seconds"] < 6
            assert not got["after"]
            assert got["time"]
            assert json.loads(program.hear())["shutdown"] < 1
            assert program.finish() == 0
            assert program.errors == ""


@pytest.mark.parametrize("path", ["native", "python"])
def test_a_frozen_jack_does_not_hang_close(tmp_path: Path, c_callback: str, path: str) -> None:
    with JackServer(tmp_path, period=512) as server:
        chosen = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
        with Program(PLAYING + CLOSING, chosen, c_callback, "loopback") as program:
            assert json.loads(program.hear()) == {"playing": True}
            server.freeze()
            program.say()
            got = json.loads(program.hear())
            assert got["closed"] == [False, False]
            assert got["seconds"] < 6
            assert json.loads(program.hear())["shutdown"] < 1
            assert program.finish() == 0
            assert program.errors == ""


@pytest.mark.parametrize("kind", [PulseServer, JackServer])
def test_a_frozen_server_does_not_hang_the_look_up(
    tmp_path: Path, c_callback: str, kind: type[PulseServer] | type[JackServer]
) -> None:
    source = (
        PRELUDE
        + """
from audiostream.errors import DeviceError
atexit.register(HOST.shutdown)
HOST.start_limit = 1.0
sys.stdin.readline()
for _ in range(2):
    try:
        note(found=portaudio.output_names())
    except DeviceError as error:
        note(error=str(error))
sys.stdin.readline()
def found():
    try:
        return portaudio.output_names()
    except DeviceError:
        return None
note(found=bool(until(found)))
"""
    )
    with (
        kind(tmp_path) as server,
        Program(source, server.environment, c_callback) as program,
    ):
        server.freeze()
        program.say()
        assert "did not return within 1 s" in json.loads(program.hear())["error"]
        assert "still starting" in json.loads(program.hear())["error"]
        server.thaw()
        program.say()
        assert json.loads(program.hear()) == {"found": True}
        assert program.finish() == 0
        assert program.errors == ""


@pytest.mark.parametrize("path", ["native", "python"])
def test_a_killed_pulse_lets_go(tmp_path: Path, c_callback: str, path: str) -> None:
    with PulseServer(tmp_path) as server:
        chosen = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
        with Program(PLAYING + CLOSING, chosen, c_callback, "default", "dies") as program:
            assert json.loads(program.hear()) == {"playing": True}
            server.kill()
            program.say()
            got = json.loads(program.hear())
            assert not got["alive"]
            assert got["closed"] == [True, True]
            assert json.loads(program.hear())["shutdown"] < 3
            assert program.finish() == 0
            # PortAudio's thread says that the server went, and has no hook for it.
            assert audible(program.errors.encode()) == b""


@pytest.mark.parametrize("path", ["native", "python"])
def test_a_killed_jack_is_left_alone(tmp_path: Path, c_callback: str, path: str) -> None:
    with JackServer(tmp_path, period=512) as server:
        chosen = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
        with Program(PLAYING + CLOSING, chosen, c_callback, "loopback", "dies") as program:
            assert json.loads(program.hear()) == {"playing": True}
            server.kill()
            program.say()
            got = json.loads(program.hear())
            assert not got["alive"]
            assert got["closed"] == [False, False]
            assert got["seconds"] < 1
            assert json.loads(program.hear())["shutdown"] < 1
            assert program.finish() == 0
            assert program.errors == ""


def test_a_restarted_pulse_is_found_again(tmp_path: Path, c_callback: str) -> None:
    source = (
        PLAYING
        + """
from audiostream.errors import DeviceError
atexit.register(HOST.shutdown)
sys.stdin.readline()
until(lambda: not stream.alive())
assert stream.close()
HOST.outdated()
try:
    portaudio.find("default", "output").open(request, callback)
except DeviceError as error:
    note(error=type(error).__name__)
sys.stdin.readline()
spoken.calls = 0
stream = portaudio.find("default", "output").open(request, callback)
stream.start()
note(playing=until(lambda: spoken.calls > 3), closed=stream.close())
"""
    )
    with (
        PulseServer(tmp_path) as server,
        Program(source, server.environment, c_callback, "default") as program,
    ):
        assert json.loads(program.hear()) == {"playing": True}
        server.kill()
        program.say()
        assert json.loads(program.hear()) == {"error": "NoDeviceError"}
        with server:
            program.say()
            assert json.loads(program.hear()) == {"playing": True, "closed": True}
            assert program.finish() == 0
            assert audible(program.errors.encode()) == b""


FORKING = """
atexit.register(HOST.shutdown)
pid = os.fork()
if pid == 0:
    ok = stream.close() is False and not stream.alive() and stream.time() >= 0
    sys.exit(0 if ok else 1)  # a whole interpreter's end, which frees what it can
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
calls = spoken.calls
note(child=code, goes_on=until(lambda: spoken.calls > calls + 5), alive=stream.alive())
note(closed=stream.close())
"""


@pytest.mark.parametrize("path", ["native", "python"])
@pytest.mark.parametrize("kind", ["pulse", "jack"])
def test_a_forked_child_leaves_the_parents_sound(
    request: pytest.FixtureRequest, c_callback: str, kind: str, path: str
) -> None:
    server = request.getfixturevalue(kind)
    name = "loopback" if kind == "jack" else "default"
    chosen = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
    with Program(PLAYING + FORKING, chosen, c_callback, name) as program:
        assert json.loads(program.hear()) == {"playing": True}
        assert json.loads(program.hear()) == {"child": 0, "goes_on": True, "alive": True}
        assert json.loads(program.hear()) == {"closed": True}
        assert program.finish() == 0
        assert program.errors == ""


@pytest.mark.parametrize("path", ["native", "python"])
@pytest.mark.parametrize("ending", ["HOST.shutdown", "stream.close"])
@pytest.mark.parametrize("kind", ["pulse", "jack"])
def test_leaving_the_interpreter_is_clean(
    request: pytest.FixtureRequest, c_callback: str, kind: str, path: str, ending: str
) -> None:
    server = request.getfixturevalue(kind)
    name = "loopback" if kind == "jack" else "default"
    chosen = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
    source = PLAYING + f"atexit.register(HOST.shutdown)\natexit.register({ending})\n"
    for _ in range(2):
        with Program(source, chosen, c_callback, name) as program:
            assert json.loads(program.hear()) == {"playing": True}
            assert program.finish() == 0
            assert program.errors == ""


def test_the_host_of_the_process_is_idle_until_used() -> None:
    assert isinstance(portaudio_host.HOST, PortAudioHost)
    assert portaudio_host.HOST.limit == 2.0
    assert portaudio_host.HOST.start_limit == 10.0
