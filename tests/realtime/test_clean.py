"""The audio thread is clean: shown on the machine code, not promised.

From the compiled callback every function that it can reach is followed.  What is not
defined in the module must stand on :data:`ALLOWED`, a short list with reasons; there must
be no call through a pointer; and numba's inner function must return nothing but success,
since any other status makes its wrapper take the interpreter lock to report an error.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

from audiostream.realtime import compiled, system
from audiostream.realtime.atomics import floats_at
from audiostream.realtime.system import call_back

ALLOWED = {
    # --- the C library, under names of ours (system.py)
    "audiostream_write": "one non-blocking write of 8 bytes to a bell's descriptor",
    "audiostream_clock_gettime": "reads a clock; on Linux not even a system call",
    # --- LLVM's, by stem: what is behind the name's types does not matter
    "llvm.memset": "fills memory; inline stores or libc's memset: no lock, no allocation",
    "llvm.memcpy": "copies memory; inline or libc's memcpy: no lock, no allocation",
    "llvm.memmove": "the same for spans that overlap",
    "llvm.smin": "an instruction or two: the smaller integer",
    "llvm.smax": "an instruction or two: the greater integer",
    "llvm.umin": "an instruction or two: the smaller unsigned integer",
    "llvm.umax": "an instruction or two: the greater unsigned integer",
    "llvm.uadd.with.overflow": "an addition and its carry; from a loop's trip count",
    "llvm.umul.with.overflow": "a multiplication and its carry; from an overlap check",
    "llvm.usub.sat": "a subtraction that stops at zero; from a loop's trip count",
    "llvm.ceil": "one instruction since SSE4.1 and on AArch64; else libm's, which is pure",
    "llvm.assume": "no instruction at all: a hint",
    "llvm.lifetime.start": "no instruction at all: where a stack slot begins to be used",
    "llvm.lifetime.end": "no instruction at all: where it ceases to be",
    "llvm.experimental.noalias.scope.decl": "no instruction at all: a hint about aliasing",
    # --- and where the CPU has vectors that masks or a length go with (AVX-512, SVE)
    "llvm.masked.load": "a vector load of some lanes",
    "llvm.masked.store": "a vector store of some lanes",
    "llvm.get.active.lane.mask": "which lanes a loop's last round has",
    "llvm.vscale": "how long the CPU's vectors are",
    "llvm.vector.interleave2": "an instruction: lanes are shuffled",
    "llvm.vector.deinterleave2": "an instruction: lanes are shuffled",
    "llvm.vector.splice": "an instruction: lanes are shuffled",
}

LINKED = {
    "audiostream_write",
    "audiostream_clock_gettime",
    "memset",  # see llvm.memset
    "memcpy",
    "memmove",
    "ceil",  # see llvm.ceil
}
"""Symbols that the object file may want from outside: what the list above comes down to."""


# --- the walk ----------------------------------------------------------------------


@dataclass
class Found:
    """What a function reaches."""

    declarations: set[str] = field(default_factory=set)
    functions: list[str] = field(default_factory=list)
    globals: set[str] = field(default_factory=set)
    pointers: list[str] = field(default_factory=list)  # calls that are not by name
    statuses: list[str] = field(default_factory=list)  # what the first one returns

    @property
    def objections(self) -> list[str]:
        wrong = [name for name in sorted(self.declarations) if not is_allowed(name)]
        wrong += [f"call through a pointer: {call}" for call in self.pointers]
        wrong += [f"returns {status}" for status in self.statuses if status != "i32 0"]
        return wrong


def is_allowed(name: str) -> bool:
    """True if a declaration is on the list; the types of an intrinsic's name are ignored."""
    if not name.startswith("llvm."):
        return name in ALLOWED
    parts = name.split(".")
    return any(".".join(parts[:end]) in ALLOWED for end in range(2, len(parts) + 1))


def names_in(value: Any) -> set[str]:
    """Names of the globals and functions that a constant expression mentions."""
    return {
        quoted or plain
        for quoted, plain in re.findall(r'@(?:"([^"]+)"|([\w.$-]+))', str(value))
    }


