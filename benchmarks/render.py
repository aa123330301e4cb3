"""Time inside the callback: what a block costs, by voices, and how long one callback takes.

Callbacks are priced by stepping the stand-in for PortAudio: so many calls back to back,
in CPU time of the thread.  How long single callbacks take is looked at in pace as well,
where the thread has slept and the caches have gone cold in between.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import standin
from benchmarks.harness import Spread, in_process, interleaved
from benchmarks.report import Report, Table, peer
from benchmarks.standin.players import CHANNELS, RATE, WAYS, audiostream, block, rtmixer

VOICES = (1, 8, 64, 256)
FRAMES = 256
HELD = {"0.25 s": 0.25, "2 s": 2.0}
"""Seconds of sound that lie ready for each voice: a ring of the usual size (6 MB for 64
voices), and more than caches hold (49 MB)."""

WARM, SPARE = 6, {"0.25 s": 8, "2 s": 90}
"""Blocks that are stepped before, and those that may go by while all voices are started."""

TAIL_FRAMES = 128
TAIL_VOICES = 8

FLOAT, SHORT, PEER, CONTROL = "audiostream, float32", "audiostream, int16", "rtmixer", "control"


# --- cost by voices, in a process of its own ------------------------------------------


def costs(voices: int, held: str, calls: int, rounds: int) -> dict[str, list[float]]:
    """CPU nanoseconds of a callback, per round; ``short``: blocks that lacked sound."""
    ways: dict[str, Callable[[], Price]] = {
        FLOAT: lambda: price_audiostream(Price(held, calls), voices, held, 32),
        SHORT: lambda: price_audiostream(Price(held, calls), voices, held, 16),
        CONTROL: lambda: price_control(Price(held, calls)),
    }
    if WAYS[PEER].is_there:
        ways[PEER] = lambda: price_rtmixer(Price(held, calls), voices, held)
    found = interleaved(ways, rounds)
    prices = {name: [price.mean for price in results] for name, results in found.items()}
    short = sum(price.short for results in found.values() for price in results)
    return {**prices, "short": [float(short)]}


class Price:
    """Sums of some lots of callbacks, each as long as what lies ready lasts."""

    def __init__(self, held: str, calls: int) -> None:
        blocks = int(HELD[held] * RATE) // FRAMES
        self.steps = blocks - WARM - SPARE[held]
        self.lots = -(-calls // self.steps)
        self.short = 0
        self._cpu = self._calls = 0

    def take(self) -> None:
        """Step the newest stream."""
        stream = standin.Standin().newest()
        stream.step(WARM)
        stream.reset(standin.ONLY_STEPS)
        stream.step(self.steps)
        counts = stream.counts()
        self._cpu += counts.busy_cpu
        self._calls += counts.steps

    @property
    def mean(self) -> float:
        """CPU nanoseconds of a callback."""
        return self._cpu / self._calls


def sounds(voices: int, held: str) -> list[np.ndarray]:
    """An array for each voice."""
    return [block(int(HELD[held] * RATE), 0.5 / voices) for _ in range(voices)]


def price_audiostream(price: Price, voices: int, held: str, encoding: int) -> Price:
    from audiostream.aio import get_output

    with get_output(RATE, CHANNELS, encoding, FRAMES, device=standin.DEVICE) as output:
        samples = [output.sample(encoding=32, buffer=HELD[held]) for _ in range(voices)]
        arrays = sounds(voices, held)
        for _ in range(price.lots):
            for sample in samples:
                sample.stop()
            for sample, array in zip(samples, arrays, strict=True):
                while len(array):  # the stop takes a block
                    array = array[sample.write_nowait(array) :]
            for sample in samples:
                sample.play()
            before = output.stats.starved
            price.take()
            price.short += output.stats.starved > before
    return price


def price_rtmixer(price: Price, voices: int, held: str) -> Price:
    import rtmixer

    arrays = sounds(voices, held)
    with rtmixer.Mixer(
        samplerate=RATE, channels=CHANNELS, blocksize=FRAMES, qsize=512
    ) as mixer:
        for _ in range(price.lots):
            for array in arrays:
                mixer.play_buffer(array, channels=CHANNELS)
            price.take()
            price.short += len(mixer.actions) < voices
            mixer.wait()
    return price


def price_control(price: Price) -> Price:
    """What asking for a block and taking the time costs by itself."""
    with standin.Standin().control(FRAMES, CHANNELS, RATE):
        for _ in range(price.lots):
            price.take()
    return price


# --- single callbacks, in a process of their own --------------------------------------


def tails(way: str, paced: bool, count: int) -> dict[str, list[float]]:
    """p50, p99 and the longest callback, in nanoseconds, and the control's."""
    players = {
        FLOAT: partial(audiostream, voices=TAIL_VOICES, encoding=32),
        SHORT: partial(audiostream, voices=TAIL_VOICES, encoding=16),
        PEER: partial(rtmixer, voices=TAIL_VOICES),
    }
    device = standin.Standin()
    seconds = 2 * count * TAIL_FRAMES / RATE + 10
    with contextlib.ExitStack() as stack:
        tend = stack.enter_context(players[way](TAIL_FRAMES, seconds))
        measured = device.newest()
        control = stack.enter_context(device.control(TAIL_FRAMES, CHANNELS, RATE))
        streams = {"found": measured, CONTROL: control}
        for stream in streams.values():
            tend()
            stream.reset(count if paced else standin.ONLY_STEPS)
            if not paced:
                stream.step(count)
        while not all(stream.wait(0.25) for stream in streams.values()):
            tend()
        return {name: three(stream.durations()) for name, stream in streams.items()}


