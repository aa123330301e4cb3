"""Oscillators, noise and silence; event loop, and any thread for their parameters.

The waves with edges are kept from aliasing by a polynomial that rounds each edge over two
samples (PolyBLEP: V. Valimaki and A. Huovilainen, "Antialiasing Oscillators in Subtractive
Synthesis", IEEE Signal Processing Magazine 24(2), 2007).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from audiostream.aio.sources.convert import Converter
from audiostream.aio.sources.source import Source
from audiostream.checks import check_integer, check_number
from audiostream.engine.memory import records
from audiostream.pcm import Format
from audiostream.realtime.compile.kernels import Kernels
from audiostream.realtime.memory.unit_layout import SINE

__all__ = (
    "Noise",
    "Saw",
    "Silence",
    "Sine",
    "Square",
    "noise",
    "saw",
    "silence",
    "sine",
    "square",
)

PART = 480
"""Frames that numpy computes at a time: from 501 numbers on it gives up the interpreter lock
for each operation, and beside a busy thread waits 5 ms to get it back."""

RAMP = 0.005
"""Seconds in which an amplitude moves by full scale, or a sine's to any other."""

MOST = 1e15
"""Of a frequency (Hz), an amplitude and a pause (seconds)."""


class Wave(Source):
    """A source of mono sound on all channels, at an amplitude that can be set while it plays.

    Parameters
    ----------
    amplitude : float
        Peak, full scale 1.0.  Set while it plays, it moves there within 5 ms.
    """

    def __init__(self, amplitude: float = 0.5) -> None:
        self.amplitude = amplitude
        self._level = self._amplitude  # where the amplitude stands

    @property
    def amplitude(self) -> float:
        """Peak, full scale 1.0; any thread may set it."""
        return self._amplitude

    @amplitude.setter
    def amplitude(self, amplitude: float) -> None:
        self._amplitude = check_number(amplitude, "amplitude", 0, MOST, "try 0.5")

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Start at the amplitude that is set, without a ramp."""
        super().begin(format, kernels)
        self._converter = Converter(format.rate, 1, format, kernels)
        self._level = self._amplitude

    def shape(self, frames: int) -> np.ndarray:
        """The next frames at full scale, float64 (frames,)."""
        raise NotImplementedError

    def render(self, frames: int) -> np.ndarray:
        """Make the next frames, float32 (frames, channels)."""
        parts = [self._part(min(PART, frames - start)) for start in range(0, frames, PART)]
        return self._converter.convert(np.concatenate(parts)[:, None])

    def _part(self, frames: int) -> np.ndarray:
        """The next frames, float32 (frames,)."""
        wave = self.shape(frames)
        goal = self._amplitude
        if self._level == goal:
            wave *= goal
        else:
            step = math.copysign(1 / (RAMP * self.rate), goal - self._level)
            levels = self._level + step * np.arange(1, frames + 1)
            levels = np.minimum(levels, goal) if step > 0 else np.maximum(levels, goal)
            self._level = float(levels[-1])
            wave *= levels
        return wave.astype(np.float32)

    async def get_bytes(self) -> Any:
        """Make a block; see :class:`Source`."""
        return self.render(self.block)


class Oscillator(Wave):
    """A wave with a pitch, which can be set while it plays: the phase goes on from there.

    Parameters
    ----------
    frequency : float
        Hz; 0 stands still, and above half the rate it is heard as another one.
    amplitude : float
        Peak, full scale 1.0.
    """

    def __init__(self, frequency: float = 440.0, amplitude: float = 0.5) -> None:
        super().__init__(amplitude)
        self.frequency = frequency
        self._phase = 0.0  # of the next frame; one period is 1

    @property
    def frequency(self) -> float:
        """Pitch in Hz; any thread may set it."""
        return self._frequency

    @frequency.setter
    def frequency(self, frequency: float) -> None:
        self._frequency = check_number(frequency, "frequency", 0, MOST, "try 440.0")

    def shape(self, frames: int) -> np.ndarray:
        """The next frames at full scale, float64 (frames,)."""
        step = self._frequency / self.rate
        phases = self._phase + step * np.arange(frames)
        self._phase = (self._phase + step * frames) % 1.0
        return self.at(phases, step)

    def at(self, phases: np.ndarray, step: float) -> np.ndarray:
        """The wave at these phases, which are `step` periods apart."""
        raise NotImplementedError


class Sine(Oscillator):
    """A sine wave."""

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Start at the amplitude that is set, without a ramp."""
        super().begin(format, kernels)
        self._kernel = kernels.sine
        self._record = records(SINE, 1)
        self._state = self._record[0]
        self._address = int(self._record.ctypes.data)
        self._state["channels"] = format.channels
        self._state["level"] = self._state["goal"] = self._amplitude

    def render(self, frames: int) -> np.ndarray:
        """Make the next frames, float32 (frames, channels)."""
        state, goal = self._state, self._amplitude
        if state["goal"] != goal:
            ramp = max(round(RAMP * self.rate), 1)
            state["goal"], state["ramp_left"] = goal, ramp
            state["step"] = (goal - state["level"]) / ramp
        step = self._frequency / self.rate
        angle, turn = 2 * math.pi * self._phase, 2 * math.pi * step
        state["sine"], state["cosine"] = math.sin(angle), math.cos(angle)
        state["turn_sine"], state["turn_cosine"] = math.sin(turn), math.cos(turn)
        self._phase = (self._phase + step * frames) % 1.0
        block = np.empty((frames, self.channels), np.float32)
        self._kernel(self._address, block.ctypes.data, frames)
        return block


