"""The same thing, played through the stand-in by each library: stereo float32 at 48 kHz.

Each player is a context manager around a running stream, with as little in its callback as
its library allows; it gives a function to be called every half second or so, which keeps
what needs it supplied.  All of them play the constant LEVEL, so that anything else in a
recording is a block whose sound was late.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import standin

RATE = 48000
CHANNELS = 2
VOICES = 8
"""Voices of the libraries that mix."""

LEVEL = 0.5

Tend = Callable[[], None]

Play = Callable[[int, float], AbstractContextManager[Tend]]
"""Of the frames of a block, and of the seconds for which it is to play."""


def _nothing() -> None:
    pass


def block(frames: int, level: float = LEVEL) -> np.ndarray:
    return np.full((frames, CHANNELS), level, np.float32)


@contextlib.contextmanager
def audiostream(
    frames: int, seconds: float, voices: int = VOICES, encoding: int = 32
) -> Iterator[Tend]:
    """Voices with rings of 4 s, kept full."""
    from audiostream.aio import get_output

    with get_output(RATE, CHANNELS, encoding, frames, device=standin.DEVICE) as output:
        samples = [output.sample(encoding=32, buffer=4.0) for _ in range(voices)]
        chunk = block(4096, LEVEL / voices)

        def tend() -> None:
            for sample in samples:
                while sample.write_nowait(chunk) == len(chunk):
                    pass

        yield tend


@contextlib.contextmanager
def pyaudio(frames: int, seconds: float) -> Iterator[Tend]:
    """A callback that returns the same bytes each time."""
    import pyaudio

    silence = block(frames).tobytes()

    def callback(*_: Any) -> tuple[bytes, int]:
        return silence, pyaudio.paContinue

    host = pyaudio.PyAudio()
    try:
        stream = host.open(
            rate=RATE,
            channels=CHANNELS,
            format=pyaudio.paFloat32,
            output=True,
            frames_per_buffer=frames,
            stream_callback=callback,
        )
        yield _nothing
        stream.close()
    finally:
        host.terminate()


@contextlib.contextmanager
def sounddevice(frames: int, seconds: float) -> Iterator[Tend]:
    """A callback that copies the same array each time."""
    import sounddevice

    ready = block(frames)

    def callback(outdata: np.ndarray, *_: Any) -> None:
        outdata[:] = ready

    with sounddevice.OutputStream(
        samplerate=RATE, channels=CHANNELS, blocksize=frames, dtype="float32", callback=callback
    ):
        yield _nothing


@contextlib.contextmanager
def rtmixer(frames: int, seconds: float, voices: int = VOICES) -> Iterator[Tend]:
    """Buffers that last as long as the measurement, mixed in C."""
    import rtmixer

    # Of its own for each voice, as another library's rings are.
    sounds = [block(int(seconds * RATE), LEVEL / voices) for _ in range(voices)]
    with rtmixer.Mixer(
        samplerate=RATE, channels=CHANNELS, blocksize=frames, qsize=max(16, 2 * voices)
    ) as mixer:
        for sound in sounds:
            mixer.play_buffer(sound, channels=CHANNELS)
        yield _nothing


@contextlib.contextmanager
def listentome(frames: int, seconds: float, chunk: int = 0) -> Iterator[Tend]:
    """A coroutine that awaits ``write()`` with `chunk` frames, or a block, at a time."""
    import listentome

    opened, ended = threading.Event(), threading.Event()
    sound = block(chunk or frames).tobytes()

    async def play() -> None:
        async with listentome.OutputStream(
            samplerate=RATE, channels=CHANNELS, blocksize=frames, dtype="float32"
        ) as stream:
            opened.set()
            while not ended.is_set():
                await stream.write(sound)

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(asyncio.run, play())
        try:
            while not opened.wait(0.1) and not future.done():
                pass
            if future.done():
                future.result()
            yield _nothing
        finally:
            ended.set()
        future.result()


@contextlib.contextmanager
def listentome_ahead(frames: int, seconds: float) -> Iterator[Tend]:
    """As above, 100 ms at a time."""
    with listentome(frames, seconds, RATE // 10) as tend:
        yield tend


@dataclass(frozen=True)
class Way:
    """A player, the package that it needs, and how its process is to be set up."""

    play: Play
    package: str
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


NATIVE = "audiostream"
PYTHON = "audiostream, Python path"

WAYS = {
    NATIVE: Way(audiostream, "audiostream", {"AUDIOSTREAM_CALLBACK": "native"}),
    PYTHON: Way(audiostream, "audiostream", {"AUDIOSTREAM_CALLBACK": "python"}),
    "rtmixer": Way(rtmixer, "rtmixer"),
    "PyAudio": Way(pyaudio, "pyaudio"),
    "sounddevice": Way(sounddevice, "sounddevice"),
    "listentome": Way(listentome, "listentome"),
    "listentome, 100 ms": Way(listentome_ahead, "listentome"),
}
