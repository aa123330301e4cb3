"""What a kernel declares, checked when it is decorated; any thread."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audiostream.checks import check_integer, check_number, shown
from audiostream.errors import FormatError, KernelError

__all__ = ("Contract", "Parameter", "Place", "contract_of", "place_of")

RESERVED = frozenset(
    {
        "array",
        "at",
        "block",
        "blocks",
        "bypass",
        "channels",
        "copy",
        "cost",
        "curve",
        "error",
        "kernel",
        "latency",
        "outputs",
        "over",
        "plain",
        "prepare",
        "process",
        "rate",
        "ready",
        "reset",
        "response",
        "set",
        "smooth",
        "state",
        "tail",
        "values",
    }
)
"""Names that an instance has for itself, or that a kernel's arguments have."""

KINDS = {"f8": "float64", "i8": "int64"}
"""What a field of a kernel's state may be."""

LARGEST = 3e38
"""The largest value of a parameter, about that of float32."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel.

    Attributes
    ----------
    kind : str
        "array": float32, a value for each frame; "step": the same, but it jumps; "scalar":
        float64, a value for each call.
    low, high : float
        Its limits.
    limited : bool
        True if the kernel has declared them.
    within : str, optional
        An own keyword that a value must not be above, such as the longest time of a delay.
    """

    name: str
    default: float
    kind: str
    low: float
    high: float
    limited: bool
    within: str | None = None

    def check(self, value: Any) -> float:
        """Return a value as a float.

        Raises
        ------
        FormatError
            If it is no finite number within the limits.
        """
        return check_number(value, self.name, self.low, self.high, f"try {self.default:g}")


@dataclass(frozen=True)
class Place:
    """Where a function stands, for messages."""

    name: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})"


@dataclass(frozen=True, eq=False)
class Contract:
    """All that a kernel declares.

    Attributes
    ----------
    state : mapping
        Field -> (kind, shape); a shape has numbers and "channels".
    buffers : mapping
        Name -> function of rate, channels and own keywords that gives a shape.
    keywords : mapping
        Own keywords -> their defaults; ``inspect.Parameter.empty`` where there is none.
    tail, latency : float or function
        Seconds; frames; or a function of rate and of keywords or parameters.
    """

    function: Callable[..., Any]
    place: Place
    state: Mapping[str, tuple[str, tuple[int | str, ...]]]
    buffers: Mapping[str, Callable[..., Any]]
    parameters: Mapping[str, Parameter]
    takes_rate: bool
    tail: float | Callable[..., float]
    latency: int | Callable[..., int]
    outputs: tuple[str, ...]
    channels: tuple[int, ...] | None
    init: Callable[..., None] | None
    response: Callable[..., Any] | None
    keywords: Mapping[str, Any]

    def check(self, name: str, value: Any, keywords: Mapping[str, Any]) -> float:
        """Return the value of a parameter as a float.

        Raises
        ------
        FormatError
            If it is no finite number within the limits.
        """
        parameter = self.parameters[name]
        number = parameter.check(value)
        most = keywords.get(parameter.within or "")
        if isinstance(most, int | float) and number > most:
            raise FormatError(
                f"{name}={shown(value)} is above {parameter.within}={shown(most)}, which "
                f"{self.place.name} is made with; try {parameter.within}={number:g}"
            )
        return number

    def arguments(
        self, function: Callable[..., Any], skip: int, known: Mapping[str, Any]
    ) -> Any:
        """The keywords of `known` that a declared function takes, after the first `skip`."""
        return {name: known[name] for name in _names(function)[skip:] if name in known}

    def check_channels(self, channels: int) -> None:
        """Raise KernelError if it does not run with so many channels."""
        if self.channels is not None and channels not in self.channels:
            allowed = ", ".join(map(str, self.channels))
            raise KernelError(
                f"{self.place.name} runs with {allowed} channels, not with {channels}; use it "
                "on a stream with as many, or write a kernel that loops over block.shape[1]"
            )


def _is_function(one: Any) -> bool:
    """True for a function, a partial one, too; not for a class."""
    return callable(one) and not isinstance(one, type)


def place_of(function: Callable[..., Any]) -> Place:
    """Where a plain function stands."""
    code = function.__code__
    return Place(function.__name__, code.co_filename, code.co_firstlineno)


def _names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


