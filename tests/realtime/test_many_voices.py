"""Many voices whose levels move: pans, mutes, fades on curves.

Each is compared with an oracle of its own, frame by frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from audiostream.realtime import opcodes
from audiostream.realtime.opcodes import EQUAL_POWER, EXPONENTIAL, LINEAR
from tests.realtime.oracle import Oracle, Ramp
from tests.realtime.rig import PLAIN, Form, Rig, compiled
from tests.realtime.test_voice_control import turns

pytestmark = pytest.mark.numbers


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    """Both forms of the kernels."""
    return PLAIN if request.param == "plain" else compiled()


class Many:
    """Voices of noise that play on, and oracles with the same commands."""

    def __init__(
        self, form: Form, voices: int, *, channels: int = 2, slice: int = 64, frames: int = 4000
    ) -> None:
        self.rig = Rig(form, voices=voices, channels=channels, slice=slice, capacity=4096)
        self.oracles = [Oracle(0) for _ in range(voices)]
        self.channels = channels
        random = np.random.default_rng(voices)
        for slot, oracle in enumerate(self.oracles):
            data = random.uniform(-0.4 / voices, 0.4 / voices, frames).astype(np.float32)
            self.rig.write(data, slot)
            oracle.data += data.tolist()
            self.rig.play(slot)
            oracle.command("play")
        self.render(8)
        self.render(8)

    def render(self, frames: int) -> np.ndarray:
        """A block, the same from both."""
        played = self.rig.render(frames)
        wanted = sum(np.array(oracle.play(frames)) for oracle in self.oracles)
        # An output that is not stereo plays all of its channels alike, and pans nothing.
        wanted = np.asarray(wanted)
        if self.channels != 2:
            wanted = wanted[:, :1].repeat(self.channels, axis=1)
        at = f"to {self.rig.stream['frames']}"
        np.testing.assert_allclose(played, wanted, atol=2e-6, err_msg=at)
        return played

    def fade(self, slot: int, value: float, frames: int, curve: int = LINEAR) -> None:
        more = turns(frames, curve) if frames else {}
        self.rig.give(opcodes.GAIN, slot, value=value, frames=frames, shape=curve, **more)
        self.oracles[slot].command("gain", -1, value, frames, curve)

    def mute(self, slot: int, value: float, frames: int) -> None:
        self.rig.give(opcodes.SILENCE, slot, value=value, frames=frames)
        self.oracles[slot].mute.go(value, frames)

    def pan(self, slot: int, pan: float, frames: int) -> None:
        angle = (pan + 1) * math.pi / 4
        left, right = math.sqrt(2) * math.cos(angle), math.sqrt(2) * math.sin(angle)
        if pan == 0:
            left = right = 1.0
        self.rig.give(opcodes.PAN, slot, value=left, turn=right, frames=frames)
        if self.channels == 2:
            self.oracles[slot].sides[0].go(left, frames)
            self.oracles[slot].sides[1].go(right, frames)

    def check(self) -> None:
        """As much was read as by the oracle."""
        assert self.rig.reads() == [oracle.read for oracle in self.oracles]
        self.rig.check()


Tell = Callable[[Many, int, int], None]

MOVES: dict[str, Tell] = {
    "gain": lambda many, slot, frames: many.fade(slot, 0.2, frames),
    "mute": lambda many, slot, frames: many.mute(slot, 0.0, frames),
    "pan": lambda many, slot, frames: many.pan(slot, -0.7, frames),
    "exponential": lambda many, slot, frames: many.fade(slot, 0.0, frames, EXPONENTIAL),
    "exponential up": lambda many, slot, frames: many.fade(slot, 1.7, frames, EXPONENTIAL),
    "equal power": lambda many, slot, frames: many.fade(slot, 0.0, frames, EQUAL_POWER),
}
"""All that can move a voice's level."""


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("frames", [1, 16, 63, 64, 65, 128, 200])
def test_a_ramp_ends_at_its_goal_and_is_over(form: Form, move: str, frames: int) -> None:
    many = Many(form, 3)
    MOVES[move](many, 1, frames)
    for block in (64, 64, 64, 64, 17):
        many.render(block)
    many.check()
    voice = many.rig.table[1]
    oracle = many.oracles[1]
    assert voice["gain"] == oracle.gain.value
    assert voice["mute"] == oracle.mute.value
    assert (voice["left"], voice["right"]) == pytest.approx([w.value for w in oracle.sides])
    names = (
        "gain_remaining",
        "gain_step",
        "mute_remaining",
        "mute_step",
        "left_remaining",
        "left_step",
    )
    assert [float(voice[name]) for name in (*names, "gain_shape")] == [0.0] * 7


