"""A strip's record and what it points to, as callers see them; any thread.

A voice, a playback of a sound and a group each hold one in a slot; the mix of an output and an
input have one of their own.  See realtime/graph/strip.py for what the audio thread does with
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.engine.memory import field_offsets, records, zeros
from audiostream.engine.meter import LOOKED_AT, peak_of
from audiostream.realtime.memory.layout import (
    COMMAND,
    COMMANDS,
    CUTS,
    HISTORY,
    NEVER,
    VOICE,
)

if TYPE_CHECKING:
    from audiostream.engine.group import Group
    from audiostream.engine.stream import Stream

__all__ = ("FADE", "RAMPS", "Strip")

FADE = 0.005
"""Seconds of a fade where none is asked for: no click, and not heard as a fade."""

RAMPS = (
    *("transport_gain", "fade_in", "clearing"),
    *("gain", "mute", "ducking", "left", "right"),
)
"""Fields of a strip's ramps, as :data:`~audiostream.realtime.memory.layout.RAMP` lies there."""

OFFSETS = field_offsets(VOICE)


class Strip:
    """What one slot shares with the audio thread.  Making it begins the slot's record again.

    Parameters
    ----------
    stream : Stream
        Open.
    table : ndarray
        The records of all slots, of dtype VOICE.
    slot : int
        The strip's own.
    arrays : dict
        Memory of its own, by the record's field that is to hold its address.
    words : mapping
        What else the record begins with.
    group : Group, optional
        What it plays into.

    Attributes
    ----------
    record : VOICE
        The slot's record; for what is set before the audio thread looks at it.
    sidechain : Group or None
        What ducks it, if it is a group's.
    holds : int
        Frames that its ring takes at most.
    """

    def __init__(
        self,
        stream: Stream,
        table: Any,
        slot: int,
        arrays: dict[str, Any],
        words: Mapping[str, float],
        group: Group | None = None,
    ) -> None:
        self.slot = slot
        self.address = int(table.ctypes.data) + slot * VOICE.itemsize
        self.record = table[slot]
        self.group = group
        self.sidechain: Group | None = None
        self.meter = stream.new_meter()
        self.arrays = arrays | {
            "history": zeros(3 * HISTORY, np.int64),
            "cuts": zeros(2 * CUTS, np.int64),
            "commands": records(COMMAND, COMMANDS),
        }
        self._load = stream.kernels.load_word
        self._store = stream.kernels.store_word
        self._arm = stream.kernels.request_wakeup
        self._armed = stream.address_of("armed")
        table[slot] = np.zeros((), VOICE)
        for name, array in self.arrays.items():
            self.record[name] = array.ctypes.data
        for name in RAMPS:
            self.record[name] = self.record[name + "_goal"] = 1.0
        for name, word in {
            "address": self.address,
            "meter": self.meter.address,
            "meter_mask": self.meter.mask,
            "ramp": round(FADE * stream.parameters.rate),
            "wakeup": -1,
            "wake_read": NEVER,
            "wake_heard": NEVER,
            "wake_rested": NEVER,
            **words,
        }.items():
            self.record[name] = word
        self._channels = stream.parameters.channels
        self._capacity = int(self.record["capacity"])
        self.holds = self._capacity - stream.max_block

    # --- words -------------------------------------------------------------------

    def at(self, field: str) -> int:
        """Address of a word of the record."""
        return self.address + OFFSETS[field]

    def word(self, field: str) -> int:
        """A word of the record (sequentially consistent)."""
        return self._load(self.address + OFFSETS[field])

    def set_word(self, field: str, value: int) -> None:
        """Set a word of the record (sequentially consistent)."""
        self._store(self.address + OFFSETS[field], value)

    def arm(self, field: str, index: int) -> bool:
        """Signal the wake-up when ``read``, ``heard`` or ``rested`` is `index`; True: it is."""
        return bool(self._arm(self.at("wake_" + field), self.at(field), index, self._armed))

    def has(self, field: str, index: int) -> bool:
        """True if the ring was ``read`` or ``heard`` up to `index`, or has ``rested`` there."""
        return self.word(field) >= index

    def is_drained(self, index: int) -> bool:
        """True if all up to an index was heard, and its tail, or something after it."""
        return self.has("rested", index) or self.has("heard", index + 1)

    def arm_drained(self, index: int) -> bool:
        """Signal the wake-up when it is drained up to an index; True if it is."""
        rested = self.arm("rested", index)
        return self.arm("heard", index + 1) or rested

    # --- what the audio thread has told ------------------------------------------

    def cut(self, number: int) -> tuple[int, int]:
        """Ring indices from and to which the clear or stop of that number has jumped."""
        place = 2 * (number % CUTS)
        start, to = self.arrays["cuts"][place : place + 2].tolist()
        return start, to

    def frame_of(self, index: int) -> int | None:
        """The device's frame with which a ring index was heard, if that is known.

        The strip's effects make it later.
        """
        history = self.arrays["history"].reshape(HISTORY, 3)
        head = self.word("history_head")
        for number in range(head - 1, max(head - HISTORY, 0) - 1, -1):
            frame, begin, running = history[number % HISTORY].tolist()
            if running and begin <= index:
                return int(frame + index - begin) + self.word("lag")
        return None

    # --- its ring ----------------------------------------------------------------

    def ring(self) -> tuple[np.ndarray, int]:
        """The ring with its guard, float32 (frames, channels); and its frames without it."""
        return self.arrays["ring"].reshape(-1, self._channels), self._capacity

    def peak_written(self, first: int, last: int) -> float:
        """The peak of some of what was written, from one ring index to another."""
        ring, capacity = self.ring()
        first = max(first, last - capacity)
        frames = np.arange(first, last, (last - first) // LOOKED_AT | 1)
        return peak_of(ring[frames % capacity])

    def free(self) -> None:
        """Let go of the memory, which the audio thread does not look at any more."""
        self.free_chain()
        self.arrays.clear()

    def free_chain(self) -> None:
        """Let go of the effects, which hold this."""
        if "chain" in self.arrays:
            self.arrays["chain"].free()
