"""The render callback, which fills an output's block from the graph; audio thread.

It has the signature of PortAudio's stream callback.  Pointers arrive as integers.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.callback import (
    OUTPUT_UNDERFLOW,
    begin,
    finish,
    latency_of,
    measure_block,
)
from audiostream.realtime.clock_sync import follow_clock
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import (
    flush_denormals,
    larger,
    restore_denormals,
    smaller,
)
from audiostream.realtime.graph.plan import main_latency, mix_block
from audiostream.realtime.input import take_in
from audiostream.realtime.memory.atomics import (
    floats_at,
    load_acquire,
    store,
    store_release,
    stream_at,
    times_at,
    words_at,
)
from audiostream.realtime.memory.layout import Stream
from audiostream.realtime.memory.ring import copy
from audiostream.realtime.playhead import follow_voices
from audiostream.realtime.units.conversion import encode
from audiostream.realtime.wakeup import wake_waiters

__all__ = ("render",)


@inlined
def audible_frame(stream: Stream, time_info: int) -> int:
    """The device's frame that is audible now: those rendered less those in flight.

    The effects of the whole mix hold some, too.
    A thousandth of a frame allows for the rounding of the clock's floating point.
    """
    latency = latency_of(stream, time_info)
    frame = stream["frames"] - np.int64(np.ceil(latency * stream["rate"] - 1e-3))
    return larger(frame - stream["delay"], stream["now_frame"])


@inlined
def follow_time(stream: Stream, time_info: int, flags: int) -> None:
    """Update when the block's first frame is audible; a latency that changes is a jump."""
    delay = main_latency(stream)
    jumped = flags & OUTPUT_UNDERFLOW
    if delay != stream["delay"]:
        jumped = 1
        store(stream, "delay", delay)
    audible_at = stream["time"] + latency_of(stream, time_info) + delay / stream["rate"]
    follow_clock(stream, audible_at, jumped)


@inlined
def feed_monitors(stream: Stream, target: int, frames: int, time_info: int) -> None:
    """Give the block to the monitors, as captured at the time at which it is audible."""
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

    Without frames it only reads the time, and moves the playheads.
    """
    mode = flush_denormals()
    stream = stream_at(user)
    begun = begin(stream, frames, time_info, flags)
    if frames > 0:
        follow_time(stream, time_info, flags)
    store(stream, "now_frame", audible_frame(stream, time_info))
    frame_bytes = stream["channels"] * (stream["encoding"] >> 3)
    done = 0
    while done < frames:
        count = mix_block(stream, smaller(frames - done, stream["max_block"]))
        measure_block(stream, stream["frames"], stream["mix"], count)
        values = count * stream["channels"]
        mix, place = floats_at(stream["mix"], values), target + done * frame_bytes
        if stream["unlimited"] != 0:
            copy(floats_at(place, values), mix, values)
        else:
            encode(mix, place, stream["encoding"], values)
        store_release(stream, "frames", stream["frames"] + count)
        done += count
    if frames == 0:
        follow_voices(stream)
    elif load_acquire(stream, "monitor_count") > 0:
        feed_monitors(stream, target, frames, time_info)
    wake_waiters(stream)
    finish(stream, begun)
    restore_denormals(mode)
    return 0
