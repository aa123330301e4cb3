"""Streams that are not closed: the interpreter's exit, garbage, forks, devices that die.

What happens at the exit of an interpreter is seen from outside: in programs that must end
by themselves, with exit code 0 and nothing on stderr.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiostream import AudioInput, AudioOutput, AudioSample, get_output
from audiostream.device.base import (
    Callback,
    Device,
    DeviceStream,
    Parameters,
    Request,
)
from audiostream.engine import heartbeat, stream_clock, watchdog
from audiostream.engine import stream as stream_module
from audiostream.engine.capture import Capture
from audiostream.engine.output import Output
from audiostream.engine.stream import Stream
from audiostream.engine.watchdog import WATCHDOG, Watchdog
from audiostream.errors import DeviceError
from audiostream.pcm import Format
from audiostream.testing import ManualDevice
from tests.compat.support import LIMIT, added, blocked_writer

ROOT = Path(__file__).resolve().parent.parent

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


def run(
    program: str,
    *arguments: str,
    cwd: Path | None = None,
    mode: str = "faulthandler",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a program with every warning an error, and give it some seconds.

    The development mode (`mode` "dev": allocators that check, unclosed files) doubles the
    time that it takes to start; one program of each kind has it.
    """
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", mode, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


def ends_well(done: subprocess.CompletedProcess[str], stdout: str = "") -> None:
    assert (done.stderr, done.returncode, done.stdout) == ("", 0, stdout)


# --------------------------------------------------------------------------- leaving it open

OPEN = """
import sys, time
from audiostream import AudioSample, get_input, get_output

name = sys.argv[1]
heard = []
mic = get_input(heard.append, sys.argv[2], rate=48000, buffersize=64)
mic.start()
speaker = get_output(rate=48000, channels=1, buffersize=64, device=name)
sample = AudioSample()
speaker.add_sample(sample)
sample.play()
sample.write(b"\\x10\\x00" * 8000)
# The callbacks are under way:
before = speaker.stats.callbacks + 3, mic.stats.callbacks + 3
while not (speaker.stats.callbacks > before[0] and mic.stats.callbacks > before[1]):
    time.sleep(0.001)
"""


def test_leaving_waits_for_a_close_that_was_cancelled(tmp_path: Path) -> None:
    """The thread that closes it would end with the process, in the middle of the file."""
    program = """
    import asyncio, time
    from audiostream import aio

    async def main():
        speaker = aio.get_output(rate=48000, channels=1, device="file:out.wav")
        await speaker.open()
        device = speaker.engine._device_stream
        close = device.close
        begun = asyncio.Event()
        set_begun = asyncio.get_running_loop().call_soon_threadsafe

        def slowly():
            set_begun(begun.set)
            time.sleep(0.3)
            return close()

        device.close = slowly
        await speaker.sample().write_from(aio.sources.silence(0.1))
        task = asyncio.create_task(speaker.aclose())
        task.cancel()
        await asyncio.wait([task])
        await begun.wait()

    asyncio.run(main())
    """
    ends_well(run(program, cwd=tmp_path))
    with wave.open(str(tmp_path / "out.wav")) as reader:
        assert reader.getnframes() > 0
        assert len(reader.readframes(reader.getnframes())) == 2 * reader.getnframes()


@pytest.mark.parametrize("path", ["native", "python"])
@pytest.mark.parametrize(
    ("output", "input"),
    [("null", "null"), ("loopback:exit", "loopback:exit"), ("file:out.wav", "null")],
)
def test_leaving_with_streams_running_is_clean_and_silent(
    tmp_path: Path, path: str, output: str, input: str
) -> None:
    mode = "dev" if output.startswith("file:") and path == "python" else "faulthandler"
    ends_well(run(OPEN, output, input, cwd=tmp_path, mode=mode, AUDIOSTREAM_CALLBACK=path))
    if output.startswith("file:"):  # and complete
        with wave.open(str(tmp_path / "out.wav")) as reader:
            assert reader.getnframes() > 0
            frames = reader.readframes(reader.getnframes())
        assert len(frames) == 2 * reader.getnframes()
        assert b"\x10\x00" * 64 in frames


