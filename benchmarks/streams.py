"""What a playing stream costs, and each voice on it: CPU shares of a core.

An output on the null device, 48 kHz, stereo, 256 frames, with 0 to 256 voices whose rings
were filled beforehand, so that Python does nothing while it is measured and all that is
spent is the audio thread's (and the engine's watch, which looks at the stream four times a
second).  The whole process's CPU time counts.  A compiled probe around the callback tells
what of it is the callback itself; the rest is the clock's: it asks for the time and sleeps.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from audiostream import aio
from benchmarks.harness import Spread, cpu_seconds, in_process, interleaved
from benchmarks.instruments import Line, Probe, Target, audio_seconds, late_share, target_table
from benchmarks.report import Report, Table

RATE, CHANNELS, FRAMES = 48000, 2, 256
PERIOD = FRAMES / RATE
VOICES = (0, 1, 8, 64, 256)
AHEAD = 0.9
"""Seconds of audio in each ring beyond those that are measured."""


def measure(voices: int, seconds: float) -> dict[str, float]:
    """One run; shares of 1, microseconds, frames."""
    probe = Probe()
    tone = np.sin(np.arange(int((seconds + AHEAD) * RATE)) * 0.01) * 0.5 / max(voices, 1)
    block = np.repeat(tone.astype(np.float32)[:, None], CHANNELS, axis=1)
    with aio.get_output(RATE, CHANNELS, buffersize=FRAMES, device=probe) as speaker:
        samples = [speaker.sample(encoding=32, buffer=seconds + AHEAD) for _ in range(voices)]
        for sample in samples:
            sample.stop()
        time.sleep(0.05)
        for sample in samples:
            sample.write_nowait(block)
        for sample in samples:
            sample.play()
        time.sleep(0.1)
        before, first = speaker.stats, probe.count
        cpu, audio, began = cpu_seconds(), audio_seconds(), time.monotonic()
        time.sleep(seconds)
        wall = time.monotonic() - began
        cpu, audio = cpu_seconds() - cpu, audio_seconds() - audio
        after, last = speaker.stats, probe.count
    spent = probe.spent()[first:last] * 1e-9
    return {
        "cpu": cpu / wall,
        "audio": audio / wall,
        "render": float(np.sum(spent)) / wall,
        "block": float(np.median(spent)) * 1e6,
        "block p99": float(np.percentile(spent, 99)) * 1e6,
        "longest": after.longest * 1e6,
        "late": late_share(probe.begun()[first:last], PERIOD * 1e9),
        "starved": after.starved - before.starved,
    }


COLUMNS = {
    "cpu": ("process", 2, "%", 100),
    "audio": ("audio thread", 2, "%", 100),
    "render": ("in the callback", 2, "%", 100),
    "block": ("a callback takes", 1, "us", 1),
    "block p99": ("at p99", 1, "us", 1),
    "longest": ("longest", 0, "us", 1),
    "late": ("late", 2, "%", 100),
    "starved": ("starved", 0, "frames", 1),
}
"""Key -> head of the column, digits, unit, scale."""


def run(quick: bool) -> Report:
    seconds, rounds = (1.0, 2) if quick else (5.0, 9)
    raw = interleaved(
        {
            voices: lambda voices=voices: in_process(
                "benchmarks.streams:measure", voices, seconds
            )
            for voices in VOICES
        },
        rounds,
    )
    found = {
        voices: {key: Spread.of([one[key] for one in parts]) for key in COLUMNS}
        for voices, parts in raw.items()
    }
    rows = [
        [str(voices), *(part[key].text(*form[1:]) for key, form in COLUMNS.items())]
        for voices, part in found.items()
    ]
    cpu = Line.through(VOICES, [found[voices]["cpu"].median for voices in VOICES])
    block = Line.through(VOICES, [found[voices]["block"].median for voices in VOICES])
    frames = max(part["starved"].most for part in found.values())
    most = found[VOICES[-1]]

    def plot(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for axes, key, line, scale, label in (
            (left, "cpu", cpu, 100, "% of a core, whole process"),
            (right, "block", block, 1, "microseconds a callback"),
        ):
            points = [found[voices][key] for voices in VOICES]
            middle = np.array([point.median for point in points]) * scale
            ends = np.array([[point.least, point.most] for point in points]).T * scale
            axes.errorbar(VOICES, middle, abs(ends - middle), fmt="o", capsize=3)
            ends = [line.at(x) * scale for x in (0, VOICES[-1])]
            axes.plot((0, VOICES[-1]), ends, "k--", lw=0.8, label=f"R² = {line.r2:.4f}")
            axes.set(xlabel="voices", ylabel=label, ylim=(0, None))
            axes.legend()

    remarks = [
        f"CPU: {100 * cpu.start:.2f} % of a core for the stream and {100 * cpu.slope:.4f} % "
        f"for each voice (straight line, R² = {cpu.r2:.4f}).",
        f"Callback: {block.start:.1f} us and {block.slope:.3f} us for each voice (R² = "
        f"{block.r2:.4f}); {VOICES[-1]} voices take {most['render'].median:.1%} of the time "
        "that there is.",
        "What the audio thread takes beyond the callback is its clock's: asking for the time, "
        "sleeping and waking, which with hardware is PortAudio's and the driver's.",
    ]
    return Report(
        "A stream's cost, and a voice's",
        f"An output of {RATE} Hz, {CHANNELS} channels and {FRAMES} frames on the null device; "
        "voices with prefilled rings, float32, at a constant gain; Python sleeps. Shares are "
        "of one core; late: callbacks with more than two periods since the one before. "
        f"{rounds} rounds of {seconds:g} s, interleaved, each in a process of its own: median "
        "(least to most).",
        [
            Table(["voices", *(column[0] for column in COLUMNS.values())], rows),
            target_table([Target("starved, worst round of all", 0, frames, "frames", 0)]),
        ],
        plot,
        remarks,
    )
