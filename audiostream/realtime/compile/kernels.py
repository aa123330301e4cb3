"""The kernels as machine code: compiled once, kept on disk; any thread, before a start.

A start that finds the machine code on disk loads it with LLVM alone; numba, which takes
half a second to import, is only needed to compile.  The file's name holds a fingerprint of
all of ``realtime/`` and of the processor, so that a stale one is never taken, and its
content begins with a checksum.  Where no file can be kept, everything is compiled in memory.
cache.py sees to it that no other user can have written it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from audiostream.errors import AudioException
from audiostream.realtime.compile.cache import FOLDER, alone, folder, make, read_own, write_own
from audiostream.realtime.compile.cpu import processor

__all__ = ("Kernels", "build", "kernels")

log = logging.getLogger("audiostream")

SOURCES = Path(__file__).parent.parent

_IMPORTED = time.time()


@dataclass(frozen=True)
class Kernels:
    """Compiled entry points; see the plain functions of the same names.

    ``render`` and ``capture`` are addresses, for devices.  The others are called with
    integers, but that ``write_frames`` takes bytes as its source, too; ``run_clock`` gives up
    the interpreter lock, the rest keep it.
    """

    render: int
    capture: int
    run_clock: Callable[[int], int]
    load_word: Callable[[int], int]
    store_word: Callable[[int, int], int]
    swap_word: Callable[[int, int, int], int]
    request_wakeup: Callable[[int, int, int, int], int]
    request_room: Callable[[int], int]
    heard_at: Callable[[int, int], int]
    time_at: Callable[[int, int], int]
    monotonic_at: Callable[[int, int], int]
    latest_time: Callable[[int, int], int]
    read_encoded: Callable[[int, int, int, int, int, int], int]
    collect_woken: Callable[[int, int, int], int]
    read_floats: Callable[[int, int, int, int], int]
    encode_block: Callable[[int, int, int, int], int]
    write_frames: Callable[[int, int | bytes, int], int]
    spread: Callable[[int, int, int, int, int, int], int]
    remix: Callable[[int, int, int, int, int, int], int]
    resample: Callable[[int, int, int, int], int]
    sine: Callable[[int, int, int], int]


ARGUMENTS = {
    "run_clock": 1,
    "load_word": 1,
    "store_word": 2,
    "swap_word": 3,
    "request_wakeup": 4,
    "request_room": 1,
    "heard_at": 2,
    "time_at": 2,
    "monotonic_at": 2,
    "latest_time": 2,
    "read_encoded": 6,
    "collect_woken": 3,
    "read_floats": 4,
    "encode_block": 4,
    "write_frames": 3,
    "spread": 6,
    "remix": 6,
    "resample": 4,
    "sine": 3,
}
"""How many integers each takes that Python calls."""


# --- compiling ---------------------------------------------------------------------


def target_machine() -> Any:
    """Code for this very processor, at addresses that are not known before it is loaded."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    cpu, features = processor()
    return target.create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


def optimise(module: Any, machine: Any, pack: bool = True) -> None:
    """Run LLVM's -O3 over a module, vectorised loops included.

    `pack`: single values that are computed alike are put into vectors too (SLP).
    """
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = pack
    tuning.loop_unrolling = True
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)


def compile_kernels(entries: Mapping[str, Callable[..., Any]] | None = None) -> bytes:
    """An object file with these entries, or with the library's; takes seconds."""
    from audiostream.realtime.compile.module import ENTRIES, translate

    module = translate(ENTRIES if entries is None else entries)
    optimise(module, target_machine())
    return bytes(target_machine().emit_object(module))


# --- the file ----------------------------------------------------------------------


