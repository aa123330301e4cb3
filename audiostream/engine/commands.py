"""What a voice is told to do, at once or at a time; any thread, under the voice's lock."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.errors import AudioException
from audiostream.realtime.memory.layout import COMMANDS
from audiostream.realtime.opcodes import (
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
    SET,
    SILENCE,
    STOP,
    WRITTEN,
)

if TYPE_CHECKING:
    from audiostream.engine.stream import Stream
    from audiostream.engine.strip import Strip

__all__ = ("ALIKE", "CURVES", "Commands")

CURVES = {"linear": LINEAR, "exponential": EXPONENTIAL, "equal_power": EQUAL_POWER}
"""Names of the curves on which a gain moves; see realtime/units/automation.py."""

_TRANSPORT = (PLAY, STOP, PAUSE, RESUME, HOLD)

ALIKE: dict[int, Collection[int]] = {
    GAIN: (GAIN,),
    SILENCE: (SILENCE,),
    PAN: (PAN,),
    SET: (SET,),  # of the same parameter
    **dict.fromkeys((*_TRANSPORT, END), _TRANSPORT),
    HOLD: (HOLD,),
}
"""What a command for now makes void of what was given for now before it."""

STEEPNESS = math.log(1000.0)
"""Of the exponential curve: 60 dB."""

TIMED = 64
"""Commands that may wait for their time; the other places are for what is to happen now."""

CROWD = COMMANDS // 4
"""Commands that the audio thread is not past yet, from which on one for now takes the place of
one that it makes void.  So those for now are never more than this and a few."""


def _turns(curve: int, frames: int, other: float) -> tuple[float, float]:
    """What turns a curve by a frame; `other` where it is no curve."""
    if frames > 0 and curve == EXPONENTIAL:
        return math.exp(STEEPNESS / frames), math.exp(STEEPNESS)
    if frames > 0 and curve == EQUAL_POWER:
        angle = math.pi / 2 / frames
        return math.cos(angle), math.sin(angle)
    return other, 0.0


class Commands:
    """A voice's commands, from when they are given until they are carried out.

    Parameters
    ----------
    stream : Stream
        Open.
    strip : Strip
        The voice's.
    """

    def __init__(self, stream: Stream, strip: Strip) -> None:
        self._stream = stream
        self._strip = strip
        self._table = strip.arrays["commands"]
        self._given = 0
        self._orders = 0

    def _taken(self) -> int:
        return self._strip.word("command_taken")

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
        node: int = 0,
        parameter: int = 0,
    ) -> float:
        """Have the audio thread do something.

        Parameters
        ----------
        kind : int
            See realtime/opcodes.py, for `value` and `other`, too.
        at : float, optional
            Seconds on the stream's clock; in the next block if not given.
        frames, curve : int
            Of the way to `value`.
        snap : bool
            At once if nothing sounds then.
        hold : bool
            Until its time comes the voice is to start nothing.
        node, parameter : int
            Of a SET: the serial number of an effect, and which of its parameters.

        Returns
        -------
        float
            Seconds by which it is late already.

        Raises
        ------
        FormatError
            If `at` is no finite number, or more than a day ahead.
        AudioException
            If `at` is given, and too many wait for their time.
        """
        when, late = (0.0, 0.0) if at is None else self._stream.when(at)
        turn, turn_other = _turns(curve, frames, other)
        self._check_waiting(at, 1)
        if hold and at is not None and not late:
            self._place((HOLD, 0.0, 0.0, 0, LINEAR, 0.0, 0.0), False, (0, 0))
        command = (kind, when, value, frames, curve, turn, turn_other)
        self._place(command, snap, (node, parameter))
        return late

    def give_parameters(
        self, node: int, moves: Sequence[tuple[int, float, int]], curve: int, at: float | None
    ) -> float:
        """Move parameters of an effect, all on one frame.

        Parameters
        ----------
        node : int
            The effect's serial number.
        moves : sequence
            Of each its number, its new value, and the frames on the way there.

        Returns
        -------
        float
            Seconds by which it is late already.

        Raises
        ------
        FormatError, AudioException
            As :meth:`give`.
        """
        when, late = (0.0, 0.0) if at is None else self._stream.when(at)
        self._check_waiting(at, len(moves))
        commands = [
            (SET, when, value, frames, curve, *_turns(curve, frames, 0.0))
            for _, value, frames in moves
        ]
        targets = [(node, number) for number, *_ in moves]
        if self._given - self._taken() + len(moves) < CROWD:
            self._append_all(commands, targets)
        else:
            for command, target in zip(commands, targets, strict=True):
                self._place(command, False, target)
        return late

    def take_back_node(self, node: int) -> None:
        """Take back what waits for an effect."""
        for number in range(self._taken(), self._given):
            command = self._table[number % COMMANDS]
            if int(command["opcode"]) == SET and int(command["node"]) == node:
                self._swap(number, SET, NOTHING)

    def _check_waiting(self, at: float | None, more: int) -> None:
        if at is not None and self._waiting() + more > TIMED:
            raise AudioException(
                f"{TIMED} commands wait here for their time; give it some of them later, or "
                "cancel() them"
            )

    def _append_all(
        self, commands: list[tuple[Any, ...]], targets: list[tuple[int, int]]
    ) -> None:
        """Append commands, which the audio thread sees in one step; there is room."""
        for command, target in zip(commands, targets, strict=True):
            self._table[self._given % COMMANDS] = (*command, 2 * self._orders, *target)
            self._given += 1
            self._orders += 1
        self._strip.set_word("command_count", self._given)

    def _waiting(self) -> int:
        """How many wait for their time."""
        first = self._taken()
        if self._given - first < TIMED:
            return 0  # too few to be counted
        waiting = self._table[np.arange(first, self._given) % COMMANDS]
        return int(np.count_nonzero((waiting["opcode"] != NOTHING) & (waiting["at"] != 0.0)))

    def will_play(self, plays: bool) -> bool:
        """Whether it plays once the audio thread has obeyed; `plays`: whether it does now.

        What has a time counts if it starts something.
        """
        first = self._taken()
        if first == self._given:
            return plays
        waiting = self._table[np.arange(first, self._given) % COMMANDS]
        for command in np.sort(waiting, order="order"):
            kind, timed = int(command["opcode"]), command["at"] != 0.0
            if kind in (PLAY, RESUME):
                if timed:
                    return True
                plays = True
            elif kind in (STOP, END, PAUSE) and not timed:
                plays = False
        return plays

    def _place(self, command: tuple[Any, ...], snap: bool, target: tuple[int, int]) -> None:
        """Give one more; there is room somewhere: see TIMED and CROWD."""
        command = (*command, 2 * self._orders + bool(snap), *target)
        self._orders += 1
        crowded = self._given - self._taken() >= CROWD
        if not (crowded and command[1] == 0.0 and self._replace(command)):
            self._append(command)

    def _replace(self, command: tuple[Any, ...]) -> bool:
        """Put a command for now in the place of one that it makes void; False: there is none.

        All that is for now happens on one frame, so that only the last of its like is heard of.
        """
        for number in range(self._taken(), self._given):
            other = self._table[number % COMMANDS]
            kind = int(other["opcode"])
            target = int(other["node"]), int(other["parameter"])
            is_void = (
                other["at"] == 0.0 and kind in ALIKE[command[0]] and target == command[-2:]
            )
            if is_void and self._put(number, kind, command):
                return True
        return False

    def _append(self, command: tuple[Any, ...]) -> None:
        """Append a command, or where one is done though one before it waits."""
        if self._given - self._taken() < COMMANDS:
            self._table[self._given % COMMANDS] = command
            self._given += 1
            self._strip.set_word("command_count", self._given)
            return
        numbers = range(self._taken(), self._given)
        number = next(n for n in numbers if self._table[n % COMMANDS]["opcode"] == NOTHING)
        self._put(number, NOTHING, command)
        # If all before it are done by now, a callback under way may have passed it by.
        self._stream.quiet()
        if self._taken() > number and self._swap(number, command[0], NOTHING):
            self._append(command)

    def _put(self, number: int, other: int, command: tuple[Any, ...]) -> bool:
        """Put a command in the place of one of that kind; False if it is done by now."""
        if not self._swap(number, other, WRITTEN):
            return False
        self._table[number % COMMANDS] = (WRITTEN, *command[1:])
        self._stream.kernels.store_word(self._address(number), command[0])
        return True

    def _swap(self, number: int, kind: int, other: int) -> bool:
        """Have a command be of another kind; False if it is not of `kind` any more."""
        return bool(self._stream.kernels.swap_word(self._address(number), kind, other))

    def _address(self, number: int) -> int:
        return int(self._table[number % COMMANDS :].ctypes.data)

    def take_back(self, kinds: Collection[int] | None = None) -> int:
        """Take back what waits for its time, all of it or some kinds; how many there were."""
        count = 0
        for number in range(self._taken(), self._given):
            command = self._table[number % COMMANDS]
            kind = int(command["opcode"])
            if kind != NOTHING and command["at"] != 0.0 and (kinds is None or kind in kinds):
                # The audio thread may be about to do it; one of the two has it.
                count += self._swap(number, kind, NOTHING)
        return count
