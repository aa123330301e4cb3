"""Turns a kernel into machine code with numba and LLVM; caller thread, on the first use only.

The kernel is typed and lowered by numba's own compiler, without numba's runtime, so that
nothing in it can allocate.  An entry of plain integers is put around it, which builds the
arrays; the number of channels is a constant there, so that LLVM unrolls the loops over it.
"""

from __future__ import annotations

import copy
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import ffi
from numba import types
from numba.core import cgutils, compiler
from numba.core import ir as numba_ir
from numba.core.callconv import CPUCallConv
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.cpu import CPUContext
from numba.core.cpu_options import FastMathOptions
from numba.core.ir_utils import get_definition, guard
from numba.core.lowering import Lower
from numba.core.registry import cpu_target
from numba.core.typed_passes import BaseNativeLowering, NativeLowering
from numba.core.untyped_passes import IRProcessing
from numba.extending import register_jitable
from numba.np.arrayobj import make_array, populate_array

from audiostream.forks import LOCKS
from audiostream.kernels.contract import Contract
from audiostream.kernels.failures import BAD_COUNT, FIRST_PLACE, IN_HELPER
from audiostream.kernels.loading import ALLOWED, ENTRY
from audiostream.kernels.refusals import (
    Refused,
    globals_of,
    is_full,
    is_helper,
    is_own_module,
    names_of,
)
from audiostream.realtime.compile.inline import Module
from audiostream.realtime.compile.kernels import optimise, target_machine

__all__ = ("Translated", "translate")

INT64 = ir.IntType(64)


@dataclass(frozen=True)
class Translated:
    """A kernel's machine code, and what is known of it.

    Attributes
    ----------
    places : tuple
        Of each place in which it may raise: the exception's name, its message, the line counted
        from the function's first.
    """

    code: bytes
    places: tuple[tuple[str, str, int], ...]


class _Places:
    """Where a kernel may raise, collected while it is lowered."""

    def __init__(self, first: int) -> None:
        self.first = self.line = first  # the line that is being lowered
        self.returns: int | None = None  # the line that returns something first
        self.found: list[tuple[str, str, int]] = []

    def add(self, kind: Any, args: Any, line: int) -> int:
        """The number of a place, counted from 1."""
        name = "StopIteration" if kind is None else kind.__name__
        text = " ".join(str(arg) for arg in args or ())
        self.found.append((name, text, line - self.first))
        return len(self.found)


class _CallConv(CPUCallConv):  # type: ignore[misc]
    """numba's calling convention, but that an exception is the number of its place."""

    def set_static_user_exc(
        self,
        builder: Any,
        exc: Any,
        exc_args: Any = None,
        loc: Any = None,
        func_name: Any = None,
    ) -> None:
        line = loc.line if loc is not None else self.context.places.line
        number = self.context.places.add(exc, exc_args, line)
        slot = self._get_excinfo_argument(builder.function)
        builder.store(builder.inttoptr(INT64(number), slot.type.pointee), slot)

    def set_dynamic_user_exc(
        self,
        builder: Any,
        exc: Any,
        exc_args: Any,
        nb_types: Any,
        loc: Any = None,
        func_name: Any = None,
    ) -> None:
        raise Refused(
            "an exception with a value that is computed needs memory",
            'raise it with a constant text, raise ValueError("too long")',
            loc.line if loc is not None else None,
        )


class _Context(CPUContext):  # type: ignore[misc]
    """numba's context for this processor, with the calling convention above."""

    places: _Places

    @property
    def call_conv(self) -> Any:
        return _CallConv(self)


