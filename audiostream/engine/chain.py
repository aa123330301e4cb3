"""The effects that the audio thread runs for one strip; any thread, under the holder's lock.

A :class:`Chain` makes a :class:`Node` of each unit and publishes the nodes.  A node that leaves
stays published until it has faded out; a unit that comes back gets another node, with memory
of zeros.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from audiostream.engine.commands import CURVES, Commands
from audiostream.engine.memory import field_offsets, records, zeros
from audiostream.engine.strip import FADE, Strip
from audiostream.errors import KernelError
from audiostream.forks import LOCKS
from audiostream.kernels.compiled import Compiled, compiled_for, is_loaded
from audiostream.kernels.memory import Memory
from audiostream.kernels.unit import Move, Unit
from audiostream.realtime.memory.layout import NEVER, NODE

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream

__all__ = ("Chain", "Holder", "Node", "Owner", "StreamHolder", "memory_for", "move_parameters")

log = logging.getLogger("audiostream")

OFFSETS = field_offsets(NODE)

RAMPS = ("enter", "leave", "wet", "dry")

LOOKS = 100
"""How often a field is read again because a callback was under way."""

_serials = itertools.count(1)


class Holder(Protocol):
    """Whose effects they are: a voice, a group, a whole stream."""

    lock: Any
    is_gone: bool
    strip: Strip
    commands: Commands

    @property
    def output(self) -> Stream:
        """The stream that it is on."""

    def take_back_parameters(self, node: int) -> None:
        """Take back what waits for an effect that leaves."""


class StreamHolder:
    """A whole stream, whose effects all goes through; see :class:`Holder`.

    Parameters
    ----------
    stream : Stream
        Open.
    """

    is_gone = False

    def __init__(self, stream: Stream) -> None:
        self.output: Stream = weakref.proxy(stream)  # it holds this
        self.lock = threading.RLock()
        LOCKS.add(self, lock=threading.RLock)
        self.strip = stream.main_strip()
        self.commands = Commands(stream, self.strip)

    def take_back_parameters(self, node: int) -> None:
        """Take back what waits for an effect that leaves."""
        with self.lock:
            if not self.output.is_closed:
                self.commands.take_back_node(node)


def memory_for(unit: Unit, stream: Stream) -> Memory:
    """Memory for a unit at a stream's rate and channels."""
    parameters = stream.parameters
    return unit._memory(parameters.rate, parameters.channels, stream.max_block)


class Owner(Protocol):
    """What a node belongs to."""

    name: str
    stream: Stream
    load: Callable[[int], int]
    store: Callable[[int, int], int]

    def move(self, node: Node, moves: Sequence[Move], curve: int, at: float | None) -> float:
        """Move parameters of a node, all on one frame; by how many seconds that is late."""

    def restart(self, node: Node) -> None:
        """Begin again with new memory."""


