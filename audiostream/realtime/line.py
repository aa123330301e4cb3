"""The line of the voices that just play on, summed four in a pass; audio thread.

It is made anew when a voice is told something, or has got over it (:func:`refresh_line`), and
looked at again when one of its voices may be short (:func:`look_again`).  In all other blocks
its arrays are all that is touched (:data:`~audiostream.realtime.layout.LINE`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    doubles_at,
    floats_at,
    group_at,
    load_acquire,
    load_seq,
    store_release,
    stream_at,
    voice_at,
    words_at,
)
from audiostream.realtime.bends import bend_ahead, longest_piece, mix_bent
from audiostream.realtime.careful import becomes_calm
from audiostream.realtime.course import is_to_note, stay
from audiostream.realtime.curves import count_anew, forget_curves
from audiostream.realtime.envelope import level_now, pass_time
from audiostream.realtime.heard import read_by_now
from audiostream.realtime.inlined import apart, far, inlined
from audiostream.realtime.layout import (
    NEVER,
    PASS,
    SPARE,
    VOICE_BYTES,
)
from audiostream.realtime.numbers import smaller
from audiostream.realtime.ring import source_of
from audiostream.realtime.sums import begin_with_four, mix_four, mix_four_ramps
from audiostream.realtime.voice import foresee_point, forget_point, note_level, note_point
from audiostream.realtime.ways import (
    ALONE,
    BENT,
    CURVED,
    EVEN,
    SIDED,
    follow_courses,
    is_equal_power,
    level_behind,
    mix_courses,
    moves_for,
    set_course,
    shared_way,
    step_of,
    way_of,
)

__all__ = (
    "look_again",
    "mix_line",
    "refresh_line",
    "target_of",
)

ZERO = np.float32(0.0)

# --- who is in it -----------------------------------------------------------------


@inlined
def target_of(stream: Any, voice: Any) -> int:
    """Address of the block that a voice is summed into."""
    if voice["group"] != 0:
        return group_at(voice["group"])["mix"]
    return stream["mix"]


@inlined
def here_of(stream: Any, i: int) -> int:
    """The read index of a place of the line, before the block."""
    return stream["frames"] + words_at(stream["offsets"], i + 1)[i]


@inlined
def way_at(stream: Any, i: int) -> int:
    """The way of a place of the line, which is its pass's."""
    return words_at(stream["ways"], i // PASS + 1)[i // PASS]


@inlined
def set_level(stream: Any, voice: Any, address: int, i: int, way: int, here: int) -> None:
    """Have a place of the line go on from `here` at a voice's level as its record says."""
    level = 0.0
    step = 0.0
    if way == EVEN:
        level = level_now(voice, address)
        step = step_of(voice, address)
    else:
        set_course(stream, voice, address, i, way, here)
    floats_at(stream["gains"], i + 1)[i] = np.float32(level)
    floats_at(stream["steps"], i + 1)[i] = np.float32(step)
    doubles_at(stream["gains_now"], i + 1)[i] = level
    doubles_at(stream["gain_steps"], i + 1)[i] = step


@inlined
def line_up(stream: Any, voice: Any, address: int, way: int) -> None:
    """Put a voice that is calm into the line, behind the others."""
    i = stream["line_count"]
    here = voice["read"]
    size = 4 * stream["channels"] * voice["capacity"]
    words_at(stream["line"], i + 1)[i] = address
    words_at(stream["offsets"], i + 1)[i] = here - stream["frames"]
    words_at(stream["until"], i + 1)[i] = here
    words_at(stream["since"], i + 1)[i] = here
    words_at(stream["sources"], i + 1)[i] = source_of(voice, here, stream["channels"])
    words_at(stream["ends"], i + 1)[i] = voice["ring"] + size
    words_at(stream["sizes"], i + 1)[i] = size
    words_at(stream["targets"], i // PASS + 1)[i // PASS] = target_of(stream, voice)
    words_at(stream["ways"], i // PASS + 1)[i // PASS] = way
    words_at(stream["moving_until"], i + 1)[i] = 0
    stream["uneven"] += 1 if way != EVEN else 0
    set_level(stream, voice, address, i, way, here)
    level = level_now(voice, address)
    store_release(voice, "read_offset", here - stream["frames"])
    note_level(voice, here, level)
    left = moves_for(voice, address)
    if left > 0:
        words_at(stream["moving_until"], i + 1)[i] = here + left
        note_point(voice, here, level)
        if way < CURVED:
            foresee_point(voice, here + left, level + left * step_of(voice, address))
        stream["ramping"] += 1
    stream["line_count"] = i + 1


@inlined
def leave_free(stream: Any, i: int, way: int) -> None:
    """Have silence summed in a place of the line: a voice of nobody's plays a ring of it."""
    size = 4 * stream["channels"] * stream["slice"]
    words_at(stream["line"], i + 1)[i] = stream["nobody"]
    words_at(stream["offsets"], i + 1)[i] = 0
    words_at(stream["until"], i + 1)[i] = NEVER
    words_at(stream["sources"], i + 1)[i] = stream["silence"]
    words_at(stream["ends"], i + 1)[i] = stream["silence"] + size
    words_at(stream["sizes"], i + 1)[i] = size
    words_at(stream["moving_until"], i + 1)[i] = 0
    floats_at(stream["gains"], i + 1)[i] = ZERO
    floats_at(stream["steps"], i + 1)[i] = ZERO
    doubles_at(stream["gains_now"], i + 1)[i] = 0.0
    doubles_at(stream["gain_steps"], i + 1)[i] = 0.0
    if way != EVEN:
        stay(stream, i, 0.0)


@inlined
def fill_pass(stream: Any, way: int) -> None:
    """Make up the line's last pass, so that the next voices begin one of their own."""
    while stream["line_count"] & (PASS - 1) != 0:
        leave_free(stream, stream["line_count"], way)
        stream["line_count"] += 1


@inlined
def set_aside(stream: Any, address: int) -> None:
    """Note a voice in use that is not calm."""
    i = stream["other_count"]
    words_at(stream["others"], i + 1)[i] = address
    stream["other_count"] = i + 1


@inlined
def write_back(stream: Any, i: int, here: int) -> bool:
    """Note in the record of a voice in line how far its level is on its way, at `here`.

    Returns
    -------
    bool
        False if it is not that voice's any more: a slot is given back, and to somebody else,
        between two blocks when the device has stopped, or has told of the end of a sound; and
        in the midst of one when no slot is left.
    """
    until = words_at(stream["moving_until"], i + 1)[i]
    if until == 0:
        return True
    address = words_at(stream["line"], i + 1)[i]
    voice = voice_at(address)
    if load_seq(voice, "active") == 0 or voice["calm"] < 0:
        return False
    pass_time(voice, address, here - words_at(stream["since"], i + 1)[i])
    words_at(stream["since"], i + 1)[i] = here
    if way_at(stream, i) < CURVED:
        forget_point(voice)
    note_point(voice, here, level_now(voice, address))
    return True


@inlined
def stand_alone(stream: Any, i: int) -> None:
    """Note in the record of a voice that was in line what was read, if it is still its own."""
    voice = voice_at(words_at(stream["line"], i + 1)[i])
    if load_seq(voice, "active") != 0 and voice["read_offset"] != NEVER:
        store_release(voice, "read", read_by_now(stream, voice))
        store_release(voice, "read_offset", NEVER)


@inlined
def arrive(stream: Any, i: int, here: int) -> None:
    """The level of a voice in line is where it was to go, at `here`."""
    address = words_at(stream["line"], i + 1)[i]
    voice = voice_at(address)
    way = way_at(stream, i)
    if not write_back(stream, i, here):
        leave_free(stream, i, way)
    elif way >= CURVED:
        stay(stream, i, level_now(voice, address))
    else:
        set_level(stream, voice, address, i, way, here)
    words_at(stream["moving_until"], i + 1)[i] = 0
    stream["ramping"] -= 1


@inlined
def way_in_line(stream: Any, voice: Any, address: int, waiting: int) -> int:
    """The way of a voice that may stand in line, `waiting` others having to; else ALONE."""
    has_place = stream["line_count"] + waiting + SPARE < stream["places"]
    is_calm = load_acquire(voice, "changes") == voice["calm"]
    if has_place and (is_calm or becomes_calm(stream["address"], address)):
        return way_of(stream, voice, address)
    return ALONE


@inlined
def line_up_group(stream: Any, group: int, end: int) -> int:
    """Put those voices of a group, or of none, that are calm into the line, by their ways.

    Those in use that are not calm make up a list.

    Parameters
    ----------
    group : int
        Address of its record; 0: the voices that are in no group, and note the groups, too.

    Returns
    -------
    int
        How many are in use.
    """
    shaped = words_at(stream["shaped"], end)
    waiting = 0
    ways = 0
    members = 0
    count_anew(stream)
    address = stream["voices"]
    for _ in range(end):
        voice = voice_at(address)
        if load_seq(voice, "active") == 0 or voice["group"] != group:
            pass  # a caller may be filling in its record
        elif voice["bus"] != 0:
            groups = words_at(stream["groups"], stream["group_count"] + 1)
            groups[stream["group_count"]] = voice["bus"]
            stream["group_count"] += 1
        else:
            members += 1
            way = way_in_line(stream, voice, address, waiting)
            voice["way"] = way
            if way == EVEN:
                line_up(stream, voice, address, EVEN)
            elif way > EVEN:
                shaped[waiting] = address
                waiting += 1
            else:
                set_aside(stream, address)
        address += VOICE_BYTES
    fill_pass(stream, EVEN)
    for k in range(waiting):
        voice = voice_at(shaped[k])
        voice["way"] = shared_way(stream, voice)
        ways |= 1 << voice["way"]
    way = SIDED
    while ways >> way != 0:
        for k in range(waiting):
            voice = voice_at(shaped[k])
            if voice["way"] == way:
                line_up(stream, voice, shaped[k], way)
        fill_pass(stream, way)
        way += 1
    return members


@inlined
def sort_voices(stream: Any) -> None:
    """Look at every voice: those that are calm make up the line, the others in use a list.

    In the line those of no group come first, then those of each group.
    """
    if stream["ramping"] > 0:
        for i in range(stream["line_count"]):
            write_back(stream, i, here_of(stream, i))
    for i in range(stream["line_count"]):
        stand_alone(stream, i)
    stream["line_count"] = 0
    stream["other_count"] = 0
    stream["group_count"] = 0
    stream["ramping"] = 0
    stream["uneven"] = 0
    stream["lasts"] = 0
    forget_curves(stream)
    end = load_acquire(stream, "voice_end")
    line_up_group(stream, 0, end)
    stream["own_count"] = stream["line_count"]
    groups = words_at(stream["groups"], stream["group_count"] + 1)
    for k in range(stream["group_count"]):
        group_at(groups[k])["members"] = line_up_group(stream, groups[k], end)


# --- what becomes of it -----------------------------------------------------------


@inlined
def refresh_line(stream: Any) -> None:
    """Sort the voices if any of them was told something, or has got over it."""
    changes = load_acquire(stream, "changes")
    if changes != stream["lined_up"]:
        stream["lined_up"] = changes
        sort_voices(stream)


@apart
def first_end(offsets: Any, until: Any, count: int) -> int:
    """The device's frame up to which all in line play on, as far as is known."""
    first = NEVER
    for i in range(count):
        first = smaller(first, until[i] - offsets[i])
    return first


@inlined
def leave_line(stream: Any, i: int) -> None:
    """Take a voice out of the line; the next block's line has no gap any more."""
    stand_alone(stream, i)
    if words_at(stream["moving_until"], i + 1)[i] != 0:
        write_back(stream, i, here_of(stream, i))
        stream["ramping"] -= 1
    set_aside(stream, words_at(stream["line"], i + 1)[i])
    leave_free(stream, i, way_at(stream, i))
    stream["lined_up"] = -1


@far
def leaves_tables(stream_address: int, i: int) -> bool:
    """Have a place's pass be BENT, if it is on tables on which no level can stay as it is.

    Returns
    -------
    bool
        False: it still is on such, as some curve goes too sharply round a bend.
    """
    stream = stream_at(stream_address)
    if not is_equal_power(stream, way_at(stream, i)):
        return True
    line = words_at(stream["line"], stream["line_count"])
    moving_until = words_at(stream["moving_until"], stream["line_count"])
    first = i - i % PASS
    for k in range(first, first + PASS):
        if moving_until[k] != 0 and longest_piece(stream, voice_at(line[k])) == 0:
            return False
    for k in range(first, first + PASS):
        here = here_of(stream, k)
        if moving_until[k] == 0:
            stay(stream, k, 0.0)
        elif write_back(stream, k, here):
            set_course(stream, voice_at(line[k]), line[k], k, BENT, here)
        else:
            leave_free(stream, k, BENT)
            stream["ramping"] -= 1
    words_at(stream["ways"], i // PASS + 1)[i // PASS] = BENT
    return True


@inlined
def look_again(stream: Any, frames: int) -> bool:
    """See how far those in line go now; who has no `frames` frames to play on leaves it.

    Most go on for many blocks, in which nobody is looked at.

    Returns
    -------
    bool
        True if a level gets to where it was to go within those frames.
    """
    line = words_at(stream["line"], stream["line_count"] + 1)
    offsets = words_at(stream["offsets"], stream["line_count"] + 1)
    until = words_at(stream["until"], stream["line_count"] + 1)
    moving_until = words_at(stream["moving_until"], stream["line_count"] + 1)
    ends = False
    for i in range(stream["line_count"]):
        end = stream["frames"] + offsets[i] + frames
        if end > until[i]:
            last = load_acquire(voice_at(line[i]), "write")
            if moving_until[i] != 0:
                until[i] = smaller(last, moving_until[i])
                if end > moving_until[i]:
                    if leaves_tables(stream["address"], i):
                        ends = True
                    else:
                        last = moving_until[i]
            else:
                until[i] = last
            if end > last:
                leave_line(stream, i)
    stream["lasts"] = first_end(offsets, until, stream["line_count"]) - stream["frames"]
    return ends


# --- a block ----------------------------------------------------------------------


@apart
def show_ramps(gains: Any, now: Any, steps: Any, done: int, count: int) -> None:
    """Have gains be what they are `done` frames into a block."""
    for i in range(count):
        gains[i] = np.float32(now[i] + done * steps[i])


@apart
def follow_ramps(gains: Any, now: Any, steps: Any, frames: int, count: int) -> None:
    """Move on the gains of those in line, behind a block.

    It touches no record: those of many voices are more than the fastest cache holds.
    """
    for i in range(count):
        gain = now[i] + frames * steps[i]
        now[i] = gain
        gains[i] = np.float32(gain)


@apart
def move_on(sources: Any, ends: Any, sizes: Any, step: int, count: int) -> None:
    """Move addresses on by `step` bytes, from a ring's end back to its start."""
    for i in range(count):
        source = sources[i] + step
        sources[i] = source - (sizes[i] if source >= ends[i] else 0)


@inlined
def mix_evenly(
    stream: Any,
    block: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    gains: Any,
    steps: Any,
    frames: int,
    empty: bool,
) -> None:
    """Sum four whose channels are alike, at constant gains or along ramps.

    Parameters
    ----------
    gains, steps : float32 (PASS,)
    empty : bool
        The block holds nothing yet, and no gain moves.
    """
    samples = frames * stream["channels"]
    ga = gains[0]
    gb = gains[1]
    gc = gains[2]
    gd = gains[3]
    if empty:
        begin_with_four(block, a, b, c, d, ga, gb, gc, gd, samples)
        return
    sa = steps[0]
    sb = steps[1]
    sc = steps[2]
    sd = steps[3]
    if sa == ZERO and sb == ZERO and sc == ZERO and sd == ZERO:
        mix_four(block, a, b, c, d, ga, gb, gc, gd, samples)
        return
    ramp = floats_at(stream["ramp"], samples)
    half = (frames >> 1) * stream["channels"]
    mix_four_ramps(block, ramp, a, b, c, d, ga, gb, gc, gd, sa, sb, sc, sd, half, samples)


@inlined
def mix_pass(
    stream: Any,
    first: int,
    way: int,
    mix: int,
    sources: Any,
    offset: int,
    gains: int,
    steps: int,
    frames: int,
    empty: bool,
) -> None:
    """Sum frames of the four in line from `first` on, along one way; not if BENT.

    Parameters
    ----------
    mix : int
        Address of the block that they are summed into.
    offset : int
        Bytes of it, and of the sources, that lie before those frames.
    """
    samples = frames * stream["channels"]
    block = floats_at(mix + offset, samples)
    a = floats_at(sources[first] + offset, samples)
    b = floats_at(sources[first + 1] + offset, samples)
    c = floats_at(sources[first + 2] + offset, samples)
    d = floats_at(sources[first + 3] + offset, samples)
    if way == EVEN:
        own_gains = floats_at(gains + 4 * first, PASS)
        own_steps = floats_at(steps + 4 * first, PASS)
        mix_evenly(stream, block, a, b, c, d, own_gains, own_steps, frames, empty)
    else:
        mix_courses(stream, way, first, block, a, b, c, d, samples)


@inlined
def ends_within(stream: Any, first: int, frames: int) -> bool:
    """True if a level of the four in line from `first` on gets to where it was to go."""
    for i in range(first, first + PASS):
        until = words_at(stream["moving_until"], i + 1)[i]
        if until != 0 and until < here_of(stream, i) + frames:
            return True
    return False


@inlined
def is_moving(stream: Any, first: int) -> bool:
    """True if a level of the four in line from `first` on moves."""
    for i in range(first, first + PASS):
        if words_at(stream["moving_until"], i + 1)[i] != 0:
            return True
    return False


@far
def mix_to_ends(stream_address: int, first: int, way: int, mix: int, frames: int) -> None:
    """Sum a block of the four in line from `first` on, from one end of a way to the next.

    Levels that are not EVEN are moved on behind each piece.  If none is on a curve any more,
    the line is made anew.
    """
    stream = stream_at(stream_address)
    moving_until = words_at(stream["moving_until"], first + PASS)
    sources = words_at(stream["sources"], first + PASS)
    gains = stream["gains"]
    steps = stream["steps"]
    done = 0
    while done < frames:
        count = frames - done
        for i in range(first, first + PASS):
            here = here_of(stream, i) + done
            if moving_until[i] == here:
                arrive(stream, i, here)
            elif moving_until[i] != 0:
                count = smaller(count, moving_until[i] - here)
        if way == BENT:
            mix_bent(stream, first, mix, done, count)
        else:
            show_ramps(
                floats_at(gains + 4 * first, PASS),
                doubles_at(stream["gains_now"] + 8 * first, PASS),
                doubles_at(stream["gain_steps"] + 8 * first, PASS),
                done,
                PASS,
            )
            offset = 4 * stream["channels"] * done
            mix_pass(stream, first, way, mix, sources, offset, gains, steps, count, False)
            follow_courses(stream, first, way, count)
        done += count
    if way >= CURVED and not is_moving(stream, first):
        stream["lined_up"] = -1


@inlined
def mix_passes(stream: Any, frames: int, count: int, ends: bool, empty: bool) -> None:
    """Sum all in line, four at a time, but those of whom one gets to its goal.

    What the stream's record says is read beforehand: for all that LLVM knows, it may be among
    what the sums are stored to.
    """
    sources = words_at(stream["sources"], count)
    ways = words_at(stream["ways"], count)
    targets = words_at(stream["targets"], count)
    gains = stream["gains"]
    steps = stream["steps"]
    for number in range(count // PASS):
        first = PASS * number
        way = ways[number]
        mix = targets[number]
        if ends and ends_within(stream, first, frames):
            pass
        elif way == BENT:
            mix_bent(stream, first, mix, 0, frames)
        else:
            mix_pass(stream, first, way, mix, sources, 0, gains, steps, frames, empty)
        empty = False


@inlined
def bend_all(stream: Any, frames: int, count: int) -> None:
    """Make the numbers of all that are BENT, if none of these gets to its goal.

    One after the other: a processor begins with the next pass's while it works at one's, which
    behind the sums it would not get to see.
    """
    for first in range(0, count, PASS):
        if way_at(stream, first) == BENT:
            bend_ahead(stream, first, frames)


@inlined
def follow_ways(stream: Any, frames: int, count: int, ends: bool) -> None:
    """Move on the levels of those in line that are not EVEN, and sum those left out before.

    Meters are told where those on curves are.
    """
    line = words_at(stream["line"], count + 1)
    for first in range(0, count, PASS):
        way = way_at(stream, first)
        if ends and ends_within(stream, first, frames):
            target = words_at(stream["targets"], first // PASS + 1)[first // PASS]
            mix_to_ends(stream["address"], first, way, target, frames)
        else:
            follow_courses(stream, first, way, frames)
        if way >= CURVED:
            for i in range(first, first + PASS):
                here = here_of(stream, i) + frames
                if is_to_note(stream, i, here):
                    note_point(voice_at(line[i]), here, level_behind(stream, i, way))


@inlined
def mix_line(stream: Any, frames: int, ramps: bool, ends: bool, empty: bool) -> None:
    """Sum the next frames of all in line into the blocks that they are for.

    Parameters
    ----------
    ramps : bool
        False: no level in line moves.
    ends : bool
        False: nor gets one to where it was to go within the block.
    empty : bool
        The stream's block holds nothing yet, and the first pass, an EVEN one, is for it.
    """
    count = stream["line_count"]
    is_even = stream["uneven"] == 0
    if ramps and not ends and not is_even:
        bend_all(stream, frames, count)
    mix_passes(stream, frames, count, ends, empty)
    if ends or (ramps and not is_even):
        follow_ways(stream, frames, count, ends)
    if ramps:
        follow_ramps(
            floats_at(stream["gains"], count + 1),
            doubles_at(stream["gains_now"], count + 1),
            doubles_at(stream["gain_steps"], count + 1),
            frames,
            count,
        )
    move_on(
        words_at(stream["sources"], count + 1),
        words_at(stream["ends"], count + 1),
        words_at(stream["sizes"], count + 1),
        4 * stream["channels"] * frames,
        count,
    )
