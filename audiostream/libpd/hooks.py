"""The hooks that libpd calls for messages, prints and MIDI; inside libpd, in any thread."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager
from typing import Any

from audiostream.errors import PatchClosedError
from audiostream.libpd.protocol import Atom, Sink

__all__ = ("Hooks", "lock_in_child")


class Hooks:
    """Passes on to a sink, which is held weakly; without one all is dropped.

    A sink knows its listeners, and they may know the patch.  Were it held, a patch that is
    dropped could not be noticed: its engine waits to be given back.
    """

    def __init__(self) -> None:
        self._sink: weakref.ref[Sink] | None = None

    def listen(self, sink: Sink | None) -> None:
        """Fill this sink from now on."""
        self._sink = None if sink is None else weakref.ref(sink)

    def _listener(self) -> Sink | None:
        return None if self._sink is None else self._sink()

    def hear_print(self, text: str) -> None:
        """Pass on a fragment of what is printed."""
        sink = self._listener()
        if sink is not None:
            sink.print(text)

    def hear(self, receiver: str, selector: str, *atoms: Atom) -> None:
        """Pass on a message."""
        sink = self._listener()
        if sink is not None:
            sink.message(receiver, selector, atoms)

    def hear_midi(self, kind: str, channel: int, *values: int) -> None:
        """Pass on a MIDI message."""
        sink = self._listener()
        if sink is not None:
            sink.midi(kind, channel, values)


class _Lost:
    """The lock of an engine that no call may enter any more."""

    def __enter__(self) -> None:
        raise PatchClosedError(
            "another thread was computing this patch when the process was forked, and libpd "
            "cannot go on in the child; open the patch again here"
        )

    def __exit__(self, *_: object) -> None:
        """Never called."""


def lock_in_child(lock: Any) -> AbstractContextManager[Any]:
    """The lock of an engine in a forked child: that of the parent, if it is free."""
    if lock.acquire(blocking=False):
        lock.release()
        return lock  # type: ignore[no-any-return]
    return _Lost()
