"""A voice's frames from written to heard or cleared; any thread, under the voice's lock.

The ring counts the device's frames, users count their own.  A stretch of the ring between
two ends or clears has one linear relation between the two; a resampler that was flushed
makes its end exact.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

__all__ = ("Counts", "Ledger")


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
    None until that is known.
    """

    ring: int
    own: int
    ring_end: int | None = None
    own_end: int = 0
    whole: bool = False
    dropped: int | None = None


class Ledger:
    """The books of one voice.

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
        self._ratio = ratio
        self._segments: deque[_Segment] = deque([_Segment(0, 0)])
        self._forgotten = 0  # own frames cleared in segments that are gone from the list

    def _own(self, segment: _Segment, ring: int) -> int:
        """Own frames of a segment that lie before the ring index `ring`."""
        if segment.ring_end is not None:
            if segment.whole and ring >= segment.ring_end:
                return segment.own_end - segment.own
            ring = min(ring, segment.ring_end)
        own = math.floor((ring - segment.ring) * self._ratio + 1e-9)
        end = segment.own_end if segment.ring_end is not None else self.written
        return min(max(own, 0), end - segment.own)

    def _drop_behind(self, segment: _Segment, ring: int) -> None:
        """Count what of a segment lies behind the ring index `ring` as dropped."""
        segment.dropped = segment.own_end - segment.own - self._own(segment, ring)

    def close_segment(self, ring: int, *, whole: bool) -> None:
        """A stretch ends at the ring index `ring`, by an end (`whole`) or by a clear."""
        segment = self._segments[-1]
        if segment.ring == ring and segment.own == self.written:
            return
        segment.ring_end = ring
        segment.own_end = self.written
        segment.whole = whole
        self._segments.append(_Segment(ring, self.written))

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
        segments = self._segments
        while (
            len(segments) > 1 and segments[1].ring <= heard and segments[0].dropped is not None
        ):
            self._forgotten += segments.popleft().dropped or 0
        first = segments[0]
        own = first.own + self._own(first, heard)
        if first.dropped is not None:
            own = min(own, first.own_end - first.dropped)
        cleared = self._forgotten + sum(segment.dropped or 0 for segment in segments)
        return Counts(self.written, own - self._forgotten, cleared)

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
