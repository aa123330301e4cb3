"""What sample generators cost, whether they keep up, and how soon a change is heard.

Sines and Pure Data patches play on the null device, 44.1 kHz, stereo, 1,024 frames, as the
original's examples do: as :class:`SineSource` or :class:`PatchSource` (blocking code; they
share one event loop in the background), as ``write_from`` tasks of an asyncio program, and as
a thread for each with a generator in pure Python, which is how the original's sources work.
The whole process's CPU time counts.

From ``send`` to sound: a patch that is a constant plays to a file, and is sent another
constant at random moments.  The output's count of frames at that moment and the frame in the
file at which the constant changes are on one time line; what the device adds (its declared
latency) is not in it.
"""

from __future__ import annotations

import array
import contextlib
import math
import random
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np

import audiostream
from audiostream import aio
from audiostream.sources.puredata import PatchSource
from audiostream.sources.thread import ThreadSource
from audiostream.sources.wave import SineSource
from benchmarks.harness import Spread, cpu_seconds, in_process, interleaved, load
from benchmarks.instruments import Line
from benchmarks.report import Report, Table

RATE, CHANNELS, FRAMES = 44100, 2, 1024
SINES, PATCHES = (1, 8, 32, 200), (1, 4, 16)
BLOCKING, ASYNCIO, THREADS = "blocking", "asyncio", "pure Python, a thread each"
WAYS = (BLOCKING, ASYNCIO, THREADS)
LOADS = ("idle", "busy thread")
WARM = 0.5
"""Seconds at the start that do not count."""
AHEADS = (None, 2048, 512)
"""Frames that a patch may be ahead; None: what it is unless told."""
BLOCK = 256
"""Frames of the device's blocks where latency is measured."""

SINE_PATCH = """#N canvas 0 0 200 200 10;
#X obj 10 10 osc~ 440;
#X obj 10 40 *~ 0.01;
#X obj 10 70 dac~;
#X connect 0 0 1 0;
#X connect 1 0 2 0;
#X connect 1 0 2 1;
"""
LEVEL_PATCH = """#N canvas 0 0 200 200 10;
#X obj 10 10 r level;
#X obj 10 40 sig~;
#X obj 10 70 dac~;
#X connect 0 0 1 0;
#X connect 1 0 2 0;
"""


class PythonSine(ThreadSource):
    """A sine by a lookup table and a generator, sample by sample."""

    def __init__(self, stream: Any, frequency: float) -> None:
        super().__init__(stream)
        period = round(self.rate / frequency)
        self._table = [round(300 * math.sin(2 * math.pi * i / period)) for i in range(period)]
        self._samples = self._wave()

    def _wave(self) -> Iterator[int]:
        while True:
            yield from self._table

    def get_bytes(self) -> bytes:
        samples = array.array("h")
        for _ in range(256):
            level = next(self._samples)
            samples.append(level)
            samples.append(level)
        return samples.tobytes()


