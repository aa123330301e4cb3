"""What caller threads and event loops do to the shared memory; compiled, lock held.

These hold the interpreter lock while they run, on purpose: to give it up costs up to
5 ms to get back beside a busy Python thread, and each is done in microseconds.
"""

from __future__ import annotations

from audiostream.realtime.clock_sync import CLOCK, HOST, read_clock
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
from audiostream.realtime.memory.layout import STREAM, VOICE, VOICE_BYTES, Stream
from audiostream.realtime.memory.ring import contiguous, copy, mirror
from audiostream.realtime.units.conversion import convert, encode

__all__ = (
    "collect_woken",
    "encode_block",
    "heard_at",
    "latest_time",
    "load_word",
    "monotonic_at",
    "read_encoded",
    "read_floats",
    "request_room",
    "request_wakeup",
    "spread",
    "store_word",
    "swap_word",
    "time_at",
    "write_frames",
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
def request_wakeup(wake: int, index: int, at: int, armed: int) -> bool:
    """Ask to be woken when the index reaches `at`; True if it already has.

    Several may wait on one word: the earliest index stands, and all that are woken look again.
    The index is read only after `at` is published, and after the word at the address `armed`
    makes the audio thread look.
    """
    if load_seq(word_at(index), "value") >= at:
        return True  # and nothing is left that would signal
    word = word_at(wake)
    while True:
        standing = load_seq(word, "value")
        if standing <= at or compare_and_swap(word, "value", standing, at):
            break
    store_seq(word_at(armed), "value", 1)
    return load_seq(word_at(index), "value") >= at


@inlined
def heard_at(stream_address: int, frame: int) -> int:
    """When the device's frame `frame` is audible, on its clock (ns); -NEVER: unknown."""
    stream = stream_at(stream_address)
    return read_clock(stream_address + CLOCK, frame, 1.0 / stream["rate"], False)


@inlined
def time_at(stream_address: int, monotonic: int) -> int:
    """The device's clock at an instant of the monotonic one (nanoseconds); -NEVER: unknown."""
    return read_clock(stream_address + HOST, monotonic, 1e-9, False)


@inlined
def monotonic_at(stream_address: int, time: int) -> int:
    """The inverse of :func:`time_at`."""
    return read_clock(stream_address + HOST, time, 1e-9, True)


@inlined
def latest_time(stream_address: int, time: int) -> int:
    """A time of the device's clock (nanoseconds), or the latest that was returned, if later.

    So no later call on any thread gets an earlier time.
    """
    stream = stream_at(stream_address)
    while True:
        latest = load_seq(stream, "latest")
        if time <= latest:
            return latest
        if compare_and_swap(stream, "latest", latest, time):
            return time


@inlined
def collect_woken(stream_address: int, wakeup: int, slots_address: int) -> int:
    """Collect the slots that a wakeup was signalled for into `slots` (int64); how many."""
    stream = stream_at(stream_address)
    end = load_acquire(stream, "voice_end")
    slots = words_at(slots_address, end)
    count = 0
    for slot in range(end):
        voice = voice_at(stream["voices"] + slot * VOICE_BYTES)
        if load(voice, "wakeup") == wakeup and compare_and_swap(voice, "woken", 1, 0):
            slots[count] = slot
            count += 1
    return count


# --- voices: frames into a ring ------------------------------------------------------


@inlined
def spread(
    target: int,
    channels: int,
    source: int,
    encoding: int,
    source_channels: int,
    frames: int,
) -> None:
    """Convert frames to float32 and to another number of channels, as :func:`convert` does.

    Parameters
    ----------
    target : int
        Address of float32 (frames * channels,).
    source : int
        Address of int8, int16 or float32 (frames * source_channels,), by `encoding`.
    """
    convert(source, encoding, source_channels, target, channels, frames)


@inlined
def write_frames(producer_address: int, source: int, frames: int) -> int:
    """Convert frames into a voice's ring, as many as there is room for, and publish them.

    The caller is the ring's one producer.  What stays the same from one write to the next is
    in a record: ctypes takes 0.15 us for each argument, on top of 0.4.

    Returns
    -------
    int
        Frames taken.
    """
    producer = producer_at(producer_address)
    stream, voice = stream_at(producer["stream"]), voice_at(producer["voice"])
    encoding, source_channels = producer["encoding"], producer["channels"]
    channels = stream["channels"]
    capacity = voice["capacity"]
    write = voice["write"]
    room = producer["limit"] - (write - load_acquire(voice, "read"))
    count = larger(smaller(frames, room), 0)
    end = write + count
    while write < end:
        position = write & (capacity - 1)
        part = contiguous(write, end - write, capacity)
        target = voice["ring"] + 4 * channels * position
        convert(source, encoding, source_channels, target, channels, part)
        mirror(
            voice["ring"], capacity, stream["max_block"], channels, position, position + part
        )
        source += part * source_channels * (encoding >> 3)
        write += part
    store_seq(voice, "write", end)
    return count


@inlined
def request_room(producer_address: int) -> bool:
    """Ask to be woken when half of what a ring may hold is free; True if it is."""
    producer = producer_at(producer_address)
    stream_address, voice_address = producer["stream"], producer["voice"]
    write, limit = load(voice_at(voice_address), "write"), producer["limit"]
    # Never beyond what there is to read: the voice may starve meanwhile.
    at = smaller(write - limit + larger(limit >> 1, 1), write)
    return request_wakeup(
        voice_address + WAKE_READ, voice_address + READ, at, stream_address + ARMED
    )


# --- a capture's ring ----------------------------------------------------------------


@inlined
def copy_out(stream: Stream, index: int, frames: int, encoding: int, target: int) -> bool:
    """Encode frames of the capture ring, or copy them if `encoding` is 0.

    False if the writer lapped the copy.
    """
    channels = stream["channels"]
    capacity = stream["capacity"]
    at = index
    while at < index + frames:
        part = contiguous(at, index + frames - at, capacity)
        count = part * channels
        source = floats_at(stream["ring"] + 4 * channels * (at & (capacity - 1)), count)
        if encoding == 0:
            copy(floats_at(target, count), source, count)
            target += 4 * count
        else:
            encode(source, target, encoding, count)
            target += count * (encoding >> 3)
        at += part
    fence_acquire()
    return load_acquire(stream, "reserve") - index <= capacity


@inlined
def read_encoded(
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
        Address for frames * channels values.

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
    return 1 if copy_out(stream, index, frames, encoding, target) else -1


@inlined
def read_floats(stream_address: int, index: int, frames: int, target: int) -> bool:
    """Copy committed frames from the capture ring; False if the writer lapped the copy.

    Parameters
    ----------
    index : int
        First frame; ``index + frames`` is committed.
    target : int
        Address of float32 (frames * channels,).
    """
    return copy_out(stream_at(stream_address), index, frames, 0, target)


@inlined
def encode_block(source: int, target: int, encoding: int, count: int) -> None:
    """Encode `count` float32 values at the address `source`; see :func:`encode`."""
    encode(floats_at(source, count), target, encoding, count)
