"""The kernels in their plain form: against machine code, a model and closed forms."""

from __future__ import annotations

import ast
import ctypes
import functools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiostream.device.portaudio.callback_path import CallCompiled
from audiostream.engine.memory import records
from audiostream.realtime import callback, shared, virtual_clock, wakeup
from audiostream.realtime import input as captures
from audiostream.realtime.compile import syscalls
from audiostream.realtime.compile.kernels import kernels, optimise, target_machine
from audiostream.realtime.compile.module import translate
from audiostream.realtime.memory import atomics, layout
from audiostream.realtime.memory.layout import (
    CLOCK_SYNC,
    COMMAND,
    CUTS,
    GROUP,
    HISTORY,
    NEVER,
    NODE,
    POINT,
    STREAM,
    VOICE,
    WAKEUP,
)
from audiostream.realtime.memory.unit_layout import CLOCK, PRODUCER
from tests.realtime.model import Model, ModelVoice
from tests.realtime.rig import (
    PLAIN,
    Form,
    Guarded,
    Rig,
    compiled,
    signals,
    word,
)

pytestmark = pytest.mark.numbers

REALTIME = Path(callback.__file__).parent

FULL = {8: 128.0, 16: 32768.0, 32: 1.0}
DTYPES = {8: np.int8, 16: np.int16, 32: np.float32}

