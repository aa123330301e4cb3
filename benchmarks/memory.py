"""Memory: of a voice, of a voice that comes and goes, and over minutes of work.

All is the resident set of a process of its own.  *A voice*: what the process grows by for
each of 64 and 256 voices whose rings of 0.25 s have been written full, beside what the
library allocates for each by its own books.  *Coming and going*: what is left behind by a
sample, an output or an input that was opened, used and closed, over hundreds of them.  *Over
time*: 50 tasks write to their voices while another one opens, plays, clears and closes samples
without end, some of them resampled; the resident set each second, and the straight line
through it once the process has warmed up.
"""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from audiostream import aio
from benchmarks.harness import Spread, in_process
from benchmarks.instruments import Line
from benchmarks.report import Report, Table

RATE, FRAMES, CHUNK = 48000, 256, 0.02
VOICES = (64, 256)
FIRST = 4
"""Voices made before those that count, which bring in what is needed once."""
WRITERS = 50
BACKENDS = ("asyncio", "trio")
STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process in memory; where there is no /proc, the most there ever were."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def settled() -> int:
    """:func:`resident` once garbage is gone."""
    gc.collect()
    return resident()


# --- measuring, each in a process of its own -------------------------------------------


def of_voices(voices: int, channels: int) -> dict[str, float]:
    """Bytes for each voice: grown by, and by the library's own books."""
    block = np.zeros((RATE // 4, channels), np.float32)
    output = aio.get_output(
        RATE, channels, buffersize=FRAMES, device="null", voices=voices + FIRST
    )
    with output as speaker:
        samples = []
        for number in range(voices + FIRST):
            if number == FIRST:
                before = settled()
            sample = speaker.sample()
            sample.stop()
            sample.write_nowait(block)
            samples.append(sample)
        grown = settled() - before
        # A slot's ring, break points, cuts and so on, its meter, and its record; see
        # engine/strip.py.
        strip = samples[0]._voice.strip
        booked = strip.meter.memory.nbytes + strip.record.itemsize
        booked += sum(array.nbytes for array in strip.arrays.values())
    return {"grown": grown / voices, "booked": booked}


async def use_sample(speaker: aio.AudioOutput, chunk: np.ndarray, rate: int) -> None:
    async with speaker.sample(rate=rate) as sample:
        await sample.write(chunk)
        await sample.clear()


async def use_output(chunk: np.ndarray) -> None:
    async with aio.get_output(RATE, 1, buffersize=FRAMES, device="null") as speaker:
        await speaker.sample().write(chunk)


async def use_input() -> None:
    async with aio.get_input(source="null", rate=RATE, buffersize=FRAMES) as mic:
        await mic.read(FRAMES)


def coming_and_going(what: str, times: int, backend: str) -> dict[str, float]:
    """Bytes and Python's memory blocks left behind by each use, after `times` to warm up."""
    chunk = np.zeros(round(CHUNK * RATE), np.int16)

    async def main() -> dict[str, float]:
        async with aio.get_output(RATE, 1, buffersize=FRAMES, device="null") as speaker:
            uses: dict[str, Callable[[], Awaitable[None]]] = {
                "sample": lambda: use_sample(speaker, chunk, RATE),
                "resampled sample": lambda: use_sample(speaker, chunk, 24000),
                "output": lambda: use_output(chunk),
                "input": use_input,
            }
            for _ in range(times):
                await uses[what]()
            before, blocks = settled(), sys.getallocatedblocks()
            for _ in range(times):
                await uses[what]()
            after = settled()
            blocks = sys.getallocatedblocks() - blocks
        return {"bytes": (after - before) / times, "blocks": blocks / times}

    return anyio.run(main, backend=backend)


async def write(sample: aio.AudioSample, chunk: np.ndarray) -> None:
    while True:
        await sample.write(chunk)


def over_time(backend: str, seconds: int) -> dict[str, list[float]]:
    """Each second: the time, bytes resident, Python's memory blocks; and samples used."""
    chunk = np.zeros(round(CHUNK * RATE), np.int16)
    course = np.zeros((seconds, 4))  # made beforehand: no growth of our own
    used = 0

    async def churn(speaker: aio.AudioOutput) -> None:
        nonlocal used
        for rate in itertools.cycle((RATE, 24000, 44100)):
            await use_sample(speaker, chunk, rate)
            used += 1

    async def main() -> None:
        async with (
            aio.get_output(RATE, 1, buffersize=FRAMES, device="null") as speaker,
            anyio.create_task_group() as group,
        ):
            for _ in range(WRITERS):
                group.start_soon(write, speaker.sample(), chunk)
            group.start_soon(churn, speaker)
            began = time.monotonic()
            for row in course:
                await anyio.sleep(1)
                blocks = sys.getallocatedblocks()
                row[:] = time.monotonic() - began, resident(), blocks, used
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    return dict(zip(("time", "bytes", "blocks", "used"), course.T.tolist(), strict=True))


# --- the report -----------------------------------------------------------------------

USES = ("sample", "resampled sample", "output", "input")


def measured(quick: bool) -> tuple[dict[Any, list[Any]], dict[str, dict[str, np.ndarray]]]:
    """All runs' results.  Memory does not mind company: three processes at a time."""
    seconds, times, rounds = (30, 100, 1) if quick else (540, 600, 3)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        long = {
            backend: pool.submit(in_process, "benchmarks.memory:over_time", backend, seconds)
            for backend in BACKENDS
        }
        short: dict[Any, list[Any]] = {}
        for _ in range(rounds):
            for case in itertools.product(VOICES, (1, 2)):
                short.setdefault(case, []).append(
                    pool.submit(in_process, "benchmarks.memory:of_voices", *case)
                )
            for what, backend in itertools.product(USES, BACKENDS):
                short.setdefault((what, backend), []).append(
                    pool.submit(
                        in_process, "benchmarks.memory:coming_and_going", what, times, backend
                    )
                )
        found = {case: [one.result() for one in parts] for case, parts in short.items()}
        courses = {
            backend: {key: np.array(values) for key, values in one.result().items()}
            for backend, one in long.items()
        }
    return found, courses


def run(quick: bool) -> Report:
    found, courses = measured(quick)

    def text(case: Any, key: str, digits: int, unit: str, scale: float) -> str:
        return Spread.of([one[key] for one in found[case]]).text(digits, unit, scale)

    voices = Table(
        ("voices", "channels", "the process grows by", "allocated by our books"),
        [
            (str(case[0]), str(case[1]), *(text(case, key, 1, "KiB", 1 / 1024) for key in keys))
            for case in itertools.product(VOICES, (1, 2))
            for keys in [("grown", "booked")]
        ],
        f"Memory of a voice with the default ring of 0.25 s at {RATE} Hz:",
    )
    left = Table(
        ("opened, used and closed", "loop", "left behind", "Python's memory blocks"),
        [
            (
                what,
                backend,
                text((what, backend), "bytes", 0, "bytes", 1),
                text((what, backend), "blocks", 2, "", 1),
            )
            for what, backend in itertools.product(USES, BACKENDS)
        ],
        "What each use leaves behind, once warm:",
    )
    rows, lines = [], {}
    for backend, course in courses.items():
        warm = course["time"] > course["time"][-1] / 3
        minutes, kibibytes = course["time"] / 60, course["bytes"] / 1024
        line = lines[backend] = Line.through(minutes[warm], kibibytes[warm])
        blocks = Line.through(minutes[warm], course["blocks"][warm])
        rows.append(
            (
                backend,
                f"{course['time'][-1] / 60:.1f} min",
                f"{int(course['used'][-1])}",
                f"{kibibytes[warm][0] / 1024:.1f} MiB",
                f"{kibibytes[-1] / 1024:.1f} MiB",
                f"{line.slope:+.1f} KiB/min",
                f"{blocks.slope:+.0f} blocks/min",
            )
        )
    growth = Table(
        ("loop", "ran", "samples come and gone", "after warming up", "at the end",
         "slope", "Python's slope"),
        rows,
        f"Over time, {WRITERS} writing tasks; the first third is the warm-up:",
    )  # fmt: skip

    def plot(figure: Any) -> None:
        axes = figure.subplots()
        for place, (backend, course) in enumerate(courses.items()):
            minutes, line = course["time"] / 60, lines[backend]
            axes.plot(minutes, course["bytes"] / 2**20, color=f"C{place}", label=backend)
            ends = np.array([minutes[-1] / 3, minutes[-1]])
            axes.plot(
                ends, [line.at(x) / 1024 for x in ends], "k--", lw=0.8,
                label=f"{line.slope:+.1f} KiB/min",
            )  # fmt: skip
        axes.set(xlabel="minutes", ylabel="MiB resident", ylim=(0, None))
        axes.legend()

    remarks = [
        f"{backend}: {line.slope * 60 / 1024:+.2f} MiB an hour at this pace."
        for backend, line in lines.items()
    ]
    remarks.append(
        "A ring's frames are a power of two, and its beginning is stored twice: 0.25 s at "
        f"{RATE} Hz are {RATE // 4} frames and take {1 << (RATE // 4 - 1).bit_length()} and a "
        "block."
    )
    return Report(
        "Memory",
        "Resident set of processes of their own (median of the rounds, least and most in "
        "brackets). A voice's ring is written full; samples that come and go play a chunk of "
        f"{1000 * CHUNK:.0f} ms and are cleared and closed.",
        [voices, left, growth],
        plot,
        remarks,
    )
