"""Effects and generators: compiled functions that are called by address; audio thread.

A strip's effects are a list in memory, int64: how many there are, the latency of all that stay
and the longest tail (frames; NEVER: it has no end); then of each the address of its
:data:`~audiostream.realtime.memory.layout.NODE` record, and 1, or 0 once it is to leave.  A
caller publishes another list by storing its address in the strip's record; the audio thread
looks at it once a block.

Effects come and go without a click.  Each has four levels: with the block x, the effect f, and
the dry signal d, which is the effect's input after its latency::

    input  = enter x
    output = leave (wet f(input) + dry d) + (1 - enter leave) x

So an effect that enters gets its input faded in, since the line of a delay must not begin
abruptly, and one that leaves gets its output faded out.  Bypass crosses over from wet to dry.
"""

from __future__ import annotations

from audiostream.realtime.callback import clock_ns
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger, smaller
from audiostream.realtime.compile.syscalls import call_node
from audiostream.realtime.memory.atomics import (
    doubles_at,
    floats_at,
    load,
    node_at,
    parameter_at,
    ramp_at,
    store,
    words_at,
)
from audiostream.realtime.memory.layout import NODE, PARAMETER_BYTES, Node, Stream
from audiostream.realtime.memory.ring import copy
from audiostream.realtime.units.automation import advance, fill_values, set_ramp, start_ramp
from audiostream.realtime.units.gain import (
    blend,
    clear_block,
    delay,
    keep_rest,
    scale_block,
)
from audiostream.realtime.units.meter import is_finite

__all__ = (
    "advance_parameters",
    "list_latency",
    "list_tail",
    "node_of",
    "run_generator",
    "run_nodes",
    "skip_nodes",
)

HEADER = 3
"""Words of a list before its pairs."""

SCALAR = 1
"""A parameter's kind: one float64 for all frames of a call."""

GRID = 32
"""Frames of the device's after which a call is split while a scalar moves (a power of two)."""

NOT_FINITE = -1
"""Why a node failed that gave a NaN or an infinity; its own numbers are smaller."""


def _offset(name: str) -> int:
    """Offset of one of a node's levels."""
    return int(NODE.fields[name][1])  # type: ignore[index]


ENTER, LEAVE, WET, DRY = _offset("enter"), _offset("leave"), _offset("wet"), _offset("dry")


# --- the list ---------------------------------------------------------------------


@inlined
def list_latency(nodes: int) -> int:
    """The latency of a list, in frames; `nodes` is its address, 0 if there is none."""
    return 0 if nodes == 0 else words_at(nodes, HEADER)[1]


@inlined
def list_tail(nodes: int) -> int:
    """The longest tail of a list, in frames."""
    return words_at(nodes, HEADER)[2]


@inlined
def node_of(nodes: int, serial: int) -> int:
    """Address of the node with a serial number in a strip's list; 0 if it is not there."""
    if nodes == 0:
        return 0
    count = words_at(nodes, HEADER)[0]
    pairs = words_at(nodes + 8 * HEADER, 2 * count)
    for i in range(count):
        if node_at(pairs[2 * i])["serial"] == serial:
            return pairs[2 * i]
    return 0


# --- parameters -------------------------------------------------------------------


@inlined
def fill_parameter(stream: Stream, address: int, frames: int) -> None:
    """Give a parameter its values in the next frames, or a scalar that of the last of them.

    A constant is written once, for the largest block.
    """
    parameter = parameter_at(address)
    ramp = ramp_at(address)
    if parameter["kind"] == SCALAR:
        advance(ramp, frames)
        doubles_at(parameter["array"], 1)[0] = ramp["value"]
        return
    count = frames
    if ramp["remaining"] == 0:
        if parameter["filled"] != 0:
            return
        count = stream["max_block"]
    parameter["filled"] = 1 if ramp["remaining"] == 0 else 0
    fill_values(ramp, parameter["array"], stream["sines"], count)


@inlined
def advance_parameters(address: int, frames: int) -> None:
    """Move the parameters of the node at an address on by frames in which it is not called."""
    node = node_at(address)
    for i in range(node["param_count"]):
        advance(ramp_at(node["params"] + i * PARAMETER_BYTES), frames)


