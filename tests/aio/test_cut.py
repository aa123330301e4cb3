"""Cutting what is queued, and what is heard of it; stepped, and beside a recording."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

from audiostream import aio
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio

FADE = 240  # frames of 5 ms at 48 kHz


@pytest.mark.numbers
@pytest.mark.parametrize("latency", [0, 2400])
@pytest.mark.parametrize("block", [1, 7, 63, 480])
@pytest.mark.parametrize("rate", [24000, 48000])
async def test_in_the_middle_of_ten_seconds_of_speech(
    rate: int, block: int, latency: int
) -> None:
    """Silent within the fade, a block and the latency; and told to the frame what was heard."""
    device = ManualDevice(latency=latency / 48000)
    async with (
        speaker_on(device, buffersize=block) as speaker,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample(rate=rate, encoding=16, buffer=11)
        speech = voice.utterance()
        wave = 8000 * np.sin(2 * np.pi * 300 * np.arange(10 * rate) / rate)
        for part in np.split(wave.astype(np.int16), 100):  # far faster than real time
            assert speech.write_nowait(part)
        speech.end()
        assert voice.buffered == 10 * rate
        recorded = [device.step(frames) for frames in (3000, 31, 711, 17)]
        asked = sum(map(len, recorded))
        clearing = await spawn(group, lambda: voice.clear(fade=0.005))
        recorded.append(device.step(block + FADE))
        await settle()
        assert clearing.done, "as soon as it is silent"
        recorded.append(device.step(4800))
        played = np.concatenate(recorded)[:, 0]
        # The fade's last frame is at level 0.
        end = np.flatnonzero(played)[-1] + 2
        assert asked < end <= asked + FADE + block
        assert clearing.result == pytest.approx(end * rate / 48000, abs=1)
        device.step(latency)
        assert voice.position == clearing.result == speech.heard
        assert voice.cleared == 10 * rate - clearing.result
        assert voice.buffered == 0
        assert not await speech.finished()


async def test_what_was_heard_is_what_a_loopback_has_recorded() -> None:
    """In real time: every frame that was told of, and none besides."""
    async with (
        aio.get_output(48000, 1, buffersize=256, device="loopback:cut") as speaker,
        aio.get_input(
            source="loopback:cut", rate=48000, channels=1, buffersize=480, queue=30
        ) as mic,
    ):
        voice = speaker.sample(buffer=11)
        speech = voice.utterance()
        speech.write_nowait(np.full(480_000, 12_345, np.int16))
        speech.end()
        recorded = bytearray()
        while len(recorded) < 2 * 9600 or not any(recorded[-960:]):
            recorded += await mic.read(480)
        heard = await voice.clear(fade=0.005)
        assert heard == speech.heard
        while any(recorded[-960:]):
            recorded += await mic.read(480)
        assert mic.dropped == 0
        samples = np.frombuffer(bytes(recorded), np.int16)
        sounding = np.flatnonzero(samples)
        first, last = sounding[0], sounding[-1]
        assert last + 1 - first == len(sounding), "without a gap"
        assert len(sounding) == heard - 1  # the fade's last frame is at level 0
        assert np.count_nonzero(samples == 12_345) == heard - FADE


# --- no clicks ---------------------------------------------------------------------

SLOPE = 2 * np.pi * 440 / 48000
"""Of a sine of 440 Hz, per frame, as a share of its amplitude."""


async def steepest(what: str, block: int, ramp: float) -> float:
    """The largest step from frame to frame, of a sine that `what` is done to."""
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32, buffersize=block) as speaker:
        voice = speaker.sample(channels=1, encoding=32, buffer=1.0)
        voice.ramp = ramp
        sine = (0.5 * np.sin(SLOPE * np.arange(9600))).astype(np.float32)
        voice.write_nowait(sine[:4000] if what == "starvation" else sine)
        played = [np.zeros((1, 2), np.float32)]

        def step(frames: int) -> None:
            played.extend(device.step(block) for _ in range(-(-frames // block)))

        step(2027)
        if what == "clear":
            voice.clear_nowait(ramp)
        elif what == "stop":
            voice.stop(fade=ramp)
        elif what == "stop at":
            voice.stop(at=speaker.time + 0.001, fade=ramp)
        elif what == "pause":
            voice.pause()
            step(3000)
            voice.resume()
        elif what == "pause and resume at once":
            voice.pause()
            step(50)
            voice.resume()
            step(20)
            voice.pause()
        elif what == "starvation":
            step(3001)
            voice.write_nowait(sine[4000:])
        elif what == "mute":
            voice.muted = True
            step(1000)
            voice.muted = False
        elif what == "gain":
            voice.gain = 0.0
            step(1000)
            voice.gain = 1.0
        elif what == "removal":
            await voice.aclose()
        step(4000)
        return float(np.abs(np.diff(np.concatenate(played), axis=0)).max())


@pytest.mark.numbers
@pytest.mark.parametrize("ramp", [0.005, 0.02])
@pytest.mark.parametrize("block", [7, 63, 480])
@pytest.mark.parametrize(
    "what",
    [
        "clear",
        "stop",
        "stop at",
        "pause",
        "pause and resume at once",
        "starvation",
        "mute",
        "gain",
        "removal",
    ],
)
async def test_no_step_is_larger_than_the_signals_and_the_ramps(
    what: str, block: int, ramp: float
) -> None:
    step = await steepest(what, block, ramp)
    assert 0.45 * SLOPE < step <= 0.5 * (SLOPE + 1 / round(48000 * ramp)) + 1e-6


async def test_no_step_is_larger_where_it_pans() -> None:
    """There one side may be louder, and changes by as much as that."""
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(channels=1, encoding=32, buffer=1.0)
        sine = (0.5 * np.sin(SLOPE * np.arange(9600))).astype(np.float32)
        voice.write_nowait(sine)
        played = [device.step(500)]
        for pan in (-1.0, 1.0, 0.0):
            voice.pan = pan
            played.append(device.step(1000))
        step = np.abs(np.diff(np.concatenate(played), axis=0)).max()
        assert step <= 0.5 * np.sqrt(2) * (SLOPE + 1 / FADE) + 1e-6
