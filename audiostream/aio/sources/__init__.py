"""Sample generators as coroutines, for :meth:`AudioSample.write_from`; event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audiostream.aio.sources.file import File, file
from audiostream.aio.sources.source import Source
from audiostream.aio.sources.waves import (
    Noise,
    Saw,
    Silence,
    Sine,
    Square,
    noise,
    saw,
    silence,
    sine,
    square,
)

if TYPE_CHECKING:
    from audiostream.aio.sources.puredata import Messages, Patch, patch

__all__ = (
    "File",
    "Messages",
    "Noise",
    "Patch",
    "Saw",
    "Silence",
    "Sine",
    "Source",
    "Square",
    "file",
    "noise",
    "patch",
    "saw",
    "silence",
    "sine",
    "square",
)

PURE_DATA = ("Messages", "Patch", "patch")
"""Names that are imported when they are asked for: few programs play patches."""


def __getattr__(name: str) -> Any:
    if name not in PURE_DATA:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("audiostream.aio.sources.puredata"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PURE_DATA})
