"""Cancels every public coroutine of audiostream.aio at each await, and looks at what is left.

``python -m tests.aio.injector asyncio|anyio|trio [PART OF A NAME]``; test_injector.py runs it,
a process for each way: asyncio's own ``task.cancel()``, anyio's cancel scopes on asyncio, and
trio's.  A scenario is an async generator: it sets up, yields what is to be cancelled, and looks
at what that left.  It runs once for each await, until what it yields gets to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import shutil
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import soundfile

from audiostream import aio
from audiostream.aio import sources
from audiostream.aio.background import Job
from audiostream.aio.blocks import Blocks
from audiostream.aio.sample import Marks
from audiostream.device.wav import header
from audiostream.engine.watchdog import WATCHDOG
from audiostream.libpd import Queue
from audiostream.soundfiles import SoundWriter
from audiostream.testing import ManualDevice
from tests.aio.support import ramp

MODES = {
    # Before its first step; as soon as it waits; when it has waited, in the very step that it
    # would go on in; at a wait and at each one after it; some turns of the loop later.
    "asyncio": ("first", "early", "late", "storm", "turn"),
    "anyio": ("first", "early", "late"),
    "trio": ("first", "early", "late"),
}
TURNS = 3000
"""Turns of the event loop after which something is stuck."""

MOST = 60
"""Turns of the event loop, one after the other, after which a task is cancelled."""

KEPT = ("Trio thread", "audiostream-portaudio", "audiostream background", "AnyIO worker")
"""Threads that stay: trio's idle ones, the one that has asked PortAudio what there is, and the
event loop in the background with its idle ones."""

SOON = 5.0
"""Seconds after which what has to happen soon has not happened."""

Act = Callable[[], Awaitable[Any]]
Scenario = Callable[["World"], AsyncIterator[Act]]
SCENARIOS: dict[str, Scenario] = {}
COVERED: set[str] = set()
FOLDER = Path(tempfile.mkdtemp())
PATCH = Path(__file__).parent.parent / "libpd" / "patches" / "sine.pd"


def covers(*names: str) -> Callable[[Scenario], Scenario]:
    """Register a scenario for these public coroutines, by the names that :func:`public` has."""

    def register(scenario: Scenario) -> Scenario:
        SCENARIOS[scenario.__name__] = scenario
        COVERED.update(names)
        return scenario

    return register


# ------------------------------------------------------------------------- what there is


def waits(function: Any) -> bool:
    """True if what a function returns is to be awaited, or iterated so."""
    returns = str(getattr(function, "__annotations__", {}).get("return", ""))
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or returns.startswith(("Coroutine", "Awaitable", "AsyncGenerator", "AsyncIterator"))
    )


def public() -> set[str]:
    """All public coroutines of audiostream.aio: functions, and methods with their class."""
    found = set()
    things = {name: getattr(aio, name) for name in aio.__all__}
    things |= {name: getattr(sources, name) for name in sources.__all__}
    things |= {"Marks": Marks, "Blocks": Blocks}
    for name, thing in things.items():
        if inspect.isclass(thing):
            for method in dir(thing):
                dunder = method.startswith("__") and method.endswith("__")
                if (dunder or not method.startswith("_")) and waits(getattr(thing, method)):
                    found.add(f"{name}.{method}")
        elif waits(thing):
            found.add(name)
    return found


# ------------------------------------------------------------------------- cancelling


class Probe:
    """Drives a coroutine, counts where it waits, and cancels before or after such a wait."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], at: int, mode: str, cancel: Any
    ) -> None:
        self.coroutine = coroutine
        self.at = at if mode in ("early", "late", "storm") else 0
        self.mode = mode
        self.cancel = cancel
        self.count = 0
        self.reached = False

    def _before(self, trap: Any) -> bool:
        self.count += 1
        hit = self.count == self.at or (self.mode == "storm" and self.count > self.at)
        self.reached |= hit
        if hit and self.mode == "late" and isinstance(trap, asyncio.Future):
            # The task's own callback comes after this one, and finds itself cancelled.
            trap.add_done_callback(lambda _: self.cancel())
        elif hit and (self.mode != "late" or trap is None):
            self.cancel()
        return hit and self.mode == "late" and trap is not None

    def __await__(self) -> Generator[Any, Any, Any]:
        resume, value = self.coroutine.send, None
        while True:
            try:
                trap = resume(value)
            except StopIteration as stop:
                return stop.value
            late = self._before(trap) and not isinstance(trap, asyncio.Future)
            try:
                value = yield trap
                resume = self.coroutine.send
            except BaseException as error:
                resume, value = self.coroutine.throw, error
            if late:
                self.cancel()


