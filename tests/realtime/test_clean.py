"""The audio thread is clean: shown on the machine code, not promised.

The kernels are one LLVM module, and its optimised form is what becomes machine code.  In it
every function that a callback can reach is followed.  What is not defined in the module must
stand on :data:`ALLOWED`, a short list with reasons, and the only call through a pointer is that
of a strip's effect (:data:`NODE_CALL`).  The functions that numba has made return a status
beside their value; what the entries ignore must be success, so these functions too must return
nothing but that.
"""

from __future__ import annotations

import functools
import inspect
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba.core.errors import NumbaError

from audiostream.realtime.compile.kernels import ARGUMENTS, NAMES, optimise, target_machine
from audiostream.realtime.compile.module import ENTRIES, translate
from audiostream.realtime.compile.syscalls import call_back, sleep_until
from audiostream.realtime.memory.atomics import floats_at

ALLOWED = {
    # --- the C library, under names of ours (syscalls.py)
    "audiostream_write": "one non-blocking write of 8 bytes to a wakeup's descriptor",
    "audiostream_clock_gettime": "reads a clock; on Linux not even a system call",
    # --- LLVM's, by stem: the types at the name's end do not matter
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
    "llvm.fmuladd": "an instruction, or the multiplication and the addition that it stands for",
    "llvm.sqrt": "one instruction since SSE2 and on AArch64: no call",
    "llvm.fabs": "an instruction: a number without its sign",
    "llvm.maxnum": "an instruction: the greater of two floats, where none is a NaN",
    "llvm.copysign": "an instruction or two: a number with another one's sign",
    "llvm.ceil": "one instruction since SSE4.1 and on AArch64; else libm's, which is pure",
    "llvm.x86.sse.stmxcsr": "one instruction: reads this thread's floating-point mode",
    "llvm.x86.sse.ldmxcsr": "one instruction: sets it, for denormal numbers to be 0",
    "llvm.aarch64.get.fpcr": "one instruction: reads this thread's floating-point mode",
    "llvm.aarch64.set.fpcr": "one instruction: sets it, for denormal numbers to be 0",
    "llvm.assume": "no instruction at all: a hint",
    "llvm.lifetime.start": "no instruction at all: where a stack slot begins to be used",
    "llvm.lifetime.end": "no instruction at all: where it ceases to be",
    "llvm.experimental.noalias.scope.decl": "no instruction at all: a hint about aliasing",
    "llvm.vector.reduce.add": "a few instructions: the lanes of a vector are added up",
    "llvm.vector.reduce.fadd": "a few instructions: the lanes of a vector are added up",
    "llvm.vector.reduce.fmax": "a few instructions: the greatest of a vector's lanes",
    "llvm.vector.reduce.smin": "a few instructions: the least of a vector's lanes",
    # --- and where the CPU has vectors that masks or a length go with (AVX-512, SVE)
    "llvm.masked.gather": "a vector load from several places",
    "llvm.masked.load": "a vector load of some lanes",
    "llvm.masked.store": "a vector store of some lanes",
    "llvm.get.active.lane.mask": "which lanes a loop's last round has",
    "llvm.vscale": "how long the CPU's vectors are",
    "llvm.vector.interleave2": "an instruction: lanes are shuffled",
    "llvm.vector.deinterleave2": "an instruction: lanes are shuffled",
    "llvm.vector.splice": "an instruction: lanes are shuffled",
}

ELSEWHERE = {
    "audiostream_nanosleep": "waits; what a virtual device's clock does, and only that",
}
"""What the kernels that are no callbacks may reach besides."""

LINKED = {
    "audiostream_write",
    "audiostream_clock_gettime",
    "audiostream_nanosleep",
    "memset",  # see llvm.memset
    "memcpy",
    "memmove",
    "ceil",  # see llvm.ceil
}
"""Symbols that the object file may want from outside: what the list above comes down to."""


