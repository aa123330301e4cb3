"""The output for both worlds; event loop for what is awaited, caller thread for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import anyio.to_thread

from audiostream.aio.errors import StreamClosedError
from audiostream.aio.group import Group, group_of
from audiostream.aio.input import AudioInput
from audiostream.aio.sample import AudioSample
from audiostream.aio.sound import Playing, Sound, load
from audiostream.aio.stream import AudioStream
from audiostream.aio.wakeup import AsyncWakeups
from audiostream.checks import check_flag, shown
from audiostream.device.base import Device
from audiostream.engine.effects import Effects, check_units
from audiostream.engine.generator import GeneratorMemory
from audiostream.engine.monitor import Monitor
from audiostream.engine.output import Output
from audiostream.engine.sound import Playback
from audiostream.engine.voice import Voice
from audiostream.errors import FormatError
from audiostream.kernels.unit import Unit
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
        raise FormatError(
            f"sample={shown(sample)} is no sample; try an AudioSample() or a subclass of it"
        )
    return sample


def _limiters(wanted: bool) -> list[Unit]:
    """The limiter of an output, if it is to have one."""
    if not check_flag(wanted, "limiter"):
        return []
    from audiostream.dsp.limiting import limiter

    return [limiter()]


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
    effects : iterable of effects
        What the mix goes through; see :attr:`effects`.
    limiter : bool
        True: an :func:`audiostream.dsp.limiter` after these, so that many loud sounds at once
        do not clip.  It makes all 5 ms later.

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
        effects: Iterable[Unit] = (),
        limiter: bool = False,
    ) -> None:
        format = Format(rate, channels, encoding)
        super().__init__(Output(format, buffersize, device, voices, StreamClosedError))
        self._wakeups = AsyncWakeups(self._stream, self._stream.slots.count)
        self.effects = [*check_units(effects), *(_limiters(limiter))]

    # --- samples -----------------------------------------------------------------

    def sample(
        self,
        rate: int | None = None,
        channels: int | None = None,
        encoding: int | str | None = None,
        buffer: float = 0.25,
        *,
        prebuffer: float | str = 0.0,
        on_starve: str = "silence",
        quality: str = "high",
        matrix: Any = None,
        group: Group | None = None,
        effects: Iterable[Unit] = (),
    ) -> AudioSample:
        """Make an attached, playing sample for coroutines.

        Parameters
        ----------
        rate, channels : int, optional
            What will be written, converted on the way in; the output's own if not given.
        encoding : int or str, optional
            Of bytes that will be written: 8, 16, 32, or a name such as "s24", "s16be", "f64",
            "ulaw" or "alaw"; see :mod:`audiostream.pcm`.
        buffer : float
            Seconds of audio that its ring holds, up to 120.
        prebuffer : float or "adaptive"
            Seconds that are written before it starts, or all of an utterance that has ended.
            "adaptive" begins with 0.06, grows after shortages up to 1.0, and shrinks again.
        on_starve : str
            What it does where it has starved: "silence" plays on as soon as there is more,
            "rebuffer" waits for its prebuffer again.
        quality : str
            Of the rate's conversion: "high"; "live", with at most 3 ms of delay; or "soxr".
        matrix : array_like, optional
            Of shape (the output's channels, channels): how loud each channel that is written
            is in each of the output's.  If not given, one channel goes to all, many to one
            are their mean, otherwise channel ``i`` goes to ``i % channels``.
        group : Group, optional
            What it plays into; see :meth:`group`.
        effects : iterable of effects
            What it goes through, from its first frame on.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        KernelError
            If an effect cannot run on the audio thread.
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
        voice = Voice(
            self._stream,
            format,
            buffer,
            prebuffer=prebuffer,
            on_starve=on_starve,
            quality=quality,
            matrix=matrix,
            group=group_of(group),
            effects=self._effects(effects),
        )
        voice.play()
        return AudioSample(self, voice, owner=True)

    def load(self, sound: Any, rate: int | None = None, *, matrix: Any = None) -> Sound:
        """Load a sound into memory, to be played any number of times at once; blocks.

        In a coroutine, use :meth:`aload`.  A sound at another rate than the device's that is
        longer than a second is kept twice, as it is and for a loop.

        Parameters
        ----------
        sound : ndarray, str, PathLike, bytes-like or binary file object
            int8, int16 or float32 of shape (frames,) or (frames, channels), or a file that
            soundfile reads: its path, what it holds, or the open file, which is read from its
            beginning and left open.
        rate : int, optional
            Of an array (Hz); the output's own if not given.
        matrix : array_like (device channels, channels of the sound), optional
            How loud each channel of the sound is in each of the device's.  A file's are in the
            order of WAV and FLAC.  None: files of three channels or more are mixed to stereo or
            mono by ITU-R BS.775; others as what is written to a sample.

        Raises
        ------
        AudioException
            If the file cannot be read, or is damaged, or soundfile is not installed.
        FormatError
            For an array of another shape or dtype, an empty sound, a matrix that does not fit,
            or a file whose rate is outside 1,000 to 768,000 Hz.
        StreamClosedError
            If the output is not open.
        """
        self._stream.check()
        loaded = load(self, sound, rate, matrix=matrix)
        loaded._prepare_plays()
        return loaded

    async def aload(self, sound: Any, rate: int | None = None, *, matrix: Any = None) -> Sound:
        """:meth:`load` in a worker thread; the event loop goes on meanwhile.

        Cancelled, it returns when the file has been read; nothing is left of it then.
        """
        self._stream.check()
        reading = partial(load, self, sound, rate, matrix=matrix)
        loaded = await anyio.to_thread.run_sync(reading)
        await loaded._aprepare_plays()
        return loaded

    def play(
        self,
        generator: Unit,
        at: float | None = None,
        *,
        gain: float = 1.0,
        pan: float = 0.0,
        group: Group | None = None,
        effects: Iterable[Unit] = (),
    ) -> Playing:
        """Play a generator, an instance of a kernel that makes sound; any thread.

        It plays until :meth:`Playing.stop`, or until it ends by itself, also when its handle is
        dropped.  Its parameters move while it plays: ``osc.frequency = 220``.  A kernel that
        was not used before is compiled first.  On an event loop a thread does that, and it
        plays when it is ready; await ``osc.ready(speaker)`` before.

        Parameters
        ----------
        generator : instance of a kernel
            Such as ``audiostream.dsp.saw(frequency=440)``; it plays once at a time.
        at, gain, pan, group, effects
            As for :meth:`Sound.play`.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        KernelError
            If it cannot run on the audio thread.
        AudioException
            If it plays already; if all voices of the output are in use; or with `at` on an
            event loop, if it is not compiled yet.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        self._stream.check()
        into, chain = group_of(group), self._effects(effects)
        memory = GeneratorMemory(self._stream, generator, at)
        return Playing(self, Playback(memory, at, gain, pan, False, into, chain))

    def group(self, gain: float = 1.0, *, effects: Iterable[Unit] = ()) -> Group:
        """Make a group (a bus): samples and sounds with a fader, a clear and a meter in common.

        Parameters
        ----------
        gain : float
            To begin with, 0 to 1000.
        effects : iterable of effects
            What the sum goes through.

        Raises
        ------
        FormatError
            If `gain` is out of bounds.
        KernelError
            If an effect cannot run on the audio thread.
        AudioException
            If the output has 64 groups already.
        StreamClosedError
            If the output is not open.
        """
        self._stream.check()
        return Group(self, gain, self._effects(effects))

    def _effects(self, units: Iterable[Unit]) -> Effects | None:
        """A list of effects, compiled if the caller may wait; None if there are none."""
        effects = Effects(units, self._stream.may_wait)
        if not effects:
            return None
        effects.prepare(self._stream)
        return effects

    def monitor(
        self,
        rate: int | None = None,
        channels: int | None = None,
        encoding: int | None = None,
        buffersize: int = -1,
    ) -> AudioInput:
        """Make an input that hears the final mix, as it is handed to the device.

        For ``async with``, as :func:`get_input`'s; its ``chunk_time`` is when a chunk is heard,
        on the output's clock.  It ends when the output closes.

        Parameters
        ----------
        rate, channels, encoding : int, optional
            Converted to these; the output's own if not given.
        buffersize : int
            Frames of a chunk; about 20 ms if 0 or less.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        StreamClosedError
            If the output is not open.
        """
        self._stream.check()
        return AudioInput(
            source=Monitor(self._stream),
            rate=self.rate if rate is None else rate,
            channels=self.channels if channels is None else channels,
            encoding=self.encoding if encoding is None else encoding,
            buffersize=buffersize,
        )

    def add_sample(self, sample: Sample) -> None:
        """Have the mixer carry a sample.  Idempotent.

        Raises
        ------
        AudioException
            If all voices are in use, or the sample is on another output.
        StreamClosedError
            If the output is closed.
        FormatError
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
    effects: Iterable[Unit] = (),
    limiter: bool = False,
) -> AudioOutput:
    """Make an output for ``async with`` (or ``await output.open()``).

    Any number may be open at a time.  See :class:`AudioOutput` for the arguments.
    """
    return AudioOutput(
        rate,
        channels,
        encoding,
        buffersize,
        device=device,
        voices=voices,
        effects=effects,
        limiter=limiter,
    )
