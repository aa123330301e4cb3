"""``null``, ``file:PATH.wav`` and ``loopback:NAME``; called on caller threads.

All three are one thing: a :class:`Clock`, a thread that stays in compiled code, which asks
an output's callback for blocks and hands blocks to a file and to inputs' callbacks.  Only
what is plugged into it differs.  The clock is halted, for no more than a period, while
something is plugged in or out; a virtual device's time may stand still, so nothing is lost.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.device.portaudio.callback_path import VARIABLE, callback_path, through_python
from audiostream.device.wavfile import OPEN_FILES, WavFile
from audiostream.errors import AudioException, DeviceError, FormatError, NoDeviceError
from audiostream.soundfiles import open_sound

if TYPE_CHECKING:
    import numpy as np

__all__ = ("FileDevice", "LoopbackDevice", "NullDevice")

log = logging.getLogger("audiostream")

MAX_INPUTS = 64
"""Inputs that one loopback can serve."""


def period_of(request: Request) -> int:
    """The period in frames: as asked for, or the power of two nearest to 10 ms."""
    if request.buffersize > 0:
        return request.buffersize
    return 1 << round(math.log2(request.rate / 100))


class Clock:
    """The thread that moves a virtual device, and what is plugged into it.

    Parameters
    ----------
    parameters : Parameters
        What everything plugged in runs at.
    source : ndarray or None
        int16 or float32 (frames, channels): what the inputs hear when no output is there.
    """

    def __init__(self, parameters: Parameters, source: np.ndarray | None = None) -> None:
        import numpy as np

        from audiostream.realtime.memory.layout import TIME_INFO
        from audiostream.realtime.memory.unit_layout import CLOCK

        self.parameters = parameters
        frame_bytes = parameters.channels * parameters.encoding // 8
        self._block = np.zeros(parameters.buffersize * frame_bytes, np.uint8)
        self._silence = np.zeros_like(self._block)
        self._captures = np.zeros((MAX_INPUTS, 2), np.int64)
        self._times = np.zeros(1, TIME_INFO)
        self._source = source
        self._clock: Any = np.zeros(1, CLOCK)
        record = self._clock[0]
        record["rate"] = parameters.rate
        record["period"] = parameters.buffersize
        record["frame_bytes"] = frame_bytes
        record["block"] = self._block.ctypes.data
        record["silence"] = self._silence.ctypes.data
        record["captures"] = self._captures.ctypes.data
        record["time_info"] = self._times.ctypes.data
        record["sink"] = -1
        if source is not None:
            record["source"] = source.ctypes.data
            record["source_frames"] = len(source)
        self._render: Callback | None = None
        self._inputs: list[Callback] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __getitem__(self, field: str) -> int:
        return int(self._clock[0][field])

    @contextmanager
    def _halted(self) -> Iterator[Any]:
        """The clock's record, while its thread stands still."""
        with self._lock:
            record = self._clock[0]
            if self._thread is not None:
                record["stop"] = 1
                # Out of alive()'s sight first: the watch may look at any time.
                thread, self._thread = self._thread, None
                thread.join()
            yield record
            if (self._render or self._inputs) and not record["ended"]:
                from audiostream.realtime.compile.kernels import kernels

                record["stop"] = 0
                thread = threading.Thread(
                    target=kernels().run_clock,
                    args=(self._clock.ctypes.data,),
                    name="audiostream virtual device",
                    daemon=True,
                )
                try:
                    thread.start()
                    self._thread = thread
                except RuntimeError:  # the interpreter ends
                    self._thread = None

    def plug_output(self, callback: Callback | None) -> None:
        """Have an output's callback fill the blocks; None: silence again."""
        with self._halted() as record:
            self._render = callback
            record["render"] = callback.address if callback else 0
            record["render_user"] = callback.user if callback else 0

    def plug_input(self, callback: Callback) -> None:
        """Give the blocks to one more callback."""
        with self._halted() as record:
            self._hear_with(record, [*self._inputs, callback])

    def unplug_input(self, callback: Callback) -> None:
        """Give it the blocks no longer."""
        with self._halted() as record:
            self._hear_with(record, [c for c in self._inputs if c is not callback])

    def _hear_with(self, record: Any, callbacks: list[Callback]) -> None:
        self._inputs = callbacks
        for row, callback in zip(self._captures, callbacks, strict=False):
            row[:] = callback.address, callback.user
        record["capture_count"] = len(callbacks)

    def pour_into(self, fd: int) -> None:
        """Write every rendered block to the file descriptor; -1: no longer."""
        with self._halted() as record:
            record["sink"] = fd

    def alive(self) -> bool:
        """False if the thread ended while it had something to do."""
        thread = self._thread
        return thread is None or thread.is_alive() or bool(self["ended"])


