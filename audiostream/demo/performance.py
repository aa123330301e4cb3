"""Records the microphone and plays it back with the melody; event loop."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import anyio
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from audiostream import aio
from audiostream.demo.melody import (
    BLOCK,
    FLOOR,
    INTRO,
    MICROPHONE_RATE,
    RATE,
    Part,
    decibels,
    melody,
    speech_part,
)

__all__ = ("Counts", "Performance", "perform", "say")

BUFFER = 320
"""Frames of a chunk from the microphone: 20 ms."""

AHEAD = 1.0
"""Seconds that may be written ahead of what is heard: the demo needs no short latency."""


@dataclass(frozen=True)
class Counts:
    """What a stream counted; ``device`` is its name for people."""

    stream: str
    device: str
    rate: int
    stats: aio.Stats
    dropped: int | None = None


@dataclass
class Performance:
    """What happened, and where in the file the recording is heard.

    Attributes
    ----------
    speech : (float, float)
        Seconds in the file at which the recording begins and ends.
    waits : list of float
        Wake-up latency, in seconds, of each chunk that had to be waited for: from the
        start of the callback that completed it to its arrival in the ``async for``.
    """

    output: Path
    microphone: str = ""
    speaker: str = ""
    speech: tuple[float, float] = (0.0, 0.0)
    counts: list[Counts] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


def say(console: Console, text: str) -> None:
    """Print a line as it is, paths in one piece."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def stands_in(error: aio.DeviceError, name: str | int, variable: str) -> str:
    """Why a virtual device is used; raises the error again if a certain one was asked for."""
    if name != "default" or os.environ.get(variable):
        raise error
    return "" if isinstance(error, aio.NoDeviceError) else f" ({error})"


async def open_speaker(
    console: Console, name: str | int, file: str
) -> tuple[aio.AudioOutput | None, str]:
    """Open the speaker; None if the file that everything is rendered to has to do."""
    if name == file:
        return None, file
    try:
        speaker = await aio.get_output(rate=RATE, channels=2, device=name).open()
    except aio.DeviceError as error:
        why = stands_in(error, name, "AUDIOSTREAM_OUTPUT")
        say(console, f"No speaker here{why}: a virtual one renders to the file.")
        return None, "virtual, renders to the file"
    return speaker, str(name)


async def open_microphone(
    console: Console, name: str | int, recording: Path
) -> tuple[aio.AudioInput, str]:
    """Open the microphone, or a recording of speech where there is none."""

    def microphone(source: str | int) -> aio.AudioInput:
        return aio.get_input(source=source, rate=MICROPHONE_RATE, channels=1, buffersize=BUFFER)

    try:
        return await microphone(name).open(), str(name)
    except aio.DeviceError as error:
        why = stands_in(error, name, "AUDIOSTREAM_INPUT")
    say(console, f"No microphone here{why}: a virtual one plays a recording of speech.")
    return await microphone(f"file:{recording}").open(), "virtual, plays a recording"


@asynccontextmanager
async def meter(
    console: Console, levels: Callable[[], dict[str, float]]
) -> AsyncIterator[None]:
    """Show levels (decibels, by name) on a terminal, twenty times a second."""

    async def show() -> None:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                bars = Table.grid(padding=(0, 1))
                for name, level in levels().items():
                    bar = ProgressBar(total=-FLOOR, completed=level - FLOOR, width=48)
                    bars.add_row(f"{name:>10}", bar, f"{level:5.0f} dB")
                live.update(bars, refresh=True)
                await anyio.sleep(BLOCK)

    async with anyio.create_task_group() as group:
        if console.is_terminal:
            group.start_soon(show)
        yield
        group.cancel_scope.cancel()


async def record(
    console: Console, mic: aio.AudioInput, seconds: float
) -> tuple[list[bytes], list[float]]:
    """Record; returns the chunks, and the wake-up latencies of those that were waited for."""
    chunks: list[bytes] = []
    waits: list[float] = []
    frames = 0
    wanted = round(seconds * MICROPHONE_RATE)

    def level() -> dict[str, float]:
        latest = np.frombuffer(b"".join(chunks[-2:]), np.int16) / 32768
        return {"microphone": decibels(latest)}

    async with meter(console, level):
        seen = mic.stats.callbacks
        async for chunk in mic:
            chunks.append(chunk)
            frames += len(chunk) // 2
            # Without a callback since the last chunk, this one was there already.
            if mic.stats.callbacks > seen:
                waits.append(since_complete(mic, frames))
            if frames >= wanted:
                break
            seen = mic.stats.callbacks
    return chunks, waits


