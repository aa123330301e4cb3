"""Devices that die: all who wait are told, and what only cleans up does not mind."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio
from audiostream.aio import DeviceError
from audiostream.compat import AudioSample
from audiostream.engine.watchdog import WATCHDOG
from audiostream.testing import ManualDevice
from tests.aio.support import Running, settle, spawn, speaker_on

pytestmark = pytest.mark.anyio

LONG = np.ones(100_000, np.int16)
"""More than the ring of a sample holds."""

SHORT = np.ones(100, np.int16)


class World:
    """One of each that can be waited for, on a device that is not moved."""

    def __init__(self, speaker: aio.AudioOutput, mic: aio.AudioInput, heard: aio.AudioInput):
        self.speaker = speaker
        self.mic = mic
        self.monitor = heard
        self.group = speaker.group()
        self.sample = speaker.sample(group=self.group)
        self.sound = speaker.load(SHORT)

    @property
    def with_sound(self) -> aio.AudioSample:
        """The sample, with something that is not heard yet."""
        self.sample.write_nowait(SHORT)
        return self.sample

    def full(self) -> aio.AudioSample:
        """The sample, with no room left."""
        self.sample.write_nowait(LONG)
        return self.sample

    def utterance(self) -> aio.Utterance:
        """One with something that is not heard yet."""
        one = self.sample.utterance("one")
        one.write_nowait(SHORT)
        return one


async def marked(sample: aio.AudioSample) -> None:
    sample.mark("here")
    async for _ in sample.marks():
        pytest.fail("it was not heard")


async def unmarked(sample: aio.AudioSample) -> None:
    async for _ in sample.marks():
        pytest.fail("nothing was marked")


async def format_behind_a_write(sample: aio.AudioSample) -> None:
    async def write() -> None:
        with pytest.raises(DeviceError):
            await sample.write(LONG)

    async with anyio.create_task_group() as group:
        await spawn(group, write)
        with pytest.raises(DeviceError) as told:
            await sample.set_format(24000)
    raise told.value


async def turn_behind_a_write(world: World) -> None:
    async def write() -> None:
        with pytest.raises(DeviceError):
            await world.sample.utterance().write(LONG)

    async with anyio.create_task_group() as group:
        await spawn(group, write)
        with pytest.raises(DeviceError) as told:
            await world.sample.utterance().write(SHORT)
    raise told.value


async def ended(world: World) -> bool:
    one = world.utterance()
    one.end()
    return await one.finished()


Wait = Callable[[World], Awaitable[Any]]

WAITS: dict[str, Wait] = {
    "AudioSample.write": lambda w: w.sample.write(LONG),
    "AudioSample.write of one byte": lambda w: w.full().write(b"\0"),
    "AudioSample.write_in": lambda w: w.sample.write_in(LONG, w.sample._voice.epoch),
    "AudioSample.send": lambda w: w.full().send(bytes(2)),
    "AudioSample.write_from": lambda w: w.sample.write_from([LONG]),
    "AudioSample.write_from of nothing": lambda w: w.sample.write_from(aio.sources.Source()),
    "AudioSample.drain": lambda w: w.with_sound.drain(),
    "AudioSample.clear": lambda w: w.with_sound.clear(),
    "AudioSample.wait_position": lambda w: w.with_sound.wait_position(1),
    "AudioSample.wait_position of what is not there": lambda w: w.sample.wait_position(1000),
    "AudioSample.marks": lambda w: marked(w.with_sound),
    "AudioSample.marks of none": lambda w: unmarked(w.sample),
    "AudioSample.set_format": lambda w: format_behind_a_write(w.sample),
    "Utterance.write": lambda w: w.sample.utterance().write(LONG),
    "Utterance.write of the next": turn_behind_a_write,
    "Utterance.finished": ended,
    "Utterance.finished of an open one": lambda w: w.utterance().finished(),
    "Utterance.finished of one not begun": lambda w: w.sample.utterance().finished(),
    "Playing.finished": lambda w: w.sound.play().finished(),
    "Playing.finished of a loop": lambda w: w.sound.play(loop=True).finished(),
    "Playing.finished of a later one": lambda w: w.sound.play(at=1000.0).finished(),
    "Group.clear": lambda w: w.with_sound and w.group.clear(),
    "AudioInput.read": lambda w: w.mic.read(10),
    "AudioInput.readinto": lambda w: w.mic.readinto(np.zeros(10, np.int16)),
    "AudioInput.receive": lambda w: w.mic.receive(),
    "AudioInput.__anext__": lambda w: w.mic.__anext__(),
    "AudioInput.read of a monitor": lambda w: w.monitor.read(10),
    "AudioInput.readinto of a monitor": lambda w: w.monitor.readinto(np.zeros(10, np.int16)),
    "AudioInput.receive of a monitor": lambda w: w.monitor.receive(),
    "AudioInput.__anext__ of a monitor": lambda w: w.monitor.__anext__(),
}

AWAITED_FOR_OTHER_REASONS = {
    *(f"{name}.aclose" for name in ("AudioSample", "AudioInput", "AudioOutput")),
    *(f"{name}.open" for name in ("AudioInput", "AudioOutput")),
    "AudioOutput.aload",  # a file, on a worker thread
    "Sound.aprepare",
    "PlayHandle.wait",  # they raise it: test_playback.py, test_recording.py
    "RecordHandle.wait",
}
"""What neither waits for a device nor raises because it is gone."""


def awaited() -> set[str]:
    """What can be awaited, or iterated, of the public classes that have to do with a device."""
    found = set()
    for name in aio.__all__:
        kind = getattr(aio, name)
        if inspect.isclass(kind) and not issubclass(kind, BaseException):
            for member in dir(kind):
                function = getattr(kind, member)
                if (not member.startswith("_") or member == "__anext__") and (
                    inspect.iscoroutinefunction(function)
                    or inspect.isasyncgenfunction(function)
                ):
                    found.add(f"{name}.{member}")
    return found


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_none_is_forgotten() -> None:
    covered = {name.split(" ")[0] for name in WAITS} | AWAITED_FOR_OTHER_REASONS
    assert awaited() - covered == set(), "say above what becomes of these on a dead device"


def look() -> None:
    """What the watchdog does now and then."""
    for stream in WATCHDOG.open_streams():
        stream.look_for_life()


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
async def test_who_waits_is_told_that_the_device_is_gone(wait: Wait) -> None:
    device = ManualDevice()
    async with (
        speaker_on(device) as speaker,
        aio.get_input(source=device, rate=48000, buffersize=64) as mic,
        speaker.monitor() as monitor,
        anyio.create_task_group() as group,
    ):
        world = World(speaker, mic, monitor)
        waiting: Running = await spawn(group, lambda: wait(world))
        assert not waiting.done, waiting.error
        device.fault("die")
        look()
        with anyio.fail_after(5):
            while not waiting.done:
                await settle()
        assert isinstance(waiting.error, DeviceError), waiting.error
        assert "close this" in str(waiting.error)
        again = await spawn(group, lambda: wait(world))  # who comes too late is told at once
        with anyio.fail_after(5):
            while not again.done:
                await settle()
        assert isinstance(again.error, DeviceError), again.error


async def test_a_one_shot_that_is_closed_with_its_output_is_no_fault() -> None:
    device = ManualDevice()
    async with anyio.create_task_group() as group, speaker_on(device) as speaker:
        handle = speaker.load(SHORT).play()
        waiting = await spawn(group, handle.finished)
        await speaker.aclose()
    assert waiting.done
    assert waiting.error is None


async def test_what_only_cleans_up_does_not_mind() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, speaker.monitor() as monitor:
        mic = await aio.get_input(source=device, rate=48000).open()
        blocking = AudioSample()
        speaker.add_sample(blocking)
        blocking.play()
        blocking.write(bytes(100))
        group = speaker.group()
        voice, other = speaker.sample(group=group), speaker.sample()
        voice.write_nowait(SHORT)
        other.write_nowait(LONG)
        handles = [speaker.load(SHORT).play() for _ in range(3)]
        device.step(32)
        device.fault("die")
        look()
        with pytest.raises(DeviceError):
            voice.play()
        voice.clear_nowait()
        assert voice.stop() == 0.0
        assert voice.stop(at=speaker.time + 1.0) == 0.0
        assert voice.cancel() == 1
        # The counts tell that nothing will be heard.
        other.stop()
        assert other._voice.write_index() == other._voice.strip.word("skip")
        for handle in handles[1:]:
            handle.stop()
        handles[0].stop(at=speaker.time + 1.0)
        group.clear_nowait()
        group.cancel()
        blocking.stop()
        speaker.remove_sample(blocking)
        blocking.stop()
        await other.aclose()
        group.close()
        assert group.is_closed
        mic.stop()
        mic.stop()
        await mic.aclose()
        monitor.stop()
        await monitor.aclose()
        await speaker.aclose()
        assert voice.buffered == 0
        assert voice.written == voice.position + voice.cleared


async def test_a_monitor_of_an_output_that_was_closed_ends_without_a_fault() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, speaker.monitor() as monitor:
        await speaker.aclose()
        look()
        with pytest.raises(aio.EndOfStream):
            await monitor.read(10)
