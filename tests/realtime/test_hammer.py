"""Two threads at once on the shared memory, both in machine code without the lock.

Every sample tells its index, so that any wrong one shows.  What is asserted is correctness
alone: the time that a hammer takes only decides how often the two sides meet.
"""

from __future__ import annotations

import ctypes
import functools
import select
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from audiostream.device.callback_path import ARGUMENTS
from audiostream.realtime.atomics import (
    compare_and_swap,
    floats_at,
    load_acquire,
    load_seq,
    store_seq,
    stream_at,
    voices_at,
    words_at,
)
from audiostream.realtime.compiled import Kernels, kernels
from audiostream.realtime.layout import CUTS
from audiostream.realtime.system import call_back
from tests.realtime.rig import Guarded, Rig, compiled

SECONDS = 1.5
"""How long a hammer goes on."""

LIMIT = 60.0
"""How long one side waits for the other before the test fails."""

BITS = 1 << 23
SCALE = np.float32(1 / (1 << 24))
"""A sample is ``(index % BITS + 1) * SCALE``: exact in float32, never 0, within full scale."""


def side(function: Callable[[], None], errors: list[BaseException]) -> threading.Thread:
    """A thread that hands its exception over."""

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def together(*functions: Callable[[], None]) -> None:
    """Run these at once, to the end of all of them."""
    errors: list[BaseException] = []
    threads = [side(function, errors) for function in functions]
    for thread in threads:
        thread.join(LIMIT + 30)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "one side never came to its end"


def ended(begin: float) -> bool:
    return time.monotonic() - begin > SECONDS


def waited_too_long(begin: float) -> bool:
    return time.monotonic() - begin > LIMIT


# --- capture: a writer that never waits, a reader that may be lapped ---------------


