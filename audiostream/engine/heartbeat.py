"""Whether a device's callbacks still come; any thread."""

from __future__ import annotations

import time

__all__ = ("Heartbeat",)

LOOKS = 3
"""Looks in a row that must have seen no callback, so that a machine that slept is not taken for
a dead device."""


class Heartbeat:
    """What was seen of a device's callbacks."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, callbacks: int) -> None:
        """So many callbacks have come by now; the next one is waited for."""
        self._callbacks = callbacks
        self._since = time.monotonic()
        self._looks = 0

    def look(self, callbacks: int) -> float | None:
        """Seconds without a callback, 0 after few looks; None if one has come."""
        if callbacks != self._callbacks:
            self.begin(callbacks)
            return None
        self._looks += 1
        return time.monotonic() - self._since if self._looks >= LOOKS else 0.0
