"""What caller threads and event loops do to the shared memory; compiled, lock held.

These hold the interpreter lock while they run, on purpose: to give it up costs up to
5 ms to get back beside a busy Python thread, and each is done in microseconds.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.clock_sync import CLOCK, HOST, place_on, time_on
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.memory.atomics import (
    compare_and_swap,
    fence_acquire,
    floats_at,
    load,
    load_acquire,
    load_seq,
    producer_at,
    store_seq,
    stream_at,
    voice_at,
    word_at,
    words_at,
)
from audiostream.realtime.memory.layout import STREAM, VOICE, VOICE_BYTES
from audiostream.realtime.memory.ring import first_span, mirror
from audiostream.realtime.units.conversion import decode, decode_to_both, encode, sample_at

__all__ = (
    "arm",
    "arm_room",
    "encode_block",
    "heard_at",
    "load_word",
    "monotonic_at",
    "put",
    "put_more",
    "read_ring",
    "spread",
    "store_word",
    "swap_word",
    "take",
    "take_woken",
    "tell",
    "time_at",
)


READ = int(VOICE.fields["read"][1])  # type: ignore[index]
WAKE_READ = int(VOICE.fields["wake_read"][1])  # type: ignore[index]
ARMED = int(STREAM.fields["armed"][1])  # type: ignore[index]
"""Where these words are in their records."""


@inlined
def load_word(address: int) -> int:
    """Load the int64 at `address` (sequentially consistent)."""
    return load_seq(word_at(address), "value")


@inlined
def store_word(address: int, value: int) -> None:
    """Store the int64 at `address` (sequentially consistent)."""
    store_seq(word_at(address), "value", value)


@inlined
def swap_word(address: int, expected: int, value: int) -> bool:
    """Store an int64 at `address` if it is still `expected`; True if it was."""
    return compare_and_swap(word_at(address), "value", expected, value)


@inlined
def arm(wake: int, index: int, at: int, armed: int) -> bool:
    """Ask to be woken when the index reaches `at`; True if it already has.

    Several may wait on one word: the earliest index stands, and whoever is woken
    looks again.  The index is looked at only after the wish is published, and after the
    audio thread is told at the address `armed` that there are wishes to look at.
    """
    if load_seq(word_at(index), "value") >= at:
        return True  # and nothing is left behind that would ring
    word = word_at(wake)
    while True:
        standing = load_seq(word, "value")
        if standing <= at or compare_and_swap(word, "value", standing, at):
            break
    store_seq(word_at(armed), "value", 1)
    return load_seq(word_at(index), "value") >= at


@inlined
def heard_at(stream_address: int, frame: int) -> int:
    """When the device's frame `frame` is heard, on its clock (nanoseconds); -NEVER: unknown."""
    stream = stream_at(stream_address)
    return time_on(stream_address + CLOCK, frame, 1.0 / stream["rate"])


@inlined
def time_at(stream_address: int, monotonic: int) -> int:
    """The device's clock at an instant of the monotonic one (nanoseconds); -NEVER: unknown."""
    return time_on(stream_address + HOST, monotonic, 1e-9)


@inlined
def monotonic_at(stream_address: int, time: int) -> int:
    """The inverse of :func:`time_at`."""
    return place_on(stream_address + HOST, time, 1e-9)


@inlined
def tell(stream_address: int, time: int) -> int:
    """A time of the device's clock (nanoseconds), or the latest that was told if that is later.

    Whoever asks later, on whatever thread, is never told an earlier one.
    """
    stream = stream_at(stream_address)
    while True:
        told = load_seq(stream, "told")
        if time <= told:
            return told
        if compare_and_swap(stream, "told", told, time):
            return time


@inlined
def take_woken(stream_address: int, bell: int, slots_address: int) -> int:
    """Collect the slots that a bell was rung for into `slots` (int64); how many."""
    stream = stream_at(stream_address)
    end = load_acquire(stream, "voice_end")
    slots = words_at(slots_address, end)
    count = 0
    for slot in range(end):
        voice = voice_at(stream["voices"] + slot * VOICE_BYTES)
        if load(voice, "bell") == bell and compare_and_swap(voice, "woken", 1, 0):
            slots[count] = slot
            count += 1
    return count


