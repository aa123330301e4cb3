"""The audio thread's records, laid out as the engine does, but with no device around them.

A :class:`Rig` runs the kernels in one of two forms on the same kind of memory: *plain*, the
Python functions themselves, and *compiled*, the machine code of the library.  Every block
of memory lies between canaries, so that a stray address shows.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audiostream.device.portaudio.callback_path import CallCompiled
from audiostream.engine.memory import field_offsets, records
from audiostream.engine.meter import Meter
from audiostream.engine.strip import RAMPS
from audiostream.engine.wakeup import Wakeup
from audiostream.pcm import ENCODINGS
from audiostream.realtime import opcodes, shared
from audiostream.realtime.compile.kernels import kernels
from audiostream.realtime.input import capture
from audiostream.realtime.memory.layout import (
    COMMAND,
    COMMANDS,
    CUTS,
    HISTORY,
    NEVER,
    STREAM,
    TABLE,
    TIME_INFO,
    VOICE,
    WAKEUP,
)
from audiostream.realtime.memory.unit_layout import PRODUCER
from audiostream.realtime.output import render
from audiostream.realtime.units import oscillator

MARGIN = 256
CANARY = 0xA5

VOICE_AT = field_offsets(VOICE)
STREAM_AT = field_offsets(STREAM)


CLOCKS = {
    *("started", "heartbeat", "longest", "late", "seconds", "nanoseconds", "early"),
    *(name for name in STREAM.names or () if name.startswith("host_")),
}
ADDRESSES = {
    *("ring", "history", "cuts", "voices", "wakeup_table", "noted", "mix", "effected"),
    *("scaled", "spare", "levels", "factors", "sines", "table", "commands", "declick", "meter"),
    *("plan", "group", "bus", "one", "address", "nodes", "nodes_now"),
    *("generator", "strip"),
}
"""Fields that differ from run to run: the clock, and where memory lies."""


@dataclass(frozen=True)
class Form:
    """The entry points in one form, under the same names and with the same arguments."""

    name: str
    render: Any
    capture: Any
    load_word: Any
    store_word: Any
    request_wakeup: Any
    heard_at: Any
    time_at: Any
    monotonic_at: Any
    latest_time: Any
    swap_word: Any
    collect_woken: Any
    read_floats: Any
    encode_block: Any
    write_frames: Any
    request_room: Any
    read_encoded: Any
    spread: Any
    sine: Any


PLAIN = Form(
    "plain",
    render,
    capture,
    shared.load_word,
    shared.store_word,
    shared.request_wakeup,
    shared.heard_at,
    shared.time_at,
    shared.monotonic_at,
    shared.latest_time,
    shared.swap_word,
    shared.collect_woken,
    shared.read_floats,
    shared.encode_block,
    shared.write_frames,
    shared.request_room,
    shared.read_encoded,
    shared.spread,
    oscillator.sine,
)


@functools.lru_cache(maxsize=1)
def compiled() -> Form:
    """The library's machine code; the first call compiles or loads it."""
    k = kernels()
    return Form(
        "compiled",
        CallCompiled(k.render),
        CallCompiled(k.capture),
        k.load_word,
        k.store_word,
        k.request_wakeup,
        k.heard_at,
        k.time_at,
        k.monotonic_at,
        k.latest_time,
        k.swap_word,
        k.collect_woken,
        k.read_floats,
        k.encode_block,
        k.write_frames,
        k.request_room,
        k.read_encoded,
        k.spread,
        k.sine,
    )


class Guarded:
    """Zeroed memory between canaries, aligned to a cache line."""

    def __init__(self, count: int, dtype: Any) -> None:
        size = count * np.dtype(dtype).itemsize
        self._all = np.full(size + 2 * MARGIN + 64, CANARY, np.uint8)
        self._start = MARGIN + -(self._all.ctypes.data + MARGIN) % 64
        self._stop = self._start + size
        self._all[self._start : self._stop] = 0
        self.array: Any = self._all[self._start : self._stop].view(dtype)

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data) if self.array.size else 0

    def check(self) -> None:
        """Nothing outside was written to."""
        assert (self._all[: self._start] == CANARY).all(), "written before the memory"
        assert (self._all[self._stop :] == CANARY).all(), "written after the memory"


@dataclass
class Times:
    """PortAudio's time information, with exact binary fractions of a second."""

    record: Any = field(default_factory=lambda: np.zeros(1, TIME_INFO))

    @property
    def address(self) -> int:
        return int(self.record.ctypes.data)

    def set(self, now: float, dac: float) -> None:
        self.record[0] = (now, now, dac)


