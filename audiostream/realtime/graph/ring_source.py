"""A voice's ring or generator as a strip's source: transport, clears, starvation; audio thread.

:func:`play` adds a voice's next frames between two commands, with the fades that keep its
starts, stops, clears and starvations free of clicks.  A generator's frames have indices, too:
``read`` counts them, and jumps to the index ``ended`` where it ends.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.graph.fader import (
    CLEARING_RAMP,
    FADE_IN_RAMP,
    SOURCE_RAMPS,
    TRANSPORT_RAMP,
    advance_silent,
    fade,
    level_of,
    pan_of,
    ramp_of,
    source_end,
)
from audiostream.realtime.graph.nodes import advance_parameters, run_generator
from audiostream.realtime.memory.atomics import (
    floats_at,
    group_at,
    load,
    load_acquire,
    node_at,
    store,
    store_release,
    store_seq,
    voice_at,
    words_at,
)
from audiostream.realtime.memory.layout import CUTS, Stream, Strip
from audiostream.realtime.memory.ring import frame_at
from audiostream.realtime.opcodes import (
    END,
    ENDING,
    PAUSED,
    PAUSING,
    PLAYING,
    STOPPED,
    STOPPING,
)
from audiostream.realtime.playhead import note_break
from audiostream.realtime.units.automation import set_ramp, start_ramp
from audiostream.realtime.wakeup import note_wakeup

__all__ = ("cut", "play", "stop_voice")


# --- frames -----------------------------------------------------------------------


@inlined
def add_next(stream: Stream, voice: Strip, target: int, frames: int, frame: int) -> int:
    """Add the next frames at their levels, and read them; how many there were."""
    count = frames
    source = stream["spare"]
    if voice["generator"] != 0:
        count = run_generator(stream, voice["generator"], source, frames, frame)
    else:
        source = frame_at(voice, voice["read"], stream["channels"])
    fade(stream, voice, target, source, count, frame, SOURCE_RAMPS, source_end(voice))
    store_release(voice, "read", voice["read"] + count)
    if count < frames:
        end_generator(stream, voice, frame + count)
    return count


@inlined
def set_sounding(stream: Stream, voice: Strip, sounding: int, frame: int) -> None:
    """Note from which frame of the device on a voice sounds, or not; for its group, too.

    The group follows in the block that is being mixed, or in the next one.
    """
    if voice["group"] != 0 and voice["sounding"] != sounding:
        group = group_at(voice["group"])
        at = frame - load(stream, "frames")
        words_at(group["sounding"], at + 1)[at] += sounding - voice["sounding"]
        group["moving"] = 1
    voice["sounding"] = sounding


@inlined
def note_silence(stream: Stream, voice: Strip, frame: int) -> None:
    """Sound no more from the device's frame `frame` on."""
    if voice["sounding"] != 0:
        note_break(voice, frame, voice["read"], 0)
        set_sounding(stream, voice, 0, frame)


@inlined
def start_sounding(stream: Stream, voice: Strip, frame: int) -> None:
    """Sound from the device's frame `frame` on, with a fade in after a starvation."""
    here = voice["read"]
    note_break(voice, frame, here, 1)
    set_sounding(stream, voice, 1, frame)
    if voice["starving"] != 0 and here != load_acquire(voice, "ended"):
        fade_in = ramp_of(voice, FADE_IN_RAMP)
        set_ramp(fade_in, 0.0)
        start_ramp(fade_in, 1.0, load(voice, "ramp"))
    voice["starving"] = 0


@inlined
def end_generator(stream: Stream, voice: Strip, frame: int) -> None:
    """Be at the end from the device's frame `frame` on; a failure counts as cut."""
    end = load_acquire(voice, "ended")
    if node_at(voice["generator"])["failed"] != 0:
        cut(stream, voice, end, frame)
    else:
        note_silence(stream, voice, frame)
        note_break(voice, frame, end, 0)
        store_release(voice, "read", end)


@inlined
def pass_silence(voice: Strip, frames: int) -> None:
    """Move the ramps of a source on by frames for which it has nothing."""
    advance_silent(voice, frames)
    if voice["generator"] != 0:
        advance_parameters(voice["generator"], frames)


# --- clears -----------------------------------------------------------------------


