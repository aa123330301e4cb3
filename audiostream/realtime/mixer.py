"""Voices to one block of float32; audio thread.

The voices whose block is nothing but their next frames, at a constant gain or along one ramp,
the usual case, are lined up, and summed :data:`~audiostream.realtime.layout.PASS` at a time.
Everything else (fades, clears, running dry, starting and stopping) takes one voice at a time
through :func:`mix_voice`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    bell_at,
    compare_and_swap,
    fence_seq,
    floats_at,
    load,
    load_acquire,
    load_seq,
    store,
    store_release,
    store_seq,
    voice_at,
    words_at,
)
from audiostream.realtime.inlined import apart, inlined
from audiostream.realtime.layout import (
    BELL_BYTES,
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
    count: int,
) -> None:
    """Add four voices in one pass, each gain moving by its step from frame to frame."""
    for i in range(count):
        t = ramp[i]
        b_mix = multiply_add(b[i], multiply_add(t, sb, gb), mix[i])
        ab = multiply_add(a[i], multiply_add(t, sa, ga), b_mix)
        d_ab = multiply_add(d[i], multiply_add(t, sd, gd), ab)
        mix[i] = multiply_add(c[i], multiply_add(t, sc, gc), d_ab)


@apart
def mix_ramp(
    mix: Any,
    source: Any,
    ramp: Any,
    gain: Any,
    step: Any,
    fade: Any,
    fade_step: Any,
    count: int,
) -> None:
    """Add one voice whose gain moves, and that may fade.

    Frame ``t``, from 1, has ``(gain + t step) (fade + t fade_step)``.
    """
    for i in range(count):
        t = ramp[i]
        level = multiply_add(t, step, gain) * multiply_add(t, fade_step, fade)
        mix[i] = multiply_add(source[i], level, mix[i])


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


# --- one voice ---------------------------------------------------------------------


@inlined
def take_gain(voice: Any) -> None:
    """Take over a gain that the caller has asked for: at once in silence, else by a ramp."""
    target = load(voice, "gain_target")
    if target == voice["gain_goal"]:
        return
    voice["gain_goal"] = target
    frames = load(voice, "gain_frames")
    if voice["sounding"] == 0 or frames <= 0:
        voice["gain"] = target
        voice["gain_left"] = 0
        voice["gain_step"] = 0.0
    else:
        voice["gain_step"] = (target - voice["gain"]) / frames
        voice["gain_left"] = frames


@inlined
def advance_gain(voice: Any, frames: int) -> None:
    """Move along the gain's ramp by what was mixed, at most up to the ramp's end."""
    if voice["gain_left"] == 0:
        return
    voice["gain_left"] -= frames
    if voice["gain_left"] == 0:
        voice["gain"] = voice["gain_goal"]
        voice["gain_step"] = 0.0
    else:
        voice["gain"] += frames * voice["gain_step"]


@inlined
def add_span(
    stream: Any,
    voice: Any,
    mix: int,
    frames: int,
    fade: float,
    fade_step: float,
) -> None:
    """Add the next `frames` frames, first along the gain's ramp and then behind it.

    The read index stays where it is.
    """
    channels = stream["channels"]
    source = source_of(voice, voice["read"], channels)
    done = 0
    while done < frames:
        count = frames - done
        if voice["gain_left"] > 0:
            count = smaller(count, voice["gain_left"])
        samples = count * channels
        offset = 4 * channels * done
        mix_ramp(
            floats_at(mix + offset, samples),
            floats_at(source + offset, samples),
            floats_at(stream["ramp"], samples),
            np.float32(voice["gain"]),
            np.float32(voice["gain_step"]),
            np.float32(fade + done * fade_step),
            np.float32(fade_step),
            samples,
        )
        advance_gain(voice, count)
        done += count


@inlined
def cut(voice: Any, frame: int) -> None:
    """Execute a clear: jump to the newest "skip to", and tell where from."""
    skip = load_acquire(voice, "skip")
    count = voice["cut_count"]
    entry = words_at(voice["cuts"] + 16 * (count & (CUTS - 1)), 2)
    entry[0] = voice["read"]
    entry[1] = skip
    store_release(voice, "cut_count", count + 1)
    store_release(voice, "read", skip)
    voice["sounding"] = 0
    note_break(voice, frame, skip, 0)


@inlined
def fade_out(stream: Any, voice: Any, mix: int, frames: int, playing: int) -> int:
    """Play what of a clear's fade falls into the block; how many frames of it."""
    if playing == 0 or voice["sounding"] == 0:
        voice["fade_left"] = 0
    elif voice["fade_left"] == 0:
        room = load_acquire(voice, "skip") - voice["read"]
        total = larger(smaller(load(voice, "fade"), room), 0)
        voice["fade_left"] = total
        voice["fade_total"] = total
    done = smaller(voice["fade_left"], frames)
    if done > 0:
        step = 1.0 / voice["fade_total"]
        add_span(stream, voice, mix, done, voice["fade_left"] * step, -step)
        voice["fade_left"] -= done
        store_release(voice, "read", voice["read"] + done)
    return done


