"""Routes what a patch sends into queues.

The queues are filled inside libpd; their readers are notified in the caller's thread.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from audiostream.libpd.protocol import Atom, Message, Midi
from audiostream.libpd.queues import Queue

__all__ = ("LOGGER", "PRINTS", "MessageRouter")

PRINTS = 1000
"""Printed lines that are kept."""

LINE = 4096
"""Characters after which a line counts as complete, so that a fragment cannot grow for ever."""

LOGGER = "audiostream.puredata"
"""The logger of what patches print: errors as warnings, the rest as information."""


class MessageRouter:
    """One patch's queues; the :class:`~audiostream.libpd.protocol.Sink` of its engine.

    Subscriptions change under the engine's lock only, so never while a hook runs.
    """

    def __init__(self) -> None:
        self.prints: Queue[str] = Queue(PRINTS)
        self._log: deque[str] = deque(maxlen=PRINTS)
        self._line = ""
        self._messages: dict[str, list[Queue[Message]]] = {}
        self._midi: list[Queue[Midi]] = []
        self._news: deque[Queue[Any]] = deque()

    # ------------------------------------------------------------------ inside libpd

    def print(self, text: str) -> None:
        """Take a fragment; a line is complete when its newline is there."""
        *lines, self._line = (self._line + text).split("\n")
        if len(self._line) > LINE:
            lines.append(self._line)
            self._line = ""
        for line in lines:
            self._put(self.prints, line)
            self._log.append(line)

    def message(self, receiver: str, selector: str, atoms: tuple[Atom, ...]) -> None:
        """Put a message into the queues of its receiver."""
        for queue in self._messages.get(receiver, ()):
            self._put(queue, Message(receiver, selector, atoms))

    def midi(self, kind: str, channel: int, values: tuple[int, ...]) -> None:
        """Put a MIDI message into the queues for MIDI."""
        for queue in self._midi:
            self._put(queue, Midi(kind, channel, values))

    def _put(self, queue: Queue[Any], item: object) -> None:
        queue.put(item)
        if queue not in self._news:
            self._news.append(queue)

    # ----------------------------------------------------------- under the engine's lock

    def subscribe(self, queue: Queue[Message], receiver: str) -> bool:
        """Add a queue; True if it is the receiver's first."""
        queues = self._messages.setdefault(receiver, [])
        queues.append(queue)
        return len(queues) == 1

    def unsubscribe(self, queue: Queue[Message], receiver: str) -> bool:
        """Remove a queue; True if it was the receiver's last."""
        queues = self._messages[receiver]
        queues.remove(queue)
        if not queues:
            del self._messages[receiver]
        return not queues

    def subscribe_midi(self, queue: Queue[Midi]) -> None:
        """Add a queue for MIDI."""
        self._midi.append(queue)

    def unsubscribe_midi(self, queue: Queue[Midi]) -> None:
        """Remove a queue for MIDI."""
        self._midi.remove(queue)

    def finish(self) -> None:
        """Mark every queue as closed; the next :meth:`notify` notifies all of them."""
        queues: list[Queue[Any]] = [self.prints, *self._midi]
        for receivers in self._messages.values():
            queues += receivers
        for queue in queues:
            queue.closed = True
            if queue not in self._news:
                self._news.append(queue)

    # ------------------------------------------------------------------ without a lock

    def notify(self) -> None:
        """Log what was printed, and notify the owners of queues that have news."""
        while self._log:
            try:
                line = self._log.popleft()
            except IndexError:
                return  # another thread has taken it
            is_error = line.startswith("error:")
            logging.getLogger(LOGGER).log(logging.WARNING if is_error else logging.INFO, line)
        while self._news:
            try:
                notify = self._news.popleft().notify
            except IndexError:
                return
            if notify is not None:
                try:
                    notify()
                except Exception:
                    # It must not end the caller's call, which has nothing to do with it.
                    logging.getLogger(LOGGER).exception("notify of a patch's queue raised")
