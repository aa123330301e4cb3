"""Index arithmetic of the single-producer single-consumer rings; both sides.

Guaranteed: indices only grow; what is in the ring is ``write - read`` frames; a frame is
at ``index & (capacity - 1)``.  A voice's ring is followed by a *guard*, a copy of its
first frames, so that the audio thread reads up to a guard's length from any index in one
piece; the producer writes those frames twice.

A voice's ring never holds more than its capacity less a largest block, which keeps the guard's
frames apart from those that are being written.

Not guaranteed: an index of the other side may be stale, which only ever shows less room
or fewer frames than there are.

======== ======================= =====================================
index    written by              read by
======== ======================= =====================================
write    producer (a caller)     audio thread
skip     producer (a caller)     audio thread
read     audio thread            producer, for room
reserve  audio thread (capture)  reader, to see whether it was lapped
commit   audio thread (capture)  reader
======== ======================= =====================================
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import apart, inlined
from audiostream.realtime.compile.intrinsics import remainder, smaller
from audiostream.realtime.memory.atomics import floats_at
from audiostream.realtime.memory.layout import Floats, Strip

__all__ = ("contiguous", "copy", "frame_at", "mirror")


@inlined
def contiguous(index: int, frames: int, capacity: int) -> int:
    """Frames up to the ring's end, at most `frames`; the rest begins at its start."""
    return smaller(frames, capacity - (index & (capacity - 1)))


@inlined
def frame_at(voice: Strip, index: int, channels: int) -> int:
    """Address of the frame `index`; a guard's length from there is in one piece.

    A sound that loops (engine/sound.py) may be of any length.
    """
    return voice["ring"] + 4 * channels * remainder(index, voice["capacity"])


@apart
def copy(target: Floats, source: Floats, count: int) -> None:
    """Copy values."""
    for i in range(count):
        target[i] = source[i]


@inlined
def mirror(ring: int, capacity: int, guard: int, channels: int, start: int, stop: int) -> None:
    """Copy the frames ``start:stop`` (positions) that have a twin in the guard to it."""
    stop = smaller(stop, guard)
    if stop > start:
        count = (stop - start) * channels
        source = floats_at(ring + 4 * channels * start, count)
        target = floats_at(ring + 4 * channels * (capacity + start), count)
        copy(target, source, count)
