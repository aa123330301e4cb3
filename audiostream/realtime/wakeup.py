"""Wakeups of waiters for room in a ring, or for an audible frame; audio thread."""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.memory.atomics import (
    compare_and_swap,
    fence_seq,
    load,
    load_acquire,
    load_seq,
    store_seq,
    voice_at,
    wakeup_at,
    words_at,
)
from audiostream.realtime.memory.layout import NEVER, VOICE_BYTES, WAKEUP_BYTES, Stream, Strip

__all__ = ("note_wakeup", "wake_waiters")


@inlined
def note_wakeup(stream: Stream, number: int) -> None:
    """Note that a wakeup is to be signalled at the end of the callback, once."""
    if number < 0:
        return
    wakeup = wakeup_at(stream["wakeup_table"] + number * WAKEUP_BYTES)
    if wakeup["noted"] == 0:
        wakeup["noted"] = 1
        noted = words_at(stream["noted"], stream["noted_count"] + 1)
        noted[stream["noted_count"]] = number
        stream["noted_count"] += 1


@inlined
def wake_voice(stream: Stream, voice: Strip) -> bool:
    """Signal if an index that is waited for is reached; True if one still is.

    The level is tested, in every block.  Only the thread that swaps the index for NEVER
    signals, so that a waiter that asks again in between is never forgotten.
    """
    heard_at = load_seq(voice, "wake_heard")
    rested_at = load_seq(voice, "wake_rested")
    read_at = load_seq(voice, "wake_read")
    reached = voice["read"] >= read_at and compare_and_swap(voice, "wake_read", read_at, NEVER)
    if voice["heard"] >= heard_at and compare_and_swap(voice, "wake_heard", heard_at, NEVER):
        reached = True
    if voice["rested"] >= rested_at and compare_and_swap(
        voice, "wake_rested", rested_at, NEVER
    ):
        reached = True
    if reached:
        store_seq(voice, "woken", 1)
        note_wakeup(stream, load(voice, "wakeup"))
    return read_at != NEVER or heard_at != NEVER or rested_at != NEVER


@inlined
def wake_waiters(stream: Stream) -> None:
    """Signal for every voice that has reached the index that is waited for.

    The fence puts the indices that this block has moved before the load of ``armed``; a
    waiter publishes its index, sets ``armed``, and only then looks at the voice's.  So one of
    the two sees the other.  Where it is set during the loop, the next block looks again.
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
