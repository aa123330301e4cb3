"""Rendering without a device: the same graph, faster, to an array or a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import audiostream
from audiostream import aio, dsp, kernel, render
from audiostream.errors import AudioException, FormatError
from audiostream.testing import ManualDevice

CLICK = np.array([0.5, 0.25], np.float32)


def clicks(speaker: Any) -> None:
    sound = speaker.load(CLICK)
    for number in range(5):
        sound.play(at=0.01 * number)


@pytest.mark.parametrize("blocks", [1, 64, 256, 1000])
def test_what_is_scheduled_lands_on_its_frame(blocks: int) -> None:
    made = render(clicks, 0.05, 48000, 1, blocks=blocks)
    wanted = np.zeros((2400, 1), np.float32)
    for number in range(5):
        wanted[480 * number : 480 * number + 2, 0] = CLICK
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, wanted)


def test_it_is_what_a_manual_device_plays() -> None:
    random = np.random.default_rng(7)
    noise = random.uniform(-0.5, 0.5, (3000, 2)).astype(np.float32)
    score = [
        (float(at), float(gain), float(pan), float(rate))
        for at, gain, pan, rate in zip(
            random.uniform(0, 0.4, 200),
            random.uniform(0, 1, 200),
            random.uniform(-1, 1, 200),
            random.choice([0.5, 1.0, 1.5], 200),
            strict=True,
        )
    ]

    def make(speaker: Any) -> None:
        bus = speaker.group(0.5)
        sound = speaker.load(noise)
        for at, gain, pan, rate in sorted(score):
            played = sound.play(at, gain=gain, pan=pan, rate=rate, group=bus)
            played.fade(0.0, 0.02, "exponential", at + 0.01)

    made = render(make, 0.5)
    device = ManualDevice(buffersize=256)
    with aio.AudioOutput(48000, 2, 32, 256, device=device) as speaker:
        make(speaker)
        live = np.concatenate([device.step(256) for _ in range(94)])[:24000]
    np.testing.assert_array_equal(made.clip(-1.0, 1.0), live)
    assert np.abs(made).max() > 0.3
    np.testing.assert_allclose(render(make, 0.5, blocks=77), made, atol=1e-6)


def test_effects_and_generators_are_the_same_live() -> None:
    """A random score of 200 events: notes, filters, parameters, a group and a limiter."""
    random = np.random.default_rng(11)
    notes = [
        (float(at), float(pitch), float(pan))
        for at, pitch, pan in zip(
            np.sort(random.uniform(0, 0.4, 40)),
            random.uniform(100, 2000, 40),
            random.uniform(-1, 1, 40),
            strict=True,
        )
    ]

    def make(speaker: Any) -> None:
        delay = dsp.delay(seconds=0.05, feedback=0.3)
        bus = speaker.group(0.5, effects=[delay])
        for at, pitch, pan in notes:
            osc, envelope = dsp.saw(frequency=pitch), dsp.adsr(gate=1.0, release=0.03)
            cutoff = dsp.lowpass(frequency=800.0)
            playing = speaker.play(osc, at, pan=pan, group=bus, effects=[cutoff, envelope])
            osc.set(frequency=pitch * 1.5, over=0.02, at=at + 0.01)
            cutoff.set(frequency=3000.0, q=2.0, over=0.03, curve="exponential", at=at + 0.02)
            envelope.set(gate=0.0, at=at + 0.06)
            playing.stop(at=at + 0.1)
        delay.set(seconds=0.03, over=0.1, at=0.2)

    made = render(make, 0.5)
    device = ManualDevice(buffersize=256)
    with aio.AudioOutput(48000, 2, 32, 256, device=device) as speaker:
        make(speaker)
        live = np.concatenate([device.step(256) for _ in range(94)])[:24000]
    np.testing.assert_array_equal(made, live)
    assert np.abs(made).max() > 0.1
    np.testing.assert_array_equal(render(make, 0.5), made, "again")
    # Scalars move by steps of 32 frames of the device, in any blocks.
    np.testing.assert_allclose(render(make, 0.5, blocks=96), made, atol=2e-5)


def test_a_generator_function_goes_on_when_its_time_has_come() -> None:
    """Else only 64 values may wait for their time."""
    pitches = [200.0 + 10 * number for number in range(120)]

    def at_once(speaker: Any) -> None:
        osc = dsp.sine()
        speaker.play(osc)
        for number, pitch in enumerate(pitches):
            osc.set(frequency=pitch, over=0, at=0.005 * (number + 1))

    def later(speaker: Any) -> Any:
        osc = dsp.sine()
        speaker.play(osc)
        for number, pitch in enumerate(pitches):
            osc.set(frequency=pitch, over=0, at=0.005 * (number + 1))
            if number % 50 == 49:
                yield 0.005 * number
        assert speaker.time == pytest.approx(0.495)

    with pytest.raises(AudioException, match="64 commands"):
        render(at_once, 0.7, 48000, 1)
    shares: list[float] = []
    made = render(later, 0.7, 48000, 1, progress=shares.append)[:, 0]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    changes = 240 * (1 + np.arange(120))
    frequency = np.repeat([440.0, *pitches], np.diff([0, *changes, 33600]))
    phase = np.concatenate([[0], np.cumsum(frequency / 48000)[:-1]])
    np.testing.assert_allclose(made, 0.5 * np.sin(2 * np.pi * phase), atol=1e-5)


@pytest.mark.parametrize("time", [-1, 0, "1", math.nan, None])
def test_a_time_that_cannot_be_yielded(time: Any) -> None:
    def make(speaker: Any) -> Any:
        yield time

    with pytest.raises(FormatError, match="yield"):
        render(make, 0.1)


def test_what_is_louder_than_full_scale_stays_so(tmp_path: Path) -> None:
    def loud(speaker: Any) -> None:
        speaker.play(dsp.sine(level=1.0), gain=4.0)

    made = render(loud, 0.1)
    assert np.abs(made).max() == pytest.approx(4.0, abs=0.01)
    for name, subtype, peak in (("a.wav", "FLOAT", 4.0), ("b.wav", "PCM_16", 1.0)):
        render(loud, 0.1, to=tmp_path / name, subtype=subtype)
        data, _ = soundfile.read(tmp_path / name)
        assert np.abs(data).max() == pytest.approx(peak, abs=0.01)
    device = ManualDevice(buffersize=256)
    with aio.AudioOutput(48000, 2, 32, 256, device=device) as speaker:
        loud(speaker)
        np.testing.assert_array_equal(device.step(4800), made.clip(-1.0, 1.0))


@kernel(state={"n": "i8"})
def breaks(block, state):
    for i in range(block.shape[0]):
        state.n += 1
        if state.n > 12000:
            block[i, 0] = math.nan


def test_an_effect_is_wet_from_the_first_frame_of_all() -> None:
    def make(speaker: Any) -> None:
        for number in range(8):
            speaker.play(dsp.saw(frequency=110.0 * (number + 1)))
        speaker.effects.append(dsp.limiter(ceiling_db=-6.0))

    made = render(make, 0.1)
    assert 0.4 < np.abs(made).max() <= 10 ** (-6 / 20) + 1e-6


def test_an_effect_that_failed_tells_afterwards() -> None:
    fx = breaks()
    render(lambda speaker: speaker.play(dsp.sine(), effects=[fx]), 0.5, 48000, 1)
    assert "NaN" in str(fx.error)
    render(lambda speaker: speaker.play(dsp.sine(), effects=[fx]), 0.1, 48000, 1)
    assert fx.error is None, "of the place where it is now"


def test_a_coroutine_and_an_async_generator_are_refused() -> None:
    async def coroutine(speaker: Any) -> None:
        """Nothing."""

    async def generator(speaker: Any) -> Any:
        yield 0.1

    for make in (coroutine, generator):
        with pytest.raises(FormatError, match="plain def"):
            render(make, 0.1)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AudioException, match="there is no folder"):
        render(clicks, 0.05, to=tmp_path / "nowhere" / "a.wav")


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "FLOAT"), ("a.flac", "PCM_24")])
def test_to_a_file(tmp_path: Path, name: str, subtype: str) -> None:
    path = tmp_path / name
    shares: list[float] = []
    frames = render(clicks, 0.05, 44100, to=path, subtype=subtype, progress=shares.append)
    assert frames == 2205
    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 44100
    np.testing.assert_allclose(data, render(clicks, 0.05, 44100), atol=1e-6)
    assert soundfile.info(path).subtype == subtype
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_nothing_to_render() -> None:
    assert render(clicks, 0).shape == (0, 2)
    assert render(lambda speaker: None, 0.1).shape == (4800, 2)


def test_what_goes_wrong_in_it_goes_through(tmp_path: Path) -> None:
    def fails(speaker: Any) -> None:
        raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        render(fails, 1)
    with pytest.raises(ValueError, match="my own"):
        render(fails, 1, to=tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seconds": -1}, "seconds=-1"),
        ({"seconds": math.inf}, "seconds=inf"),
        ({"rate": 10}, "rate"),
        ({"channels": 0}, "channels"),
        ({"blocks": 0}, "blocks"),
        ({"to": ""}, "to="),
        ({"subtype": "PCM_24"}, "give to="),
        ({"progress": 5}, "progress=5"),
        ({"make": 5}, "make=5"),
    ],
)
def test_what_it_cannot_take(values: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        render(**{"make": clicks, "seconds": 1, **values})


def test_a_coroutine_function_is_refused() -> None:
    async def later(speaker: Any) -> None:
        pass

    with pytest.raises(FormatError, match="coroutine"):
        render(later, 1)


@pytest.mark.parametrize("name", ["a.nosuch", "none/a.wav"])
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioException, match="cannot be written"):
        render(clicks, 0.1, to=tmp_path / name)


def test_the_name_is_handed_on() -> None:
    assert audiostream.render is render
    assert "render" in dir(audiostream)