NODE_CALL = re.compile(r"call i64 %[\w.]+\((?:i64 [^,)]+(?:, |\))){7}")
"""A call of an effect (system.call_node): seven integers, and a status; no other looks so."""


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
        calls = [call for call in self.pointers if not NODE_CALL.search(call)]
        wrong += [f"call through a pointer: {call}" for call in calls]
        # paContinue and nothing else, or numba's success.
        wrong += [f"returns {s}" for s in self.statuses if s not in ("i64 0", "i32 0")]
        return wrong


def is_allowed(name: str) -> bool:
    """True if a declaration is on the list; the types of an intrinsic's name are ignored."""
    if not name.startswith("llvm."):
        return name in ALLOWED
    parts = name.split(".")
    return any(".".join(parts[:end]) in ALLOWED for end in range(2, len(parts) + 1))


def names_in(value: Any) -> set[str]:
    """Names of the globals and functions that a constant expression mentions."""
    text = re.sub(r'\bc"[^"]*"', "", str(value))  # not the bytes of a string
    return {quoted or plain for quoted, plain in re.findall(r'@(?:"([^"]+)"|([\w.$-]+))', text)}


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


def test_the_bytes_of_a_string_are_no_names() -> None:
    text = '{ ptr @.const.pickle, [3 x i8] c"\\80@z", ptr @"a b", i32 3 }'
    assert names_in(text) == {".const.pickle", "a b"}


# --- the kernels, optimised --------------------------------------------------------


class Code:
    """Entries as one module: optimised, and once more with what numba made of them visible."""

    def __init__(self, entries: Any, module: Any = None) -> None:
        module = module or translate(entries)
        # Each entry calls one function, numba's; inlined it would show no status any more.
        self.inner = {name: called(module.get_function(name)) for name in entries}
        opened = llvm.parse_assembly(str(module))
        for name in self.inner.values():
            opened.get_function(name).linkage = "external"
        machine = target_machine()
        optimise(module, machine)
        optimise(opened, machine)
        self.module = module
        self._opened = opened
        self.object_file = bytes(machine.emit_object(module))

    @functools.cache  # noqa: B019 - one Code for all tests
    def reached(self, name: str) -> Found:
        """What an entry reaches in the code that is run."""
        return walk(self.module, name)

    @functools.cache  # noqa: B019
    def behind(self, name: str) -> Found:
        """What numba's function behind an entry reaches, and what status it returns."""
        return walk(self._opened, self.inner[name])

    def statuses(self, name: str) -> set[str]:
        """What numba's function behind an entry returns as its status."""
        blocks = self._opened.get_function(self.inner[name]).blocks
        lines = [i for block in blocks for i in block.instructions if i.opcode == "ret"]
        return {str(next(iter(line.operands))) for line in lines}

    @functools.cache  # noqa: B019
    def loops(self, name: str) -> list[Loop]:
        """The loops on vectors that an entry reaches."""
        return list(loops_on_vectors(self.module, self.reached(name).functions))


def called(entry: Any) -> str:
    """The one function that an entry calls."""
    calls = [i for block in entry.blocks for i in block.instructions if i.opcode == "call"]
    (operands,) = (list(call.operands) for call in calls)
    return str(operands[-1].name)


@pytest.fixture(scope="module")
def code(translated: str) -> Code:
    """The library's kernels, translated again, since what is kept on disk has no IR."""
    return Code(ENTRIES, llvm.parse_assembly(translated))


CALLBACKS = ("render", "capture")
every_entry = pytest.mark.parametrize("name", ENTRIES)


# --- what must hold ----------------------------------------------------------------


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_reaches_nothing_but_what_is_allowed(code: Code, name: str) -> None:
    for found in (code.reached(name), code.behind(name)):
        assert found.objections == []
        # It was looked at for real: it reads the clock, and signals wakeups.
        assert {"audiostream_clock_gettime", "audiostream_write"} <= found.declarations


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_cannot_fail(code: Code, name: str) -> None:
    """The status that it ignores is always success."""
    assert code.statuses(name) == {"i32 0"}


