"""Groups: voices with one fader, cleared as one, that give way to others; audio thread.

A group's voices are summed into its block, and that into the mix, at the levels of a voice of
its own: its gain on curves, mute, pan and its commands are any voice's.  Where that voice
would come back from a shortage, the group gives way to another one (``RETURN``); where it
would pause, a clear of all its voices fades out (``FLOW``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    floats_at,
    group_at,
    load,
    load_acquire,
    load_seq,
    ramp_at,
    store_release,
    voice_at,
    words_at,
)
from audiostream.realtime.careful import add_at_levels, cut_voice, obey_now, rest
from audiostream.realtime.envelope import (
    FLOW,
    RETURN,
    is_level,
    level_now,
    set_ramp,
    start_ramp,
)
from audiostream.realtime.heard import read_by_now
from audiostream.realtime.inlined import inlined
from audiostream.realtime.layout import SPAN, VOICE_BYTES
from audiostream.realtime.line import refresh_line
from audiostream.realtime.meter import add_measured, note_span, take_measure
from audiostream.realtime.numbers import larger, smaller

__all__ = ("carry_out_clears", "mix_groups")

FREE, GIVEN_WAY, HOLDING = 0, 1, 2
"""Whether a group is at its own level, has given way, or still does though nobody sounds."""


# --- clears ------------------------------------------------------------------------


@inlined
def cut_voices(stream: Any, address: int) -> None:
    """Have all voices of a group jump to where the clear under way leads."""
    slot = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(slot)
        if voice["group"] == address and load_seq(voice, "active") != 0:
            to = load_acquire(voice, "group_skip")
            if to > read_by_now(stream, voice):
                cut_voice(stream["address"], slot, to)
        slot += VOICE_BYTES


@inlined
def carry_out_clears(stream: Any, frames: int) -> int:
    """Begin the groups' clears and end those that have faded out; the line is fresh.

    Returns
    -------
    int
        So many frames, or fewer if a fade ends before: its voices jump between two pieces.
    """
    groups = words_at(stream["groups"], stream["group_count"] + 1)
    for k in range(stream["group_count"]):
        group = group_at(groups[k])
        group["asked"] = load_acquire(group, "clear_count")
    # A clear's voices were told before it was: now they are in line no more.
    refresh_line(stream)
    count = frames
    for k in range(stream["group_count"]):
        group = group_at(groups[k])
        own = voice_at(group["voice"])
        flow = ramp_at(group["voice"] + FLOW)
        if group["asked"] > own["read"]:
            if group["clearing"] == 0:
                start_ramp(flow, 0.0, load(group, "clear_fade") if group["voices"] > 0 else 0)
            group["clearing"] = group["asked"]
        if group["clearing"] != 0:
            if flow["to_go"] > 0:
                count = smaller(count, flow["to_go"])
            else:
                cut_voices(stream, groups[k])
                set_ramp(flow, 1.0)
                store_release(own, "read", group["clearing"])
                group["clearing"] = 0
    return count


# --- giving way --------------------------------------------------------------------


@inlined
def voices_at(group: Any, at: int) -> int:
    """How many of a group's voices sound in the piece's frame `at`."""
    voices = group["voices"]
    if group["moving"] != 0:
        sounding = words_at(group["sounding"], at + 1)
        for i in range(at + 1):
            voices += sounding[i]
    return voices


@inlined
def give_way(group: Any, at: int, until: int) -> int:
    """Follow the one that a group gives way to, from the piece's frame `at` on.

    Returns
    -------
    int
        The frame at which there is more to do, `until` at the latest.
    """
    back = ramp_at(group["voice"] + RETURN)
    address = load_acquire(group, "key")
    if address == 0:
        if group["way"] != FREE:
            start_ramp(back, 1.0, load(group, "release"))
            group["way"] = FREE
        return until
    key = group_at(address)
    voices = voices_at(key, at)
    if voices > 0:
        if group["way"] == FREE or back["goal"] != load(group, "duck"):
            start_ramp(back, load(group, "duck"), load(group, "attack"))
        group["way"] = GIVEN_WAY
    elif group["way"] == GIVEN_WAY:
        group["way"] = HOLDING
        group["hold_left"] = load(group, "hold")
    if group["way"] == HOLDING:
        if group["hold_left"] == 0:
            start_ramp(back, 1.0, load(group, "release"))
            group["way"] = FREE
        else:
            until = smaller(until, at + group["hold_left"])
    if key["moving"] != 0:
        sounding = words_at(key["sounding"], until + 1)
        before = voices > 0
        for i in range(at + 1, until):
            voices += sounding[i]
            if (voices > 0) != before:
                until = i
                break
    if group["way"] == HOLDING:
        group["hold_left"] -= until - at
    return until


@inlined
def count_voices(group: Any, frames: int) -> None:
    """Add up how many voices sound behind a piece; what is told of the next one stays."""
    if group["moving"] == 0:
        return
    sounding = words_at(group["sounding"], frames + 1)
    for i in range(frames):
        group["voices"] += sounding[i]
        sounding[i] = 0
    if frames > 0:
        sounding[0] = sounding[frames]
        sounding[frames] = 0
        group["moving"] = 1 if sounding[0] != 0 else 0


# --- the mix -----------------------------------------------------------------------


@inlined
def add_group(stream: Any, group: Any, mix: int, offset: int, frames: int, index: int) -> None:
    """Add frames of a group's block, within one span of its meter, to the mix."""
    channels = stream["channels"]
    samples = frames * channels
    address = group["voice"]
    own = voice_at(address)
    if group["members"] == 0:  # nothing was summed into its block
        rest(address, frames)
        note_span(group["meter"], group["meter_mask"], index, 0.0, 0.0)
        return
    found = floats_at(group["meter"] + 8 * (group["meter_mask"] + 1), 2)
    source = group["mix"] + offset
    if own["gain_left"] == 0 and is_level(address):
        gain = np.float32(own["gain"])
        add_measured(
            found, floats_at(mix + offset, samples), floats_at(source, samples), gain, samples
        )
        note_span(group["meter"], group["meter_mask"], index, found[0], found[1])
        return
    before = level_now(own, address)
    take_measure(found, floats_at(source, samples), samples)
    add_at_levels(stream["address"], address, mix + offset, source, frames)
    after = level_now(own, address)
    power = found[1] * (before * before + before * after + after * after) / 3.0
    note_span(
        group["meter"], group["meter_mask"], index, found[0] * larger(before, after), power
    )


@inlined
def mix_group(stream: Any, group: Any, frames: int) -> None:
    """Add a group's block to the mix, carrying out its commands on their frames."""
    address = group["voice"]
    frame = load(stream, "frames")
    done = 0
    while done < frames:
        until = obey_now(stream["address"], address, done, frames)
        until = give_way(group, done, until)
        while done < until:
            index = frame + done
            count = smaller(until - done, SPAN - (index & (SPAN - 1)))
            offset = 4 * stream["channels"] * done
            add_group(stream, group, stream["mix"], offset, count, index)
            done += count


@inlined
def mix_groups(stream: Any, frames: int) -> None:
    """Add the groups' blocks to the mix; their voices were summed into them."""
    groups = words_at(stream["groups"], stream["group_count"] + 1)
    for k in range(stream["group_count"]):
        mix_group(stream, group_at(groups[k]), frames)
    for k in range(stream["group_count"]):
        count_voices(group_at(groups[k]), frames)