@inlined
def cut(stream: Stream, voice: Strip, to: int, frame: int) -> None:
    """Carry out a clear or a stop: jump to the index `to`, and note where from."""
    count = voice["cut_count"]
    entry = words_at(voice["cuts"] + 16 * (count & (CUTS - 1)), 2)
    entry[0] = voice["read"]
    entry[1] = to
    store_release(voice, "cut_count", count + 1)
    store_release(voice, "read", to)
    voice["clean"] = to
    set_sounding(stream, voice, 0, frame)
    voice["starving"] = 0
    voice["filling"] = 1
    set_ramp(ramp_of(voice, CLEARING_RAMP), 1.0)
    set_ramp(ramp_of(voice, FADE_IN_RAMP), 1.0)
    if voice["transport"] != PLAYING:
        set_ramp(ramp_of(voice, TRANSPORT_RAMP), 1.0)
    note_break(voice, frame, to, 0)


@inlined
def fade_out(stream: Stream, voice: Strip, mix: int, frames: int, frame: int) -> int:
    """Play the part of a clear's fade that is in the block; how many frames."""
    clearing = ramp_of(voice, CLEARING_RAMP)
    if voice["sounding"] == 0:
        set_ramp(clearing, 1.0)
    elif clearing["remaining"] == 0:
        room = load_acquire(voice, "skip") - voice["read"]
        start_ramp(clearing, 0.0, smaller(load(voice, "fade"), room))
    done = smaller(clearing["remaining"], frames)
    if done > 0:
        add_next(stream, voice, mix, done, frame)
    return done


# --- starvation -------------------------------------------------------------------


@inlined
def begin_declick(stream: Stream, voice: Strip) -> None:
    """Let the last frame that sounded die away, so that the end does not click.

    What is left of an earlier declick is added to it.  A generator keeps no last frame.
    """
    if voice["generator"] != 0:
        return
    channels = stream["channels"]
    before = voice["declick_left"] / larger(voice["declick_total"], 1)
    last = floats_at(frame_at(voice, voice["read"] - 1, channels), channels)
    declick = floats_at(voice["declick"], channels)
    end = source_end(voice)
    level = level_of(voice, SOURCE_RAMPS, end)
    for c in range(channels):
        pan = pan_of(stream, voice, c, end)
        declick[c] = np.float32(last[c] * level * pan + declick[c] * before)
    frames = load(voice, "ramp")
    voice["declick_left"] = frames
    voice["declick_total"] = frames


@inlined
def add_declick(stream: Stream, voice: Strip, mix: int, frames: int) -> None:
    """Add the part of a declick, if there is one, that is in the next frames."""
    channels = stream["channels"]
    left = voice["declick_left"]
    count = smaller(left, frames)
    if count <= 0:
        return
    declick = floats_at(voice["declick"], channels)
    block = floats_at(mix, count * channels)
    for i in range(count):
        level = np.float32((left - 1 - i) / voice["declick_total"])
        for c in range(channels):
            block[i * channels + c] += declick[c] * level
    voice["declick_left"] = left - count


@inlined
def run_out(stream: Stream, voice: Strip, frames: int, frame: int) -> None:
    """There is nothing to play for `frames` frames: an end, a clear, or a starvation."""
    here = voice["read"]
    sounded = voice["sounding"] != 0
    note_silence(stream, voice, frame)
    at_end = here == load_acquire(voice, "ended")
    if sounded and not at_end:
        begin_declick(stream, voice)
    cleared = here == voice["clean"] or here == load_acquire(voice, "skip")
    if at_end or cleared or is_held(voice):
        voice["starving"] = 0
        voice["filling"] = 1
        return
    if sounded:
        voice["starving"] = 1
    if voice["transport"] != PLAYING:
        return
    if sounded:
        store(voice, "shortages", voice["shortages"] + 1)
        store(stream, "shortages", stream["shortages"] + 1)
        if load(voice, "rebuffer") != 0:
            voice["filling"] = 1
    count_starved(stream, voice, frames)


@inlined
def count_starved(stream: Stream, voice: Strip, frames: int) -> None:
    """Count frames of silence in place of late ones."""
    store(voice, "starved", voice["starved"] + frames)
    store(stream, "starved", stream["starved"] + frames)


@inlined
def still_fills(voice: Strip) -> bool:
    """True while the voice waits for its prebuffer."""
    if voice["filling"] == 0:
        return False
    here = voice["read"]
    there = load_acquire(voice, "write") - here
    if there < load(voice, "prebuffer") and load_acquire(voice, "ended") <= here:
        return True
    if there > 0:
        voice["filling"] = 0
    return False


@inlined
def is_held(voice: Strip) -> bool:
    """True during a clear of its group that the voice takes part in.

    What was written before fades out with the group; what came later waits.
    """
    if voice["group"] == 0:
        return False
    done = voice_at(group_at(voice["group"])["voice"])["read"]
    return done < load_acquire(voice, "group_clear")


