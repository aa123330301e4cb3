"""From the name of a device to the device; called on caller threads."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from audiostream.checks import check_integer, shown
from audiostream.device import portaudio
from audiostream.device.base import Device, Direction
from audiostream.device.virtual import FileDevice, LoopbackDevice, NullDevice
from audiostream.errors import FormatError, NoDeviceError

__all__ = ("check_name", "find", "input_sources", "output_devices")

VARIABLES: dict[Direction, str] = {
    "output": "AUDIOSTREAM_OUTPUT",
    "input": "AUDIOSTREAM_INPUT",
}
"""Environment variables that stand in for ``"default"``."""


def check_name(name: Any, argument: str) -> str | int | Device:
    """Return what stands for a device: a name, an index as an int, or a device itself.

    Parameters
    ----------
    argument : str
        The argument's name, for the message.

    Raises
    ------
    FormatError
        For anything else, and a name that no device and no file can have.
    """
    if isinstance(name, Device):
        return name
    with contextlib.suppress(FormatError, UnicodeError):
        if not isinstance(name, str):
            return check_integer(name, argument, least=-(1 << 31), most=1 << 31)
        if b"\0" not in os.fsencode(name):
            return name
    raise FormatError(
        f'{argument}={shown(name)} is no device; try "default" or "null", another name, an '
        "index or a ManualDevice"
    )


def find(name: str | int | Device, direction: Direction) -> Device:
    """Return the device of that name.

    Parameters
    ----------
    name : str, int or Device
        ``"default"``, ``"null"``, ``"file:PATH.wav"``, ``"loopback:NAME"``, a PortAudio
        device's name, part of one or index, or a device itself.

    Raises
    ------
    NoDeviceError
        If there is none; the message says what there is.
    FormatError
        If `name` is no name at all.
    """
    name = check_name(name, "device" if direction == "output" else "source")
    if isinstance(name, Device):
        return name
    if name == "default":
        name = os.environ.get(VARIABLES[direction]) or "default"
    if isinstance(name, str):
        kind, colon, rest = name.partition(":")
        if name == "null":
            return NullDevice()
        if colon and kind in ("file", "loopback"):
            if not rest:
                what = "PATH.wav" if kind == "file" else "NAME"
                raise NoDeviceError(f"{name!r} says no {what}; try {kind}:{what}")
            return FileDevice(name) if kind == "file" else LoopbackDevice(name)
    return portaudio.find(name, direction)


def input_sources() -> list[str]:
    """Return ``"default"``, then the names of what this machine can record from."""
    return ["default", *portaudio.input_names()]


def output_devices() -> list[str]:
    """Return ``"default"``, then the names of what this machine can play to."""
    return ["default", *portaudio.output_names()]
