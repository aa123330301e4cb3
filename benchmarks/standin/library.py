"""The stand-in's library: compiled when it is first wanted, and put under a process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("portaudio.c")
FLAGS = ("-std=gnu11", "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror")
NAMES = ("libportaudio.so.2", "libportaudio.so")
"""What loaders ask for: the soname, and what ``ctypes.util`` finds by a linker."""


class BuildError(Exception):
    """The stand-in cannot be built here."""


def build() -> Path:
    """The folder with the library, built if it is not there yet.

    It lies in the user's cache, by a hash of its source.

    Raises
    ------
    BuildError
        Without a C compiler or PortAudio's header, and on other systems than Linux.
    """
    key = hashlib.sha256(SOURCE.read_bytes() + repr((_compiler(), FLAGS)).encode())
    folder = _cache() / f"standin-{key.hexdigest()[:16]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary, "made")
        made.mkdir()
        library, *links = (made / name for name in NAMES)
        compile_to(library, library.name)
        for link in links:
            link.symlink_to(library.name)
        # Someone else may have built the same meanwhile, which is as good.
        with contextlib.suppress(OSError):
            made.rename(folder)
    return folder


def _compiler() -> list[str]:
    return os.environ.get("CC", "cc").split()


def compile_to(library: Path, soname: str) -> None:
    """Compile the stand-in; see :func:`build`.

    Parameters
    ----------
    soname
        What loaders take it for.  A process that has loaded it as libportaudio.so.2 gives
        it to PyAudio even if it is imported later.
    """
    if sys.platform != "linux":
        raise BuildError("the stand-in for PortAudio needs Linux (clock_nanosleep, prctl)")
    compiler, *options = _compiler()
    if shutil.which(compiler) is None:
        raise BuildError(
            f"the stand-in for PortAudio needs a C compiler, and there is no {compiler!r}; "
            "install one (on Debian and Ubuntu: apt install gcc), or name it in CC"
        )
    command = [
        compiler,
        *options,
        *FLAGS,
        f"-Wl,-soname,{soname}",
        str(SOURCE),
        "-o",
        str(library),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(
            "the stand-in for PortAudio does not compile; its header portaudio.h must be "
            "there (on Debian and Ubuntu: apt install portaudio19-dev):\n" + done.stderr
        )


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home, "audiostream-benchmarks")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir(), f"audiostream-benchmarks-{os.getuid()}")
    return folder


def environment(**settings: int) -> dict[str, str]:
    """What to set for a process that is to play to the stand-in.

    Parameters
    ----------
    settings
        As for :meth:`Standin.set`.
    """
    path = [str(build()), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    named = {f"STANDIN_{name.upper()}": str(value) for name, value in settings.items()}
    return {"LD_LIBRARY_PATH": os.pathsep.join(path), **named}
