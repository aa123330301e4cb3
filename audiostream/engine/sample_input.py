"""What users write, checked and turned into flat arrays of samples; any thread."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiostream.checks import check_audio, shown
from audiostream.engine.sample_decoding import decoded
from audiostream.errors import FormatError
from audiostream.pcm import MAX_CHANNELS, Format, check_channels
from audiostream.realtime.compile.kernels import Kernels

__all__ = (
    "Encoded",
    "Samples",
    "address_of",
    "as_array",
    "as_floats",
    "channels_of",
    "check_matrix",
    "of_bytes",
    "remixed",
    "samples_of",
    "sliceable",
    "spread",
)

# Keyed by character: a dtype's name takes numpy 8 us to make up.
ENCODINGS = {"b": 8, "h": 16, "f": 32}

DECODED = {
    "|u1": "u8",
    ">i2": "s16be",
    "<i4": "s32",
    ">i4": "s32be",
    ">f4": "f32be",
    "<f8": "f64",
    ">f8": "f64be",
}
"""Arrays that are decoded first: dtype string -> encoding."""

PLAUSIBLE = 8
"""Channels that even a sound of few frames may have; with more it is likely transposed."""


SPREAD = 16384
"""Frames whose channels are converted in one call."""


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

    def first(self, frames: int) -> Samples:
        """The first so many frames."""
        flat = self.data.reshape(-1)
        return Samples(flat[: frames * self.channels], self.channels, self.encoding)


@dataclass(slots=True)
class Encoded:
    """Samples in an encoding that compiled code does not read; C-contiguous.

    They are decoded only when there is room for them: one who writes a minute into a ring of
    a quarter of a second comes back with the rest again and again.

    ``data`` has the dtype that :data:`audiostream.pcm.NAMED` says of ``encoding``.
    """

    data: np.ndarray
    channels: int
    encoding: str

    @property
    def frames(self) -> int:
        """Whole frames in it."""
        return self.data.size // self.channels

    def first(self, frames: int) -> Samples:
        """The first so many frames, decoded to float32."""
        flat = self.data.reshape(-1)[: frames * self.channels]
        return Samples(decoded(flat, self.encoding), self.channels, 32)


def address_of(array: np.ndarray) -> int:
    """Where an array's data begin; for compiled kernels, while it lives."""
    if array.flags.writeable and array.size:
        # A third of what ndarray.ctypes.data costs.
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return int(array.ctypes.data)


def _ready(data: np.ndarray) -> np.ndarray:
    """The array as the compiled kernels read it: contiguous and aligned."""
    if not data.flags.c_contiguous or not data.flags.aligned:
        data = np.array(data, order="C")
    return data


def of_bytes(data: memoryview | bytes, format: Format) -> Samples | Encoded:
    """Whole frames of the format's encoding, given as bytes."""
    flat = np.frombuffer(data, format.dtype)
    plain = format.plain
    if plain is None:
        return Encoded(flat, format.channels, str(format.encoding))
    return Samples(_ready(flat), format.channels, plain)


def of_array(array: np.ndarray, format: Format, most: int | None = None) -> Samples | Encoded:
    """An array of shape (frames,) or (frames, channels).

    Of one that is not contiguous, which must be copied, the first `most` frames at least.

    Raises
    ------
    FormatError
        For another shape or dtype.
    """
    encoding = ENCODINGS.get(array.dtype.char) if array.dtype.isnative else None
    name = None if encoding is not None else DECODED.get(array.dtype.str)
    if encoding is None and name is None:
        raise FormatError(
            f"an array of {array.dtype} cannot be written; try .astype(np.float32) at full "
            "scale 1.0, or float64, or int32, int16, int8 or uint8, each at its own full scale"
        )
    channels = format.channels
    if not (
        (array.ndim == 1 and channels == 1) or (array.ndim == 2 and array.shape[1] == channels)
    ):
        raise FormatError(_misfit(array, channels))
    if most is not None and not array.flags.c_contiguous:
        array = array[:most]
    if name is not None:
        return Encoded(_ready(array), channels, name)
    assert encoding is not None
    return Samples(_ready(array), channels, encoding)


def _misfit(array: np.ndarray, channels: int) -> str:
    """What is wrong with an array's shape, and what to write in its place."""
    shape = array.shape
    if channels > 1 and array.ndim == 1:
        advice = (
            f", such as np.column_stack([array] * {channels}), or make the sample with "
            "channels=1"
        )
    elif array.ndim == 2 and shape[0] == channels:
        advice = ", which array.T is if this is (channels, frames)"
    elif array.ndim == 2 and 1 <= shape[1] <= MAX_CHANNELS:
        advice = f", or make the sample with channels={shape[1]}"
    else:
        advice = ""
    wanted = "(frames,) or (frames, 1)" if channels == 1 else f"(frames, {channels})"
    return (
        f"an array of shape {shape} does not fit {channels} channel(s); write shape "
        f"{wanted}{advice}"
    )


