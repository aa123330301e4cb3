"""What a voice is told to do, at once or at a time; any thread, under the voice's lock."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from audiostream.errors import AudioException, FormatError
from audiostream.realtime.kinds import EQUAL_POWER, EXPONENTIAL, LINEAR, NOTHING
from audiostream.realtime.layout import COMMANDS

if TYPE_CHECKING:
    from audiostream.engine.output import Output

__all__ = ("CURVES", "Commands", "check_number")

CURVES = {"linear": LINEAR, "exponential": EXPONENTIAL, "equal_power": EQUAL_POWER}
"""Names of the ways on which a gain moves; see realtime/envelope.py."""

STEEPNESS = math.log(1000.0)
"""Of the exponential curve: 60 dB."""


class Commands:
    """A voice's commands, from when they are given until they are carried out.

    Parameters
    ----------
    output : Output
        Open.
    slot : int
        The voice's.
    table : ndarray
        The memory of its commands, of dtype COMMAND.
    """

    def __init__(self, output: Output, slot: int, table: Any) -> None:
        self._output = output
        self._slot = slot
        self._table = table
        self._given = 0

    def _taken(self) -> int:
        return self._output.word_of(self._slot, "command_taken")

    def give(
        self,
        kind: int,
        at: float | None = None,
        *,
        value: float = 0.0,
        frames: int = 0,
        curve: int = LINEAR,
        other: float = 0.0,
        snap: bool = False,
    ) -> float:
        """Have the audio thread do something; the caller moves ``changes`` afterwards.

        Parameters
        ----------
        kind : int
            See realtime/commands.py, for `value` and `other`, too.
        at : float, optional
            Seconds on the stream's clock; in the next block if not given.
        frames, curve : int
            Of the way to `value`.
        snap : bool
            At once if nothing sounds then.

        Returns
        -------
        float
            Seconds by which it is late already.

        Raises
        ------
        FormatError
            If `at` is no finite number.
        AudioException
            If too many wait for their time.
        """
        when, late = (0.0, 0.0) if at is None else self._output.when(at)
        if self._given - self._taken() >= COMMANDS:
            raise AudioException(
                f"{COMMANDS} commands of this sample wait for their time; give it some of them "
                "later, or cancel() them"
            )
        place = self._given % COMMANDS
        turn, turn_other = other, 0.0
        if frames > 0 and curve == EXPONENTIAL:
            turn, turn_other = math.exp(STEEPNESS / frames), math.exp(STEEPNESS)
        elif frames > 0 and curve == EQUAL_POWER:
            angle = math.pi / 2 / frames
            turn, turn_other = math.cos(angle), math.sin(angle)
        self._table[place] = (kind, when, value, frames, curve, turn, turn_other, snap)
        self._given += 1
        self._output.set_word_of(self._slot, "command_count", self._given)
        return late

    def take_back(self, kinds: Collection[int] | None = None) -> int:
        """Take back what waits for its time, all of it or some kinds; how many there were."""
        count = 0
        for number in range(self._taken(), self._given):
            command = self._table[number % COMMANDS]
            kind = int(command["kind"])
            if kind != NOTHING and command["at"] != 0.0 and (kinds is None or kind in kinds):
                # The audio thread may be about to do it; one of the two has it.
                count += self._output.kernels.swap_word(
                    self._table[number % COMMANDS :].ctypes.data, kind, NOTHING
                )
        return count


def check_number(value: Any, name: str, least: float, most: float, try_: str) -> float:
    """A finite number within bounds.

    Raises
    ------
    FormatError
        If it is none.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not least <= value <= most
    ):
        raise FormatError(f"{name}={value!r} is no number from {least:g} to {most:g}; {try_}")
    return float(value)
