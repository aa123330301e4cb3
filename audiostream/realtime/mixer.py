"""Voices to one block of float32; audio thread.

A voice whose block is nothing but its next frames at a constant gain, the usual case, is
put aside until :data:`~audiostream.realtime.layout.PASS` of them are summed in one pass.
Everything else (ramps, fades, clears, running dry, starting and stopping) takes one voice
at a time through :func:`mix_voice`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from audiostream.realtime.atomics import (
    JIT,
    bells_at,
    compare_and_swap,
    floats_at,
    load,
    load_acquire,
    load_seq,
    samples8_at,
    samples16_at,
    store,
    store_release,
    store_seq,
    voices_at,
    words_at,
)
from audiostream.realtime.layout import CUTS, HISTORY, NEVER, PASS
from audiostream.realtime.ring import source_of

__all__ = (
    "apply_master",
    "encode",
    "follow_voices",
    "mix_block",
    "mix_voice",
    "note_bell",
)

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
SCALE8 = np.float32(128.0)
SCALE16 = np.float32(32768.0)
TOP8 = np.float32(127.0)
TOP16 = np.float32(32767.0)
ROUND = np.float32(12582912.0)
"""1.5 * 2**23: adding and taking it away rounds a float32 to the nearest integer, ties
to even, without a call (valid below 2**22)."""


# --- sums --------------------------------------------------------------------------


@register_jitable(**JIT)
def mix_one(mix: Any, source: Any, gain: Any, count: int) -> None:
    """Add `count` samples at one gain."""
    for i in range(count):
        mix[i] += source[i] * gain


@register_jitable(**JIT)
def mix_four(
    mix: Any, a: Any, b: Any, c: Any, d: Any, ga: Any, gb: Any, gc: Any, gd: Any, count: int
) -> None:
    """Add four voices in one pass over the block, each at its own constant gain."""
    for i in range(count):
        mix[i] += (a[i] * ga + b[i] * gb) + (c[i] * gc + d[i] * gd)


@register_jitable(**JIT)
def mix_ramp(
    mix: Any,
    source: Any,
    frames: int,
    channels: int,
    gain: float,
    gain_step: float,
    fade: float,
    fade_step: float,
) -> None:
    """Add frames whose gain moves.

    Frame ``i`` has ``(gain + (i + 1) gain_step) (fade + (i + 1) fade_step)``.
    """
    for i in range(frames):
        g = np.float32((gain + (i + 1) * gain_step) * (fade + (i + 1) * fade_step))
        for c in range(channels):
            mix[i * channels + c] += source[i * channels + c] * g


# --- bells -------------------------------------------------------------------------


@register_jitable(**JIT)
def note_bell(stream: Any, bell: int) -> None:
    """Note that a bell is to be rung when the block is done; once a callback."""
    if bell < 0:
        return
    bells = bells_at(stream["bells"], bell + 1)
    if bells[bell]["noted"] == 0:
        bells[bell]["noted"] = 1
        noted = words_at(stream["noted"], stream["noted_count"] + 1)
        noted[stream["noted_count"]] = bell
        stream["noted_count"] += 1


@register_jitable(**JIT)
def wake_voice(stream: Any, voice: Any) -> None:
    """Ring if an index that somebody waits for is reached.

    Tested on the level in every block.  Only the one who swaps the index for NEVER
    rings, so that a waiter who asks anew in between is never wiped out.
    """
    at = load_seq(voice, "wake_read")
    rung = voice["read"] >= at and compare_and_swap(voice, "wake_read", at, NEVER)
    at = load_seq(voice, "wake_heard")
    if voice["heard"] >= at and compare_and_swap(voice, "wake_heard", at, NEVER):
        rung = True
    if rung:
        store_seq(voice, "woken", 1)
        note_bell(stream, load(voice, "bell"))


# --- heard position ----------------------------------------------------------------


@register_jitable(**JIT)
def note_break(voice: Any, frame: int, index: int, running: int) -> None:
    """From the device's frame `frame` on, the voice stands at (or runs from) `index`."""
    head = voice["history_head"]
    entry = words_at(voice["history"] + 24 * (head & (HISTORY - 1)), 3)
    entry[0] = frame
    entry[1] = index
    entry[2] = running
    voice["history_head"] = head + 1


@register_jitable(**JIT)
def follow_heard(voice: Any, now: int) -> None:
    """Move the heard index to what the device's frame `now` carries; never back.

    The history holds the frames at which the voice began or ceased to run, or jumped;
    between them its index moves with the device's frames.  If more than HISTORY breaks
    are in flight, the position waits for the oldest one still known.
    """
    head = voice["history_head"]
    if head == 0:
        return
    tail = max(voice["history_tail"], head - HISTORY)
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
            heard = min(heard + now - entry[0], voice["read"])
        if heard > voice["heard"]:
            store_seq(voice, "heard", heard)