@inlined
def mix_voice(stream: Any, voice: Any, mix: int, frames: int, frame: int) -> None:
    """Add one voice, whatever is going on with it.

    Parameters
    ----------
    mix : int
        Address of the block, float32 (frames, channels).
    frame : int
        The device's number of the block's first frame.
    """
    changes = load_acquire(voice, "changes")
    if changes != voice["seen"]:
        voice["seen"] = changes
        take_gain(voice)
    voice["calm"] = -1
    playing = load_acquire(voice, "playing")
    done = 0
    if load_acquire(voice, "skip") > voice["read"]:
        done = fade_out(stream, voice, mix, frames, playing)
        if voice["fade_left"] > 0:
            return
        cut(voice, frame + done)
    here = voice["read"]
    if playing != 1:
        if voice["sounding"] != 0:
            note_break(voice, frame + done, here, 0)
            voice["sounding"] = 0
        return
    count = smaller(load_acquire(voice, "write") - here, frames - done)
    if count > 0:
        if voice["sounding"] == 0:
            note_break(voice, frame + done, here, 1)
            voice["sounding"] = 1
        add_span(stream, voice, mix + 4 * stream["channels"] * done, count, 1.0, 0.0)
        done += count
        here += count
        store_release(voice, "read", here)
    if done == frames:
        if voice["sounding"] != 0 and voice["heard_offset"] != NEVER:
            voice["calm"] = changes
        return
    if voice["sounding"] != 0:
        note_break(voice, frame + done, here, 0)
        voice["sounding"] = 0
    if here != load_acquire(voice, "ended"):
        short = frames - done
        store(voice, "starved", voice["starved"] + short)
        store(stream, "starved", stream["starved"] + short)


# --- the block ---------------------------------------------------------------------


@inlined
def mix_other(stream: Any, address: int, mix: int, frames: int) -> None:
    """Add a voice that is not in line; if it is calm by then, it is in the next block."""
    voice = voice_at(address)
    follow_heard(voice, stream["now_frame"])
    mix_voice(stream, voice, mix, frames, load(stream, "frames"))
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
    if voice["gain_left"] > 0:
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
def sort_voices(stream: Any) -> None:
    """Look at every voice: those that are calm make up the line, the others in use a list."""
    stream["line_count"] = 0
    stream["other_count"] = 0
    stream["ramping"] = 0
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_acquire(voice, "changes") == voice["calm"]:
            line_up(stream, voice, address)
        elif load_seq(voice, "active") != 0:
            set_aside(stream, address)
        address += VOICE_BYTES
    for i in range(PASS - 1):  # to make up the last pass
        leave_out(stream, stream["line_count"] + i)


@inlined
def steady_until(voice: Any) -> int:
    """The index up to which a calm voice has frames, on one straight way of its gain."""
    until = load_acquire(voice, "write")
    left = voice["gain_left"]
    return smaller(until, voice["read"] + left) if left > 0 else until


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
    for k in range(i, last):
        line[k] = line[k + 1]
        here[k] = here[k + 1]
        until[k] = until[k + 1]
        sources[k] = sources[k + 1]
        ends[k] = ends[k + 1]
        sizes[k] = sizes[k + 1]
        gains[k] = gains[k + 1]
        steps[k] = steps[k + 1]
    stream["line_count"] = last
    leave_out(stream, last)


@inlined
def look_again(stream: Any, frames: int) -> None:
    """See how far those in line go now; who has no `frames` frames to play on leaves it."""
    line = words_at(stream["line"], stream["line_count"] + 1)
    here = words_at(stream["here"], stream["line_count"] + 1)
    until = words_at(stream["until"], stream["line_count"] + 1)
    i = 0
    while i < stream["line_count"]:
        until[i] = steady_until(voice_at(line[i]))
        if here[i] + frames > until[i]:
            set_aside(stream, line[i])
            leave_line(stream, i)
        else:
            i += 1


@inlined
def follow_ramps(stream: Any, frames: int) -> None:
    """Note the gains of those in line for this block, within which no ramp ends."""
    count = stream["line_count"]
    line = words_at(stream["line"], count + 1)
    here = words_at(stream["here"], count + 1)
    until = words_at(stream["until"], count + 1)
    gains = floats_at(stream["gains"], count + 1)
    steps = floats_at(stream["steps"], count + 1)
    ramping = 0
    for i in range(count):
        voice = voice_at(line[i])
        gains[i] = np.float32(voice["gain"])
        steps[i] = np.float32(voice["gain_step"])
        if voice["gain_left"] > 0:
            ramping += 1
            advance_gain(voice, frames)
            if voice["gain_left"] == 0:
                until[i] = here[i]  # to look again
    stream["ramping"] = ramping


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
        mix_four_ramps(block, ramp, a, b, c, d, ga, gb, gc, gd, sa, sb, sc, sd, samples)


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
    if ramps:
        follow_ramps(stream, frames)
    take_frames(stream, frames)
    count = stream["line_count"]
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
