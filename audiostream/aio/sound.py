"""One-shot sounds: loaded once, played any number of times; any thread, awaited on a loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import numpy as np

from audiostream.aio.group import Group, group_of
from audiostream.aio.sealed import Sealed
from audiostream.aio.sources.convert import Converter
from audiostream.aio.sources.file import load_file
from audiostream.checks import check_number, check_times, shown
from audiostream.engine.intake import (
    Samples,
    as_array,
    channels_of,
    check_matrix,
    of_array,
    remixed,
    spread,
)
from audiostream.engine.meter import peak_of, warn_if_too_loud
from audiostream.engine.output import FADE
from audiostream.engine.sound import Shot, SoundMemory, in_a_circle
from audiostream.errors import FormatError
from audiostream.forks import LOCKS
from audiostream.pcm import Format
from audiostream.soundfiles import is_sound_file

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("Playing", "Sound", "load")

KEPT = 16
"""Speeds of a sound that are kept in memory."""


class Playing:
    """One playing of a :class:`Sound`: a small handle, which may be dropped.

    The sound then plays on, and a loop does so until its group is cleared or its output closed.
    One that is paused is over when its handle is dropped.

    Attributes
    ----------
    late : float
        Seconds by which it was asked for too late; 0.0 without `at`.
    """

    __slots__ = ("_output", "_shot", "late")

    def __init__(self, output: AudioOutput, shot: Shot) -> None:
        self._output = output
        self._shot = shot
        self.late = shot.late

    def stop(self, at: float | None = None, *, fade: float = FADE) -> float:
        """Fade out over `fade` seconds and be over, at once or at a time; any thread.

        Stopped before the time that it was to play at, it never starts.

        Returns
        -------
        float
            Seconds by which `at` is past; it then happens at once.
        """
        return self._shot.stop(at, fade)

    def fade(
        self, gain: float, seconds: float, curve: str = "linear", at: float | None = None
    ) -> float:
        """Move the gain; see the same method of a sample.  Any thread."""
        return self._shot.fade(gain, seconds, curve, at)

    def pan(self, pan: float) -> None:
        """Move between left (-1) and right (1); any thread."""
        self._shot.set_pan(pan)

    def pause(self, at: float | None = None) -> float:
        """Fade out over 5 ms and stand still; any thread."""
        return self._shot.pause(at)

    def resume(self, at: float | None = None) -> float:
        """Fade in where a pause has left; any thread."""
        return self._shot.resume(at)

    @property
    def is_finished(self) -> bool:
        """True once its last frame was heard, or it was stopped, or its output closed."""
        return self._shot.is_over()

    def __del__(self) -> None:
        self._shot.is_dropped = True  # it plays on

    async def finished(self) -> bool:
        """Wait until it is finished; False if it was cut before its last frame was heard.

        Raises
        ------
        DeviceError
            If the output's device goes meanwhile.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        if not self._shot.is_over():
            bell = self._output.bells.here()
            self._shot.use_bell(bell.bell)
            while not self._shot.arm_over():
                self._output.engine.check_alive()
                await bell.wait(self._shot.slot)
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return not self._shot.was_cut()


