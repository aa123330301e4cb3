"""The two ways to open a PortAudio stream around a compiled callback, with one interface.

:class:`NativeStream` hands PortAudio the callback's address; :class:`PythonStream`
lets PyAudio call a small Python function that calls it.  Opening, starting, stopping
and closing may block and run on the host's worker; the queries never block and run on
caller threads and event loops.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from audiostream.device.base import Callback, Direction, Parameters
from audiostream.device.portaudio.callback_path import ARGUMENTS, report_unraisable
from audiostream.errors import DeviceError

__all__ = (
    "NativeStream",
    "PythonStream",
    "RawStream",
    "StatusError",
    "TimeInfo",
    "os_error",
    "status_error",
)

_SAMPLE_FORMATS = {8: 0x10, 16: 0x08, 32: 0x01}  # paInt8, paInt16, paFloat32
_HOST_ERROR = -9999  # paUnanticipatedHostError: the sound system has a text of its own


class StatusError(DeviceError):
    """PortAudio answered with an error."""


def status_error(doing: str, code: int | None, text: str, host_text: str = "") -> StatusError:
    """Turn PortAudio's status `code` and its `text` into an exception."""
    number = "" if code is None else f" (PortAudio error {code})"
    host = f"; the sound system says: {host_text}" if host_text else ""
    return StatusError(f"{doing} failed: {text}{number}{host}", code)


def os_error(doing: str, error: OSError) -> StatusError:
    """Turn PyAudio's OSError, whose arguments are PortAudio's status, into ours."""
    return status_error(doing, error.errno, error.strerror or str(error))


class TimeInfo(ctypes.Structure):
    """PaStreamCallbackTimeInfo: seconds on the stream's clock."""

    _fields_ = (
        ("input_adc", ctypes.c_double),
        ("current", ctypes.c_double),
        ("output_dac", ctypes.c_double),
    )


class RawStream(Protocol):
    """An open PortAudio stream, unguarded: no call may follow :meth:`close`.

    Every method but ``active``, ``stopped`` and ``time`` raises :class:`DeviceError`
    with PortAudio's code.
    """

    latency: float

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    def active(self) -> bool: ...
    def stopped(self) -> bool: ...
    def time(self) -> float: ...


# ---------------------------------------------------------------------- native


class _StreamParameters(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("sample_format", ctypes.c_ulong),
        ("suggested_latency", ctypes.c_double),
        ("host_api_info", ctypes.c_void_p),
    )


class _StreamInfo(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("input_latency", ctypes.c_double),
        ("output_latency", ctypes.c_double),
        ("rate", ctypes.c_double),
    )


class _HostErrorInfo(ctypes.Structure):
    _fields_ = (
        ("api_type", ctypes.c_int),
        ("code", ctypes.c_long),
        ("text", ctypes.c_char_p),
    )


class _Symbols:
    """PortAudio's functions with their types."""

    def __init__(self, library: ctypes.CDLL) -> None:
        # What never blocks keeps the interpreter lock, see CallCompiled.
        quick = ctypes.PyDLL(library._name)

        def symbol(source: Any, name: str, result: Any, *arguments: Any) -> Any:
            function = getattr(source, name)
            function.restype, function.argtypes = result, arguments
            return function

        status, stream = ctypes.c_int, ctypes.c_void_p
        parameters = ctypes.POINTER(_StreamParameters)
        self.open = symbol(
            library,
            "Pa_OpenStream",
            status,
            ctypes.POINTER(stream),
            parameters,
            parameters,
            ctypes.c_double,
            ctypes.c_ulong,
            ctypes.c_ulong,
            ctypes.c_void_p,
            ctypes.c_void_p,
        )
        self.start = symbol(library, "Pa_StartStream", status, stream)
        self.stop = symbol(library, "Pa_StopStream", status, stream)
        self.close = symbol(library, "Pa_CloseStream", status, stream)
        self.active = symbol(quick, "Pa_IsStreamActive", status, stream)
        self.stopped = symbol(quick, "Pa_IsStreamStopped", status, stream)
        self.time = symbol(quick, "Pa_GetStreamTime", ctypes.c_double, stream)
        self.info = symbol(quick, "Pa_GetStreamInfo", ctypes.POINTER(_StreamInfo), stream)
        self.error_text = symbol(quick, "Pa_GetErrorText", ctypes.c_char_p, status)
        self.host_error = symbol(
            quick, "Pa_GetLastHostErrorInfo", ctypes.POINTER(_HostErrorInfo)
        )

    def check(self, doing: str, code: int) -> None:
        """Raise :class:`DeviceError` for a negative status."""
        if code >= 0:
            return
        host_text = ""
        if code == _HOST_ERROR and (info := self.host_error()):
            text = (info.contents.text or b"").decode("utf-8", "replace").strip()
            host_text = f"{text or 'nothing'} ({info.contents.code})"
        raise status_error(doing, code, self.error_text(code).decode(), host_text)


