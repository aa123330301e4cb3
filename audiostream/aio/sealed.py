"""Objects that refuse to be given attributes that they do not know; any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ("Sealed",)


class Sealed:
    """An object whose public attributes are those of its class.

    A name that is misspelt, or another library's, would be taken in silence otherwise.  A
    subclass outside of this library may have attributes of its own.
    """

    _is_sealed = True  # False for what the blocking API hands out, as old code expects

    if not TYPE_CHECKING:  # for mypy, a class with a __setattr__ has any attribute

        def __setattr__(self, name: str, value: Any) -> None:
            if name[0] != "_":
                self._check_attribute(name, value)
            object.__setattr__(self, name, value)

    def _check_attribute(self, name: str, value: Any) -> None:
        kind = type(self)
        known = getattr(kind, name, None)
        if hasattr(type(known), "__set__") or not self._is_sealed:
            return
        if not kind.__module__.startswith("audiostream."):
            return
        if known is not None and callable(value):  # a test's stand-in for a method
            return
        settable = [
            other
            for other in dir(kind)
            if other[0] != "_"
            and isinstance(found := getattr(kind, other), property)
            and found.fset is not None
        ]
        hint = f"set {', '.join(settable)}, or " if settable else ""
        raise AttributeError(
            f"{kind.__name__} has no attribute {name!r} that can be set; "
            f"{hint}make a subclass for attributes of your own"
        )
