"""The documented sample: what is written is played, and write() waits for room."""

from __future__ import annotations

import array
import itertools
import os
import random
import resource
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiostream import AudioException, AudioOutput, AudioSample, get_output
from audiostream.compat import sample as sample_module
from audiostream.engine import wakeup as wakeup_module
from audiostream.engine.ring_writer import RingWriter
from audiostream.engine.voice import Voice
from audiostream.engine.wakeup import Wakeup
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import DeviceError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.compat.support import (
    LIMIT,
    Writer,
    added,
    blocked_writer,
    eventually,
    noise,
    not_silent,
    ramp,
    voice_of,
)

ROOT = Path(__file__).resolve().parent.parent.parent
RING = 16384

OpenOutput = Callable[..., AudioOutput]


# ---------------------------------------------------------------------------- what is heard


@pytest.mark.parametrize("encoding", [8, 16, 32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_bytes_are_heard_bit_for_bit(
    output: OpenOutput, device: ManualDevice, encoding: int, channels: int
) -> None:
    data = noise(1000, channels, encoding)
    added(output(encoding=encoding, channels=channels, buffersize=100)).write(data.tobytes())
    played = device.step(1100)
    assert played.dtype == data.dtype
    np.testing.assert_array_equal(played[:1000], data)
    assert not played[1000:].any()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.binary(min_size=1, max_size=600),
    cuts=st.lists(st.integers(0, 600), max_size=20),
    encoding=st.sampled_from([8, 16]),
    channels=st.integers(1, 3),
)
def test_chunks_of_any_length_are_one_stream(
    data: bytes, cuts: list[int], encoding: int, channels: int
) -> None:
    device = ManualDevice(buffersize=32)
    with get_output(encoding=encoding, channels=channels, device=device) as stream:
        sample = added(stream)
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in itertools.pairwise(edges):
            sample.write(data[start:end])
        played = device.step(610).tobytes()
    whole = len(data) // (channels * encoding // 8) * (channels * encoding // 8)
    assert played[:whole] == data[:whole]
    assert not any(played[whole:])


def test_a_partial_frame_waits_for_its_other_bytes(
    output: OpenOutput, device: ManualDevice
) -> None:
    sample = added(output(channels=2))
    frames = ramp(3, 2)
    data = frames.tobytes()
    sample.write(data[:3])
    assert not device.step(100).any()
    sample.write(data[3:7])
    assert device.step(2).tolist() == [frames[0].tolist(), [0, 0]]
    sample.write(b"")
    sample.write(data[7:])
    assert device.step(3).tolist() == [*frames[1:].tolist(), [0, 0]]


def test_what_is_written_before_play_is_queued(
    output: OpenOutput, device: ManualDevice
) -> None:
    sample = added(output(channels=1), play=False)
    sample.write(ramp(30).tobytes())
    assert not device.step(1000).any()
    sample.write(ramp(20, start=30).tobytes())
    sample.play()
    sample.play()
    assert device.step(50).tolist() == ramp(50).tolist()


def test_too_few_bytes_are_filled_with_silence(
    output: OpenOutput, device: ManualDevice
) -> None:
    sample = added(output(channels=1, buffersize=64))
    for start in (0, 10, 20):
        sample.write(ramp(10, start=start).tobytes())
        played = device.step(64)
        assert played[:10].tolist() == ramp(10, start=start).tolist()
        assert played[10:].tobytes() == b"\x00" * 2 * 54


def test_long_streams_in_chunks_of_random_lengths_have_no_gap_or_repetition(
    output: OpenOutput, device: ManualDevice
) -> None:
    sample = added(output(channels=2, buffersize=128))
    data = noise(30_000, 2, 16)
    raw = data.tobytes()
    dice = random.Random(7)
    chunks = []
    while raw:
        size = dice.choice([1, 2, 3, 5, 511, 4096, 20_001])
        chunks.append(raw[:size])
        raw = raw[size:]
    writer = Writer(sample, *chunks)
    heard: list[np.ndarray] = []
    # Whether the writer keeps up is the scheduler's business: silence may come between.
    eventually(
        lambda: heard.append(not_silent(device.step(128))) or sum(map(len, heard)) >= len(data)
    )
    writer.finish()
    np.testing.assert_array_equal(np.concatenate(heard), data)


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda raw: array.array("h", raw),
        lambda raw: memoryview(array.array("h", raw)),
        lambda raw: memoryview(b"".join(bytes([b, 99]) for b in raw))[::2],
        lambda raw: np.frombuffer(raw, np.int16),
        lambda raw: np.frombuffer(raw, np.int16).reshape(-1, 1),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "array",
        "memoryview of shorts",
        "strided memoryview",
        "ndarray",
        "ndarray (frames, 1)",
    ],
)
def test_everything_bytes_like_is_taken(
    output: OpenOutput, device: ManualDevice, wrap: Callable[[bytes], Any]
) -> None:
    sample = added(output(channels=1))
    sample.write(wrap(ramp(40).tobytes()))
    assert device.step(40).tolist() == ramp(40).tolist()


