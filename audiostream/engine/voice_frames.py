"""A voice's frames from written to heard or cleared, and the marks among them; any thread."""

from __future__ import annotations

from typing import Any

from audiostream.engine.controls import Controls
from audiostream.engine.effects import Effects
from audiostream.engine.frame_accounting import Counts, FrameAccounting
from audiostream.engine.marks import Mark, Marks, Waiting
from audiostream.engine.output import Output
from audiostream.engine.ring_writer import RingWriter

__all__ = ("VoiceFrames",)

CLEARED = ("skip", "group_skip", "clean")
"""Words that hold the index up to which a clear or a stop has dropped, or will drop."""


class VoiceFrames(Controls):
    """A voice's frames, counted from written to heard or cleared.

    Parameters
    ----------
    output : Output
        Open.
    ratio : float
        Own frames to one of the device's.

    Attributes
    ----------
    writer : RingWriter
        What is written goes through it; set by the voice.
    epoch : int
        Clears and stops so far.
    """

    writer: RingWriter

    def __init__(self, output: Output, ratio: float, effects: Effects | None = None) -> None:
        super().__init__(output, effects)
        self.accounting = FrameAccounting(ratio)
        self.epoch = 0
        self._marks = Marks()
        self._heard = self._read = 0  # ring indices at the last look
        self._cuts = self._stops = 0  # seen by then
        self._final: Counts | None = None
        self._final_words: dict[str, int] = {}
        self._unheard = 0  # own frames that were queued at the end

    def read_index(self) -> int:
        """The ring index up to which the audio thread has read."""
        return self.strip.word("read")

    def write_index(self) -> int:
        """The ring index at the end of what was written."""
        return self.strip.word("write")

    # --- what the audio thread does ----------------------------------------------

    def _settle(self) -> None:
        """Book what the audio thread has read, cleared and stopped since the last look."""
        if self.is_gone:
            return
        # In this order: a jump is told before the index that it led to.
        word = self.strip.word
        self._heard = word("heard")
        self._read = word("read")
        cuts = word("cut_count")
        stops = word("stop_count")
        was_stopped = stops != self._stops
        for number in range(self._cuts, cuts):
            start, to = self.strip.cut(number)
            if was_stopped:
                self._marks.pull(to)
            self.accounting.split(to)
            self.accounting.note_cut(start, to)
            self._marks.drop(start, to)
        self._cuts, self._stops = cuts, stops
        self.accounting.note_read(self._read)
        if was_stopped:
            self.epoch += 1
            if self._read == self.write_index():  # nothing was written since
                self._drop()

    def notice_stop(self) -> None:
        """See whether a command has stopped it meanwhile, and drop what that leaves."""
        with self.lock:
            if not self.is_gone and self.strip.word("stop_count") != self._stops:
                self._settle()

    def _drop(self) -> int:
        """Drop what was written and is not in the ring yet; the ring index there."""
        self.writer.forget()
        return self._begin_segment(whole=False)

    def _begin_segment(self, *, whole: bool) -> int:
        """What is written next does not go on from what came before; the ring index there.

        `whole`: what came before was flushed, by an end; otherwise it was cleared.
        """
        index = self.write_index()
        self.accounting.forget(self.strip.word("heard"))
        self.accounting.close_segment(index, whole=whole)
        self._marks.pull(index)
        return index

    def _note_unheard(self) -> None:
        """Note how many frames are not heard yet.

        Frames that a clear drops do not count, nor does silence that the device still plays.
        """
        self._settle()
        word = self.strip.word
        read, write = max(word("read"), word("skip"), word("group_skip")), word("write")
        if read < write and self.strip.peak_written(read, write):
            self._unheard = self.counts().buffered

    def _finish(self) -> None:
        """End; what was not heard by now counts as cleared."""
        self._settle()
        self._final_words = {name: self.strip.word(name) for name in ("starved", "shortages")}
        counts = self.counts()
        left = counts.buffered
        self._final = Counts(counts.written, counts.position, counts.cleared + left)
        self.is_gone = True

    # --- counts ------------------------------------------------------------------

    def counts(self) -> Counts:
        """The counts, as of the last block."""
        with self.lock:
            self._settle()
            return self._final or self.accounting.counts(self._heard)

    def heard_of(self, begin: int, end: int, *, cut: bool = False) -> tuple[int, bool]:
        """Of the own frames from `begin` to `end`, counted as written, those heard by now.

        And whether that is final.  `cut`: what the device already has counts, too, since
        nothing can take it back.
        """
        with self.lock:
            self._settle()
            index = self._read if cut and not self.is_gone else self._heard
            is_final = self.is_gone or self.accounting.is_past(end, index)
            return self.accounting.heard_of(begin, end, index), is_final

    def cleared_to(self, index: int) -> int:
        """Own frames heard up to a clear's ring index, once it is done."""
        with self.lock:
            self._settle()
            return self._final.position if self._final else self.accounting.heard_before(index)

    def ring_index(self, own: int) -> int:
        """The ring index of the own frame number `own`, counted as written."""
        with self.lock:
            return self.accounting.ring_index(own)

    def index_of(self, position: int) -> int:
        """The ring index that is heard when `position` is so many frames."""
        with self.lock:
            return self.accounting.index_of(position)

    @property
    def starved(self) -> int:
        """Frames of silence (the device's) that stood in for frames not there in time."""
        return self._counter("starved")

    @property
    def shortages(self) -> int:
        """How often it starved: it ran out of frames while it was heard, and not at an end."""
        return self._counter("shortages")

    def _counter(self, name: str) -> int:
        with self.lock:
            return self._final_words[name] if self.is_gone else self.strip.word(name)

    # --- marks -------------------------------------------------------------------

    def mark(self, name: Any) -> int:
        """Mark the end of what was written; the own frames written before it.

        It is reached when all before it was heard; and where that is so already, or was
        cleared, as at the beginning of an utterance, when the frame after it is.
        """
        with self.lock:
            self.check()
            self._settle()
            written = self.accounting.written
            index = self.accounting.ring_index(written)
            begins = self._heard >= index or index in map(self.strip.word, CLEARED)
            self._marks.add(Waiting(name, written, index, index + 1 if begins else index))
        self.news()
        return written

    def heard_mark(self) -> Mark | None:
        """Return the next mark that was heard by now; each is returned once."""
        with self.lock:
            self._settle()
            mark = None if self.is_gone else self._marks.take(self._heard)
            if mark is None:
                return None
            position = self.accounting.heard_of(0, mark.written, self._heard)
            # The end of the frame before it, or the beginning of the one after it; now, if
            # that is too long ago to be known.
            clock, frame = self.output.clock, self.strip.frame_of(mark.reached - 1)
            if frame is None:
                return Mark(mark.name, position, clock.now())
            when = clock.heard(frame + (mark.reached == mark.index))
            return Mark(mark.name, position, when)

    def arm_mark(self) -> bool:
        """Signal the wake-up when the next mark was heard; True if it is."""
        with self.lock:
            mark = None if self.is_gone else self._marks.first()
            return mark is not None and self.strip.arm("heard", mark.reached)
