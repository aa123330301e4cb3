"""The output for both worlds; event loop for what is awaited, caller thread for the rest."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any, Protocol

import anyio
import anyio.to_thread

from audiostream.aio.errors import StreamClosedError
from audiostream.aio.loopbell import LoopBells
from audiostream.aio.sample import AudioSample
from audiostream.device.base import Device
from audiostream.engine.lifetime import close_later
from audiostream.engine.output import Output
from audiostream.engine.stream import Stats
from audiostream.engine.voice import Voice
from audiostream.pcm import Format

__all__ = ("AudioOutput", "Sample", "get_output")


class Sample(Protocol):
    """What an output can carry: a blocking or an asyncio sample."""

    def attach(self, output: AudioOutput) -> None:
        """Take a voice of the output."""

    def detach(self, output: AudioOutput) -> None:
        """Give it back, if it is that output's."""


def _checked(sample: Sample) -> Sample:
    if not hasattr(sample, "attach") or isinstance(sample, type):
        raise TypeError(f"{sample!r} is no sample; add an AudioSample() or a subclass of it")
    return sample


class AudioOutput:
    """An output device and the samples that it mixes.

    Made by :func:`get_output`.  One stream serves samples on any number of event loops
    and threads.

    Parameters
    ----------
    rate : int
        Frames per second (Hz), 1,000 to 768,000.
    channels : int
        1 to 64.
    encoding : int
        What the device is given: 8 or 16 (signed integers), 32 (float).
    buffersize : int
        Frames of a block; 0: the system's choice, which the attribute then tells.
    device : str, int or Device
        A PortAudio device's name, part of it or index, ``"default"``, ``"null"``,
        ``"file:PATH.wav"``, ``"loopback:NAME"`` or a ``ManualDevice``.
    voices : int
        Samples that may be attached at a time.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    """

    def __init__(
        self,
        rate: int = 44100,
        channels: int = 2,
        encoding: int = 16,
        buffersize: int = 1024,
        *,
        device: str | int | Device = "default",
        voices: int = 256,
    ) -> None:
        format = Format(rate, channels, encoding)
        self._stream = Output(format, buffersize, device, voices, StreamClosedError)
        self.bells = LoopBells(self._stream, 2 * voices)
        self._async = False

    # --- from open to closed -----------------------------------------------------

    def open_blocking(self) -> AudioOutput:
        """Open the device and start it; blocks, seconds where kernels must be compiled.

        Raises
        ------
        NoDeviceError, DeviceError
            If there is no such device or it cannot be opened.
        """
        try:
            self._stream.open()
            self._stream.start()
        except BaseException:
            self._stream.close()
            raise
        return self

    async def open(self) -> AudioOutput:
        """Open the device and start it, without blocking the event loop.

        Raises
        ------
        NoDeviceError, DeviceError
            If there is no such device or it cannot be opened.
        """
        self._async = True
        try:
            await anyio.to_thread.run_sync(self.open_blocking)
        except BaseException:
            # asyncio's own cancellation does not wait for the thread: it closes what it opens.
            close_later(self._stream)
            raise
        return self

    def close(self) -> None:
        """Fade out (5 ms), stop and close; twice is harmless.  Blocks for a bounded time.

        What is queued is dropped, and waiting writes raise StreamClosedError.
        """
        self._stream.close()

    async def aclose(self) -> None:
        """:meth:`close` without blocking the event loop; ``drain`` first to finish."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._stream.close)

    async def __aenter__(self) -> AudioOutput:
        return await self.open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __enter__(self) -> AudioOutput:
        return self.open_blocking()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None and stream.is_open and not stream.is_closed:
            if self._async:
                warnings.warn(
                    f"{self!r} was dropped without being closed; use `async with`, or "
                    "`await` its aclose()",
                    ResourceWarning,
                    source=self,
                    stacklevel=2,
                )
            close_later(stream)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open" if self._stream.is_open else "new"
        return f"<AudioOutput {self._stream.device!r}, {self._stream.format}, {state}>"

    # --- samples -----------------------------------------------------------------

    def sample(
        self,
        rate: int | None = None,
        channels: int | None = None,
        encoding: int | None = None,
        buffer: float = 0.25,
    ) -> AudioSample:
        """Make an attached, playing sample for coroutines.

        Parameters
        ----------
        rate, channels, encoding : int, optional
            What will be written, converted on the way in; the output's own if not given.
        buffer : float
            Seconds of audio that its ring holds, up to 120.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        AudioException
            If all voices are in use.
        StreamClosedError
            If the output is not open.
        """
        own = self._stream.format
        format = Format(
            own.rate if rate is None else rate,
            own.channels if channels is None else channels,
            own.encoding if encoding is None else encoding,
        )
        self._stream.check()
        voice = Voice(self._stream, format, buffer)
        voice.play()
        return AudioSample(self, voice)

    def add_sample(self, sample: Sample) -> None:
        """Have the mixer carry a sample.  Idempotent.

        Raises
        ------
        AudioException
            If all voices are in use, or the sample is on another output.
        StreamClosedError
            If the output is closed.
        TypeError
            If it is no sample.
        """
        _checked(sample).attach(self)

    def remove_sample(self, sample: Sample) -> None:
        """Take a sample off the mixer, fading out; frees its slot.  Idempotent."""
        _checked(sample).detach(self)

    # --- what it is --------------------------------------------------------------

    @property
    def engine(self) -> Output:
        """The engine's side of this output, for those who build on it."""
        return self._stream

    @property
    def is_closed(self) -> bool:
        """True once it is closed."""
        return self._stream.is_closed

    @property
    def rate(self) -> int:
        """Frames per second (Hz), as asked for."""
        return self._stream.format.rate

    @property
    def channels(self) -> int:
        """Channels, as asked for."""
        return self._stream.format.channels

    @property
    def encoding(self) -> int:
        """8, 16 or 32, as asked for."""
        return self._stream.format.encoding

    @property
    def buffersize(self) -> int:
        """Frames of a block: as asked for, or the size in use where that was 0."""
        if self._stream.buffersize == 0 and self._stream.is_open:
            return self._stream.parameters.buffersize
        return self._stream.buffersize

    @property
    def device_rate(self) -> int:
        """The rate (Hz) that the device runs at; samples are converted to it."""
        return self._stream.parameters.rate if self._stream.is_open else self.rate

    @property
    def device_channels(self) -> int:
        """The channels that the device runs with; samples are converted to them."""
        return self._stream.parameters.channels if self._stream.is_open else self.channels

    @property
    def time(self) -> float:
        """Seconds on the device's clock."""
        return self._stream.now()

    @property
    def latency(self) -> float:
        """Seconds from a block's mixing to its being heard, as the device declares."""
        return self._stream.parameters.latency if self._stream.is_open else 0.0

    @property
    def stats(self) -> Stats:
        """Counters since it was opened."""
        return self._stream.stats()


def get_output(
    rate: int = 44100,
    channels: int = 2,
    encoding: int = 16,
    buffersize: int = 1024,
    *,
    device: Any = "default",
    voices: int = 256,
) -> AudioOutput:
    """Make an output for ``async with`` (or ``await output.open()``).

    Any number may be open at a time.  See :class:`AudioOutput` for the arguments.
    """
    return AudioOutput(rate, channels, encoding, buffersize, device=device, voices=voices)
