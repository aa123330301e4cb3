"""Every public callable with every bad value: refused with our own errors, and nothing is lost.

What is public is found by looking; each callable that takes anything needs an entry in
:data:`RECIPES`, or a reason in :data:`HOOKS` or :data:`MADE`, or the first test fails.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fnmatch
import importlib
import inspect
import itertools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import audiostream
from audiostream import AudioException, aio, compat, errors
from audiostream.aio import sources
from audiostream.device import portaudio
from audiostream.libpd import Queue
from audiostream.sources.puredata import PatchSource
from audiostream.sources.thread import ThreadSource
from audiostream.sources.wave import SineSource
from audiostream.testing import DeviceConformance, ManualDevice
from tests.libpd.support import PATCHES

pytest.importorskip("cypd", reason="patches are opened on the libpd in cypd")

MODULES = (
    "audiostream.aio",
    "audiostream.aio.sources",
    "audiostream.compat",
    "audiostream",
    "audiostream.core",
    "audiostream.sources.thread",
    "audiostream.sources.wave",
    "audiostream.sources.puredata",
    "audiostream.testing",
)


class Spiteful:
    """An object that does not even want to be compared or shown."""

    def __bool__(self) -> bool:
        raise RuntimeError("no truth value")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")

    __hash__ = None  # type: ignore[assignment]


BAD = {
    "none": None,
    "empty str": "",
    "str": "x",
    "number as str": "1",
    "half a character": "\ud800",
    "null character": "a\0b",
    "no bytes": b"",
    "bytes": b"x",
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "2**70": 2**70,
    "10**400": 10**400,
    "-(10**5000)": -(10**5000),
    "true": True,
    "numpy true": np.True_,
    "complex": 1j,
    "decimal": Decimal("0.5"),
    "fraction": Fraction(1, 3),
    "huge fraction": Fraction(10**400, 3),
    "numpy float": np.float32(1),
    "numpy nan": np.float64("nan"),
    "numpy int": np.int64(3),
    "numpy class": np.int16,
    "numpy dtype": np.dtype(np.int16),
    "array": np.array([1, 2]),
    "empty array": np.zeros((0,)),
    "array of no dimension": np.array(3),
    "array of objects": np.array([None, "x"], object),
    "array of planes": np.zeros((2, 4800), np.float32),
    "typed buffer": array.array("f", [0.5]),
    "buffer of characters": memoryview(np.zeros(2, np.bool_)),
    "object": object(),
    "list": [],
    "ragged list": [[1], [1, 2]],
    "dict": {},
    "set": {1},
    "class": int,
    "function": lambda: None,
    "spiteful": Spiteful(),
}


class World:
    """One of each thing that there is, on a manual device; closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.wav = folder / "one.wav"
        soundfile.write(self.wav, np.zeros((800, 2), np.float32), 8000)
        self.device = ManualDevice(latency=0.01)
        self.speaker = aio.get_output(8000, device=self.device, buffersize=64).open_blocking()
        self.mic = aio.get_input(None, self.device, 8000, 2).open_blocking()
        self._opened: list[Any] = [self.speaker, self.mic]
        self.numbers = itertools.count()

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def opened(self, thing: Any) -> Any:
        """What is to be closed in the end."""
        self._opened.append(thing)
        return thing

    def mic_with_frames(self) -> aio.AudioInput:
        """The input, with a second to be read."""
        self.device.step(8000)
        return self.mic

    def new_path(self) -> Path:
        """A file that no one writes: a call that is cancelled may hold its own for a moment."""
        return self.wav.with_name(f"{next(self.numbers)}.wav")

    def patch(self) -> Any:
        return self.opened(sources.patch(THROUGH, 8000, inputs=1, carrier="cypd"))

    def patch_array(self) -> Any:
        patch = self.opened(sources.patch(PATCHES / "table.pd", 8000, carrier="cypd"))
        return patch.arrays["wave"]

    def patch_source(self) -> Any:
        return self.opened(PatchSource(self.speaker, THROUGH, inputs=1, carrier="cypd"))

    def blocking(self) -> compat.AudioSample:
        sample = compat.AudioSample()
        self.speaker.add_sample(sample)
        return sample

    def sound(self) -> aio.Sound:
        return self.speaker.load(np.zeros((80, 2), np.float32))

    def put_away(self, result: Any) -> None:
        """Give back what a call has made of a value that was good after all."""
        if result is self.speaker or result is self.mic:
            return
        if isinstance(result, aio.AudioSample | compat.AudioSample):
            self.speaker.remove_sample(result)
        if isinstance(result, aio.Playing):
            result.stop()
            self.device.step(256)
        elif isinstance(getattr(result, "close", None), types.MethodType):
            result.close()

    def has_sound(self) -> bool:
        """True if another sample is heard."""
        sample = self.speaker.sample(channels=1)
        sample.write_nowait(np.full(64, 1000, np.int16))
        heard = self.device.step(128).any()
        self.speaker.remove_sample(sample)
        return bool(heard)


