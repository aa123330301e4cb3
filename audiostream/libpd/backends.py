"""Which libpd: pylibpd, else the system's, else cypd's, or one named by hand; any thread."""

from __future__ import annotations

import importlib
import os
import threading
from pathlib import Path

from audiostream.checks import check_path
from audiostream.errors import NoLibpdError
from audiostream.forks import LOCKS
from audiostream.libpd.binding import BindingBackend
from audiostream.libpd.library import Missing, cypd_library, system_library
from audiostream.libpd.native import NativeBackend
from audiostream.libpd.protocol import Carrier

__all__ = ("BACKENDS", "NAMES", "VARIABLE", "Backends")

NAMES = ("pylibpd", "system", "cypd")
"""The backends, in the order in which they are tried."""

VARIABLE = "AUDIOSTREAM_LIBPD"
"""Names a backend, or the path of a shared library, where the caller names none."""


class Backends:
    """Finds backends, and keeps them: their engines are never unloaded."""

    def __init__(self) -> None:
        self._found: dict[str, Carrier] = {}
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)

    def choose(self, name: str | None = None) -> Carrier:
        """Return the backend of that name, or the first one that is there.

        Parameters
        ----------
        name : str, optional
            One of :data:`NAMES`, or the path of a shared library that is libpd.  None
            takes the one that ``AUDIOSTREAM_LIBPD`` names, and without that tries them all.

        Raises
        ------
        NoLibpdError
            If there is none, or not the one named.
        """
        if name is not None:
            name = check_path(name, "carrier", '"pylibpd", "system", "cypd" or a path')
        named = name or os.environ.get(VARIABLE)
        reasons = []
        for candidate in (named,) if named else NAMES:
            try:
                return self._get(candidate)
            except Missing as reason:
                reasons.append(f"{candidate}: {reason}")
        raise NoLibpdError(
            ("no libpd to play Pure Data patches with" if not named else "no such libpd")
            + f" ({'; '.join(reasons)}). "
            'Try: pip install "audiostream[puredata]", or install the system\'s libpd '
            "(apt install libpd0, brew install libpd)"
        )

    def _get(self, name: str) -> Carrier:
        with self._lock:
            if name not in self._found:
                self._found[name] = _make(name)
            return self._found[name]


def _make(name: str) -> Carrier:
    if name == "pylibpd":
        return _binding()
    if name == "system":
        library = system_library()
    elif name == "cypd":
        library = cypd_library()
    elif os.sep in name:
        library = Path(name).resolve()
        if not library.is_file():
            raise Missing("there is no such file")
    else:
        raise NoLibpdError(
            f"{name!r} is no way to get at libpd; {VARIABLE} and carrier= take "
            f"{', '.join(NAMES)} or the path of a shared library"
        )
    backend = NativeBackend(name, library)
    backend.release(backend.acquire())  # now it is known to work
    return backend


def _binding() -> Carrier:
    try:
        module = importlib.import_module("pylibpd")
    except ImportError as error:
        raise Missing(f"the module cannot be imported: {error}") from error
    if not hasattr(module, "libpd_process_float"):
        raise Missing("the module is not libpd's Python binding, it has no libpd_process_float")
    return BindingBackend(module)


BACKENDS = Backends()
"""The one of this process, as the libraries loaded in it are."""
