"""One voice, frame by frame, in the plainest Python: what the mixer is compared with.

It knows no blocks: what the audio thread does in the middle of a block, it does between two
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
class Ramp:
    """A factor that moves from one value to another."""

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
class Command:
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
    is_starved: bool = False
    shortages: int = 0
    starved: int = 0
    gain: Ramp = field(default_factory=Ramp)
    mute: Ramp = field(default_factory=Ramp)
    transport: Ramp = field(default_factory=Ramp)
    fade_in: Ramp = field(default_factory=Ramp)
    sides: tuple[Ramp, Ramp] = field(default_factory=lambda: (Ramp(), Ramp()))
    dying: tuple[float, float] = (0.0, 0.0)  # the declick's first frame
    declick_left: int = 0
    clean: int = 0
    commands: list[Command] = field(default_factory=list)
    frame: int = 0
    count: int = 0

    # --- callers -----------------------------------------------------------------

    def command(
        self, what: str, at: int = -1, value: float = 0.0, frames: int = 0, curve: int = 0
    ) -> None:
        self.commands.append(Command(at, self.count, what, value, frames, curve))
        self.count += 1

    def clear(self, fade: int) -> None:
        self.skip, self.fade = len(self.data), fade

    # --- the device --------------------------------------------------------------

    def play(self, frames: int) -> list[tuple[float, float]]:
        return [self.next() for _ in range(frames)]

    def next(self) -> tuple[float, float]:
        due = sorted(command for command in self.commands if command.at <= self.frame)
        for command in due:
            self.commands.remove(command)
            self.obey(command)
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
            self.transport = Ramp()
        self.rest()

    def jump(self, to: int) -> None:
        self.read = self.clean = to
        self.sounding = self.is_starved = False
        self.fade_left = 0
        self.fade_in = Ramp()

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
                if self.is_starved and self.read != self.ended:
                    self.fade_in = Ramp(0.0)
                    self.fade_in.go(1.0, self.ramp)
                self.is_starved = False
            out = self.sound(1.0)
            if self.state in ("pausing", "ending") and not self.transport.moves:
                self.sounding = False
                self.rest()
            return out
        self.run_dry()
        return self.silence()

    def run_dry(self) -> None:
        sounded, self.sounding = self.sounding, False
        if self.read == self.ended:
            self.is_starved = False
        else:
            if sounded:
                self.begin_declick()
            if self.read in (self.skip, self.clean):
                self.is_starved = False
            else:
                self.is_starved = self.is_starved or sounded
                if self.state == "playing":
                    self.shortages += sounded
                    self.starved += 1
        if self.state != "playing":
            self.transport = Ramp()
            self.rest()

    def sound(self, fade: float) -> tuple[float, float]:
        sample = self.data[self.read]
        self.read += 1
        level = (
            self.gain.step() * self.mute.step() * self.transport.step() * self.fade_in.step()
        )
        left, right = (sample * level * fade * side.step() for side in self.sides)
        declick = self.declick()
        return left + declick[0], right + declick[1]

    def silence(self) -> tuple[float, float]:
        for ramp in (self.gain, self.mute, self.transport, self.fade_in, *self.sides):
            ramp.step()
        return self.declick()

    def declick(self) -> tuple[float, float]:
        if not self.declick_left:
            return 0.0, 0.0
        self.declick_left -= 1
        left, right = (value * self.declick_left / self.ramp for value in self.dying)
        return left, right

    def begin_declick(self) -> None:
        level = self.gain.value * self.mute.value * self.transport.value * self.fade_in.value
        last = self.data[self.read - 1] * level
        before = self.declick_left / max(self.ramp, 1)
        left, right = (
            last * side.value + value * before
            for side, value in zip(self.sides, self.dying, strict=True)
        )
        self.dying = left, right
        self.declick_left = self.ramp

    # --- commands ----------------------------------------------------------------

    def obey(self, command: Command) -> None:
        getattr(self, f"do_{command.what}")(command)

    def do_play(self, command: Command) -> None:
        if self.state == "stopped":
            self.transport = Ramp()
        else:
            self.transport.go(1.0, command.frames)
        self.state = "playing"

    def do_resume(self, command: Command) -> None:
        if self.state in ("paused", "pausing"):
            self.transport.go(1.0, command.frames)
            self.state = "playing"

    def do_pause(self, command: Command) -> None:
        if self.state == "playing":
            if self.sounding and command.frames > 0:
                self.transport.go(0.0, command.frames)
                self.state = "pausing"
            else:
                self.state = "paused"

    def do_hold(self, command: Command) -> None:
        if self.state == "playing" and not self.sounding:
            self.state = "paused"

    def do_stop(self, command: Command) -> None:
        if self.read < self.skip:
            self.state = "stopping"
        else:
            if self.sounding and self.read != self.ended:
                self.begin_declick()
            self.sounding = False
            self.state = "stopped"

    def do_end(self, command: Command) -> None:
        if self.sounding and command.frames > 0:
            self.transport.go(0.0, command.frames)
            self.state = "ending"
        elif self.state != "stopped":
            self.sounding = False
            self.state = "ending"
            self.rest()

    def do_gain(self, command: Command) -> None:
        self.gain.go(command.value, command.frames, command.curve)

    def do_set_gain(self, command: Command) -> None:
        if command.value != self.gain.goal:  # else it is there, or moves there
            self.gain.go(command.value, command.frames if self.sounding else 0)

    def do_mute(self, command: Command) -> None:
        self.mute.go(command.value, command.frames if self.sounding else 0)

    def do_pan(self, command: Command) -> None:
        angle = (command.value + 1) * math.pi / 4
        values = (math.sqrt(2) * math.cos(angle), math.sqrt(2) * math.sin(angle))
        for side, value in zip(self.sides, values, strict=True):
            side.go(
                1.0 if command.value == 0 else value, command.frames if self.sounding else 0
            )
