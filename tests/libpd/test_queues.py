"""Queues and the sorting into them, without libpd."""

from __future__ import annotations

import sys
import threading

import pytest

from audiostream.errors import FormatError
from audiostream.libpd import Queue
from audiostream.libpd.message_router import LINE, PRINTS, MessageRouter
from audiostream.libpd.patchfile import missing_objects


def test_oldest_first_and_the_oldest_go() -> None:
    queue: Queue[int] = Queue(3)
    assert queue.get() is None
    for item in range(5):
        queue.put(item)
    assert list(queue) == [2, 3, 4]
    assert len(queue) == 3
    assert queue.get() == 2
    assert queue.drain() == [3, 4]
    assert queue.drain() == []
    assert queue.dropped == 2


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_sizes_that_hold_nothing(size: int) -> None:
    with pytest.raises(FormatError):
        Queue(size)


def test_closing_ends_the_subscription_once() -> None:
    ended: list[object] = []
    queue: Queue[int] = Queue(3, close=lambda: ended.append(1))
    queue.put(1)
    with queue:
        assert not queue.closed
    queue.close()
    assert queue.closed
    assert ended == [1]
    assert queue.get() == 1


def test_every_item_is_taken_once_by_two_threads() -> None:
    """Nothing is lost, taken twice or counted wrongly, however the threads interleave."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        queue: Queue[int] = Queue(64)
        taken: list[list[int]] = [[], []]
        done = threading.Event()

        def drain(into: list[int]) -> None:
            while not done.is_set():
                into.extend(queue.drain())
            into.extend(queue.drain())

        threads = [threading.Thread(target=drain, args=(into,)) for into in taken]
        for thread in threads:
            thread.start()
        for item in range(20_000):
            queue.put(item)
        done.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    got = taken[0] + taken[1]
    assert len(set(got)) == len(got)
    assert len(got) + queue.dropped == 20_000


def test_lines_are_joined_from_fragments() -> None:
    router = MessageRouter()
    for text in ("a", "b\nc", "", "d\n\ne"):
        router.print(text)
    assert router.prints.drain() == ["ab", "cd", ""]
    router.print("x" * LINE)
    assert router.prints.drain() == ["e" + "x" * LINE]


def test_prints_are_bounded() -> None:
    router = MessageRouter()
    for number in range(PRINTS + 5):
        router.print(f"{number}\n")
    assert len(router.prints) == PRINTS
    assert router.prints.dropped == 5


def test_errors_are_logged_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    router = MessageRouter()
    router.print("error: something\nfine\n")
    router.notify()
    router.notify()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "error: something")
    ]


def test_news_are_told_once() -> None:
    router = MessageRouter()
    told: list[int] = []
    queue: Queue[object] = Queue(8, notify=lambda: told.append(len(queue)))
    assert router.subscribe(queue, "r")  # type: ignore[arg-type]
    assert not router.subscribe(Queue(8), "r")
    router.message("r", "float", (1.0,))
    router.message("r", "float", (2.0,))
    router.message("other", "float", (2.0,))
    router.notify()
    router.notify()
    assert told == [2]


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ([], []),
        (["hello", "verbose(0): a~ 1", "error: ... couldn't create"], ["a~ 1"]),
        (["a~ 1", "... couldn't create", "a~ 1", "... couldn't create"], ["a~ 1"]),
        (["error: b", "error: ... couldn't create", "c"], ["b"]),
        (["... couldn't create"], []),
    ],
)
def test_missing_objects_from_what_is_printed(lines: list[str], missing: list[str]) -> None:
    assert missing_objects(lines) == missing
