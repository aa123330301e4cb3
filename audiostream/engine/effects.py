"""The list of effects that a user holds; any thread.

It is bound to a :class:`~audiostream.engine.chain.Chain`, which the audio thread runs, while
what it belongs to is on a stream.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from audiostream.checks import shown
from audiostream.engine.chain import Chain, memory_for
from audiostream.engine.watchdog import in_background
from audiostream.errors import AudioException, FormatError, KernelError
from audiostream.forks import LOCKS
from audiostream.kernels.compiled import compiled_for
from audiostream.kernels.unit import Unit

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream

__all__ = ("MAX_EFFECTS", "Effects", "check_free", "check_units")

log = logging.getLogger("audiostream")

MAX_EFFECTS = 32
"""Effects of one list."""


class Claims:
    """What makes one list at a time look whose a unit is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        LOCKS.add(self, lock=threading.Lock)


CLAIMS = Claims()
"""The process's: a unit may be given to any list."""


def check_units(units: Iterable[Any], name: str = "effects") -> list[Unit]:
    """Return what a user has given as a list of units.

    Raises
    ------
    FormatError
        If something in it is no effect, or is in it twice, or there are more than 32.
    """
    try:
        made = list(units)
    except TypeError:
        raise FormatError(f"{name}={shown(units)} is no list; try [{shown(units)}]") from None
    for unit in made:
        if not isinstance(unit, Unit):
            hint = "call the kernel, echo(), to make one" if callable(unit) else "try [echo()]"
            raise FormatError(f"{shown(unit)} in {name} is no effect; {hint}")
    if len({id(unit) for unit in made}) < len(made):
        raise FormatError(
            f"an effect is in {name} twice; use fx.copy() for the second one, and to change "
            "the order one assignment: x.effects[:] = [b, a]"
        )
    if len(made) > MAX_EFFECTS:
        raise FormatError(f"{len(made)} effects in {name} are too many; a list has up to 32")
    return made


def check_free(unit: Unit, owner: Any = None) -> None:
    """Raise AudioException if a unit is in use, and not by `owner`."""
    home = unit._home and unit._home()
    if home is not None and home is not owner and home.is_in_use():
        raise AudioException(f"{unit!r} is in use elsewhere; remove it there, or use fx.copy()")


