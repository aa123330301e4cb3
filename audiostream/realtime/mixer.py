"""Voices to one block of float32; audio thread.

The voices whose block is nothing but their next frames, at a constant gain or along one ramp,
the usual case, are lined up, and summed :data:`~audiostream.realtime.layout.PASS` at a time.
Everything else (fades, clears, running dry, starting and stopping) takes one voice at a time
through :func:`mix_voice`, between whose commands lies :func:`mix_part`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    bell_at,
    command_at,
    compare_and_swap,
    doubles_at,
    fence_seq,
    floats_at,
    load,
    load_acquire,
    load_seq,
    ramp_at,
    store,
    store_release,
    store_seq,
    voice_at,
    words_at,
)
from audiostream.realtime.commands import (
    END,
    ENDING,
    NOTHING,
    PAUSED,
    PAUSING,
    PLAYING,
    STOPPED,
    STOPPING,
    forget_done,
    frames_until,
    next_command,
    perform,
)
from audiostream.realtime.envelope import (
    FLOW,
    LEFT,
    LINEAR,
    RETURN,
    RIGHT,
    add_levels,
    is_level,
    level_now,
    pass_time,
    set_ramp,
    start_ramp,
)
from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.layout import (
    BELL_BYTES,
    COMMAND_BYTES,
    COMMANDS,
    CUTS,
    HISTORY,
    NEVER,
    PASS,
    VOICE_BYTES,
)
from audiostream.realtime.numbers import larger, multiply_add, smaller
from audiostream.realtime.ring import source_of

__all__ = (
    "apply_master",
    "follow_voices",
    "mix_block",
    "mix_voice",
    "note_bell",
    "wake_waiters",
)

ZERO = np.float32(0.0)


# --- sums --------------------------------------------------------------------------


@apart
def mix_four(
    mix: Any, a: Any, b: Any, c: Any, d: Any, ga: Any, gb: Any, gc: Any, gd: Any, count: int
) -> None:
    """Add four voices in one pass over the block, each at its own constant gain."""
    for i in range(count):
        ab = multiply_add(a[i], ga, multiply_add(b[i], gb, mix[i]))
        mix[i] = multiply_add(c[i], gc, multiply_add(d[i], gd, ab))


@apart
def begin_with_four(
    mix: Any, a: Any, b: Any, c: Any, d: Any, ga: Any, gb: Any, gc: Any, gd: Any, count: int
) -> None:
    """:func:`mix_four` into a block that holds nothing yet."""
    for i in range(count):
        ab = multiply_add(a[i], ga, b[i] * gb)
        mix[i] = multiply_add(c[i], gc, multiply_add(d[i], gd, ab))


@apart
def mix_four_ramps(
    mix: Any,
    ramp: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    ga: Any,
    gb: Any,
    gc: Any,
    gd: Any,
    sa: Any,
    sb: Any,
    sc: Any,
    sd: Any,
    half: int,
    count: int,
) -> None:
    """Add four voices in one pass, each gain moving by its step from frame to frame.

    The second half of the block goes along with the first, its gains a sum away from those
    there, since processors do fewer multiplications at a time than loads and additions.

    Parameters
    ----------
    half : int
        Samples of half of the block's frames, rounded down.
    """
    further = ramp[half] - ramp[0]
    fa = sa * further
    fb = sb * further
    fc = sc * further
    fd = sd * further
    for i in range(half):
        t = ramp[i]
        k = i + half
        la = multiply_add(t, sa, ga)
        lb = multiply_add(t, sb, gb)
        lc = multiply_add(t, sc, gc)
        ld = multiply_add(t, sd, gd)
        ab = multiply_add(a[i], la, multiply_add(b[i], lb, mix[i]))
        cd = multiply_add(a[k], la + fa, multiply_add(b[k], lb + fb, mix[k]))
        mix[i] = multiply_add(c[i], lc, multiply_add(d[i], ld, ab))
        mix[k] = multiply_add(c[k], lc + fc, multiply_add(d[k], ld + fd, cd))
    for i in range(2 * half, count):
        t = ramp[i]
        ab = multiply_add(b[i], multiply_add(t, sb, gb), mix[i])
        ab = multiply_add(a[i], multiply_add(t, sa, ga), ab)
        cd = multiply_add(d[i], multiply_add(t, sd, gd), ab)
        mix[i] = multiply_add(c[i], multiply_add(t, sc, gc), cd)


@apart
def add_one(mix: Any, source: Any, gain: Any, count: int) -> None:
    """Add one voice at a constant gain."""
    for i in range(count):
        mix[i] = multiply_add(source[i], gain, mix[i])


@apart
def scale_ramp(mix: Any, ramp: Any, gain: Any, step: Any, count: int) -> None:
    """Scale the block by a gain that moves by its step from frame to frame."""
    for i in range(count):
        mix[i] *= multiply_add(ramp[i], step, gain)


# --- bells -------------------------------------------------------------------------


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
def wake_voice(stream: Any, voice: Any) -> bool:
    """Ring if an index that somebody waits for is reached; True if somebody waits on.

    Tested on the level in every block.  Only the one who swaps the index for NEVER
    rings, so that a waiter who asks anew in between is never wiped out.
    """
    heard_at = load_seq(voice, "wake_heard")
    if heard_at != NEVER:
        follow_heard(voice, stream["now_frame"])
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


# --- heard position ----------------------------------------------------------------


@inlined
def note_break(voice: Any, frame: int, index: int, running: int) -> None:
    """From the device's frame `frame` on, the voice stands at (or runs from) `index`."""
    head = voice["history_head"]
    entry = words_at(voice["history"] + 24 * (head & (HISTORY - 1)), 3)
    entry[0] = frame
    entry[1] = index
    entry[2] = running
    voice["history_head"] = head + 1
    store_seq(voice, "heard_offset", NEVER)


