"""The asyncio and trio API: outputs, inputs and samples for coroutines; event loop."""

from audiostream.aio import sources
from audiostream.aio.errors import BusyError, EndOfStream, StreamClosedError, WouldBlock
from audiostream.aio.group import Group
from audiostream.aio.input import AudioInput, get_input
from audiostream.aio.listing import get_input_sources, get_output_devices
from audiostream.aio.output import AudioOutput, get_output
from audiostream.aio.playback import PlayHandle, play
from audiostream.aio.recording import RecordHandle, playrec, record, record_to
from audiostream.aio.sample import AudioSample
from audiostream.aio.sound import Playing, Sound
from audiostream.aio.utterance import Utterance
from audiostream.engine.marks import Mark
from audiostream.engine.meter import Level
from audiostream.engine.stats import Stats
from audiostream.errors import AudioException, DeviceError, FormatError, NoDeviceError

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
