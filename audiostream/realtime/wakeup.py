"""Waking those that wait for room in a voice's ring, or until it was heard; audio thread."""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.memory.atomics import (
    bell_at,
    compare_and_swap,
    fence_seq,
    load,
    load_acquire,
    load_seq,
    store_seq,
    voice_at,
    words_at,
)
from audiostream.realtime.memory.layout import BELL_BYTES, NEVER, VOICE_BYTES, Stream, Strip

__all__ = ("note_bell", "wake_waiters")


@inlined
def note_bell(stream: Stream, number: int) -> None:
    """Note that a bell is to be rung when the block is done; once a callback."""
    if number < 0:
        return
    bell = bell_at(stream["bells"] + number * BELL_BYTES)
    if bell["noted"] == 0:
        bell["noted"] = 1
        noted = words_at(stream["noted"], stream["noted_count"] + 1)
        noted[stream["noted_count"]] = number
        stream["noted_count"] += 1


@inlined
def wake_voice(stream: Stream, voice: Strip) -> bool:
    """Ring if an index that somebody waits for is reached; True if somebody waits on.

    Tested on the level in every block.  Only the one who swaps the index for NEVER
    rings, so that a waiter who asks again in between is never forgotten.
    """
    heard_at = load_seq(voice, "wake_heard")
    read_at = load_seq(voice, "wake_read")
    rung = voice["read"] >= read_at and compare_and_swap(voice, "wake_read", read_at, NEVER)
    if voice["heard"] >= heard_at and compare_and_swap(voice, "wake_heard", heard_at, NEVER):
        rung = True
    if rung:
        store_seq(voice, "woken", 1)
        note_bell(stream, load(voice, "bell"))
    return read_at != NEVER or heard_at != NEVER


@inlined
def wake_waiters(stream: Stream) -> None:
    """Ring for every voice that has reached what its waiters wait for.

    The fence puts the indices that this block has moved before the look at ``armed``; a
    waiter publishes its wish, sets ``armed``, and only then looks at the index.  One of the
    two sees the other.  Somebody who sets it during the look is seen in the next block.
    """
    fence_seq()
    if load_seq(stream, "armed") == 0:
        return
    store_seq(stream, "armed", 0)
    waiting = False
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_seq(voice, "active") != 0 and wake_voice(stream, voice):
            waiting = True
        address += VOICE_BYTES
    if waiting:
        store_seq(stream, "armed", 1)
