"""How much of a voice is there before it starts, fitted to the network; under its lock."""

from __future__ import annotations

__all__ = ("Prebuffer",)

GROWTH = 1.5
"""After a shortage there is so much more before the voice starts again."""

RELIEF = 0.9
"""After each calm stretch there is so much of it left."""

CALM = 10.0
"""Seconds of playing without a shortage that make a calm stretch."""


class Prebuffer:
    """What is to be there before a voice starts; grows after shortages, shrinks again.

    The rule is that of an adaptive playout buffer whose delay changes between talk spurts
    only (Ramjee, Kurose, Towsley and Schulzrinne, "Adaptive playout mechanisms for packetized
    audio applications in wide-area networks", INFOCOM 1994), with the shortages themselves in
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
        self._stretch = CALM * rate
        self._shortages = 0
        self._calm_since = 0

    def note(self, shortages: int, read: int) -> bool:
        """Look at how many shortages there were and how far it was read; True if it changes."""
        before = self.frames
        if shortages != self._shortages:
            self._shortages = shortages
            self._calm_since = read
            self.frames = min(round(self.frames * GROWTH), self.most)
        elif read - self._calm_since > self._stretch:
            self._calm_since = read
            self.frames = max(round(self.frames * RELIEF), self._least)
        return self.frames != before
