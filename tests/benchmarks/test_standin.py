"""The stand-in for PortAudio: what it counts, and that each library really plays to it.

Time decides nothing here: fates are computed from made-up times, callbacks are stepped, and
where a stream does run in pace only what must add up is looked at.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from benchmarks import standin
from benchmarks.harness import in_process
from benchmarks.standin import library
from benchmarks.standin.players import WAYS
from tests.benchmarks.programs import FRAMES


@pytest.fixture(scope="module", autouse=True)
def built() -> Path:
    try:
        return standin.build()
    except standin.BuildError as error:
        pytest.skip(str(error))


def elsewhere(
    function: str, *args: Any, env: dict[str, str] | None = None, **settings: int
) -> Any:
    """Call a function of programs.py in a process that has the stand-in for PortAudio."""
    return in_process(
        f"tests.benchmarks.programs:{function}",
        *args,
        env={**standin.environment(**settings), "PYTHONWARNINGS": "error", **(env or {})},
    )


# --- building -------------------------------------------------------------------------


def test_it_is_built_once(built: Path) -> None:
    assert standin.build() == built
    assert {path.name for path in built.iterdir()} == set(library.NAMES)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(standin.BuildError, match=r"C compiler.*no-such-compiler"):
        standin.build()


def test_without_the_header_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "portaudio.c"
    source.write_text("#include <no_such_portaudio.h>\n")
    monkeypatch.setattr(library, "SOURCE", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(standin.BuildError, match=r"portaudio19-dev[\s\S]*no_such_portaudio"):
        standin.build()


def test_every_symbol_that_pyaudio_links_is_there(built: Path) -> None:
    extension = pytest.importorskip("pyaudio")._portaudio.__file__
    done = subprocess.run(
        ["ldd", "-r", extension],
        env=standin.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(built) in done.stdout
    undefined = [line for line in done.stderr.splitlines() if "Pa" in line]
    assert undefined == []


# --- what becomes of a period ------------------------------------------------------------


@pytest.fixture(scope="module")
def rules(built: Path, tmp_path_factory: pytest.TempPathFactory) -> standin.Rules:
    """Under another soname: no other test of this process is to get it for PortAudio."""
    path = tmp_path_factory.mktemp("rules") / "standin-rules.so"
    standin.compile_to(path, path.name)
    return standin.Rules(path)


@pytest.mark.parametrize(
    ("called", "returned", "fate"),
    [
        (1000, 1999, "on time"),
        (1900, 1950, "on time"),  # woken late, yet in time
        (1000, 2000, "missed"),
        (1000, 9000, "missed"),
        (1700, 2100, "overslept"),  # took 400: in time, had it been woken
        (1700, 2800, "missed"),  # took 1100: late in any case
        (2500, 2500, "overslept"),  # woken too late to be called at all
    ],
)
def test_a_block_that_was_due_at_1000_for_2000(
    rules: standin.Rules, called: int, returned: int, fate: str
) -> None:
    assert rules.classify(1000, 2000, called, returned, free_at=0)[0] == fate


def test_what_a_callback_takes_is_held_against_the_next_block(rules: standin.Rules) -> None:
    fate, free_at = rules.classify(1000, 2000, 1000, 2500, free_at=0)
    assert (fate, free_at) == ("missed", 2500)
    assert rules.classify(2000, 3000, 2500, 3200, free_at)[0] == "missed"


def test_what_the_kernel_takes_is_not(rules: standin.Rules) -> None:
    fate, free_at = rules.classify(1000, 2000, 1900, 2100, free_at=0)
    assert (fate, free_at) == ("overslept", 1200)
    assert rules.classify(2000, 3000, 2100, 3050, free_at)[0] == "overslept"


def test_a_callback_that_was_put_aside_is_not_held_against_it(rules: standin.Rules) -> None:
    fate, free_at = rules.classify(1000, 2000, 1000, 2500, free_at=0, aside=1400)
    assert (fate, free_at) == ("overslept", 1100)
    fate, free_at = rules.classify(1000, 2000, 1000, 2500, free_at=0, aside=400)
    assert (fate, free_at) == ("missed", 2100), "it would have been late all the same"


def test_a_callback_of_one_and_a_half_periods_misses_every_one(rules: standin.Rules) -> None:
    assert rules.rehearse(1000, late=[0] * 4, takes=[1500] * 5) == (7, 0, 7, 0)


def test_more_periods_of_buffer_forgive_a_long_callback_now_and_then(
    rules: standin.Rules,
) -> None:
    late, takes = [0] * 6, [1500, 100, 100] * 2
    assert rules.rehearse(1000, late, takes, periods=2) == (6, 4, 2, 0)
    assert rules.rehearse(1000, late, takes, periods=3) == (6, 6, 0, 0)


def test_a_thread_that_sleeps_over_three_periods_has_overslept_three(
    rules: standin.Rules,
) -> None:
    assert rules.rehearse(1000, late=[3200, 0], takes=[100, 100]) == (5, 2, 0, 3)


calls = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=50)


@given(calls=calls, periods=st.integers(2, 4))
@settings(max_examples=200, deadline=None)
def test_fates_add_up(rules: standin.Rules, calls: list[tuple[int, int]], periods: int) -> None:
    late, takes = [list(times) for times in zip(*calls, strict=True)] or ([], [])
    passed, *fates = rules.rehearse(1000, late, takes, periods)
    assert passed == sum(fates) >= len(calls)


@given(takes=st.lists(st.integers(0, 5000), max_size=50), periods=st.integers(2, 4))
@settings(max_examples=100, deadline=None)
def test_nothing_is_overslept_by_a_thread_that_wakes_in_time(
    rules: standin.Rules, takes: list[int], periods: int
) -> None:
    *_, overslept = rules.rehearse(1000, [0] * len(takes), takes, periods)
    assert overslept == 0


@given(late=st.lists(st.integers(0, 5000), max_size=50))
@settings(max_examples=100, deadline=None)
def test_nothing_is_missed_by_callbacks_that_take_no_time(
    rules: standin.Rules, late: list[int]
) -> None:
    _, _, missed, _ = rules.rehearse(1000, late, [0] * len(late))
    assert missed == 0


# --- stepping and pace, by PyAudio ---------------------------------------------------------


def test_pyaudio_plays_what_its_callback_returns() -> None:
    found = elsewhere("play_ramp_by_pyaudio", stepped=1)
    assert found["name"] == standin.DEVICE
    assert found["steps"] == found["calls"] == 20
    assert found["frames"] == 20 * FRAMES
    assert found["differences"] == 0
    assert found["periods"] == 0


def test_pyaudio_hears_the_ramp_without_a_gap() -> None:
    heard = np.array(elsewhere("listen_by_pyaudio", stepped=1))
    frames = np.arange(5 * FRAMES)
    np.testing.assert_array_equal(heard, np.stack([frames, frames + 1], axis=1))


def test_blocking_writes_and_reads_arrive_in_order() -> None:
    found = elsewhere("write_and_read_by_pyaudio")
    assert found["differences"] == 0
    assert found["on_time"] + found["missed"] + found["overslept"] == found["periods"]
    assert found["read"] == list(range(100))


def test_a_control_in_pace_counts_what_it_was_asked_to() -> None:
    found = elsewhere("run_controls", fault=1, amount=100_000)
    for counts in found.values():
        assert counts["periods"] == 50
        assert counts["on_time"] + counts["missed"] + counts["overslept"] == 50
        assert counts["recorded"] == 50 * FRAMES * 8 or counts["overslept"] > 0
    # Two periods long, it can be in time for none; only the machine can excuse some.
    assert found["slow"]["on_time"] == 0


def test_a_setting_that_is_not_there() -> None:
    assert "no setting 'volume'" in elsewhere("set_a_wrong_setting")


# --- audiostream and the others ------------------------------------------------------------


@pytest.mark.parametrize("path", ["native", "python"])
@pytest.mark.parametrize("encoding", [16, 32])
def test_audiostream_plays_bit_for_bit(path: str, encoding: int) -> None:
    env = {"AUDIOSTREAM_CALLBACK": path}
    found = elsewhere("play_by_audiostream", encoding, env=env, stepped=1)
    assert found == {"differences": 0, "rest": 0.0, "starved": 0, "name": [standin.DEVICE]}


@pytest.mark.parametrize("way", WAYS)
def test_every_player_plays_to_it(way: str) -> None:
    if not WAYS[way].is_there:
        pytest.skip(f"{WAYS[way].package} is not installed")
    counts = elsewhere("play_until_heard", way, env=dict(WAYS[way].env))
    assert counts["periods"] == 50
    assert counts["on_time"] + counts["missed"] + counts["overslept"] == 50


def test_another_portaudio_beside_it_is_found_out() -> None:
    pytest.importorskip("pyaudio")
    program = "import pyaudio; from benchmarks.standin import Standin; Standin()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "another PortAudio is loaded" in done.stderr
