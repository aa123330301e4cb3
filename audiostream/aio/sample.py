"""A sample that coroutines write to; event loop (asyncio or trio)."""

from __future__ import annotations

import contextlib
import math
import warnings
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
import numpy as np

from audiostream.aio.controls import Controlled
from audiostream.aio.joint import Play
from audiostream.aio.sources.file import file
from audiostream.aio.sources.source import MAX_AHEAD, Source, block_for
from audiostream.aio.utterance import Utterance
from audiostream.aio.wakeup import AsyncWakeup, running_loop
from audiostream.checks import check_flag, check_integer, check_number
from audiostream.engine.marks import Mark
from audiostream.engine.output import warn_of_unheard
from audiostream.engine.sample_input import sliceable
from audiostream.engine.strip import FADE
from audiostream.engine.voice import Voice
from audiostream.errors import AudioException, StreamClosedError
from audiostream.pcm import Format

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("AudioSample", "Marks")

COPIED = 1 << 16
"""Bytes up to which it costs less to copy what is left of a chunk than not to."""

PIECE = 1 << 14
"""Frames of an array, or bytes, that are converted before the event loop gets its turn."""

YIELD_EVERY = 8
"""Writes that may find room one after the other before the event loop gets its turn; each
turn costs as much as three writes."""


class _Pace:
    """What each write changes; apart, since a sample looks at what is set of it.

    That takes ten times as long, a tenth of a write.
    """

    __slots__ = ("unyielding",)

    def __init__(self) -> None:
        self.unyielding = 0  # writes since the event loop had its turn


