"""The commands of a strip, carried out at once or on an exact frame; audio thread.

A caller fills a command's record and publishes it by moving ``command_count``.  The audio
thread carries out those that are due in the order of their times, and of their numbers where
these are equal.  The side that swaps a command's opcode for :data:`NOTHING` has it: the audio
thread to carry it out, or a caller to take it back.  A caller that swaps it for :data:`WRITTEN`
puts another command in its place.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.clock_sync import CLOCK, point_of
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger
from audiostream.realtime.graph.fader import (
    GAIN_RAMP,
    LEFT_RAMP,
    MUTE_RAMP,
    RIGHT_RAMP,
    TRANSPORT_RAMP,
    ramp_of,
)
from audiostream.realtime.graph.nodes import node_of
from audiostream.realtime.graph.ring_source import stop_voice
from audiostream.realtime.memory.atomics import (
    command_at,
    compare_and_swap,
    load_acquire,
    load_seq,
    node_at,
    parameter_at,
    point_at,
    ramp_at,
    store,
    store_release,
)
from audiostream.realtime.memory.layout import (
    COMMAND_BYTES,
    COMMANDS,
    NEVER,
    PARAMETER_BYTES,
    Command,
    Ramp,
    Stream,
    Strip,
)
from audiostream.realtime.opcodes import (
    END,
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
    SET,
    SILENCE,
    STOP,
    STOPPED,
)
from audiostream.realtime.units.automation import set_ramp, start_curve, start_ramp

__all__ = ("command_of", "forget_done", "frames_until", "next_command", "perform")


@inlined
def command_of(strip: Strip, number: int) -> Command:
    """The record of a strip's command, counted from 0."""
    return command_at(strip["commands"] + COMMAND_BYTES * (number & (COMMANDS - 1)))


@inlined
def frames_until(stream: Stream, command: Command, frame: int) -> int:
    """Frames from the device's frame `frame` to a command's; -NEVER: it has no time."""
    if command["at"] == 0.0:
        return -NEVER
    point = point_at(point_of(stream["address"] + CLOCK, stream["clock_version"]))
    seconds = command["at"] - point["time"]
    there = np.int64(np.ceil(seconds * stream["rate"] * (1.0 - point["drift"]) - 0.5))
    return point["anchor"] + there - frame


@inlined
def forget_done(strip: Strip) -> None:
    """Return the records of commands that were carried out, or taken back, to the caller."""
    count = load_acquire(strip, "command_count")
    taken = strip["command_taken"]
    while taken < count and load_seq(command_of(strip, taken), "opcode") == NOTHING:
        taken += 1
    if taken != strip["command_taken"]:
        store_release(strip, "command_taken", taken)


@inlined
def next_command(stream: Stream, strip: Strip, frame: int) -> int:
    """Number of the command that is due first, counted from 0; -1: there is none."""
    found = -1
    earliest = NEVER
    first = NEVER
    for number in range(strip["command_taken"], load_acquire(strip, "command_count")):
        command = command_of(strip, number)
        if load_seq(command, "opcode") > NOTHING:
            due = frames_until(stream, command, frame)
            if due < earliest or (due == earliest and command["order"] < first):
                earliest = due
                first = command["order"]
                found = number
    return found


@inlined
def perform(stream: Stream, strip: Strip, command: Command, frame: int, done: int) -> None:
    """Carry out a command that is due `done` frames into the block that begins at `frame`."""
    opcode = load_seq(command, "opcode")
    if opcode <= NOTHING or not compare_and_swap(command, "opcode", opcode, NOTHING):
        return  # taken back, or replaced
    if command["at"] != 0.0:
        store(strip, "late", larger(-frames_until(stream, command, frame), 0))
    frames = command["over"]
    snaps = command["order"] & 1 != 0
    has_tail = strip["nodes_now"] != 0 and strip["asleep"] == 0
    if snaps and strip["sounding"] == 0 and not has_tail:
        frames = 0
    if opcode == GAIN:
        gain = ramp_of(strip, GAIN_RAMP)
        if not snaps or command["value"] != gain["goal"]:  # else it is there, or moves there
            start_command(gain, command, frames)
    elif opcode == SILENCE:
        start_ramp(ramp_of(strip, MUTE_RAMP), command["value"], frames)
    elif opcode == PAN:
        start_ramp(ramp_of(strip, LEFT_RAMP), command["value"], frames)
        start_ramp(ramp_of(strip, RIGHT_RAMP), command["turn"], frames)
    elif opcode == SET:
        set_parameter(strip, command)
    elif opcode == STOP or opcode == END:
        stop_voice(stream, strip, opcode, command["over"], frame + done)
    else:
        move_transport(strip, opcode, command["over"], frames)


@inlined
def start_command(ramp: Ramp, command: Command, frames: int) -> None:
    """Move a ramp as a command says."""
    start_curve(
        ramp,
        command["value"],
        frames,
        command["shape"],
        command["turn"],
        command["turn_other"],
    )


@inlined
def set_parameter(strip: Strip, command: Command) -> None:
    """Move a parameter of one of the strip's nodes; one that is gone is not found."""
    address = node_of(strip["nodes_now"], command["node"])
    generator = strip["generator"]
    if generator != 0 and node_at(generator)["serial"] == command["node"]:
        address = generator
    if address != 0:
        node = node_at(address)
        parameter = node["params"] + PARAMETER_BYTES * command["parameter"]
        start_command(ramp_at(parameter), command, command["over"])
        parameter_at(parameter)["filled"] = 0


@inlined
def move_transport(strip: Strip, opcode: int, over: int, frames: int) -> None:
    """Play, pause, resume or hold; `frames` is `over`, or 0 where nothing sounds."""
    gain = ramp_of(strip, TRANSPORT_RAMP)
    transport = strip["transport"]
    sounding = strip["sounding"] != 0
    if opcode == PLAY:
        if transport == STOPPED:
            set_ramp(gain, 1.0)
        else:
            start_ramp(gain, 1.0, over)
        strip["transport"] = PLAYING
    elif opcode == RESUME:
        if transport == PAUSED or transport == PAUSING:
            start_ramp(gain, 1.0, over)
            strip["transport"] = PLAYING
    elif opcode == PAUSE:
        if transport == PLAYING:
            if sounding and frames > 0:
                start_ramp(gain, 0.0, frames)
                strip["transport"] = PAUSING
            else:
                strip["transport"] = PAUSED
    elif opcode == HOLD and transport == PLAYING and not sounding:
        strip["transport"] = PAUSED
