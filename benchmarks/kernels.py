"""The kernels of audiostream.dsp beside the same loops in C: nanoseconds a frame and channel.

A block is 256 stereo frames.  Both loops get a copy of the same memory: state, buffers and
parameters.  The sound is noise that swells and fades, so that a compressor, a gate and a
limiter take all their branches.  Before they are timed, both must put out the same values.

One C function (dsp_loops.c) times both: the CPU time of its thread over many calls.  It copies
a block of the sound before each call; the time of the copies alone is measured beside, and
taken off.  Denormal numbers are zero, as on the audio thread.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiostream import dsp
from audiostream.kernels.compiled import compiled_for
from benchmarks.harness import Spread, in_process, interleaved
from benchmarks.report import Report, Table

RATE, FRAMES, CHANNELS = 48000, 256, 2
BLOCKS = 8
"""Blocks of the sound; 16 kB, within L1."""

COMPILE = ("gcc", "-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC")
SOURCE = Path(__file__).with_name("dsp_loops.c")

KERNEL, LOOP, COPIES = "kernel", "C", "copies"

MOST = 1.5
"""The target: a kernel takes at most so many times what the C loop takes."""

ALIKE = 1e-5
"""By how much values may differ: the two compilers round in other places."""

SETTINGS: dict[str, dict[str, float]] = {
    "peaking": {"gain_db": 6.0},
    "lowshelf": {"gain_db": 6.0},
    "highshelf": {"gain_db": 6.0},
    "noise": {"seed": 1},
    "pink": {"seed": 1},
    "gate": {"threshold_db": -20.0, "hold": 0.001},
    "limiter": {"ceiling_db": -6.0},
}
"""Of kernels whose defaults do nothing, are random, or do not suit the sound."""

MOVING = "svf, cutoff moves"
CASES = (*dsp.__all__, MOVING)


def compiled_loops(folder: Path) -> ctypes.CDLL:
    """dsp_loops.c as gcc makes it for this machine."""
    library = folder / "loops.so"
    command = [*COMPILE, f"-DCHANNELS={CHANNELS}", "-o", str(library), str(SOURCE), "-lm"]
    subprocess.run(command, check=True)
    loops = ctypes.CDLL(str(library))
    loops.timed.restype = ctypes.c_double
    loops.timed.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    return loops


class Job(ctypes.Structure):
    """``struct job`` of dsp_loops.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("call", "block", "source")),
        *((name, ctypes.c_int64) for name in ("blocks", "frames", "channels")),
        *((name, ctypes.c_void_p) for name in ("state", "buffers", "params")),
        ("rate", ctypes.c_int64),
    ]


def sound() -> np.ndarray:
    """Noise that swells and fades; float32 (BLOCKS * FRAMES, CHANNELS)."""
    frames = BLOCKS * FRAMES
    level = 0.9 * np.sin(np.arange(frames) * math.pi / frames) ** 4 + 0.01
    noise = np.random.default_rng(1).uniform(-1.0, 1.0, (frames, CHANNELS))
    return (noise * level[:, None]).astype(np.float32)


class Way:
    """One kernel's memory, and what runs on it: the kernel, the loop in C, or nothing."""

    def __init__(self, loops: ctypes.CDLL, case: str, way: str) -> None:
        name = case.partition(",")[0]
        unit = getattr(dsp, name)(**SETTINGS.get(name, {}))
        self._memory = unit._memory(RATE, CHANNELS, FRAMES)
        if case == MOVING:
            self._memory.arrays[0][:] = np.linspace(200.0, 4000.0, FRAMES)
        addresses = {
            KERNEL: lambda: compiled_for(self._memory).address,
            LOOP: lambda: ctypes.cast(getattr(loops, name), ctypes.c_void_p).value,
            COPIES: lambda: None,
        }
        self._timed = loops.timed
        self._source = sound()
        self.block = np.zeros((FRAMES, CHANNELS), np.float32)
        self._job = Job(
            addresses[way](),
            self.block.ctypes.data,
            self._source.ctypes.data,
            BLOCKS,
            FRAMES,
            CHANNELS,
            *self._memory.addresses(),
            RATE,
        )

    def seconds(self, calls: int) -> float:
        """CPU seconds of so many calls."""
        spent = self._timed(ctypes.byref(self._job), calls)
        if spent < 0:
            raise RuntimeError("a call has failed")
        return float(spent)

    def output(self, number: int) -> np.ndarray:
        """What it makes of a block of the sound; shape (FRAMES, CHANNELS)."""
        self._job.source = self._source[number * FRAMES :].ctypes.data
        self.seconds(1)
        self._job.source = self._source.ctypes.data
        return self.block.copy()

    def nanoseconds(self, calls: int) -> float:
        """Of a frame and channel, copies included."""
        self.seconds(8)
        return 1e9 * self.seconds(calls) / (calls * FRAMES * CHANNELS)


