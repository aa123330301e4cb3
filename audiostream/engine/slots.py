"""Which slot of an output belongs to whom; any thread, under the output's lock.

A slot is free, held, or retiring: given back, while its sound still fades out.  A group's slot
is in the plan, too, the list of groups that the audio thread walks.  The strip of the whole mix
is there as well, but has no slot.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.engine.bus import Bus
from audiostream.engine.commands import Commands
from audiostream.engine.memory import records
from audiostream.engine.strip import Strip
from audiostream.errors import AudioException
from audiostream.realtime.memory.layout import VOICE
from audiostream.realtime.opcodes import STOPPED

if TYPE_CHECKING:
    from audiostream.engine.controls import Controls
    from audiostream.engine.group import Group
    from audiostream.engine.output import Output
    from audiostream.engine.sound import Playback
    from audiostream.engine.voice import Voice

__all__ = ("MAX_GROUPS", "Slots")

MAX_GROUPS = 64

AT_REST = {"transport": STOPPED, "declick_left": 0, "mute_remaining": 0}
"""Words of a voice that has faded out."""

OVER = -1
"""In the place of the index up to which one that retires still fades: it is over."""


class Slots:
    """The table of an output's slots.

    Parameters
    ----------
    output : Output
    voices : int
        Slots that may be held by voices at a time.

    Attributes
    ----------
    count : int
        Slots in the table.
    held : dict
        Slot -> who holds it.
    retiring : dict
        Slot -> the ring index up to which its voice still fades, or OVER.
    """

    def __init__(self, output: Output, voices: int) -> None:
        self._output: Output = weakref.proxy(output)  # it owns this
        self._voices = voices
        # Twice as many: those of voices that fade out come free a little later.
        self.count = 2 * (voices + MAX_GROUPS)
        self.held: dict[int, Controls] = {}
        self.retiring: dict[int, int] = {}
        self._strips: dict[int, Strip] = {}  # held and retiring
        self._buses: dict[int, int] = {}  # a group's slot -> address of its GROUP
        self._main: Strip | None = None
        self._main_bus = 0  # address of its GROUP, once there is one
        self._plan: np.ndarray | None = None
        self._plans: deque[tuple[int, np.ndarray]] = deque()  # replaced ones

    def allocate(self) -> None:
        """Make the table, for an output that opens."""
        self.table = records(VOICE, self.count)
        self._output.record[0]["voices"] = self.table.ctypes.data
        self._publish_plan()

    def address(self, slot: int) -> int:
        """Address of a slot's record."""
        return int(self.table.ctypes.data) + slot * VOICE.itemsize

    # --- one slot ----------------------------------------------------------------

    def reserve(self, *, for_group: bool = False) -> int:
        """Find a free slot.

        Raises
        ------
        AudioException
            If there are as many voices or groups as may be, or no slot comes free.
        """
        self.sweep()
        if for_group and len(self._buses) >= MAX_GROUPS:
            raise AudioException(f"an output has {MAX_GROUPS} groups at most; close one first")
        if not for_group and len(self.held.keys() - self._buses.keys()) >= self._voices:
            raise AudioException(
                f"all {self._voices} voices of this output are in use; remove a sample "
                f"first, or open it with get_output(voices={2 * self._voices})"
            )
        if len(self._strips) >= self.count:
            self.sweep(force=True)  # all are fading out: the oldest one is cut
        free = next((slot for slot in range(self.count) if slot not in self._strips), None)
        if free is None:
            raise AudioException(
                "the voices of removed samples are still fading out, and the audio thread "
                "does not move; try again in a moment"
            )
        return free

    def occupy(
        self,
        slot: int,
        holder: Controls,
        arrays: dict[str, Any],
        words: Mapping[str, float],
        group: Group | None = None,
    ) -> None:
        """Give a reserved slot to its holder; see :class:`Strip` for the others."""
        strip = Strip(self._output, self.table, slot, arrays, words, group)
        holder.slot, holder.strip = slot, strip
        holder.commands = Commands(self._output, strip)
        self._strips[slot] = strip
        self.held[slot] = holder
        holder.bind_effects()
        strip.set_word("active", 1)
        if slot >= self._output.word("voice_end"):
            self._output.kernels.store_word(self._output.address_of("voice_end"), slot + 1)
        if bus := int(words.get("bus", 0)):
            self._buses[slot] = bus
            self._publish_plan()

    def release(self, slot: int) -> None:
        """Free a slot once its voice's fade is through."""
        holder = self.held.pop(slot, None)
        if holder is not None:
            holder.unbind_effects()
            self.retiring[slot] = self._strips[slot].word("skip")
            self.sweep()

    def sweep(self, *, force: bool = False) -> None:
        """Free the slots whose voices have faded out, and the oldest one if `force`."""
        output = self._output
        if output.is_closed:
            return
        for slot, holder in list(self.held.items()):
            if holder.is_over():
                self.held.pop(slot, None)
                holder.unbind_effects()
                holder.give_back()
                self.retiring[slot] = OVER
        over = []
        # Copies: what is removed by a finalizer may come in between.
        for slot, skip in list(self.retiring.items()):
            strip = self._strips.get(slot)
            if strip is None:
                continue
            faded = skip == OVER or (
                strip.word("read") >= skip
                and all(strip.word(name) == idle for name, idle in AT_REST.items())
            )
            if faded or force or not output.started:
                force = False
                strip.set_word("active", 0)
                over.append(slot)
        if gone := self._buses.keys() & over:
            self._buses = {slot: bus for slot, bus in self._buses.items() if slot not in gone}
            self._publish_plan()
        if over and output.quiet():
            for slot in over:
                if self.retiring.pop(slot, None) is not None:  # else a finalizer was quicker
                    self._strips.pop(slot).free()
                    output.wakeups.drop_of_slot(slot)

    def free_chains(self) -> None:
        """The audio thread is over: let go of the effects of all that still faded out."""
        for strip in list(self._strips.values()):
            strip.free_chain()

    # --- groups ------------------------------------------------------------------

    def count_groups(self) -> int:
        """Groups that are in the plan."""
        return len(self._buses)

    def members(self, group: Group) -> list[Voice | Playback]:
        """Those who play into a group."""
        return [
            self.held[slot]  # type: ignore[misc]
            for slot, strip in list(self._strips.items())
            if strip.group is group and slot in self.held
        ]

    def ducked_by(self, group: Group) -> list[Group]:
        """The groups that duck under another one."""
        return [
            self.held[slot]  # type: ignore[misc]
            for slot, strip in list(self._strips.items())
            if strip.sidechain is group and slot in self.held
        ]

    def needs(self, group: Group) -> bool:
        """True while strips play into a group, fading ones too, or duck under it."""
        strips = list(self._strips.values())
        return any(group in (strip.group, strip.sidechain) for strip in strips)

    def main_strip(self) -> Strip:
        """The strip that all others play into; it is made when it is first asked for."""
        if self._main is None:
            table = records(VOICE, 1)
            bus = Bus(self._output, int(table.ctypes.data), self.count)
            self._main = Strip(self._output, table, 0, {}, bus.words)
            self._main.arrays |= {"table": table, **bus.arrays}
            self._main_bus = bus.address
            self._publish_plan()
        return self._main

    def _publish_plan(self) -> None:
        """Tell the audio thread which groups there are.

        A plan that was replaced is kept until no callback can be in it.
        """
        output = self._output
        groups = [bus for _, bus in sorted(self._buses.items())]
        plan = np.array([len(groups), self._main_bus, *groups], np.int64)
        left = output.word("left")
        while self._plans and self._plans[0][0] <= left:
            self._plans.popleft()
        output.kernels.store_word(output.address_of("plan"), int(plan.ctypes.data))
        entered = output.word("entered")
        if self._plan is not None:
            self._plans.append((entered, self._plan))
        self._plan = plan