@dataclass(frozen=True)
class Recipe:
    """How to come by one that is called, and what to give where there is no default."""

    make: Callable[[World], Any]
    members: str
    given: dict[str, Callable[[World], Any]] = field(default_factory=dict)


def of(value: Any) -> Callable[[World], Any]:
    return lambda world: value


def constructor(kind: type, **given: Callable[[World], Any]) -> Recipe:
    return Recipe(of(types.SimpleNamespace(**{"()": kind})), "()", given)


THROUGH = PATCHES / "through.pd"
CHUNK = of(b"\1\0\2\0")
STREAM = "from_monotonic level open_blocking to_monotonic"
CONTROLS = "effects fade gain level muted pan ramp"
LOUD = {
    "gain": of(0.5),
    "seconds": of(0.1),
    "muted": of(True),
    "pan": of(0.5),
    "ramp": of(0.01),
    "effects": of(()),
}
WAVE = {"amplitude": of(0.5), "frequency": of(440)}
PATCH = (
    "aftertouch control_change feed message messages midi midi_byte note_on pitch_bend "
    "poly_aftertouch process program_change realtime render send sysex"
)
INTO_PATCH = {
    **dict.fromkeys(("channel", "controller", "value", "pitch", "velocity"), of(1)),
    **dict.fromkeys(("program", "port", "byte", "frames", "atoms"), of(1)),
    "data": of(array.array("h", [1, 2])),
    "name": of("out"),
    "arguments": of(8),
    "receiver": of("in"),
    "selector": of("set"),
    "seconds": of(0.1),
}
JOIN = {"timeout": of(0), "chunk": CHUNK}


def wav(world: World) -> Path:
    return world.wav


def output(world: World) -> aio.AudioOutput:
    return world.speaker


@audiostream.kernel
def constant(block):
    block[:] = 0.25


def generator(world: World) -> Any:
    made = constant()
    made.prepare(world.speaker)
    return made


def another(world: World) -> ManualDevice:
    return ManualDevice()