@inlined
def follow_breaks(voice: Any, now: int) -> None:
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
            if tail + 1 == head:
                store_release(voice, "heard_offset", entry[1] - entry[0])
            heard = smaller(heard + now - entry[0], voice["read"])
        if heard > voice["heard"]:
            store_release(voice, "heard", heard)


@inlined
def follow_heard(voice: Any, now: int) -> None:
    """Bring the heard index up to the device's frame `now`.

    A voice that plays on need not be followed in every block: whoever wants to know what is
    heard adds (see control.heard_now).
    """
    offset = voice["heard_offset"]
    if offset == NEVER:
        follow_breaks(voice, now)
    else:
        store_release(voice, "heard", smaller(now + offset, voice["read"]))


# --- a voice's frames --------------------------------------------------------------


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
    if voice["gain_left"] > 0 or fade_step != 0.0 or not is_level(address):
        add_levels(stream, voice, address, mix, source, frames, fade, fade_step)
        return
    samples = frames * channels
    add_one(
        floats_at(mix, samples), floats_at(source, samples), np.float32(voice["gain"]), samples
    )


@inlined
def note_silence(voice: Any, frame: int) -> None:
    """From the device's frame `frame` on the voice sounds no more."""
    if voice["sounding"] != 0:
        note_break(voice, frame, voice["read"], 0)
        voice["sounding"] = 0


# --- clears ------------------------------------------------------------------------


@inlined
def cut(voice: Any, address: int, to: int, frame: int) -> None:
    """Execute a clear or a stop: jump to the index `to`, and tell where from."""
    count = voice["cut_count"]
    entry = words_at(voice["cuts"] + 16 * (count & (CUTS - 1)), 2)
    entry[0] = voice["read"]
    entry[1] = to
    store_release(voice, "cut_count", count + 1)
    store_release(voice, "read", to)
    voice["clean"] = to
    voice["sounding"] = 0
    voice["dry"] = 0
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


