"""An output's final mix as an input: a device that the output's callback feeds; any thread."""

from __future__ import annotations

import threading

from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.engine.output import Output
from audiostream.forks import LOCKS

__all__ = ("Monitor",)


class Monitor(Device):
    """What an output plays, captured just where it is handed to the device.

    Parameters
    ----------
    output : Output
        Open.
    """

    def __init__(self, output: Output) -> None:
        self.name = "the output's monitor"
        self._output = output

    def open(self, request: Request, callback: Callback) -> DeviceStream:
        """Open at the output's own rate, channels, encoding and block size."""
        self._output.check()
        return MonitorStream(self._output, callback)


class MonitorStream(DeviceStream):
    """One capture of an output's mix."""

    smooth = True  # the output has seen to that

    def __init__(self, output: Output, callback: Callback) -> None:
        p = output.parameters
        self.parameters = Parameters(p.rate, p.channels, p.encoding, p.buffersize, 0.0)
        self.realtime = output.is_realtime
        self.epoch = output.clock.epoch
        self._output = output
        self._callback = callback
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)

    def start(self) -> None:
        with self._lock:
            self._output.add_monitor(self._callback)

    def stop(self) -> None:
        with self._lock:
            self._output.remove_monitor(self._callback)

    def close(self) -> bool:
        self.stop()
        return True

    def alive(self) -> bool:
        return self._output.is_closed or self._output.device_lives()  # a close ends monitors

    def time(self) -> float:
        return self._output.clock.now()
