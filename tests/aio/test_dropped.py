"""Samples, sounds and groups that are dropped without being closed; stepped."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from audiostream import aio
from audiostream.engine.watchdog import WATCHDOG
from audiostream.testing import ManualDevice
from tests.aio.support import ramp, settle, speaker_on
from tests.compat.support import eventually

pytestmark = pytest.mark.anyio


@contextmanager
def by_reference() -> Iterator[None]:
    """Without the collector: what is freed here is in no cycle."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def told(drop: Callable[[], None]) -> list[str]:
    """The warnings that a drop causes."""
    with warnings.catch_warnings(record=True) as caught, by_reference():
        warnings.simplefilter("always")
        drop()
    assert all(warning.category is ResourceWarning for warning in caught)
    return [str(warning.message) for warning in caught]


def holders(speaker: aio.AudioOutput) -> list[Any]:
    """What holds a slot of the output."""
    return list(speaker.engine.attached.values())


def free(speaker: aio.AudioOutput) -> bool:
    """True if nothing holds a slot any more, once the output has looked.

    What is dropped is let go of by the watch, another thread: it may take a moment.
    """
    speaker.engine.tidy()
    with speaker.engine.lock:
        speaker.engine.slots.sweep()
    return not speaker.engine.attached


async def test_what_was_written_is_heard_to_its_end_and_then_the_slot_is_free() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        (slot,) = _slots_of_a_dropped_one(speaker, 1000)
        assert not free(speaker)
        assert device.step(960)[:, 0].tolist() == ramp(0, 960)[:, 0].tolist()
        assert not free(speaker)
        assert device.step(480)[:, 0].tolist() == [*ramp(960, 40)[:, 0].tolist(), *[0] * 440]
        eventually(lambda: free(speaker))
        device.step(64)
        assert speaker.sample()._voice.slot == slot


def _slots_of_a_dropped_one(speaker: aio.AudioOutput, frames: int) -> set[int]:
    voice = speaker.sample()
    voice.write_nowait(ramp(0, frames))
    voice.end()
    with by_reference():
        del voice
    return set(speaker.engine.attached)


