"""Cancellation: at every await of every public coroutine, and as asyncio programs do it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio
from audiostream.aio import sources
from audiostream.aio.wakeup import AsyncWakeup
from audiostream.errors import StreamClosedError
from audiostream.testing import ManualDevice
from tests.aio.support import ramp, settle, spawn, speaker_on

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 5.0


@pytest.mark.parametrize("way", ["asyncio", "anyio", "trio"])
def test_cancelled_at_every_await_nothing_is_lost_or_left(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.aio.injector", way],
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:]
    assert f"{way}: " in done.stdout
    assert " 0 failures" in done.stdout


async def microphone(device: ManualDevice) -> aio.AudioInput:
    mic = aio.get_input(source=device, rate=48000, channels=1, buffersize=64)
    await mic.open()
    device.feed(np.arange(1, 20001, dtype=np.int16))
    return mic


async def closed_soon(stream: Any) -> None:
    with anyio.fail_after(LIMIT):
        while not stream.is_closed:
            await anyio.sleep(0.001)


# --------------------------------------------------------------------- asyncio's own ways


async def timed(way: str, coroutine: Any, seconds: float) -> Any:
    """Wait for something so long, as asyncio does; None if it was too long."""
    if way == "timeout" and sys.version_info < (3, 11):
        way = "wait_for"  # which is what there was before
    with contextlib.suppress(asyncio.TimeoutError):
        if way == "wait_for":
            return await asyncio.wait_for(coroutine, seconds)
        async with asyncio.timeout(seconds):
            return await coroutine
    coroutine.close()  # of a time that was over before the first step
    return None


@pytest.mark.parametrize("way", ["wait_for", "timeout"])
def test_reads_with_a_time_limit_lose_nothing(way: str) -> None:
    """Whatever the machine makes of the times."""

    async def main() -> None:
        device = ManualDevice()
        async with await microphone(device) as mic:
            chunks = []
            for number in range(200):
                device.step(20)
                chunk = await timed(way, mic.read(64), 0.0002 * (number % 3))
                chunks.append(chunk or b"")
            heard = np.frombuffer(b"".join(chunks), np.int16)
            assert np.array_equal(heard, np.arange(1, len(heard) + 1))
            device.step(64)
            rest = np.frombuffer(await mic.read(64), np.int16)
            assert rest[0] == len(heard) + 1

    asyncio.run(main())


@pytest.mark.parametrize("way", ["wait_for", "timeout"])
def test_a_close_with_no_time_closes(way: str) -> None:
    async def main() -> None:
        device = ManualDevice()
        speaker = aio.get_output(device=device)
        await speaker.open()
        await timed(way, speaker.aclose(), 0)
        await closed_soon(speaker)
        await speaker.aclose()  # which waits for the end of that
        async with aio.get_output(device=device):  # the device is free
            pass

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with 3.11")
def test_a_task_that_fails_ends_the_others_of_its_group() -> None:
    async def main() -> None:
        device = ManualDevice()
        streams: list[Any] = []

        async def record() -> None:
            async with await microphone(device) as mic:
                streams.append(mic)
                async for _ in mic:
                    await asyncio.sleep(0)

        async def play() -> None:
            async with aio.get_output(rate=48000, channels=1, device=device) as speaker:
                streams.append(speaker)
                await speaker.sample().write_from(sources.sine())

        async def fail() -> None:
            while len(streams) < 2:
                await asyncio.sleep(0.001)
            await settle()
            raise LookupError

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(record())
                group.create_task(play())
                group.create_task(fail())

        with pytest.raises(ExceptionGroup) as caught:  # noqa: F821 - of Python 3.11
            await together()
        assert caught.group_contains(LookupError)
        assert len(caught.value.exceptions) == 1
        assert all(stream.is_closed for stream in streams)

    asyncio.run(main())


# --------------------------------------------------------------------- on both event loops


@pytest.mark.anyio
async def test_marks_that_are_left_and_dropped_go_on_with_the_next_reader() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        for number in range(4):
            voice.write_nowait(ramp(0, 10))
            voice.mark(number)
        voice.end()
        device.step(200)
        told = []
        async for mark in voice.marks():  # the iterator is dropped at once, without a warning
            told.append(mark.name)
            break
        async with contextlib.aclosing(voice.marks()) as marks:
            async for mark in marks:
                told.append(mark.name)
                if mark.name == 2:
                    break
        with pytest.raises(StopAsyncIteration):
            await anext(marks)
        assert told == [0, 1, 2]
        assert (await anext(voice.marks())).name == 3


@pytest.mark.anyio
async def test_two_reads_of_what_is_there_are_one_too_many() -> None:
    device = ManualDevice()
    async with await microphone(device) as mic, anyio.create_task_group() as group:
        device.step(256)
        running = [await spawn(group, lambda: mic.read(64))]
        assert len(running[0].result) == 128
        errors: list[Exception] = []

        async def read() -> None:
            try:
                await mic.read(64)
            except aio.BusyError as error:
                errors.append(error)

        group.start_soon(read)
        group.start_soon(read)
        await settle()
        assert len(errors) == 1


@pytest.mark.anyio
async def test_a_write_that_lets_others_run_is_released_by_a_clear() -> None:
    """At every eighth write that found room the event loop gets its turn."""
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample()
        for _ in range(8):
            assert await voice.write(ramp(0, 10)) == 10
        taken: list[int] = []

        async def write() -> None:
            taken.append(await voice.write(ramp(0, 10)))

        async def clear() -> None:
            voice.clear_nowait()

        group.start_soon(write)
        group.start_soon(clear)
        await settle()
        device.step(1000)
        assert taken in ([0], [10])  # trio starts tasks in any order
        assert voice.written == 80 + taken[0]
        assert voice.written == voice.position + voice.buffered + voice.cleared


@pytest.mark.anyio
async def test_the_error_of_a_close_is_raised_by_aclose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speaker = aio.get_output(device=ManualDevice())
    await speaker.open()
    close = speaker.engine.close

    def fail() -> None:
        close()
        raise aio.DeviceError("the disk is full")

    monkeypatch.setattr(speaker.engine, "close", fail)
    with pytest.raises(aio.DeviceError, match="full"):
        await speaker.aclose()
    assert speaker.is_closed


@pytest.mark.anyio
async def test_two_closes_wait_for_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = aio.get_output(device=ManualDevice())
    await speaker.open()
    close, may_close = speaker.engine.close, threading.Event()
    monkeypatch.setattr(speaker.engine, "close", lambda: may_close.wait(LIMIT) and close())
    async with anyio.create_task_group() as group:
        running = [await spawn(group, speaker.aclose) for _ in range(2)]
        assert not any(one.done for one in running)
        may_close.set()
    assert speaker.is_closed
    await speaker.aclose()


@pytest.mark.anyio
async def test_who_begins_to_wait_while_it_closes_is_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last signal comes before its listener has begun to listen."""
    device = ManualDevice()
    speaker = aio.get_output(device=device, rate=48000, channels=1)
    await speaker.open()
    voice = speaker.sample()
    wait = AsyncWakeup.wait

    async def closed_meanwhile(self: AsyncWakeup, key: int) -> None:
        closing = threading.Thread(target=speaker.close)
        closing.start()
        closing.join()
        await wait(self, key)

    monkeypatch.setattr(AsyncWakeup, "wait", closed_meanwhile)
    with anyio.fail_after(LIMIT), pytest.raises(StreamClosedError):
        await voice.wait_position(1)


@pytest.mark.anyio
async def test_a_closed_output_gives_out_no_more_wakeups() -> None:
    """It would never be closed again."""
    async with speaker_on(ManualDevice()) as speaker:
        voice = speaker.sample()
    with pytest.raises(StreamClosedError):
        await voice.wait_position(1)
    assert not speaker.engine.wakeups._used


@pytest.mark.anyio
async def test_a_dropped_coroutine_of_a_cancelled_close_is_no_unclosed_stream() -> None:
    speaker = aio.get_output(device=ManualDevice())
    await speaker.open()
    speaker.aclose().close()  # never awaited: the call has begun to close
    engine = speaker.engine
    del speaker
    await closed_soon(engine)
