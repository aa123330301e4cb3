"""A stream's time on hosts whose clocks are of all kinds; virtual time, callbacks by hand.

The callbacks run in their plain form, so that the monotonic clock is the test's own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.engine import stream as stream_module
from audiostream.engine import stream_clock
from audiostream.engine.capture import Capture
from audiostream.engine.monitor import Monitor
from audiostream.engine.output import Output
from audiostream.engine.stream import Stream
from audiostream.engine.watchdog import WATCHDOG
from audiostream.pcm import Format
from audiostream.realtime import callback, input, output
from audiostream.realtime.memory.layout import TIME_INFO

RATE, FRAMES = 8000, 80
PERIOD = FRAMES / RATE
LATENCY = 0.045


@dataclass
class Host(Device):
    """An audio host in virtual time, whose clock and punctuality are what a test makes them.

    `clock` is its clock, of seconds of the monotonic one; `asked` counts the questions for it.
    """

    clock: Callable[[float], float] = lambda monotonic: monotonic + 500.0
    name: str = "host"
    now: float = 1000.0
    asked: int = 0
    frames: int = 0
    streams: list[Any] = field(default_factory=list)

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        stream = HostStream(self, request, callback)
        self.streams.append(stream)
        return stream

    def beat(self, *, now: float, first: float, flags: int = 0) -> None:
        """Call back, at the virtual time; the host tells `now` and its first frame's time."""
        for stream in self.streams:
            stream.call(now, first, flags)

    def play(self, seconds: float) -> None:
        """Call back on time, with exact times."""
        for _ in range(round(seconds / PERIOD)):
            now = self.clock(self.now)
            self.beat(now=now, first=now + LATENCY)
            self.now += PERIOD


class HostStream(DeviceStream):
    """One direction of a host; its callbacks are the kernels' plain form."""

    def __init__(self, host: Host, request: Request, callback: Callback) -> None:
        self.parameters = Parameters(RATE, 1, 16, FRAMES, LATENCY)
        self.started = False
        self._host = host
        self._output = request.direction == "output"
        self._user = callback.user
        self._times = np.zeros(1, TIME_INFO)
        self._block = np.zeros(FRAMES, np.int16)

    def call(self, now: float, first: float, flags: int) -> None:
        if self.started:
            self._times[0] = (first, now, first)
            entry = output.render if self._output else input.capture
            block = int(self._block.ctypes.data)
            where = (0, block) if self._output else (block, 0)
            entry(*where, FRAMES, int(self._times.ctypes.data), flags, self._user)

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.started = False

    def close(self) -> bool:
        self.stop()
        return True

    def alive(self) -> bool:
        return True

    def time(self) -> float:
        self._host.asked += 1
        return self._host.clock(self._host.now)


Open = Callable[..., Stream]


@pytest.fixture
def open_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a stream on a host, and puts everybody on the host's virtual time."""
    streams: list[Stream] = []

    def opened(host: Host, kind: type[Stream] = Output, *, start: bool = True) -> Stream:
        def sleep(seconds: float) -> None:
            host.now += seconds

        def nanoseconds(timespec: int = 0) -> int:
            del timespec
            return round(host.now * 1e9)

        clock = SimpleNamespace(
            monotonic=lambda: host.now, monotonic_ns=nanoseconds, sleep=sleep
        )
        for module in (stream_module, stream_clock):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(callback, "monotonic_ns", nanoseconds)
        # What is played and captured is not looked at, and takes most of the plain form's time.
        for module, work in ((output, "encode"), (input, "convert")):
            monkeypatch.setattr(module, work, lambda *_: None)
            monkeypatch.setattr(module, "measure_block", lambda *_: None)
        stream = kind(Format(RATE, 1, 16), FRAMES, host)
        streams.append(stream)
        stream.open()
        WATCHDOG.remove(stream, keep=False)  # the watchdog must not look at virtual time
        if start:
            stream.start()
        return stream

    yield opened
    for stream in streams:
        stream.close()


# --- hosts of all kinds ------------------------------------------------------------


