"""The two stream callbacks, with PortAudio's signature; audio thread.

Pointers arrive as integers.  ``render`` fills an output from the voices, ``capture``
appends an input to its ring; both keep the counters and ring the bells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from audiostream.realtime.atomics import (
    JIT,
    bells_at,
    compare_and_swap,
    fence_release,
    floats_at,
    load,
    load_seq,
    samples8_at,
    samples16_at,
    store,
    store_seq,
    stream_at,
    times_at,
    words_at,
)
from audiostream.realtime.layout import NEVER, STREAM
from audiostream.realtime.mixer import (
    apply_master,
    encode,
    follow_voices,
    mix_block,
    note_bell,
)
from audiostream.realtime.ring import first_span
from audiostream.realtime.system import monotonic_ns, write_bytes

__all__ = ("capture", "render")

INPUT_OVERFLOW = 2
OUTPUT_UNDERFLOW = 4
"""PortAudio's status flags."""

SCALE8 = np.float32(1.0 / 128.0)
SCALE16 = np.float32(1.0 / 32768.0)
ZERO = np.float32(0.0)
TIMESPEC = int(STREAM.fields["seconds"][1])  # type: ignore[index]
"""Offset of the record's spare words for the clock."""


@register_jitable(**JIT)
def timespec_of(user: int) -> int:
    """Address of the stream record's two spare words for the clock."""
    return user + TIMESPEC


@register_jitable(**JIT)
def begin(stream: Any, user: int, frames: int, time_info: int, flags: int) -> int:
    """Open the grace period, read the clocks, count; returns the time in nanoseconds.

    Calls without frames, which only virtual devices make, are not counted.
    A callback is late when more time has passed since the last one than that one's block
    and the device's latency can cover.
    """
    store_seq(stream, "entered", stream["entered"] + 1)
    now = monotonic_ns(timespec_of(user))
    store(stream, "time", times_at(time_info)["now"])
    if frames == 0:
        return now
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


@register_jitable(**JIT)
def finish(stream: Any, user: int, begun: int) -> None:
    """Ring the bells that were noted, price the callback, close the grace period."""
    count = stream["noted_count"]
    noted = words_at(stream["noted"], count)
    for i in range(count):
        bell = noted[i]
        bells = bells_at(stream["bells"], bell + 1)
        bells[bell]["noted"] = 0
        fd = load_seq(bells[bell], "fd")
        if fd >= 0:
            write_bytes(fd, stream["one"], 8)
            store(stream, "wakeups", stream["wakeups"] + 1)
    stream["noted_count"] = 0
    spent = monotonic_ns(timespec_of(user)) - begun
    if spent > stream["longest"]:
        store(stream, "longest", spent)
    store_seq(stream, "left", stream["left"] + 1)


@register_jitable(**JIT)
def heard_frame(stream: Any, time_info: int) -> int:
    """The device's frame that is heard now: what was rendered less what is in flight.

    Host APIs that give no times, or absurd ones, get the latency that they declared.  A
    thousandth of a frame is forgiven to the clock's floating point.
    """
    times = times_at(time_info)
    latency = times["dac"] - times["now"]
    if not (0.0 <= latency <= 10.0) or times["dac"] == 0.0:
        latency = stream["latency"]
    frame = stream["frames"] - np.int64(np.ceil(latency * stream["rate"] - 1e-3))
    return max(frame, stream["now_frame"])


@register_jitable(**JIT)
def render(source: int, target: int, frames: int, time_info: int, flags: int, user: int) -> int:
    """Fill an output block: mix, scale, encode.  Always fills it all; returns paContinue.

    Without frames it only looks at the time, to tell what has been heard by now.
    """
    stream = stream_at(user)
    begun = begin(stream, user, frames, time_info, flags)
    stream["now_frame"] = heard_frame(stream, time_info)
    samples = stream["channels"] * (stream["encoding"] >> 3)
    done = 0
    while done < frames:
        count = min(frames - done, stream["slice"])
        mix_block(stream, count)
        apply_master(stream, count)
        values = count * stream["channels"]
        encode(
            floats_at(stream["mix"], values),
            target + done * samples,
            stream["encoding"],
            values,
        )
        store(stream, "frames", stream["frames"] + count)
        done += count
    if frames == 0:
        follow_voices(stream)
    finish(stream, user, begun)
    return 0


@register_jitable(**JIT)
def decode(source: int, target: Any, encoding: int, count: int) -> None:
    """Read `count` samples at the address `source` as float32; no address is silence."""
    if source == 0:
        for i in range(count):
            target[i] = ZERO
    elif encoding == 16:
        shorts = samples16_at(source, count)
        for i in range(count):
            target[i] = np.float32(shorts[i]) * SCALE16
    elif encoding == 8:
        small = samples8_at(source, count)
        for i in range(count):
            target[i] = np.float32(small[i]) * SCALE8
    else:
        floats = floats_at(source, count)
        for i in range(count):
            target[i] = floats[i]


@register_jitable(**JIT)
def append_block(stream: Any, source: int, frames: int) -> None:
    """Append frames to the capture ring, over the oldest ones if it is full.

    ``reserve`` goes ahead of the copy and ``commit`` behind it: a reader who finds
    ``reserve`` more than a capacity beyond what it copied was lapped.
    """
    channels = stream["channels"]
    capacity = stream["capacity"]
    width = channels * (stream["encoding"] >> 3)
    write = stream["commit"]
    store(stream, "reserve", write + frames)
    fence_release()
    first = first_span(write, frames, capacity)
    position = write & (capacity - 1)
    start = floats_at(stream["ring"] + 4 * channels * position, first * channels)
    decode(source, start, stream["encoding"], first * channels)
    if first < frames:
        rest = (frames - first) * channels
        behind = 0 if source == 0 else source + first * width
        decode(behind, floats_at(stream["ring"], rest), stream["encoding"], rest)
    store_seq(stream, "commit", write + frames)


@register_jitable(**JIT)
def capture(
    source: int, target: int, frames: int, time_info: int, flags: int, user: int
) -> int:
    """Append an input block to the ring; no frames at all means that it has ended."""
    stream = stream_at(user)
    begun = begin(stream, user, frames, time_info, flags)
    width = stream["channels"] * (stream["encoding"] >> 3)
    done = 0
    while done < frames:
        count = min(frames - done, stream["slice"])
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
    return 0
