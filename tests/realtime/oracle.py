"""One voice, frame by frame, in the plainest Python: what the mixer is compared with.

It knows no blocks: whatever the audio thread does in the middle of one, it does between two
frames.  Everything is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

STEEP = math.log(1000)


def linear(begin: float, goal: float, x: float) -> float:
    return begin + (goal - begin) * x


def exponential(begin: float, goal: float, x: float) -> float:
    k = STEEP if goal > begin else -STEEP
    return begin + (goal - begin) * math.expm1(k * x) / math.expm1(k)


def equal_power(begin: float, goal: float, x: float) -> float:
    return math.hypot(begin * math.cos(x * math.pi / 2), goal * math.sin(x * math.pi / 2))


CURVES: tuple[Callable[[float, float, float], float], ...] = (linear, exponential, equal_power)


@dataclass
class Way:
    """A factor on its way from one value to another."""

    value: float = 1.0
    begin: float = 1.0
    goal: float = 1.0
    frames: int = 0
    done: int = 0
    curve: Callable[[float, float, float], float] = linear

    def go(self, goal: float, frames: int, curve: int = 0) -> None:
        self.begin, self.goal, self.frames, self.done = self.value, goal, frames, 0
        self.curve = CURVES[curve]
        if frames <= 0:
            self.value = goal

    @property
    def moves(self) -> bool:
        return self.done < self.frames

    def step(self) -> float:
        if self.moves:
            self.done += 1
            self.value = self.curve(self.begin, self.goal, self.done / self.frames)
            if not self.moves:
                self.value = self.goal
        return self.value


@dataclass(order=True)
class Told:
    """A command, and the frame that it is for."""

    at: int
    number: int
    what: str = field(compare=False)
    value: float = field(compare=False, default=0.0)
    frames: int = field(compare=False, default=0)
    curve: int = field(compare=False, default=0)


@dataclass
class Oracle:
    """A mono voice; the two sides are what a stereo output plays of it."""

    ramp: int
    data: list[float] = field(default_factory=list)
    read: int = 0
    skip: int = 0
    ended: int = 0
    fade: int = 0
    fade_left: int = 0
    fade_total: int = 0
    state: str = "stopped"
    sounding: bool = False
    dry: bool = False
    shortages: int = 0
    starved: int = 0
    gain: Way = field(default_factory=Way)
    mute: Way = field(default_factory=Way)
    flow: Way = field(default_factory=Way)
    back: Way = field(default_factory=Way)
    sides: tuple[Way, Way] = field(default_factory=lambda: (Way(), Way()))
    dying: tuple[float, float] = (0.0, 0.0)  # the tail's first frame
    tail_left: int = 0
    clean: int = 0
    told: list[Told] = field(default_factory=list)
    frame: int = 0
    count: int = 0

    # --- callers -----------------------------------------------------------------

    def tell(
        self, what: str, at: int = -1, value: float = 0.0, frames: int = 0, curve: int = 0
    ) -> None:
        self.told.append(Told(at, self.count, what, value, frames, curve))
        self.count += 1

    def clear(self, fade: int) -> None:
        self.skip, self.fade = len(self.data), fade

    # --- the device --------------------------------------------------------------

    def play(self, frames: int) -> list[tuple[float, float]]:
        return [self.next() for _ in range(frames)]

    def next(self) -> tuple[float, float]:
        due = sorted(told for told in self.told if told.at <= self.frame)
        for told in due:
            self.told.remove(told)
            self.obey(told)
        self.frame += 1
        if self.read < self.skip:
            out = self.fading()
            if out is not None:
                return out
        return self.playing()

    def fading(self) -> tuple[float, float] | None:
        """The next frame of a clear's fade; None, and the cut is made, if there is none."""
        if not self.sounding:
            self.fade_left = 0
        elif self.fade_left == 0:
            self.fade_left = self.fade_total = max(min(self.fade, self.skip - self.read), 0)
        if self.fade_left:
            self.fade_left -= 1
            out = self.sound(self.fade_left / self.fade_total)
            if self.fade_left == 0:
                self.cut()
            return out
        self.cut()
        return None

    def cut(self) -> None:
        self.jump(self.skip)
        if self.state != "playing":
            self.flow = Way()
        self.rest()

    def jump(self, to: int) -> None:
        self.read = self.clean = to
        self.sounding = self.dry = False
        self.fade_left = 0
        self.back = Way()

    def rest(self) -> None:
        states = {"pausing": "paused", "ending": "stopped", "stopping": "stopped"}
        if self.state == "ending":
            self.jump(len(self.data))
        self.state = states.get(self.state, self.state)

    def playing(self) -> tuple[float, float]:
        if self.state in ("stopped", "paused"):
            self.sounding = False
            return self.silence()
        if self.read < len(self.data):
            if not self.sounding:
                self.sounding = True
                if self.dry and self.read != self.ended:
                    self.back = Way(0.0)
                    self.back.go(1.0, self.ramp)
                self.dry = False
            out = self.sound(1.0)
            if self.state in ("pausing", "ending") and not self.flow.moves:
                self.sounding = False
                self.rest()
            return out
        self.run_dry()
        return self.silence()

    def run_dry(self) -> None:
        sounded, self.sounding = self.sounding, False
        if self.read == self.ended:
            self.dry = False
        else:
            if sounded:
                self.begin_tail()
            if self.read in (self.skip, self.clean):
                self.dry = False
            else:
                self.dry = self.dry or sounded
                if self.state == "playing":
                    self.shortages += sounded
                    self.starved += 1
        if self.state != "playing":
            self.flow = Way()
            self.rest()

    def sound(self, fade: float) -> tuple[float, float]:
        sample = self.data[self.read]
        self.read += 1
        level = self.gain.step() * self.mute.step() * self.flow.step() * self.back.step()
        left, right = (sample * level * fade * side.step() for side in self.sides)
        tail = self.tail()
        return left + tail[0], right + tail[1]

    def silence(self) -> tuple[float, float]:
        for way in (self.gain, self.mute, self.flow, self.back, *self.sides):
            way.step()
        return self.tail()

    def tail(self) -> tuple[float, float]:
        if not self.tail_left:
            return 0.0, 0.0
        self.tail_left -= 1
        left, right = (value * self.tail_left / self.ramp for value in self.dying)
        return left, right

    def begin_tail(self) -> None:
        level = self.gain.value * self.mute.value * self.flow.value * self.back.value
        last = self.data[self.read - 1] * level
        before = self.tail_left / max(self.ramp, 1)
        left, right = (
            last * side.value + value * before
            for side, value in zip(self.sides, self.dying, strict=True)
        )
        self.dying = left, right
        self.tail_left = self.ramp

    # --- commands ----------------------------------------------------------------

    def obey(self, told: Told) -> None:
        getattr(self, f"do_{told.what}")(told)

    def do_play(self, told: Told) -> None:
        if self.state == "stopped":
            self.flow = Way()
        else:
            self.flow.go(1.0, told.frames)
        self.state = "playing"

    def do_resume(self, told: Told) -> None:
        if self.state in ("paused", "pausing"):
            self.flow.go(1.0, told.frames)
            self.state = "playing"

    def do_pause(self, told: Told) -> None:
        if self.state == "playing":
            if self.sounding and told.frames > 0:
                self.flow.go(0.0, told.frames)
                self.state = "pausing"
            else:
                self.state = "paused"

    def do_hold(self, told: Told) -> None:
        if self.state == "playing" and not self.sounding:
            self.state = "paused"

    def do_stop(self, told: Told) -> None:
        if self.read < self.skip:
            self.state = "stopping"
        else:
            if self.sounding and self.read != self.ended:
                self.begin_tail()
            self.sounding = False
            self.state = "stopped"

    def do_end(self, told: Told) -> None:
        if self.sounding and told.frames > 0:
            self.flow.go(0.0, told.frames)
            self.state = "ending"
        elif self.state != "stopped":
            self.sounding = False
            self.state = "ending"
            self.rest()

    def do_gain(self, told: Told) -> None:
        self.gain.go(told.value, told.frames, told.curve)

    def do_set_gain(self, told: Told) -> None:
        if told.value != self.gain.goal:  # else it is there, or on its way
            self.gain.go(told.value, told.frames if self.sounding else 0)

    def do_mute(self, told: Told) -> None:
        self.mute.go(told.value, told.frames if self.sounding else 0)

    def do_pan(self, told: Told) -> None:
        angle = (told.value + 1) * math.pi / 4
        values = (math.sqrt(2) * math.cos(angle), math.sqrt(2) * math.sin(angle))
        for side, value in zip(self.sides, values, strict=True):
            side.go(1.0 if told.value == 0 else value, told.frames if self.sounding else 0)