# --- running dry -------------------------------------------------------------------


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
    note_silence(voice, frame)
    if here == load_acquire(voice, "ended"):
        voice["dry"] = 0
        voice["filling"] = 1
        return
    if sounded:
        begin_tail(stream, voice, address)
    if here == voice["clean"] or here == load_acquire(voice, "skip"):
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


# --- one voice ---------------------------------------------------------------------


@inlined
def end_voice(stream: Any, voice: Any, address: int, frame: int) -> None:
    """A command has stopped it: drop what is queued, and have the caller told."""
    voice["transport"] = STOPPED
    cut(voice, address, load_acquire(voice, "write"), frame)
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
        note_silence(voice, frame)
        voice["transport"] = STOPPED


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
def start_sounding(voice: Any, address: int, frame: int) -> None:
    """It sounds from the device's frame `frame` on; out of silence, if it had run dry."""
    here = voice["read"]
    note_break(voice, frame, here, 1)
    voice["sounding"] = 1
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
        note_silence(voice, frame)
        if voice["dry"] != 0 and transport == PLAYING:
            count_starved(stream, voice, frames)
        add_tail(stream, voice, mix, frames)
        pass_time(stream, voice, address, frames)
        return
    here = voice["read"]
    done = smaller(load_acquire(voice, "write") - here, frames)
    if transport == PAUSING or transport == ENDING:
        done = smaller(done, ramp_at(address + FLOW)["to_go"])
    if done > 0:
        if voice["sounding"] == 0:
            start_sounding(voice, address, frame)
        add_tail(stream, voice, mix, done)
        add_span(stream, voice, address, mix, done, 1.0, 0.0)
        store_release(voice, "read", here + done)
        if transport != PLAYING and ramp_at(address + FLOW)["to_go"] == 0:
            note_silence(voice, frame + done)
    if done == frames and voice["sounding"] != 0:
        return
    if voice["sounding"] != 0 or transport == PLAYING:
        run_dry(stream, voice, address, frames - done, frame + done)
        if transport != PLAYING:
            set_ramp(ramp_at(address + FLOW), 1.0)
    come_to_rest(stream, voice, address, frame + done)
    add_tail(stream, voice, mix + 4 * stream["channels"] * done, frames - done)
    pass_time(stream, voice, address, frames - done)


@inlined
def mix_part(stream: Any, voice: Any, address: int, mix: int, frames: int, frame: int) -> None:
    """Add the voice's next frames, between two commands."""
    done = 0
    if load_acquire(voice, "skip") > voice["read"]:
        done = fade_out(stream, voice, address, mix, frames)
        add_tail(stream, voice, mix, done)
        if voice["fade_left"] > 0:
            return
        cut(voice, address, load_acquire(voice, "skip"), frame + done)
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
    done = 0
    while done < frames:
        until = obey(stream, voice, address, frame, done, frames)
        rest = mix + 4 * stream["channels"] * done
        if until > done:
            mix_part(stream, voice, address, rest, until - done, frame + done)
        done = until
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
        and voice["shape"] == LINEAR
        and voice["tail_left"] == 0
        and is_level(address)
    )


# --- the block ---------------------------------------------------------------------


@inlined
def mix_other(stream: Any, address: int, mix: int, frames: int) -> None:
    """Add a voice that is not in line; if it is calm by then, it is in the next block."""
    voice = voice_at(address)
    follow_heard(voice, stream["now_frame"])
    mix_voice(stream, voice, address, mix, frames, load(stream, "frames"))
    if voice["calm"] >= 0:
        stream["lined_up"] = -1


