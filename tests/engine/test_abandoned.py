"""What a stream keeps while its device hangs, and gives back once that has closed after all."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable

import pytest

from audiostream.device.base import Callback, Device, DeviceStream, Parameters, Request
from audiostream.engine.output import Output
from audiostream.engine.watchdog import WATCHDOG
from audiostream.pcm import Format


class HangingStream(DeviceStream):
    """A stream that is abandoned when it is closed."""

    realtime = False
    later: Callable[[], None]

    def __init__(self, request: Request) -> None:
        self.parameters = Parameters(request.rate, request.channels, request.encoding, 64, 0.0)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> bool:
        return False

    def when_closed(self, function: Callable[[], None]) -> None:
        self.later = function

    def alive(self) -> bool:
        return True

    def time(self) -> float:
        return 0.0


class HangingDevice(Device):
    name = "hanging"

    def open(self, request: Request, callback: Callback) -> HangingStream:
        self.stream = HangingStream(request)
        return self.stream


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_an_abandoned_stream_is_freed_once_its_device_has_closed() -> None:
    device = HangingDevice()
    output = Output(Format(48000, 1, 16), 64, device)
    output.open()
    dropped, left = output.wakeups.add(), output.wakeups.add()
    # The callback that is under way never ends.
    record = output.record[0]
    record["entered"] = record["left"] + 1
    output.wakeups.drop(dropped)
    descriptors = [dropped.fd, left.fd]
    del dropped, left
    output.close()
    stream = weakref.ref(output)
    del output, record
    gc.collect()
    assert stream() is not None
    assert [is_open(number) for number in descriptors] == [True, True]
    assert stream() in WATCHDOG._kept
    device.stream.later()
    del device
    gc.collect()
    assert stream() is None
    assert [is_open(number) for number in descriptors] == [False, False]


def test_a_device_that_abandons_nothing_need_not_tell() -> None:
    class Plain(HangingStream):
        when_closed = DeviceStream.when_closed

    stream = Plain(Request("output", 48000, 1, 16, 64))
    stream.when_closed(lambda: pytest.fail("nothing was abandoned"))
