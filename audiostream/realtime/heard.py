"""What of a voice is heard now, and who waits for that, or for room; audio thread.

The audio thread notes the device's frames at which a voice begins or ceases to run, or jumps;
between these its index moves with the device's frames.
"""

from __future__ import annotations

from typing import Any

from audiostream.realtime.atomics import (
    bell_at,
    compare_and_swap,
    fence_seq,
    load,
    load_acquire,
    load_seq,
    store_release,
    store_seq,
    voice_at,
    words_at,
)
from audiostream.realtime.inlined import inlined
from audiostream.realtime.layout import (
    BELL_BYTES,
    HISTORY,
    NEVER,
    VOICE_BYTES,
)
from audiostream.realtime.numbers import larger, smaller

__all__ = (
    "follow_heard",
    "follow_voices",
    "note_bell",
    "note_break",
    "wake_waiters",
)


@inlined
def note_bell(stream: Any, number: int) -> None:
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
def note_break(voice: Any, frame: int, index: int, running: int) -> None:
    """From the device's frame `frame` on, the voice stands at (or runs from) `index`."""
    head = voice["history_head"]
    entry = words_at(voice["history"] + 24 * (head & (HISTORY - 1)), 3)
    entry[0] = frame
    entry[1] = index
    entry[2] = running
    voice["history_head"] = head + 1


@inlined
def follow_heard(voice: Any, now: int) -> None:
    """Move the heard index along the breaks up to the device's frame `now`; never back.

    The history holds the frames at which the voice began or ceased to run, or jumped;
    between them its index moves with the device's frames.  If more than HISTORY breaks
    are in flight, the position waits for the oldest one still known.
    """
    head = voice["history_head"]
    if head == 0:
        return
    tail = larger(voice["history_tail"], head - HISTORY)
    entry = words_at(voice["history"] + 24 * (tail & (HISTORY - 1)), 3)
    while tail + 1 < head:
        following = words_at(voice["history"] + 24 * ((tail + 1) & (HISTORY - 1)), 3)
        if following[0] > now:
            break
        tail += 1
        entry = following
    voice["history_tail"] = tail
    if entry[0] <= now:
        heard = entry[1]
        if entry[2] != 0:
            heard = smaller(heard + now - entry[0], voice["read"])
        if heard > voice["heard"]:
            store_release(voice, "heard", heard)


@inlined
def follow_voices(stream: Any) -> None:
    """Bring every voice's heard position up to now."""
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_seq(voice, "active") != 0:
            follow_heard(voice, stream["now_frame"])
        address += VOICE_BYTES


@inlined
def wake_voice(stream: Any, voice: Any) -> bool:
    """Ring if an index that somebody waits for is reached; True if somebody waits on.

    Tested on the level in every block.  Only the one who swaps the index for NEVER
    rings, so that a waiter who asks anew in between is never wiped out.
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
def wake_waiters(stream: Any) -> None:
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