class Rig:
    """A stream's records, and what callers and the device do with them."""

    def __init__(
        self,
        form: Form,
        *,
        rate: int = 32768,
        channels: int = 2,
        encoding: int = 32,
        slice: int = 64,
        voices: int = 1,
        capacity: int = 256,
        latency: float = 0.0,
        wakeups: int = 2,
        ramp: int = 0,
        groups: int = 0,
    ) -> None:
        self.form = form
        self.channels = channels
        self.encoding = encoding
        self.slice = slice
        self.capacity = capacity
        self.rate = rate
        self.dtype = np.dtype(ENCODINGS[encoding])
        self._keep: list[Guarded] = []
        self.held: list[Any] = []  # what else its records point to
        self._producers: dict[tuple[int, ...], Any] = {}
        self.streams = records(STREAM, 1)
        self.stream = self.streams[0]
        self.address = int(self.streams.ctypes.data)
        self.table = records(VOICE, voices)
        self.wakeup_table = records(WAKEUP, wakeups)
        self.wakeup_table["fd"] = -1
        self.wakeups: dict[int, Wakeup] = {}
        self.noted = self._memory(wakeups, np.int64)
        self.mix = self._memory(slice * channels, np.float32)
        self.blocks = {
            name: self._memory(slice * channels, np.float32)
            for name in ("effected", "scaled", "spare")
        }
        self.rows = {
            name: self._memory(slice, np.float32) for name in ("levels", "factors", "sines")
        }
        self.factors = self._memory(TABLE, np.float32)
        self.one = self._memory(1, np.int64)
        self.one.array[0] = 1
        self.ring = self._memory(capacity * channels, np.float32)  # the capture's
        self.plan = self._memory(groups + 2, np.int64)
        self.meter = Meter(1 << 15)
        self.times = Times()
        for name, value in {
            "address": self.address,
            "rate": rate,
            "channels": channels,
            "encoding": encoding,
            "max_block": slice,
            "latency": latency,
            "capacity": capacity,
            "voices": self.table.ctypes.data,
            "wakeup_table": self.wakeup_table.ctypes.data,
            "noted": self.noted.address,
            "mix": self.mix.address,
            **{name: memory.address for name, memory in self.blocks.items()},
            **{name: memory.address for name, memory in self.rows.items()},
            "table": self.factors.address,
            "plan": self.plan.address,
            "meter": self.meter.address,
            "meter_mask": self.meter.mask,
            "one": self.one.address,
            "ring": self.ring.address,
            "voice_end": voices,
            "wake_commit": NEVER,
            "wakeup": -1,
            "master": 1.0,
            "master_goal": 1.0,
            "master_target": 1.0,
        }.items():
            self.stream[name] = value
        self.rings = []
        self.histories = []
        self.cuts = []
        self.commands = []
        self.meters = []
        for slot, record in enumerate(self.table):
            ring = self._memory((capacity + slice) * channels, np.float32)
            history = self._memory(3 * HISTORY, np.int64)
            cuts = self._memory(2 * CUTS, np.int64)
            self.rings.append(ring)
            self.histories.append(history)
            self.cuts.append(cuts)
            table = self._memory(COMMANDS, COMMAND)
            self.commands.append(table)
            declick = self._memory(channels, np.float32)
            meter = Meter(1 << 15)
            self.meters.append(meter)
            for name, value in {
                "ring": ring.address,
                "history": history.address,
                "cuts": cuts.address,
                "capacity": capacity,
                "wakeup": -1,
                "active": 1,
                "commands": table.address,
                "declick": declick.address,
                "address": self.voice_address(slot),
                "meter": meter.address,
                "meter_mask": meter.mask,
                "ramp": ramp,
                **{
                    name: 1.0
                    for ramp_name in RAMPS
                    for name in (ramp_name, f"{ramp_name}_goal")
                },
                "wake_read": NEVER,
                "wake_heard": NEVER,
                "wake_rested": NEVER,
            }.items():
                record[name] = value

    def _memory(self, count: int, dtype: Any) -> Guarded:
        memory = Guarded(count, dtype)
        self._keep.append(memory)
        return memory

    def check(self) -> None:
        """Nothing was written outside the memory of the records."""
        for memory in self._keep:
            memory.check()

    def at(self, name: str, slot: int | None = None) -> int:
        """Address of a word of the stream's record, or of a voice's."""
        if slot is None:
            return self.address + STREAM_AT[name]
        return self.voice_address(slot) + VOICE_AT[name]

    def voice_address(self, slot: int) -> int:
        return int(self.table.ctypes.data) + slot * VOICE.itemsize

    # --- callers -----------------------------------------------------------------

    def add_wakeup(self, index: int) -> Wakeup:
        wakeup = self.wakeups[index] = Wakeup(index)
        wakeup.may_close = True
        self.wakeup_table[index]["fd"] = wakeup.write_fd
        return wakeup

    def room(self, slot: int = 0) -> int:
        voice = self.table[slot]
        return self.capacity - (int(voice["write"]) - self.read(slot))

    def put(self, frames: Any, slot: int = 0, limit: int | None = None) -> int:
        """Write (frames, channels) of int8, int16 or float32; how many were taken."""
        source = np.ascontiguousarray(frames)
        limit = self.capacity if limit is None else limit
        producer = self.producer(limit, 8 * source.itemsize, source.shape[1], slot)
        return int(self.form.write_frames(producer, int(source.ctypes.data), len(source)))

    def producer(self, limit: int, encoding: int, channels: int, slot: int = 0) -> int:
        """The address of the record of one that writes to a voice."""
        values = (self.address, self.voice_address(slot), limit, encoding, channels)
        if values not in self._producers:
            self._producers[values] = records(PRODUCER, 1)
            self._producers[values][0] = values
        return int(self._producers[values].ctypes.data)

    def write(self, samples: Any, slot: int = 0) -> None:
        """Write mono samples to all channels; there is room for them."""
        assert self.put(np.asarray(samples, np.float32)[:, None], slot) == len(samples)

    def read(self, slot: int = 0) -> int:
        """The index up to which a voice's ring was read, as callers ask for it."""
        return int(self.form.load_word(self.at("read", slot)))

    def reads(self) -> list[int]:
        """Those of all voices."""
        return [self.read(slot) for slot in range(len(self.table))]

    def heard(self, slot: int = 0) -> int:
        """The index of a voice's ring that is heard now, as callers ask for it."""
        return int(self.form.load_word(self.at("heard", slot)))

    def gain_of(self, slot: int = 0) -> tuple[float, int]:
        """A voice's gain before the next frame, and the frames that it still moves for."""
        return float(self.table[slot]["gain"]), int(self.table[slot]["gain_remaining"])

    def set(self, name: str, value: int, slot: int | None = None) -> None:
        self.form.store_word(self.at(name, slot), value)

    def give(self, kind: int, slot: int = 0, **fields: float) -> int:
        """Give a command: now, unless there is `at`, seconds; its number."""
        number = int(self.table[slot]["command_count"])
        record = self.commands[slot].array[number % COMMANDS]
        if "frames" in fields:
            fields["over"] = fields.pop("frames")
        fields["order"] = 2 * number + fields.pop("snap", 0)
        for name in COMMAND.names or ():
            record[name] = {"opcode": kind, **fields}.get(name, 0)
        self.set("command_count", number + 1, slot)
        return number

    def active(self, value: int, slot: int = 0) -> None:
        """Whether the slot is in use."""
        self.set("active", value, slot)

    def play(self, slot: int = 0) -> None:
        self.give(opcodes.PLAY, slot)

    def playing(self, value: int, slot: int = 0) -> None:
        """0: not; 1: yes; 2: until the clear that was just asked for is done."""
        self.give((opcodes.PAUSE, opcodes.PLAY, opcodes.STOP)[value], slot)

    def pause(self, slot: int = 0, frames: int = 0) -> None:
        self.give(opcodes.PAUSE, slot, frames=frames, snap=1)

    def resume(self, slot: int = 0, frames: int = 0) -> None:
        self.give(opcodes.RESUME, slot, frames=frames)

    def clear(self, fade: int = 0, slot: int = 0) -> None:
        voice = self.table[slot]
        voice["fade"] = fade
        self.set("ended", int(voice["write"]), slot)
        self.set("skip", int(voice["write"]), slot)

    def stop(self, fade: int = 0, slot: int = 0) -> None:
        self.clear(fade, slot)
        self.give(opcodes.STOP, slot)

    def gain(self, target: float, frames: int, slot: int = 0) -> None:
        self.give(opcodes.GAIN, slot, value=target, frames=frames, snap=1)

    def arm(self, index: str, at: int, slot: int = 0) -> bool:
        """Wait for a voice's "read" or "heard" to reach `at`; True if it has."""
        wake = self.at(f"wake_{index}", slot)
        return bool(self.form.request_wakeup(wake, self.at(index, slot), at, self.at("armed")))

    def arm_commit(self, at: int) -> bool:
        """Wait for the capture to reach `at`; True if it has."""
        wake = self.at("wake_commit")
        return bool(self.form.request_wakeup(wake, self.at("commit"), at, self.at("armed")))

    def take_woken(self, wakeup: int) -> list[int]:
        """The slots that a wakeup was signalled for."""
        slots = Guarded(len(self.table), np.int64)
        count = self.form.collect_woken(self.address, wakeup, slots.address)
        slots.check()
        return [int(slot) for slot in slots.array[:count]]

    def master(self, target: float, frames: int) -> None:
        self.stream["master_target"] = target
        self.stream["master_frames"] = frames
        self.set("master_change", int(self.stream["master_change"]) + 1)

    # --- the device --------------------------------------------------------------

    def render(self, frames: int, *, latency: int | None = 0, flags: int = 0) -> np.ndarray:
        """Have a block rendered; `latency` in frames, None: the device gives no times."""
        now = 1.0 + int(self.stream["frames"]) / self.rate
        dac = 0.0 if latency is None else now + latency / self.rate
        return self.render_at(frames, now=now, dac=dac, flags=flags)

    def render_at(self, frames: int, *, now: float, dac: float, flags: int = 0) -> np.ndarray:
        """Have a block rendered at a time of the device's (seconds), heard at another."""
        block = Guarded(frames * self.channels, self.dtype)
        block.array.view(np.uint8)[:] = CANARY  # it must fill all of it
        self.times.set(now, dac)
        status = self.form.render(
            0, block.address, frames, self.times.address, flags, self.address
        )
        assert status == 0
        block.check()
        return np.array(block.array.reshape(frames, self.channels))

    def capture(
        self, block: np.ndarray | None, frames: int = 0, flags: int = 0, now: float = 1.0
    ) -> None:
        """Have a block captured, or `frames` of no data at all; its time is `now`."""
        address = 0
        if block is not None:
            block = np.ascontiguousarray(block)
            address, frames = int(block.ctypes.data), len(block)
        self.times.set(now, now)
        status = self.form.capture(address, 0, frames, self.times.address, flags, self.address)
        assert status == 0

    def read_ring(self, index: int, frames: int) -> tuple[bool, np.ndarray]:
        target = Guarded(frames * self.channels, np.float32)
        whole = self.form.read_floats(self.address, index, frames, target.address)
        target.check()
        return bool(whole), np.array(target.array.reshape(frames, self.channels))

    def take(
        self, index: int, frames: int, limit: int = 1 << 20, encoding: int = 16
    ) -> tuple[int, np.ndarray]:
        """What the kernel says, and the frames in an encoding of its caller's."""
        kind = {8: np.int8, 16: np.int16, 32: np.float32}[encoding]
        target = Guarded(frames * self.channels, kind)
        found = self.form.read_encoded(
            self.address, index, frames, limit, encoding, target.address
        )
        target.check()
        return int(found), np.array(target.array.reshape(frames, self.channels))

    # --- to compare --------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that two runs of one scenario must agree on, floats by their bits."""
        found: dict[str, Any] = {}
        for name in STREAM.names or ():
            if name not in CLOCKS | ADDRESSES:
                found[name] = self.streams[name].tobytes()
        for name in VOICE.names or ():
            if name not in ADDRESSES:
                found[f"voice {name}"] = self.table[name].tobytes()
        for name, memories in (
            ("rings", self.rings),
            ("histories", self.histories),
            ("cuts", self.cuts),
            ("others", [self.ring, self.mix, self.noted]),
        ):
            found[name] = [memory.array.tobytes() for memory in memories]
        found["noted wakeups"] = self.wakeup_table["noted"].tolist()
        found["signals"] = {index: signals(wakeup) for index, wakeup in self.wakeups.items()}
        return found


def signals(wakeup: Wakeup) -> int:
    """How often a wakeup was signalled since the last look."""
    try:
        data = os.read(wakeup.fd, 1 << 16)
    except BlockingIOError:
        return 0
    if hasattr(os, "eventfd"):
        return int.from_bytes(data, "little")
    return len(data) // 8


def word(value: int = 0) -> tuple[Any, int]:
    """A word by itself, and its address."""
    memory = ctypes.c_int64(value)
    return memory, ctypes.addressof(memory)
