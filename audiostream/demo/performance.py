"""The demo: a microphone's recording played back with a melody; event loop.

The picture and the table are made afterwards, on the caller thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from itertools import cycle
from pathlib import Path

import anyio
import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from audiostream import aio

__all__ = ("Performance", "draw", "perform", "report")

RATE = 48_000
"""Frames per second of the speaker and the melody."""
MICROPHONE_RATE = 16_000
BUFFER = 320
"""Frames of a chunk from the microphone: 20 ms."""
BLOCK = 0.05
"""Seconds of audio in one write, and of what the meter shows."""
AHEAD = 1.0
"""Seconds that may be written ahead of what is heard; nobody minds here that it is long."""
FLOOR = -60.0
"""Decibels at the meter's left end."""

INTRO = 1.0
CODA = 1.5
"""Seconds of melody before the recording begins and after it ends."""

SPEECH_PEAK = 0.55
MAX_GAIN = 8.0
"""The recording is brought to this peak, but by no more than this factor."""

Line = Sequence[tuple[tuple[int, ...], int]]
"""Keys (as MIDI numbers them, 69 is 440 Hz) that sound together, and their quarter seconds."""

TUNE: Line = (
    ((76,), 2), ((79,), 1), ((76,), 1),
    ((81,), 2), ((79,), 1), ((76,), 1),
    ((77,), 1), ((81,), 1), ((84,), 2),
    ((83,), 2), ((79,), 1), ((74,), 1),
)  # fmt: skip
CHORDS: Line = (((60, 64, 67), 4), ((60, 64, 69), 4), ((60, 65, 69), 4), ((59, 62, 67), 4))
BASS: Line = (
    ((48,), 2), ((43,), 2), ((45,), 2), ((40,), 2),
    ((41,), 2), ((48,), 2), ((43,), 2), ((50,), 2),
)  # fmt: skip