# --- one voice ---------------------------------------------------------------------


@register_jitable(**JIT)
def take_gain(voice: Any) -> None:
    """Take over a gain that the caller has asked for: at once in silence, else by a ramp."""
    change = load_acquire(voice, "gain_change")
    if change == voice["gain_seen"]:
        return
    voice["gain_seen"] = change
    target = load(voice, "gain_target")
    voice["gain_goal"] = target
    frames = load(voice, "gain_frames")
    if voice["sounding"] == 0 or frames <= 0:
        voice["gain"] = target
        voice["gain_left"] = 0
    else:
        voice["gain_step"] = (target - voice["gain"]) / frames
        voice["gain_left"] = frames


@register_jitable(**JIT)
def add_span(
    voice: Any, mix: int, source: int, frames: int, channels: int, fade: float, fade_step: float
) -> None:
    """Add `frames` frames, along the gain's ramp as far as it goes."""
    ramp = min(frames, voice["gain_left"])
    if ramp > 0:
        mix_ramp(
            floats_at(mix, ramp * channels),
            floats_at(source, ramp * channels),
            ramp,
            channels,
            voice["gain"],
            voice["gain_step"],
            fade,
            fade_step,
        )
        voice["gain_left"] -= ramp
        if voice["gain_left"] == 0:
            voice["gain"] = voice["gain_goal"]
        else:
            voice["gain"] += ramp * voice["gain_step"]
    rest = frames - ramp
    if rest > 0:
        offset = 4 * channels * ramp
        tail = floats_at(mix + offset, rest * channels)
        tail_source = floats_at(source + offset, rest * channels)
        if fade_step == 0.0:
            mix_one(tail, tail_source, np.float32(voice["gain"]), rest * channels)
        else:
            mix_ramp(
                tail,
                tail_source,
                rest,
                channels,
                voice["gain"],
                0.0,
                fade + ramp * fade_step,
                fade_step,
            )


@register_jitable(**JIT)
def steady(voice: Any, frames: int) -> bool:
    """True if the block is just the voice's next `frames` frames at a constant gain."""
    return (
        voice["sounding"] != 0
        and load_acquire(voice, "playing") == 1
        and voice["gain_left"] == 0
        and load_acquire(voice, "gain_change") == voice["gain_seen"]
        and load_acquire(voice, "skip") <= voice["read"]
        and load_acquire(voice, "write") - voice["read"] >= frames
    )


@register_jitable(**JIT)
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


@register_jitable(**JIT)
def mix_voice(stream: Any, voice: Any, mix: int, frames: int, frame: int) -> None:
    """Add one voice, whatever is going on with it.

    Parameters
    ----------
    mix : int
        Address of the block, float32 (frames, channels).
    frame : int
        The device's number of the block's first frame.
    """
    channels = stream["channels"]
    done = 0
    take_gain(voice)
    playing = load_acquire(voice, "playing")
    skip = load_acquire(voice, "skip")
    if skip > voice["read"]:
        if playing == 0 or voice["sounding"] == 0:
            voice["fade_left"] = 0
        elif voice["fade_left"] == 0:
            total = max(min(load(voice, "fade"), skip - voice["read"]), 0)
            voice["fade_left"] = total
            voice["fade_total"] = total
        done = min(voice["fade_left"], frames)
        if done > 0:
            step = 1.0 / voice["fade_total"]
            start = voice["fade_left"] * step
            source = source_of(voice, voice["read"], channels)
            add_span(voice, mix, source, done, channels, start, -step)
            voice["fade_left"] -= done
            store_seq(voice, "read", voice["read"] + done)
        if voice["fade_left"] > 0:
            return
        cut(voice, frame + done)
    here = voice["read"]
    if playing == 1:
        count = min(load_acquire(voice, "write") - here, frames - done)
        if count > 0:
            if voice["sounding"] == 0:
                note_break(voice, frame + done, here, 1)
                voice["sounding"] = 1
            source = source_of(voice, here, channels)
            add_span(voice, mix + 4 * channels * done, source, count, channels, 1.0, 0.0)
            done += count
            here += count
        if done < frames:
            if voice["sounding"] != 0:
                note_break(voice, frame + done, here, 0)
                voice["sounding"] = 0
            if here != load_acquire(voice, "ended"):
                short = frames - done
                store(voice, "starved", voice["starved"] + short)
                store(stream, "starved", stream["starved"] + short)
    elif voice["sounding"] != 0:
        note_break(voice, frame + done, here, 0)
        voice["sounding"] = 0
    store_seq(voice, "read", here)


# --- the block ---------------------------------------------------------------------