def fingerprint() -> str:
    """Hash of what the machine code depends on."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*.py")):
        digest.update(str(path.relative_to(SOURCES)).encode() + path.read_bytes())
    digest.update(repr((processor(), llvm.get_default_triple())).encode())
    digest.update(llvmlite.__version__.encode())
    return digest.hexdigest()[:32]


def place() -> Path | None:
    """Where the object file belongs; None, and a warning, if it cannot be kept anywhere."""
    try:
        home = folder()
        make(home)
    except OSError as error:
        log.warning(
            "compiling the audio kernels in memory, some seconds at each start, since they "
            "cannot be kept: %s; %s can name another folder",
            error,
            FOLDER,
        )
        return None
    return home / f"kernels-{fingerprint()}.o"


def read(path: Path) -> bytes | None:
    """The object file in `path`; None if there is none, or one that is not to be run."""
    try:
        content = read_own(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.info("compiled audio kernels are not used: %s", error)
        return None
    checksum, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == checksum else None


def edited() -> bool:
    """True if a source file is newer than what this process has imported of it."""
    return any(path.stat().st_mtime > _IMPORTED for path in SOURCES.rglob("*.py"))


def keep(path: Path, code: bytes) -> None:
    """Leave an object file in `path`; a warning if that cannot be done."""
    try:
        if not edited():  # else the name says other sources than were compiled
            write_own(path, hashlib.sha256(code).digest() + code)
    except OSError as error:
        log.warning(
            "the next start compiles the audio kernels again, since %s cannot be written: %s; "
            "%s can name another folder",
            path,
            error,
            FOLDER,
        )


def on_disk(path: Path) -> bytes:
    """The object file in `path`; of several first starts one compiles it, the others wait."""
    code = read(path)
    if code is None:
        log.warning("compiling the audio kernels for this machine, once; some seconds ...")
        with alone(path.parent):
            code = read(path)
            if code is None:
                code = newly_compiled()
                keep(path, code)
    return code


def newly_compiled() -> bytes:
    """An object file with the library's kernels.

    Raises
    ------
    AudioException
        The numba that is here cannot compile them.
    """
    try:
        return compile_kernels()
    except Exception as error:
        log.debug("the audio kernels cannot be compiled", exc_info=True)
        versions = f"numba {installed('numba')} and llvmlite {installed('llvmlite')}"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise AudioException(
            f"the audio kernels cannot be compiled by {versions} on Python "
            f"{sys.version.split()[0]} ({reason[:200]}); try: pip install --upgrade numba"
        ) from None


def installed(name: str) -> str:
    """The version of a package, without importing it, which may be what fails."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


# --- loading -----------------------------------------------------------------------

SYMBOLS = {
    "audiostream_write": "write",
    "audiostream_clock_gettime": "clock_gettime",
    "audiostream_nanosleep": "nanosleep",
}
"""What compiled code calls in the C library (see syscalls.py), by names of ours."""


def register_symbols() -> None:
    """Tell LLVM where they are; an unknown one would crash at its first call."""
    library = ctypes.CDLL(None)
    for ours, theirs in SYMBOLS.items():
        address = ctypes.cast(getattr(library, theirs), ctypes.c_void_p).value
        llvm.add_symbol(ours, address)


NAMES = ("render", "capture", *ARGUMENTS)
_engines: list[Any] = []
"""Machine code that is loaded stays for good: an audio thread may be in it."""


def load(code: bytes, names: Iterable[str] = NAMES) -> dict[str, int]:
    """Make an object file callable; the addresses of its entries."""
    register_symbols()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return {name: engine.get_function_address(name) for name in names}


def build(cache: bool = True) -> Kernels:
    """Load the machine code from disk, or compile it and keep it there.

    Parameters
    ----------
    cache : bool
        Look on disk, and keep it there.

    Raises
    ------
    AudioException
        The numba that is here cannot compile them.
    """
    path = place() if cache else None
    addresses = load(newly_compiled() if path is None else on_disk(path))
    callables: dict[str, Any] = dict(addresses)
    for name, count in ARGUMENTS.items():
        kind = ctypes.CFUNCTYPE if name == "run_clock" else ctypes.PYFUNCTYPE
        arguments: list[Any] = [ctypes.c_int64] * count
        if name == "write_frames":
            arguments[1] = ctypes.c_void_p  # which takes bytes, too
        callables[name] = kind(ctypes.c_int64, *arguments)(addresses[name])
    return Kernels(**callables)


@functools.lru_cache(maxsize=1)
def kernels() -> Kernels:
    """The process's kernels; the first call loads them, or compiles them for seconds."""
    return build()
