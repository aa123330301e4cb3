"""How long a start takes: the import, the first sound, the very first start of all.

Every figure is of a fresh interpreter, timed by the process that starts it, from before the
start.  CLOCK_MONOTONIC is one clock for the whole system, so that a child's marks are on
its parent's time line.

* import: ``python -c "import audiostream"`` to the process's end, less ``python -c pass`` in
  the same round; peers' imports beside it;
* first sound: until the audio thread has read the first written sample (null device);
* first start ever: the same with an empty folder for the machine code, so that all is
  compiled, and said so on stderr;
* three kernels: the warm cache, and a program that has three effects of its user's; its second
  start and those after it, which must not import numba;
* nowhere to write: the same with no place for it.  Root can write to any folder, so this one
  lies below a regular file.

Byte code is kept where each kind of start finds it again, as after an installation by pip.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Spread, interleaved
from benchmarks.instruments import Target, target_table
from benchmarks.report import Report, Table, peer

BARE, OURS = "pass", "import audiostream"
LAYERS = "from audiostream import get_output"
IMPORTS = (BARE, OURS, LAYERS, "import numpy", "import sounddevice", "import pyaudio")
PEERS = {"import sounddevice": "sounddevice", "import pyaudio": "PyAudio"}

FIRST_SOUND = """
import time
marks = [time.monotonic()]
mark = lambda: marks.append(time.monotonic())
import numpy
mark()
from audiostream import AudioSample, get_output
mark()
from audiostream.engine.stream import load_kernels
load_kernels()
mark()
speaker = get_output(48000, 2, buffersize=256, device="null")
mark()
sample = AudioSample()
speaker.add_sample(sample)
sample.write(bytes(4 * 1024))
sample.play()
while not sample._voice.strip.has("read", 1):
    time.sleep(0.0002)
mark()
import json, sys
print(json.dumps([marks, "numba" in sys.modules]))
"""
"""Prints when each stage was over, and whether numba was imported."""

USERS_KERNELS = """
import math
from audiostream import kernel

@kernel
def drive(block, amount=2.0):
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] = math.tanh(amount[i] * block[i, c])

@kernel(state={"phase": "f8"})
def tremolo(block, state, frequency=5.0, depth=0.5, *, rate):
    for i in range(block.shape[0]):
        level = 1.0 - depth[i] * (0.5 + 0.5 * math.sin(2.0 * math.pi * state.phase))
        for c in range(block.shape[1]):
            block[i, c] *= level
        state.phase = (state.phase + frequency[i] / rate) % 1.0

