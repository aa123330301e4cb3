"""Straight lines through times that jitter, and what is read off them; audio thread, others.

A line tells a time, in seconds on the device's clock, from a place that is exactly known: a
frame's number, or a reading of the system's monotonic clock.  The audio thread alone moves it:
it writes the point that is not the current one, and then the version that makes it so.  Who
reads a point while the next but one is written sees the version move, and reads again; an
audio thread that is held up, or dies, in between is not waited for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.memory.atomics import (
    fence_acquire,
    fence_release,
    load,
    load_acquire,
    point_at,
    store,
    store_release,
    timeline_at,
)
from audiostream.realtime.memory.layout import NEVER, POINT, STREAM, TIMELINE, Stream

__all__ = (
    "CLOCK",
    "HOST",
    "JUMP",
    "follow_clock",
    "follow_host",
    "point_of",
    "read_line",
)

BANDWIDTH = 0.2
"""Of the loop that smooths a line (Hz): it settles in some seconds."""

SQRT2 = 1.4142135623730951

JUMP = 0.02
"""Seconds that a line may be off before it is set anew."""

PATIENCE = 0.5
"""Seconds for which callbacks that come late are not listened to, or four blocks if longer."""

FORGIVEN = 0.01
"""By how much the earliest callback ages: the device's frames may be so much off their rate."""

MISLED = 0.002
"""Seconds by which a callback is so early that all before it were late."""

CLOCK = int(STREAM.fields["clock_version"][1])  # type: ignore[index]
HOST = int(STREAM.fields["host_version"][1])  # type: ignore[index]
"""Where the stream's record has its two lines."""

POINTS = TIMELINE.itemsize
POINT_BYTES = POINT.itemsize


@inlined
def point_of(address: int, version: int) -> int:
    """Address of the point that is a line's current one at a version."""
    return address + POINTS + POINT_BYTES * (version & 1)


@inlined
def follow(address: int, place: int, unit: float, said: float, anew: int) -> None:
    """Move a line on to `place`, for which `said` was told; a place is `unit` seconds.

    What is told jitters, so it is smoothed by a delay-locked loop (Adriaensen, "Using a DLL to
    filter time", Linux Audio Conference 2005), which learns, too, by how much the places are
    off their rate.  A jump begins it anew.
    """
    line = timeline_at(address)
    version = line["version"]
    point = point_at(point_of(address, version))
    passed = (place - point["anchor"]) * unit
    drift = point["drift"]
    time = point["time"] + passed * (1.0 + drift)
    error = said - time
    blocks = line["blocks"] + 1
    angle = smaller(2.0 * np.pi * BANDWIDTH * passed, 0.3)
    if blocks == 1 or anew != 0 or larger(error, -error) > JUMP + 2.0 * passed:
        time = said
        drift = 0.0
        blocks = 1
    elif SQRT2 * angle * blocks < 1.0:
        time += error / blocks  # the mean of what was said so far
    else:
        time += SQRT2 * angle * error
        drift += angle * angle * error / passed
    line["blocks"] = blocks
    other = point_at(point_of(address, version + 1))
    fence_release()  # whoever sees what follows sees, too, that this point is no longer current
    store(other, "anchor", place)
    store(other, "time", time)
    store(other, "drift", drift)
    store_release(line, "version", version + 1)


@inlined
def follow_clock(stream: Stream, said: float, jumped: int) -> None:
    """Bring up to now when the block's first frame is heard, or was captured."""
    follow(stream["address"] + CLOCK, stream["frames"], 1.0 / stream["rate"], said, jumped)


@inlined
def follow_host(stream: Stream, begun: int, jumped: int) -> None:
    """Bring up to now what the host's clock says at an instant of the monotonic one.

    A callback's beginning is late, if it is not in time: the system was busy, the interpreter
    was waited for, or a few come at once.  What the host calls now may then lie behind, so only
    those are listened to that come as early, for their frames, as the earliest of late.  After
    an underrun frames come later, and some servers' clocks have stood still meanwhile.
    """
    address = stream["address"] + HOST
    line = timeline_at(address)
    passed = (begun - point_at(point_of(address, line["version"]))["anchor"]) * 1e-9
    early = begun * 1e-9 - stream["frames"] / stream["rate"]
    later = early - stream["early"]
    lost = jumped != 0 or passed > larger(PATIENCE, 4e-9 * stream["block_ns"])
    if line["blocks"] > 0 and not lost and later > FORGIVEN * passed:
        return
    stream["early"] = early
    follow(address, begun, 1e-9, stream["time"], 1 if lost or later < -MISLED else 0)


@inlined
def read_line(address: int, given: int, unit: float, inverse: bool) -> int:
    """The time (nanoseconds) at the place `given`, or the place at that time if `inverse`.

    -NEVER while nothing is known.
    """
    line = timeline_at(address)
    while True:
        version = load_acquire(line, "version")
        if version == 0:
            return -NEVER
        point = point_at(point_of(address, version))
        anchor = load(point, "anchor")
        time = load(point, "time")
        drift = load(point, "drift")
        fence_acquire()
        if load(line, "version") == version:
            break
    step = unit * (1.0 + drift)
    if inverse:
        return anchor + np.int64((given * 1e-9 - time) / step)
    found: Any = np.int64(1e9 * (time + (given - anchor) * step))
    return found
