"""What one turn of a conversation says: written, ended, heard or cut; event loop."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from audiostream.aio.errors import WouldBlock
from audiostream.errors import AudioException

if TYPE_CHECKING:
    from audiostream.aio.sample import AudioSample

__all__ = ("Utterance",)


class Utterance:
    """A stretch of a sample's sound that is heard, or cut, as one; see `sample.utterance()`.

    The sample plays its utterances in the order of their first writes; the first write of one
    ends the one before.  A clear (or stop) of the sample ends all that are under way or
    queued: what still arrives for them is discarded, and their writes return False.  The next
    utterance begins with a clean sheet.

    Attributes
    ----------
    tag : object
        As it was given: a server's item, say.
    """

    def __init__(self, sample: AudioSample, tag: Any) -> None:
        self.tag = tag
        self._sample = sample
        self._voice = sample._voice
        self._epoch = self._voice.epoch
        self._begin: int | None = None
        self._end: int | None = None
        self._before: Utterance | None = None  # whose turn is not over yet
        self._writes = 0  # that wait
        self._queue: anyio.Lock | None = None  # while the one before is not over
        self._closing = False  # it ends as soon as they are through
        self._is_complete = False  # it has ended before any cut
        self._over: anyio.Event | None = None  # for the one whose turn is next
        self._heard: int | None = None  # when that is final

    # --- writing -----------------------------------------------------------------

    @property
    def is_cleared(self) -> bool:
        """True once a clear or a stop of its sample has cut it, or taken its turn away."""
        return self._is_cut() and not self._is_whole()

    def _is_cut(self) -> bool:
        return self._voice.epoch != self._epoch

    def _is_whole(self) -> bool:
        return self._is_complete and self.heard == self.written

    @property
    def is_ended(self) -> bool:
        """True once :meth:`end` was called, or the next utterance has begun."""
        return self._closing or self._end is not None

    def _may_write(self) -> bool:
        """False once it was cut."""
        self._voice.notice_stop()
        if self._is_cut():
            self.end()
            return False
        if self.is_ended:
            raise AudioException(
                "this utterance has ended; make the next one with sample.utterance()"
            )
        return True

    def _ask_for_turn(self) -> None:
        """Be the next one, and have the one before end."""
        before = self._sample._speaking
        if before is not self:
            if before is not None:
                before.end()
            elif self._sample._turn is not None:
                self._sample.end()  # that of one that was dropped before its end
            self._sample._speaking = self
            self._before = before
            # The voice forgets old clears; what was heard of whom is settled before it does.
            spoken = self._sample._spoken
            spoken[:] = [ref for ref in spoken if (one := ref()) and not one._is_settled()]

    def _take_turn(self) -> None:
        """Begin, if it has not begun."""
        if self._begin is None:
            self._begin = self._voice.counts().written

    def _waits_for(self) -> Utterance | None:
        """The one before, or, if that has given up its turn, the one before that."""
        while self._before is not None and self._before._end is not None:
            self._before = self._before._before
        return self._before

    async def write(self, data: Any) -> bool:
        """Write it all, waiting while the ring is full; False if the utterance was cleared.

        Writes of the utterance before that wait come first.

        Parameters
        ----------
        data
            As for the sample's own ``write``.

        Raises
        ------
        AudioException
            If the utterance has ended.
        TypeError, FormatError, StreamClosedError, DeviceError
            As the sample's own ``write``.
        """
        if not self._may_write():
            return False
        self._ask_for_turn()
        self._writes += 1
        try:
            await anyio.lowlevel.checkpoint()  # before anything is taken
            if self._waits_for() is not None or (self._queue and self._queue.locked()):
                self._queue = self._queue or anyio.Lock()
                async with self._queue:  # those that wait go on in their order
                    while (before := self._waits_for()) is not None:
                        before._over = before._over or anyio.Event()
                        await before._over.wait()
            self._take_turn()
            await self._sample.write_in(data, self._epoch)
        finally:
            self._writes -= 1
            if self._closing and not self._writes and self._end is None:
                with contextlib.suppress(AudioException):  # of an output that is closed
                    self._finish()
        return not self._is_cut()

    def write_nowait(self, data: Any) -> bool:
        """Write it all at once, without waiting; False if the utterance was cleared.

        So a receive loop takes what a server sends faster than real time: give the sample a
        ring that holds it, as in ``speaker.sample(buffer=60)``.

        Raises
        ------
        WouldBlock
            If the ring has no room for all of it, or a write of this utterance, or of the one
            before, waits for room; none of it was taken then.
        AudioException, TypeError, FormatError, StreamClosedError, DeviceError
            As :meth:`write`.
        """
        with self._voice.lock:  # so that no clear of another thread comes in between
            if not self._may_write():
                return False
            speaking = self._sample._speaking
            if speaking is not None and speaking._writes and not speaking._is_cut():
                raise WouldBlock("another write waits for room, and comes first; await write()")
            self._ask_for_turn()
            self._take_turn()
            written = self._voice.write_whole(data)
        if not written:
            held = self._sample.buffered / self._sample.rate
            raise WouldBlock(
                f"the sample's ring is full with {held:.1f} s; await write(), or make the "
                "sample with a longer buffer="
            )
        return True

    def end(self) -> None:
        """It is complete; what is written later belongs to the next.  Idempotent.

        Writes of it that wait are still a part of it.
        """
        if self.is_ended:
            return
        if self._writes and not self._is_cut():
            self._closing = True
        else:
            self._finish()

    def _finish(self) -> None:
        """End it now."""
        before = self._waits_for()
        if before is not None and self._is_cut():
            before._finish()  # cut, too: its writes are released, if they do not know yet
        try:
            if self._begin is not None and not self._is_cut():
                self._sample.end()
        finally:
            written = self._voice.counts().written
            if self._begin is None:
                self._begin = written
            self._end = written
            self._is_complete = not self._is_cut()
            if self._sample._speaking is self:
                self._sample._speaking = self._waits_for()
            self._sample._spoken.append(weakref.ref(self))
            if self._over is not None:
                self._over.set()

    def _is_settled(self) -> bool:
        """True if what was heard of it is final, and noted."""
        return self.heard >= 0 and self._heard is not None

    # --- what was heard ----------------------------------------------------------

    @property
    def written(self) -> int:
        """Frames taken so far, at the sample's rate."""
        if self._begin is None:
            return 0
        return (self._voice.counts().written if self._end is None else self._end) - self._begin

    @property
    def heard(self) -> int:
        """Frames of it that have left the device; see the sample's ``position``.

        Once a clear has cut it, what the device still had of it counts as heard, as in what
        ``clear()`` returns.
        """
        if self._heard is None:
            if self._begin is None:
                return 0
            end = self._begin + self.written
            heard, is_final = self._voice.heard_of(self._begin, end, cut=self._is_cut())
            if not is_final or (self._end is None and not self._is_cut()):
                return heard
            self._heard = heard
        return self._heard

    @property
    def heard_seconds(self) -> float:
        """Seconds of it that were heard."""
        return self.heard / self._sample.rate

    async def finished(self) -> bool:
        """Wait until it has ended and its last frame was heard; False if it was cut before.

        Raises
        ------
        StreamClosedError, DeviceError
            If the output closes or its device goes meanwhile.
        """
        await self._sample._until(self._is_over)
        return not self.is_cleared

    def _is_over(self) -> int | None:
        """None once it is over, else the ring index to wait for, or -1 for any news."""
        self._voice.notice_stop()
        if self._end is None:
            return None if self._is_cut() else -1
        assert self._begin is not None
        index = self._voice.ring_index(self._end)
        if self._voice.strip.has("heard", index):
            return None
        return index

    def __repr__(self) -> str:
        state = "cleared" if self.is_cleared else "ended" if self.is_ended else "open"
        return f"<Utterance {self.tag!r}, {state}: {self.heard} of {self.written} frames heard>"