def three(durations: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(durations, [50, 99, 100])]


# --- all of it -------------------------------------------------------------------------

Costs = dict[tuple[str, int], dict[str, list[float]]]
Tails = dict[tuple[str, bool], list[dict[str, list[float]]]]


def collect_costs(quick: bool) -> Costs:
    """By what is held and voices, by way: nanoseconds of a callback in each round."""
    found: Costs = {}
    for held in HELD:
        for voices in VOICES:
            calls, rounds = (60, 3) if quick else (1200 if voices < 64 else 300, 9)
            result = in_process(
                "benchmarks.render:costs",
                voices,
                held,
                calls,
                rounds,
                env=standin.environment(),
            )
            floor = statistics.median(result[CONTROL])
            for name in set(result) - {CONTROL, "short"}:
                result[name] = [max(value - floor, 0.0) for value in result[name]]
            found[held, voices] = result
    return found


def collect_tails(quick: bool) -> Tails:
    ways = [FLOAT, SHORT, *([PEER] if WAYS[PEER].is_there else [])]
    cells = {
        (way, paced): partial(
            in_process,
            "benchmarks.render:tails",
            way,
            paced,
            # Stepped, the rings of 4 s must last.
            (500 if quick else 5000) if paced else 1400,
            env=standin.environment(),
        )
        for way in ways
        for paced in (True, False)
    }
    return interleaved(cells, 1 if quick else 5)


# --- what it comes to --------------------------------------------------------------------


def of_core(nanoseconds: float) -> float:
    """Share of one core, in percent, at 48 kHz."""
    return 100 * nanoseconds / (1e9 * FRAMES / RATE)


def share(found: Costs, held: str, voices: int, way: str) -> Spread:
    return Spread.of([of_core(value) for value in found[held, voices][way]])


def has_peer(found: Costs) -> bool:
    return all(PEER in by_way for by_way in found.values())


def ratio(found: Costs, held: str, voices: int) -> float:
    """Of CPU time, rtmixer's to ours on the same float32 device."""
    ours, theirs = (share(found, held, voices, way).median for way in (FLOAT, PEER))
    return theirs / max(ours, 1e-9)


def cost_table(found: Costs, held: str) -> Table:
    targets = {1: "0.1 %", 64: "1 %"}
    ways = [FLOAT, SHORT, *([PEER] if has_peer(found) else [])]
    rows = []
    for voices in VOICES:
        cells = [share(found, held, voices, way).text(3, "%") for way in ways]
        times = [f"{ratio(found, held, voices):.1f}"] if has_peer(found) else []
        rows.append((str(voices), *cells, *times, targets.get(voices, "")))
    times = ["rtmixer's over ours, float32"] if has_peer(found) else []
    return Table(
        ("voices", *ways, *times, "target for audiostream"),
        rows,
        f"Share of one core at {FRAMES} frames with {held} of sound per voice, median (least "
        "to most):",
    )


def tail_table(found: Tails) -> Table:
    rows = []
    for (way, paced), rounds in sorted(found.items(), key=lambda item: not item[0][1]):
        columns = zip(*(one["found"] for one in rounds), strict=True)
        beside = zip(*(one[CONTROL] for one in rounds), strict=True)
        rows.append(
            (
                way,
                "in pace" if paced else "stepped",
                *(Spread.of(column).text(1, scale=1e-3) for column in columns),
                " / ".join(f"{statistics.median(column) * 1e-3:.1f}" for column in beside),
            )
        )
    return Table(
        ("", "", "p50", "p99", "longest", "control's three"),
        rows,
        f"A callback of {TAIL_VOICES} voices and {TAIL_FRAMES} frames, microseconds on the "
        "clock, median over the rounds (least to most):",
    )