@inlined
def line_up(stream: Any, voice: Any, address: int) -> None:
    """Put a voice that is calm into the line, behind the others."""
    i = stream["line_count"]
    size = 4 * stream["channels"] * voice["capacity"]
    words_at(stream["line"], i + 1)[i] = address
    words_at(stream["here"], i + 1)[i] = voice["read"]
    words_at(stream["until"], i + 1)[i] = voice["read"]
    words_at(stream["sources"], i + 1)[i] = source_of(voice, voice["read"], stream["channels"])
    words_at(stream["ends"], i + 1)[i] = voice["ring"] + size
    words_at(stream["sizes"], i + 1)[i] = size
    floats_at(stream["gains"], i + 1)[i] = np.float32(voice["gain"])
    floats_at(stream["steps"], i + 1)[i] = np.float32(voice["gain_step"])
    doubles_at(stream["gains_now"], i + 1)[i] = voice["gain"]
    doubles_at(stream["gain_steps"], i + 1)[i] = voice["gain_step"]
    words_at(stream["gains_until"], i + 1)[i] = 0
    if voice["gain_left"] > 0:
        words_at(stream["gains_until"], i + 1)[i] = voice["read"] + voice["gain_left"]
        stream["ramping"] += 1
    stream["line_count"] = i + 1


@inlined
def set_aside(stream: Any, address: int) -> None:
    """Note a voice in use that is not calm."""
    i = stream["other_count"]
    words_at(stream["others"], i + 1)[i] = address
    stream["other_count"] = i + 1


@inlined
def leave_out(stream: Any, i: int) -> None:
    """Have silence summed in a place of the line."""
    words_at(stream["sources"], i + 1)[i] = stream["silence"]
    floats_at(stream["gains"], i + 1)[i] = ZERO
    floats_at(stream["steps"], i + 1)[i] = ZERO


@inlined
def write_back(stream: Any, i: int) -> None:
    """Note in the record of a voice in line how far its gain is on its way."""
    until = words_at(stream["gains_until"], i + 1)[i]
    if until == 0:
        return
    voice = voice_at(words_at(stream["line"], i + 1)[i])
    left = until - words_at(stream["here"], i + 1)[i]
    voice["gain_left"] = left
    voice["gain"] = doubles_at(stream["gains_now"], i + 1)[i]
    if left == 0:
        voice["gain"] = voice["gain_goal"]
        voice["gain_step"] = 0.0


@inlined
def end_ramp(stream: Any, i: int) -> None:
    """The gain of a voice in line is where it was to go."""
    write_back(stream, i)
    gain = voice_at(words_at(stream["line"], i + 1)[i])["gain"]
    words_at(stream["gains_until"], i + 1)[i] = 0
    doubles_at(stream["gains_now"], i + 1)[i] = gain
    doubles_at(stream["gain_steps"], i + 1)[i] = 0.0
    floats_at(stream["gains"], i + 1)[i] = np.float32(gain)
    floats_at(stream["steps"], i + 1)[i] = ZERO
    stream["ramping"] -= 1


@inlined
def becomes_calm(stream: Any, voice: Any, address: int) -> bool:
    """Carry out what is due; True if it was all that there was to do, such as a ramp's start."""
    changes = load_acquire(voice, "changes")
    obey(stream, voice, address, load(stream, "frames"), 0, 1)
    if not is_calm(voice, address):
        return False
    voice["calm"] = changes
    return True


@inlined
def sort_voices(stream: Any) -> None:
    """Look at every voice: those that are calm make up the line, the others in use a list."""
    if stream["ramping"] > 0:
        for i in range(stream["line_count"]):
            write_back(stream, i)
    stream["line_count"] = 0
    stream["other_count"] = 0
    stream["ramping"] = 0
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_acquire(voice, "changes") == voice["calm"]:
            line_up(stream, voice, address)
        elif load_seq(voice, "active") != 0:
            if becomes_calm(stream, voice, address):
                line_up(stream, voice, address)
            else:
                set_aside(stream, address)
        address += VOICE_BYTES
    for i in range(PASS - 1):  # to make up the last pass
        leave_out(stream, stream["line_count"] + i)


@apart
def are_short(here: Any, until: Any, frames: int, count: int) -> int:
    """How many in line have, as far as is known, no `frames` frames to play on."""
    short = 0
    for i in range(count):
        short += 1 if here[i] + frames > until[i] else 0
    return short


