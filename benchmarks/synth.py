"""A synthesizer of 32 voices: what it costs, and the periods that it misses.

Each voice is a generator with two effects: saw, state-variable filter, envelope.  All of them
play by the public API, through the stand-in for PortAudio, in stereo at 48 kHz and in blocks of
128 frames.  Costs are the CPU time of callbacks that are called back to back (as in render.py).
Periods run in pace, beside a busy thread and beside one that holds the interpreter lock (as in
missed.py).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import audiostream
from audiostream import dsp
from audiostream.aio import AudioOutput, get_output
from benchmarks import standin
from benchmarks.harness import LOADS, Spread, cpu_seconds, in_process, interleaved
from benchmarks.instruments import Target, target_table
from benchmarks.missed import cell_text, in_all, play_beside, told, total
from benchmarks.report import Report, Table
from benchmarks.standin.players import CHANNELS, RATE, Tend

VOICES = 32
FRAMES = 128
STEADY, MOVING = "cutoffs stand still", "cutoffs move"
CONTROL = "control"
MOST = 4.0
"""The target: percent of a core."""

SWEEP = 60.0
"""Seconds over which a cutoff moves: as long as a measurement of costs, or longer."""


class Synth:
    """Voices on an output, all of them sounding.

    Parameters
    ----------
    output : AudioOutput
        Open.
    moving : bool
        Each cutoff moves all the time, so that the filter computes a tangent in each frame.
    """

    def __init__(self, output: AudioOutput, moving: bool = False) -> None:
        self._moving = moving
        self._upwards = True
        self._filters, self._envelopes = [], []
        for number in range(VOICES):
            note = 36 + number
            saw = dsp.saw(frequency=440.0 * 2.0 ** ((note - 69) / 12), level=0.5 / VOICES)
            svf = dsp.svf(cutoff=1000.0, resonance=0.6)
            adsr = dsp.adsr()
            output.play(saw, pan=number / VOICES - 0.5, effects=[svf, adsr])
            self._filters.append(svf)
            self._envelopes.append(adsr)
        self.sweep()

    def sweep(self) -> None:
        """Send each cutoff to its other end."""
        if self._moving:
            for svf in self._filters:
                svf.set(cutoff=4000.0 if self._upwards else 1000.0, over=SWEEP)
            self._upwards = not self._upwards

    def silent_voices(self) -> int:
        """Voices whose envelope is at 0."""
        return sum(adsr.envelope == 0.0 for adsr in self._envelopes)


@contextlib.contextmanager
def play(frames: int, seconds: float) -> Iterator[Tend]:
    """All voices; they need nothing from the caller."""
    with get_output(RATE, CHANNELS, 32, frames, device=standin.DEVICE) as output:
        Synth(output)
        yield lambda: None


# --- cost, in a process of its own -----------------------------------------------------


def costs(calls: int, rounds: int) -> dict[str, list[float]]:
    """CPU nanoseconds of a callback, per round."""
    ways = {
        STEADY: partial(cost, False, calls),
        MOVING: partial(cost, True, calls),
        CONTROL: partial(cost_of_control, calls),
    }
    return interleaved(ways, rounds)


def cost(moving: bool, calls: int) -> float:
    with get_output(RATE, CHANNELS, 32, FRAMES, device=standin.DEVICE) as output:
        synth = Synth(output, moving)
        nanoseconds = mean_of_steps(calls)
        if silent := synth.silent_voices():
            raise RuntimeError(f"{silent} voices are silent")
    return nanoseconds


def cost_of_control(calls: int) -> float:
    with standin.Standin().control(FRAMES, CHANNELS, RATE):
        return mean_of_steps(calls)


def mean_of_steps(calls: int) -> float:
    """CPU nanoseconds of a callback of the newest stream, over so many back to back."""
    stream = standin.Standin().newest()
    stream.step(20)
    stream.reset(standin.ONLY_STEPS)
    stream.step(calls)
    counts = stream.counts()
    return counts.busy_cpu / counts.steps


def offline(seconds: float, rounds: int) -> list[float]:
    """Seconds of audio that a second of CPU time renders, per round."""
    found = []
    for _ in range(rounds + 1):
        begun = cpu_seconds()
        made = audiostream.render(Synth, seconds, RATE, CHANNELS, blocks=FRAMES)
        found.append(seconds / (cpu_seconds() - begun))
        if not np.abs(made).max() > 0:
            raise RuntimeError("what was rendered is silent")
    return found[1:]  # in the first one the kernels are loaded


# --- periods missed, in a process of its own -------------------------------------------


def missed(load_name: str, periods: int) -> dict[str, int]:
    """What became of so many periods; of a block without sound: `late_sound`."""
    rounds = rounds_as_dear()
    found, (beside, busy), blocks = play_beside(play, FRAMES, load_name, periods, (0, rounds))
    return {
        **told(found, beside, int((np.abs(blocks).max(axis=1) == 0).sum())),
        "busy_judged": busy.judged,
        "busy_missed": busy.missed,
        "busy_overslept": busy.overslept,
    }


def rounds_as_dear(tried: int = 100_000, periods: int = 400) -> int:
    """Rounds of an empty loop in C that cost as much CPU time as the synthesizer's callback."""
    found, (idle, busy), _ = play_beside(play, FRAMES, "idle", periods, (0, tried))
    ours, none, theirs = (one.busy_cpu / one.judged for one in (found, idle, busy))
    return round(tried * (ours - none) / (theirs - none))