def test_leaving_is_clean_after_everything_was_dropped() -> None:
    ends_well(run(OPEN + "mic.stop(); del speaker, mic, sample; sys.exit(0)\n", "null", "null"))


def test_an_exception_is_all_that_is_told() -> None:
    done = run(OPEN + "raise LookupError('mine')\n", "null", "null")
    assert done.returncode == 1
    first, *frames, last = done.stderr.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "LookupError: mine")
    assert [
        line for line in frames if not line.startswith("  ")
    ] == []  # Python 3.13 shows more


def test_leaving_is_clean_where_no_thread_can_be_started_any_more() -> None:
    """Python 3.12 starts no thread once the interpreter is shutting down, atexit included."""
    program = """
    import atexit, sys, threading

    def no_more_threads():
        def refuse(self):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        threading.Thread.start = refuse
    """
    program = textwrap.dedent(program)
    # What is registered last runs first.
    program += OPEN + "atexit.register(no_more_threads)\n"
    ends_well(run(program, "loopback:late", "loopback:late"))


def test_a_thread_that_writes_for_ever_does_not_spoil_the_exit() -> None:
    program = OPEN + textwrap.dedent(
        """
        import threading

        def write():
            while True:
                sample.write(b"\\x01\\x00" * 5000)

        for _ in range(4):
            threading.Thread(target=write, daemon=True).start()
        (voice,) = speaker.engine.attached.values()
        while voice.writer.room() > 64:
            time.sleep(0.001)
        """
    )
    ends_well(run(program, "null", "null"))


def test_a_program_that_never_opened_anything_starts_nothing() -> None:
    program = "import audiostream.compat, threading; print(threading.active_count())"
    ends_well(run(program, mode="dev"), "1\n")


# ----------------------------------------------------------------------------------- garbage

DROPPED = """
import asyncio, gc, logging, sys, time, warnings
from audiostream import aio, get_input, get_output
from audiostream.engine.watchdog import WATCHDOG
from audiostream.testing import ManualDevice

logging.getLogger("asyncio").setLevel(logging.ERROR)  # which finds a loaded machine slow

def device():
    return ManualDevice() if sys.argv[1] == "manual" else sys.argv[1]

def started(stream):
    stream.start()
    return stream

def drop(what, expected=""):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        what()
        gc.collect()
        end = time.monotonic() + 5
        while expected and not caught:  # the thread that opened it may hold it for a moment
            assert time.monotonic() < end, "it was not told"
            time.sleep(0.001)
            gc.collect()
    told = [f"{w.category.__name__} {w.message}" for w in caught]
    start = f"ResourceWarning <{expected} "
    if expected:
        assert len(told) == 1 and told[0].startswith(start) and "close" in told[0], told
    else:
        assert told == [], told
    end = time.monotonic() + 5
    while WATCHDOG.open_streams():  # it is closed in the background
        assert time.monotonic() < end, "it is still open"
        time.sleep(0.001)

drop(lambda: get_output(device=device()))  # the documented output is silent
drop(lambda: get_output(device=device()).close())
drop(lambda: get_input(source=device()))  # nothing runs
drop(lambda: started(get_input(source=device())), "AudioInput")
drop(lambda: started(get_input(source=device())).stop())
drop(lambda: started(get_input(source=device())).close())
drop(lambda: aio.get_output(device=device()))  # never opened
drop(lambda: aio.get_input(source=device()))
drop(lambda: asyncio.run(aio.get_output(device=device()).open()), "AudioOutput")
drop(lambda: asyncio.run(aio.get_input(source=device()).open()), "AudioInput")
get_output(device=device()).close()  # nothing of it is in the way
print("done")
"""


@pytest.mark.parametrize("device", ["null", "manual"])
def test_what_is_dropped_is_closed_and_told_if_it_should_be(device: str) -> None:
    mode = "dev" if device == "null" else "faulthandler"
    ends_well(run(DROPPED, device, mode=mode), "done\n")


