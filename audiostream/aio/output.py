"""The output for both worlds; event loop for what is awaited, caller thread for the rest."""

from __future__ import annotations

from typing import Any, Protocol

from audiostream.aio.errors import StreamClosedError
from audiostream.aio.loopbell import LoopBells
from audiostream.aio.sample import AudioSample
from audiostream.aio.stream import AudioStream
from audiostream.device.base import Device
from audiostream.engine.output import Output
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


class AudioOutput(AudioStream[Output]):
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
        super().__init__(Output(format, buffersize, device, voices, StreamClosedError))
        self.bells = LoopBells(self._stream, 2 * voices)

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
    def buffersize(self) -> int:
        """Frames of a block: as asked for, or the size in use where that was 0."""
        if self._stream.buffersize == 0 and self._stream.is_open:
            return self._stream.parameters.buffersize
        return self._stream.buffersize


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