# --- all of it -------------------------------------------------------------------------


def collect_missed(quick: bool) -> dict[str, Counter[str]]:
    """By load: the sums over all rounds."""
    periods = 400 if quick else 20_000
    cells = {
        name: partial(
            in_process,
            "benchmarks.synth:missed",
            name,
            periods,
            env={**standin.environment(), "AUDIOSTREAM_CALLBACK": "native"},
        )
        for name in LOADS
    }
    return {name: total(found) for name, found in interleaved(cells, 1 if quick else 2).items()}


METHOD = """
{voices} voices, each a saw, a state-variable filter and an envelope of audiostream.dsp, stereo
at 48 kHz in blocks of {frames} frames. Costs: the stand-in for PortAudio calls the callback
{calls} times back to back, in CPU time of its thread; what the same costs with a callback that
is a memset is taken off; {rounds} interleaved rounds. Rendered to an array: by
`audiostream.render`, CPU time of the process. Periods: in pace, beside two control streams: one
whose callback is a memset in C, as for *Periods missed*, and one that then makes an empty loop
in C which costs as much CPU time as the synthesizer, to tell what the machine takes from any
callback that works for so long.
"""


def run(quick: bool) -> Report:
    calls, rounds = (200, 5) if quick else (3000, 15)
    found = in_process("benchmarks.synth:costs", calls, rounds, env=standin.environment())
    floor = Spread.of(found.pop(CONTROL)).median
    shares = {
        name: Spread.of([of_core(value - floor) for value in values])
        for name, values in found.items()
    }
    rendered = Spread.of(
        in_process("benchmarks.synth:offline", *((10, 3) if quick else (20, 7)))
    )
    gaps = collect_missed(quick)
    rows = [(name, share.text(2, "%")) for name, share in shares.items()]
    missed_rows = [
        (
            name,
            cell_text(one),
            f"{one['busy_missed']:,} of {one['busy_judged']:,}",
            f"{one['late_sound']:,}",
            f"{one['overslept']:,}",
            f"{one['longest'] / 1e6:.2f} ms",
        )
        for name, one in gaps.items()
    ]
    return Report(
        f"A synthesizer of {VOICES} voices",
        " ".join(
            METHOD.format(voices=VOICES, frames=FRAMES, calls=calls, rounds=rounds).split()
        ),
        [
            Table(("", "share of a core"), rows, "Costs, median (least to most):"),
            Table(
                ("", "missed", "a loop", "without sound", "overslept", "longest callback"),
                missed_rows,
                f"Periods of {1000 * FRAMES / RATE:.2f} ms:",
            ),
            target_table([Target(STEADY, MOST, shares[STEADY].median, "% of a core", 2)]),
        ],
        partial(plot, shares, gaps),
        [
            f"Rendered to an array: {rendered.text(0)} times as fast as it sounds, cutoffs "
            "standing still.",
            verdict(gaps),
        ],
    )


def of_core(nanoseconds: float) -> float:
    """Percent of a core."""
    return 100 * nanoseconds / (1e9 * FRAMES / RATE)


def verdict(gaps: dict[str, Counter[str]]) -> str:
    """What was missed under load beside the control's."""
    loaded: Counter[str] = Counter()
    for name, one in gaps.items():
        if name != "idle":
            loaded.update(one)
    beyond = loaded["missed"] - loaded["control_missed"]
    return (
        "Target: under either load no more is missed than the control misses. Measured: "
        f"{loaded['missed']:,} of {loaded['judged']:,} periods against the control's "
        f"{loaded['control_missed']:,} of {loaded['control_judged']:,}: "
        f"{f'{beyond:,} more' if beyond > 0 else 'no more'}. The empty loop of the same cost "
        f"missed {loaded['busy_missed']:,} of {loaded['busy_judged']:,}. "
        f"{in_all(loaded, {'of the control': 'control_', 'of the loop': 'busy_'})}"
    )


def plot(shares: dict[str, Spread], gaps: dict[str, Counter[str]], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    left.bar(list(shares), [share.median for share in shares.values()])
    left.axhline(MOST, color="k", ls="--", lw=1, label="target: at most")
    left.set_ylabel("% of a core")
    left.legend()
    places = np.arange(len(gaps))
    for number, (label, what) in enumerate(
        (("synthesizer", "missed"), ("a loop", "busy_missed"), ("control", "control_missed"))
    ):
        heights = [one[what] for one in gaps.values()]
        right.bar(places + 0.27 * (number - 1), heights, 0.27, label=label)
    right.set_xticks(places, list(gaps))
    right.set_ylabel("periods missed")
    right.legend()
