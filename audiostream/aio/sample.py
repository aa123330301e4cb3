"""A sample that coroutines write to; event loop (asyncio or trio)."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import anyio.lowlevel
import numpy as np

from audiostream.aio.loopbell import LoopBell
from audiostream.engine.intake import sliceable
from audiostream.engine.output import FADE
from audiostream.engine.voice import Voice
from audiostream.errors import AudioException
from audiostream.pcm import Format

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("AudioSample",)

YIELD_EVERY = 8
"""Writes that may find room one after the other before the event loop gets its turn; each
turn costs as much as three writes."""


class AudioSample(anyio.abc.ByteSendStream):
    """One voice of an output, made by :meth:`AudioOutput.sample`; attached and playing.

    It belongs to the first event loop that waits on it; ``write_nowait``, ``end``,
    ``clear_nowait``, ``play``, ``stop`` and the properties work from any thread.  Counts
    are frames at the sample's own rate, and ``written == position + buffered + cleared``
    at all times.
    """

    def __init__(self, output: AudioOutput, voice: Voice) -> None:
        self._output = output
        self._voice = voice
        self._bell: LoopBell | None = None
        self._writing = anyio.Lock(fast_acquire=True)
        self._unyielding = 0

    # --- what it is --------------------------------------------------------------

    @property
    def format(self) -> Format:
        """Rate, channels and encoding of what is written."""
        return self._voice.format

    @property
    def rate(self) -> int:
        """Frames per second (Hz) of what is written."""
        return self._voice.format.rate

    @property
    def channels(self) -> int:
        """Channels of what is written."""
        return self._voice.format.channels

    @property
    def encoding(self) -> int:
        """8, 16 or 32: the encoding of bytes that are written."""
        return self._voice.format.encoding

    # --- counts ------------------------------------------------------------------

    @property
    def written(self) -> int:
        """Frames taken by writes so far."""
        return self._voice.counts().written

    @property
    def position(self) -> int:
        """Frames heard so far: they have left the device.

        Never ahead of the sound, and behind it by at most a block.
        """
        return self._voice.counts().position

    @property
    def buffered(self) -> int:
        """Frames written that are neither heard nor cleared yet."""
        return self._voice.counts().buffered

    @property
    def cleared(self) -> int:
        """Frames dropped before they were heard, by a clear, a stop or the end."""
        return self._voice.counts().cleared

    @property
    def starved(self) -> int:
        """Frames of silence, at the device's rate, that stood in for late ones."""
        return self._voice.starved

    # --- writing -----------------------------------------------------------------

    def write_nowait(self, data: Any) -> int:
        """Take as much as there is room for; any thread.

        Parameters
        ----------
        data : bytes-like, or ndarray of shape (frames,) or (frames, channels)
            int8, int16 or float32 (full scale 1.0).  Bytes are in the sample's encoding
            and may be cut anywhere: what is left of a frame waits for its other bytes.

        Returns
        -------
        int
            What was taken: bytes of bytes-like data, frames of an array.

        Raises
        ------
        TypeError
            For anything else, str above all.
        FormatError
            For an array of another shape or dtype.
        StreamClosedError
            If the sample or its output is closed.
        DeviceError
            If the output's device is gone.
        """
        return self._voice.write_nowait(data)

    async def write(self, data: Any) -> int:
        """Write it all, waiting while the ring is full.

        Writes of several tasks do not interleave.  It gives the event loop its turn when it
        waits, and otherwise after some writes that found room.  Cancelled, it has taken whole
        frames only.  A clear (or stop) releases it: the rest of its data is dropped.

        Parameters
        ----------
        data
            As for :meth:`write_nowait`.

        Returns
        -------
        int
            What was taken, in the units of :meth:`write_nowait`; less than all only
            after a clear.

        Raises
        ------
        TypeError, FormatError, StreamClosedError, DeviceError
            As :meth:`write_nowait`; AudioException on a foreign event loop.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        if type(data) is not bytes and not isinstance(data, np.ndarray):
            data = sliceable(data)
        taken = 0
        if not self._writing.locked():
            taken = self._voice.write_nowait(data)
            if taken == len(data):
                self._unyielding += 1
                if self._unyielding == YIELD_EVERY:
                    self._unyielding = 0
                    await anyio.lowlevel.cancel_shielded_checkpoint()
                return taken
        self._unyielding = 0
        return await self._write_rest(sliceable(data), taken)

    async def _write_rest(self, data: Any, taken: int) -> int:
        """Write what is left behind the first `taken` units, as room comes."""
        voice = self._voice
        epoch = voice.epoch
        rest = data[taken:]
        async with self._writing:
            while voice.epoch == epoch:
                count = voice.write_nowait(rest)
                taken += count
                rest = rest[count:]
                if not len(rest):
                    break
                missing = len(rest)
                if not isinstance(rest, np.ndarray):
                    missing = -(-missing // voice.format.frame_bytes)
                frames = max(missing, voice.refill)
                await self._wait(
                    lambda frames=frames: (
                        voice.arm_read(voice.wants_room(frames)) or voice.epoch != epoch
                    )
                )
        return taken

    async def send(self, item: bytes) -> None:
        """anyio's name for :meth:`write`."""
        await self.write(item)

    async def _wait(self, arm: Any) -> None:
        """Wait for news of the voice; raise if there can be none any more."""
        bell = self._here()

        def armed() -> bool:
            ready = bool(arm())
            self._voice.check()
            return ready

        await bell.wait(self._voice.slot, armed)
        self._voice.check()

    def _here(self) -> LoopBell:
        bell = self._output.bells.here()
        if self._bell is None:
            self._bell = bell
            self._voice.use_bell(bell.bell)
        elif self._bell is not bell:
            raise AudioException(
                "this sample belongs to another event loop, the first that waited on it; make "
                "one with sample() in each loop, or use write_nowait()"
            )
        return bell

    def end(self) -> None:
        """The utterance is over; any thread.

        Completes a partial frame with zeros and flushes the resampler.  Running dry after
        it is no shortage.  What is written later begins anew.
        """
        self._voice.end()

    async def drain(self) -> None:
        """:meth:`end`, then wait until all that was written before was heard.

        Returns when the last frame has left the device, not when the ring is empty; or
        when it was cleared.  On a sample that does not play it waits until it does.

        Raises
        ------
        StreamClosedError, DeviceError
            If the output closes or its device goes meanwhile.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        voice = self._voice
        async with self._writing:
            self.end()
            index = voice.write_index()
        while not voice.has_heard(index):
            await self._wait(lambda: voice.arm_heard(index))
        await anyio.lowlevel.cancel_shielded_checkpoint()

    # --- cutting -----------------------------------------------------------------

    async def clear(self, fade: float = FADE) -> int:
        """Drop all that is not heard yet, fading out, and release every waiting write.

        Frames that the device already has cannot be taken back; they count as heard.

        Parameters
        ----------
        fade : float
            Seconds of the fade, 0 to 10.

        Returns
        -------
        int
            Frames heard so far in all, the fade and what is in the device included.

        Raises
        ------
        FormatError
            If `fade` is out of bounds.
        StreamClosedError, DeviceError
            If the output is closed, or closes, or its device is gone.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        voice = self._voice
        index = voice.clear(fade)
        while not voice.has_read(index):
            await self._wait(lambda: voice.arm_read(index))
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return voice.cleared_to(index)

    def clear_nowait(self, fade: float = FADE) -> None:
        """Only ask for a :meth:`clear`; it happens within a block.  Any thread."""
        self._voice.clear(fade)

    # --- control -----------------------------------------------------------------

    def play(self) -> None:
        """Play what is queued, from the next block on.  Idempotent; any thread."""
        self._voice.play()

    def stop(self) -> None:
        """Fade out over 5 ms and drop what is queued.  Idempotent; any thread.

        :meth:`play` goes on with what is written afterwards.
        """
        self._voice.stop()

    @property
    def gain(self) -> float:
        """Factor on the samples, 0 or more; 1.0 leaves them bit for bit.

        Set while it sounds, it moves there in a straight line over 5 ms; in silence, at
        once.  Any thread.
        """
        return self._voice.gain

    @gain.setter
    def gain(self, gain: float) -> None:
        self._voice.set_gain(gain)

    # --- the end -----------------------------------------------------------------

    async def aclose(self) -> None:
        """Take the sample off its output, fading out; twice is harmless."""
        self._output.remove_sample(self)
        await anyio.lowlevel.cancel_shielded_checkpoint()

    def __repr__(self) -> str:
        counts = self._voice.counts()
        return (
            f"<AudioSample {self._voice.format}: {counts.written} frames written, "
            f"{counts.position} heard, {counts.cleared} cleared>"
        )

    # What an output does to its samples.

    def attach(self, output: AudioOutput) -> None:
        """Called by :meth:`AudioOutput.add_sample`."""
        if output is not self._output or self._voice.is_gone:
            raise AudioException(
                "an asyncio sample stays on the output that made it; use that one's sample()"
            )

    def detach(self, output: AudioOutput) -> None:
        """Called by :meth:`AudioOutput.remove_sample`."""
        if output is self._output:
            self._voice.remove()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
