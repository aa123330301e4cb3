"""Fixtures for the tests of realtime/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tracing import untraced


@pytest.fixture(autouse=True, scope="module")
def _untraced() -> Iterator[None]:
    """Coverage does not measure realtime/, which is compiled."""
    with untraced():
        yield
