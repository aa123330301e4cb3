"""Sample generators as coroutines, for :meth:`AudioSample.write_from`; event loop."""

from audiostream.aio.sources.file import File, file
from audiostream.aio.sources.patch import Messages, Patch, patch
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
