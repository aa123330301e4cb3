"""Ducking: a group is softer while a voice of its sidechain sounds; audio thread.

The sidechain is another group.  Ducking runs between the voices and the groups, and reads only
how many voices of the sidechain sound from which frame of the block on.  So groups need no
order: A may duck under B while B ducks under A.
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.graph.fader import DUCKING_RAMP, ramp_of
from audiostream.realtime.memory.atomics import group_at, load, load_acquire, voice_at, words_at
from audiostream.realtime.memory.layout import Group
from audiostream.realtime.units.automation import start_ramp

__all__ = ("duck", "forget_changes")

FREE, DUCKED, HOLDING = 0, 1, 2
"""A group is at its own level, is ducked, or still is while its sidechain is silent."""


@inlined
def voices_at(group: Group, at: int) -> int:
    """How many of a group's voices sound in the block's frame `at`."""
    voices = group["voices"]
    if group["moving"] != 0:
        sounding = words_at(group["sounding"], at + 1)
        for i in range(at + 1):
            voices += sounding[i]
    return voices


@inlined
def duck(group: Group, at: int, until: int) -> int:
    """Follow the group's sidechain from the block's frame `at` on.

    Returns
    -------
    int
        The frame at which there is more to do, `until` at the latest.
    """
    ducking = ramp_of(voice_at(group["voice"]), DUCKING_RAMP)
    address = load_acquire(group, "sidechain")
    if address == 0:
        if group["state"] != FREE:
            start_ramp(ducking, 1.0, load(group, "release"))
            group["state"] = FREE
        return until
    sidechain = group_at(address)
    voices = voices_at(sidechain, at)
    if voices > 0:
        if group["state"] == FREE or ducking["goal"] != load(group, "duck"):
            start_ramp(ducking, load(group, "duck"), load(group, "attack"))
        group["state"] = DUCKED
    elif group["state"] == DUCKED:
        group["state"] = HOLDING
        group["hold_left"] = load(group, "hold")
    if group["state"] == HOLDING:
        if group["hold_left"] == 0:
            start_ramp(ducking, 1.0, load(group, "release"))
            group["state"] = FREE
        else:
            until = smaller(until, at + group["hold_left"])
    if sidechain["moving"] != 0:
        sounding = words_at(sidechain["sounding"], until + 1)
        before = voices > 0
        for i in range(at + 1, until):
            voices += sounding[i]
            if (voices > 0) != before:
                until = i
                break
    if group["state"] == HOLDING:
        group["hold_left"] -= until - at
    return until


@inlined
def forget_changes(group: Group, frames: int) -> None:
    """Begin with no changes of how many voices sound, in a block of at most `frames`."""
    if group["moving"] != 0:
        sounding = words_at(group["sounding"], frames + 1)
        for i in range(frames + 1):
            sounding[i] = 0
        group["moving"] = 0
