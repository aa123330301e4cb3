"""Hardware devices, by PortAudio as PyAudio links it; caller threads and PortAudio's own."""

from audiostream.device.portaudio.device import PortAudioDevice, find
from audiostream.device.portaudio.host import HOST
from audiostream.device.portaudio.lookup import input_names, output_names

__all__ = ("HOST", "PortAudioDevice", "find", "input_names", "output_names")
