"""What voices, one-shot sounds and groups can all be told: gain, pan, mute; any thread."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from audiostream.checks import check_choice, check_flag, check_number
from audiostream.engine.chain import Chain
from audiostream.engine.commands import CURVES, Commands
from audiostream.engine.effects import Effects
from audiostream.engine.meter import Level
from audiostream.engine.panning import sides_of
from audiostream.engine.strip import FADE, Strip
from audiostream.engine.wakeup import Wakeup
from audiostream.engine.watchdog import WATCHDOG
from audiostream.forks import LOCKS
from audiostream.realtime.opcodes import GAIN, PAN, PAUSED, SILENCE, STOPPED

if TYPE_CHECKING:
    from audiostream.engine.output import Output

__all__ = ("MAX_GAIN", "Controls")

MAX_GAIN = 1000.0
"""60 dB."""

MAX_FADE = 86400.0
"""Seconds: a day."""


class Controls:
    """One who holds a slot of an output, and is told what to do by commands.

    Parameters
    ----------
    output : Output
        Open.
    effects : Effects, optional
        The list of its effects; it makes one of its own when that is asked for.
    """

    # Set by the output when it attaches it.
    slot: int
    strip: Strip
    commands: Commands

    is_dropped = False
    is_gone = False  # its slot may be given to others; of a voice, or its stream is closed

    def __init__(self, output: Output, effects: Effects | None = None) -> None:
        self.output = output
        self._effects = effects
        self.lock = threading.RLock()
        LOCKS.add(self, lock=threading.RLock)
        self._ramp = round(FADE * output.parameters.rate)
        self._gain = 1.0
        self._pan = 0.0
        self._muted = False
        self._wakeup: Wakeup | None = None

    def _frames(self, seconds: Any, name: str, most: float) -> int:
        """Seconds from 0 to `most` as frames of the device's."""
        seconds = check_number(seconds, name, 0, most, "it is in seconds")
        frames: int = round(seconds * self.output.parameters.rate)
        return frames

    def check(self, *, ending: bool = False) -> None:
        """Raise if it is gone, or its stream closed or dead.

        `ending`: what only ends something does not mind that the device is gone.
        """
        raise NotImplementedError

    def _may_tell(self, *, ending: bool = False) -> bool:
        """False if it is gone and cannot be told; raises where that is a mistake."""
        self.check(ending=ending)
        return True

    def tell(
        self, kind: int, at: float | None = None, *, ending: bool = False, **how: Any
    ) -> float:
        """Give a command; by how many seconds it is late already."""
        with self.lock:
            if not self._may_tell(ending=ending):
                return 0.0
            late = self.commands.give(kind, at, **how)
        return late

    def cancel(self) -> int:
        """Take back all that waits for its time; how much that was."""
        with self.lock:
            return self.commands.take_back() if self._may_tell(ending=True) else 0

    # --- effects -----------------------------------------------------------------

    @property
    def effects(self) -> Effects:
        """The list of its effects."""
        if self._effects is None:
            with self.lock:
                if self._effects is None:
                    effects = Effects(may_wait=self.output.may_wait)
                    if not (self.is_gone or self.output.is_closed):
                        effects.bind(Chain(self, type(self).__name__.lower()))
                    self._effects = effects
        return self._effects

    def effects_lock(self) -> AbstractContextManager[Any]:
        """What changes its effects waits for this; taken before the output's lock."""
        return nullcontext() if self._effects is None else self._effects.lock

    def bind_effects(self) -> None:
        """It has its slot: have its effects run there."""
        if self._effects is not None:
            self._effects.bind(Chain(self, type(self).__name__.lower()))

    def unbind_effects(self, *, free: bool = False) -> None:
        """It gives its slot back; `free`: the audio thread is over.  Takes no lock."""
        if self._effects is not None:
            self._effects.unbind(free=free)

    def cut_tails(self, fade: float) -> None:
        """Let what its effects hold fade out over 5 ms, while a clear's fade goes on."""
        if self._effects is not None:
            wait = self._frames(fade, "fade", 10) + self.output.max_block
            self._effects.restart(wait)

    def fade_for_good(self) -> None:
        """It leaves: fade out after its effects, too, so that no tail is cut off."""
        if self._effects:
            self.commands.give(SILENCE, frames=self._ramp)

    def sweep_effects(self) -> None:
        """Forget the effects that have faded out."""
        if self._effects is not None:
            self._effects.sweep()

    def take_back_parameters(self, node: int) -> None:
        """Take back what waits for an effect that leaves."""
        with self.lock:
            if not self.is_gone and not self.output.is_closed:
                self.commands.take_back_node(node)

    # --- wake-ups ----------------------------------------------------------------

    def use_wakeup(self, wakeup: Wakeup) -> None:
        """The wake-up that the audio thread signals for it from now on."""
        with self.lock:
            self._wakeup = wakeup
            if not self.is_gone and not self.output.is_closed:
                self.strip.set_word("wakeup", wakeup.index)

    def news(self) -> None:
        """Have all who wait on it look again; any thread."""
        if self._wakeup is not None:
            self._wakeup.signal_all()

    # --- for the output ----------------------------------------------------------

    def is_over(self) -> bool:
        """True if it needs its slot no more."""
        return False

    def unheard(self) -> tuple[int, int]:
        """Frames that the stream's close has cut though they were to be heard; their rate."""
        return 0, 1

    def give_back(self) -> None:
        """Its slot may be given to others from now on."""
        with self.lock:
            self.is_gone = True

    def stream_closed(self) -> None:
        """The stream has closed."""
        raise NotImplementedError

    # --- dropped without being closed ---------------------------------------------

    def drop(self) -> None:
        """No user can tell it anything any more.

        For finalizers, which may run anywhere: it takes no lock, and never waits.
        """
        self.is_dropped = True
        if not self.output.is_closed:
            WATCHDOG.let_go_soon(self)

    def let_go(self) -> None:
        """It was dropped: have it leave as soon as nothing of it is left to be heard.

        Called when that may have come to be so.  It takes locks, the output's among them.
        """
        raise NotImplementedError

    def _stands_still(self) -> bool:
        """True if it does not play, and nothing that it was told will have it play."""
        rests = self._rests()
        if self.commands.will_play(not rests):
            return False
        if rests:
            # A callback under way may have taken a command, and not have carried it out.
            self.output.quiet()
            return self._rests()
        return True

    def _rests(self) -> bool:
        return self.strip.word("transport") in (STOPPED, PAUSED)

    def level(self, seconds: float) -> Level:
        """How loud it was during the last `seconds` that were heard; see meter.py."""
        raise NotImplementedError

    @property
    def ramp(self) -> float:
        """Seconds of the ramps on which gain, pan, mute, pause and resume move."""
        return self._ramp / self.output.parameters.rate

    @ramp.setter
    def ramp(self, seconds: float) -> None:
        frames = self._frames(seconds, "ramp", 10)
        with self.lock:
            if self._may_tell():
                self._set_ramp(frames)

    def _set_ramp(self, frames: int) -> None:
        self._ramp = frames

    @property
    def gain(self) -> float:
        """Factor on the samples; 1.0 leaves them bit for bit."""
        return self._gain

    def set_gain(self, gain: float) -> None:
        """Go to another gain: in a straight line over :attr:`ramp`, in silence at once.

        Raises
        ------
        FormatError
            If it is no number of at least 0.
        """
        gain = check_number(gain, "gain", 0, MAX_GAIN, "try 1.0")
        with self.lock:
            self.tell(GAIN, value=gain, frames=self._ramp, snap=True)
            self._gain = gain

    def fade(
        self, gain: float, seconds: float, curve: str = "linear", at: float | None = None
    ) -> float:
        """Go to another gain on a curve, in silence, too."""
        gain = check_number(gain, "gain", 0, MAX_GAIN, "try 1.0")
        frames = self._frames(seconds, "seconds", MAX_FADE)
        shape = CURVES[check_choice(curve, "curve", tuple(CURVES))]
        with self.lock:
            late = self.tell(GAIN, at, value=gain, frames=frames, curve=shape)
            self._gain = gain
        return late

    @property
    def pan(self) -> float:
        """-1 left, 0 in the middle, 1 right."""
        return self._pan

    def set_pan(self, pan: float) -> None:
        """Go elsewhere between left and right, over :attr:`ramp`; see panning.py."""
        left, right = sides_of(pan, self.output.parameters.channels)
        with self.lock:
            self.tell(PAN, value=left, other=right, frames=self._ramp, snap=True)
            self._pan = float(pan)

    @property
    def muted(self) -> bool:
        """True while it plays without being heard."""
        return self._muted

    def set_muted(self, muted: bool) -> None:
        """Have it play without being heard, or be heard again, over :attr:`ramp`.

        Raises
        ------
        FormatError
            If `muted` is no bool.
        """
        muted = check_flag(muted, "muted")
        with self.lock:
            self.tell(SILENCE, value=0.0 if muted else 1.0, frames=self._ramp, snap=True)
            self._muted = muted
