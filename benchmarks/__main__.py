"""``python -m benchmarks [NAME ...] [--quick] [--out FOLDER]``; all of them without a name."""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

NAMES = (
    "mixer",
    "ramps",
    "missed",
    "render",
    "gapless",
    "wakeups",
    "streams",
    "tasks",
    "startup",
    "resampling",
    "sources",
    "memory",
    "kernels",
    "synth",
    "effects",
)
"""Each is a module of this package with ``run(quick: bool) -> Report``."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="short rounds, to try it out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in options.names or NAMES:
        begun = time.monotonic()
        report = importlib.import_module(f"benchmarks.{name}").run(options.quick)
        report.write(options.out, name)
        print(report.markdown())
        print(f"({name}: {time.monotonic() - begun:.0f} s, in {options.out})\n", flush=True)


if __name__ == "__main__":
    main()