class Sound(Sealed):
    """A sound in memory, as its output plays it; made by :meth:`AudioOutput.load`.

    Attributes
    ----------
    rate : int
        Frames per second (Hz) that it was loaded from.
    frames : int
        At the device's rate.
    """

    __slots__ = ("frames", "rate")

    def __init__(self, output: AudioOutput, samples: np.ndarray, rate: int) -> None:
        warn_if_too_loud(peak_of(samples))
        self._output = output
        self._samples = samples
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)
        self.rate = rate
        self._memories: dict[tuple[float, bool], SoundMemory] = {}
        self.frames = self._memory(1.0).frames

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self._output.device_rate

    def prepare(self, rate: float, loop: bool = False) -> None:
        """Have it at hand at another speed, which takes some milliseconds the first time.

        Parameters
        ----------
        rate : float
            As for :meth:`play`.
        loop : bool
            True: to be played in a loop.
        """
        speed = check_number(rate, "rate", 0.05, 20, "1.0 is as it was loaded")
        self._memory(speed, check_times(loop, "loop") != 1)

    def _memory(self, speed: float, loop: bool = False) -> SoundMemory:
        key = speed, loop and round(self.rate * speed) != self._output.device_rate
        with self._lock:
            memory = self._memories.get(key)
            if memory is None:
                memory = SoundMemory(self._output.engine, self._at_speed(*key))
                while len(self._memories) >= KEPT:  # the oldest, but not as it was loaded
                    del self._memories[list(self._memories)[1]]
                self._memories[key] = memory
        return memory

    def _at_speed(self, speed: float, loop: bool) -> np.ndarray:
        """The device's float32 (frames, channels), so much faster and higher."""
        parameters = self._output.engine.parameters
        target = Format(parameters.rate, parameters.channels, 32)
        source = round(self.rate * speed)
        channels = self._samples.shape[1]
        if loop:  # its end goes on at its beginning, where others come out of silence
            frames = max(round(len(self._samples) * target.rate / source), 1)
            samples = in_a_circle(self._samples, frames)
            kernels = self._output.engine.kernels
            return Converter(target.rate, channels, target, kernels).convert(samples)
        converter = Converter(source, channels, target, self._output.engine.kernels)
        return converter.convert(self._samples, last=True)

    def play(
        self,
        at: float | None = None,
        *,
        gain: float = 1.0,
        pan: float = 0.0,
        loop: bool | int = False,
        rate: float = 1.0,
        group: Group | None = None,
    ) -> Playing:
        """Play it once more, beside what plays of it already; any thread.

        Parameters
        ----------
        at : float, optional
            Seconds on the output's clock, on whose frame it starts exactly; in the next block
            if not given, and if it is past.
        gain : float
            0 to 1000.
        pan : float
            -1 left, 0 in the middle, 1 right, on a stereo output, at equal power.
        loop : bool or int
            True: over and over until it is stopped; a number: so many times.  At another rate
            than the device's a loop is so converted that its end runs into its beginning, and
            lasts a whole number of the device's frames.
        rate : float
            How much faster, and so higher, 0.05 to 20.  Each speed is converted once, which
            takes some milliseconds; :meth:`prepare` does that beforehand.
        group : Group, optional
            What it plays into; see :meth:`AudioOutput.group`.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        AudioException
            If all voices of the output are in use.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        speed = check_number(rate, "rate", 0.05, 20, "1.0 is as it was loaded")
        into = group_of(group)
        memory = self._memory(speed, check_times(loop, "loop") != 1)
        return Playing(self._output, Shot(memory, at, gain, pan, loop, into))


def load(
    output: AudioOutput, sound: Any, rate: int | None = None, *, matrix: Any = None
) -> Sound:
    """See :meth:`AudioOutput.load`."""
    sound = as_array(sound)
    kernels, outputs = output.engine.kernels, output.engine.parameters.channels
    if isinstance(sound, np.ndarray):
        rate = output.rate if rate is None else rate
        channels = channels_of(sound)
        given = of_array(sound, Format(rate, channels, 32)).first(len(sound))
        block = spread(kernels, given, channels)
        samples = block.data.reshape(-1, channels).copy()
        np.nan_to_num(samples, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
        if matrix is not None:
            table = check_matrix(matrix, outputs, channels)
            samples = remixed(kernels, Samples(samples, channels, 32), table).data
    elif is_sound_file(sound):
        if rate is not None:
            raise FormatError("rate= is for arrays; a file says its own")
        samples, rate = load_file(sound, kernels, outputs, matrix)
    else:
        raise FormatError(
            f"sound={shown(sound)} is none; try a numpy array, a path, or what a sound file "
            "holds, as bytes"
        )
    if not len(samples):
        raise FormatError("the sound is empty; load one frame at least")
    return Sound(output, samples, rate)
