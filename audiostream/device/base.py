"""What every audio device is to the engine: the contract; called on caller threads.

A device opens a stream around a :class:`Callback`: the address of a C function
with PortAudio's stream callback signature, and the address handed to it as user
data.  The function runs on the device's own audio thread.  It is compiled, never
enters the interpreter, and always fills the whole output.

    int callback(const void *input, void *output, unsigned long frames,
                 const PaStreamCallbackTimeInfo *time_info,
                 unsigned long status_flags, void *user_data)

Additions to PortAudio's contract, for virtual devices: ``time_info`` is never NULL; an
input device whose material has come to its end calls once with ``frames == 0`` and then
no more; an output device may call with ``frames == 0`` when its time has moved, so that
the engine knows what was heard meanwhile; and a device may call with fewer frames than its
period.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ("Callback", "Device", "DeviceStream", "Direction", "Parameters", "Request")

Direction = Literal["output", "input"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a stream asks of a device.

    Parameters
    ----------
    direction : {"output", "input"}
    rate : int
        Frames per second (Hz).
    channels : int
    encoding : int
        8, 16 or 32 (see :mod:`audiostream.pcm`).
    buffersize : int
        Frames in one period; 0 lets the device choose.
    """

    direction: Direction
    rate: int
    channels: int
    encoding: int
    buffersize: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a device stream really runs at; may differ from the :class:`Request`.

    ``buffersize`` is in frames, ``latency`` in seconds (from the callback to the
    speaker, or from the microphone to the callback).
    """

    rate: int
    channels: int
    encoding: int
    buffersize: int
    latency: float


@dataclass(frozen=True, slots=True)
class Callback:
    """A C function to be called on the audio thread, and its user data, by address.

    ``keep`` holds what must outlive the stream (a ctypes thunk, arrays).
    """

    address: int
    user: int
    keep: object = None


class DeviceStream(ABC):
    """One open stream of a device.

    Methods may block for a bounded time; an event loop's thread may call only those whose
    description allows it.

    Attributes
    ----------
    parameters : Parameters
        What the stream runs at; known as soon as it is open.
    realtime : bool
        False where time stands still between steps (the manual device), so that
        the engine does not watch its heartbeat.
    epoch : float
        What the callback's times are ahead of :meth:`time` (seconds).
    smooth : bool
        True where :meth:`time` is cheap, even, never goes back, and agrees with the times of
        the callbacks without jitter.  Elsewhere the engine smooths the callbacks' times.
    """

    parameters: Parameters
    realtime: bool = True
    epoch: float = 0.0
    smooth: bool = False

    @abstractmethod
    def start(self) -> None:
        """Begin to call the callback.  Idempotent."""

    @abstractmethod
    def stop(self) -> None:
        """Cease to call the callback; when it returns, no call is under way. Idempotent.

        :meth:`start` works again afterwards.
        """

    @abstractmethod
    def close(self) -> bool:
        """Stop and give everything back.  Idempotent.

        Returns
        -------
        bool
            True if no callback will ever run again.  False if the device hangs and
            its stream was abandoned: what the callback touches must then be kept
            until the function of :meth:`when_closed` is called, or else for the life of
            the process.
        """

    def when_closed(self, function: Callable[[], None]) -> None:  # noqa: B027 - see below
        """Have `function` called once a stream that was abandoned is closed after all.

        On a thread of the device's, or at once if it is closed by now.  Devices that
        never abandon a stream have nothing to do here.
        """

    @abstractmethod
    def alive(self) -> bool:
        """False once the device has ended a started stream by itself.  Never blocks."""

    @abstractmethod
    def time(self) -> float:
        """Seconds on the device's clock.  Never blocks."""


class Device(ABC):
    """Something that audio can be played to or recorded from.

    Attributes
    ----------
    name : str
        As given to ``device=`` or ``source=``, for messages.
    """

    name: str

    @abstractmethod
    def open(self, request: Request, callback: Callback) -> DeviceStream:
        """Open, but do not start, a stream as close to `request` as the device can.

        The rate, the channels and the encoding of the request are tried first; where
        the device refuses them the stream is opened at the device's own (see
        ``parameters``), and the engine converts.

        Raises
        ------
        NoDeviceError
            If the device is not there.
        DeviceError
            If it cannot be opened at all; the message has the device's own text and
            number, what was asked for and what the device does support.
        """
