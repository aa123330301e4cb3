"""One clock read off another, through times that jitter; audio thread, read by others.

A clock sync tells a time, in seconds on the device's clock, from a position that is exactly
known: a frame's number, or a reading of the system's monotonic clock.  Only the audio thread
moves it: it writes the point that is not the current one, and then the version that makes it
the current one.  A reader whose point is overwritten meanwhile sees that the version has moved,
and reads again.  It never waits for an audio thread that was interrupted, or died, in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.memory.atomics import (
    clock_sync_at,
    fence_acquire,
    fence_release,
    load,
    load_acquire,
    point_at,
    store,
    store_release,
)
from audiostream.realtime.memory.layout import CLOCK_SYNC, NEVER, POINT, STREAM, Stream

__all__ = (
    "CLOCK",
    "HOST",
    "JUMP",
    "follow_clock",
    "follow_host",
    "point_of",
    "read_clock",
)

BANDWIDTH = 0.2
"""Of the delay-locked loop (Hz): it settles in some seconds."""

SQRT2 = 1.4142135623730951

JUMP = 0.02
"""Seconds of error at which a clock sync starts again."""

STALE = 0.5
"""Seconds for which late callbacks are ignored, or four blocks if these are longer."""

AGEING = 0.01
"""Seconds by which the earliest callback ages in one: the device's rate may be off so much."""

TOO_EARLY = 0.002
"""Seconds by which a callback is so early that all before it were late."""

CLOCK = int(STREAM.fields["clock_version"][1])  # type: ignore[index]
HOST = int(STREAM.fields["host_version"][1])  # type: ignore[index]
"""Offsets of the stream's two clock syncs."""

POINTS = CLOCK_SYNC.itemsize
POINT_BYTES = POINT.itemsize


@inlined
def point_of(address: int, version: int) -> int:
    """Address of the point that is a clock sync's current one at a version."""
    return address + POINTS + POINT_BYTES * (version & 1)


@inlined
def follow(address: int, position: int, unit: float, measured: float, restart: int) -> None:
    """Move a clock sync on to `position`, whose time was measured; one is `unit` seconds.

    Measured times jitter, so a delay-locked loop smooths them (Adriaensen, "Using a DLL to
    filter time", Linux Audio Conference 2005).  It also learns the drift: by how much the
    positions are off their rate.  After a jump it starts again.
    """
    sync = clock_sync_at(address)
    version = sync["version"]
    point = point_at(point_of(address, version))
    passed = (position - point["anchor"]) * unit
    drift = point["drift"]
    time = point["time"] + passed * (1.0 + drift)
    error = measured - time
    blocks = sync["blocks"] + 1
    angle = smaller(2.0 * np.pi * BANDWIDTH * passed, 0.3)
    if blocks == 1 or restart != 0 or larger(error, -error) > JUMP + 2.0 * passed:
        time = measured
        drift = 0.0
        blocks = 1
    elif SQRT2 * angle * blocks < 1.0:
        time += error / blocks  # the mean of all so far
    else:
        time += SQRT2 * angle * error
        drift += angle * angle * error / passed
    sync["blocks"] = blocks
    other = point_at(point_of(address, version + 1))
    fence_release()  # a reader that sees what follows also sees that this point is not current
    store(other, "anchor", position)
    store(other, "time", time)
    store(other, "drift", drift)
    store_release(sync, "version", version + 1)


@inlined
def follow_clock(stream: Stream, measured: float, jumped: int) -> None:
    """Update when the block's first frame is audible, or was captured."""
    follow(stream["address"] + CLOCK, stream["frames"], 1.0 / stream["rate"], measured, jumped)


@inlined
def follow_host(stream: Stream, begun: int, jumped: int) -> None:
    """Update what the host's clock is at an instant of the monotonic one.

    A callback may begin late (the system was busy, the interpreter was waited for, a few come
    at once), never early.  The host's time may then be old, so only those callbacks count that
    come as early, for their frames, as the earliest of late.  After an underrun frames come
    later, and some servers' clocks stood still meanwhile.
    """
    address = stream["address"] + HOST
    sync = clock_sync_at(address)
    passed = (begun - point_at(point_of(address, sync["version"]))["anchor"]) * 1e-9
    early = begun * 1e-9 - stream["frames"] / stream["rate"]
    later = early - stream["early"]
    lost = jumped != 0 or passed > larger(STALE, 4e-9 * stream["block_ns"])
    if sync["blocks"] > 0 and not lost and later > AGEING * passed:
        return
    stream["early"] = early
    follow(address, begun, 1e-9, stream["time"], 1 if lost or later < -TOO_EARLY else 0)


@inlined
def read_clock(address: int, given: int, unit: float, inverse: bool) -> int:
    """The time (nanoseconds) at the position `given`; -NEVER while nothing is known.

    With `inverse`, the position at the time `given`.
    """
    sync = clock_sync_at(address)
    while True:
        version = load_acquire(sync, "version")
        if version == 0:
            return -NEVER
        point = point_at(point_of(address, version))
        anchor = load(point, "anchor")
        time = load(point, "time")
        drift = load(point, "drift")
        fence_acquire()
        if load(sync, "version") == version:
            break
    step = unit * (1.0 + drift)
    if inverse:
        return anchor + np.int64((given * 1e-9 - time) / step)
    found: Any = np.int64(1e9 * (time + (given - anchor) * step))
    return found
