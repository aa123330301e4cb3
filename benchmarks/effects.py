"""An equaliser and a compressor beside scipy, pedalboard and pyo: time for a second of audio.

Each gets the same noise, stereo float32 at 48 kHz, and puts out an array (pyo: its buffers).
All run in blocks of 256 frames, and of 8192.  What is timed is CPU time of the process.
audiostream, scipy and pyo are called block by block from Python, pedalboard goes through the
blocks in C++.  pyo's source is measured beside without the effect, and taken off.

All equalisers are the peaking filter of the Audio EQ Cookbook, and must put out the same values
before they are timed.  Compressors differ by design: see the remarks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from audiostream import dsp
from audiostream.dsp.biquad import peaking_coefficients
from benchmarks.harness import Spread, cpu_seconds, in_process, interleaved
from benchmarks.report import Report, Table, peer

RATE, CHANNELS = 48000, 2
BLOCKS = (256, 8192)
"""Frames of a block: as in a stream, and as for a file (pedalboard's default)."""

OURS, SCIPY, PEDALBOARD, PYO = "audiostream", "scipy", "pedalboard", "pyo"
PEERS = (SCIPY, PEDALBOARD, PYO)

EQ, COMPRESSOR = "equaliser", "compressor"

FREQUENCY, Q, GAIN_DB = 1000.0, 1.0, 6.0
THRESHOLD_DB, RATIO, ATTACK, RELEASE = -18.0, 4.0, 0.01, 0.1
"""Attack and release are seconds."""

ALIKE = {SCIPY: 1e-5, PEDALBOARD: 1e-5, PYO: 0.02}
"""By how much an equaliser's values may differ from ours.  pyo's coefficients are float32."""

CHECKED = 8192
"""Frames of pyo's that are compared."""

Process = Callable[[np.ndarray], Any]
"""Of noise (frames, CHANNELS)."""


def noise(frames: int) -> np.ndarray:
    """Noise that swells and fades twice a second; float32 (frames, CHANNELS)."""
    level = 0.5 + 0.45 * np.sin(np.arange(frames) * 4 * np.pi / RATE)
    values = np.random.default_rng(1).uniform(-0.5, 0.5, (frames, CHANNELS))
    return (values * level[:, None]).astype(np.float32)


# --- each library ----------------------------------------------------------------------


def ours(effect: str, block: int) -> Process:
    if effect == EQ:
        unit = dsp.peaking(frequency=FREQUENCY, q=Q, gain_db=GAIN_DB)
    else:
        unit = dsp.compressor(
            threshold_db=THRESHOLD_DB, ratio=RATIO, attack=ATTACK, release=RELEASE
        )
    return lambda sound: unit.process(sound, RATE, blocks=block)


def scipys_eq(block: int) -> Process:
    from scipy import signal

    b0, b1, b2, a1, a2 = peaking_coefficients(FREQUENCY, Q, GAIN_DB, RATE)
    sections = np.array([[b0, b1, b2, 1.0, a1, a2]])

    def process(sound: np.ndarray) -> np.ndarray:
        made = np.empty_like(sound)
        state = np.zeros((1, 2, CHANNELS))
        for start in range(0, len(sound), block):
            part = slice(start, start + block)
            made[part], state = signal.sosfilt(sections, sound[part], axis=0, zi=state)
        return made

    return process


def pedalboards(effect: str, block: int) -> Process:
    import pedalboard

    if effect == EQ:
        plugin = pedalboard.PeakFilter(FREQUENCY, GAIN_DB, Q)
    else:
        plugin = pedalboard.Compressor(THRESHOLD_DB, RATIO, 1000 * ATTACK, 1000 * RELEASE)
    return lambda sound: plugin.process(sound, RATE, buffer_size=block)


class Pyo:
    """pyo's server, driven by hand; its objects compute once a block.

    Parameters
    ----------
    sound : ndarray
        What its effects are given, over and over.
    """

    def __init__(self, sound: np.ndarray, block: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of its windows
            import pyo
        self._pyo = pyo
        self._server = pyo.Server(RATE, CHANNELS, block, duplex=0, audio="manual")
        self._server.boot()
        self._server.start()
        self._block, self._frames = block, len(sound)
        tables = [
            pyo.DataTable(len(sound), init=sound[:, c].astype(float).tolist())
            for c in range(CHANNELS)
        ]
        self._source = pyo.TableRead(tables, freq=RATE / len(sound), loop=True).play()

    def make(self, effect: str) -> Any:
        """An effect, running."""
        if effect == EQ:
            return self._pyo.EQ(self._source, FREQUENCY, Q, GAIN_DB)
        return self._pyo.Compress(
            self._source, THRESHOLD_DB, RATIO, ATTACK, RELEASE, lookahead=0.0
        )

    def step(self, frames: int) -> None:
        for _ in range(frames // self._block):
            self._server.process()

    def first_channel(self, effect: str) -> np.ndarray:
        """What an effect makes of the sound's first frames: later its reader drifts."""
        running = self.make(effect)
        self._source.reset()
        table = self._pyo.NewTable(CHECKED / RATE)
        recorder = self._pyo.TableRec(running[0], table).play()
        self.step(CHECKED + 8 * self._block)
        recorder.stop()
        running.stop()
        return np.array(table.getTable(), np.float32)

    def seconds(self, effect: str) -> float:
        """CPU seconds of the sound with the effect, less those without."""
        alone = seconds_of(lambda: self.step(self._frames))
        running = self.make(effect)
        self.step(8 * self._block)
        both = seconds_of(lambda: self.step(self._frames))
        running.stop()
        return max(both - alone, 0.0)


def seconds_of(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    begun = cpu_seconds()
    call()
    return cpu_seconds() - begun


# --- all of them, in a process of their own --------------------------------------------


def check(name: str, made: np.ndarray, wanted: np.ndarray) -> None:
    """Raise if an equaliser does not do what ours does, on the first channel."""
    frames = min(len(made), len(wanted))
    error = float(np.abs(made[:frames] - wanted[:frames]).max())
    if not error <= ALIKE[name]:
        raise RuntimeError(f"the equaliser of {name} is off by {error}")


def measure(block: int, blocks: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Effect -> library -> CPU milliseconds of a second of audio, per round."""
    sound = noise(block * blocks)
    seconds = len(sound) / RATE
    there = {name for name in PEERS if importlib.util.find_spec(name)}
    pyo = Pyo(sound, block) if PYO in there else None
    found: dict[str, dict[str, list[float]]] = {}
    for effect in (EQ, COMPRESSOR):
        processes: dict[str, Process] = {OURS: ours(effect, block)}
        if SCIPY in there and effect == EQ:
            processes[SCIPY] = scipys_eq(block)
        if PEDALBOARD in there:
            processes[PEDALBOARD] = pedalboards(effect, block)
        made = {name: process(sound) for name, process in processes.items()}
        if effect == EQ:
            for name in made.keys() - {OURS}:
                check(name, made[name][:, 0], made[OURS][:, 0])
            if pyo:
                check(PYO, pyo.first_channel(EQ), made[OURS][:, 0])
        ways: dict[str, Callable[[], float]] = {
            name: partial(seconds_of, partial(process, sound))
            for name, process in processes.items()
        }
        if pyo:
            ways[PYO] = partial(pyo.seconds, effect)
        found[effect] = {
            name: [1000 * one / seconds for one in values]
            for name, values in interleaved(ways, rounds).items()
        }
    return found


# --- what it comes to --------------------------------------------------------------------

METHOD = """
Noise that swells and fades, stereo float32 at {rate} Hz; CPU time of the process for a second
of audio, median (least to most) of {rounds} interleaved rounds over {seconds:.0f} seconds or
more. Equaliser: the peaking filter of the Audio EQ Cookbook, {frequency:g} Hz, q {q:g},
{gain:+g} dB. Compressor: threshold {threshold:g} dB, ratio {ratio:g}, attack {attack:g} ms,
release {release:g} ms. Python calls audiostream (`process`), scipy (`sosfilt` with its state)
and pyo once a block; pedalboard goes through the blocks in C++. On a stream audiostream's
kernels are not called from Python: there a block costs what *Kernels of audiostream.dsp beside
C* says. Beside {peers}.
"""

Found = dict[int, dict[str, dict[str, list[float]]]]
"""Frames of a block -> effect -> library -> CPU milliseconds of a second, per round."""


def run(quick: bool) -> Report:
    frames, rounds = (30 * 8192, 9) if quick else (120 * 8192, 41)
    found: Found = {
        block: in_process("benchmarks.effects:measure", block, frames // block, rounds)
        for block in BLOCKS
    }
    method = METHOD.format(
        rate=RATE,
        rounds=rounds,
        seconds=frames // RATE,
        frequency=FREQUENCY,
        q=Q,
        gain=GAIN_DB,
        threshold=THRESHOLD_DB,
        ratio=RATIO,
        attack=1000 * ATTACK,
        release=1000 * RELEASE,
        peers=", ".join(peer(name) for name in PEERS),
    )
    return Report(
        "Effects beside other libraries",
        " ".join(method.split()),
        [table(found, effect) for effect in (EQ, COMPRESSOR)],
        partial(plot, found),
        remarks(found),
    )


def table(found: Found, effect: str) -> Table:
    rows = []
    for name in found[BLOCKS[0]][effect]:
        cells = [
            f"{Spread.of(found[block][effect][name]).text(3, 'ms')}, "
            f"{times_ours(found[block][effect], name):.2f} x"
            for block in BLOCKS
        ]
        rows.append((f"**{name}**" if name == OURS else name, *cells))
    return Table(
        ("", *(f"blocks of {block}" for block in BLOCKS)),
        rows,
        f"**{effect.capitalize()}**: a second of audio, and how many times audiostream's time:",
    )


def times_ours(ways: dict[str, list[float]], name: str) -> float:
    """The median of a library's time over ours in the same round."""
    return Spread.of([a / b for a, b in zip(ways[name], ways[OURS], strict=True)]).median


def remarks(found: Found) -> list[str]:
    ahead = [
        f"**Ahead of ours**: {name}'s {effect} in blocks of {block} takes {times:.2f} times "
        "our time."
        for block, effects in found.items()
        for effect, ways in effects.items()
        for name in ways
        if (times := times_ours(ways, name)) < 1
    ]
    there = found[BLOCKS[0]][EQ]
    return [
        *(ahead or ["No peer is ahead."]),
        *(f"{name} is not installed here." for name in PEERS if name not in there),
        "The compressors are not the same algorithm: ours links the channels, has a soft knee "
        "of 6 dB and computes a logarithm and an exponential in each frame; those of "
        "pedalboard and pyo follow each channel by itself, with a hard knee.",
        "scipy has no compressor.",
    ]


def plot(found: Found, figure: Any) -> None:
    panels = figure.subplots(1, 2)
    for panel, effect in zip(panels, (EQ, COMPRESSOR), strict=True):
        for number, block in enumerate(BLOCKS):
            ways = found[block][effect]
            places = np.arange(len(ways)) + 0.4 * (number - 0.5)
            heights = [Spread.of(values).median for values in ways.values()]
            panel.bar(places, heights, 0.4, label=f"blocks of {block}")
        panel.set_xticks(range(len(ways)), list(ways))
        panel.set(title=effect, ylabel="CPU ms of a second of audio")
    panels[0].legend()
