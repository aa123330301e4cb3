"""Streams on a manual device, closed behind every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from audiostream import AudioInput, AudioOutput, get_input, get_output
from audiostream.testing import ManualDevice


@pytest.fixture
def device() -> ManualDevice:
    return ManualDevice()


@pytest.fixture
def output(device: ManualDevice) -> Iterator[Callable[..., AudioOutput]]:
    """Opens an output; on the device if no other is given."""
    with ExitStack() as stack:

        def open_output(**options: Any) -> AudioOutput:
            opened = get_output(**{"device": device, **options})
            stack.callback(opened.close)
            return opened

        yield open_output


@pytest.fixture
def microphone(device: ManualDevice) -> Iterator[Callable[..., AudioInput]]:
    """Opens and starts an input; on the device if no other is given."""
    with ExitStack() as stack:

        def open_input(*, start: bool = True, **options: Any) -> AudioInput:
            opened = get_input(**{"source": device, **options})
            stack.callback(opened.close)
            if start:
                opened.start()
            return opened

        yield open_input