@inlined
def frames_at_once(node: Node, frames: int, frame: int) -> int:
    """How many of the next frames are one call: all of them, unless a scalar moves.

    Parameters
    ----------
    frame : int
        The device's number of the first one.
    """
    count = frames
    for i in range(node["param_count"]):
        address = node["params"] + i * PARAMETER_BYTES
        remaining = ramp_at(address)["remaining"]
        if remaining > 0 and parameter_at(address)["kind"] == SCALAR:
            count = smaller(count, smaller(remaining, GRID - (frame & (GRID - 1))))
    return count


# --- a call -----------------------------------------------------------------------


@inlined
def call(stream: Stream, address: int, block: int, frames: int) -> int:
    """Call the function of the node at an address; the frames that it filled, or why it failed.

    The block of a call that failed is silent, and is the node's last one.
    """
    node = node_at(address)
    for i in range(node["param_count"]):
        fill_parameter(stream, node["params"] + i * PARAMETER_BYTES, frames)
    status = call_node(
        node["code"],
        block,
        frames,
        stream["channels"],
        node["state"],
        node["buffers"],
        node["arrays"],
        stream["rate"],
    )
    count = frames * stream["channels"]
    if status >= 0 and not is_finite(floats_at(block, count), count):
        status = NOT_FINITE
    if status < 0:
        clear_block(floats_at(block, count), count)
        store(node, "failed", status)
        set_ramp(ramp_at(address + WET), 0.0)
        set_ramp(ramp_at(address + DRY), 0.0)
    return status


@inlined
def note_cost(stream: Stream, node: Node, begun: int, frames: int) -> None:
    """Note how long a node took, since `begun` (nanoseconds), for so many frames."""
    store(node, "spent", node["spent"] + clock_ns(stream) - begun)
    store(node, "ran", node["ran"] + frames)


@inlined
def run_generator(stream: Stream, address: int, block: int, frames: int, frame: int) -> int:
    """Fill a block with a generator's next frames.

    Returns
    -------
    int
        How many; if they are fewer it has ended there, or has failed, which its record tells.
    """
    node = node_at(address)
    channels = stream["channels"]
    clear_block(floats_at(block, frames * channels), frames * channels)
    begun = clock_ns(stream)
    done = 0
    while done < frames and node["failed"] == 0:
        count = frames_at_once(node, frames - done, frame + done)
        filled = call(stream, address, block + 4 * channels * done, count)
        done += smaller(larger(filled, 0), count)
        if filled < count:
            break
    note_cost(stream, node, begun, done)
    return done


# --- an effect --------------------------------------------------------------------


@inlined
def is_at(address: int, value: float) -> bool:
    """True if the ramp at an address is at a value, and stays there."""
    ramp = ramp_at(address)
    return ramp["remaining"] == 0 and ramp["value"] == value


@inlined
def move_to(address: int, goal: float, frames: int) -> None:
    """Move the ramp at an address to a goal, unless it is there or moves there."""
    ramp = ramp_at(address)
    if ramp["goal"] != goal or (ramp["remaining"] == 0 and ramp["value"] != goal):
        start_ramp(ramp, goal, frames)


@inlined
def aim(address: int, wanted: int, frames: int) -> None:
    """Have the levels of the node at an address move where its caller wants them."""
    node = node_at(address)
    if ramp_at(address + ENTER)["remaining"] == 0:  # else its caller has it wait, at 0
        move_to(address + ENTER, 1.0, frames)
    move_to(address + LEAVE, 1.0 if wanted != 0 else 0.0, frames)
    if node["failed"] != 0:
        move_to(address + DRY, 1.0, frames)
    else:
        dry = 1.0 if load(node, "bypass") != 0 else 0.0
        move_to(address + WET, 1.0 - dry, frames)
        move_to(address + DRY, dry, frames)


@inlined
def delay_block(stream: Stream, node: Node, block: int, frames: int) -> None:
    """Put a node's input into its line, and what was there before into the spare block."""
    channels = stream["channels"]
    done = 0
    while done < frames:
        at = node["line_at"]
        count = smaller(frames - done, node["latency"] - at)
        values = count * channels
        delay(
            floats_at(stream["spare"] + 4 * channels * done, values),
            floats_at(node["line"] + 4 * channels * at, values),
            floats_at(block + 4 * channels * done, values),
            values,
        )
        at += count
        node["line_at"] = 0 if at == node["latency"] else at
        done += count


