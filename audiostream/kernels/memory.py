"""The memory of one instance: its state, its buffers and its parameters; caller thread.

The audio thread, or the caller of `process`, has it until it is handed back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from audiostream.checks import shown
from audiostream.errors import KernelError
from audiostream.kernels.contract import KINDS, Contract
from audiostream.realtime.memory.layout import PARAMETER

__all__ = ("Fields", "Memory", "state_dtype")

LARGEST = 1 << 28
"""Values of a buffer: a gigabyte."""


def state_dtype(contract: Contract, channels: int) -> np.dtype[Any]:
    """The record of a kernel's state, aligned."""
    fields = []
    for name, (kind, shape) in contract.state.items():
        sizes = tuple(channels if n == "channels" else int(n) for n in shape)
        fields.append((name, KINDS[kind], sizes) if sizes else (name, KINDS[kind]))
    return np.dtype(fields, align=True)


class Fields:
    """A state's fields as attributes, one that has the name of a method of numpy's, too: sum.

    Parameters
    ----------
    record : numpy.record
        What the state holds.
    """

    __slots__ = ("_record",)

    def __init__(self, record: Any) -> None:
        object.__setattr__(self, "_record", record)

    def __getattr__(self, name: str) -> Any:
        if name not in self._record.dtype.names:
            raise AttributeError(f"the state has no field {name!r}")
        return self._record[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._record.dtype.names:
            raise AttributeError(f"the state has no field {name!r}")
        self._record[name] = value


class Memory:
    """What one instance of a kernel works on, at one rate and number of channels.

    Parameters
    ----------
    contract : Contract
    rate, channels : int
    max_block : int
        The most frames of a call.
    values : mapping
        Parameter -> its value to begin with.
    keywords : mapping
        Own keywords -> values.

    Attributes
    ----------
    state : record array of shape (1,)
    buffers : list of ndarray
        Float32, C-contiguous.
    params : ndarray of PARAMETER
    arrays : list of ndarray
        A parameter's values: float32 (max_block,); of a scalar float64 (1,).
    latency : int
        Frames.
    tail : float
        Seconds.

    Raises
    ------
    KernelError
        If the number of channels, a buffer's shape, the latency or the tail cannot be.
    """

    def __init__(
        self,
        contract: Contract,
        rate: int,
        channels: int,
        max_block: int,
        values: Mapping[str, float],
        keywords: Mapping[str, Any],
    ) -> None:
        contract.check_channels(channels)
        self.contract, self.rate, self.channels = contract, rate, channels
        self.state = np.recarray((1,), state_dtype(contract, channels))
        self.state.view(np.uint8)[:] = 0
        self.buffers = [
            np.full(self._shape(name, shape, keywords), 0, np.float32)  # touches its pages
            for name, shape in contract.buffers.items()
        ]
        known = {**values, **keywords}
        self.latency = int(self._number("latency", contract.latency, known))
        self.tail = float(self._number("tail", contract.tail, known))
        self._place_parameters(values, max_block)
        self._buffer_words = np.array(
            [n for one in self.buffers for n in (one.ctypes.data, *one.shape)] or [0], np.int64
        )
        if contract.init is not None:
            own = contract.arguments(contract.init, 0, keywords)
            state = [Fields(self.state[0])] if contract.state else []
            contract.init(*state, *self.buffers, rate, channels, **own)

    def _shape(self, name: str, shape: Any, keywords: Mapping[str, Any]) -> tuple[int, ...]:
        given = shape(self.rate, self.channels, **self.contract.arguments(shape, 2, keywords))
        sizes = given if isinstance(given, tuple) else (given,)
        if not all(isinstance(n, int | np.integer) and n > 0 for n in sizes) or (
            math.prod(sizes) > LARGEST
        ):
            raise KernelError(
                f"buffer {name!r} of kernel {self.contract.place} has the shape "
                f"{shown(given)}; its function gives whole numbers above 0, at most {LARGEST} "
                "values in all"
            )
        return tuple(int(n) for n in sizes)

    def _number(self, name: str, declared: Any, known: Mapping[str, Any]) -> float:
        if not callable(declared):
            return float(declared)
        value = declared(self.rate, **self.contract.arguments(declared, 1, known))
        if not isinstance(value, int | float | np.number) or not value >= 0:
            raise KernelError(
                f"{name} of kernel {self.contract.place} is {shown(value)}; its function gives "
                "a number of at least 0"
            )
        return float(value)

    def _place_parameters(self, values: Mapping[str, float], max_block: int) -> None:
        parameters = list(self.contract.parameters.values())
        self.params = np.zeros(max(len(parameters), 1), PARAMETER)
        self.arrays: list[np.ndarray] = []
        self._array_words = np.zeros(max(len(parameters), 1), np.int64)
        for k, parameter in enumerate(parameters):
            value = values[parameter.name]
            is_scalar = parameter.kind == "scalar"
            array = np.full(
                1 if is_scalar else max_block, value, np.float64 if is_scalar else np.float32
            )
            self.arrays.append(array)
            self.params[k]["value"] = self.params[k]["goal"] = value
            self.params[k]["kind"] = int(is_scalar)
            self.params[k]["array"] = self._array_words[k] = array.ctypes.data

    def addresses(self) -> tuple[int, int, int]:
        """Of the state, of the buffers' words and of the parameters' arrays' addresses.

        A buffer's words are its address and its shape.
        """
        return (
            self.state.ctypes.data if self.contract.state else 0,
            self._buffer_words.ctypes.data,
            self._array_words.ctypes.data,
        )