def test_a_sample_keeps_its_output() -> None:
    device = ManualDevice()
    sample = AudioSample()
    get_output(channels=1, device=device).add_sample(sample)
    gc.collect()
    sample.play()
    sample.write(b"\x07\x00")
    assert device.step(2)[:, 0].tolist() == [7, 0]
    stream = sample._output
    assert stream is not None
    stream.close()


# -------------------------------------------------------------------------------------- fork

FORK = """
import os, sys, threading, time, warnings
from audiostream import AudioException, AudioSample, get_input, get_output
from audiostream.errors import StreamClosedError

def fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: there are threads
        return os.fork()

def child_ended(pid):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "the child hangs"

output, input = sys.argv[1:3]
mic = get_input(lambda chunk: None, input, rate=48000, buffersize=64)
mic.start()
speaker = get_output(rate=48000, channels=1, buffersize=64, device=output)
sample = AudioSample()
speaker.add_sample(sample)
sample.play()
"""

CHILD = """
pid = fork()
if pid == 0:
    for use in (
        lambda: sample.write(bytes(2)),
        sample.play,
        lambda: speaker.add_sample(AudioSample()),
        mic.start,
        mic.poll,
    ):
        try:
            use()
        except StreamClosedError as error:
            assert "fork()" in str(error), error
        else:
            sys.exit("it was used in the child")
    mic.stop()
    speaker.remove_sample(sample)
    sample.stop()
    for _ in range(2):
        speaker.close()
        mic.close()
    del sample, speaker, mic
    with get_output(rate=48000, buffersize=64, device="null") as mine, get_input(
        source="null", rate=48000, buffersize=64
    ) as ears:
        while not (mine.stats.callbacks > 3 and ears.stats.callbacks > 3):
            time.sleep(0.001)
    sys.exit(0)
status = child_ended(pid)
before = speaker.stats.callbacks, mic.stats.callbacks
while not (speaker.stats.callbacks > before[0] + 3 and mic.stats.callbacks > before[1] + 3):
    time.sleep(0.001)  # ours go on
sample.write(bytes(40_000))  # more than a ring: it plays
mic.poll()
speaker.close()
mic.close()
print(status)
"""


@forks
@pytest.mark.parametrize(
    ("output", "input", "path"),
    [
        ("null", "null", "native"),
        ("loopback:fork", "loopback:fork", "python"),
        ("file:out.wav", "null", "native"),
    ],
)
def test_a_forked_child_leaves_the_parents_streams_alone(
    tmp_path: Path, path: str, output: str, input: str
) -> None:
    done = run(FORK + CHILD, output, input, cwd=tmp_path, AUDIOSTREAM_CALLBACK=path)
    ends_well(done, "0\n")
    if output.startswith("file:"):
        with wave.open(str(tmp_path / "out.wav")) as reader:
            assert reader.getnframes() >= 20_000 // 2


@forks
def test_a_child_that_only_stops_what_it_has_ends_cleanly() -> None:
    program = """
    pid = fork()
    if pid == 0:
        sample.stop()  # as harmless as after close()
        sys.exit(0)
    print(child_ended(pid))
    speaker.close()
    mic.close()
    """
    ends_well(run(FORK + textwrap.dedent(program), "null", "null"), "0\n")


@forks
def test_a_child_forked_beside_a_blocked_writer_is_told_too() -> None:
    """Locks that other threads held at the fork are never given back in the child."""
    program = """
    sample.stop()
    writer = threading.Thread(target=sample.write, args=[bytes(60_000)])
    writer.start()
    (voice,) = speaker.engine.attached.values()
    while voice.writer.room() > 0:
        time.sleep(0.001)
    pid = fork()
    if pid == 0:
        try:
            sample.write(bytes(2))
        except StreamClosedError as error:
            sys.exit(0 if "fork()" in str(error) else str(error))
        sys.exit("it was used in the child")
    print(child_ended(pid))
    sample.play()
    writer.join()
    speaker.close()
    mic.close()
    """
    ends_well(run(FORK + textwrap.dedent(program), "null", "null"), "0\n")