# --- what is played ------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What one voice plays.

    ``audio`` is float32, (frames,) or (frames, 2), at ``rate`` Hz.
    """

    name: str
    rate: int
    audio: np.ndarray
    gain: float = 1.0

    @property
    def channels(self) -> int:
        """Channels of the audio."""
        return 1 if self.audio.ndim == 1 else self.audio.shape[1]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.audio) / self.rate

    def level(self, position: int) -> float:
        """Decibels of what is heard at a frame."""
        frames = round(BLOCK * self.rate)
        return decibels(self.audio[max(position - frames, 0) : position] * self.gain)


def decibels(audio: np.ndarray) -> float:
    """Level (root of the mean square, full scale 0 dB) of some samples."""
    mean = float(np.mean(np.square(audio, dtype=np.float64))) if audio.size else 0.0
    return max(10 * float(np.log10(mean + 1e-12)), FLOOR)


def tone(keys: tuple[int, ...], frames: int, overtones: Sequence[float]) -> np.ndarray:
    """Keys struck together, dying away; the ends are rounded off, so that nothing clicks."""
    seconds = np.arange(frames) / RATE
    wave = np.zeros(frames)
    for key in keys:
        hertz = 440.0 * 2 ** ((key - 69) / 12)
        for number, strength in enumerate(overtones, start=1):
            wave += strength * np.sin(2 * np.pi * hertz * number * seconds)
    edges = np.minimum(seconds / 0.01, (seconds[-1] - seconds) / 0.05).clip(0, 1)
    shape: np.ndarray = wave * np.exp(-seconds / 0.8) * np.sin(np.pi / 2 * edges) ** 2
    return shape


def voice_part(
    name: str,
    line: Line,
    last: tuple[int, ...],
    seconds: float,
    overtones: Sequence[float],
    sides: tuple[float, float],
) -> Part:
    """One voice of the melody: a line over and over for `seconds`, then the last chord.

    `sides` are its peaks on the left and on the right.
    """
    left = round(seconds * RATE)
    notes = []
    for keys, quarters in cycle(line):
        frames = min(quarters * RATE // 4, left)
        if frames == 0:
            break
        notes.append(tone(keys, frames, overtones))
        left -= frames
    notes.append(tone(last, round(CODA * RATE), overtones))
    wave = np.concatenate(notes)
    wave /= np.abs(wave).max()
    return Part(name, RATE, (wave[:, None] * sides).astype(np.float32))


def melody(seconds: float) -> list[Part]:
    """The three voices of the melody; softer than speech, their peaks add up to 0.34."""
    return [
        voice_part("tune", TUNE, (84,), seconds, (1.0, 0.3, 0.1), (0.10, 0.14)),
        voice_part("chords", CHORDS, (60, 64, 67), seconds, (1.0, 0.1), (0.12, 0.08)),
        voice_part("bass", BASS, (48,), seconds, (1.0, 0.4), (0.10, 0.10)),
    ]


def speech_part(chunks: Sequence[bytes]) -> Part:
    """The recording, after as much silence as the melody has for its beginning."""
    speech = np.frombuffer(b"".join(chunks), np.int16).astype(np.float32) / 32768
    peak = float(np.abs(speech).max(initial=0))
    gain = min(SPEECH_PEAK / peak, MAX_GAIN) if peak else 1.0
    silence = np.zeros(round(INTRO * MICROPHONE_RATE), np.float32)
    return Part("speech", MICROPHONE_RATE, np.concatenate((silence, speech)), gain)


# --- the job -------------------------------------------------------------------------


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
    callback started.  What has come in beyond `frames` tells how many blocks earlier the
    one was that we ask for.  Where the rate is converted that cannot be told, since the
    converter holds some frames back, and the latest callback is taken.
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


# --- what is shown afterwards --------------------------------------------------------


def report(console: Console, done: Performance) -> None:
    """Print the table of what was counted."""
    table = Table(title="What the streams counted")
    table.add_column()
    for counts in done.counts:
        table.add_column(counts.stream, justify="right")

    def row(name: str, value: Callable[[Counts], str | None]) -> None:
        table.add_row(name, *(value(counts) or "-" for counts in done.counts))

    def of(stream: str, text: str) -> Callable[[Counts], str | None]:
        return lambda counts: text if counts.stream == stream else None

    def is_input(counts: Counts) -> bool:
        return counts.stream == "microphone"

    row("device", lambda c: c.device)
    row("rate", lambda c: f"{c.rate} Hz")
    row("callbacks", lambda c: f"{c.stats.callbacks}")
    row("frames", lambda c: f"{c.stats.frames}")
    row("device underruns", lambda c: None if is_input(c) else f"{c.stats.underruns}")
    row("device overruns", lambda c: f"{c.stats.overruns}" if is_input(c) else None)
    row("starved frames", lambda c: None if is_input(c) else f"{c.stats.starved}")
    row("late callbacks", lambda c: f"{c.stats.late}")
    row("longest callback", lambda c: f"{c.stats.longest * 1e3:.2f} ms")
    row("wake-ups", lambda c: f"{c.stats.wakeups}")
    row("dropped frames", lambda c: f"{c.dropped}" if is_input(c) else None)
    for percent in (50, 99):
        wait = f"{np.percentile(done.waits, percent) * 1e3:.2f} ms" if done.waits else "-"
        row(f"wake-up latency, p{percent}", of("microphone", wait))
    console.print(table)
    say(
        console,
        "Wake-up latency: from the start of the callback that completed a chunk to its\n"
        f"arrival in the `async for`; {len(done.waits)} chunks were waited for.",
    )


def draw(done: Performance, picture: Path) -> float:
    """Draw the waveform and the spectrogram of the file that was played.

    Returns
    -------
    float
        Peak of the file, in decibels of full scale.
    """
    # Its remarks about font caches would go to stderr.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    audio, rate = soundfile.read(done.output, dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)
    figure = Figure(figsize=(12, 7.5), dpi=100, layout="constrained")
    devices = f"microphone: {done.microphone} · speaker: {done.speaker}"
    # A letter that the font lacks would be a warning on stderr.
    devices = devices.encode("latin-1", "replace").decode("latin-1")
    figure.suptitle(f"audiostream demo: what was played\n{devices}", parse_math=False)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    _draw_waveform(above, mono, rate, done.speech)
    _draw_spectrogram(below, mono, rate)
    for edge in done.speech:
        below.axvline(edge, color="white", linestyle=":", linewidth=1)
    middle = sum(done.speech) / 2
    for name, seconds, hertz, align in (
        ("tune", 0.05, 800, "left"),
        ("chords", 0.05, 310, "left"),
        ("bass", 0.05, 105, "left"),
        ("speech", middle, 6500, "center"),
    ):
        box = {"facecolor": "black", "alpha": 0.6, "pad": 2, "lw": 0}
        below.text(seconds, hertz, name, color="white", va="center", ha=align, bbox=box)
    below.set_xlim(0, len(mono) / rate)
    figure.savefig(picture)
    return 20 * float(np.log10(np.abs(audio).max(initial=1e-6)))


def _draw_waveform(
    axes: Axes, mono: np.ndarray, rate: int, speech: tuple[float, float]
) -> None:
    """The lowest and the highest sample of each column of pixels."""
    size = max(len(mono) // 1200, 1)
    columns = mono[: len(mono) // size * size].reshape(-1, size)
    seconds = np.arange(len(columns)) * size / rate
    axes.fill_between(seconds, columns.min(axis=1), columns.max(axis=1), color="tab:blue", lw=0)
    end = len(mono) / rate
    spans = ((0, speech[0], ""), (*speech, "tab:orange"), (speech[1], end, ""))
    for (begin, finish, colour), name in zip(
        spans, ("melody", "speech and melody", "melody"), strict=True
    ):
        if colour:
            axes.axvspan(begin, finish, color=colour, alpha=0.2, lw=0, zorder=0)
        axes.text((begin + finish) / 2, 0.85, name, ha="center", va="center")
    axes.set_ylim(-1, 1)
    axes.set_ylabel("amplitude (full scale 1)")
    axes.grid(alpha=0.3)


def _draw_spectrogram(axes: Axes, mono: np.ndarray, rate: int) -> None:
    """Levels below the loudest, on a scale of frequency on which octaves are alike."""
    window = 4096
    step = max(rate // 100, len(mono) // 1200)
    stretches = sliding_window_view(np.pad(mono, window // 2), window)[::step]
    power = np.abs(np.fft.rfft(stretches * np.hanning(window))) ** 2
    levels = 10 * np.log10(power / max(power.max(), 1e-12) + 1e-9)
    hertz = np.fft.rfftfreq(window, 1 / rate)
    shown = (hertz > 50) & (hertz < 8000)
    mesh = axes.pcolormesh(
        np.arange(len(levels)) * step / rate,
        hertz[shown],
        levels.T[shown],
        cmap="magma",
        vmin=-75,
        vmax=0,
        shading="nearest",
        rasterized=True,
    )
    axes.set_yscale("log")
    ticks = (65, 131, 262, 523, 1000, 2000, 4000)
    axes.set_yticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_yticks([], minor=True)
    axes.set_ylabel("frequency (Hz)")
    axes.set_xlabel("seconds")
    axes.figure.colorbar(mesh, ax=axes, label="dB below the loudest", pad=0.01)
