"""The documented sample: a ring that a thread writes to; caller thread, ``write`` blocks."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from audiostream.aio.wakeup import on_event_loop
from audiostream.checks import check_timeout
from audiostream.engine.effects import Effects
from audiostream.engine.sample_input import sliceable
from audiostream.engine.voice import Voice
from audiostream.engine.watchdog import rest_at_exit
from audiostream.errors import AudioException, AudioTimeoutError, StreamClosedError
from audiostream.forks import LOCKS
from audiostream.kernels.unit import Unit

if TYPE_CHECKING:
    from typing_extensions import Self

    from audiostream.aio.output import AudioOutput

__all__ = ("RING_BYTES", "AudioSample", "Shadowed")

RING_BYTES = 16384
"""Bytes of a sample's ring, as in the original; at least two buffers."""

PATIENCE = 5.0
"""Seconds that a write or drain waits for a sample that does not play before it warns."""

T = TypeVar("T")


class Shadowed(Generic[T]):
    """A property that an object may set an attribute of its own over.

    The original had no such name, and a subclass that was written for it may use it: a
    player's ``self.position = 0``, say.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Shadowed[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self._compute(instance)


class OwnEffects:
    """The list of effects, which a subclass may set an attribute of its own over.

    Assigning effects replaces those in the list; anything else becomes an attribute of a
    subclass that was written without knowing of this one.
    """

    def __init__(self) -> None:
        self.__doc__ = "The effects that it goes through, a list; see the same one in aio."

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        own = vars(instance).get("effects", self)
        return instance._list_of_effects() if own is self else own

    def __set__(self, instance: Any, value: Any) -> None:
        items = list(value) if isinstance(value, Iterable) else []
        is_known = type(instance).__module__.startswith("audiostream.")
        if is_known or (items and all(isinstance(item, Unit) for item in items)):
            instance._list_of_effects()[:] = value
        else:
            vars(instance)["effects"] = value


def _late(timeout: float | None) -> AudioTimeoutError:
    return AudioTimeoutError(
        f"not all was heard within timeout={timeout} seconds; it plays on: drain() again, or "
        "with a longer timeout"
    )


class AudioSample:
    """A stream of bytes for an output, in that output's rate, channels and encoding.

    Examples
    --------
    >>> stream = get_output(channels=1, rate=22050)          # doctest: +SKIP
    >>> sample = AudioSample()                               # doctest: +SKIP
    >>> stream.add_sample(sample)                            # doctest: +SKIP
    >>> sample.play()                                        # doctest: +SKIP
    >>> sample.write(bytes(2048))                            # doctest: +SKIP
    """

    _output: AudioOutput | None
    _voice: Voice | None
    _writing: threading.Lock
    _give_back: weakref.finalize[..., AudioSample] | None
    _effects: Effects | None

    effects = OwnEffects()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make it whole before ``__init__``, which the original's subclasses need not call."""
        del args, kwargs
        sample = super().__new__(cls)
        sample._output = None
        sample._voice = None
        sample._give_back = None
        sample._effects = None
        sample._writing = threading.Lock()
        LOCKS.add(sample, _writing=threading.Lock)
        return sample

    def write(self, chunk: bytes) -> None:
        """Queue a chunk; blocks, without the interpreter lock, until all is on the ring.

        Chunks of any length are accepted: what is left of a frame waits for its other
        bytes.  ``stop``, ``remove_sample`` and ``close`` release a blocked writer, and
        what it had left is dropped.

        Parameters
        ----------
        chunk : bytes
            Or anything bytes-like, or an int8, int16 or float32 array.

        Raises
        ------
        TypeError
            For str, and anything else that is not bytes-like.
        AudioException
            Before ``add_sample``.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        voice = self._attached("write to")
        self._write(voice, chunk, voice.epoch)

    def _write(self, voice: Voice, chunk: Any, epoch: int) -> None:
        """Queue a chunk, unless the voice was stopped or cleared since `epoch`."""
        rest: Any = sliceable(chunk)
        try:
            voice.check()  # before the lock, which is never given back in a forked child
            with self._writing:
                while True:
                    with voice.lock:  # against a stop in between, after which it would stay
                        if voice.epoch != epoch:
                            break
                        taken = voice.write_nowait(rest)
                    rest = rest[taken:]
                    if not len(rest):
                        return
                    self._wait(voice, epoch, len(rest))
                    if voice.output.is_closed:
                        break  # released, in whichever order this and close() came
        finally:
            rest_at_exit()

    def _wait(self, voice: Voice, epoch: int, missing: int) -> None:
        """Sleep until there is room, or the voice has other news."""
        wakeup = voice.own_wakeup()
        if wakeup is None:
            return  # removed meanwhile: the next look says so
        frames = max(missing // voice.format.frame_bytes, 1)
        if (
            not voice.strip.arm("read", voice.writer.wants_room(frames))
            and voice.epoch == epoch
        ):
            while not wakeup.wait(PATIENCE):
                voice.warn_unless_playing()
        wakeup.clear()

    def drain(self, timeout: float | None = None) -> None:
        """Wait until all that was written was heard, in this thread.

        It ends what was written: a partial frame is completed, and to run out is no starvation.
        Returns when the last frame has left the device, with what its effects still hold; or
        when it was cut, by ``stop`` or ``remove_sample``.  Writes of other threads wait for it.

        Parameters
        ----------
        timeout : float, optional
            Seconds, up to a day; None waits without a limit.

        Raises
        ------
        AudioTimeoutError
            If it takes longer; it plays on.
        AudioException
            Before ``add_sample``.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        timeout = check_timeout(timeout)
        end = math.inf if timeout is None else time.monotonic() + timeout
        voice = self._attached("drain")
        voice.check()
        if not self._writing.acquire(timeout=-1 if timeout is None else timeout):
            raise _late(timeout)
        try:
            voice.end()
            index = voice.write_index()
            while not voice.strip.is_drained(index):
                wakeup = voice.own_wakeup()
                if wakeup is None:
                    voice.output.check()
                    return  # removed meanwhile
                if not voice.strip.arm_drained(index):
                    voice.check()
                    left = max(end - time.monotonic(), 0.0)
                    if not wakeup.wait(min(left, PATIENCE)):
                        if left <= PATIENCE:
                            raise _late(timeout)
                        voice.warn_unless_playing()
                wakeup.clear()
        finally:
            rest_at_exit()
            self._writing.release()

    def play(self) -> None:
        """Play what is on the ring, and what will be.  Idempotent."""
        self._attached("play").play()

    def stop(self) -> None:
        """Stop, drop what is queued and release a blocked writer.

        Idempotent; a sample that is on no output has nothing to stop.
        """
        voice = self._voice
        if voice is not None:
            with contextlib.suppress(StreamClosedError):  # then there is nothing to stop
                voice.stop()

    @Shadowed
    def position(self) -> int:
        """Frames heard since it was added to its output; 0 while it is on none.

        Never ahead of the sound, and behind it by at most a block.
        """
        voice = self._voice
        return 0 if voice is None else voice.counts().position

    def _attached(self, what: str) -> Voice:
        voice = self._voice
        if voice is None:
            raise AudioException(
                f"cannot {what} a sample that is on no output; call add_sample(sample) on an "
                "output from get_output() first"
            )
        return voice

    def _list_of_effects(self) -> Effects:
        """The effects that it goes through; they stay its own while it is on no output."""
        if self._effects is None:
            self._effects = Effects(may_wait=lambda: not on_event_loop())
        return self._effects

    # What an output does to its samples.

    def attach(self, output: AudioOutput) -> None:
        """Called by ``add_sample``."""
        if self._voice is not None and not self._voice.is_gone:
            if self._output is output:
                return
            raise AudioException(
                "this sample is on another output; call remove_sample(sample) on that one first"
            )
        stream = output.engine
        stream.check()
        self._list_of_effects().prepare(stream)
        format = stream.format
        frames = max(RING_BYTES // format.frame_bytes, 2 * output.buffersize)
        self._voice = Voice(
            stream,
            format,
            frames / format.rate,
            least=2 * stream.period,
            declick=False,
            effects=self._list_of_effects(),
        )
        self._output = output
        # Dropping it is no mistake: what is queued is heard, then its voice is given back.
        if self._give_back is not None:
            self._give_back.detach()
        self._give_back = weakref.finalize(self, self._voice.drop)
        self._give_back.atexit = False

    def detach(self, output: AudioOutput) -> None:
        """Called by ``remove_sample``."""
        if output is not self._output:
            return
        voice, self._voice, self._output = self._voice, None, None
        if self._give_back is not None:
            self._give_back.detach()
        if voice is not None:
            voice.remove()
