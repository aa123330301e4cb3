"""The decorator that makes a kernel of a plain function; any thread."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from audiostream.checks import shown
from audiostream.kernels.contract import Contract, contract_of
from audiostream.kernels.unit import Unit

__all__ = ("Kernel", "kernel")


Limits = tuple[float, float] | tuple[float, float, str]


class Kernel:
    """A plain function that runs on the audio thread; made by :func:`kernel`.

    Call it to make an instance: ``echo(seconds=0.2)``.

    Attributes
    ----------
    plain : function
        The function that was decorated.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.plain = contract.function
        functools.update_wrapper(self, contract.function)

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters and their defaults."""
        return {name: one.default for name, one in self._contract.parameters.items()}

    def __call__(self, *values: Any, **given: Any) -> Unit:
        """Make an instance.

        Parameters
        ----------
        **given
            Values of parameters, and the keywords that the kernel's own functions take.

        Raises
        ------
        FormatError
            For a value outside of the limits.
        TypeError
            For a keyword that it does not have, or if one is missing.
        """
        contract = self._contract
        known = [*contract.parameters, *contract.keywords]
        if values:
            first = known[0] if known else "gain"
            raise TypeError(
                f"{contract.place.name} takes its values by name, such as "
                f"{contract.place.name}({first}={shown(values[0])})"
            )
        for name in given:
            if name not in known:
                there = ", ".join(known) or "none"
                raise TypeError(f"{contract.place.name} has no {name!r}; it has {there}")
        keywords = {name: given.get(name, one) for name, one in contract.keywords.items()}
        for name, value in keywords.items():
            if value is inspect.Parameter.empty:
                raise TypeError(f"{contract.place.name} needs {name}=")
        numbers = {
            name: contract.check(name, given.get(name, one.default), keywords)
            for name, one in contract.parameters.items()
        }
        return Unit(contract, numbers, keywords)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value:g}" for name, value in self.parameters.items())
        return f"<kernel {self._contract.place.name}({parameters})>"


@overload
def kernel(function: Callable[..., Any], /) -> Kernel: ...


@overload
def kernel(
    *,
    state: Mapping[str, Any] = ...,
    buffers: Mapping[str, Callable[..., Any]] = ...,
    limits: Mapping[str, Limits] = ...,
    tail: float | Callable[..., float] = ...,
    latency: int | Callable[..., int] = ...,
    outputs: Sequence[str] = ...,
    scalars: Sequence[str] = ...,
    steps: Sequence[str] = ...,
    channels: int | Sequence[int] | None = ...,
    init: Callable[..., None] | None = ...,
    response: Callable[..., Any] | None = ...,
) -> Callable[[Callable[..., Any]], Kernel]: ...


def kernel(
    function: Callable[..., Any] | None = None,
    /,
    *,
    state: Mapping[str, Any] | None = None,
    buffers: Mapping[str, Callable[..., Any]] | None = None,
    limits: Mapping[str, Limits] | None = None,
    tail: float | Callable[..., float] = 0.0,
    latency: int | Callable[..., int] = 0,
    outputs: Sequence[str] = (),
    scalars: Sequence[str] = (),
    steps: Sequence[str] = (),
    channels: int | Sequence[int] | None = None,
    init: Callable[..., None] | None = None,
    response: Callable[..., Any] | None = None,
) -> Any:
    """Make an effect or a generator of a plain function, which runs on the audio thread.

    The function's arguments are ``block``, then ``state`` and the buffers by name if they are
    declared here, then the parameters, each with a default, and at last ``*, rate`` if it needs
    that.  ``block`` is float32 (frames, channels), changed in place; a generator is given a
    block of zeros.  A parameter is a read-only float32 array (frames,).  See the page "Write
    your own effect" in the docs.

    Parameters
    ----------
    state : mapping
        Field -> "f8", "i8" or a pair of one of these and a shape, which may have "channels" in
        it: numbers that the function keeps from call to call, zeros to begin with.
    buffers : mapping
        Name -> function of rate, channels and keywords of your own that gives a shape: float32
        arrays, zeros to begin with.
    limits : mapping
        Parameter -> (lowest, highest) value; a third item names an own keyword that an
        instance's values must not be above, either.
    tail : float or function
        Seconds for which it may sound on after silence; ``math.inf``: it never sleeps.
    latency : int or function
        Frames by which what comes out is late; or a function of rate and keywords.
    outputs : sequence of str
        Fields of the state that can be read as attributes of an instance.
    scalars : sequence of str
        Parameters that are one float64 a call.
    steps : sequence of str
        Parameters that jump on their frame, such as a gate.
    channels : int or sequence of int, optional
        Numbers of channels that it runs with; any if not given.
    init : function, optional
        Fills the state and the buffers: of (state, buffers by name, rate, channels, keywords of
        your own); plain Python, run by the caller.
    response : function, optional
        Of (values, frequencies, rate): its frequency response, complex.

    Returns
    -------
    Kernel

    Raises
    ------
    KernelError
        For an argument or a name that cannot be.
    FormatError
        For a number that cannot be.
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        return Kernel(
            contract_of(
                function,
                {} if state is None else state,
                {} if buffers is None else buffers,
                {} if limits is None else limits,
                tail,
                latency,
                outputs,
                scalars,
                steps,
                channels,
                init,
                response,
            )
        )

    return decorate if function is None else decorate(function)
