"""Effects and generators whose functions are Python, for the rig."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from audiostream.realtime import opcodes
from audiostream.realtime.memory.layout import NODE, PARAMETER
from tests.realtime.rig import Form, Guarded, Rig

ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)

FOREVER = 1 << 60
"""The end of a generator's frames."""

Body = Callable[[np.ndarray, Any, list[np.ndarray]], int | None]


class Node:
    """A node whose function is Python.

    Parameters
    ----------
    body
        Takes the block, float32 (frames, channels), the state and the parameters' values: an
        array for each, of one number for a scalar.  Returns what the function does; None: all
        frames are filled.
    scalars
        Which of the parameters are scalars.
    enters, bypassed
        How it begins.
    """

    def __init__(
        self,
        rig: Any,
        serial: int,
        body: Body,
        values: tuple[float, ...] = (),
        *,
        scalars: Iterable[int] = (),
        latency: int = 0,
        fade: int = 0,
        enters: bool = False,
        bypassed: bool = False,
    ) -> None:
        self.rig = rig
        self.calls: list[int] = []
        self.memory = Guarded(1, NODE)
        self.params = Guarded(len(values), PARAMETER)
        self.scalars = set(scalars)
        self.arrays = [
            Guarded(1, np.float64) if k in self.scalars else Guarded(rig.slice, np.float32)
            for k in range(len(values))
        ]
        self.addresses = Guarded(len(values), np.int64)
        self.state = Guarded(4, np.float64)
        self.line = Guarded(latency * rig.channels, np.float32)
        for k, value in enumerate(values):
            self.params.array[k]["value"] = self.params.array[k]["goal"] = value
            self.params.array[k]["array"] = self.addresses.array[k] = self.arrays[k].address
            self.params.array[k]["kind"] = int(k in self.scalars)

        def run(block: int, frames: int, channels: int, *others: int) -> int:
            state, buffers, params, rate = others
            assert (state, buffers) == (self.state.address, 0)
            assert (params, rate) == (self.addresses.address, rig.rate)
            self.calls.append(frames)
            raw = (ctypes.c_float * (frames * channels)).from_address(block)
            samples = np.frombuffer(raw, np.float32).reshape(frames, channels)
            arrays = [array.array[:frames].copy() for array in self.arrays]
            filled = body(samples, self.state.array, arrays)
            return frames if filled is None else filled

        self._entry = ENTRY(run)
        self.record = record = self.memory.array[0]
        record["code"] = ctypes.cast(self._entry, ctypes.c_void_p).value
        record["serial"] = serial
        record["state"] = self.state.address
        record["params"] = self.params.address
        record["arrays"] = self.addresses.address
        record["param_count"] = len(values)
        record["latency"] = latency
        record["line"] = self.line.address
        record["fade"] = fade
        record["bypass"] = bypassed
        levels = {"enter": not enters, "leave": True, "wet": not bypassed, "dry": bypassed}
        for name, level in levels.items():
            record[name] = record[name + "_goal"] = level

    def word(self, name: str) -> int:
        return int(self.memory.array[0][name])

    @property
    def failed(self) -> int:
        return self.word("failed")

    @property
    def is_gone(self) -> bool:
        return self.word("gone") != 0

    def bypass(self, value: int) -> None:
        assert NODE.fields is not None
        offset = NODE.fields["bypass"][1]
        self.rig.form.store_word(self.memory.address + offset, value)

    def check(self) -> None:
        for memory in (self.memory, self.params, self.addresses, self.state, self.line):
            memory.check()
        for array in self.arrays:
            array.check()


class NodeList(Guarded):
    """A strip's list of effects, which it keeps."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        super().__init__(3 + 2 * len(nodes), np.int64)
        self.nodes = nodes


def listed(*nodes: Node, leaving: Iterable[Node] = (), tail: int = 0) -> NodeList:
    """A strip's list of effects, of which some are to leave."""
    gone = list(leaving)
    made = NodeList(nodes)
    latency = sum(node.word("latency") for node in nodes if node not in gone)
    pairs = [(node.memory.address, int(node not in gone)) for node in nodes]
    made.array[:] = [len(nodes), latency, tail, *(word for pair in pairs for word in pair)]
    return made


def attach(
    rig: Rig, *nodes: Node, leaving: Iterable[Node] = (), tail: int = 0, slot: int = 0
) -> NodeList:
    """Publish a strip's list of effects."""
    made = listed(*nodes, leaving=leaving, tail=tail)
    rig.held.append(made)
    rig.set("nodes", made.address, slot)
    return made


def times(samples: np.ndarray, _state: Any, params: list[np.ndarray]) -> None:
    """Gain: the first parameter."""
    samples *= params[0][:, None]


def playing(form: Form, data: np.ndarray, **shape: Any) -> Rig:
    """A voice that plays."""
    rig = Rig(form, **{"channels": 2, "capacity": 1024, **shape})
    rig.write(data)
    rig.play()
    return rig


def generating(rig: Rig, node: Node, slot: int = 0, at: float = 0.0) -> None:
    """Have a voice play a generator in place of its ring."""
    rig.held.append(node)
    record = rig.table[slot]
    record["generator"] = node.memory.address
    record["write"] = record["ended"] = FOREVER
    record["filling"] = 1
    rig.give(opcodes.PLAY, slot, at=at)
