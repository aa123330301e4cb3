"""What samples and groups can both be told; any thread."""

from __future__ import annotations

from collections.abc import Iterable

from audiostream.aio.sealed import Sealed
from audiostream.engine.controls import Controls
from audiostream.engine.effects import Effects
from audiostream.engine.meter import Level
from audiostream.kernels.unit import Unit

__all__ = ("Controlled",)


class Controlled(Sealed):
    """Something with a fader: its gain, its place between left and right, its meter.

    Times are seconds on the output's clock, its ``time``.  What has a time happens on the
    frame that is heard then, in the middle of a block if need be; if that is past, it happens
    at once, and the seconds by which it is late are returned (else 0.0).
    """

    _control: Controls

    def fade(
        self, gain: float, seconds: float, curve: str = "linear", at: float | None = None
    ) -> float:
        """Move :attr:`gain` on a curve, in silence, too; any thread.

        Parameters
        ----------
        gain : float
            Where to, 0 to 1000.
        seconds : float
            In what time.
        curve : str
            "linear"; "exponential", equal decibels in equal times, 60 in all, stretched between
            the two gains; or "equal_power", on which the powers of one that fades out and one
            that fades in sum to the same.
        at : float, optional
            Seconds on the output's clock, such as ``speaker.time + 0.5``.

        Returns
        -------
        float
            Seconds by which `at` is past; it then happens at once.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        AudioException
            If 64 commands wait for their time already.
        StreamClosedError, DeviceError
            If the output is closed, or its device is gone.
        """
        return self._control.fade(gain, seconds, curve, at)

    def cancel(self) -> int:
        """Take back all that waits for its time; how much that was.  Any thread."""
        return self._control.cancel()

    @property
    def ramp(self) -> float:
        """Seconds over which gain, pan, muting, pausing, shortages and leaving move; 0.005."""
        return self._control.ramp

    @ramp.setter
    def ramp(self, seconds: float) -> None:
        self._control.ramp = seconds

    @property
    def effects(self) -> Effects:
        """The effects that it goes through, in their order, before its gain and its pan.

        A list: append, insert, remove, assign.  A change never clicks; ``effects[:] = [...]``
        is one change.  See :mod:`audiostream.dsp` for those that are there.  Any thread.
        """
        return self._control.effects

    @effects.setter
    def effects(self, effects: Iterable[Unit]) -> None:
        self._control.effects[:] = effects

    @property
    def gain(self) -> float:
        """Factor on the samples, 0 to 1000; 1.0 leaves them bit for bit.

        Set while it sounds, it moves there in a straight line over :attr:`ramp`; in silence,
        at once.  During a :meth:`fade`, where that goes to.  Any thread.
        """
        return self._control.gain

    @gain.setter
    def gain(self, gain: float) -> None:
        self._control.set_gain(gain)

    @property
    def pan(self) -> float:
        """-1 left, 0 in the middle, 1 right, on a stereo output; moves as :attr:`gain`.

        Equal power: in the middle both channels are as they are, at a side one of them is
        sqrt(2) times as loud and the other silent.
        """
        return self._control.pan

    @pan.setter
    def pan(self, pan: float) -> None:
        self._control.set_pan(pan)

    @property
    def muted(self) -> bool:
        """True while it plays on without being heard; moves as :attr:`gain`."""
        return self._control.muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._control.set_muted(muted)

    def level(self, seconds: float = 0.1) -> Level:
        """How loud it was, with its gain and fades but before its pan; any thread.

        Parameters
        ----------
        seconds : float
            Of what was heard last, up to 1.0; the peak and the RMS are those of that stretch.
            Silence in it counts as silence.

        Raises
        ------
        FormatError
            If `seconds` is out of bounds.
        """
        return self._control.level(seconds)
