"""Locks that a forked child makes again, because nothing gives them back there; any thread.

At a fork, any thread of the parent may hold any lock.  That thread does not exist in the child,
so a lock that it held would be waited for without end.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ("LOCKS", "Locks")

Makers = dict[str, Callable[[], Any]]


class Locks:
    """Which attributes of which objects are locks; it holds the objects weakly."""

    def __init__(self) -> None:
        # By id(), since a user's subclass may not be hashable.
        self._owners: dict[int, tuple[weakref.ref[Any], Makers]] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def add(self, owner: Any, **makers: Callable[[], Any]) -> None:
        """Have a forked child make locks again.

        Parameters
        ----------
        owner : object
            Whose attributes they are.
        **makers
            By the attribute's name, what makes the lock: ``threading.Lock``, for one.
        """
        key = id(owner)
        known = self._owners.get(key)
        if known is not None:
            known[1].update(makers)
            return
        owners = self._owners
        # The id is another object's only after this was called.
        self._owners[key] = weakref.ref(owner, lambda _: owners.pop(key, None)), makers

    def renew(self) -> None:
        """Make them all again; in the child, which has one thread."""
        for reference, makers in list(self._owners.values()):
            owner = reference()
            if owner is not None:
                for name, make in makers.items():
                    setattr(owner, name, make())


LOCKS = Locks()
"""The process's: a fork concerns all of them."""
