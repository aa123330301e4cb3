"""The beginning and the end of both stream callbacks; audio thread.

They read the clocks, count, signal wakeups, and mark the grace period.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.clock_sync import JUMP, follow_host
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.syscalls import monotonic_ns, write_bytes
from audiostream.realtime.memory.atomics import (
    load_seq,
    store,
    store_release,
    store_seq,
    times_at,
    wakeup_at,
    words_at,
)
from audiostream.realtime.memory.layout import STREAM, WAKEUP_BYTES, Stream
from audiostream.realtime.units.meter import begin_spans, measure

__all__ = (
    "INPUT_OVERFLOW",
    "OUTPUT_UNDERFLOW",
    "begin",
    "clock_ns",
    "finish",
    "latency_of",
    "measure_block",
)

INPUT_OVERFLOW = 2
OUTPUT_UNDERFLOW = 4
"""PortAudio's status flags."""

TIMESPEC = int(STREAM.fields["seconds"][1])  # type: ignore[index]
"""Offset of the record's spare words for the clock."""


@inlined
def clock_ns(stream: Stream) -> int:
    """Nanoseconds of the monotonic clock, which puts them into the stream's spare words."""
    return monotonic_ns(stream["address"] + TIMESPEC)


@inlined
def host_time(stream: Stream, time_info: int, begun: int) -> float:
    """Seconds on the host's clock, without steps back.

    Where it was set back, or starts again at a start, it goes on from where it stood.  If the
    host gives no time, or an absurd one, the clock from before the start goes on.
    """
    time = times_at(time_info)["now"]
    if not (0.0 < time < 1e10):
        time = begun * 1e-9 + stream["host_ahead"]
    time += stream["shift"]
    back = stream["time"] - time
    if back > JUMP:
        back += stream["block_ns"] * 1e-9
        time += back
        store(stream, "shift", stream["shift"] + back)
    return time


@inlined
def begin(stream: Stream, frames: int, time_info: int, flags: int) -> int:
    """Open the grace period, read the clocks, count; returns the time in nanoseconds.

    Calls without frames, which only virtual devices make, are not counted.
    A callback is late when more time has passed since the last one than that one's block
    and the device's latency can cover.
    """
    store_seq(stream, "entered", stream["entered"] + 1)
    now = clock_ns(stream)
    store(stream, "time", host_time(stream, time_info, now))
    if frames == 0:
        return now
    follow_host(stream, now, flags & (INPUT_OVERFLOW | OUTPUT_UNDERFLOW))
    if stream["started"] > 0:
        allowed = stream["block_ns"] + np.int64(stream["latency"] * 1e9)
        if now - stream["started"] > allowed:
            store(stream, "late", stream["late"] + 1)
    stream["started"] = now
    stream["block_ns"] = np.int64(frames * (1e9 / stream["rate"]))
    store(stream, "callbacks", stream["callbacks"] + 1)
    store(stream, "heartbeat", now)
    if flags & INPUT_OVERFLOW:
        store(stream, "overruns", stream["overruns"] + 1)
    if flags & OUTPUT_UNDERFLOW:
        store(stream, "underruns", stream["underruns"] + 1)
    return now


@inlined
def finish(stream: Stream, begun: int) -> None:
    """Signal the wakeups that were noted, time the callback, close the grace period."""
    count = stream["noted_count"]
    noted = words_at(stream["noted"], count)
    for i in range(count):
        wakeup = wakeup_at(stream["wakeup_table"] + noted[i] * WAKEUP_BYTES)
        wakeup["noted"] = 0
        fd = load_seq(wakeup, "fd")
        if fd >= 0:
            write_bytes(fd, stream["one"], 8)
            store(stream, "wakeups", stream["wakeups"] + 1)
    stream["noted_count"] = 0
    spent = clock_ns(stream) - begun
    if spent > stream["longest"]:
        store(stream, "longest", spent)
    store_release(stream, "left", stream["left"] + 1)


@inlined
def latency_of(stream: Stream, time_info: int) -> float:
    """Seconds from now until the block's first frame is audible.

    Host APIs that give no times, or absurd ones, get the latency that they declared.
    """
    times = times_at(time_info)
    latency = times["dac"] - times["now"]
    if not (0.0 <= latency <= 10.0) or times["dac"] == 0.0:
        return stream["latency"]
    return latency


@inlined
def measure_block(stream: Stream, index: int, block: int, frames: int) -> None:
    """Measure what is played or captured; its first frame is number `index`."""
    meter, mask = stream["meter"], stream["meter_mask"]
    begin_spans(meter, mask, index, frames)
    measure(meter, mask, index, block, frames, stream["channels"], 1.0)
