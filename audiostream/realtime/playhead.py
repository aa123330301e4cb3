"""The playhead: which frame of a voice is audible now; audio thread.

Each voice has a list of breaks: the device's frames at which it begins or ceases to run, or
jumps.  Between these its index moves with the device's frames.  The effects after it make all
of that so many frames later.
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.memory.atomics import (
    load_acquire,
    load_seq,
    store_release,
    voice_at,
    words_at,
)
from audiostream.realtime.memory.layout import HISTORY, VOICE_BYTES, Stream, Strip

__all__ = ("follow_playhead", "follow_voices", "note_break")


@inlined
def note_break(voice: Strip, frame: int, index: int, running: int) -> None:
    """Note the device's frame from which the voice stands at, or runs from, `index`."""
    head = voice["history_head"]
    entry = words_at(voice["history"] + 24 * (head & (HISTORY - 1)), 3)
    entry[0] = frame
    entry[1] = index
    entry[2] = running
    voice["history_head"] = head + 1


@inlined
def follow_heard(voice: Strip, now: int) -> None:
    """Move a voice's playhead along its breaks up to the device's frame `now`; never back.

    If more than HISTORY breaks are in flight, it waits for the oldest one that is known.
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
def follow_rest(strip: Strip, now: int) -> None:
    """Move the index up to which a strip's tail was heard, too; without effects it has none."""
    rested = strip["heard"]
    if strip["nodes_now"] != 0:
        rested = smaller(rested, strip["rest_index"]) if strip["rest_from"] <= now else 0
    if rested > strip["rested"]:
        store_release(strip, "rested", rested)


@inlined
def follow_playhead(strip: Strip, now: int) -> None:
    """Move on what was heard of a strip when the device's frame `now` is audible."""
    audible = now - strip["lag"]
    follow_heard(strip, audible)
    follow_rest(strip, audible)


@inlined
def follow_voices(stream: Stream) -> None:
    """Move every voice's playhead up to now."""
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_seq(voice, "active") != 0:
            follow_playhead(voice, stream["now_frame"])
        address += VOICE_BYTES