# --- stops ------------------------------------------------------------------------


@inlined
def end_voice(stream: Stream, voice: Strip, frame: int) -> None:
    """Stop by a command: drop what is queued, and wake the caller."""
    voice["transport"] = STOPPED
    cut(stream, voice, load_acquire(voice, "write"), frame)
    store_release(voice, "stop_count", voice["stop_count"] + 1)
    store_seq(voice, "woken", 1)
    note_wakeup(stream, load(voice, "wakeup"))


@inlined
def come_to_rest(stream: Stream, voice: Strip, frame: int) -> None:
    """Pause or stop, now that it has faded out."""
    transport = voice["transport"]
    if transport == PAUSING:
        voice["transport"] = PAUSED
    elif transport == ENDING:
        end_voice(stream, voice, frame)
    elif transport == STOPPING:
        voice["transport"] = STOPPED


@inlined
def stop_voice(stream: Stream, voice: Strip, opcode: int, frames: int, frame: int) -> None:
    """Carry out a command to stop, at the device's frame `frame`."""
    sounding = voice["sounding"] != 0
    if opcode == END:
        if sounding and frames > 0:
            start_ramp(ramp_of(voice, TRANSPORT_RAMP), 0.0, frames)
            voice["transport"] = ENDING
        elif voice["transport"] != STOPPED:
            end_voice(stream, voice, frame)
    elif load_acquire(voice, "skip") > voice["read"]:
        voice["transport"] = STOPPING  # when the clear is done
    else:
        if sounding and voice["read"] != load_acquire(voice, "ended"):
            begin_declick(stream, voice)
        note_silence(stream, voice, frame)
        voice["transport"] = STOPPED
        voice["filling"] = 1


# --- a part of a block ------------------------------------------------------------


@inlined
def frames_there(voice: Strip, frames: int) -> int:
    """How many of the next frames can be played at once."""
    here = voice["read"]
    there = smaller(load_acquire(voice, "write") - here, frames)
    if is_held(voice):
        there = larger(smaller(there, load_acquire(voice, "group_skip") - here), 0)
    if voice["transport"] == PAUSING or voice["transport"] == ENDING:
        there = smaller(there, ramp_of(voice, TRANSPORT_RAMP)["remaining"])
    return there


@inlined
def play_on(stream: Stream, voice: Strip, mix: int, frames: int, frame: int) -> None:
    """Add the voice's next frames, as many as there are, if it plays."""
    transport = voice["transport"]
    if transport == STOPPED or transport == PAUSED or still_fills(voice):
        note_silence(stream, voice, frame)
        if voice["starving"] != 0 and transport == PLAYING:
            count_starved(stream, voice, frames)
        add_declick(stream, voice, mix, frames)
        pass_silence(voice, frames)
        return
    done = frames_there(voice, frames)
    if done > 0:
        if voice["sounding"] == 0:
            start_sounding(stream, voice, frame)
        add_declick(stream, voice, mix, done)
        done = add_next(stream, voice, mix, done, frame)
        if transport != PLAYING and ramp_of(voice, TRANSPORT_RAMP)["remaining"] == 0:
            note_silence(stream, voice, frame + done)
    if done == frames and voice["sounding"] != 0:
        return
    if voice["sounding"] != 0 or transport == PLAYING:
        run_out(stream, voice, frames - done, frame + done)
        if transport != PLAYING:
            set_ramp(ramp_of(voice, TRANSPORT_RAMP), 1.0)
    come_to_rest(stream, voice, frame + done)
    add_declick(stream, voice, mix + 4 * stream["channels"] * done, frames - done)
    pass_silence(voice, frames - done)


@inlined
def play(stream: Stream, voice: Strip, mix: int, frames: int, frame: int) -> None:
    """Add the voice's next frames, between two commands.

    Parameters
    ----------
    mix : int
        Address of float32 (frames, channels): its bus's block, or the one for its effects.
    frame : int
        The device's number of the first frame.
    """
    done = 0
    if load_acquire(voice, "skip") > voice["read"]:
        done = fade_out(stream, voice, mix, frames, frame)
        add_declick(stream, voice, mix, done)
        if ramp_of(voice, CLEARING_RAMP)["remaining"] > 0:
            return
        cut(stream, voice, load_acquire(voice, "skip"), frame + done)
        come_to_rest(stream, voice, frame + done)
    if done < frames:
        rest = mix + 4 * stream["channels"] * done
        play_on(stream, voice, rest, frames - done, frame + done)
