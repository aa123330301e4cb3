"""Finds shared libraries that hold libpd, and loads private copies of them; any thread."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
import shutil
import sys
import tempfile
from importlib.machinery import PathFinder
from pathlib import Path

from audiostream.errors import NoLibpdError, PatchError

__all__ = ("Missing", "copy_of", "cypd_library", "system_library")


class Missing(NoLibpdError):
    """A backend is not there; the message says why."""


class _DlInfo(ctypes.Structure):
    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def system_library() -> Path:
    """Return the path of the system's libpd.

    Raises
    ------
    Missing
        If there is none.
    """
    name = ctypes.util.find_library("pd")
    if name is None:
        raise Missing("no libpd among the system's libraries")
    if os.sep in name:
        return Path(name)
    # Linux gives a name without a folder; only the dynamic linker knows where it leads.
    try:
        found = ctypes.CDLL(name).libpd_init
        where = ctypes.CDLL(None).dladdr
    except (OSError, AttributeError) as error:
        raise Missing(
            f"the system's {name} is not a libpd that can be loaded: {error}"
        ) from error
    where.argtypes = (ctypes.c_void_p, ctypes.POINTER(_DlInfo))
    info = _DlInfo()
    if not where(ctypes.cast(found, ctypes.c_void_p), ctypes.byref(info)) or not info.file:
        raise Missing(f"where the system's {name} lies is not to be found out")
    return Path(os.fsdecode(info.file)).resolve()


def cypd_library() -> Path:
    """Return the path of the extension module in the ``cypd`` wheel, without importing it.

    Raises
    ------
    Missing
        If it is not installed.
    """
    package = importlib.util.find_spec("cypd")
    folders = package.submodule_search_locations if package is not None else None
    module = PathFinder.find_spec("_libpd", folders) if folders else None
    if module is None or module.origin is None:
        raise Missing("the wheel cypd is not installed")
    return Path(module.origin)


def copy_of(library: Path) -> ctypes.PyDLL:
    """Load a private copy of a shared library: one libpd more in this process.

    libpd keeps its state in global variables, so each patch needs a library of its own.
    Linkers know libraries by path and file, so each is loaded from a new file, which is
    removed at once: it lives on while it is loaded, and a killed process leaves nothing.

    Raises
    ------
    Missing
        If it is not a libpd that can be loaded.
    PatchError
        If no further copy can be made.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix="audiostream-libpd-", suffix=library.suffix)
        os.close(descriptor)
    except OSError as error:
        raise PatchError(
            f"no private copy of {library} can be made in {tempfile.gettempdir()}: {error}; "
            "make room there, or set TMPDIR to another folder"
        ) from error
    copy = Path(name)
    try:
        shutil.copyfile(library, copy)
        loaded = ctypes.PyDLL(name)
    except OSError as error:
        raise Missing(
            f"{library} cannot be loaded from {copy.parent}: {error}; if programs may not "
            "run from there, set TMPDIR to a folder where they may"
        ) from error
    finally:
        if sys.platform != "win32":  # where a loaded library cannot be removed
            copy.unlink()
    if not hasattr(loaded, "libpd_process_float"):
        raise Missing(f"{library} does not export libpd's functions")
    return loaded
