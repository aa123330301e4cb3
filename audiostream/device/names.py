"""From the name of a device to the device; called on caller threads."""

from __future__ import annotations

import os

from audiostream.device import portaudio
from audiostream.device.base import Device, Direction
from audiostream.device.virtual import FileDevice, LoopbackDevice, NullDevice
from audiostream.errors import FormatError, NoDeviceError

__all__ = ("find", "input_sources", "output_devices")

VARIABLES: dict[Direction, str] = {
    "output": "AUDIOSTREAM_OUTPUT",
    "input": "AUDIOSTREAM_INPUT",
}
"""Environment variables that stand in for ``"default"``."""


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
    if isinstance(name, Device):
        return name
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise FormatError(
            f"a device is given by name, index or as a ManualDevice, not {name!r}; "
            'try "default" or "null"'
        )
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
