"""From a function to machine code: errors with their lines, the trial, the file on disk."""

from __future__ import annotations

import ctypes
import inspect
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostream import kernel
from audiostream.errors import KernelError
from audiostream.kernels import compiled
from audiostream.realtime.compile import cache
from tests.kernels import forms

in_a_trial = pytest.mark.usefixtures("traced_children")
"""For coverage of what the trial's process runs."""

NOISE = np.random.default_rng(3).uniform(-0.9, 0.9, (300, 2)).astype(np.float32)


def line_of(function: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if text in line)


# --- what goes wrong while it runs -------------------------------------------------


@kernel(state={"n": "i8"})
def index_error(block, state):
    for i in range(block.shape[0]):
        state.n += 1
        if state.n > 200000:
            block[i + block.shape[0], 0] = 0.5  # beyond
        block[i, 0] = 0.5


@kernel(state={"n": "i8"})
def raises(block, state):
    for i in range(block.shape[0]):
        state.n += 1
        if state.n > 200000:
            raise ValueError("too late")
        block[i, 0] = 0.5


def beyond(array, n):
    return array[n, 0]


@kernel(state={"n": "i8"})
def in_helper(block, state):
    for i in range(block.shape[0]):
        state.n += 1
        block[i, 0] = beyond(block, i if state.n < 200000 else i + block.shape[0])


LONG = np.zeros((250000, 1), np.float32)  # longer than a trial


@pytest.mark.parametrize(
    ("made", "text", "kind"),
    [
        (index_error, "# beyond", "IndexError"),
        (forms.late, "assert", "AssertionError: too many frames"),
        (raises, "raise ValueError", "ValueError: too late"),
    ],
)
def test_an_error_names_its_line(made: Any, text: str, kind: str) -> None:
    line = line_of(made.plain, text)
    with pytest.raises(KernelError, match=f"{kind}.*in line {line}"):
        made().process(LONG, 48000)
    with pytest.raises((IndexError, AssertionError, ValueError)):
        made().process(LONG, 48000, plain=True)


def test_an_index_error_in_a_function_that_it_calls() -> None:
    with pytest.raises(KernelError, match="in a function that it calls"):
        in_helper().process(LONG, 48000)


def test_a_number_of_frames_that_cannot_be() -> None:
    @kernel
    def counts(block):
        return block.shape[0] + 1

    with pytest.raises(KernelError, match="number of frames"):
        counts().process(NOISE, 48000)


@kernel(state={"phase": "i8"})
def cut_off(block, state, *, rate):
    for i in range(block.shape[0]):
        block[i, 0] = state.phase
        state.phase += 440.0 / rate  # lost


@kernel(state={"count": "i8"})
def whole_numbers(block, state):
    state.count = int(state.count * 1.5) + 1
    block[:] = state.count


def test_a_float_in_a_field_of_whole_numbers_is_refused() -> None:
    line = line_of(cut_off.plain, "# lost")
    with pytest.raises(KernelError, match=rf"{line}\)[\s\S]*phase is a whole number.*f8"):
        cut_off().process(NOISE, 48000)
    made = whole_numbers().process(NOISE, 48000)
    assert (made[0, 0], made[-1, 0]) == (1.0, 2.0)  # of two calls


@pytest.mark.parametrize(
    "use", ["g > 0.5", "min(block[0, 0], g)", "g * 2.0", "block[0, 0] * g"]
)
def test_a_parameter_that_is_taken_for_a_number(use: str) -> None:
    source = f"def gain(block, g=1.0):\n    x = {use}\n    block[0, 0] = 1.0 if x else x\n"
    names: dict[str, Any] = {}
    exec(source, names)
    with pytest.raises(KernelError, match=r"array.*gain\[i\].*scalars"):
        kernel(names["gain"])().process(NOISE, 48000)


@kernel(scalars=("g",))
def taken_from_a_number(block, g=1.0):
    block[0, 0] = g[0]


