"""Blocks that are left before all was heard; on the null device, without waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import AudioSample, aio, get_output
from audiostream.sources.thread import ThreadSource
from audiostream.sources.wave import SineSource
from audiostream.testing import ManualDevice
from tests.aio.support import speaker_on
from tests.compat.support import eventually

LONG = np.full(960_000, 1000, np.int16)
"""Twenty seconds, of which no machine is so slow that all are heard."""


def cut(caplog: pytest.LogCaptureFixture) -> list[tuple[int, float]]:
    """Frames and seconds that the log says were cut, since it was last asked."""
    found = []
    for record in caplog.records:
        if match := re.match(r"(\d+) frames \(([\d.]+) s\) were not heard", record.message):
            assert (record.name, record.levelname) == ("audiostream", "WARNING")
            found.append((int(match[1]), float(match[2])))
    caplog.clear()
    return found


KEPT: list[aio.AudioSample] = []
"""Samples that a test keeps: one that is dropped in the middle of what it says warns."""


@pytest.fixture(autouse=True)
def _keep() -> Iterator[None]:
    yield
    KEPT.clear()


def kept(voice: aio.AudioSample) -> aio.AudioSample:
    """The sample, which lives until the test is over."""
    KEPT.append(voice)
    return voice


def null(**options: Any) -> aio.AudioOutput:
    return aio.get_output(rate=48000, channels=1, **{"device": "null", **options})


@pytest.mark.anyio
async def test_an_output_that_is_left_says_what_it_cuts(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async with null() as speaker:
        voice = speaker.sample(buffer=20)
        await voice.write(LONG)
    assert cut(caplog) == [(voice.cleared, round(voice.cleared / 48000, 3))]
    assert voice.cleared > 0
    with null(device=f"file:{tmp_path}/a.wav") as speaker:
        voice = speaker.sample(rate=8000, buffer=20)
        voice.write_nowait(LONG[:160_000])
        sound = speaker.load(LONG)
        sound.play()
        sound.play(loop=True)  # has no end that could be waited for
    ((frames, seconds),) = cut(caplog)
    assert voice.cleared < frames < voice.cleared + len(LONG)
    assert 0 < seconds < 20


@pytest.mark.anyio
async def test_a_sample_that_is_left_says_what_it_cuts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with null() as speaker:
        async with speaker.sample(buffer=20) as voice:
            await voice.write(LONG)
        ((frames, _),) = cut(caplog)
        assert voice.cleared <= frames <= len(LONG)
        async with speaker.sample(buffer=20) as voice:
            await voice.write(LONG)
            await voice.aclose()
        with contextlib.suppress(LookupError):
            async with speaker.sample(buffer=20) as voice:
                await voice.write(LONG)
                raise LookupError
    assert not cut(caplog)


async def drain(speaker: aio.AudioOutput) -> None:
    voice = speaker.sample()
    await voice.write(LONG[:480])
    await voice.drain()


async def play_a_sound(speaker: aio.AudioOutput) -> None:
    assert await speaker.load(LONG[:480]).play().finished()


async def clear(speaker: aio.AudioOutput) -> None:
    voice = speaker.sample(buffer=20)
    await voice.write(LONG)
    voice.clear_nowait()


async def clear_a_sample_that_is_left(speaker: aio.AudioOutput) -> None:
    async with speaker.sample(buffer=20) as voice:
        await voice.write(LONG)
        voice.clear_nowait()


async def clear_a_group(speaker: aio.AudioOutput) -> None:
    group = speaker.group()
    voice = speaker.sample(buffer=20, group=group)
    await voice.write(LONG)
    speaker.load(LONG).play(group=group)
    await group.clear()


async def stop(speaker: aio.AudioOutput) -> None:
    voice, playing = speaker.sample(buffer=20), speaker.load(LONG).play()
    await voice.write(LONG)
    voice.stop()
    playing.stop()


async def remove(speaker: aio.AudioOutput) -> None:
    voice = speaker.sample(buffer=20)
    await voice.write(LONG)
    await voice.aclose()


async def close(speaker: aio.AudioOutput) -> None:
    await kept(speaker.sample(buffer=20)).write(LONG)
    await speaker.aclose()


async def end_in_silence(speaker: aio.AudioOutput) -> None:
    voice = kept(speaker.sample(buffer=20))
    await voice.write(LONG[:480])
    await voice.write(np.zeros_like(LONG[480:]))
    await voice.wait_position(1000)


async def hand_all_to_the_device(speaker: aio.AudioOutput) -> None:
    """Which plays the block that it has when it is closed."""
    voice = speaker.sample()
    await voice.write(LONG[:1000])
    voice.end()
    while speaker.engine.attached[0].read_index() < 1000:  # type: ignore[attr-defined]
        await anyio.sleep(0.001)


async def cancel_a_write(speaker: aio.AudioOutput) -> None:
    with anyio.move_on_after(0.01):
        await kept(speaker.sample(buffer=1)).write(LONG)


async def cancel_a_drain(speaker: aio.AudioOutput) -> None:
    voice = speaker.sample(buffer=20)
    await voice.write(LONG)
    with anyio.move_on_after(0.01):
        await voice.drain()


async def cancel_a_generator(speaker: aio.AudioOutput) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(speaker.sample().write_from, aio.sources.sine(440))
        group.start_soon(speaker.sample().write_from, endless())
        await anyio.sleep(0.02)
        group.cancel_scope.cancel()


async def endless() -> AsyncIterator[np.ndarray]:
    while True:
        yield LONG[:480]
        await anyio.sleep(0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "leave",
    [
        drain,
        play_a_sound,
        clear,
        clear_a_sample_that_is_left,
        clear_a_group,
        stop,
        remove,
        close,
        end_in_silence,
        hand_all_to_the_device,
        cancel_a_write,
        cancel_a_drain,
        cancel_a_generator,
    ],
)
async def test_what_was_heard_or_cut_on_purpose_is_not_told_of(
    caplog: pytest.LogCaptureFixture, leave: Callable[[aio.AudioOutput], Any]
) -> None:
    async with null() as speaker:
        await leave(speaker)
    assert not cut(caplog)


@pytest.mark.anyio
async def test_errors_and_cancellations_are_told_of_by_themselves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with contextlib.suppress(LookupError):
        async with null() as speaker:
            await kept(speaker.sample(buffer=20)).write(LONG)
            raise LookupError
    with contextlib.suppress(LookupError), null() as speaker:
        kept(speaker.sample(buffer=20)).write_nowait(LONG)
        raise LookupError
    with anyio.move_on_after(0.01):
        async with null() as speaker:
            await kept(speaker.sample(buffer=20)).write(LONG)
            await anyio.sleep_forever()
    assert not cut(caplog)


@pytest.mark.anyio
async def test_a_generator_that_has_ended_is_waited_for_or_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with null() as speaker:
        assert await kept(speaker.sample(buffer=20)).write_from([LONG]) == len(LONG)
    assert len(cut(caplog)) == 1


@pytest.mark.anyio
async def test_a_manual_device_is_never_told_of(caplog: pytest.LogCaptureFixture) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, speaker.sample() as voice:
        await voice.write(LONG[:480])
        await kept(speaker.sample()).write(LONG[:480])
        speaker.load(LONG).play()
        device.step(64)
    assert not cut(caplog)


def test_an_asyncio_task_that_is_cancelled_and_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with null() as speaker:
            task = asyncio.create_task(speaker.sample().write_from(aio.sources.sine(440)))
            await asyncio.sleep(0.02)
            task.cancel()

    asyncio.run(main())
    assert not cut(caplog)


def test_a_blocking_block_that_is_left(caplog: pytest.LogCaptureFixture) -> None:
    with get_output(rate=48000, channels=1, device="null") as speaker:
        sample = AudioSample()
        speaker.add_sample(sample)
        sample.write(LONG[:8000].tobytes())  # and is never played
    assert cut(caplog) == [(8000, 0.167)]


def test_generators_that_run_may_be_cut_and_those_that_have_ended_may_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Endless(ThreadSource):
        def get_bytes(self) -> bytes | None:
            return LONG[:480].tobytes()

    class Once(ThreadSource):
        made = False

        def get_bytes(self) -> bytes | None:
            self.made, made = True, self.made
            return None if made else LONG[:100_000].tobytes()

    with get_output(rate=48000, channels=1, device="null") as speaker:
        endless, sine = Endless(speaker), SineSource(speaker, 440)
        endless.start()
        sine.start()
        eventually(lambda: endless.position > 0 and sine.position > 0)
    assert not cut(caplog)
    # Its ring holds two blocks of more than a second.
    with get_output(48000, 1, buffersize=65536, device="null") as speaker:
        once = Once(speaker)
        once.start()
        once.join()
    assert len(cut(caplog)) == 1