RECIPES: dict[str, Recipe] = {
    "aio.AudioInput": Recipe(
        World.mic_with_frames,
        f"blocks callback effects read read_blocking readinto receive {STREAM}",
        {
            "time": of(1.0),
            "frames": of(4),
            "array": lambda world: np.zeros((4, 2), np.int16),
            "callback": of(print),
            "effects": of(()),
        },
    ),
    "aio.AudioInput()": constructor(aio.AudioInput),
    "aio.AudioOutput": Recipe(
        output,
        f"add_sample aload effects group load monitor play remove_sample sample {STREAM}",
        {
            "time": of(1.0),
            "sample": World.blocking,
            "sound": of(np.zeros(4, np.float32)),
            "generator": generator,
            "effects": of(()),
        },
    ),
    "aio.AudioOutput()": constructor(aio.AudioOutput),
    "aio.AudioSample": Recipe(
        lambda world: world.speaker.sample(channels=1),
        "clear clear_nowait mark pause play resume send set_format stop utterance "
        f"wait_position write write_from write_nowait {CONTROLS}",
        {
            "item": CHUNK,
            "data": CHUNK,
            "name": of("here"),
            "frames": of(0),
            "source": of([b"\1\0"]),
            **LOUD,
        },
    ),
    "aio.Group": Recipe(
        lambda world: world.speaker.group(),
        f"clear clear_nowait duck {CONTROLS}",
        {"under": of(None), **LOUD},
    ),
    "aio.Playing": Recipe(
        lambda world: world.sound().play(loop=True),
        "effects fade gain level muted pan pause resume stop",
        LOUD,
    ),
    "aio.Sound": Recipe(World.sound, "aprepare play prepare", {"rate": of(1.0)}),
    "aio.Utterance": Recipe(
        lambda world: world.speaker.sample(channels=1).utterance(),
        "write write_nowait",
        {"data": CHUNK},
    ),
    "aio.get_input": Recipe(of(aio), "get_input"),
    "aio.play": Recipe(of(aio), "play", {"what": wav, "device": another}),
    "aio.playrec": Recipe(
        of(aio),
        "playrec",
        {
            "sound": of(np.zeros(4, np.float32)),
            "rate": of(8000),
            **dict.fromkeys(("device", "source"), another),
        },
    ),
    "aio.record": Recipe(of(aio), "record", {"seconds": of(0.01), "source": of("null")}),
    "aio.record_to": Recipe(
        of(aio),
        "record_to",
        {"path": World.new_path, "source": another},
    ),
    "aio.get_output": Recipe(of(aio), "get_output"),
    "aio.sources.File": Recipe(
        lambda world: world.opened(sources.file(world.wav)), "seek", {"seconds": of(0)}
    ),
    "aio.sources.File()": constructor(sources.File, path=wav),
    "aio.sources.Noise": Recipe(lambda world: sources.noise(), "amplitude", WAVE),
    "aio.sources.Noise()": constructor(sources.Noise),
    "aio.sources.Patch": Recipe(World.patch, PATCH, INTO_PATCH),
    "aio.sources.Patch()": constructor(sources.Patch, patchfile=of(THROUGH)),
    "aio.sources.Saw": Recipe(lambda world: sources.saw(), "amplitude frequency", WAVE),
    "aio.sources.Saw()": constructor(sources.Saw),
    "aio.sources.Silence()": constructor(sources.Silence),
    "aio.sources.Sine": Recipe(lambda world: sources.sine(), "amplitude frequency", WAVE),
    "aio.sources.Sine()": constructor(sources.Sine),
    "aio.sources.Square": Recipe(lambda world: sources.square(), "amplitude frequency", WAVE),
    "aio.sources.Square()": constructor(sources.Square),
    "aio.sources.file": Recipe(of(sources), "file", {"path": wav}),
    "aio.sources.noise": Recipe(of(sources), "noise"),
    "aio.sources.patch": Recipe(of(sources), "patch", {"patchfile": of(THROUGH)}),
    "aio.sources.saw": Recipe(of(sources), "saw"),
    "aio.sources.silence": Recipe(of(sources), "silence"),
    "aio.sources.sine": Recipe(of(sources), "sine"),
    "aio.sources.square": Recipe(of(sources), "square"),
    "compat.AudioSample": Recipe(World.blocking, "drain write", {"chunk": CHUNK}),
    "compat.get_input": Recipe(of(compat), "get_input", {"source": another}),
    "compat.get_output": Recipe(of(compat), "get_output", {"device": another}),
    "sources.thread.ThreadSource": Recipe(
        lambda world: ThreadSource(world.speaker), "drain join write", JOIN
    ),
    "sources.thread.ThreadSource()": constructor(ThreadSource, stream=output),
    "sources.wave.SineSource": Recipe(
        lambda world: SineSource(world.speaker, 440),
        "amplitude drain frequency join write",
        {**WAVE, **JOIN},
    ),
    "sources.wave.SineSource()": constructor(SineSource, stream=output, frequency=of(440)),
    "sources.puredata.PatchSource": Recipe(
        World.patch_source, f"drain join write {PATCH}", {**INTO_PATCH, **JOIN}
    ),
    "sources.puredata.PatchSource()": constructor(
        PatchSource, stream=output, patchfile=of(THROUGH)
    ),
    "testing.DeviceConformance()": constructor(DeviceConformance, device=of("null")),
    "testing.ManualDevice": Recipe(
        lambda world: world.device,
        "fault feed step",
        {
            "kind": of("underrun"),
            "array": lambda world: np.zeros((4, 2), np.int16),
            "frames": of(4),
        },
    ),
    "testing.ManualDevice()": constructor(ManualDevice),
    # What a patch hands out, which no module above names.
    "libpd.PatchArray": Recipe(
        World.patch_array, "read resize write", {"values": of([0.5]), "size": of(8)}
    ),
    "libpd.Queue()": constructor(Queue, size=of(4)),
}

