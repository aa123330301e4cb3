"""Starts, stops, fades, clears and shortages, sample by sample against the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from audiostream.realtime import opcodes
from audiostream.realtime.memory.layout import COMMAND_BYTES, COMMANDS
from audiostream.realtime.opcodes import EQUAL_POWER, EXPONENTIAL, LINEAR
from tests.realtime.oracle import STEEP, Oracle
from tests.realtime.rig import PLAIN, Form, Rig, compiled

pytestmark = pytest.mark.numbers

RATE = 32768  # so that every frame's time is exact


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    return PLAIN if request.param == "plain" else compiled()


def turns(frames: int, curve: int) -> dict[str, float]:
    """What a command needs to follow a curve."""
    if curve == EXPONENTIAL:
        return {"turn": math.exp(STEEP / frames), "turn_other": math.exp(STEEP)}
    if curve == EQUAL_POWER:
        angle = math.pi / 2 / frames
        return {"turn": math.cos(angle), "turn_other": math.sin(angle)}
    return {}


class Both:
    """The mixer's voice and the oracle's, with the same commands."""

    def __init__(self, form: Form, ramp: int = 20, **shape: Any) -> None:
        self.rig = Rig(form, rate=RATE, channels=2, capacity=1024, ramp=ramp, **shape)
        self.oracle = Oracle(ramp)
        self.ramp = ramp
        self.worst = 0.0

    @property
    def frame(self) -> int:
        return int(self.rig.stream["frames"])

    def room(self) -> int:
        return self.rig.room() - self.rig.slice

    def write(self, samples: Any) -> None:
        samples = np.asarray(samples, np.float32)[: self.room()]
        self.rig.write(samples)
        self.oracle.data += samples.tolist()

    def end(self) -> None:
        self.rig.set("ended", int(self.rig.table[0]["write"]), 0)
        self.oracle.ended = len(self.oracle.data)

    def clear(self, fade: int) -> None:
        self.rig.table[0]["fade"] = fade
        self.rig.set("skip", int(self.rig.table[0]["write"]), 0)
        self.oracle.clear(fade)

    def command(
        self,
        kind: int,
        what: str,
        at: int = -1,
        *,
        value: float = 0.0,
        frames: int = 0,
        curve: int = LINEAR,
        snap: bool = False,
        **more: float,
    ) -> None:
        if frames and curve:
            more = turns(frames, curve)
        when = 0.0 if at < 0 else 1.0 + at / RATE
        self.rig.give(
            kind, at=when, value=value, frames=frames, shape=curve, snap=int(snap), **more
        )
        self.oracle.command(what, at, more.get("pan", value), frames, curve)

    def play(self, at: int = -1) -> None:
        self.command(opcodes.PLAY, "play", at, frames=self.ramp)

    def play_not_before(self, at: int) -> None:
        self.command(opcodes.HOLD, "hold")
        self.play(at)

    def pause(self, at: int = -1) -> None:
        self.command(opcodes.PAUSE, "pause", at, frames=self.ramp)

    def resume(self, at: int = -1) -> None:
        self.command(opcodes.RESUME, "resume", at, frames=self.ramp)

    def stop(self, fade: int) -> None:
        self.clear(fade)
        self.command(opcodes.STOP, "stop")

    def stop_at(self, at: int, fade: int) -> None:
        self.command(opcodes.END, "end", at, frames=fade)

    def gain(self, value: float, at: int = -1) -> None:
        self.command(opcodes.GAIN, "set_gain", at, value=value, frames=self.ramp, snap=True)

    def fade(self, value: float, frames: int, curve: int = LINEAR, at: int = -1) -> None:
        self.command(opcodes.GAIN, "gain", at, value=value, frames=frames, curve=curve)

    def mute(self, value: float, at: int = -1) -> None:
        self.command(opcodes.SILENCE, "mute", at, value=value, frames=self.ramp, snap=True)

    def pan(self, pan: float, at: int = -1) -> None:
        angle = (pan + 1) * math.pi / 4
        left, right = math.sqrt(2) * math.cos(angle), math.sqrt(2) * math.sin(angle)
        if pan == 0:
            left = right = 1.0
        when = 0.0 if at < 0 else 1.0 + at / RATE
        self.rig.give(opcodes.PAN, at=when, value=left, turn=right, frames=self.ramp, snap=1)
        self.oracle.command("pan", at, pan, self.ramp)

    def render(self, frames: int) -> np.ndarray:
        """A block, the same from both."""
        played = self.rig.render(frames)
        wanted = np.array(self.oracle.play(frames))
        np.testing.assert_allclose(played, wanted, atol=1e-6, err_msg=f"to {self.frame}")
        voice = self.rig.table[0]
        oracle = self.oracle
        assert self.rig.read() == oracle.read
        assert (int(voice["shortages"]), int(voice["starved"])) == (
            oracle.shortages,
            oracle.starved,
        )
        return played


def some_command(both: Both, rng: np.random.Generator) -> None:
    """Tell both of them something, now, at a time to come, or at one that is past."""
    at = -1
    if rng.random() < 0.5:
        at = max(both.frame + int(rng.integers(-20, 300)), 0)
    value = float(rng.choice([0.0, 0.3, 0.7, 1.0, 1.3]))
    frames = int(rng.integers(0, 150))
    what = rng.choice(
        ["play", "pause", "resume", "stop", "stop_at", "gain", "fade", "mute", "pan", "clear"],
        p=[0.2, 0.1, 0.13, 0.05, 0.07, 0.1, 0.13, 0.07, 0.1, 0.05],
    )
    if what == "play" and at >= 0 and rng.random() < 0.5:
        both.play_not_before(at)
    elif what in ("play", "pause", "resume"):
        getattr(both, what)(at)
    elif what in ("stop", "clear"):
        getattr(both, what)(frames)
    elif what == "stop_at":
        both.stop_at(max(at, 0), frames)
    elif what == "fade":
        both.fade(value, frames, int(rng.integers(0, 3)), at)
    elif what == "pan":
        both.pan(float(rng.choice([-1.0, -0.4, 0.0, 0.8])), at)
    else:
        getattr(both, what)(value if what == "gain" else float(value > 0.5), at)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ramp", [0, 20, 160])
def test_a_thousand_commands_at_odd_times(seed: int, ramp: int) -> None:
    """With writes, ends and shortages between them, in blocks of any length."""
    rng = np.random.default_rng(seed)
    both = Both(compiled(), ramp, slice=64)
    both.play()
    given = 0
    while given < 1000:
        if len(both.oracle.commands) < COMMANDS - 2:
            some_command(both, rng)
            given += 1
        for _ in range(int(rng.integers(0, 3))):
            if rng.random() < 0.7:
                both.write(rng.uniform(-0.3, 0.3, int(rng.integers(1, 120))))
            if rng.random() < 0.15:
                both.end()
            both.render(int(rng.integers(1, 120)))
    assert both.oracle.shortages > 20
    both.rig.check()


@pytest.mark.parametrize("seed", range(2))
def test_some_commands_in_the_plain_form(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    both = Both(PLAIN, 12, slice=16)
    both.play()
    for _ in range(120):
        some_command(both, rng)
        if rng.random() < 0.6:
            both.write(rng.uniform(-0.3, 0.3, int(rng.integers(1, 40))))
        both.render(int(rng.integers(1, 24)))
        if len(both.oracle.commands) > 40:
            both.render(300)
    both.rig.check()


# --- one thing at a time -----------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 64, 300])
def test_a_start_at_a_time_is_on_that_very_frame(form: Form, block: int) -> None:
    both = Both(form, slice=64)
    both.write(np.full(500, 0.25))
    both.play(at=333)
    played = np.concatenate([both.render(block) for _ in range(-(-600 // block))])
    assert np.flatnonzero(played[:, 0])[0] == 333
    assert (played[333 : 333 + 500] == 0.25).all(), "bit for bit, from its first frame"
    assert not played[333 + 500 + both.ramp :].any()


def test_a_time_that_is_past_says_by_how_much(form: Form) -> None:
    both = Both(form, slice=64)
    both.write(np.full(100, 0.25))
    both.render(50)
    both.play(at=20)
    played = both.render(10)
    assert (played == 0.25).all()
    assert int(both.rig.table[0]["late"]) == 30


def test_a_command_that_was_taken_back_does_nothing(form: Form) -> None:
    both = Both(form, slice=64)
    both.write(np.full(100, 0.25))
    number = both.rig.give(opcodes.PLAY, at=1.0 + 10 / RATE)
    address = both.rig.commands[0].address + number * COMMAND_BYTES
    assert form.swap_word(address, opcodes.PLAY, opcodes.NOTHING)
    assert not both.rig.render(64).any()
    assert int(both.rig.table[0]["command_taken"]) == 1, "and its place is free"


def test_a_command_that_is_being_put_in_anothers_place_waits(form: Form) -> None:
    both = Both(form, slice=64)
    both.write(np.full(200, 0.25))
    number = both.rig.give(opcodes.PLAY)
    address = both.rig.commands[0].address + number * COMMAND_BYTES
    assert form.swap_word(address, opcodes.PLAY, opcodes.WRITTEN)
    assert not both.rig.render(64).any()
    assert int(both.rig.table[0]["command_taken"]) == 0
    form.store_word(address, opcodes.PLAY)
    assert (both.rig.render(64) == 0.25).all()
    assert int(both.rig.table[0]["command_taken"]) == 1


@pytest.mark.parametrize("ramp", [20, 160])
def test_no_step_is_larger_than_the_signals_and_the_ramps(ramp: int) -> None:
    """A slow sine, cut, paused, muted, panned and starved again and again."""
    rng = np.random.default_rng(5)
    both = Both(compiled(), ramp, slice=64)
    both.play()
    phase = 0
    played = []
    for number in range(400):
        if both.room() > 200 and rng.random() < 0.8:
            both.write(0.25 * np.sin((phase + np.arange(150)) * 2 * np.pi / 700))
            phase += 150
        what = number % 8
        if what == 0:
            both.pause()
        elif what == 1:
            both.resume()
        elif what == 2:
            both.mute(0.0)
        elif what == 3:
            both.mute(1.0)
        elif what == 4:
            both.pan(float(rng.choice([-0.7, 0.0, 0.5])))
        elif what == 5:
            both.gain(float(rng.choice([0.2, 1.0])))
        elif what == 6 and number % 24 == 6:
            both.stop_at(both.frame + 10, ramp)
            played.append(both.render(300))
            phase = 0  # what begins after a stop begins as it is: at a zero
            both.play()
        played.append(both.render(int(rng.integers(20, 200))))
    assert both.oracle.shortages > 10
    steps = np.abs(np.diff(np.concatenate(played), axis=0)).max()
    loudest = 0.25 * math.sqrt(2)
    slope = loudest * 2 * np.pi / 700
    # Three ramps at once may be steep, and a declick beside the fade in.
    assert steps < slope + 5 * loudest / ramp
    assert steps > slope / 2


def test_running_dry_leaves_the_last_frame_to_die_away(form: Form) -> None:
    both = Both(form, ramp=10, slice=64)
    both.write(np.full(30, 0.5))
    both.play()
    played = both.render(64)[:, 0]
    assert (played[:30] == 0.5).all(), "the real frames stay as they are"
    np.testing.assert_allclose(played[30:40], 0.5 * np.arange(9, -1, -1) / 10, atol=1e-7)
    assert not played[40:].any()
    both.write(np.full(64, 0.5))
    back = both.render(64)[:, 0]
    np.testing.assert_allclose(back[:10], 0.5 * np.arange(1, 11) / 10, atol=1e-7)
    assert (back[10:] == 0.5).all()
    assert int(both.rig.table[0]["shortages"]) == 1
    assert int(both.rig.table[0]["starved"]) == 34


def test_a_fade_that_an_end_cuts_short_leaves_nothing_for_the_next(form: Form) -> None:
    rig = Rig(form, channels=1, slice=64, capacity=4096)
    half = np.full(2000, 0.5, np.float32)
    rig.write(half)
    rig.play()
    rig.render(64)
    rig.clear(400)
    rig.render(64)
    rig.give(opcodes.END, frames=0)
    rig.render(64)
    rig.write(half)
    rig.play()
    assert rig.render(64)[-1, 0] == 0.5
    rig.clear(100)
    wanted = 0.5 * (1 - np.arange(1, 65) / 100)
    np.testing.assert_allclose(rig.render(64)[:, 0], wanted, atol=1e-6)


def test_an_end_is_no_starvation_and_the_next_begins_as_it_is(form: Form) -> None:
    both = Both(form, ramp=10, slice=64)
    both.write(np.full(30, 0.5))
    both.end()
    both.play()
    played = both.render(64)[:, 0]
    assert played.tolist() == [0.5] * 30 + [0.0] * 34
    both.write(np.full(64, 0.25))
    assert (both.render(64) == 0.25).all()
    assert int(both.rig.table[0]["shortages"]) == 0


@pytest.mark.parametrize("rebuffer", [0, 1])
def test_a_prebuffer_is_waited_for(form: Form, rebuffer: int) -> None:
    rig = Rig(form, rate=RATE, channels=1, capacity=1024, slice=64)
    voice = rig.table[0]
    voice["filling"], voice["prebuffer"], voice["rebuffer"] = 1, 50, rebuffer
    rig.play()
    rig.write(np.full(40, 0.5))
    assert not rig.render(30).any()
    assert int(voice["starved"]) == 0, "it has not begun"
    rig.write(np.full(10, 0.5))
    assert (rig.render(50) == 0.5).all()
    assert not rig.render(10).any()  # starved
    rig.write(np.full(20, 0.5))
    assert bool(rig.render(10).any()) != bool(rebuffer)
    if rebuffer:
        assert int(voice["starved"]) == 20, "what it waits for again is late"
        rig.write(np.full(30, 0.5))
        assert (rig.render(50) == 0.5).all()
    rig.check()


def test_an_end_is_as_good_as_a_prebuffer(form: Form) -> None:
    rig = Rig(form, rate=RATE, channels=1, capacity=1024, slice=64)
    voice = rig.table[0]
    voice["filling"], voice["prebuffer"] = 1, 50
    rig.play()
    rig.write(np.full(20, 0.5))
    rig.set("ended", 20, 0)
    assert rig.render(30).tolist() == [[0.5]] * 20 + [[0.0]] * 10
    rig.write(np.full(20, 0.5))  # the next one waits again
    assert not rig.render(30).any()
    assert int(voice["starved"]) == 0


def test_the_clock_is_smoothed(form: Form) -> None:
    """Jitter of 2 ms in what the host says is less than 0.2 ms in when a frame is heard."""
    rig = Rig(form, rate=RATE, channels=1, slice=64, voices=1)
    rng = np.random.default_rng(1)
    errors = []
    for number in range(600 if form.name == "plain" else 4000):
        frames = int(rig.stream["frames"])
        true = 1.0 + frames / RATE * 1.0001  # the device is 100 ppm slow
        rig.render_at(64, now=true, dac=true + 0.01 + rng.uniform(-0.001, 0.001))
        heard = form.heard_at(rig.address, frames) * 1e-9
        if number > 300:
            errors.append(heard - (true + 0.01))
    assert np.abs(errors).max() < 2e-4
    assert np.std(errors) < 1e-4


def test_an_underrun_sets_the_clock_anew(form: Form) -> None:
    rig = Rig(form, rate=RATE, channels=1, slice=64)
    rig.render_at(64, now=1.0, dac=1.01)
    rig.render_at(64, now=1.0 + 64 / RATE, dac=1.01 + 64 / RATE)
    assert form.heard_at(rig.address, 128) == pytest.approx(1e9 * (1.01 + 128 / RATE), abs=2)
    later = 1.5
    rig.render_at(64, now=later, dac=later + 0.01, flags=4)
    assert form.heard_at(rig.address, 128) == pytest.approx(1e9 * 1.51, abs=2)