class Node:
    """A unit's place on the audio thread: its memory, its code and its record.

    Parameters
    ----------
    owner : Owner
        What it belongs to.
    unit : Unit
    memory : Memory
    compiled : Compiled or None
        None: it is completed later.
    wet : bool
        True: heard from its first frame; False: it fades in.
    """

    def __init__(
        self, owner: Owner, unit: Unit, memory: Memory, compiled: Compiled | None, wet: bool
    ) -> None:
        self.owner, self.unit, self.memory, self.compiled = owner, unit, memory, compiled
        self.serial = next(_serials)
        self.rate, self.latency = memory.rate, memory.latency
        self.table = records(NODE, 1)
        self.address = int(self.table.ctypes.data)
        self.line = zeros(max(memory.latency * memory.channels, 1), np.float32)
        self.is_leaving = False
        self._logged = False
        record = self.table[0]
        state, buffers, arrays = memory.addresses()
        bypass = unit.bypass
        for name, word in {
            "code": 0 if compiled is None else compiled.address,
            "serial": self.serial,
            "state": state,
            "buffers": buffers,
            "params": memory.params.ctypes.data,
            "arrays": arrays,
            "param_count": len(memory.arrays),
            "latency": memory.latency,
            "line": self.line.ctypes.data if memory.latency else 0,
            "fade": max(round(FADE * memory.rate), 1),
            "bypass": bypass,
        }.items():
            record[name] = word
        for name, level in zip(RAMPS, (wet, 1, not bypass, bypass), strict=True):
            record[name] = record[f"{name}_goal"] = float(level)

    def complete(self, compiled: Compiled) -> None:
        """Give it its machine code, before the audio thread runs it."""
        self.compiled = compiled
        self.table[0]["code"] = compiled.address

    def word(self, field: str) -> int:
        """A word of the record."""
        return self.owner.load(self.address + OFFSETS[field])

    def is_gone(self) -> bool:
        """True if it left, and has faded out."""
        return self.is_leaving and self.word("gone") != 0

    def goals(self) -> dict[str, float]:
        """Where each parameter moves to, without what still waits for its time."""
        names = self.memory.contract.parameters
        return dict(zip(names, self.memory.params["goal"].tolist(), strict=False))

    def tail(self) -> int:
        """Frames for which it may sound on."""
        return NEVER if math.isinf(self.memory.tail) else round(self.memory.tail * self.rate)

    # --- for the unit ------------------------------------------------------------

    def move(self, moves: Sequence[Move], curve: str, at: float | None) -> float:
        """Move parameters, all on one frame; by how many seconds that is late."""
        return self.owner.move(self, moves, CURVES[curve], at)

    def set_bypass(self, bypass: bool) -> None:
        """Let the dry signal through, or no more."""
        if not bypass and self.table[0]["wet"] == 0.0:
            self.owner.restart(self)  # what its memory holds is of long ago
            return
        self.owner.store(self.address + OFFSETS["bypass"], int(bypass))

    def output(self, name: str) -> float:
        """A field of the state, as the last block has left it."""
        stream = self.owner.stream
        for _ in range(LOOKS):
            before = stream.word("left")
            value = float(self.memory.state[name][0])
            if stream.word("entered") == before:  # no callback was under way
                break
        return value

    def failure(self) -> KernelError | None:
        """What went wrong on the audio thread; None if nothing did."""
        status = self.word("failed")
        if status == 0 or self.compiled is None:
            return None
        error = self.compiled.failure(status)
        if not self._logged:
            self._logged = True
            log.error("%s", error)
        return error

    def cost(self) -> float:
        """Share of a core that it took so far."""
        seconds = self.word("ran") / self.rate
        return self.word("spent") * 1e-9 / seconds if seconds else 0.0

    def restart(self) -> None:
        """Begin again with memory that is new."""
        self.owner.restart(self)

    def describe(self) -> str:
        """Where it is."""
        return f"on {self.owner.name}"