@inlined
def spread(
    target_address: int,
    channels: int,
    source: int,
    encoding: int,
    source_channels: int,
    frames: int,
) -> None:
    """Convert frames to float32 and to another number of channels.

    Equal counts copy; one channel goes to all; many to one is their mean; otherwise
    channel ``i`` goes to ``i % channels``, the mean where several meet, and channels
    that nothing goes to are silent.

    Parameters
    ----------
    target_address : int
        Of float32 (frames * channels,).
    source : int
        Address of int8, int16 or float32 (frames * source_channels,), by `encoding`.
    """
    target = floats_at(target_address, frames * channels)
    if channels == source_channels:
        decode(source, target, encoding, frames * channels)
        return
    if source_channels == 1 and channels == 2:
        decode_to_both(source, target, encoding, frames)
        return
    for i in range(frames):
        for c in range(channels):
            first = 0 if source_channels == 1 else c
            total = 0.0
            for k in range(first, source_channels, larger(channels, 1)):
                total += sample_at(source, encoding, i * source_channels + k)
            met = (source_channels - first + channels - 1) // channels
            target[i * channels + c] = np.float32(total / larger(met, 1))


@inlined
def put(
    stream_address: int,
    voice_address: int,
    limit: int,
    source: int,
    encoding: int,
    source_channels: int,
    frames: int,
) -> int:
    """Convert frames into a voice's ring, as many as there is room for, and publish them.

    The caller is the ring's one producer.

    Parameters
    ----------
    limit : int
        Frames that the ring may hold afterwards.

    Returns
    -------
    int
        Frames taken.
    """
    stream = stream_at(stream_address)
    voice = voice_at(voice_address)
    channels = stream["channels"]
    guard = stream["slice"]
    capacity = voice["capacity"]
    write = voice["write"]
    room = limit - (write - load_acquire(voice, "read"))
    count = larger(smaller(frames, room), 0)
    end = write + count
    while write < end:
        position = write & (capacity - 1)
        span = first_span(write, end - write, capacity)
        target = voice["ring"] + 4 * channels * position
        spread(target, channels, source, encoding, source_channels, span)
        mirror(voice["ring"], capacity, guard, channels, position, position + span)
        source += span * source_channels * (encoding >> 3)
        write += span
    store_seq(voice, "write", end)
    return count


@inlined
def put_more(producer_address: int, source: int, frames: int) -> int:
    """:func:`put` for one who writes the same kind of thing again and again.

    ctypes takes 0.15 us for each argument, on top of 0.4.
    """
    producer = producer_at(producer_address)
    return put(
        producer["stream"],
        producer["voice"],
        producer["limit"],
        source,
        producer["encoding"],
        producer["channels"],
        frames,
    )


@inlined
def arm_room(producer_address: int) -> bool:
    """Ask to be woken when half of what a ring may hold is free; True if it is."""
    producer = producer_at(producer_address)
    stream_address, voice_address = producer["stream"], producer["voice"]
    write, limit = load(voice_at(voice_address), "write"), producer["limit"]
    # Never beyond what there is to read: the ring may have run dry meanwhile.
    at = smaller(write - limit + larger(limit >> 1, 1), write)
    return arm(voice_address + WAKE_READ, voice_address + READ, at, stream_address + ARMED)


@inlined
def take(
    stream_address: int, index: int, frames: int, limit: int, encoding: int, target: int
) -> int:
    """Encode committed frames of the capture ring.

    Parameters
    ----------
    index : int
        First frame.
    limit : int
        Frames that may be queued.
    target : int
        Address for frames * channels samples.

    Returns
    -------
    int
        1 if they were copied; 0 if they are not there yet; -1 if more are queued than may be.
    """
    stream = stream_at(stream_address)
    queued = load_acquire(stream, "commit") - index
    if queued > limit:
        return -1
    if queued < frames:
        return 0
    channels = stream["channels"]
    capacity = stream["capacity"]
    at = index
    while at < index + frames:
        span = first_span(at, index + frames - at, capacity)
        source = stream["ring"] + 4 * channels * (at & (capacity - 1))
        encode(floats_at(source, span * channels), target, encoding, span * channels)
        target += span * channels * (encoding >> 3)
        at += span
    fence_acquire()
    return 1 if load_acquire(stream, "reserve") - index <= capacity else -1


@inlined
def read_ring(stream_address: int, index: int, frames: int, target_address: int) -> bool:
    """Copy committed frames from the capture ring; False if the writer lapped the copy.

    Parameters
    ----------
    index : int
        First frame; ``index + frames`` is committed.
    target_address : int
        Of float32 (frames * channels,).
    """
    stream = stream_at(stream_address)
    channels = stream["channels"]
    capacity = stream["capacity"]
    done = 0
    while done < frames:
        position = (index + done) & (capacity - 1)
        count = first_span(index + done, frames - done, capacity)
        source = floats_at(stream["ring"] + 4 * channels * position, count * channels)
        target = floats_at(target_address + 4 * channels * done, count * channels)
        for i in range(count * channels):
            target[i] = source[i]
        done += count
    fence_acquire()
    return load_acquire(stream, "reserve") - index <= capacity


@inlined
def encode_block(source: int, target: int, encoding: int, count: int) -> None:
    """Encode `count` float32 samples at the address `source`; see the mixer's encode."""
    encode(floats_at(source, count), target, encoding, count)