class World:
    """What a scenario has: a device in virtual time, what was heard of it, and a task's end."""

    def __init__(self) -> None:
        self.device = ManualDevice()
        self.heard = [np.zeros((0, 1), np.int16)]
        self.streams: list[Any] = []
        self.drive: Callable[[], object] = lambda: self.step(32)
        self.threads = False  # True: what happens takes threads, and so real time
        self.cancelled = False
        self.result: Any = None
        self.group: Any = None

    def step(self, frames: int) -> None:
        self.heard.append(self.device.step(frames))

    async def turn(self) -> None:
        await (anyio.sleep(0.0005) if self.threads else anyio.lowlevel.checkpoint())

    async def speaker(self, **kwargs: Any) -> aio.AudioOutput:
        options = {"rate": 48000, "channels": 1, "buffersize": 64, "device": self.device}
        speaker = aio.get_output(**options | kwargs)
        self.streams.append(speaker)
        return await speaker.open()

    async def sample(self, **kwargs: Any) -> aio.AudioSample:
        """One whose ring holds 240 frames; where it runs dry, it is silent at once."""
        voice = (await self.speaker()).sample(**{"buffer": 0.005} | kwargs)
        voice.ramp = 0.0
        return voice

    async def mic(self, frames: int = 5000, **kwargs: Any) -> aio.AudioInput:
        """One that hears 1, 2, 3 and so on."""
        options = {"rate": 48000, "channels": 1, "buffersize": 64, "source": self.device}
        mic = aio.get_input(**options | kwargs)
        self.streams.append(mic)
        await mic.open()
        if mic.source is self.device:
            self.device.feed(np.arange(1, frames + 1, dtype=np.int16))
        return mic

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Step on until something is so."""
        end = time.monotonic() + SOON
        turns = 0
        while not condition():
            self.drive()
            await self.turn()
            turns += 1
            assert turns < TURNS or time.monotonic() < end, f"it does not come: {what}"

    async def finish(self, act: Act) -> Any:
        """Run something in another task, to its end."""
        results: list[Any] = []

        async def run() -> None:
            results.append(await act())

        self.group.start_soon(run)
        await self.until(lambda: bool(results), "the end of another task's call")
        return results[0]

    async def soon(self, condition: Callable[[], bool], what: str) -> None:
        """Wait in real time for what a thread does."""
        end = time.monotonic() + SOON
        while not condition():
            assert time.monotonic() < end, f"it does not come soon: {what}"
            await anyio.sleep(0.001)

    # --- what must hold ----------------------------------------------------------

    def sound(self) -> np.ndarray:
        """All that was heard but silence."""
        heard = np.concatenate([block[:, 0] for block in self.heard])
        return heard[heard != 0]

    async def heard_is(self, voice: aio.AudioSample, data: np.ndarray) -> None:
        """All that was counted is heard, no less and no more; and the sample goes on."""
        self.holds(voice)
        assert voice.cleared == 0
        expected = data.ravel()[: voice.written]
        voice.end()
        await self.until(lambda: voice.buffered == 0, "the end of what was written")
        assert np.array_equal(self.sound(), expected), (len(self.sound()), len(expected))
        await self.goes_on(voice)

    def holds(self, voice: aio.AudioSample) -> None:
        assert voice.written == voice.position + voice.buffered + voice.cleared
        assert not voice._writing.locked()
        assert voice._queued == 0

    async def goes_on(self, voice: aio.AudioSample) -> None:
        """Another task can write, and have it heard."""
        written, position = voice.written, voice.position
        assert await self.finish(lambda: voice.write(ramp(7, 600))) == 600
        await self.finish(voice.drain)
        assert voice.written == written + 600
        assert voice.position >= position + 600
        self.holds(voice)

    async def reads_on(self, mic: aio.AudioInput, taken: int) -> None:
        """The next read, in another task, begins after so many frames."""
        assert not mic._reading.locked()
        chunk = await self.finish(lambda: mic.read(100))
        expected = np.arange(taken + 1, taken + 101, dtype=np.int16)
        assert np.array_equal(np.frombuffer(chunk, np.int16), expected), (taken, chunk[:4])
        assert mic.dropped == 0


# ------------------------------------------------------------------------- streams


def streams(world: World) -> Iterator[Any]:
    """An output and an input, new."""
    options = {"rate": 48000, "channels": 1, "buffersize": 64}
    for stream in (
        aio.get_output(device=world.device, **options),
        aio.get_input(source=world.device, **options),
    ):
        world.streams.append(stream)
        yield stream


@covers("AudioOutput.open", "AudioInput.open")
async def opening(world: World) -> AsyncIterator[Act]:
    world.threads = True
    both = list(streams(world))

    async def act() -> None:
        for stream in both:
            await stream.open()

    yield act
    if world.cancelled:  # the one that was being opened is closed, by itself
        under_way = [stream for stream in both if stream._async][-1:]
        for stream in under_way:
            await world.soon(lambda s=stream: s.is_closed, "a cancelled open closes")


@covers("AudioOutput.aclose")
async def close_an_output(world: World) -> AsyncIterator[Act]:
    """Before its first step, too: a task is cancelled that has not begun to run."""
    world.threads = True
    speaker = await world.speaker()
    yield speaker.aclose
    await world.soon(lambda: speaker.is_closed, "a cancelled aclose closes")
    await world.finish(speaker.aclose)


@covers("AudioInput.aclose")
async def close_an_input(world: World) -> AsyncIterator[Act]:
    world.threads = True
    mic = await world.mic()
    yield mic.aclose
    await world.soon(lambda: mic.is_closed, "a cancelled aclose closes")


@covers()
async def close_in_real_time(world: World) -> AsyncIterator[Act]:
    world.threads = True
    speaker = await world.speaker(device="null")
    yield speaker.aclose
    await world.soon(lambda: speaker.is_closed, "a cancelled aclose closes")


@covers(
    "AudioOutput.__aenter__",
    "AudioOutput.__aexit__",
    "AudioInput.__aenter__",
    "AudioInput.__aexit__",
)
async def contexts(world: World) -> AsyncIterator[Act]:
    world.threads = True
    speaker, mic = streams(world)

    async def act() -> None:
        async with speaker, mic:
            await anyio.lowlevel.checkpoint()

    yield act
    for stream in (speaker, mic):
        if stream._async:
            await world.soon(lambda s=stream: s.is_closed, "leaving a context closes")


@covers("get_input_sources", "get_output_devices")
async def listing(world: World) -> AsyncIterator[Act]:
    world.threads = True

    async def act() -> list[str]:
        return await aio.get_input_sources() + await aio.get_output_devices()

    yield act
    assert world.cancelled or world.result.count("default") == 2
    assert (await world.finish(aio.get_input_sources))[0] == "default"


# ------------------------------------------------------------------------- samples


@covers("AudioSample.write")
async def write_an_array(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    data = ramp(0, 600)
    yield lambda: voice.write(data)
    assert world.cancelled or world.result == 600
    await world.heard_is(voice, data)


@covers("AudioSample.send")
async def write_bytes(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    data = ramp(0, 600)
    yield lambda: voice.send(data.tobytes())
    assert world.cancelled or voice.written == 600
    await world.heard_is(voice, data)


@covers()
async def write_many(world: World) -> AsyncIterator[Act]:
    """A write that has taken anything at all says so, or has to wait for more room."""
    voice = await world.sample()
    data = ramp(0, 600)
    done = []

    async def act() -> None:
        for start in range(0, 600, 5):
            done.append(await voice.write(data[start : start + 5].tobytes()))

    yield act
    assert 0 <= voice.written - 5 * len(done) < 5
    await world.heard_is(voice, data)


@covers()
async def write_before_another(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    data, others = ramp(0, 400), ramp(1000, 400)

    async def act() -> None:
        world.group.start_soon(voice.write, others)
        await voice.write(data)

    yield act
    await world.until(lambda: not voice._queued, "the other write")
    taken = voice.written - 400
    if voice.written:  # the other one had begun
        await world.heard_is(voice, np.concatenate((data[:taken], others)))


@covers()
async def write_after_another(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    data, others = ramp(0, 400), ramp(1000, 400)
    world.group.start_soon(voice.write, others)
    await world.turn()
    yield lambda: voice.write(data)
    await world.until(lambda: not voice._queued, "the other write")
    assert voice.written >= 400
    await world.heard_is(voice, np.concatenate((others, data)))


@covers("AudioSample.__aenter__", "AudioSample.__aexit__", "AudioSample.aclose")
async def leave_a_sample(world: World) -> AsyncIterator[Act]:
    speaker = await world.speaker()
    voice = speaker.sample()
    closing = speaker.sample()

    async def act() -> None:
        async with voice:
            await voice.write(ramp(0, 100))
            await anyio.lowlevel.checkpoint()
        await closing.aclose()

    yield act
    assert world.cancelled or closing._voice.is_gone
    assert voice._voice.is_gone or not voice.written


@covers()
async def close_a_sample(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    voice.write_nowait(ramp(0, 100))
    yield voice.aclose
    assert voice._voice.is_gone
    world.holds(voice)


@covers("AudioSample.drain")
async def drain(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    data = ramp(0, 200)
    voice.write_nowait(data)
    yield voice.drain
    assert world.cancelled or voice.position == 200
    await world.heard_is(voice, data)


@covers("AudioSample.clear", "Group.clear")
async def clear(world: World) -> AsyncIterator[Act]:
    speaker = await world.speaker()
    group = speaker.group()
    voice, member = speaker.sample(), speaker.sample(group=group)
    for sample in (voice, member):
        sample.write_nowait(ramp(0, 1000))
    world.step(100)

    async def act() -> int:
        heard = await voice.clear()
        await group.clear()
        return heard

    yield act
    assert world.cancelled or world.result == voice.position
    world.step(1000)
    for sample in (voice, member):
        world.holds(sample)
        assert sample.position + sample.cleared == 1000
    await world.finish(voice.clear)
    await world.finish(group.clear)
    await world.goes_on(voice)
    await world.goes_on(member)


@covers("AudioSample.wait_position")
async def wait_position(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    data = ramp(0, 240)
    voice.write_nowait(data)
    yield lambda: voice.wait_position(150)
    assert world.cancelled or voice.position >= 150
    await world.heard_is(voice, data)


@covers("AudioSample.set_format")
async def set_format(world: World) -> AsyncIterator[Act]:
    voice = await world.sample(buffer=0.02)
    others = ramp(0, 1500)
    world.drive = lambda: world.step(128)
    world.group.start_soon(voice.write, others)
    await world.turn()
    yield lambda: voice.set_format(24000)
    await world.until(lambda: not voice._queued, "the other write")
    assert voice.rate == (48000 if world.cancelled else 24000)
    await world.goes_on(voice)


@covers("Marks.__anext__", "Marks.aclose")
async def marks(world: World) -> AsyncIterator[Act]:
    """None is lost, whoever asks next; not even of several that were heard in one block."""
    voice = await world.sample()
    told: list[int] = []
    asked = voice.marks()
    for number in range(6):
        voice.write_nowait(ramp(30 * number, 30))
        voice.mark(number)
    voice.end()

    async def act() -> None:
        async for mark in asked:
            told.append(mark.name)
            await anyio.lowlevel.checkpoint()
            if mark.name == 4:
                break
        await asked.aclose()

    yield act
    others = voice.marks()
    while 5 not in told:
        told.append((await world.finish(others.__anext__)).name)
    assert told == list(range(6))


@covers("Utterance.write", "AudioSample.write_in")
async def utterance_write(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    utterance = voice.utterance()
    data = ramp(0, 600)
    done = []

    async def act() -> None:
        for start in range(0, 600, 120):
            done.append(await utterance.write(data[start : start + 120]))

    yield act
    assert 0 <= utterance.written - 120 * len(done) < 120
    assert utterance.written == voice.written
    assert utterance._writes == 0
    rest = data[voice.written :]
    if len(rest):
        assert await world.finish(lambda: utterance.write(rest))
    utterance.end()
    await world.heard_is(voice, data)
    assert utterance.heard == 600


@covers()
async def utterance_that_waits_for_its_turn(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    first, second = voice.utterance(), voice.utterance()
    data, others = ramp(0, 400), ramp(1000, 400)
    world.group.start_soon(first.write, others)
    await world.turn()
    await world.turn()
    yield lambda: second.write(data)
    await world.until(lambda: not first._writes, "the utterance before")
    assert first.written == 400
    assert second.written == voice.written - 400
    assert await world.finish(lambda: second.write(data[second.written :]))
    await world.heard_is(voice, np.concatenate((others, data)))


@covers("Utterance.finished")
async def utterance_finished(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    utterance = voice.utterance()
    utterance.write_nowait(ramp(0, 200))
    utterance.end()
    yield utterance.finished
    assert await world.finish(utterance.finished)
    assert utterance.heard == 200
    await world.goes_on(voice)


@covers("Playing.finished")
async def playing_finished(world: World) -> AsyncIterator[Act]:
    speaker = await world.speaker()
    sound = speaker.load(ramp(0, 200))
    playing = sound.play()
    yield playing.finished
    await world.finish(playing.finished)
    assert playing.is_finished
    assert np.array_equal(world.sound(), ramp(0, 200).ravel())


@covers("AudioOutput.aload")
async def aload(world: World) -> AsyncIterator[Act]:
    world.threads = True
    speaker = await world.speaker()
    loaded: list[aio.Sound] = []

    async def act() -> None:
        loaded.append(await speaker.aload(ramp(0, 200)))

    yield act
    if not loaded:
        await act()
    await world.finish(loaded[0].play().finished)
    assert np.array_equal(world.sound(), ramp(0, 200).ravel())


@covers("Sound.aprepare")
async def aprepare(world: World) -> AsyncIterator[Act]:
    world.threads = True
    speaker = await world.speaker()
    sound = speaker.load(ramp(0, 200))

    async def act() -> None:
        await sound.aprepare(rate=0.5)

    yield act
    await act()
    assert await world.finish(sound.play(rate=0.5).finished)
    assert len(world.sound()) == 400


# ------------------------------------------------------------------------- inputs


@covers("AudioInput.read")
async def read(world: World) -> AsyncIterator[Act]:
    mic = await world.mic()
    world.step(80)
    chunks: list[bytes] = []

    async def act() -> None:  # what is there already, and what is waited for
        for _ in range(3):
            chunks.append(await mic.read(64))

    yield act
    await world.reads_on(mic, 64 * len(chunks))


@covers("AudioInput.readinto")
async def readinto(world: World) -> AsyncIterator[Act]:
    mic = await world.mic()
    array = np.zeros((64, 1), np.int16)
    taken = []

    async def act() -> None:
        for _ in range(3):
            taken.append(await mic.readinto(array))

    yield act
    await world.reads_on(mic, sum(taken))


@covers("Blocks.__anext__")
async def blocks(world: World) -> AsyncIterator[Act]:
    mic = await world.mic()
    taken: list[int] = []

    async def act() -> None:
        async for block in mic.blocks(64):
            taken.append(len(block))
            if len(taken) == 3:
                break

    yield act
    await world.reads_on(mic, sum(taken))


@covers("AudioInput.receive")
async def receive(world: World) -> AsyncIterator[Act]:
    mic = await world.mic()
    world.step(80)
    chunks: list[bytes] = []

    async def act() -> None:
        for _ in range(3):
            chunks.append(await mic.receive(100))

    yield act
    await world.reads_on(mic, sum(map(len, chunks)) // 2)


@covers()
async def read_at_another_rate(world: World) -> AsyncIterator[Act]:
    """What a resampler makes is counted: as much as comes of the frames captured by then."""
    world.device = ManualDevice(rate=48000)
    mic = await world.mic(rate=16000)
    frames = []

    async def act() -> None:
        for _ in range(3):
            frames.append(len(await mic.read(40)) // 2)

    yield act
    assert mic._stream._given == 2 * sum(frames)
    assert len(await world.finish(lambda: mic.read(100))) == 200


@covers("AudioInput.__anext__")
async def iterate(world: World) -> AsyncIterator[Act]:
    mic = await world.mic()
    chunks: list[bytes] = []

    async def act() -> None:
        async for chunk in mic:
            chunks.append(chunk)
            if len(chunks) == 3:
                break

    yield act
    await world.reads_on(mic, 64 * len(chunks))


@covers()
async def iterate_a_monitor(world: World) -> AsyncIterator[Act]:
    """It is opened by its iteration; what was played meanwhile waits for who asks next."""
    speaker = await world.speaker()
    voice = speaker.sample(buffer=1.0)
    voice.write_nowait(ramp(0, 20000))
    monitor = speaker.monitor(buffersize=64)
    world.streams.append(monitor)
    chunks: list[bytes] = []

    async def act() -> None:
        async for chunk in monitor:
            chunks.append(chunk)
            if len(chunks) == 3:
                break

    yield act
    while len(chunks) < 6:
        chunks.append(await world.finish(monitor.__anext__))
    heard = np.frombuffer(b"".join(chunks), np.int16)
    assert np.array_equal(heard, np.arange(heard[0], heard[0] + len(heard)))
    voice.clear_nowait()


@covers()
async def iterate_to_the_end(world: World) -> AsyncIterator[Act]:
    """A monitor that ends closes itself, even if that is cancelled."""
    world.threads = True
    speaker = await world.speaker()
    monitor = speaker.monitor(buffersize=64)
    world.streams.append(monitor)
    await world.finish(monitor.__anext__)
    await speaker.aclose()

    async def act() -> None:
        async for _ in monitor:
            await anyio.lowlevel.checkpoint()

    yield act
    with contextlib.suppress(aio.StreamClosedError):  # it is closing already
        await act()
    await world.soon(lambda: monitor.is_closed, "a monitor that has ended closes")


# ------------------------------------------------------------------------- sources


class Counter(sources.Source):
    """A source of a ramp, which says what becomes of it."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = 0

    async def get_bytes(self) -> Any:
        await anyio.lowlevel.checkpoint()
        if self.made >= 600:
            return None
        self.made += 50
        return ramp(self.made - 50, 50) if self.made != 300 else b""

    async def aclose(self) -> None:
        self.closed += 1


