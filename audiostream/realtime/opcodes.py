"""The numbers of commands, of a voice's transport and of curves; any thread.

Apart from the kernels, so that code that only sends commands need not import numba, which takes
half a second.
"""

from __future__ import annotations

__all__ = (
    "END",
    "ENDING",
    "EQUAL_POWER",
    "EXPONENTIAL",
    "GAIN",
    "HOLD",
    "LINEAR",
    "NOTHING",
    "PAN",
    "PAUSE",
    "PAUSED",
    "PAUSING",
    "PLAY",
    "PLAYING",
    "RESUME",
    "SET",
    "SILENCE",
    "STOP",
    "STOPPED",
    "STOPPING",
    "WRITTEN",
)

STOPPED, PLAYING, STOPPING, PAUSING, PAUSED, ENDING = 0, 1, 2, 3, 4, 5
"""A voice's transport: STOPPING plays until the clear that came with it is done, PAUSING and
ENDING play until they have faded out."""

NOTHING, PLAY, STOP, END, PAUSE, RESUME, GAIN, SILENCE, PAN, HOLD, SET = range(11)
"""Commands.  STOP comes with a clear; END stops by itself, at its time.  SILENCE moves mute to
``value``; PAN moves the left channel to ``value`` and the right one to ``turn``.  HOLD pauses
where nothing sounds, until a PLAY that has a time.  SET moves a parameter of an effect."""

WRITTEN = -1
"""The opcode of a command that its caller is replacing."""

LINEAR, EXPONENTIAL, EQUAL_POWER = 0, 1, 2
"""On what curve a level moves; see units/automation.py."""
