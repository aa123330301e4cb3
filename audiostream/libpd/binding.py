"""libpd through the ``pylibpd`` module, whose one instance belongs to the whole program.

So code that calls ``pylibpd.libpd_float(...)`` itself steers the patch that is open here.
One patch at a time; an engine's methods run under its lock, in any thread.

Such code must not call pylibpd while the patch computes in another thread: pylibpd keeps
the interpreter lock while it waits for libpd's, and a Python callback inside libpd waits
for the interpreter, so both wait for ever (seen within a second).  So from opening a patch
to closing it the module's functions are replaced by ones that take the engine's lock
first.  What was imported by name before that (``from pylibpd import libpd_float``) is not
reached.  So that it does no harm beside a patch that only prints, as those of old code do, what
is printed inside libpd is put down by a method that is not Python code: there the interpreter
does not change threads.  Beside one whose messages are listened to, call its own methods.

Opening a patch takes over pylibpd's print callback, and the first subscription to
messages, or to MIDI, the callbacks of those.
"""

from __future__ import annotations

import ctypes
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from audiostream.errors import PatchError
from audiostream.forks import LOCKS
from audiostream.libpd.hooks import Hooks, lock_in_child
from audiostream.libpd.pool import Pool
from audiostream.libpd.protocol import (
    GUARD,
    MIDI_IN,
    MIDI_OUT,
    Atom,
    Engine,
    Floats,
    Sink,
)

__all__ = ("BindingBackend", "BindingEngine")

FRAGMENTS = 1 << 16
"""Printed fragments that wait at most, for a call of the engine's or through its lock."""


class BindingEngine(Hooks):
    """pylibpd's global instance; see :class:`~audiostream.libpd.protocol.Engine`.

    Parameters
    ----------
    module : module
        pylibpd, or what has its names.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        # Re-entrant, since some of pylibpd's functions call others.
        self.lock: AbstractContextManager[Any] = threading.RLock()
        LOCKS.add(self, lock=partial(lock_in_child, self.lock))
        self._module = module
        self._printed: deque[str] = deque(maxlen=FRAGMENTS)
        names = [name for name in dir(module) if name.startswith("libpd_")]
        self._originals = {name: getattr(module, name) for name in names}
        self._locked = {
            name: partial(self._call_locked, function)
            for name, function in self._originals.items()
        }
        # The engine's own way to them: what they print is passed on when they are done.
        self._pd = SimpleNamespace(
            **{
                name: partial(self._call, function)
                for name, function in self._originals.items()
            }
        )
        self._hooked = False
        self._guard = self._open_guard()

    def _open_guard(self) -> Any:
        with tempfile.TemporaryDirectory(prefix="audiostream-libpd-") as folder:
            path = Path(folder) / "guard.pd"
            path.write_text(GUARD, encoding="ascii")
            return self.open(path)

    def _call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        finally:
            while self._printed:
                self.hear_print(self._printed.popleft())

    def _call_locked(
        self, function: Callable[..., Any], *arguments: Any, **keywords: Any
    ) -> Any:
        with self.lock:
            return self._call(function, *arguments, **keywords)

    def listen(self, sink: Sink | None) -> None:
        super().listen(sink)
        functions = self._originals if sink is None else self._locked
        for name, function in functions.items():
            setattr(self._module, name, function)

    # ---------------------------------------------------------------------- the patch

    def start(self, inputs: int, outputs: int, rate: int) -> None:
        self._pd.libpd_set_print_callback(self._printed.append)
        self._hooked = False
        self._pd.libpd_init_audio(inputs, outputs, rate)
        self.send("pd", "dsp", (1.0,))

    def open(self, path: Path) -> Any:
        try:
            return self._pd.libpd_open_patch(path.name, str(path.parent))
        except (NameError, OSError):  # its way to make an OSError has a bug
            return None

    def close(self, patch: Any) -> None:
        self._pd.libpd_close_patch(patch)
        # See GUARD.  Here the only way to learn its $0 is to open it again.
        last, self._guard = self._guard, self._open_guard()
        self._pd.libpd_close_patch(last)

    def dollar_zero(self, patch: Any) -> int:
        return int(patch)

    def process(self, ticks: int, adc: Floats, dac: Floats) -> None:
        self._pd.libpd_process_float(ticks, adc, dac)

    def send(self, receiver: str, selector: str, atoms: tuple[Atom, ...]) -> bool:
        # Numbers as C takes them: beyond its float they are infinite, which SWIG refuses.
        atoms = tuple(
            atom if isinstance(atom, str) else ctypes.c_float(atom).value for atom in atoms
        )
        return bool(self._pd.libpd_message(receiver, selector, *atoms) == 0)

    def bind(self, receiver: str) -> Any:
        if not self._hooked:
            for selector in ("bang", "float", "symbol", "list"):
                set_callback = getattr(self._pd, f"libpd_set_{selector}_callback")
                set_callback(partial(self._hear_as, selector))
            self._pd.libpd_set_message_callback(self.hear)
            self._hooked = True
        # What the program has subscribed to itself stays its own.
        theirs = receiver in getattr(self._module, "__libpd_subscriptions", ())
        self._pd.libpd_subscribe(receiver)
        return None if theirs else receiver

    def unbind(self, bound: Any) -> None:
        if bound is not None:
            self._pd.libpd_unsubscribe(bound)

    def _hear_as(self, selector: str, receiver: str, *atoms: Atom) -> None:
        self.hear(receiver, selector, *atoms)

    def bind_midi(self) -> None:
        for kind in MIDI_OUT:
            set_callback = getattr(self._pd, f"libpd_set_{MIDI_IN[kind]}_callback")
            set_callback(partial(self.hear_midi, kind))

    def midi(self, kind: str, values: tuple[int, ...]) -> bool:
        return bool(getattr(self._pd, f"libpd_{MIDI_IN[kind]}")(*values) == 0)

    def array_size(self, name: str) -> int:
        return int(self._pd.libpd_arraysize(name))

    def read_array(self, name: str, offset: int, into: Floats) -> None:
        self._pd.libpd_read_array(into, name, offset, len(into))

    def write_array(self, name: str, offset: int, values: Floats) -> None:
        self._pd.libpd_write_array(name, offset, values, len(values))

    def resize_array(self, name: str, size: int) -> None:
        self._pd.libpd_resize_array(name, size)


class BindingBackend(Pool):
    """Lends the one engine that pylibpd has.

    Parameters
    ----------
    module : module
        pylibpd.
    """

    name = "pylibpd"
    utf8_only = True  # it uses the argument for its callback though it could not make it

    def __init__(self, module: Any) -> None:
        self.module = module
        super().__init__(BindingEngine(module))

    def another(self) -> Engine:
        raise PatchError(
            "pylibpd has one instance for the whole program, and another patch is open in "
            "it; close that first, or set AUDIOSTREAM_LIBPD=system or cypd, which "
            "play many at once (and which pylibpd's own functions do not reach)"
        )