@forks
def test_a_child_can_open_what_the_parent_has_open() -> None:
    program = """
    pid = fork()
    if pid == 0:
        with get_output(rate=48000, channels=1, buffersize=64, device="loopback:two") as mine:
            heard = []
            with get_input(heard.append, "loopback:two", rate=48000, buffersize=64) as ears:
                sample = AudioSample()
                mine.add_sample(sample)
                sample.play()
                sample.write(b"\\x05\\x00" * 1000)
                while not any(map(any, heard)):
                    ears.poll()
                    time.sleep(0.001)
                sample.stop()
        sys.exit(0)
    print(child_ended(pid))
    mic.poll()
    speaker.close()
    mic.close()
    """
    ends_well(run(FORK + textwrap.dedent(program), "loopback:two", "loopback:two"), "0\n")


@forks
def test_a_child_never_waits_for_what_a_thread_of_the_parent_held() -> None:
    program = """
    import anyio
    from audiostream import aio

    listener = aio.get_input(source="null", rate=48000).open_blocking()
    player = aio.get_output(48000, 1, device="null", buffersize=64).open_blocking()
    group = player.group()
    voice = player.sample(group=group)
    voice.write_nowait(bytes(2000))
    while voice.position < 500:
        time.sleep(0.001)
    handle = player.load(__import__("numpy").zeros(480_000, "int16")).play()
    sound = player.load(__import__("numpy").zeros(100, "int16"))
    turn = voice.utterance()
    locks = [
        lock
        for owner in (
            listener.engine, player.engine, speaker.engine, mic.engine, sample, sample._voice,
            voice._voice, handle._playback, group.engine, sound, player._wakeups,
            speaker.engine.wakeups.of_slot(0), sys.modules["audiostream.compat.functions"].ONCE,
        )
        for name, lock in vars(owner).items()
        if type(lock).__name__ in ("lock", "RLock")
    ]
    held = threading.Event()

    def hold():
        for lock in locks:
            lock.acquire()
        held.set()
        threading.Event().wait()

    def run(wait):
        return lambda: anyio.run(wait)

    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    pid = fork()
    if pid == 0:
        last = voice.position
        assert 500 <= last <= 1000 and voice.position == last, last
        assert sample.position == 0
        tells = []
        for use in (
            voice.stop, voice.clear_nowait, voice.play, lambda: voice.write_nowait(bytes(2)),
            voice.end, lambda: voice.mark("here"), turn.end, player.group,
            group.clear_nowait, lambda: setattr(group, "gain", 0.5), sound.play,
            run(voice.drain), run(voice.clear), run(lambda: voice.write(bytes(100_000))),
            run(lambda: voice.wait_position(10_000)), run(turn.finished), run(handle.finished),
            run(group.clear), run(lambda: listener.read(10)), listener.start, mic.poll,
            lambda: sample.write(bytes(2)),
        ):
            try:
                use()
            except AudioException as error:
                tells.append("fork()" in str(error))
        assert all(tells) and len(tells) >= 20, tells
        assert (voice.level().peak, voice.gain, handle.is_finished) == (0.0, 1.0, False)
        voice.written, voice.buffered, voice.cleared, voice.shortages, repr(voice), repr(turn)
        turn.heard, listener.dropped, listener.chunk_time, player.time, player.stats
        handle.stop(), group.close(), sample.stop(), mic.stop(), listener.stop()
        player.remove_sample(voice), speaker.remove_sample(sample)
        for stream in (player, speaker, mic, listener):
            stream.close()
        with get_output(rate=48000, channels=1, buffersize=64, device="null") as mine:
            mine.add_sample(AudioSample())
        os._exit(0)
    print(child_ended(pid))
    os._exit(0)
    """
    ends_well(run(FORK + textwrap.dedent(program), "null", "null"), "0\n")


