"""The engines of a backend that have no patch now, lent again; any thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from audiostream.libpd.protocol import Engine

__all__ = ("Pool",)


class Pool:
    """What all backends share of :class:`~audiostream.libpd.Carrier`.

    Takes no lock: its two queues are deques, whose methods are atomic.
    """

    def __init__(self, *engines: Engine) -> None:
        self._idle: deque[Engine] = deque(engines)
        self._abandoned: deque[Callable[[], None]] = deque()

    def acquire(self) -> Engine:
        """Lend an engine without a patch; see :class:`~audiostream.libpd.Carrier`."""
        while self._abandoned:
            self._abandoned.popleft()()
        try:
            return self._idle.pop()
        except IndexError:
            return self.another()

    def another(self) -> Engine:
        """Make one more engine, or raise PatchError."""
        raise NotImplementedError

    def release(self, engine: Engine) -> None:
        """Take an engine back, its patch closed."""
        self._idle.append(engine)

    def abandon(self, end: Callable[[], None]) -> None:
        """Have `end` called before the next engine is lent; for finalizers."""
        self._abandoned.append(end)
