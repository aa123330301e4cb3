"""Kernels as machine code: compiled and tried once, kept on disk; caller thread.

A kernel that is found on disk is loaded without numba.  The name of its file holds a
fingerprint of all that its machine code depends on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numpy as np

from audiostream.errors import KernelError
from audiostream.forks import LOCKS
from audiostream.kernels.contract import Contract
from audiostream.kernels.failures import NOT_FINITE, failure_text
from audiostream.kernels.loading import load_kernel
from audiostream.kernels.memory import Memory
from audiostream.kernels.refusals import (
    check_forms,
    globals_of,
    is_own_module,
    names_of,
    refusal,
)
from audiostream.realtime.compile.cache import folder, make, read_own, write_own
from audiostream.realtime.compile.cpu import processor
from audiostream.realtime.compile.kernels import installed

__all__ = ("Compiled", "compiled_for", "is_loaded")

log = logging.getLogger("audiostream")

KEPT = 256
"""Kernels that are kept on disk."""

PATIENCE = 60.0
"""Seconds that a trial may take on a busy machine; trial.py limits its CPU time."""


@dataclass(frozen=True)
class Compiled:
    """A kernel's machine code for one number of channels.

    Attributes
    ----------
    address : int
        See :func:`~audiostream.realtime.compile.syscalls.call_node` for its arguments.
    places : tuple
        Where it may raise: the exception, its text, the line counted from the function's first.
    sounds : bool
        In its trial it made something out of silence, as effects do not.
    """

    contract: Contract
    address: int
    places: tuple[tuple[str, str, int], ...]
    sounds: bool

    def failure(self, status: int) -> KernelError:
        """The error of a call that gave a negative number."""
        return KernelError(failure_text(self.contract.place, self.places, status))


_lock = threading.Lock()
_locks: dict[str, threading.Lock] = {}
_loaded: dict[str, Compiled] = {}
LOCKS.add(sys.modules[__name__], _lock=threading.Lock, _locks=dict)


def compiled_for(memory: Memory) -> Compiled:
    """Compile a kernel for an instance's channels, or load it; may take some seconds.

    Raises
    ------
    KernelError
        If it cannot run on the audio thread, or fails its trial.
    """
    contract = memory.contract
    key = _key(memory)
    if key not in _loaded:
        with _lock:
            own = _locks.setdefault(key, threading.Lock())
        with own:  # another kernel is loaded meanwhile
            if key not in _loaded:
                _loaded[key] = _load(contract, memory, key)
    # Another kernel may have the very same code, and another name.
    return dataclasses.replace(_loaded[key], contract=contract)


def is_loaded(memory: Memory) -> bool:
    """True if :func:`compiled_for` has nothing to compile and no file to read."""
    return _key(memory) in _loaded


def _load(contract: Contract, memory: Memory, key: str) -> Compiled:
    path = _path(contract, key)
    stored = None if path is None else _read(path)
    if stored is None:
        about, code = _compile(contract, memory)
        if path is not None:
            _keep(path, about, code)
    else:
        about, code = stored
    places = tuple((str(kind), str(text), int(line)) for kind, text, line in about["places"])
    return Compiled(contract, load_kernel(code), places, about["sounds"])


def _compile(contract: Contract, memory: Memory) -> tuple[dict[str, Any], bytes]:
    """Compile and try a kernel; what is to be known of it, and its object file."""
    try:
        check_forms(contract)
        from audiostream.kernels.translate import translate

        made = translate(
            contract, memory.channels, memory.state.dtype, tuple(b.ndim for b in memory.buffers)
        )
    except Exception as error:
        log.debug("kernel %s cannot be compiled", contract.place, exc_info=True)
        raise refusal(contract.place, error) from None
    sounds = _try(contract, memory, made.places, made.code)
    return {"places": made.places, "sounds": sounds}, made.code


# --- the trial ---------------------------------------------------------------------


def _try(contract: Contract, memory: Memory, places: Any, code: bytes) -> bool:
    """Run a kernel in a process of its own; True if it made something out of silence.

    Raises
    ------
    KernelError
        If it fails there, or comes to no end.
    """
    spec = {
        "rate": memory.rate,
        "channels": memory.channels,
        "state": memory.state.tobytes().hex(),
        "buffers": [
            (one.shape, one.tobytes().hex() if one.any() else "") for one in memory.buffers
        ],
        "parameters": [vars(one) for one in contract.parameters.values()],
    }
    command = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", "-m"]
    try:
        done = subprocess.run(
            [*command, "audiostream.kernels.trial"],
            input=json.dumps(spec).encode() + b"\n" + code,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        raise KernelError(_endless(contract)) from None
    if done.returncode == -signal.SIGPROF:  # see trial.py
        raise KernelError(_endless(contract))
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise KernelError(
            f"kernel {contract.place} ended the process of its trial "
            f"({lines[-1] if lines else f'signal {-done.returncode}'}); please report it"
        )
    result = json.loads(done.stdout)
    if "status" in result:
        text = failure_text(contract.place, places, result["status"])
        raise KernelError(f"{text} (in its trial, with {_shown(result)})")
    if "not_finite" in result:
        result["values"] = result["not_finite"]
        text = failure_text(contract.place, places, NOT_FINITE)
        raise KernelError(f"{text} (in its trial, with {_shown(result)})")
    share = float(result["nanoseconds"]) * memory.rate * 1e-9
    if share > 1:
        log.warning(
            "kernel %s takes %.0f %% of a core at %d Hz: sound through it will break up",
            contract.place,
            100 * share,
            memory.rate,
        )
    return bool(result["sounds"])


def _environment() -> dict[str, str]:
    """The environment, in which the trial finds this package."""
    import os

    here = str(Path(__file__).parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _endless(contract: Contract) -> str:
    return (
        f"kernel {contract.place} did not come to an end within a second of CPU time in its "
        "trial; let each loop end after a number of turns that block.shape[0] bounds"
    )


def _shown(result: dict[str, Any]) -> str:
    values = ", ".join(f"{name}={value:g}" for name, value in result["values"].items())
    return f"{result['signal']}{', ' if values else ''}{values}"


# --- the file ----------------------------------------------------------------------


def _path(contract: Contract, key: str) -> Path | None:
    try:
        home = folder()
        make(home)
    except OSError as error:
        log.info("compiled kernels are not kept: %s", error)
        return None
    return home / f"user-{key}.o"


def _read(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """What is known of a kernel and its object file; None: it is to be compiled."""
    try:
        content = read_own(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.info("a compiled kernel is not used: %s", error)
        return None
    checksum, rest = content[:32], content[32:]
    if hashlib.sha256(rest).digest() != checksum:
        return None
    line, _, code = rest.partition(b"\n")
    return json.loads(line), code


def _keep(path: Path, about: dict[str, Any], code: bytes) -> None:
    rest = json.dumps(about).encode() + b"\n" + code
    try:
        write_own(path, hashlib.sha256(rest).digest() + rest, "user-*.o", KEPT)
    except OSError as error:
        log.info("a compiled kernel is not kept: %s", error)


# --- what the machine code depends on ----------------------------------------------


def _key(memory: Memory) -> str:
    contract = memory.contract
    digest = hashlib.sha256(_surroundings())
    _add_function(digest, contract.function, set())
    digest.update(
        repr(
            (
                memory.state.dtype.descr,
                [
                    (name, one.ndim)
                    for name, one in zip(contract.buffers, memory.buffers, strict=True)
                ],
                list(contract.parameters.values()),
                contract.takes_rate,
                memory.channels,
            )
        ).encode()
    )
    return digest.hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def _surroundings() -> bytes:
    """What all kernels of this process have in common."""
    here = Path(__file__).parent
    sources = [(here / name).read_bytes() for name in ("translate.py", "trial.py")]
    versions = installed("numba"), llvmlite.__version__, sys.version_info[:2], processor()
    return repr(versions).encode() + b"".join(sources)


def _add_function(digest: Any, function: Any, seen: set[Any]) -> None:
    """Add a function's code, and what it names."""
    if function in seen:
        return
    seen.add(function)
    _add_code(digest, function.__code__)
    _add_value(digest, function.__defaults__, function, seen)
    _add_value(digest, function.__kwdefaults__, function, seen)
    for name, value in globals_of(function).items():
        digest.update(name.encode())
        _add_value(digest, value, function, seen)


