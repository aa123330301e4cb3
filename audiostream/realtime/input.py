"""The capture callback, which appends a block to an input's ring; audio thread.

It has the signature of PortAudio's stream callback.  Pointers arrive as integers.
"""

from __future__ import annotations

from audiostream.realtime.callback import (
    INPUT_OVERFLOW,
    begin,
    finish,
    measure_block,
)
from audiostream.realtime.clock_sync import follow_clock
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import (
    flush_denormals,
    restore_denormals,
    smaller,
)
from audiostream.realtime.graph.nodes import list_latency
from audiostream.realtime.graph.strip import run_in_place
from audiostream.realtime.memory.atomics import (
    compare_and_swap,
    fence_release,
    load,
    load_seq,
    store,
    store_seq,
    stream_at,
    times_at,
    voice_at,
)
from audiostream.realtime.memory.layout import NEVER, Stream
from audiostream.realtime.memory.ring import contiguous
from audiostream.realtime.units.conversion import convert
from audiostream.realtime.wakeup import note_wakeup

__all__ = (
    "capture",
    "take_in",
)


@inlined
def append_block(stream: Stream, source: int, frames: int) -> None:
    """Append frames to the capture ring, over the oldest ones if it is full.

    ``reserve`` is advanced before the copy and ``commit`` after it: a reader that finds
    ``reserve`` more than a capacity beyond what it copied was lapped.
    """
    channels = stream["channels"]
    encoding = stream["encoding"]
    strip = load_seq(stream, "strip")
    capacity = stream["capacity"]
    write = stream["commit"]
    end = write + frames
    store(stream, "reserve", end)
    fence_release()
    while write < end:
        part = contiguous(write, end - write, capacity)
        start = stream["ring"] + 4 * channels * (write & (capacity - 1))
        convert(source, encoding, channels, start, channels, part)
        if strip != 0:
            run_in_place(stream, voice_at(strip), start, part, write)
        measure_block(stream, write, start, part)
        if source != 0:
            source += part * channels * (encoding >> 3)
        write += part
    store_seq(stream, "commit", end)


@inlined
def captured_at(stream: Stream, time_info: int, frames: int) -> float:
    """When a block's first frame was captured, as far as it is known."""
    times = times_at(time_info)
    ago = times["now"] - times["adc"]
    if not (-10.0 <= ago <= 10.0) or times["adc"] == 0.0:  # a monitor's is in the future
        ago = stream["latency"] + frames / stream["rate"]
    return stream["time"] - ago


@inlined
def follow_time(stream: Stream, time_info: int, frames: int, flags: int) -> None:
    """Update when the block's first frame was captured; the input's effects are late."""
    strip = load_seq(stream, "strip")
    delay = 0 if strip == 0 else list_latency(load_seq(voice_at(strip), "nodes"))
    jumped = flags & INPUT_OVERFLOW
    if delay != stream["delay"]:
        jumped = 1
        store(stream, "delay", delay)
    captured = captured_at(stream, time_info, frames) - delay / stream["rate"]
    follow_clock(stream, captured, jumped)


@inlined
def take_in(source: int, frames: int, time_info: int, flags: int, user: int) -> None:
    """Append a block to a capture's ring; no frames mean that it has ended."""
    stream = stream_at(user)
    begun = begin(stream, frames, time_info, flags)
    if frames > 0:
        follow_time(stream, time_info, frames, flags)
    width = stream["channels"] * (stream["encoding"] >> 3)
    done = 0
    while done < frames:
        count = smaller(frames - done, stream["max_block"])
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
        note_wakeup(stream, load(stream, "wakeup"))
    finish(stream, begun)


@inlined
def capture(
    source: int, target: int, frames: int, time_info: int, flags: int, user: int
) -> int:
    """Take in an input block; returns paContinue."""
    mode = flush_denormals()
    take_in(source, frames, time_info, flags, user)
    restore_denormals(mode)
    return 0
