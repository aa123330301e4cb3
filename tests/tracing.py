"""Without coverage where nothing is measured: it takes half of the time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TRACING = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
"""Variables by which coverage measures the processes that this one starts."""


@contextmanager
def untraced() -> Iterator[None]:
    """No trace function in this thread, and in those that it starts, meanwhile."""
    trace, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.settrace(trace)
        threading.settrace(of_threads)  # type: ignore[arg-type]
