"""Clock syncs: reading them, and the compiled form of them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from audiostream.realtime import callback, clock_sync
from audiostream.realtime.memory.layout import NEVER, STREAM
from tests.realtime.rig import PLAIN, Form, Rig, compiled

RATE = 32768
HOST = tuple(name for name in STREAM.names or () if name.startswith("host_"))


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


def test_nothing_is_known_before_the_first_callback(form: Form) -> None:
    rig = Rig(form)
    assert form.time_at(rig.address, 10**9) == -NEVER
    assert form.monotonic_at(rig.address, 10**9) == -NEVER
    assert form.heard_at(rig.address, 0) == -NEVER


@pytest.mark.parametrize("version", [2, 3])
def test_the_two_clocks_are_each_others_inverse(form: Form, version: int) -> None:
    rig = Rig(form)
    anchor, device, drift = 5 * 10**9, 700.0, 0.004
    current = "host" if version & 1 == 0 else "host_other"
    rig.stream["host_version"] = version
    rig.stream[f"{current}_anchor"] = anchor
    rig.stream[f"{current}_time"] = device
    rig.stream[f"{current}_drift"] = drift
    for monotonic in (anchor, anchor + 10**9, anchor - 3 * 10**9, -(10**12), 10**13):
        wanted = 1e9 * device + (monotonic - anchor) * (1.0 + drift)
        found = form.time_at(rig.address, monotonic)
        assert found == pytest.approx(wanted, abs=2, rel=1e-15)
        assert form.monotonic_at(rig.address, found) == pytest.approx(
            monotonic, abs=2, rel=1e-15
        )


def test_an_interrupted_writer_holds_up_no_reader(
    form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(PLAIN, rate=RATE, channels=1)
    for number in range(3):
        rig.render_at(16, now=1.0 + number / 2048, dac=1.25 + number / 2048)
    instants, frames = range(0, 10**9, 10**8), range(0, 100, 10)
    readers = (form.time_at, instants), (form.monotonic_at, instants), (form.heard_at, frames)
    before = [
        [read(rig.address, position) for position in positions] for read, positions in readers
    ]
    stores = iter([None, None])

    def held_up(record: Any, field: str, value: Any) -> None:
        next(stores)
        record[field] = value

    monkeypatch.setattr(clock_sync, "store", held_up)
    for follow in (clock_sync.follow_clock, clock_sync.follow_host):
        stores = iter([None, None])
        with pytest.raises(StopIteration):
            follow(rig.stream, 70 * 10**9, 1)
    after = [
        [read(rig.address, position) for position in positions] for read, positions in readers
    ]
    assert after == before


def test_the_time_never_goes_back(form: Form) -> None:
    rig = Rig(form)
    found = [form.latest_time(rig.address, time) for time in (0, 5, 3, 5, 9, 8, -NEVER, 10)]
    assert found == [0, 5, 5, 5, 9, 9, 9, 10]
    assert int(rig.stream["latest"]) == 10


@pytest.mark.parametrize("entry", ["render", "capture"])
def test_the_compiled_form_follows_as_the_plain_one_does(
    monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """On the instants at which its callbacks began, which are not known before."""
    rng = np.random.default_rng(3)
    rig, twin = (Rig(form, rate=RATE, channels=1) for form in (compiled(), PLAIN))
    began = [0]
    monkeypatch.setattr(callback, "monotonic_ns", lambda timespec: began[0])
    silence = np.zeros((16, 1), np.float32)

    def call(where: Rig, now: float, flags: int) -> Any:
        if entry == "render":
            where.render_at(16, now=now, dac=now + 0.01, flags=flags)
        else:
            monkeypatch.setattr(where.times, "set", lambda *_: set_times(where, now))
            where.capture(silence, flags=flags)
        words = (*HOST, "early", "shift", "time", "clock_time", "clock_drift")
        return [float(where.stream[word]) for word in words]

    def set_times(where: Rig, now: float) -> None:
        where.times.record[0] = (now - 0.01, now, now)

    seen = set()
    begin = time.monotonic()
    for number in range(400):
        frames = int((time.monotonic() - begin + rng.choice([1e-3, -1e-3])) * RATE)
        rig.stream["frames"] = twin.stream["frames"] = max(frames, int(rig.stream["frames"]))
        now = time.monotonic() + rng.uniform(-1e-3, 1e-3)
        now = {100: 0.0, 200: now + 50.0, 300: now - 50.0}.get(number, now)
        flags = 6 if number == 50 else 0
        late = 5e-3 if number % 4 == 3 else 0.0  # beside the earliest
        for where in (rig, twin):
            where.stream["early"] -= late
        found = call(rig, now, flags)
        began[0] = int(rig.stream["heartbeat"])
        assert found == pytest.approx(call(twin, now, flags), abs=1e-9, rel=1e-12)
        for where in (rig, twin):
            where.stream["early"] += late
        seen.add(found[HOST.index("host_version")])
    assert 5 < len(seen) < 400, "some were listened to"
    assert float(rig.stream["shift"]) > 50.0, "the clock was set back"