class _Checker:
    """Collects the contract of one function; raises KernelError at the first fault."""

    def __init__(self, function: Any) -> None:
        if not inspect.isfunction(function):
            raise KernelError(
                f"{shown(function)} is no plain function; decorate a function that is written "
                "with def"
            )
        self.function = function
        self.place = place_of(function)
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            self.refuse("it is a coroutine or a generator", "write a plain def without yield")

    def refuse(self, why: str, instead: str) -> Any:
        raise KernelError(f"kernel {self.place}: {why}; {instead}")

    def check_name(self, name: Any, what: str) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            self.refuse(f"{shown(name)} is no name of a {what}", "choose a word")
        if name.startswith("_") or name in RESERVED:
            self.refuse(
                f"no {what} can be named {name!r}, which instances use themselves",
                "choose another name",
            )

    def state(self, fields: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int | str, ...]]]:
        made = {}
        for name, given in fields.items():
            self.check_name(name, "field of the state")
            pair = isinstance(given, tuple) and len(given) == 2
            kind, shape = given if pair else (given, ())
            shape = shape if isinstance(shape, tuple) else (shape,)
            sizes = all(n == "channels" or (type(n) is int and n > 0) for n in shape)
            if not (isinstance(kind, str) and kind in KINDS) or not sizes:
                self.refuse(
                    f"state field {name!r} is {shown(given)}",
                    'try "f8", "i8" or ("f8", ("channels", 2))',
                )
            made[name] = (kind, shape)
        return made

    def arguments(self, state: Any, buffers: Mapping[str, Any]) -> tuple[list[Any], bool]:
        """The arguments that are parameters, and whether it takes the rate."""
        given = list(inspect.signature(self.function).parameters.values())
        for one in given:
            if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                self.refuse(f"it takes *{one.name}", "name each parameter, with a default")
        expected = ["block", *(["state"] if state else []), *buffers]
        names = [one.name for one in given[: len(expected)]]
        if names != expected:
            self.refuse(
                f"its arguments begin with {', '.join(names) or 'nothing'}",
                f"begin with {', '.join(expected)}, as the decorator declares them, then the "
                "parameters, each with a default, then *, rate",
            )
        rest = given[len(expected) :]
        takes_rate = bool(rest) and rest[-1].name == "rate"
        if takes_rate:
            last = rest.pop()
            if last.kind is not last.KEYWORD_ONLY:
                self.refuse(
                    "rate is an ordinary argument", "write it last, after a star: *, rate"
                )
        for one in rest:
            if one.kind is one.KEYWORD_ONLY:
                self.refuse(f"{one.name} stands after the star", "only rate stands there")
            if one.default is one.empty:
                self.refuse(
                    f"parameter {one.name} has no default",
                    f"give it one, {one.name}=1.0; or declare it in state= or buffers=",
                )
        return rest, takes_rate

    def parameters(
        self, given: Sequence[Any], limits: Mapping[str, Any], scalars: Any, steps: Any
    ) -> dict[str, Parameter]:
        names = [one.name for one in given]
        for what, some in (("limits", limits), ("scalars", scalars), ("steps", steps)):
            for name in some:
                if name not in names:
                    self.refuse(
                        f"{what} has {name!r}, which is no parameter",
                        f"it has {', '.join(names) or 'none'}",
                    )
        if both := set(scalars) & set(steps):
            self.refuse(f"{min(both)!r} is in scalars and in steps", "a step is an array")
        made = {}
        for one in given:
            self.check_name(one.name, "parameter")
            given_limits = limits.get(one.name, (-LARGEST, LARGEST))
            within = None
            if isinstance(given_limits, tuple | list) and len(given_limits) == 3:
                *given_limits, within = given_limits
            low, high = self._limits(one.name, given_limits)
            default = check_number(
                one.default, one.name, low, high, "a default lies within the limits"
            )
            kind = "scalar" if one.name in scalars else "array"
            kind = "step" if one.name in steps else kind
            is_limited = one.name in limits
            made[one.name] = Parameter(one.name, default, kind, low, high, is_limited, within)
        return made

    def _limits(self, name: str, given: Any) -> tuple[float, float]:
        hint = f"limits are two finite numbers, {name}=(low, high), or also an own keyword"
        if not isinstance(given, tuple | list) or len(given) != 2:
            self.refuse(f"the limits of {name} are {shown(given)}", hint)
        low, high = (check_number(n, name, -LARGEST, LARGEST, hint) for n in given)
        if low > high:
            self.refuse(f"the limits of {name} are {shown(given)}", "the lower one comes first")
        return low, high

    def keywords(
        self, declared: Mapping[Callable[..., Any], int], known: Any, both: Sequence[Any]
    ) -> dict[str, Any]:
        """Own keywords of functions, of which the first arguments are given by position.

        `both`: functions that take parameters, too.
        """
        made: dict[str, Any] = {}
        for function, skip in declared.items():
            for one in list(inspect.signature(function).parameters.values())[skip:]:
                if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                    continue
                if one.name in known:
                    if function not in both:
                        self.refuse(
                            f"a function of buffers= or init= takes the parameter {one.name}",
                            "a parameter moves, and a buffer stays; choose another name",
                        )
                    continue
                self.check_name(one.name, "keyword")
                if made.get(one.name, one.empty) is one.empty:
                    made[one.name] = one.default
        return made


