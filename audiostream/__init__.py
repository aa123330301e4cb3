"""audiostream: audio that never breaks up, written as ordinary async code.

The documented names of kivy's audiostream, handed on from :mod:`audiostream.compat` at
first use; :mod:`audiostream.aio` is the asyncio and trio API.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing: its import alone takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from audiostream import aio as aio
    from audiostream import dsp as dsp
    from audiostream.compat import (
        AudioException,
        AudioInput,
        AudioOutput,
        AudioSample,
        get_input,
        get_input_sources,
        get_output,
    )
    from audiostream.everyday import play as play
    from audiostream.everyday import playrec as playrec
    from audiostream.everyday import record as record
    from audiostream.everyday import record_to as record_to
    from audiostream.kernels.decorator import kernel as kernel
    from audiostream.offline import render as render

__all__ = (
    "AudioException",
    "AudioInput",
    "AudioOutput",
    "AudioSample",
    "aio",
    "dsp",
    "get_input",
    "get_input_sources",
    "get_output",
    "kernel",
    "play",
    "playrec",
    "record",
    "record_to",
    "render",
)


ELSEWHERE = {
    "kernel": "audiostream.kernels.decorator",
    "render": "audiostream.offline",
    **dict.fromkeys(("play", "playrec", "record", "record_to"), "audiostream.everyday"),
}
"""Names that are not of the documented API, and the modules that have them."""


def __getattr__(name: str) -> Any:
    import importlib

    if name in ("aio", "dsp"):
        return importlib.import_module(f"audiostream.{name}")
    if name in ELSEWHERE:
        return getattr(importlib.import_module(ELSEWHERE[name]), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("audiostream")
    if name in __all__:
        return getattr(importlib.import_module("audiostream.compat"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
