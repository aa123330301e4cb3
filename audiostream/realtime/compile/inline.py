"""Functions that kernels are made of: plain Python, and LLVM code within one module; at build.

numba makes a library of whatever a kernel calls: optimised, turned into machine code, and
optimised again in its caller, level by level.  That was three quarters of the time of the
first start.  An :func:`inlined` function is lowered once into the :class:`Modules` that all
kernels share, and LLVM sees everything in one piece.  Its return type is read from its
annotation, so that it is also typed only once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import types
from numba.core.codegen import CodeLibrary
from numba.core.compiler import CompilerBase, Flags, compile_extra
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import (
    AnnotateTypes,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    FixupArgs,
    GenericRewrites,
    IRProcessing,
    ReconstructSSA,
    TranslateByteCode,
)

from audiostream.realtime.memory.atomics import emits
from audiostream.realtime.memory.layout import COMMAND, RAMP

__all__ = (
    "Modules",
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
"""What an annotation stands for; Any: what the first argument is."""


APART: set[Callable[..., Any]] = set()
"""The functions that :func:`apart` was said of."""

REORDERED: set[Callable[..., Any]] = set()
"""The functions that :func:`reordered` was said of."""


class Modules(CodeLibrary):  # type: ignore[misc]
    """Collects the LLVM modules that numba makes, one for each function, and no more."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.modules: list[Any] = []
        self.lowered: dict[Any, Any] = {}

    def add_ir_module(self, ir_module: Any) -> None:
        self.modules.append(ir_module)

    def add_linking_library(self, library: Any) -> None:
        """Leave it out: numba hands over its runtime each time, which nothing here needs."""

    def finalize(self) -> None:
        raise TypeError("only what was collected is wanted")

    get_function = get_llvm_str = get_asm_str = finalize


class Compiler(CompilerBase):  # type: ignore[misc]
    """numba's compiler with the passes that kernels need.

    They have no closures, no `with`, no array expressions and no branches on types; the
    passes that look for those are a fifth of its time.
    """

    def define_pipelines(self) -> list[Any]:
        passes = PassManager("audiostream")
        for step in (
            TranslateByteCode,
            FixupArgs,
            IRProcessing,
            GenericRewrites,
            ReconstructSSA,
            NopythonTypeInference,
            PreLowerStripPhis,
            IRLegalization,
            AnnotateTypes,
            NativeLowering,
            NoPythonBackend,
        ):
            passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


def _flags(function: Callable[..., Any]) -> Any:
    flags = Flags()
    flags.noalias = function in APART
    if function in REORDERED:
        flags.fastmath = {"reassoc", "contract"}
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"  # nothing raises
    return flags


def lower(context: Any, library: Modules, function: Any, signature: Any) -> Any:
    """Have a function's code in a library; numba's descriptor of it."""
    key = (function, signature.args)
    if key not in library.lowered:
        made = compile_extra(
            context.typing_context,
            context,
            function,
            signature.args,
            signature.return_type,
            _flags(function),
            {},
            library=library,
            pipeline_class=Compiler,
        )
        library.lowered[key] = made.fndesc
    return library.lowered[key]


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
        result = kinds[0] if returns == "Any" else RETURNS[returns]

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