@inlined
def leave_line(stream: Any, i: int) -> None:
    """Take a voice out of the line, and close ranks."""
    last = stream["line_count"] - 1
    line = words_at(stream["line"], last + 1)
    here = words_at(stream["here"], last + 1)
    until = words_at(stream["until"], last + 1)
    sources = words_at(stream["sources"], last + 1)
    ends = words_at(stream["ends"], last + 1)
    sizes = words_at(stream["sizes"], last + 1)
    gains = floats_at(stream["gains"], last + 1)
    steps = floats_at(stream["steps"], last + 1)
    gains_now = doubles_at(stream["gains_now"], last + 1)
    gain_steps = doubles_at(stream["gain_steps"], last + 1)
    gains_until = words_at(stream["gains_until"], last + 1)
    if gains_until[i] != 0:
        write_back(stream, i)
        stream["ramping"] -= 1
    for k in range(i, last):
        line[k] = line[k + 1]
        here[k] = here[k + 1]
        until[k] = until[k + 1]
        sources[k] = sources[k + 1]
        ends[k] = ends[k + 1]
        sizes[k] = sizes[k + 1]
        gains[k] = gains[k + 1]
        steps[k] = steps[k + 1]
        gains_now[k] = gains_now[k + 1]
        gain_steps[k] = gain_steps[k + 1]
        gains_until[k] = gains_until[k + 1]
    stream["line_count"] = last
    leave_out(stream, last)


@inlined
def look_again(stream: Any, frames: int) -> None:
    """See how far those in line go now; who has no `frames` frames to play on leaves it."""
    line = words_at(stream["line"], stream["line_count"] + 1)
    here = words_at(stream["here"], stream["line_count"] + 1)
    until = words_at(stream["until"], stream["line_count"] + 1)
    gains_until = words_at(stream["gains_until"], stream["line_count"] + 1)
    i = 0
    while i < stream["line_count"]:
        if gains_until[i] != 0 and gains_until[i] == here[i]:
            end_ramp(stream, i)
        until[i] = load_acquire(voice_at(line[i]), "write")
        if gains_until[i] != 0:
            until[i] = smaller(until[i], gains_until[i])
        if here[i] + frames > until[i]:
            set_aside(stream, line[i])
            leave_line(stream, i)
        else:
            i += 1


@apart
def follow_ramps(gains: Any, now: Any, steps: Any, frames: int, count: int) -> None:
    """Note the gains of those in line for this block, within which no ramp ends.

    It touches no record: those of many voices are more than the fastest cache holds.
    """
    for i in range(count):
        gains[i] = np.float32(now[i])
        now[i] += frames * steps[i]


@apart
def move_on(sources: Any, ends: Any, sizes: Any, step: int, count: int) -> None:
    """Move addresses on by `step` bytes, from a ring's end back to its start."""
    for i in range(count):
        source = sources[i] + step
        sources[i] = source - (sizes[i] if source >= ends[i] else 0)


@inlined
def take_frames(stream: Any, frames: int) -> None:
    """Hand the next frames of those in line back, just before they are summed.

    Their producers leave a slice of the ring alone (see ring.py).
    """
    count = stream["line_count"]
    line = words_at(stream["line"], count + 1)
    here = words_at(stream["here"], count + 1)
    for i in range(count):
        here[i] += frames
    for i in range(count):
        store_release(voice_at(line[i]), "read", here[i])


