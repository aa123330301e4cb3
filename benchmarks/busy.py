"""Late callbacks while Python is busy: the compiled callback beside a Python one.

Both fill the same voices on the same virtual device, whose clock calls them every 256
frames at 48 kHz.  A callback is late when more time has passed since the one before than
its block and the device's latency cover: the sound has a hole.  The control is the compiled
callback with nothing to do: what it misses, the machine misses.  Rounds are interleaved, so
that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import os
import statistics
import threading
import time

import numpy as np

from audiostream import aio

FRAMES = 256
RATE = 48000
VOICES = 8


def spin(stop: threading.Event) -> None:
    """A busy pure-Python thread."""
    count = 0
    while not stop.is_set():
        for _ in range(1000):
            count += 1


def late(path: str, voices: int, threads: int, seconds: float) -> tuple[int, int]:
    """Late callbacks, and callbacks due."""
    os.environ["AUDIOSTREAM_CALLBACK"] = path
    stop = threading.Event()
    workers = [threading.Thread(target=spin, args=(stop,)) for _ in range(threads)]
    with aio.get_output(RATE, 2, buffersize=FRAMES, device="null") as speaker:
        for _ in range(voices):
            voice = speaker.sample(buffer=seconds + 2)
            voice.write_nowait(np.zeros((int((seconds + 1) * RATE), 2), np.float32))
        for worker in workers:
            worker.start()
        before = speaker.stats
        time.sleep(seconds)
        after = speaker.stats
        stop.set()
        for worker in workers:
            worker.join()
    del os.environ["AUDIOSTREAM_CALLBACK"]
    return after.late - before.late, int(seconds * RATE / FRAMES)


WAYS = {"control": ("native", 0), "compiled": ("native", VOICES), "Python": ("python", VOICES)}
"""Column -> callback path, voices."""


def main(rounds: int = 5, seconds: float = 3.0) -> None:
    """Print a Markdown table."""
    print(f"Late callbacks of those due, {FRAMES} frames at {RATE} Hz, {VOICES} voices:")
    print(f"median (least to most) of {rounds} rounds of {seconds:g} s.\n")
    print(f"| busy Python threads | {' | '.join(WAYS)} |")
    print("|---" * (1 + len(WAYS)) + "|")
    for threads in (0, 1, 2):
        shares: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, (path, voices) in WAYS.items():
                missed, due = late(path, voices, threads, seconds)
                shares[way].append(100 * missed / due)
        cells = [
            f"{statistics.median(v):.1f} % ({min(v):.1f} to {max(v):.1f})"
            for v in shares.values()
        ]
        print(f"| {threads} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
