"""Fixtures for the tests of dsp/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tracing import untraced


@pytest.fixture(autouse=True, scope="module")
def _untraced() -> Iterator[None]:
    """Coverage does not measure dsp/, whose kernels are compiled."""
    with untraced():
        yield
