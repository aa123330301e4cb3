"""One check for each kind of argument, with one error and one hint; any thread.

Every public function checks its arguments with these, before it changes anything.  Each raises
:class:`~audiostream.errors.FormatError`, whose message names the parameter, shows the value and
says what to try.  What is written as audio, and is none, raises :class:`TypeError`, as the
documented API has it.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from audiostream.errors import FormatError

if TYPE_CHECKING:
    import numpy as np

__all__ = (
    "check_audio",
    "check_callable",
    "check_choice",
    "check_flag",
    "check_integer",
    "check_number",
    "check_path",
    "check_times",
    "shown",
)

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 80
"""Characters of a value that a message shows."""

BYTES = ("B", "b", "c")
"""Formats of buffers, in the struct module's letters, that are raw bytes."""


def shown(value: Any) -> str:
    """Any value for a message, in one line that is not too long."""
    short = reprlib.Repr()  # looks at no more than the beginning of a list, say
    short.maxstring = short.maxother = short.maxlong = SHOWN
    if isinstance(value, bytes | bytearray):
        value = value[:SHOWN]
    try:
        text = " ".join(short.repr(value).split())
    except Exception:  # an int of more digits than Python prints, a repr of somebody's
        return f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def check_integer(
    value: Any,
    name: str,
    unit: str = "",
    *,
    least: int | None = None,
    most: int | None = None,
    hint: str = "",
) -> int:
    """Return `value` as an int.

    Anything with ``__index__`` is an integer, numpy's included; bools and floats are not.

    Parameters
    ----------
    name : str
        The parameter's name.
    unit : str
        What is counted, such as "frames"; for the message.
    least, most : int, optional
        Bounds, both allowed.
    hint : str
        A value to try.

    Raises
    ------
    FormatError
        If it is no integer, or out of bounds.
    """
    index = _index(value)
    if index is None:
        raise FormatError(
            f"{name} must be a whole number{f' of {unit}' if unit else ''}, not "
            f"{shown(value)}; try {hint or f'{name}=int(...) on what you have'}"
        )
    if (least is not None and index < least) or (most is not None and index > most):
        bounds = f"below {least}" if most is None else f"outside {least} to {most}"
        unit = f" {unit}" if unit else ""
        tried = hint or str(least if least is not None and index < least else most)
        raise FormatError(f"{name}={shown(index)} is {bounds}{unit}; try {tried}")
    return index


def _is_bool(value: Any) -> bool:
    """True for a bool of Python or numpy, which is not imported for this."""
    return type(value).__name__ in ("bool", "bool_")


def _index(value: Any) -> int | None:
    """The value as an int, or None; bools and arrays of one element are none."""
    if _is_bool(value) or getattr(value, "shape", ()) != ():
        return None
    try:
        return int(operator.index(value))
    except TypeError:
        return None


def check_number(value: Any, name: str, least: float, most: float, hint: str) -> float:
    """Return `value` as a finite float within bounds, both allowed.

    Raises
    ------
    FormatError
        If it is no number (numpy's are, bools are not), NaN, infinite or out of bounds.
    """
    is_number = isinstance(value, Real) or _index(value) is not None
    try:
        number = float(value) if is_number and not _is_bool(value) else math.nan
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        raise FormatError(
            f"{name}={shown(value)} is no number from {least:g} to {most:g}; {hint}"
        )
    return number


def check_timeout(value: Any) -> float | None:
    """Return seconds, 0 to a day, or None; :class:`FormatError` otherwise."""
    if value is None:
        return None
    return check_number(value, "timeout", 0, 86400, "seconds; None waits without a limit")


def check_flag(value: Any, name: str) -> bool:
    """Return `value` as a bool; only True and False, numpy's too, are taken.

    Raises
    ------
    FormatError
        For anything else.
    """
    if not _is_bool(value):
        raise FormatError(f"{name}={shown(value)} is no bool; try True or False")
    return bool(value)


def check_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return `value`, one of a few words.

    Raises
    ------
    FormatError
        For anything else.
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        words = f"{', '.join(others)} or {last}" if others else last
        raise FormatError(f"{name}={shown(value)} is not known; try {words}")
    return value


def check_times(value: Any, name: str) -> int | None:
    """Return how often something is played in all, once at least; None: without an end.

    Parameters
    ----------
    value : bool or int
        True: without an end; False: once; a number (numpy's, too): so many times.

    Raises
    ------
    FormatError
        For anything else.
    """
    if _is_bool(value):
        return None if value else 1
    hint = "True, False or how many times in all"
    return max(check_integer(value, name, "times", least=0, most=1 << 60, hint=hint), 1)


def check_callable(value: F, name: str, hint: str) -> F:
    """Return `value`, which can be called.

    Parameters
    ----------
    hint : str
        What it is called with.

    Raises
    ------
    FormatError
        If it cannot.
    """
    if not callable(value):
        raise FormatError(f"{name}={shown(value)} cannot be called; try a function {hint}")
    return value


def check_path(value: Any, name: str, hint: str) -> str:
    """Return a path (str, bytes or PathLike) as a str, of any bytes that a file name has.

    Parameters
    ----------
    hint : str
        A value to try.

    Raises
    ------
    FormatError
        If it is no path, or cannot be the name of a file.
    """
    try:
        path = os.fsdecode(value)
        os.fsencode(path)
    except (TypeError, UnicodeError):
        path = "\0"
    if not path or "\0" in path:
        raise FormatError(f"{name}={shown(value)} is no path of a file; try {hint}")
    return path


def check_audio(data: Any) -> np.ndarray | memoryview:
    """Return an array as it is, a typed buffer as an array, other bytes-like data as bytes.

    A buffer that says what its items are (``array.array("f")``, a memoryview of float32, an
    array of ctypes) is a numpy array of that dtype.  One of plain bytes (formats "B", "b" and
    "c") is raw bytes, in the encoding that they are written to.

    Returns
    -------
    ndarray or memoryview
        The memoryview is of one dimension and format "B".

    Raises
    ------
    FormatError
        For a single number, such as ``numpy.float32(1)`` or an array of no dimensions.
    TypeError
        If it is not bytes-like, as str, lists and numbers are not.
    """
    if type(data) is not memoryview:
        import numpy as np

        if isinstance(data, np.ndarray) and data.ndim:
            return data
        if isinstance(data, np.ndarray | np.generic) and not isinstance(data, str | bytes):
            raise FormatError(_alone(data))
        if isinstance(data, str):
            raise TypeError("audio is bytes, not str; try bytes.fromhex(...) or b'...'")
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        raise TypeError(
            f"audio is a bytes-like object or a numpy array, not {shown(data)}; "
            "try bytes(...) or numpy.asarray(...)"
        ) from None
    if not view.ndim:
        raise FormatError(_alone(data))
    if view.format not in BYTES:
        return _typed(view)
    if not view.c_contiguous:
        view = memoryview(view.tobytes())
    return view.cast("B") if view.nbytes else memoryview(b"")


def _typed(view: memoryview) -> np.ndarray | memoryview:
    """A buffer of items that are no plain bytes, as an array of them."""
    import numpy as np

    if view.format.lstrip("@=<>!") in BYTES:  # ctypes tells the order of single bytes, too
        return memoryview(view.tobytes())
    try:
        return np.asarray(view)
    except (TypeError, ValueError):
        raise FormatError(
            f"audio of the buffer format {view.format!r} cannot be written; try "
            "numpy.asarray(..., numpy.float32)"
        ) from None


def _alone(data: Any) -> str:
    return (
        f"audio={shown(data)} is a single number; try an array of shape (frames,) or "
        "(frames, channels)"
    )
