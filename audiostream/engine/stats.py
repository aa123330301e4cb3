"""A stream's counters, which its callbacks keep; any thread."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Stats",)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of a stream since it was opened.

    Attributes
    ----------
    callbacks : int
        Blocks that the device has asked for or delivered.
    frames : int
        Frames in them, at the device's rate.
    underruns : int
        Times the device said that output came too late.
    overruns : int
        Times the device said that input was lost.
    starved : int
        Frames of silence that voices were short of, all voices together.
    late : int
        Callbacks that came later than the last block and the latency could cover.
    longest : float
        Seconds that the longest callback took.
    wakeups : int
        Wake-ups signalled from the audio thread.
    """

    callbacks: int
    frames: int
    underruns: int
    overruns: int
    starved: int
    late: int
    longest: float
    wakeups: int
