"""The effects of a strip: compiled functions that change a block in place; audio thread.

A strip's nodes are a list in memory, int64: how many, then the addresses of their
:data:`~audiostream.realtime.memory.layout.NODE` records.  A caller publishes another list by
storing its address in the strip's record; the audio thread looks at it once a block.
"""

from __future__ import annotations

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.compile.syscalls import call_node
from audiostream.realtime.memory.atomics import (
    node_at,
    parameter_at,
    ramp_at,
    store,
    words_at,
)
from audiostream.realtime.memory.layout import PARAMETER_BYTES, Node, Stream
from audiostream.realtime.units.automation import fill_ramp

__all__ = ("node_of", "run_nodes")


@inlined
def node_of(nodes: int, serial: int) -> int:
    """Address of the node with a serial number in a strip's list; 0 if it is not there."""
    if nodes == 0:
        return 0
    count = words_at(nodes, 1)[0]
    addresses = words_at(nodes, count + 1)
    for i in range(1, count + 1):
        if node_at(addresses[i])["serial"] == serial:
            return addresses[i]
    return 0


@inlined
def fill_parameter(stream: Stream, address: int, frames: int) -> None:
    """Fill a parameter's array with its values in the next frames.

    A constant is written once, for the largest block.
    """
    parameter = parameter_at(address)
    ramp = ramp_at(address)
    count = frames
    if ramp["remaining"] == 0:
        if parameter["filled"] != 0:
            return
        count = stream["max_block"]
    parameter["filled"] = 1 if ramp["remaining"] == 0 else 0
    done = 0
    while done < count:
        part = count - done
        if ramp["remaining"] > 0:
            part = smaller(part, ramp["remaining"])
        fill_ramp(ramp, parameter["array"] + 4 * done, stream["sines"], part)
        done += part


@inlined
def run_node(stream: Stream, node: Node, block: int, frames: int) -> None:
    """Run one effect on the block, unless it has failed."""
    if node["failed"] != 0:
        return
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
    if status != 0:
        store(node, "failed", status)


@inlined
def run_nodes(stream: Stream, nodes: int, block: int, frames: int) -> None:
    """Run a strip's effects on the block at `block`, one after the other.

    Parameters
    ----------
    nodes : int
        Address of the list; 0: there are none.
    """
    if nodes == 0:
        return
    count = words_at(nodes, 1)[0]
    addresses = words_at(nodes, count + 1)
    for i in range(1, count + 1):
        run_node(stream, node_at(addresses[i]), block, frames)
