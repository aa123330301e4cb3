"""What a patch needs of libpd: one protocol, three backends; any thread, under a lock.

A *backend* (:class:`Carrier`) is a way to load libpd: the ``pylibpd`` module, a system library,
or the one in the ``cypd`` wheel.  It lends *engines*, each a libpd of its own with one patch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = (
    "BLOCK",
    "GUARD",
    "MIDI_IN",
    "MIDI_OUT",
    "Atom",
    "Carrier",
    "Engine",
    "Floats",
    "Message",
    "Midi",
    "Sink",
)

Atom = float | str
"""A number or a symbol; all that a message to or from a patch can hold."""

Floats = npt.NDArray[np.float32]

BLOCK = 64
"""Frames in one of libpd's ticks; every build has the same."""

GUARD = "#N canvas 0 0 100 100 10;\n"
"""A patch that each engine keeps open, for libpd to remember in place of a closed one.

When a file fails to open, libpd sends a loadbang to the patch that was last asked for its
``$0``, without a look at whether that is still there: it crashed (0.55 and 0.56).  So
after closing a patch an engine asks for the guard's.
"""

MIDI_IN = {
    "note_on": "noteon",
    "control_change": "controlchange",
    "program_change": "programchange",
    "pitch_bend": "pitchbend",
    "aftertouch": "aftertouch",
    "poly_aftertouch": "polyaftertouch",
    "midi_byte": "midibyte",
    "sysex": "sysex",
    "realtime": "sysrealtime",
}
"""Kind of MIDI message -> libpd's name for it."""

# Kind of MIDI message that a patch can send -> how many integers libpd's hook gets.
MIDI_OUT = {
    "note_on": 3,
    "control_change": 3,
    "program_change": 2,
    "pitch_bend": 2,
    "aftertouch": 2,
    "poly_aftertouch": 3,
    "midi_byte": 2,
}


class Message(NamedTuple):
    """A message that a patch sent.

    Parameters
    ----------
    receiver : str
        The name it was sent to.
    selector : str
        ``"bang"``, ``"float"``, ``"symbol"`` or ``"list"``, or what a message of another
        kind begins with.
    atoms : tuple of float and str
        What follows the selector.
    """

    receiver: str
    selector: str
    atoms: tuple[Atom, ...]


class Midi(NamedTuple):
    """A MIDI message that a patch sent.

    Parameters
    ----------
    kind : str
        ``"note_on"``, ``"control_change"``, ``"program_change"``, ``"pitch_bend"``,
        ``"aftertouch"``, ``"poly_aftertouch"`` or ``"midi_byte"``.
    channel : int
        From 0 on, 16 to a port; with ``"midi_byte"`` it is the port.
    values : tuple of int
        As :class:`~audiostream.libpd.Patch` takes them for the same kind; a bend is
        -8192 to 8191.
    """

    kind: str
    channel: int
    values: tuple[int, ...]


class Sink(Protocol):
    """Where an engine's hooks put the patch's messages.

    Called inside libpd, whose lock is taken and is not re-entrant: implementations append
    to a queue, and never call an engine, wait or raise.
    """

    def print(self, text: str) -> None:
        """Take a fragment of what is printed; a newline ends the line."""

    def message(self, receiver: str, selector: str, atoms: tuple[Atom, ...]) -> None:
        """Take a message to a bound receiver."""

    def midi(self, kind: str, channel: int, values: tuple[int, ...]) -> None:
        """Take a MIDI message."""


class Engine(Protocol):
    """One libpd.  The caller of a method holds :attr:`lock`.

    Attributes
    ----------
    lock : context manager
        One call at a time.
    """

    lock: AbstractContextManager[Any]

    def listen(self, sink: Sink | None) -> None:
        """Have the hooks fill `sink`, which is held weakly; None drops what comes."""

    def start(self, inputs: int, outputs: int, rate: int) -> None:
        """Set channel counts and rate (Hz), and switch the computation of audio on."""

    def open(self, path: Path) -> Any:
        """Open a file, and return what stands for the patch, or None if libpd refuses it."""

    def close(self, patch: Any) -> None:
        """Close what :meth:`open` returned."""

    def dollar_zero(self, patch: Any) -> int:
        """Return what ``$0`` is in the patch."""

    def process(self, ticks: int, adc: Floats, dac: Floats) -> None:
        """Compute `ticks` blocks of 64 frames from `adc` into `dac`.

        Both are C-contiguous ``(ticks * 64, channels)``; nothing checks that.
        """

    def send(self, receiver: str, selector: str, atoms: tuple[Atom, ...]) -> bool:
        """Send a message; False if there is no such receiver."""

    def bind(self, receiver: str) -> Any:
        """Have messages to that name go to the sink; return what :meth:`unbind` takes."""

    def unbind(self, bound: Any) -> None:
        """Undo :meth:`bind`."""

    def bind_midi(self) -> None:
        """Have MIDI that the patch sends go to the sink, for good."""

    def midi(self, kind: str, values: tuple[int, ...]) -> bool:
        """Send a MIDI message, a key of :data:`MIDI_IN`; False if libpd refuses it."""

    def array_size(self, name: str) -> int:
        """Return the array's number of elements; negative if there is no such array."""

    def read_array(self, name: str, offset: int, into: Floats) -> None:
        """Copy elements out.  The caller has checked the size: libpd keeps its lock if not."""

    def write_array(self, name: str, offset: int, values: Floats) -> None:
        """Copy elements in.  The caller has checked the size: libpd keeps its lock if not."""

    def resize_array(self, name: str, size: int) -> None:
        """Set the array's number of elements."""


class Carrier(Protocol):
    """A backend: a way to load libpd, which lends engines; any thread.

    Attributes
    ----------
    name : str
        What it is called in messages and in ``AUDIOSTREAM_LIBPD``.
    utf8_only : bool
        Patches in another encoding must not be opened.
    """

    name: str
    utf8_only: bool

    def acquire(self) -> Engine:
        """Lend an engine without a patch.

        Raises
        ------
        PatchError
            If there is no more to be had.
        """

    def release(self, engine: Engine) -> None:
        """Take an engine back, its patch closed."""

    def abandon(self, end: Callable[[], None]) -> None:
        """Have `end` called before the next engine is lent.

        For finalizers, which run anywhere, inside libpd too: takes no lock.
        """
