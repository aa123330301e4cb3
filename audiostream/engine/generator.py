"""Generators that are played: a kernel in the place of a ring; any thread."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from audiostream.checks import shown
from audiostream.engine.chain import Node, Owner, memory_for, move_parameters
from audiostream.engine.effects import check_free
from audiostream.engine.memory import zeros
from audiostream.engine.output import Output
from audiostream.engine.sound import FOREVER, Playback
from audiostream.engine.watchdog import in_background
from audiostream.errors import AudioException, FormatError, KernelError
from audiostream.kernels.compiled import Compiled, compiled_for, is_loaded
from audiostream.kernels.memory import Memory
from audiostream.kernels.unit import Move, Unit

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream

__all__ = ("GeneratorMemory",)

log = logging.getLogger("audiostream")


class GeneratorMemory:
    """A generator as an output plays it, in the place of a sound in memory.

    Parameters
    ----------
    output : Output
        Open.
    unit : Unit
        In use nowhere else.
    at : float, optional
        When it is to play.

    Attributes
    ----------
    frames : int
        As good as without an end: where the audio thread jumps to when it ends.
    node : Node

    Raises
    ------
    FormatError
        If it is none.
    KernelError
        If it cannot run on the audio thread.
    AudioException
        If it is in use; or if it is not compiled, the caller runs an event loop, and `at` is
        given.
    """

    frames = FOREVER
    capacity = 1
    name = "generator"

    def __init__(self, output: Output, unit: Unit, at: float | None = None) -> None:
        if not isinstance(unit, Unit):
            hint = "call the kernel, osc(), to make one" if callable(unit) else "try osc()"
            raise FormatError(f"generator={shown(unit)} is none; {hint}")
        check_free(unit)
        if error := unit.error:
            raise error
        self.output, self.unit = output, unit
        self.stream: Stream = output
        self.load, self.store = output.kernels.load_word, output.kernels.store_word
        memory = memory_for(unit, output)
        self.is_ready = output.may_wait() or is_loaded(memory)
        if not self.is_ready and at is not None:
            raise AudioException(
                f"{unit!r} is not compiled yet, so that its time could not be kept; "
                "await fx.ready(speaker) first"
            )
        compiled = self._compiled(memory) if self.is_ready else None
        self.samples = zeros((1 + output.max_block) * output.parameters.channels, "float32")
        this: Owner = weakref.proxy(self)  # it holds the node
        self.node = Node(this, unit, memory, compiled, wet=True)
        self._holder: Callable[[], Playback | None] = lambda: None

    def started(self, holder: Playback) -> None:
        """Note who plays it."""
        self._holder = weakref.ref(holder)
        holder.strip.arrays["generator"] = self.node  # kept as long as the slot
        self.unit._home = weakref.ref(self)
        self.unit._attach(self.node)

    def when_ready(self, then: Callable[[], object]) -> None:
        """Compile it in a thread of its own, and call a function."""
        in_background(partial(self._compile, then), "generator")

    def _compile(self, then: Callable[[], object]) -> None:
        try:
            self.node.complete(self._compiled(self.node.memory))
        except KernelError as error:
            self.unit._refusal = error
            log.error("%s", error)
            if holder := self._holder():
                holder.abandon()
            return
        with contextlib.suppress(AudioException):  # closed meanwhile
            then()

    def _compiled(self, memory: Memory) -> Compiled:
        compiled = compiled_for(memory)
        if not compiled.sounds:
            log.warning(
                "%s is played, and makes no sound of its own; if it is an effect, put it on "
                "what it is to change: effects=[...]",
                memory.contract.place,
            )
        return compiled

    def ended(self) -> None:
        """It is over: the unit may be played again, unless it has failed."""
        if self.unit._attachment is self.node:  # else it plays elsewhere by now
            self.unit._refusal = self.failure()
            self.unit._attach(None)

    def is_in_use(self) -> bool:
        """True while it plays."""
        holder = self._holder()
        return holder is not None and not holder.is_over()

    def failure(self) -> KernelError | None:
        """Why it was refused, or what went wrong on the audio thread."""
        return self.unit._refusal or self.node.failure()

    # --- for its node ------------------------------------------------------------

    def move(self, node: Node, moves: Sequence[Move], curve: int, at: float | None) -> float:
        """Move parameters, all on one frame; by how many seconds that is late."""
        holder = self._holder()
        return 0.0 if holder is None else move_parameters(holder, node, moves, curve, at)

    def restart(self, node: Node) -> None:
        """Nothing to do: what has ended is played again by another play."""