def contract_of(
    function: Any,
    state: Mapping[str, Any],
    buffers: Mapping[str, Any],
    limits: Mapping[str, Any],
    tail: Any,
    latency: Any,
    outputs: Sequence[str],
    scalars: Sequence[str],
    steps: Sequence[str],
    channels: Any,
    init: Any,
    response: Any,
) -> Contract:
    """Check what a kernel declares.

    Raises
    ------
    KernelError
        For an argument or a name that cannot be; the message names the function's line.
    FormatError
        For a number that cannot be.
    """
    checker = _Checker(function)
    for name, fields in (("state", state), ("buffers", buffers), ("limits", limits)):
        if not isinstance(fields, Mapping):
            checker.refuse(f"{name} is {shown(fields)}", f"try {name}={{...}}, by name")
    for name, words in (("outputs", outputs), ("scalars", scalars), ("steps", steps)):
        if not isinstance(words, tuple | list) or not all(isinstance(w, str) for w in words):
            checker.refuse(
                f"{name} is {shown(words)}", f'try {name}=("one",), a tuple of names'
            )
    functions = {"init": init, "response": response, **buffers}
    for name, one in functions.items():
        is_optional = name in ("init", "response") and one is None
        if not (is_optional or _is_function(one)):
            checker.refuse(
                f"{name} is {shown(one)}",
                "give a function: lambda rate, channels: (int(rate), channels)",
            )
    made = checker.state(state)
    for name in buffers:
        checker.check_name(name, "buffer")
    given, takes_rate = checker.arguments(made, buffers)
    parameters = checker.parameters(given, limits, scalars, steps)
    if same := (set(made) | set(buffers)) & set(parameters):
        checker.refuse(f"two things are named {min(same)!r}", "choose another name")
    for name in outputs:
        if made.get(name, ("", (1,)))[1] != ():
            checker.refuse(
                f"output {name!r} is no single number of the state",
                f'declare it: state={{{name!r}: "f8"}}',
            )
    if not _is_function(tail) and not (isinstance(tail, float) and tail == math.inf):
        tail = check_number(tail, "tail", 0, 3600, "seconds, or math.inf")
    if not _is_function(latency):
        latency = check_integer(latency, "latency", "frames", least=0, most=10**7, hint="0")
    if channels is not None:
        some = channels if isinstance(channels, tuple | list) else (channels,)
        channels = tuple(check_integer(n, "channels", least=1, most=64) for n in some)
    declared = dict.fromkeys(buffers.values(), 2)
    both = [one for one in (tail, latency) if callable(one)]
    declared |= dict.fromkeys(both, 1)
    if init is not None:
        declared[init] = bool(made) + len(buffers) + 2
    keywords = checker.keywords(declared, parameters, both)
    for one in parameters.values():
        if one.within is not None and one.within not in keywords:
            checker.refuse(
                f"the limits of {one.name} name {shown(one.within)}",
                f"it has the keywords {', '.join(keywords) or 'none'}",
            )
    return Contract(
        function=function,
        place=checker.place,
        state=made,
        buffers=dict(buffers),
        parameters=parameters,
        takes_rate=takes_rate,
        tail=tail,
        latency=latency,
        outputs=tuple(outputs),
        channels=channels,
        init=init,
        response=response,
        keywords=keywords,
    )
