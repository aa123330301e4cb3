"""The process that test_audit.py watches: a program, with audit.c preloaded; prints JSON."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np

from audiostream.engine.memory import records
from audiostream.realtime.compile.intrinsics import smaller
from audiostream.realtime.compile.kernels import compile_kernels, load
from audiostream.realtime.memory.atomics import doubles_at, floats_at, words_at
from audiostream.realtime.memory.layout import NODE, PARAMETER

FOREVER = 1 << 60

KINDS = ("allocations", "frees", "locks", "waits", "interpreter", "writes")
PYTHON = (
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyEval_AcquireThread",
    "PyErr_Occurred",
)
CALLS = 40_000
TURN = 50
PERIOD = 128


class Audit:
    """The preloaded library."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)  # gives the interpreter's lock up, as PortAudio does
        # Machine code finds the counting ones, wherever Python has its own.
        for name in PYTHON:
            function = getattr(self._library, name)
            address = ctypes.cast(function, ctypes.c_void_p).value
            llvmlite.binding.add_symbol(name, address)

    def counts(self) -> dict[str, int]:
        values = (ctypes.c_long * len(KINDS))()
        self._library.audit_counts(values)
        return dict(zip(KINDS, values, strict=True))

    def run(self, function: int, frames: Any, **where: int) -> int:
        """Have a callback called once for each of `frames`, on a thread of its own."""
        pointer = ctypes.c_void_p
        return int(
            self._library.audit_run(
                pointer(function),
                pointer(where.get("input", 0)),
                pointer(where.get("output", 0)),
                pointer(where.get("times", 0)),
                pointer(where.get("user", 0)),
                pointer(frames.ctypes.data),
                ctypes.c_long(len(frames)),
            )
        )

    def counted(self, function: int, frames: Any, **where: int) -> dict[str, int]:
        """What a run does, by kind."""
        before = self.counts()
        assert self.run(function, frames, **where) in (0, where.get("status", 0))
        after = self.counts()
        return {kind: after[kind] - before[kind] for kind in KINDS}

    @property
    def offender(self) -> int:
        address = ctypes.cast(self._library.audit_offender, ctypes.c_void_p).value
        assert address is not None
        return address


FADE = 240
LATE = 100