def _add_code(digest: Any, code: CodeType) -> None:
    constants = [c for c in code.co_consts if not isinstance(c, CodeType)]
    names = (code.co_names, code.co_varnames, code.co_freevars)
    digest.update(code.co_code + repr((names, constants)).encode())
    # The lines, for the places in which it may raise; they count from the first.
    lines = [line and line - code.co_firstlineno for *_, line in code.co_lines()]
    digest.update(repr(lines).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(digest, constant)


def _add_value(digest: Any, value: Any, function: Any, seen: set[Any]) -> None:
    if isinstance(value, FunctionType):
        _add_function(digest, value, seen)
    elif isinstance(value, np.ndarray):
        digest.update(repr((value.dtype, value.shape)).encode() + value.tobytes())
    elif isinstance(value, tuple | list):
        digest.update(f"{type(value)} of {len(value)}".encode())
        for item in value:
            _add_value(digest, item, function, seen)
    elif isinstance(value, dict):
        _add_value(digest, tuple(value.items()), function, seen)
    elif isinstance(value, ModuleType):
        digest.update(value.__name__.encode())
        if is_own_module(value) and (value, function) not in seen:
            seen.add((value, function))
            for name in names_of(function.__code__):
                if hasattr(value, name):
                    digest.update(name.encode())
                    _add_value(digest, getattr(value, name), function, seen)
    else:
        digest.update(repr(value).encode())
