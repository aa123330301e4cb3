"""Groups of an output's samples and sounds; event loop for what is awaited, else any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from audiostream.aio.controls import Controlled
from audiostream.checks import check_flag, shown
from audiostream.engine.effects import Effects
from audiostream.engine.group import DEFAULT_RELEASE
from audiostream.engine.group import Group as Engine
from audiostream.engine.strip import FADE
from audiostream.errors import FormatError

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("Group", "group_of")


class Group(Controlled):
    """Samples and sounds that are heard through one fader; made by :meth:`AudioOutput.group`.

    What plays into it (``speaker.sample(group=...)``, ``sound.play(group=...)``) keeps its own
    gain and pan; the group's come on top, as those of a mixing desk's bus.  A group that is
    dropped is closed when its last voice has gone.
    """

    __slots__ = ("engine",)

    def __init__(
        self, output: AudioOutput, gain: float = 1.0, effects: Effects | None = None
    ) -> None:
        self._output = output
        self.engine = self._control = Engine(output.engine, gain, effects)

    def duck(
        self,
        under: Group | None,
        gain: float = 0.25,
        *,
        attack: float = 0.05,
        hold: float = 0.2,
        release: float = DEFAULT_RELEASE,
    ) -> None:
        """Be softer while anything plays in another group, from its very first frame on.

        Parameters
        ----------
        under : Group or None
            Which, of the same output; None: it is ducked no more.
        gain : float
            How loud it is then, times its own :attr:`gain`.
        attack, release : float
            Seconds on the way there and on the way back, 0 to 10.
        hold : float
            Seconds that it stays soft after the other has fallen silent, so that it does not
            come back between two sentences.

        Raises
        ------
        FormatError
            For a value that cannot be used.
        AudioException
            If one of the two is closed.
        """
        self.engine.duck(group_of(under, "under"), gain, attack, hold, release)

    async def clear(self, fade: float = FADE, *, tails: bool = True) -> None:
        """Drop all that is queued in the group and not heard yet, fading out as one.

        All its samples and sounds are cut on the same frame, and every write that waits on one
        of them is released, as by their own ``clear``; their counts tell what was heard.

        Parameters
        ----------
        fade : float
            Seconds of the fade, 0 to 10.
        tails : bool
            False: what the effects of the group and in it still hold fades out over 5 ms, too.

        Raises
        ------
        FormatError
            If `fade` is out of bounds, or `tails` is no bool.
        StreamClosedError, DeviceError
            If the output is closed, or closes, or its device is gone.
        """
        check_flag(tails, "tails")
        await anyio.lowlevel.checkpoint_if_cancelled()
        group = self.engine
        group.check()
        number = group.clear(fade, tails)
        wakeup = self._output._wakeups.here()
        group.use_wakeup(wakeup.wakeup)
        while not group.arm_cleared(number):
            group.output.check()
            await wakeup.wait(group.slot)
        group.output.check()
        await anyio.lowlevel.cancel_shielded_checkpoint()

    def clear_nowait(self, fade: float = FADE, *, tails: bool = True) -> None:
        """Only ask for a :meth:`clear`; it happens within a block.  Any thread.

        Does not raise because the device is gone.
        """
        self.engine.clear(fade, check_flag(tails, "tails"))

    def close(self) -> None:
        """Take its samples and sounds off, fading out, and be gone; twice is harmless."""
        self.engine.close()

    @property
    def is_closed(self) -> bool:
        """True once it is closed, or its output is."""
        return self.engine.is_closed

    def __del__(self) -> None:
        group = getattr(self, "engine", None)
        if group is not None:
            group.drop()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"gain {self.gain:g}"
        return f"<Group: {state}>"


def group_of(group: Any, name: str = "group") -> Engine | None:
    """The engine's side of a group that a user has given.

    Raises
    ------
    FormatError
        If it is neither a group nor None.
    """
    if group is None:
        return None
    if not isinstance(group, Group):
        raise FormatError(f"{name}={shown(group)} is no group; try AudioOutput.group()")
    return group.engine