@pytest.mark.parametrize(
    "nothing",
    [b"", bytearray(), memoryview(b""), memoryview(np.zeros((0, 2), np.int16))],
    ids=["bytes", "bytearray", "memoryview", "memoryview (0, 2)"],
)
def test_no_bytes_at_all_are_taken_too(output: OpenOutput, nothing: Any) -> None:
    added(output()).write(nothing)


@pytest.mark.parametrize(
    "thing", ["text", "", 5, 1.5, None, [1, 2], {1: 2}, object()], ids=lambda t: repr(t)[:12]
)
def test_what_is_not_bytes_raises_type_error(
    output: OpenOutput, device: ManualDevice, thing: Any
) -> None:
    sample = added(output(channels=1))
    sample.write(ramp(4).tobytes())
    with pytest.raises(TypeError, match=r"bytes.*try"):
        sample.write(thing)
    sample.write(ramp(4, start=4).tobytes())
    assert device.step(8).tolist() == ramp(8).tolist()


def test_a_sample_on_no_output_says_so() -> None:
    sample = AudioSample()
    for use in (lambda: sample.write(b"\0\0"), sample.play):
        with pytest.raises(AudioException, match="add_sample"):
            use()
    sample.stop()


def test_a_subclass_need_not_call_the_constructor(
    output: OpenOutput, device: ManualDevice
) -> None:
    class Old(AudioSample):
        def __init__(self, stream: AudioOutput, pitch: int) -> None:
            self.pitch = pitch

    sample = Old(output(channels=1), pitch=3)
    with pytest.raises(AudioException, match="add_sample"):
        sample.write(b"12")
    (stream,) = [s for s in WATCHDOG.open_streams() if s.direction == "output"]
    assert not stream.attached


# --------------------------------------------------------------------------------- the ring


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_the_ring_holds_16384_bytes_at_any_rate(output: OpenOutput, rate: int) -> None:
    stream = output(rate=rate, channels=2, buffersize=64)
    sample = added(stream, play=False)
    Writer(sample, bytes(RING)).finish()
    assert voice_of(stream).writer.room() == 0


@pytest.mark.parametrize(
    ("encoding", "channels", "buffersize", "frames"),
    [
        (8, 1, 64, 16384),
        (16, 1, 64, 8192),
        (16, 2, 1024, 4096),
        (32, 2, 1024, 2048),
        (32, 2, 1025, 2050),  # two buffers are more
        (16, 2, 8192, 16384),
        (16, 64, 1024, 2048),
    ],
)
def test_the_ring_holds_16384_bytes_or_two_buffers(
    output: OpenOutput,
    device: ManualDevice,
    encoding: int,
    channels: int,
    buffersize: int,
    frames: int,
) -> None:
    stream = output(encoding=encoding, channels=channels, buffersize=buffersize)
    sample = added(stream, play=False)
    data = noise(frames + 1, channels, encoding)
    Writer(sample, data[:frames].tobytes()).finish()
    writer = blocked_writer(stream, sample, data[frames:].tobytes())
    device.step(buffersize)
    assert writer.is_alive()  # nothing plays: no room comes of it
    sample.play()
    played = device.step(frames)
    writer.finish()
    np.testing.assert_array_equal(np.concatenate((played, device.step(1))), data[: frames + 1])


