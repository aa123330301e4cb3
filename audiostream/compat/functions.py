"""``get_output``, ``get_input`` and ``get_input_sources``; caller thread, they block."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TypeVar

from audiostream.aio.input import AudioInput
from audiostream.aio.output import AudioOutput
from audiostream.device import names
from audiostream.device.base import Device
from audiostream.errors import AudioException
from audiostream.forks import LOCKS
from audiostream.kernels.unit import Unit

__all__ = ("get_input", "get_input_sources", "get_output")


S = TypeVar("S", AudioInput, AudioOutput)


def _unsealed(stream: S) -> S:
    """The stream, on which old code may put attributes of its own."""
    stream._is_sealed = False
    return stream


class _Once:
    """The one output that the documented API allows at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)
        self._output: weakref.ref[AudioOutput] | None = None

    def open(self, output: AudioOutput) -> AudioOutput:
        with self._lock:
            first = self._output() if self._output is not None else None
            if first is not None and not first.is_closed:
                raise AudioException(
                    "get_output() can be used only once, and its output is still open: close() "
                    "that one first, add your samples to it, or use audiostream.aio, which "
                    "allows any number of outputs"
                )
            output.open_blocking()
            self._output = weakref.ref(output)
            return output


ONCE = _Once()
"""The process's one; the documented limit is per process."""


def get_output(
    rate: int = 44100,
    channels: int = 2,
    encoding: int = 16,
    buffersize: int = 1024,
    *,
    device: str | int | Device = "default",
    voices: int = 256,
    effects: Iterable[Unit] = (),
    limiter: bool = False,
) -> AudioOutput:
    """Open the engine and the output device.  Blocks, seconds the very first time.

    "Can be used only once": again only after ``close()``.

    Parameters
    ----------
    rate : int
        Frames per second (Hz).
    channels : int
        1 or more.
    encoding : int
        8 (signed 8-bit), 16 (signed 16-bit) or 32 (float).
    buffersize : int
        Frames of a block; 0: sized by the system.
    device, voices, effects, limiter
        See :class:`audiostream.aio.AudioOutput`.

    Raises
    ------
    AudioException
        If an output from an earlier call is still open.
    FormatError, NoDeviceError, DeviceError
        For bad values, and where no such device can be opened.
    """
    return ONCE.open(
        _unsealed(
            AudioOutput(
                rate,
                channels,
                encoding,
                buffersize,
                device=device,
                voices=voices,
                effects=effects,
                limiter=limiter,
            )
        )
    )


def get_input(
    callback: Callable[[bytes], object] | None = None,
    source: str | int | Device = "default",
    rate: int = 44100,
    channels: int = 1,
    encoding: int = 16,
    buffersize: int = -1,
    *,
    effects: Iterable[Unit] = (),
) -> AudioInput:
    """Open an input device; ``start()`` starts it.  Blocks.

    Parameters
    ----------
    callback : callable, optional
        Called by ``poll()``, in its thread, with the bytes of one buffer.
    source : str
        One of :func:`get_input_sources`, or a virtual device.
    rate, channels, encoding : int
        As for :func:`get_output`.
    buffersize : int
        Frames of one buffer; 0 or less: sized by the system.
    effects : iterable of effects
        See :class:`audiostream.aio.AudioInput`.

    Raises
    ------
    FormatError, NoDeviceError, DeviceError
        For bad values, and where no such device can be opened.
    """
    microphone = _unsealed(
        AudioInput(callback, source, rate, channels, encoding, buffersize, effects=effects)
    )
    return microphone.open_blocking(start=False)


def get_input_sources() -> list[str]:
    """Return ``"default"``, then what this machine can record from; each is a `source`."""
    return names.input_sources()
