"""``from audiostream.core import *``, which old code used: the documented names."""

from audiostream.compat import (
    AudioException,
    AudioInput,
    AudioOutput,
    AudioSample,
    get_input,
    get_input_sources,
    get_output,
)

__all__ = (
    "AudioException",
    "AudioInput",
    "AudioOutput",
    "AudioSample",
    "get_input",
    "get_input_sources",
    "get_output",
)
