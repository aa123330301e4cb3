"""What users write, checked and turned into flat arrays of samples; any thread."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiostream.errors import FormatError
from audiostream.pcm import Format

__all__ = ("Samples", "address_of", "of_bytes", "samples_of", "sliceable")

# Keyed by character: a dtype's name takes numpy 8 us to make up.
ENCODINGS = {"b": 8, "h": 16, "f": 32}


@dataclass(slots=True)
class Samples:
    """Samples as they came: C-contiguous; and in what frames.

    ``data`` is int8, int16 or float32 (``encoding`` 8, 16 or 32), of frames * channels.
    """

    data: np.ndarray
    channels: int
    encoding: int

    @property
    def frames(self) -> int:
        """Whole frames in it."""
        return self.data.size // self.channels

    @property
    def address(self) -> int:
        """Where the first sample is; for compiled kernels, while this object lives."""
        return address_of(self.data)


def address_of(array: np.ndarray) -> int:
    """Where an array's data begin; for compiled kernels, while it lives."""
    if array.flags.writeable and array.size:
        # A third of what ndarray.ctypes.data costs.
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return int(array.ctypes.data)


def _ready(data: np.ndarray) -> np.ndarray:
    """The array as the compiled kernels read it: contiguous and aligned."""
    if not data.flags.c_contiguous or not data.flags.aligned:
        data = np.array(data)
    return data


def of_bytes(data: memoryview | bytes, format: Format) -> Samples:
    """Whole frames of the format's encoding, given as bytes."""
    flat = np.frombuffer(data, format.dtype)
    return Samples(_ready(flat), format.channels, format.encoding)


def of_array(array: np.ndarray, format: Format) -> Samples:
    """An array of shape (frames,) or (frames, channels).

    Raises
    ------
    FormatError
        For another shape or dtype.
    """
    encoding = ENCODINGS.get(array.dtype.char)
    if encoding is None or not array.dtype.isnative:
        raise FormatError(
            f"an array of {array.dtype} cannot be written; try .astype(np.float32) at full "
            "scale 1.0, or int16 or int8"
        )
    channels = format.channels
    if not (
        (array.ndim == 1 and channels == 1) or (array.ndim == 2 and array.shape[1] == channels)
    ):
        wanted = "(frames,) or (frames, 1)" if channels == 1 else f"(frames, {channels})"
        raise FormatError(
            f"an array of shape {array.shape} does not fit {channels} channel(s); "
            f"write shape {wanted}"
            + ("" if channels == 1 else f", for interleaved samples .reshape(-1, {channels})")
        )
    return Samples(_ready(array), channels, encoding)


def bytes_of(data: Any) -> memoryview:
    """The bytes of any bytes-like object.

    Raises
    ------
    TypeError
        For anything else, str above all.
    """
    if isinstance(data, str):
        raise TypeError("audio is bytes, not str; try bytes.fromhex(...) or b'...'")
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(
            f"audio is a bytes-like object or a numpy array, not {type(data).__name__}; "
            "try bytes(...) or numpy.asarray(...)"
        ) from None
    if not view.c_contiguous:
        view = memoryview(view.tobytes())
    return view.cast("B") if view.nbytes else memoryview(b"")


def sliceable(data: Any) -> Any:
    """An array as it is, anything else as its bytes: ``[n:]`` is what is left of it.

    Raises
    ------
    TypeError
        If it is not bytes-like.
    """
    return data if isinstance(data, np.ndarray) else bytes_of(data)


def samples_of(data: Any, format: Format) -> Samples | memoryview:
    """An array as :class:`Samples`, anything bytes-like as its bytes."""
    if isinstance(data, np.ndarray):
        return of_array(data, format)
    return bytes_of(data)
