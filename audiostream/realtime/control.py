"""What caller threads and event loops do to the shared memory; compiled, lock held.

These hold the interpreter lock while they run, on purpose: to give it up costs up to
5 ms to get back beside a busy Python thread, and each is done in microseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from audiostream.realtime.atomics import (
    JIT,
    compare_and_swap,
    fence_acquire,
    floats_at,
    load,
    load_acquire,
    load_seq,
    store_seq,
    stream_at,
    voices_at,
    word_at,
)
from audiostream.realtime.mixer import encode
from audiostream.realtime.ring import first_span, mirror

__all__ = (
    "arm",
    "encode_block",
    "load_word",
    "put",
    "read_ring",
    "spread",
    "store_word",
    "take_woken",
)


@register_jitable(**JIT)
def load_word(address: int) -> int:
    """Load the int64 at `address` (sequentially consistent)."""
    return load_seq(word_at(address), "value")


@register_jitable(**JIT)
def store_word(address: int, value: int) -> None:
    """Store the int64 at `address` (sequentially consistent)."""
    store_seq(word_at(address), "value", value)


@register_jitable(**JIT)
def arm(wake: int, index: int, at: int) -> bool:
    """Ask to be woken when the index reaches `at`; True if it already has.

    Several may wait on one word: the earliest index stands, and whoever is woken
    looks again.  The index is looked at only after the wish is published.
    """
    word = word_at(wake)
    while True:
        standing = load_seq(word, "value")
        if standing <= at or compare_and_swap(word, "value", standing, at):
            break
    return load_seq(word_at(index), "value") >= at


@register_jitable(**JIT)
def take_woken(stream_address: int, bell: int, slots: Any) -> int:
    """Collect the slots that a bell was rung for into `slots` (int64); how many."""
    stream = stream_at(stream_address)
    end = load_acquire(stream, "voice_end")
    voices = voices_at(stream["voices"], end)
    count = 0
    for slot in range(end):
        voice = voices[slot]
        if load(voice, "bell") == bell and compare_and_swap(voice, "woken", 1, 0):
            slots[count] = slot
            count += 1
    return count


@register_jitable(**JIT)
def spread(
    target: Any, channels: int, source: Any, source_channels: int, frames: int, scale: Any
) -> None:
    """Convert frames to float32 and to another number of channels.

    Equal counts copy; one channel goes to all; many to one is their mean; otherwise
    channel ``i`` goes to ``i % channels``, the mean where several meet, and channels
    that nothing goes to are silent.

    Parameters
    ----------
    target : float32 (frames * channels,)
    source : int8, int16 or float32 (frames * source_channels,)
    scale : float32
        One over the source's full scale.
    """
    if channels == source_channels:
        for i in range(frames * channels):
            target[i] = np.float32(source[i]) * scale
    elif source_channels == 1:
        for i in range(frames):
            value = np.float32(source[i]) * scale
            for c in range(channels):
                target[i * channels + c] = value
    else:
        for i in range(frames):
            for c in range(channels):
                total = np.float32(0.0)
                met = 0
                for k in range(c, source_channels, channels):
                    total += np.float32(source[i * source_channels + k])
                    met += 1
                target[i * channels + c] = total * scale / np.float32(max(met, 1))


@register_jitable(**JIT)
def put(
    voice_address: int,
    channels: int,
    guard: int,
    source: Any,
    source_channels: int,
    frames: int,
    scale: Any,
) -> None:
    """Convert `frames` frames into a voice's ring and publish them.

    The caller is the ring's one producer and has made sure that there is room.
    """
    voice = voices_at(voice_address, 1)[0]
    ring = voice["ring"]
    capacity = voice["capacity"]
    write = voice["write"]
    position = write & (capacity - 1)
    first = first_span(write, frames, capacity)
    target = floats_at(ring + 4 * channels * position, first * channels)
    spread(target, channels, source, source_channels, first, scale)
    mirror(ring, capacity, guard, channels, position, position + first)
    rest = frames - first
    if rest > 0:
        target = floats_at(ring, rest * channels)
        spread(
            target, channels, source[first * source_channels :], source_channels, rest, scale
        )
        mirror(ring, capacity, guard, channels, 0, rest)
    store_seq(voice, "write", write + frames)


@register_jitable(**JIT)
def read_ring(stream_address: int, index: int, frames: int, target: Any) -> bool:
    """Copy committed frames from the capture ring; False if the writer lapped the copy.

    Parameters
    ----------
    index : int
        First frame; ``index + frames`` is committed.
    target : float32 (frames * channels,)
    """
    stream = stream_at(stream_address)
    channels = stream["channels"]
    capacity = stream["capacity"]
    position = index & (capacity - 1)
    first = first_span(index, frames, capacity) * channels
    source = floats_at(stream["ring"] + 4 * channels * position, first)
    for i in range(first):
        target[i] = source[i]
    rest = frames * channels - first
    if rest > 0:
        source = floats_at(stream["ring"], rest)
        tail = target[first:]
        for i in range(rest):
            tail[i] = source[i]
    fence_acquire()
    return load_acquire(stream, "reserve") - index <= capacity


@register_jitable(**JIT)
def encode_block(source: Any, target: int, encoding: int, count: int) -> None:
    """Encode `count` float32 samples to the address `target`; see the mixer's encode."""
    encode(source, target, encoding, count)
