"""Why a kernel is refused: its line, the reason, and what to write instead; caller thread."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import re
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from audiostream.errors import KernelError
from audiostream.kernels.contract import Contract, Place

__all__ = (
    "Refused",
    "check_forms",
    "globals_of",
    "is_full",
    "is_helper",
    "is_own_module",
    "names_of",
    "refusal",
)


class Refused(Exception):
    """A kernel cannot be compiled.

    Parameters
    ----------
    why, instead : str
    line : int, optional
        Of the file.
    """

    def __init__(self, why: str, instead: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.instead, self.line = why, instead, line


# --- what a kernel refers to -------------------------------------------------------


def globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The global and closure variables that a function and those in it name."""
    found: dict[str, Any] = {}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    nonlocals = {name: cell.cell_contents for name, cell in cells if is_full(cell)}
    for name in names_of(function.__code__):
        for place in (nonlocals, function.__globals__, vars(builtins)):
            if name in place:
                found[name] = place[name]
                break
    return found


def names_of(code: CodeType) -> Iterator[str]:
    """The names that code, and the functions in it, take from elsewhere; of attributes, too."""
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_of(constant)


def is_full(cell: Any) -> bool:
    """False for a variable of an outer function that has no value yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def is_own_module(value: Any) -> bool:
    """True for a module that numba does not know, of the user's."""
    return isinstance(value, ModuleType) and not _is_known(value.__name__)


def _is_known(module: str | None) -> bool:
    return str(module).partition(".")[0] in ("math", "numpy", "numba")


def is_helper(value: Any) -> bool:
    """True for a plain function that numba does not know, of the user's."""
    return isinstance(value, FunctionType) and not _is_known(value.__module__)


# --- forms that the source shows ---------------------------------------------------

LOOP = "write the loop over frames and channels"
ALLOCATES = "it allocates memory"

NUMPY = {
    "zeros": (ALLOCATES, "declare it: state= for a few numbers, buffers= for more"),
    "empty": (ALLOCATES, "declare it: state= for a few numbers, buffers= for more"),
    "ones": (ALLOCATES, "declare it in state= or buffers=, and fill it in init="),
    "full": (ALLOCATES, "declare it in state= or buffers=, and fill it in init="),
    "array": (ALLOCATES, "declare it in buffers= and fill it in init=, or use a tuple"),
    "arange": (ALLOCATES, "write for i in range(n)"),
    "linspace": (ALLOCATES, "compute each value in the loop"),
    "concatenate": (ALLOCATES, "copy value by value in a loop"),
    "sum": ("its loop is not made for the audio thread", "add up in a loop"),
    "mean": ("its loop is not made for the audio thread", "add up in a loop, and divide"),
    "clip": (ALLOCATES, "write min(max(x, low), high) of each value"),
    "dot": ("it calls a library for matrices", "add up the products in a loop"),
    "nditer": ("numba does not check the bounds of it", LOOP),
    "copy": (ALLOCATES, "declare a buffer in buffers= and copy value by value"),
}
"""Functions of numpy, why not, and what instead."""

CALLS = {
    "print": ("it writes to the terminal", "use outputs= to read a value outside"),
    "open": ("it waits for a disk", "load it before, and hand it to init="),
    "list": (ALLOCATES, "use a tuple, or declare a buffer"),
    "dict": (ALLOCATES, "use state= and buffers="),
    "set": (ALLOCATES, "use state= and buffers="),
    "str": (ALLOCATES, "leave texts to the code outside"),
    "input": ("it waits for a person", "use a parameter"),
    "eval": ("it needs the interpreter", "write the expression"),
    "exec": ("it needs the interpreter", "write the statements"),
}
"""Built-in functions, why not, and what instead."""