@dataclass
class Kind:
    """How a host deviates: by how much callbacks come late, and what is said in them.

    Each is a function of the callback's number and of random numbers from 0 to 1;
    `said` turns the true time of the host's clock into what the callback is told.
    """

    late: Callable[[int, float], float] = lambda number, chance: 0.0
    said: Callable[[float, float], float] = lambda true, chance: true
    told_late: bool = True  # the host looks at its clock when it calls, not when it should
    exact_first: bool = False  # the first frame's time is counted, not now and the latency
    speed: float = 1.0  # of its clock
    slow: float = 0.0  # by how much its frames take longer than they should


def wobble(true: float, chance: float) -> float:
    return true + (chance - 0.5) * 2e-3


def coarse(true: float, chance: float) -> float:
    del chance
    return np.floor(true / PERIOD) * PERIOD


def seldom(number: int, chance: float) -> float:
    """In time, but for every tenth callback."""
    return 0.03 if number % 10 == 9 else chance * 1e-4


def bursts(number: int, chance: float) -> float:
    """Four at once, then a pause."""
    return (3 - number % 4) * PERIOD + chance * 1e-4


def mostly(number: int, chance: float) -> float:
    """As beside a thread that keeps the interpreter's lock for its 5 ms."""
    return 5e-3 if number % 4 else chance * 1e-4


KINDS = {
    "exact": Kind(),
    "late": Kind(late=lambda number, chance: chance * PERIOD / 2, exact_first=True),
    "wobbling": Kind(said=wobble),
    "wobbling, counted": Kind(said=wobble, exact_first=True),
    "coarse": Kind(said=coarse, late=lambda number, chance: chance * 2e-3),
    "fast": Kind(speed=1.003, said=wobble),
    "slow": Kind(speed=0.998, slow=3e-4, said=wobble),
    "held up": Kind(late=seldom, told_late=False),
    "bursts": Kind(late=bursts, told_late=False),
    "bursts, counted": Kind(late=bursts, exact_first=True),
    "busy": Kind(late=mostly, told_late=False),
}
"""Late by up to 30 ms, up to 1 ms off to either side, a clock that only moves once in a period
of 10 ms, or runs 3 parts in a thousand faster than the monotonic one, and so on."""


def run(host: Host, kind: Kind, seconds: float) -> Iterator[tuple[int, float]]:
    """Call back for so long; after each callback its first frame and when that is heard."""
    rng = np.random.default_rng(7)
    origin = host.now
    host.clock = lambda monotonic: 1500.0 + (monotonic - origin) * kind.speed
    for number in range(round(seconds / PERIOD)):
        due = origin + number * PERIOD * (1.0 + kind.slow)
        host.now = max(host.now, due + kind.late(number, rng.uniform()))
        now = kind.said(host.clock(host.now if kind.told_late else due), rng.uniform())
        first = host.clock(due + LATENCY) if kind.exact_first else now + LATENCY * kind.speed
        host.beat(now=now, first=first)
        yield number * FRAMES, due + LATENCY


every_kind = pytest.mark.parametrize("name", KINDS)
both = pytest.mark.parametrize("kind", [Output, Capture])


@every_kind
@both
def test_a_frame_is_heard_when_the_clock_says_so(
    open_on: Open, kind: type[Stream], name: str
) -> None:
    """The time of a frame is the stream's at the instant at which it is heard, or captured."""
    host = Host()
    stream = open_on(host, kind)
    off = [
        1e3 * (stream.clock.heard(frame) - stream.clock.from_monotonic(heard))
        for frame, heard in run(host, KINDS[name], 6.0)
        if frame > 3 * RATE
    ]
    print(f"{name}: off by {np.mean(off):.3f} ms, {np.std(off):.3f} from time to time")
    worst = max(map(abs, off))
    assert worst < (0.7 if name == "coarse" else 0.3)


@every_kind
def test_time_moves_on_evenly_and_never_back(open_on: Open, name: str) -> None:
    """Between callbacks, too: it takes no steps of a period, nor of what the host jitters."""
    host = Host()
    stream = open_on(host)
    before = stream.clock.now()
    last = host.now
    off = []
    for frame, heard in run(host, KINDS[name], 6.0):
        until = host.now + PERIOD / 2 if host.now < heard - LATENCY + PERIOD / 2 else host.now
        for instant in np.linspace(host.now, until, 3):
            host.now = instant
            time = stream.clock.now()
            assert time >= before
            if frame > 3 * RATE:
                off.append(time - before - (host.now - last) * KINDS[name].speed)
            before, last = time, host.now
    worst = max(map(abs, off))
    print(f"{name}: steps are off by {1e3 * np.std(off):.4f} ms, {1e3 * worst:.4f} at the most")
    assert worst < 3e-4
    assert host.asked <= 2, "the host is asked no more once callbacks come"