settings.register_profile(
    "kernels", deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
bounded = functools.partial(settings, settings.get_profile("kernels"))


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> Form:
    """Both forms of the kernels; the oracles hold for either."""
    return PLAIN if request.param == "plain" else compiled()


def ramp_of(count: int, start: int = 1) -> np.ndarray:
    """Samples that hold their index exactly, in float32 and at any gain of two's powers."""
    return (np.arange(start, start + count) / 2.0**14).astype(np.float32)


# --- three forms: plain, compiled, the model ----------------------------------------


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    """A stream's shape, and what callers and the device do, one after the other.

    The steps come from a seed: drawn one by one, hypothesis makes them too plain to meet in
    the cases that matter (a clear during a ramp across the ring's end).
    """
    count = draw(st.sampled_from([1, 1, 2, 6]))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shape = {
        "channels": draw(st.sampled_from([1, 2, 3, 6])),
        "encoding": draw(st.sampled_from([8, 16, 32])),
        "slice": draw(st.sampled_from([16, 23, 64])),
        "capacity": draw(st.sampled_from([64, 128, 256])),
        "voices": count,
    }
    weights = {
        "render": 0.4,
        "write": 0.2,
        "fill": 0.08,
        "clear": 0.07,
        "gain": 0.07,
        "play": 0.06,
        "stop": 0.02,
        "pause": 0.02,
        "end": 0.02,
        "master": 0.02,
        "arm read": 0.02,
        "arm heard": 0.02,
    }
    small = draw(st.booleans())
    latency = draw(st.sampled_from([0, 8, 50]))

    def step() -> tuple[Any, ...]:
        kind = rng.choice(list(weights), p=list(weights.values()))
        slot, frames = int(rng.integers(count)), int(rng.integers(90))
        gain = float(rng.choice([0.0, 0.25, 0.3, 1.0, 1.7]))
        if kind == "render":
            return "render", int(rng.integers(20 if small else 101)), latency
        if kind == "write":
            width, wide = int(rng.choice([8, 16, 32])), int(rng.integers(1, 7))
            return "write", slot, 1 + frames, width, wide
        if kind == "fill":
            return "write", slot, shape["capacity"], 32, 1
        if kind == "gain":
            return "gain", slot, gain, frames
        if kind == "master":
            return "master", gain, frames
        if kind in ("clear", "stop", "arm read", "arm heard"):
            return str(kind), slot, frames
        return str(kind), slot

    steps = [step() for _ in range(draw(st.integers(4, 60)))]
    return {**shape, "playing": draw(st.integers(0, 3)) > 0, "seed": seed, "steps": steps}


def mapped(frames: np.ndarray, channels: int) -> np.ndarray:
    """(frames, any) to (frames, channels) in float64, as `spread`'s contract says."""
    given_channels = frames.shape[1]
    out = np.zeros((len(frames), channels))
    for c in range(channels):
        if given_channels == 1:
            out[:, c] = frames[:, 0]
        elif len(range(c, given_channels, channels)):
            out[:, c] = frames[:, c::channels].mean(axis=1)
    return out


def carry_out(scenario: dict[str, Any], forms: list[Form]) -> list[Rig]:
    """Run a scenario in these forms at once and check every block against the model."""
    shape = {k: scenario[k] for k in ("channels", "encoding", "slice", "capacity", "voices")}
    rigs = [Rig(form, **shape) for form in forms]
    voices = [ModelVoice(shape["channels"]) for _ in range(shape["voices"])]
    model = Model(shape["channels"], shape["slice"], voices)
    rng = np.random.default_rng(scenario["seed"])
    full = FULL[shape["encoding"]]
    for rig in rigs:
        rig.add_wakeup(0)
        rig.table["wakeup"][: shape["voices"]] = 0
        for slot in range(shape["voices"]):
            rig.playing(int(scenario["playing"]), slot)
    for voice in voices:
        voice.playing = int(scenario["playing"])

    def both(act: Callable[[Rig], object]) -> list[Any]:
        return [act(rig) for rig in rigs]

    for kind, *arguments in scenario["steps"]:
        if kind == "render":
            frames, latency = arguments
            blocks = both(lambda rig: rig.render(frames, latency=latency))  # noqa: B023
            wanted = np.clip(model.render(frames, latency), -1.0, 1.0) * full
            wanted = np.clip(wanted, -full, full - 1 if full > 1 else 1.0)
            for block in blocks:
                off = np.abs(block.astype(np.float64) - wanted).max(initial=0.0)
                # Integers may fall to the other side of a tie.
                assert off <= (0.5 + 1e-5 * full if full > 1 else 1e-5)
            for block in blocks[1:]:
                assert block.tobytes() == blocks[0].tobytes()
            for rig in rigs:
                for slot, (record, voice) in enumerate(zip(rig.table, voices, strict=True)):
                    seen = [int(record[name]) for name in ("starved", "cut_count")]
                    assert seen == [voice.starved, len(voice.cuts)]
                    assert rig.read(slot) == voice.read
                    # They differ only if the frame heard now is the block's first.
                    assert rig.heard(slot) in (voice.heard, voice.late)
            continue
        if kind == "master":
            both(lambda rig: rig.master(*arguments))  # noqa: B023
            model.master_wish = arguments[0], arguments[1]
            continue
        slot, *values = arguments
        voice = voices[slot]
        if kind == "write":
            count = min(values[0], rigs[0].room(slot))
            if count:
                width, wide = values[1], values[2]
                data = rng.uniform(-0.5, 0.5, (count, wide)) * FULL[width]
                data = data.astype(DTYPES[width])
                both(lambda rig: rig.put(data, slot))  # noqa: B023
                voice.data += list(mapped(data / FULL[width], shape["channels"]))
        elif kind in ("play", "pause"):
            if kind == "play":
                voice.playing = 1
            elif voice.playing == 1:  # one that stops, stops
                voice.playing = 0
            both(lambda rig: rig.playing(int(kind == "play"), slot))  # noqa: B023
        elif kind in ("clear", "stop"):
            voice.skip = voice.ended = len(voice.data)
            voice.fade = values[0]
            if kind == "stop":
                both(lambda rig: rig.stop(values[0], slot))  # noqa: B023
                voice.playing = 2
            else:
                both(lambda rig: rig.clear(values[0], slot))  # noqa: B023
        elif kind == "end":
            voice.ended = len(voice.data)
            both(lambda rig: rig.set("ended", voice.ended, slot))  # noqa: B023
        elif kind == "gain":
            both(lambda rig: rig.gain(values[0], values[1], slot))  # noqa: B023
            voice.wishes.append((values[0], values[1]))
        else:
            index = "read" if kind == "arm read" else "heard"
            at = (voice.read if index == "read" else voice.heard) + values[0]
            # A look at the word, and a second one where that is as old as the last look.
            heard = index == "heard"
            reached = {(rig.heard(slot) if heard else rig.read(slot)) >= at for rig in rigs}
            answers = both(lambda rig: rig.arm(index, at, slot))  # noqa: B023
            assert set(answers) == reached
    both(lambda rig: rig.check())
    return rigs


@bounded(max_examples=150)
@given(scenarios())
def test_plain_and_compiled_do_the_same_and_both_are_right(scenario: dict[str, Any]) -> None:
    plain, machine = carry_out(scenario, [PLAIN, compiled()])
    state, other = plain.state(), machine.state()
    for name, value in state.items():
        assert value == other[name], name


def test_ten_voices_through_batches_of_four_are_their_sum(form: Form) -> None:
    rig = Rig(form, voices=10, channels=3, capacity=128)
    rng = np.random.default_rng(1)
    data = rng.uniform(-0.1, 0.1, (10, 128)).astype(np.float32)
    for slot in range(10):
        rig.write(data[slot], slot)
        rig.gain(1.0 + slot / 10, 0, slot)
        rig.play(slot)
    played = np.concatenate([rig.render(32) for _ in range(4)])
    wanted = ((1.0 + np.arange(10) / 10)[:, None] * data).sum(axis=0)
    np.testing.assert_allclose(played, np.repeat(wanted[:, None], 3, axis=1), atol=2e-6)
    assert int(rig.stream["starved"]) == 0
    assert rig.reads() == [128] * 10
    rig.check()


def test_plain_views_take_a_records_words() -> None:
    memory = Guarded(4, np.float32)
    address: Any = np.int64(memory.address)
    count: Any = np.int64(4)
    assert atomics.floats_at(address, count).tolist() == [0] * 4


# --- closed forms ------------------------------------------------------------------


def test_one_voice_at_unit_gain_is_bit_exact(form: Form) -> None:
    rig = Rig(form, channels=1, encoding=16, slice=1024, capacity=1 << 16)
    every = np.arange(-32768, 32768).astype(np.int16)[:, None]
    rig.put(every)
    rig.play()
    played = np.concatenate([rig.render(count) for count in (1, 1023, 1024, 5000, 58488)])
    np.testing.assert_array_equal(played, every)


def test_a_gain_ramp_is_one_straight_line_over_any_blocks(form: Form) -> None:
    rig = Rig(form, channels=2, slice=16, capacity=1024)
    rig.write(np.full(1000, 0.5))
    rig.play()
    rig.render(10)
    rig.gain(0.25, 100)
    played = np.concatenate([rig.render(count) for count in (7, 40, 33, 64)])
    line = 1.0 + (0.25 - 1.0) * np.minimum(np.arange(1, 145), 100) / 100
    np.testing.assert_allclose(played, np.repeat(0.5 * line[:, None], 2, axis=1), atol=1e-7)
    assert float(rig.table[0]["gain"]) == 0.25
    rig.check()


def test_a_gain_asked_for_in_silence_is_there_at_once(form: Form) -> None:
    rig = Rig(form, channels=1)
    rig.gain(0.5, 1000)
    rig.write(np.full(64, 0.5))
    rig.play()
    np.testing.assert_array_equal(rig.render(64), np.full((64, 1), 0.25, np.float32))


def test_a_second_gain_begins_where_the_first_had_got_to(form: Form) -> None:
    rig = Rig(form, channels=1, capacity=1024, slice=1024)
    rig.write(np.ones(1000))
    rig.play()
    rig.render(1)
    rig.gain(0.0, 100)
    rig.render(50)
    rig.gain(1.0, 50)
    played = rig.render(60)[:, 0]
    np.testing.assert_allclose(
        played, np.minimum(0.5 + 0.5 * np.arange(1, 61) / 50, 1.0), atol=1e-6
    )


def test_a_ramp_ends_at_its_own_target_while_another_is_being_asked_for() -> None:
    # A caller writes the new target first and moves `changes` last.  The ramp under way may
    # end in between: it must end where it was going to, not jump to the new one.
    rig = Rig(PLAIN, channels=1, slice=1024, capacity=1024)
    rig.write(np.ones(1000))
    rig.play()
    rig.render(1)
    rig.master(0.5, 50)
    rig.render(40)
    rig.stream["master_target"] = 0.0  # half of the next request
    played = rig.render(20)[:, 0]
    np.testing.assert_allclose(played[-10:], 0.5, atol=1e-6)


@pytest.mark.parametrize("fade", [0, 1, 10, 48, 100])
def test_a_clear_fades_in_a_straight_line_to_nothing(form: Form, fade: int) -> None:
    rig = Rig(form, channels=2, slice=16, capacity=256)
    rig.write(np.full(128, 0.5))
    rig.play()
    rig.render(48)
    rig.clear(fade)
    played = np.concatenate([rig.render(count) for count in (5, 27, 70)])[:, 0]
    total = min(fade, 80)
    wanted = np.zeros(102)
    wanted[:total] = 0.5 * (total - 1 - np.arange(total)) / max(total, 1)
    np.testing.assert_allclose(played, wanted, atol=1e-7)
    assert rig.cuts[0].array[:2].tolist() == [48 + total, 128]
    assert rig.read() == 128
    assert int(rig.table[0]["starved"]) == 0, "cleared to its end: no starvation"
    rig.check()


def test_a_fade_under_a_gain_ramp_is_their_product(form: Form) -> None:
    rig = Rig(form, channels=1, slice=64, capacity=256)
    rig.write(np.full(200, 0.5))
    rig.play()
    rig.render(8)
    rig.gain(0.5, 20)
    rig.clear(40)
    i = np.arange(1, 65)
    ramp = np.maximum(1 - i / 40, 0.5)
    fade = np.maximum(1 - i / 40, 0.0)
    np.testing.assert_allclose(rig.render(64)[:, 0], 0.5 * ramp * fade, atol=1e-7)


def test_what_is_written_after_a_clear_follows_it_in_the_same_block(form: Form) -> None:
    rig = Rig(form, channels=1, slice=64, capacity=256)
    rig.write(ramp_of(100))
    rig.play()
    rig.render(10)
    rig.clear(0)
    rig.write(ramp_of(20, 1001))
    played = rig.render(64)[:, 0]
    np.testing.assert_array_equal(played[:20], ramp_of(20, 1001))
    assert not played[20:].any()
    assert int(rig.table[0]["starved"]) == 44


def test_a_stop_fades_and_a_later_play_begins_with_what_came_after(form: Form) -> None:
    rig = Rig(form, channels=1, slice=64, capacity=256)
    rig.write(np.full(100, 0.5))
    rig.play()
    rig.render(10)
    rig.stop(4)
    np.testing.assert_array_equal(rig.render(8)[:, 0], [0.375, 0.25, 0.125, 0, 0, 0, 0, 0])
    rig.write(ramp_of(8, 500))
    assert not rig.render(8).any(), "stopped: what is queued waits"
    rig.play()
    np.testing.assert_array_equal(rig.render(8)[:, 0], ramp_of(8, 500))
    assert int(rig.table[0]["starved"]) == 0


def test_a_second_clear_during_a_fade_jumps_to_the_newest(form: Form) -> None:
    rig = Rig(form, channels=1, slice=8, capacity=256)
    rig.write(np.full(100, 0.5))
    rig.play()
    rig.render(8)
    rig.clear(16)
    rig.render(8)
    rig.write(np.full(50, 0.25))
    rig.clear(16)
    rig.write(np.full(8, 0.125))
    assert rig.render(8)[-1, 0] == 0.0
    np.testing.assert_array_equal(rig.render(8)[:, 0], np.full(8, 0.125, np.float32))
    assert int(rig.table[0]["cut_count"]) == 1
    assert rig.cuts[0].array[:2].tolist() == [24, 150]


def test_the_last_cuts_are_remembered_and_the_count_tells_which(form: Form) -> None:
    rig = Rig(form, channels=1, slice=16, capacity=64)
    rig.play()
    wanted = []
    for number in range(CUTS + 3):
        rig.write(np.full(20, 0.5))
        frames = number % 19 + 1
        rig.render(frames)
        wanted.append([20 * number + frames, 20 * number + 20])
        rig.clear(0)
        rig.render(1)
    assert int(rig.table[0]["cut_count"]) == CUTS + 3
    cuts = rig.cuts[0].array.reshape(CUTS, 2)
    for number in range(3, CUTS + 3):
        assert cuts[number % CUTS].tolist() == wanted[number]


def test_starved_counts_frames_short_but_not_after_the_end(form: Form) -> None:
    rig = Rig(form, channels=1)
    rig.play()
    rig.render(5)  # nothing was written and nothing is ended: index 0 is both
    assert int(rig.table[0]["starved"]) == 0
    rig.write(np.full(10, 0.5))
    rig.render(16)
    assert int(rig.table[0]["starved"]) == 6
    rig.render(16)
    assert int(rig.stream["starved"]) == 22
    rig.write(np.full(10, 0.5))
    rig.set("ended", 20, 0)
    rig.render(32)
    assert int(rig.stream["starved"]) == 22


def test_a_paused_voice_keeps_its_frames_and_an_inactive_one_is_not_looked_at(
    form: Form,
) -> None:
    rig = Rig(form, channels=1, voices=2)
    rig.write(ramp_of(100), 0)
    rig.write(ramp_of(100), 1)
    rig.play(0)
    rig.play(1)
    rig.active(0, 1)
    np.testing.assert_array_equal(rig.render(10)[:, 0], ramp_of(10))
    rig.playing(0)
    assert not rig.render(10).any()
    rig.play(0)
    np.testing.assert_array_equal(rig.render(10)[:, 0], ramp_of(10, 11))
    assert rig.reads() == [20, 0]
    rig.render(0)
    assert [rig.heard(0), rig.heard(1)] == [20, 0]
    rig.active(1, 1)
    np.testing.assert_array_equal(rig.render(10)[:, 0], ramp_of(10, 21) + ramp_of(10))


def test_the_master_gain_goes_in_a_line_and_scales_the_whole_mix(form: Form) -> None:
    rig = Rig(form, channels=2, voices=2, slice=16, capacity=256)
    for slot in (0, 1):
        rig.write(np.full(200, 0.25), slot)
        rig.play(slot)
    rig.render(3)
    rig.master(0.0, 50)
    played = np.concatenate([rig.render(40), rig.render(30)])[:, 1]
    wanted = 0.5 * np.maximum(1 - np.arange(1, 71) / 50, 0)
    np.testing.assert_allclose(played, wanted, atol=1e-6)
    rig.master(1.0, 0)
    np.testing.assert_allclose(rig.render(4), 0.5, atol=1e-7)
    assert float(rig.stream["master"]) == 1.0, "exactly one again, so that it costs nothing"


# --- encodings ---------------------------------------------------------------------


def encoded(form: Form, samples: Any, encoding: int) -> np.ndarray:
    source = np.asarray(samples, np.float32)
    target = Guarded(len(source), DTYPES[encoding])
    with np.errstate(all="ignore"):
        form.encode_block(int(source.ctypes.data), target.address, encoding, len(source))
    target.check()
    return np.array(target.array)


@pytest.mark.parametrize("encoding", [8, 16])
def test_integers_come_back_bit_for_bit(form: Form, encoding: int) -> None:
    top = int(FULL[encoding])
    every = np.arange(-top, top)
    back = encoded(form, every / FULL[encoding], encoding)
    np.testing.assert_array_equal(back, every)


@pytest.mark.parametrize("encoding", [8, 16])
def test_ties_go_to_even_and_the_rest_to_the_nearest(form: Form, encoding: int) -> None:
    top = int(FULL[encoding])
    quarters = np.arange(-4 * top, 4 * (top - 1) + 1) / 4.0
    back = encoded(form, quarters / FULL[encoding], encoding)
    np.testing.assert_array_equal(back, np.rint(quarters))


@pytest.mark.parametrize("encoding", [8, 16, 32])
def test_full_scale_saturates_and_nan_is_silence(form: Form, encoding: int) -> None:
    full = FULL[encoding]
    top = full - 1 if full > 1 else 1.0
    values = [1.0, 1.5, 1e30, np.inf, -1.0, -1.5, -1e30, -np.inf, np.nan, 0.0]
    wanted = [top, top, top, top, -full, -full, -full, -full, 0, 0]
    assert encoded(form, values, encoding).tolist() == wanted


@bounded(max_examples=60)
@given(
    st.lists(st.floats(width=32, allow_subnormal=False), min_size=1, max_size=70),
    st.sampled_from([8, 16, 32]),
)
def test_encoding_is_clip_and_rint(values: list[float], encoding: int) -> None:
    source = np.array(values, np.float32)
    full = FULL[encoding]
    with np.errstate(all="ignore"):
        wanted = np.nan_to_num(source.astype(np.float64), nan=0.0, posinf=2.0, neginf=-2.0)
        wanted = np.clip(wanted * full, -full, full - 1 if full > 1 else 1.0)
    if encoding != 32:
        wanted = np.rint(wanted)
    for form in (PLAIN, compiled()):
        np.testing.assert_array_equal(encoded(form, source, encoding), wanted)


# --- heard position ----------------------------------------------------------------


@pytest.mark.parametrize("latency", [0, 1, 10, 64, 100, 1000])
def test_heard_lags_behind_what_was_rendered_by_the_latency(form: Form, latency: int) -> None:
    rig = Rig(form, channels=1, slice=64, capacity=4096)
    rig.write(np.full(2000, 0.5))
    rig.render(30, latency=latency)  # 30 frames of the device before it plays
    rig.play()
    for _ in range(30):
        before = int(rig.stream["frames"])
        rig.render(50, latency=latency)
        assert rig.heard() == max(before - latency - 30, 0)


def test_without_times_the_declared_latency_counts(form: Form) -> None:
    rig = Rig(form, channels=1, capacity=4096, latency=100 / 32768)
    rig.write(np.full(2000, 0.5))
    rig.play()
    for _ in range(4):
        rig.render(60, latency=None)
    assert rig.heard() == 180 - 100
    rig.render(60, latency=32768 * 20)  # twenty seconds: absurd
    assert rig.heard() == 240 - 100


def test_heard_never_goes_back_when_the_latency_grows(form: Form) -> None:
    rig = Rig(form, channels=1, capacity=4096)
    rig.write(np.full(2000, 0.5))
    rig.play()
    heard = []
    for latency in (0, 0, 500, 100, 0, 20):
        rig.render(64, latency=latency)
        heard.append(rig.heard())
    assert heard == [0, 64, 64, 92, 256, 300]


def test_a_call_without_frames_only_brings_the_heard_position_up_to_date(form: Form) -> None:
    rig = Rig(form, channels=1)
    wakeup = rig.add_wakeup(0)
    rig.table["wakeup"] = 0
    rig.write(np.full(100, 0.5))
    rig.play()
    rig.render(100, latency=10)
    assert not rig.arm("heard", 95)
    rig.render(0, latency=10)
    assert (rig.heard(), signals(wakeup)) == (90, 0)
    rig.render(0, latency=0)
    assert (rig.heard(), signals(wakeup)) == (100, 1)
    assert int(rig.stream["callbacks"]) == 1
    assert int(rig.stream["frames"]) == 100


def test_heard_follows_gaps_and_jumps_in_flight(form: Form) -> None:
    rig = Rig(form, channels=1, slice=16, capacity=256)
    stands = [0]  # the voice's index at each of the device's frames
    rig.play()
    latency = 90
    rng = np.random.default_rng(7)
    for turn in range(60):
        if turn % 3 != 1:
            rig.write(np.full(min(int(rng.integers(1, 30)), rig.room()), 0.5))
        if turn % 7 == 5:
            rig.clear(0)
            stands[-1] = int(rig.table[0]["write"])
        before = int(rig.stream["frames"])
        read = stands[-1]
        rig.render(16, latency=latency)
        after = rig.read()
        stands += [min(read + i + 1, after) for i in range(16)]
        if before >= latency:
            assert rig.heard() == stands[before - latency]
    rig.check()


def test_more_breaks_than_are_remembered_only_hold_the_position_back(form: Form) -> None:
    rig = Rig(form, channels=1, slice=16, capacity=1024)
    rig.play()
    written = 0
    for _ in range(HISTORY):  # each a beginning and an end: twice what is remembered
        rig.write(np.full(4, 0.5))
        written += 4
        rig.render(16, latency=16 * 200)
        assert rig.heard() == 0
    # Heard is frame 320, when twenty of the stretches are over; only later ones are known.
    rig.render(16, latency=16 * (HISTORY - 20))
    assert rig.heard() == 0
    # Once the oldest break that is still known is heard, it is exact again.
    frames = int(rig.stream["frames"])
    rig.render(16, latency=frames - 16 * (HISTORY - 10))
    assert rig.heard() == 4 * (HISTORY - 10)
    rig.render(16, latency=0)
    assert rig.heard() == written
    rig.check()


# --- wakeups -----------------------------------------------------------------------


def test_one_wakeup_is_signalled_once_a_callback_for_all_who_wait(form: Form) -> None:
    rig = Rig(form, voices=3, channels=1, slice=16, capacity=256)
    wakeup, other = rig.add_wakeup(0), rig.add_wakeup(1)
    rig.table["wakeup"] = [0, 0, 1]
    for slot in range(3):
        rig.write(np.full(200, 0.5), slot)
        rig.play(slot)
        assert not rig.arm("read", 20 + 10 * slot, slot)
    rig.render(16)
    assert (signals(wakeup), signals(other)) == (0, 0)
    rig.render(16)  # 32 frames read
    assert (signals(wakeup), signals(other)) == (1, 0)
    rig.render(16)  # three slices might note it three times
    assert (signals(wakeup), signals(other)) == (0, 1)
    for slot in range(3):
        assert rig.arm("read", 48, slot), "reached: no thread is to be woken"
    rig.render(16)
    assert (signals(wakeup), signals(other)) == (0, 0)
    for slot in range(3):
        assert not rig.arm("read", 65, slot)
    rig.render(32)
    assert (signals(wakeup), signals(other)) == (1, 1)
    assert rig.table["wake_read"].tolist() == [NEVER] * 3
    assert int(rig.stream["wakeups"]) == 4
    assert rig.wakeup_table["noted"].tolist() == [0, 0]


def test_a_wakeup_that_is_not_there_is_no_harm(form: Form) -> None:
    rig = Rig(form, channels=1)
    rig.write(np.full(16, 0.5))
    rig.play()
    rig.arm("read", 8)
    rig.render(8)  # wakeup -1: none
    assert int(rig.table[0]["woken"]) == 1
    rig.table["wakeup"] = 1  # no descriptor
    rig.arm("read", 16)
    rig.render(8)
    assert int(rig.stream["wakeups"]) == 0
    assert int(rig.table[0]["wake_read"]) == NEVER


def test_take_woken_collects_the_slots_of_one_wakeup_once(form: Form) -> None:
    rig = Rig(form, voices=5)
    rig.table["wakeup"] = [0, 1, 0, 0, 1]
    rig.table["woken"] = [1, 1, 0, 1, 0]
    assert rig.take_woken(0) == [0, 3]
    assert rig.take_woken(0) == []
    assert rig.table["woken"].tolist() == [0, 1, 0, 0, 0]
    assert rig.take_woken(1) == [1]
    rig.table["woken"] = 1
    rig.set("voice_end", 2)
    assert rig.take_woken(0) == [0], "only slots that were ever used"


class Waiter:
    """The three words that `arm` works on, by themselves."""

    def __init__(self, index: int = 0) -> None:
        self.wake, self._wake_at = word(NEVER)
        self.index, self._index_at = word(index)
        self.armed, self._armed_at = word(0)

    def arm(self, form: Form, at: int) -> bool:
        return bool(form.request_wakeup(self._wake_at, self._index_at, at, self._armed_at))


def test_arm_keeps_the_earliest_wish_and_tells_the_level(form: Form) -> None:
    waiter = Waiter(100)
    assert not waiter.arm(form, 150)
    assert waiter.wake.value == 150
    assert not waiter.arm(form, 200), "a later index does not replace the first"
    assert waiter.wake.value == 150
    assert not waiter.arm(form, 120)
    assert waiter.wake.value == 120
    waiter.index.value = 120
    assert waiter.arm(form, 120), "reached already"
    assert waiter.arm(form, 5)
    assert waiter.wake.value == 120, "and no index is left that would signal for nothing"


@pytest.mark.parametrize("standing", [NEVER, 150, 30])
def test_arm_tells_the_audio_thread_to_look_whoevers_wish_stands(
    form: Form, standing: int
) -> None:
    waiter = Waiter(100)
    waiter.wake.value = standing
    waiter.arm(form, 150)
    assert waiter.armed.value == 1


@pytest.mark.parametrize("moment", ["compare_and_swap", "store_seq"])
def test_arm_looks_only_after_its_wish_is_published_and_announced(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index moves in between: a thread that had looked before would sleep for ever."""
    waiter = Waiter()
    real = getattr(shared, moment)

    def and_move(*arguments: Any) -> Any:
        done = real(*arguments)
        waiter.index.value = 50
        return done

    monkeypatch.setattr(shared, moment, and_move)
    assert waiter.arm(PLAIN, 50)


def test_arm_tries_again_when_another_waiter_is_quicker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiter = Waiter()
    swap = atomics.compare_and_swap
    others = [70, 30]

    def outrun(record: Any, field: str, expected: int, value: int) -> bool:
        if others:
            waiter.wake.value = others.pop(0)
        return swap(record, field, expected, value)

    monkeypatch.setattr(shared, "compare_and_swap", outrun)
    assert not waiter.arm(PLAIN, 50)
    assert waiter.wake.value == 30, "the other's index is earlier, and stands"
    assert waiter.armed.value == 1


def test_a_waiter_who_asks_again_while_it_is_signalled_is_not_wiped_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(PLAIN, channels=1)
    rig.write(np.full(64, 0.5))
    rig.play()
    rig.arm("read", 10)
    swap = atomics.compare_and_swap

    def rearmed(record: Any, field: str, expected: int, value: int) -> bool:
        if field == "wake_read" and expected == 10:
            record[field] = 60  # looked, found it reached, and waits for more
        return swap(record, field, expected, value)

    monkeypatch.setattr(wakeup, "compare_and_swap", rearmed)
    rig.render(16)
    assert int(rig.table[0]["wake_read"]) == 60
    assert int(rig.table[0]["woken"]) == 0
    assert int(rig.stream["armed"]) == 1, "and is looked at in the next block"


def test_words(form: Form) -> None:
    memory, address = word(-5)
    assert form.load_word(address) == -5
    form.store_word(address, 1 << 60)
    assert memory.value == 1 << 60


# --- writing to a voice ------------------------------------------------------------


@bounded(max_examples=80)
@given(
    channels=st.integers(1, 6),
    source_channels=st.integers(1, 6),
    encoding=st.sampled_from([8, 16, 32]),
    frames=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_spread_maps_channels(
    channels: int, source_channels: int, encoding: int, frames: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    source = (rng.uniform(-1, 1, (frames, source_channels)) * FULL[encoding]).astype(
        DTYPES[encoding]
    )
    wanted = mapped(source / FULL[encoding], channels)
    results = []
    for form in (PLAIN, compiled()):
        target = Guarded(frames * channels, np.float32)
        target.array[:] = 7.0
        address = int(source.ctypes.data)
        form.spread(target.address, channels, address, encoding, source_channels, frames)
        target.check()
        results.append(target.array.tobytes())
        got = target.array.reshape(frames, channels)
        np.testing.assert_allclose(got, wanted, atol=1e-6)
        if source_channels in (1, channels):
            np.testing.assert_array_equal(got, wanted.astype(np.float32))
    assert results[0] == results[1]


@bounded(max_examples=60)
@given(
    channels=st.integers(1, 3),
    slice=st.sampled_from([16, 23, 64]),
    counts=st.lists(st.tuples(st.integers(0, 64), st.integers(0, 64)), max_size=20),
)
def test_put_keeps_the_guard_a_copy_of_the_rings_beginning(
    channels: int, slice: int, counts: list[tuple[int, int]]
) -> None:
    for form in (PLAIN, compiled()):
        rig = Rig(form, channels=channels, slice=slice, capacity=64)
        ring = rig.rings[0].array.reshape(64 + slice, channels)
        model = np.zeros((64, channels), np.float32)
        index = 0
        for put, taken in counts:
            count = min(put, rig.room())
            indices = np.arange(index + 1, index + 1 + count, dtype=np.float32)
            data = indices[:, None] * 10 + np.arange(channels, dtype=np.float32)
            rig.put(data)
            for frame in data:
                model[index % 64] = frame
                index += 1
            np.testing.assert_array_equal(ring[:64], model)
            np.testing.assert_array_equal(ring[64:], model[:slice])
            assert int(rig.table[0]["write"]) == index
            rig.table[0]["read"] = min(int(rig.table[0]["read"]) + taken, index)
        rig.check()


def test_blocks_across_the_rings_end_come_out_whole(form: Form) -> None:
    rig = Rig(form, channels=3, slice=23, capacity=32)
    rig.play()
    sent, heard = 0, []
    while sent < 1000:
        count = min(rig.room(), 29)
        rig.write(ramp_of(count, sent + 1))
        sent += count
        heard.append(rig.render(23)[: count if count < 23 else 23])
    played = np.concatenate(heard)
    assert int(rig.stream["starved"]) == 0
    np.testing.assert_array_equal(played, np.repeat(ramp_of(len(played))[:, None], 3, axis=1))
    rig.check()


# --- captures ----------------------------------------------------------------------


@bounded(max_examples=60)
@given(
    channels=st.integers(1, 4),
    encoding=st.sampled_from([8, 16, 32]),
    blocks=st.lists(st.integers(0, 70), max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_captured_blocks_are_found_in_the_ring(
    channels: int, encoding: int, blocks: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    material = [
        (rng.uniform(-1, 1, (count, channels)) * FULL[encoding]).astype(DTYPES[encoding])
        for count in blocks
    ]
    states = []
    for form in (PLAIN, compiled()):
        rig = Rig(form, channels=channels, encoding=encoding, slice=16, capacity=128)
        for block in material:
            if len(block):
                rig.capture(block)
        joined = np.concatenate([*material, np.zeros((0, channels), DTYPES[encoding])])
        wanted = (joined / FULL[encoding]).astype(np.float32)
        total = len(joined)
        assert int(rig.stream["commit"]) == int(rig.stream["reserve"]) == total
        assert int(rig.stream["frames"]) == total
        kept = min(total, 128)
        whole, got = rig.read_ring(total - kept, kept)
        assert whole
        np.testing.assert_array_equal(got, wanted[total - kept :])
        rig.check()
        states.append(rig.state())
    assert states[0] == states[1]


def test_no_data_is_silence(form: Form) -> None:
    rig = Rig(form, channels=2, encoding=16, slice=16, capacity=32)
    rig.capture(np.full((20, 2), 99, np.int16))
    rig.capture(None, frames=20)  # across the ring's end
    whole, got = rig.read_ring(8, 32)
    assert whole
    np.testing.assert_array_equal(got[:12], np.full((12, 2), 99 / 32768, np.float32))
    assert not got[12:].any()


def test_a_reader_is_told_that_it_was_lapped(form: Form) -> None:
    rig = Rig(form, channels=1, slice=16, capacity=64)
    rig.capture(ramp_of(100)[:, None])
    for index, frames in ((36, 64), (36, 1), (99, 1), (100, 0)):
        assert rig.read_ring(index, frames)[0]
    for index in (0, 34, 35):
        assert not rig.read_ring(index, 1)[0], "already overwritten"
    # The writer has begun on its next block: what lies there may be half new.
    rig.stream["reserve"] += 16
    assert not rig.read_ring(51, 4)[0]
    assert rig.read_ring(52, 4)[0]


def test_taking_encodes_what_is_there_and_says_what_is_not(form: Form) -> None:
    rig = Rig(form, channels=2, encoding=16, slice=16, capacity=64)
    frames = np.arange(200, dtype=np.int16).reshape(100, 2) * 100
    rig.capture(frames)
    for encoding, factor in ((16, 1.0), (8, 1 / 256), (32, 1 / 32768)):
        said, got = rig.take(50, 50, encoding=encoding)  # across the ring's end
        assert said == 1
        wanted = frames[50:] * factor
        np.testing.assert_array_equal(got, wanted if encoding == 32 else np.rint(wanted))
    assert rig.take(51, 50)[0] == 0, "one frame is missing"
    assert rig.take(50, 10, limit=50)[0] == 1
    assert rig.take(50, 10, limit=49)[0] == -1, "more than may be queued"
    assert rig.take(35, 10)[0] == -1, "lapped"
    rig.stream["reserve"] += 16
    assert rig.take(51, 4)[0] == -1, "the writer has begun on it"
    assert rig.take(52, 4)[0] == 1


def test_writes_follow_each_other_up_to_a_limit(form: Form) -> None:
    rig = Rig(form, channels=2, slice=16, capacity=64)
    producer = rig.producer(50, 16, 1)
    block = np.arange(1, 31, dtype=np.int16) * 1000
    assert form.write_frames(producer, int(block.ctypes.data), 30) == 30
    assert form.write_frames(producer, int(block.ctypes.data), 30) == 20
    rig.play()
    wanted = (np.concatenate((block, block[:20])) / 32768).astype(np.float32)
    np.testing.assert_array_equal(rig.render(50), np.stack((wanted, wanted), axis=1))


def test_who_waits_for_room_is_woken_at_half_a_ring_or_once_it_ran_dry(form: Form) -> None:
    rig = Rig(form, channels=1, slice=16, capacity=64)
    producer = records(PRODUCER, 1)
    producer[0] = (rig.address, rig.voice_address(0), 50, 16, 1)
    address = int(producer.ctypes.data)
    rig.set("wakeup", 0, 0)
    rig.put(np.ones((50, 1), np.int16))
    rig.play()
    rig.render(10)
    assert not form.request_room(address)
    rig.render(14)
    assert not rig.take_woken(0)
    assert not form.request_room(address), "one frame is missing"
    rig.render(1)
    assert rig.take_woken(0) == [0]
    assert form.request_room(address)
    rig.render(25)
    producer["limit"] = 20  # what is free of it was there before it was waited for
    assert form.request_room(address), "it starved: there is nothing whose reading would signal"


def test_compiled_writes_take_bytes_as_they_are() -> None:
    rig = Rig(compiled(), channels=1, slice=16, capacity=64)
    assert rig.form.write_frames(rig.producer(64, 8, 1), bytes([64, 0, 192]), 3) == 3
    rig.play()
    assert rig.render(3)[:, 0].tolist() == [0.5, 0.0, -0.5]


def test_the_writer_announces_a_block_before_it_touches_the_ring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(PLAIN, channels=1, encoding=32, slice=16, capacity=64)
    seen = []
    decode = captures.convert

    def watched(*arguments: Any) -> None:
        seen.append((int(rig.stream["reserve"]), int(rig.stream["commit"])))
        decode(*arguments)

    monkeypatch.setattr(captures, "convert", watched)
    rig.capture(ramp_of(40)[:, None])
    assert seen == [(16, 0), (32, 16), (40, 32)]


def test_a_reader_is_woken_at_its_index_and_at_the_end(form: Form) -> None:
    rig = Rig(form, channels=1, slice=64, capacity=256)
    wakeup = rig.add_wakeup(0)
    rig.stream["wakeup"] = 0
    assert not rig.arm_commit(30)
    rig.capture(ramp_of(29)[:, None])
    assert signals(wakeup) == 0
    rig.capture(ramp_of(1)[:, None])
    assert signals(wakeup) == 1
    assert int(rig.stream["woken"]) == 1
    assert int(rig.stream["wake_commit"]) == NEVER
    rig.capture(ramp_of(1)[:, None])
    assert signals(wakeup) == 0
    assert not rig.arm_commit(10_000)
    rig.capture(None, frames=0)
    assert int(rig.stream["ended"]) == 1
    assert signals(wakeup) == 1, "nothing more will come: look now"
    rig.capture(None, frames=0)
    assert signals(wakeup) == 0, "no one waits"


# --- counters ----------------------------------------------------------------------


def test_flags_and_calls_are_counted(form: Form) -> None:
    rig = Rig(form, channels=1)
    for flags in (0, 2, 4, 6, 1, 8, 16):
        rig.render(8, flags=flags)
    counts = {n: int(rig.stream[n]) for n in ("callbacks", "overruns", "underruns")}
    assert counts == {"callbacks": 7, "overruns": 2, "underruns": 2}
    assert int(rig.stream["entered"]) == int(rig.stream["left"]) == 7
    assert int(rig.stream["heartbeat"]) > 0
    assert float(rig.stream["time"]) == 1.0 + 48 / 32768


def test_late_is_beyond_the_last_block_and_the_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock_now = [10**9]

    def clock(timespec: int) -> int:
        del timespec
        return clock_now[0]

    monkeypatch.setattr(callback, "monotonic_ns", clock)
    rig = Rig(PLAIN, channels=1, rate=1000, latency=0.005)
    late = []
    for wait in (0, 15, 16, 15, 40, 8):  # ms; blocks of 10 ms, latency 5 ms
        clock_now[0] += wait * 10**6
        rig.render(10)
        late.append(int(rig.stream["late"]))
    assert late == [0, 0, 1, 1, 2, 2]


def test_the_longest_callback_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 300, 1000, 1900, 5000, 5100])

    def clock(timespec: int) -> int:
        del timespec
        return next(ticks)

    monkeypatch.setattr(callback, "monotonic_ns", clock)
    rig = Rig(PLAIN, channels=1)
    for _ in range(3):
        rig.render(8)
    assert int(rig.stream["longest"]) == 900


# --- the virtual devices' clock ----------------------------------------------------


class ClockRig:
    """A clock's record with an output, a recording and inputs plugged in, all optional."""

    def __init__(
        self,
        period: int = 16,
        source: np.ndarray | None = None,
        inputs: int = 0,
        output: Rig | None = None,
        sink: int = -1,
    ) -> None:
        self.records = records(CLOCK, 1)
        self.record = self.records[0]
        self.block = Guarded(period, np.float32)
        self.silence = Guarded(period, np.float32)
        self.times = np.zeros(1, layout.TIME_INFO)
        self.inputs = [Rig(compiled(), channels=1, slice=16) for _ in range(inputs)]
        self.captures = Guarded(2 * max(inputs, 1), np.int64)
        entry = compiled().capture
        for i, rig in enumerate(self.inputs):
            self.captures.array[2 * i] = ctypes.cast(entry, ctypes.c_void_p).value
            self.captures.array[2 * i + 1] = rig.address
        self.output = output
        self.source = source
        for name, value in {
            "rate": 32768,
            "period": period,
            "frame_bytes": 4,
            "captures": self.captures.address,
            "capture_count": inputs,
            "block": self.block.address,
            "silence": self.silence.address,
            "sink": sink,
            "time_info": self.times.ctypes.data,
        }.items():
            self.record[name] = value
        if source is not None:
            self.record["source"] = source.ctypes.data
            self.record["source_frames"] = len(source)
        if output is not None:
            render = ctypes.cast(compiled().render, ctypes.c_void_p).value
            self.record["render"] = render
            self.record["render_user"] = output.address

    @property
    def address(self) -> int:
        return int(self.records.ctypes.data)

    def heard(self, number: int = 0) -> np.ndarray:
        rig = self.inputs[number]
        whole, got = rig.read_ring(0, int(rig.stream["commit"]))
        assert whole
        return got[:, 0]

    def check(self) -> None:
        for memory in (self.block, self.silence, self.captures):
            memory.check()


def test_a_tick_without_anything_is_silence() -> None:
    rig = ClockRig(inputs=2)
    for _ in range(3):
        virtual_clock.tick(rig.record)
    for number in (0, 1):
        assert rig.heard(number).tolist() == [0.0] * 48
    assert int(rig.record["frames"]) == 48
    assert int(rig.record["ended"]) == 0
    rig.check()


def test_a_recording_ends_with_a_short_block_and_then_none() -> None:
    material = ramp_of(40)
    rig = ClockRig(source=material, inputs=1)
    for _ in range(3):
        virtual_clock.tick(rig.record)
    np.testing.assert_array_equal(rig.heard(), material)
    assert int(rig.record["ended"]) == int(rig.inputs[0].stream["ended"]) == 0
    virtual_clock.tick(rig.record)
    assert int(rig.record["ended"]) == int(rig.inputs[0].stream["ended"]) == 1
    assert int(rig.record["frames"]) == int(rig.record["position"]) == 40
    np.testing.assert_array_equal(rig.heard(), material)


def test_what_the_output_plays_is_heard_and_poured_into_the_file(tmp_path: Path) -> None:
    output = Rig(compiled(), channels=1)
    output.write(ramp_of(48))
    output.play()
    sink = os.open(tmp_path / "sink", os.O_RDWR | os.O_CREAT)
    try:
        rig = ClockRig(inputs=2, output=output, sink=sink)
        for _ in range(3):
            virtual_clock.tick(rig.record)
    finally:
        os.close(sink)
    for played in (rig.heard(0), rig.heard(1)):
        np.testing.assert_array_equal(played, ramp_of(48))
    assert (tmp_path / "sink").read_bytes() == ramp_of(48).tobytes()
    assert int(rig.record["sink_bytes"]) == 48 * 4
    assert int(rig.record["sink_failed"]) == 0
    rig.check()


def test_an_output_without_a_file_is_heard_all_the_same() -> None:
    output = Rig(compiled(), channels=1)
    output.write(ramp_of(16))
    output.play()
    rig = ClockRig(inputs=1, output=output)
    virtual_clock.tick(rig.record)
    np.testing.assert_array_equal(rig.heard(), ramp_of(16))
    assert int(rig.record["sink_bytes"]) == 0


def test_a_sink_that_takes_little_gets_the_rest_and_one_that_fails_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[bytes] = []
    answers = [10, 3, 51, -1, 20, 0]

    def some(fd: int, address: int, count: int) -> int:
        assert fd == 77
        took = min(answers.pop(0), count)
        if took > 0:
            taken.append(ctypes.string_at(int(address), took))
        return took

    monkeypatch.setattr(virtual_clock, "write_bytes", some)
    output = Rig(compiled(), channels=1)
    output.write(ramp_of(64))
    output.play()
    rig = ClockRig(output=output, sink=77)
    virtual_clock.tick(rig.record)
    assert b"".join(taken) == ramp_of(16).tobytes()
    assert int(rig.record["sink_bytes"]) == 64
    virtual_clock.tick(rig.record)
    assert int(rig.record["sink_failed"]) == 64
    virtual_clock.tick(rig.record)  # 20 of 64 bytes, then nothing
    assert int(rig.record["sink_failed"]) == 64 + 44


def test_bytes_that_reached_the_sink_are_counted_even_if_the_rest_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [20, -1]
    monkeypatch.setattr(virtual_clock, "write_bytes", lambda fd, address, count: answers.pop(0))
    rig = ClockRig(output=Rig(compiled(), channels=1), sink=77)
    virtual_clock.tick(rig.record)
    assert int(rig.record["sink_bytes"]) == 20


class FakeTime:
    """Virtual nanoseconds; sleeping moves them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rig: ClockRig) -> None:
        self.now = 5 * 10**9
        self.naps: list[int] = []
        self.ticks: list[tuple[int, float, float]] = []
        self.rig = rig
        self.stalls: dict[int, int] = {}
        self.stop_at = 0
        real = virtual_clock.tick

        def clock(timespec: int) -> int:
            assert timespec == rig.address + int(CLOCK.fields["seconds"][1])  # type: ignore[index]
            return self.now

        def sleep(due: int, now: int, timespec: int) -> None:
            del timespec
            assert due > now
            self.naps.append(due - now)
            self.now += due - now

        def ticked(record: Any) -> None:
            times = rig.times[0]
            self.ticks.append((self.now, float(times["now"]), float(times["dac"])))
            real(record)
            self.now += self.stalls.get(len(self.ticks), 0)
            if len(self.ticks) == self.stop_at:
                record["stop"] = 1

        monkeypatch.setattr(virtual_clock, "monotonic_ns", clock)
        monkeypatch.setattr(virtual_clock, "sleep_until", sleep)
        monkeypatch.setattr(virtual_clock, "tick", ticked)


def test_the_clock_keeps_to_one_time_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ClockRig(period=16384)  # half a second
    rig.record["capture_count"] = 0
    fake = FakeTime(monkeypatch, rig)
    fake.stalls = {3: 300_000_000}
    fake.stop_at = 6
    start = fake.now
    virtual_clock.run_clock(rig.address)
    assert [at - start for at, _, _ in fake.ticks] == [i * 500_000_000 for i in range(6)]
    for at, now, dac in fake.ticks:
        assert now == pytest.approx(at * 1e-9)
        assert dac == pytest.approx(at * 1e-9 + 0.5)
    assert max(fake.naps) == virtual_clock.NAP, "naps are short, so that a stop is soon seen"


def test_a_clock_that_is_late_catches_up_but_not_after_a_long_sleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = ClockRig(period=16384)
    fake = FakeTime(monkeypatch, rig)
    fake.stalls = {2: 900_000_000, 5: 60_000_000_000}
    fake.stop_at = 8
    start = fake.now
    virtual_clock.run_clock(rig.address)
    at = [(now - start) // 1_000_000 for now, _, _ in fake.ticks]
    # Tick 3 (due at 1000) comes at 1400 and the next ones on time again; tick 6 comes a
    # minute late, and time goes on from there instead of in 120 ticks at once.
    assert at == [0, 500, 1400, 1500, 2000, 62000, 62500, 63000]


def test_the_clock_ends_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ClockRig(source=ramp_of(40), inputs=1)
    fake = FakeTime(monkeypatch, rig)
    virtual_clock.run_clock(rig.address)
    assert len(fake.ticks) == 4
    np.testing.assert_array_equal(rig.heard(), ramp_of(40))


def test_the_compiled_clock_does_the_same() -> None:
    output = Rig(compiled(), channels=1)
    output.write(ramp_of(200))
    output.play()
    rig = ClockRig(source=ramp_of(40), inputs=1, output=output)
    kernels().run_clock(rig.address)  # about a millisecond
    assert int(rig.record["ended"]) == 1
    np.testing.assert_array_equal(rig.heard(), ramp_of(40))


# --- system calls ------------------------------------------------------------------


def test_plain_system_calls() -> None:
    reader, writer = os.pipe()
    try:
        text = ctypes.create_string_buffer(b"eight by")
        assert syscalls.write_bytes(writer, ctypes.addressof(text), 8) == 8
        assert os.read(reader, 100) == b"eight by"
    finally:
        os.close(reader)
        os.close(writer)
    assert syscalls.write_bytes(writer, ctypes.addressof(text), 8) == -1
    before = time.monotonic_ns()
    assert before <= syscalls.monotonic_ns(0) <= time.monotonic_ns()
    syscalls.sleep_until(0, 10**18, 0)  # due long ago: returns at once


@pytest.mark.parametrize("function", ["write_bytes", "call_back"])
def test_plain_system_calls_take_a_records_words(function: str) -> None:
    text = ctypes.create_string_buffer(b"eight by")
    address: Any = np.int64(ctypes.addressof(text))
    if function == "write_bytes":
        assert syscalls.write_bytes(-1, address, 8) == -1
        return
    thunk = CallCompiled(lambda *arguments: 7)
    entry: Any = np.int64(ctypes.cast(thunk, ctypes.c_void_p).value or 0)
    assert syscalls.call_back(entry, address, 0, np.int64(1), address, 0, address) == 7  # type: ignore[arg-type]


def test_call_back_hands_on_all_arguments() -> None:
    seen: list[tuple[Any, ...]] = []

    def function(*arguments: Any) -> int:
        seen.append(arguments)
        return 42

    thunk = CallCompiled(function)
    address = ctypes.cast(thunk, ctypes.c_void_p).value
    assert address is not None
    assert syscalls.call_back(address, 1, 2, 3, 4, 5, 6) == 42
    assert seen == [(1, 2, 3, 4, 5, 6)]


# --- the layout and its rules ------------------------------------------------------


@pytest.mark.parametrize("dtype", [STREAM, VOICE, CLOCK, WAKEUP])
def test_every_word_is_aligned_and_no_two_writers_share_a_line(dtype: Any) -> None:
    assert dtype.itemsize % layout.CACHE_LINE == 0
    offsets = sorted(offset for _, offset in dtype.fields.values())
    assert all(offset % 8 == 0 for offset in offsets)
    assert len(set(offsets)) == len(offsets)


WRITERS = {
    # audio thread            the others
    ("voice", "read"): ("voice", "write"),
    ("voice", "cut_count"): ("voice", "skip"),
    ("voice", "heard"): ("voice", "wake_heard"),
    ("voice", "gain"): ("voice", "command_count"),
    ("stream", "commit"): ("stream", "wake_commit"),
    ("stream", "master"): ("stream", "master_target"),
    ("stream", "entered"): ("stream", "voice_end"),
}


@pytest.mark.parametrize(("audio", "other"), WRITERS.items())
def test_the_two_sides_words_lie_on_different_lines(
    audio: tuple[str, str], other: tuple[str, str]
) -> None:
    dtype = VOICE if audio[0] == "voice" else STREAM
    first, second = (dtype.fields[name][1] for _, name in (audio, other))  # type: ignore[index]
    assert first // layout.CACHE_LINE != second // layout.CACHE_LINE


SHARED = {
    # Words that one thread writes while another may read or write them; in kernels they are
    # touched through atomics.py alone.  Written by callers while the audio thread runs:
    "caller": {
        *("active", "command_count", "opcode", "nodes", "plan", "strip"),
        *("prebuffer", "rebuffer", "monitor_count", "bypass"),
        *("group_clear", "group_skip", "clear_count", "clear_fade"),
        *("sidechain", "duck", "attack", "hold", "release"),
        *("write", "skip", "fade", "ended", "wakeup", "fd"),
        *("latest", "voice_end", "master_target", "master_frames", "master_change"),
        *(
            "wake_read",
            "wake_heard",
            "wake_rested",
            "wake_commit",
            "woken",
            "armed",
            "stop",
            "capture_count",
        ),
    },
    # Written by the audio thread and read by callers:
    "audio": {
        *("read", "heard", "cut_count", "starved", "reserve", "commit", "ended"),
        *("entered", "left", "callbacks", "frames", "underruns", "overruns", "late"),
        *("longest", "wakeups", "heartbeat", "time", "sink_bytes", "sink_failed"),
        *("command_taken", "shortages", "stop_count"),
        *("failed", "gone", "spent", "ran", "rested", "lag", "delay"),
        *("clock_version", "host_version", "shift"),
        *("anchor", "drift", "version"),  # of either line; its time has a stream's name
    },
}


def plain_accesses(source: str) -> set[tuple[str, str, str]]:
    """(function, "load" or "store", word) of every ``record["word"]`` without atomics."""
    found = set()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
                continue
            name = node.slice.value
            if isinstance(name, str):
                # x["y"] += 1 is both; its context says store.
                kind = "load" if isinstance(node.ctx, ast.Load) else "store"
                found.add((function.name, kind, name))
    return found


OWN = {
    # A plain load of a word that only the loading thread itself writes.
    *(("begin", word) for word in ("entered", "callbacks", "late", "overruns", "underruns")),
    *(("finish", word) for word in ("wakeups", "longest", "left")),
    *(("write_frames", word) for word in ("write",)),
    *(("audible_frame", word) for word in ("frames",)),
    *(("render", word) for word in ("frames",)),
    *(("follow_time", word) for word in ("time",)),
    *(("note_rest", word) for word in ("read",)),
    *(("append_block", word) for word in ("commit",)),
    *(("take_in", word) for word in ("frames", "commit", "ended")),
    *(("wake_voice", word) for word in ("read", "heard", "rested")),
    *(("follow_heard", word) for word in ("read", "heard")),
    *(("follow_rest", word) for word in ("heard", "rested")),
    *((f, "lag") for f in ("follow_playhead", "look_up_effects")),
    *((f, "delay") for f in ("audible_frame", "follow_time")),
    *(("cut", word) for word in ("read", "cut_count")),
    *(
        (function, "read")
        for function in (
            *("add_next", "begin_declick", "clear_group", "cut_voices", "fade_out"),
            *("frames_there", "is_held", "note_silence", "play", "run_out"),
            *("start_sounding", "still_fills", "stop_voice"),
        )
    ),
    *(("run_out", word) for word in ("shortages",)),
    ("run_node", "fade"),  # a node's, which only its caller writes, before it is attached
    *((f, "failed") for f in ("aim", "run_generator", "end_generator")),
    *(("note_cost", word) for word in ("spent", "ran")),
    *(("run_nodes", word) for word in ("gone",)),
    *(("count_starved", word) for word in ("starved",)),
    *(("end_voice", word) for word in ("stop_count",)),
    *((f, "command_taken") for f in ("forget_done", "next_command", "obey")),
    *(("frames_until", word) for word in ("drift", "anchor", "time", "clock_version")),
    *(("follow", word) for word in ("drift", "anchor", "time", "version")),
    *(("follow_clock", word) for word in ("frames",)),
    *(("follow_host", word) for word in ("anchor", "frames", "time", "version")),
    *(("host_time", word) for word in ("shift", "time")),
    *((f, "time") for f in ("captured_at", "feed_monitors")),
    *(("pour", word) for word in ("sink_bytes", "sink_failed")),
    *(("tick", word) for word in ("frames",)),
    *(("run_clock", word) for word in ("frames", "ended")),
}


def all_accesses() -> set[tuple[str, str, str]]:
    """The plain accesses to shared words in all of realtime/."""
    shared = SHARED["caller"] | SHARED["audio"]
    found = set()
    for path in REALTIME.rglob("*.py"):
        found |= plain_accesses(path.read_text(encoding="utf-8"))
    return {access for access in found if access[2] in shared}


def test_shared_words_are_touched_by_atomics_alone() -> None:
    own = {(function, "load", name) for function, name in OWN}
    assert all_accesses() - own == set()
    assert own - all_accesses() == set(), "no exception is left over"


RECORDS = (WAKEUP, CLOCK, COMMAND, GROUP, NODE, POINT, STREAM, CLOCK_SYNC, VOICE)


def test_every_shared_word_is_one_of_the_records() -> None:
    every = {name for dtype in RECORDS for name in dtype.names or ()}
    assert SHARED["caller"] | SHARED["audio"] <= every


def test_the_search_for_plain_accesses_finds_them() -> None:
    found = plain_accesses(
        'def f(v):\n    v["read"] = 1\n    v["x"] += v["write"]\n    store(v, "skip", 2)\n'
    )
    assert found == {("f", "store", "read"), ("f", "store", "x"), ("f", "load", "write")}


ORDERINGS = {
    "load(word_at(address), 'value')": ("load atomic i64", "monotonic"),
    "load_acquire(word_at(address), 'value')": ("load atomic i64", "acquire"),
    "load_seq(word_at(address), 'value')": ("load atomic i64", "seq_cst"),
    "store(word_at(address), 'value', 7)": ("store atomic i64", "monotonic"),
    "store_release(word_at(address), 'value', 7)": ("store atomic i64", "release"),
    "store_seq(word_at(address), 'value', 7)": ("store atomic i64", "seq_cst"),
    "compare_and_swap(word_at(address), 'value', 7, 8)": ("cmpxchg", "seq_cst seq_cst"),
    "fence_acquire()": ("fence", "acquire"),
    "fence_release()": ("fence", "release"),
    "fence_seq()": ("fence", "seq_cst"),
}


def test_every_atomic_is_one_instruction_of_its_ordering() -> None:
    scope = {name: getattr(atomics, name) for name in atomics.__all__}
    functions = {}
    for number, expression in enumerate(ORDERINGS):
        name = f"use_{number}"
        returned = "-> int:\n return" if expression.startswith("load") else "-> None:\n"
        exec(f"def {name}(address) {returned} {expression}\n", scope)
        functions[name] = scope[name]
    module = translate(functions)
    optimise(module, target_machine())
    for name, (expression, (instruction, ordering)) in zip(
        functions, ORDERINGS.items(), strict=True
    ):
        lines = [line.strip() for line in str(module.get_function(name)).splitlines()]
        ordered = [line for line in lines if re.search(r"\b(atomic|cmpxchg|fence)\b", line)]
        assert len(ordered) == 1, (expression, ordered)
        wanted = f"{instruction}.* {ordering}" + (
            "$" if instruction == "fence" else ", align 8"
        )
        assert re.search(wanted, ordered[0]), (expression, ordered)
