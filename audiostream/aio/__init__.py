"""The asyncio and trio API: outputs, inputs and samples for coroutines; event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audiostream.aio import sources
from audiostream.aio.errors import BusyError, EndOfStream, StreamClosedError, WouldBlock
from audiostream.aio.group import Group
from audiostream.aio.input import AudioInput, get_input
from audiostream.aio.listing import get_input_sources, get_output_devices
from audiostream.aio.output import AudioOutput, get_output
from audiostream.aio.sample import AudioSample
from audiostream.aio.sound import Playing, Sound
from audiostream.aio.utterance import Utterance
from audiostream.engine.marks import Mark
from audiostream.engine.meter import Level
from audiostream.engine.stats import Stats
from audiostream.errors import AudioException, DeviceError, FormatError, NoDeviceError

if TYPE_CHECKING:
    from audiostream.aio.playback import PlayHandle, play
    from audiostream.aio.recording import RecordHandle, playrec, record, record_to

__all__ = (
    "AudioException",
    "AudioInput",
    "AudioOutput",
    "AudioSample",
    "BusyError",
    "DeviceError",
    "EndOfStream",
    "FormatError",
    "Group",
    "Level",
    "Mark",
    "NoDeviceError",
    "PlayHandle",
    "Playing",
    "RecordHandle",
    "Sound",
    "Stats",
    "StreamClosedError",
    "Utterance",
    "WouldBlock",
    "get_input",
    "get_input_sources",
    "get_output",
    "get_output_devices",
    "play",
    "playrec",
    "record",
    "record_to",
    "sources",
)

EVERYDAY = {
    **dict.fromkeys(("PlayHandle", "play"), "playback"),
    **dict.fromkeys(("RecordHandle", "playrec", "record", "record_to"), "recording"),
}
"""Names that are imported when they are asked for, and their modules: a program that opens its
own streams starts without them."""


def __getattr__(name: str) -> Any:
    if name not in EVERYDAY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"audiostream.aio.{EVERYDAY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *EVERYDAY})
