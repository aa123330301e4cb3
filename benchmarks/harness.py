"""What all benchmarks share: fair rounds, processes of their own, spreads.

Ways of doing the same thing are measured one after the other in every round, so that
whatever else the machine does hits all of them alike; what is told is the median over the
rounds with the least and the most.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Spread:
    """Median, least and most of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1, unit: str = "", scale: float = 1.0) -> str:
        """For a table's cell: ``median (least to most) unit``."""
        median, least, most = (
            f"{v * scale:.{digits}f}" for v in (self.median, self.least, self.most)
        )
        return f"{median} ({least} to {most})" + (f" {unit}" if unit else "")


def interleaved(ways: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[Any]]:
    """Call every way once a round; the results of each, in order.

    Every other round goes backwards, so that no way always runs right after the same one.
    """
    found: dict[Any, list[Any]] = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in order:
            found[name].append(ways[name]())
    return found


def spreads(ways: Mapping[Any, Callable[[], float]], rounds: int) -> dict[Any, Spread]:
    """:func:`interleaved`, each way's results as a spread."""
    return {name: Spread.of(values) for name, values in interleaved(ways, rounds).items()}


def in_process(target: str, *args: Any, env: Mapping[str, str] | None = None) -> Any:
    """Call ``module:function`` of this package with JSON arguments in a fresh interpreter.

    Parameters
    ----------
    env
        Set on top of this process's environment (LD_LIBRARY_PATH, for one, is only read
        at the start of a process).

    Raises
    ------
    RuntimeError
        With what the process wrote on stderr, if it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.harness", target, json.dumps(args)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{target}{args} failed ({done.returncode}):\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def spin(stop: threading.Event) -> None:
    """A busy pure-Python thread."""
    count = 0
    while not stop.is_set():
        for _ in range(1000):
            count += 1


def hold(stop: threading.Event, seconds: float = 0.05) -> None:
    """A thread that keeps the interpreter lock for 50 ms at a time, as a C extension that
    does not give it up does, with 50 ms between."""
    import ctypes

    usleep = ctypes.PyDLL(None).usleep  # PyDLL: the lock is held during the call
    while not stop.is_set():
        usleep(int(seconds * 1e6))
        time.sleep(seconds)


LOADS: dict[str, tuple[Callable[[threading.Event], None], ...]] = {
    "idle": (),
    "busy thread": (spin,),
    "50 ms holds": (hold,),
}
"""What else Python does meanwhile."""


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """One of LOADS in the background."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop,), daemon=True) for work in LOADS[name]]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def cpu_seconds() -> float:
    """CPU time of this process so far, all its threads."""
    return time.process_time()


def main() -> None:
    target, arguments = sys.argv[1:]
    module, _, function = target.partition(":")
    result = getattr(importlib.import_module(module), function)(*json.loads(arguments))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
