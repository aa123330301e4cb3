"""PortAudio as PyAudio links it: start, device list, opening; on the host's worker thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from audiostream.device.base import Callback, Direction, Parameters
from audiostream.device.callback_path import load_pyaudio, native_library
from audiostream.device.pastream import NativeStream, PythonStream, RawStream, os_error
from audiostream.device.quiet import silence

Path = Literal["native", "python"]

__all__ = ("DeviceInfo", "Devices", "Library", "PyAudioLibrary")


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
    """What the host needs of PortAudio; its methods run on the worker."""

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


class PyAudioLibrary:
    """PortAudio as PyAudio links it.  Made on a caller thread, used on the worker.

    Attributes
    ----------
    pyaudio : Any
        The :class:`pyaudio.PyAudio` instance, None before :meth:`initialise`.
    native : ctypes.CDLL or None
        The library itself, where its symbols are to be had.
    """

    def __init__(self) -> None:
        self._module = load_pyaudio()
        self.native = native_library()
        self.pyaudio: Any = None

    def initialise(self) -> None:
        if self.native is not None:
            silence(self.native)
        try:
            self.pyaudio = self._module.PyAudio()
        except OSError as error:
            raise os_error("starting PortAudio", error) from error

    def terminate(self) -> None:
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

    def devices(self) -> Devices:
        # The C module gives names as bytes; PyAudio would decode PortAudio's UTF-8
        # by the locale, which garbles names on Windows.
        pa = self._module.pa
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


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")