def outputs(way: Way) -> np.ndarray:
    """What it puts out for the sound, three times over."""
    return np.concatenate([way.output(number % BLOCKS) for number in range(3 * BLOCKS)])


def measure(quick: bool) -> dict[str, dict[str, list[float]]]:
    """Case -> way -> nanoseconds of each round, copies taken off."""
    rounds, calls = (15, 300) if quick else (61, 600)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        loops = compiled_loops(Path(folder))
        for case in CASES:
            ways = {way: Way(loops, case, way) for way in (KERNEL, LOOP, COPIES)}
            error = float(np.abs(outputs(ways[KERNEL]) - outputs(ways[LOOP])).max())
            if not error <= ALIKE:
                raise RuntimeError(f"{case} in C is off by {error}")
            calls_of: dict[str, Callable[[], float]] = {
                name: partial(way.nanoseconds, calls) for name, way in ways.items()
            }
            result = interleaved(calls_of, rounds)
            copies = statistics.median(result.pop(COPIES))
            found[case] = {
                name: [one - copies for one in values] for name, values in result.items()
            }
    return found


def ratio(case: dict[str, list[float]]) -> Spread:
    """The kernel's time over the loop's in the same round."""
    return Spread.of([a / b for a, b in zip(case[KERNEL], case[LOOP], strict=True)])


METHOD = """
Blocks of {frames} stereo frames, float32, at {rate} Hz; parameters stand still, but for the
one case that says otherwise. CPU time of the thread, median (least to most) of {rounds}
interleaved rounds; the time in which a block is copied is taken off. The loops in C have the
same algorithm, the same memory and the number of channels as a constant, by {compiler} with
`{options}`. Kernels check each index; the loops do not. Both put out the same values, within
{alike:g}, before they are timed.
"""


def run(quick: bool) -> Report:
    found = in_process("benchmarks.kernels:measure", quick)
    compiler = subprocess.run([COMPILE[0], "--version"], capture_output=True, text=True)
    method = METHOD.format(
        frames=FRAMES,
        rate=RATE,
        rounds=len(next(iter(found.values()))[KERNEL]),
        compiler=compiler.stdout.splitlines()[0],
        options=" ".join(COMPILE[1:3]),
        alike=ALIKE,
    )
    rows = []
    for name, case in found.items():
        times = ratio(case)
        rows.append(
            (
                name,
                Spread.of(case[KERNEL]).text(2),
                Spread.of(case[LOOP]).text(2),
                times.text(2, "x"),
                "met" if times.median <= MOST else "**missed**",
            )
        )
    return Report(
        "Kernels of audiostream.dsp beside C",
        " ".join(method.split()),
        [
            Table(
                ("kernel", "audiostream", "C", "ratio", f"at most {MOST} x"),
                rows,
                "Nanoseconds a frame and channel:",
            )
        ],
        partial(plot, found),
        remarks(found),
    )


def remarks(found: dict[str, dict[str, list[float]]]) -> list[str]:
    missed = {name: ratio(case).median for name, case in found.items()}
    beyond = [f"{name} ({times:.2f} x)" for name, times in missed.items() if times > MOST]
    return [
        f"Target: at most {MOST} times the time of C. "
        + (f"Missed: {', '.join(beyond)}." if beyond else "All kernels meet it.")
    ]


def plot(found: dict[str, dict[str, list[float]]], figure: Any) -> None:
    axes = figure.subplots()
    places = np.arange(len(found))
    for number, way in enumerate((KERNEL, LOOP)):
        heights = [statistics.median(case[way]) for case in found.values()]
        label = "audiostream" if way == KERNEL else "C"
        axes.bar(places + 0.4 * (number - 0.5), heights, 0.4, label=label)
    axes.set_xticks(places, list(found), rotation=60, ha="right")
    axes.set_ylabel("nanoseconds a frame and channel")
    axes.legend()
