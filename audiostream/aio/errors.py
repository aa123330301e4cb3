"""The errors that anyio's stream interfaces promise, as ours and anyio's at once."""

from __future__ import annotations

import anyio

from audiostream import errors

__all__ = ("BusyError", "EndOfStream", "StreamClosedError", "WouldBlock")


class BusyError(errors.BusyError, anyio.BusyResourceError):
    """Another task is already reading from, or writing to, this."""

    def __init__(self, action: str) -> None:
        Exception.__init__(
            self, f"another task is already {action}; let one task do it, or use a lock"
        )


class StreamClosedError(errors.StreamClosedError, anyio.ClosedResourceError):
    """The stream, or the sample on it, is closed."""


class WouldBlock(errors.WouldBlock, anyio.WouldBlock):
    """There is no room now for what is not to wait."""


class EndOfStream(errors.EndOfStream, anyio.EndOfStream):
    """The source came to its end; there is nothing more to read."""
