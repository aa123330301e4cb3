"""Strips: a source, its effects and a fader that plays into a bus; audio thread.

A voice, a one-shot sound and a group are strips.  :func:`run_voice` reads a ring,
:func:`run_group` a block that the group's voices were added to.  Without effects a source is
added to its bus straight from where it lies, bit for bit where every level is 1.
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.graph.commands import (
    forget_done,
    frames_until,
    next_command,
    perform,
)
from audiostream.realtime.graph.ducking import duck
from audiostream.realtime.graph.fader import (
    CLEARING_RAMP,
    FADER_RAMPS,
    SOURCE_RAMPS,
    fade,
    fade_source,
    ramp_of,
)
from audiostream.realtime.graph.nodes import run_nodes
from audiostream.realtime.graph.ring_source import cut, play, stop_voice
from audiostream.realtime.memory.atomics import (
    command_at,
    floats_at,
    group_at,
    load,
    load_acquire,
    load_seq,
    store_release,
    voice_at,
    words_at,
)
from audiostream.realtime.memory.layout import (
    COMMAND_BYTES,
    COMMANDS,
    VOICE_BYTES,
    Group,
    Stream,
    Strip,
)
from audiostream.realtime.opcodes import NOTHING
from audiostream.realtime.playhead import follow_heard
from audiostream.realtime.units.automation import set_ramp, start_ramp
from audiostream.realtime.units.gain import clear_block
from audiostream.realtime.units.meter import begin_spans

__all__ = ("clear_groups", "run_group", "run_voice")


@inlined
def obey(stream: Stream, strip: Strip, frame: int, done: int, frames: int) -> int:
    """Carry out what is due `done` frames into a block; how far it is until there is more."""
    until = frames
    if strip["command_taken"] == load_acquire(strip, "command_count"):
        return until
    while True:
        number = next_command(stream, strip, frame)
        if number < 0:
            break
        command = command_at(strip["commands"] + COMMAND_BYTES * (number & (COMMANDS - 1)))
        due = frames_until(stream, command["at"], frame) if command["at"] != 0.0 else 0
        if due > done:
            until = smaller(due, frames)
            break
        opcode = perform(stream, strip, command, frame)
        if opcode != NOTHING:
            stop_voice(stream, strip, opcode, command["over"], frame + done)
    forget_done(strip)
    return until


@inlined
def begin_strip(strip: Strip, frame: int, frames: int) -> None:
    """Look at the strip's effects, and open the spans of its meter, for a block."""
    strip["nodes_now"] = load_seq(strip, "nodes")
    begin_spans(strip["meter"], strip["meter_mask"], frame, frames)


@inlined
def run_voice(stream: Stream, voice: Strip, bus: int, frames: int) -> None:
    """Add a voice's next frames to its bus, and carry out its commands on their frames.

    Parameters
    ----------
    bus : int
        Address of float32 (frames, channels).
    """
    frame = load(stream, "frames")
    follow_heard(voice, stream["now_frame"])
    begin_strip(voice, frame, frames)
    nodes = voice["nodes_now"]
    done = 0
    while done < frames:
        until = obey(stream, voice, frame, done, frames)
        offset = 4 * stream["channels"] * done
        count = until - done
        if nodes == 0:
            play(stream, voice, bus + offset, count, frame + done)
        else:
            block = stream["effected"]
            samples = count * stream["channels"]
            clear_block(floats_at(block, samples), samples)
            play(stream, voice, block, count, frame + done)
            run_nodes(stream, nodes, block, count)
            fade(stream, voice, bus + offset, block, count, frame + done, FADER_RAMPS)
        done = until


@inlined
def run_group(stream: Stream, group: Group, bus: int, frames: int) -> None:
    """Add a group's block to its bus, and carry out its commands on their frames."""
    strip = voice_at(group["voice"])
    frame = load(stream, "frames")
    begin_strip(strip, frame, frames)
    nodes = strip["nodes_now"]
    done = 0
    while done < frames:
        until = obey(stream, strip, frame, done, frames)
        until = duck(group, done, until)
        offset = 4 * stream["channels"] * done
        count = until - done
        source = group["block"] + offset
        if nodes == 0:
            fade(stream, strip, bus + offset, source, count, frame + done, SOURCE_RAMPS)
        else:
            block = stream["effected"]
            samples = count * stream["channels"]
            clear_block(floats_at(block, samples), samples)
            fade_source(stream, strip, block, source, count)
            run_nodes(stream, nodes, block, count)
            fade(stream, strip, bus + offset, block, count, frame + done, FADER_RAMPS)
        done = until


# --- clears of groups --------------------------------------------------------------


@inlined
def cut_voices(stream: Stream, address: int) -> None:
    """Have all voices of a group jump to where the clear under way leads."""
    slot = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(slot)
        if voice["group"] == address and load_seq(voice, "active") != 0:
            to = load_acquire(voice, "group_skip")
            if to > voice["read"]:
                cut(stream, voice, to, load(stream, "frames"))
        slot += VOICE_BYTES


@inlined
def clear_groups(stream: Stream, plan: int, frames: int) -> int:
    """Begin the groups' clears, and end those that have faded out.

    Returns
    -------
    int
        So many frames, or fewer if a fade ends before: its voices jump between two blocks.
    """
    count = frames
    groups = words_at(plan, words_at(plan, 1)[0] + 1)
    for k in range(1, groups[0] + 1):
        group = group_at(groups[k])
        strip = voice_at(group["voice"])
        clearing = ramp_of(strip, CLEARING_RAMP)
        asked = load_acquire(group, "clear_count")
        if asked > strip["read"]:
            if group["clearing"] == 0:
                start_ramp(
                    clearing, 0.0, load(group, "clear_fade") if group["voices"] > 0 else 0
                )
            group["clearing"] = asked
        if group["clearing"] != 0:
            if clearing["remaining"] > 0:
                count = smaller(count, clearing["remaining"])
            else:
                cut_voices(stream, groups[k])
                set_ramp(clearing, 1.0)
                store_release(strip, "read", group["clearing"])
                group["clearing"] = 0
    return count