@kernel(state={"now": "i8"}, buffers={"line": lambda rate, channels: (rate // 4, channels)})
def echo(block, state, line, feedback=0.4):
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            wet = line[state.now, c]
            line[state.now, c] = block[i, c] + feedback[i] * wet
            block[i, c] += wet
        state.now = (state.now + 1) % line.shape[0]
"""

BEFORE_EFFECTS = "sample = AudioSample()\n"
WITH_KERNELS = FIRST_SOUND.replace(
    BEFORE_EFFECTS,
    f"{BEFORE_EFFECTS}from users_kernels import drive, echo, tremolo\n"
    "sample.effects = [drive(), tremolo(), echo()]\n",
)
STAGES = (
    "interpreter",
    "import numpy",
    "import audiostream's API, anyio",
    "kernels",
    "open and start",
    "first sample in a callback",
)
COMPILES = "compiling the audio kernels"
"""What a start that has to says on stderr first."""

WARM, FIRST, NOWHERE = "warm cache", "first start ever", "nowhere to write"
KERNELS = "warm cache, three kernels"
MOST = {WARM: 0.25, FIRST: 10.0}
"""The targets: seconds to the first sound."""

MOST_FOR_KERNELS = 50.0
"""The target: milliseconds by which they may lengthen a second start."""


def environment(**more: str | None) -> dict[str, str]:
    """This process's, with byte code kept; None takes a variable away."""
    changed = {**os.environ, "PYTHONDONTWRITEBYTECODE": None, "AUDIOSTREAM_CACHE": None, **more}
    return {name: value for name, value in changed.items() if value is not None}


def python(code: str, env: Mapping[str, str], said: str = "") -> tuple[float, str]:
    """Run a program; when it was started, and what it printed.  `said` is its stderr.

    Raises
    ------
    RuntimeError
        If it failed, or complained.
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode or not done.stderr.startswith(said) or (done.stderr and not said):
        raise RuntimeError(f"{code!r} failed ({done.returncode}):\n{done.stderr[-4000:]}")
    return began, done.stdout


def python_path() -> list[str]:
    """The folders of this process's PYTHONPATH."""
    return [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]


def whole(code: str, env: Mapping[str, str]) -> float:
    """Seconds from an interpreter's start to its end."""
    began, _ = python(code, env)
    return time.monotonic() - began


def stages(env: Mapping[str, str], said: str = "", program: str = FIRST_SOUND) -> list[float]:
    """Seconds that each of STAGES took.

    Raises
    ------
    RuntimeError
        If nothing had to be compiled and numba was imported all the same.
    """
    began, printed = python(program, env, said)
    times, imported_numba = json.loads(printed)
    if imported_numba and not said:
        raise RuntimeError("a start with all machine code in the cache has imported numba")
    marks = [began, *times]
    return [after - before for before, after in itertools.pairwise(marks)]


def first_ever(folder: Path) -> list[float]:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        return stages(environment(AUDIOSTREAM_CACHE=cache), COMPILES)


def run(quick: bool) -> Report:
    rounds = {"imports": 15, WARM: 9, FIRST: 3, NOWHERE: 1, KERNELS: 9}
    if not quick:
        rounds = {"imports": 25, WARM: 25, FIRST: 9, NOWHERE: 5, KERNELS: 25}
    env = environment()
    starts: dict[str, list[list[float]]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for code in IMPORTS:
            whole(code, env)  # byte code, and the disk's cache
        imports = interleaved(
            {code: lambda code=code: whole(code, env) for code in IMPORTS}, rounds["imports"]
        )
        cached = environment(AUDIOSTREAM_CACHE=str(folder / "cache"))
        stages(cached, COMPILES)  # fills it, and keeps numba's byte code
        (folder / "users_kernels.py").write_text(USERS_KERNELS)
        users = {**cached, "PYTHONPATH": os.pathsep.join((str(folder), *python_path()))}
        python(WITH_KERNELS, users)  # compiles the kernels
        wall = folder / "file"
        wall.touch()
        blocked = environment(AUDIOSTREAM_CACHE=str(wall / "cache"))
        # These two are compared: no start that compiles comes between them.
        second = {
            WARM: lambda: stages(cached),
            KERNELS: lambda: stages(users, program=WITH_KERNELS),
        }
        starts = {WARM: [], FIRST: [], NOWHERE: [], **interleaved(second, rounds[WARM])}
        ways = {
            FIRST: lambda: first_ever(folder),
            NOWHERE: lambda: stages(blocked, COMPILES),
        }
        for _ in range(rounds[FIRST]):
            for way, start in ways.items():
                if len(starts[way]) < rounds[way]:
                    starts[way].append(start())
    return report(imports, starts, rounds)


def report(
    imports: dict[str, list[float]], starts: dict[str, list[list[float]]], rounds: Any
) -> Report:
    over = {
        code: Spread.of([one - bare for one, bare in zip(took, imports[BARE], strict=True)])
        for code, took in imports.items()
        if code != BARE
    }
    totals = {way: Spread.of([sum(one) for one in found]) for way, found in starts.items()}
    longer = Spread.of(
        [
            1000 * (sum(with_kernels) - sum(without))
            for with_kernels, without in zip(starts[KERNELS], starts[WARM], strict=True)
        ]
    )
    parts = {
        way: [Spread.of(stage) for stage in zip(*found, strict=True)]
        for way, found in starts.items()
    }
    import_rows = [
        (f"`{code}`" + (f" ({peer(PEERS[code])})" if code in PEERS else ""),
         Spread.of(imports[code]).text(1, "ms", 1000),
         over[code].text(1, "ms", 1000) if code in over else "")
        for code in IMPORTS
    ]  # fmt: skip
    start_rows = [
        ("**first sound after**", *(f"**{total.text(2, 's')}**" for total in totals.values())),
        *(
            (stage, *(parts[way][place].text(0, "ms", 1000) for way in parts))
            for place, stage in enumerate(STAGES)
        ),
        ("starts measured", *(str(rounds[way]) for way in parts)),
    ]
    remarks = [
        f"**Ahead of ours**: {peer(PEERS[code])} is imported in "
        f"{over[code].median * 1000:.1f} ms, `{own}` in {over[own].median * 1000:.1f}."
        for code, own in itertools.product(PEERS, (OURS, LAYERS))
        if over[code].median < over[own].median
    ]
    remarks += [
        "`import audiostream` loads neither numpy nor numba nor a device layer; that is paid "
        "when the first stream opens, and is in the first sound. The peers load their native "
        "library at import.",
        f"Three kernels of the user's lengthen a second start by {longer.text(0, 'ms')}; no "
        "start with a warm cache imported numba.",
        "With nowhere to write, all starts ended well; they said on stderr that they compile, "
        "and no more.",
    ]

    def plot(figure: Any) -> None:
        axes = figure.subplots()
        for place, way in enumerate(parts):
            start = 0.0
            for stage, part in enumerate(parts[way]):
                label = STAGES[stage] if place == 0 else None
                axes.barh(place, part.median, left=start, color=f"C{stage}", label=label)
                start += part.median
        axes.plot((MOST[WARM],) * 2, (-0.45, 0.45), "k--", lw=1, label="target")
        axes.plot((MOST[FIRST],) * 2, (0.55, 1.45), "k--", lw=1)
        axes.set_yticks(range(len(parts)), list(parts))
        axes.invert_yaxis()
        axes.set_xlabel("seconds from the interpreter's start to the first sound")
        axes.legend(fontsize=7)

    return Report(
        "Starting",
        "Fresh interpreters, timed from outside, from before their start; kinds interleaved; "
        f"median (least to most) of {rounds['imports']} starts for imports and of as many as "
        "the table says for the first sound, which is when the audio thread of the null device "
        "(48 kHz, 256 frames) has read the first sample that the blocking API wrote.",
        [
            Table(("program", "takes", "over bare Python"), import_rows),
            Table(("", *parts), start_rows),
            target_table(
                [
                    Target("first sound, warm cache", MOST[WARM], totals[WARM].median, "s", 2),
                    Target("first start ever", MOST[FIRST], totals[FIRST].median, "s", 2),
                    Target(
                        "a second start with three kernels, over one without",
                        MOST_FOR_KERNELS,
                        longer.median,
                        "ms",
                    ),
                ]
            ),
        ],
        plot,
        remarks,
    )