CHILD_OF_MULTIPROCESSING = """
import multiprocessing, sys

def child(kind):
    from audiostream import AudioSample, get_input_sources, get_output
    from audiostream.device.portaudio.host import HOST
    from audiostream.engine.watchdog import WATCHDOG

    shut = HOST.shutdown

    def shutdown(limit):
        shut(limit)
        print("ended", len(WATCHDOG.open_streams()), flush=True)

    HOST.shutdown = shutdown
    if kind == "playing":
        global speaker, sample  # left open
        speaker = get_output(device="null")
        sample = AudioSample()
        speaker.add_sample(sample)
        sample.play()
        sample.write(bytes(2))

if __name__ == "__main__":
    method, kind, first = sys.argv[1:]
    if first == "before":
        import audiostream.compat
    process = multiprocessing.get_context(method).Process(target=child, args=(kind,))
    process.start()
    process.join(15)
    print(process.exitcode)
"""


@forks
@pytest.mark.parametrize(
    ("method", "kind", "first"),
    [
        ("fork", "playing", "before"),
        ("forkserver", "playing", ""),
        ("forkserver", "", "before"),
    ],
)
def test_children_of_multiprocessing_end_portaudio_too(
    tmp_path: Path, method: str, kind: str, first: str
) -> None:
    """They end by os._exit, and know no atexit: a client of JACK would vanish."""
    path = tmp_path / "main.py"
    path.write_text(CHILD_OF_MULTIPROCESSING)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), method, kind, first],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    ends_well(done, "ended 0\n0\n")


# ------------------------------------------------------------------- devices that stall or die


class FakeDevice(Device):
    """A device in real time whose callbacks are counted up by hand."""

    name = "fake"

    def __init__(self, latency: float = 0.0) -> None:
        self.living = True
        self.latency = latency
        self.closes = 0
        self.gone = True
        self.refuse: Exception | None = None

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        device = self

        class Fake(DeviceStream):
            parameters = Parameters(
                request.rate, request.channels, request.encoding, 480, device.latency
            )

            def start(self) -> None: ...

            def stop(self) -> None: ...

            def close(self) -> bool:
                device.closes += 1
                if device.refuse is not None:
                    raise device.refuse
                return device.gone

            def alive(self) -> bool:
                return device.living

            def time(self) -> float:
                return 0.0

        return Fake()


class Watched:
    """A stream on a fake device, looked at whenever its own time moves."""

    def __init__(self, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stream = stream
        self.now = 1000.0
        clock = SimpleNamespace(
            monotonic=lambda: self.now, monotonic_ns=time.monotonic_ns, sleep=time.sleep
        )
        for module in (stream_module, stream_clock, heartbeat):
            monkeypatch.setattr(module, "time", clock)
        stream.open()
        WATCHDOG.remove(stream, keep=False)  # the real watch must not look, too
        stream.start()

    def wait(self, seconds: float, *, callbacks: bool = False, looks: int = 4) -> None:
        for _ in range(looks):
            self.now += seconds / looks
            if callbacks:
                self.stream.record[0]["callbacks"] += 1
            self.stream.look_for_life()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Watched]]:
    streams: list[Stream] = []

    def open_stream(kind: type[Stream] = Output, **options: Any) -> Watched:
        stream = kind(Format(48000, 1, 16), 480, FakeDevice(**options))
        streams.append(stream)
        return Watched(stream, monkeypatch)

    yield open_stream
    for stream in streams:
        # close() would wait for a fade that this device never plays
        stream._started = False
        stream.close()


@pytest.mark.parametrize("kind", [Output, Capture])
def test_a_device_that_falls_silent_is_noticed_and_may_come_back(
    watched: Callable[..., Watched], kind: type[Stream]
) -> None:
    its = watched(kind)
    its.wait(10, callbacks=True)
    its.stream.check()
    its.wait(0.4)
    its.stream.check()
    its.wait(0.4)
    with pytest.raises(DeviceError, match=r"silent for 0\.\d s.*close this"):
        its.stream.check()
    its.wait(10)
    with pytest.raises(DeviceError, match="silent"):
        its.stream.check()
    its.wait(0.1, callbacks=True, looks=1)
    its.stream.check()
    its.wait(0.4)
    its.stream.check()
    its.wait(0.4)
    with pytest.raises(DeviceError, match="silent"):
        its.stream.check()