async def test_a_rates_last_frames_and_a_prebuffer_are_no_hindrance() -> None:
    """Whatever a resampler holds back is flushed, and what waits for more is played."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(rate=24000, encoding=32, prebuffer=0.2)
        voice.write_nowait(np.ones(240, np.float32))
        engine = voice._voice
        with pytest.warns(ResourceWarning, match="dropped"):
            del voice
        speaker.engine.tidy()
        assert engine.write_index() == 480
        played = device.step(1000)[:, 0]
        assert np.abs(played[64:416] - 1.0).max() < 0.01
        assert (played[480:] == 0).all()
        eventually(lambda: free(speaker))


async def test_in_the_middle_it_is_a_mistake_and_at_an_end_it_is_not() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:

        def unfinished(rate: int = 48000, data: Any = b"\1\0" * 10) -> None:
            speaker.sample(rate=rate).write_nowait(data)

        for drop in (
            unfinished,
            lambda: unfinished(data=b"\1"),  # a part of a frame
            lambda: unfinished(rate=24000, data=b"\1\0"),  # of which nothing came out yet
        ):
            (message,) = told(drop)
            assert "48000" in message or "24000" in message
            assert "drain()" in message
            assert "aclose()" in message

        def ended() -> None:
            voice = speaker.sample()
            voice.write_nowait(b"\1\0" * 10)
            voice.end()

        def cleared() -> None:
            voice = speaker.sample()
            voice.write_nowait(b"\1\0" * 10)
            voice.clear_nowait()

        def stopped(rate: int = 48000) -> None:
            voice = speaker.sample(rate=rate)
            voice.write_nowait(b"\1\0" * 1000)
            device.step(64)
            voice.stop(at=speaker.time + 0.005)
            device.step(1000)
            assert rate != 48000 or voice.position  # which has the voice notice it

        for drop in (
            stopped,
            lambda: stopped(24000),
            ended,
            cleared,
            lambda: speaker.sample() and None,
        ):
            assert told(drop) == []
        left = [speaker.sample()]
        left[0].write_nowait(b"\1\0")
    assert told(left.clear) == []  # its output is closed


async def test_closed_ones_tell_nothing() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        voice.write_nowait(bytes(20))
        await voice.aclose()
        left = [voice]
        del voice
        assert told(left.clear) == []


@pytest.mark.parametrize("state", ["unplayed", "stopped", "paused", "cleared", "to stop"])
async def test_what_can_be_heard_no_more_goes_at_once(state: str) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        left = [speaker.sample()]
        left[0].write_nowait(ramp(0, 5000))
        left[0].end()
        device.step(64)
        if state == "stopped":
            left[0].stop()
            device.step(640)
            left[0].write_nowait(ramp(0, 100))
            left[0].end()
        elif state == "unplayed":
            left[0]._voice.remove()
            left[0] = speaker.sample()
            left[0].stop()
            left[0].write_nowait(ramp(0, 100))
            left[0].end()
        elif state == "paused":
            left[0].pause()
            device.step(640)
        elif state == "cleared":
            left[0].clear_nowait()
        else:
            left[0].pause()  # not carried out yet
        assert told(left.clear) == []
        eventually(lambda: free(speaker))
        device.step(1000)
        assert (device.step(1000) == 0).all()


@pytest.mark.parametrize("how", ["play", "resume"])
async def test_what_has_its_time_to_come_waits_for_it(how: str) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        if how == "play":
            voice.stop()
            device.step(64)
            voice.write_nowait(ramp(0, 100))
            voice.play(at=1000 / 48000)
        else:
            voice.pause()
            device.step(64)
            voice.write_nowait(ramp(0, 100))
            voice.ramp = 0
            voice.resume(at=1000 / 48000)
        voice.end()
        del voice
        assert not free(speaker)
        played = device.step(1200)[:, 0]
        first = 1000 - 64
        assert played[first : first + 100].tolist() == ramp(0, 100)[:, 0].tolist()
        eventually(lambda: free(speaker))


@pytest.mark.numbers
@pytest.mark.parametrize("kind", ["silent", "ended", "paused", "utterances"])
async def test_many_in_an_output_of_a_few_voices(kind: str) -> None:
    device = ManualDevice()
    async with speaker_on(device, voices=8) as speaker:
        with by_reference():
            for number in range(1000 if kind == "ended" else 200):
                voice = speaker.sample(rate=(48000, 24000)[number % 2])
                if kind == "utterances":
                    for _ in range(3):  # the last of which does not end
                        one = voice.utterance()
                        one.write_nowait(ramp(0, 10))
                        del one
                elif kind != "silent":
                    voice.write_nowait(ramp(0, 30))
                    voice.end()
                if kind == "paused":
                    voice.pause()
                if kind == "utterances":
                    voice.end()
                del voice
                device.step(128)
        device.step(640)
        eventually(lambda: free(speaker))


async def test_an_utterance_that_is_dropped_ends_where_the_next_begins() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(rate=24000, encoding=32)
        voice.utterance().write_nowait(np.ones(100, np.float32))
        two = voice.utterance()
        two.write_nowait(np.ones(100, np.float32))
        assert voice._voice.write_index() >= 200  # all of the first, with what was held back
        two.end()
        device.step(1000)
        assert await two.finished()
        assert (two.heard, voice.position) == (100, 200)


async def test_the_watch_sees_to_it_by_itself() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        left = [speaker.sample()]
        assert told(left.clear) == []
        eventually(lambda: not speaker.engine.attached)


async def test_dropping_takes_no_lock() -> None:
    """A finalizer may run while other threads, or this one, hold any of them."""
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        left: list[Any] = [speaker.sample(), speaker.group(), speaker.load(ramp(0, 9)).play()]
        left[0].write_nowait(ramp(0, 9))
        locks = [speaker.engine.lock, WATCHDOG._lock]
        locks += [speaker.engine.attached[slot].lock for slot in speaker.engine.attached]
        held, go = threading.Event(), threading.Event()

        def hold() -> None:
            for lock in locks:
                lock.acquire()
            held.set()
            go.wait(10)
            for lock in reversed(locks):
                lock.release()

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(10)
        dropping = threading.Thread(target=lambda: told(left.clear))
        dropping.start()
        dropping.join(5)
        hangs = dropping.is_alive()
        go.set()
        holder.join()
        dropping.join()
        assert not hangs
        device.step(640)
        eventually(lambda: free(speaker))


async def test_one_that_was_not_made_is_dropped_in_silence() -> None:
    for kind in (aio.AudioSample, aio.Group):
        kind.__del__(kind.__new__(kind))


# --- sounds and groups ------------------------------------------------------------------


async def test_handles_may_be_dropped_and_the_sounds_are_heard() -> None:
    device = ManualDevice()
    async with speaker_on(device, voices=4) as speaker:
        sound = speaker.load(ramp(0, 100))
        for _ in range(100):
            sound.play()
            assert device.step(128)[:100, 0].tolist() == ramp(0, 100)[:, 0].tolist()
        loop = speaker.load(np.full(64, 1000, np.int16)).play(loop=True)
        del loop
        device.step(1000)
        assert not free(speaker)
        assert (device.step(640) == 1000).all()


async def test_one_that_is_paused_and_dropped_is_over() -> None:
    device = ManualDevice()
    async with speaker_on(device, voices=4) as speaker:
        sound = speaker.load(ramp(0, 1000))
        for number in range(100):
            handle = sound.play()
            device.step(64)
            handle.pause()
            if number % 2:
                device.step(640)
            del handle
            device.step(640)
            speaker.engine.tidy()
            device.step(64)
        eventually(lambda: free(speaker))
        resumed = sound.play()
        device.step(64)
        resumed.pause()
        resumed.resume(at=speaker.time + 1.0)
        del resumed
        device.step(640)
        assert not free(speaker)
        device.step(48000)
        device.step(1000)
        eventually(lambda: free(speaker))


async def test_a_closed_stream_goes_with_its_last_reference() -> None:
    """Its rings are large, and the collector does not count them."""
    device = ManualDevice()
    with by_reference():
        async with speaker_on(device) as speaker:
            voice = speaker.sample()
            voice.write_nowait(np.full(100, 1000, np.int16))
            device.step(64)
        async with aio.get_input(source=device) as mic:
            device.step(64)
        gone = [weakref.ref(one) for one in (speaker.engine, voice._voice, mic.engine)]
        del speaker, voice, mic
        await settle()
        eventually(lambda: [ref() for ref in gone] == [None] * 3)


async def test_groups_may_be_dropped_and_go_with_their_last_voice() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        with by_reference():
            for _ in range(100):
                speaker.group()
            eventually(lambda: free(speaker))
            kept = speaker.group()
            voice = speaker.sample(group=speaker.group(gain=0.5))
            voice.write_nowait(np.full(1000, 1000, np.int16))
            voice.end()
            assert (device.step(640) == 500).all()
            kept.duck(speaker.group(), 0.5)  # which is dropped, and can never sound
            device.step(64)
            speaker.engine.tidy()
            assert len(speaker.engine.attached) == 3
            del voice
            device.step(1000)
            speaker.engine.tidy()
            device.step(640)
            eventually(lambda: free(speaker) or len(holders(speaker)) == 1)
            assert holders(speaker) == [kept.engine]
            reference = weakref.ref(kept.engine)
            del kept
            eventually(lambda: free(speaker))
            await settle()
            eventually(lambda: reference() is None)
