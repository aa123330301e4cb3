"""A bus: the block that strips are added to, before its own strip plays it; any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.engine.memory import records, ring, zeros
from audiostream.realtime.memory.layout import GROUP
from audiostream.realtime.opcodes import PLAYING

if TYPE_CHECKING:
    from audiostream.engine.output import Output

__all__ = ("Bus",)


class Bus:
    """The memory of a group, or of a whole mix, without its strip's.

    Parameters
    ----------
    output : Output
        Open.
    strip : int
        Address of the strip's record.
    number : int
        See :func:`~audiostream.engine.memory.ring`.

    Attributes
    ----------
    record : GROUP
    address : int
        The record's.
    words : dict
        What its strip's record begins with.
    arrays : dict
        What is to be kept as long as the strip.
    """

    def __init__(self, output: Output, strip: int, number: int) -> None:
        table = records(GROUP, 1)
        block = ring(output.max_block * output.parameters.channels, number)
        sounding = zeros(output.max_block + 1, np.int64)
        self.record: Any = table[0]
        self.address = int(table.ctypes.data)
        self.record["voice"] = strip
        self.record["frame"] = -1
        self.record["block"] = block.ctypes.data
        self.record["sounding"] = sounding.ctypes.data
        self.words = {"bus": self.address, "sounding": 1, "transport": PLAYING}
        self.arrays = {"bus": table, "block": block, "frames": sounding}
