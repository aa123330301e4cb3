"""The table of what the demo counted, and the picture of what it played; caller thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.table import Table

from audiostream.demo.performance import Counts, Performance, say

__all__ = ("draw", "report")


def report(console: Console, done: Performance) -> None:
    """Print the table of what was counted."""
    table = Table(title="What the streams counted")
    table.add_column()
    for counts in done.counts:
        table.add_column(counts.stream, justify="right")

    def row(name: str, value: Callable[[Counts], str | None]) -> None:
        table.add_row(name, *(value(counts) or "-" for counts in done.counts))

    def of(stream: str, text: str) -> Callable[[Counts], str | None]:
        return lambda counts: text if counts.stream == stream else None

    def is_input(counts: Counts) -> bool:
        return counts.stream == "microphone"

    row("device", lambda c: c.device)
    row("rate", lambda c: f"{c.rate} Hz")
    row("callbacks", lambda c: f"{c.stats.callbacks}")
    row("frames", lambda c: f"{c.stats.frames}")
    row("device underruns", lambda c: None if is_input(c) else f"{c.stats.underruns}")
    row("device overruns", lambda c: f"{c.stats.overruns}" if is_input(c) else None)
    row("starved frames", lambda c: None if is_input(c) else f"{c.stats.starved}")
    row("late callbacks", lambda c: f"{c.stats.late}")
    row("longest callback", lambda c: f"{c.stats.longest * 1e3:.2f} ms")
    row("wake-ups", lambda c: f"{c.stats.wakeups}")
    row("dropped frames", lambda c: f"{c.dropped}" if is_input(c) else None)
    for percent in (50, 99):
        wait = f"{np.percentile(done.waits, percent) * 1e3:.2f} ms" if done.waits else "-"
        row(f"wake-up latency, p{percent}", of("microphone", wait))
    console.print(table)
    say(
        console,
        "Wake-up latency: from the start of the callback that completed a chunk to its\n"
        f"arrival in the `async for`; {len(done.waits)} chunks were waited for.",
    )


def draw(done: Performance, picture: Path) -> float:
    """Draw the waveform and the spectrogram of the file that was played.

    Returns
    -------
    float
        Peak of the file, in decibels of full scale.
    """
    # Its remarks about font caches would go to stderr.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    audio, rate = soundfile.read(done.output, dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)
    figure = Figure(figsize=(12, 7.5), dpi=100, layout="constrained")
    devices = f"microphone: {done.microphone} · speaker: {done.speaker}"
    # A letter that the font lacks would be a warning on stderr.
    devices = devices.encode("latin-1", "replace").decode("latin-1")
    figure.suptitle(f"audiostream demo: what was played\n{devices}", parse_math=False)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    _draw_waveform(above, mono, rate, done.speech)
    _draw_spectrogram(below, mono, rate)
    for edge in done.speech:
        below.axvline(edge, color="white", linestyle=":", linewidth=1)
    middle = sum(done.speech) / 2
    for name, seconds, hertz, align in (
        ("tune", 0.05, 800, "left"),
        ("chords", 0.05, 310, "left"),
        ("bass", 0.05, 105, "left"),
        ("speech", middle, 6500, "center"),
    ):
        box = {"facecolor": "black", "alpha": 0.6, "pad": 2, "lw": 0}
        below.text(seconds, hertz, name, color="white", va="center", ha=align, bbox=box)
    below.set_xlim(0, len(mono) / rate)
    figure.savefig(picture)
    return 20 * float(np.log10(np.abs(audio).max(initial=1e-6)))


def _draw_waveform(
    axes: Axes, mono: np.ndarray, rate: int, speech: tuple[float, float]
) -> None:
    """The lowest and the highest sample of each column of pixels."""
    size = max(len(mono) // 1200, 1)
    columns = mono[: len(mono) // size * size].reshape(-1, size)
    seconds = np.arange(len(columns)) * size / rate
    axes.fill_between(seconds, columns.min(axis=1), columns.max(axis=1), color="tab:blue", lw=0)
    end = len(mono) / rate
    spans = ((0, speech[0], ""), (*speech, "tab:orange"), (speech[1], end, ""))
    for (begin, finish, colour), name in zip(
        spans, ("melody", "speech and melody", "melody"), strict=True
    ):
        if colour:
            axes.axvspan(begin, finish, color=colour, alpha=0.2, lw=0, zorder=0)
        axes.text((begin + finish) / 2, 0.85, name, ha="center", va="center")
    axes.set_ylim(-1, 1)
    axes.set_ylabel("amplitude (full scale 1)")
    axes.grid(alpha=0.3)


def _draw_spectrogram(axes: Axes, mono: np.ndarray, rate: int) -> None:
    """Levels below the loudest, on a scale of frequency on which octaves are alike."""
    window = 4096
    step = max(rate // 100, len(mono) // 1200)
    stretches = sliding_window_view(np.pad(mono, window // 2), window)[::step]
    power = np.abs(np.fft.rfft(stretches * np.hanning(window))) ** 2
    levels = 10 * np.log10(power / max(power.max(), 1e-12) + 1e-9)
    hertz = np.fft.rfftfreq(window, 1 / rate)
    shown = (hertz > 50) & (hertz < 8000)
    mesh = axes.pcolormesh(
        np.arange(len(levels)) * step / rate,
        hertz[shown],
        levels.T[shown],
        cmap="magma",
        vmin=-75,
        vmax=0,
        shading="nearest",
        rasterized=True,
    )
    axes.set_yscale("log")
    ticks = (65, 131, 262, 523, 1000, 2000, 4000)
    axes.set_yticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_yticks([], minor=True)
    axes.set_ylabel("frequency (Hz)")
    axes.set_xlabel("seconds")
    axes.figure.colorbar(mesh, ax=axes, label="dB below the loudest", pad=0.01)