@pytest.mark.parametrize("curve", [LINEAR, EXPONENTIAL, EQUAL_POWER])
@pytest.mark.parametrize("pan", [0.0, 0.7])
def test_a_slot_that_is_taken_away_in_a_fade_is_silent(
    form: Form, curve: int, pan: float
) -> None:
    """As where no slot is left for a new voice: the callback may be at any point."""
    many = Many(form, 5)
    many.pan(2, pan, 0)
    for slot in range(5):
        many.fade(slot, 0.0, 1000, curve)
    for _ in range(15):
        many.render(64)
    many.rig.set("active", 0, 2)
    played = many.rig.render(64)
    assert np.abs(played).max() < 0.01, "one fifth of 0.4 is what it would be at its old level"
    assert not played[-20:].any()


@pytest.mark.parametrize("move", MOVES)
def test_a_ramp_that_is_replaced_goes_on_from_where_it_was(form: Form, move: str) -> None:
    many = Many(form, 5)
    MOVES[move](many, 2, 500)
    for block in (64, 50, 64):
        many.render(block)
    many.fade(2, 0.6, 333, EXPONENTIAL)
    many.pan(4, 0.5, 100)
    many.render(64)
    MOVES[move](many, 2, 90)
    for block in (64, 64, 9, 64):
        many.render(block)
    many.check()


def test_levels_that_move_at_once_are_multiplied(form: Form) -> None:
    many = Many(form, 1)
    many.fade(0, 0.3, 300)
    many.mute(0, 0.5, 200)
    many.pan(0, 0.9, 100)
    for _ in range(6):
        many.render(64)
    many.check()


def test_panned_voices_that_do_not_move(form: Form) -> None:
    many = Many(form, 6)
    for slot in range(0, 6, 2):
        many.pan(slot, slot / 6 - 0.4, 0)
    many.fade(4, 0.4, 0)
    for frames in (64, 64, 3, 64):
        many.render(frames)
    many.check()


@pytest.mark.parametrize("frames", range(1, 25))
def test_a_short_fade_of_equal_power_is_no_nan_at_its_end(form: Form, frames: int) -> None:
    """The cosine at its end is next to 0; of 13 and of 19 frames it is 0."""
    many = Many(form, 3)
    many.fade(1, 0.0, frames, EQUAL_POWER)
    many.render(frames)
    many.fade(1, 0.8, frames, EQUAL_POWER)
    many.render(frames)
    many.render(9)


def test_fades_of_hours_keep_their_lengths(form: Form) -> None:
    """The cosine of either's angle is 1."""
    many = Many(form, 8)
    for slot in range(8):
        many.fade(slot, 0.0, 0)
    many.render(64)
    for slot in range(8):
        many.fade(slot, 1e6, (200_000_000, 2_000_000_000)[slot % 2], EQUAL_POWER)
    for _ in range(4):
        many.render(64)


def test_a_voice_that_starves_leaves_the_others_alone(form: Form) -> None:
    many = Many(form, 5, frames=400)
    more = np.random.default_rng(9).uniform(-0.08, 0.08, 400).astype(np.float32)
    for slot in (0, 1, 3, 4):
        many.rig.write(more, slot)
        many.oracles[slot].data += more.tolist()
    for slot in range(5):
        many.fade(slot, 0.0, 600, EXPONENTIAL)
    for _ in range(9):
        many.render(64)


# --- curves ------------------------------------------------------------------------

CURVES: dict[str, Tell] = {
    "between two levels": lambda many, slot, frames: many.fade(slot, 0.4, frames, EQUAL_POWER),
    "and upwards": lambda many, slot, frames: many.fade(slot, 1.8, frames, EQUAL_POWER),
    "each of its length": lambda many, slot, frames: many.fade(
        slot, 0.0, 3 * frames + slot, EXPONENTIAL
    ),
    "each of its length upwards": lambda many, slot, frames: many.fade(
        slot, 2.0, 3 * frames + slot, EXPONENTIAL
    ),
    "each of its length to silence": lambda many, slot, frames: many.fade(
        slot, 0.0, frames + slot, EQUAL_POWER
    ),
}


@pytest.mark.parametrize("curve", CURVES)
def test_curves_end_at_their_goals(form: Form, curve: str) -> None:
    many = Many(form, 3)
    for slot in range(3):
        CURVES[curve](many, slot, 1000)
    many.render(64)
    while any(oracle.gain.moves for oracle in many.oracles):
        many.render(61)
    many.render(17)
    many.check()
    for slot, oracle in enumerate(many.oracles):
        assert many.rig.table[slot]["gain"] == oracle.gain.value


@pytest.mark.parametrize("curve", CURVES)
def test_a_curve_that_is_replaced_goes_on_from_where_it_was(form: Form, curve: str) -> None:
    many = Many(form, 4)
    for slot in range(4):
        CURVES[curve](many, slot, 1500)
    for block in (64, 50, 64):
        many.render(block)
    CURVES[curve](many, 1, 1200)
    many.pan(2, 0.5, 100)
    many.fade(3, 0.7, 50)
    for block in (64, 64, 9, 64):
        many.render(block)
    many.check()