class NativeStream:
    """A stream whose callback PortAudio calls by its address.

    ``parameters.latency`` is the latency to suggest.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        device: int,
        direction: Direction,
        parameters: Parameters,
        callback: Callback,
    ) -> None:
        self._symbols = _Symbols(library)
        self._callback = callback  # kept as long as this is
        self._stream = ctypes.c_void_p()
        side = _StreamParameters(
            device,
            parameters.channels,
            _SAMPLE_FORMATS[parameters.encoding],
            parameters.latency,
            None,
        )
        output = direction == "output"
        self._symbols.check(
            "opening",
            self._symbols.open(
                ctypes.byref(self._stream),
                None if output else side,
                side if output else None,
                float(parameters.rate),
                parameters.buffersize,
                0,  # paNoFlag: PortAudio clips where it converts
                callback.address,
                callback.user,
            ),
        )
        info = self._symbols.info(self._stream)
        self.latency = 0.0
        if info:
            known = info.contents
            self.latency = known.output_latency if output else known.input_latency

    def start(self) -> None:
        self._symbols.check("starting", self._symbols.start(self._stream))

    def stop(self) -> None:
        self._symbols.check("stopping", self._symbols.stop(self._stream))

    def close(self) -> None:
        self._symbols.check("closing", self._symbols.close(self._stream))

    def active(self) -> bool:
        return bool(self._symbols.active(self._stream) == 1)

    def stopped(self) -> bool:
        return bool(self._symbols.stopped(self._stream) == 1)

    def time(self) -> float:
        return float(self._symbols.time(self._stream))


# ---------------------------------------------------------------------- python

# As CallCompiled, with the address of what a bytes object (or NULL for None) holds.
_CallWithBytes = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_char_p, *ARGUMENTS[1:])

PyAudioCallback = Callable[
    ["bytes | None", int, "dict[str, float]", int], "tuple[bytes | None, int]"
]


def python_callback(
    callback: Callback, direction: Direction, frames: int, frame_bytes: int
) -> PyAudioCallback:
    """Return PyAudio's kind of callback around a compiled one; it runs on the audio thread.

    Parameters
    ----------
    frames : int
        Frames of one call; PortAudio keeps to the number it was opened with.
    frame_bytes : int
        Bytes in one frame.
    """
    compiled = _CallWithBytes(callback.address)
    times = TimeInfo()
    times_address = ctypes.addressof(times)
    buffer = ctypes.create_string_buffer(frames * frame_bytes)
    output = ctypes.addressof(buffer) if direction == "output" else None
    user = callback.user

    def call(
        data: bytes | None, count: int, time_info: dict[str, float], flags: int
    ) -> tuple[bytes | None, int]:
        result = 0  # paContinue
        try:
            times.input_adc = time_info["input_buffer_adc_time"]
            times.current = time_info["current_time"]
            times.output_dac = time_info["output_buffer_dac_time"]
            result = compiled(data, output, count, times_address, flags, user)
        except BaseException as error:
            # PyAudio would raise it in the main thread and end the stream.
            report_unraisable(error)
            ctypes.memset(buffer, 0, len(buffer))
        if output is None:
            return None, result
        return ctypes.string_at(output, count * frame_bytes), result

    return call


class PythonStream:
    """A stream whose callback PyAudio calls through the interpreter.

    PyAudio suggests the device's low latency; ``parameters.latency`` is not used.
    """

    def __init__(
        self,
        pyaudio: Any,
        device: int,
        direction: Direction,
        parameters: Parameters,
        callback: Callback,
    ) -> None:
        output = direction == "output"
        frame_bytes = parameters.channels * parameters.encoding // 8
        try:
            self._stream = pyaudio.open(
                rate=parameters.rate,
                channels=parameters.channels,
                format=_SAMPLE_FORMATS[parameters.encoding],
                input=not output,
                output=output,
                input_device_index=None if output else device,
                output_device_index=device if output else None,
                frames_per_buffer=parameters.buffersize,
                start=False,
                stream_callback=python_callback(
                    callback, direction, parameters.buffersize, frame_bytes
                ),
            )
        except OSError as error:
            raise os_error("opening", error) from error
        get = self._stream.get_output_latency if output else self._stream.get_input_latency
        self.latency: float = get()

    def start(self) -> None:
        self._do("starting", self._stream.start_stream)

    def stop(self) -> None:
        self._do("stopping", self._stream.stop_stream)

    def close(self) -> None:
        self._do("closing", self._stream.close)

    def _do(self, doing: str, function: Callable[[], None]) -> None:
        try:
            function()
        except OSError as error:
            raise os_error(doing, error) from error

    def active(self) -> bool:
        return bool(_or_zero(self._stream.is_active))

    def stopped(self) -> bool:
        return bool(_or_zero(self._stream.is_stopped))

    def time(self) -> float:
        return _or_zero(self._stream.get_time)


def _or_zero(query: Callable[[], float]) -> float:
    try:
        return query()
    except OSError:  # PyAudio closes a stream that fails
        return 0.0
