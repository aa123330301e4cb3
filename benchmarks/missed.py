"""Periods missed: blocks that a library did not deliver before the device needed them.

Every library plays through the stand-in for PortAudio, beside a control stream whose
callback does next to nothing and which suffers from the machine alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import standin
from benchmarks.harness import LOADS, in_process, interleaved, load
from benchmarks.report import Report, Table, peer
from benchmarks.standin.players import CHANNELS, LEVEL, NATIVE, PYTHON, RATE, WAYS, Play

FRAMES = (64, 128, 256)
TARGETS = (64, 128)
"""Block sizes at which the native path is to miss no more than the control."""

Cell = tuple[str, int, str]
"""Way, frames of a block, load."""


# --- one cell, in a process of its own ----------------------------------------------


def play_beside(
    play: Play, frames: int, load_name: str, periods: int, rounds: Sequence[int] = (0,)
) -> tuple[standin.Counts, list[standin.Counts], np.ndarray]:
    """Play for so many periods beside controls.

    Parameters
    ----------
    rounds
        For each control, how many rounds of an empty loop its callback makes.

    Returns
    -------
    counts, counts of each control, array
        What was played is of shape (blocks, frames * CHANNELS); of a missed period it is
        silence.
    """
    device = standin.Standin()
    seconds = periods * frames / RATE + 10
    with contextlib.ExitStack() as stack:
        tend = stack.enter_context(play(frames, seconds))
        measured = standin.Standin().newest()
        controls = [
            stack.enter_context(device.control(frames, CHANNELS, RATE, rounds=one))
            for one in rounds
        ]
        tend()
        stack.enter_context(load(load_name))
        time.sleep(0.2)
        measured.reset(periods, periods * frames * CHANNELS * 4)
        for control in controls:
            control.reset(periods)
        while not all(stream.wait(0.25) for stream in (measured, *controls)):
            tend()
        found, beside = measured.counts(), [control.counts() for control in controls]
        blocks = measured.recording(CHANNELS)
    whole = blocks[: len(blocks) // frames * frames].reshape(-1, frames * CHANNELS)
    return found, beside, whole


def measure(way: str, frames: int, load_name: str, periods: int) -> dict[str, int]:
    """Play for so many periods and tell what became of them, and of the control's."""
    found, (beside,), blocks = play_beside(WAYS[way].play, frames, load_name, periods)
    # Of a missed period silence is recorded; the other blocks must be full.
    short = int((blocks.min(axis=1) < 0.99 * LEVEL).sum())
    return told(found, beside, short)


def told(found: standin.Counts, beside: standin.Counts, short: int) -> dict[str, int]:
    """Both counts as numbers by name; `short`: the blocks that lack sound."""
    return {
        "judged": found.judged,
        "missed": found.missed,
        "gaps": found.gaps,
        "overslept": found.overslept,
        "aside": found.aside,
        "late_sound": max(short - found.missed, 0),
        "longest": found.longest,
        "control_judged": beside.judged,
        "control_missed": beside.missed,
        "control_gaps": beside.gaps,
        "control_overslept": beside.overslept,
    }


# --- all cells -----------------------------------------------------------------------


def periods_per_round(way: str, frames: int, load_name: str, quick: bool) -> int:
    """The native path is held to a rate of 1 in 100,000; what misses more needs less."""
    if quick:
        return 200
    if way != NATIVE:
        return 500
    if frames not in TARGETS:
        return 5000
    return 10_000 if load_name == "idle" else 52_000


def collect(quick: bool) -> dict[Cell, Counter[str]]:
    """The sums over all rounds; of ``longest`` the most."""
    env = standin.environment()
    rounds = 1 if quick else 2
    cells = {
        (name, frames, load_name): partial(
            in_process,
            "benchmarks.missed:measure",
            name,
            frames,
            load_name,
            periods_per_round(name, frames, load_name, quick),
            env={**env, **way.env},
        )
        for frames in FRAMES
        for load_name in LOADS
        for name, way in WAYS.items()
        if way.is_there
    }
    return {cell: total(found) for cell, found in interleaved(cells, rounds).items()}


