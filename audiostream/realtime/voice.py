"""One voice, whatever is going on with it; audio thread.

A block of it is :func:`mix_voice`, between whose commands lies :func:`mix_part`: fades, clears,
running dry, starting and stopping.  A voice that just plays on is in the line instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    command_at,
    doubles_at,
    floats_at,
    group_at,
    load,
    load_acquire,
    ramp_at,
    store,
    store_release,
    store_seq,
    voice_at,
    words_at,
)
from audiostream.realtime.commands import (
    forget_done,
    frames_until,
    next_command,
    perform,
)
from audiostream.realtime.envelope import (
    FLOW,
    LEFT,
    RETURN,
    RIGHT,
    add_levels,
    is_level,
    level_now,
    pass_time,
    piece,
    set_ramp,
    start_ramp,
)
from audiostream.realtime.heard import note_bell, note_break
from audiostream.realtime.inlined import inlined
from audiostream.realtime.kinds import (
    END,
    ENDING,
    NOTHING,
    PAUSED,
    PAUSING,
    PLAYING,
    STOPPED,
    STOPPING,
)
from audiostream.realtime.layout import (
    COMMAND_BYTES,
    COMMANDS,
    CUTS,
    LEVELS,
    NEAR,
    NEVER,
)
from audiostream.realtime.numbers import larger, smaller
from audiostream.realtime.ring import source_of
from audiostream.realtime.sums import add_one
from audiostream.realtime.ways import is_steady

__all__ = (
    "cut",
    "foresee_point",
    "forget_point",
    "is_calm",
    "mix_voice",
    "note_level",
    "note_point",
    "obey",
)

SAME = 1e-6
"""Levels no further apart are rounded, and no jump."""


# --- levels -----------------------------------------------------------------------


@inlined
def note_point(voice: Any, index: int, level: float) -> None:
    """Note that frames are at `level` from `index` on, on a straight way from before.

    What lies between two points that are no further apart than NEAR is forgotten, so that small
    blocks on a curve do not use up what is remembered; but not where the level jumps: there
    stand two points, from one to the other of which it does.
    """
    count = voice["level_count"]
    if count >= 2:
        at = voice["levels"] + 16 * ((count - 1) & (LEVELS - 1))
        last = words_at(at, 1)[0]
        before = words_at(voice["levels"] + 16 * ((count - 2) & (LEVELS - 1)), 1)[0]
        if last == index:
            same = abs(doubles_at(at + 8, 1)[0] - level) < SAME
            count -= 1 if same or last == before else 0
        elif last != before and index - before < NEAR:
            count -= 1
    put_point(voice, count, index, level)


@inlined
def foresee_point(voice: Any, index: int, level: float) -> None:
    """Note that frames will be at `level` at `index`, until :func:`forget_point`."""
    put_point(voice, voice["level_count"], index, level)


@inlined
def forget_point(voice: Any) -> None:
    """Take back what was foreseen last."""
    store_release(voice, "level_count", voice["level_count"] - 1)


@inlined
def put_point(voice: Any, count: int, index: int, level: float) -> None:
    """Have a point be the last one, behind `count` others."""
    at = voice["levels"] + 16 * (count & (LEVELS - 1))
    words_at(at, 1)[0] = index
    doubles_at(at + 8, 1)[0] = level
    store_release(voice, "level_count", count + 1)


@inlined
def note_level(voice: Any, index: int, level: float) -> None:
    """Note that a voice's frames are at another level from `index` on, if it is another one."""
    last = voice["levels"] + 16 * ((voice["level_count"] - 1) & (LEVELS - 1))
    before = doubles_at(last + 8, 1)[0]
    if before != level:
        note_point(voice, index, before)
        note_point(voice, index, level)


@inlined
def level_with_fade(voice: Any, address: int) -> float:
    """A voice's level, and that of the fade of a clear."""
    level = level_now(voice, address)
    if voice["fade_left"] > 0:
        level *= voice["fade_left"] / voice["fade_total"]
    return level


# --- sums -------------------------------------------------------------------------


