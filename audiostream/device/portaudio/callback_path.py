"""How compiled callbacks are reached, by address or through Python; caller threads choose.

On the *native* path the audio thread calls the compiled callback itself.  On the
*python* path it calls a small Python function that calls the very same compiled
code; that is for builds of PyAudio whose PortAudio cannot be reached from outside
(the Windows wheel), and for tests.  ``AUDIOSTREAM_CALLBACK=native|python`` chooses
by hand.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from typing import Any, Literal

from audiostream.device.base import Callback
from audiostream.errors import DeviceError

__all__ = (
    "ARGUMENTS",
    "CallCompiled",
    "callback_path",
    "load_pyaudio",
    "native_library",
    "python_forced",
    "report_unraisable",
    "through_python",
)

VARIABLE = "AUDIOSTREAM_CALLBACK"

# input, output, frames, time_info, status_flags, user_data
ARGUMENTS = (
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
)
_Thunk = ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)

# PYFUNCTYPE keeps the interpreter lock: to give it up inside the audio thread's
# callback costs up to 5 ms to get it back beside a busy Python thread.
CallCompiled = ctypes.PYFUNCTYPE(ctypes.c_int, *ARGUMENTS)


def load_pyaudio() -> Any:
    """Import PyAudio, which has no type stubs, at first use.

    Raises
    ------
    DeviceError
        If it cannot be imported.
    """
    try:
        return importlib.import_module("pyaudio")
    except ImportError as error:
        raise DeviceError(
            f"PyAudio cannot be imported ({error}); install it with `pip install pyaudio` "
            "(on Debian and Ubuntu after `apt install portaudio19-dev`), "
            'or use a virtual device such as "null"'
        ) from error


def native_library() -> ctypes.CDLL | None:
    """Return the library that PyAudio links, or None where its symbols are hidden."""
    library = ctypes.CDLL(load_pyaudio()._portaudio.__file__)
    return library if hasattr(library, "Pa_OpenStream") else None


def _chosen() -> str:
    """Return what the environment says: ``native``, ``python`` or nothing."""
    choice = os.environ.get(VARIABLE, "")
    if choice not in ("", "native", "python"):
        raise DeviceError(
            f"{VARIABLE}={choice!r} is neither 'native' nor 'python'; set it to one of "
            "these, or unset it and the better one is taken"
        )
    return choice


def python_forced() -> bool:
    """Return whether the python path was chosen by hand; virtual devices look at nothing else.

    Raises
    ------
    DeviceError
        If AUDIOSTREAM_CALLBACK has another value than ``native`` or ``python``.
    """
    return _chosen() == "python"


def callback_path() -> Literal["native", "python"]:
    """Return the way in which PortAudio reaches callbacks in this process.

    Raises
    ------
    DeviceError
        If AUDIOSTREAM_CALLBACK has another value than ``native`` or ``python``, or is
        ``native`` where PortAudio's symbols cannot be had; or if there is no PyAudio.
    """
    if python_forced():
        return "python"
    if native_library() is not None:
        return "native"
    if _chosen() == "native":
        raise DeviceError(
            f"{VARIABLE}=native, but this build of PyAudio hides PortAudio's symbols; "
            f"set {VARIABLE}=python or unset it"
        )
    return "python"


def through_python(callback: Callback, frame_bytes: int = 0) -> Callback:
    """Return a callback that enters the interpreter and calls `callback` from there.

    An exception, which cannot come from compiled code, goes to
    :func:`sys.unraisablehook`; the output of that call is then silence, if
    `frame_bytes` (bytes in one frame of output) is given, and the stream goes on.
    """
    compiled = CallCompiled(callback.address)

    def call(
        source: int | None,
        output: int | None,
        frames: int,
        time_info: int | None,
        flags: int,
        user: int | None,
    ) -> int:
        try:
            result: int = compiled(source, output, frames, time_info, flags, user)
        except BaseException as error:
            # Left to ctypes, what the audio thread gets back is arbitrary.
            report_unraisable(error)
            if output and frame_bytes:
                ctypes.memset(output, 0, frames * frame_bytes)
            return 0  # paContinue
        return result

    thunk = _Thunk(call)
    address = ctypes.cast(thunk, ctypes.c_void_p).value
    assert address is not None
    return Callback(address, callback.user, keep=(thunk, callback))


def report_unraisable(error: BaseException) -> None:
    """Hand an exception on the audio thread to :func:`sys.unraisablehook`."""

    def again() -> None:
        raise error

    # The hook's argument cannot be made from Python; ctypes makes it for what a callback
    # of its own raises.
    ctypes.CFUNCTYPE(None)(again)()
