"""From the audio callback to the coroutine: how late it wakes, and what waiting costs.

A silent microphone (the null device: a thread in compiled code keeps its time line) calls
back 100 or 375 times a second, and a coroutine waits for each block.  The ways:

* ours: the compiled callback signals a wake-up, the coroutine is in ``await mic.read()``;
* call_soon_threadsafe (trio: run_sync_soon): the same device calls a Python function, which
  copies the block and puts it on a queue of the event loop, as users of python-sounddevice
  and PyAudio do;
* bare: a compiled callback writes to an eventfd and the event loop sets a future: no audio,
  no library.  What this takes is the machine's and the event loop's share.

Around each callback a compiled probe notes when the call began, so that all are timed alike
and no Python runs on the audio thread on the benchmark's account.  Blocks are read in order
and none is dropped (which is checked), so the reader's block `k` is the probe's call `k`,
however many calls came in meanwhile: no time is taken from a newer callback than the one
that rang.  Two latencies are told.  *After the callback* is what waking up costs.  But a
Python callback that waits for the interpreter lock holds up those behind it, which then
begin late and look quick; so there is also *after the block was due*, on the time line of
the most punctual callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import trio

from audiostream import aio
from audiostream.device.base import Callback, Device, Request
from audiostream.device.portaudio.callback_path import ARGUMENTS
from audiostream.device.virtual import NullDevice
from audiostream.engine.wakeup import Wakeup
from audiostream.realtime.compile import kernels as compiled
from audiostream.realtime.compile.syscalls import write_bytes
from audiostream.realtime.memory.atomics import words_at
from benchmarks.harness import Spread, cpu_seconds, in_process, interleaved, load
from benchmarks.instruments import Probe, Target, due, late_share, target_table
from benchmarks.report import Report, Table

RATE = 48000
PERIODS = {100: 480, 375: 128}
"""Callbacks a second -> frames."""
OURS, THREADSAFE, BARE = "ours", "call_soon_threadsafe", "bare"
BACKENDS = ("asyncio", "trio")
LOADS = ("idle", "busy thread")
WARM = 0.1
"""Seconds at the start that do not count."""
GRACE = 0.5
"""Seconds after the last block was due in which blocks may still arrive."""

Read = Callable[[], Awaitable[object]]


# --- the ways -------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def ours(probe: Probe, period: int) -> AsyncIterator[Read]:
    async with aio.get_input(source=probe, rate=RATE, buffersize=period) as mic:
        yield lambda: mic.read(period)
        assert mic.dropped == 0


@contextlib.contextmanager
def running(device: Device, period: int, callback: Callback) -> Any:
    stream = device.open(Request("input", RATE, 1, 16, period), callback)
    stream.start()
    try:
        yield
    finally:
        stream.close()


def native_loop() -> Any:
    return anyio.lowlevel.current_token().native_token


@contextlib.asynccontextmanager
async def threadsafe(probe: Probe, period: int) -> AsyncIterator[Read]:
    loop = native_loop()
    get: Read
    if isinstance(loop, asyncio.AbstractEventLoop):
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        soon, put, get = loop.call_soon_threadsafe, queue.put_nowait, queue.get
    else:
        send, receive = trio.open_memory_channel[bytes](float("inf"))
        soon, put, get = loop.run_sync_soon, send.send_nowait, receive.receive

    def callback(source: int, target: int, frames: int, *_: Any) -> int:
        soon(put, ctypes.string_at(source, 2 * frames))
        return 0

    thunk = ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)(callback)
    address = ctypes.cast(thunk, ctypes.c_void_p).value
    assert address is not None
    with running(probe, period, Callback(address, 0, thunk)):
        yield get


def _ring(source: int, target: int, frames: int, times: int, flags: int, user: int) -> int:
    words = words_at(user, 2)
    write_bytes(words[0], user + 8, 8)
    return 0


@contextlib.asynccontextmanager
async def bare(probe: Probe, period: int) -> AsyncIterator[Read]:
    wakeup = Wakeup(0)
    words = np.array([wakeup.write_fd, 1])
    entries = {"ring": _ring}
    address = compiled.load(compiled.compile_kernels(entries), entries)["ring"]
    loop = native_loop()
    there = 0
    future: asyncio.Future[None] | None = None

    def collect() -> None:
        nonlocal there
        there += int.from_bytes(os.read(wakeup.fd, 8), "little")
        if future is not None and not future.done():
            future.set_result(None)

    async def read() -> None:
        nonlocal there, future
        while not there:
            if isinstance(loop, asyncio.AbstractEventLoop):
                future = loop.create_future()
                await future
            else:
                await trio.lowlevel.wait_readable(wakeup.fd)
                collect()
        there -= 1

    is_asyncio = isinstance(loop, asyncio.AbstractEventLoop)
    if is_asyncio:
        loop.add_reader(wakeup.fd, collect)
    with running(probe, period, Callback(address, words.ctypes.data, words)):
        yield read
    if is_asyncio:
        loop.remove_reader(wakeup.fd)


WAYS = {OURS: ours, THREADSAFE: threadsafe, BARE: bare}


# --- measuring, in a process of its own -----------------------------------------------


def measure(
    way: str, backend: str, hertz: int, loaded: str, seconds: float
) -> dict[str, float]:
    """One run; times in microseconds, shares of 1."""
    period = PERIODS[hertz]
    warm, count = int(WARM * hertz), int(seconds * hertz)
    probe = Probe()
    arrived: list[int] = []
    used = 0.0

    async def main() -> None:
        nonlocal used
        async with WAYS[way](probe, period) as read:
            for _ in range(warm):
                await read()
            with load(loaded), anyio.move_on_after(seconds + GRACE):
                began, cpu = time.monotonic(), cpu_seconds()
                for _ in range(count):
                    await read()
                    arrived.append(time.monotonic_ns())
                used = (cpu_seconds() - cpu) / (time.monotonic() - began)

    anyio.run(main, backend=backend)
    begun = probe.begun()
    times = due(begun, 1e9 * period / RATE)
    those = slice(warm, warm + len(arrived))
    found = {"lost": 1 - len(arrived) / count, "cpu": used}
    for name, waits in {
        "call": np.asarray(arrived) - begun[those],
        "due": np.asarray(arrived) - times[those],
        "clock": (begun - times)[those],
    }.items():
        for part in (50, 99):
            found[f"{name} p{part}"] = float(np.percentile(waits, part)) / 1e3
    found["late"] = late_share(begun[those], 1e9 * period / RATE)
    return found


def unattended(hertz: int, seconds: float) -> float:
    """Share of a core of a stream that runs while its event loop has nothing to do."""

    async def main() -> float:
        async with aio.get_input(source="null", rate=RATE, buffersize=PERIODS[hertz]):
            await anyio.sleep(WARM)
            began, cpu = time.monotonic(), cpu_seconds()
            await anyio.sleep(seconds)
            return (cpu_seconds() - cpu) / (time.monotonic() - began)

    return anyio.run(main)


def _nothing(source: int, target: int, frames: int, times: int, flags: int, user: int) -> int:
    return 0


def asleep(hertz: int, seconds: float) -> float:
    """Share of a core of the device alone, which wakes up as often and calls nothing."""

    async def main() -> float:
        entries = {"nothing": _nothing}
        address = compiled.load(compiled.compile_kernels(entries), entries)["nothing"]
        with running(NullDevice(), PERIODS[hertz], Callback(address, 0, None)):
            await anyio.sleep(WARM)
            began, cpu = time.monotonic(), cpu_seconds()
            await anyio.sleep(seconds)
            return (cpu_seconds() - cpu) / (time.monotonic() - began)

    return anyio.run(main)


# --- the report -----------------------------------------------------------------------

Case = tuple[str, int, str, str]
"""Load, callbacks a second, backend, way."""
Found = dict[Case, dict[str, Spread]]


def table(found: Found) -> Table:
    head = (
        "Python is", "callbacks/s", "loop", "way", "p50 us", "p99 us", "p99 us after due",
        "blocks lost", "callbacks late", "CPU",
    )  # fmt: skip
    rows = []
    for (loaded, hertz, backend, way), part in found.items():
        shares = [part[name].text(1, "%", 100) for name in ("lost", "late")]
        cpu = part["cpu"].text(1, "%", 100) if loaded == "idle" else ""
        waits = [part[name].text(0) for name in ("call p50", "call p99", "due p99")]
        rows.append((loaded, str(hertz), backend, way, *waits, *shares, cpu))
    caption = (
        "p50 and p99 after the callback; lost: of the blocks due, not with the coroutine "
        f"{GRACE} s after the last was; late: callbacks that hardware would have missed; CPU: "
        "share of a core, the whole process."
    )
    return Table(head, rows, caption)


def targets(found: Found, alone: Spread) -> list[Target]:
    wanted = [Target("stream without a waiter, 375/s", 1, 100 * alone.median, "% CPU")]
    for backend in BACKENDS:
        part = found["idle", 375, backend, OURS]
        what = f"{backend}, idle, 375/s"
        wanted += [
            Target(f"{what}: p50", 100, part["call p50"].median, "us", 0),
            Target(f"{what}: p99", 300, part["call p99"].median, "us", 0),
            Target(f"{what}: waiting", 6, 100 * part["cpu"].median, "% CPU"),
        ]
    lost = max(part["lost"].most for (*_, way), part in found.items() if way == OURS)
    return [*wanted, Target("blocks lost, worst of all cases", 0, 100 * lost, "%")]


def remark_on(alone: Spread, floor: Spread) -> str:
    return (
        f"A stream without a waiter, at 375/s: {alone.text(2, '%', 100)} of a core, all "
        "threads of the process; the device alone, which wakes up as often and calls nothing "
        f"of ours, takes {floor.text(2, '%', 100)} (`asleep`)."
    )


def remarks(found: Found) -> list[str]:
    said = []
    for (loaded, hertz, backend, way), part in found.items():
        if way != OURS:
            continue
        case = f"{loaded}, {hertz}/s, {backend}"
        peer = found[loaded, hertz, backend, THREADSAFE]
        floor = found[loaded, hertz, backend, BARE]
        for name in ("call p50", "call p99", "cpu"):
            if peer[name].median < part[name].median and (name != "cpu" or loaded == "idle"):
                scale, unit = (100, "% CPU") if name == "cpu" else (1, "us")
                said.append(
                    f"**Ahead of ours**: {THREADSAFE} ({case}), {name.split()[-1]} "
                    f"{peer[name].median * scale:.0f} {unit} to our "
                    f"{part[name].median * scale:.0f}"
                    + (
                        f", with {peer['lost'].median:.0%} lost."
                        if peer["lost"].median
                        else "."
                    )
                )
        if loaded == "idle":
            said.append(
                f"The bare event loop ({case}) takes {floor['call p50'].median:.0f} us (p99 "
                f"{floor['call p99'].median:.0f}) and {floor['cpu'].median:.1%} of a core: "
                "targets below this are out of reach of this machine while it was measured."
            )
    clock = [part["clock p99"].median for (*_, way), part in found.items() if way == OURS]
    said.append(
        f"The control: the clock's thread, no Python in it, is itself up to {max(clock):.0f} "
        "us late at p99 (median of the rounds, worst case of ours)."
    )
    return said


def run(quick: bool) -> Report:
    seconds, rounds = (1.0, 1) if quick else (2.5, 5)
    rates = (375,) if quick else tuple(PERIODS)
    cases = list(itertools.product(LOADS, rates, BACKENDS, WAYS))
    raw = interleaved(
        {
            (loaded, hertz, backend, way): lambda *case, c=(way, backend, hertz, loaded): (
                in_process("benchmarks.wakeups:measure", *c, seconds)
            )
            for loaded, hertz, backend, way in cases
        }
        | {
            name: lambda name=name: in_process(f"benchmarks.wakeups:{name}", 375, seconds)
            for name in ("unattended", "asleep")
        },
        rounds,
    )
    alone, floor = (Spread.of(raw.pop(name)) for name in ("unattended", "asleep"))
    found = {
        case: {name: Spread.of([one[name] for one in parts]) for name in parts[0]}
        for case, parts in raw.items()
    }

    def plot(figure: Any) -> None:
        axes = figure.subplots()
        colours = dict(zip(WAYS, ("C0", "C1", "0.6"), strict=True))
        for place, (case, part) in enumerate(found.items()):
            ends = part["call p50"].median, part["call p99"].median
            axes.plot(
                ends, (place, place), color=colours[case[-1]], lw=4, solid_capstyle="butt"
            )
            axes.plot(ends[:1], (place,), "o", color=colours[case[-1]])
        names = [", ".join(map(str, case)) for case in found]
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.axvline(100, color="k", lw=0.5, ls="--", label="target: p50 idle")
        axes.axvline(300, color="k", lw=0.5, ls=":", label="target: p99 idle")
        axes.set_xlabel("microseconds after the callback: p50 (dot) to p99")
        axes.legend(loc="lower right", fontsize=7)

    method = (
        "How long after an audio callback the coroutine that waits for its block runs. "
        f"{rounds} round(s) of {seconds:g} s for each way, interleaved, each in a process of "
        "its own; medians of the rounds, least and most in brackets. Latency is from the "
        "beginning of the very callback that brought the block (noted by a compiled probe) to "
        "the line after `await`; CPU shares include the probe's readings of the clock."
    )
    return Report(
        "From the callback to the coroutine",
        method,
        [table(found), target_table(targets(found, alone))],
        plot,
        [remark_on(alone, floor), *remarks(found)],
    )
