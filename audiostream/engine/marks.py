"""Marks in what is written to a voice, until they are heard; any thread, under its lock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

__all__ = ("Mark", "Marks", "Waiting")


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that was marked in what is written, and was heard.

    Attributes
    ----------
    name : object
        As it was given.
    position : int
        Frames heard before it, at the sample's own rate.
    time : float
        When it was heard: seconds on the stream's clock.
    """

    name: Any
    position: int
    time: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mark that waits.

    ``written`` are the own frames written before it, ``index`` is where that is in the ring,
    and ``reached`` the ring index that is heard when the mark is.
    """

    name: Any
    written: int
    index: int
    reached: int


class Marks:
    """The marks of one voice that were not heard yet."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()

    def add(self, mark: Waiting) -> None:
        """Append a mark."""
        self._waiting.append(mark)

    def first(self) -> Waiting | None:
        """The next mark to be heard."""
        return self._waiting[0] if self._waiting else None

    def take(self, heard: int) -> Waiting | None:
        """Take the next mark, if the ring was heard up to it."""
        if self._waiting and self._waiting[0].reached <= heard:
            return self._waiting.popleft()
        return None

    def pull(self, end: int) -> None:
        """Move the marks that wait to before the ring index `end`.

        Of what a resampler has held back, it was only known where it was to lie.
        """
        for number, mark in enumerate(self._waiting):
            if mark.index > end:
                self._waiting[number] = replace(mark, index=end, reached=end)

    def drop(self, start: int, to: int) -> None:
        """Forget the marks in what the audio thread has jumped over, `start` to `to`."""
        self._waiting = deque(mark for mark in self._waiting if not start < mark.reached <= to)
