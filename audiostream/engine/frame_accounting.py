"""A voice's frames from written to heard or cleared; any thread, under the voice's lock.

The ring counts the device's frames, users count their own.  A stretch of the ring between
two ends or clears has one linear relation between the two; a resampler that was flushed
makes its end exact.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

__all__ = ("Counts", "FrameAccounting")


GAPS = 256
"""Clears that a voice remembers, for what is asked about utterances of long ago."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Frames at the voice's own rate; ``written == position + buffered + cleared``."""

    written: int
    position: int
    cleared: int

    @property
    def buffered(self) -> int:
        """Written, and neither heard nor cleared yet."""
        return self.written - self.position - self.cleared


@dataclass(slots=True)
class _Segment:
    """A stretch of the ring.

    ``ring`` and ``own`` are where it begins (the device's frames, the voice's own),
    ``ring_end`` and ``own_end`` where it ended; ``whole``: by an end, which flushed the
    resampler, and not by a clear.  ``dropped`` are own frames of it that a clear took,
    None until that is known.  ``ratio`` are own frames to one of the device's.
    """

    ring: int
    own: int
    ring_end: int | None = None
    own_end: int = 0
    whole: bool = False
    dropped: int | None = None
    ratio: float = 1.0


class FrameAccounting:
    """The counts of one voice.

    Parameters
    ----------
    ratio : float
        Own frames to one of the device's.

    Attributes
    ----------
    written : int
        Own frames taken so far.
    """

    def __init__(self, ratio: float) -> None:
        self.written = 0
        self._segments: deque[_Segment] = deque([_Segment(0, 0, ratio=ratio)])
        self._forgotten = 0  # own frames cleared in segments that are gone from the list
        self._gaps: deque[tuple[int, int]] = deque(maxlen=GAPS)  # own frames that were cleared

    def _own(self, segment: _Segment, ring: int) -> int:
        """Own frames of a segment that lie before the ring index `ring`."""
        if segment.ring_end is not None:
            if segment.whole and ring >= segment.ring_end:
                return segment.own_end - segment.own
            ring = min(ring, segment.ring_end)
        own = math.floor((ring - segment.ring) * segment.ratio + 1e-9)
        end = segment.own_end if segment.ring_end is not None else self.written
        return min(max(own, 0), end - segment.own)

    def _drop_behind(self, segment: _Segment, ring: int) -> None:
        """Count as dropped what of a segment lies after the ring index `ring`."""
        segment.dropped = segment.own_end - segment.own - self._own(segment, ring)
        if segment.dropped:
            self._gaps.append((segment.own_end - segment.dropped, segment.own_end))

    def close_segment(self, ring: int, *, whole: bool) -> None:
        """A stretch ends at the ring index `ring`, by an end (`whole`) or by a clear."""
        segment = self._segments[-1]
        if segment.ring == ring and segment.own == self.written:
            return
        segment.ring_end = ring
        segment.own_end = self.written
        segment.whole = whole
        self._segments.append(_Segment(ring, self.written, ratio=segment.ratio))

    def change_ratio(self, ring: int, ratio: float) -> None:
        """What is written from the ring index `ring` on is at another rate."""
        self.close_segment(ring, whole=True)
        self._segments[-1].ratio = ratio

    def split(self, ring: int) -> None:
        """A stretch ends at a ring index that was written a while ago; what follows goes on."""
        segment = self._segments[-1]
        if segment.ring_end is None and segment.ring < ring:
            own = segment.own + self._own(segment, ring)
            segment.ring_end, segment.own_end = ring, own
            self._segments.append(_Segment(ring, own, ratio=segment.ratio))

    def ring_index(self, own: int) -> int:
        """The ring index at which the own frame number `own` lies, or will lie."""
        segment = self._segments[-1]
        for candidate in self._segments:
            if candidate.ring_end is None or own <= candidate.own_end:
                segment = candidate
                break
        ring = segment.ring + math.ceil((own - segment.own) / segment.ratio - 1e-9)
        if segment.ring_end is None:
            return ring
        return segment.ring_end if own >= segment.own_end else min(ring, segment.ring_end)

    def index_of(self, position: int) -> int:
        """The ring index that is heard when so many own frames were heard in all."""
        left = position - (self._segments[0].own - self._forgotten)
        for segment in self._segments:
            ring = segment.ring + math.ceil(left / segment.ratio - 1e-9)
            if segment.ring_end is None:
                break
            ring = min(ring, segment.ring_end)
            heard = segment.own_end - segment.own - (segment.dropped or 0)
            if left <= heard:
                return segment.ring_end if left == heard and not segment.dropped else ring
            left -= heard
        return ring

    def note_cut(self, start: int, to: int) -> None:
        """The audio thread has jumped from one ring index to another."""
        for segment in self._segments:
            end = segment.ring_end
            if end is not None and segment.dropped is None and start < end <= to:
                self._drop_behind(segment, max(start, segment.ring))

    def note_read(self, read: int) -> None:
        """The audio thread has read up to `read`.

        A segment that was played to its end before its clear was seen loses only what the
        resampler held back.
        """
        for segment in self._segments:
            end = segment.ring_end
            if end is not None and segment.dropped is None and read >= end:
                self._drop_behind(segment, end)

    def counts(self, heard: int) -> Counts:
        """The counts when the ring was heard up to `heard`."""
        self.forget(heard)
        own = self._frontier(heard)
        cleared = self._forgotten + sum(segment.dropped or 0 for segment in self._segments)
        return Counts(self.written, own - self._forgotten, cleared)

    def heard_of(self, begin: int, end: int, heard: int) -> int:
        """Of the own frames from `begin` to `end`, counted as written, those heard by now."""
        end = min(end, self._frontier(heard))
        gaps = sum(max(min(b, end) - max(a, begin), 0) for a, b in self._gaps)
        return max(end - begin - gaps, 0)

    def is_past(self, own: int, heard: int) -> bool:
        """True if all before the own frame `own`, counted as written, was heard or cleared."""
        return self._frontier(heard) >= own

    def forget(self, heard: int) -> None:
        """Let go of the stretches that were heard to their ends."""
        segments = self._segments
        while (
            len(segments) > 1 and segments[1].ring <= heard and segments[0].dropped is not None
        ):
            self._forgotten += segments.popleft().dropped or 0

    def _frontier(self, heard: int) -> int:
        """The own frame, counted as written, up to which all was heard or cleared."""
        last = self._segments[0]
        for segment in self._segments:
            if segment.ring > heard:
                break
            last = segment
            if segment.dropped is None:
                break
        own = last.own + self._own(last, heard)
        if last.dropped is not None:
            own = min(own, last.own_end - last.dropped)
        return own

    def heard_before(self, ring: int) -> int:
        """Own frames heard of all that was written before the ring index of a clear."""
        dropped = self._forgotten
        written = 0
        for segment in self._segments:
            if segment.ring_end is None or segment.ring_end > ring:
                return max(written, segment.own if segment.ring <= ring else 0) - dropped
            dropped += segment.dropped or 0
            written = segment.own_end
        return written - dropped