class Effects(MutableSequence[Unit]):
    """A list of effects; a change of it never clicks.

    An assignment to ``effects[:]`` is one change: an effect that stays keeps its state, unless
    it changes its place among those that stay.  Iteration goes over a snapshot.

    Parameters
    ----------
    units : iterable of Unit
        To begin with.
    may_wait : function
        False while the calling thread runs an event loop: a kernel that is not compiled yet is
        then compiled in a thread of its own, and enters when it is ready.
    find_chain : function, optional
        Gives the chain that they run in from the first of them on; None while there is none.
    """

    def __init__(
        self,
        units: Iterable[Any] = (),
        may_wait: Callable[[], bool] = lambda: True,
        find_chain: Callable[[], Chain | None] = lambda: None,
    ) -> None:
        self._units: list[Unit] = []
        self._chain: Chain | None = None
        self._may_wait = may_wait
        self._waiting: list[Unit] = []
        self._is_over = False
        self._find_chain = find_chain
        self.lock = threading.RLock()
        LOCKS.add(self, lock=threading.RLock)
        self._change(units)

    # --- where they run ----------------------------------------------------------

    def bind(self, chain: Chain) -> None:
        """Run them in a chain from now on, wet from the first frame; under :attr:`lock`."""
        self._chain, self._is_over = chain, False
        if self._units:
            self._run(chain, self._units, wet=True)

    def begin(self) -> None:
        """What they belong to is open: run them, wet from the first frame."""
        with self.lock:
            chain = self._find_chain() if self._units and self._chain is None else None
            if chain is not None:
                self.bind(chain)

    def unbind(self, *, free: bool = False) -> None:
        """They run nowhere any more.  Takes no lock.

        `free`: the audio thread is over, and so is their memory.
        """
        self._is_over = True
        chain, self._chain = self._chain, None
        for unit in list(self._units):
            unit._attach(None)  # which looks for what went wrong
        if chain is not None and free:
            chain.free()

    def latency(self) -> int:
        """Frames by which what goes through them is late."""
        chain = self._chain
        return 0 if chain is None else sum(node.latency for node in chain.nodes())

    def restart(self, wait: int) -> None:
        """Let what rings on fade out; `wait` frames later, begin with memory of zeros."""
        chain = self._chain
        if chain is not None:
            chain.restart_all(wait)

    def is_in_use(self) -> bool:
        """True: what is in the list is nowhere else; False once what they belong to is gone."""
        return not self._is_over

    def sweep(self) -> None:
        """Forget what has faded out, and say what has failed."""
        chain = self._chain
        if chain is not None:
            chain.sweep()

    def prepare(self, stream: Stream) -> None:
        """Compile the kernels for a stream, unless the caller must not wait.

        Raises
        ------
        KernelError
            If one cannot run on the audio thread.
        AudioException
            If one is in another list by now.
        """
        self._claim(self._units)
        if self._may_wait():
            for unit in self._units:
                compiled_for(memory_for(unit, stream))

    def _claim(self, units: Iterable[Unit]) -> list[Unit]:
        """Have units belong to this list; those that did not.

        Raises
        ------
        AudioException
            If one is in use elsewhere; none of them is claimed then.
        """
        with CLAIMS.lock:
            for unit in units:
                check_free(unit, self)
            claimed = [unit for unit in units if not (unit._home and unit._home() is self)]
            for unit in claimed:
                unit._home = weakref.ref(self)  # a list that is dropped lets go of it
        return claimed

    def _change(self, units: Iterable[Any]) -> None:
        with self.lock:
            made = check_units(units)
            claimed = self._claim(made)
            chain = self._chain
            try:
                if chain is None and made:
                    self._chain = chain = self._find_chain()
                if chain is not None:
                    self._run(chain, made)
            except BaseException:
                for unit in claimed:
                    unit._home = None
                raise
            for unit in self._units:
                if unit not in made:
                    unit._attach(None)
                    unit._home = None  # from now on another list may have it
            self._units = made
            if chain is not None and chain.holder.is_gone:  # meanwhile
                for unit in made:
                    unit._attach(None)

    def _run(self, chain: Chain, units: list[Unit], wet: bool = False) -> None:
        """Have a chain run units, at once or when they are compiled."""
        running = [node.unit for node in chain.nodes()]
        new = [unit for unit in units if unit not in running]
        later: list[Unit] = []
        if not self._may_wait():
            later = [unit for unit in new if not chain.is_compiled(unit)]
        for unit in new:
            if unit not in later:
                chain.compile(unit)  # before anyone waits for the chain's lock
        chain.set_units([unit for unit in units if unit not in later], wet)
        for unit in later:
            if unit not in self._waiting:
                self._waiting.append(unit)
                in_background(partial(self._compile, chain, unit), "effects")

    def _compile(self, chain: Chain, unit: Unit) -> None:
        """Compile a kernel, and let it enter if it is still wanted."""
        refusal = None
        try:
            chain.compile(unit)
        except KernelError as error:
            refusal = error
        except Exception as error:  # of a function of the user's
            refusal = KernelError(f"{unit!r} cannot be made: {error!r}")
        if refusal is not None:
            unit._refusal = refusal
            log.error("%s", refusal)
        with self.lock:
            self._waiting.remove(unit)
            if unit in self._units and self._chain is chain and refusal is None:
                ready = [u for u in self._units if u not in self._waiting and not u._refusal]
                chain.set_units(ready)

    # --- the list ----------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(list(self._units))

    @overload
    def __getitem__(self, index: int) -> Unit: ...

    @overload
    def __getitem__(self, index: slice) -> list[Unit]: ...

    def __getitem__(self, index: int | slice) -> Unit | list[Unit]:
        return self._units[index]

    @overload
    def __setitem__(self, index: int, value: Unit) -> None: ...

    @overload
    def __setitem__(self, index: slice, value: Iterable[Unit]) -> None: ...

    def __setitem__(self, index: Any, value: Any) -> None:
        with self.lock:
            units = list(self._units)
            units[index] = check_units(value) if isinstance(index, slice) else value
            self._change(units)

    def __delitem__(self, index: int | slice) -> None:
        with self.lock:
            units = list(self._units)
            del units[index]
            self._change(units)

    def insert(self, index: int, value: Unit) -> None:
        """Put an effect before the one at `index`; it fades in over 5 ms."""
        with self.lock:
            units = list(self._units)
            units.insert(index, value)
            self._change(units)

    def clear(self) -> None:
        """Take all of them out, in one change."""
        self._change(())

    def reverse(self) -> None:
        """Turn the order round, in one change."""
        self._change(reversed(self._units))

    def __repr__(self) -> str:
        return repr(self._units)
