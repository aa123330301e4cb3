"""One-shot sounds: loaded once, played any number of times; any thread, awaited on a loop."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import anyio.to_thread
import numpy as np

from audiostream.aio.group import Group, group_of
from audiostream.aio.sealed import Sealed
from audiostream.aio.sources.file import load_file
from audiostream.checks import check_flag, check_number, check_times, shown
from audiostream.engine.effects import Effects
from audiostream.engine.meter import Level, peak_of, warn_if_too_loud
from audiostream.engine.sample_input import (
    Samples,
    as_array,
    channels_of,
    check_matrix,
    of_array,
    remixed,
    spread,
)
from audiostream.engine.sound import Playback, SoundMemory, preparation
from audiostream.engine.strip import FADE
from audiostream.errors import AudioException, FormatError
from audiostream.forks import LOCKS
from audiostream.kernels.unit import Unit
from audiostream.pcm import Format
from audiostream.soundfiles import is_sound_file

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("Playing", "Sound", "load")

KEPT = 14
"""Preparations of a sound for other speeds that are kept in memory."""

AT_ONCE = 1.0
"""Seconds of a sound, as loaded and as played, that are converted while the caller waits."""


class Playing:
    """One playing of a :class:`Sound`: a small handle, which may be dropped.

    The sound then plays on, and a loop does so until its group is cleared or its output closed.
    One that is paused is over when its handle is dropped.

    Attributes
    ----------
    late : float
        Seconds by which it was asked for too late; 0.0 without `at`.
    """

    __slots__ = ("_output", "_playback", "late")

    def __init__(self, output: AudioOutput, playback: Playback) -> None:
        self._output = output
        self._playback = playback
        self.late = playback.late

    def stop(self, at: float | None = None, *, fade: float = FADE) -> float:
        """Fade out over `fade` seconds and be over, at once or at a time; any thread.

        Stopped before the time that it was to play at, it never starts.

        Returns
        -------
        float
            Seconds by which `at` is past; it then happens at once.
        """
        return self._playback.stop(at, fade)

    def fade(
        self, gain: float, seconds: float, curve: str = "linear", at: float | None = None
    ) -> float:
        """Move the gain; see the same method of a sample.  Any thread."""
        return self._playback.fade(gain, seconds, curve, at)

    def pan(self, pan: float) -> None:
        """Move between left (-1) and right (1); any thread."""
        self._playback.set_pan(pan)

    @property
    def gain(self) -> float:
        """Factor on it, 0 to 1000; moves as that of a sample.  Any thread."""
        return self._playback.gain

    @gain.setter
    def gain(self, gain: float) -> None:
        self._playback.set_gain(gain)

    @property
    def muted(self) -> bool:
        """True while it plays without being heard.  Any thread."""
        return self._playback.muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._playback.set_muted(muted)

    @property
    def effects(self) -> Effects:
        """The effects that it goes through; see the same list of a sample.  Any thread."""
        return self._playback.effects

    @effects.setter
    def effects(self, effects: Iterable[Unit]) -> None:
        self._playback.effects[:] = effects

    def level(self, seconds: float = 0.1) -> Level:
        """How loud it was during the last `seconds`; see the same method of a sample."""
        return self._playback.level(seconds)

    def pause(self, at: float | None = None) -> float:
        """Fade out over 5 ms and stand still; any thread."""
        return self._playback.pause(at)

    def resume(self, at: float | None = None) -> float:
        """Fade in where a pause has left; any thread."""
        return self._playback.resume(at)

    @property
    def is_finished(self) -> bool:
        """True once its last frame was heard, or it was stopped, or its output closed."""
        return self._playback.is_over()

    def __del__(self) -> None:
        self._playback.is_dropped = True  # it plays on

    async def finished(self) -> bool:
        """Wait until it is finished; False if it was cut before its last frame was heard.

        Raises
        ------
        DeviceError
            If the output's device goes meanwhile.
        KernelError
            If it is a generator that was refused, or failed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        if not self._playback.is_over():
            wakeup = self._output._wakeups.here()
            self._playback.use_wakeup(wakeup.wakeup)
            while not self._playback.arm_over():
                self._output.engine.check_alive()
                await wakeup.wait(self._playback.slot)
        await anyio.lowlevel.cancel_shielded_checkpoint()
        if error := self._playback.memory.failure():
            raise error
        return not self._playback.was_cut()


