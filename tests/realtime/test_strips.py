"""Strips: sums, ramps, commands, slots that are given away, and those that wait for a voice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from audiostream.device.manual import ManualDevice
from audiostream.engine.output import Output
from audiostream.engine.sound import Playback, SoundMemory
from audiostream.engine.voice import Voice
from audiostream.pcm import Format
from audiostream.realtime import callback, output, playhead, shared, wakeup
from audiostream.realtime.graph import commands, ducking, nodes, plan, ring_source, strip, tails
from audiostream.realtime.memory.layout import NEVER
from tests.realtime.rig import PLAIN, Form, Rig, compiled

pytestmark = pytest.mark.numbers


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    """Both forms of the kernels."""
    return PLAIN if request.param == "plain" else compiled()


def settled(form: Form, count: int, data: np.ndarray, **shape: Any) -> Rig:
    """`count` voices that play, 12 frames into `data` (voice, frame)."""
    rig = Rig(form, **{"voices": count, "capacity": 2048, "slice": 64, **shape})
    for slot in range(count):
        rig.write(data[slot], slot)
        rig.play(slot)
    for _ in range(3):
        rig.render(4)
    return rig


def noise(count: int, frames: int = 1024, bits: int = 10) -> np.ndarray:
    """Samples within a fourth of full scale, of so many bits: sums of them are exact."""
    rng = np.random.default_rng(count)
    whole = rng.integers(-(2 ** (bits - 2)), 2 ** (bits - 2), (count, frames))
    return (whole / 2.0**bits).astype(np.float32)


def straight(start: float, target: float, frames: int, count: int) -> np.ndarray:
    """The gain in each of `count` frames of a ramp over `frames`."""
    return start + (target - start) * np.minimum(np.arange(1, count + 1), frames) / frames


# --- sums --------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_sums_are_exact(form: Form, count: int, channels: int) -> None:
    data = noise(count)
    rig = settled(form, count, data, channels=channels)
    gains = 2.0 ** -(np.arange(count) % 3)
    for slot in range(count):
        rig.gain(float(gains[slot]), 0, slot)
    rig.render(4)  # takes the gains over
    played = np.concatenate([rig.render(frames) for frames in (64, 1, 7, 64, 100)])
    wanted = (gains[:, None] * data.astype(np.float64)).sum(axis=0)[16 : 16 + 236]
    np.testing.assert_array_equal(played, np.repeat(wanted[:, None], channels, axis=1))
    assert rig.reads() == [16 + 236] * count
    rig.check()


def test_a_slot_whose_record_is_being_filled_in_is_left_alone(form: Form) -> None:
    rig = settled(form, 1, noise(1), channels=1, voices=2)
    rig.table[1] = np.zeros((), rig.table.dtype)
    np.testing.assert_array_equal(rig.render(64)[:, 0], noise(1)[0, 12:76])


def test_a_voice_that_stops_leaves_the_others_alone(form: Form) -> None:
    data = noise(6)
    rig = settled(form, 6, data, channels=2)
    rig.stop(20, 2)
    rig.gain(0.5, 0, 4)
    played = rig.render(64)[:, 1]
    gains = np.ones((6, 64))
    gains[2] = np.maximum(1 - np.arange(1, 65) / 20, 0)
    gains[4] = 0.5
    wanted = (gains * data[:, 12:76]).sum(axis=0)
    np.testing.assert_allclose(played, wanted, atol=3e-7)


# --- ramps -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_ramps_of_different_lengths(form: Form, count: int, channels: int) -> None:
    data = noise(count, bits=20)
    rig = settled(form, count, data, channels=channels)
    targets = [0.25, 1.75, 0.0, 1.0, 0.9, 0.3]
    lengths = [777, 431, 650, 500, 333, 901]
    for slot in range(count):
        rig.gain(targets[slot], lengths[slot], slot)
    blocks = (10, 64, 33, 64, 1, 128)  # 300 frames: all are under way to the end
    played = []
    for frames in blocks:
        played.append(rig.render(frames))
    wanted = sum(
        data[slot, 12:312] * straight(1.0, targets[slot], lengths[slot], 300)
        for slot in range(count)
    )
    got = np.concatenate(played)
    assert np.abs(got - np.asarray(wanted)[:, None]).max() < 1e-6
    for slot in range(count):
        at = straight(1.0, targets[slot], lengths[slot], 300)[-1]
        assert rig.gain_of(slot)[0] == pytest.approx(at, abs=1e-12)
    rig.check()


def test_a_long_ramp_over_many_blocks_gathers_no_error(form: Form) -> None:
    rig = settled(form, 1, np.full((1, 32000), 1.0, np.float32), channels=1, capacity=1 << 15)
    rig.gain(0.1, 30_000)
    played = np.concatenate([rig.render(37) for _ in range(800)])[:, 0]
    assert np.abs(played - straight(1.0, 0.1, 30_000, len(played))).max() < 1e-6


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("frames", [1, 30, 63, 64, 65, 100, 128])
def test_a_ramp_ends_where_it_should_within_a_block_or_at_its_end(
    form: Form, frames: int, channels: int
) -> None:
    rig = settled(form, 2, np.full((2, 1024), 0.25, np.float32), channels=channels)
    rig.gain(0.5, frames, 0)
    rig.gain(0.0, 3 * frames, 1)
    count = 4 * frames + 70
    blocks = [count % 64] + [64] * (count // 64)
    played = np.concatenate([rig.render(block) for block in blocks])
    wanted = 0.25 * (straight(1.0, 0.5, frames, count) + straight(1.0, 0.0, 3 * frames, count))
    np.testing.assert_allclose(played, np.repeat(wanted[:, None], channels, axis=1), atol=1e-6)
    assert rig.table["gain"].tolist() == [0.5, 0.0], "exactly"
    assert rig.table["gain_remaining"].tolist() == rig.table["gain_step"].tolist() == [0, 0]
    rig.check()


def test_a_gain_that_is_asked_for_starts_in_the_very_next_block(form: Form) -> None:
    rig = settled(form, 4, np.full((4, 1024), 0.125, np.float32), channels=1)
    assert rig.render(16)[-1, 0] == 0.5
    rig.gain(0.0, 8, 2)
    played = rig.render(16)[:, 0]
    np.testing.assert_allclose(played, 0.375 + 0.125 * straight(1.0, 0.0, 8, 16), atol=1e-7)
    assert played[0] < 0.5
    rig.gain(1.0, 0, 2)  # at once: in all of the block
    np.testing.assert_array_equal(rig.render(16)[:, 0], np.full(16, 0.5, np.float32))


def test_a_gain_asked_for_during_a_ramp_takes_its_place(form: Form) -> None:
    rig = settled(form, 1, np.ones((1, 1024), np.float32), channels=1)
    rig.gain(0.0, 100)
    rig.render(20)
    rig.render(30)  # at 0.5
    rig.gain(1.0, 50)
    played = np.concatenate([rig.render(20), rig.render(50)])[:, 0]
    np.testing.assert_allclose(played, straight(0.5, 1.0, 50, 70), atol=1e-6)
    assert played[-1] == 1.0


@pytest.mark.parametrize("encoding", [16, 32])
@pytest.mark.parametrize("others", [0, 3])
def test_at_unit_gain_again_a_voice_is_bit_exact(
    form: Form, encoding: int, others: int
) -> None:
    """Also in one pass with voices whose ramps are under way (and that are silent)."""
    data = np.zeros((1 + others, 2000), np.float32)
    rng = np.random.default_rng(3)
    data[0] = rng.integers(-32768, 32768, 2000) / 32768
    rig = settled(form, 1 + others, data, channels=2, encoding=encoding, slice=32)
    rig.gain(0.3, 40)
    rig.render(50)
    rig.gain(1.0, 37)
    rig.render(50)
    for slot in range(1, 1 + others):
        rig.gain(0.1 * slot, 5000, slot)
    rig.render(1)
    played = rig.render(1000)
    wanted = data[0, 113:1113]
    if encoding == 16:
        wanted = wanted * 32768
    np.testing.assert_array_equal(played, np.repeat(wanted[:, None], 2, axis=1))


def test_the_same_gain_asked_for_twice_is_one_ramp(form: Form) -> None:
    rig = settled(form, 1, np.ones((1, 1024), np.float32), channels=1)
    rig.gain(0.0, 100)
    first = rig.render(40)
    rig.gain(0.0, 100)  # it moves there: goes on as it was
    second = rig.render(100)
    played = np.concatenate([first, second])[:, 0]
    np.testing.assert_allclose(played, straight(1.0, 0.0, 100, 140), atol=1e-6)
    rig.gain(0.0, 500)  # it is there
    rig.render(10)
    assert float(rig.table[0]["gain"]) == 0.0
    assert int(rig.table[0]["gain_remaining"]) == 0


def test_a_gain_that_is_taken_back_before_the_block_never_was(form: Form) -> None:
    rig = settled(form, 1, np.ones((1, 1024), np.float32), channels=1)
    rig.gain(0.0, 100)
    rig.gain(1.0, 7)
    np.testing.assert_array_equal(rig.render(64), np.ones((64, 1), np.float32))
    assert int(rig.table[0]["gain_remaining"]) == 0


def test_the_last_of_several_gains_asked_for_before_a_block_counts(form: Form) -> None:
    rig = settled(form, 1, np.ones((1, 1024), np.float32), channels=1)
    rig.gain(0.0, 3)
    rig.gain(0.5, 64)
    np.testing.assert_allclose(rig.render(64)[:, 0], straight(1.0, 0.5, 64, 64), atol=1e-6)


# --- what ends it ------------------------------------------------------------------


CHANGES: dict[str, Callable[[Rig], None]] = {
    "play": lambda rig: rig.play(),
    "pause": lambda rig: rig.playing(0),
    "stop": lambda rig: rig.stop(10),
    "clear": lambda rig: rig.clear(10),
    "gain": lambda rig: rig.gain(0.5, 10),
    "detach": lambda rig: rig.active(0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_looked_at_in_the_next_block(form: Form, change: str) -> None:
    rig = settled(form, 1, np.full((1, 2048), 0.5, np.float32), channels=1)
    CHANGES[change](rig)
    played = rig.render(20)[:, 0]
    fade = 0.5 * np.maximum(1 - np.arange(1, 21) / 10, 0)
    wanted = {
        "play": np.full(20, 0.5),
        "gain": 0.5 * straight(1.0, 0.5, 10, 20),
        "stop": fade,
        "clear": fade,
    }
    np.testing.assert_allclose(played, wanted.get(change, np.zeros(20)), atol=1e-7)
    rig.check()


def test_running_dry_is_looked_at_in_the_block_that_it_happens_in(form: Form) -> None:
    rig = settled(form, 1, noise(1, 100), channels=1)
    rig.render(64)
    played = rig.render(64)[:, 0]
    np.testing.assert_array_equal(played[:24], noise(1, 100)[0, 76:])
    assert not played[24:].any()
    assert int(rig.table[0]["starved"]) == 40
    rig.write(np.full(64, 0.5))
    rig.render(16)
    rig.render(16)


class Engine:
    """A voice of the engine that plays, on a device that is stepped."""

    def __init__(self) -> None:
        self.device = ManualDevice()
        self.output = Output(Format(48000, 1, 16), 128, self.device, voices=4)
        self.output.open()
        self.output.start()
        self.voice = self.add()

    def add(self) -> Voice:
        voice = Voice(self.output, Format(48000, 1, 16), 0.5)
        voice.play()
        voice.write_nowait(np.full(20_000, 1000, np.int16))
        for _ in range(3):
            self.device.step(128)
        return voice


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.output.close()


def test_a_slot_that_is_given_away_again_begins_anew(engine: Engine) -> None:
    voice = engine.voice
    slot = voice.slot
    voice.set_gain(0.5)
    voice.remove()
    for _ in range(5):
        engine.device.step(128)
    engine.output.slots.sweep()
    another = engine.add()
    assert another.slot == slot
    assert engine.device.step(16).tolist() == [[1000]] * 16, "its own gain, and its own samples"


def test_a_removed_voice_is_not_mixed_any_more(engine: Engine) -> None:
    record = engine.output.slots.table[engine.voice.slot]
    engine.output.kernels.store_word(engine.voice.strip.at("active"), 0)
    before = int(record["read"])
    assert not engine.device.step(128).any()
    assert int(record["read"]) == before


class Interrupted:
    """A table of records; before its n-th word or record is set, something happens."""

    def __init__(self, table: Any, at: int, other: Callable[[], object]) -> None:
        self._table, self._at, self._other = table, at, other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def __getitem__(self, key: Any) -> Any:
        found = self._table[key]
        return Part(found, self) if isinstance(found, np.void) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        self.count()
        self._table[key] = value

    def count(self) -> None:
        if self._at == 0:
            self._other()
        self._at -= 1

    @property
    def is_through(self) -> bool:
        """True if it came to that."""
        return self._at < 0


class Part:
    """One of its records."""

    def __init__(self, record: Any, whole: Interrupted) -> None:
        self._record, self._whole = record, whole

    def __getitem__(self, name: str) -> Any:
        return self._record[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._whole.count()
        self._record[name] = value


@pytest.mark.parametrize("frames", [0, 128])
def test_a_block_at_any_moment_of_a_slots_being_given_anew_does_not_touch_it(
    frames: int,
) -> None:
    """Its last voice was a sound that is over."""
    device = ManualDevice()
    output = Output(Format(48000, 1, 16), 128, device, voices=2)
    output.open()
    output.start()
    sound = SoundMemory(output, np.full((640, 1), 0.1, np.float32))
    table = output.slots.table
    moment = 0
    while True:
        slot = Playback(sound).slot
        for _ in range(5):
            device.step(128)
        device.step(0)  # notes its end
        watched = Interrupted(table, moment, lambda: device.step(frames))
        output.slots.table = watched  # type: ignore[assignment]
        another = Voice(output, Format(48000, 1, 16), 0.5)
        output.slots.table = table
        assert another.slot == slot
        assert (int(table[slot]["read"]), another.read_index()) == (0, 0), f"at {moment}"
        another.play()
        another.write_nowait(np.full(300, 1000, np.int16))
        another.end()
        assert sum(np.count_nonzero(device.step(128)) for _ in range(4)) == 300, f"at {moment}"
        another.remove()
        for _ in range(8):
            device.step(128)
        if not watched.is_through:
            break
        moment += 1
    assert moment > 20
    output.close()


def test_a_waiter_whose_frames_were_read_long_ago_is_told_so(engine: Engine) -> None:
    index = engine.voice.read_index()
    engine.device.step(128)
    assert engine.voice.strip.arm("read", index + 128)
    assert not engine.voice.strip.arm("read", index + 129)


# --- waiters: every order of what the two sides do -----------------------------------


AUDIO_THREAD = (
    *(callback, commands, ducking, nodes, output, plan, playhead, ring_source, strip, tails),
    wakeup,
)

ATOMICS = (
    *("load", "load_acquire", "load_seq", "store", "store_release", "store_seq"),
    *("compare_and_swap", "fence_seq"),
)


class Interleaved:
    """Has something happen on the other side before one side's n-th atomic operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self._at = -1
        self._count = 0
        self._other: Callable[[], object] = lambda: None
        for module in modules:
            for name in ATOMICS:
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, self._wrapped(getattr(module, name)))

    def _wrapped(self, real: Any) -> Any:
        def operation(*arguments: Any) -> Any:
            if self._count == self._at:
                self._at = -1
                self._other()
            self._count += 1
            return real(*arguments)

        return operation

    def run(self, one: Callable[[], object], at: int, other: Callable[[], object]) -> bool:
        """Run `one`, and `other` before its operation `at`; False if it has fewer."""
        self._count, self._at, self._other = 0, at, other
        one()
        happened = self._at == -1
        self._at = -1
        return happened


