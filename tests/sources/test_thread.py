"""The documented generator: in its own thread or on the shared loop, started and stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from audiostream import AudioException, AudioSample
from audiostream.errors import DeviceError, StreamClosedError
from audiostream.sources.thread import ThreadSource
from audiostream.sources.wave import SineSource
from audiostream.testing import ManualDevice
from tests.compat.support import LIMIT, eventually, ramp
from tests.sources.support import OpenOutput, full, played, program, queued, told

LOOP = "audiostream background"


class Threaded(ThreadSource):
    """Counts upwards, in a thread of its own."""

    def __init__(self, stream: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(stream, *args, **kwargs)
        self.made = 0
        self.threads: set[threading.Thread] = set()

    def chunk(self) -> bytes:
        self.threads.add(threading.current_thread())
        self.made += 100
        return ramp(100, self.channels, (self.made - 100) * self.channels).tobytes()

    def get_bytes(self) -> bytes:
        return self.chunk()


class Looped(Threaded):
    """The same on the shared event loop."""

    async def get_bytes(self) -> bytes:
        return self.chunk()


both = pytest.mark.parametrize("kind", [Threaded, Looped])


# ----------------------------------------------------------------------------- what it is


@both
def test_what_it_is(output: OpenOutput, kind: type[Threaded]) -> None:
    stream = output(rate=22050, channels=2, encoding=8, buffersize=512)
    source = kind(stream)
    assert isinstance(source, AudioSample)
    assert source.sample is source
    assert (source.rate, source.channels, source.encoding) == (22050, 2, 8)
    assert source.buffersize == 512
    assert source.daemon
    assert not source.is_alive()
    source.stop()
    source.join()
    assert not source.is_alive()


@both
def test_it_is_heard_bit_for_bit(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(channels=2, buffersize=64)
    source = kind(stream)
    assert not device.step(100).any()  # before the start
    source.start()
    assert source.is_alive()
    heard = played(stream, device, 20000, source)
    assert np.array_equal(heard, ramp(20000, 2))
    source.stop()
    source.join(LIMIT)
    assert not source.is_alive()
    made = source.made
    device.step(5000)
    assert not device.step(1000).any()
    assert source.made == made


def test_where_they_run(output: OpenOutput) -> None:
    stream = output()
    sources = [kind(stream) for kind in (Threaded, Threaded, Looped, Looped)]
    for source in sources:
        source.start()
        eventually(lambda s=source: full(stream, s))
    one, two, three, four = (source.threads for source in sources)
    assert len(one) == len(two) == len(three) == 1
    assert one != two
    assert three == four
    assert [thread.name for thread in three] == [LOOP]
    assert all(thread.daemon for thread in one | two | three)
    for source in sources:
        source.stop()


def test_the_thread_is_as_daemonic_as_asked_for(output: OpenOutput) -> None:
    source = Threaded(output())
    source.daemon = False
    source.start()
    eventually(lambda: source.made)
    (thread,) = source.threads
    source.stop()
    source.join(LIMIT)
    assert not thread.daemon
    assert not thread.is_alive()


@both
def test_arguments_of_the_original_are_taken(output: OpenOutput, kind: type[Threaded]) -> None:
    class Old(kind):  # type: ignore[misc, valid-type]
        def __init__(self, stream: Any, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("chunksize", 64)
            super().__init__(stream, *args, **kwargs)

    stream = output(channels=1)
    source = Old(stream, 1, 2, bufsize=5)
    source.start()
    eventually(lambda: full(stream, source))
    source.stop()


@both
@pytest.mark.parametrize("name", ["position", "block", "sample", "over", "is_cut_off"])
def test_a_subclass_has_its_own_names(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded], name: str
) -> None:
    class Player(kind):  # type: ignore[misc, valid-type]
        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            setattr(self, name, 0)

        def chunk(self) -> bytes | None:
            setattr(self, name, getattr(self, name) + 100)
            return super().chunk() if getattr(self, name) <= 1000 else None

    stream = output(channels=1)
    source = Player(stream)
    with told() as errors:
        source.start()
        source.join(LIMIT)
    assert not source.is_alive()
    assert not errors
    assert np.array_equal(device.step(1000), ramp(1000))
    assert stream.stats.starved == 0


@both
@pytest.mark.parametrize("ahead", [128, 1000])
def test_no_more_than_the_limit_is_made_ahead(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded], ahead: int
) -> None:
    stream = output(buffersize=64)
    source = kind(stream, ahead=ahead)
    for _ in range(2):  # a new start keeps to it
        source.start()
        eventually(lambda: queued(stream, source) == ahead)
        heard = played(stream, device, 4800, source, step=ahead // 2)
        assert heard.all()
        eventually(lambda: source.made >= 4800)
        assert queued(stream, source) <= ahead
        source.stop()
        source.join(LIMIT)
        device.step(4800)


@pytest.mark.parametrize("ahead", ["much", 2.5])
def test_the_limit_is_a_whole_number(output: OpenOutput, ahead: Any) -> None:
    stream = output()
    with pytest.raises(AudioException, match="ahead"):
        ThreadSource(stream, ahead=ahead)
    assert not stream.engine.attached


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "audiostream"]


def test_a_source_without_get_bytes_is_told_of_once(
    output: OpenOutput, caplog: pytest.LogCaptureFixture
) -> None:
    class Misspelt(ThreadSource):
        def get_byte(self) -> bytes:
            return bytes(400)

    source = Misspelt(output())
    assert not warnings_of(caplog)  # it may be given one before it starts
    for _ in range(2):
        source.start()
        source.stop()
        source.join(LIMIT)
    assert len(warnings_of(caplog)) == 1
    assert "Misspelt.get_bytes is not overridden" in caplog.text


@both
def test_a_source_with_get_bytes_is_not_told_of(
    output: OpenOutput, caplog: pytest.LogCaptureFixture, kind: type[Threaded]
) -> None:
    stream = output()
    sources = [kind(stream), SineSource(stream, 440), ThreadSource(stream)]
    sources[2].get_bytes = lambda: None  # type: ignore[method-assign]
    for source in sources:
        source.start()
        source.stop()
        source.join(LIMIT)
    assert not warnings_of(caplog)


def test_the_bare_class_says_nothing(output: OpenOutput, device: ManualDevice) -> None:
    stream = output()
    source = ThreadSource(stream)
    assert source.get_bytes() == b""
    with pytest.raises(NotImplementedError):
        source.next_block()
    source.start()
    assert not device.step(4096).any()
    assert source.is_alive()
    source.stop()
    source.join(LIMIT)
    assert not source.is_alive()


# ------------------------------------------------------------------------ starts and stops


@both
def test_start_is_idempotent_and_works_again(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(channels=1)
    source = kind(stream)
    for _ in range(3):
        before = source.made
        source.start()
        source.start()
        eventually(lambda: full(stream, source))
        heard = device.step(1000)
        assert np.array_equal(heard, ramp(1000, 1, before))  # one generator, nothing stale
        source.stop()
        source.stop()
        source.join(LIMIT)
        device.step(2048)
        assert not device.step(1024).any()


def test_started_by_two_threads_at_once_it_runs_once(
    output: OpenOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Threaded(output(channels=1))
    inside, go = threading.Event(), threading.Event()
    play = source.play

    def slow() -> None:
        inside.set()
        assert go.wait(LIMIT)
        play()

    monkeypatch.setattr(source, "play", slow)
    first, second = (threading.Thread(target=source.start) for _ in range(2))
    first.start()
    assert inside.wait(LIMIT)
    second.start()  # in the middle of the other's start
    go.set()
    first.join(LIMIT)
    second.join(LIMIT)
    eventually(lambda: source.made >= 1000)
    assert len(source.threads) == 1
    source.stop()
    source.join(LIMIT)
    assert not source.is_alive()
    assert not any(thread.is_alive() for thread in source.threads)


@both
def test_stop_ends_one_that_is_blocked_in_write(
    output: OpenOutput, kind: type[Threaded]
) -> None:
    stream = output()
    source = kind(stream)
    source.start()
    eventually(lambda: full(stream, source))
    source.stop()  # and nothing is stepped
    source.join(LIMIT)
    assert not source.is_alive()


@both
def test_stop_ends_one_that_has_nothing_to_say(
    output: OpenOutput, kind: type[Threaded]
) -> None:
    class Silent(kind):  # type: ignore[misc, valid-type]
        def chunk(self) -> bytes:
            self.made += 1
            return b""

    stream = output(rate=1000, buffersize=40000)  # asked again after 40 seconds
    source = Silent(stream)
    source.start()
    eventually(lambda: source.made)
    source.stop()
    source.join(LIMIT)
    assert not source.is_alive()
    assert source.made == 1


def test_what_get_bytes_answers_after_a_stop_is_not_heard(
    output: OpenOutput, device: ManualDevice
) -> None:
    begun, go = threading.Event(), threading.Event()

    class Slow(ThreadSource):
        def get_bytes(self) -> bytes:
            begun.set()
            assert go.wait(LIMIT)
            return ramp(500).tobytes()

    stream = output(channels=1)
    source = Slow(stream)
    source.start()
    assert begun.wait(LIMIT)
    source.stop()
    assert source.is_alive()
    source.join(0)
    go.set()
    source.join(LIMIT)
    assert not source.is_alive()
    source.play()
    assert not device.step(2000).any()


@both
def test_it_may_stop_itself(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    class Short(kind):  # type: ignore[misc, valid-type]
        def chunk(self) -> bytes:
            if self.made == 1000:
                self.stop()
                return b""
            return super().chunk()

    source = Short(output())
    with told() as errors:
        source.start()
        source.join(LIMIT)
    assert not source.is_alive()
    assert not errors


@both
def test_none_ends_it(output: OpenOutput, device: ManualDevice, kind: type[Threaded]) -> None:
    class Ending(kind):  # type: ignore[misc, valid-type]
        def chunk(self) -> Any:
            return super().chunk() if self.made < 300 else None

    stream = output(channels=1)
    source = Ending(stream)
    source.start()
    source.join(LIMIT)
    assert not source.is_alive()
    assert np.array_equal(device.step(300), ramp(300))
    device.step(2000)
    assert stream.stats.starved == 0


# -------------------------------------------------------------------------------- errors


@both
@pytest.mark.parametrize("error", [ZeroDivisionError, AudioException, StreamClosedError])
def test_one_that_raises_is_told_of_once_and_others_play_on(
    output: OpenOutput,
    device: ManualDevice,
    kind: type[Threaded],
    error: type[Exception],
) -> None:
    class Failing(kind):  # type: ignore[misc, valid-type]
        def chunk(self) -> bytes:
            if self.made == 300:
                raise error("broken")
            return super().chunk()

    stream = output(channels=1, buffersize=64)
    good = kind(stream)
    good.start()
    with told() as errors:
        bad = Failing(stream)
        bad.start()
        bad.join(LIMIT)
        assert not bad.is_alive()
    assert [type(each) for each in errors] == [error]
    heard = played(stream, device, 4800, good)
    # What was made before is still heard.
    assert np.array_equal(heard[300:], ramp(4800)[300:])
    assert np.array_equal(heard[:300], 2 * ramp(300))
    assert stream.stats.starved == 0
    assert good.is_alive()
    good.stop()


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_an_exit_in_one_does_not_end_the_loop(
    output: OpenOutput, device: ManualDevice, error: type[BaseException]
) -> None:
    class Leaving(Looped):
        async def get_bytes(self) -> bytes:
            raise error

    stream = output(channels=1)
    good = Looped(stream)
    good.start()
    with told() as errors:
        bad = Leaving(stream)
        bad.start()
        bad.join(LIMIT)
        assert not bad.is_alive()
    assert [type(each) for each in errors] == [error]
    assert np.array_equal(played(stream, device, 20000, good), ramp(20000))
    good.stop()


def test_one_on_the_loop_starts_and_restarts_others_and_itself(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    good = Looped(stream)

    class First(Looped):
        async def get_bytes(self) -> bytes | None:
            if self.made < 1000:
                return self.chunk()
            good.start()
            again.start()
            again.stop()  # before it has begun
            return None

    again = Looped(stream)
    first = First(stream)
    with told() as errors:
        first.start()
        first.join(LIMIT)
        again.join(LIMIT)
    assert not first.is_alive()
    assert not again.is_alive()
    assert not again.made
    assert not errors
    eventually(lambda: full(stream, good))
    assert np.array_equal(device.step(1000), 2 * ramp(1000))
    good.stop()


def test_one_on_the_loop_cannot_be_waited_for_there(output: OpenOutput) -> None:
    class Waiting(Looped):
        async def get_bytes(self) -> None:
            self.join()

    source = Waiting(output())
    with told() as errors:
        source.start()
        source.join(LIMIT)
    assert not source.is_alive()
    assert [type(error) for error in errors] == [RuntimeError]


def test_one_on_the_loop_is_started_from_trio(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(channels=1)
    source = Looped(stream)

    async def start() -> None:
        source.start()

    with told() as errors:
        trio.run(start)
        assert np.array_equal(played(stream, device, 20000, source), ramp(20000))
    assert not errors
    source.stop()


@both
def test_what_cannot_be_written_is_told_of(output: OpenOutput, kind: type[Threaded]) -> None:
    class Wrong(kind):  # type: ignore[misc, valid-type]
        def chunk(self) -> Any:
            return "words"

    with told() as errors:
        source = Wrong(output())
        source.start()
        source.join(LIMIT)
    assert [type(each) for each in errors] == [TypeError]


# ---------------------------------------------------------------------- outputs that change


@both
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("end", ["close", "remove"])
def test_an_output_that_closes_or_a_removal_ends_it_silently(
    output: OpenOutput, kind: type[Threaded], silent: bool, end: str
) -> None:
    class Source(kind):  # type: ignore[misc, valid-type]
        def chunk(self) -> bytes:
            made = super().chunk()
            return b"" if silent else made

    stream = output(buffersize=64)
    source = Source(stream)
    with told() as errors:
        source.start()
        eventually(lambda: source.made)
        if end == "close":
            stream.close()
        else:
            stream.remove_sample(source)
        source.join(LIMIT)
        assert not source.is_alive()
        source.stop()
    assert not errors
    with pytest.raises(AudioException):
        source.start()


@both
def test_removed_and_added_again(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(channels=1, buffersize=64)
    source = kind(stream, ahead=256)
    for _ in range(20):
        at = source.made
        stream.add_sample(source)
        stream.add_sample(source)
        source.start()
        assert np.array_equal(played(stream, device, 256, source, step=128), ramp(256, 1, at))
        stream.remove_sample(source)
        source.join(LIMIT)
        assert not stream.engine.attached
        device.step(1000)
    stream.add_sample(source)
    assert len(stream.engine.attached) == 1
    del source
    gc.collect()
    eventually(lambda: not stream.engine.attached)


@both
def test_a_device_that_dies_is_told_of(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(buffersize=64)
    source = kind(stream)
    source.start()
    eventually(lambda: full(stream, source))
    with told() as errors:
        device.fault("die")
        source.join(LIMIT)
        assert not source.is_alive()
    assert [type(error) for error in errors] == [DeviceError]
    with pytest.raises(DeviceError):
        source.start()


class Silent(ThreadSource):
    """Has nothing to say, and is asked again."""

    def get_bytes(self) -> bytes:
        return b""


class SilentLooped(Silent):
    async def get_bytes(self) -> bytes:  # type: ignore[override]
        return b""


@pytest.mark.parametrize("kind", [Silent, SilentLooped])
def test_one_that_says_nothing_is_told_that_its_device_is_gone(
    output: OpenOutput, device: ManualDevice, kind: type[ThreadSource]
) -> None:
    source = kind(output(buffersize=64))
    source.start()
    with told() as errors:
        device.fault("die")
        source.join(LIMIT)
        assert not source.is_alive()
    assert [type(error) for error in errors] == [DeviceError]
    source.stop()  # which only cleans up


@both
def test_what_was_made_is_heard_though_the_source_is_dropped(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    class Short(kind):  # type: ignore[valid-type, misc]
        def chunk(self) -> Any:
            return super().chunk() if self.made < 300 else None

    stream = output(channels=1, buffersize=64)
    source = Short(stream)
    source.start()
    source.join(LIMIT)
    del source
    gc.collect()
    assert device.step(400)[:, 0].tolist() == [*ramp(300)[:, 0].tolist(), *[0] * 100]
    eventually(lambda: not stream.engine.attached)


# -------------------------------------------------------------------------------- no leaks


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@both
def test_a_thousand_starts_and_stops_leak_nothing(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(buffersize=64)
    source = kind(stream, ahead=128)

    source.start()
    eventually(lambda: full(stream, source))
    source.stop()
    source.join(LIMIT)
    device.step(256)
    threads, files = threading.active_count(), descriptors()
    for _ in range(1000):
        source.start()
        source.stop()
        source.join(LIMIT)
        device.step(1)
    assert not source.is_alive()
    assert threading.active_count() <= threads  # some of other tests may have ended
    assert descriptors() <= files
    assert list(stream.engine.attached.values()) == [source._voice]


@both
def test_a_thousand_sources_made_and_dropped_leak_nothing(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(buffersize=64, voices=8)
    kept = kind(stream)
    kept.start()
    eventually(lambda: full(stream, kept))
    threads, files = threading.active_count(), descriptors()
    gc.disable()  # a voice comes back at once, not when the collector comes by
    try:
        for number in range(1000):
            source = kind(stream)
            if number % 2:
                source.start()
                source.stop()
                source.join(LIMIT)
            del source
            # The thread or task lets go of it a little after its end.
            eventually(lambda: len(stream.engine.attached) == 1)
            device.step(256 if not number % 4 else 0)
    finally:
        gc.enable()
    assert threading.active_count() <= threads  # some of other tests may have ended
    assert descriptors() <= files + 16  # wake-ups of voices that fade out
    kept.stop()


@both
def test_one_that_plays_is_kept(
    output: OpenOutput, device: ManualDevice, kind: type[Threaded]
) -> None:
    stream = output(channels=1, buffersize=64)
    kind(stream).start()
    gc.collect()
    (voice,) = stream.engine.attached.values()
    for at in range(0, 20000, 480):
        eventually(lambda: voice.counts().buffered >= 480)
        assert np.array_equal(device.step(480), ramp(480, 1, at))


# ------------------------------------------------------------------------------- programs


PLAYING = """
    import sys
    from audiostream import get_output
    from audiostream.sources.puredata import PatchSource
    from audiostream.sources.thread import ThreadSource
    from audiostream.sources.wave import SineSource

    class Threaded(ThreadSource):
        def get_bytes(self):
            return bytes(256)

    class Looped(ThreadSource):
        async def get_bytes(self):
            return bytes(256)

    class Idle(ThreadSource):
        def get_bytes(self):
            return b""

    output = get_output(device="null", buffersize=256)
    kinds = {
        "thread": Threaded,
        "loop": Looped,
        "idle": Idle,
        "sine": lambda output: SineSource(output, 440),
        "patch": lambda output: PatchSource(output, sys.argv[2], carrier="cypd"),
    }
    sources = [kinds[name](output) for name in sys.argv[1].split()]
    for source in sources:
        source.start()
    while output.stats.frames < 2048:
        pass
    print(all(source.is_alive() for source in sources))
