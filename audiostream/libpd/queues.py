"""Bounded queues from a patch to its listeners; filled in libpd, drained in any thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from audiostream.checks import check_callable, check_integer
from audiostream.forks import LOCKS

__all__ = ("Queue",)

T = TypeVar("T")

MAX_ITEMS = 1 << 30
"""The largest size of a queue."""


class Queue(Generic[T]):
    """Items that a patch sent and that are not taken yet, oldest first; it never waits.

    When it is full, the oldest item makes room for the newest and is counted in
    :attr:`dropped`.  Methods may be called from any thread; iterating goes over a copy and
    takes nothing away.

    Parameters
    ----------
    size : int
        Items kept at most.
    notify : callable, optional
        See the attribute.
    close : callable, optional
        Ends the subscription; called once, by the first :meth:`close`.

    Attributes
    ----------
    notify : callable or None
        Called without arguments when something has come since the last time, once for any
        number of items, in the thread whose call made the patch send them (`process`, `send`
        and so on), after libpd's lock is released.  It may use the patch.  What it raises
        is logged.
    closed : bool
        Nothing more will come; what is there can still be taken.
    """

    def __init__(
        self,
        size: int,
        notify: Callable[[], object] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        size = check_integer(size, "size", "items", least=1, most=MAX_ITEMS, hint="1024")
        if notify is not None:
            check_callable(notify, "notify", "of no arguments")
        if close is not None:
            check_callable(close, "close", "of no arguments")
        self.notify = notify
        self.closed = False
        self._close = close
        self._items: deque[T] = deque(maxlen=size)
        self._put = 0  # written inside libpd only
        self._taken = 0  # written under the lock, which nothing inside libpd waits for
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)

    def put(self, item: T) -> None:
        """Append an item, in place of the oldest if full.  Only one thread at a time."""
        self._put += 1
        self._items.append(item)

    def get(self) -> T | None:
        """Take and return the oldest item; None if there is none."""
        with self._lock:
            try:
                item = self._items.popleft()
            except IndexError:
                return None
            self._taken += 1
            return item

    def drain(self) -> list[T]:
        """Take and return all items that are there now."""
        taken: list[T] = []
        for _ in range(len(self._items)):
            item = self.get()
            if item is None:
                break  # another thread was faster
            taken.append(item)
        return taken

    @property
    def dropped(self) -> int:
        """How many items were lost because they were not taken in time."""
        with self._lock:
            return max(0, self._put - self._taken - len(self._items))

    def close(self) -> None:
        """End the subscription.  Idempotent; what is there can still be taken."""
        close, self._close = self._close, None
        self.closed = True
        if close is not None:
            close()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.copy())

    def __enter__(self) -> Queue[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
