"""The arrays of a patch as numpy arrays; any thread."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from audiostream.checks import check_integer, shown
from audiostream.errors import FormatError, PatchError, PatchIndexError
from audiostream.libpd.protocol import Engine, Floats

__all__ = ("Arrays", "PatchArray")

T = TypeVar("T")
Run = Callable[[Callable[[Engine], T]], T]
"""Calls a function with the patch's engine, locked; raises if the patch is closed."""


class Arrays:
    """The patch's arrays by name; ``name in arrays`` is True if there is one.

    libpd cannot list them, so this is no mapping to iterate over.
    """

    __iter__ = None  # else iteration would try 0, 1, 2 ... as names

    def __init__(self, run: Run[Any]) -> None:
        self._run = run

    def __getitem__(self, name: str) -> PatchArray:
        array = PatchArray(self._run, name)
        len(array)
        return array

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not _is_name(name):
            return False
        size: int = self._run(lambda engine: engine.array_size(name))
        return size >= 0


def _is_name(name: str) -> bool:
    """True if an array can have that name."""
    try:
        return b"\0" not in name.encode()
    except UnicodeError:
        return False


def _floats(values: npt.ArrayLike) -> Floats:
    """Values as float32, of any number of dimensions."""
    try:
        with np.errstate(over="ignore"):
            given = np.asarray(values)
            if given.dtype.kind in "biufO":
                return np.ascontiguousarray(given, np.float32).reshape(given.shape)
    except (TypeError, ValueError, OverflowError):
        pass
    raise FormatError(f"values={shown(values)} are no numbers; try a list or array of floats")


class PatchArray:
    """One array of a patch.

    Indexing and :func:`numpy.asarray` copy, and writing to the copy leaves the patch alone;
    assigning to an element or a slice writes to the patch.  Everything raises
    :class:`~audiostream.errors.PatchError` where the array is not, or no longer, there, and
    :class:`~audiostream.errors.PatchClosedError` once the patch is closed.
    """

    def __init__(self, run: Run[Any], name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"an array's name is a str, not {shown(name)}")
        if not _is_name(name):
            raise PatchError(
                f"{name!r} holds a null character, or half of one, which no array's name does"
            )
        self._run = run
        self.name = name

    def _size(self, engine: Engine) -> int:
        size = engine.array_size(self.name)
        if size < 0:
            raise PatchError(
                f"the patch has no array {self.name!r}; names are case-sensitive, and "
                "where it is called $0-name in the patch, ask for f'{patch.dollar_zero}-name'"
            )
        return size

    def __len__(self) -> int:
        size: int = self._run(self._size)
        return size

    def read(self, offset: int = 0, count: int | None = None) -> Floats:
        """Return a copy of `count` elements from `offset` on; all that follow by default.

        Returns
        -------
        numpy.ndarray
            float32, of one dimension.

        Raises
        ------
        PatchIndexError
            If there are not as many.
        """
        offset = check_integer(offset, "offset", "elements")
        if count is not None:
            count = check_integer(count, "count", "elements")

        def read(engine: Engine) -> Floats:
            wanted = self._size(engine) - offset if count is None else count
            self._check(engine, offset, wanted)
            copy = np.empty(wanted, np.float32)
            if wanted:
                engine.read_array(self.name, offset, copy)
            return copy

        result: Floats = self._run(read)
        return result

    def write(self, values: npt.ArrayLike, offset: int = 0) -> None:
        """Write values of one dimension over the elements from `offset` on.

        Raises
        ------
        PatchIndexError
            If they do not fit: nothing is written; :meth:`resize` makes room.
        """
        offset = check_integer(offset, "offset", "elements")
        floats = _floats(values)
        if floats.ndim != 1:
            raise PatchError(f"an array holds one dimension, not {floats.ndim}; flatten it")

        def write(engine: Engine) -> None:
            self._check(engine, offset, len(floats))
            if len(floats):
                engine.write_array(self.name, offset, floats)

        self._run(write)

    def resize(self, size: int) -> None:
        """Set the number of elements, at least 1; new ones are 0."""
        size = check_integer(size, "size", "elements")
        if not 1 <= size <= 1 << 28:
            raise PatchIndexError(f"an array holds 1 to {1 << 28} elements, not {shown(size)}")

        def resize(engine: Engine) -> None:
            self._size(engine)
            engine.resize_array(self.name, size)

        self._run(resize)

    def _check(self, engine: Engine, offset: int, count: int) -> None:
        # libpd looks too, but returns with its lock taken: the next call would hang.
        size = self._size(engine)
        if offset < 0 or count < 0 or offset + count > size:
            raise PatchIndexError(
                f"{shown(count)} elements from {shown(offset)} on are outside of the array "
                f"{self.name!r} "
                f"of {size}; resize it, or take fewer"
            )

    def _span(self, size: int, index: int) -> int:
        place = index + size if index < 0 else index
        if not 0 <= place < size:
            raise PatchIndexError(
                f"element {index} is outside of the array {self.name!r} of {size}"
            )
        return place

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Floats: ...
    def __getitem__(self, index: int | slice) -> float | Floats:
        if isinstance(index, slice):
            return self.read()[index]
        return float(self.read(self._span(len(self), operator.index(index)), 1)[0])

    def __setitem__(self, index: int | slice, values: npt.ArrayLike) -> None:
        if isinstance(index, slice):
            whole = self.read()
            whole[index] = values
            # Only what was named: the patch may be writing to the rest.
            start, stop, step = index.indices(len(whole))
            touched = range(start, stop, step)
            if touched:
                first, last = min(touched), max(touched)
                self.write(whole[first : last + 1], first)
        else:
            self.write([float(values)], self._span(len(self), operator.index(index)))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[float]:
        return iter(self.read().tolist())

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("an array of a patch can only be copied")
        return self.read().astype(dtype or np.float32, copy=False)

    def __repr__(self) -> str:
        return f"<PatchArray {self.name!r}>"
