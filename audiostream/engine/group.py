"""Groups: voices with one fader, cleared as one, that duck under others; any thread.

A group holds a slot of its output, as a voice does, but has a block in place of a ring (see
realtime/graph/strip.py).
"""

from __future__ import annotations

import contextlib
from typing import Any

from audiostream.checks import check_number
from audiostream.engine.controls import MAX_GAIN, Controls
from audiostream.engine.effects import Effects
from audiostream.engine.meter import Level
from audiostream.engine.output import Output
from audiostream.engine.strip import FADE
from audiostream.errors import AudioException, FormatError

__all__ = ("Group",)

DEFAULT_RELEASE = 0.5
"""Seconds in which a ducked group comes back."""


class Group(Controls):
    """A group of an output's voices.

    Parameters
    ----------
    output : Output
        Open.
    gain : float
        To begin with.
    effects : Effects, optional
        The list of its effects.

    Raises
    ------
    FormatError
        If `gain` is no number from 0 to 1000.
    AudioException
        If the output has as many groups as may be.
    """

    # Set by the output when it attaches the group.
    record: Any  # of dtype GROUP
    record_address: int

    def __init__(
        self, output: Output, gain: float = 1.0, effects: Effects | None = None
    ) -> None:
        gain = check_number(gain, "gain", 0, MAX_GAIN, "try 1.0")
        super().__init__(output, effects)
        self.is_closed = False
        output.attach_group(self, gain)
        self._gain = gain

    def check(self, *, ending: bool = False) -> None:
        """Raise if the group is closed, or its output closed or dead.

        `ending`: what only ends something does not mind that the device is gone.
        """
        if ending:
            self.output.check_not_closed()
        else:
            self.output.check()
        if self.is_closed:
            raise self.output.closed_error(
                "this group is closed; make another one with group()"
            )

    # --- clears ------------------------------------------------------------------

    def clear(self, fade: float = FADE, tails: bool = True) -> int:
        """Have all that its voices have queued dropped, fading out as one.

        Returns
        -------
        int
            The clear's number, for :meth:`arm_cleared`.
        """
        frames = self._frames(fade, "fade", 10)
        with self.lock:
            self.check(ending=True)
            number = int(self.record["clear_count"]) + 1
            self.record["clear_fade"] = frames
            for voice in self.output.voices_of(self):
                voice.clear_with_group(number)
            # Now that all of them know; the audio thread begins when it sees this.
            offset = self.record.dtype.fields["clear_count"][1]
            self.output.kernels.store_word(self.record_address + offset, number)
        if not tails:
            for one in (self, *self.output.voices_of(self)):
                one.cut_tails(fade)
        return number

    def arm_cleared(self, number: int) -> bool:
        """Signal the wake-up when a clear is done; True if it is."""
        if self.output.is_closed:
            return True
        return self.strip.arm("read", number)

    # --- ducking -----------------------------------------------------------------

    def duck(
        self, sidechain: Group | None, gain: float, attack: float, hold: float, release: float
    ) -> None:
        """Be softer while any voice of another group sounds; None: no more.

        Raises
        ------
        FormatError
            For a value that cannot be used, or a group of another output.
        """
        gain = check_number(gain, "gain", 0, MAX_GAIN, "try 0.25")
        lengths = {
            "attack": self._frames(attack, "attack", 10),
            "hold": self._frames(hold, "hold", 10),
            "release": self._frames(release, "release", 10),
        }
        if sidechain is self or (sidechain is not None and sidechain.output is not self.output):
            raise FormatError("a group ducks under another group of its own output")
        with self.lock:
            self.check()
            if sidechain is not None:
                sidechain.check()
            self.record["duck"] = gain
            for name, frames in lengths.items():
                self.record[name] = frames
            offset = self.record.dtype.fields["sidechain"][1]
            address = 0 if sidechain is None else sidechain.record_address
            self.output.kernels.store_word(self.record_address + offset, address)
            self.strip.sidechain = sidechain

    def stop_ducking(self) -> None:
        """The group that ducked it is gone."""
        with contextlib.suppress(AudioException):  # it is closed, too, or its device gone
            self.duck(None, 1.0, 0.0, 0.0, DEFAULT_RELEASE)

    # --- how loud it is ----------------------------------------------------------

    def level(self, seconds: float) -> Level:
        """How loud it was during the last `seconds` that were heard."""
        if self.is_closed or self.output.is_closed:
            return Level(0.0, 0.0)
        return self.output.level_of(self.strip.meter, seconds)

    # --- the end -----------------------------------------------------------------

    def close(self) -> None:
        """Take its voices off, fading out; the group goes when they have.  Idempotent."""
        with self.lock:
            if self.is_closed or self.output.is_closed:
                return
            self.is_closed = True
            self.fade_for_good()
        self.output.close_group(self)

    def let_go(self) -> None:
        """Be closed when its last voice has gone: nothing more can come into it."""
        if not self.output.voices_of(self):
            self.close()

    def is_over(self) -> bool:
        """True if it needs its slot no more."""
        return self.is_closed and not self.output.slots.needs(self)

    def stream_closed(self) -> None:
        """The stream has closed."""
        self.is_closed = True
        self.news()