@every_kind
def test_conversions_there_and_back(open_on: Open, name: str) -> None:
    host = Host()
    stream = open_on(host)
    ahead = []
    for frame, _ in run(host, KINDS[name], 6.0):
        if frame > 3 * RATE:
            for far in (-10.0, 0.0, 60.0):
                time = stream.clock.from_monotonic(host.now + far)
                assert stream.clock.to_monotonic(time) == pytest.approx(
                    host.now + far, abs=1e-6
                )
            true = host.clock(host.now)
            ahead.append(1e3 * (stream.clock.from_monotonic(host.now) - true))
            assert abs(stream.clock.to_monotonic(stream.clock.now()) - host.now) < 3e-4
    print(f"{name}: {np.mean(ahead):.3f} ms from the host's clock, {np.std(ahead):.4f} jitter")
    jitter = float(np.std(ahead))
    assert jitter < 0.1
    assert abs(np.mean(ahead)) < 0.5, "also where the clocks' rates differ"


# --- jumps, pauses, silence, hosts without a clock ---------------------------------


def test_a_clock_that_is_set_forward_is_followed(open_on: Open) -> None:
    """As if the machine had slept for a minute, of which the monotonic clock knows nothing."""
    host = Host()
    stream = open_on(host)
    host.play(2.0)
    before = stream.clock.now()
    host.clock = lambda monotonic: monotonic + 560.0
    host.play(0.1)
    assert stream.clock.now() - before == pytest.approx(60.1, abs=1e-3)
    assert stream.clock.now() == pytest.approx(host.clock(host.now), abs=1e-6)
    assert stream.clock.to_monotonic(stream.clock.now()) == pytest.approx(host.now, abs=1e-6)
    assert stream.clock.heard(210 * FRAMES) == pytest.approx(
        stream.clock.now() + LATENCY, abs=1e-6
    )


@both
def test_a_clock_that_is_set_back_goes_on(open_on: Open, kind: type[Stream]) -> None:
    """Time, frames and commands go on as if nothing had been; it does not stand still."""
    host = Host()
    stream = open_on(host, kind)
    host.play(2.0)
    before, begin = stream.clock.now(), host.now
    host.clock = lambda monotonic: monotonic - 999.0
    for number in range(200, 230):
        host.play(PERIOD)
        assert stream.clock.now() - before == pytest.approx(host.now - begin, abs=1e-6)
        heard = host.now - PERIOD + LATENCY
        assert stream.clock.heard(number * FRAMES) == pytest.approx(
            stream.clock.from_monotonic(heard), abs=1e-6
        )
    stream.stop()
    before, begin = stream.clock.now(), host.now
    host.now += 5.0
    assert stream.clock.now() - before == pytest.approx(5.0, abs=1e-6), "the host's, moved on"


def test_a_clock_that_begins_anew_with_every_start_goes_on(open_on: Open) -> None:
    """And which before the first one was anywhere."""
    host = Host(clock=lambda monotonic: 89477.0)
    stream = open_on(host, start=False)
    told = [stream.clock.now()]
    for _ in range(3):
        begin = host.now
        stream.start()
        host.clock = lambda monotonic, begin=begin: monotonic - begin + 0.5
        host.play(1.0)
        told.append(stream.clock.now())
        frame = int(stream.record[0]["frames"])
        assert stream.clock.heard(frame) == pytest.approx(told[-1] + LATENCY, abs=1e-6)
        stream.stop()
    assert told[0] == 89477.0
    assert np.diff(told) == pytest.approx(1.0, abs=2 * PERIOD)


