"""Gapless writes: silence between chunks that do not divide the block, beside listentome.

A signal without a zero in it is written in chunks of one size, each with ``await
write(chunk)``, and what the speaker is given is recorded: by ``file:`` for audiostream, by a
backend of its own that keeps listentome's protocol for listentome, both on a clock that asks
for a block every period.  Counted are the zero frames between the first frame of the signal
and the last; all else must be the signal, frame by frame.
"""

from __future__ import annotations

import tempfile
import threading
import time
import wave
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from benchmarks.harness import Spread, interleaved
from benchmarks.report import Report, Table, peer

RATE = 48000
CHUNKS = (100, 256, 333, 441, 1000, 4097)
BLOCKS = (256, 512)
LOOPS = ("asyncio", "trio")
OURS, QUEUED, THEIRS = "audiostream", "listentome, DuplexStream", "listentome, OutputStream"


def chunks_of(signal: np.ndarray, chunk: int) -> Iterator[bytes]:
    for start in range(0, len(signal), chunk):
        yield signal[start : start + chunk].tobytes()


async def ours(signal: np.ndarray, chunk: int, block: int) -> np.ndarray:
    """What ``file:`` was given."""
    from audiostream.aio import get_output

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "played.wav"
        async with get_output(RATE, 1, 16, block, device=f"file:{path}") as speaker:
            voice = speaker.sample()
            for data in chunks_of(signal, chunk):
                await voice.write(data)
            await voice.drain()
        with wave.open(str(path)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), np.int16)


class PacedBackend:
    """A backend for listentome: calls once a period and keeps what was played."""

    def __init__(self) -> None:
        self.played: list[bytes] = []
        self._over = threading.Event()

    def open(self, *, samplerate: int, blocksize: int, callback: Any, **options: Any) -> Any:
        self._period = blocksize / samplerate
        self._frames = blocksize
        self._callback = callback
        self._heard = memoryview(bytes(2 * blocksize)) if options["input_channels"] else None
        self._thread = threading.Thread(target=self._run)
        return self

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(due - time.monotonic(), 0)):
            block = bytearray(2 * self._frames)
            self._callback(self._heard, memoryview(block), self._frames)
            self.played.append(bytes(block))
            due += self._period

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def close(self) -> None:
        pass


async def theirs(duplex: bool, signal: np.ndarray, chunk: int, block: int) -> np.ndarray:
    """What listentome's backend was given."""
    import listentome

    backend = PacedBackend()
    kind = listentome.DuplexStream if duplex else listentome.OutputStream
    async with kind(
        samplerate=RATE, channels=1, dtype="int16", blocksize=block, backend=backend
    ) as stream:
        for data in chunks_of(signal, chunk):
            await stream.write(data)
        await stream.drain()
    return np.frombuffer(b"".join(backend.played), np.int16)


Way = Callable[[np.ndarray, int, int], Awaitable[np.ndarray]]
WAYS: dict[str, Way] = {
    OURS: ours,
    THEIRS: partial(theirs, False),
    QUEUED: partial(theirs, True),
}


def silent(loop: str, way: Way, seconds: float, chunk: int, block: int) -> int:
    """Frames of silence inside the signal.

    Raises
    ------
    ValueError
        If anything but silence was added, or any frame is missing.
    """
    signal = (np.arange(round(seconds * RATE)) % 32767 + 1).astype(np.int16)
    played = anyio.run(way, signal, chunk, block, backend=loop)
    (sounding,) = np.nonzero(played)
    if not np.array_equal(played[sounding], signal):
        raise ValueError(f"{len(sounding)} frames sound, of {len(signal)}, and not as written")
    return int(sounding[-1] - sounding[0] + 1 - len(signal))


Found = dict[int, dict[int, dict[tuple[str, str], Spread]]]
"""Block -> chunk -> (way, event loop) -> silent frames."""


def measure(blocks: tuple[int, ...], seconds: float, rounds: int) -> Found:
    found: Found = {}
    for block in blocks:
        found[block] = {}
        for chunk in CHUNKS:
            ways = {
                (name, loop): partial(silent, loop, way, seconds, chunk, block)
                for name, way in WAYS.items()
                for loop in LOOPS
            }
            found[block][chunk] = {
                key: Spread.of(values) for key, values in interleaved(ways, rounds).items()
            }
    return found


