"""Effects and generators that ship with the library: kernels for the audio thread.

Each file is one page of signal processing with its source.  The names are handed on at first
use, so that ``import audiostream.dsp`` loads neither numba nor numpy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from audiostream.dsp.biquad import (
        allpass,
        bandpass,
        highpass,
        highshelf,
        lowpass,
        lowshelf,
        notch,
        peaking,
    )
    from audiostream.dsp.compression import compressor
    from audiostream.dsp.delay_line import delay
    from audiostream.dsp.envelope import adsr
    from audiostream.dsp.gating import gate
    from audiostream.dsp.limiting import limiter
    from audiostream.dsp.noise_generators import noise, pink
    from audiostream.dsp.oscillators import saw, sine, square, triangle
    from audiostream.dsp.state_variable import svf

__all__ = (
    "adsr",
    "allpass",
    "bandpass",
    "compressor",
    "delay",
    "gate",
    "highpass",
    "highshelf",
    "limiter",
    "lowpass",
    "lowshelf",
    "noise",
    "notch",
    "peaking",
    "pink",
    "saw",
    "sine",
    "square",
    "svf",
    "triangle",
)

# No file has the name of a kernel: an imported file would hide the kernel here.
_FILES = {
    "biquad": (
        *("allpass", "bandpass", "highpass", "highshelf"),
        *("lowpass", "lowshelf", "notch", "peaking"),
    ),
    "compression": ("compressor",),
    "delay_line": ("delay",),
    "envelope": ("adsr",),
    "gating": ("gate",),
    "limiting": ("limiter",),
    "noise_generators": ("noise", "pink"),
    "oscillators": ("saw", "sine", "square", "triangle"),
    "state_variable": ("svf",),
}


def __getattr__(name: str) -> Any:
    import importlib

    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"audiostream.dsp.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
