"""The manual device: an audio device in virtual time, moved by hand; caller threads.

The thread that calls :meth:`ManualDevice.step` is the audio thread: the compiled callbacks run
inside the call.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any, Literal, get_args

from audiostream.checks import (
    check_audio,
    check_choice,
    check_integer,
    check_number,
    shown,
)
from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.device.portaudio.callback_path import CallCompiled
from audiostream.errors import DeviceError, FormatError
from audiostream.forks import LOCKS
from audiostream.pcm import (
    ENCODINGS,
    check_buffersize,
    check_channels,
    check_encoding,
    check_rate,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ("Fault", "ManualDevice")

Fault = Literal["underrun", "overrun", "jitter", "stall", "resume", "die", "end"]
FAULTS: tuple[str, ...] = get_args(Fault)

DEFAULT_PERIOD = 256

MAX_STEP = 1 << 28
"""Frames of one step, whose sound is returned in one array."""


class ManualDevice(Device):
    """A speaker and a microphone in virtual time, which moves only when you step it.

    Pass it as ``device=`` or ``source=``.  One output and one input may be open on it at
    a time; both move together.

    Parameters
    ----------
    rate : int, optional
        The only rate (Hz) that the device supports; None: the rate of the first stream.
    channels : int, optional
        The only number of channels; None: as each stream asks.
    buffersize : int, optional
        Frames of a period; None: as the first stream asks, or 256.
    latency : float
        Seconds from a callback to the speaker, and from the microphone to a callback.
    encoding : int, optional
        The only encoding (8, 16, 32); None: as each stream asks.

    Raises
    ------
    FormatError
        For a value that cannot be used.

    Examples
    --------
    >>> device = ManualDevice(rate=48000)
    >>> # speaker = get_output(rate=48000, device=device) ... device.step(480)
    """

    name = "manual"

    def __init__(
        self,
        rate: int | None = None,
        channels: int | None = None,
        buffersize: int | None = None,
        latency: float = 0.0,
        encoding: int | None = None,
    ) -> None:
        self.rate = None if rate is None else check_rate(rate)
        self.channels = None if channels is None else check_channels(channels)
        self.buffersize = None if buffersize is None else check_buffersize(buffersize) or None
        self.encoding = None if encoding is None else check_encoding(encoding)
        self.latency = check_number(latency, "latency", 0, 10, "in seconds, try 0.01")
        self._time = 0.0
        self._frames = 0
        self._stalled = False
        self._dead = False
        self._jitter: random.Random | None = None
        self._flags = {"output": 0, "input": 0}
        self._streams: dict[str, ManualStream] = {}
        self._feed: list[np.ndarray] = []
        self._end = False
        # Re-entrant: a callback's wake-up may lead to code that steps again.
        self._lock = threading.RLock()
        LOCKS.add(self, _lock=threading.RLock)

    # --- the device --------------------------------------------------------------

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        with self._lock:
            if request.direction in self._streams:
                raise DeviceError(
                    f"this ManualDevice already has an {request.direction} open; "
                    "close that one, or make a device for each"
                )
            rate = self.rate or next(
                (other.parameters.rate for other in self._streams.values()), request.rate
            )
            period = self.buffersize or next(
                (other.parameters.buffersize for other in self._streams.values()),
                request.buffersize or DEFAULT_PERIOD,
            )
            parameters = Parameters(
                rate,
                self.channels or request.channels,
                self.encoding or request.encoding,
                period,
                self.latency,
            )
            stream = ManualStream(self, request.direction, parameters, callback)
            self._streams[request.direction] = stream
            return stream

    def _forget(self, stream: ManualStream) -> None:
        with self._lock:
            if self._streams.get(stream.direction) is stream:
                del self._streams[stream.direction]

    # --- by hand -----------------------------------------------------------------

    @property
    def time(self) -> float:
        """Seconds of virtual time since the device was made."""
        return self._time

    def step(self, frames: int) -> np.ndarray:
        """Move the device's time by `frames` frames, in periods, the last one shorter.

        Parameters
        ----------
        frames : int
            At the device's rate; 0 does nothing.

        Returns
        -------
        ndarray
            What the output handed to the device meanwhile, (frames, channels), int8,
            int16 or float32 as the device's encoding; zeros where it was silent, stalled
            or not open.  It is heard `latency` seconds later.

        Raises
        ------
        FormatError
            If `frames` is negative, more than 2**28, or no whole number.
        """
        import numpy as np

        hint = "0 or a few seconds' frames, since time does not go back"
        frames = check_integer(frames, "frames", "frames", least=0, most=MAX_STEP, hint=hint)
        with self._lock:
            output = self._streams.get("output")
            shape = output.parameters if output else None
            dtype = ENCODINGS[shape.encoding] if shape else "<i2"
            played = np.zeros((frames, shape.channels if shape else 1), dtype)
            done = 0
            while done < frames:
                period = min(
                    (stream.parameters.buffersize for stream in self._streams.values()),
                    default=frames,
                )
                count = min(period, frames - done)
                self._move(played[done : done + count])
                done += count
            if output and output.started and not (self._stalled or self._dead):
                output.call(0, 0, 0, 0)  # by now the last block may have been heard
            return played

    def _move(self, block: np.ndarray) -> None:
        count = len(block)
        output = self._streams.get("output")
        source = self._streams.get("input")
        if not (self._stalled or self._dead):
            if output and output.started:
                output.call(0, block.ctypes.data, count, self._take_flags("output"))
            if source and source.started:
                heard = self._hear(count, source.parameters)
                if len(heard) or not self._end:
                    address = heard.ctypes.data
                    source.call(address, 0, len(heard), self._take_flags("input"))
                if self._end and not self._feed:
                    source.call(0, 0, 0, 0)
                    source.started = False
        rate = next((s.parameters.rate for s in self._streams.values()), self.rate or 48000)
        self._frames += count
        self._time += count / rate

    def lateness(self, frames: int, parameters: Parameters) -> float:
        """Seconds by which a callback comes after its time."""
        if self._jitter is None:
            return 0.0
        return self._jitter.uniform(0.0, min(frames / parameters.rate, parameters.latency))

    def _take_flags(self, direction: str) -> int:
        flags = self._flags[direction]
        self._flags[direction] = 0
        return flags

    def _hear(self, count: int, parameters: Parameters) -> np.ndarray:
        """The next frames that were fed, then silence, unless the input ends there."""
        import numpy as np

        dtype = ENCODINGS[parameters.encoding]
        heard = np.zeros((count, parameters.channels), dtype)
        done = 0
        while self._feed and done < count:
            head = self._feed[0]
            taken = min(len(head), count - done)
            heard[done : done + taken] = head[:taken]
            done += taken
            if taken < len(head):
                self._feed[0] = head[taken:]
            else:
                self._feed.pop(0)
        return heard[:done] if self._end else heard

    def feed(self, array: Any) -> None:
        """Append frames that the microphone will capture in later steps.

        Parameters
        ----------
        array : array_like
            (frames,) or (frames, channels) at the device's rate: int8, int16 or float
            as the open input's device encoding wants it; full scale is full scale.  Typed
            buffers are arrays, and bytes are whole frames in that encoding.

        Raises
        ------
        DeviceError
            If no input is open, so that the format is not known.
        FormatError
            If the shape or dtype does not fit.
        TypeError
            If it is neither bytes-like nor a list of numbers.
        """
        import numpy as np

        with self._lock:
            source = self._streams.get("input")
            if source is None:
                raise DeviceError("no input is open on this ManualDevice; open one, then feed")
            parameters = source.parameters
            dtype = np.dtype(ENCODINGS[parameters.encoding])
            samples = self._fed(array, parameters)
            if samples.ndim == 1:
                samples = samples[:, None]
            if samples.ndim != 2 or samples.shape[1] not in (1, parameters.channels):
                raise FormatError(
                    f"shape {np.shape(array)} does not fit {parameters.channels} channel(s); "
                    "feed (frames,) or (frames, channels)"
                )
            if samples.dtype != dtype and samples.dtype.kind == "f":
                scale = 1.0 if dtype.kind == "f" else 2.0 ** (parameters.encoding - 1)
                top = np.inf if dtype.kind == "f" else scale - 1
                samples = np.clip(samples * scale, -scale if np.isfinite(top) else -np.inf, top)
                samples = np.rint(np.nan_to_num(samples)) if dtype.kind == "i" else samples
            elif samples.dtype != dtype:
                raise FormatError(
                    f"dtype {samples.dtype} does not fit the input's {dtype}; "
                    f"try .astype(np.{dtype}) or floats at full scale 1.0"
                )
            block = np.empty((len(samples), parameters.channels), dtype)
            block[:] = samples
            self._feed.append(block)

    @staticmethod
    def _fed(given: Any, parameters: Parameters) -> np.ndarray:
        """What is fed, as an array."""
        import numpy as np

        if isinstance(given, list | tuple):
            try:
                return np.asarray(given)
            except (ValueError, OverflowError) as error:
                raise FormatError(f"array={shown(given)} is no array: {error}") from error
        audio = check_audio(given)
        if isinstance(audio, np.ndarray):
            return audio
        width = parameters.channels * parameters.encoding // 8
        if len(audio) % width:
            raise FormatError(
                f"{len(audio)} bytes are not whole frames of {width} bytes; feed whole frames"
            )
        dtype = ENCODINGS[parameters.encoding]
        return np.frombuffer(audio, dtype).reshape(-1, parameters.channels)

    def fault(self, kind: Fault) -> None:
        """Make the device misbehave.

        Parameters
        ----------
        kind : str
            * ``"underrun"``: the next output callback has the flag of an underrun;
            * ``"overrun"``: the next input callback has the flag of lost frames;
            * ``"jitter"``: from now on callbacks come late, by up to their block and by no
              more than the latency; the sound that they play is still heard in time;
            * ``"stall"``: time passes but no callback comes, until ``"resume"``;
            * ``"die"``: the device ends by itself, for good;
            * ``"end"``: the microphone's material ends with what has been fed.

        Raises
        ------
        FormatError
            For any other word.
        """
        check_choice(kind, "kind", FAULTS)
        with self._lock:
            if kind == "underrun":
                self._flags["output"] |= 4
            elif kind == "overrun":
                self._flags["input"] |= 2
            elif kind == "jitter":
                self._jitter = random.Random(1)
            elif kind in ("stall", "resume"):
                self._stalled = kind == "stall"
            elif kind == "die":
                self._dead = True
            else:
                self._end = True


class ManualStream(DeviceStream):
    """One direction of a manual device."""

    realtime = False
    smooth = True
    epoch = 1.0  # PortAudio's clocks never stand at zero, which means "no time" to the callback

    def __init__(
        self,
        device: ManualDevice,
        direction: str,
        parameters: Parameters,
        callback: Callback,
    ) -> None:
        import numpy as np

        from audiostream.realtime.memory.layout import TIME_INFO

        self.parameters = parameters
        self.direction = direction
        self.started = False
        self._device = device
        self._callback = callback
        self._function = CallCompiled(callback.address)
        self._times: Any = np.zeros(1, TIME_INFO)

    def call(self, source: int, target: int, frames: int, flags: int) -> None:
        """Call the callback now; both addresses may be 0."""
        due = self.epoch + self._device.time
        now = due + self._device.lateness(frames, self.parameters)
        latency = self.parameters.latency
        self._times[0] = (due - latency, now, due + latency)
        times = self._times.ctypes.data
        self._function(source, target, frames, times, flags, self._callback.user)

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        # The lock is held while a step is under way: none is when this returns.
        with self._device._lock:
            self.started = False

    def close(self) -> bool:
        self.stop()
        self._device._forget(self)
        return True

    def alive(self) -> bool:
        return not self._device._dead

    def time(self) -> float:
        return self._device.time
