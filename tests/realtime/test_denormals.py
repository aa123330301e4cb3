"""Denormal numbers are zero on the audio thread during a callback, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.realtime.nodes import Node, attach, playing
from tests.realtime.rig import Rig, compiled

DATA = np.full(64, 0.5, np.float32)

TINY = np.float32(1e-40)
"""A denormal number."""


def test_denormal_numbers_are_zero_within_a_callback_alone() -> None:
    """Python's arithmetic on the audio thread is in the thread's mode, too."""
    rig = playing(compiled(), DATA)
    found: list[float] = []
    one = np.full(64, 1.0, np.float32)
    tiny = np.full(64, TINY, np.float32)

    def counts(_samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        found.append(float(np.count_nonzero(tiny * one)))
        found.append(float(np.count_nonzero(np.full(64, 2e-38, np.float32) * np.float32(0.25))))

    kept = attach(rig, Node(rig, 7, counts))
    assert np.count_nonzero(tiny * one) == 64
    rig.render(64)
    assert found == [0.0, 0.0], "those that go in, and those that would come out"
    assert np.count_nonzero(tiny * one) == 64, "the mode is as it was before"
    kept.check()


def test_a_capture_does_so_too() -> None:
    rig = Rig(compiled())
    rig.set("strip", rig.voice_address(0))
    found: list[int] = []
    tiny = np.full(64, TINY, np.float32)

    def counts(_samples: np.ndarray, _state: Any, _params: list[np.ndarray]) -> None:
        found.append(np.count_nonzero(tiny * np.float32(1.0)))

    attach(rig, Node(rig, 7, counts))
    rig.capture(np.ones((64, 2), np.float32))
    assert found == [0]
    assert np.count_nonzero(tiny * np.float32(1.0)) == 64