def edge(phases: np.ndarray, step: float) -> np.ndarray:
    """What rounds an edge upwards by 2 where the phase passes a whole number (PolyBLEP)."""
    if not 0 < step < 0.5:
        return np.zeros_like(phases)
    # In samples from the edge before and to the one after, 1 being as far as it is rounded.
    after = np.minimum(phases, step) / step
    before = np.maximum(phases - 1, -step) / step
    rounding: np.ndarray = (before + 1) ** 2 - (after - 1) ** 2
    return rounding


class Saw(Oscillator):
    """A sawtooth that rises from -1 to 1 and falls back, band-limited."""

    def at(self, phases: np.ndarray, step: float) -> np.ndarray:
        """The wave at these phases."""
        phases = (phases + 0.5) % 1.0  # from zero upwards, as a sine begins
        wave: np.ndarray = 2 * phases - 1 - edge(phases, step)
        return wave


class Square(Oscillator):
    """A square wave: 1 for half of the period, then -1; band-limited."""

    def at(self, phases: np.ndarray, step: float) -> np.ndarray:
        """The wave at these phases."""
        phases = phases % 1.0
        wave: np.ndarray = np.where(phases < 0.5, 1.0, -1.0)
        wave += edge(phases, step) - edge((phases + 0.5) % 1.0, step)
        return wave


class Noise(Wave):
    """White noise, evenly distributed, the same on all channels.

    Parameters
    ----------
    amplitude : float
        Peak, full scale 1.0.
    seed : int, optional
        For the same noise each time.
    """

    def __init__(self, amplitude: float = 0.5, seed: int | None = None) -> None:
        super().__init__(amplitude)
        if seed is not None:
            seed = check_integer(seed, "seed", least=0)
        self._random = np.random.default_rng(seed)

    def shape(self, frames: int) -> np.ndarray:
        """The next frames at full scale, float64 (frames,)."""
        return self._random.uniform(-1.0, 1.0, frames)


class Silence(Source):
    """Zeros, for so many seconds or for ever: a pause between other sources.

    Parameters
    ----------
    seconds : float, optional
        Until its end; for ever if not given.
    """

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is not None:
            seconds = check_number(seconds, "seconds", 0, MOST, "try 1.0")
        self.seconds = seconds

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Start from its beginning."""
        super().begin(format, kernels)
        self._left = math.inf if self.seconds is None else round(self.seconds * format.rate)

    async def get_bytes(self) -> Any:
        """Make a block; None at the end."""
        frames = int(min(self._left, self.block))
        self._left -= frames
        return np.zeros((frames, self.channels), np.float32) if frames else None


def sine(frequency: float = 440.0, amplitude: float = 0.5) -> Sine:
    """A sine wave; see :class:`Sine`."""
    return Sine(frequency, amplitude)


def square(frequency: float = 440.0, amplitude: float = 0.5) -> Square:
    """A square wave; see :class:`Square`."""
    return Square(frequency, amplitude)


def saw(frequency: float = 440.0, amplitude: float = 0.5) -> Saw:
    """A sawtooth; see :class:`Saw`."""
    return Saw(frequency, amplitude)


def noise(amplitude: float = 0.5, seed: int | None = None) -> Noise:
    """White noise; see :class:`Noise`."""
    return Noise(amplitude, seed)


def silence(seconds: float | None = None) -> Silence:
    """Silence; see :class:`Silence`."""
    return Silence(seconds)