def walk(module: Any, start: str) -> Found:
    """Follow every function operand of every instruction, from the function `start`."""
    functions = {function.name: function for function in module.functions}
    variables = {variable.name: variable for variable in module.global_variables}
    found = Found()
    waiting = [start]
    seen = {start}
    kinds = llvm.ValueKind
    while waiting:
        name = waiting.pop()
        if name in variables:
            found.globals.add(name)
            mentioned = names_in(str(variables[name]).partition("=")[2])
        elif functions[name].is_declaration:
            found.declarations.add(name)
            continue
        else:
            found.functions.append(name)
            mentioned = set()
            for block in functions[name].blocks:
                for instruction in block.instructions:
                    operands = list(instruction.operands)
                    opcode = instruction.opcode
                    for operand in operands:
                        if operand.value_kind in (kinds.function, kinds.global_variable):
                            mentioned.add(operand.name)
                        elif operand.is_constant and operand.value_kind not in (
                            kinds.constant_int,
                            kinds.constant_fp,
                        ):
                            mentioned |= names_in(operand)
                    calls = opcode in ("call", "invoke", "callbr")
                    if calls and operands[-1].value_kind != kinds.function:
                        found.pointers.append(str(instruction).strip())
                    if opcode == "ret" and name == start:
                        found.statuses.append(str(operands[0]) if operands else "void")
        new = mentioned - seen
        seen |= new
        waiting += sorted(new)
    return found


@dataclass(frozen=True)
class Code:
    """One callback's module, and the names of numba's two functions in it."""

    text: str
    wrapper: str

    @property
    def inner(self) -> str:
        assert self.wrapper.startswith("cfunc.")
        return self.wrapper.removeprefix("cfunc.")

    def module(self) -> Any:
        return llvm.parse_assembly(self.text)


def code_of(function: Callable[..., Any]) -> Code:
    """Compile a callback as the library does, without the cache, which keeps no IR."""
    made = compiled._compile("render", function, compiled.CALLBACK, False)
    return Code(made.inspect_llvm(), made.native_name)


