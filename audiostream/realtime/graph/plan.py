"""The walk over the graph, from the voices through their groups to the mix; audio thread.

The plan is a list in memory, int64: how many groups; the address of the GROUP that all play
into, 0 if the mix has no effects of its own; then the addresses of the groups'
:data:`~audiostream.realtime.memory.layout.GROUP` records, in the order in which they are mixed.
A caller publishes another one by storing its address.  Voices need no order: they are slots,
and run if they are in use.
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.graph.ducking import forget_changes
from audiostream.realtime.graph.nodes import list_latency
from audiostream.realtime.graph.strip import clear_groups, run_strip
from audiostream.realtime.memory.atomics import (
    floats_at,
    group_at,
    load,
    load_acquire,
    load_seq,
    ramp_at,
    voice_at,
    words_at,
)
from audiostream.realtime.memory.layout import STREAM, VOICE_BYTES, Stream, Strip, Words
from audiostream.realtime.units.automation import fill_ramp, start_ramp
from audiostream.realtime.units.gain import clear_block, scale_block

__all__ = ("main_latency", "mix_block")

MASTER = int(STREAM.fields["master"][1])  # type: ignore[index]


@inlined
def begin_buses(stream: Stream, plan: Words, frames: int) -> None:
    """Begin with silence in the mix and in the groups' blocks.

    The sounding voices of a group are counted in every block: a slot may be freed while its
    voice sounds.
    """
    count = frames * stream["channels"]
    clear_block(floats_at(stream["mix"], count), count)
    if plan[1] != 0:
        clear_block(floats_at(group_at(plan[1])["block"], count), count)
    for k in range(2, plan[0] + 2):
        group = group_at(plan[k])
        clear_block(floats_at(group["block"], count), count)
        forget_changes(group, stream["max_block"])
        group["frame"] = load(stream, "frames")
        group["voices"] = 0
    if plan[0] > 0:
        count_sounding(stream)


@inlined
def count_sounding(stream: Stream) -> None:
    """Count the voices that sound in each group."""
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_seq(voice, "active") != 0 and voice["group"] != 0 and voice["sounding"] != 0:
            group_at(voice["group"])["voices"] += 1
        address += VOICE_BYTES


@inlined
def bus_of(stream: Stream, voice: Strip, root: int) -> int:
    """Address of the block that a voice plays into; 0: its group is not in this plan yet."""
    if voice["group"] == 0:
        return root
    group = group_at(voice["group"])
    return group["block"] if group["frame"] == load(stream, "frames") else 0


@inlined
def run_voices(stream: Stream, root: int, frames: int) -> None:
    """Add the voices in use to the block at `root`, or to the blocks of their groups."""
    address = stream["voices"]
    for _ in range(load_acquire(stream, "voice_end")):
        voice = voice_at(address)
        if load_seq(voice, "active") != 0 and voice["bus"] == 0:
            bus = bus_of(stream, voice, root)
            if bus != 0:
                run_strip(stream, voice, bus, frames)
        address += VOICE_BYTES


@inlined
def run_groups(stream: Stream, plan: Words, root: int, frames: int) -> None:
    """Add the groups' blocks to the one at `root`."""
    for k in range(2, plan[0] + 2):
        run_strip(stream, voice_at(group_at(plan[k])["voice"]), root, frames)


@inlined
def main_latency(stream: Stream) -> int:
    """Frames by which the effects of the whole mix are late."""
    main = words_at(load_seq(stream, "plan"), 2)[1]
    if main == 0:
        return 0
    return list_latency(load_seq(voice_at(group_at(main)["voice"]), "nodes"))


@inlined
def apply_master(stream: Stream, frames: int) -> None:
    """Scale the mix by its gain, which moves when the stream closes."""
    master = ramp_at(stream["address"] + MASTER)
    change = load_acquire(stream, "master_change")
    if change != stream["master_seen"]:
        stream["master_seen"] = change
        start_ramp(master, load(stream, "master_target"), load(stream, "master_frames"))
    channels = stream["channels"]
    done = 0
    while done < frames:
        count = frames - done
        if master["remaining"] > 0:
            count = smaller(count, master["remaining"])
        elif master["value"] == 1.0:
            return
        fill_ramp(master, stream["levels"], stream["sines"], count)
        block = floats_at(stream["mix"] + 4 * channels * done, count * channels)
        scale_block(block, floats_at(stream["levels"], count), channels, count)
        done += count


@inlined
def mix_block(stream: Stream, frames: int) -> int:
    """Mix the next frames of the whole graph, at most `frames`; how many these are."""
    address = load_seq(stream, "plan")  # after the grace period's mark, on every processor
    plan = words_at(address, words_at(address, 1)[0] + 2)
    begin_buses(stream, plan, frames)
    count = clear_groups(stream, plan, frames)
    main = plan[1]
    root = stream["mix"] if main == 0 else group_at(main)["block"]
    run_voices(stream, root, count)
    run_groups(stream, plan, root, count)
    if main != 0:
        run_strip(stream, voice_at(group_at(main)["voice"]), stream["mix"], count)
    apply_master(stream, count)
    return count
