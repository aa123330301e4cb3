"""Records that the mixer does not know: a writer's, converters', a virtual clock's; any thread.

See layout.py for what the comments on the lines say.
"""

from __future__ import annotations

from typing import Any, Final

from audiostream.realtime.memory.layout import record

__all__ = ("CLOCK", "PRODUCER", "RESAMPLER", "SINE", "Clock")

RESAMPLER: Final = record(
    # config: address of the filter, float32 (phases, taps); by how many input frames and phases
    # each output is after the one before; address of the input's frames, float32 (channels,
    # capacity)
    ("filter", "taps", "phases", "whole", "part", "channels", "buffers", "capacity"),
    # caller: frames in the buffers; where the next output's window begins, and its phase
    ("filled", "index", "phase"),
)
"""One resampler; only ever used by one thread at a time."""

SINE: Final = record(
    # caller: sine and cosine of the first frame's phase, and of the angle from one to the
    # next; amplitude, where it goes to, in how many frames, by how much in each; channels
    (
        "sine:f8",
        "cosine:f8",
        "turn_sine:f8",
        "turn_cosine:f8",
        "level:f8",
        "goal:f8",
        "ramp_left",
        "step:f8",
        "channels",
    ),
)
"""One sine wave; only ever used by one thread at a time."""

PRODUCER: Final = record(
    # caller: addresses of the stream and of the voice; frames that the ring may hold;
    # encoding and channels of what is written
    ("stream", "voice", "limit", "encoding", "channels"),
)
"""What does not change from one write to a voice to the next."""

CLOCK: Final = record(
    # config: a virtual device's period; where its blocks come from and go to
    (
        "rate",
        "period",
        "frame_bytes",
        "render",
        "render_user",
        "captures",
        "capture_count",
        "block",
        "silence",
        "source",
        "source_frames",
        "sink",
        "time_info",
    ),
    # control
    ("stop",),
    # audio: where the source stands; 1 when it has ended; bytes the sink took, errors
    (
        "position",
        "frames",
        "origin",
        "due",
        "ended",
        "sink_bytes",
        "sink_failed",
        "seconds",
        "nanoseconds",
    ),
)

Clock = Any  # in plain Python numpy's record, in compiled code its address
