"""What a call of a kernel returns if it fails, and what that means; any thread."""

from __future__ import annotations

from collections.abc import Sequence

from audiostream.kernels.contract import Place

__all__ = ("BAD_COUNT", "FIRST_PLACE", "IN_HELPER", "NOT_FINITE", "Places", "failure_text")

Places = Sequence[tuple[str, str, int]]
"""Where a kernel may raise: the exception, its text, the line counted from its first."""

NOT_FINITE, BAD_COUNT, IN_HELPER, FIRST_PLACE = -1, -2, -3, -4
"""What a call gives if it fails: the audio thread found a NaN or an infinity; the kernel gave
a number of frames that cannot be; it raised in a function that it calls; or it raised in the
place of that number, counted downwards."""


def failure_text(place: Place, places: Places, status: int) -> str:
    """What went wrong in the kernel at a place, as its call has returned it."""
    number = FIRST_PLACE - status
    if status == NOT_FINITE:
        what = "its block has a NaN or an infinity; look at divisions, logarithms and feedback"
    elif status == BAD_COUNT:
        what = "it returned a number of frames below 0 or above block.shape[0]"
    elif 0 <= number < len(places):
        kind, text, line = places[number]
        what = f"{kind}{': ' if text else ''}{text} in line {place.line + line}"
    else:
        what = "it raised in a function that it calls; try process(..., plain=True)"
    return f"kernel {place} failed: {what}"