def _reachable(callback: Callback) -> Callback:
    """The callback, or a way to it through Python if that was asked for by hand."""
    if os.environ.get(VARIABLE) and callback_path() == "python":
        return through_python(callback)
    return callback


class VirtualStream(DeviceStream):
    """One side of a virtual device: plugs its callback into a clock."""

    smooth = True  # it is the clock of time.monotonic() itself

    def __init__(self, clock: Clock, request: Request, callback: Callback) -> None:
        self.parameters = clock.parameters
        self._clock = clock
        self._output = request.direction == "output"
        self._callback = callback
        self._started = False
        self._closed = False

    def start(self) -> None:
        if self._started or self._closed:
            return
        self._started = True
        if self._output:
            self._clock.plug_output(self._callback)
        else:
            self._clock.plug_input(self._callback)

    def stop(self) -> None:
        if not self._started:
            return
        self._started = False
        if self._output:
            self._clock.plug_output(None)
        else:
            self._clock.unplug_input(self._callback)

    def close(self) -> bool:
        self.stop()
        if not self._closed:
            self._closed = True
            self._release()
        return True

    def _release(self) -> None:
        """Give back what this kind of device holds."""

    def alive(self) -> bool:
        return self._clock.alive()

    def time(self) -> float:
        return time.monotonic()


def _as_asked(request: Request) -> Parameters:
    """What the request asks for; a block is heard during the period after it."""
    period = period_of(request)
    return Parameters(
        request.rate, request.channels, request.encoding, period, period / request.rate
    )


class NullDevice(Device):
    """A silent speaker and a silent microphone, on a real-time clock."""

    name = "null"

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        return VirtualStream(Clock(_as_asked(request)), request, _reachable(callback))


# --- file: -------------------------------------------------------------------------


class _FileSink(VirtualStream):
    """A speaker that renders to a WAV file, complete once it is closed."""

    def __init__(
        self, clock: Clock, request: Request, callback: Callback, file: WavFile
    ) -> None:
        super().__init__(clock, request, callback)
        self._file = file
        clock.pour_into(file.fd)
        file.keep_readable(lambda: clock["sink_bytes"])

    def _release(self) -> None:
        self._clock.pour_into(-1)
        self._file.complete(self._clock["sink_bytes"])
        lost = self._clock["sink_failed"]
        if lost:
            raise DeviceError(
                f"{lost} bytes could not be written; the file holds what came before: "
                "see that there is room on the disk"
            )

    def alive(self) -> bool:
        return super().alive() and not self._clock["sink_failed"]


