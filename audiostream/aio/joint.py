"""Where one play of ``write_from`` ends and the next one begins, without a click; event loop.

A resampler looks ahead.  At the end of a source there is nothing ahead, so that its last frames
are made for a sound that stops there.  They wait in the ring to be played when the next source
comes: if that goes on at the same rate, they are made again with what really follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostream.aio.sources.convert import Converter
from audiostream.engine.joint import Joint
from audiostream.engine.voice import Voice

__all__ = ("Play",)

FADE = 0.002
"""Seconds in which one source fades out, and the next one in, where they cannot be joined."""


class Play:
    """What a play of a source needs of the one before, and leaves for the next.

    Parameters
    ----------
    voice : Voice
    source : object
        What is played; a ``Source`` was told to begin.
    before : Play, optional
        The voice's latest play that came to its end.
    """

    def __init__(self, voice: Voice, source: Any, before: Play | None) -> None:
        self._voice = voice
        self._converter: Converter | None = getattr(source, "_converter", None)
        self._joint: Joint | None = None
        if before is not None and not (before._joint and before._joint.is_last()):
            before = None  # it is heard already, or something came in between
        self._before = before
        self._resamples = self._converter is not None and self._converter.resamples
        self._waiting: np.ndarray | None = None
        self._follows = False
        if before is not None and self._converter is not None and before._converter is not None:
            self._follows = self._converter.follow(before._converter)

    def begin(self, chunk: Any, *, last: bool = False) -> Any:
        """Join the first chunk to what was played before; what is to be written of it now.

        Where it is too short for that, more is waited for, until the last one.
        """
        before = self._before
        if before is None or before._joint is None:
            return chunk
        voice, joint = self._voice, before._joint
        if self._follows:
            if self._waiting is not None:
                chunk = np.concatenate((self._waiting, chunk))
            self._waiting = chunk
            if len(chunk) < joint.needed() and not last:
                return chunk[:0]
        self._before = self._waiting = None
        resample = self._resamples or before._resamples
        taken = joint.join(chunk) if self._follows or not resample else 0
        if taken or not (resample or not joint.can_go_on):
            return chunk[taken:]
        if self._follows:
            assert before._converter is not None
            chunk = chunk[before._converter.held :]  # which was written already
        is_plain = isinstance(chunk, np.ndarray) and chunk.dtype == np.float32
        if is_plain and joint.fade(FADE):
            frames = min(round(FADE * voice.format.rate), len(chunk))
            fade = np.arange(frames, dtype=np.float32) / frames
            chunk = chunk.copy()
            chunk[:frames] = (chunk[:frames].T * fade).T
        return chunk

    def rest(self) -> Any:
        """What waits, if the source has come to its end before there was enough; or None."""
        waiting, self._waiting = self._waiting, None
        return None if waiting is None else self.begin(waiting, last=True)

    def kept(self, chunk: Any) -> int:
        """How much of a chunk stays as it is, if another source goes on where this one ends."""
        self._joint = None
        held = 0 if self._converter is None else self._converter.held
        if held > len(chunk):  # some of it lies before this play
            self._converter = None
            held = 0
        return len(chunk) - held

    def note(self) -> None:
        """What is written from here on is made again when another source goes on from it."""
        self._joint = Joint(self._voice)

    def end(self) -> None:
        """All of it was written: end the utterance."""
        self._before = None
        if self._joint is None:
            self.note()
        assert self._joint is not None
        self._voice.end()
        self._joint.close()
