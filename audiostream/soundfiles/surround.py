"""From the channels of a surround file to stereo or mono, by ITU-R BS.775; any thread."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ("downmix", "layout_of")

HALF_POWER = 0.5**0.5
"""-3 dB."""

LEFT, RIGHT, BOTH, NONE = (1.0, 0.0), (0.0, 1.0), (HALF_POWER, HALF_POWER), (0.0, 0.0)
REAR_LEFT, REAR_RIGHT, REAR = (HALF_POWER, 0.0), (0.0, HALF_POWER), (0.5, 0.5)

SIDES = (
    None,
    BOTH,  # mono
    LEFT,
    RIGHT,
    BOTH,  # centre
    LEFT,  # front left
    RIGHT,  # front right
    BOTH,  # front centre
    REAR,  # rear centre
    REAR_LEFT,
    REAR_RIGHT,
    NONE,  # low frequencies
    LEFT,  # front left of the centre
    RIGHT,  # front right of the centre
    REAR_LEFT,  # side left
    REAR_RIGHT,  # side right
    REAR,  # top centre
    REAR_LEFT,  # top front left
    REAR_RIGHT,  # top front right
    REAR,  # top front centre
    REAR_LEFT,  # top rear left
    REAR_RIGHT,  # top rear right
    REAR,  # top rear centre
)
"""A speaker's number in libsndfile -> how loud it is on the left and on the right."""

LAYOUTS = {
    3: (2, 3, 4),
    4: (2, 3, 9, 10),
    5: (2, 3, 4, 9, 10),
    6: (2, 3, 4, 11, 9, 10),
    7: (2, 3, 4, 11, 8, 14, 15),
    8: (2, 3, 4, 11, 9, 10, 14, 15),
}
"""Channels -> their speakers, if the file does not name them; as in FLAC (RFC 9639, 9.1.3)."""

CHANNEL_MAP = 0x1100
"""libsndfile's SFC_GET_CHANNEL_MAP_INFO."""

MAPPED = ("WAV", "WAVEX", "RF64", "W64", "CAF")
"""Formats whose speakers libsndfile names; for AIFF it returns freed memory."""


def layout_of(file: Any) -> tuple[int, ...] | None:
    """The speaker of each channel of one of soundfile's files; None if it is not known."""
    import soundfile

    channels = int(file.channels)
    if file.format in MAPPED:
        with contextlib.suppress(AttributeError):  # they are soundfile's own affair
            numbers = soundfile._ffi.new("int[]", channels)
            if soundfile._snd.sf_command(file._file, CHANNEL_MAP, numbers, 4 * channels):
                layout = tuple(numbers)
                if all(0 < number < len(SIDES) for number in layout):
                    return layout
    return LAYOUTS.get(channels)


def downmix(layout: tuple[int, ...] | None, channels: int) -> list[list[float]] | None:
    """The matrix from three speakers or more to two channels or one, by ITU-R BS.775.

    Centre and surrounds are at -3 dB, low frequencies are left out, and no row's sum exceeds 1.

    Returns
    -------
    list of rows, or None
        None: channels go where :func:`audiostream.realtime.units.conversion.convert` puts them.
    """
    if layout is None or len(layout) < 3 or channels > 2:
        return None
    sides = [SIDES[speaker] or NONE for speaker in layout]
    rows = [[side[row] for side in sides] for row in (0, 1)]
    if channels == 1:
        rows = [[HALF_POWER * (left + right) for left, right in zip(*rows, strict=True)]]
    most = max(1.0, *(sum(row) for row in rows))
    return [[factor / most for factor in row] for row in rows]
