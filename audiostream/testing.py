"""For tests: the manual device, and the conformance suite of devices; caller thread.

:class:`ManualDevice` is a speaker and a microphone in virtual time, so that a test steps
where it would have slept.  :class:`DeviceConformance` is the suite that every device of
this library passes: hardware, virtual and manual.  Run it on a device of your own, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from audiostream.checks import check_callable, check_flag, check_number
from audiostream.device.base import Device
from audiostream.device.manual import Fault, ManualDevice
from audiostream.device.names import check_name
from audiostream.engine.capture import Capture
from audiostream.engine.output import Output
from audiostream.engine.stream import Stream
from audiostream.engine.voice import Voice
from audiostream.pcm import Format, check_buffersize

__all__ = ("DeviceConformance", "Fault", "ManualDevice")

Check = Callable[["DeviceConformance"], None]


class DeviceConformance:
    """The conformance suite, to be run on one device.

    Parameters
    ----------
    device : str, int or Device
        What is tested, as given to ``device=`` and ``source=``.
    rate, channels, encoding, buffersize : int
        What is asked of it.
    output, input : bool
        Whether it can play, and record.
    echo : bool
        Whether its input captures, bit for bit, what its output plays.
    advance : callable, optional
        Moves the device's time by a few periods; by default it sleeps for 5 ms.
    limit : float
        Seconds of real time that anything may take.

    Examples
    --------
    With pytest::

        @pytest.mark.parametrize("check", DeviceConformance.checks(), ids=lambda c: c.__name__)
        def test_my_device(check):
            check(DeviceConformance("null"))
    """

    def __init__(
        self,
        device: str | int | Device,
        rate: int = 48000,
        channels: int = 2,
        encoding: int = 16,
        buffersize: int = 512,
        *,
        output: bool = True,
        input: bool = True,
        echo: bool = False,
        advance: Callable[[], object] = lambda: time.sleep(0.005),
        limit: float = 20.0,
    ) -> None:
        self.device = check_name(device, "device")
        self.format = Format(rate, channels, encoding)
        self.buffersize = check_buffersize(buffersize)
        self.output = check_flag(output, "output")
        self.input = check_flag(input, "input")
        self.echo = check_flag(echo, "echo")
        self.advance = check_callable(advance, "advance", "of no arguments")
        self.limit = check_number(limit, "limit", 0, 86400, "in seconds, try 20")

    @classmethod
    def checks(cls) -> list[Check]:
        """All checks, each to be called with a suite; a check that fails raises."""
        return [getattr(cls, name) for name in dir(cls) if name.startswith("check_")]

    def run(self) -> list[str]:
        """Run every check; the names of those run."""
        for check in self.checks():
            check(self)
        return [check.__name__ for check in self.checks()]

    # --- helpers -----------------------------------------------------------------

    def _streams(self) -> list[Callable[[], Stream]]:
        made: list[Callable[[], Stream]] = []
        if self.output:
            made.append(lambda: Output(self.format, self.buffersize, self.device))
        if self.input:
            made.append(lambda: Capture(self.format, self.buffersize, self.device))
        return made

    @contextmanager
    def _opened(self) -> Iterator[list[Stream]]:
        """One stream after the other: a device may only do one at a time."""
        streams: list[Stream] = []
        try:
            yield streams
        finally:
            for stream in streams:
                stream.close()

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self.limit
        while not condition():
            self.advance()
            assert time.monotonic() < end, f"within {self.limit} s: {what}"

    def _moves(self, stream: Stream) -> None:
        before = stream.stats().frames
        wanted = before + 4 * stream.parameters.buffersize
        self._until(
            lambda: stream.stats().frames >= wanted or stream.has_ended(), "callbacks come"
        )

    # --- checks ------------------------------------------------------------------

    def check_parameters(self) -> None:
        """An open stream has its parameters, and does not run yet."""
        for make in self._streams():
            with self._opened() as streams:
                stream = make()
                streams.append(stream)
                stream.open()
                parameters = stream.parameters
                assert parameters.rate > 0
                assert parameters.channels > 0
                assert parameters.encoding in (8, 16, 32)
                assert parameters.buffersize > 0
                assert 0 <= parameters.latency <= 10
                self.advance()
                assert stream.stats().callbacks == 0

    def check_start_stop(self) -> None:
        """Callbacks come after a start and none after a stop; both may be repeated."""
        for make in self._streams():
            with self._opened() as streams:
                stream = make()
                streams.append(stream)
                stream.open()
                stream.stop()
                for _ in range(2):
                    stream.start()
                    stream.start()
                    self._moves(stream)
                    stream.stop()
                    stream.stop()
                    still = stream.stats()
                    self.advance()
                    self.advance()
                    assert stream.stats() == still

    def check_close(self) -> None:
        """Closing works at once, twice, without a start, and while it runs."""
        for make in self._streams():
            for started in (False, True):
                stream = make()
                stream.open()
                if started:
                    stream.start()
                    self._moves(stream)
                stream.close()
                stream.close()
                still = stream.stats()
                self.advance()
                assert stream.stats() == still

    def check_clock(self) -> None:
        """The device's time moves on, and never back."""
        for make in self._streams():
            with self._opened() as streams:
                stream = make()
                streams.append(stream)
                stream.open()
                stream.start()
                times = [stream.clock.now()]
                for _ in range(4):
                    self._moves(stream)
                    times.append(stream.clock.now())
                assert times == sorted(times)
                assert times[-1] > times[0]

    def check_alive(self) -> None:
        """A stream that runs, or was stopped, is not taken for a dead one."""
        for make in self._streams():
            with self._opened() as streams:
                stream = make()
                streams.append(stream)
                stream.open()
                stream.start()
                self._moves(stream)
                stream.check()
                stream.stop()
                stream.check()

    def check_heard(self) -> None:
        """All that is written is heard: the position arrives, and the counts agree."""
        if not self.output:
            return
        with self._opened() as streams:
            output = Output(self.format, self.buffersize, self.device)
            streams.append(output)
            output.open()
            voice = Voice(output, self.format, buffer=1.0)
            voice.play()
            output.start()
            frames = 2 * self.buffersize + 1
            block = np.zeros((frames, self.format.channels), np.int16)
            assert voice.write_nowait(block) == frames
            voice.end()
            self._until(lambda: voice.counts().position == frames, "all is heard")
            counts = voice.counts()
            assert (counts.written, counts.buffered, counts.cleared) == (frames, 0, 0)

    def check_echo(self) -> None:
        """The input captures, bit for bit, what the output plays."""
        if not self.echo:
            return
        dtype = np.dtype(self.format.dtype)
        rng = np.random.default_rng(7)
        shape = (8 * self.buffersize + 3, self.format.channels)
        if dtype.kind == "i":
            info = np.iinfo(dtype)
            signal = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        else:
            signal = rng.uniform(-1, 1, shape).astype(dtype)
        signal[0] = 1  # so that its beginning can be found
        with self._opened() as streams:
            output = Output(self.format, self.buffersize, self.device)
            streams.append(output)
            capture = Capture(self.format, self.buffersize, self.device, queue=60.0)
            streams.append(capture)
            output.open()
            capture.open()
            output.start()
            capture.start()
            self._moves(capture)
            voice = Voice(output, self.format, buffer=60.0)
            voice.write_nowait(signal)
            voice.end()
            voice.play()
            heard = bytearray()
            size = capture.buffersize * self.format.frame_bytes
            silence = 0

            def collected() -> bool:
                nonlocal silence
                while (data := capture.take_bytes(size)) is not None:
                    heard.extend(data)
                    # Two buffers of silence after it: the signal is through.
                    silence = silence + 1 if heard.strip(b"\0") and not any(data) else 0
                return silence >= 2

            self._until(collected, "the signal comes back")
            samples = np.frombuffer(bytes(heard), dtype).reshape(-1, self.format.channels)
            start = int(np.flatnonzero(samples.any(axis=1))[0])
            assert np.array_equal(samples[start : start + len(signal)], signal)