"""


@pytest.mark.parametrize(
    "kinds", ["thread", "loop", "idle", "sine", "patch", "thread loop sine patch idle"]
)
def test_leaving_with_sources_that_play_is_clean_and_silent(tmp_path: Path, kinds: str) -> None:
    if "patch" in kinds:
        pytest.importorskip("cypd", reason="patches are played on the libpd in cypd")
    patch = Path(__file__).parent.parent / "libpd" / "patches" / "sine.pd"
    assert program(PLAYING, kinds, str(patch), cwd=tmp_path) == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_forked_child_starts_sources_of_its_own(tmp_path: Path) -> None:
    text = """
        import os, sys, time
        import numpy as np
        from audiostream import get_output
        from audiostream.sources.thread import ThreadSource
        from audiostream.sources.wave import SineSource
        from audiostream.testing import ManualDevice

        class Ones(ThreadSource):
            def get_bytes(self):
                return np.ones(256, np.int16)

        def heard(kind, *arguments):
            device = ManualDevice()
            output = get_output(device=device, channels=1)
            source = kind(output, *arguments)
            source.start()
            while not device.step(64).any():
                time.sleep(0.001)
            return output, source

        ours = [heard(SineSource, 440)]
        ours[0][0].close()
        ours = [heard(SineSource, 440)]
        child = os.fork()
        if not child:
            ours.append(heard(SineSource, 440))
            ours[1][0].close()
            heard(Ones)
            sys.exit(7)  # with its exit handlers, and a source that plays
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ours[0][1].is_alive())
        """
    assert program(text, cwd=tmp_path) == "7 True\n"


def test_a_program_of_the_documented_kind_plays_an_array(tmp_path: Path) -> None:
    """A subclass that slices an array, polled until its cursor is at the end."""
    text = """
        import time
        import numpy
        from audiostream import get_output
        from audiostream.sources.thread import ThreadSource

        class ArraySource(ThreadSource):
            def __init__(self, stream, data, *args, **kwargs):
                super().__init__(stream, *args, **kwargs)
                self.chunksize = kwargs.get("chunksize", 64)
                self.data = data
                self.cursor = 0

            def get_bytes(self):
                chunk = self.data[self.cursor : self.cursor + self.chunksize]
                self.cursor += self.chunksize
                return (chunk * 32767).astype("int16").tobytes()

        data = (numpy.arange(1, 30001) / 32767).astype("float32")
        stream = get_output(channels=1, rate=22050, buffersize=128, device="file:heard.wav")
        source = ArraySource(stream, data, chunksize=200)
        source.start()
        while source.cursor < len(data):
            time.sleep(0.01)
        source.stop()
        stream.close()
        print(source.cursor >= len(data))
        """
    import soundfile

    assert program(text, cwd=tmp_path) == "True\n"
    heard, rate = soundfile.read(tmp_path / "heard.wav", dtype="int16")
    data = (np.arange(1, 30001) / 32767).astype(np.float32)
    assert rate == 22050
    expected = (data * 32767).astype(np.int16)
    expected = expected[expected != 0]
    # It stops when all is made: what was on the ring, 8,192 frames at most, is cut off, as it
    # always was, behind a fade of 5 ms; and the file is faded when the output closes.
    heard = heard[heard != 0][:-300]
    assert len(heard) > 30000 - 8192 - 1000
    assert np.array_equal(heard, expected[: len(heard)])