@inlined
def mix_pass(stream: Any, mix: int, frames: int, first: int, ramps: bool, empty: bool) -> None:
    """Sum the four in line from `first` on.

    Parameters
    ----------
    ramps : bool
        False: no gain in line moves.
    empty : bool
        The block holds nothing yet.
    """
    samples = frames * stream["channels"]
    sources = words_at(stream["sources"], first + PASS)
    gains = floats_at(stream["gains"], first + PASS)
    steps = floats_at(stream["steps"], first + PASS)
    block = floats_at(mix, samples)
    a = floats_at(sources[first], samples)
    b = floats_at(sources[first + 1], samples)
    c = floats_at(sources[first + 2], samples)
    d = floats_at(sources[first + 3], samples)
    ga = gains[first]
    gb = gains[first + 1]
    gc = gains[first + 2]
    gd = gains[first + 3]
    sa = steps[first]
    sb = steps[first + 1]
    sc = steps[first + 2]
    sd = steps[first + 3]
    if not ramps or (sa == ZERO and sb == ZERO and sc == ZERO and sd == ZERO):
        if empty:
            begin_with_four(block, a, b, c, d, ga, gb, gc, gd, samples)
        else:
            mix_four(block, a, b, c, d, ga, gb, gc, gd, samples)
    else:
        ramp = floats_at(stream["ramp"], samples)
        half = (frames >> 1) * stream["channels"]
        mix_four_ramps(block, ramp, a, b, c, d, ga, gb, gc, gd, sa, sb, sc, sd, half, samples)


@inlined
def clear_block(block: Any, count: int) -> None:
    """Begin with silence."""
    for i in range(count):
        block[i] = ZERO


@inlined
def mix_block(stream: Any, frames: int) -> None:
    """Sum all voices' next `frames` frames (at most a slice) into the stream's block."""
    mix = stream["mix"]
    changes = load_acquire(stream, "changes")
    if changes != stream["lined_up"]:
        stream["lined_up"] = changes
        sort_voices(stream)
    here = words_at(stream["here"], stream["line_count"] + 1)
    until = words_at(stream["until"], stream["line_count"] + 1)
    if are_short(here, until, frames, stream["line_count"]) > 0:
        look_again(stream, frames)
    ramps = stream["ramping"] > 0
    empty = not ramps and stream["other_count"] == 0 and stream["line_count"] > 0
    if not empty:
        clear_block(floats_at(mix, frames * stream["channels"]), frames * stream["channels"])
    others = words_at(stream["others"], stream["other_count"] + 1)
    for i in range(stream["other_count"]):
        mix_other(stream, others[i], mix, frames)
    count = stream["line_count"]
    if ramps:
        follow_ramps(
            floats_at(stream["gains"], count + 1),
            doubles_at(stream["gains_now"], count + 1),
            doubles_at(stream["gain_steps"], count + 1),
            frames,
            count,
        )
    take_frames(stream, frames)
    for first in range(0, count, PASS):
        mix_pass(stream, mix, frames, first, ramps, empty)
        empty = False
    move_on(
        words_at(stream["sources"], count + 1),
        words_at(stream["ends"], count + 1),
        words_at(stream["sizes"], count + 1),
        4 * stream["channels"] * frames,
        count,
    )


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
def apply_master(stream: Any, frames: int) -> None:
    """Scale the block by the whole mix's gain, along its ramp."""
    change = load_acquire(stream, "master_change")
    if change != stream["master_seen"]:
        stream["master_seen"] = change
        left = larger(load(stream, "master_frames"), 1)
        stream["master_left"] = left
        stream["master_goal"] = load(stream, "master_target")
        stream["master_step"] = (stream["master_goal"] - stream["master"]) / left
    channels = stream["channels"]
    done = 0
    while done < frames:
        count = frames - done
        if stream["master_left"] > 0:
            count = smaller(count, stream["master_left"])
        elif stream["master"] == 1.0:
            return
        scale_ramp(
            floats_at(stream["mix"] + 4 * channels * done, count * channels),
            floats_at(stream["ramp"], count * channels),
            np.float32(stream["master"]),
            np.float32(stream["master_step"]),
            count * channels,
        )
        if stream["master_left"] > 0:
            stream["master_left"] -= count
            stream["master"] += count * stream["master_step"]
            if stream["master_left"] == 0:
                stream["master"] = stream["master_goal"]
                stream["master_step"] = 0.0
        done += count