@inlined
def run_blended(stream: Stream, address: int, block: int, frames: int) -> None:
    """Run the effect at an address on frames in which its levels move, or are in between.

    The stream's rows hold the levels: first those of its input, then of two blocks at a time.
    """
    node = node_at(address)
    channels = stream["channels"]
    count = frames * channels
    values = floats_at(block, count)
    kept = floats_at(stream["scaled"], count)
    dry = floats_at(stream["spare"], count)
    first = floats_at(stream["levels"], frames)
    second = floats_at(stream["factors"], frames)
    third = floats_at(stream["sines"], frames)
    copy(kept, values, count)
    fill_values(ramp_at(address + ENTER), stream["levels"], stream["sines"], frames)
    scale_block(values, first, channels, frames)
    if node["latency"] > 0:
        delay_block(stream, node, block, frames)
    else:
        copy(dry, values, count)
    if is_at(address + WET, 0.0):
        advance_parameters(address, frames)
    else:
        call(stream, address, block, frames)
    fill_values(ramp_at(address + WET), stream["factors"], stream["sines"], frames)
    fill_values(ramp_at(address + DRY), stream["sines"], stream["sines"], frames)
    blend(values, second, dry, third, channels, frames)
    fill_values(ramp_at(address + LEAVE), stream["factors"], stream["sines"], frames)
    keep_rest(first, second, frames)
    blend(values, second, kept, first, channels, frames)


@inlined
def run_part(stream: Stream, address: int, block: int, frames: int) -> None:
    """Run the effect at an address on the frames of one call; no copy if it is steady."""
    node = node_at(address)
    is_whole = is_at(address + ENTER, 1.0) and is_at(address + LEAVE, 1.0)
    if is_whole and is_at(address + WET, 1.0) and is_at(address + DRY, 0.0):
        if node["latency"] > 0:
            delay_block(stream, node, block, frames)
        call(stream, address, block, frames)
    elif (
        is_whole
        and node["latency"] == 0
        and is_at(address + WET, 0.0)
        and is_at(address + DRY, 1.0)
    ):
        advance_parameters(address, frames)
    else:
        run_blended(stream, address, block, frames)


@inlined
def run_node(
    stream: Stream, address: int, wanted: int, block: int, frames: int, frame: int
) -> None:
    """Run the effect at an address on a block; it leaves if it is not wanted."""
    node = node_at(address)
    channels = stream["channels"]
    aim(address, wanted, node["fade"])
    is_called = not is_at(address + WET, 0.0)
    begun = clock_ns(stream) if is_called else 0
    done = 0
    while done < frames:
        count = frames_at_once(node, frames - done, frame + done)
        run_part(stream, address, block + 4 * channels * done, count)
        done += count
        aim(address, wanted, node["fade"])  # if it failed, the dry signal fades in
    if is_called:
        note_cost(stream, node, begun, frames)
    if wanted == 0 and is_at(address + LEAVE, 0.0):
        store(node, "gone", 1)


@inlined
def run_nodes(stream: Stream, nodes: int, block: int, frames: int, frame: int) -> None:
    """Run a strip's effects on the block at `block`, one after the other.

    Parameters
    ----------
    nodes : int
        Address of the list; 0: there are none.
    frame : int
        The device's number of the first frame.
    """
    if nodes == 0:
        return
    count = words_at(nodes, HEADER)[0]
    pairs = words_at(nodes + 8 * HEADER, 2 * count)
    for i in range(count):
        if node_at(pairs[2 * i])["gone"] == 0:
            run_node(stream, pairs[2 * i], pairs[2 * i + 1], block, frames, frame)


@inlined
def skip_nodes(nodes: int, frames: int) -> None:
    """Pass frames of silence by a strip's effects: they change at once, and are not called."""
    count = words_at(nodes, HEADER)[0]
    pairs = words_at(nodes + 8 * HEADER, 2 * count)
    for i in range(count):
        address = pairs[2 * i]
        wanted = pairs[2 * i + 1]
        aim(address, wanted, 0)
        advance_parameters(address, frames)
        if wanted == 0:
            store(node_at(address), "gone", 1)
