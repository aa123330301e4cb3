"""What the tests of the blocking API share: writers in threads, and waiting for facts."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from audiostream.compat import AudioInput, AudioOutput, AudioSample
from audiostream.engine.voice import Voice
from audiostream.pcm import ENCODINGS
from audiostream.realtime.memory.layout import NEVER

LIMIT = 10.0
"""Seconds after which something that must happen counts as not happening."""

TOP = {8: 127, 16: 32767}


def eventually(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Wait for a fact that another thread brings about."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.001)


def voice_of(output: AudioOutput) -> Voice:
    """The engine's voice of the one sample that is on an output."""
    (voice,) = output.engine.attached.values()
    return voice


def is_blocked(output: AudioOutput, voice: Voice) -> bool:
    """True once a writer has filled the ring and asked to be woken."""
    return voice.writer.room() <= 0 and voice.strip.word("wake_read") != NEVER


class Writer(threading.Thread):
    """A thread that writes chunks to a sample; tells what came of it, and what it cost."""

    def __init__(self, sample: AudioSample, *chunks: Any) -> None:
        super().__init__(daemon=True)
        self.sample = sample
        self.chunks = chunks
        self.error: BaseException | None = None
        self.cpu = 0.0
        self.switches = 0
        self.start()

    def run(self) -> None:
        cpu = time.thread_time()
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        try:
            for chunk in self.chunks:
                self.sample.write(chunk)
        except BaseException as error:
            self.error = error
        self.cpu = time.thread_time() - cpu
        self.switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - switches

    def finish(self) -> None:
        """Wait for its end and raise what its writes raised."""
        self.join(LIMIT)
        assert not self.is_alive(), "write() is still blocked"
        if self.error is not None:
            raise self.error


def blocked_writer(output: AudioOutput, sample: AudioSample, data: Any) -> Writer:
    """A writer that is waiting for room, since `data` is more than the ring holds."""
    voice = sample_voice(output, sample)
    writer = Writer(sample, data)
    eventually(lambda: is_blocked(output, voice) or not writer.is_alive())
    assert writer.is_alive(), f"write() did not block ({writer.error!r})"
    return writer


def sample_voice(output: AudioOutput, sample: AudioSample) -> Voice:
    """The engine's voice of a sample on an output with others."""
    voices = [v for v in output.engine.attached.values() if v is sample._voice]
    (voice,) = voices
    return voice


def added(output: AudioOutput, *, play: bool = True) -> AudioSample:
    """A new sample on an output."""
    sample = AudioSample()
    output.add_sample(sample)
    if play:
        sample.play()
    return sample


def noise(frames: int, channels: int, encoding: int, seed: int = 1) -> np.ndarray:
    """Random samples of an encoding, all of its values; no frame of it is silent."""
    random = np.random.default_rng(seed)
    if encoding == 32:
        data = random.uniform(-1, 1, (frames, channels)).astype(np.float32)
        data[:4, 0] = (1.0, -1.0, 2.0**-31, -(2.0**-31))
    else:
        top = TOP[encoding]
        data = random.integers(-top - 1, top + 1, (frames, channels))
        data = data.astype(ENCODINGS[encoding])
        data[:4, 0] = (top, -top - 1, 1, -1)
    data[:, 0][data[:, 0] == 0] = 1
    return data


def ramp(frames: int, channels: int = 1, start: int = 0) -> np.ndarray:
    """16-bit frames whose values tell where they belong; never zero."""
    values = np.arange(start, start + frames * channels) % 32767 + 1
    return values.astype(np.int16).reshape(frames, channels)


def sounding(played: np.ndarray) -> np.ndarray:
    """The frames without the silence before and behind them."""
    (where,) = np.nonzero(played.any(axis=1))
    return played[where[0] : where[-1] + 1] if len(where) else played[:0]


def not_silent(played: np.ndarray) -> np.ndarray:
    """The frames that are not silent."""
    return played[played.any(axis=1)]


def sine(frequency: float, rate: int, frames: int, amplitude: float = 0.5) -> np.ndarray:
    """float64 (frames,)."""
    return amplitude * np.sin(2 * np.pi * frequency / rate * np.arange(frames))


def measure(signal: np.ndarray, rate: int) -> tuple[float, float]:
    """The strongest frequency in Hz and its amplitude; float (frames,)."""
    window = np.hanning(len(signal))
    spectrum = np.abs(np.fft.rfft(signal * window, 8 * len(signal)))
    peak = int(spectrum.argmax())
    return peak * rate / (8 * len(signal)), 2 * spectrum[peak] / window.sum()


def collector(microphone: AudioInput) -> list[bytes]:
    """Have an input's buffers appended to a list when it is polled."""
    heard: list[bytes] = []
    microphone.callback = heard.append
    return heard