class Sound(Sealed):
    """A sound in memory, as its output plays it; made by :meth:`AudioOutput.load`.

    Attributes
    ----------
    rate : int
        Frames per second (Hz) that it was loaded from.
    """

    __slots__ = ("rate",)

    def __init__(self, output: AudioOutput, samples: np.ndarray, rate: int) -> None:
        warn_if_too_loud(peak_of(samples))
        self._output = output
        self._samples = samples
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)
        self.rate = rate
        self._memories: dict[tuple[float, bool], SoundMemory] = {}

    @property
    def frames(self) -> int:
        """How long it lasts at the device's rate."""
        return self._ready(1.0, False).frames

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self._output.device_rate

    def prepare(self, rate: float = 1.0, loop: bool = False) -> None:
        """Have it at hand at another speed, or for a loop.  Blocks; any thread.

        A minute of stereo takes a third of a second or so; in a coroutine, use
        :meth:`aprepare`.  The latest 14 preparations are kept, and those that :meth:`load`
        has made.

        Parameters
        ----------
        rate : float
            As for :meth:`play`.
        loop : bool
            True: to be played in a loop.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        """
        key = self._key(rate, loop)
        if key not in self._memories:
            steps = self._steps(key)
            while (memory := _next(steps)) is None:
                pass
            self._keep(key, memory)

    async def aprepare(self, rate: float = 1.0, loop: bool = False) -> None:
        """:meth:`prepare` in a worker thread; the event loop goes on meanwhile.

        The thread is asked for a millisecond's work at a time, so that a cancellation comes
        through at once.  Nothing is kept then.
        """
        key = self._key(rate, loop)
        await anyio.lowlevel.checkpoint()
        if key not in self._memories:
            steps = self._steps(key)
            while (memory := await anyio.to_thread.run_sync(_next, steps)) is None:
                pass
            self._keep(key, memory)

    def _prepare_plays(self) -> None:
        """What :meth:`play` needs at the speed that it was loaded at.  Blocks."""
        for loop in self._loaded():
            self.prepare(1.0, loop)

    async def _aprepare_plays(self) -> None:
        """:meth:`_prepare_plays` in a worker thread."""
        for loop in self._loaded():
            await self.aprepare(1.0, loop)

    def _loaded(self) -> tuple[bool, ...]:
        """As it is; and, of a sound that cannot be converted when it is played, for a loop."""
        return (False, True) if self._is_long(1.0) else (False,)

    def _is_long(self, speed: float) -> bool:
        """True if it is too long to be converted while the caller waits."""
        return len(self._samples) > AT_ONCE * self.rate * min(speed, 1.0)

    def _key(self, rate: float, loop: bool) -> tuple[float, bool]:
        """What a preparation is kept by; a loop at the device's own rate needs none."""
        speed = check_number(rate, "rate", 0.05, 20, "1.0 is as it was loaded")
        loop = check_flag(loop, "loop")
        return speed, loop and round(self.rate * speed) != self._output.device_rate

    def _steps(self, key: tuple[float, bool]) -> Generator[None, None, SoundMemory]:
        speed, loop = key
        engine = self._output.engine
        return preparation(engine, self._samples, round(self.rate * speed), loop)

    def _keep(self, key: tuple[float, bool], memory: SoundMemory) -> None:
        with self._lock:
            self._memories[key] = memory
            others = [key for key in self._memories if key[0] != 1.0]
            if len(others) > KEPT:  # the oldest goes
                del self._memories[others[0]]

    def _ready(self, rate: float, loop: bool) -> SoundMemory:
        """What is to be played, if need be converted now.

        Raises
        ------
        AudioException
            If that would take long.
        """
        key = self._key(rate, loop)
        memory = self._memories.get(key)
        if memory is None:
            if self._is_long(key[0]):
                asked = f"rate={key[0]:g}, loop={loop}"
                raise AudioException(
                    f"this sound of {len(self._samples) / self.rate:.1f} seconds is not "
                    f"prepared for {asked}, and converting it now would hold up the caller; "
                    f"try await sound.aprepare({asked}) before, or sound.prepare({asked}) in "
                    "blocking code"
                )
            self.prepare(*key)
            memory = self._memories[key]
        return memory

    def play(
        self,
        at: float | None = None,
        *,
        gain: float = 1.0,
        pan: float = 0.0,
        loop: bool | int = False,
        rate: float = 1.0,
        group: Group | None = None,
        effects: Iterable[Unit] = (),
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
            How much faster, and so higher, 0.05 to 20.  Each speed is converted once: for a
            sound of up to a second here, for a longer one by :meth:`aprepare` (or
            :meth:`prepare`, which blocks) beforehand.
        group : Group, optional
            What it plays into; see :meth:`AudioOutput.group`.
        effects : iterable of effects
            What it goes through.  Each is in one place at a time: ``fx.copy()`` for another.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        AudioException
            If all voices of the output are in use; or if it is longer than a second, and not
            prepared for that rate and loop.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        into = group_of(group)
        memory = self._ready(rate, check_times(loop, "loop") != 1)
        chain = self._output._effects(effects)
        return Playing(self._output, Playback(memory, at, gain, pan, loop, into, chain))


def _next(steps: Generator[None, None, SoundMemory]) -> SoundMemory | None:
    """Do the next step; what they all make, after the last one."""
    try:
        next(steps)
    except StopIteration as end:
        memory: SoundMemory = end.value
        return memory
    return None


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
