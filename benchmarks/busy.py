"""Late callbacks while Python is busy: the compiled callback beside a Python one.

Both fill the same voices on the same virtual device, whose clock calls them every 256
frames at 48 kHz.  A callback is late when more time has passed since the one before than
its block and the device's latency cover: the sound has a hole.  Rounds are interleaved, so
that whatever else the machine does hits both.
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


def spin(stop: threading.Event) -> None:
    """A busy pure-Python thread."""
    count = 0
    while not stop.is_set():
        for _ in range(1000):
            count += 1


def late(path: str, threads: int, seconds: float) -> tuple[int, int]:
    """Late callbacks, and callbacks due."""
    os.environ["AUDIOSTREAM_CALLBACK"] = path
    stop = threading.Event()
    workers = [threading.Thread(target=spin, args=(stop,)) for _ in range(threads)]
    with aio.get_output(RATE, 2, buffersize=FRAMES, device="null") as speaker:
        voices = [speaker.sample(buffer=seconds + 2) for _ in range(8)]
        for voice in voices:
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


def main(rounds: int = 5, seconds: float = 4.0) -> None:
    """Print a Markdown table."""
    print(f"Late callbacks of those due, {FRAMES} frames at {RATE} Hz, 8 voices:")
    print(f"median (least to most) of {rounds} rounds of {seconds:g} s.\n")
    print("| busy Python threads | compiled callback | Python callback |")
    print("|---|---|---|")
    for threads in (0, 1, 2):
        shares: dict[str, list[float]] = {"native": [], "python": []}
        for _ in range(rounds):
            for path, values in shares.items():
                missed, due = late(path, threads, seconds)
                values.append(100 * missed / due)
        cells = [
            f"{statistics.median(v):.1f} % ({min(v):.1f} to {max(v):.1f})"
            for v in shares.values()
        ]
        print(f"| {threads} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