@inlined
def add_span(
    stream: Any,
    voice: Any,
    address: int,
    mix: int,
    frames: int,
    fade: float,
    fade_step: float,
) -> None:
    """Add the next `frames` frames at their levels; the read index stays where it is."""
    channels = stream["channels"]
    source = source_of(voice, voice["read"], channels)
    level = level_now(voice, address) * fade
    note_level(voice, voice["read"], level)
    if voice["gain_left"] == 0 and fade_step == 0.0 and is_level(address):
        block = floats_at(mix, frames * channels)
        samples = floats_at(source, frames * channels)
        add_one(block, samples, np.float32(voice["gain"]), frames * channels)
        return
    note_point(voice, voice["read"], level)
    done = 0
    while done < frames:
        count = piece(voice, address, frames - done)
        offset = 4 * channels * done
        start = fade + done * fade_step
        add_levels(
            stream, voice, address, mix + offset, source + offset, count, start, fade_step
        )
        done += count
        level = level_now(voice, address) * (fade + done * fade_step)
        note_point(voice, voice["read"] + done, level)


@inlined
def set_sounding(stream: Any, voice: Any, sounding: int, frame: int) -> None:
    """Note from which of the device's frames on a voice sounds, or not; for its group, too.

    A group gets to know in the piece that is being mixed, or the one behind it.
    """
    if voice["group"] != 0 and voice["sounding"] != sounding:
        group = group_at(voice["group"])
        at = frame - load(stream, "frames")
        words_at(group["sounding"], at + 1)[at] += sounding - voice["sounding"]
        group["moving"] = 1
    voice["sounding"] = sounding


@inlined
def note_silence(stream: Any, voice: Any, frame: int) -> None:
    """From the device's frame `frame` on the voice sounds no more."""
    if voice["sounding"] != 0:
        note_break(voice, frame, voice["read"], 0)
        set_sounding(stream, voice, 0, frame)


# --- clears -----------------------------------------------------------------------


@inlined
def cut(stream: Any, voice: Any, address: int, to: int, frame: int) -> None:
    """Execute a clear or a stop: jump to the index `to`, and tell where from."""
    count = voice["cut_count"]
    entry = words_at(voice["cuts"] + 16 * (count & (CUTS - 1)), 2)
    entry[0] = voice["read"]
    entry[1] = to
    store_release(voice, "cut_count", count + 1)
    store_release(voice, "read", to)
    store_release(voice, "read_offset", NEVER)  # if it is cut while it is in line
    voice["clean"] = to
    voice["fade_left"] = 0  # of a clear's fade that an end cuts short
    set_sounding(stream, voice, 0, frame)
    voice["dry"] = 0
    voice["filling"] = 1
    set_ramp(ramp_at(address + RETURN), 1.0)
    if voice["transport"] != PLAYING:
        set_ramp(ramp_at(address + FLOW), 1.0)
    note_break(voice, frame, to, 0)


@inlined
def fade_out(stream: Any, voice: Any, address: int, mix: int, frames: int) -> int:
    """Play what of a clear's fade falls into the block; how many frames of it."""
    if voice["sounding"] == 0:
        voice["fade_left"] = 0
    elif voice["fade_left"] == 0:
        room = load_acquire(voice, "skip") - voice["read"]
        total = larger(smaller(load(voice, "fade"), room), 0)
        voice["fade_left"] = total
        voice["fade_total"] = total
    done = smaller(voice["fade_left"], frames)
    if done > 0:
        step = 1.0 / voice["fade_total"]
        add_span(stream, voice, address, mix, done, voice["fade_left"] * step, -step)
        voice["fade_left"] -= done
        store_release(voice, "read", voice["read"] + done)
    return done


# --- running dry ------------------------------------------------------------------


@inlined
def begin_tail(stream: Any, voice: Any, address: int) -> None:
    """Have the last frame that sounded die away, so that its end is no click.

    What is left of a tail before dies away with it.
    """
    channels = stream["channels"]
    before = voice["tail_left"] / larger(voice["tail_total"], 1)
    last = floats_at(source_of(voice, voice["read"] - 1, channels), channels)
    tail = floats_at(voice["tail"], channels)
    level = level_now(voice, address)
    for c in range(channels):
        side = 1.0
        if channels == 2:
            side = ramp_at(address + (LEFT if c == 0 else RIGHT))["value"]
        tail[c] = np.float32(last[c] * level * side + tail[c] * before)
    frames = load(voice, "ramp")
    voice["tail_left"] = frames
    voice["tail_total"] = frames


@inlined
def add_tail(stream: Any, voice: Any, mix: int, frames: int) -> None:
    """Add what of a tail, if there is one, falls into the next frames."""
    channels = stream["channels"]
    left = voice["tail_left"]
    count = smaller(left, frames)
    if count <= 0:
        return
    tail = floats_at(voice["tail"], channels)
    block = floats_at(mix, count * channels)
    for i in range(count):
        level = np.float32((left - 1 - i) / voice["tail_total"])
        for c in range(channels):
            block[i * channels + c] += tail[c] * level
    voice["tail_left"] = left - count


