"""An input as arrays; event loop for ``async for``, caller thread for ``for``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.aio.errors import EndOfStream
from audiostream.checks import shown
from audiostream.errors import FormatError

if TYPE_CHECKING:
    from audiostream.aio.input import AudioInput

__all__ = ("Blocks", "as_dtype", "check_dtype")

FULL_SCALES = {"float32": 1, "float64": 1, "int16": 32768, "int8": 128}
"""Names of the dtypes that users may ask for -> what stands for 1.0."""


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype; :class:`FormatError` unless it is one of :data:`FULL_SCALES`."""
    found: np.dtype[Any] | None = None
    if isinstance(dtype, str | type | np.dtype):
        with contextlib.suppress(TypeError, ValueError):
            found = np.dtype(dtype)
    if found is None or found.name not in FULL_SCALES or not found.isnative:
        raise FormatError(f"dtype={shown(dtype)} is not one of {', '.join(FULL_SCALES)}")
    return found


def as_dtype(block: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Samples of one of :data:`FULL_SCALES` as another, rounded and limited to its range."""
    if block.dtype == dtype:
        return block
    full = FULL_SCALES[dtype.name]
    scaled = block * (full / FULL_SCALES[block.dtype.name])
    if full > 1:
        scaled = np.clip(np.rint(scaled), -full, full - 1)
    return scaled.astype(dtype)


class Blocks(AsyncIterator[np.ndarray], Iterator[np.ndarray]):
    """What :meth:`AudioInput.blocks` gives; one that is cancelled loses nothing."""

    def __init__(self, mic: AudioInput, frames: int | None, dtype: Any) -> None:
        self._mic = mic
        self._frames = None if frames is None else mic.engine.check_frames(frames)
        self._dtype = check_dtype(dtype)

    def _empty(self) -> np.ndarray:
        """An array to be filled."""
        mic = self._mic
        mic._open_monitor()
        frames = mic.buffersize if self._frames is None else self._frames
        mic.engine.check_frames(frames)
        return np.empty((frames, mic.channels), mic.engine.format.dtype)

    async def __anext__(self) -> np.ndarray:
        block = self._empty()
        try:
            filled = await self._mic.readinto(block)
        except EndOfStream:
            await self._mic._aclose_monitor()
            raise StopAsyncIteration from None
        return as_dtype(block[:filled], self._dtype)

    def __next__(self) -> np.ndarray:
        block = self._empty()
        take = self._mic.engine.take_into
        try:
            filled = self._mic._next_blocking(take, block, block.nbytes, None)
        except EndOfStream:
            self._mic._close_monitor()
            raise StopIteration from None
        return as_dtype(block[:filled], self._dtype)
