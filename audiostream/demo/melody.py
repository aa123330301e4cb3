"""What the demo plays: a melody of three voices, and the recording; caller thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

__all__ = (
    "BLOCK",
    "FLOOR",
    "INTRO",
    "MICROPHONE_RATE",
    "RATE",
    "Part",
    "decibels",
    "melody",
    "speech_part",
)

RATE = 48_000
"""Frames per second of the speaker and the melody."""
MICROPHONE_RATE = 16_000
BLOCK = 0.05
"""Seconds of audio in one write, and of what the meter shows."""
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
