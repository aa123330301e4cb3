"""How much of a voice is there before it starts, fitted to the network; under its lock."""

from __future__ import annotations

__all__ = ("Prebuffer",)

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
    least, most : int
        Bounds, in frames of the device; where they are equal it stays there.
    rate : int
        The device's frames per second (Hz).

    Attributes
    ----------
    frames : int
        What is to be there now.
    """

    def __init__(self, least: int, most: int, rate: int) -> None:
        self.frames = least
        self._least = least
        self.most = most
        self._stretch = STEADY * rate
        self._starvations = 0
        self._steady_since = 0

    def note(self, starvations: int, read: int) -> bool:
        """Note the starvations so far and how far it was read; True if it changes."""
        before = self.frames
        if starvations != self._starvations:
            self._starvations = starvations
            self._steady_since = read
            self.frames = min(round(self.frames * GROWTH), self.most)
        elif read - self._steady_since > self._stretch:
            self._steady_since = read
            self.frames = max(round(self.frames * RELIEF), self._least)
        return self.frames != before
