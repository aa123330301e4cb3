"""The benchmarks of effects and generators: both sides of each comparison do the same.

Nothing is timed here but to see that a time comes out.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from audiostream import aio
from audiostream.testing import ManualDevice
from benchmarks import effects, kernels, standin, startup, synth
from benchmarks.harness import in_process

RATE, FRAMES = 48000, 128


# --- beside C --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if shutil.which(kernels.COMPILE[0]) is None:
        pytest.skip("the loops in C need gcc")
    return kernels.compiled_loops(tmp_path_factory.mktemp("loops"))


@pytest.mark.parametrize("case", kernels.CASES)
def test_a_loop_in_c_puts_out_what_its_kernel_does(loops: ctypes.CDLL, case: str) -> None:
    kernel, loop, copies = (
        kernels.outputs(kernels.Way(loops, case, way))
        for way in (kernels.KERNEL, kernels.LOOP, kernels.COPIES)
    )
    np.testing.assert_allclose(loop, kernel, rtol=0, atol=kernels.ALIKE)
    np.testing.assert_array_equal(copies, np.tile(kernels.sound(), (3, 1)))
    assert np.abs(kernel - copies).max() > 0.01  # it does something


def test_a_time_is_that_of_its_calls(loops: ctypes.CDLL) -> None:
    way = kernels.Way(loops, "saw", kernels.KERNEL)
    before = way._memory.state[0].phase
    assert way.seconds(3) > 0
    after = way._memory.state[0].phase
    assert after == pytest.approx((before + 3 * kernels.FRAMES * 440 / RATE) % 1)


def test_a_call_that_fails_is_not_timed(loops: ctypes.CDLL) -> None:
    failing = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)(lambda *_: -1)
    way = kernels.Way(loops, "saw", kernels.KERNEL)
    way._job.call = ctypes.cast(failing, ctypes.c_void_p).value
    with pytest.raises(RuntimeError, match="failed"):
        way.seconds(1)


# --- beside other libraries --------------------------------------------------------------


@pytest.mark.parametrize("block", [64, 1000])
@pytest.mark.parametrize("name", [effects.SCIPY, effects.PEDALBOARD])
def test_equalisers_are_alike(name: str, block: int) -> None:
    pytest.importorskip(name)
    theirs = effects.scipys_eq if name == effects.SCIPY else pedalboards_eq
    sound = effects.noise(5000)
    made, wanted = (
        process(sound) for process in (theirs(block), effects.ours("equaliser", block))
    )
    effects.check(name, made[:, 0], wanted[:, 0])
    np.testing.assert_allclose(made, wanted, rtol=0, atol=effects.ALIKE[name])
    with pytest.raises(RuntimeError, match=name):
        effects.check(name, made[:, 0] + 0.1, wanted[:, 0])


def pedalboards_eq(block: int) -> effects.Process:
    return effects.pedalboards(effects.EQ, block)


def test_all_libraries_that_are_there_are_measured() -> None:
    found = in_process("benchmarks.effects:measure", 256, 40, 1)
    assert list(found) == [effects.EQ, effects.COMPRESSOR]
    there = [name for name in effects.PEERS if importlib.util.find_spec(name)]
    assert list(found[effects.EQ]) == [effects.OURS, *there]


# --- the synthesizer -----------------------------------------------------------------------


@pytest.mark.parametrize("moving", [False, True])
def test_all_voices_of_the_synthesizer_sound(moving: bool) -> None:
    device = ManualDevice(buffersize=FRAMES)
    with aio.AudioOutput(RATE, 2, 32, FRAMES, device=device) as speaker:
        made = synth.Synth(speaker, moving)
        assert made.silent_voices() == synth.VOICES  # no block was played yet
        played = device.step(RATE // 2)
        assert made.silent_voices() == 0
    assert 0.05 < np.abs(played[RATE // 4 :]).max() <= 1.0


def test_cutoffs_move() -> None:
    def play(moving: bool) -> np.ndarray:
        device = ManualDevice(buffersize=FRAMES)
        with aio.AudioOutput(RATE, 2, 32, FRAMES, device=device) as speaker:
            synth.Synth(speaker, moving)
            return device.step(RATE)

    steady, moving = play(False), play(True)
    assert np.abs(steady[:FRAMES] - moving[:FRAMES]).max() < 1e-3
    assert np.abs(steady - moving).max() > 1e-3


@pytest.fixture
def playing_to_the_standin() -> dict[str, str]:
    try:
        return standin.environment()
    except standin.BuildError as error:
        pytest.skip(str(error))


def test_the_synthesizers_cost_is_that_of_callbacks(
    playing_to_the_standin: dict[str, str],
) -> None:
    found = in_process("benchmarks.synth:costs", 60, 1, env=playing_to_the_standin)
    assert list(found) == [synth.STEADY, synth.MOVING, synth.CONTROL]
    assert all(cost > 0 for costs in found.values() for cost in costs)


def test_the_synthesizers_periods_are_counted(playing_to_the_standin: dict[str, str]) -> None:
    found = in_process("benchmarks.synth:missed", "idle", 40, env=playing_to_the_standin)
    assert found["judged"] + found["overslept"] == 40
    assert found["late_sound"] == 0


# --- a second start ------------------------------------------------------------------------


def test_a_second_start_with_three_kernels_needs_no_numba(tmp_path: Path) -> None:
    (tmp_path / "users_kernels.py").write_text(startup.USERS_KERNELS)
    path = os.pathsep.join((str(tmp_path), *startup.python_path()))
    kept = {"AUDIOSTREAM_CACHE": os.environ.get("AUDIOSTREAM_CACHE"), "PYTHONPATH": path}
    users = startup.environment(**kept)
    startup.python(startup.WITH_KERNELS, users)
    assert len(startup.stages(users, program=startup.WITH_KERNELS)) == len(startup.STAGES)
    with pytest.raises(RuntimeError, match="imported numba"):
        startup.stages(users, program=f"import numba\n{startup.WITH_KERNELS}")