@inlined
def run_dry(stream: Any, voice: Any, address: int, frames: int, frame: int) -> None:
    """Nothing is there for `frames` frames: an end, what a clear has left, or a shortage."""
    here = voice["read"]
    sounded = voice["sounding"] != 0
    note_silence(stream, voice, frame)
    if here == load_acquire(voice, "ended"):
        voice["dry"] = 0
        voice["filling"] = 1
        return
    if sounded:
        begin_tail(stream, voice, address)
    if here == voice["clean"] or here == load_acquire(voice, "skip") or is_held(voice):
        voice["dry"] = 0
        voice["filling"] = 1
        return
    if sounded:
        voice["dry"] = 1
    if voice["transport"] != PLAYING:
        return
    if sounded:
        store(voice, "shortages", voice["shortages"] + 1)
        store(stream, "shortages", stream["shortages"] + 1)
        if load(voice, "rebuffer") != 0:
            voice["filling"] = 1
    count_starved(stream, voice, frames)


@inlined
def count_starved(stream: Any, voice: Any, frames: int) -> None:
    """Count frames of silence that stand in for late ones."""
    store(voice, "starved", voice["starved"] + frames)
    store(stream, "starved", stream["starved"] + frames)


@inlined
def still_fills(voice: Any) -> bool:
    """True if the voice is to wait for more of what it will play."""
    if voice["filling"] == 0:
        return False
    here = voice["read"]
    there = load_acquire(voice, "write") - here
    if there < load(voice, "prebuffer") and load_acquire(voice, "ended") <= here:
        return True
    if there > 0:
        voice["filling"] = 0
    return False


# --- one voice --------------------------------------------------------------------


@inlined
def is_held(voice: Any) -> bool:
    """True while a clear of its group is under way that the voice takes part in.

    What was written before that fades out with the group, and what came later waits.
    """
    if voice["group"] == 0:
        return False
    done = voice_at(group_at(voice["group"])["voice"])["read"]
    return done < load_acquire(voice, "group_clear")


@inlined
def end_voice(stream: Any, voice: Any, address: int, frame: int) -> None:
    """A command has stopped it: drop what is queued, and have the caller told."""
    voice["transport"] = STOPPED
    cut(stream, voice, address, load_acquire(voice, "write"), frame)
    store_release(voice, "stop_count", voice["stop_count"] + 1)
    store_seq(voice, "woken", 1)
    note_bell(stream, load(voice, "bell"))


@inlined
def come_to_rest(stream: Any, voice: Any, address: int, frame: int) -> None:
    """It has faded out, on its way to a pause or a stop."""
    transport = voice["transport"]
    if transport == PAUSING:
        voice["transport"] = PAUSED
    elif transport == ENDING:
        end_voice(stream, voice, address, frame)
    elif transport == STOPPING:
        voice["transport"] = STOPPED


@inlined
def stop_voice(
    stream: Any, voice: Any, address: int, kind: int, frames: int, frame: int
) -> None:
    """Carry out a command to stop, at the device's frame `frame`."""
    sounding = voice["sounding"] != 0
    if kind == END:
        if sounding and frames > 0:
            start_ramp(ramp_at(address + FLOW), 0.0, frames)
            voice["transport"] = ENDING
        elif voice["transport"] != STOPPED:
            end_voice(stream, voice, address, frame)
    elif load_acquire(voice, "skip") > voice["read"]:
        voice["transport"] = STOPPING  # when the clear is done
    else:
        if sounding and voice["read"] != load_acquire(voice, "ended"):
            begin_tail(stream, voice, address)
        note_silence(stream, voice, frame)
        voice["transport"] = STOPPED
        voice["filling"] = 1


@inlined
def obey(stream: Any, voice: Any, address: int, frame: int, done: int, frames: int) -> int:
    """Carry out what is due `done` frames into a block; how far it is until there is more."""
    until = frames
    if voice["command_taken"] == load_acquire(voice, "command_count"):
        return until
    while True:
        number = next_command(stream, voice, frame)
        if number < 0:
            break
        command = command_at(voice["commands"] + COMMAND_BYTES * (number & (COMMANDS - 1)))
        due = frames_until(stream, command["at"], frame) if command["at"] != 0.0 else 0
        if due > done:
            until = smaller(due, frames)
            break
        kind = perform(stream, voice, address, command, frame)
        if kind != NOTHING:
            stop_voice(stream, voice, address, kind, command["over"], frame + done)
    forget_done(voice)
    return until


