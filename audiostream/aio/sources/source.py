"""What generates samples: a coroutine that is asked again and again; event loop."""

from __future__ import annotations

from typing import Any

from audiostream.pcm import Format
from audiostream.realtime.compile.kernels import Kernels

__all__ = ("MAX_AHEAD", "Source", "block_for")

MAX_AHEAD = 1 << 40
"""Frames, far more than any ring holds."""

LEAST, MOST = 64, 1024
"""Frames that the ready-made sources make at a time."""


def block_for(ahead: int) -> int:
    """Frames to make at a time where so many may be made ahead: a quarter of them."""
    return min(max(ahead // 4, LEAST), MOST)


class Source:
    """A generator of samples, played by :meth:`AudioSample.write_from`.

    Subclasses override :meth:`get_bytes`; there is no ``__init__`` that they must call.

    Attributes
    ----------
    format : Format
        Rate, channels and encoding of the sample that plays it.
    rate, channels : int
        The sample's, as long as the source does not have its own.
    block : int
        Frames that the ready-made sources make at a time: a quarter of what may be made
        ahead.
    is_played : bool
        True while a sample plays it; another one is refused meanwhile.

    All are set before the first :meth:`get_bytes`.
    """

    format: Format
    rate: int
    channels: int
    block: int = MOST
    is_played: bool = False

    async def get_bytes(self) -> Any:
        """Make the next chunk; called in the task that plays the source.

        Returns
        -------
        bytes-like, ndarray or None
            As for :meth:`AudioSample.write`.  An empty chunk: nothing to say now, ask again
            a buffer later.  None: it has come to its end.
        """
        return b""

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Called before the first :meth:`get_bytes`, and each time that it is played again."""
        del kernels
        self.format = format
        self.rate = format.rate
        self.channels = format.channels

    def after_cut(self, chunk: Any) -> Any:
        """Called with the first chunk after a clear of the sample; returns what is played."""
        return chunk

    async def aclose(self) -> None:
        """Called when it is played no more, for any reason."""
