"""What a voice is told to do, at once or at a time; any thread, under the voice's lock."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from audiostream.errors import AudioException, FormatError
from audiostream.realtime.kinds import (
    END,
    EQUAL_POWER,
    EXPONENTIAL,
    GAIN,
    HOLD,
    LINEAR,
    NOTHING,
    PAN,
    PAUSE,
    PLAY,
    RESUME,
    SILENCE,
    STOP,
    WRITTEN,
)
from audiostream.realtime.layout import COMMANDS

if TYPE_CHECKING:
    from audiostream.engine.output import Output

__all__ = ("ALIKE", "CURVES", "Commands", "check_number")

CURVES = {"linear": LINEAR, "exponential": EXPONENTIAL, "equal_power": EQUAL_POWER}
"""Names of the ways on which a gain moves; see realtime/envelope.py."""

_TRANSPORT = (PLAY, STOP, PAUSE, RESUME, HOLD)

ALIKE: dict[int, Collection[int]] = {
    GAIN: (GAIN,),
    SILENCE: (SILENCE,),
    PAN: (PAN,),
    **dict.fromkeys((*_TRANSPORT, END), _TRANSPORT),
}
"""What a command for now makes void of what was given for now before it."""

STEEPNESS = math.log(1000.0)
"""Of the exponential curve: 60 dB."""

TIMED = 64
"""Commands that may wait for their time; the other places are for what is to happen now."""


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
        hold: bool = False,
        over: Collection[int] = (),
    ) -> float:
        """Have the audio thread do something; the caller moves ``changes`` afterwards.

        Parameters
        ----------
        kind : int
            See realtime/kinds.py, for `value` and `other`, too.
        at : float, optional
            Seconds on the stream's clock; in the next block if not given.
        frames, curve : int
            Of the way to `value`.
        snap : bool
            At once if nothing sounds then.
        hold : bool
            Until its time comes the voice is to start nothing.
        over : collection of int
            Where there is no room, put it in the place of one of these, whatever its time.

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
        turn, turn_other = other, 0.0
        if frames > 0 and curve == EXPONENTIAL:
            turn, turn_other = math.exp(STEEPNESS / frames), math.exp(STEEPNESS)
        elif frames > 0 and curve == EQUAL_POWER:
            angle = math.pi / 2 / frames
            turn, turn_other = math.cos(angle), math.sin(angle)
        command = (kind, when, value, frames, curve, turn, turn_other, snap)
        given = [command]
        if hold and at is not None and not late:
            given.insert(0, (HOLD, 0.0, 0.0, 0, LINEAR, 0.0, 0.0, False))
        if at is not None and self._waiting() >= TIMED:
            self.refuse()
        for one in given:
            if not self._place(one, over):
                self.refuse()
        return late

    def _place(self, command: Any, over: Collection[int]) -> bool:
        """Give one more, wherever there is room for it; False if there is none."""
        if self._given - self._taken() >= COMMANDS // 2 and self._replace(command, ()):
            return True
        return self._append(command) or self._reuse(command) or self._replace(command, over)

    def _waiting(self) -> int:
        """How many wait for their time."""
        first = self._taken()
        if self._given - first < TIMED:
            return 0  # too few to be counted
        waiting = self._table[np.arange(first, self._given) % COMMANDS]
        return int(np.count_nonzero((waiting["kind"] != NOTHING) & (waiting["at"] != 0.0)))

    @property
    def has_room(self) -> bool:
        """False if as many as may be wait for their time, or for the next block."""
        return self._given - self._taken() < COMMANDS or self._place_behind(0.0) >= 0

    def refuse(self) -> NoReturn:
        """Say that there is no room."""
        raise AudioException(
            f"{TIMED} commands wait here for their time; give it some of them later, or "
            "cancel() them"
        )

    def _append(self, command: Any) -> bool:
        """Give one more; False if there is no room behind the others."""
        if self._given - self._taken() >= COMMANDS:
            return False
        self._table[self._given % COMMANDS] = command
        self._given += 1
        self._output.set_word_of(self._slot, "command_count", self._given)
        return True

    def _place_behind(self, when: float) -> int:
        """Number of the first one that is done, behind all of a time that are not; -1: none."""
        found = -1
        for number in range(self._given - 1, self._taken() - 1, -1):
            other = self._table[number % COMMANDS]
            if other["kind"] == NOTHING:
                found = number
            elif other["at"] == when:
                break
        return found

    def _reuse(self, command: Any) -> bool:
        """Put one in the place of another one that is done; False if there is none."""
        kernels = self._output.kernels
        number = self._place_behind(command[1])
        place = number % COMMANDS
        if number < 0 or not self._put(place, NOTHING, command):
            return False
        # If all before it are done by now, a callback under way may have passed it by.
        self._output.quiet()
        address = int(self._table[place : place + 1].ctypes.data)
        passed = self._taken() > number
        return not (passed and kernels.swap_word(address, command[0], NOTHING)) or self._append(
            command
        )

    def _put(self, place: int, other: int, command: Any) -> bool:
        """Put a command in the place of one of that kind; False if it is done by now."""
        kernels = self._output.kernels
        address = int(self._table[place : place + 1].ctypes.data)
        if not kernels.swap_word(address, other, WRITTEN):
            return False
        self._table[place] = (WRITTEN, *command[1:])
        kernels.store_word(address, command[0])
        return True

    def replaceable(self, kind: int, over: Collection[int]) -> list[tuple[int, int]]:
        """Places, the last one first, and kinds of those that a command for now may replace.

        All that is for now happens on one frame, so that only the last of its like is heard of.
        """
        found = []
        for number in range(self._given - 1, self._taken() - 1, -1):
            place = number % COMMANDS
            other = int(self._table[place]["kind"])
            of_now = self._table[place]["at"] == 0.0
            if (of_now and other in ALIKE[kind]) or other in over:
                found.append((place, other))
        return found

    def _replace(self, command: Any, over: Collection[int]) -> bool:
        """Put a command for now in another one's place; False if there is none."""
        if command[1] != 0.0:
            return False
        places = self.replaceable(command[0], over)
        return any(self._put(place, other, command) for place, other in places)

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
    is_number = isinstance(value, Real) and not isinstance(value, bool)  # numpy's, too
    number = float(value) if is_number else math.nan
    if not (math.isfinite(number) and least <= number <= most):
        raise FormatError(f"{name}={value!r} is no number from {least:g} to {most:g}; {try_}")
    return number
