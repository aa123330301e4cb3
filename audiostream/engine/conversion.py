"""From what is written to a voice to what its ring takes; any thread, one at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from audiostream.engine.resampler import check_quality, resampler
from audiostream.engine.sample_input import Encoded, Samples, check_matrix, remixed, spread
from audiostream.pcm import Format
from audiostream.realtime.compile.kernels import Kernels

__all__ = ("Conversion",)


class Conversion:
    """Encoding, channels and rate of one voice, converted chunk by chunk without a gap.

    ::

        encoded -> float32 -> matrix -> resampler -> ring, which spreads it over channels

    A matrix to more channels than were written comes after the resampler, whose work is for
    each channel.

    Parameters
    ----------
    source : Format
        What is written.
    rate, channels : int
        The output's (Hz, channels).
    quality : str
        One of :data:`audiostream.engine.resampler.QUALITIES`.
    matrix : array_like (channels, source.channels), optional
        How loud each channel that is written is in each channel of the output.  None: one
        channel goes to all, many to one are their mean, otherwise channel ``i`` goes to
        ``i % channels``.

    Attributes
    ----------
    source : Format
        What is written.
    ratio : float
        Own frames to one of the output's.
    channels : int
        Channels of what :meth:`convert` and :meth:`flush` give.
    full_scale : float
        The largest sample of the ring that full scale can become, by the matrix; 1.0 at least.
    is_plain : bool
        There is neither a rate nor a matrix: what has been decoded goes to the ring as it is.
    is_under_way : bool
        A resampler has taken frames since the last :meth:`flush` or :meth:`clear`.

    Raises
    ------
    FormatError
        For a quality or a matrix that cannot be used.
    """

    def __init__(
        self,
        kernels: Kernels,
        source: Format,
        rate: int,
        channels: int,
        quality: str = "high",
        matrix: Any = None,
    ) -> None:
        check_quality(quality)
        self.source = source
        self.ratio = source.rate / rate
        self._kernels = kernels
        self._matrix: np.ndarray | None = None
        self.full_scale = 1.0
        if matrix is not None:
            self._matrix = check_matrix(matrix, channels, source.channels)
            self.full_scale = max(float(np.abs(self._matrix).sum(axis=1).max()), 1.0)
        self._matrix_is_first = source.rate == rate or channels <= source.channels
        # In either order the resampler has no more channels than it must.
        self._middle = min(source.channels, channels)
        self._resampler: Any = None
        if source.rate != rate:
            self._resampler = resampler(kernels, source.rate, rate, self._middle, quality)
        self.channels = source.channels if self._resampler is None else self._middle
        if self._matrix is not None:
            self.channels = channels
        self.is_plain = self._resampler is None and self._matrix is None
        self._into = 0  # own frames that the resampler took
        self._out_of = 0  # the output's frames that it gave

    @property
    def resamples(self) -> bool:
        """The rates differ."""
        return self._resampler is not None

    @property
    def is_under_way(self) -> bool:
        return self._into > 0

    def held_back(self) -> int:
        """Most frames of the output that may come later, and then at once."""
        return 0 if self._resampler is None else int(self._resampler.held_back())

    def takes(self, room: int, spare: int) -> int:
        """Own frames that can be taken now.

        Parameters
        ----------
        room : int
            Frames that the ring takes now, within its limit.
        spare : int
            Frames that it takes beyond its limit, for what the resampler holds back.
        """
        if self._resampler is None:
            return max(room, 0)
        # What is held back may come at any time, an end at the latest.
        safe = math.floor((spare + room + self._out_of) * self.ratio) - self._into - 2
        return max(min(math.ceil(room * self.ratio), safe), 0)

    def convert(self, samples: Samples | Encoded, frames: int) -> Samples:
        """Convert the first `frames` frames.

        Parameters
        ----------
        samples : Samples or Encoded
            Of the source's channels.
        frames : int
            At most as many as there are, and as :meth:`takes` allowed.

        Returns
        -------
        Samples
            At the output's rate, in :attr:`channels`; fewer or more frames by what a resampler
            holds back.
        """
        ready = samples.first(frames)
        if self._matrix is not None and self._matrix_is_first:
            ready = remixed(self._kernels, ready, self._matrix)
        if self._resampler is None:
            return ready
        self._into += frames
        return self._resample(spread(self._kernels, ready, self._middle).data, last=False)

    def flush(self) -> Samples:
        """What is held back; what comes next begins in silence."""
        if self._resampler is None:
            return Samples(np.zeros(0, np.float32), self.channels, 32)
        rest = self._resample(np.zeros((0, self._middle), np.float32), last=True)
        self.clear()
        return rest

    def clear(self) -> None:
        """Forget what is held back; what comes next begins in silence."""
        self._into = self._out_of = 0
        if self._resampler is not None:
            self._resampler.clear()

    def save(self) -> tuple[Any, int, int] | None:
        """What :meth:`restore` needs to go on from here; None if it cannot."""
        state = None if self._resampler is None else self._resampler.save()
        if self.resamples and state is None:
            return None
        return state, self._into, self._out_of

    def restore(self, state: tuple[Any, int, int]) -> None:
        """Go back to the saved state, and forget what came since."""
        if self._resampler is not None:
            self._resampler.restore(state[0])
        _, self._into, self._out_of = state

    def close(self) -> None:
        """Let go of the resampler, which soxr reports as leaked if it outlives Python."""
        self._resampler = None

    def _resample(self, block: np.ndarray, *, last: bool) -> Samples:
        block = block.reshape(-1, self._middle)
        out = self._resampler.resample_chunk(block, last=last)
        self._out_of += len(out)
        ready = Samples(out, self._middle, 32)
        if self._matrix is not None and not self._matrix_is_first:
            ready = remixed(self._kernels, ready, self._matrix)
        return ready