def test_the_whole_module_wants_nothing_else_from_outside(code: Code) -> None:
    wanted = {function.name for function in code.module.functions if function.is_declaration}
    assert {name for name in wanted if not is_allowed(name)} == set(ELSEWHERE)


@every_entry
def test_only_a_devices_clock_waits_or_calls_any_pointer(code: Code, name: str) -> None:
    """Its callbacks; these call the effects of their strips, and nothing else."""
    found = code.reached(name)
    assert ("audiostream_nanosleep" in found.declarations) == (name == "run_clock")
    assert bool(found.pointers) == (name in ("run_clock", *CALLBACKS))
    assert all(NODE_CALL.search(call) for call in found.pointers) == (name != "run_clock")
    if name != "run_clock":
        assert [objection for objection in found.objections if "returns" not in objection] == []


def test_there_is_no_state_outside_the_records_and_no_exception(code: Code) -> None:
    """numba keeps the exceptions that a function may raise as pickles, in constants."""
    assert [variable.name for variable in code.module.global_variables] == []


def test_what_can_be_seen_from_outside_are_the_entries(code: Code) -> None:
    seen = {
        function.name
        for function in code.module.functions
        if not function.is_declaration and function.linkage == llvm.Linkage.external
    }
    assert seen == set(ENTRIES)


def test_the_object_file_wants_nothing_else_from_outside(code: Code, tmp_path: Path) -> None:
    """Behind the IR the code generator may call helpers of its own; this sees them."""
    wanted = undefined(code.object_file, tmp_path)
    assert {"audiostream_clock_gettime", "audiostream_write"} <= wanted
    assert wanted - LINKED == set()


