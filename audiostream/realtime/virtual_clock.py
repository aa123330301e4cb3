"""The clock of a virtual device; a thread of its own that stays in compiled code.

One period after the other, on time: get a block (from the output's callback, from a
recording, or silence), hand it to a file and to the inputs' callbacks.  The interpreter lock
is not held, so a busy Python program does not disturb it.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.compile.syscalls import (
    call_back,
    monotonic_ns,
    sleep_until,
    write_bytes,
)
from audiostream.realtime.memory.atomics import (
    clock_at,
    load_acquire,
    store,
    store_release,
    times_at,
    words_at,
)
from audiostream.realtime.memory.unit_layout import CLOCK, Clock

__all__ = ("run_clock", "tick")

TIMESPEC = int(CLOCK.fields["seconds"][1])  # type: ignore[index]
NAP = 20_000_000
"""Longest sleep in nanoseconds, so that a stop is soon seen."""
TOO_LATE = 1_000_000_000
"""If it is later than this (the machine slept), a clock goes on from now."""


@inlined
def pour(clock: Clock, block: int, count: int) -> None:
    """Write `count` bytes to the sink; those that a full disk refuses are counted."""
    done = 0
    while done < count:
        taken = write_bytes(clock["sink"], block + done, count - done)
        if taken <= 0:
            store(clock, "sink_failed", clock["sink_failed"] + count - done)
            return
        done += taken
        store(clock, "sink_bytes", clock["sink_bytes"] + taken)


@inlined
def tick(clock: Clock) -> None:
    """Move one period: one block from where it comes from to where it goes to."""
    frames = clock["period"]
    source = clock["silence"]
    times = clock["time_info"]
    if clock["source"] != 0:
        frames = smaller(frames, clock["source_frames"] - clock["position"])
        source = clock["source"] + clock["position"] * clock["frame_bytes"]
        clock["position"] += frames
    if clock["render"] != 0:
        source = clock["block"]
        call_back(clock["render"], 0, source, frames, times, 0, clock["render_user"])
        if clock["sink"] >= 0:
            pour(clock, source, frames * clock["frame_bytes"])
        # A loopback captures a frame when it is audible.
        times_at(times)["adc"] = times_at(times)["dac"]
    count = load_acquire(clock, "capture_count")
    captures = words_at(clock["captures"], 2 * count)
    for i in range(count):
        call_back(captures[2 * i], source, 0, frames, times, 0, captures[2 * i + 1])
    store(clock, "frames", clock["frames"] + frames)
    if frames == 0:
        store_release(clock, "ended", 1)


@inlined
def run_clock(address: int) -> None:
    """Tick in real time until ``stop`` is set, or until the source has ended.

    Periods are due at absolute times, so that no error adds up; a block is rendered when it
    is due and audible during the period after.
    """
    clock = clock_at(address)
    spare = address + TIMESPEC
    times = times_at(clock["time_info"])
    nanoseconds = 1e9 / clock["rate"]
    ahead = clock["period"] / clock["rate"]
    clock["origin"] = monotonic_ns(spare) - np.int64(clock["frames"] * nanoseconds)
    while load_acquire(clock, "stop") == 0 and clock["ended"] == 0:
        now = monotonic_ns(spare)
        due = clock["origin"] + np.int64(clock["frames"] * nanoseconds)
        if due > now:
            sleep_until(smaller(due, now + NAP), now, spare)
            continue
        if now - due > TOO_LATE:
            clock["origin"] += now - due
            due = now
        times["adc"] = due * 1e-9 - ahead
        times["now"] = now * 1e-9
        times["dac"] = due * 1e-9 + ahead
        tick(clock)