class _Lower(Lower):  # type: ignore[misc]
    """numba's last step, but that it says which line it is at, and looks at ufuncs."""

    def lower_inst(self, inst: Any) -> None:
        if hasattr(self.context, "places"):  # not of a helper
            self.context.places.line = inst.loc.line
            if isinstance(inst, numba_ir.Return) and self.context.places.returns is None:
                self.context.places.returns = inst.loc.line
        expression = getattr(inst, "value", None)
        if isinstance(expression, numba_ir.Expr):
            self._check_arrays(expression, inst.loc.line)
        if isinstance(inst, numba_ir.SetAttr):
            self._check_field(inst)
        super().lower_inst(inst)
        if isinstance(self.library, _Module):
            self.library.note_line(inst.loc.line)

    def _check_field(self, inst: Any) -> None:
        """Refuse a float in a field of whole numbers: numba would cut it off."""
        record, value = self.typeof(inst.target.name), self.typeof(inst.value.name)
        if not isinstance(record, types.Record) or inst.attr not in record.fields:
            return
        field = record.typeof(inst.attr)
        if isinstance(field, types.Integer) and isinstance(value, types.Float):
            raise Refused(
                f"state.{inst.attr} is a whole number, and what is stored there is a float",
                'declare it as "f8", or store int(...) of it',
                inst.loc.line,
            )

    def _check_arrays(self, expression: Any, line: int) -> None:
        """Refuse what works on several arrays: numba takes it that their shapes agree."""
        operands: list[Any] = []
        if expression.op == "call":
            called = self.typeof(expression.func.name)
            if isinstance(getattr(called, "typing_key", None), np.ufunc):
                operands = list(expression.args)
        elif expression.op == "inplace_binop":
            operands = [expression.lhs, expression.rhs]
        arrays = [one for one in operands if isinstance(self.typeof(one.name), types.Array)]
        if len({self._origin(one) for one in arrays}) > 1:
            raise Refused(
                "numba does not check that the shapes of several arrays agree",
                "write the loop over frames and channels",
                line,
            )

    def _origin(self, variable: Any) -> int | str:
        """What tells where a variable comes from: the names of one array have one."""
        found = variable
        while isinstance(found, numba_ir.Var):
            definitions = self.func_ir._definitions.get(found.name, [])
            if len(definitions) != 1:
                return str(found.name)
            found = definitions[0]
        return id(found)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(BaseNativeLowering):  # type: ignore[misc]
    _name = "audiostream_lowering"

    @property
    def lowering_class(self) -> Any:
        return _Lower


@register_pass(mutates_CFG=False, analysis_only=False)
class _OutArguments(FunctionPass):  # type: ignore[misc]
    """Where a ufunc's result goes: numba takes it as the last argument only, not as out=."""

    _name = "audiostream_out_arguments"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        found = False
        for block in state.func_ir.blocks.values():
            for call in block.find_exprs("call"):
                keywords = dict(call.kws)
                if set(keywords) == {"out"} and _is_ufunc(state.func_ir, call.func):
                    call.args, call.kws = (*call.args, keywords["out"]), ()
                    found = True
        return found


def _is_ufunc(function: Any, variable: Any) -> bool:
    """True if a variable is a ufunc, by a name or as one of a module's."""
    attributes: list[str] = []
    found = guard(get_definition, function, variable)
    while isinstance(found, numba_ir.Expr) and found.op == "getattr":
        attributes.insert(0, found.attr)
        found = guard(get_definition, function, found.value)
    value = getattr(found, "value", None)  # of a global or closure variable
    for name in attributes:
        value = getattr(value, name, None)
    return isinstance(value, np.ufunc)


class _Compiler(compiler.CompilerBase):  # type: ignore[misc]
    """numba's compiler, with the two steps above."""

    def define_pipelines(self) -> list[Any]:
        pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_Lowering if step is NativeLowering else step, text)
            for step, text in pipeline.passes
        ]
        pipeline.add_pass_after(_OutArguments, IRProcessing)
        pipeline.finalize()
        return [pipeline]


