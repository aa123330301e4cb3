"""One check for each kind of argument, with one error and one hint; any thread.

Every public function checks its arguments with these, before it changes anything.  Each raises
:class:`~audiostream.errors.FormatError`, whose message names the parameter, shows the value and
says what to try.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from audiostream.errors import FormatError

__all__ = ("check_choice", "check_flag", "check_integer", "check_number")


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
    index = None if _is_bool(value) else _index(value)
    if index is None:
        raise FormatError(
            f"{name} must be a whole number{f' of {unit}' if unit else ''}, not {value!r}; "
            + (f"try {hint}" if hint else f"try {name}=int(...) on what you have")
        )
    if (least is not None and index < least) or (most is not None and index > most):
        bounds = f"below {least}" if most is None else f"outside {least} to {most}"
        unit = f" {unit}" if unit else ""
        tried = hint or str(least if least is not None and index < least else most)
        raise FormatError(f"{name}={index} is {bounds}{unit}; try {tried}")
    return index


def _is_bool(value: Any) -> bool:
    """True for a bool of Python or numpy, which is not imported for this."""
    return type(value).__name__ in ("bool", "bool_")


def _index(value: Any) -> int | None:
    """The value as an int, or None; arrays of one element are none."""
    if getattr(value, "shape", ()) != ():
        return None
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        return None


def check_number(value: Any, name: str, least: float, most: float, hint: str) -> float:
    """Return `value` as a finite float within bounds, both allowed.

    Raises
    ------
    FormatError
        If it is no number (numpy's are, bools are not), NaN, infinite or out of bounds.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        raise FormatError(f"{name}={value!r} is no number from {least:g} to {most:g}; {hint}")
    return number


def check_flag(value: Any, name: str) -> bool:
    """Return `value` as a bool; only True and False, numpy's too, are taken.

    Raises
    ------
    FormatError
        For anything else.
    """
    if not _is_bool(value):
        raise FormatError(f"{name}={value!r} is no bool; try True or False")
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
        raise FormatError(f"{name}={value!r} is not known; try {words}")
    return value