def two_voices(others: str, frames: int = 200) -> Rig:
    """Two voices that play; a thread waits for the second one, has done so, or does not."""
    rig = Rig(PLAIN, voices=2, channels=1, slice=16, capacity=256)
    for slot in range(2):
        rig.write(np.full(frames, 0.5), slot)
        rig.play(slot)
    for _ in range(3):
        rig.render(4)
    if others == "neighbour":
        assert not rig.arm("read", 10_000, 1)
    elif others == "left over":
        rig.stream["armed"] = 1
    return rig


@pytest.mark.parametrize("others", ["alone", "neighbour", "left over"])
@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("index", ["read", "heard"])
def test_a_waiter_at_any_moment_of_a_block_is_told_or_rung(
    monkeypatch: pytest.MonkeyPatch, index: str, slot: int, others: str
) -> None:
    order = Interleaved(monkeypatch, *AUDIO_THREAD)
    moment = 0
    while True:
        rig = two_voices(others)
        reached = 28 if index == "read" else 12  # by the block that follows
        answers: list[bool] = []

        def waiter(rig: Rig = rig, answers: list[bool] = answers, at: int = reached) -> None:
            answers.append(rig.arm(index, at, slot))

        if not order.run(lambda rig=rig: rig.render(16), moment, waiter):  # type: ignore[misc]
            break
        # No block may come after this one: the waiter must not be left asleep.
        record = rig.table[slot]
        assert answers[0] or int(record["woken"]) == 1, f"asleep for ever, at {moment}"
        if int(record[f"wake_{index}"]) != NEVER or others == "neighbour":
            assert int(rig.stream["armed"]) == 1, f"no thread will look, at {moment}"
        rig.render(16)
        if not answers[0]:  # who was told leaves no index, but another's may stand
            assert int(record[f"wake_{index}"]) == NEVER
        moment += 1
    assert moment > 10, "a block has many operations"