class _Module(Module):
    """One LLVM module for the kernel, and the libraries of the functions that it calls."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.libraries: dict[int, Any] = {}
        self.lines: dict[str, int] = {}  # where a function that is elsewhere was called first
        self._new: list[Any] = []

    def add_linking_library(self, library: Any) -> None:
        if library.name != "nrt_rtsys" and library is not numba.core.runtime.rtsys.library:
            self.libraries[id(library)] = library
            self._new.append(library)

    def note_line(self, line: int) -> None:
        """Note that what is new in it was called in a line."""
        while self._new:
            for name in _declared(self._new.pop()._get_module_for_linking()):
                self.lines.setdefault(name, line)
        for function in self.module.functions:
            if function.is_declaration:
                self.lines.setdefault(function.name, line)


# A thread may compile while another one forks.
LOCKS.add(global_compiler_lock, _lock=threading.RLock)
LOCKS.add(ffi.lib._lock, _lock=threading.RLock)


def translate(
    contract: Contract, channels: int, dtype: Any, ndims: tuple[int, ...]
) -> Translated:
    """Compile a kernel for one number of channels.

    Parameters
    ----------
    dtype : dtype
        Of its state.
    ndims : tuple of int
        Dimensions of its buffers.

    Raises
    ------
    Refused, NumbaError
        If the kernel does what cannot be done on the audio thread.
    """
    first = contract.place.line
    function = _fresh(contract.function)
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    context = copy.copy(cpu_target.target_context)
    context.__class__ = _Context
    context.enable_nrt = False
    context.places = _Places(first)
    arguments = _arguments(contract, dtype, ndims)
    library = _Module(context.codegen(), "audiostream_kernel")
    with global_compiler_lock:
        result = compiler.compile_extra(
            cpu_target.typing_context,
            context,
            function,
            tuple(arguments.values()),
            None,
            _flags(),
            {},
            library=library,
            pipeline_class=_Compiler,
        )
        returns = result.signature.return_type
        if returns not in (types.none, types.int64):
            raise Refused(
                f"it returns {returns}",
                "return nothing; or, from a generator, on all paths how many frames it has "
                "filled: return n, and return block.shape[0] at the end",
                context.places.returns,
            )
        _add_entry(context, library, contract, result.fndesc, channels, arguments)
        module = _linked(library)
    machine = target_machine()
    # A filter's values depend on one another: to move them into vectors and out again costs
    # more than it saves.  An svf takes 6.9 ns a frame and channel with it, and 3.8 without; of
    # the kernels that ship only pink (4.0, 4.9) and adsr (1.05, 1.2) gain by it.
    optimise(module, machine, pack=False)
    _check_symbols(_declared(module), library.lines)
    code = bytes(target_machine().emit_object(module))
    _check_symbols(_undefined(code), library.lines)
    return Translated(code, tuple(context.places.found))


def _flags() -> Any:
    flags = compiler.Flags()
    flags.nrt = False
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"  # a division by zero gives infinity, or 0
    flags.boundscheck = True
    flags.noalias = True
    # Contraction only: gcc's default.  Without NaN and infinity no check of them would hold.
    flags.fastmath = FastMathOptions({"contract"})
    return flags


HELPER = {
    "boundscheck": True,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,  # nothing calls it but the kernel
    "no_cpython_wrapper": True,
    "pipeline_class": _Compiler,
}
"""How numba compiles a function that a kernel calls."""


def _fresh(function: Any) -> FunctionType:
    """A copy of a kernel that calls copies of its helpers, which numba does not know yet.

    numba compiles a helper once for each type, even if its globals have changed since.
    """
    copies: dict[FunctionType, FunctionType] = {}
    modules: dict[ModuleType, ModuleType] = {}

    def copied(one: FunctionType) -> FunctionType:
        if one in copies:
            return copies[one]
        names = dict(one.__globals__)
        cells = [
            CellType(cell.cell_contents) if is_full(cell) else cell
            for cell in one.__closure__ or ()
        ]
        other = FunctionType(
            one.__code__, names, one.__name__, one.__defaults__, tuple(cells) or None
        )
        other.__kwdefaults__, other.__qualname__ = one.__kwdefaults__, one.__qualname__
        copies[one] = other
        for name, value in globals_of(one).items():
            if name in names:
                names[name] = known(value, one)
        for cell in cells:
            if is_full(cell):
                cell.cell_contents = known(cell.cell_contents, one)
        if one is not function:
            register_jitable(**HELPER)(other)
        return other

    def known(value: Any, one: FunctionType) -> Any:
        """The copy of a helper, or of a module with what a function takes from it."""
        if is_helper(value) and value is not one:
            return copied(value)
        if not is_own_module(value):
            return value
        if value not in modules:
            modules[value] = ModuleType(value.__name__)
        copy_of = modules[value]
        for name in names_of(one.__code__):
            if hasattr(value, name) and not hasattr(copy_of, name):
                setattr(copy_of, name, None)  # it may lead back here
                setattr(copy_of, name, known(getattr(value, name), one))
        return copy_of

    return copied(function)


def _arguments(contract: Contract, dtype: Any, ndims: tuple[int, ...]) -> dict[str, Any]:
    """The kernel's arguments and numba's types of them."""
    made: dict[str, Any] = {"block": types.Array(types.float32, 2, "C", aligned=True)}
    if contract.state:
        made["state"] = numba.from_dtype(dtype)
    for name, ndim in zip(contract.buffers, ndims, strict=True):
        made[name] = types.Array(types.float32, ndim, "C", aligned=True)
    for parameter in contract.parameters.values():
        array = types.Array(types.float32, 1, "C", readonly=True, aligned=True)
        made[parameter.name] = types.float64 if parameter.kind == "scalar" else array
    if contract.takes_rate:
        made["rate"] = types.float64
    return made


# --- the entry ---------------------------------------------------------------------


def _add_entry(
    context: Any,
    library: _Module,
    contract: Contract,
    descriptor: Any,
    channels: int,
    arguments: dict[str, Any],
) -> None:
    """Add the C function of integers that the audio thread calls; see ``call_node``."""
    entry = ir.Function(library.module, ir.FunctionType(INT64, [INT64] * 7), ENTRY)
    builder = ir.IRBuilder(entry.append_basic_block())
    block, frames, _, state, buffers, params, rate = entry.args
    word = _Words(builder)
    values = []
    buffer_at = param_at = 0
    for name, kind in arguments.items():
        if name == "block":
            shape = [frames, INT64(channels)]
            value = _array(context, builder, kind, block, shape)
        elif name == "state":
            value = builder.inttoptr(state, context.get_value_type(kind))
        elif name in contract.buffers:
            address, *shape = (word(buffers, buffer_at + k) for k in range(kind.ndim + 1))
            buffer_at += kind.ndim + 1
            value = _array(context, builder, kind, address, shape)
        elif name == "rate":
            value = builder.sitofp(rate, ir.DoubleType())
        else:
            address = word(params, param_at)
            param_at += 1
            if kind is types.float64:
                value = builder.load(builder.inttoptr(address, ir.DoubleType().as_pointer()))
            else:
                value = _array(context, builder, kind, address, [frames])
        values.append(value)
    # Not "alwaysinline": LLVM would inline it before the helpers that it calls, and would not
    # know in them that block and state are apart.  A biquad takes 1.6 times as long then.
    inner = context.declare_function(library.module, descriptor)
    status, result = context.call_conv.call_function(
        builder, inner, descriptor.restype, descriptor.argtypes, values
    )
    with builder.if_then(status.is_error, likely=False):
        place = builder.ptrtoint(status.excinfoptr, INT64)
        known = builder.icmp_unsigned("<=", place, INT64(len(context.places.found)))
        number = builder.sub(INT64(FIRST_PLACE + 1), place)
        builder.ret(builder.select(known, number, INT64(IN_HELPER)))
    if descriptor.restype is types.none:
        builder.ret(frames)
    else:
        fits = builder.icmp_unsigned("<=", result, frames)
        builder.ret(builder.select(fits, result, INT64(BAD_COUNT)))


class _Words:
    """Loads 64-bit words."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def __call__(self, address: Any, index: int) -> Any:
        at = self.builder.add(address, INT64(8 * index))
        return self.builder.load(self.builder.inttoptr(at, INT64.as_pointer()))