def table(found: Found, block: int, seconds: float) -> Table:
    frames = seconds * RATE
    rows = []
    for chunk, spreads in found[block].items():
        cells = [
            f"{spread.text(0)}, {100 * spread.median / frames:.1f} %" if spread.most else "0"
            for spread in spreads.values()
        ]
        rows.append([str(chunk), *cells])
    return Table(
        ["frames a chunk", *(f"{name}, {loop}" for name in WAYS for loop in LOOPS)],
        rows,
        f"**Blocks of {block} frames**: silent frames inside {frames:.0f} frames of signal, "
        "median (least to most), and their share of the signal's length.",
    )


def targets(found: Found) -> Table:
    """The worst round of all."""
    worst = {
        name: max(
            int(spread.most)
            for chunks in found.values()
            for spreads in chunks.values()
            for (way, _), spread in spreads.items()
            if way == name
        )
        for name in WAYS
    }
    met = "met" if worst[OURS] == 0 else "**missed**"
    return Table(
        ["what", "target", *WAYS],
        [
            [
                "silent frames, the worst round of all sizes and loops",
                "0",
                f"{worst[OURS]}: {met}",
                str(worst[THEIRS]),
                str(worst[QUEUED]),
            ]
        ],
        "**Measured beside target**",
    )


def remarks(found: Found) -> list[str]:
    told = []
    for block, chunks in found.items():
        for chunk, spreads in chunks.items():
            for (name, loop), spread in spreads.items():
                mine = spreads[OURS, loop]
                if name != OURS and spread.median < mine.median:
                    told.append(
                        f"Ahead of audiostream, blocks of {block}, chunks of {chunk}, {loop}: "
                        f"{name}, {spread.median:.0f} silent frames against {mine.median:.0f}."
                    )
    return [
        *told,
        "No frame was lost or changed on the way by any of them; a run in which one was would "
        "have ended this benchmark.",
        "listentome's `OutputStream.write` returns when the device has taken the chunk's last "
        "frame, and the block that it was in has been filled up with silence by then.",
        "listentome's `DuplexStream.write` only appends to a queue without a bound: no gaps, "
        "but nothing slows the writer down either, and it needs a microphone.",
    ]


def plot(found: Found, seconds: float, figure: Any) -> None:
    block, chunks = next(iter(found.items()))
    axes = figure.subplots()
    keys = [(name, loop) for name in WAYS for loop in LOOPS]
    for number, key in enumerate(keys):
        shares = [100 * s[key].median / (seconds * RATE) for s in chunks.values()]
        places = np.arange(len(chunks)) + (number - len(keys) / 2 + 0.5) * 0.13
        axes.bar(places, shares, 0.13, label=", ".join(key))
        for place, share in zip(places, shares, strict=True):
            if share == 0:
                axes.annotate("0", (place, 0), ha="center", va="bottom", fontsize="x-small")
    axes.set_xticks(range(len(chunks)), [str(chunk) for chunk in chunks])
    axes.set(
        title=f"Silence put into the signal, blocks of {block} frames",
        xlabel="frames a chunk",
        ylabel="% of the signal's length",
    )
    axes.legend()


def run(quick: bool) -> Report:
    blocks, seconds, rounds = (BLOCKS[:1], 0.25, 1) if quick else (BLOCKS, 1.0, 3)
    found = measure(blocks, seconds, rounds)
    return Report(
        title="Gapless writes",
        method=(
            f"{seconds:g} s of int16 mono at {RATE} Hz without a zero in it, written chunk by "
            "chunk with `await write(chunk)`; zero frames between its first and last frame at "
            f"the speaker; {rounds} interleaved round(s). audiostream plays to `file:`, "
            f"{peer('listentome')} to a backend that calls once a period and keeps what it is "
            "given; nothing else runs."
        ),
        tables=[targets(found), *(table(found, block, seconds) for block in blocks)],
        plot=partial(plot, found, seconds),
        remarks=remarks(found),
    )
