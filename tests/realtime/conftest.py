"""Fixtures for the tests of realtime/."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.tracing import untraced


@pytest.fixture(autouse=True, scope="module")
def _untraced() -> Iterator[None]:
    """Coverage does not measure realtime/, which is compiled."""
    with untraced():
        yield


@pytest.fixture(scope="session")
def translated() -> str:
    """All kernels as text of LLVM's, before it is optimised.

    It is made in a process that has numba's own compiler switched off, which must not matter.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-c"),
            "from audiostream.realtime.compile.module import translate; print(translate())",
        ],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
