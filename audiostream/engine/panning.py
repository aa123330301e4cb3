"""From left to right, at equal power; any thread."""

from __future__ import annotations

import math

from audiostream.checks import check_number
from audiostream.errors import FormatError

__all__ = ("sides_of",)


def sides_of(pan: float, channels: int) -> tuple[float, float]:
    """Factors of the left and the right channel.

    Their squares sum to 2 everywhere, so that the power stays the same: both are 1 in the
    middle, where the samples stay bit for bit, and one is sqrt(2) at a side.

    Raises
    ------
    FormatError
        If `pan` is outside -1 to 1, or other than 0 where there are not two channels.
    """
    pan = check_number(pan, "pan", -1, 1, "-1 is left, 1 right")
    if pan == 0:
        return 1.0, 1.0
    if channels != 2:
        raise FormatError(
            f"there is no left and right in {channels} channel(s); open the output with "
            "channels=2 to pan"
        )
    # Sines both, so that a side is silent to the last bit.
    left, right = ((1 - pan) * math.pi / 4, (1 + pan) * math.pi / 4)
    return math.sqrt(2) * math.sin(left), math.sqrt(2) * math.sin(right)
