"""The process that test_audit.py watches: a program, with audit.c preloaded; prints JSON."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np

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


def outputs(audit: Audit) -> dict[str, Any]:
    """A speaker with eight voices that play, starve, ramp, are cleared, stop and ring.

    Half of them are in groups that are faded, cleared, and duck one another, and beside
    them a thousand one-shot sounds are played in every ten seconds.
    """
    from audiostream.device.manual import ManualDevice
    from audiostream.engine.group import Group
    from audiostream.engine.output import Output
    from audiostream.engine.sound import Playback, SoundMemory
    from audiostream.engine.voice import Voice
    from audiostream.pcm import Format
    from audiostream.realtime.memory.layout import TIME_INFO

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
    }
    output.close()
    return {"counts": total, "happened": happened}


def inputs(audit: Audit) -> dict[str, Any]:
    """A microphone whose ring runs full, with a reader that is woken."""
    from audiostream.device.manual import ManualDevice
    from audiostream.engine.capture import Capture
    from audiostream.pcm import Format
    from audiostream.realtime.memory.layout import TIME_INFO

    capture = Capture(Format(48000, 2, 16), PERIOD, ManualDevice(), 0.5)
    capture.open()
    capture.start()
    wakeup = capture.wakeups.add()
    capture.set_wakeup(wakeup)
    block = np.full((2 * PERIOD, 2), 1000, np.int16)
    times = np.ones(1, TIME_INFO)
    rng = np.random.default_rng(2)
    total = dict.fromkeys(KINDS, 0)
    taken = 0
    for turn in range(CALLS // TURN):
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
