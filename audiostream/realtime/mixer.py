"""Voices to one block of float32; audio thread.

The voices whose block is nothing but their next frames, at a constant gain or along one ramp,
the usual case, stand in a line (line.py) and are summed
:data:`~audiostream.realtime.layout.PASS` at a time.  Everything else takes one voice at a time
(voice.py).  What plays into a group is summed into the group's block, and that into the mix
(group.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.realtime.atomics import (
    floats_at,
    group_at,
    load,
    load_acquire,
    voice_at,
    words_at,
)
from audiostream.realtime.careful import mix_careful
from audiostream.realtime.heard import follow_heard
from audiostream.realtime.inlined import inlined
from audiostream.realtime.kinds import LINEAR
from audiostream.realtime.line import look_again, mix_line, target_of
from audiostream.realtime.numbers import larger, smaller
from audiostream.realtime.sums import clear_block, scale_ramp
from audiostream.realtime.ways import BRIEF, EVEN

__all__ = (
    "apply_master",
    "mix_block",
)


@inlined
def mix_other(stream: Any, address: int, frames: int) -> None:
    """Add a voice that is not in line; if it is calm by then, it is in the next block.

    Unless it is on a curve that is over before that would be worth it.
    """
    voice = voice_at(address)
    follow_heard(voice, stream["now_frame"])
    mix_careful(stream["address"], address, target_of(stream, voice), frames)
    is_over = voice["shape"] == LINEAR
    if voice["calm"] >= 0 and (voice["way"] != BRIEF or is_over):
        stream["lined_up"] = -1


@inlined
def mix_block(stream: Any, frames: int) -> None:
    """Sum all voices' next `frames` frames (at most a slice) into the stream's block."""
    mix = stream["mix"]
    ends = frames > stream["lasts"] and look_again(stream, frames)
    stream["lasts"] -= frames
    ramps = stream["ramping"] > 0
    is_even = stream["own_count"] > 0 and words_at(stream["ways"], 1)[0] == EVEN
    empty = is_even and not ramps and stream["other_count"] == 0
    samples = frames * stream["channels"]
    if not empty:
        clear_block(floats_at(mix, samples), samples)
    groups = words_at(stream["groups"], stream["group_count"] + 1)
    for k in range(stream["group_count"]):
        group = group_at(groups[k])
        if group["members"] > 0:
            clear_block(floats_at(group["mix"], samples), samples)
    others = words_at(stream["others"], stream["other_count"] + 1)
    for i in range(stream["other_count"]):
        mix_other(stream, others[i], frames)
    mix_line(stream, frames, ramps, ends, empty)


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
