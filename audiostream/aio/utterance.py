"""What one turn of a conversation says: written, ended, heard or cut; event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

    # --- writing -----------------------------------------------------------------

    @property
    def is_cleared(self) -> bool:
        """True once a clear or a stop of its sample has cut it, or taken its turn away."""
        return self._voice.epoch != self._epoch and not self._is_whole()

    def _is_whole(self) -> bool:
        return self._end is not None and self.heard == self.written

    @property
    def is_ended(self) -> bool:
        """True once :meth:`end` was called, or the next utterance has begun."""
        return self._end is not None

    def _open(self) -> bool:
        """Have the turn, if it is not taken away; True if it is ours."""
        self._voice.notice_stop()
        if self._end is not None and self._voice.epoch == self._epoch:
            raise AudioException(
                "this utterance has ended; make the next one with sample.utterance()"
            )
        if self._voice.epoch != self._epoch:
            self.end()
            return False
        before = self._sample._speaking
        if before is not self:
            if before is not None:
                before.end()
            self._sample._speaking = self
            self._begin = self._voice.counts().written
        return True

    async def write(self, data: Any) -> bool:
        """Write it all, waiting while the ring is full; False if the utterance was cleared.

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
        if not self._open():
            return False
        await self._sample.write(data)
        return self._voice.epoch == self._epoch

    def write_nowait(self, data: Any) -> bool:
        """Write it all at once, without waiting; False if the utterance was cleared.

        So a receive loop takes what a server sends faster than real time: give the sample a
        ring that holds it, as in ``speaker.sample(buffer=60)``.

        Raises
        ------
        WouldBlock
            If the ring has no room for all of it; none of it was taken then.
        AudioException, TypeError, FormatError, StreamClosedError, DeviceError
            As :meth:`write`.
        """
        if not self._open():
            return False
        if not self._voice.write_whole(data):
            held = self._sample.buffered / self._sample.rate
            raise WouldBlock(
                f"the sample's ring is full with {held:.1f} s; await write(), or make the "
                "sample with a longer buffer="
            )
        return True

    def end(self) -> None:
        """It is complete; what is written later belongs to the next.  Idempotent."""
        if self._end is not None:
            return
        mine = self._sample._speaking is self
        if mine:
            self._sample._speaking = None
            if self._voice.epoch == self._epoch:
                self._sample.end()
        written = self._voice.counts().written
        if self._begin is None:
            self._begin = written
        self._end = written if mine else self._begin

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
        if self._begin is None:
            return 0
        cut = self._voice.epoch != self._epoch
        return self._voice.heard_of(self._begin, self._begin + self.written, cut=cut)

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
        """None once it is over, else the ring index to be told of, or -1 for any news."""
        self._voice.notice_stop()
        if self._end is None:
            return None if self._voice.epoch != self._epoch else -1
        assert self._begin is not None
        index = self._voice.ring_index(self._end)
        if self._voice.has_heard(index):
            return None
        return index

    def __repr__(self) -> str:
        state = "cleared" if self.is_cleared else "ended" if self.is_ended else "open"
        return f"<Utterance {self.tag!r}, {state}: {self.heard} of {self.written} frames heard>"
