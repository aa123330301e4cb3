"""An open patch's engine and its subscriptions; any thread."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from audiostream.errors import PatchClosedError
from audiostream.libpd.message_router import MessageRouter
from audiostream.libpd.protocol import Carrier, Engine, Message, Midi
from audiostream.libpd.queues import Queue

__all__ = ("Hold", "Notify", "Session")

T = TypeVar("T")

Notify = Callable[[], object]
"""Called when a queue has news."""


class Hold:
    """An open patch's hold on its engine: all that is needed to give the engine back.

    The patch's finalizer keeps it, so it must hold no reference to the patch, and none to its
    queues, whose owners may have one.
    """

    def __init__(self, backend: Carrier, router: MessageRouter) -> None:
        self.backend = backend
        self.engine: Engine = backend.acquire()
        self.router = weakref.ref(router)
        self.patch: Any = None
        self.bound: dict[str, Any] = {}
        self.closed = False

    def end(self) -> None:
        """Close the patch and give the engine back; once."""
        try:
            with self.engine.lock:
                if self.closed:
                    return
                self.closed = True
                if self.patch is not None:
                    self.engine.close(self.patch)
                for bound in self.bound.values():
                    self.engine.unbind(bound)
                self.engine.listen(None)
        except PatchClosedError:  # a forked child has lost the engine
            self.closed = True
        else:
            self.backend.release(self.engine)
        router = self.router()
        if router is not None:
            router.finish()
            router.notify()


class Session:
    """An open patch's engine and queues, which the patch and its parts share."""

    def __init__(self, backend: Carrier) -> None:
        self.router = MessageRouter()
        self.hold = Hold(backend, self.router)

    def run(self, function: Callable[[Engine], T]) -> T:
        """Call `function` with the engine locked, then notify the readers of its messages.

        Raises
        ------
        PatchClosedError
            If the patch is closed.
        """
        with self.hold.engine.lock:
            if self.hold.closed:
                raise PatchClosedError("the patch is closed; open it again with Patch(...)")
            result = function(self.hold.engine)
        self.router.notify()
        return result

    def run_if_open(self, function: Callable[[Engine], None]) -> None:
        """Call `function` as :meth:`run` does, or not at all."""
        try:
            self.run(function)
        except PatchClosedError:
            return

    def subscribe(self, receiver: str, size: int, notify: Notify | None) -> Queue[Message]:
        """Return a queue of what the patch sends to `receiver`."""

        def bind(engine: Engine) -> None:
            if self.router.subscribe(queue, receiver):
                self.hold.bound[receiver] = engine.bind(receiver)

        def unbind(engine: Engine) -> None:
            if self.router.unsubscribe(queue, receiver):
                engine.unbind(self.hold.bound.pop(receiver))

        queue: Queue[Message] = Queue(size, notify, lambda: self.run_if_open(unbind))
        self.run(bind)
        return queue

    def subscribe_midi(self, size: int, notify: Notify | None) -> Queue[Midi]:
        """Return a queue of the MIDI that the patch sends."""

        def bind(engine: Engine) -> None:
            engine.bind_midi()
            self.router.subscribe_midi(queue)

        def unbind(engine: Engine) -> None:
            self.router.unsubscribe_midi(queue)

        queue: Queue[Midi] = Queue(size, notify, lambda: self.run_if_open(unbind))
        self.run(bind)
        return queue
