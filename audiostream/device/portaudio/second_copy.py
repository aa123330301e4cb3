"""A further copy of PortAudio in the same process, driven through ctypes alone.

PortAudio's state is that of its library: the same file, loaded from another path, has a
state of its own.  Copying runs on a caller thread, :class:`Calls` on the host's worker.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from pathlib import Path
from typing import Any

from audiostream.device.portaudio.raw_streams import status_error
from audiostream.errors import DeviceError

__all__ = ("Calls", "copy_of")


class _SymbolInfo(ctypes.Structure):
    """Dl_info."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def file_of(library: ctypes.CDLL) -> Path:
    """Return the file that holds PortAudio, which `library` may only link."""
    info = _SymbolInfo()
    found = ctypes.CDLL(None).dladdr(
        ctypes.cast(library["Pa_OpenStream"], ctypes.c_void_p), ctypes.byref(info)
    )
    if not found or not info.file:
        raise OSError("the file that PortAudio was loaded from is not known")
    return Path(info.file.decode())


def copy_of(library: ctypes.CDLL | None) -> ctypes.CDLL:
    """Load the PortAudio that `library` is, or links, once more.

    Raises
    ------
    DeviceError
        Where its symbols are hidden (None), or the file cannot be copied or loaded.
    """
    try:
        if library is None:
            raise OSError("this build of PyAudio hides PortAudio's symbols")
        source = file_of(library)
        with tempfile.TemporaryDirectory(prefix="audiostream-") as folder:
            path = Path(folder) / source.name
            shutil.copyfile(source, path)
            return ctypes.CDLL(str(path))
    except OSError as error:
        raise DeviceError(
            "the JACK server that PortAudio was connected to has ended, and PortAudio cannot "
            f"be loaded a second time ({error}); restart this program (if it is the folder for "
            "temporary files whose files may not be executed, with TMPDIR set to another one), "
            'or use a virtual device such as "null"'
        ) from error


class _HostApiInfo(ctypes.Structure):
    """PaHostApiInfo, with the names of PyAudio's C module."""

    _fields_ = (
        ("structVersion", ctypes.c_int),
        ("type", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("deviceCount", ctypes.c_int),
        ("defaultInputDevice", ctypes.c_int),
        ("defaultOutputDevice", ctypes.c_int),
    )


class _DeviceInfo(ctypes.Structure):
    """PaDeviceInfo, with the names of PyAudio's C module."""

    _fields_ = (
        ("structVersion", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("hostApi", ctypes.c_int),
        ("maxInputChannels", ctypes.c_int),
        ("maxOutputChannels", ctypes.c_int),
        ("defaultLowInputLatency", ctypes.c_double),
        ("defaultLowOutputLatency", ctypes.c_double),
        ("defaultHighInputLatency", ctypes.c_double),
        ("defaultHighOutputLatency", ctypes.c_double),
        ("defaultSampleRate", ctypes.c_double),
    )


class Calls:
    """What a copy's start and list need, called as in PyAudio's C module."""

    def __init__(self, library: ctypes.CDLL) -> None:
        def function(name: str, result: Any, *arguments: Any) -> Any:
            found = library[name]
            found.restype, found.argtypes = result, arguments
            return found

        number = ctypes.c_int
        self._initialize = function("Pa_Initialize", number)
        self._terminate = function("Pa_Terminate", number)
        self._error_text = function("Pa_GetErrorText", ctypes.c_char_p, number)
        self._host_api_info = function(
            "Pa_GetHostApiInfo", ctypes.POINTER(_HostApiInfo), number
        )
        self._device_info = function("Pa_GetDeviceInfo", ctypes.POINTER(_DeviceInfo), number)
        self.get_host_api_count = function("Pa_GetHostApiCount", number)
        self.get_device_count = function("Pa_GetDeviceCount", number)
        self.get_default_input_device = function("Pa_GetDefaultInputDevice", number)
        self.get_default_output_device = function("Pa_GetDefaultOutputDevice", number)

    def initialize(self) -> None:
        self._check("starting PortAudio", self._initialize())

    def terminate(self) -> None:
        self._check("ending PortAudio", self._terminate())

    def _check(self, doing: str, code: int) -> None:
        if code < 0:
            raise status_error(doing, code, self._error_text(code).decode())

    def get_host_api_info(self, index: int) -> _HostApiInfo:
        info: _HostApiInfo = self._host_api_info(index).contents
        return info

    def get_device_info(self, index: int) -> _DeviceInfo:
        info: _DeviceInfo = self._device_info(index).contents
        return info