def channels_of(array: np.ndarray) -> int:
    """The channels of a whole sound, of shape (frames,) or (frames, channels).

    Raises
    ------
    FormatError
        For another shape, or more channels than a sound can have beside its frames.
    """
    shape = array.shape
    if array.ndim == 1:
        return 1
    if array.ndim != 2:
        raise FormatError(
            f"a sound of shape {shape} is neither (frames,) nor (frames, channels)"
        )
    if shape[1] > min(max(shape[0], PLAUSIBLE), MAX_CHANNELS):
        raise FormatError(
            f"a sound of shape {shape} would have {shape[1]} channels; this looks like "
            "(channels, frames): try array.T"
        )
    return check_channels(shape[1])


def sliceable(data: Any) -> np.ndarray | memoryview:
    """What is written, as :func:`~audiostream.checks.check_audio` has it.

    ``[n:]`` is what is left of it, in frames of an array and in bytes of anything else.

    Raises
    ------
    TypeError, FormatError
        If it cannot be written.
    """
    # Those that come most, without a closer look.
    kind = type(data)
    if kind is bytes or kind is bytearray:
        return memoryview(data)
    return data if kind is np.ndarray and data.ndim else check_audio(data)


def as_array(data: Any) -> Any:
    """A typed buffer as an array; anything else, a single number apart, as it is."""
    try:
        audio = check_audio(data)
    except TypeError:
        return data
    return audio if isinstance(audio, np.ndarray) else data


def samples_of(
    data: Any, format: Format, most: int | None = None
) -> Samples | Encoded | memoryview:
    """Arrays and typed buffers as :class:`Samples` or :class:`Encoded`, others as bytes.

    `most`: frames that are needed of it; see :func:`of_array`.
    """
    data = sliceable(data)
    return of_array(data, format, most) if isinstance(data, np.ndarray) else data


# --- channels ----------------------------------------------------------------------


def spread(kernels: Kernels, samples: Samples, channels: int) -> Samples:
    """The same as float32 in so many channels; see `realtime.shared.spread`."""
    if samples.encoding == 32 and samples.channels == channels:
        return samples
    frames = samples.frames
    block = np.empty((frames, channels), np.float32)
    target, source = int(block.ctypes.data), samples.address
    for start in range(0, frames, SPREAD):  # the kernel keeps the interpreter lock
        kernels.spread(
            target + start * channels * 4,
            channels,
            source + start * samples.channels * (samples.encoding >> 3),
            samples.encoding,
            samples.channels,
            min(SPREAD, frames - start),
        )
    return Samples(block, channels, 32)


def check_matrix(matrix: Any, outputs: int, inputs: int) -> np.ndarray:
    """How loud each channel that is written is in each channel of the output.

    Parameters
    ----------
    matrix : array_like (outputs, inputs)
        Factors; rows are the output's channels.
    outputs, inputs : int
        Channels of the output, and of what is written.

    Returns
    -------
    float32 (outputs, inputs), C-contiguous; a copy

    Raises
    ------
    FormatError
        For another shape, or anything but finite numbers.
    """
    try:
        table = np.array(matrix)
        table = table.astype(np.float64) if table.dtype.kind in "iufO" else np.zeros(0)
    except (TypeError, ValueError, OverflowError):
        table = np.zeros(0)
    if table.shape != (outputs, inputs):
        got = f"shape {table.shape}" if table.size else shown(matrix)
        example = [[round(1 / inputs, 3)] * inputs] * outputs
        raise FormatError(
            f"matrix must have a row for each of the output's {outputs} channel(s) with a "
            f"number for each of the {inputs} channel(s) written, shape ({outputs}, {inputs}), "
            f"not {got}; try matrix={example}, which is their mean"
        )
    largest = np.finfo(np.float32).max
    if not (np.abs(table) <= largest).all():
        raise FormatError(
            f"matrix={shown(table.tolist())} has numbers that are not finite; try 0 or 1"
        )
    return table.astype(np.float32, order="C")


def remixed(kernels: Kernels, samples: Samples, matrix: np.ndarray) -> Samples:
    """Samples of the output's channels, by a matrix from :func:`check_matrix`.

    Output channel ``o`` is the sum over ``i`` of ``matrix[o, i]`` times input channel ``i``.
    """
    outputs, inputs = matrix.shape
    samples = as_floats(kernels, samples)
    block = np.empty((samples.frames, outputs), np.float32)
    kernels.remix(
        block.ctypes.data,
        matrix.ctypes.data,
        samples.address,
        samples.frames,
        outputs,
        inputs,
    )
    return Samples(block, outputs, 32)


def as_floats(kernels: Kernels, samples: Samples) -> Samples:
    """The same as float32."""
    return spread(kernels, samples, samples.channels)