@contextlib.contextmanager
def patch_file(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patch.pd"
        path.write_text(text)
        yield path


# --- measuring, in a process of its own -----------------------------------------------


def counted(output: Any, seconds: float, sleep: Any) -> Iterator[Any]:
    """What happens in so many seconds, after the start."""
    yield sleep(WARM)
    before, cpu, began = output.stats, cpu_seconds(), time.monotonic()
    yield sleep(seconds)
    wall = time.monotonic() - began
    starved = output.stats.starved - before.starved
    yield {"cpu": (cpu_seconds() - cpu) / wall, "starved": starved}


def measure(kind: str, count: int, way: str, loaded: str, seconds: float) -> dict[str, float]:
    """One run: share of a core (with a load: of the whole process), starved frames."""
    with patch_file(SINE_PATCH) as path:
        if way == ASYNCIO:
            return anyio.run(tasks, kind, count, loaded, seconds, path)
        output = audiostream.get_output(RATE, CHANNELS, 16, FRAMES, device="null")
        sources: list[ThreadSource] = []
        for number in range(count):
            if kind == "patch":
                sources.append(PatchSource(output, path, carrier="cypd"))
            else:
                make = SineSource if way == BLOCKING else PythonSine
                source = make(output, 220 + 5 * number)
                if isinstance(source, SineSource):
                    source.amplitude = 0.01
                sources.append(source)
        for source in sources:
            source.start()
        with load(loaded):
            *_, found = counted(output, seconds, time.sleep)
        for source in sources:
            source.stop()
        output.close()
    return found


async def tasks(
    kind: str, count: int, loaded: str, seconds: float, path: Path
) -> dict[str, float]:
    async with (
        aio.get_output(RATE, CHANNELS, 16, FRAMES, device="null") as speaker,
        anyio.create_task_group() as group,
    ):
        for number in range(count):
            source = (
                aio.sources.patch(path, RATE, CHANNELS, carrier="cypd")
                if kind == "patch"
                else aio.sources.sine(220 + 5 * number, 0.01)
            )
            group.start_soon(speaker.sample().write_from, source)
        with load(loaded):
            found: Any = None
            for step in counted(speaker, seconds, anyio.sleep):
                found = step if isinstance(step, dict) else await step
        group.cancel_scope.cancel()
    return found


def latency(ahead: int | None, sends: int) -> dict[str, list[float]]:
    """Frames from ``send`` to the sound, and the bound that is documented."""
    moments = []
    with patch_file(LEVEL_PATCH) as path, tempfile.TemporaryDirectory() as folder:
        heard = Path(folder) / "heard.wav"
        output = audiostream.get_output(RATE, 1, 16, BLOCK, device=f"file:{heard}")
        source = PatchSource(output, path, carrier="cypd", ahead=ahead)
        source.send("level", 0.25)
        source.start()
        time.sleep(WARM)
        dice = random.Random(1)
        for number in range(sends):
            moments.append(output.stats.frames)
            source.send("level", (0.75, 0.25)[number % 2])
            time.sleep(0.15 + 0.05 * dice.random())
        source.stop()
        output.close()
        with wave.open(str(heard)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    highs = samples > 0.5 * 32768
    turns = np.flatnonzero(highs[1:] != highs[:-1]) + 1
    found = []
    for moment in moments:
        later = turns[turns >= moment]
        if len(later):
            found.append(float(later[0] - moment))
    return {"frames": found}


# --- the report -----------------------------------------------------------------------


def run(quick: bool) -> Report:
    seconds, rounds, sends = (1.0, 1, 20) if quick else (4.0, 5, 100)
    cases = [
        ("sine", count, way, loaded)
        for loaded in LOADS
        for way in WAYS
        for count in SINES
        # More threads in pure Python than this do not keep up on any machine.
        if not (way == THREADS and count > 32)
    ]
    cases += [
        ("patch", count, way, loaded)
        for loaded in LOADS
        for way in (BLOCKING, ASYNCIO)
        for count in PATCHES
    ]
    raw = interleaved(
        {
            case: lambda case=case: in_process("benchmarks.sources:measure", *case, seconds)
            for case in cases
        },
        rounds,
    )
    found = {
        case: {key: Spread.of([one[key] for one in parts]) for key in ("cpu", "starved")}
        for case, parts in raw.items()
    }
    delays = {
        ahead: in_process("benchmarks.sources:latency", ahead, sends)["frames"]
        for ahead in AHEADS
    }
    rows = [
        (
            loaded,
            kind,
            way,
            str(count),
            part["cpu"].text(2, "%", 100) if loaded == "idle" else "",
            part["starved"].text(0, "frames"),
        )
        for (kind, count, way, loaded), part in found.items()
    ]
    delay_rows = [
        (
            "not given" if ahead is None else str(ahead),
            *(f"{np.percentile(frames, part):.0f}" for part in (50, 99, 100)),
            f"{np.percentile(frames, 50) / RATE * 1e3:.1f} ms",
            f"{max(frames) / RATE * 1e3:.1f} ms",
        )
        for ahead, frames in delays.items()
    ]

    def line(kind: str, way: str, counts: tuple[int, ...]) -> Line:
        return Line.through(
            counts, [found[kind, count, way, "idle"]["cpu"].median for count in counts]
        )

    lines = {
        ("sine", BLOCKING): SINES,
        ("sine", ASYNCIO): SINES,
        ("sine", THREADS): SINES[:3],
        ("patch", BLOCKING): PATCHES,
        ("patch", ASYNCIO): PATCHES,
    }
    remarks = [
        f"{kind}, {way}: {100 * line(kind, way, counts).slope:.2f} % of a core for each "
        f"(straight line, R² = {line(kind, way, counts).r2:.4f})."
        for (kind, way), counts in lines.items()
    ]
    ours = found["sine", 32, BLOCKING, "idle"]["cpu"].median
    python = found["sine", 32, THREADS, "idle"]["cpu"].median
    remarks.append(
        f"32 sines: pure Python in a thread each takes {python / ours:.1f} times what "
        "SineSource does."
    )

    def plot(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for (kind, way), counts in lines.items():
            axes = left if kind == "sine" else right
            shares = [100 * found[kind, n, way, "idle"]["cpu"].median for n in counts]
            axes.plot(counts, shares, "o-", label=way)
        for axes, kind in ((left, "sines"), (right, "patches")):
            axes.set(xlabel=kind, ylabel="% of a core", ylim=(0, None))
            axes.legend(fontsize=7)

    return Report(
        "Sample generators",
        f"Sines and Pure Data patches (an [osc~] each, libpd from the cypd wheel), {RATE} Hz, "
        f"{CHANNELS} channels, {FRAMES} frames on the null device; CPU share of the whole "
        f"process while idle, frames starved also beside a busy pure-Python thread. {rounds} "
        f"round(s) of {seconds:g} s, interleaved, each in a process of its own: median (least "
        "to most).",
        [
            Table(("Python is", "what", "way", "how many", "CPU", "starved"), rows),
            Table(
                ("ahead, frames", "p50, frames", "p99", "most", "p50", "most"),
                delay_rows,
                f"From `send` to the sound, {sends} sends each, blocks of {BLOCK} frames; the "
                "device's own latency comes on top.",
            ),
        ],
        plot,
        remarks,
    )
