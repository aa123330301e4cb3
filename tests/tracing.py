"""Without coverage where nothing is measured: it takes half of the time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRACING = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
"""Variables by which coverage measures the processes that this one starts."""


@contextmanager
def untraced() -> Iterator[None]:
    """No trace function in this thread meanwhile."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)