class FileDevice(Device):
    """``file:PATH.wav``: a speaker that renders to a file, a microphone that plays one.

    The file is 16-bit integer, or 32-bit float for encoding 32 (a WAV file's 8-bit
    samples are unsigned, ours are not).  As a microphone the whole file is held in
    memory, at its own rate and channels; anything that libsndfile reads will do.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        path = Path(name.removeprefix("file:"))
        try:
            self.path = path.expanduser()
        except RuntimeError as error:
            raise NoDeviceError(
                f"{name!r} is in the home folder of a user who has none; "
                f"try file:./{path} for a folder of that name"
            ) from error

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        if request.direction == "output":
            return self._open_sink(request, callback)
        return self._open_source(request, callback)

    def _open_sink(self, request: Request, callback: Callback) -> DeviceStream:
        if self.path.suffix.lower() != ".wav":
            raise DeviceError(f"{self.name!r}: only WAV is written; try file:{self.path}.wav")
        encoding = 32 if request.encoding == 32 else 16
        p = replace(_as_asked(request), encoding=encoding)
        callback = _reachable(callback)  # may raise, and must not touch the file
        file = WavFile(self.path, p)
        try:
            return _FileSink(Clock(p), request, callback, file)
        except BaseException:
            file.close()
            raise

    def _open_source(self, request: Request, callback: Callback) -> DeviceStream:
        if self.path in OPEN_FILES:
            raise DeviceError(
                f"{str(self.path)!r} is being written by an output of this program; close that "
                'one first, or hear it while it plays: output.monitor(), or "loopback:NAME"'
            )
        if not self.path.is_file():
            raise NoDeviceError(
                f"there is no file {str(self.path)!r} to play as a microphone; "
                'check the path, or try "null"'
            )
        try:
            with open_sound(self.path) as file:
                whole = file.subtype in {"PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW"}
                source, damage = file.read_all("int16" if whole else "float32")
                rate, channels = file.rate, file.channels
        except FormatError:
            raise
        except AudioException as error:
            raise DeviceError(str(error)) from error
        if damage is not None:
            if not len(source):
                raise DeviceError(str(damage)) from damage
            log.warning("%s; what came before is played", damage)
        parameters = _as_asked(
            replace(request, rate=rate, channels=channels, encoding=16 if whole else 32)
        )
        return VirtualStream(Clock(parameters, source), request, _reachable(callback))


# --- loopback: ---------------------------------------------------------------------


class _Hub:
    """A loopback's clock and its users; the first of them decides its rate and format."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.users = 0
        self.has_output = False


class Hubs:
    """The loopbacks that are open in this process, by name; any thread."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            # The parent's are left out: their callbacks belong to its streams.
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin with none; also in a forked child, where no thread would release the locks."""
        self._hubs: dict[str, _Hub] = {}
        self._lock = threading.Lock()

    def enter(self, name: str, request: Request) -> Clock:
        """Return the clock of a loopback, made for the request if it is the first."""
        with self._lock:
            hub = self._hubs.get(name)
            output = request.direction == "output"
            if hub is None:
                hub = self._hubs[name] = _Hub(Clock(_as_asked(request)))
            elif output and hub.has_output:
                raise DeviceError(
                    f'"loopback:{name}" already has an output; close that one, '
                    "add samples to it, or use another name"
                )
            elif not output and hub.users - hub.has_output >= MAX_INPUTS:
                raise DeviceError(f'"loopback:{name}" already has {MAX_INPUTS} inputs')
            hub.users += 1
            hub.has_output |= output
            return hub.clock

    def leave(self, name: str, output: bool) -> None:
        """Give back one use; the last one ends the loopback."""
        with self._lock:
            hub = self._hubs[name]
            hub.users -= 1
            if output:
                hub.has_output = False
            if hub.users == 0:
                del self._hubs[name]


HUBS = Hubs()
"""The process's loopbacks: a name means the same device everywhere in it."""


class _LoopbackStream(VirtualStream):
    def __init__(self, clock: Clock, request: Request, callback: Callback, hub: str) -> None:
        super().__init__(clock, request, callback)
        self._hub = hub

    def _release(self) -> None:
        HUBS.leave(self._hub, self._output)


class LoopbackDevice(Device):
    """``loopback:NAME``: its inputs capture, bit for bit, what its output plays.

    Whichever side opens first decides the rate, channels, encoding and period; the
    others convert.  One output, up to 64 inputs; silence while there is no output.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._hub = name.removeprefix("loopback:")

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        callback = _reachable(callback)  # may raise, and must not use the hub up
        return _LoopbackStream(HUBS.enter(self._hub, request), request, callback, self._hub)