@inlined
def start_sounding(stream: Any, voice: Any, address: int, frame: int) -> None:
    """It sounds from the device's frame `frame` on; out of silence, if it had run dry."""
    here = voice["read"]
    note_break(voice, frame, here, 1)
    set_sounding(stream, voice, 1, frame)
    if voice["dry"] != 0 and here != load_acquire(voice, "ended"):
        back = ramp_at(address + RETURN)
        set_ramp(back, 0.0)
        start_ramp(back, 1.0, load(voice, "ramp"))
    voice["dry"] = 0


@inlined
def play_on(stream: Any, voice: Any, address: int, mix: int, frames: int, frame: int) -> None:
    """Add the voice's next frames, as many as there are, if it plays."""
    transport = voice["transport"]
    if transport == STOPPED or transport == PAUSED or still_fills(voice):
        note_silence(stream, voice, frame)
        if voice["dry"] != 0 and transport == PLAYING:
            count_starved(stream, voice, frames)
        add_tail(stream, voice, mix, frames)
        pass_time(voice, address, frames)
        return
    here = voice["read"]
    done = smaller(load_acquire(voice, "write") - here, frames)
    if is_held(voice):
        done = larger(smaller(done, load_acquire(voice, "group_skip") - here), 0)
    if transport == PAUSING or transport == ENDING:
        done = smaller(done, ramp_at(address + FLOW)["to_go"])
    if done > 0:
        if voice["sounding"] == 0:
            start_sounding(stream, voice, address, frame)
        add_tail(stream, voice, mix, done)
        add_span(stream, voice, address, mix, done, 1.0, 0.0)
        store_release(voice, "read", here + done)
        if transport != PLAYING and ramp_at(address + FLOW)["to_go"] == 0:
            note_silence(stream, voice, frame + done)
    if done == frames and voice["sounding"] != 0:
        return
    if voice["sounding"] != 0 or transport == PLAYING:
        run_dry(stream, voice, address, frames - done, frame + done)
        if transport != PLAYING:
            set_ramp(ramp_at(address + FLOW), 1.0)
    come_to_rest(stream, voice, address, frame + done)
    add_tail(stream, voice, mix + 4 * stream["channels"] * done, frames - done)
    pass_time(voice, address, frames - done)


@inlined
def mix_part(stream: Any, voice: Any, address: int, mix: int, frames: int, frame: int) -> None:
    """Add the voice's next frames, between two commands."""
    done = 0
    if load_acquire(voice, "skip") > voice["read"]:
        done = fade_out(stream, voice, address, mix, frames)
        add_tail(stream, voice, mix, done)
        if voice["fade_left"] > 0:
            return
        cut(stream, voice, address, load_acquire(voice, "skip"), frame + done)
        come_to_rest(stream, voice, address, frame + done)
    if done < frames:
        rest = mix + 4 * stream["channels"] * done
        play_on(stream, voice, address, rest, frames - done, frame + done)


@inlined
def mix_voice(stream: Any, voice: Any, address: int, mix: int, frames: int, frame: int) -> None:
    """Add one voice, whatever is going on with it.

    Parameters
    ----------
    mix : int
        Address of the block, float32 (frames, channels).
    frame : int
        The device's number of the block's first frame.
    """
    changes = load_acquire(voice, "changes")
    voice["calm"] = -1
    note_level(voice, voice["read"], level_with_fade(voice, address))
    done = 0
    while done < frames:
        until = obey(stream, voice, address, frame, done, frames)
        rest = mix + 4 * stream["channels"] * done
        if until > done:
            mix_part(stream, voice, address, rest, until - done, frame + done)
        done = until
    note_level(voice, voice["read"], level_with_fade(voice, address))
    if is_calm(voice, address):
        voice["calm"] = changes


@inlined
def is_calm(voice: Any, address: int) -> bool:
    """True if nothing but playing on is to be done, until it runs dry or is told more."""
    return (
        voice["sounding"] != 0
        and voice["transport"] == PLAYING
        and voice["heard_offset"] != NEVER
        and voice["command_taken"] == load_acquire(voice, "command_count")
        and load_acquire(voice, "skip") <= voice["read"]
        and not is_held(voice)
        and voice["tail_left"] == 0
        and is_steady(voice, address)
    )
