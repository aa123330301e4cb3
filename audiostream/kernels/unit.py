"""Instances of kernels, effects and generators alike, as their users hold them; any thread."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from audiostream.checks import check_choice, check_flag, check_integer, check_number, shown
from audiostream.errors import AudioException, FormatError, KernelError
from audiostream.kernels.compiled import Compiled, compiled_for
from audiostream.kernels.contract import Contract
from audiostream.kernels.memory import Fields, Memory
from audiostream.pcm import MAX_CHANNELS

__all__ = ("CURVES", "Attachment", "Move", "Unit")

CURVES = ("linear", "exponential", "equal_power")

OWN = ("smooth", "bypass", "_home", "_refusal")
"""Attributes that are set as those of any object."""

GRID = 32
"""Frames of a call while a scalar parameter moves."""

LONGEST = 86400.0
"""Seconds of a ramp: a day."""

SMOOTH = 0.02
"""Seconds of a ramp where none are said."""

Move = tuple[int, float, float]
"""Number of a parameter, its new value, seconds on the way there."""


class Attachment(Protocol):
    """What runs a unit, as the unit sees it; any thread."""

    rate: int
    latency: int

    def move(self, moves: list[Move], curve: str, at: float | None) -> float:
        """Move parameters, all on one frame; by how many seconds that is late."""

    def set_bypass(self, bypass: bool) -> None:
        """Let the dry signal through, or no more."""

    def output(self, name: str) -> float:
        """A field of the state, as the last block has left it."""

    def failure(self) -> KernelError | None:
        """What went wrong on the audio thread."""

    def cost(self) -> float:
        """Share of a core."""

    def restart(self) -> None:
        """Begin again with memory that is new."""

    def describe(self) -> str:
        """Where it is."""


class Unit:
    """One instance of a kernel: an effect in a list, or a generator that is played.

    Made by calling a kernel: ``echo(seconds=0.2)``.  Its parameters are attributes, which read
    as their goals; setting one moves it there over :attr:`smooth`.  The fields of the state
    that the kernel names in ``outputs`` are attributes that can be read.
    """

    __slots__ = (
        "__weakref__",
        "_attachment",
        "_bypass",
        "_contract",
        "_home",
        "_keywords",
        "_refusal",
        "_smooth",
        "_values",
    )

    if TYPE_CHECKING:  # for mypy, which does not see what __init__ sets
        _attachment: Attachment | None
        _bypass: bool
        _contract: Contract
        _home: Any
        _keywords: dict[str, Any]
        _refusal: KernelError | None
        _smooth: float
        _values: dict[str, float]

    def __init__(
        self, contract: Contract, values: dict[str, float], keywords: dict[str, Any]
    ) -> None:
        own = object.__setattr__
        own(self, "_contract", contract)
        own(self, "_values", values)
        own(self, "_keywords", keywords)
        own(self, "_smooth", SMOOTH)
        own(self, "_bypass", False)
        own(self, "_attachment", None)
        own(self, "_home", None)
        own(self, "_refusal", None)

    # --- parameters --------------------------------------------------------------

    @property
    def values(self) -> dict[str, Any]:
        """Goals of the parameters, and own keywords: ``echo(**values)`` makes it again."""
        return {**self._values, **self._keywords}

    def set(
        self,
        *,
        over: float | None = None,
        curve: str = "linear",
        at: float | None = None,
        **values: float,
    ) -> float:
        """Move parameters, all of them from one frame on; any thread.

        Parameters
        ----------
        over : float, optional
            Seconds of the ramps, 0 for a step; :attr:`smooth` if not given.  Parameters that
            the kernel declares as steps jump, and so do all while it is on no stream.
        curve : str
            "linear", "exponential" or "equal_power", as for a gain.
        at : float, optional
            Seconds on the stream's clock; in the next block if not given.
        **values : float
            Parameter -> where to.

        Returns
        -------
        float
            Seconds by which `at` is past; it then happens at once.

        Raises
        ------
        FormatError
            For a value that is no finite number, or outside of the parameter's limits; for
            `at` while it is not on a stream yet.
        AttributeError
            For a name that is no parameter.
        KernelError
            If it has failed on the audio thread.
        """
        known = self._contract.parameters
        for name in values:
            if name not in known:
                raise AttributeError(self._unknown(name))
        checked = {
            name: self._contract.check(name, value, self._keywords)
            for name, value in values.items()
        }
        check_choice(curve, "curve", CURVES)
        seconds = self._smooth if over is None else over
        seconds = check_number(seconds, "over", 0, LONGEST, "it is in seconds")
        attachment = self._usable()
        if attachment is None and at is not None and not self._is_over():
            raise FormatError(
                f"at={shown(at)} is a time of a stream, and this {self._contract.place.name} "
                "is on none; play it or put it in a list of effects first (in a coroutine, "
                "await fx.ready(stream) before)"
            )
        late = 0.0
        if attachment is not None and checked:
            numbers = {name: k for k, name in enumerate(known)}
            moves = [
                (numbers[name], value, 0.0 if known[name].kind == "step" else seconds)
                for name, value in checked.items()
            ]
            late = attachment.move(moves, curve, at)
        self._values.update(checked)
        return late

    def _is_over(self) -> bool:
        """True once what it was on has ended or closed, where a time means nothing any more."""
        home = self._home and self._home()
        return self._home is not None and (home is None or not home.is_in_use())

    def _unknown(self, name: str) -> str:
        parameters = ", ".join(self._contract.parameters) or "none"
        return f"{self._contract.place.name} has no parameter {name!r}; it has {parameters}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # before __init__, when it is unpickled, say
            raise AttributeError(name)
        if name in self._values:
            return self._values[name]
        if name in self._contract.outputs:
            attachment = self._attachment
            return 0.0 if attachment is None else attachment.output(name)
        if name in self._keywords:
            return self._keywords[name]
        raise AttributeError(self._unknown(name))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN:
            object.__setattr__(self, name, value)
        elif name in self._contract.parameters:
            self.set(**{name: value})
        elif name in self._keywords:
            raise AttributeError(
                f"{name} is fixed when {self._contract.place.name} is made; make another one: "
                f"{self._contract.place.name}({name}={shown(value)})"
            )
        else:
            raise AttributeError(self._unknown(name))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._contract.parameters, *self._contract.outputs]

    @property
    def smooth(self) -> float:
        """Seconds over which parameters move where none are said."""
        return self._smooth

    @smooth.setter
    def smooth(self, seconds: float) -> None:
        seconds = check_number(seconds, "smooth", 0, LONGEST, "it is in seconds")
        object.__setattr__(self, "_smooth", seconds)

    # --- what it does where it is attached ---------------------------------------

    @property
    def bypass(self) -> bool:
        """True: the dry signal goes through in its place; it moves there over 5 ms.

        Once that is done the kernel is not called.  Afterwards it begins with a state of zeros:
        what it knew of is long past.  A generator has no dry signal, and plays on.
        """
        return self._bypass

    @bypass.setter
    def bypass(self, bypass: bool) -> None:
        bypass = check_flag(bypass, "bypass")
        object.__setattr__(self, "_bypass", bypass)
        if self._attachment is not None:
            self._attachment.set_bypass(bypass)

    @property
    def latency(self) -> float:
        """Seconds by which what comes out is late.

        Raises
        ------
        KernelError
            If that depends on a stream's rate, and it is on none.
        """
        if self._contract.latency == 0:
            return 0.0
        if self._attachment is None:
            raise KernelError(
                f"the latency of {self._contract.place.name} is a number of frames; it is "
                "known once it is in a list of effects"
            )
        return float(self._attachment.latency / self._attachment.rate)

    @property
    def cost(self) -> float:
        """Share of a core that it took so far; 0.0 where it is not in use."""
        return 0.0 if self._attachment is None else self._attachment.cost()

    @property
    def error(self) -> KernelError | None:
        """Why it was refused, or what went wrong on the audio thread; None if nothing did."""
        if self._refusal is not None:
            return self._refusal
        return None if self._attachment is None else self._attachment.failure()

    def _usable(self) -> Attachment | None:
        """What runs it, if anything; raises what went wrong there."""
        if error := self.error:
            raise error
        return self._attachment

    def reset(self) -> None:
        """Begin again with a state of zeros, also after an error.

        What waits for its time is taken back.  A generator is played again instead.
        """
        self._refusal = None
        if self._attachment is not None:
            self._attachment.restart()

    def copy(self) -> Unit:
        """Another one with the same values, in no list."""
        made = Unit(self._contract, dict(self._values), dict(self._keywords))
        made.smooth = self._smooth
        made.bypass = self._bypass
        return made

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Unit:
        return self.copy()

    def _attach(self, attachment: Attachment | None) -> None:
        """Note what runs it, and of what ran it before what went wrong; for the engine."""
        before = self._attachment
        object.__setattr__(self, "_attachment", attachment)
        if attachment is None and before is not None:
            self._refusal = before.failure() or self._refusal
        elif attachment is not None:
            self._refusal = None

    # --- compiling ---------------------------------------------------------------

    def _memory(self, rate: int, channels: int, max_block: int) -> Memory:
        return Memory(self._contract, rate, channels, max_block, self._values, self._keywords)

    def prepare(self, stream: Any) -> None:
        """Compile it for a stream, for up to some seconds; in a coroutine use :meth:`ready`.

        Parameters
        ----------
        stream : AudioOutput or AudioInput
            Open.

        Raises
        ------
        KernelError
            If it cannot run on the audio thread.
        """
        compiled_for(self._memory(stream.device_rate, stream.device_channels, 1))

    async def ready(self, stream: Any) -> None:
        """:meth:`prepare` in a worker thread; the event loop goes on meanwhile."""
        await stream._in_worker(self.prepare, stream)

    # --- without a device --------------------------------------------------------

    def process(
        self, array: Any, rate: int, *, plain: bool = False, blocks: int = 256, **moving: Any
    ) -> np.ndarray:
        """Run it over an array, from a state of zeros, without a device; caller thread.

        Parameters
        ----------
        array : array_like
            Of shape (frames,) or (frames, channels); integers of 8 and 16 bits have their own
            full scale, as in :meth:`~audiostream.aio.AudioOutput.load`.  A generator is given
            zeros.
        rate : int
            Hz.
        plain : bool
            Run the plain Python function.
        blocks : int
            Frames of a call; fewer while a scalar parameter moves, as on a stream.
        **moving : array_like
            Parameter -> its values in each frame, of shape (frames,), within its limits.

        Returns
        -------
        ndarray
            Float32 (frames, channels); shorter if a generator ended.

        Raises
        ------
        KernelError
            If it cannot be compiled, or raises; NaN and infinity are returned.
        AttributeError
            For a name that is no parameter.
        """
        rate = check_integer(rate, "rate", "Hz", least=1, most=10**7, hint="48000")
        blocks = check_integer(blocks, "blocks", "frames", least=1, most=1 << 20, hint="256")
        data = _floats(array)
        values = {name: self._moving(name, moving[name], len(data)) for name in moving}
        kinds = self._contract.parameters
        if any(kinds[name].kind == "scalar" for name in values):
            blocks = min(blocks, GRID)
        memory = self._memory(rate, data.shape[1], blocks)
        call = _plain_call(memory) if plain else _compiled_call(memory)
        numbers = {name: k for k, name in enumerate(kinds)}
        for start in range(0, len(data), blocks):
            block = data[start : start + blocks]
            for name, array in values.items():
                part = array[start : start + len(block)]
                is_scalar = kinds[name].kind == "scalar"
                memory.arrays[numbers[name]][: len(part)] = part[-1] if is_scalar else part
            made = call(block)
            if made < len(block):
                return data[: start + made]
        return data

    def _moving(self, name: str, given: Any, frames: int) -> np.ndarray:
        """Check the values of a parameter in each frame."""
        if name not in self._contract.parameters:
            raise AttributeError(self._unknown(name))
        try:
            values = np.asarray(given, np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.zeros(())
        if values.shape != (frames,):
            raise FormatError(
                f"{name}={shown(given)} is no array of {frames} values, one for each frame"
            )
        for value in (values.min(), values.max()) if frames else ():  # NaN is both
            self._contract.check(name, float(value), self._keywords)
        return values

    def response(self, frequencies: Any, rate: int) -> np.ndarray:
        """Its frequency response at the values that it has, if its kernel has declared one.

        Parameters
        ----------
        frequencies : array_like
            Hz.
        rate : int
            Hz.

        Returns
        -------
        ndarray of complex128

        Raises
        ------
        AudioException
            If its kernel has declared none.
        """
        if self._contract.response is None:
            raise AudioException(
                f"{self._contract.place.name} declares no response; measure it with process() "
                "and an impulse"
            )
        return np.asarray(
            self._contract.response(self.values, np.asarray(frequencies, np.float64), rate),
            np.complex128,
        )

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        place = "in no list"
        if self._attachment is not None:
            place = f"{self._attachment.describe()}, {100 * self.cost:.2f} % of a core"
        return f"<{self._contract.place.name}({values}): {place}>"


def _floats(array: Any) -> np.ndarray:
    """A copy of an array as float32 (frames, channels).

    Raises
    ------
    FormatError
        If it cannot be sound.
    """
    try:
        given = np.asarray(array)
        if given.dtype.kind == "c":
            raise TypeError("complex")
        data = np.array(given, np.float32, order="C")
    except (TypeError, ValueError, OverflowError):
        raise FormatError(
            f"array={shown(array)} is none of numbers; try numpy.zeros((frames, channels))"
        ) from None
    if given.dtype.kind == "i" and given.itemsize <= 2:
        data /= -np.float32(np.iinfo(given.dtype).min)
    if data.ndim == 1:
        data = data[:, None]
    if data.ndim != 2 or not data.shape[1]:
        raise FormatError(
            f"array has the shape {data.shape}; try (frames,) or (frames, channels)"
        )
    if data.shape[1] > MAX_CHANNELS:
        raise FormatError(
            f"array has the shape {data.shape}, and so {data.shape[1]} channels; this looks "
            "like (channels, frames): try array.T"
        )
    return data


def _compiled_call(memory: Memory) -> Any:
    compiled: Compiled = compiled_for(memory)
    entry = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)(compiled.address)
    words = memory.addresses()

    def call(block: np.ndarray) -> int:
        made = entry(block.ctypes.data, len(block), memory.channels, *words, memory.rate)
        if made < 0:
            raise compiled.failure(made)
        return int(made)

    return call


def _plain_call(memory: Memory) -> Any:
    contract = memory.contract
    fixed: list[Any] = [Fields(memory.state[0])] if contract.state else []
    fixed += memory.buffers
    keywords: Mapping[str, float] = {"rate": float(memory.rate)} if contract.takes_rate else {}

    def call(block: np.ndarray) -> int:
        values = []
        for parameter, array in zip(contract.parameters.values(), memory.arrays, strict=True):
            value = float(array[0]) if parameter.kind == "scalar" else array[: len(block)]
            values.append(value)
        made = contract.function(block, *fixed, *values, **keywords)
        return len(block) if made is None else int(made)

    return call
