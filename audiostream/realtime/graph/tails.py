"""Effects that ring on after their source, and strips that sleep; audio thread.

A strip whose source is silent runs its effects on until they are quiet, and then sleeps: they
are not called until the source is heard again.  An effect whose tail has no end never sleeps.
"""

from __future__ import annotations

import numpy as np

from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.intrinsics import larger
from audiostream.realtime.graph.nodes import list_latency, list_tail, run_nodes, skip_nodes
from audiostream.realtime.memory.atomics import floats_at
from audiostream.realtime.memory.layout import NEVER, Stream, Strip
from audiostream.realtime.units.meter import peak_of

__all__ = ("run_effects",)

QUIET = np.float32(1e-5)
"""A peak below this, -100 dB, is not heard."""

LONGEST = 30
"""Seconds after its source for which a tail is waited for, at the most."""

ZERO = np.float32(0.0)


@inlined
def listen(stream: Stream, strip: Strip, block: int, frames: int) -> None:
    """Count the frames for which the source is silent; if it is not, the strip wakes."""
    count = frames * stream["channels"]
    if peak_of(floats_at(block, count), count) > ZERO:
        strip["silent"] = 0
        strip["quiet"] = 0
        strip["asleep"] = 0
    else:
        strip["silent"] += frames


@inlined
def listen_after(stream: Stream, strip: Strip, nodes: int, block: int, frames: int) -> None:
    """Count the frames for which the effects are quiet after their source; enough: sleep."""
    count = frames * stream["channels"]
    if peak_of(floats_at(block, count), count) < QUIET:
        strip["quiet"] += frames
    else:
        strip["quiet"] = 0
    needed = larger(stream["rate"] // 10, list_tail(nodes)) + list_latency(nodes)
    if list_tail(nodes) != NEVER and strip["quiet"] >= needed:
        strip["asleep"] = 1


@inlined
def note_rest(stream: Stream, strip: Strip, frame: int) -> None:
    """Note whether the tail is over at the device's frame `frame`, and of which index.

    What is noted stands when the strip wakes: its frames may still be on their way.
    """
    if strip["asleep"] == 0 and strip["silent"] < LONGEST * stream["rate"]:
        strip["at_rest"] = 0
        return
    if strip["at_rest"] == 0:
        strip["at_rest"] = 1
        strip["rest_from"] = frame
    strip["rest_index"] = strip["read"]


@inlined
def run_effects(
    stream: Stream, strip: Strip, nodes: int, block: int, frames: int, frame: int
) -> None:
    """Run a strip's effects on a block of its source, in place, unless it sleeps.

    Parameters
    ----------
    nodes : int
        Address of their list, which is there.
    frame : int
        The device's number of the first frame.
    """
    listen(stream, strip, block, frames)
    if list_tail(nodes) == NEVER:
        strip["asleep"] = 0
    if strip["asleep"] != 0:
        skip_nodes(nodes, frames)
    else:
        run_nodes(stream, nodes, block, frames, frame)
        if strip["silent"] > 0:
            listen_after(stream, strip, nodes, block, frames)
    note_rest(stream, strip, frame + frames)
