"""The two stream callbacks, with PortAudio's signature; audio thread.

Pointers arrive as integers.  ``render`` fills an output from the voices, ``capture``
appends an input to its ring; both keep the counters and ring the bells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    bell_at,
    compare_and_swap,
    fence_release,
    floats_at,
    load,
    load_acquire,
    load_seq,
    store,
    store_release,
    store_seq,
    stream_at,
    times_at,
    words_at,
)
from audiostream.realtime.graph.plan import mix_block
from audiostream.realtime.heard import follow_voices, note_bell, wake_waiters
from audiostream.realtime.inlined import inlined
from audiostream.realtime.layout import BELL_BYTES, NEVER, STREAM
from audiostream.realtime.numbers import larger, smaller
from audiostream.realtime.ring import first_span
from audiostream.realtime.samples import decode, encode
from audiostream.realtime.system import monotonic_ns, write_bytes
from audiostream.realtime.timeline import JUMP, follow_clock, follow_host
from audiostream.realtime.units.meter import begin_spans, measure

__all__ = ("capture", "render")

INPUT_OVERFLOW = 2
OUTPUT_UNDERFLOW = 4
"""PortAudio's status flags."""

TIMESPEC = int(STREAM.fields["seconds"][1])  # type: ignore[index]
"""Offset of the record's spare words for the clock."""


@inlined
def timespec_of(user: int) -> int:
    """Address of the stream record's two spare words for the clock."""
    return user + TIMESPEC


@inlined
def host_time(stream: Any, time_info: int, begun: int) -> float:
    """Seconds on the host's clock, which is made never to go back.

    Where it was set back, or begins anew with a start, it goes on from where it stood.  A host
    that tells no time, or an absurd one, gets the clock that it had before the start, moved on.
    """
    said = times_at(time_info)["now"]
    if not (0.0 < said < 1e10):
        said = begun * 1e-9 + stream["host_ahead"]
    said += stream["shift"]
    back = stream["time"] - said
    if back > JUMP:
        back += stream["block_ns"] * 1e-9
        said += back
        store(stream, "shift", stream["shift"] + back)
    return said


@inlined
def begin(stream: Any, user: int, frames: int, time_info: int, flags: int) -> int:
    """Open the grace period, read the clocks, count; returns the time in nanoseconds.

    Calls without frames, which only virtual devices make, are not counted.
    A callback is late when more time has passed since the last one than that one's block
    and the device's latency can cover.
    """
    store_seq(stream, "entered", stream["entered"] + 1)
    now = monotonic_ns(timespec_of(user))
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
def finish(stream: Any, user: int, begun: int) -> None:
    """Ring the bells that were noted, price the callback, close the grace period."""
    count = stream["noted_count"]
    noted = words_at(stream["noted"], count)
    for i in range(count):
        bell = bell_at(stream["bells"] + noted[i] * BELL_BYTES)
        bell["noted"] = 0
        fd = load_seq(bell, "fd")
        if fd >= 0:
            write_bytes(fd, stream["one"], 8)
            store(stream, "wakeups", stream["wakeups"] + 1)
    stream["noted_count"] = 0
    spent = monotonic_ns(timespec_of(user)) - begun
    if spent > stream["longest"]:
        store(stream, "longest", spent)
    store_release(stream, "left", stream["left"] + 1)


@inlined
def latency_of(stream: Any, time_info: int) -> float:
    """Seconds from now until the block's first frame is heard.

    Host APIs that give no times, or absurd ones, get the latency that they declared.
    """
    times = times_at(time_info)
    latency = times["dac"] - times["now"]
    if not (0.0 <= latency <= 10.0) or times["dac"] == 0.0:
        return stream["latency"]
    return latency


@inlined
def heard_frame(stream: Any, time_info: int) -> int:
    """The device's frame that is heard now: what was rendered less what is in flight.

    A thousandth of a frame is forgiven to the clock's floating point.
    """
    latency = latency_of(stream, time_info)
    frame = stream["frames"] - np.int64(np.ceil(latency * stream["rate"] - 1e-3))
    return larger(frame, stream["now_frame"])


@inlined
def measure_block(stream: Any, index: int, block: int, frames: int) -> None:
    """Measure what is played or captured; its first frame is number `index`."""
    meter, mask = stream["meter"], stream["meter_mask"]
    begin_spans(meter, mask, index, frames)
    measure(meter, mask, index, block, frames, stream["channels"], 1.0)


