"""What a kernel declares, and what its instances take."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream import dsp, kernel, render
from audiostream.errors import AudioException, FormatError, KernelError
from tests.test_arguments import BAD

SHORT = np.zeros((8, 2), np.float32)


@kernel(
    state={"n": "i8"},
    buffers={"line": lambda rate, channels, longest=0.01: (int(longest * rate) + 1, channels)},
    limits={"seconds": (0.0, 0.01), "feedback": (0.0, 0.99)},
    tail=1.0,
)
def echo(block, state, line, seconds=0.003, feedback=0.4, *, rate):
    """An echo."""
    for i in range(block.shape[0]):
        back = (state.n - int(seconds[i] * rate)) % line.shape[0]
        for c in range(block.shape[1]):
            wet = line[back, c]
            line[state.n, c] = block[i, c] + feedback[i] * wet
            block[i, c] += wet
        state.n = (state.n + 1) % line.shape[0]


def test_an_instance_has_its_values() -> None:
    fx = echo(seconds=0.002)
    assert fx.seconds == 0.002
    assert fx.feedback == 0.4
    assert fx.values == {"seconds": 0.002, "feedback": 0.4, "longest": 0.01}
    fx.seconds = 0.004
    fx.set(feedback=0.1, seconds=0.005)
    assert fx.values == {"seconds": 0.005, "feedback": 0.1, "longest": 0.01}
    assert echo(**fx.values).values == fx.values
    other = fx.copy()
    other.feedback = 0.2
    assert (fx.feedback, other.feedback) == (0.1, 0.2)
    assert "seconds=0.005" in repr(fx)
    assert echo.plain.__name__ == "echo"
    assert echo.__doc__ == "An echo."
    assert echo.parameters == {"seconds": 0.003, "feedback": 0.4}
    assert repr(echo) == "<kernel echo(seconds=0.003, feedback=0.4)>"


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.02, -1, "0.1", None, True])
def test_a_bad_value_changes_nothing(value: Any) -> None:
    fx = echo()
    for change in (
        lambda: setattr(fx, "seconds", value),
        lambda: fx.set(feedback=0.9, seconds=value),
        lambda: echo(seconds=value),
    ):
        with pytest.raises(FormatError, match="seconds="):
            change()
    assert fx.values == echo().values


def test_an_unknown_name_is_refused_and_those_there_are_listed() -> None:
    fx = echo()
    with pytest.raises(AttributeError, match="seconds, feedback"):
        fx.second = 1
    with pytest.raises(AttributeError, match="seconds, feedback"):
        _ = fx.second
    with pytest.raises(AttributeError, match="seconds, feedback"):
        fx.set(seconds=0.001, volume=1)
    assert fx.seconds == 0.003
    with pytest.raises(TypeError, match="seconds, feedback, longest"):
        echo(second=1)
    with pytest.raises(AttributeError, match="fixed"):
        fx.longest = 2.0


def test_plain_compiled_and_numpy_agree() -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (4000, 2)).astype(np.float32)
    fx = echo(seconds=0.002, feedback=0.5)
    wanted = noise.astype(np.float64)
    line = noise.astype(np.float64).copy()
    for i in range(96, 4000):
        line[i] += 0.5 * line[i - 96]
        wanted[i] += line[i - 96]
    for blocks in (1, 7, 256, 4000):
        for plain in (False, True):
            made = fx.process(noise, 48000, plain=plain, blocks=blocks)
            np.testing.assert_allclose(made, wanted, atol=1e-5)
    assert np.array_equal(fx.process(noise, 48000), fx.process(noise, 48000)), "from zeros"


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 96000])
def test_any_channels_and_rates(channels: int, rate: int) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (1500, channels)).astype(np.float32)
    fx = echo(seconds=0.004)
    compiled = fx.process(noise, rate, blocks=300)
    np.testing.assert_allclose(compiled, fx.process(noise, rate, plain=True), atol=1e-6)
    assert not np.array_equal(compiled, noise)


# --- what is refused when it is decorated ------------------------------------------


def no_block(x):
    pass


def no_state(block, amount=1.0):
    pass


def no_default(block, amount):
    pass


def stars(block, *amounts):
    pass


def positional_rate(block, rate):
    pass


def other_keyword(block, *, speed=1.0, rate):
    pass


def with_state(block, state):
    pass


async def coroutine(block):
    pass


def named_set(block, set=1.0):
    pass


def underscore(block, _a=1.0):
    pass


def one(block, a=1.0):
    pass


@pytest.mark.parametrize(
    ("function", "declared", "message"),
    [
        (no_block, {}, "begin with block"),
        (no_state, {"state": {"z": "f8"}}, "begin with block, state"),
        (no_default, {}, "amount has no default"),
        (stars, {}, r"takes \*amounts"),
        (positional_rate, {}, "after a star"),
        (other_keyword, {}, "only rate"),
        (with_state, {}, "state has no default"),
        (coroutine, {}, "coroutine"),
        (named_set, {}, "'set'"),
        (underscore, {}, "'_a'"),
        (one, {"limits": {"b": (0, 1)}}, "no parameter"),
        (one, {"limits": {"a": (2, 1)}}, "lower one"),
        (one, {"limits": {"a": 1}}, "two finite numbers"),
        (one, {"scalars": ("a",), "steps": ("a",)}, "in scalars and in steps"),
        (one, {"outputs": ("z",)}, "no single number"),
        (with_state, {"state": {"z": "f4"}}, "state field 'z'"),
        (with_state, {"state": {"bypass": "f8"}}, "'bypass'"),
        (one, {"buffers": {"line": 5}}, "give a function"),
        (5, {}, "no plain function"),
    ],
)
def test_a_declaration_that_cannot_be(function: Any, declared: Any, message: str) -> None:
    with pytest.raises(KernelError, match=message) as caught:
        kernel(**declared)(function)
    if function != 5:
        assert "test_contract.py:" in str(caught.value), "the function's line"


@pytest.mark.parametrize(
    "declared", [{"limits": {"a": (2, 3)}}, {"tail": -1}, {"latency": 1.5}, {"channels": 0}]
)
def test_a_number_that_cannot_be(declared: Any) -> None:
    with pytest.raises(FormatError):
        kernel(**declared)(one)


DECLARED = (
    *("state", "buffers", "limits", "outputs", "scalars", "steps"),
    *("tail", "latency", "channels", "init", "response"),
)


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_a_bad_declaration_is_our_own_error(name: str, value: Any) -> None:
    for given in (value, {"a": value}, (value,)):
        with contextlib.suppress(AudioException):
            kernel(**{name: given})(one)


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_a_bad_argument_of_an_instance_is_our_own_error(value: Any) -> None:
    fx = echo()
    attempts = (
        lambda: setattr(fx, "seconds", value),
        lambda: setattr(fx, "smooth", value),
        lambda: setattr(fx, "bypass", value),
        lambda: fx.set(seconds=value),
        lambda: fx.set(seconds=0.001, over=value),
        lambda: fx.set(seconds=0.001, curve=value),
        lambda: fx.process(value, 48000),
        lambda: fx.process(SHORT, value),
        lambda: fx.process(SHORT, 48000, blocks=value),
        lambda: echo(seconds=value),
    )
    for attempt in attempts:
        with contextlib.suppress(AudioException):
            attempt()


def test_channels_that_it_does_not_run_with() -> None:
    @kernel(channels=(1, 2))
    def narrow(block):
        block *= 0.5

    assert narrow().process(SHORT, 48000).shape == (8, 2)
    with pytest.raises(KernelError, match=r"1, 2 channels, not with 6"):
        narrow().process(np.zeros((8, 6)), 48000)


@pytest.mark.parametrize("name", ["sum", "max", "size", "data", "dtype"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_field_may_have_the_name_of_a_method_of_numpys(name: str, plain: bool) -> None:
    names: dict[str, Any] = {"__name__": __name__}
    code = (
        "def begin(state, rate, channels):\n"
        f"    state.{name} = state.{name} + 2.0\n"
        "def f(block, state):\n"
        f"    state.{name} += block[0, 0]\n"
        f"    block[0, 0] = state.{name}\n"
    )
    exec(code, names)
    fx = kernel(state={name: "f8"}, init=names["begin"])(names["f"])()
    assert fx.process([[0.5]], 48000, plain=plain) == 2.5


def test_an_unknown_field_is_an_error_in_python_too() -> None:
    @kernel(state={"n": "f8"})
    def writes(block, state):
        state.m = 1.0

    @kernel(state={"n": "f8"})
    def reads(block, state):
        block[0, 0] = state.m

    for made in (reads, writes):
        with pytest.raises(AttributeError, match="no field 'm'"):
            made().process([[0.5]], 48000, plain=True)


def test_init_fills_state_and_buffers() -> None:
    def fill(state: Any, table: Any, rate: int, channels: int, level: float = 0.25) -> None:
        state.z[:] = channels
        table[:] = level * rate / 48000

    @kernel(state={"z": ("f8", ("channels",))}, buffers={"table": lambda rate, n: 4}, init=fill)
    def filled(block, state, table):
        for i in range(block.shape[0]):
            for c in range(block.shape[1]):
                block[i, c] = state.z[c] + table[i % 4]

    for plain in (False, True):
        assert np.all(filled().process(SHORT, 48000, plain=plain) == 2.25)
        assert np.all(filled(level=0.5).process(SHORT, 96000, plain=plain) == 3.0)


def test_a_keyword_without_a_default_is_needed() -> None:
    @kernel(buffers={"line": lambda rate, channels, longest: int(longest)})
    def needs(block, line):
        block[0, 0] = line.shape[0]

    with pytest.raises(TypeError, match="needs longest="):
        needs()
    assert needs(longest=5).process(SHORT, 48000)[0, 0] == 5


@pytest.mark.parametrize("shape", [0, -1, 1.5, "a", (2, 0), 1 << 40])
def test_a_shape_that_cannot_be(shape: Any) -> None:
    @kernel(buffers={"line": lambda rate, channels: shape})
    def shaped(block, line):
        pass

    with pytest.raises(KernelError, match="buffer 'line'"):
        shaped().process(SHORT, 48000)


def test_scalars_are_float64() -> None:
    @kernel(scalars=("a",))
    def scalar(block, a=0.1):
        for i in range(block.shape[0]):
            block[i, 0] = (a - 0.1) * 1e9

    assert np.all(scalar().process(SHORT, 48000) == 0)
    assert np.all(scalar(a=0.2).process(SHORT, 48000, plain=True)[:, 0] == np.float32(1e8))


def ramp(frames: int) -> Callable[..., Any]:
    @kernel(state={"n": "i8"})
    def ends(block, state):
        for i in range(block.shape[0]):
            if state.n == frames:
                return i
            block[i, 0] = 1.0
            state.n += 1
        return block.shape[0]

    return ends


@pytest.mark.parametrize("blocks", [1, 7, 100, 128])
@pytest.mark.parametrize("plain", [False, True])
def test_a_generator_ends_on_its_frame(blocks: int, plain: bool) -> None:
    made = ramp(100)().process(np.zeros((300, 1)), 48000, blocks=blocks, plain=plain)
    assert made.shape == (100, 1)
    assert np.all(made == 1)


def test_what_process_cannot_take() -> None:
    with pytest.raises(FormatError, match="shape"):
        echo().process(np.zeros((2, 2, 2)), 48000)
    with pytest.raises(FormatError, match="rate"):
        echo().process(SHORT, 0)
    with pytest.raises(FormatError, match="blocks"):
        echo().process(SHORT, 48000, blocks=0)


@pytest.mark.parametrize("plain", [False, True])
def test_parameters_move_in_process(plain: bool) -> None:
    @kernel(scalars=("b",))
    def writes(block, a=1.0, b=2.0):
        for i in range(block.shape[0]):
            block[i, 0] = a[i]
            block[i, 1] = b

    frames = np.arange(100)
    made = writes().process(
        np.zeros((100, 2)), 48000, plain=plain, blocks=64, a=frames / 2, b=frames
    )
    np.testing.assert_array_equal(made[:, 0], frames / 2)
    np.testing.assert_array_equal(made[:, 1], np.repeat([31, 63, 95, 99], [32, 32, 32, 4]))
    for bad in (np.zeros(99), 1.0, "x", np.full(100, np.nan), None):
        with pytest.raises(FormatError, match="a="):
            writes().process(np.zeros((100, 2)), 48000, a=bad)
    with pytest.raises(AttributeError, match="a, b"):
        writes().process(np.zeros((100, 2)), 48000, c=np.zeros(100))


def test_values_are_given_by_name() -> None:
    with pytest.raises(TypeError, match=r"by name, such as lowpass\(frequency=100\.0\)"):
        dsp.lowpass(100.0)


def test_a_time_needs_a_stream() -> None:
    osc = dsp.sine(level=0.0)
    with pytest.raises(FormatError, match=r"at=0\.5 .* play it or put it in a list"):
        osc.set(level=1.0, at=0.5)
    assert osc.level == 0.0
    render(lambda speaker: speaker.play(osc), 0.01)
    assert osc.set(level=0.5, at=0.5) == 0.0, "it is over"
    assert osc.set(level=1.0, over=1.0) == 0.0
    assert osc.level == 1.0


@pytest.mark.parametrize(
    ("dtype", "full"), [(np.int8, 64), (np.int16, 16384), (np.float64, 0.5)]
)
def test_process_takes_each_encoding_at_its_full_scale(dtype: Any, full: float) -> None:
    made = dsp.delay(mix=0.0).process(np.full(100, full, dtype), 48000)
    np.testing.assert_array_equal(made, np.full((100, 1), 0.5, np.float32))


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.ones((2, 480)), r"\(2, 480\).*try array\.T"),
        (np.ones(4, complex), "none of numbers"),
    ],
)
def test_process_refuses_what_is_no_sound(array: Any, text: str) -> None:
    with pytest.raises(FormatError, match=text):
        dsp.delay().process(array, 48000)


def test_a_value_above_what_the_instance_has_room_for() -> None:
    with pytest.raises(FormatError, match=r"seconds=2\.0 is above longest=1\.0.*longest=2"):
        dsp.delay(seconds=2.0)
    fx = dsp.delay(seconds=2.0, longest=2.5)
    fx.seconds = 2.5
    with pytest.raises(FormatError, match="above longest"):
        fx.seconds = 2.6
    with pytest.raises(FormatError, match="above longest"):
        fx.process(np.zeros(100), 48000, seconds=np.linspace(2.0, 3.0, 100))
    assert fx.seconds == 2.5


def test_a_keyword_in_limits_is_one_that_there_is() -> None:
    with pytest.raises(KernelError, match=r"name 'most'.*keywords none"):

        @kernel(limits={"x": (0.0, 1.0, "most")})
        def bounded(block, x=0.5):
            block[:] = 0.0
