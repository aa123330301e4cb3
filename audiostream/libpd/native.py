"""libpd's C functions through ctypes: a system library, and the one in the cypd wheel.

An engine's methods run under its lock, in any thread.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from audiostream.errors import PatchError
from audiostream.forks import LOCKS
from audiostream.libpd.hooks import Hooks, lock_in_child
from audiostream.libpd.library import Missing, copy_of
from audiostream.libpd.pool import Pool
from audiostream.libpd.protocol import (
    GUARD,
    MIDI_IN,
    MIDI_OUT,
    Atom,
    Engine,
    Floats,
)

__all__ = ("HOLD", "NativeBackend", "NativeEngine")

HOLD = 500e-6
"""Seconds of computing for which the interpreter lock is kept.

A thread that gives it up waits for up to Python's switch interval, 5 ms, to get it back
beside a busy thread: 1,024 frames of a sine then took 5.3 ms (p50, 2 cores) instead of
0.16 ms.  Keeping it holds up the other threads for the time of the call: a tenth of what
they hold up each other.
"""

GUESS = 20e-6
"""Seconds that a tick is taken to need before any was measured."""

_text = ctypes.c_char_p
_int = ctypes.c_int
_pointer = ctypes.c_void_p
_floats = ctypes.c_void_p

# Name without "libpd_" -> result, arguments.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "init": (_int, ()),
    "init_audio": (_int, (_int, _int, _int)),
    "openfile": (_pointer, (_text, _text)),
    "closefile": (None, (_pointer,)),
    "getdollarzero": (_int, (_pointer,)),
    "process_float": (_int, (_int, _floats, _floats)),
    "arraysize": (_int, (_text,)),
    "resize_array": (_int, (_text, ctypes.c_long)),
    "read_array": (_int, (_floats, _text, _int, _int)),
    "write_array": (_int, (_text, _int, _floats, _int)),
    "start_message": (_int, (_int,)),
    "add_float": (None, (ctypes.c_float,)),
    "add_symbol": (None, (_text,)),
    "finish_message": (_int, (_text, _text)),
    "bind": (_pointer, (_text,)),
    "unbind": (None, (_pointer,)),
    "is_float": (_int, (_pointer,)),
    "is_symbol": (_int, (_pointer,)),
    "get_float": (ctypes.c_float, (_pointer,)),
    "get_symbol": (_text, (_pointer,)),
    "next_atom": (_pointer, (_pointer,)),
    "clear_search_path": (None, ()),
    "new_instance": (_pointer, ()),
    "noteon": (_int, (_int, _int, _int)),
    "controlchange": (_int, (_int, _int, _int)),
    "programchange": (_int, (_int, _int)),
    "pitchbend": (_int, (_int, _int)),
    "aftertouch": (_int, (_int, _int)),
    "polyaftertouch": (_int, (_int, _int, _int)),
    "midibyte": (_int, (_int, _int)),
    "sysex": (_int, (_int, _int)),
    "sysrealtime": (_int, (_int, _int)),
}


class NativeEngine(Hooks):
    """One private copy of the library; see :class:`~audiostream.libpd.protocol.Engine`.

    Kept for good: a library with hooks into Python is never unloaded.  Starting libpd has
    the process ignore SIGFPE.
    """

    def __init__(self, library: Path) -> None:
        super().__init__()
        self.lock: AbstractContextManager[Any] = threading.Lock()
        LOCKS.add(self, lock=partial(lock_in_child, self.lock))
        self._per_tick = GUESS
        # PyDLL keeps the interpreter lock during a call, CDLL gives it up.
        loaded = copy_of(library)
        self._functions = {
            name: self._function(loaded, name, *kind) for name, kind in _FUNCTIONS.items()
        }
        self._released = self._function(
            ctypes.CDLL(loaded._name, handle=loaded._handle),
            "process_float",
            *_FUNCTIONS["process_float"],
        )
        self._held = self._functions["process_float"]
        self._hooks = [
            self._hook(loaded, "print", self._print, _text),
            self._hook(loaded, "bang", self._bang, _text),
            self._hook(loaded, "float", self._float, _text, ctypes.c_float),
            self._hook(loaded, "symbol", self._symbol, _text, _text),
            self._hook(loaded, "list", self._list, _text, _int, _pointer),
            self._hook(loaded, "message", self._message, _text, _text, _int, _pointer),
        ]
        for kind, count in MIDI_OUT.items():
            hook = partial(self.hear_midi, kind)
            self._hooks.append(self._hook(loaded, MIDI_IN[kind], hook, *[_int] * count))
        self._call("init")
        if self._call("new_instance"):
            # Each thread must then choose its instance; no caller has needed that yet.
            raise Missing(f"{library} is built with PDINSTANCE, which is not supported")
        with tempfile.TemporaryDirectory(prefix="audiostream-libpd-") as folder:
            path = Path(folder) / "guard.pd"
            path.write_text(GUARD, encoding="ascii")
            self._guard = self.open(path)

    @staticmethod
    def _function(
        library: ctypes.CDLL, name: str, result: Any, arguments: tuple[Any, ...]
    ) -> Callable[..., Any]:
        try:
            function = library[f"libpd_{name}"]
        except AttributeError as error:
            raise Missing(f"libpd is too old: it has no libpd_{name}") from error
        function.restype = result
        function.argtypes = arguments
        return function

    @staticmethod
    def _hook(
        library: ctypes.CDLL, name: str, hook: Callable[..., None], *arguments: Any
    ) -> object:
        function = ctypes.CFUNCTYPE(None, *arguments)(hook)
        library[f"libpd_set_{name}hook"](function)
        return function

    def _call(self, name: str, *arguments: Any) -> Any:
        return self._functions[name](*arguments)

    # ------------------------------------------------------------------ inside libpd

    def _print(self, text: bytes) -> None:
        self.hear_print(_decode(text))

    def _bang(self, receiver: bytes) -> None:
        self.hear(_decode(receiver), "bang")

    def _float(self, receiver: bytes, value: float) -> None:
        self.hear(_decode(receiver), "float", value)

    def _symbol(self, receiver: bytes, value: bytes) -> None:
        self.hear(_decode(receiver), "symbol", _decode(value))

    def _list(self, receiver: bytes, count: int, atoms: int) -> None:
        self._message(receiver, b"list", count, atoms)

    def _message(self, receiver: bytes, selector: bytes, count: int, atoms: int) -> None:
        self.hear(_decode(receiver), _decode(selector), *self._atoms(count, atoms))

    def _atoms(self, count: int, atom: int | None) -> Iterator[Atom]:
        for _ in range(count):
            if self._call("is_float", atom):
                yield self._call("get_float", atom)
            elif self._call("is_symbol", atom):
                yield _decode(self._call("get_symbol", atom))
            else:
                yield "(pointer)"  # as Pd prints it
            atom = self._call("next_atom", atom)

    # ---------------------------------------------------------------------- the patch

    def start(self, inputs: int, outputs: int, rate: int) -> None:
        self._call("clear_search_path")
        self._call("init_audio", inputs, outputs, rate)
        self.send("pd", "dsp", (1.0,))  # the last patch may have switched it off
        self._per_tick = GUESS

    def open(self, path: Path) -> Any:
        return self._call("openfile", os.fsencode(path.name), os.fsencode(path.parent))

    def close(self, patch: Any) -> None:
        self._call("closefile", patch)
        self._call("getdollarzero", self._guard)  # see GUARD

    def dollar_zero(self, patch: Any) -> int:
        return int(self._call("getdollarzero", patch))

    def process(self, ticks: int, adc: Floats, dac: Floats) -> None:
        holds = ticks * self._per_tick < HOLD
        process = self._held if holds else self._released
        # The thread's own time, which does not run while it waits for the interpreter.
        begin = time.thread_time()
        process(ticks, adc.ctypes.data, dac.ctypes.data)
        measured = (time.thread_time() - begin) / ticks
        self._per_tick += (measured - self._per_tick) / 8

    def send(self, receiver: str, selector: str, atoms: tuple[Atom, ...]) -> bool:
        if self._call("start_message", len(atoms)):
            raise PatchError(f"libpd has no memory for a message of {len(atoms)} atoms")
        for atom in atoms:
            if isinstance(atom, str):
                self._call("add_symbol", atom.encode())
            else:
                self._call("add_float", atom)
        return bool(self._call("finish_message", receiver.encode(), selector.encode()) == 0)

    def bind(self, receiver: str) -> Any:
        return self._call("bind", receiver.encode())

    def unbind(self, bound: Any) -> None:
        self._call("unbind", bound)

    def bind_midi(self) -> None:
        """Do nothing: a private copy has its hooks from the start."""

    def midi(self, kind: str, values: tuple[int, ...]) -> bool:
        return bool(self._call(MIDI_IN[kind], *values) == 0)

    def array_size(self, name: str) -> int:
        return int(self._call("arraysize", name.encode()))

    def read_array(self, name: str, offset: int, into: Floats) -> None:
        self._call("read_array", into.ctypes.data, name.encode(), offset, len(into))

    def write_array(self, name: str, offset: int, values: Floats) -> None:
        self._call("write_array", name.encode(), offset, values.ctypes.data, len(values))

    def resize_array(self, name: str, size: int) -> None:
        self._call("resize_array", name.encode(), size)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


class NativeBackend(Pool):
    """Engines on private copies of one library; copies without a patch are used again.

    Parameters
    ----------
    name : str
        ``"system"`` or ``"cypd"``, or the library's path where that was given.
    library : Path
        The shared library.
    """

    utf8_only = False

    def __init__(self, name: str, library: Path) -> None:
        self.name = name
        self.library = library
        super().__init__()

    def another(self) -> Engine:
        return NativeEngine(self.library)
