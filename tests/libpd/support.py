"""Which libpd the tests run on, where the patches are, and how to hear a pitch."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiostream.libpd.backends import Backends
from audiostream.libpd.library import Missing, cypd_library, system_library

__all__ = ("KINDS", "PATCHES", "Unavailable", "backends", "frequency", "here")

PATCHES = Path(__file__).parent / "patches"

KINDS = ("cypd", "system", "pylibpd", "stand-in")
"""Ways to get at libpd; the last is tests/libpd/stand_in.py in pylibpd's place."""

SYSTEM = "AUDIOSTREAM_TEST_LIBPD"
"""Path of a system libpd that is not where the linker looks; `./dev test` fetches one."""

PYLIBPD = "AUDIOSTREAM_TEST_PYLIBPD"
"""Folder of a pylibpd that is not installed."""


class Unavailable(Exception):
    """This kind of libpd is not on this machine; says why."""


def backends(kind: str) -> tuple[Backends, str, types.ModuleType | None]:
    """Return what finds the backend, its name, and its module.

    Raises
    ------
    Unavailable
        If it is not here.
    """
    try:
        if kind == "stand-in":
            return Backends(), "pylibpd", importlib.import_module("tests.libpd.stand_in")
        if kind == "pylibpd":
            return Backends(), "pylibpd", _pylibpd()
        if kind == "cypd":
            cypd_library()
            return Backends(), "cypd", None
        return Backends(), os.environ.get(SYSTEM) or str(system_library()), None
    except Missing as error:
        raise Unavailable(f"{error} ({SYSTEM} may name a system libpd)") from error


def _pylibpd() -> types.ModuleType:
    folder = os.environ.get(PYLIBPD)
    path = list(sys.path)
    try:
        if folder:
            sys.path.insert(0, folder)
        return importlib.import_module("pylibpd")
    except ImportError as error:
        raise Unavailable(
            f"pylibpd is not installed ({PYLIBPD} may name its folder); "
            "its stand-in is tested in its place"
        ) from error
    finally:
        sys.path[:] = path


def here() -> list[str]:
    """Return the kinds that this machine has."""
    found = []
    for kind in KINDS:
        try:
            backends(kind)
        except Unavailable:
            continue  # test_backends.py skips one test for it, with the reason
        found.append(kind)
    return found


def frequency(signal: npt.NDArray[np.float32], rate: int) -> float:
    """Return the frequency of the strongest tone, in Hz."""
    windowed = signal * np.hanning(len(signal))
    spectrum = np.log(np.abs(np.fft.rfft(windowed)) + 1e-12)
    peak = int(np.argmax(spectrum))
    below, at, above = spectrum[peak - 1 : peak + 2]
    # The top of the parabola through the three bins around the peak.
    offset = (below - above) / (2 * (below - 2 * at + above))
    return float((peak + offset) * rate / len(signal))
