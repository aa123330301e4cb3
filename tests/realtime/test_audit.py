"""The audio thread at run time: nothing allocated, locked or waited for in 40,000 blocks.

A small C library (audit.c) is preloaded into a process of its own (audit_main.py), which
runs the library's compiled callbacks on real streams, on a thread made in C, while voices
are written to, starve, are cleared and ring.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="LD_PRELOAD with these symbols is Linux's"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the watched process found out."""
    folder = tmp_path_factory.mktemp("audit")
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    compiler = shutil.which(compiler) or shutil.which("cc")
    assert compiler, "a C compiler is needed, as it was for PyAudio; install gcc"
    library = folder / "audit.so"
    options = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-Wall", "-Werror"]
    built = subprocess.run(
        [compiler, *options, "-o", str(library), str(HERE / "audit.c"), "-ldl", "-lpthread"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    result = folder / "found.json"
    done = subprocess.run(
        [sys.executable, str(HERE / "audit_main.py"), str(library), str(result)],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # numba reports the exception that one of the offenders raises, and nothing else.
    assert "on purpose" in done.stderr
    answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return answer


@pytest.mark.parametrize("direction", ["output", "input"])
def test_forty_thousand_blocks_allocate_lock_and_wait_for_nothing(
    found: dict[str, Any], direction: str
) -> None:
    counts = dict(found[direction]["counts"])
    happened = found[direction]["happened"]
    writes = counts.pop("writes")
    assert counts == dict.fromkeys(counts, 0)
    assert set(counts) == {"allocations", "frees", "locks", "waits", "interpreter"}
    # The one system call that it makes is a wakeup's, and only when a thread waits.
    assert writes == happened["wakeups"]


@pytest.mark.parametrize("direction", ["output", "input"])
def test_all_that_can_happen_did_happen(found: dict[str, Any], direction: str) -> None:
    happened = found[direction]["happened"]
    assert 39_900 <= happened["callbacks"] <= 40_000  # some of an input's have no frames
    assert all(count > 100 for count in happened.values()), happened
    if direction == "output":  # in 107 seconds
        assert happened["shots"] >= 10_000


@pytest.mark.parametrize(
    ("offender", "kinds"),
    [
        ("C", {"allocations", "frees", "locks", "waits"}),
        ("allocates", {"allocations", "frees"}),
        ("raises", {"interpreter", "locks"}),
        ("Python", {"locks"}),
    ],
)
def test_the_counters_count(found: dict[str, Any], offender: str, kinds: set[str]) -> None:
    counts = found["offences"][offender]
    for kind in kinds:
        assert counts[kind] >= 10, counts