HOOKS = (
    "aio.Level.of",
    "aio.AudioSample.write_in",
    *("aio.sources.*.begin", "aio.sources.*.after_cut"),
    *("aio.sources.*.at", "aio.sources.*.render", "aio.sources.*.shape"),  # of waves
    *("*.attach", "*.detach", "*.encoded", "*.play_on"),
    "audiostream.kernel.kernel",  # see tests/kernels/test_contract.py
    # As in aio; see tests/test_everyday.py.
    *(f"audiostream.{name}.{name}" for name in ("play", "playrec", "record", "record_to")),
    "audiostream.render.render",  # calls what it is given; see tests/test_offline.py
    *("testing.ManualDevice.lateness", "testing.ManualDevice.open"),
)
"""Members that the library calls itself, with what it has checked, as patterns of names."""

MADE = {
    "aio.AudioSample()": "AudioOutput.sample",
    "aio.Group()": "AudioOutput.group",
    "aio.Level()": "level",
    "aio.Mark()": "marks",
    "aio.PlayHandle()": "play",
    "aio.RecordHandle()": "record_to",
    "aio.Playing()": "Sound.play",
    "aio.Sound()": "AudioOutput.load",
    "aio.Stats()": "stats",
    "aio.Utterance()": "AudioSample.utterance",
    "aio.sources.Messages()": "Patch.messages",
}
"""Classes whose objects only the library makes, and by what."""

AUDIO = (
    "aio.AudioOutput.aload.sound",
    "aio.AudioOutput.load.sound",
    "aio.AudioSample.send.item",
    "aio.AudioSample.write.data",
    "aio.AudioSample.write_from.source",
    "aio.AudioSample.write_nowait.data",
    "aio.Utterance.write.data",
    "aio.Utterance.write_nowait.data",
    "aio.play.play.what",
    "aio.playrec.playrec.sound",
    "aio.sources.Patch.feed.data",
    "compat.AudioSample.write.chunk",
    "sources.puredata.PatchSource.feed.data",
    "sources.puredata.PatchSource.write.chunk",
    "sources.thread.ThreadSource.write.chunk",
    "sources.wave.SineSource.write.chunk",
    "testing.ManualDevice.feed.array",
)
"""Where TypeError says that something is no audio at all."""

WORDS = ("receiver", "selector", "atoms", "name")
"""Of a patch's messages, where TypeError says that something is no word of Pure Data."""


CASES = [(key, member) for key, recipe in RECIPES.items() for member in recipe.members.split()]


def found() -> dict[str, set[str]]:
    """Everything public that takes an argument: what it is of -> its members."""
    members: dict[str, set[str]] = {}
    seen: set[int] = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        prefix = module_name.removeprefix("audiostream.")
        for name in module.__all__:
            thing = getattr(module, name)
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            key = f"{prefix}.{name}"
            if inspect.isfunction(thing) and inspect.signature(thing).parameters:
                members[key] = {name}
            elif inspect.isclass(thing) and not issubclass(thing, BaseException):
                of_class = set(members_of(thing))
                if "__init__" in of_class:
                    of_class.remove("__init__")
                    members[f"{key}()"] = {"()"}
                if of_class:
                    members[key] = of_class
    return members


def members_of(kind: type) -> Iterator[str]:
    """Methods with arguments and properties that can be set, of our own."""
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        function = getattr(member, "fset", None) or getattr(member, "__func__", member)
        if name.startswith("_") and name != "__init__":
            continue
        if inspect.isfunction(function) and (
            function.__module__.startswith("audiostream.") or function.__name__ == "__init__"
        ):
            parameters = list(inspect.signature(function).parameters)
            if parameters not in ([], ["self"], ["cls"]):
                yield name


def test_every_public_callable_is_here() -> None:
    here = {f"{key}.{member}" for key, member in CASES}
    missing = [
        name
        for key, members in found().items()
        for name in (f"{key}.{member}" for member in members)
        if name not in here
        and key not in MADE
        and not any(fnmatch.fnmatch(name, hook) for hook in HOOKS)
    ]
    assert not missing, (
        f"{missing} take arguments: give each an entry in RECIPES, or a reason in HOOKS or MADE"
    )