def test_before_a_start_and_in_a_pause_the_host_is_asked(open_on: Open) -> None:
    host = Host()
    stream = open_on(host, start=False)
    assert stream.clock.now() == 1500.0
    assert stream.clock.to_monotonic(1501.0) == pytest.approx(1001.0)
    host.now += 1.0
    assert stream.clock.from_monotonic(1001.0) == stream.clock.now() == 1501.0
    stream.start()
    host.now += 1.0
    assert stream.clock.now() == 1502.0, "there was no callback yet"
    host.play(1.0)
    asked = host.asked
    assert stream.clock.now() == pytest.approx(1503.0)
    assert host.asked == asked
    stream.stop()
    host.clock = lambda monotonic: monotonic + 501.0
    host.now += 1.0
    assert stream.clock.now() == pytest.approx(1505.0)
    stream.start()
    assert stream.clock.now() == pytest.approx(1505.0), (
        "what was said before the pause is no more"
    )
    assert stream.clock.from_monotonic(host.now) == pytest.approx(1505.0)
    host.play(PERIOD)
    assert stream.clock.now() == pytest.approx(1505.0 + PERIOD)


def test_after_a_short_pause_the_first_callback_counts(open_on: Open) -> None:
    """Its frames are late, by the pause; so on either line it does."""
    host = Host()
    stream = open_on(host)
    host.play(1.0)
    stream.stop()
    host.now += 0.1
    host.clock = lambda monotonic: monotonic + 500.01
    stream.start()
    assert stream.clock.heard(100 * FRAMES) == pytest.approx(1501.0 + LATENCY, abs=1e-6)
    host.play(PERIOD)
    assert stream.clock.from_monotonic(host.now) == pytest.approx(
        host.clock(host.now), abs=1e-6
    )
    heard = host.clock(host.now - PERIOD) + LATENCY
    assert stream.clock.heard(100 * FRAMES) == pytest.approx(heard, abs=1e-6)


def test_what_was_told_before_callbacks_come_is_never_gone_back_on(open_on: Open) -> None:
    """The host's clock is coarse, or ahead of what it tells callbacks."""
    host = Host(clock=lambda monotonic: monotonic + 500.015)
    stream = open_on(host, start=False)
    before = stream.clock.now()
    stream.start()
    host.clock = lambda monotonic: monotonic + 500.0
    for _ in range(20):
        host.play(PERIOD)
        host.now -= PERIOD / 2
        assert stream.clock.now() >= before
        before = stream.clock.now()
        host.now += PERIOD / 2
    assert before == pytest.approx(1500.0 + 19.5 * PERIOD)


def test_without_callbacks_time_goes_on(open_on: Open) -> None:
    """While the device is stalled; and when it comes back, late."""
    host = Host()
    stream = open_on(host)
    host.play(2.0)
    before, asked = stream.clock.now(), host.asked
    host.now += 30.0
    assert stream.clock.now() - before == pytest.approx(30.0, abs=1e-6)
    assert stream.clock.to_monotonic(stream.clock.now()) == pytest.approx(host.now, abs=1e-6)
    assert host.asked == asked
    host.play(1.0)
    assert stream.clock.now() - before == pytest.approx(31.0, abs=1e-6)


@pytest.mark.parametrize("stop", [False, True])
def test_once_closed_time_stands(open_on: Open, stop: bool) -> None:
    host = Host()
    stream = open_on(host)
    host.play(1.0)
    if stop:
        stream.stop()
    host.now += PERIOD / 2
    stream.close()
    before, asked = stream.clock.now(), host.asked
    assert before == pytest.approx(host.clock(host.now), abs=1e-6), "when it was closed"
    host.now += 1.0
    assert stream.clock.now() == before
    assert host.asked == asked
    assert stream.clock.to_monotonic(before) == pytest.approx(host.now - 1.0, abs=1e-6), (
        "a log may still be written"
    )


@both
@pytest.mark.parametrize("said", [0.0, -1.0, np.nan, np.inf, -np.inf, 1e300])
def test_a_host_that_tells_callbacks_no_time(
    open_on: Open, kind: type[Stream], said: float
) -> None:
    """Its clock as it was asked for at the start, moved on; frames are placed on that."""
    host = Host()
    stream = open_on(host, kind)
    latency = -LATENCY - PERIOD if kind is Capture else LATENCY
    for number in range(300):
        host.beat(now=said, first=0.0)
        assert stream.clock.now() == pytest.approx(host.clock(host.now), abs=1e-6)
        wanted = host.clock(host.now) + latency
        assert stream.clock.heard(number * FRAMES) == pytest.approx(wanted, abs=1e-6)
        host.now += PERIOD
    assert host.asked == 1


