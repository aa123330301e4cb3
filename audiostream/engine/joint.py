"""Places in a voice's ring where another sound goes on as if there had been no end; any thread.

What was written after a joint waits in the ring to be played.  It is made again, with what
follows it in place of the end, or faded out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.engine.sample_input import Samples, of_bytes, samples_of, spread

if TYPE_CHECKING:
    from audiostream.engine.voice import Voice

__all__ = ("Joint",)


class Joint:
    """The place up to which a voice is written now.

    The audio thread would play some of the old and some of the new frames if it came upon those
    that are replaced, and so they are two of the device's blocks ahead of it.

    Parameters
    ----------
    voice : Voice
    """

    def __init__(self, voice: Voice) -> None:
        with voice.lock:
            voice.check()
            voice.notice_stop()
            self._voice = voice
            self._conversion = voice.writer.conversion
            self._state = None if voice.writer.carry else self._conversion.save()
            self._epoch = voice.epoch
            self._begin = self._place()
            self._end = (0, 0)

    def _place(self) -> tuple[int, int]:
        """The ring index, and the own frames, up to which the voice is written."""
        return self._voice.write_index(), self._voice.accounting.written

    def close(self) -> None:
        """What lies between the joint and here is what :meth:`join` replaces."""
        with self._voice.lock:
            self._end = self._place()

    @property
    def can_go_on(self) -> bool:
        """True if the conversion can go on from here: soxr's cannot."""
        return self._state is not None

    def is_last(self) -> bool:
        """True if nothing was written or cleared since the close, and it is not heard yet."""
        voice = self._voice
        with voice.lock:
            voice.notice_stop()
            return (
                not voice.is_gone
                and self._epoch == voice.epoch
                and self._conversion is voice.writer.conversion
                and self._end == self._place()
                and not voice.writer.carry
                and voice.read_index() < self._end[0]
            )

    def needed(self) -> int:
        """Own frames that :meth:`join` wants; 0 if it cannot."""
        voice, conversion = self._voice, self._conversion
        with voice.lock:
            over = self._end[0] - self._begin[0]  # the device's frames
            if not over or not self.can_go_on or self._unread(self._begin[0]) < 0:
                return 0
            if not self.is_last():
                return 0
            if not conversion.resamples:
                return over
            held = conversion.held_back()
            if voice.strip.holds - (self._end[0] - voice.read_index()) < 2 * held + 2:
                return 0
            return math.ceil((over + held) * conversion.ratio) + 2

    def _unread(self, index: int) -> int:
        """The device's frames before a ring index that are safe from the audio thread."""
        return index - self._voice.read_index() - 2 * self._voice.output.period

    def join(self, data: Any) -> int:
        """Go on from here as if there had been no end.

        What was written after the joint is replaced in the ring, where it waits to be
        played, and so many frames more are taken as the resampler needs for that.

        Parameters
        ----------
        data
            As for :meth:`Voice.write_nowait`: first what takes the place of the frames that
            were written from the joint on, then what follows them.

        Returns
        -------
        int
            What was taken, in the units of :meth:`Voice.write_nowait`; 0 if it is too late, if
            there is too little of it, or if soxr converts the rate.
        """
        voice, conversion = self._voice, self._conversion
        with voice.lock:
            voice.check()
            count = self.needed()
            what = samples_of(data, voice.format)
            unit = 1
            if isinstance(what, memoryview):
                unit = voice.format.frame_bytes
                what = of_bytes(what[: len(what) // unit * unit], voice.format)
            if not count or what.frames < count:
                return 0
            over = self._end[0] - self._begin[0]
            assert self._state is not None
            conversion.restore(self._state)
            made = conversion.convert(what, count)
            self._replace(self._begin[0], made.first(over))
            rest = made.data.reshape(-1)[over * made.channels :]
            voice.writer.put_converted(Samples(rest, made.channels, made.encoding))
            voice.accounting.written = self._begin[1] + count
        return count * unit

    def fade(self, seconds: float) -> bool:
        """Fade out what was written last; False if nothing of it waits to be played."""
        voice = self._voice
        with voice.lock:
            end = self._end[0]
            frames = min(round(seconds * voice.output.parameters.rate), self._unread(end))
            if frames < 1 or not self.is_last():
                return False
            ring, capacity = voice.strip.ring()
            fade = 1 - np.arange(1, frames + 1, dtype=np.float32) / frames
            faded = ring[np.arange(end - frames, end) % capacity] * fade[:, np.newaxis]
            self._replace(end - frames, Samples(faded, faded.shape[1], 32))
            return True

    def _replace(self, index: int, samples: Samples) -> None:
        """Put other frames in the ring where some are that wait to be played."""
        output = self._voice.output
        ring, capacity = self._voice.strip.ring()
        channels = ring.shape[1]
        block = spread(output.kernels, samples, channels).data.reshape(-1, channels)
        block = np.nan_to_num(block, posinf=1.0, neginf=-1.0)
        places = np.arange(index, index + len(block)) % capacity
        ring[places] = block
        twice = places < output.max_block  # stored again after the ring's end
        ring[capacity + places[twice]] = block[twice]