def _array(context: Any, builder: Any, kind: Any, address: Any, shape: list[Any]) -> Any:
    """numba's C-contiguous array of float32 at an address."""
    array = make_array(kind)(context, builder)
    strides = [INT64(4)]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=shape,
        strides=strides,
        itemsize=INT64(4),
        meminfo=None,
    )
    return array._getvalue()


def _linked(library: _Module) -> Any:
    """The module with what it calls, of which only the entry is seen from outside."""
    module = llvm.parse_assembly(cgutils.normalize_ir_text(str(library.module)))
    for other in library.libraries.values():
        module.link_in(other._get_module_for_linking(), preserve=True)
    for thing in (*module.functions, *module.global_variables):
        if not thing.is_declaration and thing.name != ENTRY:
            thing.linkage = "internal"
    module.verify()
    return module


# --- what it calls -----------------------------------------------------------------


def _declared(module: Any) -> Iterator[str]:
    """Functions that a module calls and that are not in it."""
    for function in module.functions:
        if function.is_declaration and not function.name.startswith("llvm."):
            yield str(function.name)


def _check_symbols(names: Iterator[str], lines: Mapping[str, int]) -> None:
    for name in names:
        if name.lstrip("_") not in ALLOWED and name not in ALLOWED:
            raise Refused(
                f"it calls {name}, which cannot run on the audio thread",
                "write the loop out, with scalars and functions of math",
                lines.get(name),
            )


def _undefined(code: bytes) -> Iterator[str]:
    """The symbols that an ELF object file of 64 bits needs; some come with the last step.

    See the System V ABI, "Symbol Table".  Other formats are not looked into.
    """
    if code[:5] != b"\x7fELF\x02" or sys.byteorder != "little":
        return
    table, size, count = (
        *struct.unpack_from("<Q", code, 0x28),
        *struct.unpack_from("<HH", code, 0x3A),
    )
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + size * n) for n in range(count)]
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][4]
        for at in range(offset + entry, offset + length, entry):
            name, _, _, section = struct.unpack_from("<IBBH", code, at)
            if section == 0 and name:
                text = code[names + name : code.index(b"\0", names + name)].decode()
                yield text
