"""The memory that is shared with the audio thread, and the wake-ups."""

from __future__ import annotations

import errno
import gc
import os
import select
import sys
import threading
from typing import Any

import numpy as np
import pytest

from audiostream.engine import memory
from audiostream.engine.memory import field_offsets, power_of_two, records, zeros
from audiostream.engine.wakeup import Wakeup
from audiostream.realtime.memory.layout import CACHE_LINE, STREAM, VOICE, WAKEUP
from audiostream.realtime.memory.unit_layout import CLOCK

RECORDS = {"WAKEUP": WAKEUP, "VOICE": VOICE, "STREAM": STREAM, "CLOCK": CLOCK}


# --------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("count", [1, 7])
def test_records_are_zero_and_on_cache_lines(name: str, count: int) -> None:
    kind = RECORDS[name]
    for _ in range(5):
        table = records(kind, count)
        assert table.shape == (count,)
        assert table.ctypes.data % CACHE_LINE == 0
        assert kind.itemsize % CACHE_LINE == 0
        assert not any(table.tobytes())
        table[-1] = tuple([1] * len(kind.names or ()))  # it is ours to write
        assert table[-1][0] == 1


@pytest.mark.parametrize("name", RECORDS)
def test_offsets_are_those_of_the_record(name: str) -> None:
    offsets = field_offsets(RECORDS[name])
    assert sorted(offsets) == sorted(RECORDS[name].names or ())
    table = records(RECORDS[name], 1)
    raw = table.view(np.uint8)
    for field, offset in offsets.items():
        assert offset % 8 == 0
        table[field] = 0
        one = np.ones(1, table[field].dtype)
        raw[offset : offset + 8] = one.view(np.uint8)
        assert table[field][0] == 1
    assert len(set(offsets.values())) == len(offsets)


@pytest.mark.parametrize(
    ("count", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (1024, 1024), (1025, 2048)]
)
def test_powers_of_two_are_no_smaller_than_asked_for(count: int, power: int) -> None:
    assert power_of_two(count) == power


def test_zeros_are_zero_writable_and_contiguous() -> None:
    array = zeros(1000, np.float32)
    assert array.dtype == np.float32
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert not array.any()


# --------------------------------------------------------------------------------- wake-ups


@pytest.fixture(params=["eventfd", "pipe"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this Python has no os.eventfd (Linux, 3.10)")
    return str(request.param)


def is_signalled(wakeup: Wakeup) -> bool:
    """True if somebody who listens would wake up."""
    listening = select.poll()
    listening.register(wakeup.fd, select.POLLIN)
    return bool(listening.poll(0))


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_wakeup_is_quiet_until_it_is_signalled(kind: str) -> None:
    wakeup = Wakeup(3)
    assert wakeup.index == 3
    assert not is_signalled(wakeup)
    wakeup.clear()  # nothing to take: does not block
    wakeup.signal()
    assert is_signalled(wakeup)
    assert is_signalled(wakeup)  # until it is cleared
    for _ in range(10):
        wakeup.signal()
    wakeup.clear()
    assert not is_signalled(wakeup)  # many signals may arrive as one
    wakeup.signal()
    assert is_signalled(wakeup)


def test_eight_bytes_to_its_descriptor_ring_it(kind: str) -> None:
    wakeup = Wakeup(0)
    os.write(wakeup.write_fd, (1).to_bytes(8, sys.byteorder))  # as the audio thread does
    assert is_signalled(wakeup)
    wakeup.clear()
    assert not is_signalled(wakeup)


def test_a_wakeup_that_is_never_read_does_not_block_its_signals(kind: str) -> None:
    wakeup = Wakeup(0)
    if kind == "eventfd":
        os.write(wakeup.write_fd, (2**64 - 2).to_bytes(8, sys.byteorder))  # as full as may be
    signalling = threading.Thread(
        target=lambda: [wakeup.signal() for _ in range(20_000)], daemon=True
    )
    signalling.start()
    signalling.join(20)
    assert not signalling.is_alive()
    assert is_signalled(wakeup)
    wakeup.clear()
    assert not is_signalled(wakeup)


def test_a_wakeup_wakes_a_thread(kind: str) -> None:
    wakeup = Wakeup(0)
    woken = threading.Event()

    def listen() -> None:
        listening = select.poll()
        listening.register(wakeup.fd, select.POLLIN)
        listening.poll()
        woken.set()

    threading.Thread(target=listen, daemon=True).start()
    assert not woken.is_set()
    wakeup.signal()
    assert woken.wait(20)


def test_signalling_for_all_says_so(kind: str) -> None:
    wakeup = Wakeup(0)
    assert not wakeup.for_all
    wakeup.signal_all()
    assert wakeup.for_all
    assert is_signalled(wakeup)


@pytest.mark.parametrize("gone", [True, False])
def test_a_wakeup_is_closed_only_if_nothing_can_signal_it_any_more(
    kind: str, gone: bool
) -> None:
    wakeup = Wakeup(0)
    descriptors = {wakeup.fd, wakeup.write_fd}
    wakeup.close()  # the audio thread may still write
    assert all(map(is_open, descriptors))
    wakeup.finish(gone=gone)
    assert wakeup.finished
    assert wakeup.for_all
    assert is_signalled(wakeup)
    wakeup.close()
    wakeup.close()
    assert wakeup.closed is gone
    assert [is_open(descriptor) for descriptor in descriptors] == [not gone] * len(descriptors)
    wakeup.signal()
    wakeup.clear()
    wakeup.may_close = True
    wakeup.close()


@pytest.mark.parametrize("gone", [True, False])
def test_a_wakeup_that_is_dropped_closes_itself_if_it_may(kind: str, gone: bool) -> None:
    wakeup = Wakeup(0)
    descriptors = {wakeup.fd, wakeup.write_fd}
    wakeup.finish(gone=gone)
    del wakeup
    gc.collect()
    assert [is_open(descriptor) for descriptor in descriptors] == [not gone] * len(descriptors)
    for descriptor in descriptors:
        if not gone:
            os.close(descriptor)


def test_descriptors_are_not_inherited(kind: str) -> None:
    wakeup = Wakeup(0)
    assert not os.get_inheritable(wakeup.fd)
    assert not os.get_inheritable(wakeup.write_fd)
    assert not os.get_blocking(wakeup.fd)
    assert not os.get_blocking(wakeup.write_fd)


def test_a_wakeup_that_cannot_be_made_leaves_nothing_behind(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, kind, none_left)
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(OSError, match="open files") as caught:
        Wakeup(0)
    del caught
    gc.collect()
    assert unraisable == []


def test_a_long_ring_is_not_written_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages come when they are written; those of a short one are there."""
    touched = []

    def counted(count: int, dtype: Any) -> np.ndarray:
        touched.append(count)
        return zeros(count, dtype)

    monkeypatch.setattr(memory, "zeros", counted)
    for samples, is_touched in ((1000, True), (10**7, False)):
        touched.clear()
        made = memory.ring(samples, 3)
        assert bool(touched) == is_touched
        assert made.shape == (samples,)
        assert made.ctypes.data % 4096 == 3 * 64
        assert not made[-1000:].any()
