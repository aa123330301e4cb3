"""Voices in line whose level is on its way: pans, mutes, fades on curves, many at a time.

Each is compared with an oracle of its own, frame by frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream.realtime import bends, course, curves, envelope, kinds, mixer, ways
from audiostream.realtime.kinds import EQUAL_POWER, EXPONENTIAL, LINEAR
from audiostream.realtime.layout import COURSE_NUMBERS, CURVES, PASS
from tests.realtime.oracle import Oracle, Way
from tests.realtime.rig import PLAIN, Form, Rig, compiled
from tests.realtime.test_voice_control import turns


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    """Both forms of the kernels."""
    return PLAIN if request.param == "plain" else compiled()


class Many:
    """Voices of noise that play on, and the oracles that are told the same."""

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
            oracle.tell("play")
        self.render(8)
        self.render(8)  # they are heard from here on, and in line

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
        self.rig.give(kinds.GAIN, slot, value=value, frames=frames, shape=curve, **more)
        self.oracles[slot].tell("gain", -1, value, frames, curve)

    def mute(self, slot: int, value: float, frames: int) -> None:
        self.rig.give(kinds.SILENCE, slot, value=value, frames=frames)
        self.oracles[slot].mute.go(value, frames)

    def pan(self, slot: int, pan: float, frames: int) -> None:
        angle = (pan + 1) * math.pi / 4
        left, right = math.sqrt(2) * math.cos(angle), math.sqrt(2) * math.sin(angle)
        if pan == 0:
            left = right = 1.0
        self.rig.give(kinds.PAN, slot, value=left, turn=right, frames=frames)
        if self.channels == 2:
            self.oracles[slot].sides[0].go(left, frames)
            self.oracles[slot].sides[1].go(right, frames)

    def in_line(self) -> list[int]:
        """The slots of the voices in line, as they stand there."""
        first, size = self.rig.voice_address(0), self.rig.table.itemsize
        lined_up = self.rig.lined_up["line"].array[: int(self.rig.stream["line_count"])]
        slots = [(int(address) - first) // size for address in lined_up]
        return [slot for slot in slots if 0 <= slot < len(self.oracles)]

    def check(self) -> None:
        """As much was read as by the oracle, once all are told anew."""
        for slot in range(len(self.oracles)):
            self.rig.changed(slot)
        self.render(1)
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
"""All that a voice may be in the midst of while it is in line."""


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("move", MOVES)
def test_whatever_moves_moves_in_line(
    move: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Many(PLAIN, PASS + 1, channels=channels)
    for slot in range(PASS + 1):
        MOVES[move](many, slot, 400)
    many.rig.changed()
    monkeypatch.setattr(mixer, "mix_careful", lambda *_: pytest.fail("the long way"))
    for frames in (64, 1, 7, 64, 100, 63, 64):
        many.render(frames)
    assert sorted(many.in_line()) == list(range(PASS + 1))


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("frames", [1, 16, 63, 64, 65, 128, 200])
def test_a_way_ends_where_it_should_and_is_over(form: Form, move: str, frames: int) -> None:
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
    names = ("gain_left", "gain_step", "mute_left", "mute_step", "left_left", "left_step")
    assert [float(voice[name]) for name in (*names, "shape")] == [0.0] * 7
    assert sorted(many.in_line()) == [0, 1, 2]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("frames", [200, 255, 256, 257])
def test_a_way_ends_in_line_in_the_midst_of_a_block(
    move: str, channels: int, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside ways that end elsewhere in the same block, and one that goes on."""
    many = Many(PLAIN, 2 * PASS + 1, channels=channels)
    for slot in range(2 * PASS):
        MOVES[move](many, slot, frames + 5 * (slot // 2))
    MOVES[move](many, 2 * PASS, 1000)
    many.rig.changed()
    monkeypatch.setattr(mixer, "mix_careful", lambda *_: pytest.fail("the long way"))
    for block in (64, 64, 64, 64, 64, 7):
        many.render(block)
    places = (
        many.rig.table["gain_left"],
        many.rig.table["mute_left"],
        many.rig.table["left_left"],
    )
    for slot in range(2 * PASS):
        assert not sum(int(left[slot]) for left in places)
    assert sorted(many.in_line()) == list(range(2 * PASS + 1))
    many.check()


@pytest.mark.parametrize("curve", [LINEAR, EXPONENTIAL, EQUAL_POWER])
@pytest.mark.parametrize("pan", [0.0, 0.7])
def test_a_slot_that_is_taken_away_before_its_way_ends_is_not_loud_again(
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
    assert many.rig.stream["ramping"] == 0


def test_who_was_on_a_curve_is_summed_evenly_once_it_is_over(form: Form) -> None:
    many = Many(form, 3 * PASS)
    for slot in range(2 * PASS):
        many.fade(slot, 0.3, 300 + slot // PASS, EXPONENTIAL)
    for slot in range(2 * PASS, 3 * PASS):
        many.fade(slot, 0.5, 400 + 10 * slot, EQUAL_POWER)
    found = set()
    for _ in range(10):
        many.render(64)
        found |= set(
            many.rig.lined_up["ways"].array[: int(many.rig.stream["line_count"]) // PASS]
        )
    assert ways.BENT in found
    assert len(found) > 2
    places = int(many.rig.stream["line_count"]) // PASS
    assert many.rig.lined_up["ways"].array[:places].tolist() == [ways.EVEN] * 3
    assert sorted(many.in_line()) == list(range(3 * PASS))
    many.check()


def test_short_ramps_one_after_the_other_stay_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a synthesizer's that tells a gain in every block, over less than a block."""
    many = Many(PLAIN, PASS + 2)
    monkeypatch.setattr(mixer, "mix_careful", lambda *_: pytest.fail("the long way"))
    random = np.random.default_rng(5)
    for number in range(20):
        for slot in range(PASS + 2):
            how = (many.fade, many.pan, many.mute)[slot % 3]
            how(slot, float(random.uniform(0, 0.9)), int(random.integers(1, 60)))
        many.render(64 if number % 3 else 60)
        assert sorted(many.in_line()) == list(range(PASS + 2))
    many.check()


@pytest.mark.parametrize("move", MOVES)
def test_a_way_that_is_turned_aside_goes_on_from_where_it_was(form: Form, move: str) -> None:
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


def test_a_curve_out_of_silence_is_in_line_and_a_sharp_one_between_two_levels_is_not(
    form: Form,
) -> None:
    many = Many(form, 2)
    many.fade(0, 0.0, 0)
    many.render(64)
    many.fade(0, 0.8, 300, EQUAL_POWER)
    many.fade(1, 0.5, 300, EQUAL_POWER)
    many.render(64)
    many.render(64)
    assert many.in_line() == [0]
    for _ in range(4):
        many.render(64)
    assert sorted(many.in_line()) == [0, 1]


def test_two_things_that_move_at_once_go_the_long_way_till_one_is_there(form: Form) -> None:
    many = Many(form, 1)
    many.fade(0, 0.3, 300)
    many.pan(0, 0.9, 100)
    many.render(64)
    assert many.in_line() == []
    many.render(64)
    many.render(64)
    assert many.in_line() == [0]
    many.render(64)


def test_a_voice_elsewhere_than_in_the_middle_stands_in_line(form: Form) -> None:
    many = Many(form, 6)
    for slot in range(0, 6, 2):
        many.pan(slot, slot / 6 - 0.4, 0)
    many.fade(4, 0.4, 0)
    for frames in (64, 64, 3, 64):
        many.render(frames)
    assert sorted(many.in_line()) == list(range(6))
    many.check()


def test_more_sharp_curves_than_there_are_tables_for(form: Form) -> None:
    """Who comes too late goes the long way, and the line is not made anew for it again."""
    many = Many(form, CURVES + 3)
    for slot in range(CURVES + 3):
        many.fade(slot, 0.05 * slot, 301 + slot, EXPONENTIAL)
    many.render(64)
    many.render(64)
    assert sorted(many.in_line()) == list(range(CURVES))
    assert int(many.rig.stream["lined_up"]) == int(many.rig.stream["changes"])
    many.pan(CURVES + 1, 0.3, 0)
    for _ in range(4):
        many.render(64)
    assert sorted(many.in_line()) == list(range(CURVES + 3)), "once the curves have ended"
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


def test_fades_of_hours_are_not_taken_for_one_another(form: Form) -> None:
    """The cosine of either's angle is 1."""
    many = Many(form, 2 * PASS)
    for slot in range(2 * PASS):
        many.fade(slot, 0.0, 0)
    many.render(64)
    for slot in range(2 * PASS):
        many.fade(slot, 1e6, (200_000_000, 2_000_000_000)[slot % 2], EQUAL_POWER)
    for _ in range(4):
        many.render(64)
    assert sorted(many.in_line()) == list(range(2 * PASS))
    assert len({int(many.rig.table[slot]["way"]) for slot in range(2)} - {ways.BENT}) == 2


def test_one_curve_serves_all_that_are_on_it_and_again(monkeypatch: Any) -> None:
    drawn = []
    real = curves.draw
    monkeypatch.setattr(curves, "draw", lambda *what: (drawn.append(1), real(*what)))
    many = Many(PLAIN, 6)
    for goal in (0.0, 1.0, 0.0):
        for slot in range(6):
            many.fade(slot, goal, 200, EQUAL_POWER)
        for _ in range(4):
            many.render(64)
    assert drawn == [1]


def test_of_a_pass_that_runs_out_the_others_go_on(form: Form) -> None:
    many = Many(form, 5, frames=400)
    more = np.random.default_rng(9).uniform(-0.08, 0.08, 400).astype(np.float32)
    for slot in (0, 1, 3, 4):
        many.rig.write(more, slot)
        many.oracles[slot].data += more.tolist()
    for slot in range(5):
        many.fade(slot, 0.0, 600, EXPONENTIAL)
    for _ in range(9):
        many.render(64)
    assert sorted(many.in_line()) == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("goal", "curve", "others"),
    [(0.0, EXPONENTIAL, 3), (0.0, EXPONENTIAL, 0), (0.4, EQUAL_POWER, 0)],
)
def test_the_levels_of_a_curve_are_noted_as_it_goes(
    form: Form, goal: float, curve: int, others: int
) -> None:
    """On straight ways between the points that a meter knows, it is where it should be."""
    many = Many(form, 1 + others)
    for slot in range(1 + others):
        many.fade(slot, goal, 3000, curve)
    begun = many.oracles[0].read
    for _ in range(40):
        many.render(64)
    assert 0 in many.in_line()
    count = int(many.rig.table[0]["level_count"])
    points = many.rig.levels_of(0)[:count]
    index = np.arange(begun + 1, begun + 2500)
    noted = np.interp(index - 0.5, points[:, 0], points[:, 1])
    way = Way()
    way.go(goal, 3000, curve)
    wanted = np.array([way.step() for _ in index])
    assert np.abs(noted - wanted).max() < 0.02
    assert 10 < count < 40


# --- curves by way of cubics -------------------------------------------------------

BENDS: dict[str, Tell] = {
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
"""Curves that there are no tables for."""


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("bend", BENDS)
def test_curves_without_tables_stay_in_line(
    bend: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside one another, and aside of the middle, in blocks of many lengths."""
    voices = CURVES + PASS + 1
    many = Many(PLAIN, voices, channels=channels)
    many.pan(2, -0.6, 0)
    many.mute(5, 0.3, 0)
    many.render(64)
    for slot in range(voices):
        BENDS[bend](many, slot, 1300)
    many.rig.changed()
    monkeypatch.setattr(mixer, "mix_careful", lambda *_: pytest.fail("the long way"))
    for frames in (64, 1, 7, 64, 100, 63, 64):
        many.render(frames)
    assert sorted(many.in_line()) == list(range(voices))
    assert ways.BENT in many.rig.lined_up["ways"].array[: int(many.rig.stream["line_count"])]


@pytest.mark.parametrize("bend", BENDS)
def test_curves_without_tables_end_where_they_should(form: Form, bend: str) -> None:
    voices = 3
    many = Many(form, voices)
    for slot in range(voices):
        BENDS[bend](many, slot, 1000)
    many.render(64)
    while any(oracle.gain.moves for oracle in many.oracles):
        many.render(61)
    many.render(17)
    many.check()
    for slot, oracle in enumerate(many.oracles):
        assert many.rig.table[slot]["gain"] == oracle.gain.value
    assert sorted(many.in_line()) == list(range(voices))


@pytest.mark.parametrize("bend", BENDS)
def test_curves_without_tables_are_turned_aside(form: Form, bend: str) -> None:
    many = Many(form, PASS)
    for slot in range(PASS):
        BENDS[bend](many, slot, 1500)
    for block in (64, 50, 64):
        many.render(block)
    BENDS[bend](many, 1, 1200)
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
@pytest.mark.parametrize("longest", [64, 32, 16])
def test_cubics_are_close_to_the_curve_as_sharp_as_it_may_be(
    curve: int, begin: float, goal: float, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the shortest fades whose pieces are that long, all along."""
    monkeypatch.setattr(curves, "CURVES", 0)  # no tables
    frames = shortest_fade(curve, begin, goal, longest)
    check_closeness(PLAIN, curve, begin, goal, frames, 64)


@pytest.mark.parametrize(
    ("curve", "begin", "goal"), [(EXPONENTIAL, 1, 0), (EQUAL_POWER, 0.2, 1)]
)
def test_cubics_are_as_close_in_long_blocks(curve: int, begin: float, goal: float) -> None:
    """Where many vectors lie between a piece's start and its end, rounded one by one."""
    frames = shortest_fade(curve, begin, goal, 1024, 1024)
    check_closeness(compiled(), curve, begin, goal, frames, 1024)


def check_closeness(
    form: Form, curve: int, begin: float, goal: float, frames: int, slice: int
) -> None:
    """A fade of one voice in line is no further off than CLOSE, and not much closer."""
    rig = Rig(form, capacity=32768, slice=slice)
    rig.write(np.ones(min(frames, 30_000), np.float32))
    rig.play()
    rig.give(kinds.GAIN, value=begin)
    rig.render(slice)
    rig.render(slice)
    rig.give(kinds.GAIN, value=goal, frames=frames, shape=curve, **turns(frames, curve))
    way = Way(value=begin)
    way.go(goal, frames, curve)
    worst = 0.0
    while rig.table[0]["gain_left"] != 0 or way.done == 0:
        if int(rig.table[0]["write"]) - rig.read() < 2 * slice:
            rig.write(np.ones(16_384, np.float32))
        played = rig.render(slice)[:, 0]
        assert rig.stream["line_count"] > 0
        wanted = [way.step() for _ in range(slice)]
        worst = max(worst, float(np.abs(played - wanted).max()))
        if not way.moves:
            break
    assert worst < (bends.CLOSE + 1.5e-7) * max(begin, goal)
    assert worst > 0.1 * bends.CLOSE * max(begin, goal), "shorter pieces than need be"


def shortest_fade(curve: int, begin: float, goal: float, longest: int, slice: int = 64) -> int:
    """Frames of a fade whose pieces are `longest` frames, but of any shorter one less."""
    rig = Rig(PLAIN, slice=slice)
    voice = rig.table[0]

    def piece(frames: int) -> int:
        voice["gain"] = begin
        more = turns(frames, curve)
        envelope.start_gain(voice, goal, frames, curve, more["turn"], more["turn_other"])
        return int(bends.longest_piece(rig.stream, voice))

    low, high = 16, 1 << 20
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if piece(middle) >= longest else (middle, high)
    return high


def test_the_neighbours_of_a_curve_are_still(form: Form) -> None:
    """Places that silence makes up do not go on with what stood there, till it is infinite."""
    many = Many(form, 3)
    many.fade(1, 2.0, 2900, EXPONENTIAL)
    for _ in range(3):
        many.render(64)
    many.fade(0, 0.5, 1_000_000, EXPONENTIAL)
    many.fade(1, 1.0, 0)
    for _ in range(3):
        many.render(64)
    courses = many.rig.lined_up["courses"].array.reshape(-1, COURSE_NUMBERS, PASS)
    places = many.rig.lined_up["ways"].array[: int(many.rig.stream["line_count"]) // PASS]
    (bent,) = np.flatnonzero(places == ways.BENT)
    assert courses[bent, course.X // PASS, 0] > 0
    for field in (course.X, course.Y, course.LEVEL, course.OFFSET):
        assert not courses[bent, field // PASS, 1:].any()


def test_a_pass_that_others_join_goes_on_in_blocks_of_one_length(form: Form) -> None:
    many = Many(form, 3)
    many.fade(0, 0.0, 20_000, EXPONENTIAL)
    for _ in range(3):
        many.render(64)
    many.fade(0, 0.5, 9500, EXPONENTIAL)
    many.fade(1, 0.3, 12_000, EQUAL_POWER)
    for _ in range(8):
        many.render(64)


def test_cubics_keep_no_tables_from_those_who_need_them(form: Form) -> None:
    many = Many(form, CURVES + PASS)
    for slot in range(CURVES):
        many.fade(slot, 0.0, 20_000 + slot, EXPONENTIAL)
    many.render(64)
    for slot in range(CURVES, CURVES + PASS):
        many.fade(slot, 0.0, 400, EXPONENTIAL)
    for _ in range(3):
        many.render(64)
    found = [int(many.rig.table[slot]["way"]) for slot in range(CURVES + PASS)]
    assert set(found[:CURVES]) == {ways.BENT}
    assert len(set(found[CURVES:])) == 1
    assert ways.CURVED <= found[-1] < ways.BENT
    for slot in range(CURVES + PASS):
        many.fade(slot, 1.0, 20_000, EXPONENTIAL)  # and anew, all on one
    many.render(64)
    found = [int(many.rig.table[slot]["way"]) for slot in range(CURVES + PASS)]
    assert len(set(found)) == 1
    assert ways.CURVED <= found[0] < ways.BENT


@pytest.mark.parametrize(("voices", "bent"), [(PASS - 1, True), (PASS, False)])
def test_few_on_one_curve_need_no_tables(voices: int, bent: bool) -> None:
    many = Many(PLAIN, voices)
    for slot in range(voices):
        many.fade(slot, 0.0, 20_000, EXPONENTIAL)
    many.render(64)
    many.render(64)
    assert {int(many.rig.table[slot]["way"]) == ways.BENT for slot in range(voices)} == {bent}


def test_a_jump_soon_after_a_way_has_ended_is_noted_as_a_jump(form: Form) -> None:
    many = Many(form, 1)
    many.fade(0, 0.5, 30)
    many.render(64)
    many.fade(0, 1.5, 0)
    jumped = many.oracles[0].read
    for _ in range(40):
        many.fade(0, 1.0, 200)
        many.render(5)
    points = many.rig.levels_of(0)[: int(many.rig.table[0]["level_count"])]
    assert np.interp(jumped - 1, points[:, 0], points[:, 1]) == pytest.approx(0.5, abs=0.01)
    assert np.interp(jumped + 1, points[:, 0], points[:, 1]) > 1.48
    assert len(points) < 12


@pytest.mark.parametrize("move", ["gain", "mute"])
def test_a_straight_way_is_foreseen_and_corrected_where_it_is_turned_aside(
    form: Form, move: str
) -> None:
    many = Many(form, 1)
    MOVES[move](many, 0, 800)
    begun = many.oracles[0].read
    many.render(64)
    goal = 0.2 if move == "gain" else 0.0
    foreseen = many.rig.levels_of(0)[: int(many.rig.table[0]["level_count"])]
    np.testing.assert_allclose(foreseen[-2:], [[begun, 1.0], [begun + 800, goal]], atol=1e-9)
    for _ in range(3):
        many.render(64)
    at = many.oracles[0].read
    many.fade(0, 0.5, 0) if move == "gain" else many.mute(0, 1.0, 0)
    many.render(64)
    points = many.rig.levels_of(0)[: int(many.rig.table[0]["level_count"])]
    level = 1 - (1 - goal) * (at - begun) / 800
    after = 0.5 if move == "gain" else 1.0
    wanted = [[begun, 1.0], [at, level], [at, after]]
    np.testing.assert_allclose(points[-3:], wanted, atol=1e-9)


def test_once_all_is_over_nobody_moves(form: Form) -> None:
    many = Many(form, 6)
    for slot, move in enumerate(MOVES.values()):
        move(many, slot, 100 + 30 * slot)
    many.render(64)
    assert int(many.rig.stream["ramping"]) > 0
    for _ in range(6):
        many.render(64)
    assert int(many.rig.stream["ramping"]) == 0
    assert sorted(many.in_line()) == list(range(6))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_many_voices_are_told_many_things(seed: int, channels: int) -> None:
    """In blocks of any length, with ways of a few lengths and of many."""
    random = np.random.default_rng(seed)
    many = Many(compiled(), 19, channels=channels, frames=4000)
    lengths = [0, 30, 64, 128, 200, 700, *random.integers(1, 900, 6).tolist()]
    lengths += random.integers(1000, 6000, 6).tolist()
    while many.oracles[0].read < 3800:
        for _ in range(int(random.integers(0, 4))):
            tell(many, random, int(random.integers(19)), int(random.choice(lengths)))
        many.render(int(random.integers(1, 100)))
    many.check()


@pytest.mark.parametrize("seed", range(2))
def test_some_voices_are_told_some_things_in_the_plain_form(seed: int) -> None:
    random = np.random.default_rng(70 + seed)
    many = Many(PLAIN, 7, slice=32)
    for _ in range(40):
        tell(many, random, int(random.integers(7)), int(random.choice([0, 20, 64, 300])))
        many.render(int(random.integers(1, 70)))
    many.check()


def tell(many: Many, random: np.random.Generator, slot: int, frames: int) -> None:
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
def test_voices_pause_and_run_dry_in_line(seed: int) -> None:
    """Resumes and returns are ramps in line, beside pans and gains that stand still."""
    random = np.random.default_rng(seed)
    voices = 6
    rig = Rig(compiled(), voices=voices, capacity=2048, ramp=100)
    oracles = [Oracle(100) for _ in range(voices)]
    for slot, oracle in enumerate(oracles):
        rig.play(slot)
        oracle.tell("play")
        rig.give(kinds.PAN, slot, value=0.5, turn=1.2)
        for side, value in zip(oracle.sides, (0.5, 1.2), strict=True):
            side.go(value, 0)
        rig.give(kinds.GAIN, slot, value=0.5 + 0.1 * slot)
        oracle.tell("gain", -1, 0.5 + 0.1 * slot)
    for _ in range(300):
        slot = int(random.integers(voices))
        if len(oracles[slot].data) - oracles[slot].read < 800:
            data = random.uniform(-0.1, 0.1, int(random.integers(1, 1000))).astype(np.float32)
            rig.write(data, slot)
            oracles[slot].data += data.tolist()
        match random.integers(6):
            case 0:
                rig.give(kinds.PAUSE, slot, frames=100, snap=1)
                oracles[slot].tell("pause", frames=100)
            case 1 | 2:
                frames = int(random.integers(1, 400))
                rig.give(kinds.RESUME, slot, frames=frames)
                oracles[slot].tell("resume", frames=frames)
            case _:
                pass
        frames = int(random.integers(1, 80))
        wanted = sum(np.array(oracle.play(frames)) for oracle in oracles)
        np.testing.assert_allclose(rig.render(frames), wanted, atol=2e-6)
    found = [(int(v["starved"]), int(v["shortages"])) for v in rig.table]
    assert found == [(oracle.starved, oracle.shortages) for oracle in oracles]
    rig.check()