@pytest.mark.parametrize("others", ["alone", "neighbour", "left over"])
@pytest.mark.parametrize("index", ["read", "heard"])
def test_a_block_at_any_moment_of_a_waiters_asking_is_seen(
    monkeypatch: pytest.MonkeyPatch, index: str, others: str
) -> None:
    order = Interleaved(monkeypatch, shared)
    moment = 0
    while True:
        rig = two_voices(others)
        reached = 28 if index == "read" else 12
        answers: list[bool] = []

        def waiter(rig: Rig = rig, answers: list[bool] = answers, at: int = reached) -> None:
            answers.append(rig.arm(index, at))

        def block(rig: Rig = rig) -> None:
            rig.render(16)

        if not order.run(waiter, moment, block):
            break
        assert answers[0] or int(rig.table[0]["woken"]) == 1, f"asleep for ever, at {moment}"
        moment += 1
    assert moment >= 4


def until_starved(rig: Rig) -> None:
    """Two blocks: voices that starve in the second one."""
    rig.render(30)
    rig.render(30)


def commanded(rig: Rig) -> None:
    """A block in which voices get commands."""
    rig.clear(5, 1)
    rig.gain(0.5, 20, 0)
    rig.render(30)


def back(rig: Rig) -> None:
    """Blocks in which a voice pauses and comes back."""
    rig.gain(0.5, 0, 1)
    rig.render(8)
    rig.pause(1)
    rig.render(8)
    rig.resume(1)
    rig.render(8)
    rig.render(8)


