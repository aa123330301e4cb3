"""Two threads at once on the shared memory, both in machine code without the lock.

Each side is a loop that is compiled as the kernels are, and calls the library's machine code.
Every sample holds its index, so that any wrong one shows.  What is asserted is correctness
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

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import types

from audiostream.device.portaudio.callback_path import ARGUMENTS
from audiostream.realtime.compile.inline import inlined
from audiostream.realtime.compile.kernels import compile_kernels, kernels
from audiostream.realtime.compile.kernels import load as load_code
from audiostream.realtime.compile.syscalls import call_back
from audiostream.realtime.memory.atomics import (
    compare_and_swap,
    floats_at,
    load,
    load_acquire,
    load_seq,
    producer_at,
    store_seq,
    stream_at,
    times_at,
    voice_at,
    words_at,
)
from audiostream.realtime.memory.layout import CUTS
from tests.realtime.rig import STREAM_AT, VOICE_AT, Guarded, Rig, compiled

SECONDS = 1.0
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


# --- the two sides, as loops that are compiled ---------------------------------------


def external(name: str, count: int) -> Any:
    """One of the library's kernels, for loops to call; see :func:`loops`."""
    return types.ExternalFunction(
        f"audiostream_hammer_{name}", types.int64(*[types.int64] * count)
    )


write_frames = external("write_frames", 3)
read_floats = external("read_floats", 4)
request_wakeup = external("request_wakeup", 4)
heard_at = external("heard_at", 2)


def capture_blocks(
    entry: int, stream: int, block: int, times: int, rounds: int, seed: int
) -> int:
    """A device: blocks of any length whose samples hold their index."""
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