def test_a_scalar_that_is_taken_for_an_array() -> None:
    with pytest.raises(KernelError, match="single number; leave out the index"):
        taken_from_a_number().process(NOISE, 48000)


# --- the trial ---------------------------------------------------------------------


@in_a_trial
def test_an_endless_loop_is_caught() -> None:
    @kernel
    def endless(block):
        i = 0
        while i < block.shape[0]:
            block[i, 0] = 0.0

    with pytest.raises(KernelError, match=r"endless .*test_compiled.py:\d+.* did not come to"):
        endless().process(NOISE, 48000)


@in_a_trial
def test_nan_at_a_limit_is_caught_and_its_values_named() -> None:
    @kernel(limits={"x": (0.0, 1.0)})
    def logarithm(block, x=1.0):
        for i in range(block.shape[0]):
            block[i, 0] = math.log(x[i])

    with pytest.raises(KernelError, match=r"NaN or an infinity.*x=0"):
        logarithm().process(NOISE, 48000)


@in_a_trial
def test_an_error_in_the_trial_is_caught() -> None:
    with pytest.raises(KernelError, match=r"too much in line \d+ \(in its trial, with .*x=1\)"):
        forms.picky().process(NOISE, 48000)


@in_a_trial
def test_a_parameter_without_limits_is_tried_at_its_default_only() -> None:
    @kernel
    def divides(block, x=1.0):
        for i in range(block.shape[0]):
            block[i, 0] /= x[i]

    np.testing.assert_allclose(
        divides(x=2.0).process(NOISE, 48000)[:, 0], NOISE[:, 0] / 2, rtol=1e-6
    )
    assert np.all(np.isinf(divides(x=0.0).process(NOISE, 48000)[:, 0]))


def test_a_kernel_that_takes_longer_than_its_sound_warns(
    caplog: pytest.LogCaptureFixture, folder: Path
) -> None:
    @kernel
    def slow(block):
        for i in range(block.shape[0]):
            x = block[i, 0]
            for k in range(1000):
                x = math.sin(x + k)
            block[i, 0] = x

    with caplog.at_level(logging.WARNING, logger="audiostream"):
        slow().process(NOISE[:8], 192000)
    assert "of a core" in caplog.text


# --- the file ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.FOLDER, str(tmp_path))
    monkeypatch.setattr(compiled, "_loaded", {})
    return tmp_path


GAIN = 0.5


def halved(x):
    return x * GAIN


def make(source: str = "") -> Any:
    @kernel
    def half(block):
        for i in range(block.shape[0]):
            block[i, 0] = halved(block[i, 0])

    return half


def test_a_second_start_finds_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()().process(NOISE, 48000)
    (file,) = folder.glob("user-*.o")
    written = file.read_bytes()
    monkeypatch.setattr(compiled, "_loaded", {})
    monkeypatch.setattr(compiled, "_compile", None)
    np.testing.assert_array_equal(make()().process(NOISE, 48000), first)
    assert file.read_bytes() == written


@pytest.mark.parametrize("harm", [b"", b"short", None])
def test_a_file_that_is_damaged_is_made_again(folder: Path, harm: bytes | None) -> None:
    first = make()().process(NOISE, 48000)
    (file,) = folder.glob("user-*.o")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?" if harm is None else harm)
    compiled._loaded.clear()
    np.testing.assert_array_equal(make()().process(NOISE, 48000), first)
    assert compiled._read(file) is not None, "whole again"


def test_what_it_names_is_in_the_name_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make()().process(NOISE, 48000)[0, 0] == NOISE[0, 0] * np.float32(0.5)
    monkeypatch.setitem(globals(), "GAIN", 0.25)
    make()().process(NOISE, 48000)
    make()().process(NOISE[:, :1], 48000)
    assert len(list(folder.glob("user-*.o"))) == 3


def test_a_folder_that_cannot_be_written_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.FOLDER, str(folder / "file" / "cache"))
    (folder / "file").write_text("not a folder")
    assert make()().process(NOISE, 48000)[0, 0] == NOISE[0, 0] * np.float32(0.5)