def test_a_first_callback_that_is_late_misleads_no_one(open_on: Open) -> None:
    host = Host()
    stream = open_on(host)
    for number in range(20):
        due = host.clock(host.now)
        late = 0.009 * (number < 3)
        host.now += late
        host.beat(now=due, first=due + LATENCY)
        host.now += PERIOD - late
        if number >= 3:
            assert stream.clock.from_monotonic(host.now) == pytest.approx(
                host.clock(host.now), abs=1e-6
            )


@both
def test_an_underrun_sets_the_clock_anew(open_on: Open, kind: type[Stream]) -> None:
    """As it does where frames lie on it; some servers' clocks stand still meanwhile."""
    host = Host()
    stream = open_on(host, kind)
    host.play(1.0)
    host.now += 0.05
    host.clock = lambda monotonic: monotonic + 499.98
    now = host.clock(host.now)
    host.beat(now=now, first=now + LATENCY, flags=6)
    assert stream.clock.from_monotonic(host.now) == pytest.approx(now, abs=1e-6)
    assert stream.clock.heard(100 * FRAMES) == pytest.approx(now + LATENCY, abs=1e-6)
    followed = int(stream.record[0]["host_version"])
    host.now += PERIOD
    host.play(0.1)
    assert int(stream.record[0]["host_version"]) == followed + 10, "those behind are in time"


def test_who_is_late_for_good_is_listened_to_after_half_a_second(open_on: Open) -> None:
    host = Host()
    stream = open_on(host)
    host.play(1.0)
    followed = int(stream.record[0]["host_version"])
    host.now += 0.05
    host.clock = lambda monotonic: monotonic + 499.99
    host.play(0.4)
    assert int(stream.record[0]["host_version"]) == followed
    host.play(0.2)
    assert int(stream.record[0]["host_version"]) > followed + 10
    assert stream.clock.from_monotonic(host.now) == pytest.approx(
        host.clock(host.now), abs=1e-6
    )


def test_long_blocks_are_smoothed_as_short_ones_are(open_on: Open) -> None:
    """Patience is a matter of blocks where these are long."""
    host = Host()
    stream = open_on(host)
    off = []
    for number in range(40):
        now = host.clock(host.now) + (1e-3 if number & 1 else -1e-3)
        stream.record[0]["block_ns"] = 600_000_000
        stream.record[0]["frames"] = round(0.6 * RATE) * number
        host.beat(now=now, first=now + LATENCY)
        off.append(stream.clock.from_monotonic(host.now) - host.clock(host.now))
        host.now += 0.6
    assert max(map(abs, off[20:])) < 7e-4


def test_no_thread_is_told_an_earlier_time_than_another_was(open_on: Open) -> None:
    host = Host()
    stream = open_on(host)
    host.play(1.0)
    latest = [stream.clock.now()]
    failed: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            before = latest[0]
            time = stream.clock.now()
            if time < before:
                failed.append(f"{time} after {before}")
            latest[0] = time

    threads = [threading.Thread(target=ask) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in run(host, KINDS["wobbling"], 3.0):
            pass
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
    assert failed == []
    assert latest[0] > 1502.0


@pytest.mark.parametrize("far", [float("inf"), -float("inf"), float("nan"), 1e300])
def test_times_beyond_all_bounds(open_on: Open, far: float) -> None:
    host = Host()
    stream = open_on(host)
    host.play(0.1)
    assert stream.clock.to_monotonic(far) == pytest.approx(far, nan_ok=True)
    assert stream.clock.from_monotonic(far) == pytest.approx(far, nan_ok=True)


def test_a_monitor_is_on_its_outputs_clock(open_on: Open) -> None:
    host = Host()
    output = open_on(host)
    assert isinstance(output, Output)
    host.play(0.5)
    monitor = Capture(Format(RATE, 1, 16), FRAMES, Monitor(output))
    monitor.open()
    monitor.start()
    try:
        for frame, _ in run(host, KINDS["wobbling"], 3.0):
            assert monitor.clock.now() == output.clock.now()
            assert monitor.clock.heard(frame) == pytest.approx(
                output.clock.heard(round(0.5 * RATE) + frame), abs=1e-3
            )
            there = monitor.clock.from_monotonic(host.now)
            assert there == pytest.approx(output.clock.from_monotonic(host.now), abs=1e-3)
            assert monitor.clock.to_monotonic(there) == pytest.approx(host.now, abs=1e-6)
    finally:
        monitor.close()