NODES: dict[type[ast.AST], tuple[str, str]] = {
    ast.List: (ALLOCATES, "use a tuple, or declare a buffer in buffers="),
    ast.ListComp: (ALLOCATES, "write a loop over what is there"),
    ast.GeneratorExp: ("it needs the interpreter", "write a loop"),
    ast.Dict: (ALLOCATES, "use state= and buffers="),
    ast.DictComp: (ALLOCATES, "use state= and buffers="),
    ast.Set: (ALLOCATES, "use state= and buffers="),
    ast.SetComp: (ALLOCATES, "use state= and buffers="),
    ast.JoinedStr: (ALLOCATES, "raise with a constant text"),
    ast.Try: ("an exception cannot be caught there", "test before, with if"),
    ast.With: ("there is nothing to enter or to leave", "write what is to be done"),
    ast.Await: ("the audio thread has no event loop", "do it outside, and set a parameter"),
    ast.Global: ("it would change a variable of Python", "use state="),
    ast.Nonlocal: ("it would change a variable of Python", "use state="),
    ast.Import: ("it needs the interpreter", "import at the top of the file"),
    ast.ImportFrom: ("it needs the interpreter", "import at the top of the file"),
    ast.ClassDef: ("it needs the interpreter", "use state="),
}
"""Statements and expressions, why not, and what instead."""


class _Forms(ast.NodeVisitor):
    """Raises Refused at the first form that cannot be."""

    def __init__(self, contract: Contract, first: int, known: dict[str, Any]) -> None:
        self.contract, self.first, self.known = contract, first, known

    def refuse(self, node: Any, why: str, instead: str) -> None:
        raise Refused(why, instead, self.first + node.lineno - 1)

    def visit(self, node: ast.AST) -> None:
        if type(node) in NODES:
            self.refuse(node, *NODES[type(node)])
        super().visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute):
            self._check_method(node, function)
        elif isinstance(function, ast.Name) and self._is_builtin(function.id):
            why, instead = CALLS[function.id]
            self.refuse(node, f"{function.id}() cannot run there: {why}", instead)
        self.generic_visit(node)

    def _is_builtin(self, name: str) -> bool:
        return name in CALLS and self.known.get(name) is getattr(builtins, name)

    def _check_method(self, node: ast.Call, function: ast.Attribute) -> None:
        name = function.attr
        owner = ast.unparse(function.value)
        if getattr(self.known.get(owner.partition(".")[0]), "__name__", "") == "numpy":
            if owner.endswith(".random"):
                self.refuse(
                    node,
                    "numpy's random numbers share a state with other threads",
                    "use audiostream.dsp.noise, or its generator in your own state",
                )
            if name in NUMPY:
                why, instead = NUMPY[name]
                self.refuse(node, f"{owner}.{name} cannot run there: {why}", instead)
        elif is_own_module(self.known.get(owner.partition(".")[0])):
            return
        elif name in ("reshape", "copy", "sum", "mean", "astype", "flatten", "tolist"):
            why = "a reshaped view is not known to numba's types" if name == "reshape" else ""
            why = why or (NUMPY[name][0] if name in NUMPY else ALLOCATES)
            self.refuse(node, f".{name}() cannot run there: {why}", LOOP)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = self.known.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if isinstance(owner, ModuleType) and not hasattr(owner, node.attr):
            self.refuse(
                node,
                f"the module {owner.__name__} has no {node.attr}",
                "name something that is in it",
            )
        if node.attr == "flat":
            self.refuse(node, "numba does not check the bounds of .flat", LOOP)
        fields = self.contract.state
        is_state = isinstance(node.value, ast.Name) and node.value.id == "state"
        if is_state and fields and node.attr not in fields:
            self.refuse(
                node,
                f"the state has no field {node.attr!r}; it has {', '.join(fields)}",
                f'declare it: state={{..., {node.attr!r}: "f8"}}',
            )
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and _is_slice(target) and _is_slice(node.value):
            self.refuse(
                node, "numba copies a slice in case the two overlap, and that allocates", LOOP
            )
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if (
            isinstance(target, ast.Subscript)
            and not isinstance(target.slice, ast.Tuple | ast.Slice)
            and ast.unparse(target.value) == "block"
        ):
            self.refuse(
                node,
                "numba copies a row in case the two overlap, and that allocates",
                f"name it first: frame = {ast.unparse(target)}, and then change frame",
            )
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for statement in node.body:
            self.visit(statement)