@register_jitable(**JIT)
def flush_batch(stream: Any, voices: Any, mix: int, frames: int, count: int) -> None:
    """Sum the steady voices put aside, and hand their frames back to the producers."""
    channels = stream["channels"]
    samples = frames * channels
    slots = words_at(stream["batch"], PASS)
    block = floats_at(mix, samples)
    if count == PASS:
        a = voices[slots[0]]
        b = voices[slots[1]]
        c = voices[slots[2]]
        d = voices[slots[3]]
        mix_four(
            block,
            floats_at(source_of(a, a["read"], channels), samples),
            floats_at(source_of(b, b["read"], channels), samples),
            floats_at(source_of(c, c["read"], channels), samples),
            floats_at(source_of(d, d["read"], channels), samples),
            np.float32(a["gain"]),
            np.float32(b["gain"]),
            np.float32(c["gain"]),
            np.float32(d["gain"]),
            samples,
        )
    else:
        for i in range(count):
            voice = voices[slots[i]]
            source = floats_at(source_of(voice, voice["read"], channels), samples)
            mix_one(block, source, np.float32(voice["gain"]), samples)
    for i in range(count):
        voice = voices[slots[i]]
        store_seq(voice, "read", voice["read"] + frames)
        wake_voice(stream, voice)


@register_jitable(**JIT)
def mix_block(stream: Any, frames: int) -> None:
    """Sum all voices' next `frames` frames (at most a slice) into the stream's block."""
    mix = stream["mix"]
    block = floats_at(mix, frames * stream["channels"])
    for i in range(frames * stream["channels"]):
        block[i] = ZERO
    end = load_acquire(stream, "voice_end")
    voices = voices_at(stream["voices"], end)
    slots = words_at(stream["batch"], PASS)
    frame = stream["frames"]
    now = stream["now_frame"]
    aside = 0
    for slot in range(end):
        voice = voices[slot]
        if load_seq(voice, "active") == 0:
            continue
        follow_heard(voice, now)
        if steady(voice, frames):
            slots[aside] = slot
            aside += 1
            if aside == PASS:
                flush_batch(stream, voices, mix, frames, aside)
                aside = 0
        else:
            mix_voice(stream, voice, mix, frames, frame)
            wake_voice(stream, voice)
    flush_batch(stream, voices, mix, frames, aside)


@register_jitable(**JIT)
def follow_voices(stream: Any) -> None:
    """Bring every voice's heard position up to now, and ring for it."""
    end = load_acquire(stream, "voice_end")
    voices = voices_at(stream["voices"], end)
    for slot in range(end):
        voice = voices[slot]
        if load_seq(voice, "active") != 0:
            follow_heard(voice, stream["now_frame"])
            wake_voice(stream, voice)


@register_jitable(**JIT)
def apply_master(stream: Any, frames: int) -> None:
    """Scale the block by the whole mix's gain, along its ramp."""
    change = load_acquire(stream, "master_change")
    if change != stream["master_seen"]:
        stream["master_seen"] = change
        left = max(load(stream, "master_frames"), 1)
        stream["master_left"] = left
        stream["master_goal"] = load(stream, "master_target")
        stream["master_step"] = (stream["master_goal"] - stream["master"]) / left
    if stream["master_left"] == 0 and stream["master"] == 1.0:
        return
    channels = stream["channels"]
    block = floats_at(stream["mix"], frames * channels)
    for i in range(frames):
        if stream["master_left"] > 0:
            stream["master_left"] -= 1
            stream["master"] += stream["master_step"]
            if stream["master_left"] == 0:
                stream["master"] = stream["master_goal"]
        gain = np.float32(stream["master"])
        for c in range(channels):
            block[i * channels + c] *= gain


@register_jitable(**JIT)
def limited(value: Any, low: Any, high: Any) -> Any:
    """`value` within bounds; NaN becomes silence, since casting one is undefined."""
    if value != value:
        return ZERO
    return min(max(value, low), high)


@register_jitable(**JIT)
def encode(source: Any, target: int, encoding: int, count: int) -> None:
    """Write `count` float32 samples at the address `target` as int8, int16 or float32.

    Saturates at full scale; integers are rounded to the nearest, ties to even.
    """
    if encoding == 16:
        shorts = samples16_at(target, count)
        for i in range(count):
            value = limited(source[i] * SCALE16, -SCALE16, TOP16)
            shorts[i] = np.int16((value + ROUND) - ROUND)
    elif encoding == 8:
        small = samples8_at(target, count)
        for i in range(count):
            value = limited(source[i] * SCALE8, -SCALE8, TOP8)
            small[i] = np.int8((value + ROUND) - ROUND)
    else:
        floats = floats_at(target, count)
        for i in range(count):
            floats[i] = limited(source[i], -ONE, ONE)