@pytest.mark.parametrize(
    ("rate", "device_rate"), [(22050, 48000), (44100, 48000), (48000, 44100), (96000, 8000)]
)
def test_the_ring_holds_as_much_where_a_device_makes_it_convert(
    output: OpenOutput, rate: int, device_rate: int
) -> None:
    # A program may well fill the ring before it calls play(): that must not hang.
    stream = output(rate=rate, channels=2, device=ManualDevice(rate=device_rate))
    sample = added(stream, play=False)
    Writer(sample, bytes(RING)).finish()


# ----------------------------------------------------------------------------- write() waits


def test_write_blocks_until_there_is_room(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(channels=1, buffersize=256)
    sample = added(stream)
    data = ramp(RING // 2 + 3000)
    writer = blocked_writer(stream, sample, data.tobytes())
    heard = []
    for _ in range(3000 // 256):
        heard.append(device.step(256))
        assert writer.is_alive()  # there is not yet room for the last of it
    heard.append(device.step(256))
    writer.finish()
    heard.append(device.step(RING // 2))
    np.testing.assert_array_equal(np.concatenate(heard)[: len(data)], data)


@pytest.mark.parametrize("device_rate", [44100, 48000])
def test_a_writer_that_is_held_up_until_all_is_played_goes_on(
    output: OpenOutput, monkeypatch: pytest.MonkeyPatch, device_rate: int
) -> None:
    """Held up between finding the ring full and saying what room it waits for.

    Other threads keep the interpreter, or the machine sleeps; the ring runs dry meanwhile.
    """
    device = ManualDevice(rate=device_rate)
    sample = added(output(channels=1, device=device))
    wants_room = RingWriter.wants_room
    drained = []

    def late(writer: RingWriter, frames: int) -> int:
        drained.append(device.step(20_000))
        return wants_room(writer, frames)

    monkeypatch.setattr(RingWriter, "wants_room", late)
    Writer(sample, bytes(3 * RING)).finish()
    assert drained  # it did have to wait


def test_a_thread_that_waits_in_write_holds_no_lock(
    output: OpenOutput, device: ManualDevice
) -> None:
    """The main thread waits in write(); the interpreter goes on stepping in another."""
    stream = output(channels=1)
    sample = added(stream)
    over = threading.Event()

    def step() -> None:
        while not over.is_set():
            device.step(1024)

    stepping = threading.Thread(target=step, daemon=True)
    stepping.start()
    try:
        sample.write(bytes(20 * RING))
    finally:
        over.set()
        stepping.join(LIMIT)
    assert stream.stats.frames >= 19 * RING // 2


def test_a_thread_that_waits_in_write_neither_spins_nor_polls(output: OpenOutput) -> None:
    stream = output(channels=1)
    sample = added(stream, play=False)
    writer = blocked_writer(stream, sample, bytes(2 * RING))
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        sum(range(1000))
    sample.stop()
    writer.finish()
    assert writer.cpu < 0.1
    assert writer.switches < 50  # a timer of 1 ms would be at 300


def test_a_writer_waits_on_descriptors_beyond_1024(
    output: OpenOutput, device: ManualDevice
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1300 and hard != resource.RLIM_INFINITY:
        pytest.skip(f"this process may have {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1300), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1100:
            held.append(os.dup(0))
        stream = output(channels=1)
        sample = added(stream)
        writer = blocked_writer(stream, sample, bytes(RING + 512))
        device.step(8192)
        writer.finish()
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_chunks_of_two_threads_do_not_interleave(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    frames = 3 * RING
    first = blocked_writer(stream, sample, np.full(frames, 1, np.int16).tobytes())
    second = Writer(sample, np.full(frames, 2, np.int16).tobytes())
    heard: list[np.ndarray] = []
    eventually(
        lambda: heard.append(not_silent(device.step(512))) or sum(map(len, heard)) >= 2 * frames
    )
    first.finish()
    second.finish()
    values = np.concatenate(heard)[:, 0].tolist()
    assert values == [1] * frames + [2] * frames


# ------------------------------------------------------------------------ releasing a writer


@pytest.mark.parametrize("playing", [True, False], ids=["playing", "not playing"])
@pytest.mark.parametrize("how", ["stop", "remove_sample"])
def test_a_blocked_writer_is_released(
    output: OpenOutput, device: ManualDevice, how: str, playing: bool
) -> None:
    stream = output(channels=1, buffersize=256)
    sample = added(stream, play=playing)
    writer = blocked_writer(stream, sample, ramp(30_000).tobytes())
    if how == "stop":
        sample.stop()
    else:
        stream.remove_sample(sample)
    writer.finish()
    # What was queued is gone, and what the writer had left too: a fade of 5 ms at the most.
    device.step(221)
    assert not device.step(1000).any()
    stream.add_sample(sample)
    sample.play()
    sample.write(ramp(10, start=700).tobytes())
    assert device.step(12).tolist() == [*ramp(10, start=700).tolist(), [0], [0]]


def test_close_releases_a_blocked_writer(output: OpenOutput) -> None:
    stream = output(channels=1)
    sample = added(stream)
    writer = blocked_writer(stream, sample, bytes(3 * RING))
    stream.close()
    writer.join(LIMIT)
    assert not writer.is_alive()


def delay_hearing(monkeypatch: pytest.MonkeyPatch, held: threading.Event) -> None:
    """Have woken writers pause before they go on, as on a machine that is busy."""
    clear = Wakeup.clear

    def late(wakeup: Wakeup) -> None:
        held.wait(LIMIT)
        clear(wakeup)

    monkeypatch.setattr(Wakeup, "clear", late)


def test_what_close_does_to_a_blocked_writer_is_no_race(
    output: OpenOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for writer_is_quick in (True, False):
        stream = output(channels=1)
        writer = blocked_writer(stream, added(stream), bytes(3 * RING))
        held = threading.Event()
        with monkeypatch.context() as patch:
            if writer_is_quick:  # it is through before close() goes on
                remove = WATCHDOG.remove
                patch.setattr(
                    WATCHDOG,
                    "remove",
                    lambda *a, writer=writer, remove=remove, **k: (
                        writer.join(1),
                        remove(*a, **k),
                    ),
                )
            else:  # it goes on only after close()
                delay_hearing(patch, held)
            stream.close()
            held.set()
            writer.join(LIMIT)
        assert not writer.is_alive()
        outcomes.append(type(writer.error))
    assert outcomes[0] is outcomes[1]


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="wake-ups are pipes here")
def test_a_wakeup_is_not_closed_under_a_writer_that_is_about_to_listen(
    output: OpenOutput, device: ManualDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would be somebody else's by the time, and the writer would hang."""
    stream = output(channels=1, voices=1)
    sample = added(stream)
    late = threading.Event()

    class LatePoll:
        def __init__(self) -> None:
            self._poll = select.poll()
            self.register = self._poll.register

        def poll(self, timeout: float) -> object:
            late.wait(LIMIT)
            return self._poll.poll(timeout)

    monkeypatch.setattr(
        wakeup_module, "select", SimpleNamespace(poll=LatePoll, POLLIN=select.POLLIN)
    )
    writer = blocked_writer(stream, sample, bytes(3 * RING))
    stream.remove_sample(sample)
    device.step(2048)  # the fade is over
    added(stream)  # and its slot is given to another
    others = [os.eventfd(0) for _ in range(8)]
    late.set()
    try:
        writer.finish()
    finally:
        for descriptor in others:
            os.eventfd_write(descriptor, 1)
        writer.join(LIMIT)
        for descriptor in others:
            os.close(descriptor)


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_releasing_leaves_no_descriptors_behind(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1, buffersize=256, voices=2)

    def cycle() -> None:
        sample = added(stream)
        writer = blocked_writer(stream, sample, bytes(2 * RING))
        stream.remove_sample(sample)
        writer.finish()
        device.step(512)

    for _ in range(8):
        cycle()
    before = descriptors()
    for _ in range(30):
        cycle()
    assert descriptors() <= before


def test_a_writer_is_told_that_its_device_is_gone(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    writer = blocked_writer(stream, sample, bytes(3 * RING))
    device.fault("die")
    with pytest.raises(DeviceError, match=r"close this output and open another"):
        writer.finish()
    with pytest.raises(DeviceError, match=r"close this output and open another"):
        sample.write(b"12")


def test_an_output_is_closed_after_close_whatever_was_before(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    device.fault("die")
    with pytest.raises(DeviceError):
        sample.write(b"12")
    stream.close()
    with pytest.raises(StreamClosedError, match="this output is closed"):
        sample.write(b"12")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_interrupts_a_write_that_waits() -> None:
    program = textwrap.dedent(
        """
        import os, signal, threading
        import numpy as np
        from audiostream import get_output, AudioSample
        from audiostream.testing import ManualDevice

        device = ManualDevice()
        stream = get_output(channels=1, device=device)
        sample = AudioSample()
        stream.add_sample(sample)
        sample.play()
        caught = threading.Event()

        def press():
            (voice,) = stream.engine.attached.values()
            while voice.writer.room() > 0:
                caught.wait(0.001)
            # Again and again, as people do: one that comes just before the system call
            # has its handler run only after it.
            while not caught.wait(0.05):
                os.kill(os.getpid(), signal.SIGINT)

        pressing = threading.Thread(target=press)
        pressing.start()
        try:
            sample.write(bytes(3 * 16384))
        except KeyboardInterrupt:
            caught.set()
            print("interrupted")
        pressing.join()
        # Nothing is broken: the sample plays on.
        device.step(20_000)
        sample.write(np.arange(1, 6, dtype=np.int16).tobytes())
        print(device.step(6)[:, 0].tolist())
        stream.close()
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "interrupted\n[1, 2, 3, 4, 5, 0]\n"


# ------------------------------------------------------------------------------------ stop


def test_stop_drops_what_is_queued(output: OpenOutput, device: ManualDevice) -> None:
    sample = added(output(rate=8000, channels=1, buffersize=64))
    sample.write(np.full(4000, 8000, np.int16).tobytes())
    device.step(64)
    sample.stop()
    sample.stop()
    fade = device.step(64)[:, 0].astype(int)
    assert 7000 < fade[0] <= 8000
    assert (np.diff(fade) <= 0).all()
    assert fade[40:].tolist() == [0] * 24  # 5 ms are 40 frames
    assert not device.step(500).any()
    sample.write(ramp(20).tobytes())  # queued again
    assert not device.step(100).any()
    sample.play()
    assert device.step(21).tolist() == [*ramp(20).tolist(), [0]]


def test_stop_drops_the_rest_of_a_frame_too(output: OpenOutput, device: ManualDevice) -> None:
    sample = added(output(channels=2))
    sample.write(ramp(2, 2).tobytes()[:5])
    sample.stop()
    device.step(1000)
    sample.play()
    sample.write(ramp(2, 2, start=50).tobytes())
    assert device.step(2).tolist() == ramp(2, 2, start=50).tolist()


def test_stopping_what_never_played_and_playing_again(
    output: OpenOutput, device: ManualDevice
) -> None:
    sample = added(output(channels=1), play=False)
    sample.stop()
    sample.write(ramp(10).tobytes())
    sample.stop()
    sample.play()
    sample.write(ramp(10, start=10).tobytes())
    assert device.step(11).tolist() == [*ramp(10, start=10).tolist(), [0]]


# ------------------------------------------------------------------------------- dropped


def test_one_that_is_dropped_is_heard_and_gives_its_voice_back(
    output: OpenOutput, device: ManualDevice
) -> None:
    """Programs need not keep a reference: it is no mistake, and nothing is told."""
    stream = output(channels=1, voices=4)
    heard = []
    for number in range(1000):
        sample = added(stream)
        sample.write(ramp(10, start=10 * number).tobytes())
        del sample
        heard.append(device.step(16)[:10, 0].tolist())
    assert heard == [ramp(10, start=10 * number)[:, 0].tolist() for number in range(1000)]
    eventually(lambda: not stream.engine.attached)


@pytest.mark.parametrize("state", ["new", "stopped", "removed"])
def test_one_that_is_silent_goes_at_once(
    output: OpenOutput, device: ManualDevice, state: str
) -> None:
    stream = output(channels=1, voices=4)
    for _ in range(100):
        sample = added(stream, play=state != "new")
        sample.write(ramp(1000).tobytes())
        if state == "stopped":
            sample.stop()
        if state == "removed":
            stream.remove_sample(sample)
        del sample
    eventually(lambda: not stream.engine.attached)


def test_one_that_is_added_elsewhere_is_not_given_back_here(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(channels=1)
    sample = added(stream)
    stream.remove_sample(sample)
    stream.add_sample(sample)
    sample.play()
    stream.engine.tidy()
    (voice,) = stream.engine.attached.values()
    assert voice is sample._voice
    assert not voice.is_dropped
    sample.write(ramp(5).tobytes())
    device.step(300)
    assert sample.position == 5


# --------------------------------------------------------- stopping where nothing is left


def test_a_stop_beside_a_close_is_harmless(output: OpenOutput, device: ManualDevice) -> None:
    stream = output(channels=1)
    sample = added(stream)
    device.fault("die")
    for _ in range(2):
        sample.stop()
    stream.close()
    sample.stop()
    stream.remove_sample(sample)
    sample.stop()


# --------------------------------------------------------------------------- silent mistakes


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "audiostream"]


def test_a_write_that_waits_for_a_sample_that_does_not_play_says_so_once(
    output: OpenOutput,
    device: ManualDevice,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Voice] = []
    look = Voice.warn_unless_playing
    monkeypatch.setattr(sample_module, "PATIENCE", 0.001)
    monkeypatch.setattr(
        Voice, "warn_unless_playing", lambda voice: (looks.append(voice), look(voice))
    )
    stream = output(channels=1)
    sample = added(stream, play=False)
    writer = blocked_writer(stream, sample, ramp(10_000).tobytes())
    eventually(lambda: len(looks) > 3)
    (said,) = warnings_of(caplog)
    assert "does not play" in said
    assert "play()" in said
    assert writer.is_alive()  # and goes on waiting
    sample.play()
    heard = [device.step(5000)]
    writer.finish()
    heard.append(device.step(6000))
    np.testing.assert_array_equal(not_silent(np.concatenate(heard)), ramp(10_000))
    sample.stop()
    writer = blocked_writer(stream, sample, bytes(20_000))
    count = len(looks)
    eventually(lambda: len(looks) > count + 3)
    assert len(warnings_of(caplog)) == 1
    stream.remove_sample(sample)
    writer.finish()


def test_a_write_that_waits_for_a_sample_that_plays_says_nothing(
    output: OpenOutput,
    device: ManualDevice,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Voice] = []
    look = Voice.warn_unless_playing
    monkeypatch.setattr(sample_module, "PATIENCE", 0.001)
    monkeypatch.setattr(
        Voice, "warn_unless_playing", lambda voice: (looks.append(voice), look(voice))
    )
    stream = output(channels=1)
    sample = added(stream)
    device.step(16)  # until when it does not play yet
    writer = blocked_writer(stream, sample, ramp(10_000).tobytes())
    eventually(lambda: len(looks) > 3)
    stream.remove_sample(sample)
    writer.finish()
    looks[0].warn_unless_playing()  # of one that is gone
    assert not warnings_of(caplog)