def read_blocks(stream: int, target: int, rounds: int, seed: int, counts_at: int) -> int:
    """A reader that never waits; counts: whole copies, lapped ones, wrong samples in each."""
    record = stream_at(stream)
    channels = record["channels"]
    capacity = record["capacity"]
    samples = floats_at(target, capacity * channels)
    counts = words_at(counts_at, 4)
    for _ in range(rounds):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        commit = load_acquire(record, "commit")
        # From a little before what is still there to a little behind it.
        index = commit - capacity + (seed >> 16) % (capacity // 2) - 64
        frames = 1 + (seed >> 8) % (capacity // 2)
        if index < 0:
            continue
        whole = read_floats(stream, index, frames, target)
        wrong = 0
        for i in range(frames):
            for c in range(channels):
                if samples[i * channels + c] != ((index + i + c) % BITS + 1) * SCALE:
                    wrong += 1
        if whole != 0:
            counts[0] += 1
            counts[2] += wrong
        else:
            counts[1] += 1
            counts[3] += wrong
    return seed


@inlined
def produce(producer: int, block: int, rounds: int, seed: int, rarely: int) -> int:
    """A caller: writes what there is room for, and clears a full ring now and then."""
    voice = voice_at(producer_at(producer)["voice"])
    samples = floats_at(block, 90)
    for _ in range(rounds):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        frames = 1 + (seed >> 16) % 90
        write = voice["write"]
        for i in range(frames):
            samples[i] = ((write + i) % BITS + 1) * SCALE
        taken = write_frames(producer, block, frames)
        # One clear at a time, as the engine asks for them: the last one is done, and something
        # was heard since, even where the two sides only take turns.
        if (
            taken == 0
            and (seed >> 5) % rarely == 0
            and load_seq(voice, "skip") + HEARD_BETWEEN <= load_seq(voice, "read")
        ):
            store_seq(voice, "ended", write)
            store_seq(voice, "skip", write)
    return seed


@inlined
def consume(
    entry: int, stream: int, address: int, block: int, times: int, rounds: int, state_at: int
) -> int:
    """A device: blocks of any length, and an account of what was heard in them.

    The runs are (first, last + 1) of indices heard in a row, or jumped over (negative);
    their address is the last word of the state.  The state before it: number of runs, cuts
    seen, frames consumed, frames jumped over, jumps heard, index, frames heard, seed.
    """
    voice = voice_at(address)
    samples = floats_at(block, 64)
    cuts = words_at(voice["cuts"], 2 * CUTS)
    state = words_at(state_at, 9)
    runs = words_at(state[8], 2 * RUNS)
    for _ in range(rounds):
        state[7] = (state[7] * 1103515245 + 12345) & 0x7FFFFFFF
        frames = 1 + (state[7] >> 16) % 64
        before = load_seq(voice, "read")
        call_back(entry, 0, block, frames, times, 0, stream)
        jumped = 0
        while state[1] < voice["cut_count"]:
            place = 2 * (state[1] & (CUTS - 1))
            if state[0] < RUNS:
                runs[2 * state[0]] = -cuts[place]
                runs[2 * state[0] + 1] = -cuts[place + 1]
            state[0] += 1
            state[1] += 1
            jumped += cuts[place + 1] - cuts[place]
        state[3] += jumped
        state[2] += load_seq(voice, "read") - before - jumped
        at = state[5]
        for i in range(frames):
            if samples[i] != 0.0:
                code = np.int64(samples[i] / SCALE) - 1
                if code != at % BITS:
                    # A jump: the index is within the ring's length ahead.
                    at += (code - at) % BITS
                    state[4] += 1
                    if state[0] < RUNS:
                        runs[2 * state[0]] = at
                    state[0] += 1
                at += 1
                state[6] += 1
        state[5] = at
    return 0


def live(
    entry: int,
    stream: int,
    address: int,
    producer: int,
    source: int,
    block: int,
    times: int,
    rounds: int,
    state_at: int,
) -> int:
    """Both in turn: a voice that begins, starves and is cleared all the time."""
    state = words_at(state_at, 9)
    for _ in range(rounds):
        produce(producer, source, 1 + (state[7] & 7), state[7], 1)
        consume(entry, stream, address, block, times, 1 + ((state[7] >> 3) & 7), state_at)
    return 0


def listen(stream: int, address: int, rounds: int, state_at: int) -> int:
    """A caller that asks for the playhead; state: last answer, answers, moves, wrong ones."""
    voice = voice_at(address)
    state = words_at(state_at, 4)
    for _ in range(rounds):
        heard = load_seq(voice, "heard")
        state[1] += 1
        if heard > state[0]:
            state[2] += 1
        if heard < state[0] or heard > load_seq(voice, "read"):
            state[3] += 1
        state[0] = heard
    return 0


def move(
    entry: int,
    stream: int,
    target: int,
    acks_at: int,
    waiters: int,
    times: int,
    rounds: int,
    state_at: int,
) -> int:
    """A device that moves by a frame, then waits for everybody to have seen it.

    State: blocks so far, 1 while it waits, seed.  Returns 0 if the patience is used up.
    """
    record = stream_at(stream)
    acks = words_at(acks_at, 64)
    state = words_at(state_at, 3)
    for _ in range(rounds):
        if state[1] == 0:
            state[2] = (state[2] * 1103515245 + 12345) & 0x7FFFFFFF
            for _ in range((state[2] >> 16) & 63):
                load_seq(record, "commit")  # a few nanoseconds, each time others
            call_back(entry, 0, target, 1, times, 0, stream)
            state[0] += 1
            state[1] = 1
        patience = 20_000
        waits = True
        while patience > 0 and waits:
            waits = False
            for i in range(waiters):
                if acks[8 * i] < state[0]:
                    waits = True
            load_seq(record, "commit")
            patience -= 1
        if waits:
            return 0  # not yet: look at the clock, and come back
        state[1] = 0
    return 1


def wait_for_capture(
    stream: int, wake: int, index: int, ack_at: int, rounds: int, state_at: int
) -> int:
    """A reader that is woken; see :func:`wait_for_voice`."""
    record = stream_at(stream)
    acks = words_at(ack_at, 1)
    state = words_at(state_at, 5)
    for _ in range(rounds):
        if state[1] == 0:
            state[3] = (state[3] * 1103515245 + 12345) & 0x7FFFFFFF
            # About as long as a callback takes: the two meet where it matters.
            for _ in range((state[3] >> 16) & 511):
                load_seq(record, "commit")
            if request_wakeup(wake, index, state[0], stream + ARMED) == 0:
                state[1] = 1
        if state[1] == 1:
            patience = 20_000
            while patience > 0 and not compare_and_swap(record, "woken", 1, 0):
                patience -= 1
            if patience == 0:
                return 0
            state[1] = 0
            state[2] += 1
            if load_seq(record, "commit") < state[0]:
                state[4] += 1  # an old signal, for an earlier index: look again, ask again
                continue
        state[0] += 1
        acks[0] = state[0] - 1
        load_seq(record, "commit")
    return 1


def wait_for_voice(
    stream: int, address: int, heard: int, ack_at: int, rounds: int, state_at: int
) -> int:
    """A caller that is woken when a voice's next frame was read, or heard.

    Only now and then: for most blocks it looks by itself, so that the audio thread has last
    seen that no thread waits.  State: block waited for, 1 while armed, times the signal
    was needed, seed, early signals.
    """
    record = stream_at(stream)
    voice = voice_at(address)
    acks = words_at(ack_at, 1)
    state = words_at(state_at, 5)
    wake = address + (WAKE_HEARD if heard != 0 else WAKE_READ)
    index = address + (HEARD if heard != 0 else READ)
    for _ in range(rounds):
        # Without latency a block's first frame is heard while it is rendered.
        at = state[0] - heard
        if state[1] == 0:
            state[3] = (state[3] * 1103515245 + 12345) & 0x7FFFFFFF
            for _ in range((state[3] >> 16) & 511):
                load_seq(record, "commit")
            if state[3] & 0x3000 != 0:
                patience = 20_000
                now = 0
                while patience > 0 and now < state[0]:
                    now = load_seq(voice, "read")
                    patience -= 1
                if patience == 0:
                    return 0
                state[0] += 1
                acks[0] = state[0] - 1
                continue
            told = request_wakeup(wake, index, at, stream + ARMED) != 0
            now = load_seq(voice, "heard") if heard != 0 else load_seq(voice, "read")
            if not told and now < at:
                state[1] = 1
        if state[1] == 1:
            patience = 20_000
            while patience > 0 and not compare_and_swap(voice, "woken", 1, 0):
                patience -= 1
            if patience == 0:
                return 0
            state[1] = 0
            state[2] += 1
            now = load_seq(voice, "heard") if heard != 0 else load_seq(voice, "read")
            if now < at:
                state[4] += 1
                continue
        state[0] += 1
        acks[0] = state[0] - 1
        load_seq(record, "commit")
    return 1


def keep_time(entry: int, stream: int, times: int, rounds: int, seed: int) -> int:
    """A device with frames at one rate; overruns restart the clock sync in each block."""
    record = stream_at(stream)
    said = times_at(times)
    for _ in range(rounds):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        said["now"] = 1.0 + load(record, "frames") / record["rate"]
        said["adc"] = said["now"]
        call_back(entry, 0, 0, 1 + (seed >> 16) % 200, times, 2, stream)
    return seed


def read_line(stream: int, rounds: int, counts_at: int) -> int:
    """When was frame 0?  Counts: how often it was asked, how often the answer was wrong."""
    counts = words_at(counts_at, 2)
    for _ in range(rounds):
        counts[0] += 1
        if heard_at(stream, 0) != 1_000_000_000:
            counts[1] += 1
    return 0


LOOPS = (
    *(capture_blocks, read_blocks, keep_time, read_line, produce, consume, live, listen),
    *(move, wait_for_capture, wait_for_voice),
)
ARMED = STREAM_AT["armed"]
READ, WAKE_READ = VOICE_AT["read"], VOICE_AT["wake_read"]
HEARD, WAKE_HEARD = VOICE_AT["heard"], VOICE_AT["wake_heard"]
RUNS = 1 << 18
HEARD_BETWEEN = 100
"""Frames that are heard between two clears, at least."""


@pytest.fixture(scope="module", autouse=True)
def _compiled_first() -> None:
    """Compile the loops before a clock runs."""
    loops()


@functools.lru_cache(maxsize=1)
def loops() -> dict[str, Callable[..., int]]:
    """The loops as machine code; they give up the lock while they run."""
    for name in ("write_frames", "read_floats", "request_wakeup", "heard_at"):
        address = ctypes.cast(getattr(kernels(), name), ctypes.c_void_p).value
        llvm.add_symbol(f"audiostream_hammer_{name}", address)
    names = [loop.__name__ for loop in LOOPS]
    addresses = load_code(compile_kernels(dict(zip(names, LOOPS, strict=True))), names)
    made: dict[str, Callable[..., int]] = {}
    for loop in LOOPS:
        words = [ctypes.c_int64] * loop.__code__.co_argcount
        made[loop.__name__] = ctypes.CFUNCTYPE(ctypes.c_int64, *words)(addresses[loop.__name__])
    return made


def words(*values: int) -> tuple[Any, int]:
    """An array of int64, and its address."""
    array = np.array(values, np.int64)
    return array, int(array.ctypes.data)


# --- capture: a writer that never waits, a reader that may be lapped ---------------


def test_no_sample_that_a_capture_hands_out_is_torn() -> None:
    rig = Rig(compiled(), channels=2, slice=64, capacity=1024)
    block = Guarded(200 * 2, np.float32)
    target = Guarded(1024 * 2, np.float32)
    counts, counts_at = words(0, 0, 0, 0)
    rig.times.set(1.0, 1.0)
    write, read = loops()["capture_blocks"], loops()["read_blocks"]
    arguments = (kernels().capture, rig.address, block.address, rig.times.address)
    write(*arguments, 20, 1)  # some frames are there before the threads begin
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
            seed = read(rig.address, target.address, 300, seed, counts_at)

    together(writer, reader)
    # At rest, so that both kinds were there.
    read(rig.address, target.address, 300, 3, counts_at)
    whole, lapped, wrong, wrong_in_lapped = (int(count) for count in counts)
    assert wrong == 0, f"{wrong} wrong samples in {whole} copies that counted as whole"
    assert whole > 0
    # The samples do tell: what was overwritten is wrong, and only the check finds it.
    assert lapped > 0
    assert wrong_in_lapped > 0
    assert int(rig.stream["frames"]) == int(rig.stream["commit"])
    rig.check()
    block.check()
    target.check()


def test_no_line_of_time_is_torn() -> None:
    """One that is read while it is moved, and moved again, is read again."""
    rig = Rig(compiled(), rate=32768, channels=1, slice=64, capacity=1024)
    counts, counts_at = words(0, 0)
    write, read = loops()["keep_time"], loops()["read_line"]
    arguments = (kernels().capture, rig.address, rig.times.address)
    write(*arguments, 1, 1)
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
        while not done.is_set():
            read(rig.address, 1000, counts_at)

    together(writer, reader)
    asked, wrong = map(int, counts)
    assert wrong == 0, f"{wrong} of {asked} were torn"
    assert asked > 0
    assert int(rig.stream["callbacks"]) > 1000
    rig.check()


# --- a voice: a producer that writes and clears, a mixer that reads ----------------


@pytest.mark.parametrize("fade", [0, 23])
def test_every_frame_of_a_voice_is_heard_once_or_cleared(fade: int) -> None:
    rig = Rig(compiled(), channels=1, slice=64, capacity=512)
    rig.play()
    rig.table[0]["fade"] = fade
    source = Guarded(90, np.float32)
    block = Guarded(64, np.float32)
    runs = np.zeros((RUNS, 2), np.int64)
    state, state_at = words(0, 0, 0, 0, 0, 0, 0, 1, int(runs.ctypes.data))
    heard, heard_at = words(0, 0, 0, 0)
    rig.times.set(1.0, 1.0 + 100 / rig.rate)
    voice = rig.voice_address(0)
    address = rig.producer(rig.capacity - rig.slice, 32, 1)  # as the engine's
    done = threading.Event()
    begin = time.monotonic()

    def producer() -> None:
        seed = 1
        try:
            while not ended(begin):
                seed = loops()["produce"](address, source.address, 1000, seed, 50)
                # Two cores: the reader takes turns with the writer.
                loops()["listen"](rig.address, voice, 300, heard_at)
        finally:
            done.set()

    def consumer() -> None:
        output = (kernels().render, rig.address, voice, block.address, rig.times.address)
        while not done.is_set() or rig.read() < rig.table[0]["write"]:
            loops()["consume"](*output, 1000, state_at)
            assert not waited_too_long(begin), "the ring was never read to its end"

    together(producer, consumer)
    noted, cuts, consumed, jumped, jumps, _at, sounded = (int(value) for value in state[:7])
    record = rig.table[0]
    assert int(record["write"]) == rig.read() == consumed + jumped
    assert int(record["cut_count"]) == cuts > 0
    assert consumed + jumped > 0  # on one core all of it may be cut, time after time
    _last, answers, moves, wrong = (int(value) for value in heard)
    assert wrong == 0, f"of {answers} answers so many went back, or beyond what was read"
    assert moves > 0
    rig.check()
    source.check()
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


# --- playhead: readers beside a voice that begins and ceases ----------------


def test_what_is_heard_never_goes_back() -> None:
    rig = Rig(compiled(), channels=1, slice=64, capacity=512)
    rig.play()
    source = Guarded(90, np.float32)
    block = Guarded(64, np.float32)
    runs = np.zeros((RUNS, 2), np.int64)
    _state, state_at = words(0, 0, 0, 0, 0, 0, 0, 1, int(runs.ctypes.data))
    heard, heard_at = words(0, 0, 0, 0)
    rig.times.set(1.0, 1.0 + 30 / rig.rate)
    voice = rig.voice_address(0)
    done = threading.Event()
    begin = time.monotonic()

    producer = rig.producer(rig.capacity - rig.slice, 32, 1)  # as the engine's
    arguments = (kernels().render, rig.address, voice, producer, source.address, block.address)

    def alive() -> None:
        try:
            while not ended(begin):
                loops()["live"](*arguments, rig.times.address, 1000, state_at)
        finally:
            done.set()

    def listener() -> None:
        while not done.is_set():
            loops()["listen"](rig.address, voice, 1000, heard_at)

    together(alive, listener)
    _last, answers, moves, wrong = (int(value) for value in heard)
    assert wrong == 0, f"of {answers} answers so many went back, or beyond what was read"
    assert moves > 0
    assert int(rig.table[0]["cut_count"]) > 0
    assert int(rig.table[0]["starved"]) > 0
    rig.check()


# --- the doorbell: no ring is lost -------------------------------------------------


Wait = Callable[[int], int]


def no_one_is_left_asleep(rig: Rig, entry: int, waits: list[tuple[Wait, Any, Any]]) -> None:
    """A device moves by a frame as soon as everybody has seen the one before.

    `waits`: what one waiter does for so many rounds, its state, and the word in which it
    tells what it has seen.
    """
    block = Guarded(1, np.float32)
    acks = np.zeros(8 * len(waits), np.int64)
    moved, moved_at = words(0, 0, 1)
    rig.times.set(1.0, 1.0)
    device = (entry, rig.address, block.address, int(acks.ctypes.data), len(waits))
    done = threading.Event()
    begin = time.monotonic()

    def mover() -> None:
        try:
            while not ended(begin) or moved[1]:
                rounds = 1 if ended(begin) else 2000
                if not loops()["move"](*device, rig.times.address, rounds, moved_at):
                    time.sleep(0)  # gives the core away, where there is only one
                assert not waited_too_long(begin), lost()
        finally:
            done.set()

    def lost() -> str:
        return (
            f"a wake-up was lost: {int(moved[0])} blocks, of which {acks[::8]} were seen; "
            f"read {rig.table['read']}, wake_read {rig.table['wake_read']}, wake_heard "
            f"{rig.table['wake_heard']}, wake_commit {int(rig.stream['wake_commit'])}, "
            f"armed {int(rig.stream['armed'])}"
        )

    def waiter(number: int) -> None:
        wait = waits[number][0]
        while not done.is_set():
            wait(int(acks.ctypes.data) + 64 * number)
            time.sleep(0)

    together(mover, *(functools.partial(waiter, number) for number in range(len(waits))))
    assert set(acks[::8].tolist()) == {int(moved[0])}
    assert int(moved[0]) > 20
    for _wait, state, _address in waits:
        assert int(state[2]) > 0, "the signal was never needed"
    rig.check()


def test_no_ring_is_lost_between_a_reader_and_the_audio_thread() -> None:
    rig = Rig(compiled(), channels=1, slice=64, capacity=64)
    state, state_at = words(1, 0, 0, 2, 0)
    wake, commit = rig.at("wake_commit"), rig.at("commit")

    def wait(ack_at: int) -> int:
        return loops()["wait_for_capture"](rig.address, wake, commit, ack_at, 2000, state_at)

    no_one_is_left_asleep(rig, kernels().capture, [(wait, state, state_at)])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("index", ["read", "heard"])
def test_no_ring_is_lost_between_voices_waiters_and_the_audio_thread(
    index: str, count: int
) -> None:
    """Waiters publish an index and set `armed`; the audio thread moves the indices,
    and looks at the wishes only if there are some."""
    rig = Rig(compiled(), channels=1, slice=64, capacity=64, voices=count)
    rig.table["write"] = 1 << 40  # more than the ring holds
    waits: list[tuple[Wait, Any, Any]] = []
    for slot in range(count):
        rig.play(slot)
        state, state_at = words(1, 0, 0, 2 + slot, 0)
        arguments = (rig.address, rig.voice_address(slot), int(index == "heard"))

        def wait(ack_at: int, arguments: Any = arguments, state_at: int = state_at) -> int:
            return loops()["wait_for_voice"](*arguments, ack_at, 2000, state_at)

        waits.append((wait, state, state_at))
    no_one_is_left_asleep(rig, kernels().render, waits)
    assert len(set(rig.reads())) == 1


def test_two_waiters_on_one_word_and_one_descriptor_all_come_through() -> None:
    """The whole way: compiled callback, eventfd, poll; the earliest index stands, and all
    that are woken look again and ask again."""
    rig = Rig(compiled(), channels=1, slice=64, capacity=64)
    rig.stream["wakeup"] = 0
    wakeup = rig.add_wakeup(0)
    times = rig.times.address
    rig.times.set(1.0, 1.0)
    # In this call the interpreter's lock is given up, as on PortAudio's own thread.
    unlocked = ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)(kernels().capture)
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
        poll.register(wakeup.fd, select.POLLIN)
        while min(reached) < goal - 7:
            asleep = []
            for who, stride in enumerate(strides):
                wanted = reached[who] + stride
                if wanted > goal or not rig.arm_commit(wanted):
                    asleep.append(who)
                else:
                    reached[who] = wanted
            if len(asleep) == 2:
                polls[0] += 1
                assert poll.poll(LIMIT * 1000), f"a wake-up was lost at {reached}"
                wakeup.clear()

    together(audio, waiters)
    assert min(reached) >= goal - 7
    assert polls[0] > 0