@pytest.mark.parametrize("others", ["alone", "neighbour"])
@pytest.mark.parametrize("happens", [until_starved, commanded, back])
@pytest.mark.parametrize("who", ["asks within a block", "is interrupted by one"])
def test_what_was_read_is_told_at_any_moment_and_never_goes_back(
    monkeypatch: pytest.MonkeyPatch, who: str, happens: Callable[[Rig], None], others: str
) -> None:
    inside = who == "asks within a block"
    order = Interleaved(monkeypatch, *(AUDIO_THREAD if inside else (shared,)))
    moment = 0
    while True:
        rig = two_voices(others, 60)
        before = rig.reads()
        seen: list[list[int]] = []

        def ask(rig: Rig = rig, seen: list[list[int]] = seen) -> None:
            seen.append(rig.reads())

        def block(rig: Rig = rig) -> None:
            happens(rig)

        one, other = (block, ask) if inside else (ask, block)
        if not order.run(one, moment, other):
            break
        after = rig.reads()
        for early, now, late in zip(before, seen[0], after, strict=True):
            assert early <= now <= late, f"at {moment}"
        moment += 1
    assert moment > (10 if inside else 1)


def test_voices_are_looked_at_for_waiters_only_when_a_thread_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = two_voices("alone")
    looked: list[int] = []
    real = wakeup.wake_voice

    def watched(stream: Any, voice: Any) -> bool:
        looked.append(int(voice["read"]))
        return real(stream, voice)

    monkeypatch.setattr(wakeup, "wake_voice", watched)
    rig.render(4)
    assert looked == []
    assert not rig.arm("read", 30)
    rig.render(4)
    assert looked == [20, 20]
    assert int(rig.stream["armed"]) == 1, "it is waited on"
    rig.render(16)
    assert int(rig.table[0]["woken"]) == 1
    rig.render(1)
    assert int(rig.stream["armed"]) == 0, "no thread waits any more"
    looked.clear()
    rig.render(1)
    assert looked == []


def test_a_wish_for_a_voice_stands_while_another_ones_is_fulfilled(form: Form) -> None:
    rig = Rig(form, voices=3, channels=1, slice=64, capacity=256)
    for slot in range(3):
        rig.write(np.full(200, 0.5), slot)
        rig.play(slot)
        assert not rig.arm("read", 10 + 20 * slot, slot)
    woken = []
    for _ in range(6):
        rig.render(10)
        woken.append([int(value) for value in rig.table["woken"]])
    assert woken == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]


def test_the_engine_tells_a_waiter_that_what_it_waits_for_was_heard(engine: Engine) -> None:
    """There may be no block after that one, and so no signal."""
    voice = engine.voice
    block = np.zeros((128, 1), np.int16)
    for _ in range(3):
        engine.device._move(block)  # as a real device does: no call without frames
    assert voice.strip.has("heard", 600)
    assert voice.strip.arm("heard", 600)
