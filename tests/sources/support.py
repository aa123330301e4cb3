"""What the tests of the documented sources share: programs, errors that were told, stepping."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from audiostream import AudioOutput
from audiostream.sources.thread import ThreadSource
from audiostream.testing import ManualDevice
from tests.compat.support import eventually, sample_voice

__all__ = ("OpenOutput", "full", "played", "program", "queued", "told")

ROOT = Path(__file__).resolve().parent.parent.parent

OpenOutput = Callable[..., AudioOutput]


def program(text: str, *arguments: str, cwd: Path) -> str:
    """What a program prints; it must end well and say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@contextmanager
def told() -> Iterator[list[BaseException]]:
    """The errors that threading.excepthook is told of."""
    errors: list[BaseException] = []
    before = threading.excepthook
    threading.excepthook = lambda hook: errors.append(hook.exc_value)
    try:
        yield errors
    finally:
        threading.excepthook = before


def queued(output: AudioOutput, source: ThreadSource) -> int:
    """Frames that were generated and not played."""
    voice = sample_voice(output, source)
    return voice.write_index() - voice.read_index()


def full(output: AudioOutput, source: ThreadSource) -> bool:
    """True once a source has filled what it may."""
    return sample_voice(output, source).writer.room() <= 0


def played(
    output: AudioOutput, device: ManualDevice, frames: int, *sources: Any, step: int = 480
) -> np.ndarray:
    """So many frames of sources that are given the time to be ahead."""
    heard = []
    for at in range(0, frames, step):
        for source in sources:
            eventually(lambda s=source: queued(output, s) >= step)
        heard.append(device.step(min(step, frames - at)))
    return np.concatenate(heard)
