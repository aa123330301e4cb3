"""How much of a voice is there before it starts, fitted to the network; under its lock."""

from __future__ import annotations

from audiostream.checks import check_number
from audiostream.engine.strip import Strip

__all__ = ("Prebuffer",)

ADAPTIVE = (0.06, 1.0)
"""Seconds between which an adaptive prebuffer moves."""

GROWTH = 1.5
"""After a starvation there is so much more before the voice starts again."""

RELIEF = 0.9
"""After each steady stretch so much of it is left."""

STEADY = 10.0
"""Seconds of playing without a starvation that are a steady stretch."""


class Prebuffer:
    """What is to be there before a voice starts; grows after starvations, shrinks again.

    The rule is that of an adaptive playout buffer whose delay changes between talk spurts
    only (Ramjee, Kurose, Towsley and Schulzrinne, "Adaptive playout mechanisms for packetized
    audio applications in wide-area networks", INFOCOM 1994), with the starvations themselves in
    the place of an estimate of the jitter: what is playing is never stretched.

    Parameters
    ----------
    prebuffer : float or "adaptive"
        Seconds; "adaptive": they move within :data:`ADAPTIVE`.
    buffer : float
        Seconds that the voice's ring holds.
    rate : int
        The device's frames per second (Hz).

    Attributes
    ----------
    frames : int
        What is to be there now.
    most : int
        The most that it may be.
    adapts : bool
        True if it moves.

    Raises
    ------
    FormatError
        If `prebuffer` is not within the buffer.
    """

    def __init__(self, prebuffer: float | str, buffer: float, rate: int) -> None:
        if isinstance(prebuffer, str) and prebuffer == "adaptive":
            least, most = (min(seconds, buffer) for seconds in ADAPTIVE)
        else:
            hint = f"try 'adaptive', or seconds within the ring of buffer={buffer:g}"
            least = most = check_number(prebuffer, "prebuffer", 0, buffer, hint)
        self.frames = self._least = round(least * rate)
        self.most = round(most * rate)
        self.adapts = self._least < self.most
        self._stretch = STEADY * rate
        self._starvations = 0
        self._steady_since = 0

    def fit(self, strip: Strip) -> None:
        """Fit it to the starvations that there were, if it adapts; called at each write."""
        if not self.adapts:
            return
        before, starvations, read = self.frames, strip.word("shortages"), strip.word("read")
        if starvations != self._starvations:
            self._starvations = starvations
            self._steady_since = read
            self.frames = min(round(self.frames * GROWTH), self.most)
        elif read - self._steady_since > self._stretch:
            self._steady_since = read
            self.frames = max(round(self.frames * RELIEF), self._least)
        if self.frames != before:
            strip.set_word("prebuffer", self.frames)
