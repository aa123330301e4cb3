"""Attributes that samples, groups, sounds, outputs and inputs do not know; stepped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import numpy as np
import pytest

import audiostream
from audiostream import aio
from audiostream.sources.wave import SineSource
from audiostream.testing import ManualDevice
from tests.aio.support import speaker_on

pytestmark = pytest.mark.anyio

MADE: dict[str, Callable[[aio.AudioOutput, aio.AudioInput], Any]] = {
    "sample": lambda speaker, mic: speaker.sample(),
    "group": lambda speaker, mic: speaker.group(),
    "sound": lambda speaker, mic: speaker.load(np.zeros(9, np.float32)),
    "handle": lambda speaker, mic: speaker.load(np.zeros(9, np.float32)).play(),
    "output": lambda speaker, mic: speaker,
    "input": lambda speaker, mic: mic,
    "monitor": lambda speaker, mic: speaker.monitor(),
}


@pytest.mark.parametrize("kind", MADE)
async def test_what_is_not_known_cannot_be_set(kind: str) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, aio.get_input(source=device, rate=48000) as mic:
        made = MADE[kind](speaker, mic)
        for name in ("volume", "level", "time", "play", "start", "open"):
            before = getattr(made, name, None)
            with pytest.raises(AttributeError, match=name):
                setattr(made, name, 0.5)
            assert getattr(made, name, None) == before or name == "time"


async def test_what_can_be_set_is_named() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, aio.get_input(source=device, rate=48000) as mic:
        voice = speaker.sample()
        with pytest.raises(AttributeError) as caught:
            voice.volume = 0.5  # type: ignore[attr-defined]
        assert str(caught.value) == (
            "AudioSample has no attribute 'volume' that can be set; "
            "set effects, gain, muted, pan, ramp, or make a subclass for attributes of your own"
        )
        with pytest.raises(AttributeError, match="set callback, effects, or"):
            mic.gain = 0.5  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match="set; set effects, or"):
            speaker.gain = 0.5  # type: ignore[attr-defined]
        voice.gain, voice.pan, voice.muted, voice.ramp = 0.5, 0.0, True, 0.01
        mic.callback = print
        voice.write = AsyncMock(return_value=3)  # type: ignore[method-assign]
        assert await voice.write(b"abc") == 3


async def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Mine(aio.AudioInput):
        pass

    mine = Mine()
    mine.volume = 0.5  # type: ignore[attr-defined]
    assert mine.volume == 0.5  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        mine.rate = 8000  # type: ignore[misc]


def test_what_the_blocking_api_makes_may_have_any() -> None:
    device = ManualDevice()
    sample = audiostream.AudioSample()
    with (
        audiostream.get_output(device=device) as speaker,
        audiostream.get_input(source=device) as mic,
    ):
        for one in (speaker, mic, sample, SineSource(speaker, 440)):
            one.volume = 0.5  # type: ignore[attr-defined]
            assert one.volume == 0.5  # type: ignore[attr-defined]
