"""What 64 voices cost while something about each of them moves, beside 64 that just play.

The voices, blocks, rings and clock are those of the mixer's benchmark (mixer.py), and so is
what is timed: the whole callback.  Each kind of movement is measured in four ways.  *Under
way*: it was begun in blocks that do not count, and goes on behind those that do.  *From its
start*: the block in which all 64 voices are told is one of those that count, 256 of them, 1.4
seconds.  *Quick*: as that, four times one after the other, a third of a second each.  *Told
in every block*: all 64 are, to go somewhere else within 5 ms, which is less than a block; that
is the price of 64 commands more than that of ramps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import mixer
from benchmarks.harness import Spread, in_process, interleaved
from benchmarks.report import Report, Table

VOICES = 64
BLOCKS = mixer.BURST // VOICES
STILL = "nothing"

Move = Callable[[Any, int, bool, float], None]
"""Tells a voice, by its number, where to go, there or back, over so many seconds."""


def fade(voice: Any, number: int, there: bool, seconds: float, curve: str = "linear") -> None:
    voice.fade((0.2 if there else 0.8) / VOICES, seconds, curve)


def silence(voice: Any, number: int, there: bool, seconds: float, curve: str) -> None:
    voice.fade(0.0 if there else 0.8 / VOICES, seconds, curve)


def pan(voice: Any, number: int, there: bool, seconds: float) -> None:
    voice.ramp = seconds
    voice.set_pan(-0.9 if there else 0.9)


def mute(voice: Any, number: int, there: bool, seconds: float) -> None:
    voice.ramp = seconds
    voice.set_muted(there)


def stay(voice: Any, number: int, there: bool, seconds: float) -> None:
    voice.ramp = 0.0
    voice.set_pan(-0.5 if there else 0.5)


def aside(voice: Any, number: int, there: bool, seconds: float) -> None:
    stay(voice, number, True, seconds)
    fade(voice, number, there, seconds, "exponential")


def lengths(voice: Any, number: int, there: bool, seconds: float) -> None:
    fade(voice, number, there, seconds * (1 + number / 10_000), "exponential")


MOVES: dict[str, Move] = {
    STILL: lambda *_: None,
    "nothing, but none is in the middle": stay,
    "gain, in a straight line": fade,
    "mute": mute,
    "pan": pan,
    "gain, exponential": partial(fade, curve="exponential"),
    "gain, exponential, to or from silence": partial(silence, curve="exponential"),
    "gain, exponential, and none is in the middle": aside,
    "gain, of equal power, to or from silence": partial(silence, curve="equal_power"),
    "gain, exponential, each of another length": lengths,
    "gain, of equal power, between two levels": partial(fade, curve="equal_power"),
}


class Moved:
    """A bench on whose voices one thing moves."""

    def __init__(self, bench: mixer.Bench, move: Move) -> None:
        self.bench, self.move = bench, move
        self.there = False

    def tell(self, blocks: float) -> None:
        self.there = not self.there
        for number, voice in enumerate(self.bench.played):
            self.move(voice, number, self.there, blocks * mixer.FRAMES / 48000)

    def under_way(self) -> float:
        self.bench.render(mixer.LEAD)
        self.tell(BLOCKS + 2 * mixer.LEAD)
        self.bench.render(mixer.LEAD)
        spent = self.bench.render(BLOCKS)
        self.bench.render(2 * mixer.LEAD)  # to its end
        return spent

    def from_start(self) -> float:
        self.bench.render(mixer.LEAD)
        self.tell(BLOCKS - mixer.LEAD)
        return self.bench.render(BLOCKS)

    def quick(self) -> float:
        self.bench.render(mixer.LEAD)
        spent = 0.0
        for _ in range(4):
            self.tell(BLOCKS // 4)
            spent += self.bench.render(BLOCKS // 4)
        return spent

    def told(self) -> float:
        self.bench.render(mixer.LEAD)
        spent = 0.0
        for _ in range(BLOCKS // 4):
            self.tell(0.005 * 48000 / mixer.FRAMES)
            spent += self.bench.render(1)
        return 4 * spent


TOLD = "told in every block"

WAYS = {
    "under way": Moved.under_way,
    "from its start": Moved.from_start,
    "quick": Moved.quick,
    TOLD: Moved.told,
}

SPAN = BLOCKS * mixer.FRAMES / 48000
"""Seconds of sound in a round."""

LIMIT = 1.2
"""Percent of a core that all voices may take while anything moves."""

Found = dict[str, dict[str, dict[str, list[float]]]]
"""Layout -> way -> what moves -> seconds."""


def measure(quick: bool) -> Found:
    loops = mixer.compiled_loops()
    found: Found = {}
    for layout, capacity in mixer.LAYOUTS.items():
        with contextlib.closing(mixer.Bench(loops, VOICES, capacity)) as bench:
            found[layout] = {}
            for way, time in WAYS.items():
                ways = {
                    what: partial(settle, bench, Moved(bench, move), time)
                    for what, move in MOVES.items()
                }
                found[layout][way] = interleaved(ways, 15 if quick else 80)
    return found


def settle(bench: mixer.Bench, moved: Moved, time: Callable[[Moved], float]) -> float:
    """One round, on voices that nothing is left of from the one before."""
    for voice in bench.played:
        voice.ramp = 0.0
        voice.set_pan(0.0)
        voice.set_muted(False)
        voice.fade(0.8 / VOICES, 0.0)
    moved.there = False
    return time(moved)


def times(cases: dict[str, list[float]], what: str) -> Spread:
    """How many times what the voices cost while nothing moves, in the same round."""
    return Spread.of([a / b for a, b in zip(cases[what], cases[STILL], strict=True)])


def table(found: Found) -> Table:
    columns = [(layout, way) for layout in mixer.LAYOUTS for way in WAYS]
    rows = []
    for what in MOVES:
        cells = []
        for layout, way in columns:
            cases = found[layout][way]
            if what == STILL:
                spread = Spread.of(cases[what])
                cells.append(spread.text(1, "ns", 1e9 / mixer.BURST))
            else:
                spread = times(cases, what)
                share = Spread.of([100 * seconds / SPAN for seconds in cases[what]])
                verdict = "" if share.median <= LIMIT or way == TOLD else ": **missed**"
                cells.append(f"{spread.text(2, 'x')}, {share.median:.2f} %{verdict}")
        rows.append([what, *cells])
    return Table(["what moves", *(f"{layout}, {way}" for layout, way in columns)], rows)


def plot(found: Found, figure: Any) -> None:
    axes = figure.subplots()
    names = [what for what in MOVES if what != STILL]
    height = 0.8 / (len(mixer.LAYOUTS) * len(WAYS))
    offset = 0.0
    for layout in mixer.LAYOUTS:
        for way in WAYS:
            medians = [times(found[layout][way], what).median for what in names]
            places = [k + offset for k in range(len(names))]
            axes.barh(places, medians, height, label=f"{layout}, {way}")
            offset += height
    axes.set_yticks([k + 0.3 for k in range(len(names))], names, fontsize="small")
    axes.set(xscale="log", xlabel="times what the voices cost while nothing moves")
    axes.invert_yaxis()
    axes.legend(fontsize="x-small")


def run(quick: bool) -> Report:
    found: Found = in_process("benchmarks.ramps:measure", quick)
    rounds = len(found["in cache"]["under way"][STILL])
    return Report(
        title="What ramps cost",
        method=(
            f"{VOICES} stereo voices in blocks of {mixer.FRAMES} frames; CPU time of the whole "
            f"callback, {BLOCKS} blocks a round, median of {rounds} interleaved rounds (least "
            "to most). The first row is what a voice costs a block while nothing moves; the "
            "others are how many times that it is, in the same round, while something moves "
            "about every voice, and the share of a core for all of them. *Under way*: it began "
            "before the blocks that count and ends "
            "behind them; *from its start*: the block in which all the voices are told counts, "
            "too; *quick*: as that, four of a third of a second each, one after the other; "
            "*told in every block*: each of the 64 is told to go elsewhere within 5 ms. *In "
            "cache* and *from rings* as in the mixer's benchmark. To be reached: 1.2 % of a "
            "core for all 64, while anything moves."
        ),
        tables=[table(found)],
        plot=partial(plot, found),
        remarks=[
            "Told in every block, voices cost what 64 commands do, and with cold caches, after "
            "64 calls of Python.",
        ],
    )