@pytest.mark.parametrize(("key", "member"), CASES, ids=[f"{k}.{m}" for k, m in CASES])
def test_no_bad_value_does_harm(
    key: str, member: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(name: Any, direction: str) -> Any:
        raise errors.NoDeviceError(f"no {direction} {name!r} in a test")

    monkeypatch.setattr(portaudio, "find", nowhere)  # none of this machine's hardware
    world = World(tmp_path)
    try:
        asyncio.run(Attempts(world, key, member).run())
    finally:
        world.close()


class Attempts:
    """All bad values, one after the other, for each argument of one callable."""

    def __init__(self, world: World, key: str, member: str) -> None:
        self.world = world
        self.key = key
        self.member = member
        self.given = RECIPES[key].given
        self.target = RECIPES[key].make(world)
        static = inspect.getattr_static(type(self.target), member, None)
        self.wrong: list[str] = []
        self.call: Callable[..., Any]
        if isinstance(static, property):
            self.call = lambda value: setattr(self.target, member, value)
            self.parameters = {member: inspect.Parameter("value", POSITIONAL)}
        else:
            self.call = getattr(self.target, member)
            function = self.call.__init__ if isinstance(self.call, type) else self.call  # type: ignore[misc]
            self.parameters = dict(inspect.signature(function).parameters)
            self.parameters.pop("self", None)

    async def run(self) -> None:
        tried = 0
        for name, parameter in self.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD or (
                self.is_free(name) and name not in self.given
            ):
                continue
            for what, value in BAD.items():
                await self.attempt(name, what, value)
                tried += 1
        assert tried, "there is an argument"
        assert self.wrong == []
        assert self.world.has_sound()
        assert isinstance(await self.outcome({}), Done), "with good values it works"
        if isinstance(self.target, aio.AudioSample | aio.Utterance) and self.member != "end":
            self.target.end()  # dropped in the middle of what it says it would warn

    def is_free(self, name: str) -> bool:
        """True for the ``*args`` of the callable."""
        return self.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL

    async def attempt(self, name: str, what: str, value: Any) -> None:
        before = state(self.target)
        place = f"{self.key}.{self.member}.{name}"
        outcome = await self.outcome({name: value})
        if isinstance(outcome, Done):
            self.world.put_away(outcome.result)
            if isinstance(self.target, aio.AudioSample):
                self.target.clear_nowait()  # half a frame, say
            return
        error = outcome
        is_patch = self.key.partition("Patch")[1] and name in WORDS
        if not isinstance(error, AudioException) and not (
            isinstance(error, TypeError) and (place in AUDIO or is_patch)
        ):
            self.wrong.append(f"{place}={what} raises {error!r}")
        elif isinstance(error, errors.FormatError) and not (
            name in str(error) or place in AUDIO or self.is_free(name)
        ):
            self.wrong.append(f"{place}={what} raises what does not name it: {error}")
        elif str(error) != str(error).encode("utf-8", "replace").decode():
            self.wrong.append(f"{place}={what} raises what cannot be printed: {error}")
        if state(self.target) != before:
            self.wrong.append(f"{place}={what} is refused, and changes something")

    async def outcome(self, wrong: dict[str, Any]) -> Any:
        """What a call comes to: an exception, or :class:`Done`."""
        args, kwargs = [], {}
        for name, parameter in self.parameters.items():
            if name in wrong:
                value = wrong[name]
            elif name in self.given and (
                parameter.default is parameter.empty or name in ("device", "source")
            ):
                value = self.given[name](self.world)
            else:
                continue
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                kwargs[name] = value
            elif self.is_free(name) or len(args) == list(self.parameters).index(name):
                args.append(value)
            else:
                kwargs[name] = value
        try:
            if self.member in BLOCKING:
                return Done(await asyncio.to_thread(self.call, *args, **kwargs))
            result = self.call(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await self.awaited(result)
        except Exception as error:
            return error
        return Done(result)

    async def awaited(self, waiting: Any) -> Any:
        """What a coroutine returns; None for one that still waits after some blocks."""
        if self.member in ON_A_THREAD:
            return await waiting
        task = asyncio.ensure_future(waiting)
        for turn in range(40):
            await asyncio.sleep(0)
            if task.done():
                return await task
            if turn > 8:
                self.world.device.step(16)
        await asyncio.wait([task], timeout=2 if self.key == "aio.AudioOutput" else 0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await task


ON_A_THREAD = ("aload", "aprepare")
"""Coroutines that wait for a worker thread, and for no device."""

BLOCKING = ("drain", "read_blocking")
"""Functions that are not for event loops."""

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


@dataclass
class Done:
    """A call that has raised nothing."""

    result: Any


def state(thing: Any) -> dict[str, Any]:
    """What an object of ours says of itself."""
    told = {}
    for name in dir(type(thing)):
        if not name.startswith("_") and isinstance(
            inspect.getattr_static(type(thing), name), property
        ):
            with contextlib.suppress(AudioException):
                value = getattr(thing, name)
                if isinstance(value, int | float | str | None):
                    told[name] = value
    return told