def test_a_second_start_imports_no_numba(folder: Path) -> None:
    program = folder / "program.py"
    program.write_text(
        "import sys\nimport numpy\nfrom audiostream import kernel\n"
        "@kernel\ndef half(block, amount=0.5):\n"
        "    for i in range(block.shape[0]):\n        block[i, 0] *= amount[i]\n"
        "print(half().process(numpy.ones((4, 1)), 48000)[0, 0], 'numba' in sys.modules)\n"
    )

    def run() -> str:
        done = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert run() == "0.5 True"
    assert run() == "0.5 False"


def test_the_files_that_are_kept_are_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "KEPT", 3)
    for number in range(6):
        monkeypatch.setitem(globals(), "GAIN", number)
        make()().process(NOISE, 48000)
    assert len(list(folder.glob("user-*.o"))) == 4, "and the newest"


# --- the machine code --------------------------------------------------------------


def test_two_threads_may_compile_at_once(folder: Path) -> None:
    import threading

    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.append(make()().process(NOISE, 48000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(one, results[0]) for one in results)


def test_machine_code_keeps_within_its_block() -> None:
    """What lies around the block, the state and the buffers stays as it is."""

    @kernel(state={"z": "f8"}, buffers={"line": lambda rate, channels: (16, channels)})
    def writes(block, state, line):
        for i in range(block.shape[0]):
            for c in range(block.shape[1]):
                line[i % 16, c] = block[i, c]
                block[i, c] = state.z
        state.z += 0.25

    unit = writes()
    memory = unit._memory(48000, 2, 64)
    made = compiled.compiled_for(memory)
    entry = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)(made.address)
    around = np.full((66, 2), 7, np.float32)
    block = around[1:65]
    words = memory.addresses()
    assert entry(block.ctypes.data, 64, 2, *words, 48000) == 64
    assert np.all(around[0] == 7)
    assert np.all(around[65] == 7)
    assert np.all(block == 0)
    assert memory.state.z[0] == 0.25
    assert np.all(memory.buffers[0] == 7)


def scaled(x, by=2.0):
    return x * by


TABLE = (np.arange(2000.0), 2.0)


def test_what_a_key_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults of helpers, and what is in tuples; and a helper as it is now."""

    def build() -> float:
        @kernel
        def plays(block):
            for i in range(block.shape[0]):
                block[i, 0] = scaled(1.0) * TABLE[1]

        return float(plays().process(NOISE, 48000)[0, 0])

    assert build() == 4.0
    monkeypatch.setattr(scaled, "__defaults__", (3.0,))
    assert build() == 6.0
    monkeypatch.setitem(globals(), "TABLE", (np.arange(2000.0), 5.0))
    assert build() == 15.0
    assert len(list(folder.glob("user-*.o"))) == 3


def test_an_error_is_of_the_kernel_that_has_failed() -> None:
    def build(name: str) -> Any:
        def body(block, top=0.5):
            for i in range(block.shape[0]):
                assert_below(top[i])

        body.__name__ = name
        return kernel(body)

    first, second = build("first"), build("second")
    for made, name in ((first, "first"), (second, "second")):
        with pytest.raises(KernelError, match=f"kernel {name} "):
            made(top=2.0).process(NOISE, 48000)


def assert_below(x):
    if x > 1.0:
        raise ValueError("too much")


def test_each_set_of_values_has_its_own_second() -> None:
    """Many limits make many sets."""

    @kernel(limits=dict.fromkeys("abcdefgh", (0.0, 1.0)))
    def many(block, a=0, b=0, c=0, d=0, e=0, f=0, g=0, h=0):
        for i in range(block.shape[0]):
            x = block[i, 0]
            for k in range(300):
                x = math.sin(x + k + a[i])
            block[i, 0] = x

    assert np.all(np.isfinite(many().process(NOISE, 48000)))