def since_complete(mic: aio.AudioInput, frames: int) -> float:
    """Seconds since the start of the callback that brought a microphone's frames up to this.

    The stream's heartbeat is the time (CLOCK_MONOTONIC, in nanoseconds) at which its latest
    callback started.  The frames that came in beyond `frames` say how many blocks earlier the
    callback was.  Where the rate is converted that is not known, since the converter holds some
    frames back, and the latest callback is taken.
    """
    heartbeat = mic.engine.word("heartbeat")
    since = time.monotonic_ns() - heartbeat
    blocks = 0
    if mic.device_rate == mic.rate:
        blocks = (mic.stats.frames - mic.dropped - frames) // mic.engine.period
    return since * 1e-9 + blocks * mic.engine.period / mic.device_rate


async def play(voice: aio.AudioSample, part: Part) -> None:
    """Play a part to its end: one of the tasks, of which each voice has its own."""
    frames = round(BLOCK * part.rate)
    for start in range(0, len(part.audio), frames):
        await voice.write(part.audio[start : start + frames])
    await voice.drain()


async def play_all(
    console: Console, speakers: Sequence[aio.AudioOutput], parts: Sequence[Part]
) -> None:
    """Play all parts at once on each speaker; the meter shows the first one's voices."""
    voices = [
        (speaker.sample(rate=part.rate, channels=part.channels, buffer=AHEAD), part)
        for speaker in speakers
        for part in parts
    ]

    def levels() -> dict[str, float]:
        return {part.name: part.level(voice.position) for voice, part in voices[: len(parts)]}

    async with meter(console, levels), anyio.create_task_group() as group:
        for voice, part in voices:
            voice.gain = part.gain
            group.start_soon(play, voice, part)


async def perform(
    console: Console, seconds: float, device: str | int, source: str | int, output: Path
) -> Performance:
    """Record and play.

    Parameters
    ----------
    seconds : float
        How long to record.
    device, source : str or int
        Where to play and what to record, by the names of :mod:`audiostream.aio`.
    output : Path
        The WAV file of what is played: a second output beside the speaker, or the
        speaker itself where there is none.

    Raises
    ------
    NoDeviceError, DeviceError
        If a device that was asked for by name is not there or fails.
    """
    done = Performance(output)
    file = f"file:{output}"
    async with AsyncExitStack() as stack:
        recording = stack.enter_context(
            resources.as_file(resources.files("audiostream") / "data" / "speech.wav")
        )
        with console.status("Opening (the very first time compiles for about 20 seconds)"):
            speaker, done.speaker = await open_speaker(console, device, file)
            speakers = [speaker] if speaker else []
            for each in speakers:
                await stack.enter_async_context(aclosing(each))
            mic, done.microphone = await open_microphone(console, source, recording)

        async with aclosing(mic):
            say(console, f"Recording {seconds:g} s from the microphone: {done.microphone}")
            chunks, done.waits = await record(console, mic, seconds)
            done.counts.append(
                Counts("microphone", done.microphone, mic.device_rate, mic.stats, mic.dropped)
            )

        speech = speech_part(chunks)
        if speech.seconds - INTRO < seconds - BLOCK:
            say(console, "The microphone's sound ended before that.")
        parts = [speech, *melody(speech.seconds)]
        rendered = await stack.enter_async_context(
            aclosing(await aio.get_output(rate=RATE, channels=2, device=file).open())
        )
        speakers.append(rendered)
        say(console, f"Playing {parts[-1].seconds:.1f} s to the speaker: {done.speaker}")
        begin = rendered.stats.frames / rendered.device_rate
        done.speech = (begin + INTRO, begin + speech.seconds)
        await play_all(console, speakers, parts)
        for each, name in zip(speakers, ("speaker", "file"), strict=False):
            shown = done.speaker if each is speakers[0] else "what is played"
            done.counts.append(Counts(name, shown, each.device_rate, each.stats))
    return done
