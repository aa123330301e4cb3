"""``PatchSource``, the documented Pure Data patch; the event loop that sources share."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.aio.sources.puredata import LivePatch
from audiostream.sources.background import never_blocks
from audiostream.sources.thread import ThreadSource, check_output

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("PatchSource",)


class PatchSource(ThreadSource, LivePatch):
    """A Pure Data patch, loaded through libpd, at the output's rate and channels.

    See :class:`audiostream.libpd.Patch` for ``send``, ``prints``, ``arrays``, MIDI and
    ``render``, and for what is raised.

    Parameters
    ----------
    stream : AudioOutput
    patchfile : str or PathLike
    inputs : int
        Channels of [adc~], to be fed with :meth:`feed`.
    strict : bool
        Refuse a patch with objects that libpd does not know, instead of warning.
    carrier : str, optional
        ``"pylibpd"``, ``"system"`` or ``"cypd"``.
    ahead : int, optional
        See :class:`ThreadSource`; a tenth of a second, or the ring if that is shorter, if
        not given.
    """

    def __init__(
        self,
        stream: AudioOutput,
        patchfile: str | PathLike[str],
        *args: Any,
        inputs: int = 0,
        strict: bool = False,
        carrier: str | None = None,
        ahead: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_output(stream)
        LivePatch.__init__(
            self, patchfile, stream.rate, stream.channels, inputs, strict, carrier
        )
        try:
            ThreadSource.__init__(self, stream, *args, ahead=ahead, **kwargs)
        except BaseException:
            LivePatch.close(self)
            raise

    @property
    def patch(self) -> str:
        """The patch's file."""
        return str(self.path)

    @never_blocks
    def get_bytes(self) -> bytes:
        """Compute a block, in the output's encoding."""
        return self.encoded(self.next_block())

    def next_block(self) -> np.ndarray:
        """Compute a block, float32 (frames, channels)."""
        return self.play_on(self.block)

    def start(self) -> None:
        """Generate and play; see :meth:`ThreadSource.start`.

        Raises
        ------
        PatchClosedError
            If the patch is closed.
        """
        self.play_on(0)
        super().start()

    def close(self) -> None:
        """Stop, and close the patch.  Idempotent."""
        try:
            self.stop()
        finally:
            super().close()