@pytest.mark.parametrize(
    ("curve", "begin", "goal"),
    [
        (EXPONENTIAL, 1.0, 0.0),
        (EXPONENTIAL, 0.1, 1.0),
        (EQUAL_POWER, 1.0, 0.5),
        (EQUAL_POWER, 0.2, 0.9),
        (EQUAL_POWER, 0.01, 1.0),
        (EQUAL_POWER, 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("frames", [400, 5000, 70_000])
def test_a_curve_is_exact_all_along(curve: int, begin: float, goal: float, frames: int) -> None:
    """In blocks of a thousand frames, which work out many values from one."""
    rig = Rig(compiled(), capacity=32768, slice=1024)
    rig.write(np.ones(min(frames + 2048, 30_000), np.float32))
    rig.play()
    rig.give(opcodes.GAIN, value=begin)
    rig.render(1024)
    rig.give(opcodes.GAIN, value=goal, frames=frames, shape=curve, **turns(frames, curve))
    ramp = Ramp(value=begin)
    ramp.go(goal, frames, curve)
    worst = 0.0
    while ramp.moves:
        if int(rig.table[0]["write"]) - rig.read() < 2048:
            rig.write(np.ones(16_384, np.float32))
        played = rig.render(1024)[:, 0]
        wanted = [ramp.step() for _ in range(1024)]
        worst = max(worst, float(np.abs(played - wanted).max()))
    assert worst < 6.5e-7 * max(begin, goal)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_many_voices_are_told_many_things(seed: int, channels: int) -> None:
    """In blocks of any length, with ramps of many lengths."""
    random = np.random.default_rng(seed)
    many = Many(compiled(), 19, channels=channels, frames=4000)
    lengths = [0, 30, 64, 128, 200, 700, *random.integers(1, 900, 6).tolist()]
    lengths += random.integers(1000, 6000, 6).tolist()
    while many.oracles[0].read < 3800:
        for _ in range(int(random.integers(0, 4))):
            command(many, random, int(random.integers(19)), int(random.choice(lengths)))
        many.render(int(random.integers(1, 100)))
    many.check()


@pytest.mark.parametrize("seed", range(2))
def test_some_voices_are_told_some_things_in_the_plain_form(seed: int) -> None:
    random = np.random.default_rng(70 + seed)
    many = Many(PLAIN, 7, slice=32)
    for _ in range(40):
        command(many, random, int(random.integers(7)), int(random.choice([0, 20, 64, 300])))
        many.render(int(random.integers(1, 70)))
    many.check()


def command(many: Many, random: np.random.Generator, slot: int, frames: int) -> None:
    """Have one voice do something else from now on."""
    value = float(random.choice([0.0, 0.0, 0.3, 1.0, 1.4]))
    match random.choice(["fade", "fade", "pan", "mute"]):
        case "fade":
            many.fade(slot, value, frames, int(random.integers(3)))
        case "pan":
            many.pan(slot, float(random.choice([-1.0, -0.4, 0.0, 0.8])), frames)
        case _:
            many.mute(slot, float(value > 0), frames)


@pytest.mark.parametrize("seed", range(4))
def test_voices_pause_and_starve(seed: int) -> None:
    """Beside pans and gains that do not move."""
    random = np.random.default_rng(seed)
    voices = 6
    rig = Rig(compiled(), voices=voices, capacity=2048, ramp=100)
    oracles = [Oracle(100) for _ in range(voices)]
    for slot, oracle in enumerate(oracles):
        rig.play(slot)
        oracle.command("play")
        rig.give(opcodes.PAN, slot, value=0.5, turn=1.2)
        for side, value in zip(oracle.sides, (0.5, 1.2), strict=True):
            side.go(value, 0)
        rig.give(opcodes.GAIN, slot, value=0.5 + 0.1 * slot)
        oracle.command("gain", -1, 0.5 + 0.1 * slot)
    for _ in range(300):
        slot = int(random.integers(voices))
        if len(oracles[slot].data) - oracles[slot].read < 800:
            data = random.uniform(-0.1, 0.1, int(random.integers(1, 1000))).astype(np.float32)
            rig.write(data, slot)
            oracles[slot].data += data.tolist()
        match random.integers(6):
            case 0:
                rig.give(opcodes.PAUSE, slot, frames=100, snap=1)
                oracles[slot].command("pause", frames=100)
            case 1 | 2:
                frames = int(random.integers(1, 400))
                rig.give(opcodes.RESUME, slot, frames=frames)
                oracles[slot].command("resume", frames=frames)
            case _:
                pass
        frames = int(random.integers(1, 80))
        wanted = sum(np.array(oracle.play(frames)) for oracle in oracles)
        np.testing.assert_allclose(rig.render(frames), wanted, atol=2e-6)
    found = [(int(v["starved"]), int(v["shortages"])) for v in rig.table]
    assert found == [(oracle.starved, oracle.shortages) for oracle in oracles]
    rig.check()
