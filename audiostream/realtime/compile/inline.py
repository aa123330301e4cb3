"""Functions that kernels are made of: plain Python, and LLVM code within one module; at build.

numba makes a library of whatever a kernel calls: optimised, turned into machine code, and
optimised again in its caller, level by level.  That was three quarters of the time of the
first start.  An :func:`inlined` function is lowered once into the :class:`Module` that all
kernels share, and LLVM sees everything in one piece.  Its return type is read from its
annotation, so that it is also typed only once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import numba
from numba import types
from numba.core.bytecode import ByteCode, FunctionIdentity
from numba.core.callconv import create_error_model
from numba.core.codegen import CodeLibrary
from numba.core.fastmathpass import FastFloatBinOpVisitor
from numba.core.funcdesc import PythonFunctionDescriptor
from numba.core.interpreter import Interpreter
from numba.core.ir_utils import build_definitions
from numba.core.lowering import Lower
from numba.core.rewrites import rewrite_registry
from numba.core.ssa import reconstruct_ssa
from numba.core.typed_passes import PreLowerStripPhis, type_inference_stage

from audiostream.realtime.memory.atomics import emits
from audiostream.realtime.memory.layout import COMMAND, RAMP

__all__ = (
    "Module",
    "apart",
    "inlined",
    "lower",
    "reordered",
)

Function = TypeVar("Function", bound=Callable[..., Any])

RETURNS = {
    "None": types.void,
    "int": types.int64,
    "bool": types.boolean,
    "float": types.float64,
    "Float32": types.float32,
    "Command": numba.from_dtype(COMMAND),
    "Ramp": numba.from_dtype(RAMP),
}
"""What an annotation stands for."""


APART: set[Callable[..., Any]] = set()
"""The functions that :func:`apart` was said of."""

REORDERED: set[Callable[..., Any]] = set()
"""The functions that :func:`reordered` was said of."""


class Module(CodeLibrary):  # type: ignore[misc]
    """Collects what numba makes of each function in one LLVM module, and no more."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.module = super().create_ir_module(name)
        self.lowered: dict[Any, Any] = {}

    def create_ir_module(self, name: str) -> Any:
        return self.module

    def add_ir_module(self, ir_module: Any) -> None:
        """Nothing to do: it is the one that is here."""

    def add_linking_library(self, library: Any) -> None:
        """Leave it out: numba adds its runtime each time, which nothing here needs."""

    def finalize(self) -> None:
        raise TypeError("a Module only collects code")

    get_function = get_llvm_str = get_asm_str = finalize


def lower(context: Any, library: Module, function: Any, signature: Any) -> Any:
    """Have a function's code in a library; numba's descriptor of it."""
    key = (function, signature.args)
    if key not in library.lowered:
        library.lowered[key] = _lower(context, library, function, signature)
    return library.lowered[key]


def _lower(context: Any, library: Module, function: Any, signature: Any) -> Any:
    """Translate one function: bytecode, numba's form, that in SSA, types, LLVM's form.

    These are the steps of numba's own compiler that a kernel needs.  A kernel has no closure,
    no `with`, no array expression, nothing that counts references and no branch on a type;
    the steps that look for those take a third of the time.
    """
    context = context.subtarget(error_model=create_error_model("numpy", context))
    identity = FunctionIdentity.from_function(function)
    code = Interpreter(identity).interpret(ByteCode(identity))
    rewrite_registry.apply(
        "before-inference", SimpleNamespace(func_ir=code, typemap=None, calltypes=None)
    )
    code = reconstruct_ssa(code)
    code._definitions = build_definitions(code.blocks)
    kinds, returns, calls, _ = type_inference_stage(
        context.typing_context, context, code, signature.args, signature.return_type
    )
    code = PreLowerStripPhis()._strip_phi_nodes(code)
    code._definitions = build_definitions(code.blocks)
    descriptor = PythonFunctionDescriptor.from_specialized_function(
        code,
        kinds,
        returns,
        calls,
        mangler=context.mangler,
        inline=False,
        noalias=function in APART,
        abi_tags=(),
    )
    with context.push_code_library(library):
        lowering = Lower(context, library, descriptor, code)
        lowering.lower()
    if function in REORDERED:
        FastFloatBinOpVisitor(["reassoc", "contract"]).visit_Function(lowering.function)
    return descriptor


def apart(function: Function) -> Function:
    """:func:`inlined`, for a function whose pointers lead to memory of their own.

    What it writes through one of them it never reads through another, and LLVM need not
    check that before it works on vectors.
    """
    APART.add(function)
    return inlined(function)


def reordered(function: Function) -> Function:
    """:func:`apart`, for a function whose sums may be taken in any order.

    Without that no sum goes through vectors.  Its plain form rounds otherwise.
    """
    REORDERED.add(function)
    return apart(function)


def inlined(function: Function, form: Callable[..., Any] | None = None) -> Function:
    """Let compiled code call a plain function, which stays plain itself.

    Parameters
    ----------
    function
        Annotated with a return type that RETURNS has.
    form : function, optional
        What to compile in its place.
    """
    returns = function.__annotations__["return"]

    def definition(_typing: Any, *args: Any) -> Any:
        kinds = [types.unliteral(kind) for kind in args]
        result = RETURNS[returns]

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            library = context.active_code_library
            descriptor = lower(context, library, form or function, signature)
            return context.call_internal(builder, descriptor, signature, values)

        return result(*kinds), codegen

    _emit(function, definition)
    return function


def _emit(function: Callable[..., Any], definition: Any) -> None:
    """Have a definition stand for a function; numba reads the number of arguments off it."""
    own = inspect.signature(function)
    typing = inspect.Parameter("_typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    definition.__signature__ = own.replace(parameters=[typing, *own.parameters.values()])
    emits(function)(definition)