@inlined
def feed_monitors(stream: Any, target: int, frames: int, time_info: int) -> None:
    """Hand the block to those who listen to the mix; captured, for them, when it is heard."""
    now = stream["time"]
    times = times_at(stream["monitor_times"])
    times["now"] = now
    times["dac"] = now
    times["adc"] = now + latency_of(stream, time_info)
    count = load_acquire(stream, "monitor_count")
    monitors = words_at(stream["monitors"], count + 1)
    for i in range(count):
        take_in(target, frames, stream["monitor_times"], 0, monitors[i])


@inlined
def render(source: int, target: int, frames: int, time_info: int, flags: int, user: int) -> int:
    """Fill an output block: mix, scale, encode.  Always fills it all; returns paContinue.

    Without frames it only looks at the time, to tell what has been heard by now.
    """
    stream = stream_at(user)
    begun = begin(stream, user, frames, time_info, flags)
    store(stream, "now_frame", heard_frame(stream, time_info))
    if frames > 0:
        said = stream["time"] + latency_of(stream, time_info)
        follow_clock(stream, said, flags & OUTPUT_UNDERFLOW)
    samples = stream["channels"] * (stream["encoding"] >> 3)
    done = 0
    while done < frames:
        count = mix_block(stream, smaller(frames - done, stream["slice"]))
        measure_block(stream, stream["frames"], stream["mix"], count)
        values = count * stream["channels"]
        encode(
            floats_at(stream["mix"], values),
            target + done * samples,
            stream["encoding"],
            values,
        )
        store_release(stream, "frames", stream["frames"] + count)
        done += count
    if frames == 0:
        follow_voices(stream)
    elif load_acquire(stream, "monitor_count") > 0:
        feed_monitors(stream, target, frames, time_info)
    wake_waiters(stream)
    finish(stream, user, begun)
    return 0


@inlined
def append_block(stream: Any, source: int, frames: int) -> None:
    """Append frames to the capture ring, over the oldest ones if it is full.

    ``reserve`` goes ahead of the copy and ``commit`` behind it: a reader who finds
    ``reserve`` more than a capacity beyond what it copied was lapped.
    """
    channels = stream["channels"]
    encoding = stream["encoding"]
    capacity = stream["capacity"]
    write = stream["commit"]
    end = write + frames
    store(stream, "reserve", end)
    fence_release()
    while write < end:
        span = first_span(write, end - write, capacity)
        start = stream["ring"] + 4 * channels * (write & (capacity - 1))
        decode(source, floats_at(start, span * channels), encoding, span * channels)
        measure_block(stream, write, start, span)
        if source != 0:
            source += span * channels * (encoding >> 3)
        write += span
    store_seq(stream, "commit", end)


@inlined
def captured_at(stream: Any, time_info: int, frames: int) -> float:
    """When a block's first frame was captured, or as good as known."""
    times = times_at(time_info)
    ago = times["now"] - times["adc"]
    if not (-10.0 <= ago <= 10.0) or times["adc"] == 0.0:  # a monitor's lies ahead
        ago = stream["latency"] + frames / stream["rate"]
    return stream["time"] - ago


@inlined
def take_in(source: int, frames: int, time_info: int, flags: int, user: int) -> None:
    """Append a block to a capture's ring; no frames at all means that it has ended."""
    stream = stream_at(user)
    begun = begin(stream, user, frames, time_info, flags)
    if frames > 0:
        follow_clock(stream, captured_at(stream, time_info, frames), flags & INPUT_OVERFLOW)
    width = stream["channels"] * (stream["encoding"] >> 3)
    done = 0
    while done < frames:
        count = smaller(frames - done, stream["slice"])
        append_block(stream, 0 if source == 0 else source + done * width, count)
        done += count
    store(stream, "frames", stream["frames"] + frames)
    if frames == 0:
        store_seq(stream, "ended", 1)
    at = load_seq(stream, "wake_commit")
    if (stream["commit"] >= at or (stream["ended"] != 0 and at != NEVER)) and compare_and_swap(
        stream, "wake_commit", at, NEVER
    ):
        store_seq(stream, "woken", 1)
        note_bell(stream, load(stream, "bell"))
    finish(stream, user, begun)


@inlined
def capture(
    source: int, target: int, frames: int, time_info: int, flags: int, user: int
) -> int:
    """Take in an input block; returns paContinue."""
    take_in(source, frames, time_info, flags, user)
    return 0