@covers("AudioSample.write_from")
async def write_from_a_source(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    source = Counter()
    world.drive = lambda: voice.buffered > 64 and world.step(32)  # it never runs dry
    yield lambda: voice.write_from(source)
    world.drive = lambda: world.step(32)
    assert not source.is_played
    assert source.closed == bool(source.made) or world.cancelled
    assert voice._voice.writer.limit == voice._voice.writer._room
    data = np.concatenate((ramp(0, 250), ramp(300, 300)))
    await world.heard_is(voice, data)


@covers()
async def write_from_iterables(world: World) -> AsyncIterator[Act]:
    """Async generators and ordinary ones, which are closed, and a microphone, which is not."""
    voice = await world.sample()
    open_generators: list[str] = []

    async def generated() -> AsyncIterator[Any]:
        open_generators.append("async")
        try:
            for start in range(0, 300, 50):
                await anyio.lowlevel.checkpoint()
                yield ramp(start, 50)
        finally:
            open_generators.remove("async")

    def ordinary() -> Iterator[Any]:
        open_generators.append("ordinary")
        try:
            for start in range(300, 600, 50):
                yield ramp(start, 50).tobytes()
        finally:
            open_generators.remove("ordinary")

    counts = []

    async def act() -> None:
        counts.append(await voice.write_from(generated()))
        counts.append(await voice.write_from(ordinary(), ahead=128))

    yield act
    assert not open_generators
    assert voice._voice.writer.limit == voice._voice.writer._room
    assert sum(counts) <= voice.written
    await world.heard_is(voice, ramp(0, 600))


@covers()
async def write_from_a_microphone(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    mic = await world.mic(frames=400)
    world.device.fault("end")
    yield lambda: voice.write_from(mic)
    assert not mic._reading.locked()
    taken = mic._stream._given // 2  # the rest of a chunk is the cancelled call's
    assert voice.written <= taken <= voice.written + (64 if world.cancelled else 0)
    await world.goes_on(voice)
    rest: list[bytes] = []

    async def read_on() -> None:
        async for chunk in mic:
            rest.append(chunk)

    await world.finish(read_on)
    numbers = np.frombuffer(b"".join(rest), np.int16)
    assert np.array_equal(numbers, np.arange(taken + 1, 401))


def wave_file() -> Path:
    """A WAV file of 12,500 frames that tell their place."""
    path = FOLDER / "ramp.wav"
    if not path.exists():
        data = ramp(0, 12500).tobytes()
        path.write_bytes(header(48000, 1, 16, len(data)) + data)
    return path


@covers("File.get_bytes", "File.aclose")
async def read_a_file(world: World) -> AsyncIterator[Act]:
    """A piece whose reader was cancelled while it was read is the next one's."""
    world.threads = True
    voice = await world.sample()
    file = sources.file(wave_file())
    file.begin(voice.format, voice._voice.output.kernels)
    pieces: list[np.ndarray] = []

    async def act() -> None:
        for _ in range(2):
            pieces.append(await file.get_bytes())

    try:
        yield act
        while (piece := await world.finish(file.get_bytes)) is not None:
            pieces.append(piece)
        heard = np.rint(np.concatenate(pieces)[:, 0] * 32768).astype(np.int16)
        assert np.array_equal(heard, ramp(0, 12500).ravel())
        await file.aclose()
    finally:
        file.close()


@covers()
async def write_from_a_file(world: World) -> AsyncIterator[Act]:
    world.threads = True
    voice = await world.sample(buffer=0.25)
    file = sources.file(wave_file())
    world.drive = lambda: voice.buffered > 1024 and world.step(1024)
    try:
        yield lambda: voice.write_from(file)
        assert not file.is_played
        world.drive = lambda: world.step(2048)
        await world.heard_is(voice, ramp(0, 12500))
    finally:
        file.close()


def patch() -> sources.Patch:
    return sources.patch(PATCH, rate=48000, channels=1)


@covers("Patch.get_bytes", "Patch.aclose")
async def write_from_a_patch(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    with patch() as source:
        made = source.get_bytes

        async def some() -> Any:
            """Comes to its end, where a patch has none."""
            return await made() if voice.written <= 500 else None

        source.get_bytes = some

        async def act() -> None:
            world.drive = lambda: world.step(64)
            await voice.write_from(source)

        yield act
        source.get_bytes = made
        world.drive = lambda: world.step(32)
        assert not source.is_played
        source.begin(voice.format, voice._voice.output.kernels)
        assert len(await source.get_bytes())
        await source.aclose()
        await world.goes_on(voice)


@covers("Messages.__anext__")
async def messages(world: World) -> AsyncIterator[Act]:
    """None that was taken is lost."""
    told: list[int] = []
    queue: Queue[int] = Queue(1000)
    said = sources.Messages(queue)
    numbers = iter(range(100_000))

    def say() -> None:
        for _ in range(2):
            queue.put(next(numbers))
        if queue.notify is not None:
            queue.notify()

    async def act() -> None:
        async for number in said:
            told.append(number)
            if len(told) == 7:
                break

    world.drive = say
    yield act
    while len(told) < 10:
        told.append(await world.finish(said.__anext__))
    assert told == list(range(10))


MAKERS = {
    "Noise": sources.noise,
    "Saw": sources.saw,
    "Silence": sources.silence,
    "Sine": sources.sine,
    "Source": sources.Source,
    "Square": sources.square,
}


@covers(*(f"{name}.{method}" for name in MAKERS for method in ("get_bytes", "aclose")))
async def waves(world: World) -> AsyncIterator[Act]:
    voice = await world.sample()
    made = [make() for make in MAKERS.values()]
    for source in made:
        source.begin(voice.format, voice._voice.output.kernels)

    async def act() -> None:
        for source in made:
            await source.get_bytes()
            await source.aclose()
            await anyio.lowlevel.checkpoint()

    yield act
    for source in made:
        assert await source.get_bytes() is not None


# ------------------------------------------------------------------------- everyday functions


async def all_closed(world: World) -> None:
    """What opened a device of its own has closed it."""
    await world.soon(lambda: not WATCHDOG.open_streams(), "the end of a stream")


@covers("play")
async def play(world: World) -> AsyncIterator[Act]:
    world.threads = True
    yield lambda: aio.play(ramp(0, 200), 48000, device=world.device)
    await all_closed(world)
    assert np.array_equal(32768.0 * world.sound(), ramp(0, 200).ravel()) or world.cancelled


@covers()
async def play_a_file(world: World) -> AsyncIterator[Act]:
    world.threads = True
    path = FOLDER / "played.wav"
    soundfile.write(path, ramp(0, 200), 48000)
    yield lambda: aio.play(path, device=world.device)
    await all_closed(world)
    assert np.array_equal(32768.0 * world.sound(), ramp(0, 200).ravel()) or world.cancelled


@covers("PlayHandle.wait")
async def wait_for_a_play(world: World) -> AsyncIterator[Act]:
    world.threads = True
    handle = await aio.play(ramp(0, 200), 48000, device=world.device, wait=False)
    yield handle.wait
    assert await world.finish(handle.wait)
    assert np.array_equal(32768.0 * world.sound(), ramp(0, 200).ravel())
    assert handle.is_finished
    await all_closed(world)


@covers("record")
async def record(world: World) -> AsyncIterator[Act]:
    world.threads = True
    yield lambda: aio.record(0.002, source=world.device)
    await all_closed(world)
    assert world.cancelled or world.result.shape == (96, 1)


def is_free(path: Path) -> bool:
    """True if no one writes the file."""
    try:
        SoundWriter(str(path), 48000, 1).close()
    except aio.AudioException:
        return False
    return True


@covers("record_to")
async def record_to(world: World) -> AsyncIterator[Act]:
    world.threads = True
    path = FOLDER / "recorded.wav"
    path.unlink(missing_ok=True)
    yield lambda: aio.record_to(path, seconds=0.004, source=world.device)
    await all_closed(world)
    if path.exists():  # it is complete, and free
        frames = soundfile.info(path).frames
        assert frames == world.result or (world.cancelled and frames <= 192)
        await world.soon(lambda: is_free(path), "the end of the file's lock")
    else:
        assert world.cancelled


@covers("RecordHandle.wait")
async def wait_for_a_recording(world: World) -> AsyncIterator[Act]:
    world.threads = True
    world.drive = lambda: world.step(4800)
    path = FOLDER / "waited.wav"
    handle = await aio.record_to(path, source=world.device, wait=False)
    await world.until(lambda: handle.position > 0, "the first frames")
    stopping = threading.Timer(0.01, handle.stop)
    stopping.start()
    yield handle.wait
    frames = await world.finish(handle.wait)
    assert frames == soundfile.info(path).frames > 0
    stopping.join()
    await all_closed(world)


@covers("playrec")
async def playrec(world: World) -> AsyncIterator[Act]:
    world.threads = True
    world.drive = lambda: world.step(4800)
    devices = {"device": world.device, "source": world.device}
    yield lambda: aio.playrec(ramp(0, 200), 48000, **devices)
    await all_closed(world)
    assert world.cancelled or world.result.shape == (200, 1)


# ------------------------------------------------------------------------- running them
#
# What a public coroutine leaves is looked at above: a new one needs a scenario there.


class Faults(list[str]):
    """What is said without being asked: unraisable errors, the event loop's, trio's."""

    def unraisable(self, said: Any) -> None:
        self.append(f"unraisable: {said.exc_value!r} in {said.object!r}")

    def of_loop(self, loop: Any, context: dict[str, Any]) -> None:
        del loop
        self.append(f"event loop: {context.get('message')}: {context.get('exception')!r}")


def descriptors() -> set[str]:
    return {path.name for path in Path("/dev/fd").iterdir()}


def tasks(way: str) -> int:
    if way == "trio":
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


async def called(act: Act) -> Any:
    return await act()


async def end_to_end(world: World, act: Act, way: str, mode: str, at: int) -> bool:
    """Run it, and cancel it there; False if it came to its end before that."""
    run = natively if way == "asyncio" else in_a_scope
    cancelled = await run(world, act, mode, at)
    if way == "asyncio" and cancelled:
        assert world.cancelled, "asyncio's cancellation was swallowed"
    return cancelled


async def natively(world: World, act: Act, mode: str, at: int) -> bool:
    """See :func:`end_to_end`; by the cancellation of a task."""
    loop = asyncio.get_running_loop()
    coroutine = called(act)
    # A task cannot cancel itself before it waits: the loop does that, a turn later.
    probe = Probe(
        coroutine, at, mode, lambda: task.cancel() if mode == "late" else loop.call_soon(stop)
    )
    task = loop.create_task(coroutine if mode == "first" else called(lambda: probe))
    stop = task.cancel
    reached = mode == "first" and stop()
    turns = 0
    while not task.done():
        if mode == "turn" and turns == at:
            reached = stop()
        turns = await one_turn(world, turns)
    world.cancelled = task.cancelled()
    if not task.cancelled():
        world.result = task.result()
    return reached or probe.reached


async def in_a_scope(world: World, act: Act, mode: str, at: int) -> bool:
    """See :func:`end_to_end`; by the cancellation of a scope."""
    scope = anyio.CancelScope()
    probe = Probe(called(act), at, mode, scope.cancel)
    errors: list[Exception] = []
    done = []

    async def run() -> None:
        try:
            with scope:
                if mode == "first":
                    scope.cancel()
                world.result = await probe
        except Exception as error:
            errors.append(error)
        done.append(True)

    world.group.start_soon(run)
    turns = 0
    while not done:
        turns = await one_turn(world, turns)
    world.cancelled = scope.cancelled_caught
    if errors:
        raise errors[0]
    return mode == "first" or probe.reached


async def one_turn(world: World, turns: int) -> int:
    world.drive()
    await world.turn()
    assert turns < TURNS, "it is stuck"
    return turns + 1


@contextlib.asynccontextmanager
async def settled(way: str) -> AsyncIterator[None]:
    """No task and no descriptor more than before, soon."""
    before, running = descriptors(), tasks(way)
    yield
    end = time.monotonic() + SOON
    while tasks(way) > running or len(descriptors()) > len(before):
        assert time.monotonic() < end, (
            f"tasks: {tasks(way) - running} more, descriptors: {descriptors() - before} more"
        )
        await anyio.sleep(0.001)


async def once(scenario: Scenario, way: str, mode: str, at: int) -> bool:
    """One injection; False if there is no such await."""
    world = World()
    async with settled(way):
        async with anyio.create_task_group() as group:
            world.group = group
            steps = scenario(world)
            try:
                act = await anext(steps)
                if mode == "first" and way == "asyncio" and inspect.ismethod(act):
                    # What it returns is what a task is made of: it may act when it is called.
                    pending = act()
                    reached = await end_to_end(world, lambda: pending, way, mode, at)
                    pending.close()
                else:
                    reached = await end_to_end(world, act, way, mode, at)
                await anext(steps, None)
            finally:
                await steps.aclose()
                for stream in world.streams:
                    stream.close()
                group.cancel_scope.cancel()
        del world, steps, act
    return reached


async def all_of(scenario: Scenario, way: str, faults: Faults) -> tuple[int, list[str]]:
    """Every injection of a scenario: how many, and what was wrong."""
    if way != "trio":
        asyncio.get_running_loop().set_exception_handler(faults.of_loop)
    count, wrong = 0, []
    for mode in MODES[way]:
        at = 0 if mode == "first" else 1
        while True:
            try:
                reached = await once(scenario, way, mode, at)
            except Exception as error:
                reached = True
                said = "".join(traceback.format_exception(error)[-3:])
                wrong.append(f"{scenario.__name__}, {mode} {at}: {said}")
            gc.collect()
            if faults:
                wrong.append(f"{scenario.__name__}, {mode} {at}: {'; '.join(faults)}")
                faults.clear()
            count += reached
            at += 1
            if (
                not reached
                or mode == "first"
                or (mode == "turn" and at > MOST)
                or len(wrong) > 5
            ):
                break
    return count, wrong


def main(way: str, part: str = "") -> int:
    """Run all scenarios; the number of failures, at most 100."""
    warnings.simplefilter("error")
    missing = public() - COVERED
    wrong = [f"no scenario for {name}" for name in sorted(missing)]
    wrong += [f"a scenario for {name}, which is none" for name in sorted(COVERED - public())]
    faults = Faults()
    sys.unraisablehook = faults.unraisable
    total, begin = 0, time.monotonic()
    (job := Job(anyio.sleep, 0)).start()  # its loop stays
    job.wait()
    gc.collect()
    gc.freeze()  # so that collecting after each injection is quick
    for name, scenario in SCENARIOS.items():
        if part in name:
            started = time.monotonic()
            count, failed = anyio.run(
                all_of, scenario, way, faults, backend="trio" if way == "trio" else "asyncio"
            )
            total += count
            wrong += failed
            print(f"{time.monotonic() - started:5.2f} s  {count:4}  {name}")
    end = time.monotonic() + SOON
    while others := [
        thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith(KEPT)
    ]:
        if time.monotonic() > end:
            wrong.append(f"threads are left: {others}")
            break
        time.sleep(0.01)
    shutil.rmtree(FOLDER)
    print("\n".join(wrong))
    print(
        f"{way}: {total} cancellations, {len(wrong)} failures, {time.monotonic() - begin:.1f} s"
    )
    return min(len(wrong), 100)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