def test_a_machine_that_slept_is_no_device_that_stalled(
    watched: Callable[..., Watched],
) -> None:
    its = watched()
    its.wait(1, callbacks=True)
    its.wait(3600, looks=1)
    its.stream.check()
    its.wait(0.2, callbacks=True)
    its.stream.check()


def test_a_device_of_long_latency_may_be_silent_for_longer(
    watched: Callable[..., Watched],
) -> None:
    its = watched(latency=3.0)
    its.wait(1, callbacks=True)
    its.wait(2.9)
    its.stream.check()
    its.wait(0.4)
    with pytest.raises(DeviceError, match="silent"):
        its.stream.check()


def test_a_stream_that_is_stopped_or_has_ended_is_not_silent(
    watched: Callable[..., Watched],
) -> None:
    its = watched()
    its.stream.stop()
    its.wait(100)
    its.stream.check()
    its.stream.start()
    its.wait(0.4)  # counted from the start
    its.stream.check()
    ended = watched(Capture)
    ended.stream.record[0]["ended"] = 1
    ended.wait(100)
    ended.stream.check()


def test_a_device_that_ends_by_itself_is_noticed(watched: Callable[..., Watched]) -> None:
    its = watched()
    its.stream.device.living = False  # type: ignore[union-attr]
    its.wait(0.1, looks=1)
    assert its.stream.failure is not None
    with pytest.raises(DeviceError, match=r"ended the stream by itself.*close this output"):
        its.stream.check()


def test_a_writer_is_released_when_its_device_stalls() -> None:
    device = FakeDevice()
    output = AudioOutput(48000, 1, device=device).open_blocking()
    try:
        sample = added(output)
        writer = blocked_writer(output, sample, bytes(60_000))
        output.engine.fail("the device has been silent for 1.0 s")
        with pytest.raises(DeviceError, match="silent"):
            writer.finish()
    finally:
        device.living = False  # no fade to wait for
        output.close()


# ---------------------------------------------------------------------- the watchdog's own part