class AudioSample(Controlled, anyio.abc.ByteSendStream):
    """One voice of an output, made by :meth:`AudioOutput.sample`; attached and playing.

    It belongs to the first event loop that waits on it; ``write_nowait``, ``end``,
    ``clear_nowait``, ``play``, ``stop`` and the properties work from any thread.  Counts
    are frames at the sample's own rate, and ``written == position + buffered + cleared``
    at all times.

    One that is dropped without :meth:`aclose` is played to its end, and then gives its voice
    back.  Python gives a ResourceWarning if its last write was neither ended nor cleared.
    """

    def __init__(self, output: AudioOutput, voice: Voice, *, owner: bool = False) -> None:
        self._is_owner = owner  # the voice is to leave with this object
        self._output = output
        self._voice = self._control = voice
        self._wakeup: AsyncWakeup | None = None
        self._writing = anyio.Lock(fast_acquire=True)
        self._pace = _Pace()
        self._queued = 0  # writes that wait, for room or for one another
        self._played: Play | None = None  # the latest, if it came to its end
        # Weakly, since each holds its sample: a cycle would keep a sample that is dropped.
        self._turn: weakref.ref[Utterance] | None = None
        self._spoken: list[weakref.ref[Utterance]] = []  # what was heard is not settled yet

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
    def encoding(self) -> int | str:
        """8, 16, 32 or a name: the encoding of bytes that are written."""
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

    @property
    def shortages(self) -> int:
        """How often it starved: it ran out of frames while it was heard, and not at an end.

        The last frame then dies away, and what comes back fades in, over :attr:`ramp`.
        """
        return self._voice.shortages

    @property
    def prebuffer(self) -> float:
        """Seconds that are there before it starts; moves if it is adaptive."""
        return self._voice.prebuffer

    async def wait_position(self, frames: int) -> None:
        """Wait until :attr:`position` is `frames` or more.

        Raises
        ------
        FormatError
            If `frames` is no finite number of at least 0.
        StreamClosedError, DeviceError
            If the output closes or its device goes meanwhile.
        """
        voice = self._voice
        frames = math.ceil(check_number(frames, "frames", 0, 2**62, "try sample.written"))

        def look() -> int | None:
            return None if voice.counts().position >= frames else voice.index_of(frames)

        await self._until(look)

    async def _until(self, look: Callable[[], int | None]) -> None:
        """Wait until `look` says None; before, it says what ring index, once heard, is news.

        Or -1, if any news will do.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        voice = self._voice
        while (index := look()) is not None:
            if index < 0:
                await self._news(self._here())
            else:
                await self._wait(partial(voice.strip.arm, "heard", index))
        await anyio.lowlevel.cancel_shielded_checkpoint()

    # --- marks -------------------------------------------------------------------

    def mark(self, name: Any) -> int:
        """Mark the end of what was written so far; any thread.

        Returns
        -------
        int
            :attr:`written`, which it stands for.
        """
        return self._voice.mark(name)

    def marks(self) -> Marks:
        """Tell of each mark when it was heard, until the sample is closed: ``async for``.

        A mark whose frame was cleared is left out.  One task at a time gets them.
        """
        return Marks(self)

    # --- utterances --------------------------------------------------------------

    def utterance(self, tag: Any = None) -> Utterance:
        """Make the next stretch of sound that is heard, or cut, as one.

        Parameters
        ----------
        tag : object
            What tells it from others, such as a server's name for it.

        Raises
        ------
        StreamClosedError, DeviceError
            If the sample or its output is closed, or its device is gone.
        """
        self._voice.check()
        return Utterance(self, tag)

    @property
    def _speaking(self) -> Utterance | None:
        """Whose turn it is, or is next."""
        return None if self._turn is None else self._turn()

    @_speaking.setter
    def _speaking(self, utterance: Utterance | None) -> None:
        self._turn = None if utterance is None else weakref.ref(utterance)

    # --- writing -----------------------------------------------------------------

    def write_nowait(self, data: Any) -> int:
        """Take as much as there is room for; any thread.

        It takes as long as converting that does: some milliseconds for each second that is
        resampled.  :meth:`write` gives the event loop its turn in between.

        Parameters
        ----------
        data : bytes-like, or ndarray of shape (frames,) or (frames, channels)
            float32 or float64 (full scale 1.0), int8, int16, int32 or uint8, each at its
            own full scale.  Bytes are in the sample's encoding and may be cut anywhere:
            what is left of a frame waits for its other bytes.  A buffer that says what its
            items are, such as ``array.array("f")``, is an array of them.

        Returns
        -------
        int
            What was taken: bytes of bytes-like data, frames of an array.  Nothing while a
            :meth:`write` waits, whose chunk comes first.

        Raises
        ------
        TypeError
            For anything else, str above all.
        FormatError
            For an array of another shape or dtype, and a single number.
        StreamClosedError
            If the sample or its output is closed.
        DeviceError
            If the output's device is gone.
        """
        if self._queued:  # what a write waits with comes first, all of it
            self._voice.check()
            sliceable(data)
            return 0
        return self._voice.write_nowait(data)

    async def write(self, data: Any) -> int:
        """Write it all, waiting while the ring is full.

        Writes of several tasks do not interleave.  It gives the event loop its turn, and sees
        that it is cancelled, when it waits, after every 16,384 frames (or bytes) of a longer
        chunk, and otherwise at every eighth write that found room.  Cancelled, it has taken
        whole frames only.  A clear (or stop) releases it: the
        rest of its data is dropped.

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
        pace = self._pace
        voice = self._voice
        epoch = voice.epoch
        if not pace.unyielding:
            await anyio.lowlevel.checkpoint_if_cancelled()
        elif pace.unyielding == YIELD_EVERY:  # before anything is taken
            pace.unyielding = 0
            await anyio.lowlevel.checkpoint()
            if voice.epoch != epoch:  # cleared meanwhile
                return 0
        if type(data) is not np.ndarray and type(data) is not bytes:
            data = sliceable(data)
        taken = 0
        if not self._queued:
            size = data.size if type(data) is np.ndarray else len(data)
            taken = voice.write_nowait(data if size <= PIECE else _piece(data, 0))
            if taken == len(data):
                pace.unyielding += 1
                return taken
        return await self._write_rest(data, taken, epoch)

    async def write_in(self, data: Any, epoch: int) -> None:
        """Write it all, as long as the voice's epoch is this one."""
        data = sliceable(data)
        taken = 0 if self._queued else self._voice.write_in(_piece(data, 0), epoch)
        if taken < len(data) and self._voice.epoch == epoch:
            await self._write_rest(data, taken, epoch)

    async def _write_rest(self, data: Any, taken: int, epoch: int) -> int:
        """Write what is left after the first `taken` units, as room comes."""
        voice = self._voice
        wakeup = self._here()
        if type(data) is bytes and len(data) > COPIED:
            data = memoryview(data)  # whose slices are no copies
        self._queued += 1
        try:
            try:
                self._writing.acquire_nowait()
            except anyio.WouldBlock:
                await self._writing.acquire()
            try:
                while voice.epoch == epoch:
                    piece = _piece(data, taken)
                    count = voice.write_in(piece, epoch)
                    taken += count
                    if taken == len(data):
                        break
                    if count == len(piece):  # a long chunk is no long call
                        await anyio.lowlevel.checkpoint()
                    elif not voice.writer.arm_room() and voice.epoch == epoch:
                        await self._news(wakeup)
            except BaseException:
                voice.may_be_cut = True
                raise
            finally:
                self._writing.release()
        finally:
            self._queued -= 1
        self._pace.unyielding = 1
        return taken

    async def send(self, item: bytes) -> None:
        """anyio's name for :meth:`write`, which says what is raised."""
        await self.write(item)

    async def _wait(self, arm: Callable[[], bool]) -> None:
        """Wait for news of the voice that `arm` asks for; raise if there can be none."""
        wakeup = self._here()
        if arm():
            self._voice.check()
            await anyio.lowlevel.checkpoint()
        else:
            await self._news(wakeup)

    async def _news(self, wakeup: AsyncWakeup) -> None:
        """Wait for news that were asked for; raise if there can be none any more."""
        self._voice.check()
        await wakeup.wait(self._voice.slot)
        self._voice.check()

    def _here(self) -> AsyncWakeup:
        wakeup = self._wakeup
        if wakeup is not None and wakeup.loop is running_loop():
            return wakeup
        here = self._output._wakeups.here()
        if wakeup is None:
            self._wakeup = wakeup = here
            self._voice.use_wakeup(wakeup.wakeup)
        elif wakeup is not here:
            raise AudioException(
                "this sample belongs to another event loop, the first that waited on it; make "
                "one with sample() in each loop, or use write_nowait()"
            )
        return wakeup

    async def write_from(self, source: Any, *, ahead: int | None = None) -> int:
        """Play what a generator makes, as it is needed, until its end; then :meth:`end`.

        It is asked for no more than the ring takes: a generator that is ahead waits.  One
        that raises ends its own sample only: the error is raised here, and what
        was made before is still heard.  Cancelled, too, it is closed before this returns.

        If nothing is written in between, the next call joins without a click: a resampler's
        last frames, which wait to be played, are made again with what follows them.  Sources
        of different rates fade out and in, over 2 ms each.

        Parameters
        ----------
        source : Source, async iterable, iterable, str or PathLike
            Of chunks as for :meth:`write`.  After an empty one it is asked again a buffer
            later.  A path is that of a sound file, which is closed afterwards.
        ahead : int, optional
            Frames that are made ahead of what the device is given; two of its blocks at
            least, the ring at most.  What changes in the source (a frequency, say) is heard
            at most so many frames, one chunk, one block of the device and its latency
            later.  A tenth of a second for a :class:`~audiostream.aio.sources.Source`, the
            whole ring for other iterables.

        Returns
        -------
        int
            Frames written.

        Raises
        ------
        TypeError
            If it is no iterable of chunks.
        AudioException
            If it is a source that another sample plays.
        Exception
            What the generator raises, and what :meth:`write` does.
        """
        if ahead is not None:
            ahead = check_integer(ahead, "ahead", "frames", least=0, most=MAX_AHEAD)
        if isinstance(source, str | PathLike):
            opened = await anyio.to_thread.run_sync(file, source)
            try:
                return await self.write_from(opened, ahead=ahead)
            finally:
                opened.close()
        if isinstance(source, Source):
            if source.is_played:
                raise AudioException(
                    "this source is being played already, and what it makes next is for that "
                    "sample; make another one"
                )
            ahead = self.rate // 10 if ahead is None else ahead
            source.begin(self.format, self._voice.output.kernels)
            source.block = block_for(ahead)
        play, self._played = Play(self._voice, source, self._played), None
        if isinstance(source, Source):
            played = self._play_source(source, play)
        else:
            played = self._play_chunks(_iterated(source), play)
        if ahead is not None:
            self._voice.set_limit(ahead)
        before = self.written
        self._voice.may_be_cut = True
        try:
            await played
            self._voice.may_be_cut = False
            self._played = play
        finally:
            self._voice.set_limit(None)
            with contextlib.suppress(AudioException):  # of an output that is closed or gone
                play.end()
        return self.written - before

    async def _write_part(self, chunk: Any, play: Play) -> None:
        """Write a source's chunk, the first one joined to the play before; None is its end."""
        chunk = play.rest() if chunk is None else play.begin(chunk)
        if chunk is None or not len(chunk):
            return
        kept = play.kept(chunk)
        if kept < len(chunk):
            await self.write(chunk[:kept])
            play.note()
            chunk = chunk[kept:]
        await self.write(chunk)

    async def _play_source(self, source: Source, play: Play) -> None:
        source.is_played = True
        epoch = self._voice.epoch
        try:
            while (chunk := await source.get_bytes()) is not None:
                if len(sliceable(chunk)):
                    if self._voice.epoch != epoch:
                        epoch = self._voice.epoch
                        chunk = source.after_cut(chunk)
                    await self._write_part(chunk, play)
                else:
                    self._voice.check()
                    await anyio.sleep(self._output.buffersize / self._output.rate)
            await self._write_part(None, play)
        finally:
            source.is_played = False
            with anyio.CancelScope(shield=True):
                await source.aclose()

    async def _play_chunks(self, chunks: AsyncGenerator[Any, None], play: Play) -> None:
        try:
            async for chunk in chunks:
                if len(sliceable(chunk)):
                    await self._write_part(chunk, play)
                else:  # nothing to say now, as of a Source
                    self._voice.check()
                    await anyio.sleep(self._output.buffersize / self._output.rate)
        finally:
            with anyio.CancelScope(shield=True):
                await chunks.aclose()

    def end(self) -> None:
        """The utterance is over; any thread.

        Completes a partial frame with zeros and flushes the resampler.  Running out after
        it is no starvation.  What is written later is a new utterance.
        """
        self._voice.end()

    async def set_format(
        self,
        rate: int | None = None,
        channels: int | None = None,
        encoding: int | str | None = None,
        *,
        quality: str = "high",
        matrix: Any = None,
    ) -> None:
        """:meth:`end` the utterance; what is written next has another format.

        Nothing comes between the two: the last frame of the one is followed by the first of
        the other.  Writes that wait come before it.  Counts go on, each frame counted at the
        rate that it was written at.

        Parameters
        ----------
        rate, channels, encoding, quality, matrix
            As for :meth:`AudioOutput.sample`; the first three stay as they are if not given.

        Raises
        ------
        FormatError
            For a value that cannot be used, or if the ring is too short for the conversion;
            nothing has changed then.
        StreamClosedError, DeviceError
            If the sample or its output is closed, or its device is gone.
        """
        await anyio.lowlevel.checkpoint()
        async with self._writing:
            own = self.format
            format = Format(
                own.rate if rate is None else rate,
                own.channels if channels is None else channels,
                own.encoding if encoding is None else encoding,
            )
            self._voice.set_format(format, quality, matrix)

    async def drain(self) -> None:
        """:meth:`end`, then wait until all that was written before was heard, and its tail.

        Returns when the last frame has left the device, not when the ring is empty; or when
        it was cleared.  The tail is that of its own effects, not of a group's.  On a sample
        that does not play it waits until it does.

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
        try:
            while not voice.strip.is_drained(index):
                await self._wait(lambda: voice.strip.arm_drained(index))
        except BaseException:
            voice.may_be_cut = True
            raise
        await anyio.lowlevel.cancel_shielded_checkpoint()

    # --- cutting -----------------------------------------------------------------

    async def clear(self, fade: float = FADE, *, tails: bool = True) -> int:
        """Drop all that is not heard yet, fading out, and release every waiting write.

        Frames that the device already has cannot be taken back; they count as heard.

        Parameters
        ----------
        fade : float
            Seconds of the fade, 0 to 10.
        tails : bool
            False: what its effects still hold fades out over 5 ms, too.

        Returns
        -------
        int
            Frames heard so far in all, the fade and what is in the device included.

        Raises
        ------
        FormatError
            If `fade` is out of bounds, or `tails` is no bool.
        StreamClosedError, DeviceError
            If the output is closed, or closes, or its device is gone.
        """
        check_flag(tails, "tails")
        await anyio.lowlevel.checkpoint_if_cancelled()
        voice = self._voice
        voice.check()
        index = voice.clear(fade)
        if not tails:
            voice.cut_tails(fade)
        while not voice.strip.has("read", index):
            await self._wait(lambda: voice.strip.arm("read", index))
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return voice.cleared_to(index)

    def clear_nowait(self, fade: float = FADE, *, tails: bool = True) -> None:
        """Only ask for a :meth:`clear`; it happens within a block.  Any thread.

        Does not raise because the device is gone.
        """
        check_flag(tails, "tails")
        self._voice.clear(fade)
        if not tails:
            self._voice.cut_tails(fade)

    # --- control -----------------------------------------------------------------

    def play(self, at: float | None = None) -> float:
        """Play what is queued, from the next block on, or from a time on.  Any thread.

        Parameters
        ----------
        at : float, optional
            Seconds on the output's clock, such as ``speaker.time + 0.5``.  Until then a sample
            that is silent starts nothing; what sounds already goes on.

        Returns
        -------
        float
            Seconds by which `at` is past; it then happens at once.

        Raises
        ------
        FormatError
            If `at` is no finite number, or more than a day ahead.
        AudioException
            If 64 commands wait for their time already.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        return self._voice.play(at)

    def stop(self, at: float | None = None, *, fade: float = FADE) -> float:
        """Fade out and drop what is queued, at once or at a time.  Idempotent; any thread.

        :meth:`play` goes on with what is written afterwards.  A stop at once takes back a
        play, pause, resume or stop that waits for its time.

        Parameters
        ----------
        at : float, optional
            As for :meth:`play`, and so what is returned and raised; but not because the device
            is gone.
        fade : float
            Seconds, 0 to 10.
        """
        return self._voice.stop(fade, at)

    def pause(self, at: float | None = None) -> float:
        """Fade out over :attr:`ramp` and stand still; what is queued stays.  Any thread.

        `at`, and what is returned and raised, as for :meth:`play`.
        """
        return self._voice.pause(at)

    def resume(self, at: float | None = None) -> float:
        """Fade in where a :meth:`pause` has left; does nothing unless paused.  Any thread.

        `at`, and what is returned and raised, as for :meth:`play`.
        """
        return self._voice.resume(at)

    # --- the end -----------------------------------------------------------------

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Take the sample off its output, fading out; twice is harmless.

        The call does it, so that it is done even if the task that was to wait is cancelled
        before its first step.
        """
        self._output.remove_sample(self)
        return anyio.lowlevel.cancel_shielded_checkpoint()

    def __del__(self) -> None:
        if not getattr(self, "_is_owner", False):
            return
        voice = self._voice
        if voice.is_unfinished():
            # No counts are told: they take a lock, and a finalizer may run anywhere.
            warnings.warn(
                f"an AudioSample ({voice.format}) was dropped in the middle of what it says: "
                "await its drain(), or aclose() to cut it off; or use `async with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        if not voice.is_gone:
            voice.drop()

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
        voice = self._voice
        was_open = not (voice.is_gone or voice.output.is_closed)
        await self.aclose()
        if was_open and exc_type is None and not voice.output.is_instant:
            warn_of_unheard([voice.unheard()])


class Marks(AsyncIterator[Mark]):
    """What :meth:`AudioSample.marks` gives; a ``anext`` that is cancelled loses none."""

    def __init__(self, sample: AudioSample) -> None:
        self._sample = sample
        self._is_closed = False

    async def __anext__(self) -> Mark:
        voice = self._sample._voice
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._is_closed:
            mark = voice.heard_mark()
            if mark is not None:
                return mark
            try:
                await self._sample._wait(voice.arm_mark)
            except StreamClosedError:
                break
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration, as that of an async generator."""
        self._is_closed = True


def _piece(data: Any, start: int) -> Any:
    """What of some data is written at a time."""
    if isinstance(data, np.ndarray) and not data.ndim:
        return data  # which a voice refuses
    return data[start : start + PIECE]


async def _iterated(source: Any) -> AsyncGenerator[Any, None]:
    """The chunks of an async or an ordinary iterable, which is closed at the end."""
    if isinstance(source, bytes | bytearray | memoryview | np.ndarray):
        raise TypeError("write_from() plays an iterable of chunks; write() takes one chunk")
    if not hasattr(source, "__aiter__") and not hasattr(source, "__iter__"):
        raise TypeError(
            f"write_from() plays a Source, an async iterable or an iterable of chunks, not "
            f"{type(source).__name__}"
        )
    try:
        if hasattr(source, "__aiter__"):
            async for chunk in source:
                yield chunk
        else:
            for chunk in source:
                yield chunk
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
        elif isinstance(source, Generator):
            source.close()
