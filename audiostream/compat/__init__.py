"""The documented blocking API, drop-in for code written against kivy's audiostream."""

from audiostream.aio.input import AudioInput
from audiostream.aio.output import AudioOutput
from audiostream.compat.functions import get_input, get_input_sources, get_output
from audiostream.compat.sample import AudioSample
from audiostream.errors import AudioException

__all__ = (
    "AudioException",
    "AudioInput",
    "AudioOutput",
    "AudioSample",
    "get_input",
    "get_input_sources",
    "get_output",
)