def undefined(object_file: bytes, folder: Path) -> set[str]:
    """Undefined symbols of an object file, as the system's `nm` tells."""
    nm = shutil.which("nm")
    assert nm, "nm comes with the C compiler that PyAudio was built with; install binutils"
    path = folder / "kernels.o"
    path.write_bytes(object_file)
    listing = subprocess.run(
        [nm, "-u", str(path)], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    # Mach-O puts an underscore before each name.
    names = {line.split()[-1] for line in listing.splitlines() if line.strip()}
    return {re.sub(r"^_(?=audiostream_|mem|ceil$)", "", symbol) for symbol in names}


def test_every_entry_is_callable_as_it_is_declared() -> None:
    counts = {
        name: len(inspect.signature(function).parameters) for name, function in ENTRIES.items()
    }
    assert counts == {**dict.fromkeys(CALLBACKS, 6), **ARGUMENTS}
    assert set(NAMES) == set(ENTRIES)


# --- vectors -----------------------------------------------------------------------


OPERATIONS = {
    "load": r"= load <",
    "store": r"^store <",
    "fadd": r"= fadd (?:\w+ )*<",
    "fmul": r"= fmul (?:\w+ )*<",
    "fmuladd": r"@llvm\.fmuladd\.(?:nx)?v",
    "to float": r"= [su]itofp (?:\w+ )*<",
    "to integer": r"= fptosi <",
}
"""Instructions on vectors, by what they look like."""


@dataclass(frozen=True)
class Loop:
    """One loop on vectors: its instructions for each vector that it stores."""

    counts: dict[str, int]
    checked: bool  # entered only after a look at whether the memory overlaps


def vector_operations(block: Any) -> dict[str, int]:
    """How many of the operations are in a block."""
    lines = [str(instruction).strip() for instruction in block.instructions]
    return {
        name: sum(bool(re.search(pattern, line)) for line in lines)
        for name, pattern in OPERATIONS.items()
    }


def loops_on_vectors(module: Any, names: Iterable[str]) -> Iterator[Loop]:
    """The loops of one block, in these functions."""
    for function in map(module.get_function, names):
        before: dict[str, set[str]] = {}
        blocks = {block.name: block for block in function.blocks}
        for name, block in blocks.items():
            *_, last = block.instructions
            for operand in last.operands:
                before.setdefault(operand.name, set()).add(name)
        for name, block in blocks.items():
            counts = vector_operations(block)
            stores = counts.pop("store")
            if name in before.get(name, ()) and stores:
                each = {kind: count / stores for kind, count in counts.items() if count}
                yield Loop(each, is_checked(name, before))


def is_checked(name: str, before: dict[str, set[str]]) -> bool:
    """True if LLVM's check of what overlaps is among the blocks that it put before a loop."""
    seen: set[str] = set()
    waiting = {name}
    while waiting:
        here = waiting.pop()
        seen.add(here)
        if here.startswith("vector.memcheck"):
            return True
        if re.match(r"vec(tor)?\.|iter\.check", here):
            waiting |= before.get(here, set()) - seen
    return False


MIXES = {
    "add_steady": {"load": 2, "fmuladd": 1},
    "scale_frames": {"load": 2, "fmul": 2},
    "multiply_all": {"load": 2, "fmul": 1},
    "hypotenuses": {"load": 2, "fmul": 3, "fmuladd": 1},
    "turn_all": {"load": 1, "fmul": 1, "fmuladd": 1},
    "move_all": {"load": 1, "fmuladd": 1},
}
"""What the mixer's kernels load and calculate for each vector of the block."""


@pytest.mark.parametrize("kernel", MIXES)
def test_the_mix_works_on_vectors_and_looks_for_no_overlap(code: Code, kernel: str) -> None:
    found = [loop for loop in code.loops("render") if loop.counts == MIXES[kernel]]
    assert found
    assert not any(loop.checked for loop in found)


def test_samples_are_encoded_on_vectors(code: Code) -> None:
    for entry in ("render", "encode_block"):
        # int8 and int16; times full scale, and the sum and difference that round.
        found = [loop for loop in code.loops(entry) if loop.counts.get("to integer") == 1]
        assert len(found) >= 2, entry
        for loop in found:
            assert (loop.counts["load"], loop.counts["fmul"]) == (1, 1)


def test_samples_are_decoded_on_vectors(code: Code) -> None:
    for entry in ("capture", "write_frames"):
        found = [
            loop
            for loop in code.loops(entry)  # a ramp turns the numbers of frames into floats
            if loop.counts.get("to float") == 1 and "load" in loop.counts
        ]
        assert len(found) >= 2, entry
        for loop in found:
            assert (loop.counts["load"], loop.counts["fmul"]) == (1, 1)


def adds(target: int, source: int, count: int) -> None:
    into = floats_at(target, count)
    values = floats_at(source, count)
    for i in range(count):
        into[i] += values[i]


def adds_one_by_one(target: int, source: int, count: int) -> None:
    into = floats_at(target, count)
    for i in range(count):
        into[i + 1] += into[i]


def test_a_loop_that_must_look_for_overlap_is_told_from_one_that_need_not() -> None:
    code = Code({"adds": adds})
    loops = code.loops("adds")
    assert {"load": 2, "fadd": 1} in [loop.counts for loop in loops]
    assert all(loop.checked for loop in loops)


def test_a_loop_that_is_not_on_vectors_does_not_count() -> None:
    code = Code({"adds": adds_one_by_one})
    assert code.loops("adds") == []


# --- and that the walk would see it ------------------------------------------------


def zeros(source: int, frames: int) -> int:
    return np.int64(np.zeros(frames).sum())


def a_list(source: int, frames: int) -> int:
    values = [source]
    for i in range(frames):
        values.append(i)
    return len(values)


def prints(source: int, frames: int) -> int:
    print(frames)
    return 0


def assigns_a_slice(source: int, frames: int) -> int:
    into = floats_at(source, frames)
    into[:] = floats_at(source, frames + 1)
    return 0


def calls_a_plain_function(source: int, frames: int) -> int:
    return is_allowed(source)  # type: ignore[arg-type]


def calls_into_numba(source: int, frames: int) -> int:
    return source**frames


def takes_a_remainder(source: int, frames: int) -> int:
    return np.int64(np.float64(source) % np.float64(frames))


REFUSED: dict[Callable[..., int], tuple[type[Exception], str]] = {
    zeros: (NumbaError, "zeros"),
    a_list: (NumbaError, "NRT required but not enabled"),
    assigns_a_slice: (NumbaError, "setitem"),
    calls_a_plain_function: (NumbaError, "is_allowed"),
    prints: (TypeError, "a kernel calls numba_gil_ensure, which would crash"),
    calls_into_numba: (TypeError, r"a kernel calls \S+int_power\S+, which would crash"),
    takes_a_remainder: (TypeError, "a kernel calls floor, which would crash"),
}


@pytest.mark.parametrize("kernel", REFUSED, ids=lambda kernel: str(kernel.__name__))
def test_what_would_crash_is_not_even_compiled(kernel: Any) -> None:
    error, words = REFUSED[kernel]
    with pytest.raises(error, match=words):
        translate({"bad": kernel})


def raises(source: int, frames: int) -> int:
    if frames > 100:
        raise ValueError("too many")
    return 0


def checks_bounds(source: int, frames: int) -> int:
    fixed = (1, 2, 3)
    return fixed[source]


def steps_by_nothing(source: int, frames: int) -> int:
    total = 0
    for i in range(0, frames, source):
        total += i
    return total


def sines(source: int, frames: int) -> int:
    return np.int64(np.sin(np.float64(source)))


def sleeps(source: int, frames: int) -> int:
    sleep_until(frames, 0, source)
    return 0


def calls_a_pointer(source: int, frames: int) -> int:
    return call_back(source, 0, 0, frames, 0, 0, 0)


CAUGHT: dict[Callable[..., int], str] = {
    raises: "returns",
    checks_bounds: "returns",
    steps_by_nothing: "returns",
    sines: "llvm.sin",
    sleeps: "audiostream_nanosleep",
    calls_a_pointer: "call through a pointer",
}


@pytest.mark.parametrize("kernel", CAUGHT, ids=lambda kernel: str(kernel.__name__))
def test_the_walk_catches(kernel: Any, tmp_path: Path) -> None:
    code = Code({"bad": kernel})
    found = code.behind("bad")
    assert any(CAUGHT[kernel] in objection for objection in found.objections)
    pickles = [v.name for v in code.module.global_variables if "pickle" in v.name]
    if CAUGHT[kernel] == "returns":
        assert "returns i32 0" not in found.objections
    elif kernel is sines:
        assert undefined(code.object_file, tmp_path) == {"sin"}
    else:
        assert pickles == []


def divides(source: int, frames: int) -> int:
    return source // frames + source % frames


def test_a_division_is_clean() -> None:
    """By zero it is zero: numba compiles it with numpy's rules."""
    assert Code({"divides": divides}).behind("divides").objections == []


def test_a_clean_kernel_passes() -> None:
    def clean(source: int, frames: int) -> int:
        return source + frames

    code = Code({"clean": clean})
    assert code.behind("clean").objections == []
    assert [variable.name for variable in code.module.global_variables] == []


def test_each_entry_of_the_list_has_its_reason() -> None:
    assert all(len(reason) > 20 for reason in (ALLOWED | ELSEWHERE).values())
    assert is_allowed("llvm.smin.i64")
    assert is_allowed("llvm.memset.p0.i64")
    assert is_allowed("llvm.fmuladd.v8f32")
    for name in ("llvm.sin.f64", "llvm.sminx.i64", "llvm.mem", "malloc", "PyErr_SetString"):
        assert not is_allowed(name)
    assert not any(is_allowed(name) for name in ELSEWHERE)
