"""Hardware devices by name, and their streams; caller threads.  The callback is PortAudio's.

PyAudio gives the list of devices and their lifetime (see host.py).  A stream is opened around a
compiled callback, on the native or on the python path (see raw_streams.py).  Importing this
module imports neither PyAudio nor numpy.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from audiostream.device.base import (
    Callback,
    Device,
    DeviceStream,
    Direction,
    Parameters,
    Request,
)
from audiostream.device.portaudio.callback_path import callback_path
from audiostream.device.portaudio.host import HOST, Copy, PortAudioHost
from audiostream.device.portaudio.jack import JACK
from audiostream.device.portaudio.library import DeviceInfo
from audiostream.device.portaudio.lookup import match
from audiostream.device.portaudio.raw_streams import RawStream, StatusError
from audiostream.device.portaudio.worker import TimeLimitError
from audiostream.errors import DeviceError, StreamClosedError
from audiostream.pcm import MAX_CHANNELS

__all__ = ("PortAudioDevice", "PortAudioStream", "choose_buffersize", "find")

INVALID_CHANNELS = -9998
INVALID_RATE = -9997
INVALID_FORMAT = -9994

MAX_LATENCY = 10.0

T = TypeVar("T")


def find(
    name_or_index: str | int, direction: Direction, host: PortAudioHost = HOST
) -> PortAudioDevice:
    """Return the device of that name or index, see :func:`match` for what is tried.

    Raises
    ------
    NoDeviceError
        If there is none; the message lists what there is.
    DeviceError
        If PortAudio cannot be started.
    """
    with host.using() as (_, devices):
        match(devices, name_or_index, direction)
    return PortAudioDevice(name_or_index, host)


class PortAudioDevice(Device):
    """A device of the machine, looked up by name or index each time it is opened.

    Parameters
    ----------
    name_or_index : str or int
        As for :func:`find`.
    """

    def __init__(self, name_or_index: str | int, host: PortAudioHost = HOST) -> None:
        self.name = str(name_or_index)
        self._query = name_or_index
        self._host = host

    def open(self, request: Request, callback: Callback) -> PortAudioStream:
        with self._host.using() as (copy, devices):
            info = match(devices, self._query, request.direction)
            stream = PortAudioStream(self._host, copy, self.name, info, callback)
            try:
                stream.open(request)
            except BaseException:
                stream.close()
                raise
            return stream


def choose_buffersize(latency: float, rate: int) -> int:
    """Return a power of two of frames, 64 to 4096, that lasts at least `latency` seconds.

    512 where the device does not know its latency.
    """
    if not (math.isfinite(latency) and latency > 0):
        return 512
    frames = min(max(latency * rate, 64.0), 4096.0)
    return 1 << math.ceil(math.log2(frames))


def _instead(request: Request, info: DeviceInfo) -> dict[int, Iterator[tuple[str, int]]]:
    """What to try in place of what PortAudio refuses, by the number of its refusal."""
    most = min(info.channels(request.direction), MAX_CHANNELS)
    clamped = min(request.channels, most)
    counts = sorted({clamped, min(2, most), 1, most}, key=lambda n: (abs(n - clamped), -n))
    candidates = {
        INVALID_RATE: ("rate", (info.rate, 48000, 44100)),
        INVALID_CHANNELS: ("channels", counts),
        INVALID_FORMAT: ("encoding", (32, 16)),
    }
    return {
        code: iter([(name, n) for n in numbers if n > 0 and n != getattr(request, name)])
        for code, (name, numbers) in candidates.items()
    }


class PortAudioStream(DeviceStream):
    """One stream of a hardware device; see :class:`~audiostream.device.base.DeviceStream`.

    Every method but :meth:`alive` and :meth:`time` may block for the host's time limit
    (twice that for :meth:`close`).
    """

    def __init__(
        self,
        host: PortAudioHost,
        copy: Copy,
        name: str,
        info: DeviceInfo,
        callback: Callback,
    ) -> None:
        self._host = host
        self.copy = copy
        self._name = name
        self._info = info
        self._callback = callback
        self._raw: RawStream | None = None
        self._started = False
        self._closed: bool | None = None  # what close() returned
        self._given_back = False
        self._when_closed: Callable[[], None] | None = None
        self._last_time = 0.0
        self._control = threading.RLock()  # one start, stop or close at a time
        # Held for the queries, which never block, and to forbid them: after that none
        # is under way while the stream is freed.
        self._guard = threading.Lock()
        self._reachable = False
        host.hold(self)

    def open(self, request: Request) -> None:
        """Open as close to `request` as the device can; once only."""
        path = callback_path()
        info, direction = self._info, request.direction
        low, high = info.latencies(direction)
        rate, channels, encoding = request.rate, request.channels, request.encoding
        instead = _instead(request, info)
        while True:
            frames = request.buffersize or choose_buffersize(low, rate)
            suggested = max(high, 2 * frames / rate)
            wanted = Parameters(rate, channels, encoding, frames, suggested)

            def attempt(wanted: Parameters = wanted) -> RawStream:
                # Kept from here on, so that an interrupted caller can still close it.
                self._raw = self.copy.library.open(
                    path, info.index, direction, wanted, self._callback
                )
                return self._raw

            try:
                if self._is_jack():
                    self._host.ask_jack(self.copy)
                raw = self._call("opening", attempt, quiet=True)
                break
            except TimeLimitError:
                raise
            except DeviceError as error:
                name, value = next(instead.get(error.code or 0, iter(())), ("", 0))
                if not name:
                    raise self._refusal(error, request) from error
                rate = value if name == "rate" else rate
                channels = value if name == "channels" else channels
                encoding = value if name == "encoding" else encoding
        latency = raw.latency if math.isfinite(raw.latency) else 0.0
        # JACK declares 0 for ports that lead to no hardware.  A block is heard after the one
        # that is being played.
        latency = min(latency if latency > 0 else frames / rate, MAX_LATENCY)
        self.parameters = Parameters(rate, channels, encoding, frames, latency)
        with self._guard:
            self._reachable = True

    def _refusal(self, error: DeviceError, request: Request) -> DeviceError:
        info = self._info
        asked = (
            f"{request.rate} Hz, {request.channels} channel(s), encoding {request.encoding}, "
            f"buffersize {request.buffersize}"
        )
        return DeviceError(
            f"{request.direction} device {self._name!r} ({info.name} [{info.api}]) did not "
            f"open at {asked}: {error}. It has {info.channels(request.direction)} channel(s) "
            f"and runs at {info.rate} Hz by itself. Try whether another program uses it or "
            'the sound server has ended, another device, or the virtual device "null"',
            error.code,
        )

    # -- control

    def start(self) -> None:
        self._host.check_process()
        with self._control:
            raw = self._open_stream("start")
            if not self._started:
                self._refuse_if_lost()
                self._call("starting", raw.start)
                self._started = True

    def stop(self) -> None:
        self._host.check_process()
        with self._control:
            raw = self._open_stream("stop")
            if self._started:
                self._refuse_if_lost()
                self._call("stopping", raw.stop)
                self._started = False

    def close(self) -> bool:
        if self._host.forked:
            return False
        with self._control:
            if self._closed is None:
                self._closed = self._close()
            return self._closed

    def _close(self) -> bool:
        if self._raw is not None and self._lost():
            self._abandon()
            return False
        with self._guard:
            self._reachable = False
        return self._give_back()

    def _give_back(self) -> bool:
        try:
            # Each is a call of its own, so that an abandoned stop that returns after
            # all (after 600 s, for a killed jackd) is not followed by a close, which
            # then aborts the process.
            if self._raw is None:
                self._call("awaiting", _nothing)  # an interrupted open ends before it
            if self._raw is not None and self._started:
                with contextlib.suppress(StatusError):  # what counts is whether it closes
                    self._call("stopping", self._raw.stop)
            if self._raw is not None:
                self._call("closing", self._close_raw)
        except TimeLimitError:
            return False
        except DeviceError:
            self._host.release(self, keep=True)
            return False
        self._let_go()
        return True

    def _close_raw(self) -> None:
        assert self._raw is not None
        self._raw.close()
        self._raw = None

    def _let_go(self) -> None:
        self._host.release(self)
        with self._guard:
            self._given_back = True
            function, self._when_closed = self._when_closed, None
        if function is not None:
            function()

    def when_closed(self, function: Callable[[], None]) -> None:
        with self._guard:
            if not self._given_back:
                self._when_closed = function
                return
        function()

    def detach(self) -> None:
        """Never touch PortAudio again; the callback may still run."""
        self._abandon()

    def free(self) -> None:
        """JACK's audio thread has ended: let go of what it may have touched."""
        if self._is_jack():
            # PyAudio keeps its streams itself, and would close one that is freed.
            self._raw = None
            self._let_go()

    def _abandon(self) -> None:
        with self._guard:
            self._reachable = False
        self._closed = False
        self._host.abandon(self)

    def _finish(self, doing: str) -> None:
        """Give everything back: a call that was abandoned has returned.  On its thread."""
        if self._is_jack():
            if doing == "opening":  # after that PortAudio aborts sooner or later
                self.copy.lose()
                return
            if not self._host.await_jack(self.copy):
                return  # this stream is left alone for good
        if doing in ("starting", "stopping"):
            self._started = doing == "starting"
        if doing != "closing":
            self._give_back()
        elif self._raw is None:
            self._let_go()
        else:  # it could not be closed
            self._host.release(self, keep=True)

    def _call(self, doing: str, function: Callable[[], T], quiet: bool = False) -> T:
        return self._host.call(
            f"{doing} {self._name!r}",
            function,
            quiet=quiet,
            abandoned=self._abandon,
            returned=lambda: self._finish(doing),
        )

    def _open_stream(self, doing: str) -> RawStream:
        if self._closed is not None or self._raw is None:
            raise StreamClosedError(
                f"cannot {doing} {self._name!r}: its stream is closed; open the device again"
            )
        return self._raw

    # -- queries

    def alive(self) -> bool:
        if self._host.forked:
            return False
        with self._guard:
            raw = self._raw
            if not self._reachable or raw is None or (self._is_jack() and self.copy.lost):
                return False
            return not self._started or raw.active() or raw.stopped()

    def time(self) -> float:
        """Seconds on the device's clock; on a closed stream, when it was last asked."""
        if not self._host.forked:
            with self._guard:
                # What it reads of a JACK server that has ended may be unmapped.
                lost = self._is_jack() and self.copy.lost
                if self._reachable and self._raw is not None and not lost:
                    self._last_time = self._raw.time()
        return self._last_time

    def _is_jack(self) -> bool:
        return self._info.api_type == JACK

    def _lost(self) -> bool:
        """Whether the JACK server has ended: every call on this stream would hang."""
        if self._is_jack() and not self.copy.lost and self._started and not self.alive():
            self.copy.lose()
        return self._is_jack() and self.copy.lost

    def _refuse_if_lost(self) -> None:
        if self._lost():
            self._abandon()
            raise DeviceError(
                f"{self._name!r} has ended: its JACK server is gone; start the "
                "server and open the device again"
            )


def _nothing() -> None:
    """What runs after all that the worker had to do before."""
