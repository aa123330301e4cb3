"""Strips: a source, its effects and a fader that plays into a bus; audio thread.

A voice, a one-shot sound, a generator that is played and a group are strips, and so are the mix
of an output that has effects, and an input.  The source of the first two is a ring, that of a
group the block that its voices were added to.  Without effects a source is added to its bus
straight from where it lies, bit for bit where every level is 1.
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.graph.commands import (
    command_of,
    forget_done,
    frames_until,
    next_command,
    perform,
)
from audiostream.realtime.graph.ducking import duck
from audiostream.realtime.graph.fader import (
    CLEARING_RAMP,
    FADER_RAMPS,
    RAMPS_END,
    SOURCE_RAMPS,
    fade,
    ramp_of,
    source_end,
)
from audiostream.realtime.graph.nodes import list_latency
from audiostream.realtime.graph.ring_source import cut, play
from audiostream.realtime.graph.tails import run_effects
from audiostream.realtime.memory.atomics import (
    floats_at,
    group_at,
    load,
    load_acquire,
    load_seq,
    store,
    store_release,
    voice_at,
)
from audiostream.realtime.memory.layout import (
    VOICE_BYTES,
    Stream,
    Strip,
    Words,
)
from audiostream.realtime.playhead import follow_playhead
from audiostream.realtime.units.automation import set_ramp, start_ramp
from audiostream.realtime.units.gain import clear_block
from audiostream.realtime.units.meter import begin_spans

__all__ = ("clear_groups", "run_in_place", "run_strip")


@inlined
def obey(stream: Stream, strip: Strip, frame: int, done: int, frames: int) -> int:
    """Carry out what is due `done` frames into a block; the frame of the next command."""
    until = frames
    if strip["command_taken"] == load_acquire(strip, "command_count"):
        return until
    while True:
        number = next_command(stream, strip, frame)
        if number < 0:
            break
        command = command_of(strip, number)
        due = frames_until(stream, command, frame)
        if due > done:
            until = smaller(due, frames)
            break
        perform(stream, strip, command, frame, done)
    forget_done(strip)
    return until


@inlined
def add_source(stream: Stream, strip: Strip, target: int, done: int, frames: int) -> None:
    """Add the source's frames from the block's frame `done` on, through its ramps."""
    frame = load(stream, "frames") + done
    if strip["bus"] == 0:
        play(stream, strip, target, frames, frame)
    else:
        block = group_at(strip["bus"])["block"] + 4 * stream["channels"] * done
        fade(stream, strip, target, block, frames, frame, SOURCE_RAMPS, source_end(strip))


@inlined
def look_up_effects(strip: Strip) -> int:
    """Take over the strip's list of effects for this block, and their latency; its address.

    What plays into a group is as late as the group's effects, too.
    """
    nodes = load_seq(strip, "nodes")
    lag = list_latency(nodes)
    if strip["group"] != 0:
        lag += voice_at(group_at(strip["group"])["voice"])["lag"]
    strip["nodes_now"] = nodes
    store(strip, "lag", lag)
    return nodes


@inlined
def run_in_place(stream: Stream, strip: Strip, block: int, frames: int, frame: int) -> None:
    """Run the commands and the effects of an input's strip on what was captured.

    Parameters
    ----------
    block : int
        Address of float32 (frames, channels), at most the largest block.
    frame : int
        The device's number of the first frame.
    """
    nodes = look_up_effects(strip)
    done = 0
    while done < frames:
        until = obey(stream, strip, frame, done, frames)
        if nodes != 0:
            part = block + 4 * stream["channels"] * done
            run_effects(stream, strip, nodes, part, until - done, frame + done)
        done = until


@inlined
def run_strip(stream: Stream, strip: Strip, bus: int, frames: int) -> None:
    """Add a strip's next frames to its bus, and carry out its commands on their frames.

    Parameters
    ----------
    bus : int
        Address of float32 (frames, channels).
    """
    frame = load(stream, "frames")
    channels = stream["channels"]
    nodes = look_up_effects(strip)
    follow_playhead(strip, stream["now_frame"])
    begin_spans(strip["meter"], strip["meter_mask"], frame, frames)
    done = 0
    while done < frames:
        until = obey(stream, strip, frame, done, frames)
        if strip["bus"] != 0:
            until = duck(group_at(strip["bus"]), done, until)
        count = until - done
        target = bus + 4 * channels * done
        if nodes == 0:
            add_source(stream, strip, target, done, count)
        else:
            block = stream["effected"]
            clear_block(floats_at(block, count * channels), count * channels)
            add_source(stream, strip, block, done, count)
            run_effects(stream, strip, nodes, block, count, frame + done)
            fade(stream, strip, target, block, count, frame + done, FADER_RAMPS, RAMPS_END)
        done = until


# --- clears of groups --------------------------------------------------------------


@inlined
def cut_voices(stream: Stream, address: int) -> None:
    """Let all voices of a group jump to where its clear ends."""
    slot = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(slot)
        if voice["group"] == address and load_seq(voice, "active") != 0:
            to = load_acquire(voice, "group_skip")
            if to > voice["read"]:
                cut(stream, voice, to, load(stream, "frames"))
        slot += VOICE_BYTES


@inlined
def clear_group(stream: Stream, address: int, frames: int) -> int:
    """Begin a group's clear, or end one that has faded out; how far its fade goes."""
    group = group_at(address)
    strip = voice_at(group["voice"])
    fade = ramp_of(strip, CLEARING_RAMP)
    asked = load_acquire(group, "clear_count")
    if asked > strip["read"]:
        if group["clearing"] == 0:
            over = load(group, "clear_fade") if group["voices"] > 0 else 0
            start_ramp(fade, 0.0, over)
        group["clearing"] = asked
    if group["clearing"] == 0:
        return frames
    if fade["remaining"] > 0:
        return smaller(frames, fade["remaining"])
    cut_voices(stream, address)
    set_ramp(fade, 1.0)
    store_release(strip, "read", group["clearing"])
    group["clearing"] = 0
    return frames


@inlined
def clear_groups(stream: Stream, plan: Words, frames: int) -> int:
    """Begin the groups' clears, and end those that have faded out.

    Returns
    -------
    int
        So many frames, or fewer if a fade ends before: its voices jump between two blocks.
    """
    count = frames
    for k in range(2, plan[0] + 2):
        count = clear_group(stream, plan[k], count)
    return count
