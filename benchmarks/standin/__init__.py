"""A paced stand-in for PortAudio, to be put under any library that plays through it.

``portaudio.c`` says what it does and how it counts.  A program gets it by the loader's
path::

    in_process("benchmarks.missed:measure", ..., env=standin.environment())

and within that process :class:`Standin` reaches the very library that PyAudio, sounddevice
or audiostream has loaded.
"""

from benchmarks.standin.device import DEVICE, ONLY_STEPS, Counts, Rules, Standin, Stream
from benchmarks.standin.library import BuildError, build, compile_to, environment

__all__ = (
    "DEVICE",
    "ONLY_STEPS",
    "BuildError",
    "Counts",
    "Rules",
    "Standin",
    "Stream",
    "build",
    "compile_to",
    "environment",
)