class Looked:
    """A stream that notes whether it was looked at, and hangs when it is closed."""

    def __init__(self) -> None:
        self.looked = threading.Event()
        self.release = threading.Event()
        self.look_for_life = self.looked.set
        self.let_go = self.release.set

    def close(self) -> None:
        self.release.wait(LIMIT)


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Watchdog:
    """A watchdog that this process does not use."""
    monkeypatch.setattr(watchdog.atexit, "register", lambda *_: None)
    monkeypatch.setattr(watchdog.os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(watchdog, "HOST", SimpleNamespace(shutdown=lambda limit: None))
    return Watchdog()


def test_the_watch_looks_at_every_open_stream(
    life: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOOK", 0.001)
    streams: list[Any] = [Looked(), Looked()]
    for stream in streams:
        life.add(stream)
    for stream in streams:
        assert stream.looked.wait(LIMIT)
        life.remove(stream, keep=False)
    assert life.open_streams() == []


def test_the_watch_ends_with_the_last_stream(life: Watchdog) -> None:
    streams: list[Any] = [Looked(), Looked()]
    for stream in streams:
        life.add(stream)
    watch = life._thread
    assert watch is not None
    life.remove(streams[0], keep=False)
    assert watch.is_alive()
    life.remove(streams[1], keep=False)
    watch.join(LIMIT)
    assert not watch.is_alive()


def test_the_watch_looks_at_a_stream_that_opens_just_when_the_last_one_closes(
    life: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOOK", 0.001)
    last: Any = Looked()
    busy = threading.Event()
    last.look_for_life = lambda: (busy.set(), last.release.wait(LIMIT))
    life.add(last)
    assert busy.wait(LIMIT)
    life.remove(last, keep=False)  # the watchdog may go, but is still at it
    following: Any = Looked()
    life.add(following)
    last.release.set()
    assert following.looked.wait(2)
    life.remove(following, keep=False)


def test_a_stream_of_a_device_that_hangs_is_kept() -> None:
    device = FakeDevice()
    device.gone = False
    output = AudioOutput(48000, 1, device=device).open_blocking()
    device.living = False
    output.close()
    output.close()
    assert device.closes == 1
    assert output.engine in WATCHDOG._kept
    WATCHDOG._kept.remove(output.engine)


def test_what_a_device_says_when_it_closes_is_told_once_and_it_is_closed() -> None:
    device = FakeDevice()
    device.refuse = DeviceError("the disk is full")
    microphone = AudioInput(None, device, 48000).open_blocking()
    with pytest.raises(DeviceError, match="the disk is full"):
        microphone.close()
    microphone.close()
    assert microphone.is_closed
    assert microphone.engine not in WATCHDOG.open_streams()


def test_one_device_that_fails_at_the_exit_does_not_keep_others_open() -> None:
    program = """
    from tests.test_lifetime import FakeDevice
    from audiostream import AudioInput
    from audiostream.engine.watchdog import WATCHDOG
    from audiostream.errors import DeviceError
    errors = [DeviceError("full"), OSError(5, "broken"), OSError(5, "broken"), None, None]
    inputs = []
    for error in errors:
        device = FakeDevice()
        device.refuse = error
        inputs.append(AudioInput(None, device, 48000).open_blocking())
    WATCHDOG.at_exit()
    print([input.engine.device.closes for input in inputs])
    """
    ends_well(run(program), "[1, 1, 1, 1, 1]\n")


def test_a_device_that_hangs_does_not_hold_the_exit_up(
    life: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "EXIT_LIMIT", 0.05)
    stream: Any = Looked()
    life.add(stream)
    leaving = threading.Thread(target=life.at_exit, daemon=True)
    leaving.start()
    leaving.join(LIMIT / 2)
    hangs = leaving.is_alive()
    stream.release.set()
    leaving.join(LIMIT)
    life.remove(stream, keep=False)
    assert not hangs


@pytest.mark.parametrize("is_child", [True, False])
def test_a_child_of_multiprocessing_is_told_to_leave_when_it_ends(
    life: Watchdog, monkeypatch: pytest.MonkeyPatch, is_child: bool
) -> None:
    after_fork: list[Any] = []
    at_end: list[Any] = []
    util = SimpleNamespace(
        register_after_fork=lambda *args: after_fork.append(args),
        Finalize=lambda *args, **kwargs: at_end.append((args, kwargs)),
    )
    process = SimpleNamespace(parent_process=lambda: object() if is_child else None)
    monkeypatch.setitem(sys.modules, "multiprocessing.util", util)
    monkeypatch.setitem(sys.modules, "multiprocessing.process", process)
    life._forked()
    ((owner, function),) = after_fork
    function(owner)
    assert at_end == [((None, life.at_exit), {"exitpriority": 0})] * 2 * is_child
    monkeypatch.delitem(sys.modules, "multiprocessing.util")
    life._forked()  # it is not loaded: there is nothing to do
    assert len(after_fork) == 1


def test_what_is_dropped_is_let_go_of_at_once(life: Watchdog) -> None:
    dropped = Looked()
    dropped.let_go = dropped.looked.set
    stream: Any = Looked()
    life.add(stream)
    life.let_go_soon(dropped)
    assert dropped.looked.wait(LIMIT)
    life.remove(stream, keep=False)


def test_a_dropped_stream_that_no_thread_can_close_is_left_to_the_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    device = FakeDevice()
    microphone = AudioInput(None, device, 48000).open_blocking()
    monkeypatch.setattr(watchdog, "in_background", refuse)
    microphone.engine.let_go()
    assert microphone.engine in WATCHDOG.open_streams()
    microphone.close()


def test_playing_goes_on_after_all_that() -> None:
    """What the tests above did to the process's watchdog has done it no harm."""
    device = ManualDevice()
    with AudioOutput(48000, 1, device=device) as output:
        added(output).write(b"\x07\x00")
        assert device.step(2)[:, 0].tolist() == [7, 0]
