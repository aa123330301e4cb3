"""What callers tell a voice to do, at once or at a time, on exactly that frame; audio thread.

A caller fills a command's record, publishes it by moving ``command_count``, and moves the
voice's ``changes``.  The audio thread carries out what is due in the order of their times, and
of their giving where these are equal.  Who swaps a command's kind for :data:`NOTHING` has it:
the audio thread to carry it out, or a caller to take it back.  A caller who swaps it for
:data:`WRITTEN` puts another command in its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    command_at,
    compare_and_swap,
    load_acquire,
    load_seq,
    point_at,
    ramp_at,
    store,
    store_release,
)
from audiostream.realtime.envelope import (
    FLOW,
    LEFT,
    MUTE,
    RIGHT,
    set_ramp,
    start_gain,
    start_ramp,
)
from audiostream.realtime.inlined import inlined
from audiostream.realtime.kinds import (
    GAIN,
    HOLD,
    NOTHING,
    PAN,
    PAUSE,
    PAUSED,
    PAUSING,
    PLAY,
    PLAYING,
    RESUME,
    SILENCE,
    STOPPED,
)
from audiostream.realtime.layout import COMMAND_BYTES, COMMANDS, NEVER
from audiostream.realtime.numbers import larger
from audiostream.realtime.timeline import CLOCK, point_of

__all__ = ("forget_done", "frames_until", "next_command", "perform")


@inlined
def frames_until(stream: Any, at: float, frame: int) -> int:
    """Frames from the device's frame `frame` to the one that is heard at `at`."""
    point = point_at(point_of(stream["address"] + CLOCK, stream["clock_version"]))
    seconds = at - point["time"]
    there = np.int64(np.ceil(seconds * stream["rate"] * (1.0 - point["drift"]) - 0.5))
    return point["anchor"] + there - frame


@inlined
def forget_done(voice: Any) -> None:
    """Give the records of what was carried out, or taken back, to the caller again."""
    count = load_acquire(voice, "command_count")
    taken = voice["command_taken"]
    while taken < count:
        command = command_at(voice["commands"] + COMMAND_BYTES * (taken & (COMMANDS - 1)))
        if load_seq(command, "kind") != NOTHING:
            break
        taken += 1
    if taken != voice["command_taken"]:
        store_release(voice, "command_taken", taken)


@inlined
def next_command(stream: Any, voice: Any, frame: int) -> int:
    """Number of the command that is due first, counted from 0; -1: there is none."""
    found = -1
    earliest = NEVER
    first = NEVER
    for number in range(voice["command_taken"], load_acquire(voice, "command_count")):
        command = command_at(voice["commands"] + COMMAND_BYTES * (number & (COMMANDS - 1)))
        if load_seq(command, "kind") > NOTHING:
            due = -NEVER
            if command["at"] != 0.0:
                due = frames_until(stream, command["at"], frame)
            if due < earliest or (due == earliest and command["order"] < first):
                earliest = due
                first = command["order"]
                found = number
    return found


@inlined
def perform(stream: Any, voice: Any, address: int, command: Any, frame: int) -> int:
    """Carry out a command that is due; what is left to do for the mixer, or NOTHING.

    That is STOP or END, which have to do with what is queued.
    """
    kind = load_seq(command, "kind")
    if kind <= NOTHING or not compare_and_swap(command, "kind", kind, NOTHING):
        return NOTHING  # taken back, or another one is put in its place
    if command["at"] != 0.0:
        store(voice, "late", larger(-frames_until(stream, command["at"], frame), 0))
    frames = command["over"]
    sounding = voice["sounding"] != 0
    snaps = command["order"] & 1 != 0
    if not sounding and snaps:
        frames = 0
    flow = ramp_at(address + FLOW)
    transport = voice["transport"]
    if kind == PLAY:
        if transport == STOPPED:
            set_ramp(flow, 1.0)
        else:
            start_ramp(flow, 1.0, command["over"])
        voice["transport"] = PLAYING
    elif kind == RESUME:
        if transport == PAUSED or transport == PAUSING:
            start_ramp(flow, 1.0, command["over"])
            voice["transport"] = PLAYING
    elif kind == PAUSE:
        if transport == PLAYING:
            if sounding and frames > 0:
                start_ramp(flow, 0.0, frames)
                voice["transport"] = PAUSING
            else:
                voice["transport"] = PAUSED
    elif kind == HOLD:
        if transport == PLAYING and not sounding:
            voice["transport"] = PAUSED
    elif kind == GAIN and snaps and command["value"] == voice["gain_goal"]:
        pass  # it is there, or on its way
    elif kind == GAIN:
        start_gain(
            voice,
            command["value"],
            frames,
            command["shape"],
            command["turn"],
            command["turn_other"],
        )
    elif kind == SILENCE:
        start_ramp(ramp_at(address + MUTE), command["value"], frames)
    elif kind == PAN:
        start_ramp(ramp_at(address + LEFT), command["value"], frames)
        start_ramp(ramp_at(address + RIGHT), command["turn"], frames)
    else:
        return kind
    return NOTHING