def in_pace(found: Tails, way: str, number: int) -> float:
    """Microseconds, median over the rounds: p50, p99 or longest, by `number`."""
    return statistics.median(one["found"][number] for one in found[way, True]) * 1e-3


def met(is_met: bool) -> str:
    return "met" if is_met else "not met"


def remarks(prices: Costs, single: Tails) -> list[str]:
    lines = [cost_target(prices, voices, limit) for voices, limit in ((1, 0.1), (64, 1.0))]
    for way in (FLOAT, SHORT):
        p99 = in_pace(single, way, 1)
        lines.append(
            f"Target: p99 under 15 us at {TAIL_VOICES} voices and {TAIL_FRAMES} frames. "
            f"{way}, in pace: {p99:.1f} us, {met(p99 < 15)}."
        )
    if has_peer(prices):
        lines += [peer_target(prices, voices) for voices in (64, 256)]
        lines += peer_ahead(prices, single)
    else:
        lines.append("rtmixer is not installed here.")
    short = sum(by_way["short"][0] for by_way in prices.values())
    lines.append(f"Lots of callbacks during which a voice was short of sound: {short:.0f}.")
    return lines


def cost_target(found: Costs, voices: int, limit: float) -> str:
    shares = [share(found, held, voices, way).median for held in HELD for way in (FLOAT, SHORT)]
    return (
        f"Target: at most {limit:g} % of a core for {counted(voices)}. Measured: "
        f"{min(shares):.3f} to {max(shares):.3f} %, {met(max(shares) <= limit)}."
    )


def peer_target(found: Costs, voices: int) -> str:
    times = {held: ratio(found, held, voices) for held in HELD}
    measured = ", ".join(f"{value:.1f} times with {held}" for held, value in times.items())
    return (
        f"Target: at least 5 times less CPU than rtmixer at {counted(voices)}. Measured: "
        f"{measured} of sound per voice, {met(min(times.values()) >= 5)}."
    )


def peer_ahead(prices: Costs, single: Tails) -> list[str]:
    lines = [
        f"rtmixer is ahead at {counted(voices)} with {held} of sound: it takes "
        f"{times:.2f} of the CPU."
        for held, voices in prices
        if (times := ratio(prices, held, voices)) < 1
    ]
    lines += [
        f"rtmixer's {name} is ahead in pace: {theirs:.1f} us against {ours:.1f}."
        for number, name in enumerate(("p50", "p99", "longest callback"))
        if (theirs := in_pace(single, PEER, number)) < (ours := in_pace(single, FLOAT, number))
    ]
    return lines or ["rtmixer is ahead nowhere."]


def counted(voices: int) -> str:
    return "1 voice" if voices == 1 else f"{voices} voices"


METHOD = """
Stereo at 48 kHz; {peer}. Costs: the stand-in for PortAudio calls the stream's callback back to
back, some hundred times a round, and takes the thread's CPU time before and after each call;
what the same costs with a callback that is a memset is taken off. Voices are filled beforehand,
each from an array of its own (audiostream copies it to a ring, rtmixer plays the array itself),
with as much sound as a usual ring holds (0.25 s; 6 MB for 64 voices), or with 2 s (49 MB), more
than caches hold. Single callbacks: durations on the clock, in pace (the thread sleeps in
between, and caches go cold) and stepped, with a control stream of the memset beside. {rounds},
interleaved; medians.
"""


def run(quick: bool) -> Report:
    prices, single = collect_costs(quick), collect_tails(quick)
    method = METHOD.format(
        peer=peer(PEER),
        rounds="Three rounds for costs and one for single callbacks"
        if quick
        else "Nine rounds for costs and five for single callbacks",
    )
    return Report(
        "Time inside the callback",
        " ".join(method.split()),
        [*(cost_table(prices, held) for held in HELD), tail_table(single)],
        partial(plot, prices),
        remarks(prices, single),
    )


def plot(found: Costs, figure: Any) -> None:
    axes = figure.subplots(1, len(HELD), sharey=True)
    ways = [FLOAT, SHORT, *([PEER] if has_peer(found) else [])]
    for axis, held in zip(axes, HELD, strict=True):
        for way in ways:
            spreads = [share(found, held, voices, way) for voices in VOICES]
            middles = [one.median for one in spreads]
            below = [one.median - one.least for one in spreads]
            above = [one.most - one.median for one in spreads]
            axis.errorbar(VOICES, middles, (below, above), marker="o", capsize=3, label=way)
        axis.plot([1, 64], [0.1, 1.0], "kv", label="targets: at most")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(VOICES, [str(voices) for voices in VOICES])
        axis.set_xlabel("voices")
        axis.set_title(f"{held} of sound per voice")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"% of one core at {FRAMES} frames, 48 kHz")
    axes[0].legend()
