"""PortAudio as PyAudio links it, and further copies of it; on the host's worker thread.

Start, end, device list and opening.
"""

from __future__ import annotations

import ctypes
import pathlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from audiostream.device.base import Callback, Direction, Parameters
from audiostream.device.portaudio.callback_path import (
    load_pyaudio,
    native_library,
    through_python,
)
from audiostream.device.portaudio.jack import JACK, Jack, Witness
from audiostream.device.portaudio.raw_streams import (
    NativeStream,
    PythonStream,
    RawStream,
    os_error,
)
from audiostream.device.portaudio.second_copy import Calls, copy_of
from audiostream.device.portaudio.stderr_filter import silence

Path = Literal["native", "python"]

__all__ = ("CopiedLibrary", "DeviceInfo", "Devices", "Library", "PyAudioLibrary")


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device as PortAudio lists it; latencies in seconds, rate in Hz."""

    index: int
    name: str
    api: str
    api_type: int
    rate: int
    inputs: int
    outputs: int
    low_input: float
    low_output: float
    high_input: float
    high_output: float

    def channels(self, direction: Direction) -> int:
        """Return the largest channel count in that direction; 0 if it has none."""
        return self.outputs if direction == "output" else self.inputs

    def latencies(self, direction: Direction) -> tuple[float, float]:
        """Return the device's own low and high latency in that direction."""
        if direction == "output":
            return self.low_output, self.high_output
        return self.low_input, self.high_input


@dataclass(frozen=True, slots=True)
class Devices:
    """All devices, and the indices of the system's defaults (-1 for none)."""

    infos: tuple[DeviceInfo, ...]
    default_input: int
    default_output: int


class Library(Protocol):
    """What the host needs of PortAudio; its methods run on the worker.

    ``lost``, ``is_silent`` and ``another`` do not wait and are for every thread.
    """

    uses_jack: bool

    @property
    def lost(self) -> bool: ...
    def is_silent(self) -> bool: ...
    def answers(self) -> bool: ...
    def another(self) -> Library: ...
    def initialise(self) -> None: ...
    def terminate(self) -> None: ...
    def devices(self) -> Devices: ...
    def open(
        self,
        path: Path,
        device: int,
        direction: Direction,
        parameters: Parameters,
        callback: Callback,
    ) -> RawStream: ...


class _Library(ABC):
    """What all copies of PortAudio have in common.

    Parameters
    ----------
    native : ctypes.CDLL or None
        The library itself, where its symbols are to be had.
    jack : Jack or None
        The JACK that it links, if it does.

    Attributes
    ----------
    uses_jack : bool
        Whether it is connected to a JACK server.
    """

    def __init__(self, native: ctypes.CDLL | None, jack: Jack | None) -> None:
        self.native = native
        self.uses_jack = False
        self._jack = jack
        self._witness: Witness | None = None
        self._calls: Any = None  # PyAudio's C module, or what stands in for it
        self._original = native  # whose file is there to be copied
        self._threads: set[str] = set()  # JACK's are among them

    @property
    def lost(self) -> bool:
        """Whether the JACK server that it is connected to has ended.

        Nothing may be called then but for its streams on other host APIs.
        """
        if not self.uses_jack or self._jack is None:
            return False
        # Without a witness the server came between the two of them, and is not to be trusted.
        return self._witness is None or self._witness.gone

    def is_silent(self) -> bool:
        """Return whether JACK's audio thread has ended, as far as the system lists threads."""
        return bool(self._threads) and self._threads.isdisjoint(_threads())

    def answers(self) -> bool:
        """Return whether the JACK server that it is connected to answers now."""
        # In this order: once another server answers, JACK has reported the end of the old one.
        return self._jack is None or (self._jack.answers() and not self.lost)

    def another(self) -> Library:
        """Return a copy of it that has not been started.

        Raises
        ------
        DeviceError
            If there can be none.
        """
        copy = CopiedLibrary(copy_of(self._original))
        copy._original = self._original
        return copy

    def initialise(self) -> None:
        if self.native is not None:
            silence(self.native)
        # Before PortAudio, so that it is not on a later server than PortAudio.
        witness = None if self._jack is None else self._jack.watch()
        before = _threads()
        try:
            self._start()
            self._threads = _threads() - before
            calls = self._calls
            apis = range(calls.get_host_api_count())
            self.uses_jack = any(calls.get_host_api_info(i).type == JACK for i in apis)
        finally:
            if self.uses_jack:
                self._witness = witness
            elif witness is not None:
                witness.close()

    def terminate(self) -> None:
        self._end()
        self.uses_jack = False
        witness, self._witness = self._witness, None
        if witness is not None:
            witness.close()

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    def devices(self) -> Devices:
        # The C module gives names as bytes; PyAudio would decode PortAudio's UTF-8
        # by the locale, which garbles names on Windows.
        pa = self._calls
        apis = [pa.get_host_api_info(i) for i in range(pa.get_host_api_count())]

        def info(index: int) -> DeviceInfo:
            raw = pa.get_device_info(index)
            api = apis[raw.hostApi]
            return DeviceInfo(
                index=index,
                name=_text(raw.name),
                api=_text(api.name),
                api_type=api.type,
                rate=round(raw.defaultSampleRate),
                inputs=raw.maxInputChannels,
                outputs=raw.maxOutputChannels,
                low_input=raw.defaultLowInputLatency,
                low_output=raw.defaultLowOutputLatency,
                high_input=raw.defaultHighInputLatency,
                high_output=raw.defaultHighOutputLatency,
            )

        def default(get: Callable[[], int]) -> int:
            try:
                return get()
            except OSError:
                return -1

        return Devices(
            tuple(info(index) for index in range(pa.get_device_count())),
            default(pa.get_default_input_device),
            default(pa.get_default_output_device),
        )