def halves(
    block: int, frames: int, channels: int, state: int, buffers: int, params: int, rate: int
) -> int:
    """Take a half of the scalar, and the parameter's part, of a block."""
    values = floats_at(block, frames * channels)
    levels = floats_at(words_at(params, 2)[0], frames)
    level = np.float32(0.5 * doubles_at(words_at(params, 2)[1], 1)[0])
    for i in range(frames * channels):
        values[i] *= level * levels[i // channels]
    return frames


def fails(
    block: int, frames: int, channels: int, state: int, buffers: int, params: int, rate: int
) -> int:
    """Give something infinite after some frames."""
    words = words_at(state, 1)
    words[0] += frames
    if words[0] > 2000:
        floats_at(block, 1)[0] = np.float32(np.inf)
    return frames


def beeps(
    block: int, frames: int, channels: int, state: int, buffers: int, params: int, rate: int
) -> int:
    """Fill 300 frames, and end."""
    words = words_at(state, 1)
    count = smaller(frames, 300 - words[0])
    values = floats_at(block, frames * channels)
    for i in range(count * channels):
        values[i] = np.float32(0.01)
    words[0] += count
    return count


class Effects:
    """Nodes with compiled functions, in lists that change as they play."""

    def __init__(self) -> None:
        entries = {"halves": halves, "fails": fails, "beeps": beeps}
        self._code = load(compile_kernels(entries), entries)
        self.nodes: list[Any] = []
        self._kept: list[Any] = []

    def make(self, name: str, *, fade: int = FADE, latency: int = 0) -> int:
        """A node that enters while its strip sounds; its number, which is its serial, too."""
        node = records(NODE, 1)
        params = np.zeros(2, PARAMETER)
        arrays = [np.zeros(1024, np.float32), np.zeros(1)]
        addresses = np.array([array.ctypes.data for array in arrays])
        line, state = np.zeros(2 * LATE, np.float32), np.zeros(1, np.int64)
        params["value"] = params["goal"] = 1.0
        params["array"] = addresses
        params["kind"] = 0, 1
        for field, value in {
            "code": self._code[name],
            "serial": len(self.nodes),
            "state": state.ctypes.data,
            "params": params.ctypes.data,
            "arrays": addresses.ctypes.data,
            "param_count": 2,
            "latency": latency,
            "line": line.ctypes.data,
            "fade": fade,
            "leave": 1.0,
            "leave_goal": 1.0,
            "wet": 1.0,
            "wet_goal": 1.0,
        }.items():
            node[0][field] = value
        self.nodes.append(node)
        self._kept += [params, arrays, addresses, line, state]
        return len(self.nodes) - 1

    def address(self, number: int) -> int:
        return int(self.nodes[number].ctypes.data)

    def publish(self, strip: Any, numbers: list[int], leaving: int = -1) -> None:
        """Have a strip run these, one of which is to leave."""
        stay = [number for number in numbers if number != leaving]
        latency = sum(int(self.nodes[number][0]["latency"]) for number in stay)
        pairs = [(self.address(number), int(number != leaving)) for number in numbers]
        words = np.array([len(numbers), latency, 0, *np.ravel(pairs)], np.int64)
        self._kept.append(words)
        strip.set_word("nodes", int(words.ctypes.data))

    def words(self, name: str) -> list[int]:
        return [int(node[0][name]) for node in self.nodes]


def outputs(audit: Audit) -> dict[str, Any]:
    """A speaker with eight voices that play, starve, ramp, are cleared, stop and ring.

    Half of them are in groups that are faded, cleared, and duck one another, and beside
    them a thousand one-shot sounds are played in every ten seconds.  Effects come, go, fail and
    are bypassed, in a voice, a group and the whole mix, and generators play.
    """
    from audiostream.device.manual import ManualDevice
    from audiostream.engine.group import Group
    from audiostream.engine.output import Output
    from audiostream.engine.sound import Playback, SoundMemory
    from audiostream.engine.voice import Voice
    from audiostream.pcm import Format
    from audiostream.realtime.memory.layout import TIME_INFO
    from audiostream.realtime.opcodes import SET

    output = Output(Format(48000, 2, 16), PERIOD, ManualDevice(), voices=32)
    output.open()
    output.start()
    groups = [Group(output) for _ in range(2)]
    groups[0].duck(groups[1], 0.25, 0.01, 0.01, 0.01)
    into = [None, None, *groups]
    voices = [
        Voice(output, Format(48000, 1 + n % 2, 16), 0.1, group=into[n % 4]) for n in range(8)
    ]
    click = SoundMemory(output, np.full((200, 2), 0.01, np.float32))
    playbacks: list[Playback] = []
    effects = Effects()
    strips = [voices[0].strip, groups[0].strip, output.main_strip()]
    lists: list[list[int]] = [[] for _ in strips]
    generators: list[Playback] = []
    wakeup = output.wakeups.add()
    for voice in voices:
        voice.use_wakeup(wakeup)
        voice.play()
    rng = np.random.default_rng(1)
    block = np.zeros((2 * PERIOD, 2), np.int16)
    times = np.zeros(1, TIME_INFO)
    done = 0
    signals = 0
    total = dict.fromkeys(KINDS, 0)
    while done < CALLS:
        for number, voice in enumerate(voices):
            if rng.random() < 0.8:
                count = int(rng.integers(1, 6000))
                voice.write_nowait(np.full((count, 1 + number % 2), 1000, np.int16))
            if rng.random() < 0.05:
                voice.clear(float(rng.choice([0.0, 0.005, 0.02])))
            if rng.random() < 0.05:
                voice.fade(
                    float(rng.random()),
                    0.01,
                    rng.choice(["linear", "exponential", "equal_power"]),
                )
            if rng.random() < 0.03:
                voice.stop()
            if rng.random() < 0.3:
                voice.play()
            if rng.random() < 0.5:
                voice.strip.arm("read", voice.write_index() - int(rng.integers(0, 2000)))
                voice.strip.arm("heard", voice.write_index() - int(rng.integers(0, 2000)))
        for group in groups:
            if rng.random() < 0.2:
                group.clear(float(rng.choice([0.0, 0.005, 0.02])))
            if rng.random() < 0.2:
                group.fade(float(rng.random()), 0.01, "exponential")
            if rng.random() < 0.2:
                group.set_pan(float(rng.uniform(-1, 1)))
        for _ in range(14):  # in the eighth of a second that a turn lasts
            pan = float(rng.uniform(-1, 1))
            playbacks.append(Playback(click, pan=pan, group=into[int(rng.integers(4))]))
        number = (done // TURN) % 3
        here = lists[number]
        if len(here) > 2:
            effects.publish(strips[number], here, leaving=here[0])
            del here[0]  # which is gone when the next one comes
        else:
            kind = "fails" if rng.random() < 0.3 else "halves"
            here.append(effects.make(kind, latency=int(rng.choice([0, LATE]))))
            effects.publish(strips[number], here)
        for one in here:
            effects.nodes[one][0]["bypass"] = rng.random() < 0.2
        if lists[0]:
            how = {"node": lists[0][-1], "parameter": int(rng.integers(2)), "frames": 500}
            voices[0].commands.give(SET, value=float(rng.random()), **how)
        beep = Playback(click)
        beep.end_index = FOREVER
        record = beep.strip.record
        record["generator"] = effects.address(effects.make("beeps"))
        record["write"] = record["ended"] = FOREVER
        generators.append(beep)
        if done % (40 * TURN) == 0:
            record = output.record[0]
            record["master_target"], record["master_frames"] = float(rng.random()), 500
            change = output.word("master_change") + 1
            output.kernels.store_word(output.address_of("master_change"), change)
        frames = rng.integers(1, 2 * PERIOD, TURN).astype(np.uint64)
        now = 1 + done * PERIOD / 48000
        times[0] = (now, now, now + 0.01 * rng.random())
        did = audit.counted(
            output.kernels.render,
            frames,
            output=block.ctypes.data,
            times=times.ctypes.data,
            user=output.address,
        )
        for kind in KINDS:
            total[kind] += did[kind]
        done += TURN
        signals += 1
        wakeup.clear()
    stats = output.stats()
    happened = {
        "callbacks": stats.callbacks,
        "wakeups": stats.wakeups,
        "starved": stats.starved,
        "underruns": stats.underruns,
        "cuts": sum(voice.strip.word("cut_count") for voice in voices),
        "heard": sum(voice.strip.word("heard") for voice in voices),
        "shots": sum(playback.is_over() for playback in playbacks),
        "group clears": sum(group.strip.word("read") for group in groups),
        "effects' frames": sum(effects.words("ran")),
        "effects gone": sum(effects.words("gone")),
        "effects failed": sum(word < 0 for word in effects.words("failed")),
        "generators": sum(generator.is_over() for generator in generators),
        "tails": voices[0].strip.word("rested"),
    }
    output.close()
    return {"counts": total, "happened": happened}


def inputs(audit: Audit) -> dict[str, Any]:
    """A microphone with effects whose ring runs full, with a reader that is woken."""
    from audiostream.device.manual import ManualDevice
    from audiostream.engine.capture import Capture
    from audiostream.pcm import Format
    from audiostream.realtime.memory.layout import TIME_INFO

    capture = Capture(Format(48000, 2, 16), PERIOD, ManualDevice(), 0.5)
    capture.open()
    capture.start()
    wakeup = capture.wakeups.add()
    capture.set_wakeup(wakeup)
    effects = Effects()
    here: list[int] = []
    block = np.full((2 * PERIOD, 2), 1000, np.int16)
    times = np.ones(1, TIME_INFO)
    rng = np.random.default_rng(2)
    total = dict.fromkeys(KINDS, 0)
    taken = 0
    for turn in range(CALLS // TURN):
        if len(here) > 2:
            effects.publish(capture.main_strip(), here, leaving=here[0])
            del here[0]
        else:
            here.append(effects.make("halves", latency=LATE * (turn % 2)))
            effects.publish(capture.main_strip(), here)
        wake, commit, armed = map(capture.address_of, ("wake_commit", "commit", "armed"))
        capture.kernels.request_wakeup(wake, commit, capture.word("commit") + PERIOD, armed)
        frames = rng.integers(0 if turn == 3 else 1, 2 * PERIOD, TURN).astype(np.uint64)
        did = audit.counted(
            capture.kernels.capture,
            frames,
            input=block.ctypes.data if turn % 5 else 0,
            times=times.ctypes.data,
            user=capture.address,
        )
        for kind in KINDS:
            total[kind] += did[kind]
        wakeup.clear()
        if turn % 3 == 0:
            taken += len(capture.take_bytes(4 * PERIOD) or b"")
    stats = capture.stats()
    happened = {
        "callbacks": stats.callbacks,
        "wakeups": stats.wakeups,
        "overruns": stats.overruns,
        "dropped": capture.dropped,
        "taken": taken,
        "effects' frames": sum(effects.words("ran")),
        "effects gone": sum(effects.words("gone")),
    }
    capture.close()
    return {"counts": total, "happened": happened}


def offences(audit: Audit) -> dict[str, dict[str, int]]:
    """Callbacks that do wrong, ten calls each: what the counters say."""
    from numba import cfunc, types

    from audiostream.device.portaudio.callback_path import ARGUMENTS

    word, long = types.int64, types.uint64
    signature = types.int32(word, word, long, word, long, word)

    frames = np.full(10, 200, np.uint64)

    @cfunc(signature, nopython=True)
    def allocates(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
        return np.int32(np.zeros(frames).sum())

    @cfunc(signature, nopython=True)
    def raises(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
        if frames > 100:
            raise ValueError("on purpose")
        return np.int32(0)

    thunk = ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)(lambda *arguments: 0)
    python = ctypes.cast(thunk, ctypes.c_void_p).value
    assert python is not None
    return {
        "C": audit.counted(audit.offender, frames),
        "allocates": audit.counted(allocates.address, frames),
        "raises": audit.counted(raises.address, frames),
        "Python": audit.counted(python, frames),
    }


def main() -> None:
    audit = Audit(sys.argv[1])
    found = {"offences": offences(audit), "output": outputs(audit), "input": inputs(audit)}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