def _is_slice(node: ast.AST) -> bool:
    """True for ``x[:, 0]`` and the like."""
    if not isinstance(node, ast.Subscript):
        return False
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return any(isinstance(part, ast.Slice) for part in parts)


def check_forms(contract: Contract) -> None:
    """Look for what cannot be in a kernel's source, if that can be read.

    Raises
    ------
    Refused
    """
    try:
        lines, first = inspect.getsourcelines(contract.function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):  # typed into an interpreter: numba still looks at it
        return
    # Python 3.13 has what `python -c` runs for the source of all that is made by exec().
    for one in tree.body[:1]:
        if isinstance(one, ast.FunctionDef) and one.name == contract.function.__name__:
            _Forms(contract, first, globals_of(contract.function)).visit(one)


# --- what numba says ---------------------------------------------------------------

HINTS = (
    (
        r"enable_nrt|NRT required|Requires NRT|memory allocat",
        "it makes an array, and that allocates memory",
        f"{LOOP}, or name where the result goes, np.tanh(block, out=block)",
    ),
    (
        r"Untyped global name ['\"](\w+)",
        "numba does not know {0}",
        "use numbers, tuples, arrays, functions of math, and your own plain functions",
    ),
    (
        r"Cannot modify (?:read-?only|immutable)",
        "it writes to a parameter or to a table of the module, which are read-only",
        "compute into a variable, or declare a buffer",
    ),
    (
        r"readonly array\(float32, 1d, C\)|UniTuple\(int64 x 2\), array\(|bool\(array\(",
        "an array stands where one number belongs; a parameter is an array, of one value for "
        "each frame",
        'take one of them, gain[i], or declare it: @kernel(scalars=("gain",))',
    ),
    (
        r"getitem\((?:float64|int64), ",
        "it takes an element of a single number",
        'leave out the index; what is in scalars=("gain",) is one number for the whole block',
    ),
    (
        r"Cannot unify (.+?) and (.+?) for",
        "a variable is now {0}, now {1}",
        "give it one type: begin with 0.0 for a float, 0 for a whole number",
    ),
    (
        r"(?:variable|Variable) '?(\w+)'? (?:is not defined|referenced before assignment)",
        "{0} has no value there",
        "assign it on all paths",
    ),
    (
        r"No implementation of function \w+\(<[a-z-]+ (?:function )?'?(?:[\w.<>]*\.)?(\w+)",
        "numba has no {0} for such arguments",
        f"{LOOP}, with numbers, functions of math and your own",
    ),
    (
        r"Unknown attribute '(\w+)'",
        "numba knows no {0} of it",
        f"{LOOP}, with functions of math and your own",
    ),
)
"""Patterns of numba's messages, what they mean, and what to do."""


def line_of(error: BaseException, file: str) -> int | None:
    """The line in the user's file that an error of numba's names, the last one of them."""
    location = getattr(error, "loc", None)
    named = [
        int(line)
        for name, line in re.findall(r'File "([^"]+)", line (\d+)', str(error))
        if file.endswith(name.lstrip("."))
    ]
    if named:
        return named[-1]
    lowered = re.findall(r"at (.+?) \((\d+)\)", str(error))
    if places := [int(line) for name, line in lowered if name == file]:
        return places[-1]
    if location is not None and getattr(location, "filename", file) == file:
        return int(location.line)
    return None


def refusal(place: Place, error: BaseException) -> KernelError:
    """The error that a user sees."""
    if isinstance(error, Refused):
        why, instead, line = error.why, error.instead, error.line
    else:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        line = line_of(error, place.file)
        why = " ".join(text.split())[:300]
        instead = "see the page on what a kernel may do for the forms that work"
        for pattern, meaning, hint in HINTS:
            if found := re.search(pattern, text):
                why, instead = (text.format(*found.groups()) for text in (meaning, hint))
                break
    line = place.line if line is None else line
    is_file = place.file != "<string>"  # of exec(): another one's source, see check_forms
    source = linecache.getline(place.file, line).strip() if is_file else ""
    shown = f"\n    {source}\n" if source else " "
    return KernelError(
        f"kernel {place.name} cannot run on the audio thread ({place.file}:{line}):{shown}"
        f"{why}; {instead}"
    )
