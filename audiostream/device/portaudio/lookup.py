"""From a name or an index to a device of PortAudio's list; caller threads."""

from __future__ import annotations

from audiostream.device.base import Direction
from audiostream.device.portaudio.host import HOST, PortAudioHost
from audiostream.device.portaudio.library import DeviceInfo, Devices
from audiostream.errors import NoDeviceError

__all__ = ("input_names", "match", "output_names", "unique_names")

RESERVED = ("default", "null")
"""Names that mean something else to ``device=`` and ``source=``."""


def unique_names(devices: Devices, direction: Direction) -> dict[str, DeviceInfo]:
    """Return the devices usable in that direction by names that tell them apart.

    A name that several devices have, or that is reserved, gets its host API in
    brackets, and the index too where that is not enough: ``"default [ALSA]"``.
    """
    usable = [info for info in devices.infos if info.channels(direction) > 0]
    plain = [info.name for info in usable]
    longer = [f"{info.name} [{info.api}]" for info in usable]
    names = {}
    for info, name, long in zip(usable, plain, longer, strict=True):
        if plain.count(name) == 1 and name not in RESERVED:
            names[name] = info
        elif longer.count(long) == 1 and long not in plain:
            names[long] = info
        else:
            names[f"{info.name} [{info.api} {info.index}]"] = info
    return names


def match(devices: Devices, query: str | int, direction: Direction) -> DeviceInfo:
    """Return the device that `query` means.

    In this order: an index; ``"default"``, the system's default (or the first device,
    where the system names none); a whole name; a string of digits as an index; part
    of a name, in upper or lower case: the first device whose name begins with it, else
    the first whose name contains it.

    Raises
    ------
    NoDeviceError
        If there is no such device, or none at all.
    """
    names = unique_names(devices, direction)
    found = _matching(names, devices, query, direction) if names else None
    if found is not None:
        return found
    there = ", ".join(repr(name) for name in names)
    raise NoDeviceError(
        f"there is no audio {direction} device"
        + (f" {query!r}; there are: {there}. Try one of these," if names else " at all. Try")
        + ' the virtual device "null", or set '
        f"AUDIOSTREAM_{direction.upper()} to the device that stands for 'default'"
    )


def _matching(
    names: dict[str, DeviceInfo], devices: Devices, query: str | int, direction: Direction
) -> DeviceInfo | None:
    by_index = {info.index: info for info in names.values()}
    if isinstance(query, int):
        return by_index.get(query)
    if query == "default":
        output = direction == "output"
        index = devices.default_output if output else devices.default_input
        return by_index.get(index, next(iter(names.values())))
    if query in names:
        return names[query]
    for info in names.values():
        if info.name == query:
            return info
    if query.isdecimal() and int(query) in by_index:
        return by_index[int(query)]
    part = query.casefold()
    found = [name for name in names if part and part in name.casefold()]
    first = next((name for name in found if name.casefold().startswith(part)), None)
    return names[first or found[0]] if found else None


def input_names(host: PortAudioHost = HOST) -> list[str]:
    """Return the names of what can be recorded from; :func:`find` knows every one.

    May block for the host's time limits.  Empty where there is no such device.

    Raises
    ------
    DeviceError
        If PortAudio cannot be started.
    """
    with host.using() as (_, devices):
        return list(unique_names(devices, "input"))


def output_names(host: PortAudioHost = HOST) -> list[str]:
    """Return the names of what can be played to; see :func:`input_names`."""
    with host.using() as (_, devices):
        return list(unique_names(devices, "output"))
