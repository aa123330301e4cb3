"""The errors that anyio's stream interfaces promise, as ours and anyio's at once."""

from __future__ import annotations

import anyio

from audiostream import errors

__all__ = ("BusyError", "EndOfStream", "StreamClosedError")


class BusyError(errors.BusyError, anyio.BusyResourceError):
    """Another task is already reading from, or writing to, this."""

    def __init__(self, action: str) -> None:
        Exception.__init__(
            self, f"another task is already {action}; let one task do it, or use a lock"
        )


class StreamClosedError(errors.StreamClosedError, anyio.ClosedResourceError):
    """The stream, or the sample on it, is closed."""


class EndOfStream(errors.EndOfStream, anyio.EndOfStream):
    """The source came to its end; there is nothing more to read."""
