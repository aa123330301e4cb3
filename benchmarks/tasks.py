"""Many tasks that write small chunks to one stream: what they cost, and who runs dry.

Each task has a voice with the default ring of 0.25 s and awaits ``write`` of 20 ms of int16
over and over, on asyncio and on trio, idle and beside a busy pure-Python thread.  The voices
are filled while they are stopped and then set playing, all of them at once, so that a frame
that is starved is one that a task did not bring in time, never one of the start; it also
means that all tasks want to write at the same moments.  Voices at other rates than the
stream's are resampled on the way in.

CPU is that of this work alone: the event loop's thread by its own clock and the audio thread
by its own, so that the busy thread does not count.  Two controls tell the machine's stalls from
ours: how late the audio thread was, which runs no Python, and how long the event loop's
thread was ready to run without getting a core, which waiting for the interpreter lock is
no part of.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import anyio
import numpy as np

from audiostream import aio
from benchmarks.harness import Spread, in_process, interleaved, load
from benchmarks.instruments import (
    Line,
    Probe,
    Target,
    audio_seconds,
    due,
    late_share,
    queued_seconds,
    target_table,
)
from benchmarks.report import Report, Table

RATE, FRAMES, CHUNK = 48000, 256, 0.02
TASKS = (1, 50, 100, 200)
RESAMPLED = ((50, 24000), (50, 16000))
BACKENDS = ("asyncio", "trio")
LOADS = ("idle", "busy thread")
WARM = 0.5
"""Seconds after the start that do not count for CPU; starved frames do."""


# --- measuring, in a process of its own -----------------------------------------------


async def write(sample: aio.AudioSample, chunk: np.ndarray) -> None:
    while True:
        await sample.write(chunk)


def measure(
    tasks: int, rate: int, backend: str, loaded: str, seconds: float
) -> dict[str, float]:
    """One run; shares of 1, frames, milliseconds."""
    probe = Probe()
    period = 1e9 * FRAMES / RATE
    tone = np.sin(np.arange(round(CHUNK * rate)) * 0.05) * 3000 / tasks
    chunk = tone.astype(np.int16)

    async def main() -> dict[str, float]:
        async with (
            aio.get_output(RATE, 1, buffersize=FRAMES, device=probe) as speaker,
            anyio.create_task_group() as group,
        ):
            samples = [speaker.sample(rate=rate) for _ in range(tasks)]
            for sample in samples:
                sample.stop()
            await anyio.sleep(0.05)
            for sample in samples:
                while sample.write_nowait(chunk):
                    pass
                group.start_soon(write, sample, chunk)
            await anyio.sleep(0.05)
            with load(loaded):
                for sample in samples:
                    sample.play()
                await anyio.sleep(WARM)
                first, rung = probe.count, speaker.stats.wakeups
                written = sum(sample.written for sample in samples)
                loop, audio, began = time.thread_time(), audio_seconds(), time.monotonic()
                queued = queued_seconds()
                await anyio.sleep(seconds)
                wall = time.monotonic() - began
                loop, audio = time.thread_time() - loop, audio_seconds() - audio
                queued = queued_seconds() - queued
                last, rung = probe.count, speaker.stats.wakeups - rung
                written = sum(sample.written for sample in samples) - written
                starved = [sample.starved for sample in samples]
            group.cancel_scope.cancel()
        begun = probe.begun()
        delays = (begun - due(begun, period))[first:last]
        return {
            "cpu": (loop + audio) / wall,
            "loop": loop / wall,
            "audio": audio / wall,
            "starved": sum(starved),
            "dry": sum(frames > 0 for frames in starved),
            "written": written / (wall * rate * tasks),
            "rings": rung / wall,
            "late": late_share(begun[first:last], period),
            "queued": queued / wall,
            "stall": float(np.max(delays)) * 1e-6,
        }

    return anyio.run(main, backend=backend)


async def doze() -> None:
    while True:
        await anyio.sleep(CHUNK)


def bare(tasks: int, backend: str, seconds: float) -> float:
    """Share of a core that so many tasks take which only sleep as long as a chunk lasts."""

    async def main() -> float:
        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(doze)
            await anyio.sleep(WARM)
            cpu, began = time.thread_time(), time.monotonic()
            await anyio.sleep(seconds)
            used = (time.thread_time() - cpu) / (time.monotonic() - began)
            group.cancel_scope.cancel()
        return used

    return anyio.run(main, backend=backend)


# --- the report -----------------------------------------------------------------------

COLUMNS = {
    "cpu": ("CPU", 1, "%", 100),
    "loop": ("event loop", 1, "%", 100),
    "audio": ("audio thread", 1, "%", 100),
    "starved": ("starved", 0, "frames", 1),
    "dry": ("voices run dry", 0, "", 1),
    "written": ("written", 1, "%", 100),
    "rings": ("wake-ups/s", 0, "", 1),
    "late": ("control: late", 2, "%", 100),
    "stall": ("control: worst", 1, "ms", 1),
    "queued": ("control: no core", 1, "%", 100),
}
"""Key -> head of the column, digits, unit, scale."""


def run(quick: bool) -> Report:
    seconds, rounds = (0.8, 1) if quick else (3.0, 4)
    counts = (1, 200) if quick else TASKS
    cases = [
        (tasks, RATE, backend, loaded)
        for loaded, backend, tasks in itertools.product(LOADS, BACKENDS, counts)
    ] + [(*voices, backend, "busy thread") for voices in RESAMPLED for backend in BACKENDS]
    raw = interleaved(
        {
            case: lambda case=case: in_process("benchmarks.tasks:measure", *case, seconds)
            for case in cases
        }
        | {
            backend: lambda backend=backend: in_process(
                "benchmarks.tasks:bare", counts[-1], backend, seconds
            )
            for backend in BACKENDS
        },
        rounds,
    )
    floors = {backend: Spread.of(raw.pop(backend)) for backend in BACKENDS}
    found = {
        case: {key: Spread.of([one[key] for one in parts]) for key in COLUMNS}
        for case, parts in raw.items()
    }

    def of(backend: str, key: str) -> list[Spread]:
        return [found[tasks, RATE, backend, "idle"][key] for tasks in counts]

    lines = {
        backend: Line.through(counts, [one.median for one in of(backend, "cpu")])
        for backend in BACKENDS
    }
    rows = [
        [
            loaded,
            backend,
            str(tasks),
            "" if rate == RATE else f"from {rate} Hz",
            *(part[key].text(*form[1:]) for key, form in COLUMNS.items()),
        ]
        for (tasks, rate, backend, loaded), part in found.items()
    ]
    table = Table(
        ["Python is", "loop", "tasks", "resampled", *(form[0] for form in COLUMNS.values())],
        rows,
        "CPU is a share of one core; starved: frames of silence in all voices together since "
        "they began to play; written: of what is played meanwhile. Controls: the audio "
        "thread's callbacks that hardware would have missed, and its worst delay; how long the "
        "event loop's thread was ready to run but the machine had no core for it.",
    )
    targets = []
    for loaded, backend in itertools.product(LOADS, BACKENDS):
        part = found[counts[-1], RATE, backend, loaded]
        what = f"{counts[-1]} tasks, {backend}, {loaded}"
        targets.append(Target(f"{what}: CPU", 15, 100 * part["cpu"].median, "%"))
    for what, those in {
        "starved, worst case and round": [key for key in found if key[1] == RATE],
        "starved, resampled, worst case and round": [key for key in found if key[1] != RATE],
    }.items():
        targets.append(
            Target(what, 0, max(found[key]["starved"].most for key in those), "frames", 0)
        )

    def plot(figure: Any) -> None:
        axes = figure.subplots()
        for place, backend in enumerate(BACKENDS):
            points, line, colour = of(backend, "cpu"), lines[backend], f"C{place}"
            middle = np.array([point.median for point in points]) * 100
            ends = np.array([[point.least, point.most] for point in points]).T * 100
            axes.errorbar(counts, middle, abs(ends - middle), fmt="o", capsize=3, color=colour)
            axes.plot(
                (0, counts[-1]),
                [100 * line.at(x) for x in (0, counts[-1])],
                "--",
                lw=0.8,
                color=colour,
                label=f"{backend}, idle: R² = {line.r2:.4f}",
            )
            axes.plot(
                counts[-1:], (100 * floors[backend].median,), "x", color=colour,
                label=f"{backend}: tasks that only sleep",
            )  # fmt: skip
        axes.axhline(10, color="k", lw=0.5, ls=":", label=f"target for {counts[-1]}")
        axes.set(xlabel="writing tasks", ylabel="% of a core", ylim=(0, None))
        axes.legend()

    return Report(
        "Many writing tasks",
        f"Tasks that each write chunks of {1000 * CHUNK:.0f} ms (int16, mono) to a voice of "
        f"one stream ({RATE} Hz, {FRAMES} frames, null device) with the default ring, all "
        "voices filled before and started at once; CPU of the event loop's thread and the "
        f"audio thread only. {rounds} round(s) of {seconds:g} s, interleaved, each in a "
        "process of its own: median (least to most).",
        [table, target_table(targets)],
        plot,
        remarks(found, floors, lines, counts[-1]),
    )


def remarks(found: Any, floors: Any, lines: dict[str, Line], most: int) -> list[str]:
    said = []
    for backend in BACKENDS:
        line, floor = lines[backend], floors[backend]
        said += [
            f"{backend}, idle: {100 * line.slope:.3f} % of a core for each task, "
            f"{1e6 * line.slope * CHUNK:.0f} us for each chunk (straight line, "
            f"R² = {line.r2:.4f}).",
            f"The event loop alone: {most} tasks that only sleep {1000 * CHUNK:.0f} ms over "
            f"and over take {floor.text(1, '%', 100)} of a core on {backend}.",
        ]
    for (tasks, rate, backend, loaded), part in found.items():
        if part["starved"].most > 0:
            said.append(
                f"{tasks} tasks at {rate} Hz, {backend}, {loaded}: "
                f"{part['starved'].text(0, 'frames')} starved. The audio thread was at most "
                f"{part['stall'].most:.1f} ms late and the event loop's thread lacked a core "
                f"for {part['queued'].text(1, '%', 100)} of the time; the rings hold 250 ms."
            )
    return said