@functools.lru_cache(maxsize=1)
def capture_loops() -> tuple[Any, Any]:
    read_ring = kernels().read_ring

    @njit(nogil=True, error_model="numpy")
    def write(entry, stream, block, times, rounds, seed):  # type: ignore[no-untyped-def]
        record = stream_at(stream)
        channels = record["channels"]
        for _ in range(rounds):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            frames = 1 + (seed >> 16) % 200
            index = record["commit"]
            samples = floats_at(block, frames * channels)
            for i in range(frames):
                for c in range(channels):
                    samples[i * channels + c] = ((index + i + c) % BITS + 1) * SCALE
            call_back(entry, block, 0, frames, times, 0, stream)
        return seed

    @njit(nogil=True, error_model="numpy")
    def read(stream, target, rounds, seed, counts):  # type: ignore[no-untyped-def]
        # counts: whole copies, lapped ones, wrong samples in whole ones, in lapped ones
        record = stream_at(stream)
        channels = record["channels"]
        capacity = record["capacity"]
        for _ in range(rounds):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            commit = load_acquire(record, "commit")
            # From a little before what is still there to a little behind it.
            index = commit - capacity + (seed >> 16) % (capacity // 2) - 64
            frames = 1 + (seed >> 8) % (capacity // 2)
            if index < 0:
                continue
            whole = read_ring(stream, index, frames, target)
            wrong = 0
            for i in range(frames):
                for c in range(channels):
                    if target[i * channels + c] != ((index + i + c) % BITS + 1) * SCALE:
                        wrong += 1
            if whole:
                counts[0] += 1
                counts[2] += wrong
            else:
                counts[1] += 1
                counts[3] += wrong
        return seed

    return write, read


def test_no_sample_that_a_capture_hands_out_is_torn() -> None:
    rig = Rig(compiled(), channels=2, slice=64, capacity=1024)
    write, read = capture_loops()
    block = Guarded(200 * 2, np.float32)
    target = np.zeros(1024, np.float32)
    counts = np.zeros(4, np.int64)
    rig.times.set(1.0, 1.0)
    entry = kernels().capture.address
    arguments = (entry, rig.address, block.address, rig.times.address)
    write(*arguments, 20, 1)  # compiled, and some frames there, before the threads begin
    read(rig.address, target, 1, 1, counts)
    counts[:] = 0
    done = threading.Event()
    begin = time.monotonic()

    def writer() -> None:
        seed = 1
        try:
            while not ended(begin):
                seed = write(*arguments, 1000, seed)
        finally:
            done.set()

    def reader() -> None:
        seed = 2
        while not done.is_set():
            seed = read(rig.address, target, 300, seed, counts)

    together(writer, reader)
    read(rig.address, target, 300, 3, counts)  # at rest, so that both kinds were there
    whole, lapped, wrong, wrong_in_lapped = (int(count) for count in counts)
    assert wrong == 0, f"{wrong} wrong samples in {whole} copies that counted as whole"
    assert whole > 0
    # The samples do tell: what was overwritten is wrong, and only the check finds it.
    assert lapped > 0
    assert wrong_in_lapped > 0
    assert int(rig.stream["frames"]) == int(rig.stream["commit"])
    rig.check()
    block.check()


# --- a voice: a producer that writes and clears, a mixer that reads ----------------

RUNS = 1 << 18


@functools.lru_cache(maxsize=1)
def voice_loops() -> tuple[Any, Any]:
    put = kernels().put

    @njit(nogil=True, error_model="numpy")
    def produce(address, guard, block, rounds, seed, rarely):  # type: ignore[no-untyped-def]
        voice = voices_at(address, 1)[0]
        capacity = voice["capacity"]
        for _ in range(rounds):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            frames = 1 + (seed >> 16) % 90
            write = voice["write"]
            if write - load_seq(voice, "read") + frames <= capacity:
                for i in range(frames):
                    block[i] = ((write + i) % BITS + 1) * SCALE
                put(address, 1, guard, block, 1, frames, np.float32(1.0))
            # One clear at a time, as the engine asks for them: the last one is done.
            elif (seed >> 5) % rarely == 0 and load_seq(voice, "skip") <= load_seq(
                voice, "read"
            ):
                store_seq(voice, "ended", write)
                store_seq(voice, "skip", write)
        return seed

    @njit(nogil=True, error_model="numpy")
    def consume(entry, stream, address, block, times, rounds, seed, runs, state):  # type: ignore[no-untyped-def]
        # runs: (first, last + 1) of indices heard in a row, or jumped over (negative)
        # state: number of runs, cuts seen, frames consumed, frames jumped over, wrong
        voice = voices_at(address, 1)[0]
        samples = floats_at(block, 64)
        cuts = words_at(voice["cuts"], 2 * CUTS)
        for _ in range(rounds):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            frames = 1 + (seed >> 16) % 64
            before = voice["read"]
            call_back(entry, 0, block, frames, times, 0, stream)
            jumped = 0
            while state[1] < voice["cut_count"]:
                place = 2 * (state[1] & (CUTS - 1))
                if state[0] < len(runs):
                    runs[state[0], 0] = -cuts[place]
                    runs[state[0], 1] = -cuts[place + 1]
                state[0] += 1
                state[1] += 1
                jumped += cuts[place + 1] - cuts[place]
            state[3] += jumped
            state[2] += voice["read"] - before - jumped
            at = state[5]
            for i in range(frames):
                if samples[i] != 0.0:
                    code = np.int64(samples[i] / SCALE) - 1
                    if code != at % BITS:
                        # A jump: the index is within the ring's length ahead.
                        at += (code - at) % BITS
                        state[4] += 1
                        if state[0] < len(runs):
                            runs[state[0], 0] = at
                        state[0] += 1
                    at += 1
                    state[6] += 1
            state[5] = at
        return seed

    return produce, consume


@pytest.mark.parametrize("fade", [0, 23])
def test_every_frame_of_a_voice_is_heard_once_or_cleared(fade: int) -> None:
    rig = Rig(compiled(), channels=1, slice=64, capacity=512)
    rig.play()
    rig.table[0]["fade"] = fade
    produce, consume = voice_loops()
    k: Kernels = kernels()
    source = np.zeros(128, np.float32)
    block = Guarded(64, np.float32)
    runs = np.zeros((RUNS, 2), np.int64)
    state = np.zeros(7, np.int64)
    rig.times.set(1.0, 1.0)
    voice = rig.voice_address(0)
    output = (k.render.address, rig.address, voice, block.address, rig.times.address)
    source_read_only = source  # the loop fills it: its type differs from the engine's
    produce(voice, rig.slice, source_read_only, 0, 1, 1)
    consume(*output, 0, 1, runs, state)
    done = threading.Event()
    begin = time.monotonic()

    def producer() -> None:
        seed = 1
        try:
            while not ended(begin):
                seed = produce(voice, rig.slice, source, 1000, seed, 50)
        finally:
            done.set()

    def consumer() -> None:
        seed = 2
        while not done.is_set() or rig.table[0]["read"] < rig.table[0]["write"]:
            seed = consume(*output, 1000, seed, runs, state)
            assert not waited_too_long(begin), "the ring was never read to its end"

    together(producer, consumer)
    noted, cuts, consumed, jumped, jumps, _at, sounded = (int(value) for value in state)
    record = rig.table[0]
    assert int(record["write"]) == int(record["read"]) == consumed + jumped
    assert int(record["cut_count"]) == cuts > 0
    assert consumed > 0
    rig.check()
    block.check()
    if fade:
        return  # faded frames do not tell their index; the accounts are exact all the same
    # Without a fade the jumps that were heard are those that were told, one for one.
    assert sounded == consumed
    assert jumps <= cuts
    tell_the_same(runs[: min(noted, RUNS)], complete=noted <= RUNS)


def tell_the_same(runs: np.ndarray, *, complete: bool) -> None:
    """Each jump in what was heard lands where a clear told that it would.

    A clear is noted in the block that it happened in, the jump in that block or a later
    one; two clears with nothing between them are heard as one jump.
    """
    assert complete or len(runs)
    landing = 0
    for first, to in runs.tolist():
        if to < 0:
            landing = -to
        else:
            assert first == landing, f"heard {first} after a jump to {landing}"


def test_the_comparison_of_jumps_can_fail() -> None:
    good = np.array([[-10, -20], [20, 0], [-30, -40], [-45, -50], [50, 0]])
    tell_the_same(good, complete=True)
    good[4, 0] = 51
    with pytest.raises(AssertionError, match="heard 51"):
        tell_the_same(good, complete=True)


# --- the doorbell: no ring is lost -------------------------------------------------


@functools.lru_cache(maxsize=1)
def bell_loops() -> tuple[Any, Any]:
    arm = kernels().arm

    @njit(nogil=True, error_model="numpy")
    def move(entry, stream, ack, times, rounds, state):  # type: ignore[no-untyped-def]
        # Moves the index by one frame, then waits for the other side to have seen it.
        # state: this side's round, patience used up, seed
        heard = stream_at(stream)
        answer = words_at(ack, 1)
        for _ in range(rounds):
            if state[1] == 0:
                state[2] = (state[2] * 1103515245 + 12345) & 0x7FFFFFFF
                for _ in range((state[2] >> 16) & 63):
                    load_seq(heard, "commit")  # a few nanoseconds, each time others
                call_back(entry, 0, 0, 1, times, 0, stream)
                state[0] += 1
                state[1] = 1
            patience = 20_000
            while patience > 0 and answer[0] < state[0]:
                load_seq(heard, "commit")
                patience -= 1
            if answer[0] < state[0]:
                return False  # not yet: look at the clock, and come back
            state[1] = 0
        return True

    @njit(nogil=True, error_model="numpy")
    def wait(stream, wake, index, ack, rounds, state):  # type: ignore[no-untyped-def]
        # state: index waited for, 1 while armed, times the bell was needed, seed, early
        record = stream_at(stream)
        answer = words_at(ack, 1)
        for _ in range(rounds):
            if state[1] == 0:
                state[3] = (state[3] * 1103515245 + 12345) & 0x7FFFFFFF
                # About as long as a callback takes: the two meet where it matters.
                for _ in range((state[3] >> 16) & 511):
                    load_seq(record, "commit")
                if not arm(wake, index, state[0]):
                    state[1] = 1
            if state[1] == 1:
                patience = 20_000
                while patience > 0 and not compare_and_swap(record, "woken", 1, 0):
                    patience -= 1
                if patience == 0:
                    return False
                state[1] = 0
                state[2] += 1
                if load_seq(record, "commit") < state[0]:
                    state[4] += 1  # an old ring, for a wish of before: look again, ask anew
                    continue
            state[0] += 1
            answer[0] = state[0] - 1
            load_seq(record, "commit")
        return True

    return move, wait


def test_no_ring_is_lost_between_a_waiter_and_the_audio_thread() -> None:
    rig = Rig(compiled(), channels=1, slice=64, capacity=64)
    move, wait = bell_loops()
    entry = kernels().capture.address
    rig.times.set(1.0, 1.0)
    ack = np.zeros(1, np.int64)
    moved = np.array([0, 0, 1], np.int64)
    waited = np.array([1, 0, 0, 2, 0], np.int64)
    mover_arguments = (entry, rig.address, ack.ctypes.data, rig.times.address)
    waiter_arguments = (
        rig.address,
        rig.at("wake_commit"),
        rig.at("commit"),
        ack.ctypes.data,
    )
    move(*mover_arguments, 0, moved)
    wait(*waiter_arguments, 0, waited)
    done = threading.Event()
    begin = time.monotonic()

    def mover() -> None:
        try:
            while not ended(begin) or ack[0] < moved[0]:
                if not move(*mover_arguments, 1 if ended(begin) else 2000, moved):
                    time.sleep(0)  # gives the core away, where there is only one
                assert not waited_too_long(begin), lost()
        finally:
            done.set()

    def lost() -> str:
        return (
            f"a wake-up was lost: index {int(rig.stream['commit'])}, waited for "
            f"{int(waited[0])}, wake_commit {int(rig.stream['wake_commit'])}"
        )

    def waiter() -> None:
        while not done.is_set():
            wait(*waiter_arguments, 2000, waited)
            time.sleep(0)

    together(mover, waiter)
    assert int(rig.stream["commit"]) == int(moved[0]) == int(ack[0])
    assert int(waited[2]) > 0, "the bell was never needed"


def test_two_waiters_on_one_word_and_one_descriptor_all_come_through() -> None:
    """The whole way: compiled callback, eventfd, poll; the earliest wish stands, and whoever
    is woken looks again and asks anew."""
    rig = Rig(compiled(), channels=1, slice=64, capacity=64)
    rig.stream["bell"] = 0
    bell = rig.add_bell(0)
    form = rig.form
    times = rig.times.address
    rig.times.set(1.0, 1.0)
    # In this call the interpreter's lock is given up, as on PortAudio's own thread.
    unlocked = ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)(kernels().capture.address)
    wake, index = rig.at("wake_commit"), rig.at("commit")
    begin = time.monotonic()
    goal = 40_000
    reached = [0, 0]
    strides = (3, 7)
    polls = [0]

    def audio() -> None:
        rng = np.random.default_rng(3)
        while int(rig.stream["commit"]) < goal:
            # Never further than the slower one has seen: a lost ring stands still.
            if int(rig.stream["commit"]) <= min(reached) + 7:
                unlocked(0, 0, int(rng.integers(1, 4)), times, 0, rig.address)
            else:
                time.sleep(0)
            assert not waited_too_long(begin), f"a wake-up was lost at {reached}"

    def waiters() -> None:
        poll = select.poll()
        poll.register(bell.fd, select.POLLIN)
        while min(reached) < goal - 7:
            asleep = []
            for who, stride in enumerate(strides):
                wanted = reached[who] + stride
                if wanted > goal or not form.arm(wake, index, wanted):
                    asleep.append(who)
                else:
                    reached[who] = wanted
            if len(asleep) == 2:
                polls[0] += 1
                assert poll.poll(LIMIT * 1000), f"a wake-up was lost at {reached}"
                bell.hear()

    together(audio, waiters)
    assert min(reached) >= goal - 7
    assert polls[0] > 0
