"""A stand-in for the pylibpd module: its documented functions, over the libpd in cypd.

For machines where pylibpd cannot be had, to test what is written for it.  Where it matters
it behaves as the real one: one instance, the interpreter lock kept, no check of sizes, a
NameError for a file that does not open, and no numpy scalars.  The real one is tested
wherever it is importable, or AUDIOSTREAM_TEST_PYLIBPD names its folder.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_float, c_int, c_void_p
from typing import Any

import numpy as np

from audiostream.libpd.library import cypd_library

_pd = ctypes.PyDLL(str(cypd_library()))
_pd.libpd_openfile.restype = c_void_p
_pd.libpd_bind.restype = c_void_p
_pd.libpd_get_float.restype = c_float
_pd.libpd_get_symbol.restype = c_char_p
_pd.libpd_next_atom.restype = c_void_p

_patches: dict[int, int] = {}
__libpd_subscriptions: dict[str, int] = {}
_callbacks: dict[str, Callable[..., object]] = {}

libpd_blocksize = _pd.libpd_blocksize
libpd_init_audio = _pd.libpd_init_audio


def _address(buffer: Any) -> c_void_p:
    return c_void_p(np.asarray(memoryview(buffer)).ctypes.data)


def libpd_open_patch(patch: str, folder: str = ".") -> int:
    pointer = _pd.libpd_openfile(patch.encode(), folder.encode())
    if not pointer:
        raise NameError("name 'patch' is not defined")
    dollar_zero: int = _pd.libpd_getdollarzero(c_void_p(pointer))
    _patches[dollar_zero] = pointer
    return dollar_zero


def libpd_close_patch(dollar_zero: int) -> None:
    _pd.libpd_closefile(c_void_p(_patches.pop(dollar_zero)))


def libpd_process_float(ticks: int, in_buffer: Any, out_buffer: Any) -> int:
    return int(_pd.libpd_process_float(ticks, _address(in_buffer), _address(out_buffer)))


def libpd_float(receiver: str, value: float) -> int:
    if not isinstance(value, int | float) or type(value).__module__ == "numpy":
        raise TypeError("in method 'libpd_float', argument 2 of type 'float'")
    return int(_pd.libpd_float(receiver.encode(), c_float(value)))


def libpd_message(receiver: str, selector: str, *atoms: object) -> int:
    _pd.libpd_start_message(len(atoms))
    for atom in atoms:
        if isinstance(atom, str):
            _pd.libpd_add_symbol(atom.encode())
        elif isinstance(atom, int | float):
            _pd.libpd_add_float(c_float(atom))
        else:
            return -1
    return int(_pd.libpd_finish_message(receiver.encode(), selector.encode()))


def libpd_subscribe(receiver: str) -> None:
    if receiver not in __libpd_subscriptions:
        __libpd_subscriptions[receiver] = _pd.libpd_bind(receiver.encode())


def libpd_unsubscribe(receiver: str) -> None:
    _pd.libpd_unbind(c_void_p(__libpd_subscriptions.pop(receiver)))


def libpd_arraysize(name: str) -> int:
    return int(_pd.libpd_arraysize(name.encode()))


def libpd_resize_array(name: str, size: int) -> int:
    return int(_pd.libpd_resize_array(name.encode(), ctypes.c_long(size)))


def libpd_read_array(out_buffer: Any, name: str, offset: int, count: int) -> int:
    return int(_pd.libpd_read_array(_address(out_buffer), name.encode(), offset, count))


def libpd_write_array(name: str, offset: int, in_buffer: Any, count: int) -> int:
    return int(_pd.libpd_write_array(name.encode(), offset, _address(in_buffer), count))


libpd_noteon = _pd.libpd_noteon
libpd_controlchange = _pd.libpd_controlchange
libpd_programchange = _pd.libpd_programchange
libpd_pitchbend = _pd.libpd_pitchbend
libpd_aftertouch = _pd.libpd_aftertouch
libpd_polyaftertouch = _pd.libpd_polyaftertouch
libpd_midibyte = _pd.libpd_midibyte
libpd_sysex = _pd.libpd_sysex
libpd_sysrealtime = _pd.libpd_sysrealtime


# ----------------------------------------------------------------------------- callbacks


def _convert(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _atoms(count: int, atom: int | None) -> list[object]:
    atoms: list[object] = []
    for _ in range(count):
        place = c_void_p(atom)
        is_float = _pd.libpd_is_float(place)
        get = _pd.libpd_get_float if is_float else _pd.libpd_get_symbol
        atoms.append(_convert(get(place)))
        atom = _pd.libpd_next_atom(place)
    return atoms


def _plain(name: str) -> Callable[..., None]:
    def hook(*arguments: object) -> None:
        if name in _callbacks:
            _callbacks[name](*map(_convert, arguments))

    return hook


def _list(receiver: bytes, count: int, atom: int | None) -> None:
    if "list" in _callbacks:
        _callbacks["list"](receiver.decode(), *_atoms(count, atom))


def _message(receiver: bytes, selector: bytes, count: int, atom: int | None) -> None:
    if "message" in _callbacks:
        _callbacks["message"](receiver.decode(), selector.decode(), *_atoms(count, atom))


_hooks = []
for _name, _types, _function in (
    ("print", (c_char_p,), None),
    ("bang", (c_char_p,), None),
    ("float", (c_char_p, c_float), None),
    ("symbol", (c_char_p, c_char_p), None),
    ("list", (c_char_p, c_int, c_void_p), _list),
    ("message", (c_char_p, c_char_p, c_int, c_void_p), _message),
    ("noteon", (c_int, c_int, c_int), None),
    ("controlchange", (c_int, c_int, c_int), None),
    ("programchange", (c_int, c_int), None),
    ("pitchbend", (c_int, c_int), None),
    ("aftertouch", (c_int, c_int), None),
    ("polyaftertouch", (c_int, c_int, c_int), None),
    ("midibyte", (c_int, c_int), None),
):
    _hooks.append(ctypes.CFUNCTYPE(None, *_types)(_function or _plain(_name)))
    getattr(_pd, f"libpd_set_{_name}hook")(_hooks[-1])

    def _set_callback(callback: Callable[..., object], name: str = _name) -> int:
        _callbacks[name] = callback
        return 0

    globals()[f"libpd_set_{_name}_callback"] = _set_callback

_pd.libpd_init()