def again(code: Code) -> Any:
    """The module after a second -O2, in which the wrapper sees into the inner function."""
    module = code.module()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(target_machine(), tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def target_machine() -> Any:
    return cpu_target.target_context.codegen()._tm


@pytest.fixture(scope="module")
def callbacks() -> dict[str, Code]:
    """The two callbacks, compiled anew (half a minute)."""
    system.register_symbols()
    entries = compiled._entries(compiled.fingerprint())
    return {name: code_of(entries[name][0]) for name in ("render", "capture")}


BOTH = pytest.mark.parametrize("name", ["render", "capture"])


# --- what must hold ----------------------------------------------------------------


@BOTH
def test_the_callback_reaches_nothing_but_what_is_allowed(
    callbacks: dict[str, Code], name: str
) -> None:
    found = walk(callbacks[name].module(), callbacks[name].inner)
    assert found.objections == []
    # It was looked at for real: it reads the clock, and rings bells.
    assert {"audiostream_clock_gettime", "audiostream_write"} <= found.declarations
    assert found.statuses
    assert found.globals == set(), "no state outside the records"


@BOTH
def test_after_another_optimisation_the_wrapper_reaches_no_python_either(
    callbacks: dict[str, Code], name: str
) -> None:
    found = walk(again(callbacks[name]), callbacks[name].wrapper)
    assert found.functions[0] == callbacks[name].wrapper
    assert [n for n in sorted(found.declarations) if not is_allowed(n)] == []
    assert found.pointers == []


@BOTH
def test_the_object_file_wants_nothing_else_from_outside(
    callbacks: dict[str, Code], name: str, tmp_path: Path
) -> None:
    """Behind the IR the code generator may call helpers of its own; this sees them."""
    wanted = undefined(callbacks[name], tmp_path)
    assert {"audiostream_clock_gettime", "audiostream_write"} <= wanted
    assert wanted - LINKED == set()


def undefined(code: Code, folder: Path) -> set[str]:
    """Undefined symbols of the callback's object file, as the system's `nm` tells."""
    nm = shutil.which("nm")
    assert nm, "nm comes with the C compiler that PyAudio was built with; install binutils"
    path = folder / "callback.o"
    path.write_bytes(target_machine().emit_object(again(code)))
    listing = subprocess.run(
        [nm, "-u", str(path)], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    # Mach-O puts an underscore before each name.
    names = {line.split()[-1] for line in listing.splitlines() if line.strip()}
    return {re.sub(r"^_(?=audiostream_|mem|ceil$)", "", symbol) for symbol in names}


VECTOR = r"<(?:vscale x )?\d+ x float>"


def vector_operations(text: str) -> dict[str, int]:
    """How many float additions and multiplications work on vectors."""
    return {name: len(re.findall(rf"\b{name} {VECTOR}", text)) for name in ("fadd", "fmul")}


def test_the_mix_is_vectorised(callbacks: dict[str, Code]) -> None:
    counts = vector_operations(callbacks["render"].text)
    # Four voices a pass are four multiplications and four additions on vectors at least,
    # one voice one of each more.
    assert counts["fmul"] >= 5, counts
    assert counts["fadd"] >= 5, counts


# --- and that the walk would see it ------------------------------------------------


def zeros(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    return np.int32(np.zeros(frames).sum())


def a_list(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    values = [source]
    for i in range(frames):
        values.append(i)
    return np.int32(len(values))


def raises(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    if frames > 100:
        raise ValueError("too many")
    return np.int32(0)


def prints(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    print(frames)
    return np.int32(0)


def divides(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    return np.int32(source // target)


def sines(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    return np.int32(np.sin(np.float64(source)))


def checks_bounds(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    fixed = (1, 2, 3)
    return np.int32(fixed[source])


def assigns_a_slice(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    into = floats_at(target, frames)
    into[:] = floats_at(source, frames + flags)
    return np.int32(0)


def calls_a_pointer(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
    return np.int32(call_back(source, 0, target, frames, time_info, flags, user))


FORBIDDEN = {
    zeros: "NRT_",
    a_list: "NRT_",
    raises: "returns",
    prints: "Py",
    sines: "llvm.sin",
    checks_bounds: "returns",
    assigns_a_slice: "returns",
    calls_a_pointer: "call through a pointer",
}


@pytest.mark.parametrize("kernel", FORBIDDEN, ids=lambda kernel: str(kernel.__name__))
def test_the_walk_catches(kernel: Any) -> None:
    code = code_of(kernel)
    found = walk(code.module(), code.inner)
    assert any(FORBIDDEN[kernel] in objection for objection in found.objections)


def test_the_walk_catches_a_division_without_the_error_model_that_we_compile_with() -> None:
    made = numba.cfunc(compiled.CALLBACK, nopython=True)(divides)
    code = Code(made.inspect_llvm(), made.native_name)
    assert any(
        "returns" in objection for objection in walk(code.module(), code.inner).objections
    )
    ours = code_of(divides)  # error_model="numpy": by zero is zero
    assert walk(ours.module(), ours.inner).objections == []


def test_a_wrapper_that_can_fail_still_reaches_python_after_the_optimisation() -> None:
    code = code_of(raises)
    found = walk(again(code), code.wrapper)
    assert any(name.startswith("Py") for name in found.declarations)


def test_the_object_file_of_a_callback_that_allocates_shows_it(tmp_path: Path) -> None:
    assert undefined(code_of(zeros), tmp_path) - LINKED


def test_a_clean_callback_passes() -> None:
    def clean(source, target, frames, time_info, flags, user):  # type: ignore[no-untyped-def]
        return np.int32(source)

    code = code_of(clean)
    found = walk(code.module(), code.inner)
    assert found.objections == []


def test_scalar_code_does_not_count_as_vectorised() -> None:
    assert vector_operations("%5 = fadd float %1, %2") == {"fadd": 0, "fmul": 0}
    assert vector_operations("%5 = fadd <4 x float> %1, %2")["fadd"] == 1
    assert vector_operations("%5 = fmul <vscale x 4 x float> %1, %2")["fmul"] == 1


def test_each_entry_of_the_list_has_its_reason() -> None:
    assert all(len(reason) > 20 for reason in ALLOWED.values())
    assert is_allowed("llvm.smin.i64")
    assert is_allowed("llvm.memset.p0.i64")
    for name in ("llvm.sin.f64", "llvm.sminx.i64", "llvm.mem", "malloc", "PyErr_SetString"):
        assert not is_allowed(name)