def total(rounds: Iterable[Mapping[str, int]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    longest = 0
    for found in rounds:
        sums.update(found)
        longest = max(longest, found["longest"])
    sums["longest"] = longest
    return sums


# --- what it comes to ----------------------------------------------------------------


def share(found: Mapping[str, int], what: str = "missed", of: str = "judged") -> float:
    return found[what] / max(found[of], 1)


def percent(value: float) -> str:
    """Two digits that mean something."""
    if value == 0:
        return "0"
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def cell_text(found: Mapping[str, int]) -> str:
    text = f"{percent(share(found))} ({found['missed']:,} of {found['judged']:,}"
    return f"{text}; control {percent(share(found, 'control_missed', 'control_judged'))})"


def ways_of(found: Mapping[Cell, Any]) -> list[str]:
    return list(dict.fromkeys(way for way, _, _ in found))


def missed_table(found: Mapping[Cell, Counter[str]], frames: int) -> Table:
    return Table(
        ("", *LOADS),
        [
            (way, *(cell_text(found[way, frames, name]) for name in LOADS))
            for way in ways_of(found)
        ],
        f"Periods missed at {frames} frames ({1000 * frames / RATE:.2f} ms):",
    )


def late_sound_table(found: Mapping[Cell, Counter[str]]) -> Table:
    return Table(
        ("", *(f"{frames}, {name}" for frames in FRAMES for name in LOADS)),
        [
            (
                way,
                *(
                    percent(share(found[way, frames, name], "late_sound"))
                    for frames in FRAMES
                    for name in LOADS
                ),
            )
            for way in ways_of(found)
        ],
        "Blocks that came in time, but with some or all of their sound missing, because it had "
        "not reached the callback:",
    )


def native_table(found: Mapping[Cell, Counter[str]]) -> Table:
    rows = []
    for frames in FRAMES:
        for name in LOADS:
            one = found[NATIVE, frames, name]
            rows.append(
                (
                    f"{frames}, {name}",
                    f"{one['judged']:,}",
                    f"{one['missed']:,} in {one['gaps']:,}",
                    f"{one['control_missed']:,} in {one['control_gaps']:,}",
                    f"{one['overslept']:,}",
                    f"{one['aside']:,}",
                    f"{one['control_overslept']:,}",
                    f"{one['longest'] / 1e6:.2f} ms",
                )
            )
    return Table(
        (
            "",
            "periods",
            "missed, in gaps",
            "control's",
            "overslept",
            "of these put aside",
            "control's overslept",
            "longest callback",
        ),
        rows,
        f"{NATIVE} and its control, in numbers:",
    )


def remarks(found: Mapping[Cell, Counter[str]]) -> list[str]:
    return [target(found), *ahead(found), *absent(found)]


def target(found: Mapping[Cell, Counter[str]]) -> str:
    cells = [
        found[NATIVE, frames, name] for frames in TARGETS for name in LOADS if name != "idle"
    ]
    all_cells: Counter[str] = Counter()
    for cell in cells:
        all_cells.update(cell)
    beyond = all_cells["missed"] - all_cells["control_missed"]
    least = min(cell["judged"] for cell in cells)
    verdict = f"{beyond} more than the control" if beyond > 0 else "no more than the control"
    return (
        "Target: of 100,000 periods at 64 and at 128 frames, under either load, none is missed "
        f"beyond the control's. Measured: {all_cells['missed']} of {all_cells['judged']:,} (at "
        f"least {least:,} per block size and load) against the control's "
        f"{all_cells['control_missed']} of {all_cells['control_judged']:,}: {verdict}. "
        f"{in_all(all_cells, {'of the control': 'control_'})}"
    )


def in_all(found: Mapping[str, int], others: Mapping[str, str]) -> str:
    """Sums of what was late for any reason, which is what one hears.

    `others`: names, and what their counts' names begin with.
    """

    def sums(prefix: str) -> tuple[int, int]:
        late = found[f"{prefix}missed"] + found[f"{prefix}overslept"]
        return late, found[f"{prefix}judged"] + found[f"{prefix}overslept"]

    late, periods = sums("")
    text = f"Late for any reason, the machine's included, were {late:,} of {periods:,}"
    for name, prefix in others.items():
        theirs, of = sums(prefix)
        text += f"; {name}, {theirs:,} of {of:,} (chance: {math.sqrt(late + theirs):.0f} or so)"
    return f"{text}."


def ahead(found: Mapping[Cell, Counter[str]]) -> list[str]:
    """Where a peer has missed a smaller share than the native path."""
    lines = []
    for way in ways_of(found):
        if way in (NATIVE, PYTHON):
            continue
        better = [
            f"{frames} frames, {name}: {percent(share(theirs))} against {percent(share(ours))}"
            for frames in FRAMES
            for name in LOADS
            if share(theirs := found[way, frames, name])
            < share(ours := found[NATIVE, frames, name])
        ]
        if better:
            lines.append(f"{way} misses less than {NATIVE} at " + "; ".join(better) + ".")
    return lines or [f"No peer misses a smaller share than {NATIVE} anywhere."]


def absent(found: Mapping[Cell, Any]) -> list[str]:
    return [f"{way} is not installed here." for way in WAYS if way not in ways_of(found)]


# --- the report ----------------------------------------------------------------------

METHOD = """\
Stereo float32 at 48 kHz, played through a stand-in for PortAudio with the buffer of a sound
card that has two periods: a block is asked for when a period begins and must be there when
the next one begins, or it is missed. {peers}. Where the library mixes, eight voices are
mixed; the others' callbacks hand out the same block each time, the least that a user can do.
listentome's coroutine awaits `write()` with one block at a time, and once more with 100 ms at a
time. Meanwhile the process is otherwise idle, or has a busy Python thread, or a thread that
holds the interpreter lock for 50 ms of every 100. Beside each measured stream, in the same
process and for the same number of periods, a control stream runs whose callback is a memset
in C: what it misses is the machine's doing. Periods that the kernel let the stand-in's own
thread sleep through are left out, and so are those that were late only
because the machine paused the thread during a callback that waited for nothing
(benchmarks/standin/portaudio.c defines each count). {rounds}, each cell in a process of its
own, interleaved."""


def run(quick: bool) -> Report:
    found = collect(quick)
    packages = dict.fromkeys(way.package for way in WAYS.values() if way.is_there)
    names = {"pyaudio": "PyAudio"}
    method = METHOD.format(
        peers=", ".join(peer(names.get(package, package)) for package in packages),
        rounds="One short round" if quick else "Two rounds",
    )
    return Report(
        "Periods missed",
        " ".join(method.split()),
        [
            *(missed_table(found, frames) for frames in FRAMES),
            native_table(found),
            late_sound_table(found),
        ],
        partial(plot, found),
        remarks(found),
    )


def plot(found: Mapping[Cell, Counter[str]], figure: Any) -> None:
    """Shares on a scale of decades; what missed nothing is a stub on the floor."""
    floor = 1e-6
    ways = ways_of(found)
    axes = figure.subplots(1, len(LOADS), sharey=True)
    width = 0.8 / (len(ways) + 1)
    for axis, name in zip(axes, LOADS, strict=True):
        for number, way in enumerate([*ways, "control"]):
            if way == "control":
                shares = [
                    share(
                        total(found[other, frames, name] for other in ways),
                        "control_missed",
                        "control_judged",
                    )
                    for frames in FRAMES
                ]
            else:
                shares = [share(found[way, frames, name]) for frames in FRAMES]
            places = [place + (number - len(ways) / 2) * width for place in range(len(FRAMES))]
            heights = [max(value, 1.3 * floor) for value in shares]
            color = "0.6" if way == "control" else f"C{number}"
            axis.bar(places, heights, width, label=way, color=color)
        axis.set_yscale("log")
        axis.set_ylim(floor, 1)
        axis.set_xticks(range(len(FRAMES)), [str(frames) for frames in FRAMES])
        axis.set_xlabel("frames of a block")
        axis.set_title(name)
    axes[0].set_ylabel("share of periods missed")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