class Chain:
    """The effects that the audio thread runs for one strip.

    Parameters
    ----------
    holder : Holder
        Whose strip it is; attached.
    name : str
        What it is, for people.
    """

    def __init__(self, holder: Holder, name: str) -> None:
        self.holder, self.name = holder, name
        output = holder.output
        self.stream: Stream = output
        self.load, self.store = output.kernels.load_word, output.kernels.store_word
        self.lock = holder.lock
        self._published: list[Node] = []  # as the audio thread has them, leaving ones too
        self._list: np.ndarray | None = None
        self._retired: deque[tuple[int, Any]] = deque()
        holder.strip.arrays["chain"] = self  # kept as long as the strip's memory

    def free(self) -> None:
        """The audio thread looks at it no more: let go of all that it holds."""
        self._published, self._list = [], None
        self._retired.clear()
        self.holder.strip.arrays.pop("chain", None)

    # --- nodes -------------------------------------------------------------------

    def memory(self, unit: Unit) -> Memory:
        """Memory for a unit at the stream's rate and channels."""
        return memory_for(unit, self.holder.output)

    def is_compiled(self, unit: Unit) -> bool:
        """True if its kernel can be run at once."""
        return is_loaded(self.memory(unit))

    def compile(self, unit: Unit) -> None:
        """Have its kernel compiled; raises KernelError if it cannot be."""
        compiled_for(self.memory(unit))

    def node(self, unit: Unit, wet: bool, like: Node | None = None) -> Node:
        """Make a node of a unit; compiles its kernel if need be.

        `like`: the node that it had, whose parameters' goals it begins with.

        Raises
        ------
        KernelError
            If it cannot run on the audio thread.
        """
        if like is not None:
            unit._values.update(like.goals())  # what waited for its time is taken back
        memory = self.memory(unit)
        return Node(self, unit, memory, compiled_for(memory), wet)

    def nodes(self) -> list[Node]:
        """The nodes that are to be heard, in order."""
        return [node for node in self._published if not node.is_leaving]

    def set_units(self, units: Sequence[Unit], wet: bool = False) -> None:
        """Have the audio thread run these units, in this order.

        Those that it runs already keep their memory, but those that change their places among
        them; these, and those that are new, begin with memory of zeros.

        Raises
        ------
        KernelError
            If a kernel cannot run on the audio thread; nothing has changed then.
        """
        wet = wet or self.stream.word("frames") == 0  # nothing was heard yet that would jump
        with self.lock:
            nodes = self.nodes()
            kept = _common([node.unit for node in nodes], units)
            known = {id(node.unit): node for node in nodes if node.unit in kept}
            wanted = [known.get(id(unit)) or self.node(unit, wet) for unit in units]
            self._rearrange(wanted)
            for node in wanted:
                node.unit._attach(node)

    def restart(self, node: Node) -> None:
        """Put a node with new memory in the place of one."""
        with self.lock:
            wanted = self.nodes()
            if node in wanted:
                other = self.node(node.unit, wet=False, like=node)
                wanted[wanted.index(node)] = other
                self._rearrange(wanted)
                node.unit._attach(other)

    def restart_all(self, wait: int) -> None:
        """Put nodes with new memory in the place of all: what rings on fades out.

        `wait`: frames for which the new ones hear nothing yet.
        """
        with self.lock:
            wanted = [self.node(node.unit, wet=False, like=node) for node in self.nodes()]
            for node in wanted:
                node.table[0]["enter_remaining"] = wait  # a ramp that stays at 0
            self._rearrange(wanted)
            for node in wanted:
                node.unit._attach(node)

    def _rearrange(self, wanted: list[Node]) -> None:
        """Publish nodes in the order that is wanted, among them those that fade out."""
        merged: list[Node] = []
        rest = list(wanted)
        for node in self._published:
            if node in wanted:
                while rest[0] is not node:
                    merged.append(rest.pop(0))
                merged.append(rest.pop(0))
            else:
                if not node.is_leaving:
                    node.is_leaving = True
                    self.holder.take_back_parameters(node.serial)
                if node.word("ran") or node.latency:  # else it has changed nothing yet
                    merged.append(node)
        self._publish(merged + rest)

    def sweep(self) -> None:
        """Forget the nodes that have faded out, and say what has failed."""
        with self.lock:
            left = [node for node in self._published if not node.is_gone()]
            for node in left:
                node.failure()
            if len(left) < len(self._published):
                self._publish(left)

    def _publish(self, nodes: list[Node]) -> None:
        output = self.holder.output
        if self.holder.is_gone or output.is_closed:  # another may have its slot
            return
        left = [node for node in nodes if not node.is_gone()]
        heard = [node for node in left if not node.is_leaving]
        words = [
            len(left),
            sum(node.latency for node in heard),
            max((node.tail() for node in heard), default=0),
        ]
        for node in left:
            words += [node.address, int(not node.is_leaving)]
        made = np.array(words, np.int64)
        done = output.word("left")
        while self._retired and self._retired[0][0] <= done:
            self._retired.popleft()
        self.holder.strip.set_word("nodes", int(made.ctypes.data) if left else 0)
        self._retired.append((output.word("entered"), (self._list, self._published)))
        self._list, self._published = made, left

    # --- parameters --------------------------------------------------------------

    def move(self, node: Node, moves: Sequence[Move], curve: int, at: float | None) -> float:
        """Move parameters of a node, all on one frame; by how many seconds that is late."""
        return move_parameters(self.holder, node, moves, curve, at)


def move_parameters(
    holder: Holder, node: Node, moves: Sequence[Move], curve: int, at: float | None
) -> float:
    """Move parameters of a node, all on one frame; by how many seconds that is late."""
    with holder.lock:
        if node.is_leaving or holder.is_gone or holder.output.is_closed:
            return 0.0
        return holder.commands.give_parameters(
            node.serial,
            [(number, value, round(over * node.rate)) for number, value, over in moves],
            curve,
            at,
        )


def _common(first: Sequence[Unit], second: Sequence[Unit]) -> list[Unit]:
    """The longest list of units that stand in both in the same order."""
    best: list[list[int]] = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in range(len(first) - 1, -1, -1):
        for j in range(len(second) - 1, -1, -1):
            same = first[i] is second[j]
            best[i][j] = best[i + 1][j + 1] + 1 if same else max(best[i + 1][j], best[i][j + 1])
    found = []
    i = j = 0
    while i < len(first) and j < len(second):
        if first[i] is second[j]:
            found.append(first[i])
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return found