class PyAudioLibrary(_Library):
    """PortAudio as PyAudio links it.  Made on a caller thread, used on the worker.

    Attributes
    ----------
    pyaudio : Any
        The :class:`pyaudio.PyAudio` instance, None before :meth:`initialise`.
    """

    def __init__(self) -> None:
        self._module = load_pyaudio()
        # Its symbols may be hidden, those of JACK never are.
        jack = Jack.of(ctypes.CDLL(self._module._portaudio.__file__))
        super().__init__(native_library(), jack)
        self._calls = self._module.pa
        self.pyaudio: Any = None

    def _start(self) -> None:
        try:
            self.pyaudio = self._module.PyAudio()
        except OSError as error:
            raise os_error("starting PortAudio", error) from error

    def _end(self) -> None:
        self.pyaudio.terminate()

    def open(
        self,
        path: Path,
        device: int,
        direction: Direction,
        parameters: Parameters,
        callback: Callback,
    ) -> RawStream:
        """Open, but do not start, a stream; ``parameters.latency`` is what to suggest.

        Raises
        ------
        DeviceError
            With PortAudio's code, where PortAudio refuses.
        """
        if path == "native" and self.native is not None:
            return NativeStream(self.native, device, direction, parameters, callback)
        return PythonStream(self.pyaudio, device, direction, parameters, callback)


class CopiedLibrary(_Library):
    """A copy of PortAudio that PyAudio knows nothing of."""

    def __init__(self, native: ctypes.CDLL) -> None:
        super().__init__(native, Jack.of(native))
        self._native = native
        self._calls = Calls(native)

    def _start(self) -> None:
        self._calls.initialize()

    def _end(self) -> None:
        self._calls.terminate()

    def open(
        self,
        path: Path,
        device: int,
        direction: Direction,
        parameters: Parameters,
        callback: Callback,
    ) -> RawStream:
        """Open, but do not start, a stream; see :meth:`PyAudioLibrary.open`."""
        if path == "python":
            frame_bytes = parameters.channels * parameters.encoding // 8
            callback = through_python(callback, frame_bytes if direction == "output" else 0)
        return NativeStream(self._native, device, direction, parameters, callback)


def _threads() -> set[str]:
    """Return the ids of this process's threads; none where the system does not list them."""
    tasks = pathlib.Path("/proc/self/task")
    return {task.name for task in tasks.iterdir()} if tasks.is_dir() else set()


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")
