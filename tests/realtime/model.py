"""What an output must play, frame by frame and in float64: an oracle without rings.

Written from the contract, not from the kernels: no blocks, spans, batches or masks.  The
words that callers write are looked at where the audio thread does so, at the start of a
slice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class ModelVoice:
    """One voice: all that was ever written to it, and where it stands."""

    channels: int
    data: list[np.ndarray] = field(default_factory=list)  # a frame each
    read: int = 0
    playing: int = 0
    skip: int = 0
    fade: int = 0
    ended: int = 0
    sounding: bool = False
    starved: int = 0
    gain: float = 1.0
    goal: float = 1.0
    wishes: list[tuple[float, int]] = field(default_factory=list)
    ramp: list[float] = field(default_factory=list)  # gains of the frames to come
    fading: list[float] = field(default_factory=list)  # factors of the frames to come
    clearing: bool = False
    cuts: list[tuple[int, int]] = field(default_factory=list)
    stands: list[int] = field(default_factory=list)  # index at each of the device's frames
    heard: int = 0
    late: int = 0  # the playhead is moved after the block instead of before each part

    def look(self, now: int) -> int:
        """The index heard at the device's frame `now`; never less than it was."""
        if now < len(self.stands):
            return max(self.heard, self.stands[now])
        # Nothing is in flight: it is heard up to where it stands.
        return max(self.heard, self.read if self.stands else 0)

    def begin_slice(self) -> None:
        for target, frames in self.wishes:
            if target == self.goal:
                pass  # it moves there, or is there
            elif frames <= 0 or not self.sounding:
                self.gain, self.ramp = target, []
            else:
                start = self.gain
                line = [start + (target - start) * (i + 1) / frames for i in range(frames)]
                self.ramp = [*line[:-1], target]
            self.goal = target
        self.wishes = []
        if self.skip > self.read:
            if not self.sounding:
                self.fading = []
            elif not self.clearing:
                total = min(self.fade, self.skip - self.read)
                self.fading = [(total - 1 - i) / total for i in range(total)]
            self.clearing = True
            if not self.fading:
                self._cut()

    def _cut(self) -> None:
        self.cuts.append((self.read, self.skip))
        self.read = self.skip
        self.sounding = False
        self.clearing = False

    def _next(self) -> np.ndarray:
        if self.ramp:
            self.gain = self.ramp.pop(0)
        sample = self.data[self.read] * self.gain
        self.read += 1
        return sample

    def frame(self) -> np.ndarray:
        self.stands.append(self.read)
        if self.clearing:
            sample = self._next() * self.fading.pop(0)
            if not self.fading:
                self._cut()
            return sample
        if self.playing == 1:
            if self.read < len(self.data):
                self.sounding = True
                return self._next()
            self.sounding = False
            self.starved += self.read != self.ended
        else:
            self.sounding = False
        if self.ramp:  # goes on in silence
            self.gain = self.ramp.pop(0)
        return np.zeros(self.channels)


@dataclass
class Model:
    """An output: its voices, and the whole mix's gain."""

    channels: int
    slice: int
    voices: list[ModelVoice]
    frames: int = 0
    now: int = 0
    master: float = 1.0
    master_ramp: list[float] = field(default_factory=list)
    master_wish: tuple[float, int] | None = None

    def render(self, frames: int, latency: int) -> np.ndarray:
        """The block in float64, before it is limited and encoded."""
        out = np.zeros((frames, self.channels))
        self.now = max(self.now, self.frames - latency)
        for i in range(frames):
            if i % self.slice == 0:
                for voice in self.voices:
                    voice.heard = voice.look(self.now)
                    voice.begin_slice()
                if self.master_wish is not None:
                    target, over = self.master_wish
                    self.master_wish = None
                    start = self.master
                    over = max(over, 1)
                    line = [start + (target - start) * (k + 1) / over for k in range(over)]
                    self.master_ramp = [*line[:-1], target]
            for voice in self.voices:
                out[i] += voice.frame()
            if self.master_ramp:
                self.master = self.master_ramp.pop(0)
            out[i] *= self.master
            self.frames += 1
        for voice in self.voices:
            voice.late = voice.look(self.now)
        return out
